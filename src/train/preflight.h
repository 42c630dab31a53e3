#ifndef REEL_TRAIN_PREFLIGHT_H
#define REEL_TRAIN_PREFLIGHT_H

/* Before a run takes its memory: do all groups of ranks exchange what they should, how fast, and is anything in the
 * environment known to hurt? */

#include "train/run.h"

/**
 * reel_preflight - a sum and an exchange in every group of the mesh, with a line per axis; warnings about the environment.
 * Takes milliseconds. Collective(world). Errors, agreed: REEL_EIO a group delivered wrong bytes; REEL_ENOMEM.
 */
reel_err reel_preflight(struct reel_run *r);

#endif
