#include "nn/nn.h"

/* Of a shared pass: an exchange is dearer than memory, so what attention took and gave is kept as well. */
static void keep_shared(const struct reel_pass *c, struct reel_attn_kept *k, int64_t d, struct reel_sparse sparse)
{
    struct reel_pass h = reel_share_whole(c);

    k->o = reel_act(c, c->tok, c->heads * d);
    k->heads.q = reel_headed_new(c, d);
    k->heads.k = reel_headed_new(c, d);
    k->heads.v = reel_headed_new(c, d);
    if (sparse.topk) {
        k->heads.gate = reel_headed_new(c, d);
        k->sparse.gate = reel_headed(c, k->heads.gate);
        reel_sparse_keep(&h, &k->sparse, &sparse, h.heads * d);
    } else k->heads.o = reel_headed_new(c, d);
    k->lse = reel_new(c->a, REEL_F32, REEL_DIMS(1, h.heads, h.tok.s));
}

/* The softmax over tokens is the dearest part of a block, so its output and log-sum-exp are kept;
 * rotated q and k are made again from the projections (one cheap pass each). */
void reel_attn_keep(const struct reel_pass *c, struct reel_attn_kept *k, struct reel_rows kv, int64_t D,
                    struct reel_sparse sparse, int self)
{
    D /= reel_tp_size(c);
    *k = (struct reel_attn_kept){ .q = reel_act(c, c->tok, D), .q_dots = reel_tp_dots_new(c, c->tok) };
    if (kv.b) k->k = reel_act(c, kv, D), k->k_dots = reel_tp_dots_new(c, kv);
    if (self && c->share.comm) {
        keep_shared(c, k, D / c->heads, sparse);
        return;
    }
    if (kv.b) k->v = reel_act(c, kv, D);
    if (sparse.topk) {
        k->sparse.gate = reel_new(c->a, c->dt, REEL_DIMS(c->tok.b, c->tok.s, D));
        reel_sparse_keep(c, &k->sparse, &sparse, D);
    } else k->o = reel_act(c, c->tok, D);
    k->lse = reel_new(c->a, REEL_F32, REEL_DIMS(c->tok.b, c->heads, c->tok.s));
}

static const reel_tensor none;

static reel_tensor batched(reel_tensor x, struct reel_rows r)
{
    return reel_reshape(x, REEL_DIMS(r.b, r.s, x.n[1]));
}

struct normed { reel_tensor q, k, q_rstd, k_rstd; };

static reel_tensor norm(const struct reel_pass *c, reel_tensor *rstd, reel_tensor x, reel_tensor w,
                        struct reel_rows r, struct reel_rope rope, reel_tensor dots)
{
    reel_tensor y = reel_act(c, r, x.n[1]);

    *rstd = reel_new(c->a, REEL_F32, REEL_DIMS(reel_rows_count(r)));
    reel_rms_rope_fwd(c->s, y, *rstd, x, w, rope.cos, rope.sin, r, c->heads, c->eps, dots);
    return y;
}

static void norm_bwd(const struct reel_pass *c, reel_tensor d, reel_tensor dw, reel_tensor x, reel_tensor rstd, reel_tensor w,
                     struct reel_rope rope, struct reel_rows r)
{
    size_t mark = c->a->used;
    reel_tensor dots = reel_tp_dots_new(c, r);

    reel_tp_dots(c, dots, d, x, w, rope, r);
    reel_rms_rope_bwd(c->s, d, dw, d, x, rstd, w, rope.cos, rope.sin, r, c->heads, 0, dots);
    reel_arena_reset(c->a, mark);
}

static reel_tensor norm_q(const struct reel_pass *c, const struct reel_attn *w, const struct reel_attn_kept *k,
                          const struct reel_sight *see, struct normed *n)
{
    return n->q = norm(c, &n->q_rstd, k->q, w->norm_q, c->tok, see->rope, k->q_dots);
}

/* This pass's keys: as attention takes them, or as the cache holds them. */
static reel_tensor norm_k(const struct reel_pass *c, const struct reel_attn *w, const struct reel_attn_kept *k,
                          const struct reel_sight *see, struct normed *n)
{
    return n->k = norm(c, &n->k_rstd, k->k, w->norm_k, see->rows, see->window.cos.nd ? (struct reel_rope){ 0 } : see->rope,
                       k->k_dots);
}

