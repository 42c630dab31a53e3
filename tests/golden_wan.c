/* Golden kinds wan-dit and wan-dit-filled: forward pass and every gradient of a transformer. The batch
 * is split over the ranks if it divides, else all ranks compute it and share the cotangent; parameters
 * are sharded over all ranks. `--checkpointing` recomputes activations. */
#include "golden.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckpt/hf.h"
#include "tensor/safetensors.h"
#include "wan_rig.h"

/* ---- comparing ---- */

static void compare(struct golden_diff *d, float *got, const float *want, int64_t n, double scale)
{
    if (scale != 1)
        for (int64_t i = 0; i < n; i++) got[i] *= (float)scale;
    golden_diff(d, got, want, n);
}

/* ---- one case ---- */

struct gcase {
    struct golden *out;
    const char *dir;
    struct reel_st *io, *base; /* the case, and where it takes what it lacks */
    json_t *tol;
    struct rig rig;
    int split;   /* the batch is spread over the ranks */
    int64_t b0;  /* first sample of this rank */
    double share; /* of the loss that this rank's samples carry */
    float *x, *t, *text, *cot, *v, *dx, *dtext;
};

static const struct reel_st_entry *entry(const struct gcase *g, const char *name, struct reel_st **st)
{
    const struct reel_st_entry *e = reel_st_find(*st = g->io, name);

    return e ? e : reel_st_find(*st = g->base, name);
}

/* rows [row0, row0+rows) of a tensor of the case; NULL if it lacks it */
static float *tensor_rows(const struct gcase *g, const char *name, int64_t row0, int64_t rows)
{
    struct reel_st *st;
    const struct reel_st_entry *e = entry(g, name, &st);
    int64_t n = 1;
    float *p;

    if (!e) return NULL;
    for (int i = 1; i < e->nd; i++) n *= e->n[i];
    p = malloc((size_t)(rows * n + 1) * sizeof *p);
    REEL_BUG_IF(reel_st_read_f32(st, e, row0, rows, p) != REEL_OK, "%s: %s", name, reel_errrec()->msg);
    return p;
}

static float *tensor(const struct gcase *g, const char *name)
{
    struct reel_st *st;
    const struct reel_st_entry *e = entry(g, name, &st);

    return e ? tensor_rows(g, name, 0, e->n[0]) : NULL;
}

/* this rank's samples of a latent-shaped tensor, as [B,T,C,H,W] */
static float *latents(const struct gcase *g, const char *name)
{
    const struct rig_shape *h = &g->rig.shape;
    float *p = tensor_rows(g, name, g->b0, h->B), *q;

    if (!p) return NULL;
    q = malloc((size_t)(h->B * h->T * h->H * h->W * g->rig.m.channels) * sizeof *q);
    rig_swap_tc(q, p, h->B, g->rig.m.channels, h->T, h->H * h->W);
    free(p);
    return q;
}

static double tolerance(const struct gcase *g, const char *name)
{
    json_t *t = json_object_get(g->tol, name);

    return 4 * json_number_value(json_is_object(t) ? json_object_get(t, "rel_l2") : t) + 1e-6;
}

/* The hook that sees intermediates: block 0 and what is outside blocks. */
static void probe(void *ctx, const char *phase, int block, const char *name, reel_tensor x)
{
    struct gcase *g = ctx;
    char full[96];
    struct golden_diff s = { 0 };
    float *want, *got;

    snprintf(full, sizeof full, "%s/%s", phase, strcmp(name, "block_out") ? name : "block0_out");
    if (block > 0 || !(want = tensor(g, full))) return;
    got = malloc(reel_bytes(x));
    reel_get(&g->rig.s, got, x);
    compare(&s, got, want, reel_numel(x), strcmp(phase, "dact") ? 1 : 1 / g->share);
    golden_check_l2(g->out, full, s, tolerance(g, full));
    free(want);
    free(got);
}

