/* reel check: every archive of a checkpoint, every byte of its files. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "ckpt/ckpt_priv.h"

struct check { struct reel_ckpt *k; int64_t sum[3]; /* tensors, objects, bytes */ };

/* This rank's share of the keys. */
static reel_err read_archives(void *ctx)
{
    struct check *c = ctx;
    struct reel_dcp *d = c->k->d;

    for (int i = c->k->world->rank; i < reel_dcp_count(d); i += c->k->world->size) {
        const struct reel_dcp_entry *e = reel_dcp_entry(d, i);
        REEL_TRY(reel_dcp_verify(d, e));
        c->sum[e->type == NULL]++;
        if (e->type) c->sum[2] += reel_pt_numel(e->n, e->nd) * e->type->size;
    }
    return REEL_OK;
}

static void print(const struct check *c, FILE *out)
{
    const struct reel_ckpt *k = c->k;
    char at[32] = "";
    long step;

    if (ckpt_step_of(k->dir, &step)) reel_err_clear();
    if (step >= 0) snprintf(at, sizeof at, "step %ld, ", step);
    fprintf(out, "%s: %s%lld tensors (%.3f GiB), %lld objects, %s: all checksums agree\n", k->dir, at, (long long)c->sum[0],
            (double)c->sum[2] / 0x1p30, (long long)c->sum[1], k->m.files ? "committed" : "written by another program (no commit marker)");
}

static reel_err check(struct check *c, FILE *out)
{
    struct ckpt_task t = { 0 };

    REEL_TRY(ckpt_want_whole(c->k));
    ckpt_task_start(&t, read_archives, c);
    REEL_TRY(ckpt_task_wait(&t, c->k->world));
    REEL_TRY(ckpt_verify_rest(c->k));
    reel_comm_sum_i64(c->k->world, c->sum, 3);
    if (c->k->world->rank == 0 && out) print(c, out);
    return REEL_OK;
}

reel_err reel_ckpt_check(const char *path, FILE *out, struct reel_comm *world)
{
    struct check c = { 0 };
    char dir[PATH_MAX];
    reel_err e;

    snprintf(dir, sizeof dir, "%s", path);
    ckpt_strip(dir);
    REEL_TRY(reel_ckpt_open(&c.k, dir, world));
    e = check(&c, out);
    reel_ckpt_close(c.k);
    return e;
}
