/* Whole training runs of a golden folder: losses, norms, rates, gradients, intermediates and final
 * weights against expect.safetensors, within the folder's tolerances. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "callbacks/ema.h"
#include "data/set.h"
#include "device.h"
#include "golden.h"
#include "tensor/safetensors.h"
#include "train/run.h"
#include "train/schema.h"

struct pool { char group[64]; double diff2, want2; };

struct method_case {
    struct golden *g;
    const char *dir;
    char tmp[256], tol[4200];
    struct reel_st *expect;
    char *seen; /* entries of expect that were compared */
    struct reel_run *run;
    struct reel_all_kinds kinds;
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

/* An expected entry, which counts as compared from here on; NULL if it is not there. */
static const struct reel_st_entry *take(struct method_case *c, const char *key)
{
    const struct reel_st_entry *e = reel_st_find(c->expect, key);

    for (int i = 0; e && i < reel_st_count(c->expect); i++) c->seen[i] |= reel_st_entry(c->expect, i) == e;
    return e;
}

/* Everything that is expected and that the run never had. */
static void report_unseen(struct method_case *c)
{
    char name[300];

    for (int i = 0; i < reel_st_count(c->expect); i++) {
        snprintf(name, sizeof name, "%s, which the run has not", reel_st_entry(c->expect, i)->name);
        if (!c->seen[i]) golden_true(c->g, name, 0);
    }
}

