/* Golden kind adamw: runs of AdamW with clipping by the exact norm, rates of a schedule, averages. The
 * parameters are sharded over all ranks. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/exact.h"
#include "be/ops.h"
#include "device.h"
#include "golden.h"
#include "optim/optim.h"

#define TOL_RUN  4e-6   /* of the largest element, over a whole run */
#define TOL_STEP 1.2e-7 /* after one step: a unit in the last place */
#define MAX_PARAMS 64
#define MAX_EMA    8

struct adamw_case {
    struct golden *g;
    const char *run;         /* "0" */
    const json_t *set, *emas; /* this run's settings; the averages of all runs */
    struct reel_st *st;
    struct reel_mesh mesh;
    struct reel_backend *be;
    struct reel_stream s;
    struct reel_arena params, optim, work, mem;
    struct reel_param_def def[MAX_PARAMS];
    int n;
    struct reel_model m;
    reel_tensor acc, ema[MAX_EMA][MAX_PARAMS];
    int64_t steps;
};

/* The parameters are the tensors theta0/<name>. */
static reel_err find_params(struct adamw_case *c)
{
    for (int i = 0; i < reel_st_count(c->st); i++) {
        const struct reel_st_entry *e = reel_st_entry(c->st, i);
        struct reel_param_def *d = &c->def[c->n];
        if (strncmp(e->name, "theta0/", 7) != 0) continue;
        if (c->n == MAX_PARAMS || e->nd < 1 || e->nd > REEL_MAXDIM) return REEL_FAIL(REEL_EDATA, "%s: not a parameter", e->name);
        snprintf(d->name, sizeof d->name, "%s", e->name + 7);
        d->nd = e->nd;
        memcpy(d->n, e->n, (size_t)e->nd * sizeof *e->n);
        c->n++;
    }
    return c->n ? REEL_OK : REEL_FAIL(REEL_EDATA, "no tensor theta0/<parameter>");
}

static reel_err layout(struct adamw_case *c, int planning)
{
    struct reel_params_cfg cfg = { .role = "student", .def = c->def, .n = c->n, .n_units = 1, .compute = REEL_F32, .trainable = 1 };

    reel_stream_init(&c->s, c->be, planning, &c->mem);
    REEL_TRY(reel_params_open(&c->m.ps, &cfg, &c->mesh, &c->s, &c->params, &c->optim, &c->work));
    c->acc = reel_new(&c->mem, REEL_I64, REEL_DIMS(REEL_EXACT_LIMBS));
    for (int k = 0; k < MAX_EMA; k++)
        for (int i = 0; i < c->n; i++) c->ema[k][i] = reel_new(&c->mem, REEL_F32, reel_param_shard(c->m.ps, i).w.n, c->def[i].nd);
    return REEL_OK;
}

static reel_err open_case(struct adamw_case *c)
{
    struct reel_arena *a[] = { &c->params, &c->optim, &c->work, &c->mem };
    int size = c->g->world->size;
    struct reel_mesh_dims d = { size, 1, size, 1, 1 };

    c->m.role = "student", c->m.s = &c->s, c->m.trainable = 1, c->m.gscale = 1, c->m.def = c->def, c->m.n_def = c->n, c->m.n_units = 1;
    REEL_TRY(reel_mesh_open(&c->mesh, c->g->world, &d));
    REEL_TRY(test_backend(&c->be, 1));
    REEL_TRY(reel_mesh_attach(&c->mesh, c->be));
    for (int i = 0; i < 4; i++) a[i]->name = "adamw";
    REEL_TRY(layout(c, 1));
    reel_params_close(c->m.ps);
    for (int i = 0; i < 4; i++) {
        size_t peak = a[i]->peak + (size_t)(a[i] == &c->mem ? 1 << 20 : 0);
        *a[i] = (struct reel_arena){ 0 };
        REEL_TRY(reel_arena_open(a[i], c->be, "adamw", peak));
    }
    return layout(c, 0);
}

static void close_case(struct adamw_case *c)
{
    struct reel_arena *a[] = { &c->params, &c->optim, &c->work, &c->mem };

    reel_params_close(c->m.ps);
    for (int i = 0; i < 4; i++) reel_arena_close(a[i], c->be);
    reel_mesh_detach(&c->mesh, c->be);
    reel_backend_close(c->be);
    reel_mesh_close(&c->mesh);
}

