/* Whole training runs of a golden folder: losses, norms, rates, gradients, intermediates and final
 * weights against expect.safetensors, within the folder's tolerances. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "data/set.h"
#include "golden.h"
#include "tensor/safetensors.h"
#include "train/run.h"

struct pool { char group[64]; double diff2, want2; };

struct method_case {
    struct golden *g;
    const char *dir;
    char tmp[256], tol[4200];
    struct reel_st *expect;
    struct reel_run *run;
    struct pool pool[16];
    int n_pool;
    double *series; /* [n_series][steps] */
    char (*series_name)[96];
    int n_series, failed_setup;
    long steps;
};

#define MAX_SERIES 32

static const char *group_of(const char *key, char *buf, size_t size)
{
    const char *slash = strchr(key, '/');
    size_t head = slash ? (size_t)(slash - key) : strlen(key);

    if (!strncmp(key, "loss/", 5) || !strncmp(key, "grad_norm/", 10) || !strncmp(key, "lr/", 3) ||
        !strncmp(key, "ema/", 4))
        snprintf(buf, size, "%.*s", (int)head, key);
    else if (!strncmp(key, "grad/", 5) || !strncmp(key, "weight/", 7))
        snprintf(buf, size, "%.*s", (int)(strcspn(slash + 1, "/") + head + 1), key);
    else
        snprintf(buf, size, "intermediates");
    return buf;
}

static void pool_add(struct method_case *c, const char *group, double diff2, double want2)
{
    int i = 0;

    while (i < c->n_pool && strcmp(c->pool[i].group, group) != 0) i++;
    if (i == 16) return;
    if (i == c->n_pool) snprintf(c->pool[c->n_pool++].group, sizeof c->pool[0].group, "%s", group);
    c->pool[i].diff2 += diff2;
    c->pool[i].want2 += want2;
}

/* A tensor of which each rank compared its part. Collective(world). */
static void report(struct method_case *c, const char *key, struct golden_diff d, int counts)
{
    double v[2] = { counts ? d.diff2 : 0, counts ? d.want2 : 0 }, mx = d.max_abs, min, avg, max;
    char group[64];

    reel_comm_sum(c->g->world, v, 2);
    reel_comm_minavgmax(c->g->world, &mx, 1, &min, &avg, &max);
    group_of(key, group, sizeof group);
    golden_line(c->g, key, max, sqrt(v[0]) / fmax(sqrt(v[1]), 1e-30),
                golden_json_number(c->tol, group, "each", NULL, 0));
    pool_add(c, group, v[0], v[1]);
}

/* The rows of an expected f32 tensor, malloc'ed; NULL if it is not there. */
static float *expected(struct method_case *c, const char *key, int64_t row0, int64_t rows, int64_t *n)
{
    const struct reel_st_entry *e = reel_st_find(c->expect, key);
    int64_t per = 1;
    float *w;

    if (!e) return NULL;
    for (int i = 1; i < e->nd; i++) per *= e->n[i];
    *n = rows * per;
    w = malloc((size_t)(*n + 1) * sizeof *w);
    if (reel_st_read_f32(c->expect, e, row0, rows, w) != REEL_OK) {
        reel_err_print(reel_errrec());
        free(w);
        return NULL;
    }
    return w;
}

/* Intermediates come as [B,T,C,H,W] here, expected as [B,C,T,H,W]. */
static void swap_ct(float *dst, const float *src, const int64_t n[5])
{
    int64_t hw = n[3] * n[4];

    for (int64_t b = 0; b < n[0]; b++)
        for (int64_t t = 0; t < n[1]; t++)
            for (int64_t ch = 0; ch < n[2]; ch++)
                memcpy(dst + ((b * n[2] + ch) * n[1] + t) * hw, src + ((b * n[1] + t) * n[2] + ch) * hw,
                       (size_t)hw * sizeof *dst);
}

static void on_note(void *ctx, const char *name, const struct reel_step *st, const struct reel_batch *b,
                    reel_tensor t)
{
    struct method_case *c = ctx;
    struct golden_diff d = { 0 };
    char key[160];
    int64_t n;
    float *want, *got, *turned;

    snprintf(key, sizeof key, "%s:%ld:%d", name, st->step, st->round);
    want = expected(c, key, b->b0, t.n[0], &n);
    if (!want) return; /* the same answer on every rank */
    got = malloc(reel_bytes(t));
    turned = malloc(reel_bytes(t));
    reel_get(&c->run->s, got, t);
    swap_ct(turned, got, t.n);
    golden_diff(&d, turned, want, n);
    report(c, key, d, 1);
    free(want);
    free(got);
    free(turned);
}

static void compare_shards(struct method_case *c, const char *what, enum reel_role role, long step, int grad)
{
    struct reel_model *m = &c->run->role[role];
    const struct reel_params_cfg *pc = reel_params_cfg(m->ps);

    for (int i = 0; i < pc->n; i++) {
        struct reel_shard s = reel_param_shard(m->ps, i);
        struct golden_diff d = { 0 };
        char key[256];
        int64_t n = 0;
        float *want, *got;
        snprintf(key, sizeof key, "%s/%s/%s:%ld", what, pc->role, pc->def[i].name, step);
        if (!reel_st_find(c->expect, key)) continue;
        want = expected(c, key, s.row0, s.rows, &n);
        got = malloc((size_t)(n + 1) * sizeof *got);
        if (s.rows) reel_get(&c->run->s, got, grad ? s.g : s.w);
        golden_diff(&d, got, want, n);
        report(c, key, d, c->run->mesh.replicate.rank == 0);
        free(want);
        free(got);
    }
}

static void put_series(struct method_case *c, const char *name, long step, double v)
{
    int i = 0;

    while (i < c->n_series && strcmp(c->series_name[i], name) != 0) i++;
    if (i == MAX_SERIES) return;
    if (i == c->n_series) {
        snprintf(c->series_name[c->n_series++], 96, "%s", name);
        for (long k = 0; k < c->steps; k++) c->series[i * c->steps + k] = NAN;
    }
    c->series[i * c->steps + step - 1] = v;
}

static void report_series(struct method_case *c, int i)
{
    const double *got = c->series + i * c->steps;
    const struct reel_st_entry *e = reel_st_find(c->expect, c->series_name[i]);
    double *want = malloc((size_t)c->steps * sizeof *want), worst = 0, abs = 0, d2 = 0, w2 = 0;
    char group[64];

    if (!strncmp(c->series_name[i], "loss/", 5)) golden_hash(c->g, got, (size_t)c->steps * sizeof *got);
    if (e && reel_st_read(c->expect, e, 0, (size_t)c->steps * sizeof *want, want) == REEL_OK) {
        for (long k = 0; k < c->steps; k++) {
            double diff = isnan(got[k]) && isnan(want[k]) ? 0 : fabs(got[k] - want[k]);
            double rel = want[k] != 0 ? diff / fabs(want[k]) : diff;
            if (!(rel <= worst)) worst = rel;
            if (!(diff <= abs)) abs = diff;
            if (isnan(want[k])) continue;
            d2 += diff * diff;
            w2 += want[k] * want[k];
        }
        group_of(c->series_name[i], group, sizeof group);
        golden_line(c->g, c->series_name[i], abs, worst, golden_json_number(c->tol, group, "each", NULL, 0));
        pool_add(c, group, d2, w2);
    }
    free(want);
}
