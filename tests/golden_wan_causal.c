/* Golden kind wan-causal: block-causal masks and teacher forcing with every gradient; streaming calls with what the cache
 * holds after each; the gradient of one streaming pass. All ranks compute the one sample and share the cotangent;
 * parameters are sharded over all ranks. `--checkpointing` recomputes activations. */
#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckpt/hf.h"
#include "models/wan_priv.h"
#include "wan_rig.h"

struct ccase {
    struct golden *out;
    const char *name;
    struct reel_st *io;
    json_t *j; /* of cases.json */
    struct rig rig;
    struct rig_shape shape;
    int64_t frames, start; /* of the cache; of the one call of exit_gradient */
    float *x, *t, *text, *cot, *clean, *clean_t, *v, *dx, *dtext;
    float *calls;          /* outputs of all calls, kept from one capacity to the next */
};

/* ---- tensors of the case ---- */

static float *whole(const struct ccase *g, const char *name, int64_t n[REEL_MAXDIM])
{
    const struct reel_st_entry *e = reel_st_find(g->io, name);
    float *p;

    if (!e) return NULL;
    for (int i = 0; n && i < e->nd; i++) n[i] = e->n[i];
    p = malloc((size_t)golden_count(e) * sizeof *p);
    REEL_BUG_IF(reel_st_read_f32(g->io, e, 0, e->n[0], p) != REEL_OK, "%s: %s", name, reel_errrec()->msg);
    return p;
}

/* [1,C,T,H,W] of the file as [1,T,C,H,W] */
static float *latents(const struct ccase *g, const char *name)
{
    int64_t n[REEL_MAXDIM];
    float *p = whole(g, name, n), *q;

    if (!p) return NULL;
    q = malloc((size_t)(n[1] * n[2] * n[3] * n[4]) * sizeof *q);
    rig_swap_tc(q, p, 1, n[1], n[2], n[3] * n[4]);
    free(p);
    return q;
}

static float *padded_text(const struct ccase *g)
{
    int64_t n[REEL_MAXDIM];
    float *p = whole(g, "in.text", n), *q = calloc((size_t)(g->shape.L * n[2]), sizeof *q);

    memcpy(q, p, (size_t)(n[1] * n[2]) * sizeof *q);
    free(p);
    return q;
}

/* ---- comparing: outputs and caches by their largest error over the root mean square, gradients by ||.|| ---- */

static void near(struct ccase *g, const char *what, const float *got, float *want, int64_t n)
{
    struct golden_diff d = { 0 };
    double rms;
    char name[192];

    if (!want) return;
    golden_diff(&d, got, want, n);
    rms = sqrt(d.want2 / (double)n);
    snprintf(name, sizeof name, "%s %s", g->name, what);
    golden_line(g->out, name, d.max_abs, d.max_abs / rms, 1e-5);
    free(want);
}

static void gradient(struct ccase *g, const char *what, float *got, float *want, int64_t n, double scale, double bound)
{
    struct golden_diff d = { 0 };
    char name[192];

    for (int64_t i = 0; i < n; i++) got[i] *= (float)scale;
    golden_diff(&d, got, want, n);
    snprintf(name, sizeof name, "%s %s", g->name, what);
    golden_check_l2(g->out, name, d, bound);
}

static double norm_of(const struct ccase *g, const char *name)
{
    const struct reel_st_entry *e = reel_st_find(g->io, name);
    float *p = whole(g, name, NULL);
    double s = 0;

    for (int64_t i = 0; i < golden_count(e); i++) s += (double)p[i] * (double)p[i];
    free(p);
    return sqrt(s);
}

/* The bound is tighter for tensors above 1 % of the largest. */
static void check_params(struct ccase *g)
{
    double largest = 0;
    char name[160];

    for (int i = 0; i < g->rig.m.n_def; i++) {
        snprintf(name, sizeof name, "grad.%s", g->rig.m.def[i].name);
        largest = fmax(largest, norm_of(g, name));
    }
    for (int i = 0; i < g->rig.m.n_def; i++) {
        struct reel_shard sh = reel_param_shard(g->rig.m.ps, i);
        int64_t n, first;
        float *got = rig_grad(&g->rig, i, &n, &first), *want;

        snprintf(name, sizeof name, "grad.%s", g->rig.m.def[i].name);
        want = malloc((size_t)(n + 1) * sizeof *want);
        REEL_BUG_IF(reel_st_read_f32(g->io, reel_st_find(g->io, name), sh.row0, sh.rows, want) != REEL_OK, "%s: %s", name,
                    reel_errrec()->msg);
        gradient(g, name, got, want, n, 1, norm_of(g, name) > 0.01 * largest ? 4e-5 : 1e-4);
        free(got), free(want);
    }
}

