/* Wan2.1 with block-causal attention: known to configurations, not trained yet. */
#include "models/model.h"

const struct reel_model_ops reel_model_wan_causal = {
    .name = "wan_causal",
    .help = "the same with block-causal attention and a KV cache",
    .targets = "fastvideo.train.models.wan.WanCausalModel|fastvideo.train.models.wan.wan_causal.WanCausalModel",
    .causal = 1,
};

REEL_EXPORT(REEL_KIND_MODEL, wan_causal);
