#include "wan_rig.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "models/lora.h"

static void io_new(struct rig *r)
{
    const struct rig_shape *h = &r->shape;
    struct reel_arena *a = &r->act;

    r->io.x = reel_new(a, REEL_F32, REEL_DIMS(h->B, h->T, r->m.channels, h->H, h->W));
    r->io.t = h->per_frame ? reel_new(a, REEL_F32, REEL_DIMS(h->B, h->T)) : reel_new(a, REEL_F32, REEL_DIMS(h->B));
    r->io.text = reel_new(a, REEL_F32, REEL_DIMS(h->B, h->L, r->m.text_dim));
    r->io.dv = reel_new(a, REEL_F32, r->io.x.n, 5);
    r->io.dx = reel_new(a, REEL_F32, r->io.x.n, 5);
    r->io.dtext = reel_new(a, REEL_F32, r->io.text.n, 3);
}

static reel_err params_open(struct rig *r)
{
    struct reel_params_cfg cfg = { .role = r->m.role, .def = r->m.def, .n = r->m.n_def, .n_units = r->m.n_units, .pieces = r->m.pieces,
                                   .compute = r->m.compute, .trainable = 1, .naming = r->m.ops->naming };

    return reel_params_open(&r->m.ps, &cfg, &r->mesh, &r->s, &r->params, &r->optim, &r->work);
}

static void both_passes(struct rig *r, void *ctx)
{
    struct reel_model_in in = { .x = r->io.x, .t = r->io.t, .text = r->io.text };
    struct reel_kept *k;
    size_t mark = r->act.used;

    (void)ctx;
    r->m.ops->fwd(&r->m, &r->act, &in, NULL);
    reel_arena_reset(&r->act, mark);
    r->m.ops->fwd(&r->m, &r->act, &in, &k);
    r->m.ops->bwd(&r->m, &r->act, k, r->io.dv, r->io.dx, r->io.dtext);
}

/* The very passes of the test, without memory: afterwards every arena knows its size. */
static reel_err plan(struct rig *r, const struct rig_plan *p)
{
    reel_stream_init(&r->s, r->be, 1, &r->scratch);
    REEL_TRY(params_open(r));
    io_new(r);
    if (p->rehearse) p->rehearse(r, p->ctx);
    else both_passes(r, NULL);
    reel_params_close(r->m.ps);
    return REEL_OK;
}

static reel_err arenas_open(struct rig *r)
{
    struct reel_arena *a[] = { &r->params, &r->optim, &r->work, &r->mem, &r->act, &r->scratch };

    for (size_t i = 0; i < sizeof a / sizeof *a; i++) {
        size_t peak = a[i]->peak;
        const char *name = a[i]->name;

        memset(a[i], 0, sizeof *a[i]);
        REEL_TRY(reel_arena_open(a[i], r->be, name, peak));
    }
    return REEL_OK;
}

reel_err rig_open(struct rig *r, struct reel_comm *world, struct reel_mesh_dims dims, const char *config,
                  reel_dtype compute, int checkpointing, struct rig_shape shape)
{
    const struct rig_plan wan = { .ops = &reel_model_wan };

    return rig_open_plan(r, world, dims, config, compute, checkpointing, shape, &wan);
}

reel_err rig_open_plan(struct rig *r, struct reel_comm *world, struct reel_mesh_dims dims, const char *config,
                       reel_dtype compute, int checkpointing, struct rig_shape shape, const struct rig_plan *p)
{
    int adapters;

    memset(r, 0, sizeof *r);
    r->world = world;
    r->shape = shape;
    r->params.name = "params", r->optim.name = "optim", r->work.name = "work";
    r->mem.name = "tables", r->act.name = "acts", r->scratch.name = "scratch";
    r->m = (struct reel_model){ .ops = p->ops, .opts = p->opts, .role = "student", .s = &r->s, .mem = &r->mem,
                                .checkpointing = checkpointing, .compute = compute, .trainable = 1 };
    r->m.priv = calloc(1, r->m.ops->priv_size);
    REEL_TRY(r->m.ops->init(&r->m, config, "config.json"));
    if (r->m.opts.lora.rank) REEL_TRY(reel_lora_define(&r->m, &adapters));
    REEL_TRY(reel_mesh_check(&dims, r->m.heads));
    REEL_TRY(reel_mesh_open(&r->mesh, world, &dims));
    REEL_TRY(test_backend(&r->be, 1));
    REEL_TRY(reel_mesh_attach(&r->mesh, r->be));
    REEL_TRY(plan(r, p));
    REEL_TRY(arenas_open(r));
    reel_stream_init(&r->s, r->be, 0, &r->scratch);
    REEL_TRY(params_open(r));
    io_new(r);
    return REEL_OK;
}

void rig_close(struct rig *r)
{
    struct reel_arena *a[] = { &r->params, &r->optim, &r->work, &r->mem, &r->act, &r->scratch };

    reel_params_close(r->m.ps);
    r->m.ops->fini(&r->m);
    free(r->m.priv);
    for (size_t i = 0; i < sizeof a / sizeof *a; i++) reel_arena_close(a[i], r->be);
    reel_mesh_detach(&r->mesh, r->be);
    reel_backend_close(r->be);
    reel_mesh_close(&r->mesh);
}

