/* Checked fronts: matrix products, attention and the row-wise layers. */
#include "be/check.h"

#include "kernels/pieces.h"

struct reel_rows reel_rows_make(int64_t b, int64_t s, int64_t per_mod)
{
    int runs = 8;

    while (runs > 1 && s / runs < 8) runs /= 2;
    return (struct reel_rows){ b, s, runs, per_mod, (s + runs - 1) / runs, 0 };
}

struct reel_rows reel_rows_part(int64_t b, int64_t S, int64_t per_mod, int rank, int size)
{
    struct reel_rows r = reel_rows_make(b, S, per_mod);
    int64_t held = reel_pow2_up((r.runs + size - 1) / size), lo = rank * held * r.run_tok, hi = lo + held * r.run_tok;

    if (lo > S) lo = S;
    if (hi > S) hi = S;
    r.s = hi - lo;
    r.runs = (int)held;
    r.tok0 = lo;
    return r;
}

/* A sum over rows of which this rank holds none: -0, to which any number may be added without a change of its bits. */
static int no_rows(struct reel_stream *s, struct reel_rows r, reel_tensor dw, reel_tensor db, int acc)
{
    if (r.b * r.s > 0) return 0;
    if (dw.nd && !acc) reel_fill(s, dw, -0.0);
    if (db.nd && !acc) reel_fill(s, db, -0.0);
    return 1;
}

/* ---- matrix products ---- */

struct mm { int64_t m, n, k; };

/* x [m,k] of dtype xt and y [m,n] of yt, m = rows of r */
static struct mm check_mm(struct reel_stream *s, const char *op, reel_tensor x, reel_dtype xt, reel_tensor y,
                          reel_dtype yt, struct reel_rows r)
{
    struct mm z = { .k = check_last(op, "x", x), .n = check_last(op, "y", y) };

    check_float(op, "x", x);
    check_float(op, "y", y);
    check_rows_struct(op, r);
    z.m = r.b * r.s;
    check_rows(s, op, "x", x, xt, z.m, z.k);
    check_rows(s, op, "y", y, yt, z.m, z.n);
    return z;
}

/* The dtype of a product of dt with n columns whose sum over k features is cut so. */
static reel_dtype check_cut(const char *op, struct reel_cut cut, int64_t k, int64_t n, reel_dtype dt, int alone)
{
    REEL_BUG_IF(cut.pieces < 1 || cut.pieces & (cut.pieces - 1) || k % cut.pieces,
                "%s: %d pieces of %lld features, wanted a power of two that divides them", op, cut.pieces, (long long)k);
    REEL_BUG_IF(cut.cols < 1 || n % cut.cols, "%s: %d pieces of %lld columns, wanted a number that divides them", op, cut.cols,
                (long long)n);
    REEL_BUG_IF(cut.partial && !alone, "%s: a partial result has nothing added to it", op);
    return cut.partial ? REEL_F32 : dt;
}

void reel_linear_fwd(struct reel_stream *s, reel_tensor y, reel_tensor pre, reel_tensor x, reel_tensor w,
                     reel_tensor bias, struct reel_rows r, struct reel_cut cut, enum reel_epi epi)
{
    int64_t k = check_last(__func__, "x", x);
    reel_dtype dt = check_cut(__func__, cut, k, check_last(__func__, "y", y), x.dt, !bias.nd && !pre.nd && epi == REEL_EPI_NONE);
    struct mm z = check_mm(s, __func__, x, x.dt, y, dt, r);
    size_t mark;
    void *tmp;

    check(s, __func__, "w", w, x.dt, z.n * z.k);
    check_opt(s, __func__, "bias", bias, REEL_F32, z.n);
    check_opt(s, __func__, "pre", pre, x.dt, z.m * z.n);
    REEL_BUG_IF(epi == REEL_EPI_ADD && (bias.nd || pre.nd), "%s: a sum is added to, without bias", __func__);
    if (!z.m) return;
    s->flops += 2.0 * (double)z.m * (double)z.n * (double)z.k;
    tmp = check_tmp(s, __func__, s->ops->linear_fwd_tmp(s, (int)x.dt, z.m, z.n, z.k, r, cut), &mark);
    if (!s->planning)
        s->ops->linear_fwd(s, (int)x.dt, y.p, pre.nd ? pre.p : NULL, x.p, w.p, bias.nd ? bias.p : NULL, z.m,
                           z.n, z.k, r, cut, (int)epi, tmp);
    check_tmp_end(s, mark);
}

