#include "ckpt/tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckpt/names.h"

/* ---- a growing set ---- */

void reel_tree_free(struct reel_tree *t)
{
    for (int i = 0; i < t->own_t; i++) free((void *)t->set.t[i].key);
    for (int i = 0; i < t->own_o; i++) free((void *)t->set.o[i].key);
    free(t->set.t);
    free(t->set.o);
    *t = (struct reel_tree){ 0 };
}

void reel_tree_rewind(struct reel_tree *t) { t->set.n_t = t->set.n_o = 0; }

/* Room for one more element. */
static int grow(void **v, int n, int *cap, size_t size)
{
    int c = *cap ? 2 * *cap : 256;
    void *p;

    if (n < *cap) return 1;
    p = realloc(*v, (size_t)c * size);
    if (!p) return 0;
    *v = p;
    *cap = c;
    return 1;
}

/* The key of an element: what it had before the tree was rewound, if that is the same. NULL: no memory. */
static const char *name(const char *old, const char *fmt, va_list ap)
{
    char key[512];

    vsnprintf(key, sizeof key, fmt, ap);
    if (old && strcmp(old, key) == 0) return old;
    free((void *)old);
    return strdup(key);
}

reel_err reel_tree_tensor(struct reel_tree *t, const struct reel_ckpt_tensor *x, const char *key, ...)
{
    int i = t->set.n_t;
    void *v = t->set.t;
    const char *k;
    va_list ap;

    if (!grow(&v, i, &t->cap_t, sizeof *t->set.t)) return REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for its keys");
    t->set.t = v;
    va_start(ap, key);
    k = name(i < t->own_t ? t->set.t[i].key : NULL, key, ap);
    va_end(ap);
    t->set.t[i] = *x;
    t->set.t[i].key = k;
    if (i == t->own_t) t->own_t++;
    if (!k) return REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for its keys");
    t->set.n_t++;
    return REEL_OK;
}

reel_err reel_tree_object(struct reel_tree *t, struct reel_val val, int optional, const char *key, ...)
{
    int i = t->set.n_o;
    void *v = t->set.o;
    const char *k;
    va_list ap;

    if (!grow(&v, i, &t->cap_o, sizeof *t->set.o)) return REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for its keys");
    t->set.o = v;
    va_start(ap, key);
    k = name(i < t->own_o ? t->set.o[i].key : NULL, key, ap);
    va_end(ap);
    t->set.o[i] = (struct reel_ckpt_object){ .key = k, .v = val, .optional = optional };
    if (i == t->own_o) t->own_o++;
    if (!k) return REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for its keys");
    t->set.n_o++;
    return REEL_OK;
}

/* ---- the host buffer: [w..][m..][v..][step per parameter] ---- */

enum { W, M, V };

/* Frozen parameters are what the role's init_from says, and are not in checkpoints. */
static int is_saved(const struct reel_params *ps, int i) { return !reel_params_cfg(ps)->def[i].frozen; }

static int64_t shard_len(const struct reel_params *ps, int i)
{
    return is_saved(ps, i) ? reel_numel(reel_param_shard(ps, i).w) : 0;
}

static int64_t all_len(const struct reel_params *ps)
{
    int64_t n = 0;

    for (int i = 0; i < reel_params_cfg(ps)->n; i++) n += shard_len(ps, i);
    return n;
}

size_t reel_tree_bytes(const struct reel_params *ps, unsigned what)
{
    int64_t n = all_len(ps), floats = 0;

    if (what & REEL_TREE_WEIGHTS) floats += n;
    if (what & REEL_TREE_OPTIM) floats += 2 * n + reel_params_cfg(ps)->n;
    return (size_t)floats * sizeof(float);
}

static reel_tensor view_of(const struct reel_params *ps, int i, int which)
{
    struct reel_shard sh = reel_param_shard(ps, i);

    return which == W ? sh.w : which == M ? sh.m : sh.v;
}

/* Start of w, m or v of all parameters in a buffer with `what`. */
static int64_t section(const struct reel_params *ps, unsigned what, int which)
{
    int64_t first = what & REEL_TREE_WEIGHTS ? 0 : -1;

    return (first + which) * all_len(ps);
}

static int has(unsigned what, int which) { return (what & (which == W ? REEL_TREE_WEIGHTS : REEL_TREE_OPTIM)) != 0; }

static void move(const struct reel_params *ps, struct reel_stream *s, unsigned what, float *host, int to_device)
{
    for (int which = W; which <= V; which++) {
        float *p = host + section(ps, what, which);
        if (!has(what, which)) continue;
        for (int i = 0; i < reel_params_cfg(ps)->n; i++) {
            reel_tensor t = view_of(ps, i, which);
            if (!is_saved(ps, i) || !reel_numel(t)) continue;
            if (to_device) reel_put(s, t, p);
            else reel_get_start(s, p, t);
            p += reel_numel(t);
        }
    }
    reel_sync(s);
}

static float *step_slots(const struct reel_params *ps, unsigned what, void *host)
{
    return (float *)host + section(ps, what, V) + all_len(ps);
}

