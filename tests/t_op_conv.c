/* Convolutions over time, rows and columns, and the norm over channels, against f64. */
#include "op.h"

struct conv {
    const char *what;
    int64_t t, h, w, c, ot, oh, ow, n;
    int kt, kh, kw, before;
    struct reel_conv_how how;
    int past; /* 0: zeros */
    reel_dtype dt;
};

/* x at frame f (from the first one before), row r, column q of the doubled frame */
static double at(const struct conv *c, const double *x, const double *past, int64_t f, int64_t r, int64_t q, int64_t ch)
{
    int up = c->how.up;

    if (r < 0 || q < 0 || r >= c->h << up || q >= c->w << up) return 0;
    if (f < c->before) return c->past ? past[((f * c->h + (r >> up)) * c->w + (q >> up)) * c->c + ch] : 0;
    return x[(((f - c->before) * c->h + (r >> up)) * c->w + (q >> up)) * c->c + ch];
}

static double *reference(const struct conv *c, const double *x, const double *past, const double *w, const double *bias, const double *y0)
{
    double *y = malloc((size_t)(c->ot * c->oh * c->ow * c->n) * sizeof *y);
    int64_t i = 0;

    for (int64_t j = 0; j < c->ot; j++)
        for (int64_t r = 0; r < c->oh; r++)
            for (int64_t q = 0; q < c->ow; q++)
                for (int64_t o = 0; o < c->n; o++, i++) {
                    const double *k = w + o * c->kt * c->kh * c->kw * c->c;
                    y[i] = bias[o] + (c->how.acc ? y0[i] : 0);
                    for (int a = 0; a < c->kt; a++)
                        for (int b = 0; b < c->kh; b++)
                            for (int e = 0; e < c->kw; e++)
                                for (int64_t ch = 0; ch < c->c; ch++)
                                    y[i] += *k++ * at(c, x, past, j * c->how.st + a, r * c->how.ss + b - c->how.pad,
                                                      q * c->how.ss + e - c->how.pad, ch);
                }
    return y;
}

static void conv_body(struct op *t, const void *p)
{
    const struct conv *c = p;
    const int64_t nx = c->t * c->h * c->w * c->c, np = c->before * c->h * c->w * c->c, ny = c->ot * c->oh * c->ow * c->n;
    double *x = op_rand(nx, 1, 1, c->dt), *past = op_rand(np, 2, 1, c->dt), *w = op_rand(c->n * c->kt * c->kh * c->kw * c->c, 3, 0.2, c->dt);
    double *bias = op_rand(c->n, 4, 1, REEL_F32), *y0 = op_rand(ny, 5, 1, c->dt), *ref = reference(c, x, past, w, bias, y0);
    reel_tensor tx = op_put(t, c->dt, x, REEL_DIMS(c->t, c->h, c->w, c->c)), none = { 0 };
    reel_tensor tp = c->past ? op_put(t, c->dt, past, REEL_DIMS(c->before, c->h, c->w, c->c)) : none;
    reel_tensor tw = op_put(t, c->dt, w, REEL_DIMS(c->n, c->kt, c->kh, c->kw, c->c)), tb = op_put(t, REEL_F32, bias, REEL_DIMS(c->n));
    reel_tensor y = op_put(t, c->dt, c->how.acc ? y0 : NULL, REEL_DIMS(c->ot, c->oh, c->ow, c->n));

    reel_conv_fwd(&t->s, y, tx, tp, tw, tb, c->how);
    op_close_to(t, "y", y, ref, op_tol(c->dt, 2e-6));
    free(x), free(past), free(w), free(bias), free(y0), free(ref);
}

