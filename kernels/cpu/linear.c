/* y = x w^T, its two derivatives, and convolutions: plans of their sums, tiles of their results, threads over tiles. */
#include <string.h>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/pool.h"
#include "kernels/pieces.h"

#define TILE_ROWS  1024          /* largest tile of a result */
#define TILE_COLS  1536
#define KEPT_BYTES (16 << 20)    /* most partial sums of one thread's tile */
#define PACK_COLS  14            /* packing an element of A costs as much as this many columns of work */

/* ---- plans ---- */

/* The tree over pieces 0..2^levels-1, some of them empty, as they come: which kept levels the piece
 * at `at` completes when the next piece that is not empty stands at `next`. */
static void tree_step(struct reel_kseg *g, uint32_t *kept, int levels, int64_t at, int64_t next)
{
    int l;

    g->adds = 0;
    for (l = 0; l < levels; l++) {
        int64_t node = at >> l;
        if (node & 1)
            g->adds |= *kept & (1u << l);
        else if ((node + 1) << l <= next && next < (node + 2) << l)
            break; /* the right sibling is still to come */
    }
    *kept &= ~g->adds;
    *kept |= 1u << l;
    g->dest = (int8_t)l;
}

/* Segments of the piece of n terms from k0; the last one is left to tree_step. */
static struct reel_kseg *add_piece(struct reel_kseg *g, int64_t k0, int64_t n)
{
    for (int64_t k = 0; k < n; k += REEL_KSEG, g++)
        *g = (struct reel_kseg){ .k0 = k0 + k,
                                 .len = (int32_t)(n - k < REEL_KSEG ? n - k : REEL_KSEG),
                                 .first = k == 0,
                                 .last = k + REEL_KSEG >= n };
    return g;
}

static int log2_up(int64_t n)
{
    int l = 0;

    while ((int64_t)1 << l < n) l++;
    return l;
}

static int64_t segs_of_features(int64_t n, struct reel_cut cut, int terms)
{
    return cut.pieces * terms * reel_ceil_div(n / cut.pieces, REEL_KSEG);
}

/* Equal pieces of the sum over n features, each the sum of all terms. */
static struct reel_kplan plan_features(struct reel_kseg *seg, int64_t n, struct reel_cut cut, int terms)
{
    int64_t width = n / cut.pieces;
    int levels = log2_up(cut.pieces);
    uint32_t kept = 0;
    struct reel_kseg *g = seg;

    for (int64_t p = 0; p < cut.pieces; p++) {
        for (int t = 0; t < terms; t++) {
            struct reel_kseg *first = g;
            g = add_piece(g, p * width, width);
            for (struct reel_kseg *i = first; i < g; i++) i->term = (int8_t)t;
            first->first = t == 0;
            g[-1].last = t == terms - 1;
        }
        tree_step(g - 1, &kept, levels, p, p + 1);
    }
    return (struct reel_kplan){ seg, g - seg, levels };
}

static int64_t segs_of_rows(struct reel_rows r)
{
    return r.b * r.runs * reel_ceil_div(reel_rows_run_tok(r), REEL_KSEG);
}

/* Pieces (sample, run) of the sum over tokens. */
static struct reel_kplan plan_rows(struct reel_kseg *seg, struct reel_rows r)
{
    int64_t tok = r.s ? reel_rows_run_tok(r) : 1;
    int rbits = log2_up(r.runs), levels = rbits + log2_up(r.b);
    int64_t used = reel_ceil_div(r.s, tok); /* runs that are not empty */
    uint32_t kept = 0;
    struct reel_kseg *g = seg;

    for (int64_t p = 0; p < r.b * used; p++) {
        int64_t b = p / used, run = p % used, n = r.s - run * tok;
        int64_t at = (b << rbits) + run;
        int64_t next = run + 1 < used ? at + 1 : b + 1 < r.b ? (b + 1) << rbits : (int64_t)1 << levels;
        g = add_piece(g, b * r.s + run * tok, n < tok ? n : tok);
        tree_step(g - 1, &kept, levels, at, next);
    }
    return (struct reel_kplan){ seg, g - seg, levels };
}

/* ---- tiles and threads ---- */

struct job {
    struct reel_gemm g;
    const struct reel_cpu_isa *isa;
    int64_t ni, nj, ti, tj; /* result, tile */
    float *mem;             /* per worker */
    size_t mem_floats;
    float *db;              /* column sums of A's rows, or NULL */
};

static int64_t tile_edge(int64_t n, int64_t parts, int unit)
{
    return reel_ceil_div(reel_ceil_div(n, parts), unit) * unit;
}