void reel_linear_bwd_xs(struct reel_stream *s, reel_tensor dx, const reel_tensor *dy, const reel_tensor *w, int n,
                        struct reel_rows r, struct reel_cut cut, int acc)
{
    reel_dtype dt = dy->dt;
    struct reel_terms t = { .n = n };
    struct mm z;
    size_t mark;
    void *tmp;

    REEL_BUG_IF(n < 1 || n > REEL_MAX_TERMS, "%s: %d terms", __func__, n);
    z = check_mm(s, __func__, dx, check_cut(__func__, cut, check_last(__func__, "dy", *dy), check_last(__func__, "dx", dx), dt, !acc),
                 *dy, dt, r);
    for (int i = 0; i < n; i++) {
        check_rows(s, __func__, "dy", dy[i], dt, z.m, z.n);
        check(s, __func__, "w", w[i], dt, z.n * z.k);
        t.dy[i] = dy[i].p;
        t.w[i] = w[i].p;
    }
    if (!z.m) return;
    s->flops += 2.0 * n * (double)z.m * (double)z.n * (double)z.k;
    tmp = check_tmp(s, __func__, s->ops->linear_bwd_x_tmp(s, (int)dt, n, z.m, z.n, z.k, r, cut), &mark);
    if (!s->planning) s->ops->linear_bwd_x(s, (int)dt, dx.p, t, z.m, z.n, z.k, r, cut, acc, tmp);
    check_tmp_end(s, mark);
}

void reel_linear_bwd_x(struct reel_stream *s, reel_tensor dx, reel_tensor dy, reel_tensor w, struct reel_rows r,
                       struct reel_cut cut, int acc)
{
    reel_linear_bwd_xs(s, dx, &dy, &w, 1, r, cut, acc);
}

void reel_linear_bwd_w(struct reel_stream *s, reel_tensor dw, reel_tensor db, reel_tensor x, reel_tensor dy,
                       struct reel_rows r, struct reel_cut cut, int acc)
{
    struct mm z = check_mm(s, __func__, x, x.dt, dy, x.dt, r);
    size_t mark;
    void *tmp;

    check_cut(__func__, cut, z.n, z.k, x.dt, 1);
    check(s, __func__, "dw", dw, REEL_F32, z.n * z.k);
    check_opt(s, __func__, "db", db, REEL_F32, z.n);
    if (no_rows(s, r, dw, db, acc)) return;
    s->flops += 2.0 * (double)z.m * (double)z.n * (double)z.k;
    tmp = check_tmp(s, __func__, s->ops->linear_bwd_w_tmp(s, (int)x.dt, z.m, z.n, z.k, r, cut), &mark);
    if (!s->planning)
        s->ops->linear_bwd_w(s, (int)x.dt, dw.p, db.nd ? db.p : NULL, x.p, dy.p, z.m, z.n, z.k, r, cut, acc, tmp);
    check_tmp_end(s, mark);
}

/* ---- attention ---- */

struct at { int64_t b, sq, sk, d, hd; };

static void check_mask(const char *op, struct reel_mask m, int64_t sq, int64_t sk)
{
    int self = m.see == REEL_SEE_CHUNKS || m.see == REEL_SEE_TEACHER;

    REEL_BUG_IF(self && (m.chunk < 1 || m.window < 0 || m.zeros < 0 || sq != sk),
                "%s: chunks of %lld tokens, window %lld, %lld zero keys and %lld queries of %lld keys do not make sense", op,
                (long long)m.chunk, (long long)m.window, (long long)m.zeros, (long long)sq, (long long)sk);
    REEL_BUG_IF(m.see == REEL_SEE_TEACHER && (m.half < 1 || sk != 2 * m.half || m.window),
                "%s: halves of %lld tokens and window %lld, wanted halves of %lld keys and none", op, (long long)m.half,
                (long long)m.window, (long long)sk);
    REEL_BUG_IF(m.see == REEL_SEE_WINDOW &&
                    (m.sink < 0 || m.lo < m.sink || m.hi < m.lo || m.hi > sk || m.sink + m.hi == m.lo),
                "%s: rows [0,%lld) and [%lld,%lld) of a cache of %lld", op, (long long)m.sink, (long long)m.lo,
                (long long)m.hi, (long long)sk);
}