static void check_outputs(struct gcase *g)
{
    const struct rig_shape *h = &g->rig.shape;
    int64_t n = h->B * h->T * h->H * h->W * g->rig.m.channels;
    struct golden_diff s = { 0 }, sx = { 0 }, st = { 0 };
    float *v = latents(g, "out"), *dx = latents(g, "grad/x"), *dtext;
    double loss = 0, want;

    compare(&s, g->v, v, n, 1);
    golden_check_max(g->out, "out", s, 2e-6);
    compare(&sx, g->dx, dx, n, 1 / g->share);
    golden_check_l2(g->out, "grad/x", sx, tolerance(g, "grad/x"));
    if ((dtext = tensor_rows(g, "grad/text", g->b0, h->B))) {
        compare(&st, g->dtext, dtext, h->B * h->L * g->rig.m.text_dim, 1 / g->share);
        golden_check_l2(g->out, "grad/text", st, tolerance(g, "grad/text"));
    }
    for (int64_t i = 0; i < n; i++) loss += (double)g->v[i] * (double)g->cot[i]; /* cot carries the share */
    reel_comm_sum(g->out->world, &loss, 1);
    if (!reel_st_read(g->io, reel_st_find(g->io, "loss"), 0, sizeof want, &want))
        golden_line(g->out, "loss", fabs(loss - want), fabs(loss - want) / fabs(want), tolerance(g, "loss"));
    free(v), free(dx), free(dtext);
}

/* every parameter's gradient, whole in the file */
static void check_grads(struct gcase *g)
{
    for (int i = 0; i < g->rig.m.n_def; i++) {
        struct reel_shard sh = reel_param_shard(g->rig.m.ps, i);
        struct golden_diff s = { 0 };
        char name[160];
        int64_t n, first;
        float *got = rig_grad(&g->rig, i, &n, &first), *want;

        snprintf(name, sizeof name, "grad/%s", g->rig.m.def[i].name);
        if (reel_st_find(g->io, name)) {
            want = tensor_rows(g, name, sh.row0, sh.rows);
            compare(&s, got, want, n, 1);
            golden_check_l2(g->out, name, s, tolerance(g, name));
            free(want);
        }
        free(got);
    }
}

static int64_t dim(const struct gcase *g, const char *name, int i)
{
    struct reel_st *st;
    const struct reel_st_entry *e = entry(g, name, &st);

    REEL_BUG_IF(!e || i >= e->nd, "the case has no %s", name);
    return e->n[i];
}

static int checkpointing(const struct golden *g)
{
    for (int i = 0; i < g->n_arg; i++)
        if (!strcmp(g->arg[i], "--checkpointing")) return 1;
    return 0;
}

static reel_err open_rig(struct gcase *g, struct rig_shape h)
{
    int size = g->out->world->size;
    char *config = rig_read_text(g->dir, "transformer/config.json");
    reel_err e;

    if (!config) return REEL_FAIL(REEL_EIO, "%s/transformer/config.json: cannot be read", g->dir);
    g->split = h.B % size == 0;
    if (g->split) h.B /= size;
    g->b0 = g->split ? g->out->world->rank * h.B : 0;
    g->share = g->split ? 1 : 1.0 / size;
    e = rig_open(&g->rig, g->out->world, (struct reel_mesh_dims){ size, 1, size, 1, 1 }, config, REEL_F32,
                 checkpointing(g->out), h);
    free(config);
    return e;
}

static void run(struct gcase *g)
{
    const struct rig_shape *h = &g->rig.shape;
    size_t n = (size_t)(h->B * h->T * h->H * h->W * g->rig.m.channels);

    g->v = malloc(n * sizeof(float));
    g->dx = malloc(n * sizeof(float));
    g->dtext = malloc((size_t)(h->B * h->L * g->rig.m.text_dim) * sizeof(float));
    for (size_t i = 0; i < n; i++) g->cot[i] *= (float)g->share;
    rig_step(&g->rig, g->x, g->t, g->text, g->cot, g->v, g->dx, g->dtext);
}