/* The cut of ni x nj that is estimated to finish first; any cut gives the same bits. */
static void choose_tiles(struct job *j, int threads)
{
    int64_t kept = KEPT_BYTES / 4 / (j->g.plan.levels + 1);
    double best = 0;

    j->ti = j->tj = 0;
    for (int64_t gi = reel_ceil_div(j->ni + 1, TILE_ROWS), i = 0; i < 12; i++, gi++)
        for (int64_t gj = reel_ceil_div(j->nj + 1, TILE_COLS), k = 0; k < 12; k++, gj++) {
            int64_t ti = tile_edge(j->ni, gi, j->isa->mr), tj = tile_edge(j->nj, gj, j->isa->nr);
            int64_t waves = reel_ceil_div(reel_ceil_div(j->ni, ti) * reel_ceil_div(j->nj, tj), threads);
            double area = (double)(ti * tj), cost = area + PACK_COLS * (double)(ti + tj);
            cost = (double)waves * cost * (area > (double)kept ? 2 * area / (double)kept : 1);
            if (ti && tj && (!j->ti || cost < best)) {
                best = cost;
                j->ti = ti;
                j->tj = tj;
            }
        }
}

static void plan_memory(struct job *j, int threads)
{
    size_t sums = (size_t)(j->g.plan.levels + 1) * REEL_COLS + REEL_COLS * 2;

    choose_tiles(j, threads);
    if (!j->ti) j->ti = j->tj = j->isa->nr; /* no rows at all */
    j->mem_floats = j->isa->tile_mem(&j->g, j->ti, j->tj);
    if (j->mem_floats < sums) j->mem_floats = sums;
    j->mem_floats = (j->mem_floats + 63) / 64 * 64;
}

/* db of columns [j0, j0+n): each piece in f64, the tree in f32, like dw */
static void column_sums(const struct job *j, int64_t j0, int64_t n, float *mem)
{
    const struct reel_kplan *p = &j->g.plan;
    double *piece = (double *)mem;
    float *kept = mem + 2 * REEL_COLS, sum[REEL_COLS];

    for (int64_t s = 0; s < p->nseg; s++) {
        const struct reel_kseg *g = &p->seg[s];
        j->isa->colsum(piece, &j->g.a, j0, n, g->k0, g->len, !g->first);
        if (!g->last) continue;
        for (int64_t c = 0; c < n; c++) sum[c] = (float)piece[c];
        for (uint32_t m = g->adds; m; m &= m - 1)
            for (int64_t c = 0; c < n; c++) sum[c] += kept[__builtin_ctz(m) * REEL_COLS + c];
        for (int64_t c = 0; c < n && g->dest < p->levels; c++) kept[g->dest * REEL_COLS + c] = sum[c];
    }
    for (int64_t c = 0; c < n; c++) j->db[j0 + c] = j->g.out.acc ? j->db[j0 + c] + sum[c] : sum[c];
}

static void run_task(void *arg, int64_t task, int worker)
{
    const struct job *j = arg;
    int64_t cols = reel_ceil_div(j->nj, j->tj), tiles = cols * reel_ceil_div(j->ni, j->ti);
    float *mem = j->mem + (size_t)worker * j->mem_floats;
    int64_t i0 = task / cols * j->ti, j0 = task % cols * j->tj;

    if (task < tiles)
        j->isa->tile(&j->g, i0, i0 + j->ti < j->ni ? i0 + j->ti : j->ni, j0, j0 + j->tj < j->nj ? j0 + j->tj : j->nj,
                     mem);
    else {
        int64_t c0 = (task - tiles) * REEL_COLS;
        column_sums(j, c0, j->ni - c0 < REEL_COLS ? j->ni - c0 : REEL_COLS, mem);
    }
}

static void run(struct reel_stream *s, struct job *j, void *tmp, int64_t max_segs)
{
    int64_t tasks;

    plan_memory(j, reel_pool_threads(s->pool));
    j->mem = (float *)((char *)tmp + reel_ceil_div(max_segs * (int64_t)sizeof(struct reel_kseg), 256) * 256);
    tasks = reel_ceil_div(j->ni, j->ti) * reel_ceil_div(j->nj, j->tj) + (j->db ? reel_ceil_div(j->ni, REEL_COLS) : 0);
    reel_pool_run(s->pool, tasks, run_task, j);
}

/* What run will use of tmp. */
static size_t run_tmp(struct reel_stream *s, struct job *j, int64_t max_segs)
{
    int threads = reel_pool_threads(s->pool);

    j->isa = reel_cpu_isa();
    plan_memory(j, threads);
    return (size_t)(reel_ceil_div(max_segs * (int64_t)sizeof(struct reel_kseg), 256) * 256) +
           (size_t)threads * j->mem_floats * sizeof(float);
}

/* ---- the three products ---- */

/* What a result of ni x nj with sums over n features of so many terms will use. */
static size_t features_tmp(struct reel_stream *s, int64_t ni, int64_t nj, int64_t n, struct reel_cut cut, int terms)
{
    int64_t segs = segs_of_features(n, cut, terms);
    struct job j = { .ni = ni, .nj = nj, .g.plan = { .nseg = segs, .levels = log2_up(cut.pieces) } };

    return run_tmp(s, &j, segs);
}

