#ifndef REEL_BE_PLACE_H
#define REEL_BE_PLACE_H

/* Where the ranks of a node run: the GPU of each, its processors, and how many threads that makes. */

#include "be/device.h"

struct hwloc_topology;

enum { REEL_CPUS_WORDS = 4096 / (8 * (int)sizeof(long)) };
/* A set of processors by the system's numbers, as plain data; what is numbered from 4096 on is not known. */
struct reel_cpus { unsigned long w[REEL_CPUS_WORDS]; };

/* What a rank was given by whoever started it; plain data, to be sent to the node's first rank. */
struct reel_given {
    struct reel_cpus cpus; /* where it may run */
    struct reel_gpus gpus; /* n 0: it computes on its processors */
};

/* Whether ranks that nobody bound are: never, where they can be kept to NUMA nodes apart, or always. */
enum reel_bind { REEL_BIND_NEVER, REEL_BIND_NUMA, REEL_BIND_ALWAYS };
enum reel_bound { REEL_BOUND_NOT, REEL_BOUND_LAUNCHER, REEL_BOUND_REEL };

/* What becomes of it; plain data. */
struct reel_place {
    int gpu;              /* of those that it sees; -1: none */
    int bound;            /* enum reel_bound: who limits its processors */
    int cores;            /* its share of the cores of `cpus`, at least 1: threads */
    int alone;            /* no other rank has any of `cpus` */
    int refused;          /* errno of reel_place_take: the system would not bind it */
    struct reel_cpus cpus;
    char numa[32];        /* their NUMA nodes, "0-1,4" */
};

/**
 * reel_place_ranks - GPU and processors for each of a node's n ranks. Local, and a function of its arguments alone.
 * GPU: ranks choose in order, the free card with the least NUMA distance to their processors, else in the order in which they see
 * them; where only other cards are left, an earlier rank changes over. No two ranks share one.
 * Processors: what differs between ranks was bound by the launcher and stays. Ranks that all have the same are bound here, if `bind`
 * says so, there are two or more of them, cores for all of them, and not more than its share of threads is asked of each: with GPUs to
 * cores of the NUMA node that is nearest to the card and has some left, shared among those who come there; without, to
 * even parts in the topology's order. Cores are whole: the hyperthreads of one belong to one rank.
 * @threads  that every rank is to have, 0: one per core
 * Errors: REEL_ECONFIG: a rank finds no GPU of its own. REEL_ENOMEM.
 */
reel_err reel_place_ranks(struct reel_place *out, const struct reel_given *rank, int n, struct hwloc_topology *t, enum reel_bind bind,
                          int threads);

/** reel_place_given - fill in where this process may run now. Local. REEL_ENOMEM. */
reel_err reel_place_given(struct reel_cpus *now);
/** reel_place_node - reel_place_ranks on this machine, as it is. Local. */
reel_err reel_place_node(struct reel_place *out, const struct reel_given *rank, int n, enum reel_bind bind, int threads);
/** reel_place_take - bind this process and its threads, if the place says so; where the system refuses, it stays as it was, and
 * the place says where: p->refused. Local. */
void reel_place_take(struct reel_place *p);
/** reel_place_leave - back to where the process could run before reel_place_take. Local. */
void reel_place_leave(const struct reel_place *p, const struct reel_cpus *before);

/* Where a rank runs, for the table of ranks: the node's name, the processors it may use, "0-3,8", their NUMA nodes, "bound by the
 * launcher", or the errno of a system that would not bind it; of its backend: threads, and the PCI address of its GPU, "": none. */
struct reel_host { char node[64], cores[64], numa[32], bound[24], gpu[20]; int refused, n_cores, threads; };
void reel_host_here(struct reel_host *h, const struct reel_backend *be, const struct reel_place *place); /* Local */

/** reel_cpus_text - "0-3,8"; what does not fit ends with "...". Local. */
void reel_cpus_text(const struct reel_cpus *c, char *out, size_t size);

#endif
