/* MPICH over UCX polls its transport without pause. With more ranks than cores the poller burns
 * the time slice its peer needs. This definition of ucp_worker_progress stands before the
 * library's own in the dynamic linker's search order; an idle poll gives the core to whoever waits
 * for it. With a free core sched_yield returns at once. Another transport never calls it. */
#include "comm/comm_priv.h"

#include <dlfcn.h>
#include <sched.h>
#include <string.h>

unsigned ucp_worker_progress(void *worker);

static unsigned (*library_progress)(void *worker); /* set once, before MPI_Init */

void reel_yield_init(void)
{
    void *sym = dlsym(RTLD_NEXT, "ucp_worker_progress");

    memcpy(&library_progress, &sym, sizeof sym);
}

unsigned ucp_worker_progress(void *worker)
{
    unsigned n;

    if (!library_progress) reel_yield_init();
    n = library_progress(worker);
    if (!n) sched_yield();
    return n;
}
