/* Wan2.1 text-to-video transformer, bidirectional: configuration, parameter table, forward pass,
 * hand-written backward pass. Formulas and memory: README.md here and in src/nn. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/model.h"
#include "nn/nn.h"

/* ---- configuration: transformer/config.json ---- */

struct wan_cfg {
    int64_t layers, heads, head_dim, ffn, in_ch, out_ch, text_dim, freq_dim, text_len;
    int64_t ph, pw;
    double eps;
};

/* Integers, with what an absent key means (the 14B model's numbers). */
/* Bounds far beyond any model, so that no size derived from them overflows. */
#define WAN_MAX_LAYERS 4096
#define WAN_MAX_DIM    (1 << 20)
#define WAN_MAX_PATCH  64

static const struct wan_int {
    const char *key;
    size_t at;
    int64_t dflt, max;
    int even;
} wan_ints[] = {
    { "num_layers", offsetof(struct wan_cfg, layers), 40, WAN_MAX_LAYERS, 0 },
    { "num_attention_heads", offsetof(struct wan_cfg, heads), 40, WAN_MAX_DIM, 0 },
    { "attention_head_dim", offsetof(struct wan_cfg, head_dim), 128, WAN_MAX_DIM, 1 },
    { "ffn_dim", offsetof(struct wan_cfg, ffn), 13824, WAN_MAX_DIM, 0 },
    { "in_channels", offsetof(struct wan_cfg, in_ch), 16, WAN_MAX_DIM, 0 },
    { "out_channels", offsetof(struct wan_cfg, out_ch), 16, WAN_MAX_DIM, 0 },
    { "text_dim", offsetof(struct wan_cfg, text_dim), 4096, WAN_MAX_DIM, 0 },
    { "freq_dim", offsetof(struct wan_cfg, freq_dim), 256, WAN_MAX_DIM, 1 },
    { "text_len", offsetof(struct wan_cfg, text_len), 512, WAN_MAX_DIM, 0 },
};

static reel_err read_ints(struct wan_cfg *c, const json_t *j, const char *where)
{
    for (size_t i = 0; i < sizeof wan_ints / sizeof *wan_ints; i++) {
        const struct wan_int *f = &wan_ints[i];
        const json_t *v = json_object_get(j, f->key);
        int64_t n = f->dflt;

        if (v && !json_is_null(v)) {
            n = json_integer_value(v); /* 0 unless an integer */
            if (n < 1 || n > f->max || (f->even && n % 2))
                return REEL_FAIL(REEL_ECONFIG, "%s: %s must be a positive%s integer, at most %ld", where, f->key,
                                 f->even ? " even" : "", (long)f->max);
        }
        memcpy((char *)c + f->at, &n, sizeof n);
    }
    return REEL_OK;
}

static reel_err read_patch(struct wan_cfg *c, const json_t *j, const char *where)
{
    const json_t *v = json_object_get(j, "patch_size");

    c->ph = c->pw = 2;
    if (!v) return REEL_OK;
    c->ph = json_integer_value(json_array_get(v, 1));
    c->pw = json_integer_value(json_array_get(v, 2));
    if (json_array_size(v) != 3 || json_integer_value(json_array_get(v, 0)) != 1 || c->ph < 1 || c->pw < 1 ||
        c->ph > WAN_MAX_PATCH || c->pw > WAN_MAX_PATCH)
        return REEL_FAIL(REEL_ECONFIG, "%s: patch_size must be [1, height, width], as in [1, 2, 2]", where);
    return REEL_OK;
}

static reel_err read_eps(struct wan_cfg *c, const json_t *j, const char *where)
{
    const json_t *v = json_object_get(j, "eps");

    c->eps = v ? json_number_value(v) : 1e-6;
    if (!(c->eps > 0)) return REEL_FAIL(REEL_ECONFIG, "%s: eps must be a positive number, as in 1e-6", where);
    return REEL_OK;
}

/* What would make it another network than the one below. */
static reel_err refuse_variants(const json_t *j, const char *where)
{
    static const char *const image[] = { "added_kv_proj_dim", "image_dim", "pos_embed_seq_len" };
    const json_t *cls = json_object_get(j, "_class_name"), *norm = json_object_get(j, "qk_norm"),
                 *cross = json_object_get(j, "cross_attn_norm");

    if (cls && (!json_is_string(cls) || !strstr(json_string_value(cls), "WanTransformer3DModel")))
        return REEL_FAIL(REEL_ECONFIG, "%s: _class_name is %s: a WanTransformer3DModel is needed", where,
                         json_is_string(cls) ? json_string_value(cls) : "not a string");
    if (norm && (!json_is_string(norm) || strcmp(json_string_value(norm), "rms_norm_across_heads")))
        return REEL_FAIL(REEL_ECONFIG, "%s: qk_norm must be \"rms_norm_across_heads\"", where);
    if (cross && !json_is_true(cross))
        return REEL_FAIL(REEL_ECONFIG, "%s: cross_attn_norm must be true", where);
    for (size_t i = 0; i < sizeof image / sizeof *image; i++) {
        const json_t *v = json_object_get(j, image[i]);

        if (v && !json_is_null(v))
            return REEL_FAIL(REEL_ECONFIG, "%s: %s is set: image-to-video models are not supported, only "
                             "text-to-video (null)", where, image[i]);
    }
    if (json_is_true(json_object_get(j, "r_embedder")))
        return REEL_FAIL(REEL_ECONFIG, "%s: r_embedder (a second timestep) is not supported", where);
    return REEL_OK;
}