/* ---- a cache of keys and values ---- */

/* rows [lo,hi) of sample b of x [B,C,D] */
static reel_tensor rows(reel_tensor x, int64_t b, int64_t lo, int64_t hi) { return reel_slice(reel_at(x, b), lo, hi); }

/* x [B,S,D] */
static void store(const struct reel_pass *c, reel_tensor cache, const struct reel_sight *see, reel_tensor x)
{
    for (int64_t b = 0; b < x.n[0] && x.n[1]; b++)
        reel_copy(c->s, rows(cache, b, see->row0, see->row0 + x.n[1]), reel_at(x, b));
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

    if (!see->k.nd) return own;
    if (!see->window.cos.nd) return see->k;
    y = reel_new(c->a, see->k.dt, see->k.n, 3);
    rotate(c, see, y, 0, m->sink, 0);
    rotate(c, see, y, m->lo, m->hi, m->sink);
    return y;
}

static reel_tensor values(const struct reel_sight *see, reel_tensor own)
{
    return see->k.nd ? see->v : own;
}

/* ---- what attention works on ---- */

/* Cross attention has the queries of its tokens to itself: only the sums of keys' gradients are shared. */
static int shared(const struct reel_pass *c, const struct reel_sight *see)
{
    return see->rope.cos.nd && c->share.comm;
}

/* The pass and the sight of attention itself: of a shared layer all tokens and this rank's heads. */
struct view {
    struct reel_pass c;
    struct reel_sight see;
    reel_tensor q, k, v; /* [B,S,D]; k, v nd 0: the cache has them */
};

static struct view view_of(const struct reel_pass *c, const struct reel_attn_kept *k, const struct normed *n,
                           const struct reel_sight *see)
{
    struct view x = { .c = *c, .see = *see };

    if (shared(c, see)) {
        x.c = reel_share_whole(c);
        x.see.rows = x.c.tok;
        if (k->heads.q.nd) x.q = reel_headed(c, k->heads.q);
        x.k = reel_headed(c, k->heads.k);
        x.v = reel_headed(c, k->heads.v);
        return x;
    }
    if (n->q.nd) x.q = batched(n->q, c->tok);
    if (k->v.nd) x.k = batched(n->k, see->rows), x.v = batched(k->v, see->rows);
    return x;
}

/* Whether there is any attention to compute: a rank may have no heads, or no tokens. */
static int attends(const struct reel_pass *c, const struct reel_sight *see)
{
    return shared(c, see) ? reel_share_heads(c).n > 0 : c->tok.s > 0;
}

/* x [rows of c->tok, D] in heads' memory y, when req is complete; without sharing nothing is to be done */
static void send(const struct reel_pass *c, const struct reel_sight *see, reel_tensor y, reel_tensor x, struct reel_req *req)
{
    if (shared(c, see)) reel_to_heads(c, y, x, req);
}

static void arrive(const struct reel_pass *c, const struct reel_sight *see, struct reel_req *req)
{
    if (shared(c, see)) reel_comm_wait(c->share.comm, req);
}

/* ---- forward ---- */

static void own_keys(const struct reel_pass *c, const struct reel_attn *w, struct reel_attn_kept *k, struct normed *n,
                     reel_tensor xkv, const struct reel_sight *see, struct reel_req *req)
{
    int self = see->rope.cos.nd;
    reel_tensor v = k->v.nd ? k->v : reel_act(c, see->rows, k->k.n[1]);

    reel_lin_fwd(c, &w->k, k->k, xkv, see->rows);
    reel_tp_dots(c, k->k_dots, none, k->k, none, (struct reel_rope){ 0 }, see->rows);
    norm_k(c, w, k, see, n);
    send(c, see, k->heads.k, n->k, req);
    reel_lin_fwd(c, &w->v, v, xkv, see->rows);
    send(c, see, k->heads.v, v, req);
    reel_probe(c, "act", self ? "v" : "cross_v", v);
    reel_probe(c, "act", self ? "k_rope" : "cross_k_norm", n->k);
}

static void store_keys(const struct view *x)
{
    if (!x->see.k.nd || !x->k.nd) return;
    store(&x->c, x->see.k, &x->see, x->k);
    store(&x->c, x->see.v, &x->see, x->v);
}

