/* Attention under every mask: against f64, central differences, and the same bits for any threads and batch. */
#include <stdio.h>

#include "op_common.h"
#include "tap.h"

static struct ctx *one, *three;

struct att {
    int64_t b, sq, sk, h, hd;
    reel_tensor q, k, v, g, o, lse, dq, dk, dv;
    struct reel_mask mask;
    int64_t dk0, dkn; /* key rows of dk and dv */
};

static struct att att_of(reel_dtype dt, int64_t b, int64_t sq, int64_t sk, int64_t h, int64_t hd, struct reel_mask mask,
                         int64_t dk0, int64_t dkn)
{
    int64_t d = h * hd;
    struct att a = { .b = b, .sq = sq, .sk = sk, .h = h, .hd = hd, .mask = mask, .dk0 = dk0, .dkn = dkn };

    a.q = t_rand(dt, REEL_DIMS(b, sq, d));
    a.k = t_rand(dt, REEL_DIMS(b, sk, d));
    a.v = t_rand(dt, REEL_DIMS(b, sk, d));
    a.g = t_rand(dt, REEL_DIMS(b, sq, d));
    a.o = t_new(dt, REEL_DIMS(b, sq, d));
    a.lse = t_new(REEL_F32, REEL_DIMS(b, h, sq));
    a.dq = t_new(dt, REEL_DIMS(b, sq, d));
    a.dk = t_new(dt, REEL_DIMS(b, dkn, d));
    a.dv = t_new(dt, REEL_DIMS(b, dkn, d));
    return a;
}

static struct att att_new(reel_dtype dt, int64_t b, int64_t sq, int64_t sk, int64_t h, int64_t hd)
{
    return att_of(dt, b, sq, sk, h, hd, (struct reel_mask){ 0 }, 0, sk);
}

static void att_run(struct ctx *c, struct att *a)
{
    reel_attn_fwd(on(c), a->o, a->lse, a->q, a->k, a->v, (int)a->h, a->mask);
    reel_attn_bwd(on(c), a->dq, a->dk, a->dv, a->g, a->o, a->lse, a->q, a->k, a->v, (int)a->h, a->mask, a->dk0);
    reel_sync(&c->s);
}

struct ref { double *o, *lse, *dq, *dk, *dv; };

static double *zeros(int64_t n)
{
    return calloc((size_t)n, sizeof(double));
}

/* Keys of score and value 0 that query i sees. */
static int64_t zero_keys(const struct att *a, int64_t i)
{
    int64_t n = a->mask.see == REEL_SEE_TEACHER ? a->mask.half : a->sk, c = a->mask.chunk;

    if (a->mask.see == REEL_SEE_TEACHER) i -= n;
    return c && i >= 0 && i / c == n / c ? a->mask.zeros : 0;
}

/* Whether query i sees key j, pair by pair as the masks are defined. */
static int sees(const struct att *a, int64_t i, int64_t j)
{
    int64_t c = a->mask.chunk, n = a->mask.half, end;

    switch (a->mask.see) {
    case REEL_SEE_ALL: return 1;
    case REEL_SEE_WINDOW: return j < a->mask.sink || (j >= a->mask.lo && j < a->mask.hi);
    case REEL_SEE_TEACHER:
        if (i < n) return j < n && j / c <= i / c;
        return j < n ? j / c < (i - n) / c : (j - n) / c == (i - n) / c;
    case REEL_SEE_CHUNKS: break;
    }
    end = (i / c + 1) * c;
    if (end > a->sk && !a->mask.zeros) end = a->sk;
    return i == j || (j < end && (!a->mask.window || j >= end - a->mask.window));
}