static struct at check_at(struct reel_stream *s, const char *op, reel_tensor q, reel_tensor k, reel_tensor v,
                          reel_tensor o, reel_tensor lse, int heads, struct reel_mask mask)
{
    struct at z;
    char a[96], b[96];

    REEL_BUG_IF(q.nd != 3 || k.nd != 3 || k.n[0] != q.n[0] || k.n[2] != q.n[2] || k.n[1] < 1 || k.n[1] > INT32_MAX,
                "%s: q is %s and k is %s, wanted [B,Sq,D] and [B,Sk,D]", op, check_show(a, q), check_show(b, k));
    z = (struct at){ q.n[0], q.n[1], k.n[1], q.n[2], q.n[2] / (heads > 0 ? heads : 1) };
    REEL_BUG_IF(heads < 1 || z.hd * heads != z.d, "%s: %d heads do not divide width %lld", op, heads, (long long)z.d);
    check_float(op, "q", q);
    check(s, op, "q", q, q.dt, z.b * z.sq * z.d);
    check(s, op, "k", k, q.dt, z.b * z.sk * z.d);
    check(s, op, "v", v, q.dt, z.b * z.sk * z.d);
    check(s, op, "o", o, q.dt, z.b * z.sq * z.d);
    check(s, op, "lse", lse, REEL_F32, z.b * heads * z.sq);
    check_mask(op, mask, z.sq, z.sk);
    return z;
}

/* Pairs of a query and a key of [k0,k1) that it sees. */
static double pairs_seen(struct reel_mask m, int64_t sq, int64_t sk, int64_t k0, int64_t k1)
{
    int64_t sum = 0, rows = reel_mask_alike(m) ? 1 : sq;

    for (int64_t i = 0; i < rows; i++) {
        struct reel_keys r = reel_mask_row(m, sk, i);
        for (int p = 0; p < 2; p++) {
            int64_t lo = r.lo[p] > k0 ? r.lo[p] : k0, hi = r.hi[p] < k1 ? r.hi[p] : k1;
            if (lo < hi) sum += hi - lo;
        }
    }
    return (double)sum * (rows < sq ? (double)sq : 1);
}

void reel_attn_fwd(struct reel_stream *s, reel_tensor o, reel_tensor lse, reel_tensor q, reel_tensor k,
                   reel_tensor v, int heads, struct reel_mask mask)
{
    struct at z = check_at(s, __func__, q, k, v, o, lse, heads, mask);
    size_t mark;
    void *tmp;

    if (!z.sq) return;
    count_attention(s, 4.0 * (double)z.b * pairs_seen(mask, z.sq, z.sk, 0, z.sk) * (double)z.d);
    tmp = check_tmp(s, __func__, s->ops->attn_fwd_tmp(s, (int)q.dt, z.b, z.sq, z.sk, heads, z.hd), &mark);
    if (!s->planning)
        s->ops->attn_fwd(s, (int)q.dt, o.p, lse.p, q.p, k.p, v.p, z.b, z.sq, z.sk, heads, z.hd, mask, tmp);
    check_tmp_end(s, mark);
}

void reel_attn_rel_fwd(struct reel_stream *s, reel_tensor o, reel_tensor q, reel_tensor k, reel_tensor v, reel_tensor rel)
{
    int heads = rel.nd == 2 ? (int)rel.n[0] : 0;
    int64_t d = check_last(__func__, "q", q), n = reel_numel(q) / d, hd = heads ? d / heads : 0, most = (rel.n[1] + 1) / 2;
    char a[96], b[96];
    size_t mark;
    void *tmp;

    REEL_BUG_IF(!heads || hd * heads != d || rel.n[1] % 2 == 0 || most < n,
                "%s: q is %s and rel is %s, wanted [n,heads*d] and [heads,2N-1], N >= n", __func__, check_show(a, q), check_show(b, rel));
    check_float(__func__, "q", q);
    check_rows(s, __func__, "q", q, q.dt, n, d);
    check_rows(s, __func__, "k", k, q.dt, n, d);
    check_rows(s, __func__, "v", v, q.dt, n, d);
    check_rows(s, __func__, "o", o, q.dt, n, d);
    check(s, __func__, "rel", rel, REEL_F32, heads * rel.n[1]);
    if (!n) return;
    count_attention(s, 4.0 * (double)n * (double)n * (double)d);
    tmp = check_tmp(s, __func__, s->ops->attn_rel_fwd_tmp(s, (int)q.dt, n, heads, hd), &mark);
    if (!s->planning) s->ops->attn_rel_fwd(s, (int)q.dt, o.p, q.p, k.p, v.p, rel.p, most, n, heads, hd, tmp);
    check_tmp_end(s, mark);
}

