/* A model: every patch goes through MLPs of its own, and sees the others and the prompt through one
 * vector, the mean over all patches plus the mean of the text rows (Zaheer et al., Deep Sets, 2017).
 *
 *     x    = embed(patches)                                      [B,S,D]
 *     text = fc2(gelu(fc1(mean over rows of the prompt)))        [B,D]
 *     per block:  g = mean over s of x + text                    [B,D]
 *                 e = table + time(t) + context(g)               [B,3,D]: shift, scale, gate
 *                 x = x + e[gate] ffn(LN(x) (1 + e[scale]) + e[shift])
 *     v    = unpatch(head(x, time(t)))
 *
 * A pass keeps the blocks' inputs; its backward makes the rest again, block by block. */

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/model.h"
#include "nn/nn.h"

#define MAX_LAYERS 64
#define MAX_WIDTH  65536

struct shape { int64_t layers, width, hidden, channels, patch, freq_dim, text_dim, text_len; };

struct patch_mlp {
    struct shape c;
    struct reel_kept *pool; /* records of passes: made while planning, used again in steps */
};

/* ---- transformer/config.json: integers, all of them needed ---- */

static const struct key { const char *name; size_t at; int64_t max; int even; } keys[] = {
    { "num_layers", offsetof(struct shape, layers), MAX_LAYERS, 0 },
    { "width", offsetof(struct shape, width), MAX_WIDTH, 0 },
    { "hidden", offsetof(struct shape, hidden), MAX_WIDTH, 0 },
    { "in_channels", offsetof(struct shape, channels), 1024, 0 },
    { "patch_size", offsetof(struct shape, patch), 64, 0 },
    { "freq_dim", offsetof(struct shape, freq_dim), MAX_WIDTH, 1 },
    { "text_dim", offsetof(struct shape, text_dim), MAX_WIDTH, 0 },
    { "text_len", offsetof(struct shape, text_len), MAX_WIDTH, 0 },
};

static reel_err read_keys(struct shape *c, const json_t *j, const char *where)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct key *k = &keys[i];
        int64_t n = json_integer_value(json_object_get(j, k->name)); /* 0 unless an integer */

        if (n < 1 || n > k->max || (k->even && n % 2))
            return REEL_FAIL(REEL_ECONFIG, "%s: %s must be a positive%s integer, at most %ld", where, k->name,
                             k->even ? " even" : "", (long)k->max);
        memcpy((char *)c + k->at, &n, sizeof n);
    }
    return REEL_OK;
}

static reel_err read_config(struct shape *c, const char *text, const char *where)
{
    json_error_t at;
    json_t *j = json_loads(text, 0, &at);
    reel_err e;

    if (!j) return REEL_FAIL(REEL_ECONFIG, "%s:%d:%d: %s", where, at.line, at.column, at.text);
    e = read_keys(c, j, where);
    json_decref(j);
    return e;
}

/* ---- parameters: one table for layout, initial values, names in checkpoints ---- */

