/* Attention over (sample, head): tasks, temporary memory, and the order of the sums of dq. */
#include <string.h>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/pool.h"
#include "kernels/pieces.h"

#define QUERIES 480 /* most queries of a forward task: packing K and V costs them about 4% */

static int64_t up(int64_t n, int64_t unit)
{
    return reel_ceil_div(n, unit) * unit;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

struct job {
    struct reel_attn a; /* of sample 0, head 0 */
    const struct reel_cpu_isa *isa;
    int64_t b, heads, tile, tiles; /* queries (forward) or keys (backward) of a task, tasks per head */
    int64_t rel_ld;                /* from head to head of a.rel */
    int64_t runs, run_tok;         /* queries of a sample are cut into these, each a pair of its own */
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

/* The attention of pair i = (sample * runs + run) * heads + head. */
static struct reel_attn pair(const struct job *j, int64_t i)
{
    struct reel_attn a = j->a;
    int64_t head = i % j->heads, part = i / j->heads, b = part / j->runs, q0 = part % j->runs * j->run_tok;
    int64_t q = (b * a.sq + q0) * a.ld + head * a.hd, k = b * a.sk * a.ld + head * a.hd;
    int64_t dk = part * a.dkn * a.ld + head * a.hd, row = (b * j->heads + head) * a.sq + q0;

    a.q = at_const(a.q, q, a.dt);
    a.k = at_const(a.k, k, a.dt);
    a.v = at_const(a.v, k, a.dt);
    a.dout = at_const(a.dout, q, a.dt);
    a.o = at(a.o, q, a.dt);
    a.dq = at(a.dq, q, a.dt);
    a.dk = at(a.dk, dk, a.dkv_dt);
    a.dv = at(a.dv, dk, a.dkv_dt);
    if (a.lse) a.lse += row;
    if (a.rel) a.rel += head * j->rel_ld;
    a.delta = j->delta ? j->delta + row : NULL;
    a.sq = least(j->run_tok, a.sq - q0);
    return a;
}

static struct job new_job(int64_t b, int64_t sq, int64_t sk, int heads, int64_t hd)
{
    return (struct job){
        .a = { .sq = sq, .sk = sk, .hd = hd, .ld = heads * hd }, .isa = reel_cpu_isa(), .b = b, .heads = heads,
        .runs = 1, .run_tok = sq,
    };
}

/* ---- forward ---- */

/* Any cut of the queries gives the same bits: large tiles, but four for each thread. */
static void plan_fwd(struct job *j, int threads)
{
    int64_t n = reel_ceil_div(j->a.sq + 1, QUERIES);

    while (j->b * j->heads * n < 4 * threads && j->a.sq > 2 * n * j->isa->nr) n++;
    j->tile = up(reel_ceil_div(j->a.sq + 1, n), j->isa->nr);
    j->tiles = reel_ceil_div(j->a.sq, j->tile);
    j->mem_floats = (size_t)up((int64_t)j->isa->attn_fwd_mem(j->a.hd, j->tile), 64);
}

static void fwd_task(void *arg, int64_t task, int worker)
{
    const struct job *j = arg;
    struct reel_attn a = pair(j, task / j->tiles);
    int64_t i0 = (j->tiles - 1 - task % j->tiles) * j->tile; /* the later tiles of a causal mask are the larger tasks */

    j->isa->attn_fwd(&a, i0, least(i0 + j->tile, a.sq), j->mem + (size_t)worker * j->mem_floats);
}

void reel_cpu_attn_fwd(struct reel_stream *s, int dt, void *o, float *lse, const void *q, const void *k, const void *v,
                       int64_t b, int64_t sq, int64_t sk, int heads, int64_t hd, struct reel_mask mask, void *tmp)
{
    struct job j = new_job(b, sq, sk, heads, hd);

    j.a.dt = dt;
    j.a.q = q, j.a.k = k, j.a.v = v, j.a.o = o, j.a.lse = lse;
    j.a.mask = mask;
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

void reel_cpu_attn_rel_fwd(struct reel_stream *s, int dt, void *o, const void *q, const void *k, const void *v,
                           const float *rel, int64_t most, int64_t n, int heads, int64_t hd, void *tmp)
{
    struct job j = new_job(1, n, n, heads, hd);

    j.a.dt = dt;
    j.a.q = q, j.a.k = k, j.a.v = v, j.a.o = o;
    j.a.rel = rel + most - 1, j.rel_ld = 2 * most - 1;
    plan_fwd(&j, reel_pool_threads(s->pool));
    j.mem = tmp;
    reel_pool_run(s->pool, heads * j.tiles, fwd_task, &j);
}

size_t reel_cpu_attn_rel_fwd_tmp(struct reel_stream *s, int dt, int64_t n, int heads, int64_t hd)
{
    return reel_cpu_attn_fwd_tmp(s, dt, 1, n, n, heads, hd);
}

/* ---- backward ---- */

static int64_t query_blocks(const struct job *j)
{
    return reel_ceil_div(j->run_tok, REEL_ATTN_QB);
}

static int64_t pairs(const struct job *j)
{
    return j->b * j->runs * j->heads;
}

static int64_t pairs_rows(const struct job *j)
{
    return j->b * j->heads * j->a.sq;
}

static void cut_queries(struct job *j, int64_t run_tok)
{
    if (!run_tok) return;
    j->run_tok = run_tok;
    j->runs = reel_ceil_div(j->a.sq, run_tok);
}

static int64_t acc_floats(const struct job *j)
{
    return query_blocks(j) * REEL_ATTN_QB * up(j->a.hd, 8);
}

/* Tiles of keys depend on sk alone, in a cache on the rows in use: they are the terms of dq. */
static void cut_keys(struct job *j)
{
    const struct reel_mask *m = &j->a.mask;

    if (m->see == REEL_SEE_WINDOW) {
        j->tile = REEL_ATTN_KT;
        j->tiles = reel_ceil_div(m->sink, j->tile) + reel_ceil_div(m->hi - m->lo, j->tile);
        return;
    }
    j->tiles = reel_ceil_div(j->a.sk, REEL_ATTN_KT);
    j->tile = up(reel_ceil_div(j->a.sk, j->tiles), 48);
    j->tiles = reel_ceil_div(j->a.sk, j->tile);
}

/* The first key of a tile and the end of its range of keys. */
static void tile_keys(const struct job *j, int64_t tile, int64_t *k0, int64_t *end)
{
    const struct reel_mask *m = &j->a.mask;
    int64_t of_sink = reel_ceil_div(m->sink, j->tile);

    if (m->see != REEL_SEE_WINDOW)
        *k0 = tile * j->tile, *end = j->a.sk;
    else if (tile < of_sink)
        *k0 = tile * j->tile, *end = m->sink;
    else
        *k0 = m->lo + (tile - of_sink) * j->tile, *end = m->hi;
}

/* Returns the bytes of tmp. */
static size_t plan_bwd(struct job *j, int threads)
{
    size_t floats;

    cut_keys(j);
    j->slots = least(pairs(j), 2 * threads);
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
    j->isa->attn_delta(&a, j->delta + bh * j->a.sq, i0, least(i0 + j->tile, a.sq));
}

static void bwd_task(void *arg, int64_t task, int worker)
{
    const struct job *j = arg;
    int64_t bh = task / j->tiles, tile = task % j->tiles, slot = bh % j->slots, k0, end;
    struct reel_attn a = pair(j, bh);
    struct reel_attn_turn t = {
        .acc = j->acc + slot * acc_floats(j),
        .done = j->done + slot * query_blocks(j),
        .tile = tile,
        .tiles = j->tiles,
        .width = reel_mask_alike(a.mask) ? 0 : j->tile,
        .round = bh / j->slots,
    };

    tile_keys(j, tile, &k0, &end);
    j->isa->attn_bwd(&a, &t, k0, least(k0 + j->tile, end), j->mem + (size_t)worker * j->mem_floats);
}

/* No tile holds the rows of a cache that are not in use. */
static void zero_unused(const struct job *j)
{
    const struct reel_mask *m = &j->a.mask;
    size_t bytes = (size_t)(j->b * j->a.dkn * j->a.ld) * (j->a.dt == REEL_BF16 ? 2 : 4);

    if (m->see != REEL_SEE_WINDOW || (m->lo <= j->a.dk0 && j->a.dk0 + j->a.dkn <= m->hi)) return;
    memset(j->a.dk, 0, bytes);
    memset(j->a.dv, 0, bytes);
}

void reel_cpu_attn_bwd(struct reel_stream *s, int dt, void *dq, void *dk, void *dv, const void *dout, const void *o,
                       const float *lse, const void *q, const void *k, const void *v, int64_t b, int64_t sq,
                       int64_t sk, int heads, int64_t hd, struct reel_mask mask, int64_t dk0, int64_t g, int64_t run_tok,
                       void *tmp)
{
    struct job j = new_job(b, sq, sk, heads, hd), d;
    int threads = reel_pool_threads(s->pool);

    j.a.dt = dt;
    j.a.q = q, j.a.k = k, j.a.v = v, j.a.o = (void *)(uintptr_t)o, j.a.lse = (float *)(uintptr_t)lse;
    j.a.dout = dout, j.a.dq = dq, j.a.dk = dk, j.a.dv = dv;
    j.a.mask = mask, j.a.dk0 = dk0, j.a.dkn = g, j.a.dkv_dt = run_tok ? REEL_F32 : dt;
    cut_queries(&j, run_tok);
    plan_bwd(&j, threads);
    place_bwd(&j, threads, tmp);
    zero_unused(&j);
    d = j;
    d.runs = 1, d.run_tok = sq;
    d.tile = 256;
    d.tiles = reel_ceil_div(sq, d.tile);
    reel_pool_run(s->pool, b * heads * d.tiles, delta_task, &d);
    reel_pool_run(s->pool, pairs(&j) * j.tiles, bwd_task, &j);
}

size_t reel_cpu_attn_bwd_tmp(struct reel_stream *s, int dt, int64_t b, int64_t sq, int64_t sk, int heads, int64_t hd,
                             int64_t run_tok)
{
    struct job j = new_job(b, sq, sk, heads, hd);

    (void)dt;
    cut_queries(&j, run_tok);
    return plan_bwd(&j, reel_pool_threads(s->pool));
}
