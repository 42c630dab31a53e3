#ifndef REEL_TESTS_OP_COMMON_H
#define REEL_TESTS_OP_COMMON_H

/* What the tests of matrix products and attention share: a backend with its own scratch, tensors
 * in host memory filled with uniform values, and relative errors. Memory is not given back. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "be/backend.h"
#include "be/be.h"
#include "be/ops.h"

struct ctx {
    struct reel_backend *be;
    struct reel_arena mem;
    struct reel_stream s;
};

/* A backend of `threads` workers and `mib` of scratch. */
static struct ctx *ctx_open(int threads, size_t mib)
{
    struct ctx *c = calloc(1, sizeof *c);

    if (!c || reel_backend_open(&c->be, "cpu", threads) || reel_arena_open(&c->mem, c->be, "scratch", mib << 20)) {
        printf("Bail out! no backend\n");
        exit(1);
    }
    reel_stream_init(&c->s, c->be, 0, &c->mem);
    return c;
}

static void ctx_close(struct ctx *c)
{
    reel_arena_close(&c->mem, c->be);
    reel_backend_close(c->be);
    free(c);
}

static uint32_t t_seed = 1;

static double t_uniform(void)
{
    t_seed = t_seed * 1664525u + 1013904223u;
    return (double)(t_seed >> 8) * 0x1p-23 - 1;
}

static double t_get(reel_tensor t, int64_t i)
{
    uint32_t u;
    float f;

    if (t.dt == REEL_F32) return (double)((float *)t.p)[i];
    u = (uint32_t)((uint16_t *)t.p)[i] << 16;
    memcpy(&f, &u, sizeof f);
    return (double)f;
}

static void t_set(reel_tensor t, int64_t i, double x)
{
    float f = (float)x;
    uint32_t u;

    if (t.dt == REEL_F32) {
        ((float *)t.p)[i] = f;
        return;
    }
    memcpy(&u, &f, sizeof u);
    ((uint16_t *)t.p)[i] = (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

/* An uninitialised (poisoned) tensor. */
static reel_tensor t_new(reel_dtype dt, const int64_t *n, int nd)
{
    reel_tensor t = reel_view(NULL, dt, n, nd);
    size_t bytes = reel_bytes(t);

    t.p = malloc(bytes + 64);
    memset(t.p, 0xff, bytes + 64);
    return t;
}

static reel_tensor t_rand(reel_dtype dt, const int64_t *n, int nd)
{
    reel_tensor t = t_new(dt, n, nd);

    for (int64_t i = 0; i < reel_numel(t); i++) t_set(t, i, t_uniform());
    return t;
}

static reel_tensor t_copy(reel_tensor x)
{
    reel_tensor t = t_new(x.dt, x.n, x.nd);

    memcpy(t.p, x.p, reel_bytes(x));
    return t;
}

static int t_same(reel_tensor a, reel_tensor b)
{
    return reel_bytes(a) == reel_bytes(b) && !memcmp(a.p, b.p, reel_bytes(a));
}

/* largest |got - want| over the root mean square of want; infinite if got is no number */
static double t_error(reel_tensor got, const double *want)
{
    double worst = 0, sum = 0;
    int64_t n = reel_numel(got);

    for (int64_t i = 0; i < n; i++) {
        double e = fabs(t_get(got, i) - want[i]);
        if (!(e <= worst)) worst = isfinite(e) ? e : HUGE_VAL;
        sum += want[i] * want[i];
    }
    return n ? worst / (sqrt(sum / (double)n) + 1e-300) : 0;
}

static inline reel_tensor t_none(void)
{
    return (reel_tensor){ 0 };
}

#endif
