#ifndef REEL_METHODS_DISTILL_H
#define REEL_METHODS_DISTILL_H

/* Distribution matching: what DMD2 and Self-Forcing share. The student makes a clip in a few steps (its
 * rollout). Noised again, a frozen teacher and a trained critic say what each takes the clip for; their
 * difference is the clip's cotangent, and the critic learns to follow the student. A method brings its
 * rollout and its noise tables. */

#include <stddef.h>

#include "methods/check.h"
#include "methods/method.h"
#include "nn/schedule.h"

enum reel_rollout { REEL_ROLLOUT_SIMULATE, REEL_ROLLOUT_DATA_LATENT };
enum reel_uncond { REEL_UNCOND_NEGATIVE_PROMPT, REEL_UNCOND_KEEP, REEL_UNCOND_ZERO, REEL_UNCOND_DROP };

struct reel_dmd {
    /* keys */
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
    /* filled by the method's init */
    struct reel_sched table[REEL_NROLE]; /* a role's noise levels; the student's noise the clips */
    float t[REEL_SCHED_N], sigma[REEL_SCHED_N]; /* the student's few steps, steps.n of them */
    double score_min, score_max; /* ratios of 1000 that the score's timestep keeps to */
};

#define REEL_DMD_F(field) offsetof(struct reel_dmd, field)
#define REEL_DMD_OPTS                                                                             \
    { "rollout_mode", REEL_OPT_ENUM, REEL_DMD_F(rollout_mode), .choices = "simulate,sim|data_latent,data,vae_latent", \
      .example = "simulate", .flags = REEL_OPT_REQUIRED, .help = "simulate the student's own steps from noise, or noise data latents" }, \
    { "dmd_denoising_steps", REEL_OPT_INTS, REEL_DMD_F(steps), .example = "[1000, 750, 500, 250]", .min = 1, \
      .max = 1000, .flags = REEL_OPT_REQUIRED, .unit = "timesteps",                                \
      .help = "the student's few steps, strictly decreasing in (0, 1000]" },                       \
    { "warp_denoising_step", REEL_OPT_BOOL, REEL_DMD_F(warp), .help = "map the steps through the shifted table" }, \
    { "generator_update_interval", REEL_OPT_INT, REEL_DMD_F(interval), .dflt = 1, .min = -9e18, .max = 9e18, \
      .unit = "steps", .help = "the student is updated in every n-th step, the critic in each; 0: each" }, \
    { "real_score_guidance_scale", REEL_OPT_F64, REEL_DMD_F(guidance), .dflt = 1.0, \
      .help = "guidance of the teacher: u + s (c - u)" },                                          \
    { "min_timestep_ratio", REEL_OPT_F64, REEL_DMD_F(min_ratio), .dflt = 0.0, .min = 0, .max = 1, \
      .help = "the score's timestep is clamped from below to this times 1000" },                   \
    { "max_timestep_ratio", REEL_OPT_F64, REEL_DMD_F(max_ratio), .dflt = 1.0, .min = 0, .max = 1, \
      .help = "the score's timestep is clamped from above to this times 1000" },                   \
    { "fake_score_learning_rate", REEL_OPT_F64, REEL_DMD_F(critic_lr), .example = "8.0e-6", .min = 0, .max = 1e3, \
      .flags = REEL_OPT_REQUIRED, .help = "the critic's rate" },                                   \
    { "fake_score_betas", REEL_OPT_BETAS, REEL_DMD_F(critic_betas), .example = "[0.0, 0.999]",      \
      .flags = REEL_OPT_REQUIRED, .help = "the critic's betas" },                                  \
    { "fake_score_lr_scheduler", REEL_OPT_ENUM, REEL_DMD_F(critic_lr_scheduler), .choices = REEL_LR_CHOICES, \
      .example = "constant", .flags = REEL_OPT_REQUIRED,                                                                  \
      .help = "the critic's schedule; warm-up, cycles, power and horizon are the student's" },     \
    { "cfg_uncond.text", REEL_OPT_ENUM, REEL_DMD_F(uncond.text), .choices = "negative_prompt|keep|zero|drop", \
      .help = "the text of the teacher's unconditional pass" },                                    \
    { "cfg_uncond.image", REEL_OPT_ENUM, REEL_DMD_F(uncond.image), .choices = "keep|zero|drop",   \
      .help = "Wan text-to-video has no image: zero and drop need on_missing: ignore" },           \
    { "cfg_uncond.action", REEL_OPT_ENUM, REEL_DMD_F(uncond.action), .choices = "keep|zero|drop", \
      .help = "Wan text-to-video has no actions: zero and drop need on_missing: ignore" },         \
    { "cfg_uncond.on_missing", REEL_OPT_ENUM, REEL_DMD_F(uncond.ignore_missing), .choices = "error|ignore", \
      .help = "what a channel that the model lacks means" }

/* A clip that the student made. */
struct reel_clip {
    reel_tensor x0;    /* [B,T,C,H,W] f32 */
    reel_tensor sigma; /* [B] or [B,T] f32: x0 = x - sigma v in the evaluations that made it */
    int n;             /* how many of them carry gradient */
    struct reel_graded { int64_t lo, hi; struct reel_kept *kept; } *part; /* frames lo..hi-1 each; host memory */
    struct reel_kv *kv; /* what they have attended to; closed after their backward. NULL: nothing */
};

/* Makes the clip of `who` ("student" or "critic": the prefix of its draws). grad: the student's backward
 * pass will follow; else only x0 stays in the arena. Collective(hsdp). */
typedef struct reel_clip reel_rollout_fn(struct reel_method *m, const struct reel_batch *b, const struct reel_step *st,
                                         const char *who, int grad);

/** reel_dmd_check - the rules of the keys above. Symmetric. */
reel_err reel_dmd_check(const struct reel_config *cfg, const struct reel_dmd *p);
/** reel_dmd_init - few steps from the student's table, which the caller has filled; is there a negative prompt. Symmetric. */
reel_err reel_dmd_init(struct reel_method *m);
/** reel_dmd_few_steps - the student's list as init made it. Symmetric. */
struct reel_few_steps reel_dmd_few_steps(const struct reel_method *m);
/** reel_dmd_optimizer - the critic's own rate, betas and schedule. Symmetric. */
void reel_dmd_optimizer(const struct reel_method *m, enum reel_role role, struct reel_cfg_optimizer *o);
/** reel_dmd_step - one micro-batch: the student's loss where it is due, the critic's always. Collective(hsdp). */
void reel_dmd_step(struct reel_method *m, const struct reel_batch *b, struct reel_step *st, reel_rollout_fn *rollout);

/* For rollouts. */
/** reel_dmd_name - "who/what", in host memory of the micro-batch. Local. */
const char *reel_dmd_name(struct reel_method *m, const char *who, const char *what);
/** reel_dmd_noise - the draw who/rollout/noise/k, a clip on the device. Local. */
reel_tensor reel_dmd_noise(struct reel_method *m, const struct reel_batch *b, const struct reel_step *st, const char *who, int k);
/** reel_dmd_frames - frames lo..hi-1 of x [B,T,C,H,W], contiguous: x itself if that is all of it, else a copy. Local. */
reel_tensor reel_dmd_frames(struct reel_method *m, reel_tensor x, int64_t lo, int64_t hi);
/** reel_dmd_put - n host values on the device, [n] f32. Local. */
reel_tensor reel_dmd_put(struct reel_method *m, const float *v, int64_t n);
/** reel_dmd_level - n times one value, [n] f32 on the device. Local. */
reel_tensor reel_dmd_level(struct reel_method *m, int64_t n, float value);

#endif
