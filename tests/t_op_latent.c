/* Patches, layouts, noise levels, normalisation, flow loss. */
#include "op.h"

struct lat { int64_t b, t, c, h, w; int ph, pw, precond, per_frame, weighted; reel_dtype dt; double *x, *y, *z, *sigma, *wt; };

static int64_t count(const struct lat *a) { return a->b * a->t * a->c * a->h * a->w; }

/* f64: token tensor of x in feature order (c,p,q) or (p,q,c) */
static void patch_ref(const struct lat *a, const double *x, double *tok, int hwc)
{
    int64_t nh = a->h / a->ph, nw = a->w / a->pw, f = a->c * a->ph * a->pw;

    for (int64_t i = 0; i < count(a); i++) {
        int64_t w = i % a->w, h = i / a->w % a->h, c = i / a->w / a->h % a->c, bt = i / a->w / a->h / a->c;
        int64_t s = (bt * nh + h / a->ph) * nw + w / a->pw, p = h % a->ph, q = w % a->pw;
        tok[s * f + (hwc ? (p * a->pw + q) * a->c + c : (c * a->ph + p) * a->pw + q)] = x[i];
    }
}

static void patch_body(struct op *t, const void *ctx)
{
    const struct lat *a = ctx;
    int64_t f = a->c * a->ph * a->pw, s = count(a) / f / a->b;
    double *ref = malloc((size_t)count(a) * sizeof *ref);
    reel_tensor x = op_put(t, REEL_F32, a->x, REEL_DIMS(a->b, a->t, a->c, a->h, a->w)), z = op_put(t, REEL_F32, NULL, REEL_DIMS(a->b, a->t, a->c, a->h, a->w));
    reel_tensor tok = op_put(t, a->dt, NULL, REEL_DIMS(a->b, s, f)), sw = op_put(t, REEL_F32, NULL, REEL_DIMS(a->b, a->c, a->t, a->h, a->w));

    patch_ref(a, a->x, ref, 0);
    reel_patch(&t->s, tok, x, a->ph, a->pw);
    op_close_to(t, "patch", tok, ref, 0);
    reel_patch_bwd(&t->s, z, tok, a->ph, a->pw);
    op_close_to(t, "patch_bwd", z, a->x, 0);
    patch_ref(a, a->x, ref, 1);
    reel_unpatch_bwd(&t->s, tok, x, a->ph, a->pw);
    op_close_to(t, "unpatch_bwd", tok, ref, 0);
    reel_fill(&t->s, z, 0);
    reel_unpatch(&t->s, z, tok, a->ph, a->pw);
    op_close_to(t, "unpatch", z, a->x, 0);
    for (int64_t i = 0; i < count(a); i++) {
        int64_t hw = a->h * a->w, k = i / hw, b = k / (a->t * a->c), fr = k / a->c % a->t, c = k % a->c;
        ref[((b * a->c + c) * a->t + fr) * hw + i % hw] = a->x[i];
    }
    reel_swap_tc(&t->s, sw, x);
    op_close_to(t, "swap_tc", sw, ref, 0);
    free(ref);
}

static double residual(const struct lat *a, int64_t i)
{
    int64_t fr = i / (a->c * a->h * a->w);
    double sg = a->sigma[a->per_frame ? fr : fr / a->t];

    return a->precond ? (a->z[i] - a->y[i] * sg) - a->x[i] : a->y[i] - (a->z[i] - a->x[i]);
}

/* sum over frames of w r^2, halved cotangent inside: dL/dv = cot 2 r dr/dv */
static double flow_L(const void *ctx)
{
    const struct lat *a = ctx;
    double sum = 0;

    for (int64_t i = 0; i < count(a); i++) {
        double r = residual(a, i);
        sum += 0.125 * r * r * (a->weighted ? a->wt[i / (a->c * a->h * a->w)] : 1);
    }
    return sum;
}

