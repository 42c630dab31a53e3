#ifndef REEL_KERNELS_DEVICE_H
#define REEL_KERNELS_DEVICE_H

/* What a device module is: a shared object that offers the operators on memory which the host cannot read, and
 * the means to reach it. src/be opens modules; nothing else calls these tables.
 *
 * Work runs in the order of two queues of the device: one for operators and copies (that of reel_stream), one
 * for collectives. A collective starts after what the first queue held then; reel_device_ops.wait makes the
 * first queue, not the host, wait for it. So memory that an arena gives out again is not written before
 * its last reader is done, as long as whoever started a collective waits before giving its buffers back. */

#include "base/err.h"
#include "kernels/kernels.h"

struct reel_accel; /* one opened GPU: its queues, staging memory, library handles */
struct reel_accel_comm;   /* this rank's end of a communicator of the device's library */

enum { REEL_DEVICE_MAX = 32, REEL_COLL_ID_BYTES = 128 };

struct reel_device_info {
    char bus[20];  /* PCI address, "0000:17:00.0": the same in every process of the node */
    char name[76]; /* "NVIDIA H100 80GB HBM3" */
    size_t bytes;  /* of its memory */
};

struct reel_comm;

/* This rank's place in a communicator, and who is told when the host waits there for its peers: enter gives what leave
 * wants (comm/watch.h). */
struct reel_coll_seat {
    int rank, size;
    const char *name;
    const struct reel_comm *comm;
    int64_t (*enter)(const struct reel_comm *comm); /* NULL: nobody is told */
    void (*leave)(const struct reel_comm *comm, int64_t before);
};

/* Local and asynchronous unless said otherwise. Faults of the device die. */
struct reel_device_ops {
    /** count - devices that this process sees; 0 with the reason in `why`. */
    int (*count)(char *why, size_t size);
    reel_err (*info)(int i, struct reel_device_info *info);
    /** open - the i-th of them, for this process alone. Errors: REEL_ECONFIG, REEL_ENOMEM. */
    reel_err (*open)(struct reel_accel **d, int i);
    void (*close)(struct reel_accel *d);
    /** attach - make s the queue of operators. */
    void (*attach)(struct reel_accel *d, struct reel_stream *s);

    /** alloc - REEL_ENOMEM names `what` and how much was free. */
    reel_err (*alloc)(struct reel_accel *d, void **p, size_t bytes, const char *what);
    void (*free)(struct reel_accel *d, void *p); /* waits for both queues */
    /** host_alloc - page-locked host memory, which copies need not stage; NULL: none left. */
    void *(*host_alloc)(struct reel_accel *d, size_t bytes);
    void (*host_free)(struct reel_accel *d, void *p);

    /** put - `host` may be changed on return: what is not page-locked is staged. */
    void (*put)(struct reel_stream *s, void *dst, const void *host, size_t bytes);
    /** get - waits: `host` is filled on return. */
    void (*get)(struct reel_stream *s, void *host, const void *src, size_t bytes);
    /** get_start - into memory of host_alloc; filled after sync. */
    void (*get_start)(struct reel_stream *s, void *host, const void *src, size_t bytes);
    void (*copy)(struct reel_stream *s, void *dst, const void *src, size_t bytes); /* no overlap */
    void (*sync)(struct reel_stream *s); /* waits for both queues */

    /** coll_id - a new communicator's name, to be handed to its ranks. */
    reel_err (*coll_id)(unsigned char id[REEL_COLL_ID_BYTES]);
    /** coll_open - Collective over the ranks with the same id; waits. A wait of the host for the device (get, put, sync, free)
     * that turns out to be one for the peers of a collective is told to the collective's seat. */
    reel_err (*coll_open)(struct reel_accel *d, struct reel_accel_comm **c, const unsigned char *id, const struct reel_coll_seat *seat);
    void (*coll_close)(struct reel_accel *d, struct reel_accel_comm *c); /* Collective */
    /** allgather, alltoall - chunk: bytes from each rank. The ticket is for wait. */
    uint32_t (*allgather)(struct reel_accel_comm *c, struct reel_stream *s, void *full, size_t chunk);
    uint32_t (*alltoall)(struct reel_accel_comm *c, struct reel_stream *s, void *dst, const void *src, size_t chunk);
    /** wait - what s gets from now on runs after that collective and all before it. */
    void (*wait)(struct reel_stream *s, uint32_t ticket);
};

/* The one name that a module exports: `reel_module`. A program takes it if everything before the tables is
 * what the program was built with. */
struct reel_module {
    const char *version;         /* of the package */
    unsigned abi;                /* checksum of the headers */
    size_t ops_size, device_size;
    const struct reel_backend_ops *ops;
    const struct reel_device_ops *device;
};

#endif
