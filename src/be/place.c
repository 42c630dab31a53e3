/* which GPU and which processors each rank of a node takes */
#include "be/place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "be/cores.h"

/* ---- sets of processors ---- */

static hwloc_bitmap_t to_bitmap(const struct reel_cpus *c)
{
    hwloc_bitmap_t b = hwloc_bitmap_alloc();

    for (int i = 0; b && i < REEL_CPUS_WORDS; i++)
        if (hwloc_bitmap_set_ith_ulong(b, (unsigned)i, c->w[i])) hwloc_bitmap_free(b), b = NULL;
    return b;
}

static void from_bitmap(struct reel_cpus *c, hwloc_const_bitmap_t b)
{
    for (int i = 0; i < REEL_CPUS_WORDS; i++) c->w[i] = hwloc_bitmap_to_ith_ulong(b, (unsigned)i);
}

static int same_cpus(const struct reel_cpus *a, const struct reel_cpus *b) { return !memcmp(a, b, sizeof *a); }

/* The list of b's members, cut at a comma where it is too long. */
static void list_text(hwloc_const_bitmap_t b, char *out, size_t size)
{
    int n = hwloc_bitmap_list_snprintf(out, size, b);

    if (n < 0 || (size_t)n < size) return;
    for (size_t i = size - 5; i > 0; i--)
        if (out[i] == ',') {
            strcpy(out + i, ",...");
            return;
        }
}

void reel_cpus_text(const struct reel_cpus *c, char *out, size_t size)
{
    hwloc_bitmap_t b = to_bitmap(c);

    snprintf(out, size, "?");
    if (b) list_text(b, out, size);
    hwloc_bitmap_free(b);
}

/* ---- one node ---- */

struct node {
    hwloc_topology_t t;
    struct hwloc_distances_s *latency; /* between NUMA nodes; NULL: the system does not say */
    const struct reel_given *rank;
    struct reel_place *place;
    int n;
    hwloc_bitmap_t *set; /* [n] where each rank may run */
    int *seen;           /* [n] ranks that a search has been to */
    int n_cores, n_numa;
    hwloc_obj_t *core;   /* [n_cores] of the set that all ranks share, in the topology's order */
    int *home;           /* [n_cores] the NUMA node of each */
    int *lives, *room;   /* [n_numa] ranks that were sent there, its cores */
    int *seat;           /* [n] the NUMA node of each rank */
};

static hwloc_obj_t numa(const struct node *k, int i) { return hwloc_get_obj_by_type(k->t, HWLOC_OBJ_NUMANODE, (unsigned)i); }

/* In ACPI's units, where 10 is local; without the system's matrix by the tree: another node of the package, another package. */
static uint64_t distance(const struct node *k, hwloc_obj_t a, hwloc_obj_t b)
{
    int i = k->latency ? hwloc_distances_obj_index(k->latency, a) : -1, j = k->latency ? hwloc_distances_obj_index(k->latency, b) : -1;
    hwloc_obj_t pa = hwloc_get_ancestor_obj_by_type(k->t, HWLOC_OBJ_PACKAGE, a), pb = hwloc_get_ancestor_obj_by_type(k->t, HWLOC_OBJ_PACKAGE, b);

    if (i >= 0 && j >= 0) return k->latency->values[(unsigned)i * k->latency->nbobjs + (unsigned)j];
    if (a == b) return 10;
    return pa && pa == pb ? 15 : 20;
}

/* ---- GPUs ---- */

/* The NUMA nodes beside a card: all of them where the system does not say. */
static hwloc_const_bitmap_t beside(const struct node *k, const struct reel_gpu *g)
{
    hwloc_obj_t pci = hwloc_get_pcidev_by_busidstring(k->t, g->bus), at = pci ? hwloc_get_non_io_ancestor_obj(k->t, pci) : NULL;

    return at && at->nodeset && !hwloc_bitmap_iszero(at->nodeset) ? at->nodeset : hwloc_topology_get_topology_nodeset(k->t);
}

/* From a NUMA node to those beside the card, on average, in hundredths: a card that is beside all is no nearer than one beside this. */
static uint64_t to_gpu(const struct node *k, hwloc_obj_t from, const struct reel_gpu *g)
{
    hwloc_const_bitmap_t near = beside(k, g);
    uint64_t sum = 0, n = 0;

    for (int i = 0; i < k->n_numa; i++)
        if (hwloc_bitmap_isset(near, numa(k, i)->os_index)) sum += 100 * distance(k, numa(k, i), from), n++;
    return n ? sum / n : 0;
}

