/* AdamW over the golden thirty steps: clip factor of the exact norm, decay, every beta. */
#include "base/exact.h"
#include "op.h"
#include "tensor/safetensors.h"

enum { STEPS = 30, N = 35 + 5 + 24 };

static const struct { const char *name; int at, n; } part[] = { { "a.weight", 0, 35 }, { "b.bias", 35, 5 }, { "c.table", 40, 24 } };
static const struct { double beta1, beta2, eps, wd, max_norm; } run[] = {
    { 0.9, 0.999, 1e-8, 0.01, 1 }, { 0, 0.999, 1e-8, 0.01, 1 }, { 0.9, 0.95, 1e-6, 0, 0 }, { 0.5, 0.9, 1e-3, 0.3, 0.1 },
};

static struct reel_st *st;

/* all three parameters of `what` side by side, for each of `steps`; f32 or f64 in the file */
static void load(const char *prefix, int steps, double *out)
{
    for (int p = 0; p < 3; p++) {
        char name[64];
        const struct reel_st_entry *e;
        double d[STEPS * 35];
        float f[STEPS * 35];
        int n = steps * part[p].n;

        snprintf(name, sizeof name, "%s/%s", prefix, part[p].name);
        e = reel_st_find(st, name);
        if (!e || reel_st_read(st, e, 0, (size_t)n * (e->dt == REEL_F64 ? 8 : 4), e->dt == REEL_F64 ? (void *)d : f)) {
            reel_err_print(reel_errrec());
            exit(1);
        }
        for (int i = 0; i < n; i++)
            out[i / part[p].n * N + part[p].at + i % part[p].n] = e->dt == REEL_F64 ? d[i] : (double)f[i];
    }
}

static void rate(int r, double *lr, double *norm)
{
    char name[32];

    snprintf(name, sizeof name, "run%d/lr", r);
    if (reel_st_read(st, reel_st_find(st, name), 0, STEPS * 8, lr)) exit(1);
    snprintf(name, sizeof name, "run%d/norm", r);
    if (reel_st_read(st, reel_st_find(st, name), 0, STEPS * 8, norm)) exit(1);
}

static double worst_part(const double *a, const double *ref)
{
    double e = 0;

    for (int p = 0; p < 3; p++) e = fmax(e, op_err(a + part[p].at, ref + part[p].at, part[p].n));
    return e;
}

static void body(struct op *t, const void *ctx)
{
    int r = *(const int *)ctx;
    double theta0[N], grad[STEPS * N], theta[STEPS * N], want[N], lr[STEPS], norm[STEPS], worst = 0, first = 0, nerr = 0, *y;
    char name[32];
    reel_tensor p, m, v, g, limbs = reel_new(&t->a, REEL_I64, REEL_DIMS(REEL_EXACT_LIMBS));

    load("theta0", 1, theta0);
    load("grad", STEPS, grad);
    snprintf(name, sizeof name, "run%d/theta", r);
    load(name, STEPS, theta);
    rate(r, lr, norm);
    p = op_put(t, REEL_F32, theta0, REEL_DIMS(N)), g = op_put(t, REEL_F32, theta0, REEL_DIMS(N));
    m = op_put(t, REEL_F32, theta0, REEL_DIMS(N)), v = op_put(t, REEL_F32, theta0, REEL_DIMS(N));
    reel_fill(&t->s, m, 0);
    reel_fill(&t->s, v, 0);
    for (int k = 0; k < STEPS; k++) {
        struct reel_adamw h = { lr[k], run[r].beta1, run[r].beta2, run[r].eps, run[r].wd, k + 1, 1 };
        double e, nrm;
        float now[N];
        for (int i = 0; i < N; i++) now[i] = (float)grad[k * N + i];
        reel_put(&t->s, g, now);
        reel_fill(&t->s, limbs, 0);
        reel_sumsq(&t->s, limbs, g);
        nrm = sqrt(op_exact(t, limbs));
        nerr = fmax(nerr, fabs(nrm - norm[k]) / (norm[k] + 1e-300));
        if (run[r].max_norm > 0) h.gscale = (float)fmin(1, run[r].max_norm / (nrm + 1e-6));
        reel_adamw(&t->s, p, m, v, g, h);
        y = op_get(t, p);
        e = worst_part(y, theta + k * N);
        worst = fmax(worst, e);
        if (!k) first = e;
        free(y);
    }
    if (t->check) {
        TAP_OK(nerr < 1e-12, "%s: norms (%.2g)", t->what, nerr);
        TAP_OK(first <= 1.2e-7, "%s: one step within 1.2e-7 (%.2g)", t->what, first);
        TAP_OK(worst <= 4e-6, "%s: weights of thirty steps within 4e-6 (%.2g)", t->what, worst);
    }
    snprintf(name, sizeof name, "run%d/m", r);
    load(name, 1, want);
    op_close_to(t, "m", m, want, 1e-6);
    snprintf(name, sizeof name, "run%d/v", r);
    load(name, 1, want);
    op_close_to(t, "v", v, want, 1e-6);
}

int main(void)
{
    char path[4096];
    const char *src = getenv("REEL_SRC");

    snprintf(path, sizeof path, "%s/tests/golden/adamw/adamw.safetensors", src ? src : ".");
    if (reel_st_open(&st, path)) {
        printf("Bail out! no golden AdamW: REEL_SRC is the source tree's top\n");
        return 1;
    }
    for (int r = 0; r < 4; r++) {
        char what[32];
        snprintf(what, sizeof what, "adamw run %d", r);
        op_all(what, body, &r);
    }
    reel_st_close(st);
    return tap_done();
}
