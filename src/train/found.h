#ifndef REEL_TRAIN_FOUND_H
#define REEL_TRAIN_FOUND_H

#include "train/run.h"

/**
 * reel_found - what keys came to mean here that a configuration does not say: the device, the contents of the data, of plugins, and of
 * weights that a resume reads again. Collective(world).
 * @text  out, malloc'ed: JSON {key: text}. The same text means the same results, in every layout
 * Errors: REEL_ECONFIG when replicas have read other weights; REEL_ENOMEM; agreed.
 */
reel_err reel_found(struct reel_run *r, char **text);

#endif
