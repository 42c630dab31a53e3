/* What a GPU makes of the operators and NCCL of its links: TFLOP/s and GB/s, and the share of the card's data sheet.
 *   b_gpu -l               the cards that this process sees
 *   b_gpu [TOKENS]         one card; a sample of 1.3B and 14B models (32760 tokens: 81 frames of 480 x 832)
 *   mpiexec -n N b_gpu     the same on N cards, and collectives among them
 * REEL_CUDA_MODULE: the module's file. Without a GPU it says so and exits with 3. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "be/device.h"
#include "be/ops.h"
#include "bench.h"
#include "comm/comm.h"

enum { NO_GPU = 3 };
static const size_t ARENA = (size_t)6 << 30, SCRATCH = (size_t)2 << 30;

struct bench {
    struct reel_comm world;
    struct reel_mesh mesh;
    struct reel_backend *be;
    struct reel_stream s;
    struct reel_arena a, scratch;
    const struct reel_gpu_spec *spec;
    int64_t tokens;
};

static int list_gpus(const struct reel_module *m, const struct reel_gpus *g)
{
    struct reel_device_info info;

    for (int i = 0; i < g->n; i++)
        if (m->device->info(i, &info) == REEL_OK)
            printf("GPU %d: %s, %.1f GiB, %s\n", i, info.name, (double)info.bytes / (1 << 30), info.bus);
    if (!g->n) printf("no GPU: %s\n", g->why);
    return g->n ? 0 : NO_GPU;
}

static reel_tensor filled(struct bench *b, reel_dtype dt, const int64_t *n, int nd)
{
    reel_tensor t = reel_new(&b->a, dt, n, nd);

    reel_fill(&b->s, t, 0.01);
    return t;
}

/* One line: seconds per call, the rate and its share of `peak` (0: not known). */
static void show(struct bench *b, const char *name, double seconds, double work, double scale, const char *unit, double peak)
{
    if (b->world.rank) return;
    printf("%-34s %10.3f ms %10.1f %s", name, 1e3 * seconds, work / seconds / scale, unit);
    if (peak > 0) printf(" %5.1f %%", 100 * work / seconds / peak);
    printf("\n");
    fflush(stdout);
}

/* Seconds of a call among `n` that the card gets without waiting for the host. */
#define TIMED(b, out, n, ...)                               \
    do {                                                    \
        __VA_ARGS__;                                        \
        reel_sync(&(b)->s);                                 \
        (out) = bench_now();                                \
        for (int k_ = 0; k_ < (n); k_++) { __VA_ARGS__; }   \
        reel_sync(&(b)->s);                                 \
        (out) = (bench_now() - (out)) / (n);                \
    } while (0)

static void products(struct bench *b, int64_t k, int64_t n)
{
    struct reel_rows r = reel_rows_make(1, b->tokens, b->tokens);
    reel_tensor none = { 0 }, x = filled(b, REEL_BF16, REEL_DIMS(b->tokens, k)), w = filled(b, REEL_BF16, REEL_DIMS(n, k));
    reel_tensor y = filled(b, REEL_BF16, REEL_DIMS(b->tokens, n)), dw = filled(b, REEL_F32, REEL_DIMS(n, k));
    double t, flops = 2.0 * (double)b->tokens * (double)k * (double)n, peak = b->spec ? b->spec->flops : 0;
    char name[64];

    snprintf(name, sizeof name, "linear %lld -> %lld", (long long)k, (long long)n);
    TIMED(b, t, 10, reel_linear_fwd(&b->s, y, none, x, w, none, r, REEL_UNCUT, REEL_EPI_NONE));
    show(b, name, t, flops, 1e12, "TFLOP/s", peak);
    TIMED(b, t, 10, reel_linear_bwd_x(&b->s, x, y, w, r, REEL_UNCUT, 0));
    show(b, "  of the input", t, flops, 1e12, "TFLOP/s", peak);
    TIMED(b, t, 10, reel_linear_bwd_w(&b->s, dw, none, x, y, r, REEL_UNCUT, 0));
    show(b, "  of the weight", t, flops, 1e12, "TFLOP/s", peak);
    reel_arena_reset(&b->a, 0);
}

