#ifndef REEL_KERNELS_CUDA_MODULE_H
#define REEL_KERNELS_CUDA_MODULE_H

/* Host side of the CUDA module. */

#include "kernels/cuda/cuda.h"
#include "kernels/device.h"

/* Page-locked slots that copies pass through in turn; a slot is used again when its copy is done. */
struct cuda_ring {
    char *base;
    size_t slot;       /* bytes of one */
    int n, next;
    cudaEvent_t *done; /* [n] */
};

enum { CUDA_TICKETS = 64 }; /* collectives that may be on their way */

/* A collective on its way. */
struct cuda_ticket {
    cudaEvent_t began, done; /* the operators before it are done, so that it runs or waits for its peers; it is done */
    struct reel_accel_comm *c;
};

struct reel_accel {
    struct reel_cuda shown; /* what operators see */
    char name[76], bus[20];
    cudaStream_t compute, comm;
    struct cuda_ticket ticket[CUDA_TICKETS]; /* used in turn */
    uint32_t n_tickets, n_done;              /* collectives started; those of them that are known to be done */
    struct reel_accel_comm *awaited;         /* of the collective whose peers the host waits for; NULL: it does not */
    uint32_t awaited_ticket;
    int64_t before;                          /* what its seat's enter gave */
    cudaEvent_t synced;
    struct cuda_ring small, large, out; /* host to device, little and much; device to host */
    struct reel_accel_comm *coll;             /* all that are open */
    const char *last_op;                /* the operator launched last, for messages */
};

/* check.c: has the event come? A device that failed dies. Local. */
int cuda_came(const struct reel_accel *d, cudaEvent_t e);
/* check.c: wait for an event without burning the core. Meanwhile a failed collective dies, and one whose peers do not come is
 * shown to the watchdog. Local. */
void cuda_wait(struct reel_accel *d, cudaEvent_t e);
void cuda_drain(struct reel_accel *d); /* device.c: wait for both queues. Local. */
/* copy.c. Local. */
reel_err cuda_rings_open(struct reel_accel *d);
void cuda_rings_close(struct reel_accel *d);
void cuda_put(struct reel_stream *s, void *dst, const void *host, size_t bytes);
void cuda_get(struct reel_stream *s, void *host, const void *src, size_t bytes);
void cuda_get_start(struct reel_stream *s, void *host, const void *src, size_t bytes);
void cuda_copy(struct reel_stream *s, void *dst, const void *src, size_t bytes);
/* coll.c. cuda_coll_look, now and then while the host waits: dies if a communicator has failed, tells who watches whether the
 * oldest collective waits for its peers. cuda_coll_moved: the wait is over. Local. */
void cuda_coll_look(struct reel_accel *d);
void cuda_coll_moved(struct reel_accel *d);
reel_err cuda_coll_id(unsigned char id[REEL_COLL_ID_BYTES]);
reel_err cuda_coll_open(struct reel_accel *d, struct reel_accel_comm **c, const unsigned char *id, const struct reel_coll_seat *seat);
void cuda_coll_close(struct reel_accel *d, struct reel_accel_comm *c);
uint32_t cuda_allgather(struct reel_accel_comm *c, struct reel_stream *s, void *full, size_t chunk);
uint32_t cuda_alltoall(struct reel_accel_comm *c, struct reel_stream *s, void *dst, const void *src, size_t chunk);
void cuda_ticket_wait(struct reel_stream *s, uint32_t ticket);

/* The device of a running stream. */
static inline struct reel_accel *cuda_device(const struct reel_stream *s) { return reel_cuda(s)->owner; }

#endif
