#include "kernels/cpu/pool.h"

#include <hwloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

/* A worker that finds nothing spins this often (tens of microseconds), then sleeps. */
#define SPINS 4000

/* state = generation << 32 | open << 31 | workers inside. A worker enters a run by raising the
 * count while it is open; a late one never enters, so that the caller waits only for threads that
 * really hold tasks: an oversubscribed machine costs nothing but their share of the work. */
#define OPEN   0x80000000u
#define INSIDE 0x7fffffffu

struct reel_pool {
    int threads;
    pthread_t *thread;
    struct worker {
        struct reel_pool *pool;
        int id;
    } *worker;
    reel_task_fn fn;
    void *arg;
    int64_t n;
    _Alignas(64) atomic_int_fast64_t next;
    _Alignas(64) atomic_uint_fast64_t state;
    atomic_int sleepers, quit;
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void drain(struct reel_pool *p, int id)
{
    for (int64_t i; (i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed)) < p->n;)
        p->fn(p->arg, i, id);
}

/* Waits for a generation other than `seen`; returns the state that showed it. */
static uint64_t wait_for_work(struct reel_pool *p, uint64_t seen)
{
    uint64_t st;

    for (int i = 0; i < SPINS; i++) {
        st = atomic_load(&p->state);
        if (st >> 32 != seen || atomic_load(&p->quit)) return st;
        relax();
    }
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleepers, 1);
    while ((st = atomic_load(&p->state)) >> 32 == seen && !atomic_load(&p->quit))
        pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->lock);
    return st;
}

static void *work(void *arg)
{
    const struct worker *w = arg;
    struct reel_pool *p = w->pool;
    uint64_t seen = 0;

    for (;;) {
        uint64_t st = wait_for_work(p, seen);
        if (atomic_load(&p->quit)) return NULL;
        seen = st >> 32;
        while (st >> 32 == seen && (st & OPEN)) {
            if (!atomic_compare_exchange_weak(&p->state, &st, st + 1)) continue;
            drain(p, w->id);
            atomic_fetch_sub(&p->state, 1);
            break;
        }
    }
}

static void wake_sleepers(struct reel_pool *p)
{
    if (!atomic_load(&p->sleepers)) return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

void reel_pool_run(struct reel_pool *p, int64_t n, reel_task_fn fn, void *arg)
{
    if (p->threads == 1 || n <= 1) {
        for (int64_t i = 0; i < n; i++) fn(arg, i, 0);
        return;
    }
    p->fn = fn;
    p->arg = arg;
    p->n = n;
    atomic_store(&p->next, 0);
    {
        uint64_t gen = (atomic_load(&p->state) >> 32) + 1;
        atomic_store(&p->state, gen << 32 | OPEN);
    }
    wake_sleepers(p);
    drain(p, 0);
    atomic_fetch_and(&p->state, ~(uint64_t)OPEN);
    for (int i = 0; atomic_load(&p->state) & INSIDE; i++)
        if (i < SPINS)
            relax();
        else
            sched_yield();
}

static hwloc_topology_t cores_open(hwloc_bitmap_t set)
{
    hwloc_topology_t t;

    if (hwloc_topology_init(&t)) return NULL;
    hwloc_topology_set_all_types_filter(t, HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_type_filter(t, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL);
    if (hwloc_topology_load(t) || hwloc_get_cpubind(t, set, HWLOC_CPUBIND_PROCESS)) {
        hwloc_topology_destroy(t);
        return NULL;
    }
    return t;
}

/* Core i of those that meet `set`, or NULL; with i < 0 their number. Processors, where the system knows no cores. */
static hwloc_obj_t nth_core(hwloc_topology_t t, hwloc_const_bitmap_t set, int i, int *count)
{
    int depth = hwloc_get_type_or_below_depth(t, HWLOC_OBJ_CORE);

    *count = 0;
    for (hwloc_obj_t c = NULL; (c = hwloc_get_next_obj_by_depth(t, depth, c));)
        if (hwloc_bitmap_intersects(c->cpuset, set) && (*count)++ == i) return c;
    return NULL;
}

int reel_pool_cores(void)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    hwloc_topology_t t = set ? cores_open(set) : NULL;
    int n = 1;

    if (t) {
        nth_core(t, set, -1, &n);
        hwloc_topology_destroy(t);
    }
    hwloc_bitmap_free(set);
    return n > 0 ? n : 1;
}

void reel_pool_pin(struct reel_pool *p)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc(), one = hwloc_bitmap_alloc();
    hwloc_topology_t t = p->threads > 1 && set && one ? cores_open(set) : NULL;
    int n = 0;

    if (t) nth_core(t, set, -1, &n);
    for (int i = 1; t && n == p->threads && i < n; i++) { /* failure to pin is harmless */
        int at;
        hwloc_bitmap_and(one, nth_core(t, set, i, &at)->cpuset, set);
        hwloc_set_thread_cpubind(t, p->thread[i], one, 0);
    }
    if (t) hwloc_topology_destroy(t);
    hwloc_bitmap_free(set);
    hwloc_bitmap_free(one);
}

struct reel_pool *reel_pool_open(int threads)
{
    struct reel_pool *p = aligned_alloc(64, (sizeof *p + 63) / 64 * 64);

    if (!p) return NULL;
    *p = (struct reel_pool){ .threads = 1 };
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->thread = calloc((size_t)threads, sizeof *p->thread);
    p->worker = calloc((size_t)threads, sizeof *p->worker);
    for (int i = 1; i < threads && p->thread && p->worker; i++) {
        p->worker[i] = (struct worker){ p, i };
        if (pthread_create(&p->thread[i], NULL, work, &p->worker[i])) break;
        p->threads++;
    }
    if (p->threads != threads) {
        reel_pool_close(p);
        return NULL;
    }
    return p;
}

void reel_pool_close(struct reel_pool *p)
{
    if (!p) return;
    atomic_store(&p->quit, 1);
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 1; i < p->threads; i++) pthread_join(p->thread[i], NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p->thread);
    free(p->worker);
    free(p);
}

int reel_pool_threads(const struct reel_pool *p)
{
    return p->threads;
}
