#ifndef REEL_TRAIN_RESTARTS_H
#define REEL_TRAIN_RESTARTS_H

#include "train/run.h"

/** reel_restarts_check - before the work begins: notes in <output_dir>/restarts.txt from which step (r->from_step) this start of a
 * Slurm job goes on with which configuration, and refuses the third restart in a row of one job for which both are as they
 * were. However a start ends, it has been noted. Without a Slurm job or an output folder: no effect.
 * Errors: REEL_EDATA, with the file to remove. Collective(world). */
reel_err reel_restarts_check(struct reel_run *r);

/** reel_restarts_patience - seconds that a start waits for the folder that it writes to: a requeued job's last step may still be
 * ending on a node that is slow or out of reach. env may be NULL. Local. */
double reel_restarts_patience(const struct reel_env *env);

#endif
