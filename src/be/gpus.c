/* which GPUs a rank sees */
#include <stdio.h>
#include <string.h>

#include "be/device.h"

void reel_gpus_look(struct reel_gpus *g, const struct reel_module *m)
{
    struct reel_device_info info;

    *g = (struct reel_gpus){ 0 };
    if (!m) {
        snprintf(g->why, sizeof g->why, "%.150s", reel_errrec()->msg);
        return;
    }
    g->n = m->device->count(g->why, sizeof g->why);
    for (int i = 0; i < g->n; i++) {
        if (m->device->info(i, &info)) {
            snprintf(g->why, sizeof g->why, "%.150s", reel_errrec()->msg);
            g->n = 0;
            return;
        }
        memcpy(g->gpu[i].bus, info.bus, sizeof g->gpu[i].bus);
    }
}