/* One query in f64: its row of probabilities, o, lse, and what it adds to the gradients. */
static void ref_row(const struct att *a, struct ref *r, int64_t b, int64_t h, int64_t i)
{
    int64_t ld = a->h * a->hd, q = (b * a->sq + i) * ld + h * a->hd, k = b * a->sk * ld + h * a->hd;
    int64_t g = (b * a->dkn - a->dk0) * ld + h * a->hd;
    double *p = zeros(a->sk), *dp = zeros(a->sk), m = -INFINITY, l = 0, delta = 0, scale = 1 / sqrt((double)a->hd);

    for (int64_t j = 0; j < a->sk; j++) {
        if (!sees(a, i, j)) {
            p[j] = -(double)INFINITY;
            continue;
        }
        for (int64_t c = 0; c < a->hd; c++) p[j] += scale * t_get(a->q, q + c) * t_get(a->k, k + j * ld + c);
        for (int64_t c = 0; c < a->hd; c++) dp[j] += t_get(a->g, q + c) * t_get(a->v, k + j * ld + c);
        m = fmax(m, p[j]);
    }
    if (zero_keys(a, i)) m = fmax(m, 0);
    for (int64_t j = 0; j < a->sk; j++) l += p[j] = exp(p[j] - m);
    l += (double)zero_keys(a, i) * exp(-m);
    r->lse[(b * a->h + h) * a->sq + i] = m + log(l);
    for (int64_t j = 0; j < a->sk; j++) delta += (p[j] /= l) * dp[j];
    for (int64_t j = 0; j < a->sk; j++)
        for (int64_t c = 0; c < a->hd && sees(a, i, j); c++) {
            double ds = p[j] * (dp[j] - delta) * scale;
            r->o[q + c] += p[j] * t_get(a->v, k + j * ld + c);
            r->dq[q + c] += ds * t_get(a->k, k + j * ld + c);
            if (j < a->dk0 || j >= a->dk0 + a->dkn) continue;
            r->dk[g + j * ld + c] += ds * t_get(a->q, q + c);
            r->dv[g + j * ld + c] += p[j] * t_get(a->g, q + c);
        }
    free(p), free(dp);
}

static struct ref reference(const struct att *a)
{
    struct ref r = { zeros(reel_numel(a->o)), zeros(reel_numel(a->lse)), zeros(reel_numel(a->dq)),
                     zeros(reel_numel(a->dk)), zeros(reel_numel(a->dv)) };

    for (int64_t b = 0; b < a->b; b++)
        for (int64_t h = 0; h < a->h; h++)
            for (int64_t i = 0; i < a->sq; i++) ref_row(a, &r, b, h, i);
    return r;
}

/* Largest |got - want| over the largest |want|, or over 0.3, the size of an input, if all are smaller: under a mask the
 * elements differ in size by orders of magnitude, and what a query feels of its only key is 0. */
static double worst_of_largest(reel_tensor got, const double *want)
{
    double worst = 0, largest = 0.3;

    for (int64_t i = 0; i < reel_numel(got); i++) {
        double e = fabs(t_get(got, i) - want[i]);
        if (!(e <= worst)) worst = isfinite(e) ? e : HUGE_VAL;
        largest = fmax(largest, fabs(want[i]));
    }
    return worst / largest;
}

/* `ease`: how much harder than usual the inputs make it */
static void against_f64(struct att a, double ease, const char *note)
{
    double (*error)(reel_tensor, const double *) = a.mask.see ? worst_of_largest : t_error;
    double e[5], tol = ease * (a.q.dt == REEL_F32 ? 6e-6 : 4e-2) / (a.mask.see ? 3 : 1);
    struct ref r = reference(&a);

    att_run(three, &a);
    e[0] = error(a.o, r.o), e[1] = error(a.lse, r.lse), e[2] = error(a.dq, r.dq);
    e[3] = error(a.dk, r.dk), e[4] = error(a.dv, r.dv);
    TAP_OK(e[0] < tol && e[1] < 4e-6 && e[2] < tol && e[3] < tol && e[4] < tol,
           "%s batch %ld, %ld heads x %ld, S %ld x %ld%s: o %.1e lse %.1e dq %.1e dk %.1e dv %.1e",
           reel_dtype_name(a.q.dt), (long)a.b, (long)a.h, (long)a.hd, (long)a.sq, (long)a.sk, note, e[0], e[1], e[2],
           e[3], e[4]);
    free(r.o), free(r.lse), free(r.dq), free(r.dk), free(r.dv);
}