/* run_tok 0: dk, dv of q's type; else f32 sums of each run of queries. */
static void attn_bwd(struct reel_stream *s, struct at z, reel_tensor dq, reel_tensor dk, reel_tensor dv, reel_tensor dout,
                     reel_tensor o, reel_tensor lse, reel_tensor q, reel_tensor k, reel_tensor v, int heads,
                     struct reel_mask mask, int64_t dk0, int64_t g, int64_t run_tok)
{
    size_t mark;
    void *tmp;

    check(s, "reel_attn_bwd", "dout", dout, q.dt, z.b * z.sq * z.d);
    check(s, "reel_attn_bwd", "dq", dq, q.dt, z.b * z.sq * z.d);
    /* two products for dq, two for dk and dv; recomputation is not counted */
    count_attention(s, 4.0 * (double)z.b * (double)z.d *
                           (pairs_seen(mask, z.sq, z.sk, 0, z.sk) + pairs_seen(mask, z.sq, z.sk, dk0, dk0 + g)));
    tmp = check_tmp(s, "reel_attn_bwd", s->ops->attn_bwd_tmp(s, (int)q.dt, z.b, z.sq, z.sk, heads, z.hd, run_tok), &mark);
    if (!s->planning)
        s->ops->attn_bwd(s, (int)q.dt, dq.p, dk.p, dv.p, dout.p, o.p, lse.p, q.p, k.p, v.p, z.b, z.sq, z.sk,
                         heads, z.hd, mask, dk0, g, run_tok, tmp);
    check_tmp_end(s, mark);
}

void reel_attn_bwd(struct reel_stream *s, reel_tensor dq, reel_tensor dk, reel_tensor dv, reel_tensor dout,
                   reel_tensor o, reel_tensor lse, reel_tensor q, reel_tensor k, reel_tensor v, int heads,
                   struct reel_mask mask, int64_t dk0)
{
    struct at z = check_at(s, __func__, q, k, v, o, lse, heads, mask);
    int64_t g = dk.nd == 3 ? dk.n[1] : -1;
    char is[96];

    REEL_BUG_IF(g < 0 || dk0 < 0 || dk0 + g > z.sk, "%s: dk is %s of rows from %lld, wanted [B,G,D] within %lld keys",
                __func__, check_show(is, dk), (long long)dk0, (long long)z.sk);
    check(s, __func__, "dk", dk, q.dt, z.b * g * z.d);
    check(s, __func__, "dv", dv, q.dt, z.b * g * z.d);
    attn_bwd(s, z, dq, dk, dv, dout, o, lse, q, k, v, heads, mask, dk0, g, 0);
}

void reel_attn_bwd_runs(struct reel_stream *s, reel_tensor dq, reel_tensor dk, reel_tensor dv, reel_tensor dout,
                        reel_tensor o, reel_tensor lse, reel_tensor q, reel_tensor k, reel_tensor v, int heads,
                        struct reel_rows r)
{
    struct reel_mask all = { 0 };
    struct at z = check_at(s, __func__, q, k, v, o, lse, heads, all);
    int64_t run, runs;

    check_rows_struct(__func__, r); /* before its runs are a divisor */
    run = reel_rows_run_tok(r);
    runs = run ? reel_ceil_div(z.sq, run) : 0;
    REEL_BUG_IF(r.b != z.b || r.s != z.sq, "%s: %lld samples of %lld queries, rows say %lld of %lld", __func__,
                (long long)z.b, (long long)z.sq, (long long)r.b, (long long)r.s);
    check(s, __func__, "dk", dk, REEL_F32, z.b * runs * z.sk * z.d);
    check(s, __func__, "dv", dv, REEL_F32, z.b * runs * z.sk * z.d);
    if (z.sq) attn_bwd(s, z, dq, dk, dv, dout, o, lse, q, k, v, heads, all, 0, z.sk, run);
}