static void check_grads(struct ccase *g)
{
    int64_t n[REEL_MAXDIM], rows = g->shape.T * g->shape.H * g->shape.W * g->rig.m.channels;
    double share = 1.0 / g->out->world->size;
    float *dx = latents(g, "grad_in.x"), *dtext = whole(g, "grad_in.text", n);

    gradient(g, "grad_in.x", g->dx, dx, rows, 1 / share, 4e-5);
    gradient(g, "grad_in.text", g->dtext, dtext, n[1] * n[2], 1 / share, 4e-5);
    check_params(g);
    free(dx), free(dtext);
}

/* ---- whole clips ---- */

static void whole_clip(struct rig *r, void *ctx)
{
    struct ccase *g = ctx;

    if (g->clean) {
        r->in.clean = reel_new(&r->act, REEL_F32, r->io.x.n, 5);
        r->in.clean_t = reel_new(&r->act, REEL_F32, r->io.t.n, 2);
        reel_put(&r->s, r->in.clean, g->clean);
        reel_put(&r->s, r->in.clean_t, g->clean_t);
    }
    rig_step(r, g->x, g->t, g->text, g->cot, g->v, g->dx, g->dtext);
}

static void check_whole(struct ccase *g)
{
    whole_clip(&g->rig, g);
    near(g, "out", g->v, latents(g, "out"), g->shape.T * g->shape.H * g->shape.W * g->rig.m.channels);
    check_grads(g);
}

/* ---- streaming ---- */

static struct reel_kv *cache_open(struct rig *r, const struct ccase *g)
{
    const struct rig_shape *h = &g->shape;

    return r->m.ops->kv_open(&r->m, &r->act, (int64_t[5]){ 1, g->frames, r->m.channels, h->H, h->W });
}

static void check_rows(struct ccase *g, struct rig *r, const char *prefix, struct reel_kv *kv)
{
    for (int l = 0; l < (int)(r->m.n_units - 1); l++)
        for (int i = 0; i < 2; i++) {
            reel_tensor x = i ? kv->layer[l].v : kv->layer[l].k;
            int64_t rows = (kv->end - kv->rolled) * kv->frame;
            float *got = malloc(reel_bytes(x));
            char name[64];

            snprintf(name, sizeof name, "%slayer%d.%s", prefix, l, i ? "v" : "k");
            reel_get(&r->s, got, x);
            near(g, name, got, whole(g, name, NULL), rows * x.n[2]);
            free(got);
        }
}

/* columns of `calls`: start_frame, frames, global_end, local_end, evicted */
static void check_counters(struct ccase *g, const struct reel_kv *kv, const double *row, int64_t evicted)
{
    char name[96];

    snprintf(name, sizeof name, "%s counters of frame %g", g->name, row[0]);
    golden_true(g->out, name, kv->end * kv->frame == (int64_t)row[2] && (kv->end - kv->rolled) * kv->frame == (int64_t)row[3] &&
                                  evicted * kv->frame == (int64_t)row[4]);
}

/* A cache of the window's capacity is compared; one of the whole clip gives the same bits. */
static void check_call(struct ccase *g, struct rig *r, int64_t i, const double *row, struct reel_kv *kv, int64_t rolled)
{
    int64_t n = g->shape.T * g->shape.H * g->shape.W * r->m.channels;
    char name[96];

    if (g->frames != json_integer_value(json_object_get(g->j, "cache_frames"))) {
        snprintf(name, sizeof name, "%s call%ld in a cache of the clip", g->name, (long)i);
        golden_equal(g->out, name, g->v, g->calls + i * n, sizeof *g->v, n);
        return;
    }
    memcpy(g->calls + i * n, g->v, (size_t)n * sizeof *g->v);
    snprintf(name, sizeof name, "call%ld.out", (long)i);
    near(g, name, g->v, latents(g, name), n);
    snprintf(name, sizeof name, "call%ld.", (long)i);
    check_rows(g, r, name, kv);
    check_counters(g, kv, row, kv->rolled - rolled);
}

