#ifndef REEL_BE_BACKEND_H
#define REEL_BE_BACKEND_H

/* Inside of a backend, for src/be, src/comm's collectives on backend memory, and tests. The table struct
 * reel_backend_ops is generated from kernels/ops.def in kernels/kernels.h. */

#include "be/be.h"
#include "kernels/device.h"
#include "kernels/kernels.h"

struct reel_backend {
    struct reel_backend_ops ops;
    struct reel_pool *pool; /* NULL on a device */
    int threads;
    char describe[160];
    char bus[20]; /* of the device */
    const struct reel_device_ops *dev; /* NULL: memory is the host's */
    struct reel_accel *device;        /* NULL while only planning for one */
};

/**
 * reel_backend_open_isa - reel_backend_open with a chosen instruction set: "portable", "avx2",
 * "avx512", or NULL for the best this processor has. Local.
 * Errors: REEL_ECONFIG unknown device or an instruction set that the processor lacks; REEL_ENOMEM.
 */
reel_err reel_backend_open_isa(struct reel_backend **be, const char *device, int threads, const char *isa);

#endif
