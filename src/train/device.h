#ifndef REEL_TRAIN_DEVICE_H
#define REEL_TRAIN_DEVICE_H

#include "be/be.h"
#include "comm/comm.h"
#include "config/config.h"
#include "config/env.h"

/**
 * reel_device_open - the backend that `want` asks for. Collective(world).
 * auto: GPUs if every rank sees one of its own, else the CPU, which rank 0 says unless `quiet`.
 * @threads  of the CPU's backend        @env  may name the module's file, or NULL
 * Errors: REEL_ECONFIG, REEL_EPLUGIN, REEL_ENOMEM, agreed.
 */
reel_err reel_device_open(struct reel_backend **be, enum reel_device want, int threads, const struct reel_env *env,
                          int quiet, struct reel_comm *world);

/** reel_device_plan - the same for planning alone: no device is opened, and cuda needs none. Local. */
reel_err reel_device_plan(struct reel_backend **be, enum reel_device want, const struct reel_env *env);

/** reel_compute_dtype - what matrices and activations are kept in; auto: bf16 where there are matrix units for it. Local. */
reel_dtype reel_compute_dtype(const struct reel_config *cfg, const struct reel_backend *be);

#endif
