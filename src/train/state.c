#include "train/state.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckpt/names.h"

__attribute__((format(printf, 1, 2))) static char *format(const char *fmt, ...)
{
    char *s = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0) s = NULL;
    va_end(ap);
    return s;
}

/* ---- lists that grow while the state is opened --------------------------------------------- */

static int grow(void **p, int n, int *room, size_t size)
{
    void *q;

    if (n < *room) return 1;
    q = realloc(*p, (size_t)(*room ? 2 * *room : 256) * size);
    if (!q) return 0;
    *p = q;
    *room = *room ? 2 * *room : 256;
    return 1;
}

static void add_tensor(struct reel_state *st, char *key, struct reel_ckpt_tensor t, reel_tensor at)
{
    struct reel_ckpt_set *s = &st->set;
    int room = st->room_t;

    t.key = key;
    if (!key || !grow((void **)&s->t, s->n_t, &st->room_t, sizeof *s->t) ||
        !grow((void **)&st->at, s->n_t, &room, sizeof *st->at)) {
        free(key);
        st->failed = REEL_ENOMEM;
        return;
    }
    s->t[s->n_t] = t;
    st->at[s->n_t++] = at;
}

static struct reel_val *add_object(struct reel_state *st, char *key)
{
    static struct reel_val lost;
    struct reel_ckpt_set *s = &st->set;

    if (!key || !grow((void **)&s->o, s->n_o, &st->room_o, sizeof *s->o)) {
        free(key);
        st->failed = REEL_ENOMEM;
        return &lost;
    }
    s->o[s->n_o] = (struct reel_ckpt_object){ .key = key };
    return &s->o[s->n_o++].v;
}

/* ---- what a role holds --------------------------------------------------------------------- */

static struct reel_ckpt_tensor shard_of(const struct reel_param_def *d, struct reel_shard s)
{
    struct reel_ckpt_tensor t = { .dt = REEL_F32, .nd = d->nd, .row0 = s.row0, .rows = s.rows };

    memcpy(t.n, d->n, sizeof t.n);
    return t;
}

static void add_moments(struct reel_state *st, const char *role, const char *name, const struct reel_param_def *d,
                        struct reel_shard s, float *count)
{
    struct reel_ckpt_tensor t = shard_of(d, s);
    struct reel_ckpt_tensor step = { .dt = REEL_F32, .rows = 1, .host = count, .optional = 1 };

    add_tensor(st, format("optimizers.%s.state.transformer.%s.step", role, name), step, (reel_tensor){ 0 });
    add_tensor(st, format("optimizers.%s.state.transformer.%s.exp_avg", role, name), t, s.m);
    add_tensor(st, format("optimizers.%s.state.transformer.%s.exp_avg_sq", role, name), t, s.v);
}

static void add_tensors(struct reel_state *st, struct reel_run *r, int role, int weights_only)
{
    struct reel_params *ps = r->role[role].ps;
    const struct reel_params_cfg *pc = reel_params_cfg(ps);

    for (int i = 0; i < pc->n; i++) {
        char name[REEL_NAME_MAX];
        struct reel_shard s = reel_param_shard(ps, i);
        reel_name_fastvideo(name, pc->def[i].name);
        add_tensor(st, format("roles.%s.transformer.%s", pc->role, name), shard_of(&pc->def[i], s), s.w);
        if (!weights_only) add_moments(st, pc->role, name, &pc->def[i], s, &st->count[role]);
    }
}

static struct reel_val one_float(double v) { return reel_val_seq(REEL_VAL_LIST, reel_val_float(v), reel_val_none(), 1); }

/* The 12 options of a parameter group of torch.optim.AdamW, one group per parameter as FSDP2 stores it. */
static void add_groups(struct reel_state *st, const struct reel_optim *o)
{
    const struct reel_params_cfg *pc = reel_params_cfg(o->model->ps);
    const struct { const char *option; struct reel_val v; } opt[] = {
        { "lr", reel_val_float(reel_lr_at(&o->lr, o->k)) },
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
        { "initial_lr", reel_val_float(o->lr.lr0) },
    };

    for (int i = 0; i < pc->n; i++) {
        char name[REEL_NAME_MAX];
        reel_name_fastvideo(name, pc->def[i].name);
        for (size_t k = 0; k < sizeof opt / sizeof *opt; k++)
            *add_object(st, format("optimizers.%s.param_groups.transformer.%s.%s", pc->role, name, opt[k].option)) = opt[k].v;
    }
}