/* scores of +-60, and keys that are all alike as in padded text */
static void hard_inputs(void)
{
    struct att a = att_new(REEL_F32, 1, 50, 300, 2, 64), c = att_new(REEL_F32, 1, 50, 300, 2, 64);

    for (int64_t i = 0; i < reel_numel(a.q); i++) t_set(a.q, i, 30 * t_get(a.q, i));
    against_f64(a, 20, ", large scores");
    for (int64_t i = 20 * 128; i < reel_numel(c.k); i++) {
        t_set(c.k, i, t_get(c.k, 20 * 128 + i % 128));
        t_set(c.v, i, t_get(c.v, 20 * 128 + i % 128));
    }
    against_f64(c, 20, ", 280 keys alike");
}

static double dot(reel_tensor a, reel_tensor b)
{
    double s = 0;

    for (int64_t i = 0; i < reel_numel(a); i++) s += t_get(a, i) * t_get(b, i);
    return s;
}

static void differences(struct att a, const char *note)
{
    reel_tensor at[3] = { a.q, a.k, a.v }, grad[3] = { a.dq, a.dk, a.dv };

    att_run(one, &a);
    for (int p = 0; p < 3; p++) {
        reel_tensor keep = t_copy(at[p]), dir = t_rand(REEL_F32, at[p].n, at[p].nd);
        double num = 0, ana = dot(grad[p], dir), h = 1e-2;
        for (int sign = 1; sign >= -1; sign -= 2) {
            for (int64_t i = 0; i < reel_numel(keep); i++) t_set(at[p], i, t_get(keep, i) + sign * h * t_get(dir, i));
            reel_attn_fwd(on(one), a.o, a.lse, a.q, a.k, a.v, (int)a.h, a.mask);
            num += sign * dot(a.o, a.g) / (2 * h);
        }
        memcpy(t_edit(at[p]), t_host(keep), reel_bytes(keep));
        TAP_OK(fabs(num - ana) < 2e-3 * (fabs(ana) + 1), "central difference in %c%s: %.6g, backward %.6g", "qkv"[p], note, num, ana);
    }
}

