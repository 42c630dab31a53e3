/* Sparse attention: every operator and the whole of both branches against f64, central differences of
 * every input, cut tiles, ties, given lists, and the same bits for any threads and batch. */
#include <stdio.h>

#include "nn/nn.h"
#include "op_common.h"
#include "tap.h"

static struct ctx *one, *three;
static const struct reel_mask everything;

struct sparse {
    int64_t b, grid[3], s, n, h, hd, d, topk;
    struct reel_tile_index index;
    reel_tensor q, k, v, gate, g;                 /* [b,s,d] */
    reel_tensor qc, kc, vc, c, dc, dqc, dkc, dvc; /* [b,n,d] */
    reel_tensor sel, scores, lse_c, lse;
    reel_tensor fine, o, dq, dk, dv, dgate; /* [b,s,d] */
};

static reel_tensor i32(const int64_t *n, int nd)
{
    reel_tensor t = reel_view(NULL, REEL_I32, n, nd);

    t.p = t_new(REEL_F32, n, nd).p; /* of the same size */
    memset(t_edit(t), 0, reel_bytes(t));
    return t;
}

/* Outputs of x anew, inputs shared. */
static struct sparse outputs(struct sparse x)
{
    reel_dtype dt = x.q.dt;
    reel_tensor *tok[] = { &x.fine, &x.o, &x.dq, &x.dk, &x.dv, &x.dgate };
    reel_tensor *tile[] = { &x.qc, &x.kc, &x.vc, &x.c, &x.dc, &x.dqc, &x.dkc, &x.dvc };

    for (int i = 0; i < 6; i++) *tok[i] = t_new(dt, REEL_DIMS(x.b, x.s, x.d));
    for (int i = 0; i < 8; i++) *tile[i] = t_new(dt, REEL_DIMS(x.b, x.n, x.d));
    x.sel = i32(REEL_DIMS(x.b, x.h, x.n, x.topk));
    x.scores = t_new(REEL_F32, REEL_DIMS(x.b, x.h, x.n, x.n));
    x.lse_c = t_new(REEL_F32, REEL_DIMS(x.b, x.h, x.n));
    x.lse = t_new(REEL_F32, REEL_DIMS(x.b, x.h, x.s));
    return x;
}

static struct sparse sparse_new(reel_dtype dt, int64_t b, const int64_t grid[3], int64_t h, int64_t hd, int64_t topk)
{
    struct sparse x = { .b = b, .s = grid[0] * grid[1] * grid[2], .n = reel_tiles_count(grid), .h = h, .hd = hd, .d = h * hd };
    reel_tensor *in[] = { &x.q, &x.k, &x.v, &x.gate, &x.g };

    memcpy(x.grid, grid, sizeof x.grid);
    x.topk = topk;
    x.index.start = i32(REEL_DIMS(x.n + 1));
    x.index.order = i32(REEL_DIMS(x.s));
    reel_tiles_fill(t_edit(x.index.start), t_edit(x.index.order), grid);
    for (int i = 0; i < 5; i++) *in[i] = t_rand(dt, REEL_DIMS(b, x.s, x.d));
    return outputs(x);
}

static void choose(struct ctx *c, struct sparse *x)
{
    reel_tile_mean(on(c), x->qc, x->q, x->index);
    reel_tile_mean(on(c), x->kc, x->k, x->index);
    reel_vsa_select(on(c), x->sel, x->scores, x->qc, x->kc, (int)x->h);
}

/* Everything but the choice. */
static void forward(struct ctx *c, struct sparse *x)
{
    reel_tile_mean(on(c), x->qc, x->q, x->index);
    reel_tile_mean(on(c), x->kc, x->k, x->index);
    reel_tile_mean(on(c), x->vc, x->v, x->index);
    reel_attn_fwd(on(c), x->c, x->lse_c, x->qc, x->kc, x->vc, (int)x->h, everything);
    reel_vsa_fwd(on(c), x->fine, x->lse, x->q, x->k, x->v, x->sel, x->index, (int)x->h);
    reel_tile_gate_fwd(on(c), x->o, x->gate, x->c, x->fine, x->index);
    reel_sync(&c->s);
}

