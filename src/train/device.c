/* which device a run computes on */
#include "train/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* A job has its processors for itself; elsewhere others may compute on them too, and the system moves whoever is in their way. */
static enum reel_bind bind_of(const struct reel_device_opts *o)
{
    if (o->bind != REEL_BINDING_AUTO) return o->bind == REEL_BINDING_ALWAYS ? REEL_BIND_ALWAYS : REEL_BIND_NEVER;
    return o->env && reel_env_get(o->env, REEL_ENV_SLURM_JOB_ID) ? REEL_BIND_ALWAYS : REEL_BIND_NUMA;
}

/* The first rank of each node places all of its ranks. Collective(world); the same verdict on every rank. */
static reel_err place_ranks(struct reel_seat *d, const struct reel_device_opts *o, const struct reel_gpus *gpus, struct reel_comm *world)
{
    struct reel_given *mine = calloc(1, sizeof *mine), *all;
    struct reel_place *place;
    struct reel_comm node;
    reel_err e;

    reel_comm_node(&node, world);
    all = node.rank == 0 ? malloc((size_t)node.size * sizeof *all) : NULL;
    place = malloc((size_t)node.size * sizeof *place);
    e = mine && place && (all || node.rank) ? reel_place_given(&d->before) : REEL_FAIL(REEL_ENOMEM, "no memory to place %d ranks", node.size);
    e = reel_agree(world, e);
    if (e == REEL_OK) {
        *mine = (struct reel_given){ d->before, *gpus };
        reel_comm_gather(&node, mine, sizeof *mine, all, 0);
        e = reel_agree(world, node.rank ? REEL_OK : reel_place_node(place, all, node.size, bind_of(o), gpus->n ? 0 : o->threads));
    }
    if (e == REEL_OK) {
        reel_comm_bcast(&node, place, (size_t)node.size * sizeof *place, 0);
        d->place = place[node.rank];
    }
    reel_comm_close(&node);
    free(place);
    free(all);
    free(mine);
    return e;
}

static void say_cpu(const struct reel_gpus *g, int64_t see, const struct reel_comm *world)
{
    if (world->rank) return;
    if (see == 0) printf("reel: device auto: cpu (%s)\n", g->why);
    else printf("reel: device auto: cpu (only %lld of %d ranks see a GPU)\n", (long long)see, world->size);
}

/* What all ranks compute on: *m stays NULL for the CPU. */
static reel_err choose(const struct reel_module **m, struct reel_gpus *g, const struct reel_device_opts *o, struct reel_comm *world)
{
    int64_t see;

    if (o->device == REEL_DEVICE_CPU) return REEL_OK;
    REEL_TRY(reel_agree(world, look(m, g, o->device, o->env)));
    see = g->n > 0;
    reel_comm_sum_i64(world, &see, 1);
    if (see == world->size) return REEL_OK;
    if (o->device == REEL_DEVICE_CUDA)
        return reel_agree(world, g->n ? REEL_OK : REEL_FAIL(REEL_ECONFIG, "training.device is cuda, and no GPU answers: %s; start the job on a "
                                 "node with GPUs (sbatch --gpus-per-node=N), or set training.device to cpu", g->why));
    if (!o->quiet) say_cpu(g, see, world);
    *m = NULL;
    g->n = 0;
    return REEL_OK;
}

reel_err reel_device_open(struct reel_seat *d, struct reel_backend **be, const struct reel_device_opts *o, struct reel_comm *world)
{
    const struct reel_module *m = NULL;
    struct reel_gpus g = { 0 };
    reel_err e;

    *be = NULL;
    REEL_TRY(choose(&m, &g, o, world));
    REEL_TRY(place_ranks(d, o, &g, world));
    reel_place_take(&d->place); /* before there are threads, which inherit it */
    e = m ? reel_backend_open_device(be, m, d->place.gpu) : reel_backend_open(be, "cpu", o->threads ? o->threads : d->place.cores);
    if (e == REEL_OK && d->place.alone) reel_backend_pin(*be);
    return reel_agree(world, e);
}

void reel_device_close(struct reel_seat *d, struct reel_backend *be)
{
    reel_backend_close(be);
    reel_place_leave(&d->place, &d->before);
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
