#ifndef REEL_TRAIN_DRIFT_H
#define REEL_TRAIN_DRIFT_H

#include "train/run.h"

/**
 * reel_drift_judge - compare the run's configuration with that of the checkpoint `dir`. Collective(world).
 * What changes results is a warning for each key, the rest one line. A checkpoint without a configuration, or with one
 * that does not parse here, is a warning too.
 * Errors: REEL_ECONFIG when the checkpoint cannot go on so; the message has every such key with both values.
 */
reel_err reel_drift_judge(struct reel_run *r, const char *dir);

/** reel_drift_log - what reel_drift_judge found, as the text "config_drift" of the tracker. Local. REEL_EIO. */
reel_err reel_drift_log(struct reel_run *r);

#endif