static void backward(struct ctx *c, struct sparse *x)
{
    reel_tile_gate_bwd(on(c), x->dgate, x->dc, x->g, x->gate, x->c, x->index);
    reel_attn_bwd(on(c), x->dqc, x->dkc, x->dvc, x->dc, x->c, x->lse_c, x->qc, x->kc, x->vc, (int)x->h, everything, 0);
    reel_vsa_bwd(on(c), x->dq, x->dk, x->dv, x->g, x->fine, x->lse, x->q, x->k, x->v, x->sel, x->dqc, x->dkc, x->dvc,
                 x->index, (int)x->h);
    reel_sync(&c->s);
}

static void run(struct ctx *c, struct sparse *x)
{
    choose(c, x);
    forward(c, x);
    backward(c, x);
}

/* ---- the formula in f64: full S x S attention under a mask, and attention of the means ---- */

struct ref { double *o, *lse, *dq, *dk, *dv, *dgate; };

static double *zeros(int64_t n)
{
    return calloc((size_t)n, sizeof(double));
}

/* Row i of q over n rows of k and v that mask admits (NULL: all): p, o, lse; then what cotangent g of o
 * adds to dq, dk, dv. Rows are hd long and packed. */
static double attend(double *o, const double *q, const double *k, const double *v, const unsigned char *mask, int64_t n,
                     int64_t hd, const double *g, double *dq, double *dk, double *dv)
{
    double *p = zeros(n), *dp = zeros(n), m = -INFINITY, l = 0, delta = 0, scale = 1 / sqrt((double)hd);

    for (int64_t j = 0; j < n; j++) {
        for (int64_t e = 0; e < hd; e++) p[j] += scale * q[e] * k[j * hd + e], dp[j] += g ? g[e] * v[j * hd + e] : 0;
        if (mask && !mask[j]) p[j] = -(double)INFINITY;
        m = fmax(m, p[j]);
    }
    for (int64_t j = 0; j < n; j++) l += p[j] = isfinite(m) ? exp(p[j] - m) : 0;
    for (int64_t j = 0; j < n && l > 0; j++) delta += (p[j] /= l) * dp[j];
    for (int64_t j = 0; j < n; j++)
        for (int64_t e = 0; e < hd; e++) {
            double ds = p[j] * (dp[j] - delta) * scale;
            if (o) o[e] += p[j] * v[j * hd + e];
            if (!g) continue;
            dq[e] += ds * k[j * hd + e];
            dk[j * hd + e] += ds * q[e];
            dv[j * hd + e] += p[j] * g[e];
        }
    free(p), free(dp);
    return l > 0 ? m + log(l) : -HUGE_VAL;
}

struct head { /* of one (sample, head), in f64 */
    const struct sparse *x;
    int64_t at; /* offset of its first token */
    int32_t *tile;
    double *q, *k, *v, *gate, *g, *qc, *kc, *vc, *c, *dc, *o, *dq, *dk, *dv, *dgate, *dqc, *dkc, *dvc;
};

static double *column(const struct sparse *x, reel_tensor t, int64_t at)
{
    double *p = zeros(x->s * x->hd);

    for (int64_t i = 0; i < x->s * x->hd; i++) p[i] = t_get(t, at + i / x->hd * x->d + i % x->hd);
    return p;
}

static int64_t size_of(const struct sparse *x, int64_t tile)
{
    const int32_t *start = t_host(x->index.start);

    return start[tile + 1] - start[tile];
}

static double *means(const struct head *e, const double *x)
{
    double *m = zeros(e->x->n * e->x->hd);

    for (int64_t i = 0; i < e->x->s * e->x->hd; i++)
        m[e->tile[i / e->x->hd] * e->x->hd + i % e->x->hd] += x[i] / (double)size_of(e->x, e->tile[i / e->x->hd]);
    return m;
}

