/* LayerNorm with modulation and with weights, against the formula in f64 and its differences. */
#include "op.h"

struct shape { int64_t b, s, frames, d; reel_dtype dt; int acc; };

struct ln {
    struct shape c;
    int affine;
    double *x, *mod, *dy; /* mod [nmod][3][d]; shift row 2, scale row 0 */
};

static void ln_row(const struct ln *a, int64_t row, double *y)
{
    int64_t d = a->c.d, per = a->c.s / a->c.frames, b = row / a->c.s, m = b * a->c.frames + row % a->c.s / per;
    const double *x = a->x + row * d, *sc = a->mod + (a->affine ? 0 : m * 3 * d), *sh = sc + 2 * d;
    double mu = 0, var = 0, rs;

    for (int64_t i = 0; i < d; i++) mu += x[i] / (double)d;
    for (int64_t i = 0; i < d; i++) var += (x[i] - mu) * (x[i] - mu) / (double)d;
    rs = 1 / sqrt(var + 1e-6);
    for (int64_t i = 0; i < d; i++) y[i] = (x[i] - mu) * rs * (sc[i] + !a->affine) + sh[i];
}

static double ln_L(const void *ctx)
{
    const struct ln *a = ctx;
    double y[512], sum = 0;

    for (int64_t row = 0; row < a->c.b * a->c.s; row++) {
        ln_row(a, row, y);
        for (int64_t i = 0; i < a->c.d; i++) sum += y[i] * a->dy[row * a->c.d + i];
    }
    return sum;
}

static void mod_body(struct op *t, const void *ctx)
{
    const struct ln *a = ctx;
    struct shape c = a->c;
    int64_t rows = c.b * c.s, nm = c.b * c.frames;
    struct reel_rows r = reel_rows_make(c.b, c.s, c.s / c.frames);
    double *ref = malloc((size_t)(rows * c.d) * sizeof *ref), *was = op_rand(rows * c.d, 5, 1, c.dt), *mwas = op_rand(nm * 3 * c.d, 6, 1, REEL_F32);
    reel_tensor x = op_put(t, c.dt, a->x, REEL_DIMS(c.b, c.s, c.d)), dy = op_put(t, c.dt, a->dy, REEL_DIMS(c.b, c.s, c.d));
    reel_tensor mod = op_put(t, REEL_F32, a->mod, REEL_DIMS(nm, 3, c.d)), dmod = op_put(t, REEL_F32, mwas, REEL_DIMS(nm, 3, c.d));
    reel_tensor y = op_put(t, c.dt, NULL, REEL_DIMS(c.b, c.s, c.d)), dx = op_put(t, c.dt, c.acc ? was : NULL, REEL_DIMS(c.b, c.s, c.d));
    reel_tensor mean = op_put(t, REEL_F32, NULL, REEL_DIMS(rows)), rstd = op_put(t, REEL_F32, NULL, REEL_DIMS(rows));

    for (int64_t row = 0; row < rows; row++) ln_row(a, row, ref + row * c.d);
    reel_ln_mod_fwd(&t->s, y, mean, rstd, x, mod, 2, 0, r, 1e-6);
    op_close_to(t, "y", y, ref, op_tol(c.dt, 2e-6));
    reel_ln_mod_bwd(&t->s, dx, c.acc, dmod, dy, x, mean, rstd, mod, 2, 0, r);
    op_grad(t, "dx", dx, ln_L, a, a->x, rows * c.d, c.acc ? was : NULL, op_tol(c.dt, 1e-5));
    op_grad(t, "dmod", dmod, ln_L, a, a->mod, nm * 3 * c.d, mwas, 1e-5);
    free(ref), free(was), free(mwas);
}

