/* Wan2.1 text-to-video transformer, bidirectional: every token sees every other. */
#include "models/wan_priv.h"

static reel_err wan_init(struct reel_model *m, const char *config_json, const char *where)
{
    struct wan *w = m->priv;

    REEL_TRY(reel_wan_cfg_read(&w->c, config_json, where));
    w->c.sparse = m->opts.sparse;
    return reel_wan_define(m, &w->c, where);
}

static reel_tensor wan_fwd(struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in,
                           struct reel_kept **kept)
{
    struct wan *w = m->priv;
    reel_tensor v = reel_new(a, REEL_F32, in->x.n, in->x.nd);
    size_t mark = a->used;
    struct reel_kept *k;
    int64_t grid[3];

    REEL_BUG_IF(in->clean.nd || in->kv, "role %s is bidirectional: it has neither teacher forcing nor a cache", m->role);
    k = reel_wan_begin(m, a, in, kept != NULL);
    reel_wan_grid(w, in->x, grid);
    k->view.rope = reel_rope_get(&w->rope, m->s, m->mem, a, grid, (int)w->c.head_dim);
    reel_wan_run(m, k, v);
    reel_wan_end(m, k, mark, kept);
    return v;
}

static double wan_flops(const struct reel_model *m, int64_t B, int64_t T, int64_t H, int64_t W)
{
    const struct wan_cfg *c = &((const struct wan *)m->priv)->c;
    double S = (double)(T * (H / c->ph) * (W / c->pw));

    return (double)B * reel_wan_flops(c, S, S * S);
}

const struct reel_model_ops reel_model_wan = {
    .name = "wan",
    .help = "Wan 2.1 text-to-video transformer, bidirectional",
    .targets = "fastvideo.train.models.wan.WanModel|fastvideo.train.models.wan.wan.WanModel",
    .naming = &reel_wan_naming,
    .adapters = 1,
    .shares = 1,
    .priv_size = sizeof(struct wan),
    .init = wan_init,
    .fini = reel_wan_fini,
    .fwd = wan_fwd,
    .bwd = reel_wan_bwd,
    .flops = wan_flops,
};

REEL_EXPORT(REEL_KIND_MODEL, wan);