/* ---- modulation rows ---- */

struct mod { int64_t nmod, ld, d; };

/* mod [nmod,R,D] f32 against the rows it serves; `row` and `row2` are the rows of R in use */
static struct mod check_mod(struct reel_stream *s, const char *op, reel_tensor mod, int row, int row2, int64_t d,
                            struct reel_rows r)
{
    char is[96];
    struct mod z = { mod.n[0], mod.n[1] * mod.n[2], d };

    REEL_BUG_IF(mod.nd != 3 || mod.n[2] != d || row < 0 || row2 < 0 || row >= mod.n[1] || row2 >= mod.n[1],
                "%s: mod is %s, wanted [nmod,R,%lld] with rows %d and %d", op, check_show(is, mod), (long long)d,
                row, row2);
    REEL_BUG_IF(z.nmod < r.b || z.nmod % r.b ||
                    (z.nmod > r.b && (r.tok0 + r.s + r.per_mod - 1) / r.per_mod > z.nmod / r.b),
                "%s: %lld modulation rows do not serve %lld samples of %lld tokens, %lld tokens a row", op,
                (long long)z.nmod, (long long)r.b, (long long)(r.tok0 + r.s), (long long)r.per_mod);
    check(s, op, "mod", mod, REEL_F32, z.nmod * z.ld);
    return z;
}

/* bytes of the partial sums of k vectors of d over the pieces of r (kernels/pieces.h) */
static size_t sums_bytes(struct reel_rows r, int64_t nmod, int64_t k, int64_t d)
{
    struct reel_pieces p = reel_pieces_make(r);

    return (size_t)(r.b * reel_piece_slots(&p, nmod ? nmod / r.b : 1) * k * d) * sizeof(float);
}

/* ---- LayerNorm ---- */

static int64_t check_ln(struct reel_stream *s, const char *op, reel_tensor y, reel_tensor x, reel_tensor mean,
                        reel_tensor rstd, struct reel_rows r)
{
    int64_t d = check_last(op, "x", x);

    check_float(op, "x", x);
    check_rows_struct(op, r);
    check_rows(s, op, "x", x, x.dt, r.b * r.s, d);
    check_rows(s, op, "y", y, x.dt, r.b * r.s, d);
    check(s, op, "mean", mean, REEL_F32, r.b * r.s);
    check(s, op, "rstd", rstd, REEL_F32, r.b * r.s);
    return d;
}

void reel_ln_mod_fwd(struct reel_stream *s, reel_tensor y, reel_tensor mean, reel_tensor rstd, reel_tensor x,
                     reel_tensor mod, int shift_row, int scale_row, struct reel_rows r, double eps)
{
    int64_t d = check_ln(s, __func__, y, x, mean, rstd, r);
    struct mod z = check_mod(s, __func__, mod, shift_row, scale_row, d, r);

    if (s->planning || r.b * r.s == 0) return;
    s->ops->ln_mod_fwd(s, (int)x.dt, y.p, mean.p, rstd.p, x.p, mod.p, z.nmod, z.ld, shift_row * d, scale_row * d,
                       d, r, eps);
}

void reel_ln_mod_bwd(struct reel_stream *s, reel_tensor dx, int acc, reel_tensor dmod, reel_tensor dy,
                     reel_tensor x, reel_tensor mean, reel_tensor rstd, reel_tensor mod, int shift_row,
                     int scale_row, struct reel_rows r)
{
    int64_t d = check_ln(s, __func__, dx, x, mean, rstd, r);
    struct mod z = check_mod(s, __func__, mod, shift_row, scale_row, d, r);
    size_t mark;
    float *tmp;

    check(s, __func__, "dy", dy, x.dt, r.b * r.s * d);
    check(s, __func__, "dmod", dmod, REEL_F32, z.nmod * z.ld);
    tmp = check_tmp(s, __func__, sums_bytes(r, z.nmod, 2, d), &mark);
    if (!s->planning && r.b * r.s > 0)
        s->ops->ln_mod_bwd(s, (int)x.dt, dx.p, acc, dmod.p, dy.p, x.p, mean.p, rstd.p, mod.p, z.nmod, z.ld,
                           shift_row * d, scale_row * d, d, r, tmp);
    check_tmp_end(s, mark);
}

