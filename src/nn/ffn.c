#include "nn/nn.h"
#include "nn/params.h"

/* The widest tensors of a block. Only the values before gelu are kept; those behind it are made again
 * when the weight gradient wants them, and then give their place to their own gradient. */
void reel_ffn_keep(const struct reel_pass *c, struct reel_ffn_kept *k, int64_t F)
{
    int64_t at;

    k->pre = reel_act(c, c->tok, c->mesh ? reel_tp_part(F, c->mesh->tp.rank, c->mesh->tp.size, &at) : F);
}

void reel_ffn_fwd(const struct reel_pass *c, const struct reel_ffn *w, struct reel_ffn_kept *k, reel_tensor y,
                  reel_tensor x)
{
    size_t mark = c->a->used;
    reel_tensor act = reel_act(c, c->tok, w->in.w.n[0]);

    if (w->in.lora.a.nd) {
        reel_tensor pre = k->pre.nd ? k->pre : act;
        reel_lin_fwd(c, &w->in, pre, x, c->tok);
        reel_gelu_fwd(c->s, act, pre);
    } else {
        reel_linear_fwd(c->s, act, k->pre, x, w->in.w, w->in.b, c->tok, reel_lin_cut(c, &w->in), REEL_EPI_GELU);
    }
    reel_lin_fwd(c, &w->out, y, act, c->tok);
    reel_arena_reset(c->a, mark);
}

void reel_ffn_bwd(const struct reel_pass *c, const struct reel_ffn *w, const struct reel_ffn_kept *k, reel_tensor dx,
                  reel_tensor dy, reel_tensor x)
{
    size_t mark = c->a->used;
    reel_tensor act = reel_act(c, c->tok, w->in.w.n[0]), d = act;

    reel_gelu_fwd(c->s, act, k->pre);
    reel_lin_bwd(c, &w->out, d, 0, dy, act, c->tok);
    reel_gelu_bwd(c->s, d, d, k->pre);
    reel_lin_bwd(c, &w->in, dx, 0, d, x, c->tok);
    reel_arena_reset(c->a, mark);
}
