#ifndef REEL_TESTS_OP_H
#define REEL_TESTS_OP_H

/* Harness of the operator tests. An operator runs under every combination of instruction set and
 * thread number, or twice on a GPU; the first run is compared with an f64 formula, all others with its bits.
 * Gradients are compared with central differences of the f64 formula. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/exact.h"
#include "base/rng.h"
#include "be/backend.h"
#include "be/ops.h"
#include "device.h"
#include "kernels/scalar.h"
#include "tap.h"

struct op {
    struct reel_backend *be;
    struct reel_stream s;
    struct reel_arena a, scratch;
    uint64_t hash; /* of everything read back */
    int check;     /* 1: the first run */
    const char *what;
};

static const struct { const char *isa; int threads; } op_runs[] = {
    { "portable", 1 }, { "portable", 2 }, { "avx2", 1 }, { "avx2", 3 }, { "avx512", 1 }, { "avx512", 2 }, { NULL, 3 },
};

static inline int op_open(struct op *t, const char *isa, int threads)
{
    static struct reel_backend *gpu; /* opened once */

    memset(t, 0, sizeof *t);
    if (test_on_cuda() ? !gpu && test_backend(&gpu, threads) : reel_backend_open_isa(&t->be, "cpu", threads, isa)) return 0;
    if (gpu) t->be = gpu;
    if (reel_arena_open(&t->a, t->be, "op", (size_t)64 << 20) || reel_arena_open(&t->scratch, t->be, "scratch", (size_t)64 << 20))
        abort();
    reel_stream_init(&t->s, t->be, 0, &t->scratch);
    t->hash = 0xcbf29ce484222325u;
    return 1;
}

static inline void op_close(struct op *t)
{
    reel_arena_close(&t->a, t->be);
    reel_arena_close(&t->scratch, t->be);
    if (!test_on_cuda()) reel_backend_close(t->be);
}

/* Runs body(t, c) in every combination; reports the equality of bits. */
static inline void op_all(const char *what, void (*body)(struct op *t, const void *c), const void *c)
{
    uint64_t first = 0;
    int same = 1, n = 0;

    for (size_t i = 0; i < (test_on_cuda() ? 2 : sizeof op_runs / sizeof *op_runs); i++) {
        struct op t;
        if (!op_open(&t, op_runs[i].isa, op_runs[i].threads)) {
            if (test_on_cuda()) printf("# %s\n", reel_errrec()->msg);
            reel_err_clear();
            continue;
        }
        t.check = !n++;
        t.what = what;
        body(&t, c);
        if (t.check) first = t.hash;
        if (t.hash != first) {
            same = 0;
            printf("# %s: other bits with %s, %d threads\n", what, t.be->ops.name, t.be->threads);
        }
        op_close(&t);
    }
    TAP_OK(same && n, "%s: same bits in %d combinations of instruction set and threads", what, n);
}

/* n doubles that are exact in dt: normals times scale */
static inline double *op_rand(int64_t n, uint64_t key, double scale, reel_dtype dt)
{
    double *x = calloc(n > 0 ? (size_t)n : 1, sizeof *x);

    for (int64_t i = 0; i < n; i++) {
        float v = reel_normal(key, 7, 0, 0, (uint64_t)i) * (float)scale;
        x[i] = (double)(dt == REEL_BF16 ? reel_bf16_f32(reel_f32_bf16(v)) : v);
    }
    return x;
}

/* a tensor of dt that holds x, or NaN everywhere if x is NULL */
static inline reel_tensor op_put(struct op *t, reel_dtype dt, const double *x, const int64_t *n, int nd)
{
    reel_tensor y = reel_new(&t->a, dt, n, nd);
    int64_t count = reel_numel(y);
    void *host = malloc(reel_bytes(y) + 1);

    for (int64_t i = 0; i < count; i++) {
        double v = x ? x[i] : (double)NAN;
        if (dt == REEL_F64) ((double *)host)[i] = v;
        else if (dt == REEL_F32) ((float *)host)[i] = (float)v;
        else ((uint16_t *)host)[i] = reel_f32_bf16((float)v);
    }
    reel_put(&t->s, y, host);
    free(host);
    return y;
}

