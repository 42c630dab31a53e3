#include "nn/nn.h"

/* The softmax over tokens is the dearest part of a block, so its output and log-sum-exp are kept;
 * rotated q and k are made again from the projections (one cheap pass each). */
void reel_attn_keep(const struct reel_pass *c, struct reel_attn_kept *k, struct reel_rows kv, int64_t D)
{
    k->q = reel_act(c, c->tok, D);
    k->k = reel_act(c, kv, D);
    k->v = reel_act(c, kv, D);
    k->o = reel_act(c, c->tok, D);
    k->lse = reel_new(c->a, REEL_F32, REEL_DIMS(c->tok.b, c->heads, c->tok.s));
}

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
    reel_rms_rope_fwd(c->s, y, *rstd, x, w, rope.cos, rope.sin, r, c->heads, c->eps);
    return y;
}

static struct normed norm_qk(const struct reel_pass *c, const struct reel_attn *w,
                             const struct reel_attn_kept *k, struct reel_rows kv, struct reel_rope rope)
{
    struct normed n;

    n.q = norm(c, &n.q_rstd, k->q, w->norm_q, c->tok, rope);
    n.k = norm(c, &n.k_rstd, k->k, w->norm_k, kv, rope);
    return n;
}

void reel_attn_layer_fwd(const struct reel_pass *c, const struct reel_attn *w, struct reel_attn_kept *k,
                         reel_tensor y, reel_tensor xq, reel_tensor xkv, struct reel_rows kv,
                         struct reel_rope rope)
{
    size_t mark = c->a->used;
    struct normed n;

    reel_lin_fwd(c, &w->q, k->q, xq, c->tok);
    reel_lin_fwd(c, &w->k, k->k, xkv, kv);
    reel_lin_fwd(c, &w->v, k->v, xkv, kv);
    n = norm_qk(c, w, k, kv, rope);
    reel_probe(c, "act", rope.cos.nd ? "v" : "cross_v", k->v);
    reel_probe(c, "act", rope.cos.nd ? "q_rope" : "cross_q_norm", n.q);
    reel_probe(c, "act", rope.cos.nd ? "k_rope" : "cross_k_norm", n.k);
    reel_attn_fwd(c->s, batched(k->o, c->tok), k->lse, batched(n.q, c->tok), batched(n.k, kv),
                  batched(k->v, kv), c->heads, (struct reel_mask){ 0 });
    reel_probe(c, "act", rope.cos.nd ? "attn1_heads" : "attn2_heads", k->o);
    reel_lin_fwd(c, &w->o, y, k->o, c->tok);
    reel_arena_reset(c->a, mark);
}

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

void reel_attn_layer_bwd(const struct reel_pass *c, const struct reel_attn *w, const struct reel_attn_kept *k,
                         reel_tensor dxq, reel_tensor dxkv, reel_tensor dy, reel_tensor xq, reel_tensor xkv,
                         struct reel_rows kv, struct reel_rope rope)
{
    size_t mark = c->a->used;
    int64_t D = xq.n[1];
    reel_tensor dq = reel_act(c, c->tok, D), dk = reel_act(c, kv, D), dv = reel_act(c, kv, D);
    reel_tensor dout = reel_act(c, c->tok, D);
    struct normed n = norm_qk(c, w, k, kv, rope);

    reel_lin_bwd(c, &w->o, dout, 0, dy, k->o, c->tok);
    reel_probe(c, "dact", rope.cos.nd ? "attn1_heads" : "attn2_heads", dout);
    reel_attn_bwd(c->s, batched(dq, c->tok), batched(dk, kv), batched(dv, kv), batched(dout, c->tok),
                  batched(k->o, c->tok), k->lse, batched(n.q, c->tok), batched(n.k, kv), batched(k->v, kv),
                  c->heads, (struct reel_mask){ 0 }, 0);
    reel_probe(c, "dact", rope.cos.nd ? "q_rope" : "cross_q_norm", dq);
    reel_probe(c, "dact", rope.cos.nd ? "k_rope" : "cross_k_norm", dk);
    reel_probe(c, "dact", rope.cos.nd ? "v" : "cross_v", dv);
    reel_rms_rope_bwd(c->s, dq, w->dnorm_q, dq, k->q, n.q_rstd, w->norm_q, rope.cos, rope.sin, c->tok, c->heads, 0);
    reel_rms_rope_bwd(c->s, dk, w->dnorm_k, dk, k->k, n.k_rstd, w->norm_k, rope.cos, rope.sin, kv, c->heads, 0);
    projections_bwd(c, w, dxq, dxkv, dq, dk, dv, xq, xkv, kv);
    reel_arena_reset(c->a, mark);
}
