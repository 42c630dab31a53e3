/* collectives and agreement against what one process computes alone (run on several rank counts) */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "comm/comm.h"
#include "comm/pulse.h"
#include "comm/watch.h"
#include "tap.h"

static struct reel_comm W;

/* A number of any rank, so that every rank can compute the whole answer. */
static double num(int rank, int i)
{
    uint32_t w = reel_rng_word(7, (uint32_t)rank, 0, 0, (uint64_t)i);

    return ldexp((double)(int32_t)w, (int)(w % 61) - 60);
}

/* The tree ((0+1)+(2+3))+...: pairs, then pairs of pairs; a missing partner is skipped. */
static double tree(const double *v, int n)
{
    double t[64];

    memcpy(t, v, (size_t)n * sizeof *v);
    for (; n > 1; n = (n + 1) / 2)
        for (int i = 0; i < (n + 1) / 2; i++) t[i] = 2 * i + 1 < n ? t[2 * i] + t[2 * i + 1] : t[2 * i];
    return t[0];
}

static int everyone(int ok)
{
    int64_t bad = !ok;

    reel_comm_sum_i64(&W, &bad, 1);
    return bad == 0;
}

static void sums(void)
{
    enum { N = 1300 };
    static double v[N];
    int64_t k[3] = { W.rank, INT64_C(1) << 40, -W.rank };
    int ok = 1, P = W.size;

    for (int i = 0; i < N; i++) v[i] = num(W.rank, i);
    reel_comm_sum(&W, v, N);
    for (int i = 0; i < N; i++) {
        double all[64], want;

        for (int r = 0; r < P; r++) all[r] = num(r, i);
        want = tree(all, P);
        ok &= memcmp(&v[i], &want, 8) == 0;
    }
    TAP_OK(everyone(ok), "%d double sums have the bits of the tree", N);
    reel_comm_sum_i64(&W, k, 3);
    TAP_OK(everyone(k[0] == P * (P - 1) / 2 && k[1] == P * (INT64_C(1) << 40) && k[2] == -k[0]), "integer sums");
}

static void minavgmax(void)
{
    double v[2] = { W.rank, -3.5 }, lo[2], mean[2], hi[2];

    reel_comm_minavgmax(&W, v, 2, lo, mean, hi);
    TAP_OK(everyone(lo[0] == 0 && hi[0] == W.size - 1 && mean[0] == (W.size - 1) / 2.0 && lo[1] == -3.5 &&
                    hi[1] == -3.5 && mean[1] == -3.5),
           "min, avg, max");
}

static void moves(void)
{
    enum { BYTES = 3 << 20 };
    int root = W.size - 1, ok = 1, mine[2] = { W.rank, 7 * W.rank }, all[128];
    unsigned char *p = malloc(BYTES);
    void *blob = NULL;
    size_t n = 0;

    for (int i = 0; i < BYTES; i++) p[i] = W.rank == root ? (unsigned char)(i * 31 % 251) : 0;
    reel_comm_bcast(&W, p, BYTES, root);
    for (int i = 0; i < BYTES; i++) ok &= p[i] == (unsigned char)(i * 31 % 251);
    TAP_OK(everyone(ok), "bcast of 3 MiB");
    if (W.rank == root) blob = p, n = BYTES;
    ok = reel_comm_bcast_blob(&W, &blob, &n, root) == REEL_OK && n == BYTES && memcmp(blob, p, BYTES) == 0;
    TAP_OK(everyone(ok), "bcast of a blob whose size only the root knows");
    if (W.rank != root) free(blob);
    free(p);
    blob = NULL;
    n = 0;
    TAP_OK(everyone(reel_comm_bcast_blob(&W, &blob, &n, root) == REEL_OK && !blob && !n), "an empty blob");
    reel_comm_allgather(&W, mine, sizeof mine, all);
    for (int r = 0, o = 1; r < W.size; r++) ok = o &= all[2 * r] == r && all[2 * r + 1] == 7 * r;
    TAP_OK(everyone(ok), "allgather");
    memset(all, 0xff, sizeof all);
    reel_comm_gather(&W, mine, sizeof mine, all, root);
    for (int r = 0, o = 1; W.rank == root && r < W.size; r++) ok = o &= all[2 * r] == r && all[2 * r + 1] == 7 * r;
    TAP_OK(everyone(ok), "gather");
    reel_comm_barrier(&W);
}

static void agree(void)
{
    struct reel_errrec *r = reel_errrec();
    int last = W.size - 1;
    reel_err e;

    TAP_OK(everyone(reel_agree(&W, REEL_OK) == REEL_OK), "all well");
    e = W.rank == last ? REEL_FAIL(REEL_EDATA, "short read on rank %d", W.rank) : REEL_OK;
    e = reel_agree(&W, e);
    TAP_OK(everyone(e == REEL_EDATA && r->rank == last && r->n_failed == 1 && r->n_ranks == W.size),
           "one rank's error is everyone's");
    {
        char want[64];
        snprintf(want, sizeof want, "short read on rank %d", last);
        TAP_OK(everyone(!strcmp(r->msg, want)), "with the same words: %s", r->msg);
    }
    reel_err_clear();
    e = W.rank >= W.size / 2 ? REEL_FAIL(W.rank == last ? REEL_EIO : REEL_ENOMEM, "rank %d", W.rank) : REEL_OK;
    e = reel_agree(&W, e);
    TAP_OK(everyone(e == (W.size / 2 == last ? REEL_EIO : REEL_ENOMEM) && r->rank == W.size / 2 &&
                    r->n_failed == W.size - W.size / 2),
           "of several failures the lowest rank's is told, %d counted", r->n_failed);
    reel_err_clear();
    TAP_OK(everyone(reel_agree(&W, REEL_OK) == REEL_OK), "and then all is well again");
}

