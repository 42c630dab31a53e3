/* Bandwidth of the operators that wait for memory: GB/s and per cent of a copy by the same threads or card.
 *   b_ops [threads [isa]]      rows of 1536, 4096 tokens
 *   b_ops cuda [tokens]        32768 tokens; REEL_CUDA_MODULE: the module's file. Exit 3: no GPU */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/exact.h"
#include "be/backend.h"
#include "be/device.h"
#include "be/ops.h"
#include "kernels/cpu/pool.h"

enum { D = 1536, HEADS = 12, FRAMES = 4, NO_GPU = 3 };

struct bench {
    int64_t S, N; /* tokens of the one sample, elements */
    struct reel_backend *be;
    struct reel_stream s;
    struct reel_arena a, scratch;
    struct reel_rows r;
    reel_dtype dt;
    reel_tensor x, y, z, u, mod, dmod, mean, rstd, w, dw, db, rot, f0, f1, f2, f3, lat, limbs, sum, sigma;
    double copy; /* GB/s */
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* best of some runs, at least 0.15 s */
static double best(struct bench *b, void (*f)(struct bench *b))
{
    double start = now(), fast = 1e9;

    int calls = reel_backend_on_device(b->be) ? 10 : 1; /* a card gets them without waiting for the host */

    f(b);
    reel_sync(&b->s);
    while (now() - start < 0.15) {
        double t = now();
        for (int i = 0; i < calls; i++) f(b);
        reel_sync(&b->s);
        t = (now() - t) / calls;
        if (t < fast) fast = t;
    }
    return fast;
}

static void line(struct bench *b, const char *name, void (*f)(struct bench *b), double bytes)
{
    double gbs = bytes / best(b, f) * 1e-9;

    printf("%-14s %-4s %8.1f GB/s %5.0f %%\n", name, reel_dtype_name(b->dt), gbs, 100 * gbs / b->copy);
}

static void copy_task(void *arg, int64_t i, int worker)
{
    struct bench *b = arg;
    size_t n = reel_bytes(b->f0) / 64;

    (void)worker;
    memcpy((char *)b->f1.p + (size_t)i * n, (char *)b->f0.p + (size_t)i * n, n);
}

static void copy(struct bench *b)
{
    if (reel_backend_on_device(b->be)) reel_copy(&b->s, reel_reshape(b->f1, b->f0.n, b->f0.nd), b->f0);
    else reel_pool_run(b->s.pool, 64, copy_task, b);
}
static void ln_fwd(struct bench *b) { reel_ln_mod_fwd(&b->s, b->y, b->mean, b->rstd, b->x, b->mod, 0, 1, b->r, 1e-6); }
static void ln_bwd(struct bench *b) { reel_ln_mod_bwd(&b->s, b->z, 0, b->dmod, b->y, b->x, b->mean, b->rstd, b->mod, 0, 1, b->r); }
static void aff_fwd(struct bench *b) { reel_ln_affine_fwd(&b->s, b->y, b->mean, b->rstd, b->x, b->w, b->w, b->r, 1e-6); }
static void aff_bwd(struct bench *b) { reel_ln_affine_bwd(&b->s, b->z, 0, b->dw, b->db, b->y, b->x, b->mean, b->rstd, b->w, b->r, 0); }
static void rms_fwd(struct bench *b) { reel_rms_rope_fwd(&b->s, b->y, b->rstd, b->x, b->w, b->rot, b->rot, b->r, HEADS, 1e-6, (reel_tensor){ 0 }); }
static void rms_bwd(struct bench *b) { reel_rms_rope_bwd(&b->s, b->z, b->dw, b->y, b->x, b->rstd, b->w, b->rot, b->rot, b->r, HEADS, 0, (reel_tensor){ 0 }); }
static void gate_fwd(struct bench *b) { reel_gate_fwd(&b->s, b->y, b->x, b->u, b->mod, 2, b->r); }
static void gate_bwd(struct bench *b) { reel_gate_bwd(&b->s, b->z, b->dmod, b->y, b->u, b->mod, 2, b->r); }
static void gelu_bwd(struct bench *b) { reel_gelu_bwd(&b->s, b->z, b->y, b->x); }
static void silu_fwd(struct bench *b) { reel_silu_fwd(&b->s, b->y, b->x); }
static void add(struct bench *b) { reel_add(&b->s, b->y, b->x); }
static void cast(struct bench *b) { reel_cast(&b->s, b->f1, b->x); }
static void cast_back(struct bench *b) { reel_cast(&b->s, b->x, b->f1); }
static void adamw(struct bench *b)
{
    reel_adamw(&b->s, b->f0, b->f1, b->f2, b->f3, (struct reel_adamw){ 1e-4, 0.9, 0.999, 1e-8, 0.01, 3, 1 });
}
static void axpby(struct bench *b) { reel_axpby(&b->s, b->f0, 0.1, b->f1, 0.9); }
static void sumsq(struct bench *b) { reel_sumsq(&b->s, b->limbs, b->f0); }
static void randn(struct bench *b) { reel_randn(&b->s, b->lat, 1, 1, 0, 0); }
static void patch(struct bench *b) { reel_patch(&b->s, reel_reshape(b->x, REEL_DIMS(b->S, D)), b->lat, 2, 2); }
static void flow(struct bench *b)
{
    reel_tensor v = reel_reshape(b->f1, b->lat.n, 5), x0 = reel_reshape(b->f2, b->lat.n, 5), e = reel_reshape(b->f3, b->lat.n, 5), none = { 0 };
    reel_flow_loss(&b->s, b->lat, b->sum, v, x0, e, none, none, none, 1e-6, 0);
}
static void mix(struct bench *b)
{
    reel_tensor x0 = reel_reshape(b->f2, b->lat.n, 5), e = reel_reshape(b->f3, b->lat.n, 5);
    reel_noise_mix(&b->s, b->lat, x0, e, b->sigma);
}

static reel_tensor vec(struct bench *b, reel_dtype dt, int64_t n)
{
    reel_tensor x = reel_new(&b->a, dt, REEL_DIMS(n));

    reel_fill(&b->s, x, 0.5);
    return x;
}

static void setup(struct bench *b, reel_dtype dt)
{
    const int64_t S = b->S, N = b->N;

    b->dt = dt;
    b->a.used = 0;
    b->r = reel_rows_make(1, S, S / FRAMES);
    b->f0 = vec(b, REEL_F32, N), b->f1 = vec(b, REEL_F32, N), b->f2 = vec(b, REEL_F32, N), b->f3 = vec(b, REEL_F32, N);
    b->f0 = reel_reshape(b->f0, REEL_DIMS(S, D));
    b->lat = reel_reshape(vec(b, REEL_F32, N), REEL_DIMS(1, FRAMES, 384, 2, S / FRAMES * 2));
    reel_randn(&b->s, b->lat, 1, 1, 0, 0);
    b->x = reel_reshape(vec(b, dt, N), REEL_DIMS(S, D)), b->y = reel_reshape(vec(b, dt, N), REEL_DIMS(S, D));
    b->z = reel_reshape(vec(b, dt, N), REEL_DIMS(S, D)), b->u = reel_reshape(vec(b, dt, N), REEL_DIMS(S, D));
    reel_cast(&b->s, b->x, b->lat);
    b->mod = reel_reshape(vec(b, REEL_F32, FRAMES * 6 * D), REEL_DIMS(FRAMES, 6, D)), b->dmod = reel_reshape(vec(b, REEL_F32, FRAMES * 6 * D), REEL_DIMS(FRAMES, 6, D));
    b->mean = vec(b, REEL_F32, S), b->rstd = vec(b, REEL_F32, S), b->w = vec(b, REEL_F32, D), b->dw = vec(b, REEL_F32, D), b->db = vec(b, REEL_F32, D);
    b->rot = vec(b, REEL_F32, (int64_t)S * D / HEADS / 2), b->limbs = vec(b, REEL_I64, REEL_EXACT_LIMBS), b->sum = vec(b, REEL_F64, 4), b->sigma = vec(b, REEL_F32, 1);
}

static void rows(struct bench *b)
{
    double e = (double)b->N * (double)reel_dtype_size(b->dt), f = (double)b->N * 4;

    line(b, "ln_mod_fwd", ln_fwd, 2 * e);
    line(b, "ln_mod_bwd", ln_bwd, 3 * e);
    line(b, "ln_affine_fwd", aff_fwd, 2 * e);
    line(b, "ln_affine_bwd", aff_bwd, 3 * e);
    line(b, "rms_rope_fwd", rms_fwd, 2 * e);
    line(b, "rms_rope_bwd", rms_bwd, 3 * e);
    line(b, "gate_fwd", gate_fwd, 3 * e);
    line(b, "gate_bwd", gate_bwd, 3 * e);
    line(b, "gelu_bwd", gelu_bwd, 3 * e);
    line(b, "silu_fwd", silu_fwd, 2 * e);
    line(b, "add", add, 3 * e);
    line(b, "cast to f32", cast, e + f);
    line(b, "cast from f32", cast_back, e + f);
    line(b, "patch", patch, e + f);
}

static reel_err open_backend(struct bench *b, int argc, char **argv)
{
    const struct reel_module *m;

    b->S = 4096;
    if (argc < 2 || strcmp(argv[1], "cuda"))
        return reel_backend_open_isa(&b->be, "cpu", argc > 1 ? atoi(argv[1]) : 0, argc > 2 ? argv[2] : NULL);
    b->S = argc > 2 ? atoi(argv[2]) / FRAMES * FRAMES : 32768;
    REEL_TRY(reel_module_open(&m, getenv("REEL_CUDA_MODULE")));
    return reel_backend_open_device(&b->be, m, 0);
}

int main(int argc, char **argv)
{
    struct bench b = { 0 };
    size_t f32;
    double f;

    if (open_backend(&b, argc, argv)) {
        reel_err_print(reel_errrec());
        return argc > 1 && !strcmp(argv[1], "cuda") ? NO_GPU : 1;
    }
    b.N = b.S * D;
    f32 = (size_t)b.N * 4;
    f = (double)f32;
    if (reel_arena_open(&b.a, b.be, "bench", 11 * f32 + (1 << 20)) || reel_arena_open(&b.scratch, b.be, "scratch", f32 + (1 << 20))) {
        reel_err_print(reel_errrec());
        return 1;
    }
    reel_stream_init(&b.s, b.be, 0, &b.scratch);
    setup(&b, REEL_F32);
    b.copy = 2 * f / best(&b, copy) * 1e-9;
    printf("%s\ncopy %.1f GB/s (read and written); %lld rows of %d\n", reel_backend_describe(b.be), b.copy, (long long)b.S, D);
    rows(&b);
    line(&b, "adamw", adamw, 7 * f);
    line(&b, "axpby", axpby, 3 * f);
    line(&b, "sumsq", sumsq, f);
    line(&b, "randn", randn, f);
    line(&b, "noise_mix", mix, 3 * f);
    line(&b, "flow_loss", flow, 4 * f);
    setup(&b, REEL_BF16);
    rows(&b);
    reel_arena_close(&b.a, b.be);
    reel_arena_close(&b.scratch, b.be);
    reel_backend_close(b.be);
    return 0;
}
