/* The tree and its holes, pieces under splitting, exact sums of squares. */
#include <math.h>

#include "base/exact.h"
#include "op.h"

struct sum { int64_t p, n; int acc; double *x; };

/* ((0+1)+(2+3))+... in f32, the other half where one is missing */
static float tree(const double *x, int64_t stride, int64_t lo, int64_t span, int64_t p)
{
    if (span == 1) return (float)x[lo * stride];
    if (lo + span / 2 >= p) return tree(x, stride, lo, span / 2, p);
    return tree(x, stride, lo, span / 2, p) + tree(x, stride, lo + span / 2, span / 2, p);
}

static void tree_body(struct op *t, const void *ctx)
{
    const struct sum *a = ctx;
    double *ref = malloc((size_t)a->n * sizeof *ref), *was = op_rand(a->n, 5, 1, REEL_F32);
    reel_tensor in = op_put(t, REEL_F32, a->x, REEL_DIMS(a->p, a->n)), out = op_put(t, REEL_F32, a->acc ? was : NULL, REEL_DIMS(a->n));
    int64_t span = 1;

    while (span < a->p) span *= 2;
    for (int64_t i = 0; i < a->n; i++) {
        float s = tree(a->x + i, a->n, 0, span, a->p);
        ref[i] = (double)(a->acc ? (float)was[i] + s : s);
    }
    reel_tree_sum(&t->s, out, in, a->acc);
    op_close_to(t, "tree_sum, the bits of the definition", out, ref, 0);
    free(ref), free(was);
}

static void sumsq_body(struct op *t, const void *ctx)
{
    const struct sum *a = ctx;
    reel_tensor x = op_put(t, REEL_F32, a->x, REEL_DIMS(a->p, a->n)), limbs = reel_new(&t->a, REEL_I64, REEL_DIMS(REEL_EXACT_LIMBS));
    reel_tensor parts = reel_new(&t->a, REEL_I64, REEL_DIMS(REEL_EXACT_LIMBS)), one = reel_new(&t->a, REEL_F64, REEL_DIMS(1));
    int64_t counts[REEL_EXACT_LIMBS];
    const float big = INFINITY;
    double ref = 0, whole;

    for (int64_t i = 0; i < a->p * a->n; i++) ref += a->x[i] * a->x[i];
    reel_fill(&t->s, limbs, 0);
    reel_fill(&t->s, parts, 0);
    reel_sumsq(&t->s, limbs, x);
    whole = op_exact(t, limbs);
    reel_put(&t->s, one, &whole);
    op_close_to(t, "sumsq", one, &ref, 1e-12);
    reel_sumsq(&t->s, parts, reel_slice(x, a->p / 2, a->p)); /* shards in another order */
    if (a->p / 2) reel_sumsq(&t->s, parts, reel_slice(x, 0, a->p / 2));
    if (t->check) TAP_OK(op_exact(t, parts) == whole, "%s: the same from two shards", t->what);
    reel_put(&t->s, reel_slice(reel_reshape(x, REEL_DIMS(a->p * a->n)), a->p * a->n - 1, a->p * a->n), &big);
    reel_sumsq(&t->s, parts, x);
    reel_get(&t->s, counts, parts);
    if (t->check) TAP_OK(counts[REEL_EXACT_LIMBS - 1] == 1, "%s: a row that is not finite is counted", t->what);
}

struct end { int64_t m, n; reel_dtype dt; int bias, acc; };

static void end_body(struct op *t, const void *ctx)
{
    const struct end *a = ctx;
    double *xs = op_rand(a->m * a->n, 1, 2, REEL_F32), *bs = op_rand(a->n, 2, 1, REEL_F32), *ys = op_rand(a->m * a->n, 3, 1, a->dt);
    reel_tensor x = op_put(t, REEL_F32, xs, REEL_DIMS(a->m, a->n)), y = op_put(t, a->dt, ys, REEL_DIMS(a->m, a->n)), b = { 0 };

    if (a->bias) b = op_put(t, REEL_F32, bs, REEL_DIMS(a->n));
    for (int64_t i = 0; i < a->m * a->n; i++) {
        float v = (float)xs[i];
        if (a->bias) v += (float)bs[i % a->n];
        if (a->acc) v += (float)ys[i];
        ys[i] = (double)(a->dt == REEL_BF16 ? reel_bf16_f32(reel_f32_bf16(v)) : v);
    }
    reel_sum_end(&t->s, y, x, b, a->acc);
    op_close_to(t, "sum_end, the bits of the definition", y, ys, 0);
    if (a->dt == REEL_F32 && !a->acc) {
        reel_sum_end(&t->s, x, x, b, 0);
        op_close_to(t, "sum_end in place", x, ys, 0);
    }
    free(xs), free(bs), free(ys);
}

