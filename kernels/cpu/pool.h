#ifndef REEL_KERNELS_CPU_POOL_H
#define REEL_KERNELS_CPU_POOL_H

#include <pthread.h>
#include <stdint.h>

/* The threads of one rank. The caller of reel_pool_run is worker 0 and takes part. */
struct reel_pool;

typedef void (*reel_task_fn)(void *arg, int64_t task, int worker);

/** reel_pool_open - `threads` workers, the caller included; NULL if memory or threads are lacking. Local. */
struct reel_pool *reel_pool_open(int threads);
void reel_pool_close(struct reel_pool *p);
int reel_pool_threads(const struct reel_pool *p);
pthread_t reel_pool_thread(const struct reel_pool *p, int worker); /* of a worker from 1 on; 0 is whoever calls reel_pool_run */
/**
 * reel_pool_run - fn(arg, i, worker) for i in 0..n-1, in any order, on any workers; returns when
 * all are done. Local. Not reentrant: a task must not call it on the same pool. Tasks are canonical
 * (cut by sizes only), so results do not depend on who runs them.
 */
void reel_pool_run(struct reel_pool *p, int64_t n, reel_task_fn fn, void *arg);

#endif
