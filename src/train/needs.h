#ifndef REEL_TRAIN_NEEDS_H
#define REEL_TRAIN_NEEDS_H

/* What a valid configuration wants to find on this machine: job scripts look before they wait for an allocation. */

#include "config/config.h"
#include "comm/comm.h"

/** reel_needs_print - on rank 0's output, after a dry run's plan: "lacks: ..." for every data set, model and checkpoint that is
 * not there, and "resume: FOLDER", the checkpoint that a run would begin from. Collective(world). */
void reel_needs_print(const struct reel_config *cfg, const struct reel_env *env, struct reel_comm *world);

#endif
