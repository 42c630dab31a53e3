#ifndef REEL_CALLBACKS_EMA_H
#define REEL_CALLBACKS_EMA_H

#include "callbacks/callback.h"

/** reel_ema_of - the callback that averages the student, or NULL. Local. */
struct reel_cb *reel_ema_of(struct reel_cb *cb, int n);

/** reel_ema_shadow - average of this rank's rows of the student's parameter i, f32 like its shard; nd 0 if the
 * parameter is not trained. Local. */
reel_tensor reel_ema_shadow(const struct reel_cb *c, int i);

/**
 * reel_ema_swap - exchange the student's weights and their average, bit by bit; a second call restores both. Local.
 * Before the first average there is nothing to exchange: returns 0. Arena a lends one parameter's memory; on a planning
 * stream that is counted.
 */
int reel_ema_swap(struct reel_cb *c, struct reel_arena *a);

#endif