/* A shard's part of an expected f32 tensor, malloc'ed; NULL if it is not there. */
static float *expected(struct method_case *c, const char *key, struct reel_shard s, int64_t *n)
{
    const struct reel_st_entry *e = take(c, key);
    int64_t per = 1;
    float *w;

    if (!e) return NULL;
    for (int i = 1; i < e->nd; i++) per *= i == 1 && s.cols ? s.cols : e->n[i];
    *n = s.rows * per;
    w = malloc((size_t)(*n + 1) * sizeof *w);
    if (reel_st_read_box_f32(c->expect, e, s.row0, s.rows, s.col0, s.cols, w) != REEL_OK) {
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
    want = expected(c, key, (struct reel_shard){ .row0 = b->b0, .rows = t.n[0] }, &n);
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

enum shards { WEIGHTS, GRADIENTS, AVERAGES };

static reel_tensor rows_of(struct method_case *c, enum reel_role role, int i, enum shards which)
{
    struct reel_shard s = reel_param_shard(c->run->role[role].ps, i);

    if (which == AVERAGES) return reel_ema_shadow(reel_ema_of(c->run->cb, c->run->n_cb), i);
    return which == GRADIENTS ? s.g : s.w;
}

static void shard_key(char *key, size_t size, enum shards which, const struct reel_params_cfg *pc, int i, long step)
{
    if (which == AVERAGES) snprintf(key, size, "ema/%s:%ld", pc->def[i].name, step);
    else snprintf(key, size, "%s/%s/%s:%ld", which == GRADIENTS ? "grad" : "weight", pc->role, pc->def[i].name, step);
}

/* Of equal parts on several ranks, one counts. */
static int counts(const struct method_case *c, const struct reel_params_cfg *pc, int i)
{
    const struct reel_mesh *m = &c->run->mesh;

    return m->replicate.rank == 0 && (m->tp.rank == 0 || pc->def[i].split != REEL_SPLIT_NONE);
}

static void compare_shards(struct method_case *c, enum shards which, enum reel_role role, long step)
{
    struct reel_model *m = &c->run->role[role];
    const struct reel_params_cfg *pc = reel_params_cfg(m->ps);

    for (int i = 0; i < pc->n; i++) {
        struct reel_shard s = reel_param_shard(m->ps, i);
        struct golden_diff d = { 0 };
        char key[256];
        int64_t n = 0;
        float *want, *got;
        shard_key(key, sizeof key, which, pc, i, step);
        if (!reel_st_find(c->expect, key)) continue;
        want = expected(c, key, s, &n);
        got = malloc((size_t)(n + 1) * sizeof *got);
        if (s.rows && rows_of(c, role, i, which).nd) reel_get(&c->run->s, got, rows_of(c, role, i, which));
        golden_diff(&d, got, want, n);
        report(c, key, d, counts(c, pc, i));
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
        for (long k = 0; k < c->steps; k++) c->series[i * c->steps + k] = (double)NAN;
    }
    c->series[i * c->steps + step - 1] = v;
}

static void report_series(struct method_case *c, int i)
{
    const double *got = c->series + i * c->steps;
    const struct reel_st_entry *e = take(c, c->series_name[i]);
    double *want = malloc((size_t)c->steps * sizeof *want), worst = 0, abs = 0, d2 = 0, w2 = 0;
    char group[64];

    if (!strncmp(c->series_name[i], "loss/", 5)) golden_hash(c->g, got, (size_t)c->steps * sizeof *got);
    if (e && reel_st_read(c->expect, e, 0, (size_t)c->steps * sizeof *want, want) == REEL_OK) {
        for (long k = 0; k < c->steps; k++) {
            double diff = isnan(got[k]) && isnan(want[k]) ? 0 : fabs(got[k] - want[k]);
            double rel = want[k] != 0 && !isnan(want[k]) ? diff / fabs(want[k]) : diff;
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

/* ---- the run ------------------------------------------------------------------------------- */

#define MAX_OVERRIDES 64
struct overrides {
    const char *v[MAX_OVERRIDES];
    int n;
    char text[MAX_OVERRIDES][512];
    int n_text;
};

__attribute__((format(printf, 3, 4))) static void override(struct overrides *o, const char *key, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(o->text[o->n_text], sizeof o->text[0], fmt, ap);
    va_end(ap);
    o->v[o->n++] = key;
    o->v[o->n++] = o->text[o->n_text++];
}

static int given(struct golden *g, const char *key)
{
    size_t n = strlen(key);

    for (int i = 0; i < g->n_arg; i++)
        if (!strncmp(g->arg[i], key, n) && (g->arg[i][n] == 0 || g->arg[i][n] == '=')) return i + 1;
    return 0;
}

/* The number behind a key of the command line, or what the folder says. */
static int64_t number(struct golden *g, const char *key, int64_t folder)
{
    int at = given(g, key);
    const char *eq = at ? strchr(g->arg[at - 1], '=') : NULL;

    if (eq) return atoi(eq + 1);
    return at && at < g->n_arg ? atoi(g->arg[at]) : folder;
}

/* The folder's run on as many ranks as there are: the same global micro-batch over more groups,
 * sharded over all of them, unless the command line says otherwise. */
static void fit_layout(struct golden *g, const struct reel_config *cfg, struct overrides *o)
{
    const struct reel_cfg_distributed *d = &cfg->training.distributed;
    int64_t groups = d->replicate * d->shard / d->sp_size, global = groups * cfg->training.data.train_batch_size;
    int64_t tp = number(g, "--training.distributed.tp_size", d->tp_size), sp = number(g, "--training.distributed.sp_size", d->sp_size);
    int n = g->world->size;
    int64_t now = n / tp / sp;

    if (n == d->num_gpus && now == groups) return;
    if (!given(g, "--training.distributed.num_gpus")) override(o, "--training.distributed.num_gpus", "%d", n);
    if (!given(g, "--training.distributed.hsdp_shard_dim") && !given(g, "--training.distributed.hsdp_replicate_dim")) {
        override(o, "--training.distributed.hsdp_replicate_dim", "1");
        override(o, "--training.distributed.hsdp_shard_dim", "%ld", (long)(n / tp));
    }
    if (!given(g, "--training.data.train_batch_size") && now && global % now == 0)
        override(o, "--training.data.train_batch_size", "%ld", (long)(global / now));
}

static reel_err parse(struct reel_all_kinds *kinds, const char *text, size_t len, const char *name,
                      const struct overrides *o, struct reel_config **cfg)
{
    struct reel_config_src src = { .text = text, .len = len, .name = name, .overrides = o->v, .n_overrides = o->n };

    return reel_config_parse(&src, reel_schema_init(kinds), cfg);
}

/* Paths of the folder, made absolute; the set and the output live in the case's temporary folder. */
static void fit_paths(struct method_case *c, const struct reel_config *cfg, struct overrides *o, char keys[][96])
{
    for (int i = 0; i < cfg->n_roles; i++) {
        snprintf(keys[i], 96, "--models.%s.init_from", cfg->role[i].name);
        if (cfg->role[i].init_from[0] != '/') override(o, keys[i], "%s/%s", c->dir, cfg->role[i].init_from);
    }
    override(o, "--training.data.data_path", "%s/data.h5", c->tmp);
    if (!strcmp(cfg->method.kind->name, "kd")) override(o, "--method.teacher_path_cache", "%s/trajectories", c->tmp);
    override(o, "--training.checkpoint.output_dir", "%s/out", c->tmp);
}

/* On a GPU, still in the precision in which the folder was made. */
static void fit_device(struct golden *g, const struct reel_config *cfg, struct overrides *o)
{
    if (!test_on_cuda()) return;
    override(o, "--training.device", "cuda");
    if (cfg->training.compute_dtype == REEL_COMPUTE_AUTO && !given(g, "--training.compute_dtype"))
        override(o, "--training.compute_dtype", "f32");
}

static reel_err configure(struct method_case *c, struct reel_config **cfg)
{
    static char keys[REEL_CFG_MAX_ROLES][96];
    struct overrides *o = calloc(1, sizeof *o);
    struct reel_config *first;
    char path[4200], *text;
    size_t len;
    reel_err e;

    snprintf(path, sizeof path, "%s/config.yaml", c->dir);
    for (int i = 0; i < c->g->n_arg && o->n < MAX_OVERRIDES - 24; i++) o->v[o->n++] = c->g->arg[i];
    REEL_TRY(reel_file_read(path, &text, &len));
    e = parse(&c->kinds, text, len, path, &(struct overrides){ 0 }, &first);
    if (e == REEL_OK) {
        fit_layout(c->g, first, o);
        fit_paths(c, first, o, keys);
        fit_device(c->g, first, o);
        reel_config_free(first);
        e = parse(&c->kinds, text, len, path, o, cfg);
    }
    free(text);
    free(o);
    return e;
}

static reel_err prepare(struct method_case *c)
{
    char path[4200], set[300];

    if (c->g->world->rank == 0) {
        const char *t = getenv("TMPDIR");
        snprintf(c->tmp, sizeof c->tmp, "%s/golden.XXXXXX", t ? t : "/tmp");
        if (!mkdtemp(c->tmp)) c->tmp[0] = 0;
    }
    reel_comm_bcast(c->g->world, c->tmp, sizeof c->tmp, 0);
    snprintf(c->tol, sizeof c->tol, "%s/tolerances.json", c->dir);
    snprintf(path, sizeof path, "%s/expect.safetensors", c->dir);
    REEL_TRY(reel_agree(c->g->world, reel_st_open(&c->expect, path)));
    c->seen = calloc((size_t)reel_st_count(c->expect) + 1, 1);
    snprintf(path, sizeof path, "%s/data.safetensors", c->dir);
    snprintf(set, sizeof set, "%s/data.h5", c->tmp);
    return reel_set_from_safetensors(path, set, c->g->world);
}

static void record(struct method_case *c, const struct reel_step *st)
{
    char name[96];

    for (int i = 0; i < st->n_metric; i++) {
        snprintf(name, sizeof name, "loss/%s", st->metric[i].name);
        put_series(c, name, st->step, st->metric[i].value);
    }
    for (int i = 0; i < st->n_scalar; i++)
        if (!strcmp(st->scalar[i].name, "grad_norm/student") || !strcmp(st->scalar[i].name, "grad_norm/critic"))
            put_series(c, st->scalar[i].name, st->step, st->scalar[i].value);
        else if (!strcmp(st->scalar[i].name, "update_student"))
            put_series(c, "loss/update_student", st->step, st->scalar[i].value);
    for (int i = 0; i < REEL_NROLE; i++) {
        if (!(c->run->roles & REEL_ROLE(i)) || !c->run->role[i].trainable) continue;
        snprintf(name, sizeof name, "lr/%s", c->run->role[i].role);
        put_series(c, name, st->step, reel_lr_at(&c->run->optim[i].lr, c->run->optim[i].k - !!(st->trained & REEL_ROLE(i))));
    }
}

static void on_grads(void *ctx, const struct reel_step *st)
{
    struct method_case *c = ctx;

    for (int i = 0; i < REEL_NROLE; i++)
        if (st->trained & REEL_ROLE(i)) compare_shards(c, GRADIENTS, (enum reel_role)i, st->step);
}

/* One kind of shards in the order of the table, whole, into the hash: bits of one holder each, added. Collective(world). */
static void hash_shards(struct method_case *c, enum reel_role role, enum shards which)
{
    struct reel_params *ps = c->run->role[role].ps;
    const struct reel_params_cfg *pc = reel_params_cfg(ps);

    for (int i = 0; i < pc->n; i++) {
        reel_tensor mine = rows_of(c, role, i, which);
        int64_t all = reel_numel(reel_view(NULL, REEL_F32, pc->def[i].n, pc->def[i].nd)), n = mine.nd ? reel_numel(mine) : 0;
        int64_t *bits = calloc((size_t)all, sizeof *bits);
        uint32_t *w = calloc((size_t)(all + n), sizeof *w);
        if (n) reel_get(&c->run->s, w, mine);
        for (int64_t e = 0; e < n && counts(c, pc, i); e++) bits[reel_shard_element(ps, i, e)] = w[e];
        reel_comm_sum_i64(c->g->world, bits, (int)all);
        for (int64_t e = 0; e < all; e++) w[e] = (uint32_t)bits[e];
        if (c->g->world->rank == 0) golden_hash(c->g, w, (size_t)all * sizeof *w);
        free(bits);
        free(w);
    }
}

/* What the run leaves: weights of trained roles, and the student's average. Collective(world). */
static void hash_final(struct method_case *c)
{
    for (int r = 0; r < REEL_NROLE; r++)
        if (c->run->roles & REEL_ROLE(r) && c->run->role[r].trainable) hash_shards(c, (enum reel_role)r, WEIGHTS);
    if (reel_ema_of(c->run->cb, c->run->n_cb)) hash_shards(c, REEL_STUDENT, AVERAGES);
}

static void report_pools(struct method_case *c)
{
    for (int i = 0; i < c->n_pool; i++) {
        char name[96];
        snprintf(name, sizeof name, "%s (all as one vector)", c->pool[i].group);
        golden_line(c->g, name, sqrt(c->pool[i].diff2), sqrt(c->pool[i].diff2) / fmax(sqrt(c->pool[i].want2), 1e-30),
                    golden_json_number(c->tol, c->pool[i].group, "pooled", NULL, 0));
    }
}

static reel_err train(struct method_case *c, const struct reel_config *cfg)
{
    char replay[4200];
    struct reel_run_flags flags = { .quiet = 1, .replay_strict = 1, .env = c->g->env };

    snprintf(replay, sizeof replay, "%s/draws.safetensors", c->dir);
    if (!c->g->generate && access(replay, R_OK) == 0) flags.replay = replay;
    REEL_TRY(reel_run_open(c->run, cfg, &flags, c->g->world));
    c->run->method.note = on_note;
    c->run->method.note_ctx = c;
    c->run->on_grads = on_grads;
    c->run->on_grads_ctx = c;
    c->steps = c->run->last;
    c->series = calloc((size_t)(MAX_SERIES * c->steps), sizeof *c->series);
    c->series_name = calloc(MAX_SERIES, sizeof *c->series_name);
    reel_run_first(c->run);
    for (long step = 1; step <= c->steps; step++) {
        struct reel_step st;
        REEL_TRY(reel_run_step(c->run, step, &st));
        record(c, &st);
    }
    for (int i = 0; i < c->n_series; i++) report_series(c, i);
    for (int i = 0; i < REEL_NROLE; i++)
        if (c->run->roles & REEL_ROLE(i)) compare_shards(c, WEIGHTS, (enum reel_role)i, c->steps);
    if (reel_ema_of(c->run->cb, c->run->n_cb)) compare_shards(c, AVERAGES, REEL_STUDENT, c->steps);
    report_pools(c);
    report_unseen(c);
    hash_final(c);
    return reel_run_close(c->run);
}

int golden_method(struct golden *g, const char *dir)
{
    static struct method_case c; /* large */
    struct reel_config *cfg = NULL;
    reel_err e;
    int later;

    c = (struct method_case){ .g = g, .dir = dir, .run = calloc(1, sizeof *c.run) };
    e = prepare(&c);
    if (e == REEL_OK) e = configure(&c, &cfg);
    if (e == REEL_OK) e = train(&c, cfg);
    if (e && g->world->rank == 0) reel_err_print(reel_errrec());
    later = e && strstr(reel_errrec()->msg, "in this version");
    reel_err_clear();
    reel_st_close(c.expect);
    reel_config_free(cfg);
    if (g->world->rank == 0 && c.tmp[0]) reel_rmtree(c.tmp);
    free(c.seen);
    free(c.series);
    free(c.series_name);
    free(c.run);
    return later ? GOLDEN_LATER : e != REEL_OK;
}
