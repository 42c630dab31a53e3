/* Full-width RMSNorm and rotation of pairs. */
#include "op.h"

struct rms {
    int64_t b, s, d;
    int heads, rope, bare; /* bare: no norm */
    reel_dtype dt;
    int pacc;
    double *x, *w, *cos, *sin, *dy;
};

static void rms_row(const struct rms *a, int64_t row, double *y)
{
    int64_t d = a->d, hd = d / a->heads, t = row % a->s;
    const double *x = a->x + row * d;
    double ss = 0, rs;

    for (int64_t i = 0; i < d; i++) ss += x[i] * x[i] / (double)d;
    rs = 1 / sqrt(ss + 1e-6);
    for (int64_t i = 0; i < d; i++) y[i] = a->bare ? x[i] : x[i] * rs * a->w[i];
    if (!a->rope) return;
    for (int64_t i = 0; i < d; i += 2) {
        double c = a->cos[t * hd / 2 + i % hd / 2], s = a->sin[t * hd / 2 + i % hd / 2], e = y[i], o = y[i + 1];
        y[i] = e * c - o * s;
        y[i + 1] = e * s + o * c;
    }
}

static double rms_L(const void *ctx)
{
    const struct rms *a = ctx;
    double y[512], sum = 0;

    for (int64_t row = 0; row < a->b * a->s; row++) {
        rms_row(a, row, y);
        for (int64_t i = 0; i < a->d; i++) sum += y[i] * a->dy[row * a->d + i];
    }
    return sum;
}

static void body(struct op *t, const void *ctx)
{
    const struct rms *a = ctx;
    int64_t rows = a->b * a->s, d = a->d, half = d / a->heads / 2;
    struct reel_rows r = reel_rows_make(a->b, a->s, a->s);
    double *ref = malloc((size_t)(rows * d) * sizeof *ref), *was = op_rand(d, 6, 1, REEL_F32);
    reel_tensor x = op_put(t, a->dt, a->x, REEL_DIMS(rows, d)), dy = op_put(t, a->dt, a->dy, REEL_DIMS(rows, d));
    reel_tensor w = op_put(t, REEL_F32, a->w, REEL_DIMS(d)), none = { 0 }, rstd = op_put(t, REEL_F32, NULL, REEL_DIMS(rows));
    reel_tensor cos = a->rope ? op_put(t, REEL_F32, a->cos, REEL_DIMS(a->s, half)) : none;
    reel_tensor sin = a->rope ? op_put(t, REEL_F32, a->sin, REEL_DIMS(a->s, half)) : none;
    reel_tensor y = op_put(t, a->dt, NULL, REEL_DIMS(rows, d)), dx = op_put(t, a->dt, NULL, REEL_DIMS(rows, d));
    reel_tensor dw = op_put(t, REEL_F32, a->pacc ? was : NULL, REEL_DIMS(d));

    for (int64_t row = 0; row < rows; row++) rms_row(a, row, ref + row * d);
    if (a->bare) w = rstd = none;
    reel_rms_rope_fwd(&t->s, y, rstd, x, w, cos, sin, r, a->heads, 1e-6, none);
    op_close_to(t, "y", y, ref, op_tol(a->dt, 2e-6));
    reel_rms_rope_bwd(&t->s, dx, a->bare ? none : dw, dy, a->bare ? none : x, rstd, w, cos, sin, r, a->heads, a->pacc, none);
    op_grad(t, "dx", dx, rms_L, a, a->x, rows * d, NULL, op_tol(a->dt, 1e-5));
    if (!a->bare) op_grad(t, "dw", dw, rms_L, a, a->w, d, a->pacc ? was : NULL, 1e-5);
    reel_rms_rope_bwd(&t->s, dy, none, dy, x, rstd, w, cos, sin, r, a->heads, 0, none); /* in place, no dw */
    {
        double *p = op_get(t, dx), *q = op_get(t, dy);
        if (t->check) TAP_OK(!memcmp(p, q, (size_t)(rows * d) * sizeof *p), "%s: dx may alias dy", t->what);
        free(p), free(q);
    }
    free(ref), free(was);
}

/* Columns [c, c+n) of x. */
static reel_tensor columns(struct op *t, reel_tensor x, int64_t c, int64_t n)
{
    reel_tensor y = reel_new(&t->a, x.dt, REEL_DIMS(reel_numel(x) / x.n[x.nd - 1], n));

    reel_copy_2d(&t->s, y, 0, x, c, n);
    return y;
}

struct whole { reel_tensor x, dy, w, cos, sin, y, dx, dw; };

/* The norm of one of `of` holders of whole heads: sums of its heads, then all of them, then its columns. */
static void held(struct op *t, const struct rms *a, const struct whole *all, int of, struct whole *got)
{
    int heads = a->heads / of;
    int64_t d = a->d / of;
    struct reel_rows r = reel_rows_make(a->b, a->s, a->s);
    reel_tensor none = { 0 }, dots[2], x[8], w[8], dy[8], one, rstd;

    for (int back = 0; back < 2; back++) {
        dots[back] = reel_new(&t->a, REEL_F32, REEL_DIMS(a->b * a->s, a->heads));
        for (int h = 0; h < of; h++) {
            x[h] = columns(t, all->x, h * d, d), w[h] = columns(t, all->w, h * d, d), dy[h] = columns(t, all->dy, h * d, d);
            one = reel_new(&t->a, REEL_F32, REEL_DIMS(a->b * a->s, heads));
            reel_rms_dots(&t->s, one, back ? dy[h] : none, x[h], back ? w[h] : none, all->cos, all->sin, r, heads);
            reel_copy_2d(&t->s, dots[back], h * heads, one, 0, heads);
        }
    }
    for (int h = 0; h < of; h++) {
        rstd = reel_new(&t->a, REEL_F32, REEL_DIMS(a->b * a->s));
        one = reel_new(&t->a, REEL_F32, REEL_DIMS(1, d));
        reel_rms_rope_fwd(&t->s, x[h], rstd, columns(t, all->x, h * d, d), w[h], all->cos, all->sin, r, heads, 1e-6, dots[0]);
        reel_copy_2d(&t->s, got->y, h * d, x[h], 0, d);
        reel_rms_rope_bwd(&t->s, dy[h], one, dy[h], columns(t, all->x, h * d, d), rstd, w[h], all->cos, all->sin, r, heads, 0, dots[1]);
        reel_copy_2d(&t->s, got->dx, h * d, dy[h], 0, d);
        reel_copy_2d(&t->s, got->dw, h * d, one, 0, d);
    }
}