/* Rows of this rank out of a tensor [rows, ...], or of its step k if it is [steps, rows, ...]. */
static void read_rows(struct adamw_case *c, const char *key, int i, int64_t k, double *out)
{
    struct reel_shard sh = reel_param_shard(c->m.ps, i);
    const struct reel_st_entry *e;
    double *all = golden_doubles(c->st, key, &e);
    int64_t whole = 1, n = reel_numel(sh.w), per = sh.rows ? n / sh.rows : 0;

    for (int d = 0; d < c->def[i].nd; d++) whole *= c->def[i].n[d];
    for (int64_t j = 0; j < n; j++) {
        int64_t at = k * whole + sh.row0 * per + j;
        out[j] = all && at < golden_count(e) ? all[at] : (double)NAN; /* too short: no comparison holds */
    }
    free(all);
}

static void put_rows(struct adamw_case *c, const char *prefix, int i, int64_t k, reel_tensor to)
{
    int64_t n = reel_numel(to);
    double *d = malloc((size_t)(n + 1) * sizeof *d);
    float *f = malloc((size_t)(n + 1) * sizeof *f);
    char key[200];

    snprintf(key, sizeof key, "%s/%s", prefix, c->def[i].name);
    read_rows(c, key, i, k, d);
    for (int64_t j = 0; j < n; j++) f[j] = (float)d[j];
    if (n) reel_put(&c->s, to, f);
    reel_sync(&c->s);
    free(d), free(f);
}

static void diff_rows(struct adamw_case *c, const char *key, int i, int64_t k, reel_tensor have, struct golden_diff *sum)
{
    int64_t n = reel_numel(have);
    double *want = malloc((size_t)(n + 1) * sizeof *want);
    float *got = malloc((size_t)(n + 1) * sizeof *got);

    read_rows(c, key, i, k, want);
    if (n) reel_get(&c->s, got, have);
    golden_diff64(sum, got, want, n);
    free(want), free(got);
}

static double clip(struct adamw_case *c)
{
    int64_t limbs[REEL_EXACT_LIMBS] = { 0 };
    double norm, limit = golden_get(c->set, "max_grad_norm", 0);

    reel_put(&c->s, c->acc, limbs);
    for (int i = 0; i < c->n; i++) reel_grad_squares(c->m.ps, i, c->acc);
    reel_get(&c->s, limbs, c->acc);
    reel_comm_sum_i64(c->g->world, limbs, REEL_EXACT_LIMBS);
    norm = sqrt(reel_exact_value(limbs));
    c->m.gscale = limit > 0 ? (float)fmin(1, limit / (norm + 1e-6)) : 1;
    return norm;
}

/* The average number k of the settings: from its first step on, d shadow + (1 - d) weights. */
static void average(struct adamw_case *c, const json_t *ema, const char *name, int k, int64_t step, struct golden_diff *sum)
{
    double d = golden_get(ema, "decay", (double)NAN);
    int64_t first = (int64_t)golden_get(ema, "start_iter", 0);
    char key[200];

    if (first < 1) first = 1;
    for (int i = 0; i < c->n; i++) {
        reel_tensor w = reel_param_shard(c->m.ps, i).w, shadow = c->ema[k][i];
        if (reel_numel(w) && step == first) reel_copy(&c->s, shadow, w);
        if (reel_numel(w) && step > first) reel_lerp_to(&c->s, shadow, w, 1 - d);
        snprintf(key, sizeof key, "run%s/ema%s/%s", c->run, name, c->def[i].name);
        diff_rows(c, key, i, step - 1, shadow, sum);
    }
}

/* All averages of this run; returns how many. */
static int averages(struct adamw_case *c, int64_t step, struct golden_diff *sum)
{
    const char *name;
    json_t *ema;
    int k = 0;

    json_object_foreach((json_t *)c->emas, name, ema) {
        if ((int)golden_get(ema, "run", -1) != atoi(c->run) || k == MAX_EMA) continue;
        average(c, ema, name, k, step, &sum[k]);
        k++;
    }
    return k;
}

static void report(struct adamw_case *c, struct golden_diff *theta, struct golden_diff *first)
{
    char key[200];

    for (int i = 0; i < c->n; i++) {
        struct reel_shard sh = reel_param_shard(c->m.ps, i);
        struct golden_diff m = { 0 }, v = { 0 };
        snprintf(key, sizeof key, "run%s/theta/%s, first step", c->run, c->def[i].name);
        golden_check_max(c->g, key, first[i], TOL_STEP);
        snprintf(key, sizeof key, "run%s/theta/%s", c->run, c->def[i].name);
        golden_check_max(c->g, key, theta[i], TOL_RUN);
        snprintf(key, sizeof key, "run%s/m/%s", c->run, c->def[i].name);
        diff_rows(c, key, i, 0, sh.m, &m);
        golden_check_max(c->g, key, m, TOL_RUN);
        snprintf(key, sizeof key, "run%s/v/%s", c->run, c->def[i].name);
        diff_rows(c, key, i, 0, sh.v, &v);
        golden_check_max(c->g, key, v, TOL_RUN);
    }
}

