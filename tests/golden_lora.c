/* Golden kind lora: adapters from PEFT's and from community files on a base that another golden folder
 * has; forward pass, gradients of A and B, the merged weights. Parameters are sharded over all ranks,
 * all of which compute the whole batch. */
#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckpt/adapters.h"
#include "ckpt/hf.h"
#include "models/lora.h"
#include "wan_rig.h"

struct lora_case {
    struct golden *g;
    const char *dir;
    char base[4096];
    json_t *settings, *tol;
    struct reel_st *io, *of_base; /* case.safetensors here and there */
    struct rig rig;
    float *x, *t, *text, *cot, *v;
};

static int wants(const void *ctx, const char *layer)
{
    const json_t *targets = ctx, *t;
    size_t i, n = json_array_size(targets);

    for (i = 0; i < n && (t = json_array_get(targets, i)); i++)
        if (strstr(layer, json_string_value(t))) return 1;
    return 0;
}

static double scale_of(const struct lora_case *c)
{
    return golden_get(c->settings, "alpha", (double)NAN) / golden_get(c->settings, "rank", (double)NAN);
}

static float *whole(const struct reel_st *st, const char *name, const struct reel_st_entry **e)
{
    double *d = golden_doubles(st, name, e);
    int64_t n = d ? golden_count(*e) : 0;
    float *f = malloc((size_t)n * sizeof *f + 1);

    for (int64_t i = 0; i < n; i++) f[i] = (float)d[i];
    free(d);
    return f;
}

/* A latent-shaped tensor as [B,T,C,H,W]. */
static float *latents(const struct reel_st *st, const char *name, const struct reel_st_entry **e)
{
    float *p = whole(st, name, e), *q = malloc((size_t)golden_count(*e) * sizeof *q);

    rig_swap_tc(q, p, (*e)->n[0], (*e)->n[1], (*e)->n[2], (*e)->n[3] * (*e)->n[4]);
    free(p);
    return q;
}

static double tolerance(const struct lora_case *c, const char *name)
{
    return 4 * golden_get(json_object_get(c->tol, name), "rel_l2", 0) + 1e-6;
}

static reel_err open_case(struct lora_case *c)
{
    const struct reel_st_entry *x, *e;
    struct rig_plan plan = { .ops = &reel_model_wan };
    int size = c->g->world->size;
    char *config;
    reel_err err;

    c->settings = golden_json(c->dir, "settings.json");
    c->tol = golden_json(c->dir, "tolerances.json");
    if (!c->settings || !c->tol) return REEL_FAIL(REEL_EIO, "%s: no settings or tolerances", c->dir);
    snprintf(c->base, sizeof c->base, "%.2000s/../%.1000s", c->dir, json_string_value(json_object_get(c->settings, "base_model")));
    REEL_TRY(golden_open(&c->io, c->dir, "case.safetensors"));
    REEL_TRY(golden_open(&c->of_base, c->base, "case.safetensors"));
    c->x = latents(c->of_base, "x", &x);
    c->cot = latents(c->of_base, "cotangent", &x);
    c->t = whole(c->of_base, "t", &e);
    c->text = whole(c->of_base, "text", &e);
    c->v = malloc((size_t)golden_count(x) * sizeof *c->v);
    plan.opts.lora = (struct reel_lora_opts){ (int64_t)golden_get(c->settings, "rank", 0), scale_of(c), wants,
                                              json_object_get(c->settings, "target_modules") };
    config = rig_read_text(c->base, "transformer/config.json");
    if (!config) return REEL_FAIL(REEL_EIO, "%s/transformer/config.json: cannot be read", c->base);
    err = rig_open_plan(&c->rig, c->g->world, (struct reel_mesh_dims){ size, 1, size, 1, 1 }, config, REEL_F32, 0,
                        (struct rig_shape){ x->n[0], x->n[2], x->n[3], x->n[4], e->n[1], 0 }, &plan);
    free(config);
    return err ? err : reel_hf_load(&(struct reel_hf_source){ .init_from = c->base }, c->rig.m.ps, &c->rig.s, c->g->world);
}

