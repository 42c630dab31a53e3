#ifndef REEL_COMM_COMM_H
#define REEL_COMM_COMM_H

#include <mpi.h>
#include <stdint.h>

#include "base/err.h"
#include "be/be.h"

/* The sole caller of MPI_. A Collective function returns the same code on every rank. */
struct reel_comm {
    MPI_Comm mpi;
    int rank, size;
    const char *name; /* "world", "shard", ... */
    double *bytes;    /* per collective kind, for the end-of-run table; may be NULL */
};

/* World ranks form tp x (replicate x shard), tp innermost; an SP group is sp neighbouring ranks
 * along the HSDP axes; dp groups = (replicate*shard)/sp. */
struct reel_mesh_dims { int world, replicate, shard, sp, tp; };
struct reel_mesh {
    struct reel_mesh_dims dims;
    struct reel_comm world, replicate, shard, sp, tp;
    struct reel_comm hsdp; /* all replicate x shard ranks of one tp coordinate */
    int dp_rank, dp_size;  /* data-parallel group of this rank, number of groups */
};

/** reel_comm_start - MPI_Init_thread, error handler, die hook, world communicator. Collective. */
reel_err reel_comm_start(struct reel_comm *world, int *argc, char ***argv);
void reel_comm_stop(void); /* MPI_Finalize; Collective(world) */

/** reel_mesh_check - Symmetric: judge dims without MPI; the message names numbers that would work. */
reel_err reel_mesh_check(const struct reel_mesh_dims *d, int heads);
/** reel_mesh_open - make the communicators. Collective(world). */
reel_err reel_mesh_open(struct reel_mesh *m, const struct reel_comm *world, const struct reel_mesh_dims *d);
void reel_mesh_close(struct reel_mesh *m);

/** reel_agree - one rank's error becomes everyone's, with the same words. Collective(c). */
reel_err reel_agree(struct reel_comm *c, reel_err mine);
/** reel_comm_same - REEL_ECONFIG unless `hash` is equal on every rank. Collective(c). */
reel_err reel_comm_same(struct reel_comm *c, const char *what, uint64_t hash);

/* Host memory; Collective(c). Sums of doubles are in rank order (gather, then one fixed tree). */
void reel_comm_sum(struct reel_comm *c, double *v, int n);
void reel_comm_sum_i64(struct reel_comm *c, int64_t *v, int n);
void reel_comm_minavgmax(struct reel_comm *c, const double *v, int n, double *min, double *avg, double *max);
void reel_comm_bcast(struct reel_comm *c, void *p, size_t bytes, int root);
void reel_comm_barrier(struct reel_comm *c);
/** reel_comm_bcast_blob - root's malloc'ed bytes on every rank (caller frees). Collective(c). */
reel_err reel_comm_bcast_blob(struct reel_comm *c, void **p, size_t *bytes, int root);
void reel_comm_gather(struct reel_comm *c, const void *mine, size_t bytes, void *all, int root);
void reel_comm_allgather(struct reel_comm *c, const void *mine, size_t bytes, void *all);

/* Backend memory; started in the order of the stream, finished by reel_comm_wait. */
#define REEL_REQ_MAX 64
struct reel_req { MPI_Request r[REEL_REQ_MAX]; int n; };

/** reel_comm_allgather_start - in place: rank i's chunk of `full` [size*chunk] is its own already. */
void reel_comm_allgather_start(struct reel_comm *c, struct reel_stream *s, reel_tensor full,
                               struct reel_req *req);
/** reel_comm_alltoall_start - chunk i of src goes to rank i; dst[i] comes from rank i (equal chunks). */
void reel_comm_alltoall_start(struct reel_comm *c, struct reel_stream *s, reel_tensor dst, reel_tensor src,
                              struct reel_req *req);
void reel_comm_wait(struct reel_comm *c, struct reel_req *req);
void reel_comm_progress(struct reel_req *req); /* Local: let the library move bytes */

#endif