/* X(id, name, f32 whatever the compute dtype, initial value, dims...); a bias follows its weight. */
#define LINEAR(X, id, name, f32, init, n, k)                                                       \
    X(id, name ".weight", f32, init, n, k)                                                         \
    X(id##_B, name ".bias", 1, ZERO, n)
#define ROOT(X)                                                                                    \
    LINEAR(X, EMBED, "embed", 0, NORMAL, D, c->channels * c->patch * c->patch)                     \
    LINEAR(X, TIME1, "time.fc1", 1, NORMAL, D, c->freq_dim)                                        \
    LINEAR(X, TIME2, "time.fc2", 1, NORMAL, D, D)                                                  \
    LINEAR(X, TIME3, "time.proj", 1, NORMAL, 3 * D, D)                                             \
    LINEAR(X, TEXT1, "text.fc1", 1, NORMAL, D, c->text_dim)                                        \
    LINEAR(X, TEXT2, "text.fc2", 1, NORMAL, D, D)                                                  \
    X(HEAD_TABLE, "head.table", 1, NORMAL, 2, D)                                                   \
    LINEAR(X, HEAD, "head", 0, ZERO, c->channels * c->patch * c->patch, D)
#define BLOCK(X)                                                                                   \
    X(TABLE, "modulation", 1, NORMAL, 3, D)                                                        \
    LINEAR(X, CONTEXT, "context", 1, NORMAL, 3 * D, D)                                             \
    LINEAR(X, FC1, "fc1", 0, NORMAL, c->hidden, D)                                                 \
    LINEAR(X, FC2, "fc2", 0, NORMAL, D, c->hidden)

#define ID(id, ...) P_##id,
enum { ROOT(ID) N_ROOT };
enum { BLOCK(ID) N_BLOCK };

struct row { const char *name; int f32; enum reel_init init; int64_t n[2]; };
#define ROW(id, name, f32, init, ...) { name, f32, REEL_INIT_##init, { __VA_ARGS__ } },

static struct reel_param_def define(const struct row *r, int block)
{
    struct reel_param_def d = { .nd = r->n[1] ? 2 : 1, .n = { r->n[0], r->n[1] }, .unit = block + 1, .keep_f32 = r->f32,
                                .init = r->init, .init_scale = r->n[1] ? (float)(1 / sqrt((double)r->n[1])) : 1 };

    if (block < 0) snprintf(d.name, sizeof d.name, "%s", r->name);
    else snprintf(d.name, sizeof d.name, "blocks.%d.%s", block, r->name);
    return d;
}

static reel_err patch_mlp_init(struct reel_model *m, const char *config_json, const char *where)
{
    struct patch_mlp *p = m->priv;
    const struct shape *c = &p->c;

    if (m->opts.sparse) return REEL_FAIL(REEL_ECONFIG, "models.%s: patch_mlp has no attention that could be sparse", m->role);
    REEL_TRY(read_config(&p->c, config_json, where));
    const int64_t D = c->width;
    const struct row root[] = { ROOT(ROW) }, block[] = { BLOCK(ROW) };

    m->n_units = 1 + (int)c->layers; /* of sharding: what is outside blocks, then each block */
    m->n_def = N_ROOT + (int)c->layers * N_BLOCK;
    m->def = calloc((size_t)m->n_def, sizeof *m->def);
    if (!m->def) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for a table of %d parameters", where, m->n_def);
    for (int k = 0; k < N_ROOT; k++) m->def[k] = define(&root[k], -1);
    for (int i = 0; i < (int)c->layers; i++)
        for (int k = 0; k < N_BLOCK; k++) m->def[N_ROOT + i * N_BLOCK + k] = define(&block[k], i);
    m->text_len = (int)c->text_len;
    m->text_dim = (int)c->text_dim;
    m->channels = (int)c->channels;
    m->patch_h = m->patch_w = (int)c->patch;
    return REEL_OK;
}

/* ---- weights as the layers want them; grad: with their gradient buffers ---- */

static reel_tensor gradient(const struct reel_model *m, int i, int grad)
{
    return grad ? reel_param_grad(m->ps, i) : (reel_tensor){ 0 };
}

static struct reel_lin linear(const struct reel_model *m, int i, int grad)
{
    return (struct reel_lin){ .w = reel_param(m->ps, i), .b = reel_param(m->ps, i + 1), .dw = gradient(m, i, grad),
                              .db = gradient(m, i + 1, grad) };
}

struct root {
    struct reel_patch embed;
    struct reel_time time;
    struct reel_lin text1, text2;
    struct reel_head head;
};

static struct root root_layers(const struct reel_model *m, int grad)
{
    return (struct root){
        .embed = { linear(m, P_EMBED, grad), m->patch_h, m->patch_w },
        .time = { linear(m, P_TIME1, grad), linear(m, P_TIME2, grad), linear(m, P_TIME3, grad) },
        .text1 = linear(m, P_TEXT1, grad),
        .text2 = linear(m, P_TEXT2, grad),
        .head = { linear(m, P_HEAD, grad), reel_param(m->ps, P_HEAD_TABLE), gradient(m, P_HEAD_TABLE, grad), m->patch_h,
                  m->patch_w },
    };
}

struct block {
    reel_tensor table, dtable;
    struct reel_lin context;
    struct reel_ffn ffn;
};

static struct block block_layers(const struct reel_model *m, int block, int grad)
{
    int i = N_ROOT + block * N_BLOCK;

    return (struct block){ .table = reel_param(m->ps, i + P_TABLE), .dtable = gradient(m, i + P_TABLE, grad),
                           .context = linear(m, i + P_CONTEXT, grad),
                           .ffn = { linear(m, i + P_FC1, grad), linear(m, i + P_FC2, grad) } };
}

/* ---- what a pass keeps ---- */

struct reel_kept {
    struct reel_kept *next;
    int taken;
    struct reel_pass c;
    struct reel_rows one;             /* one row per sample */
    struct reel_model_in in;
    struct reel_time_kept time;
    reel_tensor mean, pre, text;      /* f32 [B,text_dim], [B,D], [B,D] */
    reel_tensor x[MAX_LAYERS + 1];    /* [B*S,D]: inputs of the blocks, then of the head */
};

static struct reel_kept *kept_take(struct patch_mlp *p)
{
    struct reel_kept *k = p->pool;

    while (k && k->taken) k = k->next;
    if (!k) {
        k = calloc(1, sizeof *k);
        REEL_BUG_IF(!k, "no memory for the record of a pass");
        k->next = p->pool;
        p->pool = k;
    }
    k->taken = 1;
    return k;
}

static void patch_mlp_fini(struct reel_model *m)
{
    struct patch_mlp *p = m->priv;

    for (struct reel_kept *k = p->pool, *next; k; k = next) {
        next = k->next;
        free(k);
    }
}

static void lay_out(struct reel_kept *k, const struct reel_model *m, struct reel_arena *a,
                    const struct reel_model_in *in, int backward)
{
    const struct shape *c = &((const struct patch_mlp *)m->priv)->c;
    const struct root w = root_layers(m, 0);
    int64_t B = in->x.n[0], T = in->x.n[1], frame = in->x.n[3] / c->patch * (in->x.n[4] / c->patch);
    int per_frame = in->t.nd == 2;

    REEL_BUG_IF(in->x.n[2] != c->channels || in->text.n[2] != c->text_dim || in->clean.nd || in->kv,
                "patch_mlp: latents of %ld channels and text of %ld columns in whole clips are what it takes",
                (long)c->channels, (long)c->text_dim);
    k->in = *in;
    k->one = reel_rows_make(B, 1, 1);
    k->c = (struct reel_pass){
        .s = m->s, .a = a, .dt = m->compute, .heads = 1, .eps = 1e-6,
        .tok = reel_rows_make(B, T * frame, per_frame ? frame : T * frame),
        .txt = reel_rows_make(B, in->text.n[1], in->text.n[1]),
        .vec = reel_rows_make(B, per_frame ? T : 1, 1),
        .share = reel_share_of(NULL, B, T * frame, in->text.n[1], per_frame ? frame : T * frame),
        .probe = m->probe, .probe_ctx = m->probe_ctx, .block = -1,
    };
    reel_time_keep(&k->c, &k->time, &w.time);
    k->mean = reel_act_f32(&k->c, k->one, c->text_dim);
    k->pre = reel_act_f32(&k->c, k->one, c->width);
    k->text = reel_act_f32(&k->c, k->one, c->width);
    for (int i = 0; i <= (int)c->layers; i++) k->x[i] = i && !backward ? k->x[0] : reel_act(&k->c, k->c.tok, c->width);
}

/* ---- sums over rows and their transpose. The order is a fixed tree, so no layout shows in them ---- */

/* y[b] = scale * sum over r of x[b,r]; x [B*R,W], y f32 [B,W] */
static void sum_rows(const struct reel_pass *c, reel_tensor y, reel_tensor x, double scale)
{
    int64_t B = y.n[0], R = x.n[0] / B, W = x.n[1];
    size_t mark = c->a->used;
    reel_tensor wide = x;

    if (x.dt != REEL_F32) {
        wide = reel_new(c->a, REEL_F32, x.n, 2);
        reel_cast(c->s, wide, x);
    }
    wide = reel_reshape(wide, REEL_DIMS(B, R, W));
    for (int64_t b = 0; b < B; b++) reel_tree_sum(c->s, reel_at(y, b), reel_at(wide, b), 0);
    if (scale != 1) reel_axpby(c->s, y, 0, y, scale);
    reel_arena_reset(c->a, mark);
}

/* f32 [B*R,W]: R copies of each row of t f32 [B,W] */
static reel_tensor copies(const struct reel_pass *c, reel_tensor t, int64_t R)
{
    int64_t B = t.n[0], W = t.n[1];
    reel_tensor y = reel_new(c->a, REEL_F32, REEL_DIMS(B, R, W)), zero = reel_new(c->a, REEL_F32, REEL_DIMS(R, W));

    reel_fill(c->s, zero, 0);
    reel_mod_fwd(c->s, y, zero, t); /* y = 0 + t, t broadcast over R */
    return reel_reshape(y, REEL_DIMS(B * R, W));
}

/* y[b,r] += scale t[b]; y [B*R,W] in the pass's dtype */
static void add_to_rows(const struct reel_pass *c, reel_tensor y, reel_tensor t, double scale)
{
    size_t mark = c->a->used;
    reel_tensor x = copies(c, t, y.n[0] / t.n[0]), narrow = x;

    if (scale != 1) reel_axpby(c->s, x, 0, x, scale);
    if (y.dt != REEL_F32) {
        narrow = reel_new(c->a, y.dt, y.n, 2);
        reel_cast(c->s, narrow, x);
    }
    reel_add(c->s, y, narrow);
    reel_arena_reset(c->a, mark);
}

/* ---- text ---- */

static void text_fwd(const struct reel_kept *k, const struct root *w)
{
    const struct reel_pass *c = &k->c;
    size_t mark = c->a->used;
    reel_tensor act = reel_act_f32(c, k->one, k->pre.n[1]);

    sum_rows(c, k->mean, reel_flat(k->in.text), 1 / (double)c->txt.s);
    reel_linear_fwd(c->s, act, k->pre, k->mean, w->text1.w, w->text1.b, k->one, REEL_UNCUT, REEL_EPI_GELU);
    reel_lin_fwd(c, &w->text2, k->text, act, k->one);
    reel_arena_reset(c->a, mark);
}

static void text_bwd(const struct reel_kept *k, const struct root *w, reel_tensor dtext, reel_tensor d)
{
    const struct reel_pass *c = &k->c;
    size_t mark = c->a->used;
    reel_tensor act = reel_act_f32(c, k->one, k->pre.n[1]), dpre = reel_act_f32(c, k->one, k->pre.n[1]);
    reel_tensor dmean = dtext.nd ? reel_act_f32(c, k->one, k->mean.n[1]) : dtext;

    reel_gelu_fwd(c->s, act, k->pre);
    reel_lin_bwd(c, &w->text2, dpre, 0, d, act, k->one);
    reel_gelu_bwd(c->s, dpre, dpre, k->pre);
    reel_lin_bwd(c, &w->text1, dmean, 0, dpre, k->mean, k->one);
    if (dtext.nd) {
        reel_fill(c->s, dtext, 0);
        struct reel_pass wide = *c;
        wide.dt = REEL_F32;
        add_to_rows(&wide, reel_flat(dtext), dmean, 1 / (double)dtext.n[1]);
    }
    reel_arena_reset(c->a, mark);
}

/* ---- one block ---- */

enum { SHIFT, SCALE, GATE, N_MOD };

struct block_pass { /* what the forward pass makes and the backward pass makes again */
    reel_tensor g, e; /* f32 [B,D], [nmod,3,D] */
    struct reel_ln n;
    struct reel_ffn_kept ffn;
    reel_tensor u; /* [B*S,D]: before the gate */
};

/* y nd 0: intermediates only; y may be x. What is pushed is the caller's to give back. */
static struct block_pass block_fwd(const struct reel_kept *k, const struct block *w, reel_tensor y, reel_tensor x)
{
    const struct reel_pass *c = &k->c;
    int64_t D = x.n[1];
    struct block_pass b = { .g = reel_act_f32(c, k->one, D),
                            .e = reel_new(c->a, REEL_F32, REEL_DIMS(reel_rows_count(c->vec), N_MOD, D)) };
    reel_tensor q = reel_act_f32(c, k->one, N_MOD * D), t;

    sum_rows(c, b.g, x, 1 / (double)c->tok.s);
    reel_add(c->s, b.g, k->text);
    reel_lin_fwd(c, &w->context, q, b.g, k->one);
    t = copies(c, q, c->vec.s);
    reel_add(c->s, t, k->time.tproj);
    reel_mod_fwd(c->s, b.e, w->table, t);
    b.n = reel_ln_new(c, D);
    reel_ln_mod_fwd(c->s, b.n.y, b.n.mean, b.n.rstd, x, b.e, SHIFT, SCALE, c->tok, c->eps);
    reel_ffn_keep(c, &b.ffn, w->ffn.in.w.n[0]);
    b.u = reel_act(c, c->tok, D);
    reel_ffn_fwd(c, &w->ffn, &b.ffn, b.u, b.n.y);
    if (y.nd) reel_gate_fwd(c->s, y, x, b.u, b.e, GATE, c->tok);
    return b;
}

struct shared { reel_tensor dtemb, dtproj, dtext; }; /* f32: gradients that every block adds to */

/* d [B*S,D]: the gradient of the block's output becomes that of its input. */
static void block_bwd(const struct reel_kept *k, const struct block *w, reel_tensor d, reel_tensor x,
                      const struct shared *sum)
{
    const struct reel_pass *c = &k->c;
    struct block_pass b = block_fwd(k, w, (reel_tensor){ 0 }, x);
    int64_t D = x.n[1];
    reel_tensor de = reel_new(c->a, REEL_F32, b.e.n, 3), dt = reel_act_f32(c, c->vec, N_MOD * D);
    reel_tensor dq = reel_act_f32(c, k->one, N_MOD * D), dg = reel_act_f32(c, k->one, D), du = reel_act(c, c->tok, D);

    reel_fill(c->s, de, 0);
    reel_fill(c->s, dt, 0);
    reel_gate_bwd(c->s, du, de, d, b.u, b.e, GATE, c->tok);
    reel_ffn_bwd(c, &w->ffn, &b.ffn, du, du, b.n.y);
    reel_ln_mod_bwd(c->s, d, 1, de, du, x, b.n.mean, b.n.rstd, b.e, SHIFT, SCALE, c->tok);
    reel_mod_bwd(c->s, w->dtable, 0, dt, reel_by_sample(c, de));
    reel_add(c->s, sum->dtproj, dt);
    sum_rows(c, dq, dt, 1);
    reel_lin_bwd(c, &w->context, dg, 0, dq, b.g, k->one);
    reel_add(c->s, sum->dtext, dg);
    add_to_rows(c, d, dg, 1 / (double)c->tok.s);
}

/* ---- passes. A unit is held from need to release; the next one is on its way meanwhile ---- */

static reel_tensor patch_mlp_fwd(struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in,
                                 struct reel_kept **kept)
{
    struct reel_kept *k = kept_take(m->priv);
    reel_tensor v = reel_new(a, REEL_F32, in->x.n, 5);
    size_t before = a->used;
    struct root w;

    reel_params_need(m->ps, 0);
    reel_params_prefetch(m->ps, 1);
    w = root_layers(m, 0);
    lay_out(k, m, a, in, kept != NULL);
    reel_time_fwd(&k->c, &w.time, &k->time, in->t);
    text_fwd(k, &w);
    reel_patch_embed_fwd(&k->c, &w.embed, k->x[0], in->x);
    for (int i = 0; i + 1 < m->n_units; i++) {
        size_t mark = a->used;
        struct block b;

        reel_params_need(m->ps, i + 1);
        reel_params_prefetch(m->ps, i + 2);
        b = block_layers(m, i, 0);
        block_fwd(k, &b, k->x[i + 1], k->x[i]);
        reel_params_release(m->ps, i + 1);
        reel_arena_reset(a, mark);
    }
    reel_head_fwd(&k->c, &w.head, v, k->x[m->n_units - 1], k->time.temb);
    if (kept) return *kept = k, v; /* the root stays held until the backward pass ends */
    reel_params_release(m->ps, 0);
    reel_arena_reset(a, before);
    k->taken = 0;
    return v;
}

static reel_tensor zeros(const struct reel_pass *c, struct reel_rows r, int64_t width)
{
    reel_tensor x = reel_act_f32(c, r, width);

    reel_fill(c->s, x, 0);
    return x;
}

static void patch_mlp_bwd(struct reel_model *m, struct reel_arena *a, struct reel_kept *k, reel_tensor dv,
                          reel_tensor dx, reel_tensor dtext)
{
    size_t before = a->used;
    int64_t D = k->x[0].n[1];
    int L = m->n_units - 1;
    reel_tensor d;
    struct root w;

    k->c.a = a;
    reel_params_need(m->ps, 0);
    reel_params_prefetch(m->ps, L);
    reel_grads_begin(m->ps, 0);
    w = root_layers(m, 1);
    d = reel_act(&k->c, k->c.tok, D);
    struct shared sum = { zeros(&k->c, k->c.vec, D), zeros(&k->c, k->c.vec, N_MOD * D), zeros(&k->c, k->one, D) };
    reel_head_bwd(&k->c, &w.head, d, sum.dtemb, dv, k->x[L], k->time.temb);
    for (int i = L - 1; i >= 0; i--) {
        size_t mark = a->used;
        struct block b;

        reel_params_need(m->ps, i + 1);
        if (i) reel_params_prefetch(m->ps, i);
        reel_grads_begin(m->ps, i + 1);
        b = block_layers(m, i, 1);
        block_bwd(k, &b, d, k->x[i], &sum);
        reel_grads_reduce(m->ps, i + 1);
        reel_params_release(m->ps, i + 1);
        reel_arena_reset(a, mark);
    }
    reel_patch_embed_bwd(&k->c, &w.embed, dx, d, k->in.x);
    text_bwd(k, &w, dtext, sum.dtext);
    reel_time_bwd(&k->c, &w.time, &k->time, sum.dtemb, sum.dtproj);
    reel_grads_reduce(m->ps, 0);
    reel_params_release(m->ps, 0);
    reel_arena_reset(a, before);
    k->taken = 0;
}

/* The blocks' products, 2 per multiply-add. */
static double patch_mlp_flops(const struct reel_model *m, int64_t B, int64_t T, int64_t H, int64_t W)
{
    const struct shape *c = &((const struct patch_mlp *)m->priv)->c;
    double S = (double)(T * (H / c->patch) * (W / c->patch));

    return (double)(B * c->layers) * 4 * S * (double)(c->width * c->hidden);
}

const struct reel_model_ops reel_model_patch_mlp = {
    .name = "patch_mlp",
    .help = "an MLP per patch, with the mean over patches and text as context",
    .priv_size = sizeof(struct patch_mlp),
    .init = patch_mlp_init,
    .fini = patch_mlp_fini,
    .fwd = patch_mlp_fwd,
    .bwd = patch_mlp_bwd,
    .flops = patch_mlp_flops,
};

REEL_EXPORT(REEL_KIND_MODEL, patch_mlp);