static void attention(struct bench *b, int heads, int64_t hd)
{
    int64_t s = b->tokens, d = heads * hd;
    reel_tensor q = filled(b, REEL_BF16, REEL_DIMS(1, s, d)), k = filled(b, REEL_BF16, REEL_DIMS(1, s, d)), v = filled(b, REEL_BF16, REEL_DIMS(1, s, d));
    reel_tensor o = filled(b, REEL_BF16, REEL_DIMS(1, s, d)), g = filled(b, REEL_BF16, REEL_DIMS(1, s, d)), lse = filled(b, REEL_F32, REEL_DIMS(1, heads, s));
    reel_tensor dq = filled(b, REEL_BF16, REEL_DIMS(1, s, d)), dk = filled(b, REEL_BF16, REEL_DIMS(1, s, d)), dv = filled(b, REEL_BF16, REEL_DIMS(1, s, d));
    struct reel_mask mask = { .see = REEL_SEE_ALL };
    double t, f, peak = b->spec ? b->spec->flops : 0;
    char name[64];

    snprintf(name, sizeof name, "attention, %d heads of %d", heads, (int)hd);
    f = b->s.flops;
    reel_attn_fwd(&b->s, o, lse, q, k, v, heads, mask);
    f = b->s.flops - f;
    TIMED(b, t, 3, reel_attn_fwd(&b->s, o, lse, q, k, v, heads, mask));
    show(b, name, t, f, 1e12, "TFLOP/s", peak);
    TIMED(b, t, 3, reel_attn_bwd(&b->s, dq, dk, dv, g, o, lse, q, k, v, heads, mask, 0));
    show(b, "  backward", t, 2 * f, 1e12, "TFLOP/s", peak);
    reel_arena_reset(&b->a, 0);
}

static void memory_bound(struct bench *b, int64_t d)
{
    struct reel_rows r = reel_rows_make(1, b->tokens, b->tokens);
    reel_tensor x = filled(b, REEL_BF16, REEL_DIMS(b->tokens, d)), y = filled(b, REEL_BF16, REEL_DIMS(b->tokens, d));
    reel_tensor mean = filled(b, REEL_F32, REEL_DIMS(b->tokens)), rstd = filled(b, REEL_F32, REEL_DIMS(b->tokens)), mod = filled(b, REEL_F32, REEL_DIMS(1, 6, d));
    reel_tensor p = filled(b, REEL_F32, REEL_DIMS(b->tokens * d)), m = filled(b, REEL_F32, REEL_DIMS(b->tokens * d)), v = filled(b, REEL_F32, REEL_DIMS(b->tokens * d)), g = filled(b, REEL_F32, REEL_DIMS(b->tokens * d));
    double t, n = (double)b->tokens * (double)d, peak = b->spec ? b->spec->memory : 0;

    TIMED(b, t, 20, reel_copy(&b->s, p, m));
    show(b, "copy", t, 8 * n, 1e9, "GB/s", peak);
    TIMED(b, t, 20, reel_ln_mod_fwd(&b->s, y, mean, rstd, x, mod, 0, 1, r, 1e-6));
    show(b, "norm and modulation, bf16", t, 4 * n, 1e9, "GB/s", peak);
    TIMED(b, t, 20, reel_gate_fwd(&b->s, y, x, x, mod, 2, r));
    show(b, "gate and residual, bf16", t, 6 * n, 1e9, "GB/s", peak);
    TIMED(b, t, 10, reel_adamw(&b->s, p, m, v, g, (struct reel_adamw){ 1e-4, 0.9, 0.999, 1e-8, 0.01, 3, 1 }));
    show(b, "AdamW", t, 28 * n, 1e9, "GB/s", peak);
    reel_arena_reset(&b->a, 0);
}