static reel_err read_cfg_json(struct wan_cfg *c, const json_t *j, const char *where)
{
    if (!json_is_object(j)) return REEL_FAIL(REEL_ECONFIG, "%s: not a JSON object", where);
    REEL_TRY(refuse_variants(j, where));
    REEL_TRY(read_ints(c, j, where));
    REEL_TRY(read_patch(c, j, where));
    REEL_TRY(read_eps(c, j, where));
    if (c->heads * c->head_dim > WAN_MAX_DIM)
        return REEL_FAIL(REEL_ECONFIG, "%s: num_attention_heads %ld x attention_head_dim %ld is above %d", where,
                         (long)c->heads, (long)c->head_dim, WAN_MAX_DIM);
    if (c->in_ch != c->out_ch)
        return REEL_FAIL(REEL_ECONFIG, "%s: in_channels %ld and out_channels %ld differ: the network predicts the "
                         "velocity of its input", where, (long)c->in_ch, (long)c->out_ch);
    return REEL_OK;
}

static reel_err read_cfg(struct wan_cfg *c, const char *text, const char *where)
{
    json_error_t at;
    json_t *j = json_loads(text, 0, &at);
    reel_err e;

    if (!j) return REEL_FAIL(REEL_ECONFIG, "%s:%d:%d: %s", where, at.line, at.column, at.text);
    e = read_cfg_json(c, j, where);
    json_decref(j);
    return e;
}

/* ---- parameters: one table for layout, names, initial values and precision ---- */

/* X(id, name, f32 whatever the compute dtype, initial value, dims...); a weight is followed by its
 * bias. Vectors are f32 always. */
