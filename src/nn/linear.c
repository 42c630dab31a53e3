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

/* scale x a^T: what b multiplies. A product with r columns, made again in the backward pass. */
static reel_tensor lowered(const struct reel_pass *c, const struct reel_lora *l, reel_tensor x, struct reel_rows r)
{
    reel_tensor h = reel_new(c->a, x.dt, REEL_DIMS(reel_rows_count(r), l->a.n[0]));

    reel_linear_fwd(c->s, h, (reel_tensor){ 0 }, x, l->a, (reel_tensor){ 0 }, r, REEL_UNCUT, REEL_EPI_NONE);
    if (l->scale != 1) reel_scale(c->s, h, l->scale);
    return h;
}

void reel_lin_fwd(const struct reel_pass *c, const struct reel_lin *w, reel_tensor y, reel_tensor x,
                  struct reel_rows r)
{
    size_t mark = c->a->used;

    reel_linear_fwd(c->s, y, (reel_tensor){ 0 }, x, w->w, w->b, r, REEL_UNCUT, REEL_EPI_NONE);
    if (!w->lora.a.nd) return;
    reel_linear_fwd(c->s, y, (reel_tensor){ 0 }, lowered(c, &w->lora, x, r), w->lora.b, (reel_tensor){ 0 }, r, REEL_UNCUT, REEL_EPI_ADD);
    reel_arena_reset(c->a, mark);
}

/* Gradients of a and b; returns scale dy b, which a takes on to x. */
static reel_tensor lora_bwd(const struct reel_pass *c, const struct reel_lora *l, reel_tensor dy, reel_tensor x,
                            struct reel_rows r)
{
    reel_tensor dh = reel_new(c->a, dy.dt, REEL_DIMS(reel_rows_count(r), l->a.n[0]));

    if (l->db.nd) reel_linear_bwd_w(c->s, l->db, (reel_tensor){ 0 }, lowered(c, l, x, r), dy, r, REEL_UNCUT, 0);
    reel_linear_bwd_x(c->s, dh, dy, l->b, r, REEL_UNCUT, 0);
    if (l->scale != 1) reel_scale(c->s, dh, l->scale);
    if (l->da.nd) reel_linear_bwd_w(c->s, l->da, (reel_tensor){ 0 }, x, dh, r, REEL_UNCUT, 0);
    return dh;
}

void reel_lin_bwd(const struct reel_pass *c, const struct reel_lin *w, reel_tensor dx, int acc, reel_tensor dy,
                  reel_tensor x, struct reel_rows r)
{
    size_t mark = c->a->used;
    reel_tensor dh = { 0 };

    if (w->lora.a.nd) dh = lora_bwd(c, &w->lora, dy, x, r); /* before dx, which may be x */
    if (w->dw.nd) reel_linear_bwd_w(c->s, w->dw, w->db, x, dy, r, REEL_UNCUT, 0);
    if (dx.nd) reel_linear_bwd_x(c->s, dx, dy, w->w, r, REEL_UNCUT, acc);
    if (dx.nd && dh.nd) reel_linear_bwd_x(c->s, dx, dh, w->lora.a, r, REEL_UNCUT, 1);
    reel_arena_reset(c->a, mark);
}