static void make_gate(const struct reel_pass *c, const struct reel_attn *w, struct reel_attn_kept *k, reel_tensor xq,
                      const struct reel_sight *see, struct reel_req *req)
{
    reel_tensor gate = shared(c, see) ? reel_act(c, c->tok, k->q.n[1]) : reel_flat(k->sparse.gate);

    reel_lin_fwd(c, &w->gate, gate, xq, c->tok);
    send(c, see, k->heads.gate, gate, req);
}

/* o [B,S,D] of the view */
static void attend(const struct view *x, struct reel_attn_kept *k, reel_tensor o)
{
    const struct reel_sight *see = &x->see;

    if (!see->sparse.topk) {
        reel_attn_fwd(x->c.s, o, k->lse, x->q, keys(&x->c, see, x->k), values(see, x->v), x->c.heads, see->mask);
        return;
    }
    reel_sparse_fwd(&x->c, &k->sparse, &see->sparse, k->lse, x->q, x->k, x->v);
    reel_probe(&x->c, "act", "attn1_blocks", k->sparse.sel);
    reel_sparse_out(&x->c, &k->sparse, &see->sparse, o);
}

/* Attention before its output projection, of this rank's tokens; sparse, and not kept: in scratch. */
static reel_tensor attended(const struct reel_pass *c, const struct view *x, struct reel_attn_kept *k)
{
    int apart = shared(c, &x->see);
    struct reel_req req = { .n = 0 };
    reel_tensor o = apart ? k->heads.o : k->o;

    if (!o.nd) o = apart ? reel_headed_new(c, k->q.n[1] / c->heads) : reel_act(c, c->tok, k->q.n[1]);
    if (attends(c, &x->see)) attend(x, k, apart ? reel_headed(c, o) : batched(o, c->tok));
    if (!apart) return o;
    o = reel_to_tokens(c, o, &req);
    reel_comm_wait(c->share.comm, &req);
    reel_tokens_arrived(c, k->o, o);
    return k->o;
}

void reel_attn_layer_fwd(const struct reel_pass *c, const struct reel_attn *w, struct reel_attn_kept *k,
                         reel_tensor y, reel_tensor xq, reel_tensor xkv, const struct reel_sight *see)
{
    size_t mark = c->a->used;
    int self = see->rope.cos.nd;
    struct reel_req req = { .n = 0 };
    struct normed n = { 0 };
    struct view x;
    reel_tensor o;

    reel_lin_fwd(c, &w->q, k->q, xq, c->tok);
    reel_tp_dots(c, k->q_dots, none, k->q, none, (struct reel_rope){ 0 }, c->tok);
    reel_probe(c, "act", self ? "q_rope" : "cross_q_norm", norm_q(c, w, k, see, &n));
    send(c, see, k->heads.q, n.q, &req);
    if (xkv.nd) own_keys(c, w, k, &n, xkv, see, &req);
    if (see->sparse.topk) make_gate(c, w, k, xq, see, &req);
    arrive(c, see, &req);
    x = view_of(c, k, &n, see);
    store_keys(&x);
    o = attended(c, &x, k);
    reel_probe(c, "act", self ? "attn1_heads" : "attn2_heads", o);
    reel_lin_fwd(c, &w->o, y, o, c->tok);
    reel_arena_reset(c->a, mark);
}

void reel_attn_layer_store(const struct reel_pass *c, const struct reel_attn *w, reel_tensor xkv,
                           const struct reel_sight *see)
{
    size_t mark = c->a->used;
    int64_t D = w->k.w.n[0];
    struct reel_attn_kept k = { .k = reel_act(c, see->rows, D), .v = reel_act(c, see->rows, D),
                                .k_dots = reel_tp_dots_new(c, see->rows) };
    struct reel_req req = { .n = 0 };
    struct normed n = { 0 };
    struct view x;

    if (shared(c, see)) k.heads.k = reel_headed_new(c, D / c->heads), k.heads.v = reel_headed_new(c, D / c->heads);
    own_keys(c, w, &k, &n, xkv, see, &req);
    arrive(c, see, &req);
    x = view_of(c, &k, &n, see);
    store_keys(&x);
    reel_arena_reset(c->a, mark);
}

/* ---- backward ---- */