/* The sums of runs of queries: right together, and a rank's runs alone have the bits they have among all. */
static void sums_of_runs(reel_dtype dt, int64_t b, int64_t sq, int64_t sk, int64_t h, int64_t hd)
{
    struct att a = att_new(dt, b, sq, sk, h, hd), half = att_new(dt, 1, sq, sk, h, hd);
    struct reel_rows all = reel_rows_make(b, sq, sq), r = reel_rows_part(1, sq, sq, 1, 2);
    int64_t d = h * hd, runs = (sq + all.run_tok - 1) / all.run_tok, mine = r.s ? (r.s + r.run_tok - 1) / r.run_tok : 0, one_run = sk * d;
    reel_tensor dk = t_new(REEL_F32, REEL_DIMS(b, runs, sk, d)), dv = t_new(REEL_F32, REEL_DIMS(b, runs, sk, d)), sum;
    reel_tensor k2 = t_new(REEL_F32, REEL_DIMS(1, mine, sk, d)), v2 = t_new(REEL_F32, REEL_DIMS(1, mine, sk, d));
    struct ref ref = reference(&a);
    double e[3], tol = dt == REEL_F32 ? 6e-6 : 4e-2;

    att_run(one, &a);
    reel_attn_bwd_runs(on(three), a.dq, dk, dv, a.g, a.o, a.lse, a.q, a.k, a.v, (int)h, all);
    e[0] = t_error(a.dq, ref.dq);
    for (int p = 0; p < 2; p++) {
        sum = t_new(REEL_F32, REEL_DIMS(b, sk * d));
        for (int64_t i = 0; i < b; i++)
            reel_tree_sum(on(one), reel_at(sum, i), reel_reshape(reel_at(p ? dv : dk, i), REEL_DIMS(runs, one_run)), 0);
        e[1 + p] = t_error(sum, p ? ref.dv : ref.dk);
    }
    TAP_OK(e[0] < tol && e[1] < tol && e[2] < tol, "%s batch %ld, S %ld x %ld in %ld runs: dq %.1e dk %.1e dv %.1e", reel_dtype_name(dt),
           (long)b, (long)sq, (long)sk, (long)runs, e[0], e[1], e[2]);
    half.q = reel_slice(reel_at(a.q, b - 1), r.tok0, sq), half.g = reel_slice(reel_at(a.g, b - 1), r.tok0, sq);
    half.o = t_new(dt, REEL_DIMS(1, r.s, d)), half.lse = t_new(REEL_F32, REEL_DIMS(1, h, r.s)), half.dq = t_new(dt, REEL_DIMS(1, r.s, d));
    half.q = reel_reshape(half.q, half.o.n, 3), half.g = reel_reshape(half.g, half.o.n, 3);
    half.k = reel_slice(a.k, b - 1, b), half.v = reel_slice(a.v, b - 1, b);
    reel_attn_fwd(on(one), half.o, half.lse, half.q, half.k, half.v, (int)h, a.mask);
    reel_attn_bwd_runs(on(one), half.dq, k2, v2, half.g, half.o, half.lse, half.q, half.k, half.v, (int)h, r);
    TAP_OK(t_same(half.dq, reel_reshape(reel_slice(reel_at(a.dq, b - 1), r.tok0, sq), half.dq.n, 3)) &&
               t_same(k2, reel_reshape(reel_slice(reel_at(dk, b - 1), runs - mine, runs), k2.n, 4)) &&
               t_same(v2, reel_reshape(reel_slice(reel_at(dv, b - 1), runs - mine, runs), v2.n, 4)),
           "... and the runs of the second of two ranks have the bits they have among all");
    free(ref.o), free(ref.lse), free(ref.dq), free(ref.dk), free(ref.dv);
}

static int same_results(const struct att *a, const struct att *b)
{
    return t_same(a->o, b->o) && t_same(a->lse, b->lse) && t_same(a->dq, b->dq) && t_same(a->dk, b->dk) &&
           t_same(a->dv, b->dv);
}

static void any_threads(struct att a, const char *note)
{
    struct att c = a;

    c.o = t_copy(a.o), c.lse = t_copy(a.lse), c.dq = t_copy(a.dq), c.dk = t_copy(a.dk), c.dv = t_copy(a.dv);
    att_run(one, &a);
    att_run(three, &c);
    TAP_OK(same_results(&a, &c), "%s batch %ld, %ld heads x %ld, S %ld x %ld%s: one thread and three give the same bits",
           reel_dtype_name(a.q.dt), (long)a.b, (long)a.h, (long)a.hd, (long)a.sq, (long)a.sk, note);
}

