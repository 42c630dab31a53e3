/* Preloaded: a system that lets no process choose its processors, as some containers do. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>

int sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *set)
{
    (void)pid, (void)size, (void)set;
    errno = EPERM;
    return -1;
}
