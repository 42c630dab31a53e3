#ifndef REEL_METHODS_KD_H
#define REEL_METHODS_KD_H

/* Knowledge distillation: the keys, and which levels the teacher walks through (train/trajectories.c makes it walk). */

#include "config/config.h"
#include "data/set.h"

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
    float state_sigma[REEL_SET_STATES]; /* the state's own level, sigma[at]; 0 for the clean clip */
    float t[REEL_SET_STATES];       /* 1000 of that */
};

/** reel_kd_path_init - levels and states of a configuration. Symmetric. REEL_ECONFIG: a list that does not fall to 0,
 * entries that share a state, a length that contradicts student_sample_steps. */
reel_err reel_kd_path_init(struct reel_kd_path *p, const struct reel_config *cfg, const struct reel_kd_opts *o);

#endif
