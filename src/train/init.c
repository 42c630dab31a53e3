#include "train/init.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "ckpt/adapters.h"
#include "kernels/scalar.h"

#define CHUNK 65536 /* values drawn on the host at a time */

static float drawn(const struct reel_param_def *d, float normal, uint64_t e, int64_t row_len)
{
    int64_t row = (int64_t)e / row_len;
    int one = row < 32 && d->init_ones >> row & 1;

    return one ? normal * d->init_scale + 1.0f : normal * d->init_scale;
}

/* Elements [at, at+n) of this rank's part of a parameter into a host buffer. */
static void draw_chunk(const struct reel_params *ps, int k, uint64_t key, int64_t at, int64_t n, float *out)
{
    const struct reel_param_def *d = &reel_params_cfg(ps)->def[k];
    int64_t row_len = d->n[d->nd - 1], run = reel_shard_run(ps, k);
    uint64_t e = 0;

    for (int64_t i = 0; i < n; i++, e++) {
        if (i == 0 || (at + i) % run == 0) e = (uint64_t)reel_shard_element(ps, k, at + i);
        if (d->init == REEL_INIT_UNIFORM) out[i] = (2 * reel_rng_uniform(reel_rng_word(key, 0, 0, 0, e)) - 1) * d->init_scale;
        else out[i] = drawn(d, reel_normal(key, 0, 0, 0, e), e, row_len);
    }
}

static void random_param(struct reel_run *r, const struct reel_params *ps, int i, float *buf)
{
    const struct reel_param_def *d = &reel_params_cfg(ps)->def[i];
    struct reel_shard s = reel_param_shard(ps, i);
    char name[160];
    int64_t n = reel_numel(s.w);
    uint64_t key;

    if (!s.rows) return;
    if (d->init == REEL_INIT_ZERO || d->init == REEL_INIT_ONE) {
        reel_fill(&r->s, s.w, d->init == REEL_INIT_ONE ? 1 : 0);
        return;
    }
    snprintf(name, sizeof name, "init/%s", d->name);
    key = reel_rng_key((uint64_t)r->cfg->training.data.seed, name);
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t k = n - at < CHUNK ? n - at : CHUNK;
        draw_chunk(ps, i, key, at, k, buf);
        reel_put(&r->s, reel_slice(reel_reshape(s.w, REEL_DIMS(n)), at, at + k), buf);
    }
}

/* The model's own parameters, or its adapters, from their draws. */
static reel_err random_weights(struct reel_run *r, int role, int adapters)
{
    const struct reel_params_cfg *pc = reel_params_cfg(r->role[role].ps);
    float *buf = malloc(CHUNK * sizeof *buf);

    if (!buf) return REEL_FAIL(REEL_ENOMEM, "no memory to draw the weights of the %s", pc->role);
    for (int i = 0; i < pc->n; i++)
        if ((pc->def[i].part != REEL_PARAM_OWN) == adapters)
            random_param(r, r->role[role].ps, i, buf);
    free(buf);
    return REEL_OK;
}

struct reel_hf_source reel_model_source(const char *init_from, const struct reel_env *e)
{
    struct reel_hf_source src = { .init_from = init_from };

    if (e)
        src.env = (struct reel_hf_env){
            .hf_hub_cache = reel_env_get(e, REEL_ENV_HF_HUB_CACHE),
            .huggingface_hub_cache = reel_env_get(e, REEL_ENV_HUGGINGFACE_HUB_CACHE),
            .hf_home = reel_env_get(e, REEL_ENV_HF_HOME),
            .xdg_cache_home = reel_env_get(e, REEL_ENV_XDG_CACHE_HOME),
            .home = reel_env_get(e, REEL_ENV_HOME),
        };
    return src;
}

const char *reel_role_override(const struct reel_cfg_role *c) { return c->disable_custom_init_weights ? NULL : c->transformer_override_safetensor; }

static struct reel_hf_source source_of(const struct reel_run *r, const struct reel_cfg_role *c)
{
    struct reel_hf_source src = reel_model_source(c->init_from, r->flags.env);

    src.override_from = reel_role_override(c);
    return src;
}

/* config.json of the well-known models: texts of the files in configs/, put here by make. */
static const struct { const char *arch, *json; } built_in[] = {
#include "train/arch.inc"
};

const char *reel_arch_config(const char *init_from)
{
    const char *arch = reel_preset_arch(init_from);

    for (size_t i = 0; arch && i < sizeof built_in / sizeof *built_in; i++)
        if (!strcmp(built_in[i].arch, arch)) return built_in[i].json;
    return NULL;
}

/* What stands in for a repository that is not at hand, where no weights are wanted of it. NULL: nothing does. */
static const char *stand_in(const struct reel_run *r, const struct reel_cfg_role *c)
{
    return r->flags.plan || c->init == REEL_INIT_RANDOM ? reel_arch_config(c->init_from) : NULL;
}

reel_err reel_role_config(struct reel_run *r, int role, const struct reel_cfg_role *c, char **json, char *where)
{
    struct reel_hf_source src = source_of(r, c);
    const char *text = stand_in(r, c);
    reel_err e = reel_hf_read_config(&src, r->world, json, where);

    if (e != REEL_ECONFIG || !text) return e;
    reel_err_clear();
    r->stand_in |= REEL_ROLE(role);
    snprintf(where, PATH_MAX, "the built-in config.json of %s", c->init_from);
    *json = strdup(text);
    return *json ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for a config.json");
}

reel_err reel_role_weights(struct reel_run *r, int role)
{
    const struct reel_cfg_role *c = reel_config_role(r->cfg, r->role[role].role);
    struct reel_hf_source src = source_of(r, c);

    src.assumed = r->role[role].assumed;
    if (c->init == REEL_INIT_RANDOM) REEL_TRY(reel_agree(r->world, random_weights(r, role, 0)));
    else REEL_TRY(reel_hf_load(&src, r->role[role].ps, &r->s, r->world));
    REEL_TRY(reel_agree(r->world, random_weights(r, role, 1)));
    if (!c->lora.enable || !c->lora.init_from) return REEL_OK;
    return reel_adapters_load(c->lora.init_from, r->role[role].opts.lora.scale, r->role[role].ps, &r->s, r->world);
}