/* gate nd 0: the layer is dense, or (of attention itself) the kept gate's place has it */
struct grads { reel_tensor q, k, v, gate; };

/* dout -> dq, dk, dv, all [B,S,D] of the view */
static void attend_bwd(const struct view *x, const struct reel_attn_kept *k, struct grads d, reel_tensor dout, reel_tensor o)
{
    const struct reel_sight *see = &x->see;

    if (see->sparse.topk)
        reel_sparse_bwd(&x->c, &k->sparse, &see->sparse, d.q, d.k, d.v, dout, k->lse, x->q, x->k, x->v);
    else
        reel_attn_bwd(x->c.s, d.q, d.k, d.v, dout, o, k->lse, x->q, keys(&x->c, see, x->k), values(see, x->v), x->c.heads,
                      see->mask, see->row0);
}

/* Gradients of a shared layer: those of the output go out to the heads, those of q, k, v come back. */
static void exchanged_bwd(const struct reel_pass *c, const struct view *x, const struct reel_attn_kept *k, struct grads d,
                          reel_tensor dout)
{
    int64_t hd = k->q.n[1] / c->heads;
    reel_tensor g = reel_headed_new(c, hd), o = k->heads.o;
    struct grads h = { reel_headed_new(c, hd), reel_headed_new(c, hd), reel_headed_new(c, hd), k->heads.gate };
    reel_tensor from[4] = { h.q, h.k, h.v, h.gate }, to[4] = { d.q, d.k, d.v, d.gate };
    struct reel_req req = { .n = 0 };

    reel_to_heads(c, g, dout, &req);
    reel_comm_wait(c->share.comm, &req);
    if (attends(c, &x->see))
        attend_bwd(x, k, (struct grads){ reel_headed(c, h.q), reel_headed(c, h.k), reel_headed(c, h.v), none },
                   reel_headed(c, g), o.nd ? reel_headed(c, o) : o);
    for (int i = 0; i < 4; i++)
        if (to[i].nd) from[i] = reel_to_tokens(c, from[i], &req);
    reel_comm_wait(c->share.comm, &req);
    for (int i = 0; i < 4; i++)
        if (to[i].nd) reel_tokens_arrived(c, to[i], from[i]);
}

/* From dy at the output projection's result to the gradient of attention's output, this rank's tokens. */
static reel_tensor output_bwd(const struct reel_pass *c, const struct reel_attn *w, const struct reel_attn_kept *k,
                              reel_tensor dy, const struct reel_sight *see)
{
    reel_tensor dout = reel_act(c, c->tok, k->q.n[1]), o = k->o;

    if (!o.nd) {
        o = reel_act(c, c->tok, k->q.n[1]);
        if (c->tok.s) reel_sparse_out(c, &k->sparse, &see->sparse, batched(o, c->tok));
    }
    reel_lin_bwd(c, &w->o, dout, 0, dy, o, c->tok);
    reel_probe(c, "dact", see->rope.cos.nd ? "attn1_heads" : "attn2_heads", dout);
    return dout;
}

static void self_bwd(const struct reel_pass *c, const struct reel_attn *w, const struct reel_attn_kept *k, const struct normed *n,
                     reel_tensor dx, reel_tensor dout, reel_tensor xq, const struct reel_sight *see)
{
    int64_t D = k->q.n[1];
    struct grads d = { reel_act(c, c->tok, D), reel_act(c, c->tok, D), reel_act(c, c->tok, D), none };
    struct view x = view_of(c, k, n, see);

    if (see->sparse.topk) d.gate = shared(c, see) ? reel_act(c, c->tok, D) : reel_flat(k->sparse.gate);
    store_keys(&x);
    if (shared(c, see))
        exchanged_bwd(c, &x, k, d, dout);
    else if (attends(c, see))
        attend_bwd(&x, k, (struct grads){ batched(d.q, c->tok), batched(d.k, c->tok), batched(d.v, c->tok), none },
                   batched(dout, c->tok), k->o.nd ? batched(k->o, c->tok) : k->o);
    reel_probe(c, "dact", "q_rope", d.q);
    reel_probe(c, "dact", "k_rope", d.k);
    reel_probe(c, "dact", "v", d.v);
    norm_bwd(c, d.q, w->dnorm_q, k->q, n->q_rstd, w->norm_q, see->rope, c->tok);
    norm_bwd(c, d.k, w->dnorm_k, k->k, n->k_rstd, w->norm_k, see->rope, c->tok);
    reel_lins_bwd(c, (const struct reel_lin *[]){ &w->q, &w->k, &w->v, &w->gate }, (reel_tensor[]){ d.q, d.k, d.v, d.gate },
                  d.gate.nd ? 4 : 3, dx, 0, xq, c->tok);
}

