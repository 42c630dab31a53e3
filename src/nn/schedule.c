#include "nn/schedule.h"

#include <math.h>

float reel_shift(float s, float u) { return (s * u) / (1.0f + (s - 1.0f) * u); }

static void set_level(struct reel_sched *tab, int i, float sigma)
{
    tab->sigma[i] = sigma;
    tab->t[i] = 1000.0f * sigma;
}

void reel_sched_a(struct reel_sched *tab, float shift)
{
    tab->shift = shift;
    for (int i = 0; i < REEL_SCHED_N; i++) set_level(tab, i, reel_shift(shift, (float)(REEL_SCHED_N - i) / 1000.0f));
}

/* PyTorch's linspace(1, 0, n+1) without its end, shifted: counted from either end to the middle. */
static float point(int j, int n, float shift)
{
    const float step = -1.0f / (float)n;

    return reel_shift(shift, j < (n + 1) / 2 ? fmaf(step, (float)j, 1.0f) : -step * (float)(n - j));
}

void reel_sched_b(struct reel_sched *tab, float shift)
{
    tab->shift = shift;
    for (int j = 0; j < REEL_SCHED_N; j++) set_level(tab, j, point(j, REEL_SCHED_N, shift));
}

void reel_sched_points(float *sigma, int n, float shift)
{
    for (int j = 0; j < n; j++) sigma[j] = point(j, n, shift);
    sigma[n] = 0;
}

int reel_sched_index(const struct reel_sched *tab, float t)
{
    int best = 0;

    for (int i = 1; i < REEL_SCHED_N; i++)
        if (fabsf(tab->t[i] - t) < fabsf(tab->t[best] - t)) best = i;
    return best;
}

float reel_sched_sigma(const struct reel_sched *tab, float t)
{
    return tab->sigma[reel_sched_index(tab, t)];
}

static int clamp_index(double i)
{
    return i < 0 ? 0 : i > REEL_SCHED_N - 1 ? REEL_SCHED_N - 1 : (int)i;
}

int reel_density_index(const struct reel_density *d, double draw)
{
    double u = draw, c;

    switch (d->scheme) {
    case REEL_WEIGHTING_UNIFORM: break;
    case REEL_WEIGHTING_LOGIT_NORMAL: u = 1 / (1 + exp(-(d->logit_mean + d->logit_std * draw))); break;
    case REEL_WEIGHTING_MODE:
        c = cos(M_PI * draw / 2);
        u = 1 - draw - d->mode_scale * (c * c - 1 + draw);
        break;
    }
    return clamp_index(floor(1000 * u));
}

void reel_index_range(double min_ratio, double max_ratio, int *lo, int *hi)
{
    *lo = clamp_index(trunc(1000 * min_ratio));
    *hi = clamp_index(trunc(1000 * max_ratio));
    if (*hi <= *lo) *hi = *lo + 1 < REEL_SCHED_N ? *lo + 1 : REEL_SCHED_N - 1;
}

float reel_score_timestep(int64_t tau, float shift, double min_ratio, double max_ratio)
{
    float t = (float)tau, lo = (float)trunc(1000 * min_ratio), hi = (float)trunc(1000 * max_ratio);

    if (shift != 1.0f) t = 1000.0f * reel_shift(shift, t / 1000.0f);
    t = fminf(fmaxf(t, 0.0f), 1000.0f);
    return fminf(fmaxf(t, lo), hi);
}

void reel_few_steps(float *t, float *sigma, const struct reel_sched *tab, const int64_t *step, int n, int warp)
{
    for (int k = 0; k < n; k++) {
        int64_t i = REEL_SCHED_N - step[k];

        t[k] = !warp ? (float)step[k] : i < REEL_SCHED_N ? tab->t[i] : 0.0f;
        sigma[k] = reel_sched_sigma(tab, t[k]);
    }
}

void reel_even_sigmas(float *sigma, int n, float shift)
{
    for (int i = 0; i <= n; i++) sigma[i] = reel_shift(shift, (float)(n - i) / (float)n);
}

/* ---- schedules of samplers ------------------------------------------------------------------- */

static double shifted(double s, double u) { return s * u / (1 + (s - 1) * u); }

/* NumPy's linspace(from, to, points)[i]: the last point is `to` itself. */
static double linspace(double from, double to, int points, int i)
{
    return i && i == points - 1 ? to : i * ((to - from) / (points > 1 ? points - 1 : 1)) + from;
}

