/* Rules that span keys. Each says what is wrong and what would be right. */
#include <string.h>
#include <strings.h>

#include "config/config_priv.h"

typedef reel_err (*rule)(const struct reel_config *cfg);

static long long ll(int64_t v) { return (long long)v; }

static reel_err layout(const struct reel_config *cfg)
{
    const struct reel_cfg_distributed *d = &cfg->training.distributed;
    int64_t hsdp = d->num_gpus / d->tp_size;

    if (d->num_gpus % d->tp_size)
        return reel_config_fail(cfg, "training.distributed.tp_size", "%lld does not divide num_gpus %lld",
                                ll(d->tp_size), ll(d->num_gpus));
    if (d->replicate * d->shard != hsdp) {
        if (hsdp % d->shard == 0)
            return reel_config_fail(cfg, "training.distributed.hsdp_shard_dim",
                                    "hsdp_replicate_dim %lld x hsdp_shard_dim %lld x tp_size %lld is %lld, not num_gpus "
                                    "%lld; with this shard, hsdp_replicate_dim must be %lld",
                                    ll(d->replicate), ll(d->shard), ll(d->tp_size),
                                    ll(d->replicate * d->shard * d->tp_size), ll(d->num_gpus), ll(hsdp / d->shard));
        return reel_config_fail(cfg, "training.distributed.hsdp_shard_dim",
                                "hsdp_replicate_dim %lld x hsdp_shard_dim %lld x tp_size %lld is %lld, not num_gpus %lld; "
                                "the first two must multiply to %lld",
                                ll(d->replicate), ll(d->shard), ll(d->tp_size),
                                ll(d->replicate * d->shard * d->tp_size), ll(d->num_gpus), ll(hsdp));
    }
    if (hsdp % d->sp_size)
        return reel_config_fail(cfg, "training.distributed.sp_size",
                                "%lld does not divide the %lld ranks of hsdp_replicate_dim x hsdp_shard_dim",
                                ll(d->sp_size), ll(hsdp));
    return REEL_OK;
}

static reel_err sizes(const struct reel_config *cfg)
{
    const struct reel_cfg_data *d = &cfg->training.data;

    if (d->num_height % 16)
        return reel_config_fail(cfg, "training.data.num_height", "%lld is not a multiple of 16; nearest: %lld or %lld",
                                ll(d->num_height), ll(d->num_height / 16 * 16), ll(d->num_height / 16 * 16 + 16));
    if (d->num_width % 16)
        return reel_config_fail(cfg, "training.data.num_width", "%lld is not a multiple of 16; nearest: %lld or %lld",
                                ll(d->num_width), ll(d->num_width / 16 * 16), ll(d->num_width / 16 * 16 + 16));
    if (d->num_frames && (d->num_frames - 1) % 4)
        return reel_config_fail(cfg, "training.data.num_frames", "%lld is not 4k+1; nearest: %lld or %lld",
                                ll(d->num_frames), ll((d->num_frames - 1) / 4 * 4 + 1),
                                ll((d->num_frames - 1) / 4 * 4 + 5));
    if (d->num_frames && (d->num_frames - 1) / 4 + 1 != d->num_latent_t)
        return reel_config_fail(cfg, "training.data.num_latent_t",
                                "%lld latent frames are %lld pixel frames, not num_frames %lld (which makes %lld)",
                                ll(d->num_latent_t), ll((d->num_latent_t - 1) * 4 + 1), ll(d->num_frames),
                                ll((d->num_frames - 1) / 4 + 1));
    return REEL_OK;
}

static reel_err data(const struct reel_config *cfg)
{
    if (cfg->training.data.data_path.n == 0)
        return reel_config_fail(cfg, "training.data.data_path", "no data are left: the list is empty, or every set is repeated 0 times");
    return REEL_OK;
}

static reel_err optimizer(const struct reel_config *cfg)
{
    const struct reel_cfg_optimizer *o = &cfg->training.optimizer;
    int64_t steps = cfg->training.loop.max_train_steps;

    if (o->lr_scheduler != REEL_LR_POLYNOMIAL) return REEL_OK;
    if (o->learning_rate <= 1e-7)
        return reel_config_fail(cfg, "training.optimizer.learning_rate",
                                "%g: polynomial decays to 1e-7 and needs a rate above it", o->learning_rate);
    if (o->lr_warmup_steps >= steps && steps > 0)
        return reel_config_fail(cfg, "training.optimizer.lr_warmup_steps",
                                "%lld leaves polynomial nothing of max_train_steps %lld", ll(o->lr_warmup_steps), ll(steps));
    return REEL_OK;
}

static reel_err checkpoint(const struct reel_config *cfg)
{
    const struct reel_cfg_checkpoint *c = &cfg->training.checkpoint;

    if (c->every_steps > 0 && !c->output_dir)
        return reel_config_fail(cfg, "training.checkpoint.output_dir",
                                "checkpoints are on (every %lld steps) and have no folder to go to", ll(c->every_steps));
    if (c->max_wall > 0 && !c->output_dir)
        return reel_config_fail(cfg, "training.checkpoint.output_dir", "max_wall saves before it stops and needs a folder");
    if (c->resume_from_checkpoint && !strcasecmp(c->resume_from_checkpoint, "latest") && !c->output_dir)
        return reel_config_fail(cfg, "training.checkpoint.resume_from_checkpoint",
                                "latest means the newest checkpoint below output_dir, which is not set");
    return REEL_OK;
}

