/* collectives: NCCL on a queue of their own */
#include <nccl.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/module.h"

struct reel_accel_comm {
    struct reel_accel *d;
    struct reel_accel_comm *next;
    ncclComm_t nccl;
    int rank, size;
    const char *name;
};

static void check(const struct reel_accel_comm *c, ncclResult_t e, const char *call, int line)
{
    if (e == ncclSuccess) return;
    reel_die_(__FILE__, line, "NCCL on %s, rank %d of %d, CUDA device %d (%s): %s: %s; %s", c->name, c->rank, c->size,
              c->d->shown.device, c->d->bus, call, ncclGetErrorString(e), ncclGetLastError(c->nccl));
}
#define NCCL(c, call) check((c), (call), #call, __LINE__)

reel_err cuda_coll_id(unsigned char id[REEL_COLL_ID_BYTES])
{
    ncclUniqueId u;
    ncclResult_t e = ncclGetUniqueId(&u);

    _Static_assert(sizeof u == REEL_COLL_ID_BYTES, "NCCL's unique id has another size");
    if (e != ncclSuccess) return REEL_FAIL(REEL_EIO, "NCCL gives no unique id: %s; %s", ncclGetErrorString(e), ncclGetLastError(NULL));
    memcpy(id, &u, sizeof u);
    return REEL_OK;
}

reel_err cuda_coll_open(struct reel_accel *d, struct reel_accel_comm **out, const unsigned char *id, int rank, int size,
                        const char *name)
{
    struct reel_accel_comm *c = calloc(1, sizeof *c);
    ncclUniqueId u;
    ncclResult_t e;

    if (!c) return REEL_FAIL(REEL_ENOMEM, "no memory for the communicator %s", name);
    memcpy(&u, id, sizeof u);
    *c = (struct reel_accel_comm){ .d = d, .next = d->coll, .rank = rank, .size = size, .name = name };
    e = ncclCommInitRank(&c->nccl, size, u, rank);
    if (e != ncclSuccess) {
        free(c);
        return REEL_FAIL(REEL_EIO, "NCCL cannot connect the %d ranks of %s: %s; %s (NCCL_DEBUG=INFO says more)", size, name,
                         ncclGetErrorString(e), ncclGetLastError(NULL));
    }
    *out = d->coll = c;
    return REEL_OK;
}

void cuda_coll_close(struct reel_accel *d, struct reel_accel_comm *c)
{
    struct reel_accel_comm **at = &d->coll;

    while (*at != c) at = &(*at)->next;
    *at = c->next;
    NCCL(c, ncclCommDestroy(c->nccl));
    free(c);
}

void cuda_coll_check(struct reel_accel *d)
{
    for (const struct reel_accel_comm *c = d->coll; c; c = c->next) {
        ncclResult_t later = ncclSuccess;
        NCCL(c, ncclCommGetAsyncError(c->nccl, &later));
        if (later != ncclInProgress) check(c, later, "a collective under way", __LINE__);
    }
}

/* The collectives' queue waits for what the operators' queue holds now. */
static cudaStream_t start(struct reel_accel *d)
{
    REEL_CUDA(cudaEventRecord(d->started, d->compute));
    REEL_CUDA(cudaStreamWaitEvent(d->comm, d->started, 0));
    return d->comm;
}

static uint32_t finish(struct reel_accel *d)
{
    uint32_t t = d->n_tickets++;

    REEL_CUDA(cudaEventRecord(d->ticket[t % CUDA_TICKETS], d->comm));
    return t;
}

uint32_t cuda_allgather(struct reel_accel_comm *c, struct reel_stream *s, void *full, size_t chunk)
{
    struct reel_accel *d = cuda_device(s);
    cudaStream_t q = start(d);

    NCCL(c, ncclAllGather((char *)full + chunk * (size_t)c->rank, full, chunk, ncclChar, c->nccl, q));
    return finish(d);
}

uint32_t cuda_alltoall(struct reel_accel_comm *c, struct reel_stream *s, void *dst, const void *src, size_t chunk)
{
    struct reel_accel *d = cuda_device(s);
    cudaStream_t q = start(d);
    size_t mine = chunk * (size_t)c->rank;

    REEL_CUDA(cudaMemcpyAsync((char *)dst + mine, (const char *)src + mine, chunk, cudaMemcpyDeviceToDevice, q));
    NCCL(c, ncclGroupStart());
    for (int i = 1; i < c->size; i++) { /* to the right, from the left: no rank is everyone's first */
        size_t to = (size_t)((c->rank + i) % c->size), from = (size_t)((c->rank + c->size - i) % c->size);
        NCCL(c, ncclSend((const char *)src + chunk * to, chunk, ncclChar, (int)to, c->nccl, q));
        NCCL(c, ncclRecv((char *)dst + chunk * from, chunk, ncclChar, (int)from, c->nccl, q));
    }
    NCCL(c, ncclGroupEnd());
    return finish(d);
}

/* The event of a ticket that has come round again is that of a later collective: waiting for it is more than
 * enough, and all before it is on its way. */
void cuda_ticket_wait(struct reel_stream *s, uint32_t ticket)
{
    struct reel_accel *d = cuda_device(s);

    REEL_CUDA(cudaStreamWaitEvent(d->compute, d->ticket[ticket % CUDA_TICKETS], 0));
}