static void head_open(struct head *e, const struct sparse *x, int64_t b, int64_t h)
{
    double **tok[] = { &e->o, &e->dq, &e->dk, &e->dv, &e->dgate }, **til[] = { &e->c, &e->dc, &e->dqc, &e->dkc, &e->dvc };

    e->x = x;
    e->at = b * x->s * x->d + h * x->hd;
    e->tile = calloc((size_t)x->s, sizeof *e->tile);
    for (int64_t i = 0; i < x->n; i++)
        for (int64_t p = ((int32_t *)t_host(x->index.start))[i]; p < ((int32_t *)t_host(x->index.start))[i + 1]; p++)
            e->tile[((int32_t *)t_host(x->index.order))[p]] = (int32_t)i;
    e->q = column(x, x->q, e->at), e->k = column(x, x->k, e->at), e->v = column(x, x->v, e->at);
    e->gate = column(x, x->gate, e->at), e->g = column(x, x->g, e->at);
    e->qc = means(e, e->q), e->kc = means(e, e->k), e->vc = means(e, e->v);
    for (int i = 0; i < 5; i++) *tok[i] = zeros(x->s * x->hd), *til[i] = zeros(x->n * x->hd);
}

static void head_close(struct head *e)
{
    double *all[] = { e->q, e->k, e->v, e->gate, e->g, e->qc, e->kc, e->vc, e->c, e->dc, e->o, e->dq, e->dk, e->dv,
                      e->dgate, e->dqc, e->dkc, e->dvc };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    free(e->tile);
}

static void head_fine(struct head *e, const int32_t *sel, double *lse)
{
    const struct sparse *x = e->x;
    unsigned char *mask = malloc((size_t)x->s), *chosen = malloc((size_t)x->n);

    for (int64_t i = 0; i < x->s; i++) {
        const int32_t *list = sel + e->tile[i] * x->topk;
        memset(chosen, 0, (size_t)x->n);
        for (int64_t t = 0; t < x->topk && list[t] >= 0; t++) chosen[list[t]] = 1;
        for (int64_t j = 0; j < x->s; j++) mask[j] = chosen[e->tile[j]];
        lse[i] = attend(e->o + i * x->hd, e->q + i * x->hd, e->k, e->v, mask, x->s, x->hd, e->g + i * x->hd,
                        e->dq + i * x->hd, e->dk, e->dv);
    }
    free(mask), free(chosen);
}

static void head_coarse(struct head *e)
{
    const struct sparse *x = e->x;
    int64_t hd = x->hd;

    for (int64_t i = 0; i < x->n; i++) attend(e->c + i * hd, e->qc + i * hd, e->kc, e->vc, NULL, x->n, hd, NULL, NULL, NULL, NULL);
    for (int64_t i = 0; i < x->s * hd; i++) {
        int64_t c = e->tile[i / hd] * hd + i % hd;
        e->o[i] += e->gate[i] * e->c[c];
        e->dgate[i] = e->g[i] * e->c[c];
        e->dc[c] += e->gate[i] * e->g[i];
    }
    for (int64_t i = 0; i < x->n; i++)
        attend(NULL, e->qc + i * hd, e->kc, e->vc, NULL, x->n, hd, e->dc + i * hd, e->dqc + i * hd, e->dkc, e->dvc);
    for (int64_t i = 0; i < x->s * hd; i++) {
        int64_t c = e->tile[i / hd] * hd + i % hd;
        double n = (double)size_of(x, e->tile[i / hd]);
        e->dq[i] += e->dqc[c] / n, e->dk[i] += e->dkc[c] / n, e->dv[i] += e->dvc[c] / n;
    }
}

static struct ref reference(const struct sparse *x, int coarse)
{
    int64_t n = x->b * x->s * x->d;
    struct ref r = { zeros(n), zeros(x->b * x->h * x->s), zeros(n), zeros(n), zeros(n), zeros(n) };

    for (int64_t bh = 0; bh < x->b * x->h; bh++) {
        struct head e;
        head_open(&e, x, bh / x->h, bh % x->h);
        head_fine(&e, (int32_t *)t_host(x->sel) + bh * x->n * x->topk, r.lse + bh * x->s);
        if (coarse) head_coarse(&e);
        for (int64_t i = 0; i < x->s * x->hd; i++) {
            int64_t at = e.at + i / x->hd * x->d + i % x->hd;
            r.o[at] = e.o[i], r.dq[at] = e.dq[i], r.dk[at] = e.dk[i], r.dv[at] = e.dv[i], r.dgate[at] = e.dgate[i];
        }
        head_close(&e);
    }
    return r;
}