/* Summed over the processors of a rank: one that spans nodes is near to none. */
static uint64_t cost(const struct node *k, int r, const struct reel_gpu *g)
{
    hwloc_bitmap_t here = hwloc_bitmap_alloc();
    uint64_t sum = 0;

    for (int i = 0; here && i < k->n_numa; i++) {
        hwloc_bitmap_and(here, numa(k, i)->cpuset, k->set[r]);
        if (!hwloc_bitmap_iszero(here)) sum += (uint64_t)hwloc_bitmap_weight(here) * to_gpu(k, numa(k, i), g);
    }
    hwloc_bitmap_free(here);
    return sum;
}

/* The rank that has card i of rank r's, or -1. */
static int holder(const struct node *k, int r, int i)
{
    for (int h = 0; h < k->n; h++)
        if (k->place[h].gpu >= 0 && !strcmp(k->rank[h].gpus.gpu[k->place[h].gpu].bus, k->rank[r].gpus.gpu[i].bus)) return h;
    return -1;
}

static int take_nearest(struct node *k, int r)
{
    uint64_t best = UINT64_MAX;

    for (int i = 0; i < k->rank[r].gpus.n; i++) {
        uint64_t c = holder(k, r, i) < 0 ? cost(k, r, &k->rank[r].gpus.gpu[i]) : UINT64_MAX;
        if (c < best) best = c, k->place[r].gpu = i;
    }
    return best < UINT64_MAX;
}

/* r takes a card whose holder finds another: an augmenting path of the matching. */
static int take_over(struct node *k, int r)
{
    k->seen[r] = 1;
    for (int i = 0; i < k->rank[r].gpus.n; i++) {
        int h = holder(k, r, i);
        if (h >= 0 && k->seen[h]) continue;
        if (h >= 0 && !take_over(k, h)) continue;
        k->place[r].gpu = i;
        return 1;
    }
    return 0;
}

static reel_err none_left(const struct reel_gpus *g, int rank, int n)
{
    if (g->n == 0) return REEL_FAIL(REEL_ECONFIG, "rank %d of this node sees no GPU: %s", rank, g->why);
    return REEL_FAIL(REEL_ECONFIG, "rank %d of the %d ranks of a node finds no GPU for itself: it sees %d (%s%s) and other ranks took "
                     "%s; two ranks cannot share a GPU: start one rank per GPU (srun --ntasks-per-node=%d), or let "
                     "every rank see GPUs of its own (srun --gpus-per-task=1)",
                     rank, n, g->n, g->gpu[0].bus, g->n > 1 ? ", ..." : "", g->n > 1 ? "them all" : "it", g->n);
}

static reel_err pick_gpus(struct node *k)
{
    int any = 0;

    for (int r = 0; r < k->n; r++) any |= k->rank[r].gpus.n;
    for (int r = 0; any && r < k->n; r++) {
        memset(k->seen, 0, (size_t)k->n * sizeof *k->seen);
        if (!take_nearest(k, r) && !take_over(k, r)) return none_left(&k->rank[r].gpus, r, k->n);
    }
    return REEL_OK;
}

/* ---- processors ---- */

/* Part `i` of `parts` of the cores c[count], the home of which is `numa` (-1: any), becomes rank r's. */
static void deal(struct node *k, int r, int i, int parts, int home, int count)
{
    int from = (int)((int64_t)count * i / parts), to = (int)((int64_t)count * (i + 1) / parts), at = 0;
    hwloc_bitmap_t mine = hwloc_bitmap_alloc();

    for (int c = 0; mine && c < k->n_cores; c++) {
        if (home >= 0 && k->home[c] != home) continue;
        if (at >= from && at < to) hwloc_bitmap_or(mine, mine, k->core[c]->cpuset);
        at++;
    }
    if (mine) hwloc_bitmap_and(k->set[r], k->set[r], mine);
    hwloc_bitmap_free(mine);
    k->place[r].bound = REEL_BOUND_REEL;
}

/* The NUMA node of core c: the smallest that has it, for memory may hang at several levels. */
static int home_of(const struct node *k, hwloc_obj_t c)
{
    int best = 0, size = 0;

    for (int i = 0; i < k->n_numa; i++) {
        int w = hwloc_bitmap_isincluded(c->cpuset, numa(k, i)->cpuset) ? hwloc_bitmap_weight(numa(k, i)->cpuset) : 0;
        if (w && (!size || w < size)) best = i, size = w;
    }
    return best;
}

/* The NUMA node nearest to rank r's card that has a core for one more; of equals the one that offers most of them. */
static int seat_of(const struct node *k, int r)
{
    uint64_t least = UINT64_MAX;
    int best = 0;

    for (int i = 0; i < k->n_numa; i++) {
        uint64_t d = k->lives[i] < k->room[i] ? to_gpu(k, numa(k, i), &k->rank[r].gpus.gpu[k->place[r].gpu]) : UINT64_MAX;
        if (d > least || d == UINT64_MAX) continue;
        if (d < least || (k->lives[i] + 1) * k->room[best] < (k->lives[best] + 1) * k->room[i]) best = i;
        least = d;
    }
    return best;
}

