#ifndef REEL_BE_CORES_H
#define REEL_BE_CORES_H

/* Cores of this machine, or processors where the system knows no cores: the only walk over them. */

#include <hwloc.h>

struct reel_pool;

/** reel_cores_open - this machine's processors, cores and NUMA nodes, and no more: quick to find out about; NULL: hwloc cannot. Local. */
hwloc_topology_t reel_cores_open(void);
/** reel_cores_given - *set becomes where this process may run; all processors, where the system does not say. Local. */
void reel_cores_given(hwloc_topology_t t, hwloc_bitmap_t set);
/** reel_core_next - the core after `prev` (NULL: the first) that has a processor of `set`, or NULL. Local. */
hwloc_obj_t reel_core_next(hwloc_topology_t t, hwloc_const_bitmap_t set, hwloc_obj_t prev);
int reel_cores_count(hwloc_topology_t t, hwloc_const_bitmap_t set); /* Local */

/** reel_cores_here - cores that this process may use, at least 1. Local. */
int reel_cores_here(void);
/**
 * reel_cores_pin - a core for each worker, if they are reel_cores_here(). Local.
 * For a set of processors that no other process computes in: it would pin to the same cores.
 */
void reel_cores_pin(const struct reel_pool *p);

#endif
