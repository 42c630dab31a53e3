#include "train/schema.h"

#include "callbacks/callback.h"
#include "methods/method.h"

/* Known to configurations; ready once the registry of src/models has one of that name. */
static const struct reel_kind models[] = {
    { .name = "wan", .help = "Wan 2.1 text-to-video transformer, bidirectional",
      .targets = "fastvideo.train.models.wan.WanModel|fastvideo.train.models.wan.wan.WanModel" },
    { .name = "wan_causal", .help = "the same with block-causal attention and a KV cache",
      .targets = "fastvideo.train.models.wan.WanCausalModel|fastvideo.train.models.wan.wan_causal.WanCausalModel",
      .causal = 1 },
};

static struct reel_kind method_kind(const struct reel_method_ops *m)
{
    return (struct reel_kind){ .name = m->name, .help = m->help, .targets = m->targets, .opts = m->opts,
                               .priv_size = m->priv_size, .roles_needed = m->roles_needed,
                               .roles_trained = m->roles_trained, .ready = m->step != NULL, .check = m->check };
}

static struct reel_kind callback_kind(const struct reel_callback_ops *c)
{
    return (struct reel_kind){ .name = c->name, .help = c->help, .targets = c->targets, .opts = c->opts,
                               .priv_size = c->priv_size, .check_at = c->check, .ready = !c->later };
}

_Static_assert(REEL_NROLE == REEL_MAX_ROLE_NAMES, "reel_role_names lists the roles in the order of enum reel_role");

#define COUNT(a) (sizeof(a) / sizeof *(a))

const struct reel_schema *reel_schema_init(struct reel_all_kinds *all)
{
    *all = (struct reel_all_kinds){ 0 };
    for (size_t i = 0; i < COUNT(models); i++) {
        all->models[i] = models[i];
        all->models[i].ready = reel_model_find(models[i].name) != NULL;
    }
    for (size_t i = 0; reel_methods[i]; i++) {
        REEL_BUG_IF(i + 1 == COUNT(all->methods), "more methods than the schema holds");
        all->methods[i] = method_kind(reel_methods[i]);
    }
    for (size_t i = 0; reel_callbacks[i]; i++) {
        REEL_BUG_IF(i + 1 == COUNT(all->callbacks), "more callbacks than the schema holds");
        all->callbacks[i] = callback_kind(reel_callbacks[i]);
    }
    all->schema = (struct reel_schema){ all->models, all->methods, all->callbacks };
    return &all->schema;
}