static void ref_free(struct ref *r)
{
    free(r->o), free(r->lse), free(r->dq), free(r->dk), free(r->dv), free(r->dgate);
}

/* ---- the choice: what the rule says of the scores that were used, and those scores ---- */

static int rule(const float *s, const int32_t *sel, int64_t n, int64_t topk)
{
    int64_t at = 0;

    for (int64_t j = 0; j < n; j++) {
        int64_t before = 0; /* those that the rule takes first */
        for (int64_t i = 0; i < n; i++) before += s[i] > s[j] || (s[i] == s[j] && i < j);
        if (before < topk && (at == topk || sel[at++] != j)) return 0;
    }
    return at == topk;
}

static int all_rules(const struct sparse *x)
{
    int ok = 1;

    for (int64_t r = 0; r < x->b * x->h * x->n; r++)
        ok &= rule((float *)t_host(x->scores) + r * x->n, (int32_t *)t_host(x->sel) + r * x->topk, x->n, x->topk);
    return ok;
}

static double score_error(const struct sparse *x)
{
    double worst = 0;

    for (int64_t bh = 0; bh < x->b * x->h; bh++) {
        struct head e;
        head_open(&e, x, bh / x->h, bh % x->h);
        for (int64_t i = 0; i < x->n * x->n; i++) {
            double s = 0, err;
            for (int64_t c = 0; c < x->hd; c++) s += e.qc[i / x->n * x->hd + c] * e.kc[i % x->n * x->hd + c];
            err = fabs(s / sqrt((double)x->hd) - (double)((float *)t_host(x->scores))[bh * x->n * x->n + i]);
            if (!(err <= worst)) worst = isfinite(err) ? err : HUGE_VAL;
        }
        head_close(&e);
    }
    return worst;
}

/* f32: over the root mean square; bf16, whose rounding is relative, over the largest element, since a block that
 * many chose has far larger gradients than others */
static double apart(reel_tensor got, const double *want)
{
    double rms = 0, most = 0;
    int64_t n = reel_numel(got);

    for (int64_t i = 0; i < n; i++) rms += want[i] * want[i], most = fmax(most, fabs(want[i]));
    return got.dt == REEL_F32 ? t_error(got, want) : t_error(got, want) * sqrt(rms / (double)n) / (most + 1e-300);
}

static void against_f64(struct sparse x)
{
    double e[6], tol = x.q.dt == REEL_F32 ? 1e-5 : 0x1p-7, s;
    int ok = 1;
    struct ref r;

    run(three, &x);
    r = reference(&x, 1);
    s = score_error(&x);
    e[0] = apart(x.o, r.o), e[1] = apart(x.lse, r.lse), e[2] = apart(x.dq, r.dq);
    e[3] = apart(x.dk, r.dk), e[4] = apart(x.dv, r.dv), e[5] = apart(x.dgate, r.dgate);
    for (int i = 0; i < 6; i++) ok &= e[i] < (i == 1 ? 4e-6 : tol);
    TAP_OK(ok && all_rules(&x) && s < (x.q.dt == REEL_F32 ? 1e-6 : 1e-2),
           "%s batch %ld, grid %ldx%ldx%ld, %ld heads x %ld, %ld of %ld: o %.1e lse %.1e dq %.1e dk %.1e dv %.1e dgate %.1e scores %.1e",
           reel_dtype_name(x.q.dt), (long)x.b, (long)x.grid[0], (long)x.grid[1], (long)x.grid[2], (long)x.h, (long)x.hd,
           (long)x.topk, (long)x.n, e[0], e[1], e[2], e[3], e[4], e[5], s);
    ref_free(&r);
}

/* ---- ---- */

static double dot(reel_tensor a, reel_tensor b)
{
    double s = 0;

    for (int64_t i = 0; i < reel_numel(a); i++) s += t_get(a, i) * t_get(b, i);
    return s;
}

