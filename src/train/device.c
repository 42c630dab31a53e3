/* which device a run computes on */
#include "train/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "be/device.h"

static const char *module_path(const struct reel_env *env) { return env ? reel_env_get(env, REEL_ENV_REEL_CUDA_MODULE) : NULL; }

/* This rank's module and what it sees. With `auto` a missing module is a reason, not an error. */
static reel_err look(const struct reel_module **m, struct reel_gpus *g, enum reel_device want, const struct reel_env *env)
{
    reel_err e;

    if (want == REEL_DEVICE_AUTO && !module_path(env) && !reel_driver_there()) {
        snprintf(g->why, sizeof g->why, "no driver is installed");
        return REEL_OK;
    }
    e = reel_module_open(m, module_path(env));
    if (e && want == REEL_DEVICE_CUDA) return e;
    reel_gpus_look(g, e ? NULL : *m);
    reel_err_clear();
    return REEL_OK;
}

/* A GPU of this rank's own. Collective(world); the same verdict on every rank. */
static reel_err choose(int *mine, const struct reel_gpus *g, struct reel_comm *world)
{
    struct reel_comm node;
    struct reel_gpus *all;
    reel_err e;

    reel_comm_node(&node, world);
    all = malloc((size_t)node.size * sizeof *all);
    e = reel_agree(world, all ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for the GPUs of %d ranks", node.size));
    if (e == REEL_OK) {
        reel_comm_allgather(&node, g, sizeof *g, all);
        e = reel_gpus_pick(all, node.size, node.rank, mine);
    }
    free(all);
    reel_comm_close(&node);
    return e;
}

static void say_cpu(const struct reel_gpus *g, int64_t see, const struct reel_comm *world)
{
    if (world->rank) return;
    if (see == 0) printf("reel: device auto: cpu (%s)\n", g->why);
    else printf("reel: device auto: cpu (only %lld of %d ranks see a GPU)\n", (long long)see, world->size);
}

static reel_err open_cuda(struct reel_backend **be, const struct reel_module *m, const struct reel_gpus *g,
                          struct reel_comm *world)
{
    int mine = -1;
    reel_err e = choose(&mine, g, world);

    if (e == REEL_OK) e = reel_backend_open_device(be, m, mine);
    return reel_agree(world, e);
}

reel_err reel_device_open(struct reel_backend **be, enum reel_device want, int threads, const struct reel_env *env,
                          int quiet, struct reel_comm *world)
{
    const struct reel_module *m = NULL;
    struct reel_gpus g = { 0 };
    int64_t see;
    reel_err e;

    *be = NULL;
    if (want == REEL_DEVICE_CPU) return reel_agree(world, reel_backend_open(be, "cpu", threads));
    REEL_TRY(reel_agree(world, look(&m, &g, want, env)));
    see = g.n > 0;
    reel_comm_sum_i64(world, &see, 1);
    if (see == world->size) return open_cuda(be, m, &g, world);
    if (want == REEL_DEVICE_CUDA) {
        e = g.n ? REEL_OK : REEL_FAIL(REEL_ECONFIG, "training.device is cuda, and no GPU answers: %s; start the job on a node with GPUs "
                                      "(sbatch --gpus-per-node=N), or set training.device to cpu", g.why);
        return reel_agree(world, e);
    }
    if (!quiet) say_cpu(&g, see, world);
    return reel_agree(world, reel_backend_open(be, "cpu", threads));
}

reel_err reel_device_plan(struct reel_backend **be, enum reel_device want, const struct reel_env *env)
{
    const struct reel_module *m = NULL;
    struct reel_gpus g = { 0 };

    if (want != REEL_DEVICE_CPU) REEL_TRY(look(&m, &g, want, env));
    if (want == REEL_DEVICE_CUDA || g.n > 0) return reel_backend_open_device(be, m, -1);
    return reel_backend_open(be, "cpu", 1);
}

reel_dtype reel_compute_dtype(const struct reel_config *cfg, const struct reel_backend *be)
{
    switch (cfg->training.compute_dtype) {
    case REEL_COMPUTE_F32: return REEL_F32;
    case REEL_COMPUTE_BF16: return REEL_BF16;
    default: return reel_backend_on_device(be) ? REEL_BF16 : REEL_F32;
    }
}
