#include "train/schema.h"

#include "callbacks/callback.h"
#include "methods/method.h"

static struct reel_kind model_kind(const void *ops)
{
    const struct reel_model_ops *m = ops;

    return (struct reel_kind){ .name = m->name, .help = m->help, .targets = m->targets, .ops = m,
                               .causal = m->causal };
}

static struct reel_kind method_kind(const void *ops)
{
    const struct reel_method_ops *m = ops;

    return (struct reel_kind){ .name = m->name, .help = m->help, .targets = m->targets, .opts = m->opts, .ops = m,
                               .priv_size = m->priv_size, .roles_needed = m->roles_needed, .roles_optional = m->roles_optional,
                               .roles_trained = m->roles_trained, .check = m->check };
}

static struct reel_kind callback_kind(const void *ops)
{
    const struct reel_callback_ops *c = ops;

    return (struct reel_kind){ .name = c->name, .help = c->help, .targets = c->targets, .opts = c->opts, .ops = c,
                               .priv_size = c->priv_size, .check_at = c->check, .observes = c->observes };
}

_Static_assert(REEL_NROLE == REEL_MAX_ROLE_NAMES, "reel_role_names lists the roles in the order of enum reel_role");

/* The free entry of an array, NULL when only the one that ends it is left. */
static struct reel_kind *vacant(struct reel_kind *k)
{
    int n = 0;

    while (k[n].name) n++;
    return n + 1 < REEL_MAX_KINDS ? &k[n] : NULL;
}

struct reel_kind *reel_schema_add(struct reel_all_kinds *all, enum reel_plugin_kind kind, const void *ops,
                                  const char *target)
{
    const struct {
        struct reel_kind *list;
        struct reel_kind (*make)(const void *ops);
    } of[] = {
        [REEL_KIND_MODEL] = { all->models, model_kind },
        [REEL_KIND_METHOD] = { all->methods, method_kind },
        [REEL_KIND_CALLBACK] = { all->callbacks, callback_kind },
    };
    struct reel_kind *k = vacant(of[kind].list);

    if (!k) return NULL;
    *k = of[kind].make(ops);
    k->plugin = target;
    return k;
}

const struct reel_schema *reel_schema_init(struct reel_all_kinds *all)
{
    int full = 0;

    *all = (struct reel_all_kinds){ 0 };
    for (int i = 0; reel_models[i]; i++) full |= !reel_schema_add(all, REEL_KIND_MODEL, reel_models[i], NULL);
    for (int i = 0; reel_methods[i]; i++) full |= !reel_schema_add(all, REEL_KIND_METHOD, reel_methods[i], NULL);
    for (int i = 0; reel_callbacks[i]; i++) full |= !reel_schema_add(all, REEL_KIND_CALLBACK, reel_callbacks[i], NULL);
    REEL_BUG_IF(full, "more models, methods or callbacks than the schema holds");
    all->schema = (struct reel_schema){ all->models, all->methods, all->callbacks };
    return &all->schema;
}
