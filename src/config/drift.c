/* what another configuration means for a run that is resumed */
#include "config/drift.h"

#include <stdlib.h>
#include <string.h>

#include "config/config_priv.h"

struct walk {
    struct reel_pool *pool;
    struct reel_drift *v;
    int n, cap;
    const char *section;
    unsigned free_flags; /* options with one of these are free here */
};

static void add(struct walk *w, enum reel_drift_kind kind, const char *key, const char *was, const char *is)
{
    if (w->n == w->cap) {
        struct reel_drift *old = w->v;
        w->cap = w->cap ? 2 * w->cap : 32;
        w->v = reel_pool_push(w->pool, (size_t)w->cap * sizeof *w->v);
        if (w->n) memcpy(w->v, old, (size_t)w->n * sizeof *w->v);
    }
    w->v[w->n++] = (struct reel_drift){ .key = key, .was = was, .is = is, .kind = kind };
}

static const char *text_of(struct walk *w, const struct reel_opt *o, const void *src)
{
    char *s = NULL;
    const char *kept;
    size_t n = 0;
    FILE *m = open_memstream(&s, &n);

    REEL_BUG_IF(!m, "out of memory");
    reel_opt_write(o, (const char *)src + o->offset, m);
    fclose(m);
    kept = reel_pool_str(w->pool, s, n);
    free(s);
    return kept;
}

static enum reel_drift_kind kind_of(const struct walk *w, const struct reel_opt *o)
{
    if (o->flags & w->free_flags) return REEL_DRIFT_FREE;
    return o->flags & REEL_OPT_FIXED ? REEL_DRIFT_FIXED : REEL_DRIFT_RESULTS;
}

/* Targets are compared by what they name: one thing has several spellings. */
static void compare(struct walk *w, const struct reel_opt *o, const void *was, const void *is)
{
    for (; o && o->type != REEL_OPT_END; o++) {
        const char *a, *b;
        if (o->flags & REEL_OPT_EACH || !strcmp(o->name, "_target_")) continue;
        a = text_of(w, o, was);
        b = text_of(w, o, is);
        if (strcmp(a, b) != 0) add(w, kind_of(w, o), reel_pool_printf(w->pool, "%s.%s", w->section, o->name), a, b);
    }
}

static const char *kind_name(const struct reel_kind *k) { return k->plugin ? k->plugin : k->name; }

/* 1 if both are the same; else one entry. */
static int same_kind(struct walk *w, const struct reel_kind *was, const struct reel_kind *is, enum reel_drift_kind kind)
{
    const char *a = was ? kind_name(was) : "absent", *b = is ? kind_name(is) : "absent";

    if (!strcmp(a, b)) return 1;
    add(w, kind, reel_pool_printf(w->pool, was && is ? "%s._target_" : "%s", w->section), a, b);
    return 0;
}

/* Whether the role's weights are in checkpoints. */
static int trains(const struct reel_config *c, const struct reel_cfg_role *r) { return r && r->trainable && reel_kind_uses(c->method.kind, r->name); }

static int is_whole(const struct reel_cfg_role *r) { return r->trainable && !r->lora.enable; }

static void compare_role(struct walk *w, const struct reel_config *c, const struct reel_config *d, const char *name)
{
    const struct reel_cfg_role *was = reel_config_role(c, name), *is = reel_config_role(d, name);
    enum reel_drift_kind kind = trains(c, was) || trains(d, is) ? REEL_DRIFT_FIXED : REEL_DRIFT_RESULTS;
    unsigned free_flags = w->free_flags;

    w->section = reel_pool_printf(w->pool, "models.%s", name);
    if (!same_kind(w, was ? was->kind : NULL, is ? is->kind : NULL, kind)) return;
    w->free_flags |= (is_whole(was) && is_whole(is) ? (unsigned)REEL_OPT_START : 0);
    compare(w, reel_role_opts, was, is);
    w->free_flags = free_flags;
}

static void compare_roles(struct walk *w, const struct reel_config *was, const struct reel_config *is)
{
    for (int i = 0; i < was->n_roles; i++) compare_role(w, was, is, was->role[i].name);
    for (int i = 0; i < is->n_roles; i++)
        if (!reel_config_role(was, is->role[i].name)) compare_role(w, was, is, is->role[i].name);
}

