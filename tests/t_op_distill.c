/* x0 of a velocity and its cotangent, the ODE step, guidance, the distribution matching gradient. */
#include <float.h>

#include "op.h"

struct dist { int64_t b, t, inner; int per_frame; double scale, *x, *v, *u, *w, *sigma, *next, *m; };

static int64_t frame(const struct dist *a, int64_t i) { return i / a->inner; }
static double level(const struct dist *a, const double *s, int64_t i) { return s[a->per_frame ? frame(a, i) : frame(a, i) / a->t]; }
static int64_t count(const struct dist *a) { return a->b * a->t * a->inner; }

/* sum of w x0(v) */
static double x0_L(const void *ctx)
{
    const struct dist *a = ctx;
    double sum = 0;

    for (int64_t i = 0; i < count(a); i++) sum += 0.25 * a->w[i] * (a->x[i] - level(a, a->sigma, i) * a->v[i]);
    return sum;
}

static void body(struct op *t, const void *ctx)
{
    const struct dist *a = ctx;
    int64_t n = count(a), nf = a->b * a->t;
    const int64_t dims[3] = { a->b, a->t, a->inner };
    double *ref = malloc((size_t)n * sizeof *ref), *sums = calloc((size_t)nf, sizeof *sums);
    reel_tensor x = op_put(t, REEL_F32, a->x, dims, 3), v = op_put(t, REEL_F32, a->v, dims, 3), u = op_put(t, REEL_F32, a->u, dims, 3);
    reel_tensor w = op_put(t, REEL_F32, a->w, dims, 3), y = op_put(t, REEL_F32, NULL, dims, 3), sum = op_put(t, REEL_F64, NULL, dims, 2);
    reel_tensor sigma = op_put(t, REEL_F32, a->sigma, dims, 1 + a->per_frame), next = op_put(t, REEL_F32, a->next, dims, 1 + a->per_frame);
    reel_tensor m = op_put(t, REEL_F32, a->m, dims, 1);

    for (int64_t i = 0; i < n; i++) ref[i] = a->x[i] - level(a, a->sigma, i) * a->v[i];
    reel_x0_fwd(&t->s, y, x, v, sigma);
    op_close_to(t, "x0_fwd", y, ref, 6e-8);
    reel_x0_bwd(&t->s, y, w, sigma, 0.25);
    op_grad(t, "x0_bwd", y, x0_L, a, a->v, n, NULL, 1e-6);

    for (int64_t i = 0; i < n; i++) {
        double s = level(a, a->sigma, i), k = level(a, a->next, i);
        ref[i] = (1 - k) * a->v[i] + k * ((a->x[i] - (1 - s) * a->v[i]) / fmax(s, 1e-8));
    }
    reel_ode_step(&t->s, y, x, v, sigma, next);
    op_close_to(t, "ode_step", y, ref, 6e-8);
    reel_copy(&t->s, y, x);
    reel_ode_step(&t->s, y, y, v, sigma, next);
    op_close_to(t, "ode_step in place", y, ref, 6e-8);

    for (int64_t i = 0; i < n; i++) {
        ref[i] = a->u[i] + a->scale * (a->v[i] - a->u[i]);
        sums[frame(a, i)] += fabs(a->x[i] - ref[i]);
    }
    reel_guide(&t->s, y, sum, x, v, u, a->scale);
    op_close_to(t, "guide", y, ref, 3e-7);
    op_close_to(t, "guide, sums", sum, sums, 1e-6);

    for (int64_t i = 0; i < nf; i++) sums[i] = 0;
    for (int64_t i = 0; i < n; i++) {
        ref[i] = (a->v[i] - a->u[i]) / a->m[frame(a, i) / a->t];
        sums[frame(a, i)] += ref[i] * ref[i];
    }
    reel_dmd_grad(&t->s, y, sum, v, u, m, 0);
    op_close_to(t, "dmd_grad", y, ref, 2e-7);
    op_close_to(t, "dmd_grad, sums", sum, sums, 1e-6);
    free(ref);
    free(sums);
}

/* What is not finite stays so, unless it is to become a number. */
static void odd_numbers(struct op *t, const void *ctx)
{
    const double inf = (double)INFINITY, fake[4] = { 1, -1, 0, 1 }, real[4] = { 0 };
    reel_tensor f = op_put(t, REEL_F32, fake, REEL_DIMS(1, 1, 4)), r = op_put(t, REEL_F32, real, REEL_DIMS(1, 1, 4));
    reel_tensor zero = op_put(t, REEL_F32, real, REEL_DIMS(1)), g = op_put(t, REEL_F32, NULL, REEL_DIMS(1, 1, 4)), sum = op_put(t, REEL_F64, NULL, REEL_DIMS(1, 1));
    double *y;

    (void)ctx;
    reel_dmd_grad(&t->s, g, sum, f, r, zero, 0);
    y = op_get(t, g);
    if (t->check) TAP_OK(y[0] == inf && y[1] == -inf && isnan(y[2]), "dmd_grad hides no NaN and no infinity");
    free(y);
    reel_dmd_grad(&t->s, g, sum, f, r, zero, 1);
    y = op_get(t, g);
    if (t->check) TAP_OK(y[0] == (double)FLT_MAX && y[1] == -(double)FLT_MAX && y[2] == 0, "dmd_grad, to_num: 0 and the largest finite numbers");
    free(y);
}

int main(void)
{
    static const struct dist cases[] = {
        { .b = 1, .t = 1, .inner = 1, .scale = 2 },
        { .b = 2, .t = 3, .inner = 384, .scale = 3.5 },
        { .b = 3, .t = 2, .inner = 133, .scale = -0.5, .per_frame = 1 },
        { .b = 1, .t = 5, .inner = 7, .scale = 0, .per_frame = 1 },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dist a = cases[i];
        int64_t n = count(&a);
        char what[96];
        a.x = op_rand(n, 1, 1, REEL_F32), a.v = op_rand(n, 2, 1, REEL_F32), a.u = op_rand(n, 3, 1, REEL_F32), a.w = op_rand(n, 4, 1, REEL_F32);
        a.sigma = op_rand(a.b * a.t, 5, 0.3, REEL_F32), a.next = op_rand(a.b * a.t, 6, 0.3, REEL_F32), a.m = op_rand(a.b, 7, 0.3, REEL_F32);
        for (int64_t k = 0; k < a.b * a.t; k++) a.sigma[k] = (double)(float)(0.05 + fabs(a.sigma[k]));
        a.sigma[0] = 0; /* the floor of the ODE step is for it */
        for (int64_t k = 0; k < n; k++)
            if (level(&a, a.sigma, k) == 0) a.x[k] = a.v[k];
        snprintf(what, sizeof what, "%lldx%lldx%lld%s", (long long)a.b, (long long)a.t, (long long)a.inner, a.per_frame ? " per frame" : "");
        op_all(what, body, &a);
        free(a.x), free(a.v), free(a.u), free(a.w), free(a.sigma), free(a.next), free(a.m);
    }
    op_all("odd numbers", odd_numbers, NULL);
    return tap_done();
}
