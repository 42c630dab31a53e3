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

static reel_tensor tokens(const struct reel_pass *c, const struct reel_head *w)
{
    return reel_new(c->a, c->dt, REEL_DIMS(c->tok.b, c->tok.s, w->lin.w.n[0]));
}

void reel_head_fwd(const struct reel_pass *c, const struct reel_head *w, reel_tensor v, reel_tensor x,
                   reel_tensor temb)
{
    size_t mark = c->a->used;
    reel_tensor e = modulation(c, w, temb), y = tokens(c, w);
    struct reel_ln n = reel_ln_new(c, x.n[1]);

    reel_ln_mod_fwd(c->s, n.y, n.mean, n.rstd, x, e, SHIFT, SCALE, c->tok, c->eps);
    reel_probe(c, "act", "norm_out_modulated", n.y);
    reel_lin_fwd(c, &w->lin, reel_flat(y), n.y, c->tok);
    reel_probe(c, "act", "proj_out", y);
    reel_unpatch(c->s, v, y, w->ph, w->pw);
    reel_arena_reset(c->a, mark);
}

void reel_head_bwd(const struct reel_pass *c, const struct reel_head *w, reel_tensor dx, reel_tensor dtemb,
                   reel_tensor dv, reel_tensor x, reel_tensor temb)
{
    size_t mark = c->a->used;
    reel_tensor e = modulation(c, w, temb), de = reel_new(c->a, REEL_F32, e.n, e.nd);
    reel_tensor dy = tokens(c, w), dn = reel_act(c, c->tok, x.n[1]);
    struct reel_ln n = reel_ln_new(c, x.n[1]);

    reel_fill(c->s, de, 0);
    reel_unpatch_bwd(c->s, dy, dv, w->ph, w->pw);
    reel_probe(c, "dact", "proj_out", dy);
    reel_ln_mod_fwd(c->s, n.y, n.mean, n.rstd, x, e, SHIFT, SCALE, c->tok, c->eps);
    reel_lin_bwd(c, &w->lin, dn, 0, reel_flat(dy), n.y, c->tok);
    reel_probe(c, "dact", "norm_out_modulated", dn);
    reel_ln_mod_bwd(c->s, dx, 0, de, dn, x, n.mean, n.rstd, e, SHIFT, SCALE, c->tok);
    reel_mod_bwd(c->s, w->dtable, 0, dtemb, reel_by_sample(c, de));
    reel_arena_reset(c->a, mark);
}
