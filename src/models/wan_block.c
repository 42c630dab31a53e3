/* One block of the Wan transformer: self attention, cross attention, feed-forward, each on the residual
 * stream; forward and backward. */
#include "models/wan_priv.h"

/* rows of the modulation e [nmod,6,D] */
enum { MSA_SHIFT, MSA_SCALE, MSA_GATE, C_SHIFT, C_SCALE, C_GATE };

static const reel_tensor none;

void reel_wan_attn_keep(const struct reel_pass *c, struct wan_block_kept *k, int64_t D, const struct reel_kept *pass)
{
    k->u1 = reel_act(c, c->tok, D);
    k->x2 = reel_act(c, c->tok, D);
    reel_attn_keep(c, &k->self, c->tok, D, pass->view.sparse, 1);
    reel_attn_keep(c, &k->cross, pass->text.ctx.nd ? c->txt : (struct reel_rows){ 0 }, D, (struct reel_sparse){ 0 }, 0);
}

void reel_wan_ffn_keep(const struct reel_pass *c, struct wan_block_kept *k, int64_t D, int64_t F, int backward)
{
    k->u3 = reel_act(c, c->tok, D);
    k->ffn = (struct reel_ffn_kept){ 0 };
    if (backward) reel_ffn_keep(c, &k->ffn, F);
}

reel_tensor reel_wan_modulation(const struct reel_pass *c, const struct wan_block *w, reel_tensor tproj)
{
    reel_tensor e = reel_new(c->a, REEL_F32, REEL_DIMS(reel_rows_count(c->vec), WAN_MODS, w->table.n[1]));

    reel_mod_fwd(c->s, e, w->table, tproj);
    return e;
}

static struct reel_ln modulated(const struct reel_pass *c, reel_tensor x, reel_tensor e, int shift, int scale)
{
    struct reel_ln n = reel_ln_new(c, x.n[1]);

    reel_ln_mod_fwd(c->s, n.y, n.mean, n.rstd, x, e, shift, scale, c->tok, c->eps);
    return n;
}

static struct reel_ln affine(const struct reel_pass *c, const struct wan_block *w, reel_tensor x)
{
    struct reel_ln n = reel_ln_new(c, x.n[1]);

    reel_ln_affine_fwd(c->s, n.y, n.mean, n.rstd, x, w->n2w, w->n2b, c->tok, c->eps);
    return n;
}

/* What self attention of the pass's current block sees. */
static struct reel_sight self_sight(const struct reel_pass *c, const struct reel_kept *pass)
{
    const struct wan_view *v = &pass->view;
    struct reel_rope rope = reel_rope_rows(v->rope, c->tok.tok0, c->tok.tok0 + c->tok.s);
    struct reel_sight s = { .rows = c->tok, .rope = rope, .mask = v->mask, .sparse = v->sparse, .row0 = v->row0,
                            .window = v->window };

    if (!v->kv) return s;
    s.k = v->kv->layer[c->block].k;
    s.v = v->kv->layer[c->block].v;
    return s;
}

/* All text rows. Passes without a backward pass share the text's keys and values through the cache. */
static struct reel_sight cross_sight(const struct reel_pass *c, const struct reel_kept *pass)
{
    const struct wan_view *v = &pass->view;
    struct reel_sight s = { .rows = c->txt };

    if (!v->kv || pass->backward) return s;
    s.mask = (struct reel_mask){ .see = REEL_SEE_WINDOW, .hi = c->txt.s };
    s.k = v->kv->layer[c->block].text_k;
    s.v = v->kv->layer[c->block].text_v;
    return s;
}

/* x after self attention */
static reel_tensor after_self(const struct reel_pass *c, const struct wan_block_kept *k, reel_tensor x, reel_tensor e)
{
    reel_tensor x1 = reel_act(c, c->tok, x.n[1]);

    reel_gate_fwd(c->s, x1, x, k->u1, e, MSA_GATE, c->tok);
    return x1;
}

static void self_fwd(const struct reel_pass *c, const struct wan_block *w, struct wan_block_kept *k, reel_tensor x,
                     reel_tensor e, const struct reel_kept *pass)
{
    struct reel_ln n = modulated(c, x, e, MSA_SHIFT, MSA_SCALE);
    const struct reel_sight see = self_sight(c, pass);

    reel_probe(c, "act", "norm1_modulated", n.y);
    reel_attn_layer_fwd(c, &w->self, &k->self, k->u1, n.y, n.y, &see);
    reel_probe(c, "act", "attn1_out", k->u1);
}

static void cross_fwd(const struct reel_pass *c, const struct wan_block *w, struct wan_block_kept *k, reel_tensor x,
                      reel_tensor e, const struct reel_kept *pass)
{
    reel_tensor x1 = after_self(c, k, x, e), u2 = reel_act(c, c->tok, x.n[1]);
    struct reel_ln n = affine(c, w, x1);
    const struct reel_sight see = cross_sight(c, pass);

    reel_probe(c, "act", "norm2", n.y);
    reel_attn_layer_fwd(c, &w->cross, &k->cross, u2, n.y, pass->text.ctx, &see);
    reel_probe(c, "act", "attn2_out", u2);
    reel_gate_fwd(c->s, k->x2, x1, u2, none, 0, c->tok);
}

static void ffn_fwd(const struct reel_pass *c, const struct wan_block *w, struct wan_block_kept *k, reel_tensor e)
{
    struct reel_ln n = modulated(c, k->x2, e, C_SHIFT, C_SCALE);

    reel_probe(c, "act", "norm3_modulated", n.y);
    reel_ffn_fwd(c, &w->ffn, &k->ffn, k->u3, n.y);
    reel_probe(c, "act", "ffn_out", k->u3);
}