static void differences(void)
{
    struct sparse x = sparse_new(REEL_F32, 2, (int64_t[]){ 3, 6, 5 }, 2, 12, 2);
    reel_tensor at[] = { x.q, x.k, x.v, x.gate }, grad[] = { x.dq, x.dk, x.dv, x.dgate };

    run(one, &x);
    for (int p = 0; p < 4; p++) {
        reel_tensor keep = t_copy(at[p]), dir = t_rand(REEL_F32, at[p].n, at[p].nd);
        double num = 0, ana = dot(grad[p], dir), h = 1e-2;
        for (int sign = 1; sign >= -1; sign -= 2) {
            for (int64_t i = 0; i < reel_numel(keep); i++) t_set(at[p], i, t_get(keep, i) + sign * h * t_get(dir, i));
            forward(one, &x);
            num += sign * dot(x.o, x.g) / (2 * h);
        }
        memcpy(t_edit(at[p]), t_host(keep), reel_bytes(keep));
        TAP_OK(fabs(num - ana) < 2e-3 * (fabs(ana) + 1), "central difference in %s: %.6g, backward %.6g",
               (const char *[]){ "q", "k", "v", "gate" }[p], num, ana);
    }
}

/* q and k such that the scores are what we say: q is 4 e_i, k's features are the rows. */
static void ties(void)
{
    enum { N = 12 };
    static const float s[3][N] = { { 1, 2, 2, 0, 2, -1, 2, 3, 0, 0, 2, 1 }, { 0, 0.f, -0.f, 0, 0, 0, 0, 0, 0, 0, 0, 0 },
                                   { -3, -3, -5, 7, -3, -3, 7, 7, -5, -3, 1e30f, -1e30f } };
    reel_tensor q = t_new(REEL_F32, REEL_DIMS(1, N, 16)), k = t_new(REEL_F32, REEL_DIMS(1, N, 16));
    reel_tensor scores = t_new(REEL_F32, REEL_DIMS(1, 1, N, N));
    int ok = 1;

    for (int64_t i = 0; i < N * 16; i++) t_set(q, i, i / 16 == i % 16 ? 4 : 0), t_set(k, i, i % 16 < 3 ? (double)s[i % 16][i / 16] : 0);
    for (int64_t topk = 1; topk <= N; topk++) {
        reel_tensor sel = i32(REEL_DIMS(1, 1, N, topk));
        reel_vsa_select(on(three), sel, scores, q, k, 1);
        for (int64_t r = 0; r < 3; r++)
            for (int64_t j = 0; j < N; j++) ok &= ((float *)t_host(scores))[r * N + j] == s[r][j];
        for (int64_t r = 0; r < N; r++) ok &= rule((float *)t_host(scores) + r * N, (int32_t *)t_host(sel) + r * topk, N, topk);
    }
    TAP_OK(ok, "among equal scores the lower index is chosen, for each topk of 12");
}

/* Lists of any length, none among them; the fine branch alone. */
static void given_lists(reel_dtype dt)
{
    struct sparse x = sparse_new(dt, 1, (int64_t[]){ 5, 6, 7 }, 2, 24, 5);
    int32_t *sel = t_edit(x.sel);
    double e[5], tol = dt == REEL_F32 ? 6e-6 : 0x1p-7;
    struct ref r;

    for (int64_t i = 0; i < 2 * x.n; i++) {
        int64_t count = i * 3 % 6, at = 0;
        for (int64_t j = 0; j < x.n && at < count; j++)
            if (j == i % 3 || j + (count - at) >= x.n || t_uniform() > 0) sel[i * 5 + at++] = (int32_t)j;
        for (; at < 5; at++) sel[i * 5 + at] = -1;
    }
    reel_vsa_fwd(on(three), x.fine, x.lse, x.q, x.k, x.v, x.sel, x.index, 2);
    reel_vsa_bwd(on(three), x.dq, x.dk, x.dv, x.g, x.fine, x.lse, x.q, x.k, x.v, x.sel, t_none(), t_none(), t_none(), x.index, 2);
    r = reference(&x, 0);
    for (int64_t i = 0; i < 2 * x.s; i++) /* the error of infinities is no number */
        if (r.lse[i] == -HUGE_VAL && t_get(x.lse, i) == -HUGE_VAL) r.lse[i] = 0, t_set(x.lse, i, 0);
    e[0] = apart(x.fine, r.o), e[1] = apart(x.lse, r.lse), e[2] = apart(x.dq, r.dq), e[3] = apart(x.dk, r.dk);
    e[4] = apart(x.dv, r.dv);
    TAP_OK(e[0] < tol && e[1] < 4e-6 && e[2] < tol && e[3] < tol && e[4] < tol,
           "%s lists of 0 to 5 blocks: o %.1e lse %.1e dq %.1e dk %.1e dv %.1e", reel_dtype_name(dt), e[0], e[1], e[2], e[3], e[4]);
    ref_free(&r);
}