static void close_case(struct gcase *g)
{
    rig_close(&g->rig);
    free(g->x), free(g->t), free(g->text), free(g->cot), free(g->v), free(g->dx), free(g->dtext);
    json_decref(g->tol);
    if (g->base != g->io) reel_st_close(g->base);
    reel_st_close(g->io);
}

/* ---- kind wan-dit: everything is in files ---- */

static reel_err load_weights(struct gcase *g)
{
    struct reel_hf_source src = { .init_from = g->dir };

    return reel_hf_load(&src, g->rig.m.ps, &g->rig.s, g->out->world);
}

static reel_err open_files(struct gcase *g, const char *name)
{
    char path[4096], *tol = rig_read_text(g->dir, "tolerances.json");
    json_t *j = json_loads(tol ? tol : "", 0, NULL);

    free(tol);
    g->tol = json_object_get(j, name) ? json_incref(json_object_get(j, name)) : json_incref(j);
    json_decref(j);
    snprintf(path, sizeof path, "%s/%s.safetensors", g->dir, name);
    REEL_TRY(reel_st_open(&g->io, path));
    g->base = g->io;
    if (!strcmp(name, "case")) return REEL_OK;
    snprintf(path, sizeof path, "%s/case.safetensors", g->dir);
    return reel_st_open(&g->base, path);
}

static reel_err dit_case(const char *dir, struct golden *out, const char *name)
{
    struct gcase g = { .out = out, .dir = dir };
    struct rig_shape h;
    struct reel_st *st;

    REEL_TRY(open_files(&g, name));
    h = (struct rig_shape){ dim(&g, "x", 0), dim(&g, "x", 2), dim(&g, "x", 3), dim(&g, "x", 4), dim(&g, "text", 1),
                            entry(&g, "t", &st)->nd == 2 };
    REEL_TRY(open_rig(&g, h));
    REEL_TRY(load_weights(&g));
    g.x = latents(&g, "x");
    g.cot = latents(&g, "cotangent");
    g.t = tensor_rows(&g, "t", g.b0, g.rig.shape.B);
    g.text = tensor_rows(&g, "text", g.b0, g.rig.shape.B);
    g.rig.m.probe = probe;
    g.rig.m.probe_ctx = &g;
    run(&g);
    check_outputs(&g);
    check_grads(&g);
    close_case(&g);
    return REEL_OK;
}

/* ---- kind wan-dit-filled: weights and inputs by rule, gradients by their projections ---- */

struct filled { struct gcase g; const int *rank; int64_t base; };

static double filled_weight(void *ctx, int i, int64_t k)
{
    const struct filled *f = ctx;

    return rig_fill_value(&f->g.rig.m.def[i], f->base + f->rank[i], k);
}

/* n values scale*u of a tensor, the rest of `total` zero */
static float *filled_input(int64_t tensor_no, double scale, int64_t n, int64_t total)
{
    float *p = calloc((size_t)total, sizeof *p);

    for (int64_t i = 0; i < n; i++) p[i] = (float)(scale * rig_u(tensor_no, i));
    return p;
}

/* this rank's samples, as [B,T,C,H,W] */
static float *as_btchw(float *p, const struct gcase *g)
{
    const struct rig_shape *h = &g->rig.shape;
    int64_t C = g->rig.m.channels, sample = h->T * h->H * h->W * C;
    float *q = malloc((size_t)(h->B * sample) * sizeof *q);

    rig_swap_tc(q, p + g->b0 * sample, h->B, C, h->T, h->H * h->W);
    free(p);
    return q;
}