/* y nd 0: only what the backward pass needs. y may be x. */
void reel_wan_block_fwd(const struct reel_pass *c, const struct wan_block *w, struct wan_block_kept *k, reel_tensor y,
                      reel_tensor x, reel_tensor e, const struct reel_kept *pass)
{
    size_t mark = c->a->used;

    self_fwd(c, w, k, x, e, pass);
    reel_arena_reset(c->a, mark);
    reel_params_progress(pass->ps);
    cross_fwd(c, w, k, x, e, pass);
    reel_arena_reset(c->a, mark);
    reel_params_progress(pass->ps);
    ffn_fwd(c, w, k, e);
    reel_arena_reset(c->a, mark);
    if (y.nd) reel_gate_fwd(c->s, y, k->x2, k->u3, e, C_GATE, c->tok);
}

void reel_wan_block_store(const struct reel_pass *c, const struct wan_block *w, reel_tensor x, reel_tensor e,
                          const struct reel_kept *pass)
{
    const struct reel_sight self = self_sight(c, pass), cross = cross_sight(c, pass);

    reel_attn_layer_store(c, &w->self, modulated(c, x, e, MSA_SHIFT, MSA_SCALE).y, &self);
    if (pass->text.ctx.nd) reel_attn_layer_store(c, &w->cross, pass->text.ctx, &cross);
}

/* g [B*S,D]: the gradient of the residual stream, updated in place by each of the three. A branch's
 * gradient at its output gives its place to that at its input. */
static void ffn_bwd(const struct reel_pass *c, const struct wan_block *w, struct wan_block_kept *k, reel_tensor g,
                    reel_tensor e, reel_tensor de)
{
    reel_tensor d = reel_act(c, c->tok, g.n[1]);
    struct reel_ln n;

    reel_gate_bwd(c->s, d, de, g, k->u3, e, C_GATE, c->tok);
    reel_probe(c, "dact", "ffn_out", d);
    n = modulated(c, k->x2, e, C_SHIFT, C_SCALE);
    reel_ffn_bwd(c, &w->ffn, &k->ffn, d, d, n.y);
    reel_probe(c, "dact", "norm3_modulated", d);
    reel_ln_mod_bwd(c->s, g, 1, de, d, k->x2, n.mean, n.rstd, e, C_SHIFT, C_SCALE, c->tok);
}

/* y += x, widening x if need be */
static void add_wide(const struct reel_pass *c, reel_tensor y, reel_tensor x)
{
    size_t mark = c->a->used;
    reel_tensor wide = x;

    if (x.dt != y.dt) {
        wide = reel_new(c->a, y.dt, x.n, x.nd);
        reel_cast(c->s, wide, x);
    }
    reel_add(c->s, y, wide);
    reel_arena_reset(c->a, mark);
}

static void cross_bwd(const struct reel_pass *c, const struct wan_block *w, struct wan_block_kept *k, reel_tensor g,
                      reel_tensor x, reel_tensor e, const struct reel_kept *pass, reel_tensor dctx)
{
    reel_tensor x1 = after_self(c, k, x, e), dn = reel_act(c, c->tok, g.n[1]);
    reel_tensor dkv = reel_act(c, c->share.txt, g.n[1]);
    struct reel_ln n = affine(c, w, x1);
    const struct reel_sight see = cross_sight(c, pass);

    reel_probe(c, "dact", "attn2_out", g);
    reel_attn_layer_bwd(c, &w->cross, &k->cross, dn, dkv, g, n.y, pass->text.ctx, &see);
    reel_probe(c, "dact", "norm2", dn);
    add_wide(c, dctx, dkv);
    reel_ln_affine_bwd(c->s, g, 1, w->dn2w, w->dn2b, dn, x1, n.mean, n.rstd, w->n2w, c->tok, 0);
}

static void self_bwd(const struct reel_pass *c, const struct wan_block *w, struct wan_block_kept *k, reel_tensor g,
                     reel_tensor x, reel_tensor e, reel_tensor de, const struct reel_kept *pass)
{
    struct reel_ln n = modulated(c, x, e, MSA_SHIFT, MSA_SCALE);
    reel_tensor d = reel_act(c, c->tok, g.n[1]);
    const struct reel_sight see = self_sight(c, pass);

    reel_gate_bwd(c->s, d, de, g, k->u1, e, MSA_GATE, c->tok);
    reel_probe(c, "dact", "attn1_out", d);
    reel_attn_layer_bwd(c, &w->self, &k->self, d, none, d, n.y, n.y, &see);
    reel_probe(c, "dact", "norm1_modulated", d);
    reel_ln_mod_bwd(c->s, g, 1, de, d, x, n.mean, n.rstd, e, MSA_SHIFT, MSA_SCALE, c->tok);
}

void reel_wan_block_bwd(const struct reel_pass *c, const struct wan_block *w, struct wan_block_kept *k, reel_tensor g,
                      reel_tensor x, reel_tensor e, reel_tensor de, size_t ffn_end, const struct reel_kept *pass,
                      const struct wan_shared_grads *sg)
{
    reel_fill(c->s, de, 0);
    ffn_bwd(c, w, k, g, e, de);
    reel_arena_reset(c->a, ffn_end);
    reel_params_progress(pass->ps);
    cross_bwd(c, w, k, g, x, e, pass, sg->dctx);
    reel_arena_reset(c->a, ffn_end);
    reel_params_progress(pass->ps);
    self_bwd(c, w, k, g, x, e, de, pass);
    reel_mod_grads(c, w->dtable, sg->dtproj, de);
}
