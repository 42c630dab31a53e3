#include "base/clock.h"

#include <time.h>

#include "base/thread.h"

#define TICK_NS 250000000 /* how often a thread that does nothing else looks at the clock ... */
#define STOP_S 2          /* ... so when nobody has looked for so long, no thread of this process ran */

/* A process stops as a whole, so there is one of it. Under the lock: no two threads see one stop, and none sees time go back. */
static struct {
    pthread_mutex_t lock;
    int watched;
    double seen, stopped;
} clock_ = { .lock = PTHREAD_MUTEX_INITIALIZER };

static double monotonic(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double reel_now(void)
{
    double now, stopped;

    pthread_mutex_lock(&clock_.lock);
    now = monotonic();
    if (clock_.watched && now - clock_.seen > STOP_S) clock_.stopped += now - clock_.seen;
    clock_.seen = now;
    stopped = clock_.stopped;
    pthread_mutex_unlock(&clock_.lock);
    return now - stopped;
}

double reel_clock_stopped(void)
{
    double stopped;

    reel_now();
    pthread_mutex_lock(&clock_.lock);
    stopped = clock_.stopped;
    pthread_mutex_unlock(&clock_.lock);
    return stopped;
}

static void *ticks(void *unused)
{
    const struct timespec tick = { 0, TICK_NS };

    for (;;) {
        reel_now();
        nanosleep(&tick, NULL);
    }
    return unused;
}

void reel_clock_watch(void)
{
    pthread_t thread;

    pthread_mutex_lock(&clock_.lock);
    if (!clock_.watched && reel_thread_start(&thread, ticks, NULL) == 0) {
        pthread_detach(thread);
        clock_.watched = 1;
        clock_.seen = monotonic();
    }
    pthread_mutex_unlock(&clock_.lock);
}
