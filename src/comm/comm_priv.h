#ifndef REEL_COMM_COMM_PRIV_H
#define REEL_COMM_COMM_PRIV_H

#include "comm/comm.h"

/* yield.c: find the transport's progress function, so that idle polls give the core away. Local. */
void reel_yield_init(void);

/* coll.c: add to the traffic counters. Local. */
void reel_comm_count(struct reel_comm *c, enum reel_coll kind, double bytes);

#endif
