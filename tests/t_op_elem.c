/* Element-wise operators, casts, AdamW, the sinusoid. */
#include "op.h"

struct ew { int64_t n; reel_dtype dt; double *x, *dy; };

static double silu(double x) { return x / (1 + exp(-x)); }
static double gelu(double x) { return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

static double silu_L(const void *ctx)
{
    const struct ew *a = ctx;
    double sum = 0;
    for (int64_t i = 0; i < a->n; i++) sum += silu(a->x[i]) * a->dy[i];
    return sum;
}

static double gelu_L(const void *ctx)
{
    const struct ew *a = ctx;
    double sum = 0;
    for (int64_t i = 0; i < a->n; i++) sum += gelu(a->x[i]) * a->dy[i];
    return sum;
}

/* An average with a weight on either side of one half; one that has arrived stays where it is. */
static void lerp(struct op *t, const struct ew *a)
{
    static const double w[] = { 1e-4, 0.75 };
    double *ref = malloc((size_t)a->n * sizeof *ref);
    reel_tensor x = op_put(t, REEL_F32, a->x, REEL_DIMS(a->n)), y;

    for (int k = 0; k < 2; k++) {
        y = op_put(t, REEL_F32, a->dy, REEL_DIMS(a->n));
        for (int64_t i = 0; i < a->n; i++) ref[i] = w[k] * a->x[i] + (1 - w[k]) * a->dy[i];
        reel_lerp_to(&t->s, y, x, w[k]);
        op_close_to(t, "lerp", y, ref, 3e-7);
        reel_copy(&t->s, y, x);
        reel_lerp_to(&t->s, y, x, w[k]);
        op_close_to(t, "lerp to itself", y, a->x, 0);
    }
    free(ref);
}

static void ew_body(struct op *t, const void *ctx)
{
    const struct ew *a = ctx;
    int64_t n = a->n;
    double *ref = malloc((size_t)n * sizeof *ref);
    reel_tensor x = op_put(t, a->dt, a->x, REEL_DIMS(n)), dy = op_put(t, a->dt, a->dy, REEL_DIMS(n)), y = op_put(t, a->dt, NULL, REEL_DIMS(n));
    reel_tensor f = op_put(t, REEL_F32, a->x, REEL_DIMS(n)), g = op_put(t, REEL_F32, a->dy, REEL_DIMS(n)), c = op_put(t, REEL_F32, NULL, REEL_DIMS(n));

    for (int64_t i = 0; i < n; i++) ref[i] = silu(a->x[i]);
    reel_silu_fwd(&t->s, y, x);
    op_close_to(t, "silu", y, ref, op_tol(a->dt, 1e-6));
    reel_silu_bwd(&t->s, y, dy, x);
    op_grad(t, "silu'", y, silu_L, a, a->x, n, NULL, op_tol(a->dt, 1e-5));
    for (int64_t i = 0; i < n; i++) ref[i] = gelu(a->x[i]);
    reel_gelu_fwd(&t->s, y, x);
    op_close_to(t, "gelu", y, ref, op_tol(a->dt, 1e-6));
    reel_gelu_bwd(&t->s, y, dy, x);
    op_grad(t, "gelu'", y, gelu_L, a, a->x, n, NULL, op_tol(a->dt, 1e-5));
    for (int64_t i = 0; i < n; i++) ref[i] = a->x[i] + a->dy[i];
    reel_copy(&t->s, y, x);
    reel_add(&t->s, y, dy);
    op_close_to(t, "add", y, ref, op_tol(a->dt, 1e-7));
    for (int64_t i = 0; i < n; i++) ref[i] = -0.75 * a->x[i] + 0.3 * a->dy[i];
    reel_axpby(&t->s, g, -0.75, f, 0.3);
    op_close_to(t, "axpby", g, ref, 1e-6);
    lerp(t, a);
    for (int64_t i = 0; i < n; i++) ref[i] = 1.5 * a->dy[i];
    reel_copy(&t->s, y, dy);
    reel_scale(&t->s, y, 1.5);
    op_close_to(t, "scale", y, ref, op_tol(a->dt, 1e-7));
    reel_cast(&t->s, c, x);
    op_close_to(t, "cast to f32", c, a->x, 0);
    reel_cast(&t->s, x, c);
    op_close_to(t, "cast and back", x, a->x, 0);
    for (int64_t i = 0; i < n; i++) ref[i] = -2.5;
    reel_fill(&t->s, x, -2.5);
    op_close_to(t, "fill", x, ref, 0);
    reel_gelu_bwd(&t->s, dy, dy, y); /* in place */
    free(op_get(t, dy));
    free(ref);
}

/* f16 -> f32 for all 65536 halves */
static void half_body(struct op *t, const void *ctx)
{
    reel_tensor h = reel_new(&t->a, REEL_F16, REEL_DIMS(65536)), f = reel_new(&t->a, REEL_F32, REEL_DIMS(65536));
    uint16_t *half = malloc(65536 * sizeof *half);
    float *wide;
    int bad = 0;

    (void)ctx;
    for (int i = 0; i < 65536; i++) half[i] = (uint16_t)i;
    reel_put(&t->s, h, half);
    reel_cast(&t->s, f, h);
    wide = test_host(&t->s, f);
    for (int i = 0; i < 65536; i++) {
        int e = i >> 10 & 31, m = i & 1023;
        double v = e == 31 ? (m ? (double)NAN : (double)INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24), got = (double)wide[i];
        if (i >> 15) v = -v;
        bad += isnan(v) ? !isnan(got) : v != got || signbit(v) != signbit(got);
    }
    if (t->check) TAP_OK(!bad, "f16 -> f32: all 65536 halves (%d wrong)", bad);
    free(op_get(t, f));
    free(half), free(wide);
}

static void sinusoid_body(struct op *t, const void *ctx)
{
    static const float ts[] = { 1000, 937.5f, 0, 1, 333.25f };
    static const double want[2][9] = { /* entries 0 1 2 64 127 128 129 192 255 */
        { 0.5623791, 0.7896267, 0.4399279, -0.8390715, 0.9942316, 0.8268795, 0.6135876, -0.5440211, 0.1072541 },
        { 0.2623021, 0.5804600, 0.2572238, -0.9987613, 0.9949296, 0.9649858, -0.8142887, 0.0497574, 0.1005741 },
    };
    static const int at[9] = { 0, 1, 2, 64, 127, 128, 129, 192, 255 };
    reel_tensor tt = reel_new(&t->a, REEL_F32, REEL_DIMS(5)), e = op_put(t, REEL_F32, NULL, REEL_DIMS(5, 256));
    double worst = 0, ref[5 * 256], *got;

    (void)ctx;
    reel_put(&t->s, tt, ts);
    reel_sinusoid(&t->s, e, tt);
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 128; j++) {
            float angle = ts[i] * reel_freq(j, 128);
            ref[i * 256 + j] = cos((double)angle);
            ref[i * 256 + 128 + j] = sin((double)angle);
        }
    op_close_to(t, "sinusoid", e, ref, 6.1e-8);
    got = op_get(t, e);
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 9; k++) worst = fmax(worst, fabs(got[i * 256 + at[k]] - want[i][k]));
    if (t->check) TAP_OK(worst < 1e-7, "sinusoid: published values (%.2g)", worst);
    free(got);
}