/* A rank that holds one of two samples, or half of the runs, holds a subtree: parts added in order
 * have the bits of the whole. */
static void split_body(struct op *t, const void *ctx)
{
    const int64_t b = 2, s = 500, d = 40, n = b * s * d;
    struct reel_rows all = reel_rows_make(b, s, s);
    double *xs = op_rand(n, 1, 1, REEL_F32), *ys = op_rand(n, 2, 1, REEL_F32), *ws = op_rand(d, 3, 1, REEL_F32);
    reel_tensor x = op_put(t, REEL_F32, xs, REEL_DIMS(b, s, d)), dy = op_put(t, REEL_F32, ys, REEL_DIMS(b, s, d)), w = op_put(t, REEL_F32, ws, REEL_DIMS(d));
    reel_tensor y = op_put(t, REEL_F32, NULL, REEL_DIMS(b, s, d)), mean = op_put(t, REEL_F32, NULL, REEL_DIMS(b, s)), rstd = op_put(t, REEL_F32, NULL, REEL_DIMS(b, s));
    reel_tensor whole = op_put(t, REEL_F32, NULL, REEL_DIMS(2, d)), part = op_put(t, REEL_F32, NULL, REEL_DIMS(4, 2, d)), sum = op_put(t, REEL_F32, NULL, REEL_DIMS(2, d));
    double *p, *q;

    (void)ctx;
    reel_ln_affine_fwd(&t->s, y, mean, rstd, x, w, w, all, 1e-6);
    reel_ln_affine_bwd(&t->s, y, 0, reel_at(whole, 0), reel_at(whole, 1), dy, x, mean, rstd, w, all, 0);
    for (int i = 0; i < 4; i++) { /* sample i/2, half i%2 of its runs */
        struct reel_rows r = reel_rows_part(1, s, s, i % 2, 2);
        reel_tensor one = reel_at(part, i);
        int64_t lo = r.tok0, hi = lo + r.s;
        reel_ln_affine_bwd(&t->s, reel_slice(reel_at(y, i / 2), lo, hi), 0, reel_at(one, 0), reel_at(one, 1),
                           reel_slice(reel_at(dy, i / 2), lo, hi), reel_slice(reel_at(x, i / 2), lo, hi),
                           reel_slice(reel_at(mean, i / 2), lo, hi), reel_slice(reel_at(rstd, i / 2), lo, hi), w, r, 0);
    }
    reel_tree_sum(&t->s, sum, part, 0);
    p = op_get(t, whole), q = op_get(t, sum);
    if (t->check) TAP_OK(!memcmp(p, q, (size_t)(2 * d) * sizeof *p), "four parts of two samples add up to the bits of the whole");
    free(p), free(q), free(xs), free(ys), free(ws);
}

/* Modulation gradients of a sample cut between ranks in the middle of a frame. */
static void split_mod_body(struct op *t, const void *ctx)
{
    const int64_t s = 510, d = 24, f = 3, n = s * d;
    struct reel_rows all = reel_rows_make(1, s, s / f);
    double *us = op_rand(n, 1, 1, REEL_F32), *ys = op_rand(n, 2, 1, REEL_F32), *ms = op_rand(f * d, 3, 1, REEL_F32);
    reel_tensor u = op_put(t, REEL_F32, us, REEL_DIMS(s, d)), dy = op_put(t, REEL_F32, ys, REEL_DIMS(s, d)), mod = op_put(t, REEL_F32, ms, REEL_DIMS(f, 1, d));
    reel_tensor du = op_put(t, REEL_F32, NULL, REEL_DIMS(s, d)), du2 = op_put(t, REEL_F32, NULL, REEL_DIMS(s, d));
    reel_tensor whole = op_put(t, REEL_F32, NULL, REEL_DIMS(f, 1, d)), part = op_put(t, REEL_F32, NULL, REEL_DIMS(2, f, 1, d)), sum = op_put(t, REEL_F32, NULL, REEL_DIMS(f, 1, d));
    double *p, *q, *v, *z;

    (void)ctx;
    reel_fill(&t->s, whole, 0);
    reel_fill(&t->s, part, 0);
    reel_gate_bwd(&t->s, du, whole, dy, u, mod, 0, all);
    for (int i = 0; i < 2; i++) {
        struct reel_rows r = reel_rows_part(1, s, s / f, i, 2);
        int64_t lo = r.tok0, hi = lo + r.s;
        reel_gate_bwd(&t->s, reel_slice(du2, lo, hi), reel_at(part, i), reel_slice(dy, lo, hi), reel_slice(u, lo, hi), mod, 0, r);
    }
    reel_tree_sum(&t->s, sum, part, 0);
    p = op_get(t, whole), q = op_get(t, sum), v = op_get(t, du), z = op_get(t, du2);
    if (t->check) TAP_OK(!memcmp(p, q, (size_t)(f * d) * sizeof *p), "modulation gradients of a sample cut in two add up to the bits of the whole");
    if (t->check) TAP_OK(!memcmp(v, z, (size_t)n * sizeof *v), "tokens of a cut sample take their own modulation rows");
    free(p), free(q), free(v), free(z), free(us), free(ys), free(ms);
}

