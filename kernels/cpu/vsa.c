/* Block-sparse attention: choice of the blocks, tasks over (sample, head, tile), temporary memory. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/pool.h"
#include "kernels/cpu/vsa.h"

#define TASKS 8 /* wanted per thread between two barriers */

static int64_t up(int64_t n, int64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static const void *at_const(const void *p, int64_t elements, int dt)
{
    return p ? (const char *)p + elements * (dt == REEL_BF16 ? 2 : 4) : NULL;
}

static void *at(void *p, int64_t elements, int dt)
{
    return p ? (char *)p + elements * (dt == REEL_BF16 ? 2 : 4) : NULL;
}

/* Products of bf16 pairs play no part in attention. */
static const struct reel_vsa_isa *vsa_isa(void)
{
#if defined(__x86_64__)
    if (reel_cpu_isa() == &reel_isa_avx2) return &reel_vsa_avx2;
    if (reel_cpu_isa() != &reel_isa_portable) return &reel_vsa_avx512;
#endif
    return &reel_vsa_portable;
}

/* ---- selection ---- */

/* Larger numbers have larger keys; the two zeros have one. */
static uint32_t key_of(float x)
{
    uint32_t u;

    x += 0;
    memcpy(&u, &x, sizeof u);
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}

/* The k-th largest of n keys, byte by byte from the top; *above: how many are larger. */
static uint32_t kth_largest(const uint32_t *key, int64_t n, int64_t k, int64_t *above)
{
    uint32_t prefix = 0, mask = 0;
    int64_t larger = 0;

    for (int shift = 24; shift >= 0; shift -= 8) {
        int64_t count[256] = { 0 };
        int digit = 255;
        for (int64_t i = 0; i < n; i++)
            if ((key[i] & mask) == prefix) count[key[i] >> shift & 255]++;
        for (; larger + count[digit] < k; digit--) larger += count[digit];
        prefix |= (uint32_t)digit << shift;
        mask |= 0xffu << shift;
    }
    *above = larger;
    return prefix;
}

/* Those above the k-th, then those equal to it by increasing index; written in increasing order. */
static void select_row(int32_t *sel, const uint32_t *key, int64_t n, int64_t k)
{
    int64_t above, equal;
    uint32_t kth = kth_largest(key, n, k, &above);

    equal = k - above;
    for (int64_t j = 0; j < n; j++)
        if (key[j] > kth || (key[j] == kth && equal-- > 0)) *sel++ = (int32_t)j;
}

struct choice {
    const struct reel_cpu_isa *isa;
    const void *q, *k;
    int32_t *sel;
    float *scores, *mem;
    int64_t n, heads, hd, topk, per_head; /* tasks per head */
    size_t mem_floats;
    int dt;
    struct reel_kseg seg[REEL_MAX_HEAD / REEL_KSEG];
    int nseg;
};

static void plan_choice(struct choice *c)
{
    struct reel_gemm g;

    c->isa = reel_cpu_isa();
    c->per_head = up(c->n, REEL_TILE) / REEL_TILE;
    c->nseg = (int)(up(c->hd, REEL_KSEG) / REEL_KSEG);
    for (int i = 0; i < c->nseg; i++)
        c->seg[i] = (struct reel_kseg){ .k0 = i * REEL_KSEG, .len = (int32_t)least(REEL_KSEG, c->hd - i * REEL_KSEG),
                                        .first = i == 0, .last = i == c->nseg - 1 };
    g = (struct reel_gemm){ .plan = { c->seg, c->nseg, 0 } };
    c->mem_floats = (size_t)up((int64_t)c->isa->tile_mem(&g, REEL_TILE, c->n), 64) + (size_t)(REEL_TILE * up(c->n, 64));
}

static float rounded(float x, int dt)
{
    uint32_t u;

    if (dt != REEL_BF16 || x != x) return x;
    memcpy(&u, &x, sizeof u);
    u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u;
    memcpy(&x, &u, sizeof u);
    return x;
}

/* Scores of up to 64 blocks of queries of one head with all blocks of keys, then their choices. */
static void choice_task(void *arg, int64_t task, int worker)
{
    const struct choice *c = arg;
    int64_t bh = task / c->per_head, i0 = task % c->per_head * REEL_TILE, i1 = least(i0 + REEL_TILE, c->n);
    int64_t ld = c->heads * c->hd, head = bh / c->heads * c->n * ld + bh % c->heads * c->hd;
    float *s = c->mem + (size_t)worker * c->mem_floats, *mem = s + REEL_TILE * up(c->n, 64);
    float scale = (float)(1 / sqrt((double)c->hd));
    struct reel_gemm g = {
        .a = { at_const(c->q, head + i0 * ld, c->dt), ld, 1, c->dt }, .b = { at_const(c->k, head, c->dt), ld, 1, c->dt },
        .plan = { c->seg, c->nseg, 0 }, .out = { .y = s, .ld = c->n, .dt = REEL_F32 },
    };

    c->isa->tile(&g, 0, i1 - i0, 0, c->n, mem);
    for (int64_t i = i0; i < i1; i++, s += c->n) {
        uint32_t *key = (uint32_t *)mem;
        for (int64_t j = 0; j < c->n; j++) s[j] = rounded(s[j] * scale, c->dt), key[j] = key_of(s[j]);
        if (c->scores) memcpy(c->scores + (bh * c->n + i) * c->n, s, (size_t)c->n * sizeof *s);
        select_row(c->sel + (bh * c->n + i) * c->topk, key, c->n, c->topk);
    }
}

void reel_cpu_vsa_select(struct reel_stream *s, int dt, int32_t *sel, float *scores, const void *q, const void *k,
                         int64_t b, int64_t n, int heads, int64_t hd, int64_t topk, void *tmp)
{
    struct choice c = { .q = q, .k = k, .sel = sel, .scores = scores, .mem = tmp, .n = n, .heads = heads, .hd = hd,
                        .topk = topk, .dt = dt };

    plan_choice(&c);
    reel_pool_run(s->pool, b * heads * c.per_head, choice_task, &c);
}

size_t reel_cpu_vsa_select_tmp(struct reel_stream *s, int dt, int64_t b, int64_t n, int heads, int64_t hd)
{
    struct choice c = { .n = n, .heads = heads, .hd = hd, .dt = dt };

    (void)b;
    plan_choice(&c);
    return (size_t)reel_pool_threads(s->pool) * c.mem_floats * sizeof(float);
}

/* ---- attention over the chosen blocks: some heads at a time, so that packed copies stay few ---- */

struct job {
    struct reel_vsa v; /* of sample 0, head 0 */
    const struct reel_vsa_isa *isa;
    int backward, threads;
    int64_t heads, bh, bh0, wave; /* heads, pairs (sample, head), the first of the wave, pairs of a wave */
    size_t worker_bytes, head_bytes;
    int64_t *at;
    float *delta; /* [b, heads, s] */
    char *worker, *head;
    void (*step)(const struct reel_vsa *v, int64_t tile, float *mem);
};

/* The next `bytes` of memory, 64-aligned; base NULL only counts. */
static void *piece(char *base, size_t *used, size_t bytes)
{
    char *p = base ? base + *used : NULL;

    *used += (bytes + 63) / 64 * 64;
    return p;
}

/* A head's packed copies, and for the backward pass its sums and who chose whom. Returns its bytes. */
static size_t place_head(struct reel_vsa *v, const struct job *j, char *base)
{
    int64_t n = v->t.n, rows = v->t.s + 7 * n, dp = up(v->hd, 8);
    size_t used = 0;

    for (int i = 0; i < (j->backward ? 4 : 2); i++) v->pack[i] = piece(base, &used, (size_t)(rows * dp) * sizeof(float));
    if (!j->backward) return used;
    v->lse2 = piece(base, &used, (size_t)rows * sizeof(float));
    v->tile_delta = piece(base, &used, (size_t)rows * sizeof(float));
    v->acc = piece(base, &used, (size_t)(n * j->isa->lanes * dp) * sizeof(float));
    v->done = piece(base, &used, (size_t)n * sizeof *v->done);
    v->first = piece(base, &used, (size_t)(n + 1) * sizeof *v->first);
    v->chosen = piece(base, &used, (size_t)(n * v->topk) * sizeof *v->chosen);
    return used;
}

/* tmp's parts; returns its bytes. tmp NULL only counts. */
static size_t place(struct job *j, char *tmp)
{
    size_t used = 0;
    struct reel_vsa v = j->v;

    j->worker_bytes = (j->backward ? j->isa->bwd_mem(v.hd) : j->isa->fwd_mem(v.hd)) * sizeof(float);
    j->worker_bytes = (j->worker_bytes + 63) / 64 * 64;
    j->head_bytes = place_head(&v, j, NULL);
    j->at = piece(tmp, &used, (size_t)(v.t.n + 1) * sizeof *j->at);
    if (j->backward) j->delta = piece(tmp, &used, (size_t)(j->bh * v.t.s) * sizeof *j->delta);
    j->worker = piece(tmp, &used, (size_t)j->threads * j->worker_bytes);
    j->head = piece(tmp, &used, (size_t)j->wave * j->head_bytes);
    return used;
}

static struct job new_job(struct reel_stream *s, int dt, struct reel_tiles t, int64_t b, int heads, int64_t hd,
                          int64_t topk, int backward)
{
    struct job j = {
        .v = { .t = t, .topk = topk, .ld = heads * hd, .hd = hd, .dt = dt },
        .isa = vsa_isa(), .backward = backward, .threads = reel_pool_threads(s->pool), .heads = heads, .bh = b * heads,
    };

    j.wave = least(j.bh, (TASKS * j.threads + t.n - 1) / t.n);
    return j;
}

static void first_rows(const struct job *j)
{
    const struct reel_tiles *t = &j->v.t;

    j->at[0] = 0;
    for (int64_t i = 0; i < t->n; i++) j->at[i + 1] = j->at[i] + up(t->start[i + 1] - t->start[i], 8);
}

/* Pair bh = sample * heads + head, with the memory of its place in the wave. */
static struct reel_vsa pair(const struct job *j, int64_t bh)
{
    struct reel_vsa v = j->v;
    int64_t b = bh / j->heads, h = bh % j->heads, token = b * v.t.s * v.ld + h * v.hd, tile = b * v.t.n * v.ld + h * v.hd;

    v.q = at_const(v.q, token, v.dt);
    v.k = at_const(v.k, token, v.dt);
    v.v = at_const(v.v, token, v.dt);
    v.dout = at_const(v.dout, token, v.dt);
    v.o = at(v.o, token, v.dt);
    v.dq = at(v.dq, token, v.dt);
    v.dk = at(v.dk, token, v.dt);
    v.dv = at(v.dv, token, v.dt);
    v.dqc = at_const(v.dqc, tile, v.dt);
    v.dkc = at_const(v.dkc, tile, v.dt);
    v.dvc = at_const(v.dvc, tile, v.dt);
    v.lse += bh * v.t.s;
    v.sel += bh * v.t.n * v.topk;
    v.delta = j->delta ? j->delta + bh * v.t.s : NULL;
    v.at = j->at;
    place_head(&v, j, j->head + (size_t)(bh - j->bh0) * j->head_bytes);
    return v;
}

static void step_task(void *arg, int64_t task, int worker)
{
    const struct job *j = arg;
    struct reel_vsa v = pair(j, j->bh0 + task / j->v.t.n);

    j->step(&v, task % v.t.n, (float *)(j->worker + (size_t)worker * j->worker_bytes));
}

/* The same step for every tile of the wave's heads. */
static void each_tile(struct reel_stream *s, struct job *j, void (*step)(const struct reel_vsa *, int64_t, float *))
{
    j->step = step;
    reel_pool_run(s->pool, least(j->wave, j->bh - j->bh0) * j->v.t.n, step_task, j);
}

void reel_cpu_vsa_fwd(struct reel_stream *s, int dt, void *o, float *lse, const void *q, const void *k, const void *v,
                      const int32_t *sel, struct reel_tiles t, int64_t b, int heads, int64_t hd, int64_t topk, void *tmp)
{
    struct job j = new_job(s, dt, t, b, heads, hd, topk, 0);

    j.v.q = q, j.v.k = k, j.v.v = v, j.v.o = o, j.v.lse = lse, j.v.sel = sel;
    place(&j, tmp);
    first_rows(&j);
    for (; j.bh0 < j.bh; j.bh0 += j.wave) {
        each_tile(s, &j, j.isa->fwd_pack);
        each_tile(s, &j, j.isa->fwd);
    }
}

size_t reel_cpu_vsa_fwd_tmp(struct reel_stream *s, int dt, struct reel_tiles t, int64_t b, int heads, int64_t hd,
                            int64_t topk)
{
    struct job j = new_job(s, dt, t, b, heads, hd, topk, 0);

    return place(&j, NULL);
}

#define DELTA_ROWS 256

static void delta_task(void *arg, int64_t task, int worker)
{
    const struct job *j = arg;
    int64_t pieces = (j->v.t.s + DELTA_ROWS - 1) / DELTA_ROWS, bh = task / pieces, i0 = task % pieces * DELTA_ROWS;
    struct reel_vsa v = pair(j, bh);
    struct reel_attn a = { .o = v.o, .dout = v.dout, .ld = v.ld, .hd = v.hd, .dt = v.dt };

    (void)worker;
    reel_cpu_isa()->attn_delta(&a, j->delta + bh * v.t.s, i0, least(i0 + DELTA_ROWS, v.t.s));
}

/* Who chose each block of keys, and as which of its choices: a counting sort of the head's lists. */
static void inverse_task(void *arg, int64_t task, int worker)
{
    const struct job *j = arg;
    struct reel_vsa v = pair(j, j->bh0 + task);
    int64_t n = v.t.n;
    int32_t sum = 0;

    (void)worker;
    memset(v.first, 0, (size_t)(n + 1) * sizeof *v.first);
    for (int64_t i = 0; i < n * v.topk; i++)
        if (v.sel[i] >= 0) v.first[v.sel[i]]++;
    for (int64_t i = 0; i <= n; i++) {
        int32_t count = v.first[i];
        v.first[i] = sum;
        sum += count;
    }
    for (int64_t i = 0; i < n * v.topk; i++)
        if (v.sel[i] >= 0)
            v.chosen[v.first[v.sel[i]]++] = (struct reel_vsa_chosen){ (int32_t)(i / v.topk), (int32_t)(i % v.topk) };
    memmove(v.first + 1, v.first, (size_t)n * sizeof *v.first); /* each has moved to the next one's beginning */
    v.first[0] = 0;
}

void reel_cpu_vsa_bwd(struct reel_stream *s, int dt, void *dq, void *dk, void *dv, const void *dout, const void *o,
                      const float *lse, const void *q, const void *k, const void *v, const int32_t *sel, const void *dqc,
                      const void *dkc, const void *dvc, struct reel_tiles t, int64_t b, int heads, int64_t hd,
                      int64_t topk, void *tmp)
{
    struct job j = new_job(s, dt, t, b, heads, hd, topk, 1);

    j.v.q = q, j.v.k = k, j.v.v = v, j.v.dout = dout, j.v.sel = sel, j.v.dq = dq, j.v.dk = dk, j.v.dv = dv;
    j.v.o = (void *)(uintptr_t)o, j.v.lse = (float *)(uintptr_t)lse;
    j.v.dqc = dqc, j.v.dkc = dkc, j.v.dvc = dvc;
    place(&j, tmp);
    first_rows(&j);
    reel_pool_run(s->pool, j.bh * ((t.s + DELTA_ROWS - 1) / DELTA_ROWS), delta_task, &j);
    for (; j.bh0 < j.bh; j.bh0 += j.wave) {
        reel_pool_run(s->pool, least(j.wave, j.bh - j.bh0), inverse_task, &j);
        each_tile(s, &j, j.isa->bwd_pack);
        each_tile(s, &j, j.isa->bwd);
        each_tile(s, &j, j.isa->bwd_dq);
    }
}

size_t reel_cpu_vsa_bwd_tmp(struct reel_stream *s, int dt, struct reel_tiles t, int64_t b, int heads, int64_t hd,
                            int64_t topk)
{
    struct job j = new_job(s, dt, t, b, heads, hd, topk, 1);

    return place(&j, NULL);
}
