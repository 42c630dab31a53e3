/* Wan2.1 text-to-video transformer, bidirectional: every token sees every other. */
#include "models/wan_priv.h"

/* The blocks' products, 2 per multiply-add; patches, head and conditioning are below 1%. */
static double wan_flops(const struct reel_model *m, int64_t B, int64_t T, int64_t H, int64_t W)
{
    const struct wan_cfg *c = &((const struct wan *)m->priv)->c;
    double S = (double)(T * (H / c->ph) * (W / c->pw)), D = (double)(c->heads * c->head_dim);
    double L = (double)c->text_len, F = (double)c->ffn;
    double self = 8 * S * D * D + 4 * S * S * D;
    double cross = 4 * S * D * D + 4 * L * D * D + 4 * S * L * D;

    return (double)B * (double)c->layers * (self + cross + 4 * S * D * F);
}

const struct reel_model_ops reel_model_wan = {
    .name = "wan",
    .help = "Wan 2.1 text-to-video transformer, bidirectional",
    .targets = "fastvideo.train.models.wan.WanModel|fastvideo.train.models.wan.wan.WanModel",
    .priv_size = sizeof(struct wan),
    .init = reel_wan_init,
    .fini = reel_wan_fini,
    .fwd = reel_wan_fwd,
    .bwd = reel_wan_bwd,
    .flops = wan_flops,
};

REEL_EXPORT(REEL_KIND_MODEL, wan);