static void rows_cases(void)
{
    struct reel_rows p;
    int ok = 1;

    TAP_OK(reel_rows_make(1, 15, 15).runs == 1, "fewer than 16 tokens: one run");
    TAP_OK(reel_rows_make(1, 16, 16).runs == 2 && reel_rows_make(1, 1560, 1).runs == 8, "runs of at least 8 tokens, at most 8");
    for (int64_t S = 1; S < 600; S += 7)
        for (int size = 1; size <= 8; size++) {
            int64_t at = 0;
            for (int i = 0; i < size; i++) {
                p = reel_rows_part(2, S, S, i, size);
                ok &= p.tok0 == at && p.run_tok == reel_rows_make(2, S, S).run_tok && p.s <= p.runs * p.run_tok &&
                      !(p.runs & (p.runs - 1)) && p.tok0 % (p.runs * p.run_tok) * (p.tok0 < S) == 0;
                at += p.s;
            }
            ok &= at == S;
        }
    TAP_OK(ok, "rows_part: members hold all tokens once, in whole runs that are a subtree");
}

/* Members without rows leave a sum's bits alone, a -0 included. */
static void empty_body(struct op *t, const void *ctx)
{
    const int64_t d = 24;
    struct reel_rows none = reel_rows_part(1, 40, 40, 7, 8);
    double zeros[24] = { 0 };
    reel_tensor x = op_put(t, REEL_F32, NULL, REEL_DIMS(0, d)), m = op_put(t, REEL_F32, NULL, REEL_DIMS(0));
    reel_tensor w = op_put(t, REEL_F32, zeros, REEL_DIMS(d)), dw = op_put(t, REEL_F32, zeros, REEL_DIMS(d)), db = op_put(t, REEL_F32, zeros, REEL_DIMS(d));
    reel_tensor square = op_put(t, REEL_F32, NULL, REEL_DIMS(d, d));
    double *p[3];
    int ok = none.s == 0;

    (void)ctx;
    reel_linear_bwd_w(&t->s, square, dw, x, x, none, REEL_UNCUT, 0);
    p[0] = op_get(t, square), p[1] = op_get(t, dw);
    reel_ln_affine_bwd(&t->s, x, 0, dw, db, x, x, m, m, w, none, 0);
    reel_rms_rope_bwd(&t->s, x, db, x, x, m, w, (reel_tensor){ 0 }, (reel_tensor){ 0 }, none, 1, 0, (reel_tensor){ 0 });
    p[2] = op_get(t, db);
    for (int i = 0; i < d; i++) ok &= p[0][i] == 0 && signbit(p[0][i]) && signbit(p[1][i]) && signbit(p[2][i]);
    if (t->check) TAP_OK(ok, "gradients over no rows are -0");
    free(p[0]), free(p[1]), free(p[2]);
}

int main(void)
{
    static const struct sum cases[] = { { 1, 1, 0, 0 }, { 2, 130, 1, 0 }, { 5, 64, 0, 0 }, { 7, 65, 1, 0 }, { 8, 20000, 0, 0 }, { 13, 33, 0, 0 } };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sum a = cases[i];
        char what[64];
        a.x = op_rand(a.p * a.n, 1, 1, REEL_F32);
        snprintf(what, sizeof what, "sums %lldx%lld", (long long)a.p, (long long)a.n);
        op_all(what, tree_body, &a);
        op_all(what, sumsq_body, &a);
        free(a.x);
    }
    for (int i = 0; i < 8; i++) {
        struct end a = { i % 2 ? 1 : 333, i % 2 ? 40003 : 37, i & 4 ? REEL_F32 : REEL_BF16, i >> 1 & 1, i & 1 };
        char what[64];
        snprintf(what, sizeof what, "%s %lldx%lld%s%s", reel_dtype_name(a.dt), (long long)a.m, (long long)a.n, a.bias ? " + bias" : "", a.acc ? ", added" : "");
        op_all(what, end_body, &a);
    }
    op_all("split rows", split_body, NULL);
    op_all("split modulation", split_mod_body, NULL);
    op_all("no rows", empty_body, NULL);
    rows_cases();
    return tap_done();
}
