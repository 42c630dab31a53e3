#include "nn/nn.h"

/* The softmax over tokens is the dearest part of a block, so its output and log-sum-exp are kept;
 * rotated q and k are made again from the projections (one cheap pass each). */
void reel_attn_keep(const struct reel_pass *c, struct reel_attn_kept *k, struct reel_rows kv, int64_t D,
                    struct reel_sparse sparse)
{
    *k = (struct reel_attn_kept){ .q = reel_act(c, c->tok, D) };
    if (kv.b) k->k = reel_act(c, kv, D);
    if (kv.b) k->v = reel_act(c, kv, D);
    if (sparse.topk) reel_sparse_keep(c, &k->sparse, &sparse, D);
    else k->o = reel_act(c, c->tok, D);
    k->lse = reel_new(c->a, REEL_F32, REEL_DIMS(c->tok.b, c->heads, c->tok.s));
}

static const reel_tensor none;

static reel_tensor batched(reel_tensor x, struct reel_rows r)
{
    return reel_reshape(x, REEL_DIMS(r.b, r.s, x.n[1]));
}

struct normed { reel_tensor q, k, q_rstd, k_rstd; };

static reel_tensor norm(const struct reel_pass *c, reel_tensor *rstd, reel_tensor x, reel_tensor w,
                        struct reel_rows r, struct reel_rope rope)
{
    reel_tensor y = reel_act(c, r, x.n[1]);

    *rstd = reel_new(c->a, REEL_F32, REEL_DIMS(reel_rows_count(r)));
    reel_rms_rope_fwd(c->s, y, *rstd, x, w, rope.cos, rope.sin, r, c->heads, c->eps, none);
    return y;
}

static reel_tensor norm_q(const struct reel_pass *c, const struct reel_attn *w, const struct reel_attn_kept *k,
                          const struct reel_sight *see, struct normed *n)
{
    return n->q = norm(c, &n->q_rstd, k->q, w->norm_q, c->tok, see->rope);
}

/* This pass's keys: as attention takes them, or as the cache holds them. */
static reel_tensor norm_k(const struct reel_pass *c, const struct reel_attn *w, const struct reel_attn_kept *k,
                          const struct reel_sight *see, struct normed *n)
{
    return n->k = norm(c, &n->k_rstd, k->k, w->norm_k, see->rows, see->window.cos.nd ? (struct reel_rope){ 0 } : see->rope);
}

/* ---- a cache of keys and values ---- */

/* rows [lo,hi) of sample b of x [B,C,D] */
static reel_tensor rows(reel_tensor x, int64_t b, int64_t lo, int64_t hi) { return reel_slice(reel_at(x, b), lo, hi); }

static void store(const struct reel_pass *c, reel_tensor cache, const struct reel_sight *see, reel_tensor x)
{
    reel_tensor own = batched(x, see->rows);

    for (int64_t b = 0; b < see->rows.b; b++)
        reel_copy(c->s, rows(cache, b, see->row0, see->row0 + see->rows.s), reel_at(own, b));
}

/* y = rows [lo,hi) of the cache, rotated to positions from `at` */
static void rotate(const struct reel_pass *c, const struct reel_sight *see, reel_tensor y, int64_t lo, int64_t hi, int64_t at)
{
    reel_tensor cos = reel_slice(see->window.cos, at, at + hi - lo), sin = reel_slice(see->window.sin, at, at + hi - lo);

    for (int64_t b = 0; b < y.n[0] && lo < hi; b++)
        reel_rms_rope_fwd(c->s, rows(y, b, lo, hi), none, rows(see->k, b, lo, hi), none, cos, sin,
                          reel_rows_make(1, hi - lo, hi - lo), c->heads, c->eps, none);
}

