#ifndef REEL_COMM_COMM_H
#define REEL_COMM_COMM_H

/* Communicators, collectives and agreement: the sole caller of MPI_. A Collective function returns
 * the same code on every rank. Every sum of floating-point numbers over ranks is taken in one
 * fixed binary tree over the ranks, ((0+1)+(2+3))+..., so repeat runs give the same bits. Handles are
 * written as the ints that they are in MPICH: who only passes them on needs no mpi.h. */

#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "be/be.h"

/* Kinds of traffic in the end-of-run table. A reduce-scatter is an alltoall and a local tree sum. */
enum reel_coll { REEL_COLL_ALLGATHER, REEL_COLL_ALLTOALL, REEL_COLL_ALLREDUCE, REEL_COLL_BCAST, REEL_NCOLL };
const char *reel_coll_name(enum reel_coll k); /* "allgather", ... */

struct reel_comm {
    int mpi; /* MPICH's MPI_Comm; MPI_COMM_NULL in a mesh that is only planned */
    int rank, size;
    const char *name; /* "world", "shard", ... */
    double *bytes;    /* [REEL_NCOLL] bytes this rank received from others; may be NULL */
    struct reel_watch *watch; /* watch.h; NULL: nobody watches */
    struct reel_pulse *pulse; /* pulse.h; NULL: none */
    struct reel_accel_comm *coll; /* for memory of a device (reel_mesh_attach); NULL: memory is the host's, or one rank */
};

/* World ranks form tp x (replicate x shard), tp innermost:
 *     rank = (replicate_rank * shard + shard_rank) * tp + tp_rank
 * An SP group is sp neighbouring ranks along the HSDP axes; dp groups = (replicate*shard)/sp. */
struct reel_mesh_dims { int world, replicate, shard, sp, tp; };

enum reel_axis {
    REEL_AXIS_WORLD,
    REEL_AXIS_HSDP,
    REEL_AXIS_REPLICATE,
    REEL_AXIS_SHARD,
    REEL_AXIS_SP,
    REEL_AXIS_TP,
    REEL_NAXIS
};

#define REEL_SP_HALVINGS 3 /* the first 2^k ranks of an SP group, 2^k the largest that it has, as 2, 4, 8 equal groups */

const char *reel_axis_name(enum reel_axis a); /* "world", ... */

struct reel_mesh {
    struct reel_mesh_dims dims;
    struct reel_comm world, replicate, shard, sp, tp;
    struct reel_comm sp_part[REEL_SP_HALVINGS]; /* of consecutive sp ranks, which share some of the group's samples */
    struct reel_comm hsdp; /* all replicate x shard ranks of one tp coordinate */
    int dp_rank, dp_size;  /* data-parallel group of this rank, number of groups */
    double bytes[REEL_NAXIS][REEL_NCOLL]; /* what the communicators count into: do not copy a mesh */
};

/**
 * reel_comm_start - MPI_Init_thread, error handler, die hook, world communicator. Collective.
 * From here on an MPI error on any rank names rank, phase and step and aborts the job; so does
 * reel_die_ (exit code 70). A peer that is gone is not detected here: its death makes mpiexec or
 * `srun -K1` end the job, which bounds every wait.
 * Errors: REEL_ECONFIG if the library cannot serve more than one thread.
 */
reel_err reel_comm_start(struct reel_comm *world, int *argc, char ***argv);
/** reel_comm_node - the ranks of c that share this rank's node, in c's order. Close it. Collective(c). */
void reel_comm_node(struct reel_comm *node, struct reel_comm *c);
void reel_comm_close(struct reel_comm *c); /* Collective(c) */
void reel_comm_stop(void); /* MPI_Finalize; Collective(world) */

/**
 * reel_comm_check_launch - refuse a world of one where a launcher started many. Symmetric.
 * @tasks, @rank  how many and which one, of the launcher's environment; NULL: not its
 * @launcher, @cure  "the Slurm step has", "start with ..."
 * A launcher that does not speak MPI's protocol starts N programs that each believe to be alone. On error world->rank is the
 * task's number, so that only the first speaks.
 * Errors: REEL_ECONFIG, with the cure.
 */
reel_err reel_comm_check_launch(struct reel_comm *world, const char *tasks, const char *rank, const char *launcher, const char *cure);

/* A list of numbers or pairs for an error message; what does not fit is cut with "...". */
struct reel_list { char s[160]; int n, full; };
/** reel_divisors - numbers that divide of_a, and of_b unless it is 0, as l->s: "1, 2, 4". Local. */
const char *reel_divisors(struct reel_list *l, int of_a, int of_b);

/**
 * reel_mesh_check - judge dims without MPI; the message names numbers that would work. Symmetric.
 * @heads  attention heads of the model, or 0 while it is not known
 * Errors: REEL_ECONFIG.
 */
reel_err reel_mesh_check(const struct reel_mesh_dims *d, int heads);

/**
 * reel_mesh_place - coordinates and sizes of world rank `rank`, without communicators. Local.
 * Enough for every planning run: `reel plan` asks for any rank of any mesh.
 */