/* All blocks chosen and the gate shut: dense attention. */
static void dense(void)
{
    struct sparse x = sparse_new(REEL_F32, 1, (int64_t[]){ 5, 9, 6 }, 2, 32, 12), y = outputs(x);
    double *want = zeros(reel_numel(y.fine)), e[4];
    reel_tensor *got[] = { &x.o, &x.dq, &x.dk, &x.dv }, *ref[] = { &y.fine, &y.dq, &y.dk, &y.dv };
    int ok = 1;

    memset(t_edit(x.gate), 0, reel_bytes(x.gate));
    run(three, &x);
    reel_attn_fwd(on(three), y.fine, y.lse, x.q, x.k, x.v, 2, everything);
    reel_attn_bwd(on(three), y.dq, y.dk, y.dv, x.g, y.fine, y.lse, x.q, x.k, x.v, 2, everything, 0);
    for (int p = 0; p < 4; p++) {
        for (int64_t i = 0; i < reel_numel(*ref[p]); i++) want[i] = t_get(*ref[p], i);
        e[p] = t_error(*got[p], want);
        ok &= e[p] < 6e-6;
    }
    TAP_OK(ok, "sparsity 0 and a shut gate give dense attention: o %.1e dq %.1e dk %.1e dv %.1e", e[0], e[1], e[2], e[3]);
    free(want);
}

static int same_results(const struct sparse *a, const struct sparse *b)
{
    return t_same(a->o, b->o) && t_same(a->lse, b->lse) && t_same(a->dq, b->dq) && t_same(a->dk, b->dk) &&
           t_same(a->dv, b->dv) && t_same(a->dgate, b->dgate) && t_same(a->sel, b->sel);
}

static void any_threads(reel_dtype dt, int64_t b, const int64_t grid[3], int64_t h, int64_t hd, int64_t topk)
{
    struct sparse x = sparse_new(dt, b, grid, h, hd, topk), y = outputs(x), z = outputs(x);

    run(one, &x);
    run(three, &y);
    run(three, &z);
    TAP_OK(same_results(&x, &y) && same_results(&x, &z), "%s batch %ld, grid %ldx%ldx%ld, %ld heads x %ld: one thread and three give the same bits",
           reel_dtype_name(dt), (long)b, (long)grid[0], (long)grid[1], (long)grid[2], (long)h, (long)hd);
}

/* Sample 1 of two alone. */
static void any_batch(reel_dtype dt)
{
    struct sparse x = sparse_new(dt, 2, (int64_t[]){ 5, 6, 7 }, 2, 20, 3), y;
    reel_tensor *in[] = { &x.q, &x.k, &x.v, &x.gate, &x.g };

    run(three, &x);
    y = x;
    y.b = 1;
    y.q = reel_slice(*in[0], 1, 2), y.k = reel_slice(*in[1], 1, 2), y.v = reel_slice(*in[2], 1, 2);
    y.gate = reel_slice(*in[3], 1, 2), y.g = reel_slice(*in[4], 1, 2);
    y = outputs(y);
    run(one, &y);
    TAP_OK(t_same(y.o, reel_slice(x.o, 1, 2)) && t_same(y.dq, reel_slice(x.dq, 1, 2)) && t_same(y.dk, reel_slice(x.dk, 1, 2)) &&
               t_same(y.dv, reel_slice(x.dv, 1, 2)) && t_same(y.dgate, reel_slice(x.dgate, 1, 2)) &&
               t_same(y.sel, reel_slice(x.sel, 1, 2)), "%s: a sample alone gives the bits it gives in a batch", reel_dtype_name(dt));
}