static void check_out(struct lora_case *c, const char *file)
{
    const struct reel_st_entry *e;
    float *want = latents(c->io, "out", &e);
    struct golden_diff d = { 0 };
    char name[200];

    golden_diff(&d, c->v, want, golden_count(e));
    snprintf(name, sizeof name, "out with %s", file);
    golden_check_max(c->g, name, d, 2e-6);
    golden_hash(c->g, c->v, (size_t)golden_count(e) * sizeof *c->v);
    free(want);
}

/* Every rank adds the same gradient: the sum is `size` times it. */
static void check_grads(struct lora_case *c)
{
    int compared = 0;

    for (int i = 0; i < c->rig.m.n_def; i++) {
        struct reel_shard sh = reel_param_shard(c->rig.m.ps, i);
        struct golden_diff d = { 0 };
        const struct reel_st_entry *e;
        char name[200];
        int64_t n, first;
        float *got, *want;
        if (c->rig.m.def[i].part == REEL_PARAM_OWN) continue;
        snprintf(name, sizeof name, "grad/%s.weight", c->rig.m.def[i].name);
        e = reel_st_find(c->io, name);
        if (!e) continue;
        compared++;
        got = rig_grad(&c->rig, i, &n, &first);
        want = malloc((size_t)n * sizeof *want + 1);
        if (reel_st_read_f32(c->io, e, sh.row0, sh.rows, want)) abort();
        for (int64_t k = 0; k < n; k++) got[k] /= (float)c->g->world->size;
        golden_diff(&d, got, want, n);
        golden_check_l2(c->g, name, d, tolerance(c, name));
        free(got), free(want);
    }
    golden_true(c->g, "every gradient of the case", compared == reel_st_count(c->io) - 1);
}

static reel_err pass_with(struct lora_case *c, const char *file)
{
    char path[4200];

    snprintf(path, sizeof path, "%s/%s", c->dir, file);
    REEL_TRY(reel_adapters_load(path, scale_of(c), c->rig.m.ps, &c->rig.s, c->g->world));
    rig_step(&c->rig, c->x, c->t, c->text, c->cot, c->v, NULL, NULL);
    check_out(c, file);
    return REEL_OK;
}

/* The base's weights and the adapters, merged here, against the file. One rank holds them whole. */
static reel_err check_merged(struct lora_case *c)
{
    struct reel_st *st;
    struct rig *r = &c->rig;

    if (c->g->world->size > 1) return REEL_OK;
    REEL_TRY(golden_open(&st, c->dir, "merged.safetensors"));
    for (int i = 0; i < r->m.n_def; i++) {
        struct reel_shard w = reel_param_shard(r->m.ps, i), a, b;
        const struct reel_st_entry *e;
        struct golden_diff d = { 0 };
        float *want, *m[3];
        if (!r->m.def[i].adapter) continue;
        a = reel_param_shard(r->m.ps, r->m.def[i].adapter), b = reel_param_shard(r->m.ps, r->m.def[i].adapter + 1);
        want = whole(st, r->m.def[i].name, &e);
        for (int k = 0; k < 3; k++) {
            reel_tensor t = k == 0 ? w.w : k == 1 ? a.w : b.w;
            reel_get(&r->s, m[k] = malloc(reel_bytes(t)), t);
        }
        reel_adapter_merge(m[0], m[1], m[2], w.w.n[0], w.w.n[1], a.w.n[0], scale_of(c));
        golden_diff(&d, m[0], want, golden_count(e));
        golden_check_max(c->g, r->m.def[i].name, d, 1.2e-7);
        free(m[0]), free(m[1]), free(m[2]), free(want);
    }
    reel_st_close(st);
    return REEL_OK;
}

int golden_lora(struct golden *g, const char *dir)
{
    struct lora_case c = { .g = g, .dir = dir };
    reel_err e = open_case(&c);

    if (e == REEL_OK) e = pass_with(&c, "original_names.safetensors");
    if (e == REEL_OK) e = pass_with(&c, "pytorch_lora_weights.safetensors");
    if (e == REEL_OK) check_grads(&c), e = check_merged(&c);
    if (e) {
        if (g->world->rank == 0) reel_err_print(reel_errrec());
        reel_err_clear();
        return 1;
    }
    rig_close(&c.rig);
    json_decref(c.settings), json_decref(c.tol);
    reel_st_close(c.io), reel_st_close(c.of_base);
    free(c.x), free(c.t), free(c.text), free(c.cot), free(c.v);
    return 0;
}