void reel_mesh_place(struct reel_mesh *m, const struct reel_mesh_dims *d, int rank);

/** reel_mesh_open - make the communicators of checked dims. Collective(world). */
reel_err reel_mesh_open(struct reel_mesh *m, const struct reel_comm *world, const struct reel_mesh_dims *d);
void reel_mesh_close(struct reel_mesh *m); /* Collective(world) */
/** reel_mesh_sp - the SP group, or with parts 2, 4, 8 this rank's part of its first 2^k ranks cut so. Local. */
struct reel_comm *reel_mesh_sp(struct reel_mesh *m, int parts);

/**
 * reel_comm_attach - let c move the memory of a device's backend; nothing for the CPU's. Collective(world), where every rank
 * comes with one communicator. Detach before the backend is closed. Errors: REEL_EIO, agreed.
 */
reel_err reel_comm_attach(struct reel_comm *c, struct reel_backend *be, struct reel_comm *world);
void reel_comm_detach(struct reel_comm *c, struct reel_backend *be); /* Collective(c) */
/** reel_mesh_attach - the same for all communicators of a mesh. Collective(world). */
reel_err reel_mesh_attach(struct reel_mesh *m, struct reel_backend *be);
void reel_mesh_detach(struct reel_mesh *m, struct reel_backend *be); /* Collective(world) */

struct reel_host;
/**
 * reel_mesh_print - one line per rank with its place and coordinates (long tables are cut in the middle). Local.
 * @host  of every rank of the world (be/place.h), or NULL: the mesh is only planned
 */
void reel_mesh_print(const struct reel_mesh_dims *d, const struct reel_host *host, FILE *f);
/** reel_mesh_print_traffic - bytes this rank received, per axis and kind; silent axes left out. Local. */
void reel_mesh_print_traffic(const struct reel_mesh *m, FILE *f);

/**
 * reel_agree - one rank's error becomes everyone's, with the same words. Collective(c).
 * The lowest failing rank's record (reel_errrec) replaces everyone's, n_failed counts the failures.
 * Costs one 4-byte allreduce when all is well.
 */
reel_err reel_agree(struct reel_comm *c, reel_err mine);
/** reel_comm_same - REEL_ECONFIG unless `hash` is equal on every rank. Collective(c). */
reel_err reel_comm_same(struct reel_comm *c, const char *what, uint64_t hash);

/* Host memory; Collective(c), blocking. */

/** reel_comm_sum - v[n] summed over ranks in the fixed tree; the same bits on every rank. */
void reel_comm_sum(struct reel_comm *c, double *v, int n);
void reel_comm_sum_i64(struct reel_comm *c, int64_t *v, int n);
void reel_comm_minavgmax(struct reel_comm *c, const double *v, int n, double *min, double *avg, double *max);
void reel_comm_bcast(struct reel_comm *c, void *p, size_t bytes, int root); /* any length */
void reel_comm_barrier(struct reel_comm *c);
/**
 * reel_comm_bcast_blob - root's malloc'ed bytes on every rank (caller frees). Collective(c).
 * @p, @bytes  in on root, out elsewhere; *p stays NULL there when *bytes is 0
 * Errors: REEL_ENOMEM, agreed.
 */
reel_err reel_comm_bcast_blob(struct reel_comm *c, void **p, size_t *bytes, int root);
void reel_comm_gather(struct reel_comm *c, const void *mine, size_t bytes, void *all, int root);
void reel_comm_allgather(struct reel_comm *c, const void *mine, size_t bytes, void *all);

/** reel_comm_file_errno - why MPI-IO first failed on this thread since this was last asked, which HDF5 does not tell (file.c); 0: it did
 * not. Local. */
int reel_comm_file_errno(void);

/* Backend memory. Started after what the stream s has queued so far, finished by reel_comm_wait;
 * the buffers belong to the library in between. Collective(c): every rank starts them in one
 * order. On a planning stream they count their bytes and return. On a device nothing of this makes the
 * host wait: reel_comm_wait orders what s gets later behind the collective. */
#define REEL_REQ_MAX 64
struct reel_req {
    int n;               /* 0: empty */
    int r[REEL_REQ_MAX]; /* MPICH's MPI_Request */
    struct reel_stream *s; /* on a device: who waits, and for what */
    uint32_t ticket;
};

/** reel_comm_allgather_start - in place: rank i's chunk of `full` [size*chunk] is its own already. */
void reel_comm_allgather_start(struct reel_comm *c, struct reel_stream *s, reel_tensor full,
                               struct reel_req *req);
/** reel_comm_alltoall_start - chunk i of src goes to rank i; dst[i] comes from rank i (equal chunks). */
void reel_comm_alltoall_start(struct reel_comm *c, struct reel_stream *s, reel_tensor dst, reel_tensor src,
                              struct reel_req *req);
void reel_comm_wait(struct reel_comm *c, struct reel_req *req); /* yields its core; empties req */
void reel_comm_progress(struct reel_req *req);                  /* Local: let the library move bytes */

#endif
