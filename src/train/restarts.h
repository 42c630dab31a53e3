#ifndef REEL_TRAIN_RESTARTS_H
#define REEL_TRAIN_RESTARTS_H

#include "train/run.h"

/** reel_restarts_check - after resuming: notes in <output_dir>/restarts.txt from which step this start of a Slurm job goes on, and
 * refuses the third restart in a row of one job that has no newer checkpoint than the start before. Without a Slurm job or an
 * output folder: no effect. Errors: REEL_EDATA, with the file to remove. Collective(world). */
reel_err reel_restarts_check(struct reel_run *r);

#endif
