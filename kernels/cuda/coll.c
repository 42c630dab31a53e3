/* collectives: NCCL on a queue of their own */
#include <nccl.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/module.h"

struct reel_accel_comm {
    struct reel_accel *d;
    struct reel_accel_comm *next;
    ncclComm_t nccl;
    struct reel_coll_seat seat;
};

static void check(const struct reel_accel_comm *c, ncclResult_t e, const char *call, int line)
{
    if (e == ncclSuccess) return;
    reel_die_(__FILE__, line, "NCCL on %s, rank %d of %d, CUDA device %d (%s): %s: %s; %s", c->seat.name, c->seat.rank,
              c->seat.size, c->d->shown.device, c->d->bus, call, ncclGetErrorString(e), ncclGetLastError(c->nccl));
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

reel_err cuda_coll_open(struct reel_accel *d, struct reel_accel_comm **out, const unsigned char *id, const struct reel_coll_seat *seat)
{
    struct reel_accel_comm *c = calloc(1, sizeof *c);
    ncclUniqueId u;
    ncclResult_t e;

    if (!c) return REEL_FAIL(REEL_ENOMEM, "no memory for the communicator %s", seat->name);
    memcpy(&u, id, sizeof u);
    *c = (struct reel_accel_comm){ .d = d, .next = d->coll, .seat = *seat };
    e = ncclCommInitRank(&c->nccl, seat->size, u, seat->rank);
    if (e != ncclSuccess) {
        free(c);
        return REEL_FAIL(REEL_EIO, "NCCL cannot connect the %d ranks of %s: %s; %s (NCCL_DEBUG=INFO says more)", seat->size,
                         seat->name, ncclGetErrorString(e), ncclGetLastError(NULL));
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

static void check_all(const struct reel_accel *d)
{
    for (const struct reel_accel_comm *c = d->coll; c; c = c->next) {
        ncclResult_t later = ncclSuccess;
        NCCL(c, ncclCommGetAsyncError(c->nccl, &later));
        if (later != ncclInProgress) check(c, later, "a collective under way", __LINE__);
    }
}

/* ---- on their way ---- */

static struct cuda_ticket *ticket(struct reel_accel *d, uint32_t n) { return &d->ticket[n % CUDA_TICKETS]; }

/* The oldest collective that is not done, or NULL. They are done in their order. */
static struct cuda_ticket *oldest(struct reel_accel *d)
{
    while (d->n_done != d->n_tickets && cuda_came(d, ticket(d, d->n_done)->done)) d->n_done++;
    return d->n_done != d->n_tickets ? ticket(d, d->n_done) : NULL;
}

void cuda_coll_moved(struct reel_accel *d)
{
    if (d->awaited) d->awaited->seat.leave(d->awaited->seat.comm, d->before);
    d->awaited = NULL;
}

void cuda_coll_look(struct reel_accel *d)
{
    struct cuda_ticket *t = oldest(d);

    check_all(d);
    if (t && !cuda_came(d, t->began)) t = NULL; /* its operators come first: nobody else is waited for */
    if (t && d->awaited && d->awaited_ticket == d->n_done) return;
    cuda_coll_moved(d);
    if (!t || !t->c->seat.enter) return;
    d->awaited = t->c;
    d->awaited_ticket = d->n_done;
    d->before = t->c->seat.enter(t->c->seat.comm);
}

/* The collectives' queue waits for what the operators' queue holds now. The host does not run further ahead than there are
 * tickets: so the oldest that is under way is known, and the driver's own queue, where a full one blocks the host unseen, does not fill. */
static cudaStream_t start(struct reel_accel *d, struct reel_accel_comm *c)
{
    struct cuda_ticket *t = ticket(d, d->n_tickets);

    if (d->n_tickets - d->n_done == CUDA_TICKETS && oldest(d) == t) {
        cuda_wait(d, t->done);
        oldest(d);
    }
    t->c = c;
    REEL_CUDA(cudaEventRecord(t->began, d->compute));
    REEL_CUDA(cudaStreamWaitEvent(d->comm, t->began, 0));
    return d->comm;
}

static uint32_t finish(struct reel_accel *d)
{
    REEL_CUDA(cudaEventRecord(ticket(d, d->n_tickets)->done, d->comm));
    return d->n_tickets++;
}

uint32_t cuda_allgather(struct reel_accel_comm *c, struct reel_stream *s, void *full, size_t chunk)
{
    struct reel_accel *d = cuda_device(s);
    cudaStream_t q = start(d, c);

    NCCL(c, ncclAllGather((char *)full + chunk * (size_t)c->seat.rank, full, chunk, ncclChar, c->nccl, q));
    return finish(d);
}

uint32_t cuda_alltoall(struct reel_accel_comm *c, struct reel_stream *s, void *dst, const void *src, size_t chunk)
{
    struct reel_accel *d = cuda_device(s);
    cudaStream_t q = start(d, c);
    size_t mine = chunk * (size_t)c->seat.rank;

    REEL_CUDA(cudaMemcpyAsync((char *)dst + mine, (const char *)src + mine, chunk, cudaMemcpyDeviceToDevice, q));
    NCCL(c, ncclGroupStart());
    for (int i = 1; i < c->seat.size; i++) { /* to the right, from the left: no rank is everyone's first */
        size_t to = (size_t)((c->seat.rank + i) % c->seat.size), from = (size_t)((c->seat.rank + c->seat.size - i) % c->seat.size);
        NCCL(c, ncclSend((const char *)src + chunk * to, chunk, ncclChar, (int)to, c->nccl, q));
        NCCL(c, ncclRecv((char *)dst + chunk * from, chunk, ncclChar, (int)from, c->nccl, q));
    }
    NCCL(c, ncclGroupEnd());
    return finish(d);
}

void cuda_ticket_wait(struct reel_stream *s, uint32_t n)
{
    struct reel_accel *d = cuda_device(s);

    if (d->n_tickets - n > CUDA_TICKETS) return; /* its place was given away, so it is done */
    REEL_CUDA(cudaStreamWaitEvent(d->compute, ticket(d, n)->done, 0));
}
