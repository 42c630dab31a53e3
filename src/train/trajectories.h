#ifndef REEL_TRAIN_TRAJECTORIES_H
#define REEL_TRAIN_TRAJECTORIES_H

/* The teacher's trajectories: made once, before the training that reads them, in a run of their own that holds nothing
 * but the teacher. A folder of sets (part-00000.h5, ...), each there as a whole or not at all. */

#include "methods/kd.h"
#include "train/run.h"

#define REEL_PART_SAMPLES 64 /* a run that is killed loses what it had of one part */

/** reel_trajectories_of - those that the configuration's method reads, NULL: it reads none. Local. */
const struct reel_kd_opts *reel_trajectories_of(const struct reel_config *cfg);

struct reel_trajectories_flags {
    const char *output;       /* folder; NULL: method.teacher_path_cache */
    int64_t samples_per_file;
    int quiet;
};

/**
 * reel_trajectories_make - the teacher walks for every sample of training.data.data_path; parts that are there are
 * kept, the others are made. The noise of sample i is the draw `kd/noise` (step 0, round 0, sample i), so that the bytes
 * depend on neither ranks nor restarts. Collective(world).
 * @stop, @ended  who may end it between two batches, and whether that happened: what is whole stays, the rest is made
 *                by the next call; NULL: nobody
 * Errors: REEL_ECONFIG another method, no teacher, parts made with other settings; REEL_EDATA damaged parts; REEL_EIO.
 */
reel_err reel_trajectories_make(const struct reel_config *cfg, const struct reel_trajectories_flags *f,
                                const struct reel_env *env, struct reel_comm *world, struct reel_stop *stop, int *ended);

/** reel_trajectories_plan - print what the teacher's run would take, after the plan of the training. Nothing to say for
 * methods that read none, or without a teacher. Symmetric. */
reel_err reel_trajectories_plan(const struct reel_config *cfg, const struct reel_env *env, struct reel_comm *world);

/** reel_trajectories_ensure - before a training run: trajectories that are there are compared with the configuration,
 * missing ones are made. Nothing to do for methods that read none. Collective(world).
 * Errors: those of _make; REEL_ECONFIG: they are not complete and no teacher is configured. */
reel_err reel_trajectories_ensure(const struct reel_config *cfg, const struct reel_run_flags *flags, struct reel_comm *world,
                                  struct reel_stop *stop, int *ended);

#endif