static inline double *op_get(struct op *t, reel_tensor x)
{
    int64_t n = reel_numel(x);
    double *y = malloc((size_t)(n ? n : 1) * sizeof *y);
    void *raw = test_host(&t->s, x);

    for (size_t i = 0; i < reel_bytes(x); i++) t->hash = (t->hash ^ ((unsigned char *)raw)[i]) * 0x100000001b3u;
    for (int64_t i = 0; i < n; i++)
        y[i] = x.dt == REEL_F64 ? ((double *)raw)[i] : x.dt == REEL_F32 ? (double)((float *)raw)[i] : (double)reel_bf16_f32(((uint16_t *)raw)[i]);
    free(raw);
    return y;
}

/* what an exact accumulator holds */
static inline double op_exact(struct op *t, reel_tensor limbs)
{
    int64_t v[REEL_EXACT_LIMBS];

    reel_get(&t->s, v, limbs);
    return reel_exact_value(v);
}

/* largest difference over largest reference; NaN sticks */
static inline double op_err(const double *a, const double *ref, int64_t n)
{
    double e = 0, m = 1e-300;

    for (int64_t i = 0; i < n; i++) {
        double d = fabs(a[i] - ref[i]);
        if (!(d <= e)) e = d;
        if (fabs(ref[i]) > m) m = fabs(ref[i]);
    }
    return e / m;
}

/* compares a tensor with its f64 values */
static inline void op_close_to(struct op *t, const char *name, reel_tensor x, const double *ref, double tol)
{
    double *y = op_get(t, x), e = op_err(y, ref, reel_numel(x));

    if (t->check) TAP_OK(e <= tol, "%s: %s within %.1g (%.2g)", t->what, name, tol, e);
    free(y);
}

/* compares a gradient with central differences of L(ctx) over x[n]: single elements and random directions;
 * base: what the gradient tensor held before (NULL: zero) */
static inline void op_grad(struct op *t, const char *name, reel_tensor g, double (*L)(const void *ctx),
                           const void *ctx, double *x, int64_t n, const double *base, double tol)
{
    double *y = op_get(t, g), h = 1e-4, worst = 0, norm = 0, *u, *keep, plus, minus, dot = 0;

    if (!t->check) {
        free(y);
        return;
    }
    if (base) for (int64_t i = 0; i < n; i++) y[i] -= base[i];
    for (int64_t i = 0; i < n; i++) norm = fmax(norm, fabs(y[i]));
    for (int64_t k = 0; k < 24 && k < n; k++) {
        int64_t i = n <= 24 ? k : (k * 7919 + k * k * 31) % n;
        double at = x[i], d;
        x[i] = at + h;
        plus = L(ctx);
        x[i] = at - h;
        minus = L(ctx);
        x[i] = at;
        d = fabs((plus - minus) / (2 * h) - y[i]) / (norm + 1e-300);
        if (!(d <= worst)) worst = d;
    }
    TAP_OK(worst <= tol, "%s: %s, elements against differences within %.1g (%.2g)", t->what, name, tol, worst);
    u = op_rand(n, 99, 1, REEL_F32);
    keep = malloc((size_t)n * sizeof *keep);
    memcpy(keep, x, (size_t)n * sizeof *keep);
    for (int64_t i = 0; i < n; i++) x[i] = keep[i] + h * u[i];
    plus = L(ctx);
    for (int64_t i = 0; i < n; i++) x[i] = keep[i] - h * u[i];
    minus = L(ctx);
    memcpy(x, keep, (size_t)n * sizeof *keep);
    for (int64_t i = 0, j = 0; i < n; i++, j++) dot += y[i] * u[i];
    worst = fabs((plus - minus) / (2 * h) - dot) / (norm * sqrt((double)n) + 1e-300);
    TAP_OK(worst <= tol, "%s: %s, a direction against differences within %.1g (%.2g)", t->what, name, tol, worst);
    free(u);
    free(keep);
    free(y);
}

static inline double op_tol(reel_dtype dt, double f32) { return dt == REEL_BF16 ? 0.008 : f32; }

#endif
