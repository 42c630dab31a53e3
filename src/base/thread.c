#include "base/thread.h"

#include <signal.h>
#include <stddef.h>

int reel_thread_start(pthread_t *t, void *(*run)(void *ctx), void *ctx)
{
    sigset_t all, old;
    int e;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    e = pthread_create(t, NULL, run, ctx);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return e;
}