static const struct reel_cfg_callback *find_callback(const struct reel_config *c, const char *name)
{
    for (int i = 0; i < c->n_callbacks; i++)
        if (!strcmp(c->callback[i].name, name)) return &c->callback[i];
    return NULL;
}

static void compare_callback(struct walk *w, const struct reel_cfg_callback *was, const struct reel_cfg_callback *is)
{
    int observes = (!was || was->kind->observes) && (!is || is->kind->observes);
    int from = w->n;

    w->section = reel_pool_printf(w->pool, "callbacks.%s", (was ? was : is)->name);
    if (same_kind(w, was ? was->kind : NULL, is ? is->kind : NULL, REEL_DRIFT_RESULTS) && was && is)
        compare(w, is->kind->opts, was->priv, is->priv);
    for (int i = from; i < w->n && observes; i++) w->v[i].kind = REEL_DRIFT_FREE;
}

static void compare_callbacks(struct walk *w, const struct reel_config *was, const struct reel_config *is)
{
    for (int i = 0; i < was->n_callbacks; i++)
        compare_callback(w, &was->callback[i], find_callback(is, was->callback[i].name));
    for (int i = 0; i < is->n_callbacks; i++)
        if (!find_callback(was, is->callback[i].name)) compare_callback(w, NULL, &is->callback[i]);
}

static int64_t samples(const struct reel_config *c)
{
    const struct reel_cfg_distributed *d = &c->training.distributed;

    return c->training.data.train_batch_size * d->num_gpus / (d->tp_size * d->sp_size);
}

static int has_horizon(const struct reel_config *c) { return c->training.optimizer.lr_scheduler > REEL_LR_CONSTANT_WITH_WARMUP; }

static void compare_training(struct walk *w, const struct reel_config *was, const struct reel_config *is)
{
    int from = w->n;

    w->section = "training";
    compare(w, reel_training_opts, &was->training, &is->training);
    for (int i = from; i < w->n; i++) /* the length of a run is the horizon of its schedule */
        if (has_horizon(is) && !strcmp(w->v[i].key, "training.loop.max_train_steps")) w->v[i].kind = REEL_DRIFT_RESULTS;
    if (samples(was) == samples(is)) return;
    for (int i = from; i < w->n; i++)
        if (!strcmp(w->v[i].key, "training.data.train_batch_size")) w->v[i].kind = REEL_DRIFT_RESULTS;
    add(w, REEL_DRIFT_RESULTS, "training.data.train_batch_size x data-parallel groups",
        reel_pool_printf(w->pool, "%lld", (long long)samples(was)), reel_pool_printf(w->pool, "%lld", (long long)samples(is)));
}

/* Whether layouts do not show in the bits. */
static int is_free_of_layout(const struct reel_config *c)
{
    return c->training.reproducibility == REEL_REPRO_LAYOUT && !c->parity;
}

int reel_config_drift(struct reel_config *was, const struct reel_config *is, const struct reel_drift **list)
{
    struct walk w = { .pool = &was->pool, .free_flags = REEL_OPT_FREE };

    if (is_free_of_layout(was) && is_free_of_layout(is)) w.free_flags |= REEL_OPT_LAYOUT;
    compare_roles(&w, was, is);
    w.section = "method";
    if (same_kind(&w, was->method.kind, is->method.kind, REEL_DRIFT_FIXED)) {
        compare(&w, reel_method_opts, &was->method, &is->method);
        compare(&w, is->method.kind->opts, was->method.priv, is->method.priv);
    }
    compare_training(&w, was, is);
    compare_callbacks(&w, was, is);
    w.section = "pipeline";
    compare(&w, reel_pipeline_opts, &was->pipeline, &is->pipeline);
    *list = w.v;
    return w.n;
}

/* `--callbacks.ema null` takes a callback out; in a tree that was written down the null has got a line. */
static void unset_callbacks(struct reel_config *c)
{
    struct reel_node *n = reel_node_at(c->root, "callbacks");

    for (int i = 0; n && n->type == REEL_NODE_MAP && i < n->n; i++)
        if (n->item[i]->type == REEL_NODE_NULL) n->item[i]->line = 0;
}

reel_err reel_config_was(const struct reel_config_src *src, const struct reel_schema *schema, struct reel_config **was)
{
    struct reel_config_src lenient = *src;

    lenient.lenient = 1;
    REEL_TRY(reel_config_read(&lenient, was));
    unset_callbacks(*was);
    return reel_config_finish(*was, schema);
}