void reel_sched_euler(float *sigma, float *t, int n, float shift)
{
    double lo = 1000 * (double)reel_shift(shift, 0.001f), s = (double)shift;

    for (int i = 0; i < n; i++) {
        sigma[i] = (float)shifted(s, linspace(1000, lo, n, i) / 1000);
        t[i] = 1000.0f * sigma[i];
    }
    sigma[n] = 0;
}

static void unipc_level(float *sigma, float *t, double level)
{
    *sigma = (float)level;
    *t = (float)trunc(level * 1000);
}

void reel_sched_unipc(float *sigma, float *t, int n, float shift)
{
    double hi = (double)reel_shift(shift, (float)(1 - 0.001));

    for (int i = 0; i < n; i++) unipc_level(sigma + i, t + i, shifted((double)shift, linspace(hi, 0, n + 1, i)));
    sigma[n] = 0;
}

void reel_sched_unipc_diffusers(float *sigma, float *t, int n, float shift)
{
    for (int i = 0; i < n; i++) {
        double level = shifted((double)shift, linspace(1, 0.001, n + 1, i));
        if (!i && fabs(level - 1) < 1e-6) level -= 1e-6;
        unipc_level(sigma + i, t + i, level);
    }
    sigma[n] = 0;
}

static double lambda(float sigma) { return log(fmax(1 - (double)sigma, 1e-12)) - log(fmax((double)sigma, 1e-12)); }

/* From sigma[i] to sigma[i+1]: h is the step in lambda, e = expm1(-h), r where the level before lies, in steps. */
struct unipc_step { double h, e, r; };

static struct unipc_step unipc_step(const float *sigma, int i, int order)
{
    double l = lambda(sigma[i]), h = lambda(sigma[i + 1]) - l;

    return (struct unipc_step){ .h = h, .e = expm1(-h), .r = order > 1 ? (lambda(sigma[i - 1]) - l) / h : 0 };
}

static int unipc_order(int n, int i) { return i > 0 && i < n - 1 ? 2 : 1; }

struct reel_unipc_predict reel_unipc_predict(const float *sigma, int n, int i)
{
    int order = unipc_order(n, i);
    struct unipc_step u = unipc_step(sigma, i, order);
    double a = -(1 - (double)sigma[i + 1]) * u.e, d = order > 1 ? a * 0.5 / u.r : 0;

    return (struct reel_unipc_predict){ .x = (double)sigma[i + 1] / (double)sigma[i], .m = a - d, .m1 = d };
}

struct reel_unipc_correct reel_unipc_correct(const float *sigma, int n, int i)
{
    int order = unipc_order(n, i - 1);
    struct unipc_step u = unipc_step(sigma, i - 1, order);
    double a = -(1 - (double)sigma[i]) * u.e, rho1 = 0, rho2 = 0.5, hh = -u.h, k1, b1, b2;

    if (order > 1) { /* rho1 + rho2 = b1, r rho1 + rho2 = b2 */
        k1 = u.e / hh - 1;
        b1 = k1 / u.e;
        b2 = 2 * (k1 / hh - 0.5) / u.e;
        rho1 = (b2 - b1) / (u.r - 1);
        rho2 = b1 - rho1;
        rho1 /= u.r;
    }
    return (struct reel_unipc_correct){ .last = (double)sigma[i] / (double)sigma[i - 1], .m = a * rho2, .m1 = a * (1 - rho1 - rho2),
                                        .m2 = a * rho1 };
}

/* w = exp(-2 ((x - 500)/1000)^2), less its minimum, scaled to mean 1; x is in w on entry */
static void bell(double w[REEL_SCHED_N])
{
    double min = (double)INFINITY, sum = 0;

    for (int i = 0; i < REEL_SCHED_N; i++) {
        double z = (w[i] - 500) / 1000;

        w[i] = exp(-2 * z * z);
        min = fmin(min, w[i]);
    }
    for (int i = 0; i < REEL_SCHED_N; i++) sum += w[i] -= min;
    for (int i = 0; i < REEL_SCHED_N; i++) w[i] *= REEL_SCHED_N / sum;
}

void reel_index_weights(double w[REEL_SCHED_N])
{
    for (int i = 0; i < REEL_SCHED_N; i++) w[i] = i;
    bell(w);
}

void reel_t_weights(double w[REEL_SCHED_N], const struct reel_sched *tab)
{
    for (int i = 0; i < REEL_SCHED_N; i++) w[i] = (double)tab->t[i];
    bell(w);
}
