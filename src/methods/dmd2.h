#ifndef REEL_METHODS_DMD2_H
#define REEL_METHODS_DMD2_H

/* Keys of distribution matching, shared with Self-Forcing. */

#include <stddef.h>

#include "methods/check.h"

enum reel_rollout { REEL_ROLLOUT_SIMULATE, REEL_ROLLOUT_DATA_LATENT };
enum reel_uncond { REEL_UNCOND_NEGATIVE_PROMPT, REEL_UNCOND_KEEP, REEL_UNCOND_ZERO, REEL_UNCOND_DROP };

struct reel_dmd2_opts {
    int rollout_mode; /* enum reel_rollout */
    struct reel_ints steps;
    int warp;
    int64_t interval;
    double guidance;
    double min_ratio, max_ratio;
    double critic_lr, critic_betas[2];
    int critic_lr_scheduler; /* enum reel_lr_name */
    struct {
        int ignore_missing;
        int text;          /* enum reel_uncond */
        int image, action; /* 0 keep, 1 zero, 2 drop: channels Wan does not have */
    } uncond;
};

#define REEL_DMD2_F(field) offsetof(struct reel_dmd2_opts, field)
#define REEL_DMD2_OPTS                                                                             \
    { "rollout_mode", REEL_OPT_ENUM, REEL_DMD2_F(rollout_mode), .choices = "simulate,sim|data_latent,data,vae_latent", \
      .example = "simulate", .flags = REEL_OPT_REQUIRED, .help = "simulate the student's own steps from noise, or noise data latents" }, \
    { "dmd_denoising_steps", REEL_OPT_INTS, REEL_DMD2_F(steps), .example = "[1000, 750, 500, 250]", .min = 1, \
      .max = 1000, .flags = REEL_OPT_REQUIRED, .unit = "timesteps",                                \
      .help = "the student's few steps, strictly decreasing in (0, 1000]" },                       \
    { "warp_denoising_step", REEL_OPT_BOOL, REEL_DMD2_F(warp), .help = "map the steps through the shifted table" }, \
    { "generator_update_interval", REEL_OPT_INT, REEL_DMD2_F(interval), .dflt = 1, .min = -9e18, .max = 9e18, \
      .unit = "steps", .help = "the student is updated in every n-th step, the critic in each; 0: each" }, \
    { "real_score_guidance_scale", REEL_OPT_F64, REEL_DMD2_F(guidance), .dflt = 1.0, \
      .help = "guidance of the teacher: u + s (c - u)" },                                          \
    { "min_timestep_ratio", REEL_OPT_F64, REEL_DMD2_F(min_ratio), .dflt = 0.0, .min = 0, .max = 1, \
      .help = "the score's timestep is clamped from below to this times 1000" },                   \
    { "max_timestep_ratio", REEL_OPT_F64, REEL_DMD2_F(max_ratio), .dflt = 1.0, .min = 0, .max = 1, \
      .help = "the score's timestep is clamped from above to this times 1000" },                   \
    { "fake_score_learning_rate", REEL_OPT_F64, REEL_DMD2_F(critic_lr), .example = "8.0e-6", .min = 0, .max = 1e3, \
      .flags = REEL_OPT_REQUIRED, .help = "the critic's rate" },                                   \
    { "fake_score_betas", REEL_OPT_BETAS, REEL_DMD2_F(critic_betas), .example = "[0.0, 0.999]",      \
      .flags = REEL_OPT_REQUIRED, .help = "the critic's betas" },                                  \
    { "fake_score_lr_scheduler", REEL_OPT_ENUM, REEL_DMD2_F(critic_lr_scheduler), .choices = REEL_LR_CHOICES, \
      .example = "constant", .flags = REEL_OPT_REQUIRED,                                                                  \
      .help = "the critic's schedule; warm-up, cycles, power and horizon are the student's" },     \
    { "cfg_uncond.text", REEL_OPT_ENUM, REEL_DMD2_F(uncond.text), .choices = "negative_prompt|keep|zero|drop", \
      .help = "the text of the teacher's unconditional pass" },                                    \
    { "cfg_uncond.image", REEL_OPT_ENUM, REEL_DMD2_F(uncond.image), .choices = "keep|zero|drop",   \
      .help = "Wan text-to-video has no image: zero and drop need on_missing: ignore" },           \
    { "cfg_uncond.action", REEL_OPT_ENUM, REEL_DMD2_F(uncond.action), .choices = "keep|zero|drop", \
      .help = "Wan text-to-video has no actions: zero and drop need on_missing: ignore" },         \
    { "cfg_uncond.on_missing", REEL_OPT_ENUM, REEL_DMD2_F(uncond.ignore_missing), .choices = "error|ignore", \
      .help = "what a channel that the model lacks means" }

/** reel_dmd2_check - the rules of the keys above. Symmetric. */
reel_err reel_dmd2_check(const struct reel_config *cfg, const struct reel_dmd2_opts *o);

#endif