void reel_cpu_linear_fwd(struct reel_stream *s, int dt, void *y, void *pre, const void *x, const void *w,
                         const float *bias, int64_t m, int64_t n, int64_t k, struct reel_rows r, struct reel_cut cut,
                         int epi, void *tmp)
{
    struct job j = {
        .g = { .a = { x, k, 1, dt }, .b = { w, k, 1, dt }, .plan = plan_features(tmp, k, cut, 1) },
        .isa = reel_cpu_isa(), .ni = m, .nj = n,
    };

    (void)r;
    j.g.out = (struct reel_gemm_out){ y, pre, bias, n, cut.partial ? REEL_F32 : dt, epi == REEL_EPI_GELU, epi == REEL_EPI_ADD };
    run(s, &j, tmp, segs_of_features(k, cut, 1));
}

size_t reel_cpu_linear_fwd_tmp(struct reel_stream *s, int dt, int64_t m, int64_t n, int64_t k, struct reel_rows r,
                               struct reel_cut cut)
{
    (void)dt, (void)r;
    return features_tmp(s, m, n, k, cut, 1);
}

void reel_cpu_linear_bwd_x(struct reel_stream *s, int dt, void *dx, struct reel_terms t, int64_t m, int64_t n, int64_t k,
                           struct reel_rows r, struct reel_cut cut, int acc, void *tmp)
{
    struct job j = {
        .g = { .a = { t.dy[0], n, 1, dt }, .b = { t.w[0], k, 0, dt }, .plan = plan_features(tmp, n, cut, t.n) },
        .isa = reel_cpu_isa(), .ni = m, .nj = k,
    };

    (void)r;
    for (int i = 1; i < t.n; i++) {
        j.g.more[i - 1][0] = (struct reel_mat){ t.dy[i], n, 1, dt };
        j.g.more[i - 1][1] = (struct reel_mat){ t.w[i], k, 0, dt };
    }
    j.g.out = (struct reel_gemm_out){ .y = dx, .ld = k, .dt = cut.partial ? REEL_F32 : dt, .acc = acc };
    run(s, &j, tmp, segs_of_features(n, cut, t.n));
}

size_t reel_cpu_linear_bwd_x_tmp(struct reel_stream *s, int dt, int terms, int64_t m, int64_t n, int64_t k,
                                 struct reel_rows r, struct reel_cut cut)
{
    (void)dt, (void)r;
    return features_tmp(s, m, k, n, cut, terms);
}

void reel_cpu_linear_bwd_w(struct reel_stream *s, int dt, float *dw, float *db, const void *x, const void *dy,
                           int64_t m, int64_t n, int64_t k, struct reel_rows r, struct reel_cut cut, int acc,
                           void *tmp)
{
    struct job j = {
        .g = { .a = { dy, n, 0, dt }, .b = { x, k, 0, dt }, .plan = plan_rows(tmp, r) },
        .isa = reel_cpu_isa(), .ni = n, .nj = k, .db = db,
    };

    (void)m, (void)cut;
    j.g.out = (struct reel_gemm_out){ .y = dw, .ld = k, .dt = REEL_F32, .acc = acc };
    run(s, &j, tmp, segs_of_rows(r));
}

size_t reel_cpu_linear_bwd_w_tmp(struct reel_stream *s, int dt, int64_t m, int64_t n, int64_t k, struct reel_rows r,
                                 struct reel_cut cut)
{
    struct job j = { .ni = n, .nj = k };

    (void)dt, (void)m, (void)cut;
    j.g.plan.nseg = segs_of_rows(r);
    j.g.plan.levels = log2_up(r.runs) + log2_up(r.b);
    return run_tmp(s, &j, segs_of_rows(r));
}

/* ---- convolution: rows of x are gathered while they are packed ---- */

/* Taps in time that would see nothing but frames of zeros. */
static int conv_skip(struct reel_conv g, const void *past)
{
    return !past && g.ot == 1 ? g.past : 0;
}

static size_t conv_zeros(struct reel_conv g)
{
    return (size_t)reel_ceil_div(g.c * 4, 256) * 256;
}

void reel_cpu_conv_fwd(struct reel_stream *s, int dt, void *y, const void *x, const void *past, const void *w,
                       const float *bias, struct reel_conv g, int acc, void *tmp)
{
    const struct reel_gather from = { g, x, past, tmp, conv_skip(g, past) };
    const int64_t all = reel_conv_k(g), left = all / g.kt * from.skip;
    char *rest = (char *)tmp + conv_zeros(g);
    struct job j = {
        .g = { .a = { x, all, 1, dt }, .b = { (const char *)w + left * (dt == REEL_BF16 ? 2 : 4), all, 1, dt },
               .from = &from, .plan = plan_features((void *)rest, all - left, REEL_UNCUT, 1) },
        .isa = reel_cpu_isa(), .ni = g.ot * g.oh * g.ow, .nj = g.n,
    };

    memset(tmp, 0, conv_zeros(g));
    j.g.out = (struct reel_gemm_out){ .y = y, .bias = bias, .ld = g.n, .dt = dt, .acc = acc };
    run(s, &j, rest, segs_of_features(all, REEL_UNCUT, 1));
}

size_t reel_cpu_conv_fwd_tmp(struct reel_stream *s, int dt, struct reel_conv g)
{
    (void)dt;
    return conv_zeros(g) + features_tmp(s, g.ot * g.oh * g.ow, g.n, reel_conv_k(g), REEL_UNCUT, 1);
}