static void deal_beside_gpus(struct node *k)
{
    for (int c = 0; c < k->n_cores; c++) k->room[k->home[c] = home_of(k, k->core[c])]++;
    for (int r = 0; r < k->n; r++) k->lives[k->seat[r] = seat_of(k, r)]++;
    for (int i = 0; i < k->n_numa; i++)
        for (int r = 0, part = 0; r < k->n; r++)
            if (k->seat[r] == i) deal(k, r, part++, k->lives[i], i, k->room[i]);
}

static int peers(const struct node *k, int r) /* with the same processors, itself included */
{
    int n = 0;

    for (int i = 0; i < k->n; i++) n += same_cpus(&k->rank[i].cpus, &k->rank[r].cpus);
    return n;
}

/* As the ranks came: whoever differs, or is alone with a part of the machine, was bound. */
static void as_given(struct node *k)
{
    for (int r = 0; r < k->n; r++) {
        int cores = reel_cores_count(k->t, k->set[r]) / peers(k, r), shared = k->n > 1 && peers(k, r) == k->n;
        int part = !hwloc_bitmap_isincluded(hwloc_topology_get_topology_cpuset(k->t), k->set[r]);
        k->place[r].bound = part && !shared ? REEL_BOUND_LAUNCHER : REEL_BOUND_NOT;
        k->place[r].cores = cores > 0 ? cores : 1;
    }
}

static int spans_nodes(const struct node *k)
{
    for (int c = 0; c < k->n_cores; c++)
        if (home_of(k, k->core[c]) != home_of(k, k->core[0])) return 1;
    return 0;
}

static void place_processors(struct node *k, enum reel_bind bind, int threads)
{
    as_given(k);
    if (bind == REEL_BIND_NEVER || (bind == REEL_BIND_NUMA && !spans_nodes(k))) return;
    if (k->n < 2 || peers(k, 0) < k->n || k->n_cores < k->n || threads > k->n_cores / k->n) return;
    if (k->place[0].gpu >= 0) deal_beside_gpus(k);
    else
        for (int r = 0; r < k->n; r++) deal(k, r, r, k->n, -1, k->n_cores);
    for (int r = 0; r < k->n; r++) k->place[r].cores = reel_cores_count(k->t, k->set[r]);
}

static int alone(const struct node *k, int r)
{
    for (int i = 0; i < k->n; i++)
        if (i != r && hwloc_bitmap_intersects(k->set[i], k->set[r])) return 0;
    return 1;
}

/* p's processors and their NUMA nodes. */
static void write_where(struct reel_place *p, hwloc_topology_t t, hwloc_const_bitmap_t set)
{
    hwloc_bitmap_t nodes = hwloc_bitmap_alloc();

    from_bitmap(&p->cpus, set);
    if (nodes && !hwloc_cpuset_to_nodeset(t, set, nodes)) list_text(nodes, p->numa, sizeof p->numa);
    hwloc_bitmap_free(nodes);
}

static void write_places(struct node *k)
{
    for (int r = 0; r < k->n; r++) {
        write_where(&k->place[r], k->t, k->set[r]);
        k->place[r].alone = alone(k, r);
    }
}

/* ---- */

static reel_err node_open(struct node *k)
{
    size_t n = (size_t)k->n, m = (size_t)hwloc_get_nbobjs_by_type(k->t, HWLOC_OBJ_NUMANODE);
    size_t c = (size_t)reel_cores_count(k->t, hwloc_topology_get_complete_cpuset(k->t));
    unsigned one = 1;
    int ok;

    k->n_numa = (int)m;
    k->set = calloc(n, sizeof *k->set);
    k->seen = calloc(n, sizeof *k->seen);
    k->seat = calloc(n, sizeof *k->seat);
    k->core = calloc(c, sizeof *k->core);
    k->home = calloc(c, sizeof *k->home);
    k->lives = calloc(m, sizeof *k->lives);
    k->room = calloc(m, sizeof *k->room);
    ok = k->set && k->seen && k->seat && k->core && k->home && k->lives && k->room;
    for (int r = 0; ok && r < k->n; r++) {
        k->place[r] = (struct reel_place){ .gpu = -1 };
        ok = (k->set[r] = to_bitmap(&k->rank[r].cpus)) != NULL;
    }
    if (!ok) return REEL_FAIL(REEL_ENOMEM, "no memory to place %d ranks on a node", k->n);
    for (hwloc_obj_t o = NULL; (o = reel_core_next(k->t, k->set[0], o));) k->core[k->n_cores++] = o;
    if (hwloc_distances_get_by_type(k->t, HWLOC_OBJ_NUMANODE, &one, &k->latency, HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0) || !one) k->latency = NULL;
    return REEL_OK;
}