#define WAN_LINEAR(X, id, name, keep, n, ...)                                                                    \
    X(id, name ".weight", keep, FAN_IN, n, __VA_ARGS__)                                                          \
    X(id##_B, name ".bias", 1, ZERO, n)
#define WAN_ROOT(X)                                                                                              \
    WAN_LINEAR(X, PATCH, "patch_embedding", 0, D, c->in_ch, 1, c->ph, c->pw)                                     \
    WAN_LINEAR(X, TIME1, "condition_embedder.time_embedder.linear_1", 1, D, c->freq_dim)                         \
    WAN_LINEAR(X, TIME2, "condition_embedder.time_embedder.linear_2", 1, D, D)                                   \
    WAN_LINEAR(X, TPROJ, "condition_embedder.time_proj", 1, 6 * D, D)                                            \
    WAN_LINEAR(X, TEXT1, "condition_embedder.text_embedder.linear_1", 0, D, c->text_dim)                         \
    WAN_LINEAR(X, TEXT2, "condition_embedder.text_embedder.linear_2", 0, D, D)                                   \
    X(HEAD_TABLE, "scale_shift_table", 1, TABLE, 1, 2, D)                                                        \
    X(PROJ_OUT, "proj_out.weight", 0, ZERO, c->out_ch * c->ph * c->pw, D)                                        \
    X(PROJ_OUT_B, "proj_out.bias", 1, ZERO, c->out_ch * c->ph * c->pw)
#define WAN_ATTN(X, id, name)                                                                                    \
    WAN_LINEAR(X, id##_Q, name ".to_q", 0, D, D)                                                                 \
    WAN_LINEAR(X, id##_K, name ".to_k", 0, D, D)                                                                 \
    WAN_LINEAR(X, id##_V, name ".to_v", 0, D, D)                                                                 \
    WAN_LINEAR(X, id##_O, name ".to_out.0", 0, D, D)                                                             \
    X(id##_NORM_Q, name ".norm_q.weight", 1, ONE, D)                                                             \
    X(id##_NORM_K, name ".norm_k.weight", 1, ONE, D)
#define WAN_BLOCK(X)                                                                                             \
    X(TABLE, "scale_shift_table", 1, GATES, 1, 6, D)                                                             \
    WAN_ATTN(X, SELF, "attn1")                                                                                   \
    WAN_ATTN(X, CROSS, "attn2")                                                                                  \
    X(NORM2, "norm2.weight", 1, ONE, D)                                                                          \
    X(NORM2_B, "norm2.bias", 1, ZERO, D)                                                                         \
    WAN_LINEAR(X, FFN1, "ffn.net.0.proj", 0, c->ffn, D)                                                          \
    WAN_LINEAR(X, FFN2, "ffn.net.2", 0, D, c->ffn)

#define WAN_ID(id, ...) P_##id,
enum wan_root { WAN_ROOT(WAN_ID) N_ROOT };
enum wan_block { WAN_BLOCK(WAN_ID) N_BLOCK };

enum start { ZERO, ONE, FAN_IN, TABLE, GATES }; /* GATES: TABLE plus 1 in the rows of the two gates */

struct row {
    const char *name;
    int keep_f32;
    enum start start;
    int nd;
    int64_t n[REEL_MAXDIM];
};
#define WAN_ROW(id, name, keep, start, ...) \
    { name, keep, start, sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t), { __VA_ARGS__ } },

static struct reel_param_def define(const struct row *r, int unit)
{
    static const enum reel_init init[] = { REEL_INIT_ZERO, REEL_INIT_ONE, REEL_INIT_NORMAL, REEL_INIT_NORMAL,
                                           REEL_INIT_MODTABLE6 };
    struct reel_param_def d = { .nd = r->nd, .unit = unit, .keep_f32 = r->keep_f32, .init = init[r->start] };
    int64_t fan = 1;

    memcpy(d.n, r->n, sizeof d.n);
    for (int i = 1; i < r->nd; i++) fan *= r->n[i];
    if (r->start == TABLE || r->start == GATES) fan = r->n[r->nd - 1];
    d.init_scale = (float)(1 / sqrt((double)fan));
    if (unit) snprintf(d.name, sizeof d.name, "blocks.%d.%s", unit - 1, r->name);
    else snprintf(d.name, sizeof d.name, "%s", r->name);
    return d;
}

static void fill_table(struct reel_param_def *def, const struct wan_cfg *c)
{
    const int64_t D = c->heads * c->head_dim;
    const struct row root[] = { WAN_ROOT(WAN_ROW) }, block[] = { WAN_BLOCK(WAN_ROW) };

    for (int k = 0; k < N_ROOT; k++) *def++ = define(&root[k], 0);
    for (int i = 0; i < (int)c->layers; i++)
        for (int k = 0; k < N_BLOCK; k++) *def++ = define(&block[k], 1 + i);
}

/* ---- the model ---- */

struct wan {
    struct wan_cfg c;
    struct reel_rope_cache rope;
    struct reel_kept *pool; /* host records of passes; grows while planning, reused in steps */
};

static reel_err wan_init(struct reel_model *m, const char *config_json, const char *where)
{
    struct wan *w = m->priv;
    const struct wan_cfg *c = &w->c;

    REEL_TRY(read_cfg(&w->c, config_json, where));
    m->n_units = 1 + (int)c->layers;
    m->n_def = N_ROOT + (int)c->layers * N_BLOCK;
    m->def = calloc((size_t)m->n_def, sizeof *m->def);
    if (!m->def) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for a table of %d parameters", where, m->n_def);
    fill_table(m->def, c);
    m->text_len = (int)c->text_len;
    m->text_dim = (int)c->text_dim;
    m->channels = (int)c->in_ch;
    m->heads = (int)c->heads;
    m->patch_h = (int)c->ph;
    m->patch_w = (int)c->pw;
    return REEL_OK;
}

/* Weights as the layers want them. `grad`: with their gradient buffers. */
static reel_tensor matrix(reel_tensor x) { return reel_reshape(x, REEL_DIMS(x.n[0], reel_numel(x) / x.n[0])); }
static reel_tensor weight(const struct reel_model *m, int i) { return reel_param(m->ps, i); }
static reel_tensor gradient(const struct reel_model *m, int i, int grad)
{
    return grad ? reel_param_grad(m->ps, i) : (reel_tensor){ 0 };
}

static struct reel_lin linear(const struct reel_model *m, int i, int grad)
{
    struct reel_lin l = { .w = matrix(weight(m, i)), .b = weight(m, i + 1) };

    if (!grad) return l;
    l.dw = matrix(gradient(m, i, 1));
    l.db = gradient(m, i + 1, 1);
    return l;
}

/* [1,rows,D] -> [rows,D] */
static reel_tensor table(reel_tensor x) { return x.nd ? reel_reshape(x, REEL_DIMS(x.n[1], x.n[2])) : x; }

static struct reel_patch patch_layer(const struct reel_model *m, int grad)
{
    return (struct reel_patch){ linear(m, P_PATCH, grad), m->patch_h, m->patch_w };
}

static struct reel_time time_layer(const struct reel_model *m, int grad)
{
    return (struct reel_time){ linear(m, P_TIME1, grad), linear(m, P_TIME2, grad), linear(m, P_TPROJ, grad) };
}

static struct reel_text text_layer(const struct reel_model *m, int grad)
{
    return (struct reel_text){ linear(m, P_TEXT1, grad), linear(m, P_TEXT2, grad) };
}

static struct reel_head head_layer(const struct reel_model *m, int grad)
{
    return (struct reel_head){ linear(m, P_PROJ_OUT, grad), table(weight(m, P_HEAD_TABLE)),
                               table(gradient(m, P_HEAD_TABLE, grad)), m->patch_h, m->patch_w };
}

static struct reel_attn attention(const struct reel_model *m, int i, int grad)
{
    /* i: the index of to_q; the others follow as in WAN_ATTN */
    enum { Q, K = P_SELF_K - P_SELF_Q, V = P_SELF_V - P_SELF_Q, O = P_SELF_O - P_SELF_Q,
           NQ = P_SELF_NORM_Q - P_SELF_Q, NK = P_SELF_NORM_K - P_SELF_Q };

    return (struct reel_attn){
        .q = linear(m, i + Q, grad), .k = linear(m, i + K, grad),
        .v = linear(m, i + V, grad), .o = linear(m, i + O, grad),
        .norm_q = weight(m, i + NQ), .norm_k = weight(m, i + NK),
        .dnorm_q = gradient(m, i + NQ, grad), .dnorm_k = gradient(m, i + NK, grad),
    };
}

struct block {
    struct reel_attn self, cross;
    struct reel_ffn ffn;
    reel_tensor n2w, n2b, dn2w, dn2b;
    reel_tensor table, dtable; /* [6,D] */
};

static struct block block_layer(const struct reel_model *m, int block, int grad)
{
    int i = N_ROOT + block * N_BLOCK;

    return (struct block){
        .self = attention(m, i + P_SELF_Q, grad),
        .cross = attention(m, i + P_CROSS_Q, grad),
        .ffn = { linear(m, i + P_FFN1, grad), linear(m, i + P_FFN2, grad) },
        .n2w = weight(m, i + P_NORM2), .n2b = weight(m, i + P_NORM2_B),
        .dn2w = gradient(m, i + P_NORM2, grad), .dn2b = gradient(m, i + P_NORM2_B, grad),
        .table = table(weight(m, i + P_TABLE)), .dtable = table(gradient(m, i + P_TABLE, grad)),
    };
}

/* ---- what a pass keeps ---- */

/* Of one block. x after self attention is x + gate*u1, made again; u1 and u3 are the branches before
 * their gates, whose gradients need them. */
struct block_kept {
    reel_tensor u1, x2, u3; /* [B*S,D]; x2 after cross attention */
    struct reel_attn_kept self, cross;
    struct reel_ffn_kept ffn;
};

struct reel_kept {
    struct reel_kept *next;
    int taken, checkpointing;
    struct reel_pass c;
    struct reel_params *ps;
    struct reel_model_in in;
    struct reel_rope rope;
    struct reel_time_kept time;
    struct reel_text_kept text;
    reel_tensor *x;           /* [layers+1]: block inputs, then the head's */
    struct block_kept *block; /* [layers], unless checkpointing */
};

static struct reel_kept *kept_new(struct wan *w)
{
    size_t n = (size_t)w->c.layers;
    struct reel_kept *k = calloc(1, sizeof *k + (n + 1) * sizeof *k->x + n * sizeof *k->block);

    REEL_BUG_IF(!k, "out of memory: the record of a pass");
    k->x = (reel_tensor *)(k + 1);
    k->block = (struct block_kept *)(k->x + n + 1);
    k->next = w->pool;
    return w->pool = k;
}

static struct reel_kept *kept_take(struct wan *w)
{
    struct reel_kept *k = w->pool;

    while (k && k->taken) k = k->next;
    if (!k) k = kept_new(w);
    k->taken = 1;
    return k;
}

static void wan_fini(struct reel_model *m)
{
    struct wan *w = m->priv;
    struct reel_kept *next;

    for (; w->pool; w->pool = next) {
        next = w->pool->next;
        free(w->pool);
    }
    reel_rope_free(&w->rope);
    free(m->def);
    m->def = NULL;
}

static void attn_keep(const struct reel_pass *c, struct block_kept *k, int64_t D)
{
    k->u1 = reel_act(c, c->tok, D);
    k->x2 = reel_act(c, c->tok, D);
    reel_attn_keep(c, &k->self, c->tok, D);
    reel_attn_keep(c, &k->cross, c->txt, D);
}

static void ffn_keep(const struct reel_pass *c, struct block_kept *k, int64_t D, int64_t F, int backward)
{
    k->u3 = reel_act(c, c->tok, D);
    k->ffn = (struct reel_ffn_kept){ 0 };
    if (backward) reel_ffn_keep(c, &k->ffn, F);
}

static void check_input(const struct reel_model *m, const struct reel_model_in *in)
{
    const int64_t *x = in->x.n, *t = in->t.n, *e = in->text.n;

    REEL_BUG_IF(in->x.nd != 5 || x[2] != m->channels || x[3] % m->patch_h || x[4] % m->patch_w,
                "latents of %d dimensions, %ld channels, %ld x %ld: [B,T,%d,H,W] is needed, H and W multiples of "
                "%d and %d", in->x.nd, (long)x[2], (long)x[3], (long)x[4], m->channels, m->patch_h, m->patch_w);
    REEL_BUG_IF((in->t.nd != 1 && in->t.nd != 2) || t[0] != x[0] || (in->t.nd == 2 && t[1] != x[1]),
                "timesteps must be [B] or [B,T] of latents [%ld,%ld,...]", (long)x[0], (long)x[1]);
    REEL_BUG_IF(in->text.nd != 3 || e[0] != x[0] || e[2] != m->text_dim,
                "text rows must be [%ld,L,%d]", (long)x[0], m->text_dim);
}

static struct reel_pass pass_of(const struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in)
{
    const struct wan *w = m->priv;
    int64_t B = in->x.n[0], T = in->x.n[1], frame = in->x.n[3] / w->c.ph * (in->x.n[4] / w->c.pw);
    int per_frame = in->t.nd == 2;

    return (struct reel_pass){
        .s = m->s, .a = a, .dt = m->compute, .heads = m->heads, .eps = w->c.eps,
        .tok = reel_rows_make(B, T * frame, per_frame ? frame : T * frame),
        .txt = reel_rows_make(B, in->text.n[1], in->text.n[1]),
        .vec = reel_rows_make(B, per_frame ? T : 1, 1),
        .probe = m->probe, .probe_ctx = m->probe_ctx, .block = -1,
    };
}

/* The memory of a pass. Without a backward pass one residual stream is enough. */
static void kept_layout(struct reel_kept *k, struct reel_model *m, struct reel_arena *a,
                        const struct reel_model_in *in, int backward)
{
    struct wan *w = m->priv;
    const struct reel_pass *c = &k->c;
    const struct reel_time time = time_layer(m, 0);
    const struct reel_text text = text_layer(m, 0);
    int64_t grid[3] = { in->x.n[1], in->x.n[3] / w->c.ph, in->x.n[4] / w->c.pw };
    int64_t D = w->c.heads * w->c.head_dim;

    k->in = *in;
    k->c = pass_of(m, a, in);
    k->ps = m->ps;
    k->checkpointing = m->checkpointing;
    k->rope = reel_rope_get(&w->rope, m->s, m->mem, a, grid, (int)w->c.head_dim);
    reel_time_keep(c, &k->time, &time);
    reel_text_keep(c, &k->text, &text, in->text);
    for (int i = 0; i <= (int)w->c.layers; i++) k->x[i] = i && !backward ? k->x[0] : reel_act(c, c->tok, D);
    for (int i = 0; i < (int)w->c.layers && backward && !k->checkpointing; i++) {
        attn_keep(c, &k->block[i], D);
        ffn_keep(c, &k->block[i], D, w->c.ffn, 1);
    }
}

/* ---- one block ---- */

/* rows of the modulation e [nmod,6,D] */
enum { MSA_SHIFT, MSA_SCALE, MSA_GATE, C_SHIFT, C_SCALE, C_GATE, N_MOD };

static const reel_tensor none;

static reel_tensor modulation(const struct reel_pass *c, const struct block *w, reel_tensor tproj)
{
    reel_tensor e = reel_new(c->a, REEL_F32, REEL_DIMS(reel_rows_count(c->vec), N_MOD, w->table.n[1]));

    reel_mod_fwd(c->s, e, w->table, tproj);
    return e;
}

static struct reel_ln modulated(const struct reel_pass *c, reel_tensor x, reel_tensor e, int shift, int scale)
{
    struct reel_ln n = reel_ln_new(c, x.n[1]);

    reel_ln_mod_fwd(c->s, n.y, n.mean, n.rstd, x, e, shift, scale, c->tok, c->eps);
    return n;
}

static struct reel_ln affine(const struct reel_pass *c, const struct block *w, reel_tensor x)
{
    struct reel_ln n = reel_ln_new(c, x.n[1]);

    reel_ln_affine_fwd(c->s, n.y, n.mean, n.rstd, x, w->n2w, w->n2b, c->tok, c->eps);
    return n;
}

/* x after self attention */
static reel_tensor after_self(const struct reel_pass *c, const struct block_kept *k, reel_tensor x, reel_tensor e)
{
    reel_tensor x1 = reel_act(c, c->tok, x.n[1]);

    reel_gate_fwd(c->s, x1, x, k->u1, e, MSA_GATE, c->tok);
    return x1;
}

static void self_fwd(const struct reel_pass *c, const struct block *w, struct block_kept *k, reel_tensor x,
                     reel_tensor e, struct reel_rope rope)
{
    struct reel_ln n = modulated(c, x, e, MSA_SHIFT, MSA_SCALE);

    reel_probe(c, "act", "norm1_modulated", n.y);
    reel_attn_layer_fwd(c, &w->self, &k->self, k->u1, n.y, n.y, c->tok, rope);
    reel_probe(c, "act", "attn1_out", k->u1);
}

static void cross_fwd(const struct reel_pass *c, const struct block *w, struct block_kept *k, reel_tensor x,
                      reel_tensor e, reel_tensor ctx)
{
    reel_tensor x1 = after_self(c, k, x, e), u2 = reel_act(c, c->tok, x.n[1]);
    struct reel_ln n = affine(c, w, x1);

    reel_probe(c, "act", "norm2", n.y);
    reel_attn_layer_fwd(c, &w->cross, &k->cross, u2, n.y, ctx, c->txt, (struct reel_rope){ 0 });
    reel_probe(c, "act", "attn2_out", u2);
    reel_gate_fwd(c->s, k->x2, x1, u2, none, 0, c->tok);
}

static void ffn_fwd(const struct reel_pass *c, const struct block *w, struct block_kept *k, reel_tensor e)
{
    struct reel_ln n = modulated(c, k->x2, e, C_SHIFT, C_SCALE);

    reel_probe(c, "act", "norm3_modulated", n.y);
    reel_ffn_fwd(c, &w->ffn, &k->ffn, k->u3, n.y);
    reel_probe(c, "act", "ffn_out", k->u3);
}

/* y nd 0: only what the backward pass needs. y may be x. */
static void block_fwd(const struct reel_pass *c, const struct block *w, struct block_kept *k, reel_tensor y,
                      reel_tensor x, reel_tensor e, const struct reel_kept *pass)
{
    size_t mark = c->a->used;

    self_fwd(c, w, k, x, e, pass->rope);
    reel_arena_reset(c->a, mark);
    reel_params_progress(pass->ps);
    cross_fwd(c, w, k, x, e, pass->text.ctx);
    reel_arena_reset(c->a, mark);
    reel_params_progress(pass->ps);
    ffn_fwd(c, w, k, e);
    reel_arena_reset(c->a, mark);
    if (y.nd) reel_gate_fwd(c->s, y, k->x2, k->u3, e, C_GATE, c->tok);
}

/* g [B*S,D]: the gradient of the residual stream, updated in place by each of the three. A branch's
 * gradient at its output gives its place to that at its input. */
static void ffn_bwd(const struct reel_pass *c, const struct block *w, struct block_kept *k, reel_tensor g,
                    reel_tensor e, reel_tensor de)
{
    reel_tensor d = reel_act(c, c->tok, g.n[1]);
    struct reel_ln n;

    reel_gate_bwd(c->s, d, de, g, k->u3, e, C_GATE, c->tok);
    reel_probe(c, "dact", "ffn_out", d);
    n = modulated(c, k->x2, e, C_SHIFT, C_SCALE);
    reel_ffn_bwd(c, &w->ffn, &k->ffn, d, d, n.y);
    reel_probe(c, "dact", "norm3_modulated", d);
    reel_ln_mod_bwd(c->s, g, 1, de, d, k->x2, n.mean, n.rstd, e, C_SHIFT, C_SCALE, c->tok);
}

/* y += x, widening x if need be */
static void add_wide(const struct reel_pass *c, reel_tensor y, reel_tensor x)
{
    size_t mark = c->a->used;
    reel_tensor wide = x;

    if (x.dt != y.dt) {
        wide = reel_new(c->a, y.dt, x.n, x.nd);
        reel_cast(c->s, wide, x);
    }
    reel_add(c->s, y, wide);
    reel_arena_reset(c->a, mark);
}

static void cross_bwd(const struct reel_pass *c, const struct block *w, struct block_kept *k, reel_tensor g,
                      reel_tensor x, reel_tensor e, reel_tensor ctx, reel_tensor dctx)
{
    reel_tensor x1 = after_self(c, k, x, e), dn = reel_act(c, c->tok, g.n[1]);
    reel_tensor dkv = reel_act(c, c->txt, g.n[1]);
    struct reel_ln n = affine(c, w, x1);

    reel_probe(c, "dact", "attn2_out", g);
    reel_attn_layer_bwd(c, &w->cross, &k->cross, dn, dkv, g, n.y, ctx, c->txt, (struct reel_rope){ 0 });
    reel_probe(c, "dact", "norm2", dn);
    add_wide(c, dctx, dkv);
    reel_ln_affine_bwd(c->s, g, 1, w->dn2w, w->dn2b, dn, x1, n.mean, n.rstd, w->n2w, c->tok, 0);
}

static void self_bwd(const struct reel_pass *c, const struct block *w, struct block_kept *k, reel_tensor g,
                     reel_tensor x, reel_tensor e, reel_tensor de, struct reel_rope rope)
{
    struct reel_ln n = modulated(c, x, e, MSA_SHIFT, MSA_SCALE);
    reel_tensor d = reel_act(c, c->tok, g.n[1]);

    reel_gate_bwd(c->s, d, de, g, k->u1, e, MSA_GATE, c->tok);
    reel_probe(c, "dact", "attn1_out", d);
    reel_attn_layer_bwd(c, &w->self, &k->self, d, none, d, n.y, n.y, c->tok, rope);
    reel_probe(c, "dact", "norm1_modulated", d);
    reel_ln_mod_bwd(c->s, g, 1, de, d, x, n.mean, n.rstd, e, MSA_SHIFT, MSA_SCALE, c->tok);
}

/* Gradients that every block adds to. */
struct shared_grads { reel_tensor dctx, dtproj, dtemb; }; /* f32 */

/* ffn_end: what lies above this mark is the feed-forward's and is given back when it is done. */
static void block_bwd(const struct reel_pass *c, const struct block *w, struct block_kept *k, reel_tensor g,
                      reel_tensor x, reel_tensor e, reel_tensor de, size_t ffn_end, const struct reel_kept *pass,
                      const struct shared_grads *sg)
{
    reel_fill(c->s, de, 0);
    ffn_bwd(c, w, k, g, e, de);
    reel_arena_reset(c->a, ffn_end);
    reel_params_progress(pass->ps);
    cross_bwd(c, w, k, g, x, e, pass->text.ctx, sg->dctx);
    reel_arena_reset(c->a, ffn_end);
    reel_params_progress(pass->ps);
    self_bwd(c, w, k, g, x, e, de, pass->rope);
    reel_mod_bwd(c->s, w->dtable, 0, sg->dtproj, reel_by_sample(c, de));
}

/* ---- forward ---- */

static void run_block(struct reel_model *m, struct reel_kept *k, int i, int backward)
{
    struct reel_pass *c = &k->c;
    int own = backward && !k->checkpointing, unit = 1 + i;
    struct block_kept tmp, *b = own ? &k->block[i] : &tmp;
    size_t mark = c->a->used;
    struct block w;

    reel_params_need(m->ps, unit);
    if (unit + 1 < m->n_units) reel_params_prefetch(m->ps, unit + 1);
    w = block_layer(m, i, 0);
    c->block = i;
    if (!own) {
        attn_keep(c, b, k->x[i].n[1]);
        ffn_keep(c, b, k->x[i].n[1], 0, 0);
    }
    block_fwd(c, &w, b, k->x[i + 1], k->x[i], modulation(c, &w, k->time.tproj), k);
    reel_probe(c, "act", "block_out", k->x[i + 1]);
    c->block = -1;
    reel_params_release(m->ps, unit);
    reel_arena_reset(c->a, mark);
}

static void run_fwd(struct reel_model *m, struct reel_kept *k, reel_tensor v, int backward)
{
    const struct reel_pass *c = &k->c;
    const struct reel_time time = time_layer(m, 0);
    const struct reel_text text = text_layer(m, 0);
    const struct reel_patch patch = patch_layer(m, 0);
    const struct reel_head head = head_layer(m, 0);

    reel_time_fwd(c, &time, &k->time, k->in.t);
    reel_text_fwd(c, &text, &k->text, k->in.text);
    reel_patch_embed_fwd(c, &patch, k->x[0], k->in.x);
    reel_probe(c, "act", "tokens", k->x[0]);
    for (int i = 0; i + 1 < m->n_units; i++) run_block(m, k, i, backward);
    reel_head_fwd(c, &head, v, k->x[m->n_units - 1], k->time.temb);
}

static reel_tensor wan_fwd(struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in,
                           struct reel_kept **kept)
{
    struct reel_kept *k = kept_take(m->priv);
    reel_tensor v;
    size_t mark;

    check_input(m, in);
    v = reel_new(a, REEL_F32, in->x.n, in->x.nd);
    mark = a->used;
    reel_params_need(m->ps, 0);
    reel_params_prefetch(m->ps, 1);
    kept_layout(k, m, a, in, kept != NULL);
    run_fwd(m, k, v, kept != NULL);
    if (kept) return *kept = k, v; /* the root unit stays gathered until the backward pass ends */
    reel_params_release(m->ps, 0);
    reel_arena_reset(a, mark);
    k->taken = 0;
    return v;
}

/* ---- backward ---- */

/* What the forward pass did not keep, in scratch: attention's part, then the feed-forward's. */
static size_t recompute(const struct reel_model *m, const struct reel_kept *k, const struct block *w,
                        struct block_kept *b, int i, reel_tensor e)
{
    struct reel_pass again = k->c;
    size_t ffn_end;

    again.probe = NULL;
    attn_keep(&again, b, k->x[i].n[1]);
    ffn_end = again.a->used;
    ffn_keep(&again, b, k->x[i].n[1], ((const struct wan *)m->priv)->c.ffn, 1);
    block_fwd(&again, w, b, none, k->x[i], e, k);
    return ffn_end;
}

static void run_block_bwd(struct reel_model *m, struct reel_kept *k, int i, reel_tensor g,
                          const struct shared_grads *sg)
{
    struct reel_pass *c = &k->c;
    struct block_kept tmp, *b = k->checkpointing ? &tmp : &k->block[i];
    size_t mark = c->a->used, ffn_end;
    reel_tensor e, de;
    struct block w;
    int unit = 1 + i;

    reel_params_need(m->ps, unit);
    if (i) reel_params_prefetch(m->ps, unit - 1);
    reel_grads_begin(m->ps, unit);
    w = block_layer(m, i, 1);
    c->block = i;
    e = modulation(c, &w, k->time.tproj);
    de = reel_new(c->a, REEL_F32, e.n, e.nd);
    ffn_end = k->checkpointing ? recompute(m, k, &w, b, i, e) : c->a->used;
    reel_probe(c, "dact", "block_out", g);
    block_bwd(c, &w, b, g, k->x[i], e, de, ffn_end, k, sg);
    c->block = -1;
    reel_grads_reduce(m->ps, unit);
    reel_params_release(m->ps, unit);
    reel_arena_reset(c->a, mark);
}

static reel_tensor zeros(const struct reel_pass *c, struct reel_rows r, int64_t width)
{
    reel_tensor x = reel_act_f32(c, r, width);

    reel_fill(c->s, x, 0);
    return x;
}

static void run_bwd(struct reel_model *m, struct reel_kept *k, reel_tensor dv, reel_tensor dx, reel_tensor dtext)
{
    const struct reel_pass *c = &k->c;
    const struct reel_time time = time_layer(m, 1);
    const struct reel_text text = text_layer(m, 1);
    const struct reel_patch patch = patch_layer(m, 1);
    const struct reel_head head = head_layer(m, 1);
    int64_t D = k->x[0].n[1];
    reel_tensor g = reel_act(c, c->tok, D);
    struct shared_grads sg = { zeros(c, c->txt, D), zeros(c, c->vec, N_MOD * D), zeros(c, c->vec, D) };

    reel_head_bwd(c, &head, g, sg.dtemb, dv, k->x[m->n_units - 1], k->time.temb);
    for (int i = m->n_units - 2; i >= 0; i--) run_block_bwd(m, k, i, g, &sg);
    reel_probe(c, "dact", "tokens", g);
    reel_patch_embed_bwd(c, &patch, dx, g, k->in.x);
    reel_text_bwd(c, &text, &k->text, sg.dctx, dtext);
    reel_time_bwd(c, &time, &k->time, sg.dtemb, sg.dtproj);
}

static void wan_bwd(struct reel_model *m, struct reel_arena *a, struct reel_kept *k, reel_tensor dv, reel_tensor dx,
                    reel_tensor dtext)
{
    size_t mark = a->used;

    REEL_BUG_IF(!m->trainable, "role %s is frozen: it has no backward pass", m->role);
    REEL_BUG_IF(!k->taken, "role %s: a second backward pass over what one forward pass kept", m->role);
    k->c.a = a;
    reel_params_need(m->ps, 0);
    if (m->n_units > 1) reel_params_prefetch(m->ps, m->n_units - 1);
    reel_grads_begin(m->ps, 0);
    run_bwd(m, k, dv, dx, dtext);
    reel_grads_reduce(m->ps, 0);
    reel_params_release(m->ps, 0);
    reel_arena_reset(a, mark);
    k->taken = 0;
}

/* ---- cost ---- */

/* The blocks' products, 2 per multiply-add; patches, head and conditioning are below 1%. */
static double wan_flops(const struct reel_model *m, int64_t B, int64_t T, int64_t H, int64_t W)
{
    const struct wan_cfg *c = &((const struct wan *)m->priv)->c;
    double S = (double)(T * (H / c->ph) * (W / c->pw)), D = (double)(c->heads * c->head_dim);
    double L = (double)c->text_len, F = (double)c->ffn;
    double self = 8 * S * D * D + 4 * S * S * D;
    double cross = 4 * S * D * D + 4 * L * D * D + 4 * S * L * D;

    return (double)B * (double)c->layers * (self + cross + 4 * S * D * F);
}

const struct reel_model_ops reel_model_wan = {
    .name = "wan",
    .help = "Wan2.1 text-to-video transformer, bidirectional",
    .priv_size = sizeof(struct wan),
    .init = wan_init,
    .fini = wan_fini,
    .fwd = wan_fwd,
    .bwd = wan_bwd,
    .flops = wan_flops,
};