/* Sample i alone, and head j alone. */
static void any_batch(reel_dtype dt, int64_t sq, int64_t sk, struct reel_mask m)
{
    struct att a = att_of(dt, 3, sq, sk, 3, 20, m, 0, sk), s = att_of(dt, 1, sq, sk, 3, 20, m, 0, sk),
               h = att_of(dt, 1, sq, sk, 1, 20, m, 0, sk);
    reel_tensor from[4] = { a.q, a.k, a.v, a.g }, to[4] = { h.q, h.k, h.v, h.g }, out[4] = { a.o, a.dq, a.dk, a.dv };
    reel_tensor alone[4] = { h.o, h.dq, h.dk, h.dv };
    int same = 1;

    att_run(three, &a);
    s.q = reel_slice(a.q, 1, 2), s.k = reel_slice(a.k, 1, 2), s.v = reel_slice(a.v, 1, 2), s.g = reel_slice(a.g, 1, 2);
    att_run(one, &s);
    TAP_OK(t_same(s.o, reel_slice(a.o, 1, 2)) && t_same(s.lse, reel_slice(a.lse, 1, 2)) &&
               t_same(s.dq, reel_slice(a.dq, 1, 2)) && t_same(s.dk, reel_slice(a.dk, 1, 2)) &&
               t_same(s.dv, reel_slice(a.dv, 1, 2)),
           "%s S %ld x %ld: a sample alone gives the bits it gives in a batch", reel_dtype_name(dt), (long)sq, (long)sk);
    for (int p = 0; p < 4; p++) /* head 2 of sample 0 */
        for (int64_t i = 0; i < reel_numel(to[p]); i++) t_set(to[p], i, t_get(from[p], i / 20 * 60 + 40 + i % 20));
    att_run(three, &h);
    for (int p = 0; p < 4; p++)
        for (int64_t i = 0; i < reel_numel(alone[p]); i++)
            same &= t_get(alone[p], i) == t_get(out[p], i / 20 * 60 + 40 + i % 20);
    TAP_OK(same, "... and so does a head alone");
}

static void not_a_number(void)
{
    struct att a = att_new(REEL_F32, 1, 30, 150, 1, 16);

    t_set(a.k, 3 * 16 + 5, (double)NAN);
    att_run(one, &a);
    TAP_OK(isnan(t_get(a.o, 0)) && isnan(t_get(a.dq, 17)) && isnan(t_get(a.dv, 149 * 16)), "a NaN among the keys shows in every row");
}

/* ---- masks ---- */

static struct reel_mask chunks(int64_t chunk, int64_t window, int64_t zeros)
{
    return (struct reel_mask){ .see = REEL_SEE_CHUNKS, .chunk = chunk, .window = window, .zeros = zeros };
}

static struct reel_mask teacher(int64_t half, int64_t chunk, int64_t zeros)
{
    return (struct reel_mask){ .see = REEL_SEE_TEACHER, .half = half, .chunk = chunk, .zeros = zeros };
}

static struct reel_mask window(int64_t sink, int64_t lo, int64_t hi)
{
    return (struct reel_mask){ .see = REEL_SEE_WINDOW, .sink = sink, .lo = lo, .hi = hi };
}

static const char *mask_text(char out[80], const struct att *a)
{
    const struct reel_mask *m = &a->mask;

    switch (m->see) {
    case REEL_SEE_ALL: return "";
    case REEL_SEE_CHUNKS:
        snprintf(out, 80, ", chunks of %ld, window %ld, %ld zeros", (long)m->chunk, (long)m->window, (long)m->zeros);
        break;
    case REEL_SEE_TEACHER:
        snprintf(out, 80, ", teacher's halves %ld, chunks of %ld, %ld zeros", (long)m->half, (long)m->chunk, (long)m->zeros);
        break;
    case REEL_SEE_WINDOW:
        snprintf(out, 80, ", sink %ld, window %ld..%ld, dk %ld+%ld", (long)m->sink, (long)m->lo, (long)m->hi, (long)a->dk0,
                 (long)a->dkn);
        break;
    }
    return out;
}

/* Rows of k and v that no query sees hold no numbers. */
static void poison(struct att *a)
{
    int64_t d = a->h * a->hd;

    for (int64_t j = 0; j < a->b * a->sk; j++) {
        int seen = 0;
        for (int64_t i = 0; i < a->sq; i++) seen |= sees(a, i, j % a->sk);
        for (int64_t c = 0; c < d && !seen; c++) t_set(a->k, j * d + c, (double)NAN), t_set(a->v, j * d + c, (double)NAN);
    }
}

static void masked(struct att a)
{
    char note[80];
    double flops = one->s.flops, pairs = 0;

    poison(&a);
    against_f64(a, 1, mask_text(note, &a));
    for (int64_t i = 0; i < a.sq; i++)
        for (int64_t j = 0; j < a.sk; j++) pairs += sees(&a, i, j) * (8 + 4 * (j >= a.dk0 && j < a.dk0 + a.dkn));
    any_threads(a, note);
    if (one->s.flops - flops != pairs * (double)(a.b * a.h * a.hd))
        TAP_OK(0, "... %.0f flops counted, %.0f wanted", one->s.flops - flops, pairs * (double)(a.b * a.h * a.hd));
}

