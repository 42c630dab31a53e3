/* nonblocking collectives on backend memory: their start */
#include "be/backend.h"
#include "comm/comm.h"
#include "comm/comm_priv.h"

static MPI_Request *next_request(struct reel_comm *c, struct reel_req *req)
{
    REEL_BUG_IF(req->n >= REEL_REQ_MAX, "more than %d collectives in flight on %s", REEL_REQ_MAX, c->name);
    return &req->r[req->n++];
}

/* Bytes of one of the `size` equal chunks of t. */
static size_t chunk_bytes(const struct reel_comm *c, reel_tensor t)
{
    REEL_BUG_IF(reel_numel(t) % c->size, "%ld elements do not divide over the %d ranks of %s",
                (long)reel_numel(t), c->size, c->name);
    return reel_bytes(t) / (size_t)c->size;
}

/* A device's collectives run in the order of their tickets: the last one stands for all of the request. */
static void note(struct reel_req *req, struct reel_stream *s, uint32_t ticket)
{
    req->n = 1;
    req->s = s;
    req->ticket = ticket;
}

static int on_device(const struct reel_comm *c, const struct reel_stream *s)
{
    REEL_BUG_IF(s->be->dev && !c->coll, "no communicator of the device for %s", c->name);
    return s->be->dev != NULL;
}

void reel_comm_allgather_start(struct reel_comm *c, struct reel_stream *s, reel_tensor full,
                               struct reel_req *req)
{
    size_t n = chunk_bytes(c, full);

    if (c->size == 1 || n == 0) return;
    reel_comm_count(c, REEL_COLL_ALLGATHER, (double)n * (c->size - 1));
    if (s->planning) return;
    if (on_device(c, s)) return note(req, s, s->be->dev->allgather(c->coll, s, full.p, n));
    reel_sync(s);
    MPI_Iallgather_c(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, full.p, (MPI_Count)n, MPI_BYTE, c->mpi, next_request(c, req));
}

void reel_comm_alltoall_start(struct reel_comm *c, struct reel_stream *s, reel_tensor dst, reel_tensor src,
                              struct reel_req *req)
{
    size_t n = chunk_bytes(c, src);

    REEL_BUG_IF(reel_bytes(dst) != reel_bytes(src), "alltoall on %s: %zu bytes into %zu", c->name,
                reel_bytes(src), reel_bytes(dst));
    if (n == 0) return;
    reel_comm_count(c, REEL_COLL_ALLTOALL, (double)n * (c->size - 1));
    if (s->planning) return;
    if (c->size == 1) return reel_copy(s, dst, src);
    if (on_device(c, s)) return note(req, s, s->be->dev->alltoall(c->coll, s, dst.p, src.p, n));
    reel_sync(s);
    MPI_Ialltoall_c(src.p, (MPI_Count)n, MPI_BYTE, dst.p, (MPI_Count)n, MPI_BYTE, c->mpi, next_request(c, req));
}