void reel_ln_affine_fwd(struct reel_stream *s, reel_tensor y, reel_tensor mean, reel_tensor rstd,
                        reel_tensor x, reel_tensor w, reel_tensor b, struct reel_rows r, double eps)
{
    int64_t d = check_ln(s, __func__, y, x, mean, rstd, r);

    check(s, __func__, "w", w, REEL_F32, d);
    check(s, __func__, "b", b, REEL_F32, d);
    if (s->planning || r.b * r.s == 0) return;
    s->ops->ln_affine_fwd(s, (int)x.dt, y.p, mean.p, rstd.p, x.p, w.p, b.p, d, r, eps);
}

void reel_ln_affine_bwd(struct reel_stream *s, reel_tensor dx, int acc, reel_tensor dw, reel_tensor db,
                        reel_tensor dy, reel_tensor x, reel_tensor mean, reel_tensor rstd, reel_tensor w,
                        struct reel_rows r, int pacc)
{
    int64_t d = check_ln(s, __func__, dx, x, mean, rstd, r);
    size_t mark;
    float *tmp;

    check(s, __func__, "dy", dy, x.dt, r.b * r.s * d);
    check(s, __func__, "w", w, REEL_F32, d);
    check_opt(s, __func__, "dw", dw, REEL_F32, d);
    check_opt(s, __func__, "db", db, REEL_F32, d);
    REEL_BUG_IF(!dw.nd != !db.nd, "%s: dw and db come together", __func__);
    if (no_rows(s, r, dw, db, pacc)) return;
    tmp = check_tmp(s, __func__, sums_bytes(r, 0, 2, d), &mark);
    if (!s->planning)
        s->ops->ln_affine_bwd(s, (int)x.dt, dx.p, acc, dw.nd ? dw.p : NULL, db.nd ? db.p : NULL, dy.p, x.p, mean.p, rstd.p, w.p, d, r, pacc, tmp);
    check_tmp_end(s, mark);
}

/* ---- RMSNorm and rotation ---- */

/* x of whole heads, and the rotation */
static int64_t check_heads(struct reel_stream *s, const char *op, reel_tensor x, reel_tensor cos, reel_tensor sin,
                           struct reel_rows r, int heads)
{
    int64_t d = check_last(op, "x", x);

    check_float(op, "x", x);
    check_rows_struct(op, r);
    REEL_BUG_IF(heads < 1 || d % heads, "%s: %d heads do not divide width %lld", op, heads, (long long)d);
    REEL_BUG_IF(cos.nd && (d / heads % 2 || d / heads > REEL_MAX_HEAD),
                "%s: rotation wants an even head width up to %d, not %lld", op, REEL_MAX_HEAD, (long long)(d / heads));
    REEL_BUG_IF(!cos.nd != !sin.nd, "%s: cos and sin come together", op);
    check_rows(s, op, "x", x, x.dt, r.b * r.s, d);
    check_opt(s, op, "cos", cos, REEL_F32, r.s * (d / heads / 2));
    check_opt(s, op, "sin", sin, REEL_F32, r.s * (d / heads / 2));
    return d;
}

static int64_t check_rms(struct reel_stream *s, const char *op, reel_tensor y, reel_tensor x, reel_tensor rstd,
                         reel_tensor w, reel_tensor cos, reel_tensor sin, struct reel_rows r, int heads)
{
    int64_t d = check_heads(s, op, x, cos, sin, r, heads);

    check_rows(s, op, "y", y, x.dt, r.b * r.s, d);
    REEL_BUG_IF(!w.nd && !cos.nd, "%s: neither a weight nor a rotation", op);
    check_opt(s, op, "w", w, REEL_F32, d);
    if (w.nd) check(s, op, "rstd", rstd, REEL_F32, r.b * r.s);
    return d;
}

