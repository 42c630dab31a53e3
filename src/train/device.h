#ifndef REEL_TRAIN_DEVICE_H
#define REEL_TRAIN_DEVICE_H

#include "be/place.h"
#include "comm/comm.h"
#include "config/config.h"
#include "config/env.h"

struct reel_device_opts {
    enum reel_device device;
    int threads; /* of the CPU's backend; 0: this rank's share of cores */
    enum reel_binding bind;
    int quiet;
    const struct reel_env *env; /* may name the module's file, or NULL */
};

struct reel_seat {
    struct reel_place place;
    struct reel_cpus before; /* where the process could run until then */
};

/**
 * reel_device_open - place the ranks of every node (be/place.h), then open the backend that is asked for. Collective(world).
 * auto: GPUs if every rank sees one of its own, else the CPU, which rank 0 says unless `quiet`.
 * Threads that the process starts from here on run where it was bound.
 * Errors: REEL_ECONFIG, REEL_EPLUGIN, REEL_ENOMEM, agreed.
 */
reel_err reel_device_open(struct reel_seat *d, struct reel_backend **be, const struct reel_device_opts *o, struct reel_comm *world);
/** reel_device_close - close the backend; the process may run where it could before. Local. */
void reel_device_close(struct reel_seat *d, struct reel_backend *be);

/** reel_device_plan - the same for planning alone: no device is opened, and cuda needs none. Local. */
reel_err reel_device_plan(struct reel_backend **be, enum reel_device want, const struct reel_env *env);

/** reel_compute_dtype - what matrices and activations are kept in; auto: bf16 where there are matrix units for it. Local. */
reel_dtype reel_compute_dtype(const struct reel_config *cfg, const struct reel_backend *be);

#endif
