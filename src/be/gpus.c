/* which GPU a rank takes */
#include <hwloc.h>
#include <stdio.h>
#include <string.h>

#include "be/device.h"

/* Marks the GPUs whose PCI bus is beside the cores that this process may run on. */
static void mark_near(struct reel_gpus *g)
{
    hwloc_bitmap_t mine = hwloc_bitmap_alloc();
    hwloc_topology_t t;

    if (!mine || hwloc_topology_init(&t)) return hwloc_bitmap_free(mine);
    hwloc_topology_set_io_types_filter(t, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
    if (!hwloc_topology_load(t) && !hwloc_get_cpubind(t, mine, HWLOC_CPUBIND_PROCESS))
        for (int i = 0; i < g->n; i++) {
            hwloc_obj_t pci = hwloc_get_pcidev_by_busidstring(t, g->gpu[i].bus);
            hwloc_obj_t node = pci ? hwloc_get_non_io_ancestor_obj(t, pci) : NULL;
            g->gpu[i].near = node && node->cpuset && hwloc_bitmap_intersects(node->cpuset, mine);
        }
    hwloc_topology_destroy(t);
    hwloc_bitmap_free(mine);
}

void reel_gpus_look(struct reel_gpus *g, const struct reel_module *m)
{
    struct reel_device_info info;

    *g = (struct reel_gpus){ 0 };
    if (!m) {
        snprintf(g->why, sizeof g->why, "%.150s", reel_errrec()->msg);
        return;
    }
    g->n = m->device->count(g->why, sizeof g->why);
    for (int i = 0; i < g->n; i++) {
        if (m->device->info(i, &info)) {
            snprintf(g->why, sizeof g->why, "%.150s", reel_errrec()->msg);
            g->n = 0;
            return;
        }
        memcpy(g->gpu[i].bus, info.bus, sizeof g->gpu[i].bus);
    }
    if (g->n) mark_near(g);
}

static int is_taken(const struct reel_gpu *gpu, const struct reel_gpu *const *taken, int n)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(taken[i]->bus, gpu->bus)) return 1;
    return 0;
}

/* The first free GPU, of those that are near if `near`; NULL: none. */
static const struct reel_gpu *first_free(const struct reel_gpus *g, int near, const struct reel_gpu *const *taken, int n)
{
    for (int i = 0; i < g->n; i++)
        if (g->gpu[i].near >= near && !is_taken(&g->gpu[i], taken, n)) return &g->gpu[i];
    return NULL;
}

static reel_err none_left(const struct reel_gpus *g, int rank, int n)
{
    if (g->n == 0) return REEL_FAIL(REEL_ECONFIG, "rank %d of this node sees no GPU: %s", rank, g->why);
    return REEL_FAIL(REEL_ECONFIG, "rank %d of the %d ranks of a node finds no GPU for itself: it sees %d (%s%s) and lower ranks took "
                     "%s; two ranks cannot share a GPU: start one rank per GPU (srun --ntasks-per-node=%d), or let "
                     "every rank see GPUs of its own (srun --gpus-per-task=1)",
                     rank, n, g->n, g->gpu[0].bus, g->n > 1 ? ", ..." : "", g->n > 1 ? "them all" : "it", g->n);
}

reel_err reel_gpus_pick(const struct reel_gpus *all, int n, int me, int *mine)
{
    const struct reel_gpu *taken[REEL_DEVICE_MAX], *g;

    for (int r = 0; r < n; r++) {
        g = r < REEL_DEVICE_MAX ? first_free(&all[r], 1, taken, r) : NULL;
        if (!g && r < REEL_DEVICE_MAX) g = first_free(&all[r], 0, taken, r);
        if (!g) return none_left(&all[r], r, n);
        taken[r] = g;
        if (r == me) *mine = (int)(g - all[r].gpu);
    }
    return REEL_OK;
}
