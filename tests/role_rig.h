#ifndef REEL_TESTS_ROLE_RIG_H
#define REEL_TESTS_ROLE_RIG_H

/* A role over all ranks, rig_tp of them tensor parallel and the others sharded, its table made from a safetensors file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/model.h"
#include "nn/params.h"
#include "tensor/safetensors.h"

extern const struct reel_model_ops reel_model_wan; /* of the registry */

static struct reel_comm W;
static struct reel_backend *be;
static int rig_tp = 1;

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

/* A role of the first n lines of a table of the caller's, or of rig_open's. */
static void rig_table(struct rig *r, struct reel_param_def *def, int n, int units, int trainable)
{
    struct reel_mesh_dims d = { W.size, 1, W.size / rig_tp, 1, rig_tp };

    memset(r, 0, sizeof *r);
    r->scratch.name = r->params.name = r->optim.name = r->work.name = "t";
    r->cfg = (struct reel_params_cfg){ "student", def, n, units, REEL_F32, trainable, reel_model_wan.naming, 1 };
    if (reel_mesh_open(&r->mesh, &W, &d)) abort();
    rig_params(r, 1);
    reel_params_close(r->ps);
    size_t a = r->params.used, b = r->optim.used, c = r->work.used;
    if (reel_arena_open(&r->scratch, be, "scratch", 1 << 16) || reel_arena_open(&r->params, be, "params", a) ||
        reel_arena_open(&r->optim, be, "optim", b) || reel_arena_open(&r->work, be, "work", c))
        abort();
    rig_params(r, 0);
}

/* Which way Wan's layers go, by their names. */
static enum reel_param_split rig_split(const char *name)
{
    static const struct { const char *part; enum reel_param_split split; } row[] = {
        { ".to_q.", REEL_SPLIT_ROWS }, { ".to_k.", REEL_SPLIT_ROWS }, { ".to_v.", REEL_SPLIT_ROWS },
        { ".norm_q.", REEL_SPLIT_ROWS }, { ".norm_k.", REEL_SPLIT_ROWS }, { ".net.0.proj.", REEL_SPLIT_ROWS },
        { ".to_out.0.weight", REEL_SPLIT_COLS }, { ".net.2.weight", REEL_SPLIT_COLS },
    };

    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (strstr(name, row[i].part)) return row[i].split;
    return REEL_SPLIT_NONE;
}

/* A role whose table is the tensors of a file. */
__attribute__((unused)) static void rig_open(struct rig *r, const char *file, int trainable)
{
    struct reel_param_def *def;
    struct reel_st *st;
    int n;

    if (reel_st_open(&st, file)) abort();
    n = reel_st_count(st);
    def = calloc((size_t)n, sizeof *def);
    for (int i = 0; i < n; i++) {
        const struct reel_st_entry *e = reel_st_entry(st, i);
        snprintf(def[i].name, sizeof def[i].name, "%s", e->name);
        def[i].nd = e->nd;
        if (sscanf(e->name, "blocks.%d.", &def[i].unit) == 1) def[i].unit++;
        memcpy(def[i].n, e->n, sizeof def[i].n);
        def[i].split = rig_split(e->name);
    }
    reel_st_close(st);
    rig_table(r, def, n, 3, trainable);
    r->def = def;
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