void reel_tree_get(const struct reel_params *ps, struct reel_stream *s, unsigned what, long k, void *host)
{
    move(ps, s, what, host, 0);
    if (!(what & REEL_TREE_OPTIM)) return;
    for (int i = 0; i < reel_params_cfg(ps)->n; i++) step_slots(ps, what, host)[i] = (float)k;
}

void reel_tree_put(const struct reel_params *ps, struct reel_stream *s, unsigned what, const void *host)
{
    move(ps, s, what, (float *)host, 1); /* read only in this direction */
}

long reel_tree_k(const struct reel_params *ps, const void *host, int *uneven)
{
    const float *step = step_slots(ps, REEL_TREE_WEIGHTS | REEL_TREE_OPTIM, (void *)host);
    float max = 0, min = 0;

    for (int i = 0, any = 0; i < reel_params_cfg(ps)->n; i++) {
        if (!is_saved(ps, i)) continue;
        if (!any || step[i] > max) max = step[i];
        if (!any || step[i] < min) min = step[i];
        any = 1;
    }
    *uneven = min < max;
    return (long)max;
}

/* ---- the tree ---- */

static struct reel_ckpt_tensor part(const struct reel_params *ps, int i, float *host)
{
    const struct reel_param_def *d = &reel_params_cfg(ps)->def[i];
    struct reel_shard sh = reel_param_shard(ps, i);
    struct reel_ckpt_tensor t = { .dt = REEL_F32, .nd = d->nd, .row0 = sh.row0, .rows = sh.rows, .col0 = sh.col0,
                                  .cols = sh.cols, .host = host };

    memcpy(t.n, d->n, sizeof t.n);
    return t;
}

reel_err reel_tree_shadow(struct reel_tree *t, const struct reel_params *ps, const char *prefix, void *host, int optional)
{
    const struct reel_params_cfg *cfg = reel_params_cfg(ps);
    float *p = host;

    for (int i = 0; i < cfg->n; i++) {
        struct reel_ckpt_tensor x = part(ps, i, p);
        char name[REEL_NAME_MAX];
        if (!is_saved(ps, i)) continue;
        x.optional = optional;
        reel_name_ckpt(cfg->naming, name, cfg->def[i].name);
        REEL_TRY(reel_tree_tensor(t, &x, "%s.%s", prefix, name));
        p += shard_len(ps, i);
    }
    return REEL_OK;
}

static reel_err moments(struct reel_tree *t, const struct reel_params *ps, unsigned what, float *host)
{
    static const char *const moment[] = { [M] = "exp_avg", [V] = "exp_avg_sq" };
    const struct reel_params_cfg *cfg = reel_params_cfg(ps);
    float *p[] = { NULL, host + section(ps, what, M), host + section(ps, what, V) };

    for (int i = 0; i < cfg->n; i++) {
        struct reel_ckpt_tensor step = { .dt = REEL_F32, .rows = 1, .host = step_slots(ps, what, host) + i };
        char name[REEL_NAME_MAX];
        if (!is_saved(ps, i)) continue;
        reel_name_ckpt(cfg->naming, name, cfg->def[i].name);
        for (int which = M; which <= V; which++) {
            struct reel_ckpt_tensor x = part(ps, i, p[which]);
            REEL_TRY(reel_tree_tensor(t, &x, "optimizers.%s.state.transformer.%s.%s", cfg->role, name, moment[which]));
            p[which] += shard_len(ps, i);
        }
        REEL_TRY(reel_tree_tensor(t, &step, "optimizers.%s.state.transformer.%s.step", cfg->role, name));
    }
    return REEL_OK;
}

/* One object per parameter and option: what torch's optimizer state dictionary flattens to. */
static reel_err param_groups(struct reel_tree *t, const struct reel_params *ps, const struct reel_tree_optim *o)
{
    const struct reel_params_cfg *cfg = reel_params_cfg(ps);
    const struct { const char *option; struct reel_val v; } row[] = {
        { "lr", reel_val_float(o->lr) },
        { "betas", reel_val_seq(REEL_VAL_TUPLE, reel_val_float(o->beta1), reel_val_float(o->beta2), 2) },
        { "eps", reel_val_float(o->eps) },
        { "weight_decay", reel_val_float(o->weight_decay) },
        { "amsgrad", reel_val_bool(0) },
        { "maximize", reel_val_bool(0) },
        { "foreach", reel_val_none() },
        { "capturable", reel_val_bool(0) },
        { "differentiable", reel_val_bool(0) },
        { "fused", reel_val_none() },
        { "decoupled_weight_decay", reel_val_bool(1) },
        { "initial_lr", reel_val_float(o->initial_lr) },
    };

    for (int i = 0; i < cfg->n; i++) {
        char name[REEL_NAME_MAX];
        if (!is_saved(ps, i)) continue;
        reel_name_ckpt(cfg->naming, name, cfg->def[i].name);
        for (size_t k = 0; k < sizeof row / sizeof row[0]; k++)
            REEL_TRY(reel_tree_object(t, row[k].v, 0, "optimizers.%s.param_groups.transformer.%s.%s", cfg->role, name,
                                      row[k].option));
    }
    return REEL_OK;
}

