#include "nn/nn.h"

static reel_tensor patches(const struct reel_pass *c, const struct reel_patch *w)
{
    return reel_new(c->a, c->dt, REEL_DIMS(c->tok.b, c->tok.s, w->lin.w.n[1]));
}

void reel_patch_embed_fwd(const struct reel_pass *c, const struct reel_patch *w, reel_tensor y, reel_tensor x)
{
    size_t mark = c->a->used;
    reel_tensor p = patches(c, w);

    reel_patch(c->s, p, x, w->ph, w->pw);
    reel_lin_fwd(c, &w->lin, y, reel_flat(p), c->tok);
    reel_arena_reset(c->a, mark);
}

void reel_patch_embed_bwd(const struct reel_pass *c, const struct reel_patch *w, reel_tensor dx, reel_tensor dy,
                          reel_tensor x)
{
    size_t mark = c->a->used;
    reel_tensor p = patches(c, w), dp = { 0 };

    reel_patch(c->s, p, x, w->ph, w->pw);
    if (dx.nd) dp = patches(c, w);
    reel_lin_bwd(c, &w->lin, dx.nd ? reel_flat(dp) : dp, 0, dy, reel_flat(p), c->tok);
    if (dx.nd) reel_patch_bwd(c->s, dx, dp, w->ph, w->pw);
    reel_arena_reset(c->a, mark);
}