static void same(void)
{
    reel_err e = reel_comm_same(&W, "config", 0x1234);

    TAP_OK(everyone(e == REEL_OK), "equal hashes");
    if (W.size == 1) return;
    e = reel_comm_same(&W, "plugin ./a.so", W.rank == 1 ? 2 : 1);
    TAP_OK(everyone(e == REEL_ECONFIG && strstr(reel_errrec()->msg, "plugin ./a.so is not the same on every rank: 1 of") &&
                    strstr(reel_errrec()->msg, "rank 1 has 0000000000000002, rank 0 has 0000000000000001")),
           "%s", reel_errrec()->msg);
    reel_err_clear();
}

static void launch(void)
{
    struct reel_comm one = { .size = 1 }, two = { .size = 2 };

    TAP_OK(!reel_comm_check_launch(&one, NULL, NULL, "", "") && !reel_comm_check_launch(&one, "1", "0", "", "") &&
               !reel_comm_check_launch(&two, "8", "0", "", ""), "honest launches");
    TAP_OK(reel_comm_check_launch(&one, "8", "5", "the step has", "cure") == REEL_ECONFIG && strstr(reel_errrec()->msg, "the step has 8 tasks") &&
               strstr(reel_errrec()->msg, "cure") && one.rank == 5, "%s", reel_errrec()->msg);
    reel_err_clear();
}

/* Every axis of a mesh connects the ranks that its coordinates say. */
static void mesh_axes(int replicate, int shard, int sp, int tp)
{
    struct reel_mesh_dims d = { W.size, replicate, shard, sp, tp };
    struct reel_mesh m;
    int ok = reel_mesh_check(&d, 0) == REEL_OK && reel_mesh_open(&m, &W, &d) == REEL_OK;
    const struct { struct reel_comm *c; int first, stride; } axis[] = {
        { &m.tp, m.hsdp.rank * tp, 1 },
        { &m.hsdp, m.tp.rank, tp },
        { &m.shard, m.replicate.rank * shard * tp + m.tp.rank, tp },
        { &m.replicate, m.shard.rank * tp + m.tp.rank, shard * tp },
        { &m.sp, m.dp_rank * sp * tp + m.tp.rank, tp },
    };

    for (size_t a = 0; a < sizeof axis / sizeof *axis; a++) {
        int all[64];

        reel_comm_allgather(axis[a].c, &W.rank, sizeof W.rank, all);
        for (int i = 0; i < axis[a].c->size; i++) ok &= all[i] == axis[a].first + i * axis[a].stride;
    }
    TAP_OK(everyone(ok), "axes of %d x %d x %d, sp %d", replicate, shard, tp, sp);
    ok = m.bytes[REEL_AXIS_SHARD][REEL_COLL_ALLGATHER] == 4.0 * (shard - 1);
    TAP_OK(everyone(ok), "traffic is counted: %g bytes", m.bytes[REEL_AXIS_SHARD][REEL_COLL_ALLGATHER]);
    reel_mesh_close(&m);
}

/* Rank `works` works until three beats have gone by, while the others wait for it in them. */
static int stretch(int works)
{
    int64_t n = reel_pulse_beats(&W) + 3, beats, all[64];
    int same = 1;

    while (W.rank == works && W.pulse && reel_pulse_beats(&W) < n) reel_pulse(&W), usleep(1000);
    reel_pulse_rest(&W);
    beats = reel_pulse_beats(&W);
    reel_comm_allgather(&W, &beats, sizeof beats, all);
    for (int r = 0; r < W.size; r++) same &= all[r] == beats;
    return same && (!W.pulse || beats > n);
}

static void pulse(void)
{
    struct reel_watch *w;
    int ok = !reel_watch_open(&w, &W, 600, "a test") && !reel_pulse_open(&W);

    TAP_OK(everyone(ok && !W.pulse == (W.size == 1)), "several ranks have a pulse");
    TAP_OK(everyone(stretch(0)), "who is done waits from beat to beat, until the last is");
    TAP_OK(everyone(stretch(W.size - 1)), "and so after the next stretch of work");
    reel_pulse_close(&W);
    reel_watch_close(w, &W);
}

int main(int argc, char **argv)
{
    if (reel_comm_start(&W, &argc, &argv)) return 1;
    tap_quiet = W.rank != 0;
    sums();
    minavgmax();
    moves();
    agree();
    same();
    launch();
    pulse();
    mesh_axes(1, W.size, 1, 1);
    if (W.size % 2 == 0) mesh_axes(2, W.size / 2, 2, 1), mesh_axes(1, W.size / 2, 1, 2);
    if (W.size == 8) mesh_axes(2, 2, 4, 2);
    reel_comm_stop();
    return tap_done();
}
