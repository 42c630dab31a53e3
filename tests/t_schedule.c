/* Schedules: tables, look-ups, score timesteps and weights against golden/schedules (own float64 oracle)
 * and golden/schedulers (reference classes), bit for bit where both are f32. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/schedule.h"
#include "tap.h"
#include "tensor/safetensors.h"

static struct reel_st *open_golden(const char *name)
{
    struct reel_st *st = NULL;
    char path[4096];

    snprintf(path, sizeof path, "%s/tests/golden/%s.safetensors", getenv("REEL_SRC"), name);
    TAP_OK(reel_st_open(&st, path) == REEL_OK, "%s opens", name);
    return st;
}

static void *get(struct reel_st *st, const char *name, size_t bytes)
{
    const struct reel_st_entry *e = reel_st_find(st, name);
    void *p = calloc(1, bytes);

    if (!e || e->bytes != bytes || reel_st_read(st, e, 0, bytes, p)) TAP_OK(0, "%s can be read", name);
    return p;
}

static int same(struct reel_st *st, const char *name, const void *mine, size_t bytes)
{
    void *p = get(st, name, bytes);
    int eq = !memcmp(p, mine, bytes);

    free(p);
    return eq;
}

static int lookups(struct reel_st *st, const char *index, const char *probe, const struct reel_sched *tab, int n)
{
    int64_t *want = get(st, index, (size_t)n * 8);
    float *t = get(st, probe, (size_t)n * 4);
    int bad = 0;

    for (int i = 0; i < n; i++) bad += reel_sched_index(tab, t[i]) != want[i];
    free(want), free(t);
    return bad == 0;
}

static void own_tables(void)
{
    static const float shifts[] = { 1, 3, 5, 8, 7.3f };
    struct reel_st *st = open_golden("schedules/schedules");
    struct reel_sched tab;
    float score[REEL_SCHED_N];
    char name[64];

    for (int k = 0; k < 5; k++) {
        for (int b = 0; b < 2; b++) {
            int ok;

            (b ? reel_sched_b : reel_sched_a)(&tab, shifts[k]);
            snprintf(name, sizeof name, "%c/%g/sigma", "ab"[b], (double)shifts[k]);
            ok = same(st, name, tab.sigma, sizeof tab.sigma);
            snprintf(name, sizeof name, "%c/%g/t", "ab"[b], (double)shifts[k]);
            ok &= same(st, name, tab.t, sizeof tab.t);
            snprintf(name, sizeof name, "%c/%g/lookup", "ab"[b], (double)shifts[k]);
            ok &= lookups(st, name, "probe", &tab, 777);
            TAP_OK(ok, "table %c, shift %g: sigma, t and look-ups bit for bit", "AB"[b], (double)shifts[k]);
        }
        for (int tau = 0; tau < REEL_SCHED_N; tau++) score[tau] = reel_score_timestep(tau, shifts[k], 0, 1);
        snprintf(name, sizeof name, "score/%g", (double)shifts[k]);
        TAP_OK(same(st, name, score, sizeof score), "score timesteps, shift %g, bit for bit", (double)shifts[k]);
    }
    reel_st_close(st);
}

static double worst(const double *a, const double *b)
{
    double w = 0;

    for (int i = 0; i < REEL_SCHED_N; i++) w = fmax(w, fabs(a[i] - b[i]));
    return w;
}

static void weights(void)
{
    struct reel_st *st = open_golden("schedules/schedules"), *ref = open_golden("schedulers/tables");
    double w[REEL_SCHED_N], wide[REEL_SCHED_N], sum = 0;
    double *want = get(st, "dfsft/weight", sizeof w);
    float *f32 = get(ref, "index_weight", REEL_SCHED_N * sizeof(float)), *t32;
    struct reel_sched tab;

    reel_index_weights(w);
    for (int i = 0; i < REEL_SCHED_N; i++) sum += w[i], wide[i] = (double)f32[i];
    TAP_OK(worst(w, want) < 1e-14, "weights over the index agree with float64, %.1e", worst(w, want));
    TAP_OK(worst(w, wide) < 1e-6, "and with the reference's f32 (cancellation), %.1e", worst(w, wide));
    TAP_OK(w[0] == 0 && fabs(sum - 1000) < 1e-9, "the weight of pure noise is 0, the mean 1");
    reel_sched_b(&tab, 5);
    t32 = get(ref, "B(5)/weight", REEL_SCHED_N * sizeof(float));
    reel_t_weights(w, &tab);
    for (int i = 0; i < REEL_SCHED_N; i++) wide[i] = (double)t32[i];
    TAP_OK(worst(w, wide) < 1e-6, "weights over the timestep agree with the reference's f32, %.1e", worst(w, wide));
    free(want), free(f32), free(t32);
    reel_st_close(st), reel_st_close(ref);
}

static void reference_tables(void)
{
    static const struct { char table; int shift; } tabs[] = { { 'A', 3 }, { 'A', 5 }, { 'A', 8 }, { 'B', 5 } };
    struct reel_st *st = open_golden("schedulers/tables");
    struct reel_sched tab;
    char name[64];

    for (int k = 0; k < 4; k++) {
        int ok;

        (tabs[k].table == 'B' ? reel_sched_b : reel_sched_a)(&tab, (float)tabs[k].shift);
        snprintf(name, sizeof name, "%c(%d)/sigma", tabs[k].table, tabs[k].shift);
        ok = same(st, name, tab.sigma, sizeof tab.sigma);
        snprintf(name, sizeof name, "%c(%d)/timestep", tabs[k].table, tabs[k].shift);
        ok &= same(st, name, tab.t, sizeof tab.t);
        snprintf(name, sizeof name, "lookup/A(%d)/index", tabs[k].shift);
        if (tabs[k].table == 'A') ok &= lookups(st, name, "lookup/timestep", &tab, 68);
        TAP_OK(ok, "reference class %c(%d) bit for bit", tabs[k].table, tabs[k].shift);
    }
    reel_st_close(st);
}

static void few_steps(void)
{
    static const struct { int shift, n, warp; int64_t step[4]; } lists[] = {
        { 8, 3, 0, { 1000, 757, 522 } }, { 3, 4, 0, { 1000, 750, 500, 250 } }, { 5, 4, 1, { 1000, 750, 500, 250 } },
    };
    struct reel_st *st = open_golden("schedulers/few_step");

    for (int c = 0; c < 3; c++)
        for (int b = 0; b < 2; b++) {
            struct reel_sched tab;
            float t[4], sigma[4];
            char name[64];
            int ok;

            (b ? reel_sched_b : reel_sched_a)(&tab, (float)lists[c].shift);
            reel_few_steps(t, &tab, lists[c].step, lists[c].n, lists[c].warp);
            for (int k = 0; k < lists[c].n; k++) sigma[k] = reel_sched_sigma(&tab, t[k]);
            snprintf(name, sizeof name, "case%d/%c(%d)/sde/timestep", c, "AB"[b], lists[c].shift);
            ok = same(st, name, t, (size_t)lists[c].n * 4);
            snprintf(name, sizeof name, "case%d/%c(%d)/sde/sigma", c, "AB"[b], lists[c].shift);
            ok &= same(st, name, sigma, (size_t)lists[c].n * 4);
            TAP_OK(ok, "few-step list %d with table %c: t and sigma bit for bit", c, "AB"[b]);
        }
    reel_st_close(st);
}

static void draws(void)
{
    struct reel_density u = { REEL_WEIGHTING_UNIFORM, 0, 1, 1 }, n = { REEL_WEIGHTING_LOGIT_NORMAL, 0.5, 2, 1 },
                        m = { REEL_WEIGHTING_MODE, 0, 1, 1 };
    struct reel_sched tab;
    float t, sigma[5];
    int lo, hi;

    TAP_OK(reel_density_index(&u, 0) == 0 && reel_density_index(&u, 0.9999999) == 999, "uniform draws span the table");
    TAP_OK(reel_density_index(&n, 0) == 622 && reel_density_index(&n, 100) == 999 && reel_density_index(&n, -100) == 0,
           "logit-normal: sigmoid(mean + std n), the ends guarded");
    /* u = 1 - 1/4 - (cos^2(pi/8) - 1 + 1/4) = 0.6464 */
    TAP_OK(reel_density_index(&m, 0.25) == 646 && reel_density_index(&m, 0) == 999, "mode weighting");
    reel_index_range(0.02, 0.98, &lo, &hi);
    TAP_OK(lo == 20 && hi == 980, "ratios as indices");
    reel_index_range(0.5, 0.5, &lo, &hi);
    TAP_OK(lo == 500 && hi == 501, "an empty range gets one more index");
    reel_index_range(1, 1, &lo, &hi);
    TAP_OK(lo == 999 && hi == 999, "and stays inside the table");
    TAP_OK(reel_score_timestep(0, 5, 0.02, 0.98) == 20 && reel_score_timestep(999, 5, 0.02, 0.98) == 980,
           "score timesteps are held within the ratios");
    reel_sched_a(&tab, 3);
    reel_few_steps(&t, &tab, (int64_t[]){ 0 }, 1, 1);
    TAP_OK(t == 0, "a warped step of 0 is the clean end");
    reel_even_sigmas(sigma, 4, 3);
    TAP_OK(sigma[0] == 1 && sigma[1] == 0.9f && sigma[2] == 0.75f && sigma[3] == 0.5f && sigma[4] == 0,
           "four even steps with shift 3");
}

int main(void)
{
    own_tables();
    reference_tables();
    weights();
    few_steps();
    draws();
    return tap_done();
}
