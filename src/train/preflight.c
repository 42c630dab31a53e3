#include "train/preflight.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "be/ops.h"
#include "config/audit.h"

#define MOST (4 << 20) /* bytes that a rank sends in one exchange */
#define TIMES 3

/* What rank `from` of a group sends to rank `to`, element i. */
static int32_t word(int from, int to, int64_t i) { return (int32_t)(from * 7919 + to * 104729 + i); }

struct check {
    struct reel_run *r;
    struct reel_comm *c;
    int64_t each; /* words for one peer */
    int32_t *host;
    reel_tensor src, dst;
};

static int wrong(const struct check *k)
{
    int64_t bad = 0;

    for (int p = 0; p < k->c->size; p++)
        for (int64_t i = 0; i < k->each; i++) bad += k->host[p * k->each + i] != word(p, k->c->rank, i);
    return bad > 0;
}

static reel_err delivered(const struct check *k, double sum)
{
    int n = k->c->size;

    if (sum != n * (n - 1) / 2.0)
        return REEL_FAIL(REEL_EIO, "preflight: the sum of the ranks of a %s group is %g, not %g: this network or its MPI library is broken",
                         k->c->name, sum, n * (n - 1) / 2.0);
    if (wrong(k))
        return REEL_FAIL(REEL_EIO, "preflight: an alltoall over %s delivered wrong bytes to its rank %d: this network or its MPI library is broken",
                         k->c->name, k->c->rank);
    return REEL_OK;
}

/* Bytes a second that this rank received, the best of a few. */
static double exchange(struct check *k)
{
    struct reel_stream *s = &k->r->s;
    double best = 0;

    for (int i = 0; i < TIMES; i++) {
        struct reel_req req = { .n = 0 };
        double t;
        reel_comm_barrier(k->c);
        t = reel_now();
        reel_comm_alltoall_start(k->c, s, k->dst, k->src, &req);
        reel_comm_wait(k->c, &req);
        reel_sync(s);
        best = fmax(best, 4.0 * (double)k->each * (k->c->size - 1) / (reel_now() - t));
    }
    return best;
}

static reel_err group(struct check *k)
{
    double sum = k->c->rank, speed, min, avg, max;
    int64_t n = k->each * k->c->size;

    for (int64_t i = 0; i < n; i++) k->host[i] = word(k->c->rank, (int)(i / k->each), i % k->each);
    k->src = reel_new(&k->r->io, REEL_I32, REEL_DIMS(n));
    k->dst = reel_new(&k->r->io, REEL_I32, REEL_DIMS(n));
    reel_put(&k->r->s, k->src, k->host);
    reel_fill(&k->r->s, k->dst, 0);
    reel_comm_sum(k->c, &sum, 1);
    speed = exchange(k);
    reel_get(&k->r->s, k->host, k->dst);
    REEL_TRY(reel_agree(k->r->world, delivered(k, sum)));
    reel_comm_minavgmax(k->r->world, &speed, 1, &min, &avg, &max);
    if (k->r->world->rank == 0)
        printf("preflight: %-9s groups of %3d: %8.1f MiB/s a rank received, the slowest %.1f\n", k->c->name, k->c->size, avg / 1048576.0,
               min / 1048576.0);
    return REEL_OK;
}

static reel_err groups(struct check *k)
{
    struct reel_mesh *m = &k->r->mesh;
    struct reel_comm *all[] = { &m->tp, &m->sp, &m->shard, &m->replicate };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        k->c = all[i];
        k->each = MOST / 4 / k->c->size;
        reel_arena_reset(&k->r->io, 0);
        if (k->c->size > 1) REEL_TRY(group(k)); /* sizes are the same on every rank */
    }
    return REEL_OK;
}

/* The run's own memory is not there yet: its stream and its batch's arena are lent. */
static reel_err exchanges(struct reel_run *r)
{
    struct check k = { .r = r };
    reel_err e;

    k.host = malloc(MOST);
    e = k.host ? reel_arena_open(&r->io, r->be, "preflight", 2 * MOST + 4096) : REEL_FAIL(REEL_ENOMEM, "no memory for the preflight check");
    e = reel_agree(r->world, e);
    if (e == REEL_OK) {
        reel_stream_init(&r->s, r->be, 0, NULL);
        e = groups(&k);
    }
    if (r->io.base) reel_arena_close(&r->io, r->be);
    r->io = (struct reel_arena){ 0 };
    memset(r->mesh.bytes, 0, sizeof r->mesh.bytes); /* the run counts its own */
    free(k.host);
    return e;
}

reel_err reel_preflight(struct reel_run *r)
{
    if (r->flags.quiet) return REEL_OK;
    if (r->world->rank == 0 && r->flags.env) reel_env_audit(r->flags.env, reel_backend_on_device(r->be), stderr);
    return r->world->size > 1 ? exchanges(r) : REEL_OK;
}