static void stream(struct rig *r, void *ctx)
{
    struct ccase *g = ctx;
    const struct reel_st_entry *e;
    double *calls = golden_doubles(g->io, "calls", &e);
    size_t mark = r->act.used;
    struct reel_kv *kv = cache_open(r, g);

    for (int64_t i = 0; i < e->n[0]; i++) {
        const double *row = calls + 5 * i;
        int64_t rolled = kv->rolled;
        size_t here = r->act.used;
        char name[48];
        float *x, *t;

        snprintf(name, sizeof name, "call%ld.x", (long)i);
        x = latents(g, name);
        snprintf(name, sizeof name, "call%ld.timestep", (long)i);
        t = whole(g, name, NULL);
        r->in.kv = kv;
        r->in.frame0 = (int64_t)row[0];
        rig_forward(r, x, t, g->text, g->v, NULL);
        if (!r->s.planning) check_call(g, r, i, row, kv, rolled);
        reel_arena_reset(&r->act, here);
        free(x), free(t);
    }
    r->m.ops->kv_close(&r->m, kv);
    reel_arena_reset(&r->act, mark);
    free(calls);
}

static void check_stream(struct ccase *g) { stream(&g->rig, g); }

/* ---- the gradient of one pass ---- */

static void fill_cache(struct rig *r, const struct ccase *g, struct reel_kv *kv)
{
    for (int l = 0; l < (int)(r->m.n_units - 1); l++)
        for (int i = 0; i < 2; i++) {
            reel_tensor x = reel_at(i ? kv->layer[l].v : kv->layer[l].k, 0);
            int64_t n[REEL_MAXDIM];
            char name[48];
            float *p;

            snprintf(name, sizeof name, "in.layer%d.%s", l, i ? "v" : "k");
            p = whole(g, name, n);
            reel_put(&r->s, reel_slice(x, 0, n[0]), p);
            kv->end = n[0] / kv->frame;
            free(p);
        }
}

static void exit_pass(struct rig *r, void *ctx)
{
    struct ccase *g = ctx;
    size_t mark = r->act.used;
    struct reel_kv *kv = cache_open(r, g);
    struct reel_kept *k;

    fill_cache(r, g, kv);
    reel_grads_zero(r->m.ps);
    r->in.kv = kv;
    r->in.frame0 = g->start;
    rig_forward(r, g->x, g->t, g->text, g->v, &k);
    if (!r->s.planning) check_rows(g, r, "", kv);
    rig_backward(r, k, g->cot, g->dx, g->dtext);
    if (!r->s.planning) check_rows(g, r, "", kv); /* as the forward pass left it */
    r->m.ops->kv_close(&r->m, kv);
    reel_arena_reset(&r->act, mark);
}

static void check_exit(struct ccase *g)
{
    exit_pass(&g->rig, g);
    near(g, "out", g->v, latents(g, "out"), g->shape.T * g->shape.H * g->shape.W * g->rig.m.channels);
    check_grads(g);
}

/* ---- cases ---- */

static int64_t field(const json_t *j, const char *key, int64_t dflt)
{
    const json_t *v = json_object_get(j, key);

    return v ? json_integer_value(v) : dflt;
}

static int checkpointing(const struct golden *g)
{
    for (int i = 0; i < g->n_arg; i++)
        if (!strcmp(g->arg[i], "--checkpointing")) return 1;
    return 0;
}

