/* Parameters of a Wan transformer: one table for layout, names, initial values and precision. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/lora.h"
#include "models/wan_priv.h"

/* X(id, name, f32 whatever the compute dtype, initial value, split over tensor parallel ranks, dims...); a weight is
 * followed by its bias. Vectors are f32 always. Layers that make heads or hidden features are split by rows, those
 * that take them by columns. */
#define WAN_LINEAR(X, id, name, keep, split, n, ...)                                                             \
    X(id, name ".weight", keep, FAN_IN, split, n, __VA_ARGS__)                                                   \
    X(id##_B, name ".bias", 1, ZERO, split == COLS ? NONE : split, n)
#define WAN_ROOT(X)                                                                                              \
    WAN_LINEAR(X, PATCH, "patch_embedding", 0, NONE, D, c->in_ch, 1, c->ph, c->pw)                               \
    WAN_LINEAR(X, TIME1, "condition_embedder.time_embedder.linear_1", 1, NONE, D, c->freq_dim)                   \
    WAN_LINEAR(X, TIME2, "condition_embedder.time_embedder.linear_2", 1, NONE, D, D)                             \
    WAN_LINEAR(X, TPROJ, "condition_embedder.time_proj", 1, NONE, 6 * D, D)                                      \
    WAN_LINEAR(X, TEXT1, "condition_embedder.text_embedder.linear_1", 0, ROWS, D, c->text_dim)                   \
    WAN_LINEAR(X, TEXT2, "condition_embedder.text_embedder.linear_2", 0, COLS, D, D)                             \
    X(HEAD_TABLE, "scale_shift_table", 1, TABLE, NONE, 1, 2, D)                                                  \
    X(PROJ_OUT, "proj_out.weight", 0, ZERO, NONE, c->out_ch * c->ph * c->pw, D)                                  \
    X(PROJ_OUT_B, "proj_out.bias", 1, ZERO, NONE, c->out_ch * c->ph * c->pw)
#define WAN_ATTN(X, id, name)                                                                                    \
    WAN_LINEAR(X, id##_Q, name ".to_q", 0, ROWS, D, D)                                                           \
    WAN_LINEAR(X, id##_K, name ".to_k", 0, ROWS, D, D)                                                           \
    WAN_LINEAR(X, id##_V, name ".to_v", 0, ROWS, D, D)                                                           \
    WAN_LINEAR(X, id##_O, name ".to_out.0", 0, COLS, D, D)                                                       \
    X(id##_NORM_Q, name ".norm_q.weight", 1, ONE, ROWS, D)                                                       \
    X(id##_NORM_K, name ".norm_k.weight", 1, ONE, ROWS, D)
#define WAN_BLOCK(X)                                                                                             \
    X(TABLE, "scale_shift_table", 1, GATES, NONE, 1, 6, D)                                                       \
    WAN_ATTN(X, SELF, "attn1")                                                                                   \
    WAN_ATTN(X, CROSS, "attn2")                                                                                  \
    X(NORM2, "norm2.weight", 1, ONE, NONE, D)                                                                    \
    X(NORM2_B, "norm2.bias", 1, ZERO, NONE, D)                                                                   \
    WAN_LINEAR(X, FFN1, "ffn.net.0.proj", 0, ROWS, c->ffn, D)                                                    \
    WAN_LINEAR(X, FFN2, "ffn.net.2", 0, COLS, D, c->ffn)                                                         \
    X(GATE, "to_gate_compress.weight", 0, LATER, ROWS, D, D) /* with its bias: last, and only in sparse models */ \
    X(GATE_B, "to_gate_compress.bias", 1, LATER, ROWS, D)

#define WAN_ID(id, ...) P_##id,
enum { WAN_ROOT(WAN_ID) N_ROOT };
enum { WAN_BLOCK(WAN_ID) N_BLOCK };

/* GATES: TABLE plus 1 in the rows of the two gates; LATER: zero, and files of the released models lack it */
enum start { ZERO, ONE, FAN_IN, TABLE, GATES, LATER };

enum { NONE = REEL_SPLIT_NONE, ROWS = REEL_SPLIT_ROWS, COLS = REEL_SPLIT_COLS };

struct row {
    const char *name;
    int keep_f32;
    enum start start;
    int split; /* of these */
    int nd;
    int64_t n[REEL_MAXDIM];
};
#define WAN_ROW(id, name, keep, start, split, ...)                                                               \
    { name, keep, start, split, sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t), { __VA_ARGS__ } },

static struct reel_param_def define(const struct row *r, int unit)
{
    static const enum reel_init init[] = { REEL_INIT_ZERO, REEL_INIT_ONE, REEL_INIT_NORMAL, REEL_INIT_NORMAL,
                                           REEL_INIT_NORMAL, REEL_INIT_ZERO };
    struct reel_param_def d = { .nd = r->nd, .unit = unit, .keep_f32 = r->keep_f32, .init = init[r->start],
                                .optional = r->start == LATER, .split = (enum reel_param_split)r->split,
                                .init_ones = r->start == GATES ? 1u << 2 | 1u << 5 : 0 };
    int64_t fan = 1;

    memcpy(d.n, r->n, sizeof d.n);
    for (int i = 1; i < r->nd; i++) fan *= r->n[i];
    if (r->start == TABLE || r->start == GATES) fan = r->n[r->nd - 1];
    d.init_scale = (float)(1 / sqrt((double)fan));
    if (unit) snprintf(d.name, sizeof d.name, "blocks.%d.%s", unit - 1, r->name);
    else snprintf(d.name, sizeof d.name, "%s", r->name);
    return d;
}

/* Parameters of a block. */
static int per_block(const struct wan_cfg *c) { return c->sparse ? N_BLOCK : P_GATE; }

static void fill_table(struct reel_param_def *def, const struct wan_cfg *c)
{
    const int64_t D = c->heads * c->head_dim;
    const struct row root[] = { WAN_ROOT(WAN_ROW) }, block[] = { WAN_BLOCK(WAN_ROW) };

    for (int k = 0; k < N_ROOT; k++) *def++ = define(&root[k], 0);
    for (int i = 0; i < (int)c->layers; i++)
        for (int k = 0; k < per_block(c); k++) *def++ = define(&block[k], 1 + i);
}

/* Pieces of heads, and of hidden features just as many. */
static int pieces_of(const struct wan_cfg *c)
{
    int p = reel_head_pieces((int)c->heads);

    while (c->ffn % p) p /= 2;
    return p;
}

reel_err reel_wan_define(struct reel_model *m, const struct wan_cfg *c, const char *where)
{
    m->n_units = 1 + (int)c->layers;
    m->n_def = N_ROOT + (int)c->layers * per_block(c);
    m->def = calloc((size_t)m->n_def, sizeof *m->def);
    if (!m->def) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for a table of %d parameters", where, m->n_def);
    fill_table(m->def, c);
    m->text_len = (int)c->text_len;
    m->text_dim = (int)c->text_dim;
    m->channels = (int)c->in_ch;
    m->heads = (int)c->heads;
    m->pieces = pieces_of(c);
    m->patch_h = (int)c->ph;
    m->patch_w = (int)c->pw;
    if (*c->assumed) snprintf(m->assumed, sizeof m->assumed, "%s (Wan 14B)", c->assumed);
    return REEL_OK;
}

/* ---- weights as the layers want them ---- */

static reel_tensor matrix(reel_tensor x) { return reel_reshape(x, REEL_DIMS(x.n[0], reel_numel(x) / x.n[0])); }
static reel_tensor weight(const struct reel_model *m, int i) { return reel_param(m->ps, i); }
static reel_tensor gradient(const struct reel_model *m, int i, int grad)
{
    return grad ? reel_param_grad(m->ps, i) : (reel_tensor){ 0 };
}

static struct reel_lin linear(const struct reel_model *m, int i, int grad)
{
    struct reel_lin l = { .w = matrix(weight(m, i)), .b = weight(m, i + 1), .lora = reel_lora_of(m, i, grad),
                          .split = m->def[i].split };

    l.dw = gradient(m, i, grad);
    l.db = gradient(m, i + 1, grad);
    if (l.dw.nd) l.dw = matrix(l.dw);
    return l;
}

/* [1,rows,D] -> [rows,D] */
static reel_tensor table(reel_tensor x) { return x.nd ? reel_reshape(x, REEL_DIMS(x.n[1], x.n[2])) : x; }

struct reel_patch reel_wan_patch(const struct reel_model *m, int grad)
{
    return (struct reel_patch){ linear(m, P_PATCH, grad), m->patch_h, m->patch_w };
}

struct reel_time reel_wan_time(const struct reel_model *m, int grad)
{
    return (struct reel_time){ linear(m, P_TIME1, grad), linear(m, P_TIME2, grad), linear(m, P_TPROJ, grad) };
}

struct reel_text_mlp reel_wan_text(const struct reel_model *m, int grad)
{
    return (struct reel_text_mlp){ linear(m, P_TEXT1, grad), linear(m, P_TEXT2, grad) };
}

struct reel_head reel_wan_head(const struct reel_model *m, int grad)
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

struct wan_block reel_wan_block(const struct reel_model *m, int block, int grad)
{
    const struct wan_cfg *c = &((const struct wan *)m->priv)->c;
    int i = N_ROOT + block * per_block(c);
    struct wan_block w = {
        .self = attention(m, i + P_SELF_Q, grad),
        .cross = attention(m, i + P_CROSS_Q, grad),
        .ffn = { linear(m, i + P_FFN1, grad), linear(m, i + P_FFN2, grad) },
        .n2w = weight(m, i + P_NORM2), .n2b = weight(m, i + P_NORM2_B),
        .dn2w = gradient(m, i + P_NORM2, grad), .dn2b = gradient(m, i + P_NORM2_B, grad),
        .table = table(weight(m, i + P_TABLE)), .dtable = table(gradient(m, i + P_TABLE, grad)),
    };

    if (c->sparse) w.self.gate = linear(m, i + P_GATE, grad);
    return w;
}
