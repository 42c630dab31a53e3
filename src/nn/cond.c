#include "nn/nn.h"

/* temb = l2(silu(l1(sinusoid(t)))), tproj = proj(silu(temb)) */
void reel_time_keep(const struct reel_pass *c, struct reel_time_kept *k, const struct reel_time *w)
{
    k->emb = reel_act_f32(c, c->vec, w->l1.w.n[1]);
    k->h = reel_act_f32(c, c->vec, w->l1.w.n[0]);
    k->temb = reel_act_f32(c, c->vec, w->l2.w.n[0]);
    k->tproj = reel_act_f32(c, c->vec, w->proj.w.n[0]);
}

static reel_tensor silu(const struct reel_pass *c, reel_tensor x)
{
    reel_tensor y = reel_act_f32(c, c->vec, x.n[1]);

    reel_silu_fwd(c->s, y, x);
    return y;
}

void reel_time_fwd(const struct reel_pass *c, const struct reel_time *w, struct reel_time_kept *k, reel_tensor t)
{
    size_t mark = c->a->used;

    reel_sinusoid(c->s, k->emb, reel_reshape(t, REEL_DIMS(reel_rows_count(c->vec))));
    reel_lin_fwd(c, &w->l1, k->h, k->emb, c->vec);
    reel_lin_fwd(c, &w->l2, k->temb, silu(c, k->h), c->vec);
    reel_lin_fwd(c, &w->proj, k->tproj, silu(c, k->temb), c->vec);
    reel_probe(c, "act", "sinusoid", k->emb);
    reel_probe(c, "act", "temb", k->temb);
    reel_probe(c, "act", "tproj", k->tproj);
    reel_arena_reset(c->a, mark);
}

/* gradient of y = lin(silu(x)) at x */
static reel_tensor lin_silu_bwd(const struct reel_pass *c, const struct reel_lin *w, reel_tensor dy, reel_tensor x)
{
    reel_tensor dx = reel_act_f32(c, c->vec, x.n[1]), ds = reel_act_f32(c, c->vec, x.n[1]);

    reel_lin_bwd(c, w, ds, 0, dy, silu(c, x), c->vec);
    reel_silu_bwd(c->s, dx, ds, x);
    return dx;
}

/* The ranks of a sample have the same gradients of its timesteps: the first one's count. */
static void answered_elsewhere(const struct reel_pass *c, const struct reel_lin *w)
{
    reel_share_none(c, w->dw);
    reel_share_none(c, w->db);
    reel_share_none(c, w->lora.da);
    reel_share_none(c, w->lora.db);
}

void reel_time_bwd(const struct reel_pass *c, const struct reel_time *w, const struct reel_time_kept *k,
                   reel_tensor dtemb, reel_tensor dtproj)
{
    size_t mark = c->a->used;

    if (!c->share.first) {
        answered_elsewhere(c, &w->l1);
        answered_elsewhere(c, &w->l2);
        answered_elsewhere(c, &w->proj);
        return;
    }
    reel_probe(c, "dact", "tproj", dtproj);
    reel_add(c->s, dtemb, lin_silu_bwd(c, &w->proj, dtproj, k->temb));
    reel_probe(c, "dact", "temb", dtemb);
    reel_lin_bwd(c, &w->l1, (reel_tensor){ 0 }, 0, lin_silu_bwd(c, &w->l2, dtemb, k->h), k->emb, c->vec);
    reel_arena_reset(c->a, mark);
}

/* ctx = l2(gelu(l1(rows))) */
void reel_text_keep(const struct reel_pass *c, struct reel_text_kept *k, const struct reel_text_mlp *w,
                    reel_tensor text)
{
    int64_t M = reel_rows_count(c->txt), width = text.n[text.nd - 1];

    k->rows = c->dt == text.dt ? reel_reshape(text, REEL_DIMS(M, width)) : reel_act(c, c->txt, width);
    k->pre = reel_act(c, c->txt, w->l1.w.n[0]);
    k->ctx = reel_act(c, c->txt, w->l2.w.n[0]);
}

void reel_text_fwd(const struct reel_pass *c, const struct reel_text_mlp *w, const struct reel_text_kept *k,
                   reel_tensor text)
{
    size_t mark = c->a->used;
    reel_tensor act = reel_act(c, c->txt, k->pre.n[1]);

    if (c->dt != text.dt) reel_cast(c->s, k->rows, reel_reshape(text, k->rows.n, 2));
    reel_linear_fwd(c->s, act, k->pre, k->rows, w->l1.w, w->l1.b, c->txt, reel_lin_cut(c, &w->l1), REEL_EPI_GELU);
    reel_lin_fwd(c, &w->l2, k->ctx, act, c->txt);
    reel_probe(c, "act", "ctx", k->ctx);
    reel_arena_reset(c->a, mark);
}

/* f32 -> the pass's dtype */
static reel_tensor narrowed(const struct reel_pass *c, reel_tensor x)
{
    reel_tensor y;

    if (c->dt == x.dt) return x;
    y = reel_new(c->a, c->dt, x.n, x.nd);
    reel_cast(c->s, y, x);
    return y;
}

void reel_text_bwd(const struct reel_pass *c, const struct reel_text_mlp *w, const struct reel_text_kept *k,
                   reel_tensor dctx, reel_tensor dtext)
{
    size_t mark = c->a->used;
    struct reel_rows mine = c->share.txt;
    reel_tensor pre = reel_share_mine(k->pre, mine), rows = reel_share_mine(k->rows, mine);
    reel_tensor act = reel_act(c, mine, pre.n[1]), d = act, dy = narrowed(c, dctx), drows = { 0 };

    if (dtext.nd) drows = reel_act(c, mine, rows.n[1]);
    reel_probe(c, "dact", "ctx", dctx);
    reel_gelu_fwd(c->s, act, pre);
    reel_lin_bwd(c, &w->l2, d, 0, dy, act, mine);
    reel_gelu_bwd(c->s, d, d, pre);
    reel_lin_bwd(c, &w->l1, drows, 0, d, rows, mine);
    if (dtext.nd) {
        drows = reel_share_gather(c, drows, 1);
        reel_cast(c->s, reel_reshape(dtext, drows.n, 2), drows);
    }
    reel_arena_reset(c->a, mark);
}
