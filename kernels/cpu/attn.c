/* Attention over (sample, head): tasks, temporary memory, and the order of the sums of dq. */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/pool.h"
#include "kernels/kernels.h"

#define QUERIES 480 /* most queries of a forward task: packing K and V costs them about 4% */

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t up(int64_t n, int64_t unit)
{
    return ceil_div(n, unit) * unit;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

struct job {
    struct reel_attn a; /* of sample 0, head 0 */
    const struct reel_cpu_isa *isa;
    int64_t b, heads, tile, tiles; /* queries (forward) or keys (backward) of a task, tasks per head */
    float *mem;                    /* per worker */
    size_t mem_floats;
    float *delta;       /* [b, heads, sq] */
    float *acc;         /* [slots][sq up][hd up] sums of dq in flight */
    _Atomic int64_t *done; /* [slots][blocks of queries] */
    int64_t slots;
};

static const void *at_const(const void *p, int64_t elements, int dt)
{
    return p ? (const char *)p + elements * (dt == REEL_BF16 ? 2 : 4) : NULL;
}

static void *at(void *p, int64_t elements, int dt)
{
    return p ? (char *)p + elements * (dt == REEL_BF16 ? 2 : 4) : NULL;
}

/* The attention of pair bh = sample * heads + head. */
static struct reel_attn pair(const struct job *j, int64_t bh)
{
    struct reel_attn a = j->a;
    int64_t q = bh / j->heads * a.sq * a.ld + bh % j->heads * a.hd;
    int64_t k = bh / j->heads * a.sk * a.ld + bh % j->heads * a.hd;

    a.q = at_const(a.q, q, a.dt);
    a.k = at_const(a.k, k, a.dt);
    a.v = at_const(a.v, k, a.dt);
    a.dout = at_const(a.dout, q, a.dt);
    a.o = at(a.o, q, a.dt);
    a.dq = at(a.dq, q, a.dt);
    a.dk = at(a.dk, k, a.dt);
    a.dv = at(a.dv, k, a.dt);
    a.lse += bh * a.sq;
    a.delta = j->delta ? j->delta + bh * a.sq : NULL;
    return a;
}

static struct job new_job(int64_t b, int64_t sq, int64_t sk, int heads, int64_t hd)
{
    return (struct job){
        .a = { .sq = sq, .sk = sk, .hd = hd, .ld = heads * hd }, .isa = reel_cpu_isa(), .b = b, .heads = heads,
    };
}

/* ---- masks, plainly: one pair (sample, head) per task, f64 ---- */

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct plain {
    const struct job *j;
    struct reel_mask m;
    int64_t dk0, g;
};

static double get(const void *p, int64_t i, int dt)
{
    uint32_t u;
    float f;

    if (dt == REEL_F32) return (double)((const float *)p)[i];
    u = (uint32_t)((const uint16_t *)p)[i] << 16;
    memcpy(&f, &u, sizeof f);
    return (double)f;
}

static void set(void *p, int64_t i, int dt, double x)
{
    float f = (float)x;
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    if (dt == REEL_F32) ((float *)p)[i] = f;
    else ((uint16_t *)p)[i] = (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

static double dots(const void *x, int64_t i, const void *y, int64_t j, int64_t n, int dt)
{
    double s = 0;

    for (int64_t c = 0; c < n; c++) s += get(x, i + c, dt) * get(y, j + c, dt);
    return s;
}

static void plain_fwd(void *arg, int64_t bh, int worker)
{
    const struct plain *x = arg;
    struct reel_attn a = pair(x->j, bh);
    double *o = malloc((size_t)a.hd * sizeof *o), scale = 1 / sqrt((double)a.hd);

    (void)worker;
    for (int64_t i = 0; i < a.sq; i++) {
        struct reel_keys r = reel_mask_row(x->m, a.sk, i);
        double m = r.zeros ? 0 : -INFINITY, l = 0;
        for (int p = 0; p < 2; p++)
            for (int64_t k = r.lo[p]; k < r.hi[p]; k++) m = fmax(m, scale * dots(a.q, i * a.ld, a.k, k * a.ld, a.hd, a.dt));
        memset(o, 0, (size_t)a.hd * sizeof *o);
        for (int p = 0; p < 2; p++)
            for (int64_t k = r.lo[p]; k < r.hi[p]; k++) {
                double e = exp(scale * dots(a.q, i * a.ld, a.k, k * a.ld, a.hd, a.dt) - m);
                l += e;
                for (int64_t c = 0; c < a.hd; c++) o[c] += e * get(a.v, k * a.ld + c, a.dt);
            }
        l += (double)r.zeros * exp(-m);
        for (int64_t c = 0; c < a.hd; c++) set(a.o, i * a.ld + c, a.dt, o[c] / l);
        a.lse[i] = (float)(m + log(l));
    }
    free(o);
}

static void plain_bwd(void *arg, int64_t bh, int worker)
{
    const struct plain *x = arg;
    struct reel_attn a = pair(x->j, bh);
    double *dk = calloc((size_t)((2 * a.sk + 1) * a.hd), sizeof *dk), *dv = dk + a.sk * a.hd, *dq = dv + a.sk * a.hd;
    double scale = 1 / sqrt((double)a.hd);
    int64_t at = bh / x->j->heads * x->g * a.ld + bh % x->j->heads * a.hd;

    (void)worker;
    for (int64_t i = 0; i < a.sq; i++) {
        struct reel_keys r = reel_mask_row(x->m, a.sk, i);
        double delta = dots(a.dout, i * a.ld, a.o, i * a.ld, a.hd, a.dt);
        memset(dq, 0, (size_t)a.hd * sizeof *dq);
        for (int s = 0; s < 2; s++)
            for (int64_t k = r.lo[s]; k < r.hi[s]; k++) {
                double p = exp(scale * dots(a.q, i * a.ld, a.k, k * a.ld, a.hd, a.dt) - (double)a.lse[i]);
                double ds = scale * p * (dots(a.dout, i * a.ld, a.v, k * a.ld, a.hd, a.dt) - delta);
                for (int64_t c = 0; c < a.hd; c++) {
                    dq[c] += ds * get(a.k, k * a.ld + c, a.dt);
                    dk[k * a.hd + c] += ds * get(a.q, i * a.ld + c, a.dt);
                    dv[k * a.hd + c] += p * get(a.dout, i * a.ld + c, a.dt);
                }
            }
        for (int64_t c = 0; c < a.hd; c++) set(a.dq, i * a.ld + c, a.dt, dq[c]);
    }
    for (int64_t k = 0; k < x->g; k++)
        for (int64_t c = 0; c < a.hd; c++) {
            set(x->j->a.dk, at + k * a.ld + c, a.dt, dk[(x->dk0 + k) * a.hd + c]);
            set(x->j->a.dv, at + k * a.ld + c, a.dt, dv[(x->dk0 + k) * a.hd + c]);
        }
    free(dk);
}

/* ---- forward ---- */

/* Any cut of the queries gives the same bits: large tiles, but four for each thread. */
static void plan_fwd(struct job *j, int threads)
{
    int64_t n = ceil_div(j->a.sq + 1, QUERIES);

    while (j->b * j->heads * n < 4 * threads && j->a.sq > 2 * n * j->isa->nr) n++;
    j->tile = up(ceil_div(j->a.sq + 1, n), j->isa->nr);
    j->tiles = ceil_div(j->a.sq, j->tile);
    j->mem_floats = (size_t)up((int64_t)j->isa->attn_fwd_mem(j->a.hd, j->tile), 64);
}

static void fwd_task(void *arg, int64_t task, int worker)
{
    const struct job *j = arg;
    struct reel_attn a = pair(j, task / j->tiles);
    int64_t i0 = task % j->tiles * j->tile;

    j->isa->attn_fwd(&a, i0, least(i0 + j->tile, a.sq), j->mem + (size_t)worker * j->mem_floats);
}

void reel_cpu_attn_fwd(struct reel_stream *s, int dt, void *o, float *lse, const void *q, const void *k, const void *v,
                       int64_t b, int64_t sq, int64_t sk, int heads, int64_t hd, struct reel_mask mask, void *tmp)
{
    struct job j = new_job(b, sq, sk, heads, hd);

    j.a.dt = dt;
    j.a.q = q, j.a.k = k, j.a.v = v, j.a.o = o, j.a.lse = lse;
    if (mask.see != REEL_SEE_ALL) {
        struct plain x = { &j, mask, 0, 0 };
        reel_pool_run(s->pool, b * heads, plain_fwd, &x);
        return;
    }
    plan_fwd(&j, reel_pool_threads(s->pool));
    j.mem = tmp;
    reel_pool_run(s->pool, b * heads * j.tiles, fwd_task, &j);
}

size_t reel_cpu_attn_fwd_tmp(struct reel_stream *s, int dt, int64_t b, int64_t sq, int64_t sk, int heads, int64_t hd)
{
    struct job j = new_job(b, sq, sk, heads, hd);
    int threads = reel_pool_threads(s->pool);

    (void)dt;
    plan_fwd(&j, threads);
    return (size_t)threads * j.mem_floats * sizeof(float);
}

/* ---- backward ---- */

static int64_t query_blocks(const struct job *j)
{
    return ceil_div(j->a.sq, REEL_ATTN_QB);
}

static int64_t pairs_rows(const struct job *j)
{
    return j->b * j->heads * j->a.sq;
}

static int64_t acc_floats(const struct job *j)
{
    return query_blocks(j) * REEL_ATTN_QB * up(j->a.hd, 8);
}

/* Tiles of keys depend on sk alone: they are the terms of dq. Returns the bytes of tmp. */
static size_t plan_bwd(struct job *j, int threads)
{
    size_t floats;

    j->tiles = ceil_div(j->a.sk, REEL_ATTN_KT);
    j->tile = up(ceil_div(j->a.sk, j->tiles), 48);
    j->tiles = ceil_div(j->a.sk, j->tile);
    j->slots = least(j->b * j->heads, 2 * threads);
    j->mem_floats = (size_t)up((int64_t)j->isa->attn_bwd_mem(j->a.hd), 64);
    floats = (size_t)threads * j->mem_floats + (size_t)(up(pairs_rows(j), 64) + j->slots * acc_floats(j));
    return floats * sizeof(float) + (size_t)(j->slots * query_blocks(j)) * sizeof *j->done;
}

static void place_bwd(struct job *j, int threads, void *tmp)
{
    j->mem = tmp;
    j->acc = j->mem + (size_t)threads * j->mem_floats;
    j->delta = j->acc + j->slots * acc_floats(j);
    j->done = (_Atomic int64_t *)(j->delta + up(pairs_rows(j), 64));
    for (int64_t i = 0; i < j->slots * query_blocks(j); i++) atomic_init(&j->done[i], 0);
}

static void delta_task(void *arg, int64_t task, int worker)
{
    const struct job *j = arg;
    int64_t bh = task / j->tiles, i0 = task % j->tiles * j->tile;
    struct reel_attn a = pair(j, bh);

    (void)worker;
    j->isa->attn_delta(&a, j->delta + bh * a.sq, i0, least(i0 + j->tile, a.sq));
}

static void bwd_task(void *arg, int64_t task, int worker)
{
    const struct job *j = arg;
    int64_t bh = task / j->tiles, tile = task % j->tiles, k0 = tile * j->tile, slot = bh % j->slots;
    struct reel_attn a = pair(j, bh);
    struct reel_attn_turn t = {
        .acc = j->acc + slot * acc_floats(j),
        .done = j->done + slot * query_blocks(j),
        .turn = bh / j->slots * j->tiles + tile,
        .first = tile == 0,
        .last = tile == j->tiles - 1,
    };

    j->isa->attn_bwd(&a, &t, k0, least(k0 + j->tile, a.sk), j->mem + (size_t)worker * j->mem_floats);
}

void reel_cpu_attn_bwd(struct reel_stream *s, int dt, void *dq, void *dk, void *dv, const void *dout, const void *o,
                       const float *lse, const void *q, const void *k, const void *v, int64_t b, int64_t sq,
                       int64_t sk, int heads, int64_t hd, struct reel_mask mask, int64_t dk0, int64_t g, void *tmp)
{
    struct job j = new_job(b, sq, sk, heads, hd), d;
    int threads = reel_pool_threads(s->pool);

    j.a.dt = dt;
    j.a.q = q, j.a.k = k, j.a.v = v, j.a.o = (void *)(uintptr_t)o, j.a.lse = (float *)(uintptr_t)lse;
    j.a.dout = dout, j.a.dq = dq, j.a.dk = dk, j.a.dv = dv;
    if (mask.see != REEL_SEE_ALL || g != sk) {
        struct plain x = { &j, mask, dk0, g };
        reel_pool_run(s->pool, b * heads, plain_bwd, &x);
        return;
    }
    plan_bwd(&j, threads);
    place_bwd(&j, threads, tmp);
    d = j;
    d.tile = 256;
    d.tiles = ceil_div(sq, d.tile);
    reel_pool_run(s->pool, b * heads * d.tiles, delta_task, &d);
    reel_pool_run(s->pool, b * heads * j.tiles, bwd_task, &j);
}

size_t reel_cpu_attn_bwd_tmp(struct reel_stream *s, int dt, int64_t b, int64_t sq, int64_t sk, int heads, int64_t hd)
{
    struct job j = new_job(b, sq, sk, heads, hd);

    (void)dt;
    return plan_bwd(&j, reel_pool_threads(s->pool));
}
