#ifndef REEL_TRAIN_RESTARTS_H
#define REEL_TRAIN_RESTARTS_H

#include "train/run.h"

/** reel_restarts_check - before the work begins: notes in <output_dir>/restarts.txt from which step (r->from_step) this start of a
 * Slurm job goes on with which configuration, and refuses the third restart in a row of one job for which both are as they
 * were. However a start ends, it has been noted. Without a Slurm job or an output folder: no effect.
 * Errors: REEL_EDATA, with the file to remove. Collective(world). */
reel_err reel_restarts_check(struct reel_run *r);

/**
 * reel_restarts_hold - make the folder `dir` and hold its file "lock", which one process has: two runs in one folder would take
 * each other's temporary files for leftovers. A requeued job's last step may still be ending on a node that is slow or out of reach: a restart
 * waits for it for a minute, and for no more than half of the watchdog's time, since the other ranks wait. Local.
 * @lock out  to be closed with the run
 * @key, @folder  the option, and what it says, for the message
 * @env  may be NULL
 * Errors: REEL_ECONFIG: another process has it, which is named; REEL_EIO.
 */
reel_err reel_restarts_hold(int *lock, const char *dir, const char *key, const char *folder, const struct reel_config *cfg,
                            const struct reel_env *env);

#endif
