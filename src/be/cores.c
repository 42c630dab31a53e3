#include "be/cores.h"

#include "kernels/cpu/pool.h"

hwloc_topology_t reel_cores_open(void)
{
    hwloc_topology_t t;

    if (hwloc_topology_init(&t)) return NULL;
    hwloc_topology_set_all_types_filter(t, HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_type_filter(t, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL);
    if (!hwloc_topology_load(t)) return t;
    hwloc_topology_destroy(t);
    return NULL;
}

void reel_cores_given(hwloc_topology_t t, hwloc_bitmap_t set)
{
    if (hwloc_get_cpubind(t, set, HWLOC_CPUBIND_PROCESS)) hwloc_bitmap_copy(set, hwloc_topology_get_topology_cpuset(t));
}

hwloc_obj_t reel_core_next(hwloc_topology_t t, hwloc_const_bitmap_t set, hwloc_obj_t prev)
{
    int depth = hwloc_get_type_or_below_depth(t, HWLOC_OBJ_CORE);

    do prev = hwloc_get_next_obj_by_depth(t, depth, prev);
    while (prev && !hwloc_bitmap_intersects(prev->cpuset, set));
    return prev;
}

int reel_cores_count(hwloc_topology_t t, hwloc_const_bitmap_t set)
{
    int n = 0;

    for (hwloc_obj_t c = NULL; (c = reel_core_next(t, set, c));) n++;
    return n;
}

int reel_cores_here(void)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    hwloc_topology_t t = set ? reel_cores_open() : NULL;
    int n = 0;

    if (t) {
        reel_cores_given(t, set);
        n = reel_cores_count(t, set);
        hwloc_topology_destroy(t);
    }
    hwloc_bitmap_free(set);
    return n > 0 ? n : 1;
}

/* Worker i to core i of `set`; the caller, worker 0, stays free. Failure to pin is harmless. */
static void pin(const struct reel_pool *p, hwloc_topology_t t, hwloc_const_bitmap_t set)
{
    hwloc_bitmap_t one = hwloc_bitmap_alloc();
    hwloc_obj_t c = reel_core_next(t, set, NULL);

    for (int i = 1; one && (c = reel_core_next(t, set, c)); i++) {
        hwloc_bitmap_and(one, c->cpuset, set);
        hwloc_set_thread_cpubind(t, reel_pool_thread(p, i), one, 0);
    }
    hwloc_bitmap_free(one);
}

void reel_cores_pin(const struct reel_pool *p)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    hwloc_topology_t t = set && reel_pool_threads(p) > 1 ? reel_cores_open() : NULL;

    if (t) {
        reel_cores_given(t, set);
        if (reel_cores_count(t, set) == reel_pool_threads(p)) pin(p, t, set);
        hwloc_topology_destroy(t);
    }
    hwloc_bitmap_free(set);
}
