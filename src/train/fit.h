#ifndef REEL_TRAIN_FIT_H
#define REEL_TRAIN_FIT_H

/* `reel plan`: memory, traffic and time of a rank; what does not fit is refused with layouts that would. */

#include "train/estimate.h"

struct reel_plan_flags {
    const char *machine; /* name or file; NULL: no times */
    const char *measure; /* file to write instead of planning */
    double memory_gib;   /* of one rank; 0: the machine's */
};

/**
 * reel_plan_print - the plan of cfg on rank 0's output. Collective(world).
 * Errors: REEL_ECONFIG: more memory than a rank has, with the largest terms and layouts of as many ranks, the same number of
 * samples a step, that fit; or what reel_run_plan says.
 */
reel_err reel_plan_print(const struct reel_config *cfg, const struct reel_plan_flags *f, const struct reel_env *env,
                         struct reel_comm *world);

#endif