/* Over all queries, from the sums of each of this rank's runs: rounded once, this rank's text rows. */
static reel_tensor sum_runs(const struct reel_pass *c, reel_tensor runs, int64_t rows, int64_t D)
{
    reel_tensor sum = reel_new(c->a, REEL_F32, REEL_DIMS(c->tok.b, rows, D)), own, y;

    for (int64_t b = 0; b < c->tok.b && runs.n[1]; b++)
        reel_tree_sum(c->s, reel_reshape(reel_at(sum, b), REEL_DIMS(rows * D)),
                      reel_reshape(reel_at(runs, b), REEL_DIMS(runs.n[1], rows * D)), 0);
    if (!runs.n[1]) reel_share_none(c, sum);
    own = reel_share_sum_text(c, reel_flat(sum));
    if (c->dt == REEL_F32) return own;
    y = reel_act(c, c->share.txt, D);
    reel_cast(c->s, y, own);
    return y;
}

static void cross_bwd(const struct reel_pass *c, const struct reel_attn *w, const struct reel_attn_kept *k,
                      const struct normed *n, reel_tensor dxq, reel_tensor dxkv, reel_tensor dout, reel_tensor xq, reel_tensor xkv)
{
    struct reel_rows kv = c->txt, mine = c->share.txt;
    int64_t D = k->q.n[1], run = reel_rows_run_tok(c->tok), runs = run ? (c->tok.s + run - 1) / run : 0;
    reel_tensor dq = reel_act(c, c->tok, D), dk, dv;
    reel_tensor k_runs = reel_new(c->a, REEL_F32, REEL_DIMS(kv.b, runs, kv.s, D));
    reel_tensor v_runs = reel_new(c->a, REEL_F32, REEL_DIMS(kv.b, runs, kv.s, D));

    reel_attn_bwd_runs(c->s, batched(dq, c->tok), k_runs, v_runs, batched(dout, c->tok), batched(k->o, c->tok), k->lse,
                       batched(n->q, c->tok), batched(n->k, kv), batched(k->v, kv), c->heads, c->tok);
    dk = sum_runs(c, k_runs, kv.s, D);
    dv = sum_runs(c, v_runs, kv.s, D);
    reel_probe(c, "dact", "cross_q_norm", dq);
    reel_probe(c, "dact", "cross_k_norm", dk);
    reel_probe(c, "dact", "cross_v", dv);
    norm_bwd(c, dq, w->dnorm_q, k->q, n->q_rstd, w->norm_q, (struct reel_rope){ 0 }, c->tok);
    norm_bwd(c, dk, w->dnorm_k, reel_share_mine(k->k, mine), reel_share_mine(n->k_rstd, mine), w->norm_k,
             (struct reel_rope){ 0 }, mine);
    reel_lin_bwd(c, &w->q, dxq, 0, dq, xq, c->tok);
    reel_lins_bwd(c, (const struct reel_lin *[]){ &w->k, &w->v }, (reel_tensor[]){ dk, dv }, 2, dxkv, 0,
                  reel_share_mine(xkv, mine), mine);
}

void reel_attn_layer_bwd(const struct reel_pass *c, const struct reel_attn *w, const struct reel_attn_kept *k,
                         reel_tensor dxq, reel_tensor dxkv, reel_tensor dy, reel_tensor xq, reel_tensor xkv,
                         const struct reel_sight *see)
{
    size_t mark = c->a->used;
    struct normed n = { 0 };
    reel_tensor dout;

    norm_q(c, w, k, see, &n);
    norm_k(c, w, k, see, &n);
    dout = output_bwd(c, w, k, dy, see);
    if (see->rope.cos.nd) self_bwd(c, w, k, &n, dxq, dout, xq, see);
    else cross_bwd(c, w, k, &n, dxq, dxkv, dout, xq, xkv);
    reel_arena_reset(c->a, mark);
}
