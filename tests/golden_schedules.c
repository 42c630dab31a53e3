/* Golden kinds schedules and schedulers: noise tables, look-ups, score timesteps, loss weights, few-step
 * lists and learning rates. Tables are f32 and agree bit for bit; rates and weights are f64. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "nn/schedule.h"
#include "optim/lr.h"

struct sched_case { struct golden *g; struct reel_st *st; const json_t *settings; };

static int unknown(struct sched_case *c, const struct reel_st_entry *e) { return golden_true(c->g, e->name, 0); }

/* Table A or B (either case) of a shift written as a decimal number. */
static void make_table(struct reel_sched *tab, char kind, const char *shift)
{
    (kind == 'b' || kind == 'B' ? reel_sched_b : reel_sched_a)(tab, strtof(shift, NULL));
}

static void check_f32(struct sched_case *c, const struct reel_st_entry *e, const float *got, int64_t n)
{
    float *want = golden_bytes(c->st, e->name, NULL);

    if (golden_count(e) != n || e->dt != REEL_F32) unknown(c, e);
    else golden_equal(c->g, e->name, got, want, sizeof *got, n);
    free(want);
}

static void check_lookup(struct sched_case *c, const struct reel_st_entry *e, const struct reel_sched *tab, const char *probe)
{
    const struct reel_st_entry *pe;
    int64_t n = golden_count(e), *want = golden_bytes(c->st, e->name, NULL), *got = malloc((size_t)(n + 1) * sizeof *got);
    float *t = golden_bytes(c->st, probe, &pe);

    if (!t || golden_count(pe) != n || e->dt != REEL_I64) {
        unknown(c, e);
    } else {
        for (int64_t i = 0; i < n; i++) got[i] = reel_sched_index(tab, t[i]);
        golden_equal(c->g, e->name, got, want, sizeof *got, n);
    }
    free(want), free(got), free(t);
}

static void check_weights(struct sched_case *c, const struct reel_st_entry *e, const struct reel_sched *tab, double tol)
{
    double w[REEL_SCHED_N], *want = golden_doubles(c->st, e->name, NULL);

    tab ? reel_t_weights(w, tab) : reel_index_weights(w);
    if (golden_count(e) != REEL_SCHED_N) unknown(c, e);
    else golden_near(c->g, e->name, w, want, REEL_SCHED_N, tol);
    free(want);
}

static void check_score(struct sched_case *c, const struct reel_st_entry *e, float shift)
{
    int64_t n = golden_count(e);
    float *got = malloc((size_t)(n + 1) * sizeof *got);

    for (int64_t tau = 0; tau < n; tau++) got[tau] = reel_score_timestep(tau, shift, 0, 1);
    check_f32(c, e, got, n);
    free(got);
}

/* Rates of updates 0, 1, ...; `scale` 1 for the rate itself, lr0 for its ratio. */
static void check_rates(struct sched_case *c, const struct reel_st_entry *e, struct reel_lr s, const char *name, double scale)
{
    int64_t n = golden_count(e);
    double *want = golden_doubles(c->st, e->name, NULL), *got = malloc((size_t)(n + 1) * sizeof *got);
    int found = reel_lr_find(name);

    s.name = (enum reel_lr_name)found;
    if (found < 0) {
        unknown(c, e);
    } else {
        for (int64_t k = 0; k < n; k++) got[k] = reel_lr_at(&s, (long)k) / scale;
        golden_near_rel(c->g, e->name, got, want, n, 1e-12);
    }
    free(want), free(got);
}

/* ---- kind schedules ---- */

static void own_entry(struct sched_case *c, const struct reel_st_entry *e)
{
    struct reel_lr lr = { .lr0 = 1e-3, .warmup = 3, .horizon = 20, .cycles = 3, .power = 2, .min_ratio = 0.25 };
    struct reel_sched tab;
    char kind, shift[32], what[16];

    if (!strcmp(e->name, "probe")) return; /* what the look-ups are asked */
    if (sscanf(e->name, "%c/%31[0-9.]/%15s", &kind, shift, what) == 3) {
        make_table(&tab, kind, shift);
        if (!strcmp(what, "sigma")) return check_f32(c, e, tab.sigma, REEL_SCHED_N);
        if (!strcmp(what, "t")) return check_f32(c, e, tab.t, REEL_SCHED_N);
        if (!strcmp(what, "lookup")) return check_lookup(c, e, &tab, "probe");
    }
    if (!strncmp(e->name, "score/", 6)) return check_score(c, e, strtof(e->name + 6, NULL));
    if (!strcmp(e->name, "dfsft/weight")) return check_weights(c, e, NULL, 1e-13);
    if (!strncmp(e->name, "lr/", 3)) return check_rates(c, e, lr, e->name + 3, lr.lr0);
    unknown(c, e);
}

static reel_err each_entry(struct sched_case *c, const char *dir, const char *file,
                           void (*visit)(struct sched_case *c, const struct reel_st_entry *e))
{
    REEL_TRY(golden_open(&c->st, dir, file));
    for (int i = 0; i < reel_st_count(c->st); i++) visit(c, reel_st_entry(c->st, i));
    reel_st_close(c->st);
    return REEL_OK;
}

int golden_schedules(struct golden *g, const char *dir)
{
    struct sched_case c = { .g = g };

    return each_entry(&c, dir, "schedules.safetensors", own_entry) != REEL_OK;
}

/* ---- kind schedulers: what the reference classes hold ---- */

