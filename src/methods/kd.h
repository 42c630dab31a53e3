#ifndef REEL_METHODS_KD_H
#define REEL_METHODS_KD_H

/* Knowledge distillation: the keys, and the teacher's walk that makes the trajectories (train/trajectories.c). */

#include "config/config.h"
#include "data/set.h"
#include "models/model.h"

struct reel_kd_opts {
    const char *teacher_path_cache; /* folder of the trajectories */
    struct reel_ints t_list;
    int64_t student_sample_steps; /* REEL_INT_UNSET: one less than t_list has entries */
    int64_t teacher_inference_steps, num_frames_per_block;
    double teacher_guidance_scale;
};

#define REEL_KD_STEPS 1000 /* most steps of the teacher */

/* The levels of the walk, and where it is written down. */
struct reel_kd_path {
    int steps;
    float sigma[REEL_KD_STEPS + 1]; /* table B of `steps` points, then 0 */
    int states;                     /* entries of t_list; the last is the clean clip */
    int at[REEL_SET_STATES];        /* the step whose level is nearest to the entry; `steps` for the clean clip */
    float t[REEL_SET_STATES];       /* the state's own timestep, 1000 sigma[at]; 0 for the clean clip */
};

/** reel_kd_path_init - levels and states of a configuration. Symmetric. REEL_ECONFIG: a list that does not fall to 0,
 * entries that share a state, a length that contradicts student_sample_steps. */
reel_err reel_kd_path_init(struct reel_kd_path *p, const struct reel_config *cfg, const struct reel_kd_opts *o);

struct reel_kd_walk {
    const struct reel_kd_path *path;
    struct reel_model *teacher;
    struct reel_arena *a; /* one network call, or two; reset between steps */
    double guidance;      /* 1: one call per step with the prompt alone */
    void (*state)(void *ctx, int k, reel_tensor x); /* sees state k when the walk is there; NULL while planning */
    void *ctx;
};

/**
 * reel_kd_walk - the deterministic flow ODE of the guided teacher by explicit Euler steps, from noise to clean
 * x <- x + (sigma_{i+1} - sigma_i) v, v = u + g (c - u) of the passes with text and with uncond; the last step, to
 * sigma 0, is the teacher's prediction of x0. On a planning stream it counts memory. Collective(hsdp).
 * @x     in/out [B,T,C,H,W] f32   noise, then the clean clip (normalised)
 * @t     scratch [B] f32
 * @text, @uncond  in [B,L,D] f32
 * Source: FastVideo fastvideo/train/methods/knowledge_distillation/kd.py:_teacher_ode_rollout @2f3d4074, whose guidance
 * is not applied and whose timesteps are truncated to integers.
 */
void reel_kd_walk(const struct reel_kd_walk *w, reel_tensor x, reel_tensor t, reel_tensor text, reel_tensor uncond);

#endif