static int64_t pick(int64_t lo, int64_t hi)
{
    return lo + (int64_t)((t_uniform() + 1) / 2 * (double)(hi - lo + 1)) % (hi - lo + 1);
}

/* A mask of each kind with sizes of its own: chunks that no tile divides, short last chunks. */
static struct att any_mask(int round)
{
    static const int64_t widths[] = { 8, 32, 64, 128, 12, 20 };
    int64_t hd = widths[round % 6], h = hd < 64 ? 2 : 1, b = 1 + round % 2, s = pick(1, 420), c = pick(1, 170), lo, hi, sink, from;
    reel_dtype dt = round % 5 == 4 ? REEL_BF16 : REEL_F32;

    switch (round % 3) {
    case 0: return att_of(dt, b, s, s, h, hd, chunks(c, round % 2 ? 0 : pick(1, 2 * c + 60), round % 4 < 2 ? 0 : pick(1, 60)), 0, s);
    case 1:
        s = pick(1, 230);
        return att_of(dt, b, 2 * s, 2 * s, h, hd, teacher(s, c, round % 2 ? 0 : pick(1, 60)), 0, 2 * s);
    default: break;
    }
    sink = round % 2 ? 0 : pick(0, s / 3);
    lo = pick(sink, s - 1);
    hi = pick(lo + 1, s);
    from = pick(0, s - 1);
    return att_of(dt, b, pick(1, 200), s, h, hd, window(sink, lo, hi), from, pick(round % 4 == 0, s - from));
}

/* Rows in use give the same bits wherever a cache of whatever capacity keeps them. */
static void any_place(reel_dtype dt)
{
    struct att a = att_of(dt, 1, 60, 450, 2, 32, window(50, 50, 450), 300, 150),
               c = att_of(dt, 1, 60, 811, 2, 32, window(50, 371, 771), 621, 150);
    size_t row = (size_t)reel_bytes(a.k) / 450;

    memcpy(t_edit(c.q), t_host(a.q), reel_bytes(a.q));
    memcpy(t_edit(c.g), t_host(a.g), reel_bytes(a.g));
    for (int p = 0; p < 2; p++) {
        char *to = t_edit(p ? c.v : c.k), *from = t_host(p ? a.v : a.k);
        memcpy(to, from, 50 * row);
        memcpy(to + 371 * row, from + 50 * row, 400 * row);
    }
    poison(&c);
    att_run(three, &a);
    att_run(three, &c);
    TAP_OK(same_results(&a, &c), "%s: the bits of a cache do not depend on its capacity", reel_dtype_name(dt));
}

/* A chunk's queries against the rows of a cache give what they give in the whole sequence. */
static void chunk_by_chunk(reel_dtype dt)
{
    struct att a = att_of(dt, 1, 333, 333, 2, 32, chunks(75, 0, 0), 0, 333);
    int same = 1;

    reel_attn_fwd(on(one), a.o, a.lse, a.q, a.k, a.v, 2, a.mask);
    for (int64_t at = 0; at < a.sq; at += 75) {
        int64_t n = a.sq - at < 75 ? a.sq - at : 75, end = at + n;
        struct att c = att_of(dt, 1, n, 333, 2, 32, window(0, 0, end), at, n);
        size_t row = reel_bytes(a.q) / 333, bytes = (size_t)n * row, from = (size_t)at * row;
        memcpy(t_edit(c.q), (char *)t_host(a.q) + from, bytes);
        reel_attn_fwd(on(three), c.o, c.lse, c.q, a.k, a.v, 2, c.mask);
        same &= !memcmp(t_host(c.o), (char *)t_host(a.o) + from, bytes);
    }
    TAP_OK(same, "%s: chunks against a cache give the bits of the whole sequence", reel_dtype_name(dt));
}

