#include "nn/nn.h"

/* Patches of this rank's tokens. */
static reel_tensor patches(const struct reel_pass *c, const struct reel_patch *w, reel_tensor x)
{
    reel_tensor p = reel_act(c, c->share.all, w->lin.w.n[1]);

    reel_patch(c->s, reel_reshape(p, REEL_DIMS(c->share.nb, c->share.all.s, p.n[1])), x, w->ph, w->pw);
    return reel_share_mine(p, c->tok);
}

void reel_patch_embed_fwd(const struct reel_pass *c, const struct reel_patch *w, reel_tensor y, reel_tensor x)
{
    size_t mark = c->a->used;

    reel_lin_fwd(c, &w->lin, y, patches(c, w, x), c->tok);
    reel_arena_reset(c->a, mark);
}

void reel_patch_embed_bwd(const struct reel_pass *c, const struct reel_patch *w, reel_tensor dx, reel_tensor dy,
                          reel_tensor x)
{
    size_t mark = c->a->used;
    reel_tensor p = patches(c, w, x), dp = { 0 };

    if (dx.nd) dp = reel_act(c, c->tok, p.n[1]);
    reel_lin_bwd(c, &w->lin, dp, 0, dy, p, c->tok);
    if (dx.nd)
        reel_patch_bwd(c->s, dx, reel_reshape(reel_share_gather(c, dp, 0), REEL_DIMS(c->share.batch, c->share.all.s, dp.n[1])),
                       w->ph, w->pw);
    reel_arena_reset(c->a, mark);
}
