/* Sparse attention over dense attention, both branches and the gate counted, in one run: time of forward
 * and backward, and memory: what the forward leaves for the backward, and temporary memory.
 * usage: b_vsa [threads [seconds per figure [largest S]]]; with one thread processor time is counted */
#include "bench/bench.h"
#include "be/backend.h"
#include "kernels/cpu/pool.h"
#include "nn/nn.h"

#define HEADS 12
#define HEAD  128
#define D     (HEADS * HEAD)

static struct reel_backend *be;
static const struct reel_mask everything;
static double min_s = 0.3;

struct att {
    struct reel_stream s;
    struct reel_arena mem, scratch;
    size_t kept; /* bytes that wait for the backward pass, inputs not counted */
    double fwd_s, bwd_s;
    int64_t S, n, topk;
    struct reel_tile_index index;
    reel_tensor q, k, v, gate, g, o, lse, dq, dk, dv, dgate;
    reel_tensor fine, qc, kc, vc, c, lse_c, sel, dc, dqc, dkc, dvc;
};

static void open_att(struct att *a, const int64_t grid[3], double sparsity, reel_dtype dt)
{
    reel_tensor *tok[] = { &a->q, &a->k, &a->v, &a->gate, &a->g, &a->o, &a->dq, &a->dk, &a->dv, &a->dgate, &a->fine };
    reel_tensor *tile[] = { &a->qc, &a->kc, &a->vc, &a->c, &a->dc, &a->dqc, &a->dkc, &a->dvc };
    unsigned x = 1;

    *a = (struct att){ .S = grid[0] * grid[1] * grid[2], .n = reel_tiles_count(grid) };
    a->topk = reel_vsa_topk(sparsity, a->n);
    if (reel_arena_open(&a->mem, be, "tensors", (size_t)a->S * D * 4 * 13) || reel_arena_open(&a->scratch, be, "scratch", (size_t)1 << 30))
        exit(1);
    reel_stream_init(&a->s, be, 0, &a->scratch);
    a->index.start = reel_new(&a->mem, REEL_I32, REEL_DIMS(a->n + 1));
    a->index.order = reel_new(&a->mem, REEL_I32, REEL_DIMS(a->S));
    reel_tiles_fill(a->index.start.p, a->index.order.p, grid);
    for (size_t i = 0; i < sizeof tok / sizeof *tok; i++) *tok[i] = reel_new(&a->mem, dt, REEL_DIMS(1, a->S, D));
    for (size_t i = 0; i < sizeof tile / sizeof *tile; i++) *tile[i] = reel_new(&a->mem, dt, REEL_DIMS(1, a->n, D));
    a->sel = reel_new(&a->mem, REEL_I32, REEL_DIMS(1, HEADS, a->n, a->topk));
    a->lse = reel_new(&a->mem, REEL_F32, REEL_DIMS(1, HEADS, a->S));
    a->lse_c = reel_new(&a->mem, REEL_F32, REEL_DIMS(1, HEADS, a->n));
    for (int t = 0; t < 5; t++)
        for (int64_t i = 0; i < a->S * D; i++) {
            float f = (float)((x = x * 1664525u + 1013904223u) >> 8) * 0x1p-23f - 1;
            if (dt == REEL_F32) ((float *)tok[t]->p)[i] = f;
            else ((uint16_t *)tok[t]->p)[i] = (uint16_t)((x >> 12 & 0x7f) | 0x3f00u | (x >> 31 << 15));
        }
}

static void dense_fwd(struct att *a)
{
    reel_attn_fwd(&a->s, a->o, a->lse, a->q, a->k, a->v, HEADS, everything);
}

static void dense_bwd(struct att *a)
{
    reel_attn_bwd(&a->s, a->dq, a->dk, a->dv, a->g, a->o, a->lse, a->q, a->k, a->v, HEADS, everything, 0);
}