static void masks(void)
{
    const int64_t S = 300;
    const size_t mark = t_used();

    for (int round = 0; round < 60; round++, t_forget(mark)) masked(any_mask(round));
    masked(att_of(REEL_F32, 1, S, S, 1, 64, chunks(1000, 0, 0), 0, S));             /* one chunk, short */
    masked(att_of(REEL_F32, 1, S, S, 1, 64, chunks(1, 1, 0), 0, S));                /* each sees itself */
    masked(att_of(REEL_F32, 1, S, S, 1, 64, chunks(128, 20, 90), 0, S));            /* only zeros and itself */
    masked(att_of(REEL_F32, 2, 1, S, 1, 128, window(3, 250, 251), 0, S));           /* one query */
    masked(att_of(REEL_F32, 2, 1, S, 1, 128, window(0, 299, 300), 299, 1));         /* one key */
    masked(att_of(REEL_F32, 1, 70, S, 2, 32, window(100, 100, 100), 150, 20));      /* the sink alone; no gradient */
    masked(att_of(REEL_BF16, 1, 2 * S, 2 * S, 1, 128, teacher(S, 96, 84), 0, 2 * S));
    differences(att_of(REEL_F32, 1, 41, 41, 2, 12, chunks(12, 20, 7), 0, 41), ", chunks");
    differences(att_of(REEL_F32, 1, 62, 62, 2, 12, teacher(31, 7, 3), 0, 62), ", teacher's halves");
    differences(att_of(REEL_F32, 1, 20, 55, 2, 12, window(5, 17, 49), 0, 55), ", window");
    any_batch(REEL_F32, S, S, chunks(70, 130, 11));
    any_batch(REEL_BF16, 90, 90, teacher(45, 16, 2));
    any_batch(REEL_F32, 50, S, window(7, 101, 262));
    chunk_by_chunk(REEL_F32);
    chunk_by_chunk(REEL_BF16);
    any_place(REEL_F32);
    any_place(REEL_BF16);
}

int main(void)
{
    static const int64_t shapes[][5] = { { 1, 1, 1, 1, 2 },     { 2, 5, 3, 2, 12 },     { 3, 36, 36, 2, 16 },  { 1, 97, 101, 3, 20 },
                                         { 2, 49, 260, 1, 24 }, { 1, 200, 131, 2, 32 }, { 1, 130, 515, 1, 64 }, { 1, 259, 241, 1, 128 },
                                         { 1, 25, 129, 1, 256 }, { 1, 31, 17, 2, 6 },   { 1, 600, 7, 1, 50 } };

    one = ctx_open(1, 64);
    three = ctx_open(3, 64);
    printf("# %s\n", reel_backend_describe(one->be));
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int dt = REEL_F32; dt <= REEL_BF16; dt++)
            against_f64(att_new((reel_dtype)dt, shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], shapes[i][4]), 1,
                        "");
    hard_inputs();
    differences(att_new(REEL_F32, 1, 30, 41, 2, 12), "");
    masks();
    any_threads(att_new(REEL_F32, 1, 700, 900, 1, 32), "");
    any_threads(att_new(REEL_F32, 2, 111, 77, 3, 12), "");
    any_threads(att_new(REEL_BF16, 1, 300, 521, 2, 64), "");
    any_batch(REEL_F32, 150, 300, (struct reel_mask){ 0 });
    any_batch(REEL_BF16, 36, 36, (struct reel_mask){ 0 });
    not_a_number();
    sums_of_runs(REEL_F32, 2, 150, 70, 2, 32);
    sums_of_runs(REEL_BF16, 1, 130, 40, 1, 64);
    sums_of_runs(REEL_F32, 1, 33, 20, 3, 12);
    sums_of_runs(REEL_F32, 2, 9, 20, 1, 12);
    ctx_close(one);
    ctx_close(three);
    return tap_done();
}
