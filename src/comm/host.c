/* where a rank runs */
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "comm/comm.h"

/* "0-3,8" of the processors this process may use; what does not fit ends with "..." */
static void cores(char *out, size_t size)
{
    cpu_set_t set;
    size_t at = 0;

    snprintf(out, size, "?");
    if (sched_getaffinity(0, sizeof set, &set)) return;
    for (int i = 0, last; i < CPU_SETSIZE; i = last + 1) {
        last = i;
        if (!CPU_ISSET(i, &set)) continue;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &set)) last++;
        if (at + 16 > size) {
            snprintf(out + at, size - at, ",...");
            return;
        }
        at += (size_t)(last > i ? snprintf(out + at, size - at, "%s%d-%d", at ? "," : "", i, last)
                                : snprintf(out + at, size - at, "%s%d", at ? "," : "", i));
    }
}

void reel_host_here(struct reel_host *h, const struct reel_backend *be)
{
    memset(h, 0, sizeof *h);
    gethostname(h->node, sizeof h->node - 1);
    cores(h->cores, sizeof h->cores);
    snprintf(h->gpu, sizeof h->gpu, "%s", reel_backend_bus(be));
    h->threads = reel_backend_threads(be);
}
