#ifndef REEL_BE_DEVICE_H
#define REEL_BE_DEVICE_H

/* GPUs: the module that drives them, and which ones a rank sees. */

#include "be/be.h"
#include "kernels/device.h"

/**
 * reel_module_open - load the CUDA module. Local. It stays loaded.
 * @path  a file, or NULL: reel_cuda.so beside the program, in the folder above, or where it is installed
 * Errors: REEL_EPLUGIN: not found, cannot be loaded, or built for another version; with the cure.
 */
reel_err reel_module_open(const struct reel_module **m, const char *path);

/** reel_driver_there - 1 if NVIDIA's driver is installed: a cheap look before the module and its libraries are. Local. */
int reel_driver_there(void);

/* What a rank sees; plain data. Which it takes: be/place.h. */
struct reel_gpus {
    int n;             /* devices that this process sees, in CUDA's order */
    char why[160];     /* why there are none */
    struct reel_gpu { char bus[20]; } gpu[REEL_DEVICE_MAX]; /* PCI address: the same card for every rank of the node */
};

/** reel_gpus_look - fill in what this process sees; m NULL: nothing, for the reason in the error record. Local. */
void reel_gpus_look(struct reel_gpus *g, const struct reel_module *m);

/* What a card can do at most: per second FLOPs of bf16 matrix products, bytes of its memory, bytes to another card of
 * the node in one direction; bytes that it has. For plans, and as what a measurement is a share of. */
struct reel_gpu_spec { const char *name; double flops, memory, link, bytes; };
/** reel_gpu_spec - by the name that the driver gives a card; NULL: not in the table. Local. */
const struct reel_gpu_spec *reel_gpu_spec(const char *name);
/** reel_backend_spec - of the backend's card; NULL: not known, or the CPU. Local. */
const struct reel_gpu_spec *reel_backend_spec(const struct reel_backend *be);

/** reel_backend_open_device - device i of the module's; i < 0: for planning, without one. Local. */
reel_err reel_backend_open_device(struct reel_backend **be, const struct reel_module *m, int i);

#endif
