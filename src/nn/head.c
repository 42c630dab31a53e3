#include "nn/nn.h"

struct reel_ln reel_ln_new(const struct reel_pass *c, int64_t D)
{
    struct reel_ln n;

    n.y = reel_act(c, c->tok, D);
    n.mean = reel_new(c->a, REEL_F32, REEL_DIMS(reel_rows_count(c->tok)));
    n.rstd = reel_new(c->a, REEL_F32, REEL_DIMS(reel_rows_count(c->tok)));
    return n;
}

enum { SHIFT, SCALE, ROWS }; /* of the head's table */

static reel_tensor modulation(const struct reel_pass *c, const struct reel_head *w, reel_tensor temb)
{
    reel_tensor e = reel_new(c->a, REEL_F32, REEL_DIMS(reel_rows_count(c->vec), ROWS, temb.n[1]));

    reel_mod_fwd(c->s, e, w->table, temb);
    return e;
}

void reel_mod_grads(const struct reel_pass *c, reel_tensor dtable, reel_tensor dt, reel_tensor de)
{
    int first = c->share.first;

    reel_share_sum(c, de);
    reel_mod_bwd(c->s, first ? dtable : (reel_tensor){ 0 }, 0, dt, reel_by_sample(c, de));
    if (!first) reel_share_none(c, dtable);
}

/* [B,S,W] of whole samples */
static reel_tensor clip(reel_tensor x, int64_t B, int64_t S)
{
    return reel_reshape(x, REEL_DIMS(B, S, x.n[1]));
}

void reel_head_fwd(const struct reel_pass *c, const struct reel_head *w, reel_tensor v, reel_tensor x,
                   reel_tensor temb)
{
    size_t mark = c->a->used;
    reel_tensor e = modulation(c, w, temb), y = reel_act(c, c->tok, w->lin.w.n[0]);
    struct reel_ln n = reel_ln_new(c, x.n[1]);

    reel_ln_mod_fwd(c->s, n.y, n.mean, n.rstd, x, e, SHIFT, SCALE, c->tok, c->eps);
    reel_probe(c, "act", "norm_out_modulated", n.y);
    reel_lin_fwd(c, &w->lin, y, n.y, c->tok);
    reel_probe(c, "act", "proj_out", y);
    reel_unpatch(c->s, v, clip(reel_share_gather(c, y, 0), c->share.batch, c->share.all.s), w->ph, w->pw);
    reel_arena_reset(c->a, mark);
}

void reel_head_bwd(const struct reel_pass *c, const struct reel_head *w, reel_tensor dx, reel_tensor dtemb,
                   reel_tensor dv, reel_tensor x, reel_tensor temb)
{
    size_t mark = c->a->used;
    reel_tensor e = modulation(c, w, temb), de = reel_new(c->a, REEL_F32, e.n, e.nd);
    reel_tensor all = reel_act(c, c->share.all, w->lin.w.n[0]), dy, dn = reel_act(c, c->tok, x.n[1]);
    struct reel_ln n = reel_ln_new(c, x.n[1]);

    reel_fill(c->s, de, 0);
    reel_unpatch_bwd(c->s, clip(all, c->share.nb, c->share.all.s), reel_slice(dv, c->share.b0, c->share.b0 + c->share.nb), w->ph,
                     w->pw);
    dy = reel_share_mine(all, c->tok);
    reel_probe(c, "dact", "proj_out", dy);
    reel_ln_mod_fwd(c->s, n.y, n.mean, n.rstd, x, e, SHIFT, SCALE, c->tok, c->eps);
    reel_lin_bwd(c, &w->lin, dn, 0, dy, n.y, c->tok);
    reel_probe(c, "dact", "norm_out_modulated", dn);
    reel_ln_mod_bwd(c->s, dx, 0, de, dn, x, n.mean, n.rstd, e, SHIFT, SCALE, c->tok);
    reel_mod_grads(c, w->dtable, dtemb, de);
    reel_arena_reset(c->a, mark);
}