/* Columns from one width to another; the others stay as they were. */
static void columns_body(struct op *t, const void *ctx)
{
    const reel_dtype dt = *(const reel_dtype *)ctx;
    const int64_t rows = 300, from = 131, to = 77, width = 53, at = 70, into = 9;
    double *x = op_rand(rows * from, 1, 1, dt), *y = op_rand(rows * to, 2, 1, dt);
    reel_tensor src = op_put(t, dt, x, REEL_DIMS(3, 100, from)), dst = op_put(t, dt, y, REEL_DIMS(rows, to));

    reel_copy_2d(&t->s, dst, into, src, at, width);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < width; j++) y[i * to + into + j] = x[i * from + at + j];
    op_close_to(t, "copy_2d", dst, y, 0);
    reel_copy_2d(&t->s, dst, 0, src, 0, 0);
    op_close_to(t, "copy_2d of nothing", dst, y, 0);
    free(x), free(y);
}

int main(void)
{
    static const struct ew cases[] = { { 1, REEL_F32, 0, 0 }, { 37, REEL_F32, 0, 0 }, { 40001, REEL_F32, 0, 0 }, { 37, REEL_BF16, 0, 0 }, { 20003, REEL_BF16, 0, 0 } };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ew a = cases[i];
        char what[64];
        a.x = op_rand(a.n, 1, 3, a.dt), a.dy = op_rand(a.n, 2, 1, a.dt);
        snprintf(what, sizeof what, "element-wise %lld %s", (long long)a.n, reel_dtype_name(a.dt));
        op_all(what, ew_body, &a);
        free(a.x), free(a.dy);
    }
    op_all("f16 -> f32", half_body, NULL);
    for (reel_dtype dt = REEL_F32; dt <= REEL_BF16; dt++) op_all(reel_dtype_name(dt), columns_body, &dt);
    op_all("sinusoid", sinusoid_body, NULL);
    return tap_done();
}
