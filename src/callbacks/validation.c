/* Validation: samples videos from prompts, and a loss on held-out data. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "callbacks/callback.h"

enum { PIPE_WAN, PIPE_WAN_DMD, PIPE_CAUSAL, PIPE_CAUSAL_DMD };
enum { ROLLOUT_BY_PIPELINE, ROLLOUT_PARALLEL, ROLLOUT_STREAMING };

struct validation {
    int pipeline, rollout_mode;
    const char *dataset_file, *output_dir;
    int64_t every_steps, num_frames, num_videos_per_prompt, validation_loss;
    int run_at_start;
    struct reel_ints sampling_steps, sampling_timesteps;
    double guidance_scale, keyboard_value_scale;
    int use_media, overlay_actions, offload_training_state, unload_pipeline, attn_qat_infer;
    int text_encoder_cpu_offload, vae_cpu_offload, dit_cpu_offload;
    const struct reel_node *metrics;
};

#define F(field) offsetof(struct validation, field)
#define P        "fastvideo.pipelines.basic.wan."
static const struct reel_opt validation_opts[] = {
    { "pipeline_target", REEL_OPT_ENUM, F(pipeline), .example = "wan", .flags = REEL_OPT_REQUIRED,
      .choices = "wan," P "wan_pipeline.WanPipeline|wan_dmd," P "wan_dmd_pipeline.WanDMDPipeline|"
                 "wan_causal," P "wan_causal_pipeline.WanCausalPipeline|"
                 "wan_causal_dmd," P "wan_causal_dmd_pipeline.WanCausalDMDPipeline",
      .help = "sampler: many steps or few (dmd), whole clip or streaming (causal); or the FastVideo class path" },
    { "dataset_file", REEL_OPT_STR, F(dataset_file), .example = "prompts.json", .flags = REEL_OPT_REQUIRED,
      .help = "prompts: a .json list of strings, or {data: [{caption: ...}]}; .csv, .parquet and .arrow alike" },
    { "every_steps", REEL_OPT_INT, F(every_steps), .dflt = 100, .min = -9e18, .max = 9e18, .unit = "steps",
      .help = "validate every so many steps; 0 or less: never" },
    { "run_at_start", REEL_OPT_BOOL, F(run_at_start), .dflt = 1, .help = "validate before the first step too" },
    { "sampling_steps", REEL_OPT_INTS, F(sampling_steps), .sdflt = "[40]", .min = 1, .max = 1000,
      .help = "one whole validation per entry, with so many steps" },
    { "sampling_timesteps", REEL_OPT_INTS, F(sampling_timesteps), .min = 1, .max = 1000, .unit = "timesteps",
      .help = "few-step list, unless the pipeline has one; strictly decreasing" },
    { "guidance_scale", REEL_OPT_F64, F(guidance_scale), .flags = REEL_OPT_NULLABLE,
      .help = "null: the preset's" },
    { "num_frames", REEL_OPT_INT, F(num_frames), .min = 1, .max = 262144, .flags = REEL_OPT_NULLABLE,
      .unit = "pixel frames", .help = "4k+1; null: training.data's" },
    { "num_videos_per_prompt", REEL_OPT_INT, F(num_videos_per_prompt), .dflt = 1, .min = 1, .max = 4096,
      .help = "each with its own noise" },
    { "rollout_mode", REEL_OPT_ENUM, F(rollout_mode), .choices = "by_pipeline|parallel|streaming",
      .flags = REEL_OPT_NULLABLE, .help = "absent: streaming for the causal samplers" },
    { "validation_loss", REEL_OPT_INT, F(validation_loss), .min = 0, .max = 9e18, .unit = "samples",
      .help = "loss on so many held-out samples with fixed draws; 0: none" },
    { "output_dir", REEL_OPT_STR, F(output_dir), .help = "null: training.checkpoint.output_dir" },
    { "use_validation_media_conditioning", REEL_OPT_BOOL, F(use_media), .dflt = 1,
      .help = "accepted; text-to-video takes no media" },
    { "overlay_actions", REEL_OPT_BOOL, F(overlay_actions), .help = "accepted; world models only" },
    { "keyboard_value_scale", REEL_OPT_F64, F(keyboard_value_scale), .dflt = 1.0,
      .help = "accepted; world models only" },
    { "offload_training_state", REEL_OPT_BOOL, F(offload_training_state),
      .help = "move optimizer state to the host meanwhile" },
    { "unload_pipeline_after_validation", REEL_OPT_BOOL, F(unload_pipeline), .help = "give VAE and text encoder back each time" },
    { "attn_qat_infer", REEL_OPT_BOOL, F(attn_qat_infer), .help = "accepted; attention is not quantised" },
    { "text_encoder_cpu_offload", REEL_OPT_BOOL, F(text_encoder_cpu_offload), .help = "accepted" },
    { "vae_cpu_offload", REEL_OPT_BOOL, F(vae_cpu_offload), .help = "accepted" },
    { "dit_cpu_offload", REEL_OPT_BOOL, F(dit_cpu_offload), .help = "accepted" },
    { "metrics", REEL_OPT_RAW, F(metrics), .flags = REEL_OPT_LATER, .help = "video metrics: true, a name, a list or a mapping" },
    { .type = REEL_OPT_END },
};

static int ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && !strcmp(s + n - m, end);
}

static reel_err fail(const struct reel_config *cfg, const char *section, const char *key, const char *what)
{
    char path[192];

    snprintf(path, sizeof path, "%s.%s", section, key);
    return reel_config_fail(cfg, path, "%s", what);
}

static reel_err validation_check(const struct reel_config *cfg, const void *priv, const char *at)
{
    const struct validation *v = priv;
    int streams = v->pipeline == PIPE_CAUSAL || v->pipeline == PIPE_CAUSAL_DMD;
    const char *f = v->dataset_file;

    if (v->rollout_mode && streams != (v->rollout_mode == ROLLOUT_STREAMING))
        return fail(cfg, at, "rollout_mode", streams ? "parallel contradicts pipeline_target, which streams"
                                                     : "streaming contradicts pipeline_target, which samples whole clips");
    if (!ends_with(f, ".json") && !ends_with(f, ".csv") && !ends_with(f, ".parquet") && !ends_with(f, ".arrow"))
        return fail(cfg, at, "dataset_file", "the prompt file must end in .json, .csv, .parquet or .arrow");
    for (int i = 1; i < v->sampling_timesteps.n; i++)
        if (v->sampling_timesteps.v[i] >= v->sampling_timesteps.v[i - 1])
            return fail(cfg, at, "sampling_timesteps", "the list must be strictly decreasing");
    if (v->num_frames != REEL_INT_UNSET && (v->num_frames - 1) % 4)
        return fail(cfg, at, "num_frames", "pixel frames must be 4k+1, e.g. 77 or 81");
    if (!v->output_dir && !cfg->training.checkpoint.output_dir && v->every_steps > 0)
        return fail(cfg, at, "output_dir", "videos need a folder: set it here or training.checkpoint.output_dir");
    return REEL_OK;
}

const struct reel_callback_ops reel_callback_validation = {
    .name = "validation",
    .help = "samples videos from prompts and measures a loss on held-out data",
    .targets = "fastvideo.train.callbacks.validation.ValidationCallback|"
               "fastvideo.train.callbacks.ValidationCallback",
    .opts = validation_opts,
    .priv_size = sizeof(struct validation),
    .later = 1,
    .check = validation_check,
};

REEL_EXPORT(REEL_KIND_CALLBACK, validation);