static reel_err vsa(const struct reel_config *cfg)
{
    const struct reel_cfg_vsa *v = &cfg->training.vsa;
    const struct reel_cfg_role *s = reel_config_role(cfg, "student");

    if (cfg->method.attn_kind == REEL_ATTN_KIND_VSA && s && s->attention_backend != REEL_ATTN_DEFAULT &&
        s->attention_backend != REEL_ATTN_VSA)
        return reel_config_fail(cfg, "models.student.attention_backend", "method.attn_kind: vsa needs VIDEO_SPARSE_ATTN or no such key");
    if ((v->decay_rate > 0) != (v->decay_interval_steps > 0))
        return reel_config_fail(cfg, v->decay_rate > 0 ? "training.vsa.decay_rate" : "training.vsa.decay_interval_steps",
                                "decay_rate and decay_interval_steps go together");
    return REEL_OK;
}

static reel_err pipeline(const struct reel_config *cfg)
{
    const struct reel_cfg_pipeline *p = &cfg->pipeline;

    if (p->vae_sp && !p->vae_tiling) return reel_config_fail(cfg, "pipeline.vae_sp", "needs vae_tiling: true");
    if (p->dit.local_attn_size == 0)
        return reel_config_fail(cfg, "pipeline.dit_config.local_attn_size", "0 frames; -1 means all");
    if (p->dit.local_attn_size > 0 && p->dit.sink_size != REEL_INT_UNSET && p->dit.sink_size >= p->dit.local_attn_size)
        return reel_config_fail(cfg, "pipeline.dit_config.sink_size", "%lld leaves nothing of local_attn_size %lld",
                                ll(p->dit.sink_size), ll(p->dit.local_attn_size));
    return REEL_OK;
}

static reel_err role(const struct reel_config *cfg, const struct reel_cfg_role *r)
{
    char key[128];

    snprintf(key, sizeof key, "models.%s.lora", r->name);
    if (r->lora.enable && r->lora.rank == REEL_INT_UNSET)
        return reel_config_fail(cfg, key, "enabled without a rank; e.g. rank: 16");
    if (r->lora.enable && !r->trainable)
        return reel_config_fail(cfg, key, "enabled on a role with trainable: false");
    snprintf(key, sizeof key, "models.%s.num_frames_per_block", r->name);
    if (r->num_frames_per_block != REEL_INT_UNSET && !r->kind->causal)
        return reel_config_fail(cfg, key, "only causal models have blocks; %s is bidirectional", r->kind->name);
    return REEL_OK;
}

static const char *nearest_role(const struct reel_config *cfg, const char *name)
{
    const char *names[REEL_CFG_MAX_ROLES];
    int n = 0, near;

    for (int i = 0; i < cfg->n_roles; i++)
        if (reel_role_index(cfg->role[i].name) < 0) names[n++] = cfg->role[i].name;
    near = reel_nearest(name, names, n);
    return near < 0 ? NULL : names[near];
}

static reel_err roles(const struct reel_config *cfg)
{
    const struct reel_kind *m = cfg->method.kind;

    for (int i = 0; reel_role_names[i]; i++) {
        const char *name = reel_role_names[i], *near;
        const struct reel_cfg_role *r = reel_config_role(cfg, name);
        char key[64];

        if (!((m->roles_needed | (r ? m->roles_optional : 0)) >> i & 1)) continue;
        near = r ? NULL : nearest_role(cfg, name);
        if (!r)
            return reel_config_fail(cfg, "models", "the method %s needs a role '%s'%s%s%s", m->name, name,
                                    near ? "; is '" : "", near ? near : "", near ? "' meant?" : "");
        snprintf(key, sizeof key, "models.%s.trainable", name);
        if (m->roles_trained >> i & 1 && !r->trainable)
            return reel_config_fail(cfg, key, "the method %s trains the %s: it must be true", m->name, name);
        if (!(m->roles_trained >> i & 1) && r->trainable)
            return reel_config_fail(cfg, key, "the method %s keeps the %s frozen: it must be false", m->name, name);
    }
    for (int i = 0; i < cfg->n_roles; i++) REEL_TRY(role(cfg, &cfg->role[i]));
    return REEL_OK;
}

static reel_err parts(const struct reel_config *cfg)
{
    if (cfg->method.kind->check) REEL_TRY(cfg->method.kind->check(cfg, cfg->method.priv));
    for (int i = 0; i < cfg->n_callbacks; i++) {
        const struct reel_cfg_callback *c = &cfg->callback[i];
        char section[128];

        snprintf(section, sizeof section, "callbacks.%s", c->name);
        if (c->kind->check_at) REEL_TRY(c->kind->check_at(cfg, c->priv, section));
    }
    return REEL_OK;
}

reel_err reel_config_check(const struct reel_config *cfg)
{
    static const rule rules[] = { roles, layout, sizes, data, optimizer, checkpoint, vsa, pipeline, parts };

    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) REEL_TRY(rules[i](cfg));
    return REEL_OK;
}
