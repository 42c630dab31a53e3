/* File work behind the training thread, and waiting for it together. */
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"
#include "ckpt/ckpt_priv.h"
#include "comm/watch.h"

#define QUIET_S 60 /* no rank has written a byte for so long: worth a line */
#define STUCK 4    /* times the watchdog's deadline: the file system does not come back */

static void *body(void *arg)
{
    struct ckpt_task *t = arg;

    reel_err_clear();
    t->err = t->run(t->ctx);
    t->rec = *reel_errrec();
    atomic_store(&t->done, 1);
    return NULL;
}

void ckpt_task_start(struct ckpt_task *t, reel_err (*run)(void *ctx), void *ctx)
{
    struct reel_errrec mine = *reel_errrec();

    t->run = run, t->ctx = ctx, t->err = REEL_OK;
    atomic_store(&t->done, 0);
    t->started = reel_thread_start(&t->thread, body, t) == 0;
    if (t->started) return;
    body(t); /* no thread to be had: now */
    *reel_errrec() = mine;
}

void ckpt_task_none(struct ckpt_task *t)
{
    t->started = 0, t->err = REEL_OK;
    atomic_store(&t->done, 1);
}

reel_err ckpt_task_end(struct ckpt_task *t)
{
    if (t->started) pthread_join(t->thread, NULL);
    t->started = 0;
    if (t->err) *reel_errrec() = t->rec; /* the thread's story becomes this thread's */
    return t->err;
}

/* `busy` ranks have not ended and nobody has written a byte for some time. A thread in a call that does not return cannot be
 * ended, so the process is. */
static void quiet(struct ckpt_wait *w, int64_t busy, double seconds, const struct reel_comm *world)
{
    double most = STUCK * reel_watch_seconds(world->watch);

    REEL_BUG_IF(most > 0 && seconds > most, "%s: no rank has written anything for %.0f s, %d times training.watchdog_s, and %lld of %d have not "
                "ended: the file system is stuck", w->what, seconds, STUCK, (long long)busy, world->size);
    if (seconds <= QUIET_S * (1 << w->said)) return;
    fprintf(stderr, "reel: warning: %s: no rank has written anything for %.0f s; waiting for the file system\n", w->what, seconds);
    if (w->said < 20) w->said++;
}

int ckpt_task_look(struct ckpt_task *t, struct reel_comm *world, struct ckpt_wait *w)
{
    int done = atomic_load(&t->done);
    double now = reel_now();
    int64_t v[3] = { !done, done && t->err, w->progress ? (int64_t)atomic_load(w->progress) : 0 };

    reel_comm_sum_i64(world, v, 3);
    w->failed = v[1] > 0;
    if (v[2] != w->bytes || w->seen == 0) w->bytes = v[2], w->seen = now;
    if (w->progress && v[0] && world->rank == 0) quiet(w, v[0], now - w->seen, world);
    return v[0] == 0;
}

void ckpt_nap(unsigned *us)
{
    usleep(*us);
    if (*us < 100000) *us += *us / 8;
}

reel_err ckpt_task_wait(struct ckpt_task *t, struct reel_comm *world)
{
    struct ckpt_wait w = { .what = "" };
    unsigned us = 100;

    while (!ckpt_task_look(t, world, &w)) ckpt_nap(&us);
    return reel_agree(world, ckpt_task_end(t));
}
