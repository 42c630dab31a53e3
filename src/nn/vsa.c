/* Sparse attention: tiles of a token grid, how many blocks a block attends to, and both branches between the
 * projections. Source: fastvideo/attention/backends/video_sparse_attn.py @2f3d4074. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/nn.h"

#define EDGE 4 /* tokens of a tile along each axis */

static int64_t tiles_along(int64_t tokens)
{
    return (tokens + EDGE - 1) / EDGE;
}

int64_t reel_tiles_count(const int64_t grid[3])
{
    return tiles_along(grid[0]) * tiles_along(grid[1]) * tiles_along(grid[2]);
}

static int64_t end_of(int64_t first, int64_t tokens)
{
    return first + EDGE < tokens ? first + EDGE : tokens;
}

/* The tokens of one tile in raster order; returns how many. */
static int64_t fill_tile(int32_t *order, const int64_t grid[3], int64_t t0, int64_t h0, int64_t w0)
{
    int64_t n = 0;

    for (int64_t t = t0; t < end_of(t0, grid[0]); t++)
        for (int64_t h = h0; h < end_of(h0, grid[1]); h++)
            for (int64_t w = w0; w < end_of(w0, grid[2]); w++) order[n++] = (int32_t)((t * grid[1] + h) * grid[2] + w);
    return n;
}

void reel_tiles_fill(int32_t *start, int32_t *order, const int64_t grid[3])
{
    *start = 0;
    for (int64_t t = 0; t < grid[0]; t += EDGE)
        for (int64_t h = 0; h < grid[1]; h += EDGE)
            for (int64_t w = 0; w < grid[2]; w += EDGE, start++)
                start[1] = start[0] + (int32_t)fill_tile(order + start[0], grid, t, h, w);
}

int64_t reel_vsa_topk(double sparsity, int64_t n)
{
    double k = ceil((1 - sparsity) * (double)n);

    return k < 1 ? 1 : k > (double)n ? n : (int64_t)k;
}

/* ---- the index of a grid, made once ---- */

static struct reel_tiles_entry *find(struct reel_tiles_cache *cache, const int64_t grid[3])
{
    int64_t n = reel_tiles_count(grid), S = grid[0] * grid[1] * grid[2];
    struct reel_tiles_entry *e = cache->e;

    for (; e < cache->e + cache->n; e++)
        if (!memcmp(e->grid, grid, sizeof e->grid)) return e;
    REEL_BUG_IF(cache->n == REEL_TILE_SHAPES, "tiles of more than %d token grids in one role", REEL_TILE_SHAPES);
    REEL_BUG_IF(S > INT32_MAX, "%ld tokens are more than sparse attention counts", (long)S);
    cache->n++;
    *e = (struct reel_tiles_entry){ .host = malloc((size_t)(n + 1 + S) * sizeof *e->host) };
    REEL_BUG_IF(!e->host, "out of memory: tiles of %ld tokens", (long)S);
    memcpy(e->grid, grid, sizeof e->grid);
    reel_tiles_fill(e->host, e->host + n + 1, grid);
    return e;
}

static struct reel_tile_index put(struct reel_stream *s, struct reel_arena *a, const struct reel_tiles_entry *e)
{
    int64_t n = reel_tiles_count(e->grid), S = e->grid[0] * e->grid[1] * e->grid[2];
    struct reel_tile_index t;

    t.start = reel_new(a, REEL_I32, REEL_DIMS(n + 1));
    t.order = reel_new(a, REEL_I32, REEL_DIMS(S));
    if (s->planning) return t;
    reel_put(s, t.start, e->host);
    reel_put(s, t.order, e->host + n + 1);
    return t;
}

struct reel_tile_index reel_tiles_get(struct reel_tiles_cache *cache, struct reel_stream *s, struct reel_arena *mem,
                                      struct reel_arena *step, const int64_t grid[3])
{
    struct reel_tiles_entry *e = find(cache, grid);

    if (!mem) return put(s, step, e);
    if (!e->dev.start.nd || (!e->dev.start.p && !s->planning)) e->dev = put(s, mem, e);
    return e->dev;
}

void reel_tiles_free(struct reel_tiles_cache *cache)
{
    for (int i = 0; i < cache->n; i++) free(cache->e[i].host);
    cache->n = 0;
}

/* ---- both branches ---- */

static reel_tensor tokens(const struct reel_pass *c, int64_t D)
{
    return reel_new(c->a, c->dt, REEL_DIMS(c->tok.b, c->tok.s, D));
}

static reel_tensor tiles(const struct reel_pass *c, int64_t n, int64_t D)
{
    return reel_new(c->a, c->dt, REEL_DIMS(c->tok.b, n, D));
}

void reel_sparse_keep(const struct reel_pass *c, struct reel_sparse_kept *k, const struct reel_sparse *see, int64_t D)
{
    int64_t n = see->index.start.n[0] - 1;

    k->fine = tokens(c, D);
    k->qc = tiles(c, n, D);
    k->kc = tiles(c, n, D);
    k->vc = tiles(c, n, D);
    k->c = tiles(c, n, D);
    k->lse_c = reel_new(c->a, REEL_F32, REEL_DIMS(c->tok.b, c->heads, n));
    k->sel = reel_new(c->a, REEL_I32, REEL_DIMS(c->tok.b, c->heads, n, see->topk));
}

static const struct reel_mask everything;

void reel_sparse_fwd(const struct reel_pass *c, struct reel_sparse_kept *kept, const struct reel_sparse *see, reel_tensor lse,
                     reel_tensor q, reel_tensor k, reel_tensor v)
{
    reel_tile_mean(c->s, kept->qc, q, see->index);
    reel_tile_mean(c->s, kept->kc, k, see->index);
    reel_tile_mean(c->s, kept->vc, v, see->index);
    reel_attn_fwd(c->s, kept->c, kept->lse_c, kept->qc, kept->kc, kept->vc, c->heads, everything);
    reel_vsa_select(c->s, kept->sel, (reel_tensor){ 0 }, kept->qc, kept->kc, c->heads);
    reel_vsa_fwd(c->s, kept->fine, lse, q, k, v, kept->sel, see->index, c->heads);
}

void reel_sparse_out(const struct reel_pass *c, const struct reel_sparse_kept *kept, const struct reel_sparse *see,
                     reel_tensor y)
{
    reel_tile_gate_fwd(c->s, y, kept->gate, kept->c, kept->fine, see->index);
}

void reel_sparse_bwd(const struct reel_pass *c, const struct reel_sparse_kept *kept, const struct reel_sparse *see,
                     reel_tensor dq, reel_tensor dk, reel_tensor dv, reel_tensor dout, reel_tensor lse, reel_tensor q,
                     reel_tensor k, reel_tensor v)
{
    size_t mark = c->a->used;
    int64_t n = kept->c.n[1], D = kept->c.n[2];
    reel_tensor dc = tiles(c, n, D), dqc = tiles(c, n, D), dkc = tiles(c, n, D), dvc = tiles(c, n, D);

    reel_tile_gate_bwd(c->s, kept->gate, dc, dout, kept->gate, kept->c, see->index);
    reel_attn_bwd(c->s, dqc, dkc, dvc, dc, kept->c, kept->lse_c, kept->qc, kept->kc, kept->vc, c->heads, everything, 0);
    reel_vsa_bwd(c->s, dq, dk, dv, dout, kept->fine, lse, q, k, v, kept->sel, dqc, dkc, dvc, see->index, c->heads);
    reel_arena_reset(c->a, mark);
}
