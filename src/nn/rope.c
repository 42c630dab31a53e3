#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/nn.h"

/* Head channels are cut into time, height and width; height and width get 2*floor(d/6) each. */
static void parts(int d, int pairs[3])
{
    pairs[1] = pairs[2] = d / 6;
    pairs[0] = d / 2 - 2 * (d / 6);
}

static void turn(float *cs, float *sn, int64_t pos, int pairs)
{
    for (int j = 0; j < pairs; j++) {
        double angle = (double)pos * pow(10000, -(double)j / pairs);

        cs[j] = (float)cos(angle);
        sn[j] = (float)sin(angle);
    }
}

/* A position's numbers are made at the first token that has it and copied to the others. */
void reel_rope_fill(float *cs, float *sn, const int64_t grid[3], int64_t first, int d)
{
    int pairs[3];
    int64_t HW = grid[1] * grid[2], half = d / 2;

    parts(d, pairs);
    for (int64_t s = 0; s < grid[0] * HW; s++) {
        int64_t pos[3] = { s / HW, s / grid[2] % grid[1], s % grid[2] };
        int64_t like[3] = { pos[0] * HW, pos[1] * grid[2], pos[2] }, at = 0;

        for (int axis = 0; axis < 3; at += pairs[axis++]) {
            float *c = cs + s * half + at, *n = sn + s * half + at;

            if (s == like[axis]) {
                turn(c, n, axis ? pos[axis] : first + pos[0], pairs[axis]);
                continue;
            }
            memcpy(c, cs + like[axis] * half + at, (size_t)pairs[axis] * sizeof *c);
            memcpy(n, sn + like[axis] * half + at, (size_t)pairs[axis] * sizeof *n);
        }
    }
}

static struct reel_rope_entry *find(struct reel_rope_cache *cache, const int64_t grid[3], int d)
{
    int64_t half = grid[0] * grid[1] * grid[2] * (d / 2);
    struct reel_rope_entry *e = cache->e;

    for (; e < cache->e + cache->n; e++)
        if (e->d == d && !memcmp(e->grid, grid, sizeof e->grid)) return e;
    REEL_BUG_IF(cache->n == REEL_ROPE_SHAPES, "rotary tables for more than %d token grids in one role",
                REEL_ROPE_SHAPES);
    cache->n++;
    *e = (struct reel_rope_entry){ .d = d, .host = malloc((size_t)half * 2 * sizeof(float)) };
    REEL_BUG_IF(!e->host, "out of memory: rotary tables of %ld tokens", (long)(grid[0] * grid[1] * grid[2]));
    memcpy(e->grid, grid, sizeof e->grid);
    reel_rope_fill(e->host, e->host + half, grid, 0, d);
    return e;
}

static struct reel_rope put(struct reel_stream *s, struct reel_arena *a, const float *host, int64_t S, int64_t half)
{
    struct reel_rope r;

    r.cos = reel_new(a, REEL_F32, REEL_DIMS(S, half));
    r.sin = reel_new(a, REEL_F32, REEL_DIMS(S, half));
    if (s->planning) return r;
    reel_put(s, r.cos, host);
    reel_put(s, r.sin, host + S * half);
    return r;
}

struct reel_rope reel_rope_get(struct reel_rope_cache *cache, struct reel_stream *s, struct reel_arena *mem,
                               struct reel_arena *step, const int64_t grid[3], int d)
{
    struct reel_rope_entry *e = find(cache, grid, d);
    int64_t S = grid[0] * grid[1] * grid[2];

    if (!mem) return put(s, step, e->host, S, d / 2);
    if (!e->dev.cos.nd || (!e->dev.cos.p && !s->planning)) e->dev = put(s, mem, e->host, S, d / 2);
    return e->dev;
}

struct reel_rope reel_rope_at(struct reel_rope_cache *cache, struct reel_stream *s, struct reel_arena *a,
                              const int64_t grid[3], int64_t first, int d)
{
    int64_t S = grid[0] * grid[1] * grid[2], n = S * d;

    if (cache->n_passing < n) {
        free(cache->passing);
        cache->passing = malloc((size_t)n * sizeof(float));
        REEL_BUG_IF(!cache->passing, "out of memory: rotary tables of %ld tokens", (long)S);
        cache->n_passing = n;
    }
    if (!s->planning) reel_rope_fill(cache->passing, cache->passing + S * (d / 2), grid, first, d);
    return put(s, a, cache->passing, S, d / 2);
}

struct reel_rope reel_rope_rows(struct reel_rope r, int64_t lo, int64_t hi)
{
    return (struct reel_rope){ reel_slice(r.cos, lo, hi), reel_slice(r.sin, lo, hi) };
}

void reel_rope_free(struct reel_rope_cache *cache)
{
    for (int i = 0; i < cache->n; i++) free(cache->e[i].host);
    free(cache->passing);
    *cache = (struct reel_rope_cache){ 0 };
}
