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

/* ---- how a layer's products are cut: features that are split are summed over, or are columns of the result ---- */

static struct reel_cut forward_cut(const struct reel_pass *c, enum reel_param_split split)
{
    return reel_tp_cut(c, split == REEL_SPLIT_COLS, split == REEL_SPLIT_ROWS);
}

static struct reel_cut backward_cut(const struct reel_pass *c, enum reel_param_split split)
{
    return reel_tp_cut(c, split == REEL_SPLIT_ROWS, split == REEL_SPLIT_COLS);
}

struct reel_cut reel_lin_cut(const struct reel_pass *c, const struct reel_lin *w) { return forward_cut(c, w->split); }

static const reel_tensor none;

static void product(const struct reel_pass *c, reel_tensor y, reel_tensor x, reel_tensor w, reel_tensor bias, struct reel_rows r,
                    struct reel_cut cut)
{
    size_t mark = c->a->used;
    reel_tensor part;

    if (!cut.partial) {
        reel_linear_fwd(c->s, y, none, x, w, bias, r, cut, REEL_EPI_NONE);
        return;
    }
    part = reel_tp_partial(c, y.n[0], y.n[1]);
    reel_linear_fwd(c->s, part, none, x, w, none, r, cut, REEL_EPI_NONE);
    reel_tp_sum(c, y, part, bias, 0);
    reel_arena_reset(c->a, mark);
}

static void product_bwd(const struct reel_pass *c, reel_tensor dx, const reel_tensor *dy, const reel_tensor *w, int n,
                        struct reel_rows r, struct reel_cut cut, int acc)
{
    size_t mark = c->a->used;
    reel_tensor part;

    if (!cut.partial) {
        reel_linear_bwd_xs(c->s, dx, dy, w, n, r, cut, acc);
        return;
    }
    part = reel_tp_partial(c, dx.n[0], dx.n[1]);
    reel_linear_bwd_xs(c->s, part, dy, w, n, r, cut, 0);
    reel_tp_sum(c, dx, part, none, acc);
    reel_arena_reset(c->a, mark);
}

/* ---- adapters: of b the rows are split, or of a the columns, as their layer's are ---- */

/* scale x a^T: what b multiplies. A product with r columns, made again in the backward pass. */
static reel_tensor lowered(const struct reel_pass *c, const struct reel_lin *w, reel_tensor x, struct reel_rows r)
{
    const struct reel_lora *l = &w->lora;
    reel_tensor h = reel_new(c->a, x.dt, REEL_DIMS(reel_rows_count(r), l->a.n[0]));

    product(c, h, x, l->a, none, r, reel_tp_cut(c, w->split == REEL_SPLIT_COLS, 0));
    if (l->scale != 1) reel_scale(c->s, h, l->scale);
    return h;
}

void reel_lin_fwd(const struct reel_pass *c, const struct reel_lin *w, reel_tensor y, reel_tensor x,
                  struct reel_rows r)
{
    size_t mark = c->a->used;

    product(c, y, x, w->w, w->b, r, forward_cut(c, w->split));
    if (!w->lora.a.nd) return;
    reel_linear_fwd(c->s, y, none, lowered(c, w, x, r), w->lora.b, none, r, reel_tp_cut(c, 0, w->split == REEL_SPLIT_ROWS), REEL_EPI_ADD);
    reel_arena_reset(c->a, mark);
}

/* Gradients of a and b; returns scale dy b, which a takes on to x. */
static reel_tensor lora_bwd(const struct reel_pass *c, const struct reel_lin *w, reel_tensor dy, reel_tensor x,
                            struct reel_rows r)
{
    const struct reel_lora *l = &w->lora;
    reel_tensor dh = reel_new(c->a, dy.dt, REEL_DIMS(reel_rows_count(r), l->a.n[0]));
    struct reel_cut b = reel_tp_cut(c, w->split == REEL_SPLIT_ROWS, 0);

    if (l->db.nd) reel_linear_bwd_w(c->s, l->db, none, lowered(c, w, x, r), dy, r, (struct reel_cut){ b.pieces, 0, 1 }, 0);
    product_bwd(c, dh, &dy, &l->b, 1, r, b, 0);
    if (l->scale != 1) reel_scale(c->s, dh, l->scale);
    if (l->da.nd) reel_linear_bwd_w(c->s, l->da, none, x, dh, r, reel_tp_cut(c, 0, w->split == REEL_SPLIT_COLS), 0);
    return dh;
}

/* ---- backward ---- */

static void weight_bwd(const struct reel_pass *c, const struct reel_lin *w, reel_tensor dy, reel_tensor x, struct reel_rows r)
{
    struct reel_cut cut = backward_cut(c, w->split);

    cut.partial = 0;
    if (w->dw.nd) reel_linear_bwd_w(c->s, w->dw, w->db, x, dy, r, cut, 0);
}

void reel_lins_bwd(const struct reel_pass *c, const struct reel_lin *const *w, const reel_tensor *dy, int n, reel_tensor dx,
                   int acc, reel_tensor x, struct reel_rows r)
{
    size_t mark = c->a->used;
    reel_tensor dh[REEL_MAX_TERMS] = { 0 }, weight[REEL_MAX_TERMS];
    enum reel_param_split split = w[0]->split;

    REEL_BUG_IF(n < 1 || n > REEL_MAX_TERMS, "%d layers share an input", n);
    for (int i = 0; i < n; i++) {
        if (w[i]->lora.a.nd) dh[i] = lora_bwd(c, w[i], dy[i], x, r); /* before dx, which may be x */
        weight_bwd(c, w[i], dy[i], x, r);
        weight[i] = w[i]->w;
    }
    if (dx.nd) product_bwd(c, dx, dy, weight, n, r, backward_cut(c, split), acc);
    for (int i = 0; i < n && dx.nd; i++)
        if (dh[i].nd) reel_linear_bwd_x(c->s, dx, dh[i], w[i]->lora.a, r, reel_tp_cut(c, 0, split == REEL_SPLIT_COLS), 1);
    reel_arena_reset(c->a, mark);
}

void reel_lin_bwd(const struct reel_pass *c, const struct reel_lin *w, reel_tensor dx, int acc, reel_tensor dy,
                  reel_tensor x, struct reel_rows r)
{
    reel_lins_bwd(c, &w, &dy, 1, dx, acc, x, r);
}
