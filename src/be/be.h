#ifndef REEL_BE_BE_H
#define REEL_BE_BE_H

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "kernels/kernels.h"
#include "tensor/tensor.h"

/* One backend instance: a thread pool (cpu) or a device (cuda). See be/backend.h. The stream,
 * an ordered queue of work, is in kernels/kernels.h. */
struct reel_backend;

/**
 * reel_backend_open - "cpu"; `threads` 0 = one per core that this process may run on (hwloc), which other ranks may
 * share: reel_place_ranks knows a rank's part.
 * Local. Errors: REEL_ECONFIG unknown device, REEL_ENOMEM.
 */
reel_err reel_backend_open(struct reel_backend **be, const char *device, int threads);
/** reel_backend_pin - a core for each thread, where there are as many; for processors that no other rank has. Local. */
void reel_backend_pin(struct reel_backend *be);
void reel_backend_close(struct reel_backend *be);
const char *reel_backend_describe(const struct reel_backend *be); /* "cpu: AMD EPYC..., avx2, 2 threads" */
const char *reel_backend_bus(const struct reel_backend *be); /* PCI address of its GPU, "" of none */
int reel_backend_threads(const struct reel_backend *be);
/** reel_backend_on_device - 1 if its memory is not the host's. Local. */
int reel_backend_on_device(const struct reel_backend *be);
void reel_stream_init(struct reel_stream *s, struct reel_backend *be, int planning,
                      struct reel_arena *scratch);

/** reel_arena_open - back an arena with `cap` bytes of backend memory. Local. REEL_ENOMEM. */
reel_err reel_arena_open(struct reel_arena *a, struct reel_backend *be, const char *name, size_t cap);
void reel_arena_close(struct reel_arena *a, struct reel_backend *be);

/** reel_host_alloc - host memory that reel_get_start may fill (page-locked for a device). Local. NULL: none left. */
void *reel_host_alloc(struct reel_backend *be, size_t bytes);
void reel_host_free(struct reel_backend *be, void *p);

/* Copies, in the stream's order. Backend memory is reached by these and by operators, never by a pointer. Local. */
void reel_sync(struct reel_stream *s);                                   /* host waits for all work of the stream */
void reel_put(struct reel_stream *s, reel_tensor dst, const void *host); /* host may change on return */
void reel_get(struct reel_stream *s, void *host, reel_tensor src);       /* waits: host is filled on return */
void reel_get_start(struct reel_stream *s, void *host, reel_tensor src); /* host of reel_host_alloc; filled by reel_sync */
void reel_copy(struct reel_stream *s, reel_tensor dst, reel_tensor src); /* same dtype and count; no overlap */

#endif
