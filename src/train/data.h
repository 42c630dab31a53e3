#ifndef REEL_TRAIN_DATA_H
#define REEL_TRAIN_DATA_H

/* The data set that a configuration names. */

#include "config/config.h"
#include "data/set.h"

/** reel_open_data - open training.data.data_path; what is not there is made from the built-in clips if demo_clips says
 * how many. Collective(world). Errors: REEL_ECONFIG, and those of reel_set_open_list. */
reel_err reel_open_data(struct reel_set **set, const struct reel_config *cfg, int quiet, struct reel_comm *world);

#endif
