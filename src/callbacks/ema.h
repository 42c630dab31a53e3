#ifndef REEL_CALLBACKS_EMA_H
#define REEL_CALLBACKS_EMA_H

#include "callbacks/callback.h"

/** reel_ema_of - the callback that averages the student, or NULL. Local. */
struct reel_cb *reel_ema_of(struct reel_cb *cb, int n);

/** reel_ema_shadow - average of this rank's rows of the student's parameter i, f32 like its shard; nd 0 if the
 * parameter is not trained. Local. */
reel_tensor reel_ema_shadow(const struct reel_cb *c, int i);

#endif
