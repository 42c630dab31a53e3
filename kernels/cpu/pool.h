#ifndef REEL_KERNELS_CPU_POOL_H
#define REEL_KERNELS_CPU_POOL_H

#include <stdint.h>

/* The threads of one rank. The caller of reel_pool_run is worker 0 and takes part. */
struct reel_pool;

typedef void (*reel_task_fn)(void *arg, int64_t task, int worker);

/**
 * reel_pool_cores - cores in the cpuset this process may use (hwloc), at least 1; *unbound (may be NULL) = 1
 * if that is every core of the node. Local.
 */
int reel_pool_cores(int *unbound);
/**
 * reel_pool_open - `threads` workers, the caller included; NULL if memory or threads are lacking. Local.
 * Workers are pinned one to a core only if threads equals reel_pool_cores(NULL): a smaller number may
 * share the machine with other ranks of the same cpuset, which would land on the same cores.
 */
struct reel_pool *reel_pool_open(int threads);
void reel_pool_close(struct reel_pool *p);
int reel_pool_threads(const struct reel_pool *p);
/**
 * reel_pool_run - fn(arg, i, worker) for i in 0..n-1, in any order, on any workers; returns when
 * all are done. Local. Not reentrant: a task must not call it on the same pool. Tasks are canonical
 * (cut by sizes only), so results do not depend on who runs them.
 */
void reel_pool_run(struct reel_pool *p, int64_t n, reel_task_fn fn, void *arg);

#endif
