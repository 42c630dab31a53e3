#ifndef REEL_TESTS_OP_COMMON_H
#define REEL_TESTS_OP_COMMON_H

/* What the tests of matrix products and attention share: a backend with its own scratch, tensors
 * filled with uniform values, and relative errors. Memory is not given back.
 *
 * A tensor of a GPU has a twin in host memory, which is what the functions here read and write. on(c) is the stream
 * for the next operator: it brings over what was written; the results come back when somebody reads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "be/backend.h"
#include "be/be.h"
#include "be/ops.h"
#include "device.h"

struct ctx {
    struct reel_backend *be;
    struct reel_arena mem;
    struct reel_stream s;
};

enum { T_BYTES = 256 << 20 };

/* The tensors, if they are on a GPU: dev and its twin. */
static struct {
    struct reel_arena dev;
    char *host;
    int written, stale; /* the twin has news, the GPU may have */
    struct ctx *last;   /* who ran last */
} t_mem;

/* A backend of `threads` workers and `mib` of scratch. */
static struct ctx *ctx_open(int threads, size_t mib)
{
    struct ctx *c = calloc(1, sizeof *c);

    if (!c || test_backend(&c->be, threads) || reel_arena_open(&c->mem, c->be, "scratch", mib << 20)) {
        printf("Bail out! no backend: %s\n", reel_errrec()->msg);
        exit(1);
    }
    reel_stream_init(&c->s, c->be, 0, &c->mem);
    if (test_on_cuda() && !t_mem.host) {
        t_mem.host = malloc(T_BYTES);
        if (!t_mem.host || reel_arena_open(&t_mem.dev, c->be, "tensors", T_BYTES)) {
            printf("Bail out! no memory for tensors\n");
            exit(1);
        }
    }
    return c;
}

__attribute__((unused)) static struct reel_stream *on(struct ctx *c)
{
    if (!test_on_cuda()) return &c->s;
    if (t_mem.last && t_mem.last != c) reel_sync(&t_mem.last->s);
    if (t_mem.written) reel_put(&c->s, reel_view(t_mem.dev.base, REEL_U8, REEL_DIMS((int64_t)t_mem.dev.used)), t_mem.host);
    t_mem.written = 0;
    t_mem.stale = 1;
    t_mem.last = c;
    return &c->s;
}

/* Where the host finds what t.p points to. */
static void *t_host(reel_tensor t)
{
    if (!t_mem.host) return t.p;
    if (t_mem.stale) reel_get(&t_mem.last->s, t_mem.host, reel_view(t_mem.dev.base, REEL_U8, REEL_DIMS((int64_t)t_mem.dev.used)));
    t_mem.stale = 0;
    return t_mem.host + ((char *)t.p - t_mem.dev.base);
}

/* The same, to be written. */
__attribute__((unused)) static void *t_edit(reel_tensor t)
{
    void *p = t_host(t);

    t_mem.written = 1;
    return p;
}

/* Gives back the tensors of a GPU made since `mark` bytes were in use. */
__attribute__((unused)) static size_t t_used(void) { return t_mem.dev.used; }
__attribute__((unused)) static void t_forget(size_t mark)
{
    if (!t_mem.host) return;
    if (t_mem.stale) t_host((reel_tensor){ .p = t_mem.dev.base });
    reel_arena_reset(&t_mem.dev, mark);
}

static void ctx_close(struct ctx *c)
{
    if (t_mem.last == c && t_mem.stale) t_host((reel_tensor){ .p = t_mem.dev.base });
    if (t_mem.last == c) t_mem.last = NULL;
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
    const void *p = t_host(t);
    uint32_t u;
    float f;

    if (t.dt == REEL_F32) return (double)((const float *)p)[i];
    u = (uint32_t)((const uint16_t *)p)[i] << 16;
    memcpy(&f, &u, sizeof f);
    return (double)f;
}

static void t_set(reel_tensor t, int64_t i, double x)
{
    void *p = t_host(t);
    float f = (float)x;
    uint32_t u;

    t_mem.written = 1;
    if (t.dt == REEL_F32) {
        ((float *)p)[i] = f;
        return;
    }
    memcpy(&u, &f, sizeof u);
    ((uint16_t *)p)[i] = (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

/* An uninitialised (poisoned) tensor. */
static reel_tensor t_new(reel_dtype dt, const int64_t *n, int nd)
{
    reel_tensor t = reel_view(NULL, dt, n, nd);
    size_t bytes = reel_bytes(t);

    if (test_on_cuda()) {
        t.p = reel_arena_push(&t_mem.dev, bytes + 64);
        memset(t_host(t), 0xff, bytes + 64);
        t_mem.written = 1;
    } else {
        t.p = malloc(bytes + 64);
        memset(t.p, 0xff, bytes + 64);
    }
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

    memcpy(t_host(t), t_host(x), reel_bytes(x));
    return t;
}

static int t_same(reel_tensor a, reel_tensor b)
{
    return reel_bytes(a) == reel_bytes(b) && !memcmp(t_host(a), t_host(b), reel_bytes(a));
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
