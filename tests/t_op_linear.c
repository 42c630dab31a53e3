/* Matrix products: against f64, central differences, and the same bits for any threads, batch and cut. */
#include <stdio.h>

#include "op_common.h"
#include "tap.h"

static struct ctx *one, *three;

static float t_float(reel_tensor t, int64_t i) { return ((const float *)t_host(t))[i]; }

static double gelu64(double x)
{
    return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

struct lin { /* one case and everything it computes */
    int64_t b, s, k, n;
    struct reel_rows r;
    struct reel_cut cut, dcut; /* of y and of dx */
    reel_tensor x, w, bias, g, y, pre, dx, dw, db;
};

static struct lin lin_new(reel_dtype dt, int64_t b, int64_t s, int64_t k, int64_t n)
{
    int64_t m = b * s;
    struct lin l = { .b = b, .s = s, .k = k, .n = n, .r = reel_rows_make(b, s, s), .cut = REEL_UNCUT, .dcut = REEL_UNCUT };

    l.x = t_rand(dt, REEL_DIMS(m, k));
    l.w = t_rand(dt, REEL_DIMS(n, k));
    l.bias = t_rand(REEL_F32, REEL_DIMS(n));
    l.g = t_rand(dt, REEL_DIMS(m, n));
    l.y = t_new(dt, REEL_DIMS(m, n));
    l.pre = t_new(dt, REEL_DIMS(m, n));
    l.dx = t_new(dt, REEL_DIMS(m, k));
    l.dw = t_new(REEL_F32, REEL_DIMS(n, k));
    l.db = t_new(REEL_F32, REEL_DIMS(n));
    return l;
}

static void lin_run(struct ctx *c, struct lin *l, enum reel_epi epi)
{
    reel_linear_fwd(on(c), l->y, epi ? l->pre : t_none(), l->x, l->w, l->bias, l->r, l->cut, epi);
    reel_linear_bwd_x(on(c), l->dx, l->g, l->w, l->r, l->dcut, 0);
    reel_linear_bwd_w(on(c), l->dw, l->db, l->x, l->g, l->r, l->dcut, 0);
    reel_sync(on(c));
}

/* sum over k of a(i,k) b(j,k) at strides */
static double dot(reel_tensor a, int64_t ia, int64_t sa, reel_tensor b, int64_t ib, int64_t sb, int64_t n)
{
    double s = 0;

    for (int64_t k = 0; k < n; k++) s += t_get(a, ia + k * sa) * t_get(b, ib + k * sb);
    return s;
}

/* The largest power of two up to 8 that divides n: as a sum over features is cut. */
static struct reel_cut cut_of(int64_t n)
{
    return (struct reel_cut){ n % 8 ? n % 4 ? n % 2 ? 1 : 2 : 4 : 8, 0, 1 };
}

static void against_f64(reel_dtype dt, int64_t b, int64_t s, int64_t k, int64_t n, enum reel_epi epi)
{
    struct lin l = lin_new(dt, b, s, k, n);
    int64_t m = b * s;
    double *y = calloc((size_t)(m * n), 8), *dx = calloc((size_t)(m * k), 8), *dw = calloc((size_t)(n * k), 8),
           *db = calloc((size_t)n, 8), tol = dt == REEL_F32 ? 5e-6 : 4e-2, e[5] = { 0 };

    l.cut = cut_of(k), l.dcut = cut_of(n);
    lin_run(three, &l, epi);
    for (int64_t i = 0; i < m * n; i++) y[i] = t_get(l.bias, i % n) + dot(l.x, i / n * k, 1, l.w, i % n * k, 1, k);
    if (epi) e[4] = t_error(l.pre, y);
    for (int64_t i = 0; i < m * n && epi; i++) y[i] = gelu64(y[i]);
    for (int64_t i = 0; i < m * k; i++) dx[i] = dot(l.g, i / k * n, 1, l.w, i % k, k, n);
    for (int64_t i = 0; i < n * k; i++) dw[i] = dot(l.g, i / k, n, l.x, i % k, k, m);
    for (int64_t i = 0; i < m * n; i++) db[i % n] += t_get(l.g, i);
    e[0] = t_error(l.y, y), e[1] = t_error(l.dx, dx), e[2] = t_error(l.dw, dw), e[3] = t_error(l.db, db);
    TAP_OK(e[0] < tol && e[1] < tol && e[2] < 5e-6 && e[3] < 5e-6 && e[4] < tol,
           "%s %ld x %ld, %ld -> %ld%s: y %.1e dx %.1e dw %.1e db %.1e pre %.1e", reel_dtype_name(dt), (long)b,
           (long)s, (long)k, (long)n, epi ? " gelu" : "", e[0], e[1], e[2], e[3], e[4]);
    free(y), free(dx), free(dw), free(db);
}

/* The backward pass takes the derivative at what pre holds, so the forward pass has to start there too: in bf16
 * the sum before rounding has another GELU in a quarter of all places. Fused and not, the function's last bit may differ. */
static void gelu_of_pre(void)
{
    struct lin l = lin_new(REEL_BF16, 2, 37, 64, 96);
    reel_tensor y = t_copy(l.y);
    int64_t differ = 0, all = reel_numel(y);

    lin_run(three, &l, REEL_EPI_GELU);
    reel_gelu_fwd(on(three), y, l.pre);
    reel_sync(on(three));
    for (int64_t i = 0; i < all; i++) differ += t_get(y, i) != t_get(l.y, i);
    TAP_OK(differ * 100 <= all, "bf16: y is the GELU of what pre holds: %ld of %ld differ", (long)differ, (long)all);
}

/* <g, y(w + h) - y(w - h)> / 2h against <dw, direction>, and the same for x; y is linear in each */
static void differences(void)
{
    struct lin l = lin_new(REEL_F32, 2, 37, 29, 31);
    reel_tensor dirs[2] = { t_rand(REEL_F32, REEL_DIMS(31, 29)), t_rand(REEL_F32, REEL_DIMS(74, 29)) };
    reel_tensor at[2] = { l.w, l.x }, grad[2] = { l.dw, l.dx };
    int64_t count = reel_numel(l.y);

    lin_run(one, &l, REEL_EPI_NONE);
    for (int p = 0; p < 2; p++) {
        reel_tensor keep = t_copy(at[p]);
        double num = 0, ana = dot(grad[p], 0, 1, dirs[p], 0, 1, reel_numel(dirs[p]));
        for (int sign = 1; sign >= -1; sign -= 2) {
            for (int64_t i = 0; i < reel_numel(keep); i++)
                t_set(at[p], i, t_get(keep, i) + sign * 0.5 * t_get(dirs[p], i));
            reel_linear_fwd(on(one), l.y, t_none(), l.x, l.w, l.bias, l.r, REEL_UNCUT, REEL_EPI_NONE);
            num += sign * dot(l.y, 0, 1, l.g, 0, 1, count);
        }
        for (int64_t i = 0; i < reel_numel(keep); i++) t_set(at[p], i, t_get(keep, i));
        TAP_OK(fabs(num - ana) < 1e-5 * (fabs(ana) + 1), "central difference in %s: %.7g, backward %.7g",
               p ? "x" : "w", num, ana);
    }
}

/* y += x w^T */
static void adds(const struct lin *l)
{
    reel_tensor y0 = t_rand(l->y.dt, l->y.n, 2), y = t_copy(y0), plain = t_copy(y0);
    int bad = 0;

    reel_linear_fwd(on(three), y, t_none(), l->x, l->w, t_none(), l->r, REEL_UNCUT, REEL_EPI_ADD);
    reel_linear_fwd(on(one), plain, t_none(), l->x, l->w, t_none(), l->r, REEL_UNCUT, REEL_EPI_NONE);
    for (int64_t i = 0; i < reel_numel(y); i++)
        bad += !(fabs(t_get(y, i) - t_get(y0, i) - t_get(plain, i)) <= (y.dt == REEL_F32 ? 1e-5 : 0.2));
    TAP_OK(!bad, "%s: a product is added to what was there", reel_dtype_name(y.dt));
}

static void accumulates(reel_dtype dt)
{
    struct lin l = lin_new(dt, 2, 45, 70, 33);
    reel_tensor dx0 = t_rand(dt, REEL_DIMS(90, 70)), dw0 = t_rand(REEL_F32, REEL_DIMS(33, 70));
    reel_tensor db0 = t_rand(REEL_F32, REEL_DIMS(33)), dx = t_copy(dx0), dw = t_copy(dw0), db = t_copy(db0);
    int bad = 0;

    lin_run(one, &l, REEL_EPI_NONE);
    reel_linear_bwd_x(on(one), dx, l.g, l.w, l.r, REEL_UNCUT, 1);
    reel_linear_bwd_w(on(one), dw, db, l.x, l.g, l.r, REEL_UNCUT, 1);
    for (int64_t i = 0; i < reel_numel(dw); i++) bad += (float)t_get(dw, i) != (float)t_get(dw0, i) + (float)t_get(l.dw, i);
    for (int64_t i = 0; i < reel_numel(db); i++) bad += (float)t_get(db, i) != (float)t_get(db0, i) + (float)t_get(l.db, i);
    for (int64_t i = 0; i < reel_numel(dx); i++)
        bad += fabs(t_get(dx, i) - t_get(dx0, i) - t_get(l.dx, i)) > (dt == REEL_F32 ? 1e-5 : 0.2);
    TAP_OK(!bad, "%s: += adds the whole sum once to what was there", reel_dtype_name(dt));
    adds(&l);
}

static void any_threads(reel_dtype dt, int64_t b, int64_t s, int64_t k, int64_t n)
{
    struct lin l = lin_new(dt, b, s, k, n), a;

    l.cut = cut_of(k), l.dcut = cut_of(n);
    lin_run(one, &l, REEL_EPI_GELU);
    a = l;
    a.y = t_copy(l.y), a.pre = t_copy(l.pre), a.dx = t_copy(l.dx), a.dw = t_copy(l.dw), a.db = t_copy(l.db);
    lin_run(three, &l, REEL_EPI_GELU);
    TAP_OK(t_same(a.y, l.y) && t_same(a.pre, l.pre) && t_same(a.dx, l.dx) && t_same(a.dw, l.dw) && t_same(a.db, l.db),
           "%s %ld x %ld, %ld -> %ld: one thread and three give the same bits", reel_dtype_name(dt), (long)b,
           (long)s, (long)k, (long)n);
    reel_linear_fwd(on(one), a.y, t_none(), l.x, l.w, l.bias, l.r, l.cut, REEL_EPI_GELU);
    TAP_OK(t_same(a.y, l.y), "... and keeping the value before GELU changes nothing");
}

/* samples [i, i+n) of l as a case of their own */
static struct lin lin_part(const struct lin *l, int64_t i, int64_t n)
{
    struct lin p = lin_new(l->x.dt, n, l->s, l->k, l->n);

    p.x = reel_slice(l->x, i * l->s, (i + n) * l->s);
    p.g = reel_slice(l->g, i * l->s, (i + n) * l->s);
    p.w = l->w;
    p.bias = l->bias;
    return p;
}

static void any_batch(reel_dtype dt, int64_t s, int64_t k, int64_t n)
{
    struct lin l = lin_new(dt, 4, s, k, n), p[4];
    int rows = 1, tree = 1;

    lin_run(three, &l, REEL_EPI_GELU);
    for (int i = 0; i < 4; i++) {
        p[i] = lin_part(&l, i, 1);
        lin_run(i % 2 ? one : three, &p[i], REEL_EPI_GELU);
        rows &= t_same(p[i].y, reel_slice(l.y, i * s, (i + 1) * s)) && t_same(p[i].dx, reel_slice(l.dx, i * s, (i + 1) * s));
    }
    TAP_OK(rows, "%s s %ld, %ld -> %ld: a sample alone gives the bits it gives in a batch", reel_dtype_name(dt), (long)s,
           (long)k, (long)n);
    for (int64_t i = 0; i < n * k + n; i++) {
        float v[4], all = t_float(i < n * k ? l.dw : l.db, i % (n * k));
        for (int q = 0; q < 4; q++) v[q] = t_float(i < n * k ? p[q].dw : p[q].db, i % (n * k));
        tree &= all == (v[0] + v[1]) + (v[2] + v[3]);
    }
    TAP_OK(tree, "... and dw, db of four samples are (0+1)+(2+3) of single ones");
}

/* Members of a sequence parallel group hold whole runs: their dw are subtrees too. */
static void parts_of_a_sample(int64_t s, int size)
{
    struct lin l = lin_new(REEL_F32, 1, s, 40, 50), p[4];
    int same = 1, rows = 1;

    lin_run(three, &l, REEL_EPI_NONE);
    for (int i = 0; i < size; i++) {
        struct reel_rows r = reel_rows_part(1, s, s, i, size);
        p[i] = lin_new(REEL_F32, 1, r.s ? r.s : 1, 40, 50);
        p[i].r = r;
        p[i].x = reel_slice(l.x, r.tok0, r.tok0 + r.s);
        p[i].g = reel_slice(l.g, r.tok0, r.tok0 + r.s);
        p[i].w = l.w, p[i].bias = l.bias;
        p[i].y = reel_slice(p[i].y, 0, r.s), p[i].dx = reel_slice(p[i].dx, 0, r.s);
        lin_run(one, &p[i], REEL_EPI_NONE);
        rows &= t_same(p[i].y, reel_slice(l.y, r.tok0, r.tok0 + r.s));
    }
    for (int64_t i = 0; i < 2000; i++) {
        float v[4] = { 0 };
        for (int q = 0; q < size; q++) v[q] = t_float(p[q].dw, i);
        same &= t_float(l.dw, i) == (v[0] + v[1]) + (v[2] + v[3]);
    }
    TAP_OK(same && rows, "%ld tokens over %d members: dw is the tree of theirs", (long)s, size);
}

/* Columns [c, c+n) of x. */
static reel_tensor columns(reel_tensor x, int64_t c, int64_t n)
{
    reel_tensor y = t_new(x.dt, REEL_DIMS(x.n[0], n));

    reel_copy_2d(on(one), y, 0, x, c, n);
    return y;
}

/* What holder h of `of` computes of y (or dx): its columns of x and w (of dy, and its rows of w). */
static void partial(const struct lin *l, int backward, reel_tensor out, int h, int of)
{
    struct reel_cut cut = { 8 / of, 1, 1 };
    int64_t k = l->k / of, n = l->n / of;

    if (backward)
        reel_linear_bwd_x(on(three), out, columns(l->g, h * n, n), reel_slice(l->w, h * n, (h + 1) * n), l->r, cut, 0);
    else
        reel_linear_fwd(on(one), out, t_none(), columns(l->x, h * k, k), columns(l->w, h * k, k), t_none(), l->r, cut, REEL_EPI_NONE);
}

/* One of `of` pieces of dx, f32. */
static void partial_of(const struct lin *l, reel_tensor out, int i, int of)
{
    int64_t n = l->n / of;

    reel_linear_bwd_x(on(one), out, columns(l->g, i * n, n), reel_slice(l->w, i * n, (i + 1) * n), l->r, (struct reel_cut){ 1, 1, 1 }, 0);
}

/* Holders of 8, 4, 2, 1 of eight pieces: the tree of their partial results has the bits of the whole. */
static void any_holders(reel_dtype dt, int64_t s, int64_t k, int64_t n)
{
    const struct reel_cut whole = { 8, 0, 1 };

    for (int backward = 0; backward < 2; backward++)
        for (int acc = 0; acc < 2; acc++) {
            struct lin l = lin_new(dt, 2, s, k, n);
            reel_tensor y0 = t_rand(dt, REEL_DIMS(2 * s, backward ? k : n)), y = t_copy(y0), bias = backward || acc ? t_none() : l.bias;
            if (backward) reel_linear_bwd_x(on(one), y, l.g, l.w, l.r, whole, acc);
            else reel_linear_fwd(on(three), y, t_none(), l.x, l.w, bias, l.r, whole, acc ? REEL_EPI_ADD : REEL_EPI_NONE);
            for (int of = 1; of <= 8; of *= 2) {
                reel_tensor parts = t_new(REEL_F32, REEL_DIMS(of, 2 * s, y.n[1])), sum = t_new(REEL_F32, REEL_DIMS(2 * s, y.n[1])), z = t_copy(y0);
                for (int h = 0; h < of; h++) partial(&l, backward, reel_at(parts, h), h, of);
                reel_tree_sum(on(one), sum, parts, 0);
                reel_sum_end(on(three), z, sum, bias, acc);
                TAP_OK(t_same(y, z), "%s %ld, %ld -> %ld: %s%s of %d holders has the bits of one", reel_dtype_name(dt), (long)s,
                       (long)k, (long)n, backward ? "dx" : "y", acc ? ", added," : "", of);
            }
        }
}

/* The holder of part h of `of` of a layer whose outputs (rows of w) or inputs (columns of w) are split: what it makes of
 * y, dw, db, or of dx, dw, has the bits that they have in the whole. */
static int holder_of_columns(const struct lin *l, int inputs, int h, int of)
{
    const struct reel_cut pieces = { 8 / of, 0, 1 }, cols = { 1, 0, 8 / of };
    int64_t k = inputs ? l->k / of : l->k, n = inputs ? l->n : l->n / of, m = l->b * l->s;
    reel_tensor w = inputs ? columns(l->w, h * k, k) : reel_slice(l->w, h * n, (h + 1) * n), dw = t_new(REEL_F32, REEL_DIMS(n, k));
    reel_tensor x = inputs ? columns(l->x, h * k, k) : l->x, g = inputs ? l->g : columns(l->g, h * n, n);
    reel_tensor db = t_new(REEL_F32, REEL_DIMS(n)), out = t_new(l->x.dt, REEL_DIMS(m, inputs ? k : n));

    reel_linear_bwd_w(on(one), dw, db, x, g, l->r, inputs ? cols : pieces, 0);
    if (inputs) {
        reel_linear_bwd_x(on(three), out, g, w, l->r, cols, 0);
        return t_same(out, columns(l->dx, h * k, k)) && t_same(dw, columns(l->dw, h * k, k));
    }
    reel_linear_fwd(on(three), out, t_none(), x, w, reel_slice(l->bias, h * n, (h + 1) * n), l->r, cols, REEL_EPI_GELU);
    return t_same(out, columns(l->y, h * n, n)) && t_same(dw, reel_slice(l->dw, h * n, (h + 1) * n)) &&
           t_same(db, reel_slice(l->db, h * n, (h + 1) * n));
}

static void any_columns(reel_dtype dt, int64_t s, int64_t k, int64_t n)
{
    for (int inputs = 0; inputs < 2; inputs++) {
        struct lin l = lin_new(dt, 2, s, k, n);
        int same = 1;

        l.cut = (struct reel_cut){ inputs ? 8 : 1, 0, inputs ? 1 : 8 };
        l.dcut = (struct reel_cut){ inputs ? 1 : 8, 0, inputs ? 8 : 1 };
        lin_run(one, &l, REEL_EPI_GELU);
        for (int of = 2; of <= 8; of *= 2)
            for (int h = 0; h < of; h++) same &= holder_of_columns(&l, inputs, h, of);
        TAP_OK(same, "%s %ld, %ld -> %ld: holders of %s have their part's bits", reel_dtype_name(dt), (long)s, (long)k, (long)n,
               inputs ? "inputs" : "outputs");
    }
}

/* Eight pieces are eight products of their own: ((0+1)+(2+3))+((4+5)+(6+7)), bias last. */
static void pieces_by_definition(int64_t k)
{
    struct lin l = lin_new(REEL_F32, 1, 45, k, 23);
    reel_tensor p[8];
    int same = 1;

    l.cut.pieces = 8;
    lin_run(three, &l, REEL_EPI_NONE);
    for (int i = 0; i < 8; i++) {
        p[i] = t_new(REEL_F32, REEL_DIMS(45, 23));
        reel_linear_fwd(on(one), p[i], t_none(), columns(l.x, i * k / 8, k / 8), columns(l.w, i * k / 8, k / 8), t_none(), l.r, REEL_UNCUT, REEL_EPI_NONE);
    }
    for (int i = 0; i < 45 * 23; i++) {
        float v[8], sum;
        for (int j = 0; j < 8; j++) v[j] = t_float(p[j], i);
        sum = ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
        same &= t_float(l.y, i) == sum + t_float(l.bias, i % 23);
    }
    TAP_OK(same, "eight pieces of %ld features are eight products and a tree", (long)k);
}

/* dx of three layers that share their input, in pieces: a piece is the sum of all three, and the tree goes over pieces. */
static void terms(reel_dtype dt, int64_t n, int acc)
{
    enum { M = 90, K = 37, T = 3, P = 8 };
    struct lin l[T];
    reel_tensor dy[T], w[T], p[P], dx = t_rand(dt, REEL_DIMS(M, K)), want = t_copy(dx), sum = t_new(REEL_F32, REEL_DIMS(M, K));
    const struct reel_cut whole = { P, 0, 1 };

    for (int t = 0; t < T; t++) {
        l[t] = lin_new(dt, 2, M / 2, K, n);
        dy[t] = l[t].g, w[t] = l[t].w;
    }
    for (int i = 0; i < P; i++) { /* one segment a piece: the terms are added as they come */
        reel_tensor part = t_new(REEL_F32, REEL_DIMS(M, K));
        for (int t = 0; t < T; t++) {
            partial_of(&l[t], t ? part : sum, i, P);
            if (t) reel_add(on(one), sum, part);
        }
        p[i] = t_copy(sum);
    }
    for (int64_t e = 0; e < M * K; e++) {
        float v[P];
        for (int i = 0; i < P; i++) v[i] = t_float(p[i], e);
        v[0] = ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
        t_set(sum, e, (double)v[0]);
    }
    reel_sum_end(on(one), want, sum, t_none(), acc);
    reel_linear_bwd_xs(on(three), dx, dy, w, T, l[0].r, whole, acc);
    TAP_OK(t_same(dx, want), "%s: three terms of %ld features%s: the tree over pieces of the sums over terms", reel_dtype_name(dt),
           (long)n, acc ? ", added," : "");
    for (int of = 2; of <= P; of *= 2) {
        reel_tensor parts = t_new(REEL_F32, REEL_DIMS(of, M, K));
        for (int h = 0; h < of; h++) {
            reel_tensor hy[T], hw[T];
            for (int t = 0; t < T; t++) {
                hy[t] = columns(dy[t], h * n / of, n / of);
                hw[t] = reel_slice(w[t], h * n / of, (h + 1) * n / of);
            }
            reel_linear_bwd_xs(on(one), reel_at(parts, h), hy, hw, T, l[0].r, (struct reel_cut){ P / of, 1, 1 }, 0);
        }
        reel_tree_sum(on(one), p[0], parts, 0);
        TAP_OK(t_same(p[0], sum), "and %d holders have the bits of one", of);
    }
}

static void not_a_number(void)
{
    struct lin l = lin_new(REEL_F32, 1, 40, 30, 50);

    t_set(l.x, 7 * 30 + 3, (double)NAN);
    lin_run(one, &l, REEL_EPI_GELU);
    TAP_OK(isnan(t_get(l.y, 7 * 50 + 49)) && !isnan(t_get(l.y, 6 * 50)), "a row with a NaN gives NaN, others do not");
}

#define CASE(call) (t_forget(0), call)

int main(void)
{
    static const int64_t shapes[][4] = { { 1, 1, 1, 1 },    { 1, 7, 13, 5 },     { 3, 36, 128, 64 }, { 2, 101, 67, 97 },
                                         { 5, 64, 300, 23 }, { 1, 531, 24, 48 }, { 3, 8, 521, 130 }, { 1, 2100, 9, 11 }, { 2, 40, 1096, 544 } };

    one = ctx_open(1, 64);
    three = ctx_open(3, 64);
    printf("# %s\n", reel_backend_describe(one->be));
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int dt = REEL_F32; dt <= REEL_BF16; dt++)
            CASE(against_f64((reel_dtype)dt, shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3],
                             i % 2 ? REEL_EPI_GELU : REEL_EPI_NONE));
    CASE(gelu_of_pre());
    CASE(differences());
    CASE(accumulates(REEL_F32));
    CASE(accumulates(REEL_BF16));
    CASE(any_threads(REEL_F32, 3, 111, 259, 301));
    CASE(any_threads(REEL_BF16, 2, 70, 130, 1601));
    CASE(any_batch(REEL_F32, 36, 128, 96));
    CASE(any_batch(REEL_F32, 333, 70, 50));
    CASE(any_batch(REEL_BF16, 65, 40, 72));
    CASE(parts_of_a_sample(600, 2));
    CASE(parts_of_a_sample(600, 4));
    CASE(parts_of_a_sample(257, 4));
    CASE(any_threads(REEL_F32, 2, 150, 1536, 264));
    CASE(any_holders(REEL_F32, 45, 128, 96));
    CASE(any_holders(REEL_F32, 37, 2136, 72)); /* pieces of 267 and of 9 */
    CASE(any_holders(REEL_BF16, 40, 264, 2136)); /* pieces of 33: an odd number of terms is no pair */
    CASE(any_columns(REEL_F32, 70, 96, 136));
    CASE(any_columns(REEL_BF16, 45, 64, 72));
    CASE(pieces_by_definition(128));
    CASE(pieces_by_definition(2136));
    CASE(terms(REEL_F32, 96, 0));
    CASE(terms(REEL_F32, 1600, 1));
    CASE(terms(REEL_BF16, 264, 0));
    CASE(terms(REEL_BF16, 1600, 1));
    CASE(not_a_number());
    ctx_close(one);
    ctx_close(three);
    return tap_done();
}