/* The keys that attention reads: this pass's own, or those of a cache that has them. */
static reel_tensor keys(const struct reel_pass *c, const struct reel_sight *see, reel_tensor own)
{
    const struct reel_mask *m = &see->mask;
    reel_tensor y;

    if (!see->k.nd) return batched(own, see->rows);
    if (!see->window.cos.nd) return see->k;
    y = reel_new(c->a, see->k.dt, see->k.n, 3);
    rotate(c, see, y, 0, m->sink, 0);
    rotate(c, see, y, m->lo, m->hi, m->sink);
    return y;
}

static reel_tensor values(const struct reel_sight *see, reel_tensor own)
{
    return see->k.nd ? see->v : batched(own, see->rows);
}

/* ---- forward ---- */

static void own_keys(const struct reel_pass *c, const struct reel_attn *w, struct reel_attn_kept *k, struct normed *n,
                     reel_tensor xkv, const struct reel_sight *see)
{
    int self = see->rope.cos.nd;

    reel_lin_fwd(c, &w->k, k->k, xkv, see->rows);
    reel_lin_fwd(c, &w->v, k->v, xkv, see->rows);
    norm_k(c, w, k, see, n);
    reel_probe(c, "act", self ? "v" : "cross_v", k->v);
    reel_probe(c, "act", self ? "k_rope" : "cross_k_norm", n->k);
    if (!see->k.nd) return;
    store(c, see->k, see, n->k);
    store(c, see->v, see, k->v);
}

/* Attention before its output projection; sparse: in scratch. */
static reel_tensor attend(const struct reel_pass *c, const struct reel_attn *w, struct reel_attn_kept *k,
                          const struct normed *n, reel_tensor xq, const struct reel_sight *see)
{
    reel_tensor q = batched(n->q, c->tok), o = k->o;

    if (!see->sparse.topk) {
        reel_attn_fwd(c->s, batched(o, c->tok), k->lse, q, keys(c, see, n->k), values(see, k->v), c->heads, see->mask);
        return o;
    }
    reel_lin_fwd(c, &w->gate, reel_flat(k->sparse.gate), xq, c->tok);
    reel_sparse_fwd(c, &k->sparse, &see->sparse, k->lse, q, batched(n->k, c->tok), batched(k->v, c->tok));
    reel_probe(c, "act", "attn1_blocks", k->sparse.sel);
    o = reel_act(c, c->tok, xq.n[1]);
    reel_sparse_out(c, &k->sparse, &see->sparse, batched(o, c->tok));
    return o;
}

void reel_attn_layer_fwd(const struct reel_pass *c, const struct reel_attn *w, struct reel_attn_kept *k,
                         reel_tensor y, reel_tensor xq, reel_tensor xkv, const struct reel_sight *see)
{
    size_t mark = c->a->used;
    int self = see->rope.cos.nd;
    struct normed n = { 0 };
    reel_tensor o;

    reel_lin_fwd(c, &w->q, k->q, xq, c->tok);
    reel_probe(c, "act", self ? "q_rope" : "cross_q_norm", norm_q(c, w, k, see, &n));
    if (xkv.nd) own_keys(c, w, k, &n, xkv, see);
    o = attend(c, w, k, &n, xq, see);
    reel_probe(c, "act", self ? "attn1_heads" : "attn2_heads", o);
    reel_lin_fwd(c, &w->o, y, o, c->tok);
    reel_arena_reset(c->a, mark);
}

void reel_attn_layer_store(const struct reel_pass *c, const struct reel_attn *w, reel_tensor xkv,
                           const struct reel_sight *see)
{
    size_t mark = c->a->used;
    struct reel_attn_kept k = { .k = reel_act(c, see->rows, xkv.n[1]), .v = reel_act(c, see->rows, xkv.n[1]) };
    struct normed n;

    own_keys(c, w, &k, &n, xkv, see);
    reel_arena_reset(c->a, mark);
}

/* ---- backward ---- */

