#include "kernels/cpu/pool.h"

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

pthread_t reel_pool_thread(const struct reel_pool *p, int worker)
{
    return p->thread[worker];
}