/* How many heads the sums of a row go over: those of dots [M,all], or the `heads` that are here. */
static int check_dots(struct reel_stream *s, const char *op, reel_tensor dots, reel_tensor w, struct reel_rows r, int heads)
{
    int64_t all = dots.nd ? check_last(op, "dots", dots) : heads;

    REEL_BUG_IF(dots.nd && !w.nd, "%s: sums of heads without a norm", op);
    REEL_BUG_IF(all < heads || all > INT32_MAX, "%s: sums of %lld heads, %d of them here", op, (long long)all, heads);
    check_opt(s, op, "dots", dots, REEL_F32, r.b * r.s * all);
    return (int)all;
}

void reel_rms_dots(struct reel_stream *s, reel_tensor dots, reel_tensor dy, reel_tensor x, reel_tensor w,
                   reel_tensor cos, reel_tensor sin, struct reel_rows r, int heads)
{
    int64_t d = check_heads(s, __func__, x, cos, sin, r, heads), m = r.b * r.s;

    check_rows(s, __func__, "dots", dots, REEL_F32, m, heads);
    check_opt(s, __func__, "dy", dy, x.dt, m * d);
    if (dy.nd) check(s, __func__, "w", w, REEL_F32, d);
    if (!s->planning && m)
        s->ops->rms_dots(s, (int)x.dt, dots.p, dy.nd ? dy.p : NULL, x.p, w.nd ? w.p : NULL, cos.nd ? cos.p : NULL,
                         sin.nd ? sin.p : NULL, heads, d, r);
}

void reel_rms_rope_fwd(struct reel_stream *s, reel_tensor y, reel_tensor rstd, reel_tensor x, reel_tensor w,
                       reel_tensor cos, reel_tensor sin, struct reel_rows r, int heads, double eps, reel_tensor dots)
{
    int64_t d = check_rms(s, __func__, y, x, rstd, w, cos, sin, r, heads);
    int all = check_dots(s, __func__, dots, w, r, heads);

    if (s->planning || r.b * r.s == 0) return;
    s->ops->rms_rope_fwd(s, (int)x.dt, y.p, w.nd ? rstd.p : NULL, x.p, w.nd ? w.p : NULL, cos.nd ? cos.p : NULL,
                         sin.nd ? sin.p : NULL, heads, d, r, eps, dots.nd ? dots.p : NULL, all);
}

void reel_rms_rope_bwd(struct reel_stream *s, reel_tensor dx, reel_tensor dw, reel_tensor dy, reel_tensor x,
                       reel_tensor rstd, reel_tensor w, reel_tensor cos, reel_tensor sin, struct reel_rows r,
                       int heads, int pacc, reel_tensor dots)
{
    int64_t d = check_rms(s, __func__, dx, w.nd ? x : dy, rstd, w, cos, sin, r, heads);
    int all = check_dots(s, __func__, dots, w, r, heads);
    size_t mark;
    float *tmp;

    REEL_BUG_IF(dw.nd && !w.nd, "%s: the gradient of an absent weight", __func__);
    check(s, __func__, "dy", dy, dx.dt, r.b * r.s * d);
    check_opt(s, __func__, "dw", dw, REEL_F32, d);
    if (no_rows(s, r, dw, (reel_tensor){ 0 }, pacc)) return;
    tmp = check_tmp(s, __func__, dw.nd ? sums_bytes(r, 0, 1, d) : 0, &mark);
    if (!s->planning)
        s->ops->rms_rope_bwd(s, (int)dx.dt, dx.p, dw.nd ? dw.p : NULL, dy.p, w.nd ? x.p : NULL, w.nd ? rstd.p : NULL,
                             w.nd ? w.p : NULL, cos.nd ? cos.p : NULL, sin.nd ? sin.p : NULL, heads, d, r, pacc,
                             dots.nd ? dots.p : NULL, all, tmp);
    check_tmp_end(s, mark);
}

/* ---- gates and the modulation table ---- */

void reel_gate_fwd(struct reel_stream *s, reel_tensor y, reel_tensor x, reel_tensor u, reel_tensor mod,
                   int gate_row, struct reel_rows r)
{
    int64_t d = check_last(__func__, "x", x);
    struct mod z = { 0 };

    check_float(__func__, "x", x);
    check_rows_struct(__func__, r);
    check_rows(s, __func__, "x", x, x.dt, r.b * r.s, d);
    check_rows(s, __func__, "u", u, x.dt, r.b * r.s, d);
    check_rows(s, __func__, "y", y, x.dt, r.b * r.s, d);
    if (mod.nd) z = check_mod(s, __func__, mod, gate_row, gate_row, d, r);
    if (s->planning || r.b * r.s == 0) return;
    s->ops->gate_fwd(s, (int)x.dt, y.p, x.p, u.p, mod.nd ? mod.p : NULL, z.nmod, z.ld, gate_row * d, d, r);
}

