/* What communication costs on this machine: small blocking collectives, and gathering and reducing
 * the blocks of a Wan-shaped transformer with nothing to hide behind.
 *
 *   mpiexec -n RANKS b_comm [WIDTH [SHARD [REPEATS]]]
 *
 * Medians over REPEATS on rank 0. A block is eight WIDTH x WIDTH matrices, two of the MLP (35/6 wide)
 * and 17 vectors. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "nn/params.h"

enum { BLOCKS = 4, PER_BLOCK = 27, MAX_REPEATS = 1000 };

static struct reel_param_def defs[1 + BLOCKS * PER_BLOCK];

static void add(int *n, int unit, int nd, int64_t a, int64_t b)
{
    defs[*n] = (struct reel_param_def){ .nd = nd, .n = { a, b }, .unit = unit, .keep_f32 = nd == 1 };
    snprintf(defs[*n].name, sizeof defs->name, "unit%d.%d", unit, *n);
    ++*n;
}

static int fill_table(int64_t width)
{
    int64_t mlp = width * 35 / 6;
    int n = 0;

    add(&n, 0, 2, width, 64);
    for (int u = 1; u <= BLOCKS; u++) {
        for (int k = 0; k < 8; k++) add(&n, u, 2, width, width);
        add(&n, u, 2, mlp, width);
        add(&n, u, 2, width, mlp);
        for (int k = 0; k < 15; k++) add(&n, u, 1, width, 1);
        add(&n, u, 1, mlp, 1);
        add(&n, u, 2, 1, 6 * width);
    }
    return n;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *t, int n)
{
    qsort(t, (size_t)n, sizeof *t, by_value);
    return t[n / 2];
}

struct bench { struct reel_comm world; struct reel_mesh mesh; struct reel_params *ps; double v[128]; };

static void sum_small(struct bench *b) { reel_comm_sum(&b->world, b->v, 128); }
static void agree(struct bench *b) { reel_agree(&b->world, REEL_OK); }

static void gather_all(struct bench *b)
{
    for (int u = 1; u <= BLOCKS; u++) {
        reel_params_need(b->ps, u);
        reel_params_prefetch(b->ps, u + 1);
        reel_params_release(b->ps, u);
    }
}

static void reduce_all(struct bench *b)
{
    for (int u = BLOCKS; u >= 1; u--) {
        reel_grads_begin(b->ps, u);
        reel_grads_reduce(b->ps, u);
    }
    reel_grads_finish(b->ps);
}

static double time_of(struct bench *b, void (*f)(struct bench *), int repeats)
{
    static double t[MAX_REPEATS];

    f(b);
    for (int i = 0; i < repeats; i++) {
        double start;

        reel_comm_barrier(&b->world);
        start = reel_now();
        f(b);
        reel_comm_barrier(&b->world);
        t[i] = reel_now() - start;
    }
    return median(t, repeats);
}

static reel_err open_params(struct bench *b, struct reel_backend *be, int64_t width)
{
    static struct reel_arena scratch, mem[3];
    static struct reel_stream s;
    struct reel_params_cfg cfg = { "bench", defs, fill_table(width), BLOCKS + 1, REEL_F32, 1, NULL, 0 };
    static const char *const name[3] = { "params", "optim", "work" };

    reel_stream_init(&s, be, 1, &scratch);
    REEL_TRY(reel_params_open(&b->ps, &cfg, &b->mesh, &s, &mem[0], &mem[1], &mem[2]));
    reel_params_close(b->ps);
    for (int k = 0; k < 3; k++) REEL_TRY(reel_arena_open(&mem[k], be, name[k], mem[k].used));
    reel_stream_init(&s, be, 0, &scratch);
    return reel_params_open(&b->ps, &cfg, &b->mesh, &s, &mem[0], &mem[1], &mem[2]);
}

static reel_err run(struct bench *b, int64_t width, int shard, int repeats)
{
    struct reel_mesh_dims d = { b->world.size, b->world.size / shard, shard, 1, 1 };
    struct reel_backend *be;
    double sum, ok, gather, reduce;

    REEL_TRY(reel_mesh_check(&d, 0));
    REEL_TRY(reel_mesh_open(&b->mesh, &b->world, &d));
    REEL_TRY(reel_backend_open(&be, "cpu", 1));
    REEL_TRY(open_params(b, be, width));
    sum = time_of(b, sum_small, repeats);
    ok = time_of(b, agree, repeats);
    gather = time_of(b, gather_all, repeats) / BLOCKS;
    reduce = time_of(b, reduce_all, repeats) / BLOCKS;
    if (b->world.rank == 0)
        printf("%d ranks (%d x %d), width %ld: sum of 128 doubles %.0f us, agree %.0f us; a block of %.1f MB: "
               "gather %.2f ms, reduce %.2f ms\n",
               b->world.size, d.replicate, shard, (long)width, sum * 1e6, ok * 1e6,
               4e-6 * (double)(width * width * 59 / 3), gather * 1e3, reduce * 1e3);
    return REEL_OK;
}

int main(int argc, char **argv)
{
    static struct bench b;
    int repeats;
    reel_err e;

    if (reel_comm_start(&b.world, &argc, &argv)) return 1;
    repeats = argc > 3 ? atoi(argv[3]) : 11;
    if (repeats < 1 || repeats > MAX_REPEATS) repeats = MAX_REPEATS;
    e = run(&b, argc > 1 ? atol(argv[1]) : 384, argc > 2 ? atoi(argv[2]) : b.world.size, repeats);
    if (e && b.world.rank == 0) reel_err_print(reel_errrec());
    reel_comm_stop();
    return e != REEL_OK;
}
