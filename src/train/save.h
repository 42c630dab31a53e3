#ifndef REEL_TRAIN_SAVE_H
#define REEL_TRAIN_SAVE_H

/* Checkpoints of a run: which tensors and scalars, when, and back again. */

#include "train/run.h"

/** reel_save_due - poll a save that is under way; start one if this step is due. Collective(world). */
reel_err reel_save_due(struct reel_run *r, long step);

/** reel_save_final - the last step's checkpoint unless it exists, then wait for it. Collective(world). */
reel_err reel_save_final(struct reel_run *r);

/** reel_resume - find the checkpoint that the configuration names and load it; r->first is its step.
 * `latest` with none: from scratch. Collective(world). */
reel_err reel_resume(struct reel_run *r);

#endif