static reel_err schedule(struct reel_tree *t, const char *role, const struct reel_tree_optim *o)
{
    struct reel_val none = reel_val_none(), base = reel_val_float(o->initial_lr), last = reel_val_float(o->lr);
    const struct { const char *field; struct reel_val v; } row[] = {
        { "base_lrs", reel_val_seq(REEL_VAL_LIST, base, none, 1) },
        { "last_epoch", reel_val_int(o->k) },
        { "_step_count", reel_val_int(o->k + 1) },
        { "_is_initial", reel_val_bool(0) },
        { "_get_lr_called_within_step", reel_val_bool(0) },
        { "_last_lr", reel_val_seq(REEL_VAL_LIST, last, none, 1) },
        { "lr_lambdas", reel_val_seq(REEL_VAL_LIST, none, none, 1) },
    };

    for (size_t k = 0; k < sizeof row / sizeof row[0]; k++)
        REEL_TRY(reel_tree_object(t, row[k].v, 0, "schedulers.%s.scheduler.%s", role, row[k].field));
    return REEL_OK;
}

reel_err reel_tree_role(struct reel_tree *t, const struct reel_params *ps, unsigned what, void *host,
                        const struct reel_tree_optim *o)
{
    const struct reel_params_cfg *cfg = reel_params_cfg(ps);
    char prefix[128];

    snprintf(prefix, sizeof prefix, "roles.%s.transformer", cfg->role);
    if (what & REEL_TREE_WEIGHTS) REEL_TRY(reel_tree_shadow(t, ps, prefix, host, 0));
    if (!(what & REEL_TREE_OPTIM)) return REEL_OK;
    REEL_TRY(moments(t, ps, what, host));
    if (!o) return REEL_OK;
    REEL_TRY(param_groups(t, ps, o));
    return schedule(t, cfg->role, o);
}

/* ---- torchdata's loader ---- */

static reel_err loader_plain(struct reel_tree *t, long batches)
{
    static const char *const none[] = { "_index_sampler_state", "_sampler_iter_state", "_IterableDataset_len_called",
                                        "_shared_seed", "fetcher_state", "dataset_state" };

    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        REEL_TRY(reel_tree_object(t, reel_val_none(), 0, "dataloader.%s", none[i]));
    REEL_TRY(reel_tree_object(t, reel_val_int(batches), 0, "dataloader._sampler_iter_yielded"));
    return reel_tree_object(t, reel_val_int(batches), 0, "dataloader._num_yielded");
}

static reel_err loader_workers(struct reel_tree *t, int workers, long batches)
{
    const char *const s = "dataloader._snapshot.";
    static const char *const none[] = { "_sampler_iter_state", "_index_sampler_state", "_IterableDataset_len_called",
                                        "_shared_seed" };

    REEL_TRY(reel_tree_object(t, reel_val_int(batches), 0, "%s_snapshot_step", s));
    REEL_TRY(reel_tree_object(t, reel_val_int(batches ? (batches - 1) % workers : workers - 1), 0,
                              "%s_last_yielded_worker_id", s));
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        REEL_TRY(reel_tree_object(t, reel_val_none(), 0, "%s_main_snapshot.%s", s, none[i]));
    REEL_TRY(reel_tree_object(t, reel_val_int(workers), 0, "%s_main_snapshot._num_workers", s));
    REEL_TRY(reel_tree_object(t, reel_val_int(batches), 0, "%s_main_snapshot._sampler_iter_yielded", s));
    REEL_TRY(reel_tree_object(t, reel_val_int(0), 0, "%s_main_snapshot._base_seed", s));
    for (int w = 0; w < workers; w++) {
        REEL_TRY(reel_tree_object(t, reel_val_int(w), 0, "%s_worker_snapshots.worker_%d.worker_id", s, w));
        REEL_TRY(reel_tree_object(t, reel_val_none(), 0, "%s_worker_snapshots.worker_%d.dataset_state", s, w));
        REEL_TRY(reel_tree_object(t, reel_val_none(), 0, "%s_worker_snapshots.worker_%d.fetcher_state", s, w));
    }
    return reel_tree_object(t, reel_val_int(0), 0, "dataloader._steps_since_snapshot");
}

reel_err reel_tree_dataloader(struct reel_tree *t, int workers, long batches)
{
    REEL_TRY(workers > 0 ? loader_workers(t, workers, batches) : loader_plain(t, batches));
    return reel_tree_object(t, reel_val_bool(0), 0, "dataloader._iterator_finished");
}

int reel_tree_found(const struct reel_tree *t, const char *prefix)
{
    for (int i = 0; i < t->set.n_t; i++)
        if (strncmp(t->set.t[i].key, prefix, strlen(prefix)) == 0 && !t->set.t[i].found) return 0;
    return 1;
}