static void not_a_number(void)
{
    struct sparse x = sparse_new(REEL_F32, 1, (int64_t[]){ 5, 6, 7 }, 1, 16, 4);

    t_set(x.k, 3 * 16 + 5, (double)NAN);
    run(one, &x);
    TAP_OK(isnan(t_get(x.o, 0)) && isnan(t_get(x.dq, 17)) && isnan(t_get(x.dv, 209 * 16)), "a NaN among the keys shows in every row");
}

/* ---- numbers of the specification: grid (5,6,7), 2 heads of 8, 4 of 8 ---- */

static double fill_u(uint32_t no, int64_t i)
{
    uint32_t z = (uint32_t)i * 2654435761u + no * 2246822519u + 374761393u;

    z ^= z >> 15, z *= 2246822519u, z ^= z >> 13, z *= 3266489917u, z ^= z >> 16;
    return z * 0x1p-32 - 0.5;
}

static void filled(reel_tensor t, uint32_t no, double scale)
{
    for (int64_t i = 0; i < reel_numel(t); i++) t_set(t, i, scale * fill_u(no, i));
}

/* sum of squares and some elements, to the printed digits */
static int is(reel_tensor t, double sumsq, int64_t first, int n, const double *want)
{
    double s = 0;
    int ok = 1;

    for (int64_t i = 0; i < reel_numel(t); i++) s += t_get(t, i) * t_get(t, i);
    for (int i = 0; i < n; i++) ok &= fabs(t_get(t, first + i) - want[i]) < 6e-7;
    return ok && fabs(s - sumsq) < 1e-6 * sumsq;
}

static void specification(void)
{
    static const int32_t blocks[8][4] = { { 1, 2, 4, 6 }, { 0, 4, 5, 6 }, { 1, 2, 3, 7 }, { 3, 5, 6, 7 },
                                          { 1, 2, 4, 7 }, { 0, 3, 5, 7 }, { 0, 3, 5, 7 }, { 1, 2, 5, 6 } };
    static const double score[] = { -0.0170556, 0.0124699, 0.0252660, -0.0436455, 0.0553370, -0.0638722, 0.1013477, -0.0452071 };
    struct sparse x = sparse_new(REEL_F32, 1, (int64_t[]){ 5, 6, 7 }, 2, 8, 4), y;
    static const int32_t slots[12] = { 0, 1, 2, 3, 64, 65, 66, 4, 5, 6, 7, 67 }, sizes[8] = { 64, 48, 32, 24, 16, 12, 8, 6 };
    int ok = 1;

    filled(x.q, 2000, 4), filled(x.k, 2001, 4), filled(x.v, 2002, 4), filled(x.gate, 2003, 4), filled(x.g, 2010, 2);
    for (int i = 0; i < 8; i++) ok &= size_of(&x, i) == sizes[i];
    for (int i = 0; i < 12; i++) {
        int32_t tile = slots[i] / 64;
        ok &= ((int32_t *)t_host(x.index.order))[((int32_t *)t_host(x.index.start))[tile] + slots[i] % 64] == i;
    }
    TAP_OK(ok, "specification: tiles");
    run(three, &x);
    ok = 1;
    for (int i = 0; i < 8; i++) ok &= fabs(t_get(x.scores, i) - score[i]) < 1e-7;
    TAP_OK(ok && !memcmp(t_host(x.sel), blocks, sizeof blocks), "specification: scores and choice");
    TAP_OK(is(x.o, 275.9063400, 0, 6, (double[]){ 0.1145246, 0.0764034, 0.0221548, 0.3054466, 0.3633408, 0.0887151 }) &&
               is(x.o, 275.9063400, 210 * 16 - 3, 3, (double[]){ -0.1195597, -0.1572397, 0.5021161 }), "specification: output");
    TAP_OK(is(x.dq, 56.2699690, 0, 3, (double[]){ -0.1022104, -0.0240561, -0.0911869 }) &&
               is(x.dk, 79.8631532, 0, 3, (double[]){ -0.0137692, 0.0226976, 0.2427314 }) &&
               is(x.dv, 59.7746971, 0, 3, (double[]){ 0.1936018, 0.1775566, 0.1275318 }) &&
               is(x.dgate, 12.4615369, 0, 3, (double[]){ -0.0647299, -0.0161588, -0.0083984 }), "specification: gradients");
    y = x;
    y.topk = 8;
    y = outputs(y);
    run(three, &y);
    TAP_OK(is(y.o, 166.6703460, 0, 3, (double[]){ 0.2001591, 0.0270290, -0.0253494 }), "specification: all blocks");
}