/* A product of the portable instruction set rounds apart from the others', and so do pairs of bf16: each compared by itself. */
static void convs(void)
{
    static const struct conv all[] = {
        { "causal, four frames", 4, 6, 9, 8, 4, 6, 9, 12, 3, 3, 3, 2, { 1, 1, 1, 0, 0 }, 1, REEL_F32 },
        { "causal, one frame, nothing before", 1, 5, 7, 8, 1, 5, 7, 12, 3, 3, 3, 2, { 1, 1, 1, 0, 0 }, 0, REEL_F32 },
        { "causal, two frames, nothing before", 2, 5, 7, 8, 2, 5, 7, 12, 3, 3, 3, 2, { 1, 1, 1, 0, 0 }, 0, REEL_F32 },
        { "three channels", 2, 9, 11, 3, 2, 9, 11, 10, 3, 3, 3, 2, { 1, 1, 1, 0, 0 }, 1, REEL_F32 },
        { "to three channels, added", 2, 9, 11, 24, 2, 9, 11, 3, 3, 3, 3, 2, { 1, 1, 1, 0, 1 }, 1, REEL_F32 },
        { "many terms", 1, 3, 5, 96, 1, 3, 5, 50, 3, 3, 3, 2, { 1, 1, 1, 0, 0 }, 1, REEL_F32 },
        { "one pixel", 1, 1, 1, 5, 1, 1, 1, 7, 3, 3, 3, 2, { 1, 1, 1, 0, 0 }, 1, REEL_F32 },
        { "point", 3, 4, 5, 20, 3, 4, 5, 12, 1, 1, 1, 0, { 1, 1, 0, 0, 0 }, 0, REEL_F32 },
        { "point, added", 3, 4, 5, 20, 3, 4, 5, 12, 1, 1, 1, 0, { 1, 1, 0, 0, 1 }, 0, REEL_F32 },
        { "half size", 3, 8, 10, 6, 3, 4, 5, 6, 1, 3, 3, 0, { 1, 2, 0, 0, 0 }, 0, REEL_F32 },
        { "half of an odd size", 1, 7, 5, 6, 1, 3, 2, 6, 1, 3, 3, 0, { 1, 2, 0, 0, 0 }, 0, REEL_F32 },
        { "twice the size", 2, 4, 5, 8, 2, 8, 10, 4, 1, 3, 3, 0, { 1, 1, 1, 1, 0 }, 0, REEL_F32 },
        { "time alone, half as many", 4, 3, 4, 8, 2, 3, 4, 8, 3, 1, 1, 1, { 2, 1, 0, 0, 0 }, 1, REEL_F32 },
        { "time alone", 2, 3, 4, 8, 2, 3, 4, 16, 3, 1, 1, 2, { 1, 1, 0, 0, 0 }, 1, REEL_F32 },
        { "bf16", 2, 6, 9, 8, 2, 6, 9, 12, 3, 3, 3, 2, { 1, 1, 1, 0, 0 }, 1, REEL_BF16 },
        { "bf16, odd channels", 2, 6, 9, 3, 2, 6, 9, 12, 3, 3, 3, 2, { 1, 1, 1, 0, 1 }, 1, REEL_BF16 },
        { "bf16, many terms", 1, 3, 5, 98, 1, 3, 5, 50, 3, 3, 3, 2, { 1, 1, 1, 0, 0 }, 0, REEL_BF16 },
    };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) op_all(all[i].what, conv_body, &all[i]);
}

struct unit { const char *what; int64_t rows, d; int silu; reel_dtype dt; };

static void unit_body(struct op *t, const void *p)
{
    const struct unit *c = p;
    double *x = op_rand(c->rows * c->d, 1, 3, c->dt), *w = op_rand(c->d, 2, 1, REEL_F32), *ref = malloc((size_t)(c->rows * c->d) * sizeof *ref);
    reel_tensor tx, y;

    for (int64_t i = 0; i < c->d; i++) x[i] = 0; /* a row of zeros stays one */
    for (int64_t r = 0; r < c->rows; r++) {
        double sq = 0, len;
        for (int64_t i = 0; i < c->d; i++) sq += x[r * c->d + i] * x[r * c->d + i];
        len = fmax(sqrt(sq), 1e-12);
        for (int64_t i = 0; i < c->d; i++) {
            double v = x[r * c->d + i] / len * sqrt((double)c->d) * w[i];
            ref[r * c->d + i] = c->silu ? v / (1 + exp(-v)) : v;
        }
    }
    tx = op_put(t, c->dt, x, REEL_DIMS(c->rows, c->d));
    y = op_put(t, c->dt, NULL, REEL_DIMS(c->rows, c->d));
    reel_unit_fwd(&t->s, y, tx, op_put(t, REEL_F32, w, REEL_DIMS(c->d)), c->silu);
    op_close_to(t, "y", y, ref, op_tol(c->dt, 1e-6));
    reel_unit_fwd(&t->s, tx, tx, op_put(t, REEL_F32, w, REEL_DIMS(c->d)), c->silu);
    op_close_to(t, "y in place", tx, ref, op_tol(c->dt, 1e-6));
    free(x), free(w), free(ref);
}

int main(void)
{
    static const struct unit units[] = {
        { "unit rows", 300, 96, 0, REEL_F32 }, { "unit rows, silu", 70, 384, 1, REEL_F32 }, { "unit rows of 5, silu", 9, 5, 1, REEL_F32 },
        { "unit rows, silu, bf16", 70, 192, 1, REEL_BF16 },
    };

    convs();
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) op_all(units[i].what, unit_body, &units[i]);
    return tap_done();
}