/* From the gradients at normed q and k to those at the layer's inputs. dq and dk are used up. */
static void projections_bwd(const struct reel_pass *c, const struct reel_attn *w,
                            reel_tensor dxq, reel_tensor dxkv, reel_tensor dq, reel_tensor dk, reel_tensor dv,
                            reel_tensor xq, reel_tensor xkv, struct reel_rows kv)
{
    int self = !dxkv.nd;

    reel_lin_bwd(c, &w->q, dxq, 0, dq, xq, c->tok);
    reel_lin_bwd(c, &w->k, self ? dxq : dxkv, self, dk, xkv, kv);
    reel_lin_bwd(c, &w->v, self ? dxq : dxkv, 1, dv, xkv, kv);
}

/* From dy at the output projection's result to dq, dk, dv; dout is scratch. */
static void attend_bwd(const struct reel_pass *c, const struct reel_attn *w, const struct reel_attn_kept *k,
                       const struct normed *n, const reel_tensor d[3], reel_tensor dy, const struct reel_sight *see)
{
    reel_tensor dout = reel_act(c, c->tok, dy.n[1]), q = batched(n->q, c->tok), o = k->o;
    reel_tensor dq = batched(d[0], c->tok), dk = batched(d[1], see->rows), dv = batched(d[2], see->rows);

    if (see->sparse.topk) {
        o = reel_act(c, c->tok, dy.n[1]);
        reel_sparse_out(c, &k->sparse, &see->sparse, batched(o, c->tok));
    }
    reel_lin_bwd(c, &w->o, dout, 0, dy, o, c->tok);
    reel_probe(c, "dact", see->rope.cos.nd ? "attn1_heads" : "attn2_heads", dout);
    if (see->sparse.topk)
        reel_sparse_bwd(c, &k->sparse, &see->sparse, dq, dk, dv, batched(dout, c->tok), k->lse, q, batched(n->k, see->rows),
                        batched(k->v, see->rows));
    else
        reel_attn_bwd(c->s, dq, dk, dv, batched(dout, c->tok), batched(o, c->tok), k->lse, q, keys(c, see, n->k),
                      values(see, k->v), c->heads, see->mask, see->row0);
}

void reel_attn_layer_bwd(const struct reel_pass *c, const struct reel_attn *w, const struct reel_attn_kept *k,
                         reel_tensor dxq, reel_tensor dxkv, reel_tensor dy, reel_tensor xq, reel_tensor xkv,
                         const struct reel_sight *see)
{
    size_t mark = c->a->used;
    int64_t D = xq.n[1];
    struct reel_rows kv = see->rows;
    struct reel_rope rope = see->rope;
    int self = rope.cos.nd;
    reel_tensor dq = reel_act(c, c->tok, D), dk = reel_act(c, kv, D), dv = reel_act(c, kv, D);
    struct normed n;

    norm_q(c, w, k, see, &n);
    norm_k(c, w, k, see, &n);
    if (see->k.nd) {
        store(c, see->k, see, n.k);
        store(c, see->v, see, k->v);
    }
    attend_bwd(c, w, k, &n, (const reel_tensor[]){ dq, dk, dv }, dy, see);
    reel_probe(c, "dact", self ? "q_rope" : "cross_q_norm", dq);
    reel_probe(c, "dact", self ? "k_rope" : "cross_k_norm", dk);
    reel_probe(c, "dact", self ? "v" : "cross_v", dv);
    reel_rms_rope_bwd(c->s, dq, w->dnorm_q, dq, k->q, n.q_rstd, w->norm_q, rope.cos, rope.sin, c->tok, c->heads, 0, none);
    reel_rms_rope_bwd(c->s, dk, w->dnorm_k, dk, k->k, n.k_rstd, w->norm_k, rope.cos, rope.sin, kv, c->heads, 0, none);
    projections_bwd(c, w, dxq, dxkv, dq, dk, dv, xq, xkv, kv);
    if (see->sparse.topk) reel_lin_bwd(c, &w->gate, dxq, 1, reel_flat(k->sparse.gate), xq, c->tok);
    reel_arena_reset(c->a, mark);
}