static void node_close(struct node *k)
{
    if (k->latency) hwloc_distances_release(k->t, k->latency);
    for (int r = 0; k->set && r < k->n; r++) hwloc_bitmap_free(k->set[r]);
    free(k->set);
    free(k->seen);
    free(k->seat);
    free(k->core);
    free(k->home);
    free(k->lives);
    free(k->room);
}

reel_err reel_place_ranks(struct reel_place *out, const struct reel_given *rank, int n, struct hwloc_topology *t, enum reel_bind bind,
                          int threads)
{
    struct node k = { .t = t, .rank = rank, .place = out, .n = n };
    reel_err e = node_open(&k);

    if (e == REEL_OK) e = pick_gpus(&k);
    if (e == REEL_OK) {
        place_processors(&k, bind, threads);
        write_places(&k);
    }
    node_close(&k);
    return e;
}

/* ---- this process ---- */

/* Where this process may run now; 0: hwloc does not know. */
static int look_here(struct reel_place *p)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    hwloc_topology_t t = set ? reel_cores_open() : NULL;

    if (t) {
        reel_cores_given(t, set);
        write_where(p, t, set);
        hwloc_topology_destroy(t);
    }
    hwloc_bitmap_free(set);
    return t != NULL;
}

reel_err reel_place_given(struct reel_cpus *now)
{
    struct reel_place p = { .gpu = -1 };
    int ok = look_here(&p);

    *now = p.cpus;
    return ok ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "hwloc cannot describe this machine: %s", strerror(errno));
}

/* All of this machine, since a rank may be in another control group, and where its cards are; asks no driver. */
static hwloc_topology_t open_machine(void)
{
    hwloc_topology_t t;

    if (hwloc_topology_init(&t)) return NULL;
    hwloc_topology_set_flags(t, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
    hwloc_topology_set_io_types_filter(t, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
    hwloc_topology_set_type_filter(t, HWLOC_OBJ_OS_DEVICE, HWLOC_TYPE_FILTER_KEEP_NONE);
    if (!hwloc_topology_load(t)) return t;
    hwloc_topology_destroy(t);
    return NULL;
}

reel_err reel_place_node(struct reel_place *out, const struct reel_given *rank, int n, enum reel_bind bind, int threads)
{
    hwloc_topology_t t = open_machine();
    reel_err e = t ? reel_place_ranks(out, rank, n, t, bind, threads) : REEL_FAIL(REEL_ENOMEM, "hwloc cannot describe this machine: %s", strerror(errno));

    if (t) hwloc_topology_destroy(t);
    return e;
}

/* 0, or the errno of a system that will not. */
static int bind_to(const struct reel_cpus *c)
{
    hwloc_bitmap_t set = to_bitmap(c);
    hwloc_topology_t t = set ? reel_cores_open() : NULL;
    int e = ENOMEM;

    if (t) e = hwloc_set_cpubind(t, set, HWLOC_CPUBIND_PROCESS) ? errno : 0;
    if (t) hwloc_topology_destroy(t);
    hwloc_bitmap_free(set);
    return e;
}

void reel_place_take(struct reel_place *p)
{
    if (p->bound == REEL_BOUND_REEL) p->refused = bind_to(&p->cpus);
    if (!p->refused) return;
    p->bound = REEL_BOUND_NOT;
    p->alone = 0;
    look_here(p);
}

void reel_place_leave(const struct reel_place *p, const struct reel_cpus *before)
{
    if (p->bound == REEL_BOUND_REEL) bind_to(before);
}

void reel_host_here(struct reel_host *h, const struct reel_backend *be, const struct reel_place *place)
{
    static const char *const by[] = { [REEL_BOUND_NOT] = "not bound", [REEL_BOUND_LAUNCHER] = "bound by the launcher", [REEL_BOUND_REEL] = "bound by reel" };

    memset(h, 0, sizeof *h);
    gethostname(h->node, sizeof h->node - 1);
    reel_cpus_text(&place->cpus, h->cores, sizeof h->cores);
    snprintf(h->numa, sizeof h->numa, "%s", place->numa);
    snprintf(h->gpu, sizeof h->gpu, "%s", reel_backend_bus(be));
    snprintf(h->bound, sizeof h->bound, "%s", by[place->bound]);
    h->refused = place->refused;
    h->n_cores = place->cores;
    h->threads = reel_backend_threads(be);
}