void rig_fill(struct rig *r, double (*value)(void *ctx, int tensor, int64_t i), void *ctx)
{
    for (int i = 0; i < r->m.n_def; i++) {
        struct reel_shard sh = reel_param_shard(r->m.ps, i);
        int64_t n = reel_numel(sh.w);
        float *host = malloc((size_t)(n + 1) * sizeof *host);

        for (int64_t k = 0; k < n; k++) host[k] = (float)value(ctx, i, reel_shard_element(r->m.ps, i, k));
        if (n) reel_put(&r->s, sh.w, host);
        reel_sync(&r->s);
        free(host);
    }
}

void rig_forward(struct rig *r, const float *x, const float *t, const float *text, float *v, struct reel_kept **kept)
{
    struct reel_model_in in = r->in;

    in.x = r->io.x;
    in.t = r->io.t;
    in.text = r->io.text;
    reel_put(&r->s, r->io.x, x);
    reel_put(&r->s, r->io.t, t);
    reel_put(&r->s, r->io.text, text);
    r->io.v = r->m.ops->fwd(&r->m, &r->act, &in, kept);
    if (v) reel_get(&r->s, v, r->io.v);
}

void rig_backward(struct rig *r, struct reel_kept *kept, const float *dv, float *dx, float *dtext)
{
    const reel_tensor none = { 0 };

    reel_put(&r->s, r->io.dv, dv);
    r->m.ops->bwd(&r->m, &r->act, kept, r->io.dv, dx ? r->io.dx : none, dtext ? r->io.dtext : none);
    reel_grads_finish(r->m.ps);
    if (dx) reel_get(&r->s, dx, r->io.dx);
    if (dtext) reel_get(&r->s, dtext, r->io.dtext);
}

float *rig_grad(struct rig *r, int i, int64_t *n, int64_t *first)
{
    struct reel_shard sh = reel_param_shard(r->m.ps, i);
    float *host = malloc(reel_bytes(sh.g) + 4);

    *n = sh.g.nd ? reel_numel(sh.g) : 0;
    *first = sh.rows ? *n / sh.rows * sh.row0 : 0;
    if (*n) reel_get(&r->s, host, sh.g);
    return host;
}

void rig_step(struct rig *r, const float *x, const float *t, const float *text, const float *dv, float *v, float *dx,
              float *dtext)
{
    struct reel_kept *k;
    size_t mark = r->act.used;

    reel_grads_zero(r->m.ps);
    rig_forward(r, x, t, text, v, &k);
    rig_backward(r, k, dv, dx, dtext);
    reel_arena_reset(&r->act, mark);
}

char *rig_read_text(const char *dir, const char *name)
{
    char path[4096], *text = NULL;
    FILE *f;
    long n;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (!(f = fopen(path, "rb"))) return NULL;
    fseek(f, 0, SEEK_END);
    n = ftell(f);
    rewind(f);
    text = calloc(1, (size_t)n + 1);
    if (fread(text, 1, (size_t)n, f) != (size_t)n) free(text), text = NULL;
    fclose(f);
    return text;
}

void rig_swap_tc(float *dst, const float *src, int64_t B, int64_t C, int64_t T, int64_t hw)
{
    for (int64_t b = 0; b < B; b++)
        for (int64_t c = 0; c < C; c++)
            for (int64_t t = 0; t < T; t++)
                memcpy(dst + ((b * T + t) * C + c) * hw, src + ((b * C + c) * T + t) * hw, (size_t)hw * sizeof *dst);
}

double rig_u(int64_t tensor, int64_t i)
{
    uint32_t z = (uint32_t)i * 2654435761u + (uint32_t)tensor * 2246822519u + 374761393u;

    z ^= z >> 15, z *= 2246822519u;
    z ^= z >> 13, z *= 3266489917u;
    z ^= z >> 16;
    return z / 4294967296.0 - 0.5;
}

static int ends(const char *name, const char *tail)
{
    size_t n = strlen(name), k = strlen(tail);

    return n >= k && !strcmp(name + n - k, tail);
}

double rig_fill_value(const struct reel_param_def *d, int64_t tensor, int64_t i)
{
    double u = rig_u(tensor, i);
    int64_t fan = 1;

    for (int k = 1; k < d->nd; k++) fan *= d->n[k];
    if (ends(d->name, "scale_shift_table")) return 0.5 * u;
    if (ends(d->name, ".bias")) return 0.2 * u;
    return d->nd == 1 ? 1 + 0.2 * u : u * 3 / sqrt((double)fan);
}

int *rig_sorted(const struct reel_model *m)
{
    int *rank = calloc((size_t)m->n_def, sizeof *rank);

    for (int i = 0; i < m->n_def; i++)
        for (int k = 0; k < m->n_def; k++) rank[i] += strcmp(m->def[k].name, m->def[i].name) < 0;
    return rank;
}
