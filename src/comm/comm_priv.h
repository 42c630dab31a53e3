#ifndef REEL_COMM_COMM_PRIV_H
#define REEL_COMM_COMM_PRIV_H

#include <mpi.h>

#include "comm/comm.h"

/* comm.h writes MPICH's handles as ints. */
_Static_assert(_Generic((MPI_Comm)0, int: 1, default: 0) && _Generic((MPI_Request)0, int: 1, default: 0),
               "this MPI library's handles are not MPICH's");

/* yield.c: find the transport's progress function, so that idle polls give the core away. Local. */
void reel_yield_init(void);

/* coll.c: add to the traffic counters. Local. */
void reel_comm_count(struct reel_comm *c, enum reel_coll kind, double bytes);

#endif