static int same(struct op *t, reel_tensor a, reel_tensor b)
{
    double *p = op_get(t, a), *q = op_get(t, b);
    int yes = !memcmp(p, q, (size_t)reel_numel(a) * sizeof *p);

    free(p), free(q);
    return yes;
}

static struct whole whole_new(struct op *t, const struct rms *a)
{
    int64_t rows = a->b * a->s, half = a->d / a->heads / 2;
    struct whole z = { .x = op_put(t, a->dt, a->x, REEL_DIMS(rows, a->d)), .dy = op_put(t, a->dt, a->dy, REEL_DIMS(rows, a->d)), .w = op_put(t, REEL_F32, a->w, REEL_DIMS(1, a->d)) };

    if (a->rope) z.cos = op_put(t, REEL_F32, a->cos, REEL_DIMS(a->s, half)), z.sin = op_put(t, REEL_F32, a->sin, REEL_DIMS(a->s, half));
    z.y = op_put(t, a->dt, NULL, REEL_DIMS(rows, a->d)), z.dx = op_put(t, a->dt, NULL, REEL_DIMS(rows, a->d)), z.dw = op_put(t, REEL_F32, NULL, REEL_DIMS(1, a->d));
    return z;
}

static void holders(struct op *t, const void *ctx)
{
    const struct rms *a = ctx;
    struct reel_rows r = reel_rows_make(a->b, a->s, a->s);
    struct whole all = whole_new(t, a), got;
    reel_tensor rstd = reel_new(&t->a, REEL_F32, REEL_DIMS(a->b * a->s)), none = { 0 };

    reel_rms_rope_fwd(&t->s, all.y, rstd, all.x, all.w, all.cos, all.sin, r, a->heads, 1e-6, none);
    reel_rms_rope_bwd(&t->s, all.dx, all.dw, all.dy, all.x, rstd, all.w, all.cos, all.sin, r, a->heads, 0, none);
    for (int of = 1, ok; of <= 8; of *= 2) {
        if (a->heads % of) continue;
        got = whole_new(t, a);
        held(t, a, &all, of, &got);
        ok = same(t, all.y, got.y) & same(t, all.dx, got.dx) & same(t, all.dw, got.dw);
        if (t->check) TAP_OK(ok, "%s: %d holders have the bits of one", t->what, of);
    }
}

int main(void)
{
    static const struct rms cases[] = {
        { .b = 1, .s = 1, .d = 2, .heads = 1, .rope = 1, .dt = REEL_F32 },
        { .b = 2, .s = 67, .d = 24, .heads = 2, .rope = 1, .dt = REEL_F32, .pacc = 1 },
        { .b = 1, .s = 130, .d = 150, .heads = 5, .rope = 1, .dt = REEL_F32 },
        { .b = 3, .s = 20, .d = 37, .heads = 1, .rope = 0, .dt = REEL_F32 },
        { .b = 1, .s = 300, .d = 256, .heads = 2, .rope = 1, .dt = REEL_F32 },
        { .b = 2, .s = 33, .d = 72, .heads = 3, .rope = 1, .dt = REEL_BF16 },
        { .b = 1, .s = 70, .d = 51, .heads = 3, .rope = 0, .dt = REEL_BF16, .pacc = 1 },
        { .b = 1, .s = 66, .d = 256, .heads = 8, .rope = 1, .dt = REEL_F32 },
        { .b = 2, .s = 20, .d = 144, .heads = 12, .rope = 1, .dt = REEL_BF16 },
        { .b = 2, .s = 67, .d = 24, .heads = 2, .rope = 1, .bare = 1, .dt = REEL_F32 },
        { .b = 1, .s = 45, .d = 150, .heads = 3, .rope = 1, .bare = 1, .dt = REEL_BF16 },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rms a = cases[i];
        int64_t half = a.d / a.heads / 2;
        char what[96];
        a.x = op_rand(a.b * a.s * a.d, 1, 1.5, a.dt);
        a.dy = op_rand(a.b * a.s * a.d, 2, 1, a.dt);
        a.w = op_rand(a.d, 3, 1, REEL_F32);
        a.cos = op_rand(a.s * half, 4, 1, REEL_F32);
        a.sin = op_rand(a.s * half, 5, 1, REEL_F32);
        for (int64_t j = 0; j < a.s * half; j++) a.sin[j] = (double)sinf((float)a.cos[j]), a.cos[j] = (double)cosf((float)a.cos[j]);
        snprintf(what, sizeof what, "rms_rope %lldx%lldx%lld, %d heads%s, %s", (long long)a.b, (long long)a.s, (long long)a.d, a.heads, a.bare ? ", no norm" : a.rope ? "" : ", no rotation", reel_dtype_name(a.dt));
        op_all(what, body, &a);
        if (!a.bare) op_all(what, holders, &a);
        free(a.x), free(a.dy), free(a.w), free(a.cos), free(a.sin);
    }
    return tap_done();
}
