#include "train/lora.h"

#include <stdio.h>
#include <string.h>

#include "ckpt/names.h"
#include "models/lora.h"

struct choice { const struct reel_strs *target; const struct reel_naming *naming; };

/* A layer is known by two names, ours (Diffusers') and FastVideo's, and either may be what a target is part of. */
static int wants(const void *ctx, const char *layer)
{
    const struct choice *c = ctx;
    char weight[REEL_NAME_MAX], fv[REEL_NAME_MAX];

    snprintf(weight, sizeof weight, "%.100s.weight", layer);
    reel_name_ckpt(c->naming, fv, weight);
    fv[strlen(fv) - strlen(".weight")] = 0;
    if (strstr(layer, "embedder") || strstr(fv, "embedder")) return 0; /* the reference leaves them out for Wan */
    for (int i = 0; i < c->target->n; i++)
        if (strstr(layer, c->target->v[i]) || strstr(fv, c->target->v[i])) return 1;
    return 0;
}

/* One that could have been meant. */
static const char *some_layer(const struct reel_model *m)
{
    for (int i = m->n_def - 1; i >= 0; i--)
        if (m->def[i].nd == 2 && m->def[i].unit == 1) return m->def[i].name;
    return "none";
}

reel_err reel_role_adapters(struct reel_run *r, int role, const struct reel_cfg_role *c)
{
    struct reel_model *m = &r->role[role];
    const struct choice choice = { &c->lora.target_modules, m->ops->naming };
    char key[128];
    int n;

    if (!c->lora.enable) return REEL_OK;
    snprintf(key, sizeof key, "models.%s.lora.target_modules", c->name);
    if (!m->ops->adapters) return reel_config_fail(r->cfg, key, "the layers of model %s take no adapters", m->ops->name);
    m->opts.lora = (struct reel_lora_opts){ .rank = c->lora.rank, .scale = c->lora.alpha / (double)c->lora.rank,
                                            .wants = wants, .ctx = &choice };
    REEL_TRY(reel_lora_define(m, &n));
    m->opts.lora.ctx = NULL; /* the choice is made */
    return n ? REEL_OK : reel_config_fail(r->cfg, key, "no linear layer's name has one of these in it; there is for example %s",
                                          some_layer(m));
}

int reel_adapters_count(const struct reel_model *m)
{
    int n = 0;

    for (int i = 0; i < m->n_def; i++) n += m->def[i].part == REEL_PARAM_LORA_A;
    return n;
}
