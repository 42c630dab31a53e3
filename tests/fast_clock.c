/* Preloaded: once the file FAST_CLOCK exists, the clock gains 0.4 s each time that somebody looks at it. Ten minutes
 * are over soon after the test has said so, and not before, however slow the machine. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define TICK 400000000L /* ns */
#define SECOND 1000000000L

int clock_gettime(clockid_t id, struct timespec *t)
{
    static _Atomic long ticks;
    static int (*_Atomic real)(clockid_t, struct timespec *);
    const char *file = getenv("FAST_CLOCK");
    long ns;
    int rc;

    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    rc = real(id, t);
    if (file && access(file, F_OK) == 0) ticks++;
    ns = t->tv_nsec + ticks * TICK;
    t->tv_sec += ns / SECOND;
    t->tv_nsec = ns % SECOND;
    return rc;
}
