/* where a rank runs */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "be/place.h"
#include "comm/comm.h"

void reel_host_here(struct reel_host *h, const struct reel_backend *be, const struct reel_place *place)
{
    memset(h, 0, sizeof *h);
    gethostname(h->node, sizeof h->node - 1);
    reel_cpus_text(&place->cpus, h->cores, sizeof h->cores);
    snprintf(h->numa, sizeof h->numa, "%s", place->numa);
    snprintf(h->gpu, sizeof h->gpu, "%s", reel_backend_bus(be));
    h->bound = place->bound;
    h->refused = place->refused;
    h->n_cores = place->cores;
    h->threads = reel_backend_threads(be);
}
