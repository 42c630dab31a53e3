#include "nn/nn.h"

reel_tensor reel_act(const struct reel_pass *c, struct reel_rows r, int64_t width)
{
    return reel_new(c->a, c->dt, REEL_DIMS(reel_rows_count(r), width));
}

reel_tensor reel_act_f32(const struct reel_pass *c, struct reel_rows r, int64_t width)
{
    return reel_new(c->a, REEL_F32, REEL_DIMS(reel_rows_count(r), width));
}

void reel_probe(const struct reel_pass *c, const char *phase, const char *name, reel_tensor x)
{
    if (c->probe && !c->s->planning) c->probe(c->probe_ctx, phase, c->block, name, x);
}

void reel_lin_fwd(const struct reel_pass *c, const struct reel_lin *w, reel_tensor y, reel_tensor x,
                  struct reel_rows r)
{
    reel_linear_fwd(c->s, y, (reel_tensor){ 0 }, x, w->w, w->b, r, REEL_EPI_NONE);
}

void reel_lin_bwd(const struct reel_pass *c, const struct reel_lin *w, reel_tensor dx, int acc, reel_tensor dy,
                  reel_tensor x, struct reel_rows r)
{
    reel_linear_bwd_w(c->s, w->dw, w->db, x, dy, r, 0);
    if (dx.nd) reel_linear_bwd_x(c->s, dx, dy, w->w, r, acc);
}