/* Bytes that a card receives from others over the time: what NCCL's tests call bus bandwidth. */
static void collectives(struct bench *b)
{
    struct reel_comm *c = &b->mesh.shard;
    double peak = b->spec ? b->spec->link : 0;

    for (int64_t mib = 1; mib <= 256 && c->size > 1; mib *= 16) {
        int64_t n = (mib << 20) / c->size * c->size;
        reel_tensor x = filled(b, REEL_U8, REEL_DIMS(n)), y = filled(b, REEL_U8, REEL_DIMS(n));
        double t, bytes = (double)n * (c->size - 1) / c->size;
        struct reel_req q = { .n = 0 };
        char name[64];
        snprintf(name, sizeof name, "all-gather of %lld MiB", (long long)mib);
        TIMED(b, t, 10, reel_comm_allgather_start(c, &b->s, x, &q); reel_comm_wait(c, &q));
        show(b, name, t, bytes, 1e9, "GB/s", peak);
        snprintf(name, sizeof name, "all-to-all of %lld MiB", (long long)mib);
        TIMED(b, t, 10, reel_comm_alltoall_start(c, &b->s, y, x, &q); reel_comm_wait(c, &q));
        show(b, name, t, bytes, 1e9, "GB/s", peak);
        reel_arena_reset(&b->a, 0);
    }
}

static reel_err open_bench(struct bench *b, const struct reel_module *m, int gpus)
{
    struct reel_mesh_dims d = { .world = b->world.size, .replicate = 1, .shard = b->world.size, .sp = 1, .tp = 1 };
    size_t share = b->tokens < 4096 ? 64 : 1; /* a trial needs little */

    REEL_TRY(reel_mesh_open(&b->mesh, &b->world, &d));
    REEL_TRY(reel_backend_open_device(&b->be, m, b->world.rank % gpus));
    REEL_TRY(reel_mesh_attach(&b->mesh, b->be));
    REEL_TRY(reel_arena_open(&b->a, b->be, "bench", ARENA / share));
    REEL_TRY(reel_arena_open(&b->scratch, b->be, "scratch", SCRATCH / share));
    reel_stream_init(&b->s, b->be, 0, &b->scratch);
    b->spec = reel_backend_spec(b->be);
    return REEL_OK;
}

static void run(struct bench *b)
{
    int64_t wide = b->tokens < 4096 ? 128 : 1536;

    if (!b->world.rank)
        printf("%s, %d card%s, %lld tokens; shares are of %s\n", reel_backend_describe(b->be), b->world.size, b->world.size > 1 ? "s" : "",
               (long long)b->tokens, b->spec ? "the card's data sheet" : "nothing: the card is not in the table");
    products(b, wide, wide);
    products(b, wide, wide * 35 / 6);
    if (b->tokens >= 4096) products(b, 5120, 13824);
    attention(b, (int)(wide / 128), 128);
    attention(b, (int)(wide / 64), 64);
    memory_bound(b, wide);
    collectives(b);
}

int main(int argc, char **argv)
{
    static struct bench b;
    const struct reel_module *m = NULL;
    struct reel_gpus g;
    int only_list = argc > 1 && !strcmp(argv[1], "-l");

    if (reel_comm_start(&b.world, &argc, &argv)) return 1;
    reel_gpus_look(&g, reel_module_open(&m, getenv("REEL_CUDA_MODULE")) ? NULL : m);
    if (only_list || !g.n) {
        int rc = b.world.rank ? (g.n ? 0 : NO_GPU) : list_gpus(m, &g);
        reel_comm_stop();
        return rc;
    }
    b.tokens = argc > 1 ? atol(argv[1]) : 32760;
    if (reel_agree(&b.world, open_bench(&b, m, g.n))) {
        if (!b.world.rank) reel_err_print(reel_errrec());
        reel_comm_stop();
        return 1;
    }
    run(&b);
    reel_arena_close(&b.a, b.be);
    reel_arena_close(&b.scratch, b.be);
    reel_mesh_detach(&b.mesh, b.be);
    reel_backend_close(b.be);
    reel_mesh_close(&b.mesh);
    reel_comm_stop();
    return 0;
}