void reel_gate_bwd(struct reel_stream *s, reel_tensor du, reel_tensor dmod, reel_tensor dy, reel_tensor u,
                   reel_tensor mod, int gate_row, struct reel_rows r)
{
    int64_t d = check_last(__func__, "dy", dy);
    struct mod z = { 0 };
    size_t mark;
    float *tmp;

    check_float(__func__, "dy", dy);
    check_rows_struct(__func__, r);
    check_rows(s, __func__, "dy", dy, dy.dt, r.b * r.s, d);
    check_rows(s, __func__, "du", du, dy.dt, r.b * r.s, d);
    if (mod.nd) {
        z = check_mod(s, __func__, mod, gate_row, gate_row, d, r);
        check_rows(s, __func__, "u", u, dy.dt, r.b * r.s, d);
        check(s, __func__, "dmod", dmod, REEL_F32, z.nmod * z.ld);
    }
    tmp = check_tmp(s, __func__, mod.nd ? sums_bytes(r, z.nmod, 1, d) : 0, &mark);
    if (!s->planning && r.b * r.s > 0)
        s->ops->gate_bwd(s, (int)dy.dt, du.p, mod.nd ? dmod.p : NULL, dy.p, u.p, mod.nd ? mod.p : NULL, z.nmod,
                         z.ld, gate_row * d, d, r, tmp);
    check_tmp_end(s, mark);
}

/* t has R*D numbers per modulation row (1) or D that serve all rows (0) */
static int check_wide(const char *op, reel_tensor t, int64_t nmod, int64_t rows, int64_t d)
{
    int64_t n = reel_numel(t);
    char is[96];

    REEL_BUG_IF(n != nmod * rows * d && n != nmod * d, "%s: t is %s, wanted %lld x %lld or %lld", op,
                check_show(is, t), (long long)nmod, (long long)(rows * d), (long long)d);
    return n == nmod * rows * d;
}

void reel_mod_fwd(struct reel_stream *s, reel_tensor e, reel_tensor table, reel_tensor t)
{
    int64_t rows, d, nmod;
    int wide;
    char is[96];

    REEL_BUG_IF(e.nd != 3 || table.nd < 2, "%s: e is %s, wanted [nmod,R,D] and table [R,D]", __func__, check_show(is, e));
    nmod = e.n[0], rows = e.n[1], d = e.n[2];
    check(s, __func__, "e", e, REEL_F32, nmod * rows * d);
    check(s, __func__, "table", table, REEL_F32, rows * d);
    wide = check_wide(__func__, t, nmod, rows, d);
    check(s, __func__, "t", t, REEL_F32, reel_numel(t));
    if (!s->planning) s->ops->mod_fwd(s, e.p, table.p, t.p, nmod, rows, d, wide);
}

void reel_mod_bwd(struct reel_stream *s, reel_tensor dtable, int pacc, reel_tensor dt, reel_tensor de)
{
    int64_t b, f, rows, d;
    int wide;
    char is[96];

    REEL_BUG_IF(de.nd != 3 && de.nd != 4, "%s: de is %s, wanted [nmod,R,D] or [B,F,R,D]", __func__, check_show(is, de));
    b = de.n[0], f = de.nd == 4 ? de.n[1] : 1, rows = de.n[de.nd - 2], d = de.n[de.nd - 1];
    check(s, __func__, "de", de, REEL_F32, b * f * rows * d);
    check_opt(s, __func__, "dtable", dtable, REEL_F32, rows * d);
    wide = check_wide(__func__, dt, b * f, rows, d);
    check(s, __func__, "dt", dt, REEL_F32, reel_numel(dt));
    if (!s->planning) s->ops->mod_bwd(s, dtable.nd ? dtable.p : NULL, pacc, dt.p, de.p, b, f, rows, d, wide);
}