static void add_schedule(struct reel_state *st, const struct reel_optim *o)
{
    const char *role = reel_params_cfg(o->model->ps)->role;
    const struct { const char *field; struct reel_val v; } f[] = {
        { "base_lrs", one_float(o->lr.lr0) },
        { "last_epoch", reel_val_int(o->k) },
        { "_step_count", reel_val_int(o->k + 1) },
        { "_is_initial", reel_val_bool(0) },
        { "_get_lr_called_within_step", reel_val_bool(0) },
        { "_last_lr", one_float(reel_lr_at(&o->lr, o->k)) },
        { "lr_lambdas", reel_val_seq(REEL_VAL_LIST, reel_val_none(), reel_val_none(), 1) },
    };

    for (size_t k = 0; k < sizeof f / sizeof *f; k++)
        *add_object(st, format("schedulers.%s.scheduler.%s", role, f[k].field)) = f[k].v;
}

/* torchdata's StatefulDataLoader without workers; `given` batches were handed out. */
static void add_dataloader(struct reel_state *st, int64_t given)
{
    static const char *const none[] = { "_index_sampler_state", "_sampler_iter_state", "_IterableDataset_len_called",
                                        "_shared_seed", "fetcher_state", "dataset_state" };

    for (size_t k = 0; k < sizeof none / sizeof *none; k++) *add_object(st, format("dataloader.%s", none[k])) = reel_val_none();
    *add_object(st, format("dataloader._sampler_iter_yielded")) = reel_val_int(given);
    *add_object(st, format("dataloader._num_yielded")) = reel_val_int(given);
    *add_object(st, format("dataloader._iterator_finished")) = reel_val_bool(0);
}

static void drop_objects(struct reel_state *st)
{
    for (int i = 0; i < st->set.n_o; i++) free((char *)st->set.o[i].key);
    st->set.n_o = 0;
}

/* Objects hold values, so their list is made anew for every save. */
static void list_objects(struct reel_state *st, struct reel_run *r, long step)
{
    drop_objects(st);
    for (int i = 0; i < REEL_NROLE; i++) {
        if (!(r->roles & REEL_ROLE(i)) || !r->role[i].trainable) continue;
        add_groups(st, &r->optim[i]);
        add_schedule(st, &r->optim[i]);
    }
    add_dataloader(st, step * r->cfg->training.loop.gradient_accumulation_steps);
}

/* Where each part is in host memory: in the copy, or where the backend has it. */
static reel_err place(struct reel_state *st, int direct)
{
    size_t at = 0;

    for (int i = 0; i < st->set.n_t; i++)
        if (!st->set.t[i].host) at += (reel_bytes(st->at[i]) + 63) & ~(size_t)63;
    if (!direct) {
        st->copy = malloc(at + 1);
        if (!st->copy) return REEL_FAIL(REEL_ENOMEM, "no memory for a copy of the state, %zu bytes", at);
        st->copy_bytes = at;
    }
    at = 0;
    for (int i = 0; i < st->set.n_t; i++) {
        struct reel_ckpt_tensor *t = &st->set.t[i];
        if (t->host) continue;
        t->host = direct ? st->at[i].p : st->copy + at;
        at += (reel_bytes(st->at[i]) + 63) & ~(size_t)63;
    }
    return REEL_OK;
}

reel_err reel_state_open(struct reel_state *st, struct reel_run *r, int weights_only, int direct)
{
    *st = (struct reel_state){ 0 };
    for (int i = 0; i < REEL_NROLE; i++) {
        if (!(r->roles & REEL_ROLE(i))) continue;
        if (r->role[i].trainable || (weights_only && i == REEL_STUDENT)) add_tensors(st, r, i, weights_only);
    }
    if (st->failed) return REEL_FAIL(REEL_ENOMEM, "no memory for the list of a checkpoint's tensors");
    return place(st, direct);
}

void reel_state_close(struct reel_state *st)
{
    drop_objects(st);
    for (int i = 0; i < st->set.n_t; i++) free((char *)st->set.t[i].key);
    free(st->set.t);
    free(st->set.o);
    free(st->at);
    free(st->copy);
    *st = (struct reel_state){ 0 };
}

void reel_state_collect(struct reel_state *st, struct reel_run *r, long step)
{
    for (int i = 0; i < REEL_NROLE; i++) st->count[i] = (float)r->optim[i].k;
    list_objects(st, r, step);
    reel_sync(&r->s);
    for (int i = 0; i < st->set.n_t && st->copy; i++)
        if (st->at[i].nd && st->set.t[i].rows) reel_get(&r->s, st->set.t[i].host, st->at[i]);
}

void reel_state_spread(struct reel_state *st, struct reel_run *r)
{
    for (int i = 0; i < st->set.n_t && st->copy; i++)
        if (st->at[i].nd && st->set.t[i].rows) reel_put(&r->s, st->at[i], st->set.t[i].host);
    reel_sync(&r->s);
    for (int i = 0; i < REEL_NROLE; i++) r->optim[i].k = (long)(st->count[i] + 0.5f);
}