static void affine_body(struct op *t, const void *ctx)
{
    const struct ln *a = ctx;
    struct shape c = a->c;
    const reel_tensor frozen = { 0 };
    int64_t rows = c.b * c.s;
    struct reel_rows r = reel_rows_make(c.b, c.s, c.s);
    double *ref = malloc((size_t)(rows * c.d) * sizeof *ref), *was = op_rand(rows * c.d, 5, 1, c.dt), *wwas = op_rand(c.d, 6, 1, REEL_F32);
    reel_tensor x = op_put(t, c.dt, a->x, REEL_DIMS(rows, c.d)), dy = op_put(t, c.dt, a->dy, REEL_DIMS(rows, c.d));
    reel_tensor w = op_put(t, REEL_F32, a->mod, REEL_DIMS(c.d)), b = op_put(t, REEL_F32, a->mod + 2 * c.d, REEL_DIMS(c.d));
    reel_tensor y = op_put(t, c.dt, NULL, REEL_DIMS(rows, c.d)), dx = op_put(t, c.dt, c.acc ? was : NULL, REEL_DIMS(rows, c.d));
    reel_tensor mean = op_put(t, REEL_F32, NULL, REEL_DIMS(rows)), rstd = op_put(t, REEL_F32, NULL, REEL_DIMS(rows));
    reel_tensor dw = op_put(t, REEL_F32, c.acc ? wwas : NULL, REEL_DIMS(c.d)), db = op_put(t, REEL_F32, c.acc ? wwas : NULL, REEL_DIMS(c.d));

    for (int64_t row = 0; row < rows; row++) ln_row(a, row, ref + row * c.d);
    reel_ln_affine_fwd(&t->s, y, mean, rstd, x, w, b, r, 1e-6);
    op_close_to(t, "y", y, ref, op_tol(c.dt, 2e-6));
    reel_ln_affine_bwd(&t->s, dx, c.acc, dw, db, dy, x, mean, rstd, w, r, c.acc);
    op_grad(t, "dx", dx, ln_L, a, a->x, rows * c.d, c.acc ? was : NULL, op_tol(c.dt, 1e-5));
    op_grad(t, "dw", dw, ln_L, a, a->mod, c.d, c.acc ? wwas : NULL, 1e-5);
    op_grad(t, "db", db, ln_L, a, a->mod + 2 * c.d, c.d, c.acc ? wwas : NULL, 1e-5);
    dx = op_put(t, c.dt, c.acc ? was : NULL, REEL_DIMS(rows, c.d));
    reel_ln_affine_bwd(&t->s, dx, c.acc, frozen, frozen, dy, x, mean, rstd, w, r, c.acc);
    op_grad(t, "dx of a frozen layer", dx, ln_L, a, a->x, rows * c.d, c.acc ? was : NULL, op_tol(c.dt, 1e-5));
    free(ref), free(was), free(wwas);
}

int main(void)
{
    static const struct shape cases[] = {
        { 1, 1, 1, 1, REEL_F32, 0 },    { 1, 3, 1, 8, REEL_F32, 1 },     { 2, 65, 1, 37, REEL_F32, 0 },
        { 3, 70, 5, 129, REEL_F32, 1 }, { 1, 300, 300, 16, REEL_F32, 0 }, { 1, 522, 3, 24, REEL_F32, 0 },
        { 2, 66, 3, 48, REEL_BF16, 0 }, { 1, 130, 1, 100, REEL_BF16, 1 },
        { 1, 5, 1, 264, REEL_F32, 0 },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct shape c = cases[i];
        struct ln a = { .c = c };
        char what[96];
        a.x = op_rand(c.b * c.s * c.d, 1, 1.5, c.dt);
        a.dy = op_rand(c.b * c.s * c.d, 2, 1, c.dt);
        a.mod = op_rand(c.b * c.frames * 3 * c.d, 3, 0.5, REEL_F32);
        snprintf(what, sizeof what, "ln_mod %lldx%lldx%lld, %lld frames, %s", (long long)c.b, (long long)c.s, (long long)c.d, (long long)c.frames, reel_dtype_name(c.dt));
        op_all(what, mod_body, &a);
        a.affine = 1;
        memcpy(what, "ln_aff", 6);
        op_all(what, affine_body, &a);
        free(a.x), free(a.dy), free(a.mod);
    }
    return tap_done();
}