static void table_entry(struct sched_case *c, const struct reel_st_entry *e)
{
    struct reel_sched tab;
    char kind, shift[32], what[16];

    if (!strcmp(e->name, "lookup/timestep")) return;
    if (!strcmp(e->name, "index_weight")) return check_weights(c, e, NULL, 1e-6); /* f32 with cancellation */
    if (sscanf(e->name, "lookup/%c(%31[0-9.])/%15s", &kind, shift, what) == 3 && !strcmp(what, "index")) {
        make_table(&tab, kind, shift);
        return check_lookup(c, e, &tab, "lookup/timestep");
    }
    if (sscanf(e->name, "%c(%31[0-9.])/%15s", &kind, shift, what) == 3) {
        make_table(&tab, kind, shift);
        if (!strcmp(what, "sigma")) return check_f32(c, e, tab.sigma, REEL_SCHED_N);
        if (!strcmp(what, "timestep")) return check_f32(c, e, tab.t, REEL_SCHED_N);
        if (!strcmp(what, "weight")) return check_weights(c, e, &tab, 1e-6);
    }
    unknown(c, e);
}

static void rate_entry(struct sched_case *c, const struct reel_st_entry *e)
{
    const char *slash = strchr(e->name, '/');
    char set[32];
    const json_t *s;
    struct reel_lr lr;

    snprintf(set, sizeof set, "%.*s", slash ? (int)(slash - e->name) : 0, e->name);
    if (!slash || !(s = json_object_get(c->settings, set))) {
        unknown(c, e);
        return;
    }
    lr = (struct reel_lr){ .lr0 = golden_get(s, "learning_rate", (double)NAN), .horizon = (long)golden_get(s, "max_train_steps", 0),
                           .warmup = (long)golden_get(s, "lr_warmup_steps", 0), .cycles = golden_get(s, "lr_num_cycles", 0),
                           .power = golden_get(s, "lr_power", 0), .min_ratio = golden_get(s, "min_lr_ratio", 0) };
    check_rates(c, e, lr, slash + 1, 1);
}

/* ---- few-step lists: case<j>/<table>(<shift>)/<sde|ode>/<what> ---- */

struct few { int j; char kind, shift[32], mode[8], what[16]; };

static float *sibling(struct sched_case *c, const struct few *f, const char *what, const struct reel_st_entry **e)
{
    char key[128];

    snprintf(key, sizeof key, "case%d/%c(%s)/%s/%s", f->j, f->kind, f->shift, f->mode, what);
    return golden_bytes(c->st, key, e);
}

/* The list itself is not in the file: its timesteps are integers (taken as they are) or entries of the
 * table (warped), so each is asked for again and must come out as it is. */
static void check_timesteps(struct sched_case *c, const struct reel_st_entry *e, const struct reel_sched *tab)
{
    int64_t n = golden_count(e), step[64];
    float *t = golden_bytes(c->st, e->name, NULL), got[64], sigma[64];
    int warp = 0;

    for (int64_t k = 0; k < n && n <= 64; k++) warp |= t[k] != floorf(t[k]);
    for (int64_t k = 0; k < n && n <= 64; k++) step[k] = warp ? REEL_SCHED_N - reel_sched_index(tab, t[k]) : (int64_t)t[k];
    if (n <= 64) reel_few_steps(got, sigma, tab, step, (int)n, warp);
    if (n <= 64) golden_equal(c->g, e->name, got, t, sizeof *got, n);
    else unknown(c, e);
    free(t);
}

static void check_sigmas(struct sched_case *c, const struct reel_st_entry *e, const struct reel_sched *tab, const struct few *f)
{
    const struct reel_st_entry *te;
    int64_t n = golden_count(e);
    float *t = sibling(c, f, "timestep", &te), *got = malloc((size_t)(n + 1) * sizeof *got);

    for (int64_t k = 0; t && golden_count(te) == n && k < n; k++) got[k] = reel_sched_sigma(tab, t[k]);
    if (t && golden_count(te) == n) check_f32(c, e, got, n);
    else unknown(c, e);
    free(t), free(got);
}

static void few_entry(struct sched_case *c, const struct reel_st_entry *e)
{
    struct reel_sched tab;
    struct few f;

    if (!strcmp(e->name, "x") || !strncmp(e->name, "noise", 5)) return; /* given */
    if (sscanf(e->name, "case%d/%c(%31[0-9.])/%7[a-z]/%15[a-z0-9]", &f.j, &f.kind, f.shift, f.mode, f.what) != 5) {
        unknown(c, e);
        return;
    }
    make_table(&tab, f.kind, f.shift);
    if (!strcmp(f.what, "timestep")) check_timesteps(c, e, &tab);
    else if (!strcmp(f.what, "sigma")) check_sigmas(c, e, &tab, &f);
    else if (!golden_few_step(c->g, c->st, e)) unknown(c, e);
}

static void sampler_entry(struct sched_case *c, const struct reel_st_entry *e)
{
    if (strcmp(e->name, "x") != 0 && !golden_sampler(c->g, c->st, e)) unknown(c, e);
}

int golden_schedulers(struct golden *g, const char *dir)
{
    struct sched_case c = { .g = g };
    json_t *settings = golden_json(dir, "lr.json");
    reel_err e;

    c.settings = settings;
    e = each_entry(&c, dir, "tables.safetensors", table_entry);
    if (!e) e = each_entry(&c, dir, "lr.safetensors", rate_entry);
    if (!e) e = each_entry(&c, dir, "few_step.safetensors", few_entry);
    if (!e) e = each_entry(&c, dir, "samplers.safetensors", sampler_entry);
    json_decref(settings);
    return e != REEL_OK;
}