static void loss_body(struct op *t, const void *ctx)
{
    const struct lat *a = ctx;
    int64_t n = count(a), inner = a->c * a->h * a->w, frames = a->b * a->t;
    double *ref = calloc((size_t)n, sizeof *ref), sums[64] = { 0 };
    const int64_t dims[5] = { a->b, a->t, a->c, a->h, a->w };
    reel_tensor x0 = op_put(t, REEL_F32, a->x, dims, 5), v = op_put(t, REEL_F32, a->y, dims, 5), z = op_put(t, REEL_F32, a->z, dims, 5), none = { 0 };
    reel_tensor dv = op_put(t, REEL_F32, NULL, dims, 5), sum = op_put(t, REEL_F64, NULL, REEL_DIMS(a->b, a->t));
    reel_tensor sigma = op_put(t, REEL_F32, a->sigma, REEL_DIMS(a->b, a->per_frame ? a->t : 1)), w = a->weighted ? op_put(t, REEL_F32, a->wt, REEL_DIMS(a->b, a->t)) : none;
    reel_tensor mean = op_put(t, REEL_F32, a->x + 1, REEL_DIMS(a->c)), istd = op_put(t, REEL_F32, a->y + 1, REEL_DIMS(a->c));

    reel_flow_loss(&t->s, dv, sum, v, x0, z, z, sigma, w, 0.125, a->precond);
    for (int64_t i = 0; i < n; i++) sums[i / inner] += residual(a, i) * residual(a, i);
    op_close_to(t, "flow_loss sums", sum, sums, 1e-6);
    op_grad(t, "flow_loss dv", dv, flow_L, a, a->y, n, NULL, 1e-5);
    for (int64_t i = 0; i < n; i++) {
        double sg = a->sigma[a->per_frame ? i / inner : i / inner / a->t];
        ref[i] = (1 - sg) * a->x[i] + sg * a->z[i];
    }
    reel_noise_mix(&t->s, dv, x0, z, sigma);
    op_close_to(t, "noise_mix", dv, ref, 3e-7);
    for (int64_t i = 0; i < n; i++) {
        int64_t c = i / (a->h * a->w) % a->c;
        ref[i] = (a->x[i] - a->x[1 + c]) * a->y[1 + c];
    }
    reel_normalize(&t->s, dv, x0, mean, istd);
    op_close_to(t, "normalize", dv, ref, 3e-7);
    (void)frames;
    free(ref);
}

int main(void)
{
    static const struct lat cases[] = {
        { .b = 1, .t = 1, .c = 3, .h = 1, .w = 2, .ph = 1, .pw = 1, .dt = REEL_F32 },
        { .b = 2, .t = 3, .c = 16, .h = 4, .w = 6, .ph = 2, .pw = 2, .dt = REEL_F32, .weighted = 1 },
        { .b = 2, .t = 3, .c = 5, .h = 3, .w = 10, .ph = 3, .pw = 5, .dt = REEL_F32, .precond = 1, .per_frame = 1, .weighted = 1 },
        { .b = 1, .t = 5, .c = 16, .h = 6, .w = 10, .ph = 2, .pw = 2, .dt = REEL_BF16, .precond = 1 },
        { .b = 3, .t = 2, .c = 7, .h = 5, .w = 7, .ph = 1, .pw = 1, .dt = REEL_F32, .per_frame = 1 },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lat a = cases[i];
        char what[96];
        a.x = op_rand(count(&a) + 16, 1, 1, a.dt), a.y = op_rand(count(&a) + 16, 2, 1, REEL_F32), a.z = op_rand(count(&a), 3, 1, REEL_F32);
        a.sigma = op_rand(a.b * a.t, 4, 0.3, REEL_F32), a.wt = op_rand(a.b * a.t, 5, 1, REEL_F32);
        snprintf(what, sizeof what, "latent %lldx%lldx%lldx%lldx%lld patch %dx%d %s", (long long)a.b, (long long)a.t, (long long)a.c, (long long)a.h, (long long)a.w, a.ph, a.pw, reel_dtype_name(a.dt));
        op_all(what, patch_body, &a);
        op_all(what, loss_body, &a);
        free(a.x), free(a.y), free(a.z), free(a.sigma), free(a.wt);
    }
    return tap_done();
}