static void sparse_fwd(struct att *a)
{
    reel_tile_mean(&a->s, a->qc, a->q, a->index);
    reel_tile_mean(&a->s, a->kc, a->k, a->index);
    reel_tile_mean(&a->s, a->vc, a->v, a->index);
    reel_attn_fwd(&a->s, a->c, a->lse_c, a->qc, a->kc, a->vc, HEADS, everything);
    reel_vsa_select(&a->s, a->sel, (reel_tensor){ 0 }, a->qc, a->kc, HEADS);
    reel_vsa_fwd(&a->s, a->fine, a->lse, a->q, a->k, a->v, a->sel, a->index, HEADS);
    reel_tile_gate_fwd(&a->s, a->o, a->gate, a->c, a->fine, a->index);
}

static void sparse_bwd(struct att *a)
{
    reel_tile_gate_bwd(&a->s, a->dgate, a->dc, a->g, a->gate, a->c, a->index);
    reel_attn_bwd(&a->s, a->dqc, a->dkc, a->dvc, a->dc, a->c, a->lse_c, a->qc, a->kc, a->vc, HEADS, everything, 0);
    reel_vsa_bwd(&a->s, a->dq, a->dk, a->dv, a->g, a->fine, a->lse, a->q, a->k, a->v, a->sel, a->dqc, a->dkc, a->dvc,
                 a->index, HEADS);
}

static void measure(struct att *a, void (*fwd)(struct att *), void (*bwd)(struct att *), size_t kept)
{
    a->kept = kept;
    BENCH_BEST(a->fwd_s, 2, min_s, fwd(a));
    BENCH_BEST(a->bwd_s, 2, min_s, bwd(a));
}

static double mib(size_t bytes)
{
    return (double)bytes / (1 << 20);
}

static void compare(const int64_t grid[3], reel_dtype dt)
{
    static const double sparsity[] = { 0.9, 0.95 };
    struct att d, a;

    open_att(&d, grid, 0.9, dt);
    measure(&d, dense_fwd, dense_bwd, reel_bytes(d.o) + reel_bytes(d.lse));
    printf("%s, %d heads x %d, grid %ldx%ldx%ld, S %ld\n  dense          fwd %8.4f s  bwd %8.4f s                        kept %7.1f MiB  scratch %6.1f MiB\n",
           reel_dtype_name(dt), HEADS, HEAD, (long)grid[0], (long)grid[1], (long)grid[2], (long)d.S, d.fwd_s, d.bwd_s, mib(d.kept), mib(d.scratch.peak));
    for (int i = 0; i < 2; i++) {
        open_att(&a, grid, sparsity[i], dt);
        measure(&a, sparse_fwd, sparse_bwd,
                reel_bytes(a.fine) + reel_bytes(a.gate) + reel_bytes(a.lse) + reel_bytes(a.lse_c) + reel_bytes(a.sel) + 4 * reel_bytes(a.c));
        printf("  %-4.2f %3ld of %-4ld fwd %8.4f s  bwd %8.4f s  over dense %.3f (%.3f, %.3f)  kept %7.1f MiB  scratch %6.1f MiB\n", sparsity[i],
               (long)a.topk, (long)a.n, a.fwd_s, a.bwd_s, (a.fwd_s + a.bwd_s) / (d.fwd_s + d.bwd_s), a.fwd_s / d.fwd_s,
               a.bwd_s / d.bwd_s, mib(a.kept), mib(a.scratch.peak));
        fflush(stdout);
        reel_arena_close(&a.mem, be), reel_arena_close(&a.scratch, be);
    }
    reel_arena_close(&d.mem, be), reel_arena_close(&d.scratch, be);
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 0;
    long largest = argc > 3 ? atol(argv[3]) : 8192;

    if (argc > 2) min_s = atof(argv[2]);
    if (threads == 1) bench_clock = CLOCK_PROCESS_CPUTIME_ID;
    if (reel_backend_open(&be, "cpu", threads)) return 1;
    reel_backend_pin(be);
    printf("%s, %s\n", bench_processor(), reel_backend_describe(be));
    compare((int64_t[]){ 8, 16, 16 }, REEL_F32);
    compare((int64_t[]){ 5, 21, 20 }, REEL_F32); /* tiles cut in every direction */
    if (largest >= 8192) compare((int64_t[]){ 8, 32, 32 }, REEL_F32);
    if (largest >= 8192) compare((int64_t[]){ 8, 32, 32 }, REEL_BF16);
    reel_backend_close(be);
    return 0;
}
