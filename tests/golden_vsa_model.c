/* Golden kind vsa, its transformer: blocks that were chosen, hidden states, output, every gradient. All ranks compute the one
 * sample and share the cotangent; parameters are sharded over all ranks. `--checkpointing` recomputes activations. */
#include "golden_vsa.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckpt/hf.h"
#include "nn/nn.h"
#include "wan_rig.h"

struct mcase {
    struct golden *out;
    struct reel_st *io;
    struct rig rig;
    double share; /* of the loss that this rank carries */
};

static float *whole(const struct mcase *g, const char *name, int64_t *n)
{
    const struct reel_st_entry *e;
    float *p = golden_bytes(g->io, name, &e);

    REEL_BUG_IF(!p, "the case has no %s", name);
    *n = golden_count(e);
    return p;
}

static void near(struct mcase *g, const char *name, const float *got, const float *want, int64_t n)
{
    struct golden_diff d = { 0 };

    golden_diff(&d, got, want, n);
    golden_line(g->out, name, d.max_abs, d.max_abs / sqrt(d.want2 / (double)n), 1e-5);
}

static void gradient(struct mcase *g, const char *name, float *got, const float *want, int64_t n, double scale, double bound)
{
    struct golden_diff d = { 0 };

    for (int64_t i = 0; i < n; i++) got[i] *= (float)scale;
    golden_diff(&d, got, want, n);
    golden_check_l2(g->out, name, d, bound);
}

static void probe(void *ctx, const char *phase, int block, const char *name, reel_tensor x)
{
    struct mcase *g = ctx;
    int tokens = !strcmp(name, "tokens"), blocks = !strcmp(name, "attn1_blocks");
    int64_t n;
    void *want, *got;

    if (strcmp(phase, "act") || block > 0 || !(tokens || blocks || !strcmp(name, "block_out"))) return;
    want = whole(g, blocks ? "blocks0" : tokens ? "hidden0" : "hidden1", &n);
    got = malloc(reel_bytes(x));
    reel_get(&g->rig.s, got, x);
    if (blocks) golden_equal(g->out, "model/blocks0", got, want, 4, n);
    else near(g, tokens ? "model/hidden0" : "model/hidden1", got, want, n);
    free(want), free(got);
}

/* [1,C,T,H,W] of the file as [1,T,C,H,W] */
static float *latents(const struct mcase *g, const char *name, int64_t *n)
{
    const struct rig_shape *h = &g->rig.shape;
    float *p = whole(g, name, n), *q = malloc((size_t)*n * sizeof *q);

    rig_swap_tc(q, p, 1, g->rig.m.channels, h->T, h->H * h->W);
    free(p);
    return q;
}

static double norm_of(const struct mcase *g, const char *name)
{
    int64_t n;
    float *p = whole(g, name, &n);
    double s = 0;

    for (int64_t i = 0; i < n; i++) s += (double)p[i] * (double)p[i];
    free(p);
    return sqrt(s);
}

/* The bound is tighter for tensors above 1 % of the largest. */
static void check_params(struct mcase *g)
{
    double largest = 0;
    char name[160];

    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < g->rig.m.n_def; i++) {
            int64_t n, first, all;
            float *got, *want;
            snprintf(name, sizeof name, "grad.%s", g->rig.m.def[i].name);
            if (!pass) {
                largest = fmax(largest, norm_of(g, name));
                continue;
            }
            got = rig_grad(&g->rig, i, &n, &first);
            want = whole(g, name, &all);
            gradient(g, name, got, want + first, n, 1, norm_of(g, name) > 0.01 * largest ? 4e-5 : 1e-4);
            free(got), free(want);
        }
}

static void run(struct mcase *g)
{
    struct rig *r = &g->rig;
    int64_t n, rows, t;
    float *x = latents(g, "in.x", &n), *cot = latents(g, "in.dout", &n), *out = latents(g, "out", &n), *dx = latents(g, "grad_in.x", &n);
    float *level = whole(g, "in.timestep", &t), *some = whole(g, "in.text", &rows), *dtext = whole(g, "grad_in.text", &rows);
    int64_t all = r->shape.L * r->m.text_dim;
    float *text = calloc((size_t)all, sizeof *text), *got_text = calloc((size_t)all, sizeof *text);
    float *v = malloc((size_t)n * sizeof *v), *got = malloc((size_t)n * sizeof *v);

    memcpy(text, some, (size_t)rows * sizeof *text);
    for (int64_t i = 0; i < n; i++) cot[i] *= (float)g->share;
    rig_step(r, x, level, text, cot, v, got, got_text);
    near(g, "model/out", v, out, n);
    gradient(g, "grad_in.x", got, dx, n, 1 / g->share, 4e-5);
    gradient(g, "grad_in.text", got_text, dtext, rows, 1 / g->share, 4e-5);
    check_params(g);
    free(x), free(cot), free(out), free(dx), free(level), free(some), free(dtext), free(text), free(got_text), free(v), free(got);
}

static int checkpointing(const struct golden *g)
{
    for (int i = 0; i < g->n_arg; i++)
        if (!strcmp(g->arg[i], "--checkpointing")) return 1;
    return 0;
}

static reel_err open_rig(struct mcase *g, const char *dir, const json_t *j)
{
    const struct rig_plan plan = { .ops = &reel_model_wan, .opts = { .sparse = 1 } };
    const int64_t *x = reel_st_find(g->io, "in.x")->n;
    struct rig_shape h = { .B = 1, .T = x[2], .H = x[3], .W = x[4], .L = json_integer_value(json_object_get(j, "text_len")) };
    int size = g->out->world->size;
    char *config = rig_read_text(dir, "transformer/config.json");
    reel_err e;

    if (!config) return REEL_FAIL(REEL_EIO, "%s/transformer/config.json: cannot be read", dir);
    g->share = 1.0 / size;
    e = rig_open_plan(&g->rig, g->out->world, (struct reel_mesh_dims){ size, 1, size, 1, 1 }, config, REEL_F32,
                      checkpointing(g->out), h, &plan);
    free(config);
    return e;
}

reel_err golden_vsa_model(struct golden *g, const char *dir, const json_t *j)
{
    struct mcase c = { .out = g };
    struct reel_hf_source src;
    char model[4096];

    snprintf(model, sizeof model, "%s/model", dir);
    src = (struct reel_hf_source){ .init_from = model };
    REEL_TRY(golden_open(&c.io, dir, json_string_value(json_object_get(j, "file"))));
    REEL_TRY(open_rig(&c, model, j));
    REEL_TRY(reel_hf_load(&src, c.rig.m.ps, &c.rig.s, g->world));
    c.rig.in.sparsity = json_number_value(json_object_get(j, "sparsity"));
    c.rig.m.probe = probe;
    c.rig.m.probe_ctx = &c;
    run(&c);
    rig_close(&c.rig);
    reel_st_close(c.io);
    return REEL_OK;
}