/* a parameter's gradient: norm, projection on a filled direction, first elements */
static void check_projection(struct filled *f, int i)
{
    struct golden *out = f->g.out;
    int64_t n, first, no = f->base + 1000 + f->rank[i];
    float *got = rig_grad(&f->g.rig, i, &n, &first);
    double sum[3] = { 0 }, want_norm, want_dot, norm; /* g.g, g.p, p.p */
    const char *name = f->g.rig.m.def[i].name;
    char key[3][160];
    struct golden_diff head = { 0 };
    float *want;

    for (int k = 0; k < 3; k++)
        snprintf(key[k], sizeof key[k], "%s/%s", (const char *[]){ "norm", "dot", "head" }[k], name);
    for (int64_t k = 0; k < n; k++) {
        double p = rig_u(no, first + k);

        sum[0] += (double)got[k] * (double)got[k], sum[1] += (double)got[k] * p, sum[2] += p * p;
    }
    reel_comm_sum(out->world, sum, 3);
    norm = sqrt(sum[0]);
    reel_st_read(f->g.io, reel_st_find(f->g.io, key[0]), 0, 8, &want_norm);
    reel_st_read(f->g.io, reel_st_find(f->g.io, key[1]), 0, 8, &want_dot);
    golden_line(out, key[0], fabs(norm - want_norm), fabs(norm - want_norm) / want_norm, tolerance(&f->g, key[0]));
    norm = fabs(sum[1] / sqrt(sum[2]) - want_dot);
    golden_line(out, key[1], norm, norm / want_norm, tolerance(&f->g, key[1]));
    want = tensor(&f->g, key[2]);
    if (first < dim(&f->g, key[2], 0)) compare(&head, got, want + first, fmin(n, dim(&f->g, key[2], 0) - first), 1);
    golden_check_l2(out, key[2], head, tolerance(&f->g, key[2]));
    free(want);
    free(got);
}

static reel_err filled_case(const char *dir, struct golden *out)
{
    struct filled f = { .g = { .out = out, .dir = dir } };
    char *text = rig_read_text(dir, "case.json");
    json_t *j = json_loads(text ? text : "", 0, NULL), *lat = json_object_get(j, "latent");
    int64_t n[4], L = 512, rows = json_integer_value(json_object_get(j, "rows")), N;
    struct rig_shape h;
    int *rank;

    REEL_BUG_IF(json_integer_value(json_array_get(lat, 0)) != 1, "%s: a filled case has one sample", dir);
    for (size_t i = 0; i < 4; i++) n[i] = json_integer_value(json_array_get(lat, i));
    f.base = json_integer_value(json_object_get(j, "base"));
    h = (struct rig_shape){ .B = n[0], .T = n[1], .H = n[2], .W = n[3], .L = L };
    REEL_TRY(open_files(&f.g, "case"));
    REEL_TRY(open_rig(&f.g, h));
    f.rank = rank = rig_sorted(&f.g.rig.m);
    rig_fill(&f.g.rig, filled_weight, &f);
    N = n[0] * n[1] * n[2] * n[3] * f.g.rig.m.channels;
    f.g.x = as_btchw(filled_input(f.base + 900, 4, N, N), &f.g);
    f.g.cot = as_btchw(filled_input(f.base + 902, 1, N, N), &f.g);
    f.g.text = filled_input(f.base + 901, 4, rows * f.g.rig.m.text_dim, L * f.g.rig.m.text_dim);
    f.g.t = calloc(1, sizeof(float));
    f.g.t[0] = (float)json_number_value(json_object_get(j, "t"));
    run(&f.g);
    check_outputs(&f.g);
    for (int i = 0; i < f.g.rig.m.n_def; i++) check_projection(&f, i);
    close_case(&f.g);
    free(rank), free(text);
    json_decref(j);
    return REEL_OK;
}

int golden_wan_dit(struct golden *g, const char *dir)
{
    char *frames = rig_read_text(dir, "case_per_frame.safetensors");
    reel_err e = dit_case(dir, g, "case");

    if (!e && frames) e = dit_case(dir, g, "case_per_frame");
    free(frames);
    if (e) reel_err_print(reel_errrec()), reel_err_clear();
    return e != REEL_OK;
}

int golden_wan_dit_filled(struct golden *g, const char *dir)
{
    reel_err e = filled_case(dir, g);

    if (e) reel_err_print(reel_errrec()), reel_err_clear();
    return e != REEL_OK;
}