static void counts(void)
{
    static const struct { int n; double sparsity; int k; } t[] = {
        { 180, 0.95, 10 }, { 1000, 0.95, 51 }, { 1000, 0.97, 31 }, { 180, 0.9, 18 }, { 455, 0.5, 228 }, { 455, 0.8, 91 },
        { 455, 0.9, 46 }, { 455, 0.95, 23 }, { 364, 0.8, 73 }, { 364, 0.9, 37 }, { 624, 0.5, 312 }, { 624, 0.8, 125 },
        { 624, 0.9, 63 }, { 624, 0.95, 32 }, { 1440, 0.8, 288 }, { 1440, 0.9, 144 }, { 1, 0.9, 1 }, { 8, 0, 8 }, { 8, 0.999, 1 },
    };
    int ok = 1;

    for (size_t i = 0; i < sizeof t / sizeof *t; i++) ok &= reel_vsa_topk(t[i].sparsity, t[i].n) == t[i].k;
    TAP_OK(ok, "how many blocks a sparsity leaves");
    TAP_OK(reel_tiles_count((int64_t[]){ 20, 28, 52 }) == 455 && reel_tiles_count((int64_t[]){ 21, 30, 52 }) == 624 &&
               reel_tiles_count((int64_t[]){ 21, 45, 80 }) == 1440, "tiles of Wan's grids");
}

int main(void)
{
    static const struct { int64_t b, grid[3], h, hd, topk; } shapes[] = {
        { 1, { 1, 1, 1 }, 1, 2, 1 },    { 1, { 4, 4, 4 }, 1, 64, 1 },   { 2, { 5, 6, 7 }, 3, 20, 3 },  { 1, { 5, 6, 7 }, 2, 12, 8 },
        { 1, { 8, 8, 8 }, 1, 128, 2 },  { 1, { 3, 9, 4 }, 2, 128, 2 },  { 1, { 1, 13, 5 }, 2, 64, 4 }, { 2, { 9, 4, 10 }, 1, 50, 1 },
        { 1, { 2, 1, 31 }, 1, 256, 3 }, { 1, { 7, 11, 13 }, 1, 16, 9 },
    };

    one = ctx_open(1, 64);
    three = ctx_open(3, 64);
    printf("# %s\n", reel_backend_describe(one->be));
    counts();
    specification();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int dt = REEL_F32; dt <= REEL_BF16; dt++)
            against_f64(sparse_new((reel_dtype)dt, shapes[i].b, shapes[i].grid, shapes[i].h, shapes[i].hd, shapes[i].topk));
    differences();
    ties();
    given_lists(REEL_F32);
    given_lists(REEL_BF16);
    dense();
    any_threads(REEL_F32, 1, (int64_t[]){ 8, 12, 20 }, 1, 32, 5);
    any_threads(REEL_F32, 2, (int64_t[]){ 7, 6, 9 }, 3, 12, 2);
    any_threads(REEL_BF16, 1, (int64_t[]){ 5, 13, 9 }, 2, 64, 6);
    any_batch(REEL_F32);
    any_batch(REEL_BF16);
    not_a_number();
    ctx_close(one);
    ctx_close(three);
    return tap_done();
}
