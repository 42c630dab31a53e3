#ifndef REEL_TESTS_ROLE_RIG_H
#define REEL_TESTS_ROLE_RIG_H

/* A role sharded over all ranks, its table made from a safetensors file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/params.h"
#include "tensor/safetensors.h"

static struct reel_comm W;
static struct reel_backend *be;

struct rig {
    struct reel_mesh mesh;
    struct reel_stream s;
    struct reel_arena scratch, params, optim, work;
    struct reel_param_def *def;
    struct reel_params_cfg cfg;
    struct reel_params *ps;
};

static void rig_params(struct rig *r, int planning)
{
    reel_stream_init(&r->s, be, planning, &r->scratch);
    if (reel_params_open(&r->ps, &r->cfg, &r->mesh, &r->s, &r->params, &r->optim, &r->work)) abort();
}

/* A role whose table is the tensors of a file. */
static void rig_open(struct rig *r, const char *file, int trainable)
{
    struct reel_mesh_dims d = { W.size, 1, W.size, 1, 1 };
    struct reel_st *st;

    memset(r, 0, sizeof *r);
    r->scratch.name = r->params.name = r->optim.name = r->work.name = "t";
    if (reel_mesh_open(&r->mesh, &W, &d) || reel_st_open(&st, file)) abort();
    r->def = calloc((size_t)reel_st_count(st), sizeof *r->def);
    r->cfg = (struct reel_params_cfg){ "student", r->def, reel_st_count(st), 3, REEL_F32, trainable };
    for (int i = 0; i < r->cfg.n; i++) {
        const struct reel_st_entry *e = reel_st_entry(st, i);
        snprintf(r->def[i].name, sizeof r->def[i].name, "%s", e->name);
        r->def[i].nd = e->nd;
        if (sscanf(e->name, "blocks.%d.", &r->def[i].unit) == 1) r->def[i].unit++;
        memcpy(r->def[i].n, e->n, sizeof r->def[i].n);
    }
    reel_st_close(st);
    rig_params(r, 1);
    reel_params_close(r->ps);
    size_t a = r->params.used, b = r->optim.used, c = r->work.used;
    if (reel_arena_open(&r->scratch, be, "scratch", 1 << 16) || reel_arena_open(&r->params, be, "params", a) ||
        reel_arena_open(&r->optim, be, "optim", b) || reel_arena_open(&r->work, be, "work", c))
        abort();
    rig_params(r, 0);
}

static void rig_close(struct rig *r)
{
    reel_params_close(r->ps);
    reel_arena_close(&r->work, be);
    reel_arena_close(&r->optim, be);
    reel_arena_close(&r->params, be);
    reel_arena_close(&r->scratch, be);
    reel_mesh_close(&r->mesh);
    free(r->def);
}

#endif
