#ifndef REEL_TRAIN_DRIFT_H
#define REEL_TRAIN_DRIFT_H

#include "train/run.h"

/**
 * reel_drift_judge - compare the run's configuration, and what it came to mean, with those of the checkpoint `dir`. Collective(world).
 * A checkpoint without a configuration, or with one that does not parse here, is a warning.
 * Errors: REEL_ECONFIG when the checkpoint cannot go on so; the message has every such key with both values.
 */
reel_err reel_drift_judge(struct reel_run *r, const char *dir);

/** reel_drift_log - when the run has resumed: what reel_drift_judge found, as the text "config_drift", in one line for what leaves results
 * alone, and as a warning for each key that changes them. Local. REEL_EIO, REEL_ENOMEM. */
reel_err reel_drift_log(struct reel_run *r);

#endif