static void check_series(struct adamw_case *c, const char *what, const double *got)
{
    const struct reel_st_entry *e;
    char key[64];
    double *want;

    snprintf(key, sizeof key, "run%s/%s", c->run, what);
    want = golden_doubles(c->st, key, &e);
    if (!want || golden_count(e) != c->steps) golden_true(c->g, key, 0);
    else golden_near_rel(c->g, key, got, want, c->steps, 1e-12);
    free(want);
}

static void start(struct adamw_case *c)
{
    for (int i = 0; i < c->n; i++) {
        struct reel_shard sh = reel_param_shard(c->m.ps, i);
        put_rows(c, "theta0", i, 0, sh.w);
        for (int k = 0; k < MAX_EMA; k++)
            if (sh.rows) reel_copy(&c->s, c->ema[k][i], sh.w);
    }
}

static void run(struct adamw_case *c, struct reel_optim *o)
{
    struct golden_diff theta[MAX_PARAMS] = { 0 }, first[MAX_PARAMS] = { 0 }, ema[MAX_EMA] = { 0 };
    double *norm = calloc((size_t)c->steps, sizeof *norm), *lr = calloc((size_t)c->steps, sizeof *lr);
    char key[200];
    int n_ema = 0;

    start(c);
    for (int64_t k = 0; k < c->steps; k++) {
        for (int i = 0; i < c->n; i++) put_rows(c, "grad", i, k, reel_param_shard(c->m.ps, i).g);
        norm[k] = clip(c);
        lr[k] = reel_lr_at(&o->lr, o->k);
        reel_optim_step(o, &c->s);
        for (int i = 0; i < c->n; i++) {
            snprintf(key, sizeof key, "run%s/theta/%s", c->run, c->def[i].name);
            diff_rows(c, key, i, k, reel_param_shard(c->m.ps, i).w, &theta[i]);
            if (k == 0) first[i] = theta[i];
        }
        n_ema = averages(c, k + 1, ema);
    }
    check_series(c, "norm", norm);
    check_series(c, "lr", lr);
    report(c, theta, first);
    for (int k = 0; k < n_ema; k++) {
        snprintf(key, sizeof key, "run%s, average %d of the run", c->run, k);
        golden_check_max(c->g, key, ema[k], TOL_RUN);
    }
    free(norm), free(lr);
}

static reel_err run_set(struct adamw_case *c)
{
    const json_t *s = c->set, *betas = json_object_get(s, "betas");
    const char *name = json_string_value(json_object_get(s, "lr_scheduler"));
    const struct reel_st_entry *e;
    char key[200];
    struct reel_optim o = {
        .model = &c->m,
        .lr = { .name = (enum reel_lr_name)(name ? reel_lr_find(name) : -1), .lr0 = golden_get(s, "learning_rate", (double)NAN),
                .warmup = (long)golden_get(s, "lr_warmup_steps", 0), .horizon = (long)golden_get(s, "max_train_steps", 0),
                .cycles = golden_get(s, "lr_num_cycles", 1), .power = golden_get(s, "lr_power", 1),
                .min_ratio = golden_get(s, "min_lr_ratio", 0.5) },
        .beta1 = json_number_value(json_array_get(betas, 0)), .beta2 = json_number_value(json_array_get(betas, 1)),
        .eps = golden_get(s, "eps", (double)NAN), .weight_decay = golden_get(s, "weight_decay", (double)NAN),
    };

    if (!name || reel_lr_find(name) < 0) return REEL_FAIL(REEL_EDATA, "run %s: no schedule named %s", c->run, name ? name : "at all");
    snprintf(key, sizeof key, "grad/%s", c->def[0].name);
    if (!(e = reel_st_find(c->st, key)) || e->nd < 1) return REEL_FAIL(REEL_EDATA, "no tensor %s", key);
    c->steps = e->n[0];
    REEL_TRY(open_case(c));
    run(c, &o);
    close_case(c);
    return REEL_OK;
}

int golden_adamw(struct golden *g, const char *dir)
{
    json_t *settings = golden_json(dir, "settings.json"), *set;
    struct reel_st *st = NULL;
    const char *name;
    reel_err e = golden_open(&st, dir, "adamw.safetensors");

    json_object_foreach(json_object_get(settings, "runs"), name, set) {
        struct adamw_case *c = calloc(1, sizeof *c);
        if (e) break;
        c->g = g, c->st = st, c->run = name, c->set = set, c->emas = json_object_get(settings, "ema");
        e = find_params(c);
        if (!e) e = run_set(c);
        if (e) reel_err_print(reel_errrec());
        free(c);
    }
    reel_st_close(st);
    json_decref(settings);
    return e != REEL_OK || !settings;
}