static void inputs(struct ccase *g, const json_t *j)
{
    const struct reel_st_entry *e = reel_st_find(g->io, "in.x");
    size_t n;

    if (!e) e = reel_st_find(g->io, "call0.x");
    g->shape = (struct rig_shape){ .B = 1, .T = e->n[2], .H = e->n[3], .W = e->n[4], .L = field(j, "text_len", 512),
                                   .per_frame = 1 };
    n = (size_t)golden_count(e) * sizeof(float);
    g->x = latents(g, "in.x");
    g->t = whole(g, "in.timestep", NULL);
    g->text = padded_text(g);
    g->cot = latents(g, "in.dout");
    for (size_t i = 0; g->cot && i < n / sizeof(float); i++) g->cot[i] /= (float)g->out->world->size;
    g->clean = latents(g, "in.clean_x");
    g->clean_t = whole(g, "in.aug_t", NULL);
    g->v = malloc(n);
    g->dx = malloc(n);
    g->dtext = malloc((size_t)(g->shape.L * field(json_object_get(j, "config"), "text_dim", 0)) * sizeof(float));
    e = reel_st_find(g->io, "calls");
    g->calls = e ? malloc(n * (size_t)e->n[0]) : NULL;
}

static reel_err run(struct ccase *g, const char *dir, const char *config, void (*scenario)(struct rig *, void *),
                    void (*check)(struct ccase *))
{
    int size = g->out->world->size;
    struct reel_hf_source src = { .init_from = dir };
    struct rig_plan plan = { .ops = &reel_model_wan_causal, .rehearse = scenario, .ctx = g };

    plan.opts = (struct reel_model_opts){ .num_frames_per_block = field(g->j, "num_frames_per_block", 2),
                                          .local_attn_size = field(g->j, "local_attn_size", -1),
                                          .sink_size = field(g->j, "sink_size", 0) };
    REEL_TRY(rig_open_plan(&g->rig, g->out->world, (struct reel_mesh_dims){ size, 1, size, 1, 1 }, config, REEL_F32,
                           checkpointing(g->out), g->shape, &plan));
    REEL_TRY(reel_hf_load(&src, g->rig.m.ps, &g->rig.s, g->out->world));
    check(g);
    rig_close(&g->rig);
    return REEL_OK;
}

static reel_err run_stream(struct ccase *g, const char *dir, const char *config)
{
    const json_t *calls = json_object_get(g->j, "calls");
    const json_t *last = json_array_get(calls, json_array_size(calls) - 1);
    int64_t clip = field(last, "start_frame", 0) + field(last, "frames", 0);

    g->frames = field(g->j, "cache_frames", 0);
    REEL_TRY(run(g, dir, config, stream, check_stream));
    g->frames = clip;
    return run(g, dir, config, stream, check_stream);
}

static char *config_of(const char *dir, const json_t *c)
{
    json_t *config = golden_json(dir, "transformer/config.json");
    const char *policy = json_string_value(json_object_get(c, "rope_cache_policy"));
    char *text;

    json_object_set_new(config, "rope_cache_policy", json_string(policy ? policy : "absolute"));
    text = json_dumps(config, 0);
    json_decref(config);
    return text;
}

static reel_err one_case(struct golden *out, const char *dir, const json_t *j, json_t *c)
{
    const char *kind = json_string_value(json_object_get(c, "kind"));
    struct ccase g = { .out = out, .name = json_string_value(json_object_get(c, "name")), .j = c };
    char *config = config_of(dir, c);
    reel_err e = golden_open(&g.io, dir, json_string_value(json_object_get(c, "file")));

    if (!e) {
        inputs(&g, j);
        g.frames = field(c, "cache_frames", 0);
        g.start = field(json_array_get(json_object_get(c, "calls"), 0), "start_frame", 0);
        if (!strcmp(kind, "stream")) e = run_stream(&g, dir, config);
        else if (!strcmp(kind, "exit_gradient")) e = run(&g, dir, config, exit_pass, check_exit);
        else e = run(&g, dir, config, whole_clip, check_whole);
        free(g.x), free(g.t), free(g.text), free(g.cot), free(g.clean), free(g.clean_t), free(g.v), free(g.dx), free(g.dtext);
        free(g.calls);
        reel_st_close(g.io);
    }
    free(config);
    return e;
}

int golden_wan_causal(struct golden *g, const char *dir)
{
    json_t *j = golden_json(dir, "cases.json"), *cases = json_object_get(j, "cases");
    reel_err e = j ? REEL_OK : REEL_EIO;

    for (size_t i = 0; !e && i < json_array_size(cases); i++) e = one_case(g, dir, j, json_array_get(cases, i));
    json_decref(j);
    if (e) reel_err_print(reel_errrec()), reel_err_clear();
    return e != REEL_OK;
}
