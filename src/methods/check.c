#include "methods/check.h"

reel_err reel_check_rate(const struct reel_config *cfg)
{
    if (cfg->training.optimizer.learning_rate > 0) return REEL_OK;
    return reel_config_fail(cfg, "training.optimizer.learning_rate", "must be above 0 for %s; e.g. 1.0e-5",
                            cfg->method.kind->name);
}

reel_err reel_check_ratios(const struct reel_config *cfg, double min, double max)
{
    if (min <= max) return REEL_OK;
    return reel_config_fail(cfg, "method.max_timestep_ratio", "%g is below min_timestep_ratio %g", max, min);
}

reel_err reel_check_chunk(const struct reel_config *cfg, int64_t chunk_size)
{
    int64_t block = reel_config_role(cfg, "student")->num_frames_per_block;

    if (block == REEL_INT_UNSET || block == chunk_size) return REEL_OK;
    return reel_config_fail(cfg, "method.chunk_size", "%lld must equal models.student.num_frames_per_block %lld",
                            (long long)chunk_size, (long long)block);
}

reel_err reel_check_blocks(const struct reel_config *cfg, const struct reel_model *student, int64_t chunk_size)
{
    if (!student->chunk || student->chunk == chunk_size) return REEL_OK;
    return reel_config_fail(cfg, "method.chunk_size", "%lld must equal the causal student's num_frames_per_block %lld",
                            (long long)chunk_size, (long long)student->chunk);
}

reel_err reel_check_latents(const struct reel_config *cfg, int simulates)
{
    const struct reel_cfg_data *d = &cfg->training.data;

    if (!simulates && d->type == REEL_DATA_TEXT_ONLY)
        return reel_config_fail(cfg, "training.data.preprocessed_data_type",
                                "text_only data have no latents; only rollout_mode: simulate does without");
    if (simulates && !d->num_latent_t)
        return reel_config_fail(cfg, "training.data.num_latent_t", "a simulated rollout needs the number of frames");
    if (simulates && !(d->num_height && d->num_width))
        return reel_config_fail(cfg, d->num_height ? "training.data.num_width" : "training.data.num_height",
                                "a simulated rollout needs the size in pixels");
    return REEL_OK;
}

reel_err reel_check_causal(const struct reel_config *cfg, const char *why)
{
    const struct reel_cfg_role *s = reel_config_role(cfg, "student");

    const struct reel_kind *k = cfg->schema->models;

    if (s->kind->causal) return REEL_OK;
    while (k->name && !k->causal) k++;
    return reel_config_fail(cfg, "models.student._target_", "%s is bidirectional; %s: use a causal model%s%s", s->kind->name,
                            why, k->name ? " such as " : "", k->name ? k->name : "");
}
