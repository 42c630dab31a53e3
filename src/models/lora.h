#ifndef REEL_MODELS_LORA_H
#define REEL_MODELS_LORA_H

/* Low-rank adapters of linear layers: y = W x + b + scale B (A x), W and b frozen. Their parameters stand
 * behind the model's own in its table, as <layer>.lora_A [r,in] and <layer>.lora_B [out,r]; so they are
 * sharded, summed, clipped, updated and saved like any other. */

#include "models/model.h"
#include "nn/nn.h"

/** reel_lora_define - behind the model's table, adapters of the linear layers that m->opts.lora wants; everything
 * else is frozen. *n: how many layers. Symmetric. REEL_ENOMEM. */
reel_err reel_lora_define(struct reel_model *m, int *n);

/** reel_lora_of - adapter of the layer whose weight is parameter i, or all nd 0. Its unit is held. Local.
 * @grad  with gradient buffers */
struct reel_lora reel_lora_of(const struct reel_model *m, int i, int grad);

#endif
