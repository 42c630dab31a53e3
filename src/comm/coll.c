/* blocking collectives on host memory */
#include <stdlib.h>
#include <string.h>

#include "comm/comm.h"
#include "comm/comm_priv.h"
#include "comm/watch.h"

static const char *const coll_names[REEL_NCOLL] = { "allgather", "alltoall", "allreduce", "bcast" };

const char *reel_coll_name(enum reel_coll k) { return coll_names[k]; }

void reel_comm_count(struct reel_comm *c, enum reel_coll kind, double bytes)
{
    if (c->bytes) c->bytes[kind] += bytes;
}

enum { PIECE = 512, TAG_SUM = 1 }; /* doubles summed at once: a buffer on the stack, not a malloc */

/* Binomial tree to rank 0: rank r holds the sum of the subtree [r, r + 2^k) and adds its right
 * neighbour's; a neighbour beyond the last rank is a hole. Then everyone gets rank 0's bits. */
static void sum_piece(struct reel_comm *c, double *v, int n)
{
    double right[PIECE];

    for (int bit = 1; bit < c->size; bit <<= 1) {
        if (c->rank & bit) {
            MPI_Send(v, n, MPI_DOUBLE, c->rank - bit, TAG_SUM, c->mpi);
            break;
        }
        if (c->rank + bit >= c->size) continue;
        MPI_Recv(right, n, MPI_DOUBLE, c->rank + bit, TAG_SUM, c->mpi, MPI_STATUS_IGNORE);
        for (int i = 0; i < n; i++) v[i] += right[i];
    }
    MPI_Bcast(v, n, MPI_DOUBLE, 0, c->mpi);
}

void reel_comm_sum(struct reel_comm *c, double *v, int n)
{
    int64_t was;

    if (c->size == 1) return;
    was = reel_watch_enter(c);
    for (int i = 0; i < n; i += PIECE) sum_piece(c, v + i, n - i < PIECE ? n - i : PIECE);
    reel_watch_leave(c, was);
    reel_comm_count(c, REEL_COLL_ALLREDUCE, 8.0 * n);
}

void reel_comm_sum_i64(struct reel_comm *c, int64_t *v, int n)
{
    int64_t was;

    if (c->size == 1) return;
    was = reel_watch_enter(c);
    MPI_Allreduce(MPI_IN_PLACE, v, n, MPI_INT64_T, MPI_SUM, c->mpi);
    reel_watch_leave(c, was);
    reel_comm_count(c, REEL_COLL_ALLREDUCE, 8.0 * n);
}

static void reduce_to(struct reel_comm *c, const double *v, double *out, int n, MPI_Op op)
{
    int64_t was;

    if (out != v) memcpy(out, v, (size_t)n * sizeof *v);
    if (c->size == 1) return;
    was = reel_watch_enter(c);
    MPI_Allreduce(MPI_IN_PLACE, out, n, MPI_DOUBLE, op, c->mpi);
    reel_watch_leave(c, was);
    reel_comm_count(c, REEL_COLL_ALLREDUCE, 8.0 * n);
}

void reel_comm_minavgmax(struct reel_comm *c, const double *v, int n, double *min, double *avg, double *max)
{
    reduce_to(c, v, min, n, MPI_MIN);
    reduce_to(c, v, max, n, MPI_MAX);
    memcpy(avg, v, (size_t)n * sizeof *v);
    reel_comm_sum(c, avg, n);
    for (int i = 0; i < n; i++) avg[i] /= c->size;
}

void reel_comm_bcast(struct reel_comm *c, void *p, size_t bytes, int root)
{
    int64_t was;

    if (c->size == 1) return;
    was = reel_watch_enter(c);
    MPI_Bcast_c(p, (MPI_Count)bytes, MPI_BYTE, root, c->mpi);
    reel_watch_leave(c, was);
    if (c->rank != root) reel_comm_count(c, REEL_COLL_BCAST, (double)bytes);
}

void reel_comm_barrier(struct reel_comm *c)
{
    int64_t was = reel_watch_enter(c);

    MPI_Barrier(c->mpi);
    reel_watch_leave(c, was);
}

static reel_err blob_room(struct reel_comm *c, void **p, uint64_t bytes, int root)
{
    if (c->rank == root) return REEL_OK;
    *p = bytes ? malloc(bytes) : NULL;
    if (reel_fault("comm_blob")) {
        free(*p);
        *p = NULL;
    }
    if (bytes && !*p) return REEL_FAIL(REEL_ENOMEM, "no memory for %llu bytes sent by rank %d of %s",
                                       (unsigned long long)bytes, root, c->name);
    return REEL_OK;
}

reel_err reel_comm_bcast_blob(struct reel_comm *c, void **p, size_t *bytes, int root)
{
    uint64_t n = *bytes;
    reel_err e;

    reel_comm_bcast(c, &n, sizeof n, root);
    e = reel_agree(c, blob_room(c, p, n, root));
    if (e) {
        if (c->rank != root) {
            free(*p);
            *p = NULL;
        }
        return e;
    }
    *bytes = (size_t)n;
    reel_comm_bcast(c, *p, (size_t)n, root);
    return REEL_OK;
}

void reel_comm_gather(struct reel_comm *c, const void *mine, size_t bytes, void *all, int root)
{
    MPI_Count n = (MPI_Count)bytes;
    int64_t was = reel_watch_enter(c);

    MPI_Gather_c(mine, n, MPI_BYTE, all, n, MPI_BYTE, root, c->mpi);
    reel_watch_leave(c, was);
    if (c->rank == root) reel_comm_count(c, REEL_COLL_ALLGATHER, (double)bytes * (c->size - 1));
}

void reel_comm_allgather(struct reel_comm *c, const void *mine, size_t bytes, void *all)
{
    MPI_Count n = (MPI_Count)bytes;
    int64_t was = reel_watch_enter(c);

    MPI_Allgather_c(mine, n, MPI_BYTE, all, n, MPI_BYTE, c->mpi);
    reel_watch_leave(c, was);
    reel_comm_count(c, REEL_COLL_ALLGATHER, (double)bytes * (c->size - 1));
}
