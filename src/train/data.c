#include "train/data.h"

#include <stdio.h>
#include <unistd.h>

#include "data/demo_set.h"

#define MAX_PATHS 64

/* A set that is not there is made from the built-in clips if the configuration says how many. */
static reel_err make_demo(const struct reel_config *cfg, const char *path, int quiet, struct reel_comm *world)
{
    const struct reel_cfg_data *d = &cfg->training.data;
    struct reel_demo_args demo = { .path = path, .seed = (uint64_t)d->demo_seed, .clips = d->demo_clips,
                                   .height = (int)d->num_height, .width = (int)d->num_width, .frames = (int)d->num_frames };
    int exists = access(path, F_OK) == 0;

    reel_comm_bcast(world, &exists, sizeof exists, 0);
    if (exists || d->demo_clips <= 0) return REEL_OK;
    if (!d->num_height || !d->num_width || !d->num_frames)
        return reel_config_fail(cfg, "training.data.demo_clips", "%s is not there, and to make it num_height, "
                                "num_width and num_frames are needed; e.g. 64, 64 and 17", path);
    if (world->rank == 0 && !quiet)
        printf("reel: %s is not there: making it from %ld built-in clips\n", path, (long)d->demo_clips);
    return reel_set_make_demo(&demo, world);
}

reel_err reel_open_data(struct reel_set **set, const struct reel_config *cfg, int quiet, struct reel_comm *world)
{
    const struct reel_cfg_data *d = &cfg->training.data;
    struct reel_set_source src[MAX_PATHS];
    int n = d->data_path.n;

    if (n == 0)
        return reel_config_fail(cfg, "training.data.data_path",
                                "no data set is named; write the file that `reel preprocess` made");
    if (n > MAX_PATHS)
        return reel_config_fail(cfg, "training.data.data_path", "%d paths; at most %d", n, MAX_PATHS);
    for (int i = 0; i < n; i++) {
        src[i] = (struct reel_set_source){ d->data_path.v[i].path, d->data_path.v[i].times };
        REEL_TRY(make_demo(cfg, src[i].path, quiet, world));
    }
    return reel_set_open_list(set, src, n, world);
}
