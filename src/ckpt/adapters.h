#ifndef REEL_CKPT_ADAPTERS_H
#define REEL_CKPT_ADAPTERS_H

/* Files of low-rank adapters: PEFT's (adapter_config.json and adapter_model.safetensors), Diffusers'
 * (pytorch_lora_weights.safetensors), and those whose layers have the authors' names with lora_down, lora_up
 * and alpha. */

#include "comm/comm.h"
#include "nn/params.h"

/**
 * reel_adapters_load - the matrices of a role's adapters into this rank's shards. Collective(world).
 * @from   a .safetensors file or a folder with one of the above
 * @scale  alpha / rank of the role, which must be the files': alpha stands in adapter_config.json, in the header of
 *         Diffusers' file, or in a tensor <layer>.alpha; without any it is the rank
 * Errors, agreed: REEL_EDATA: one message for layers that the files or the role lack and for other shapes; another scale;
 * what PEFT can do beyond (use_rslora, rank_pattern, ...); REEL_EIO.
 */
reel_err reel_adapters_load(const char *from, double scale, struct reel_params *ps, struct reel_stream *s,
                            struct reel_comm *world);

/** reel_adapter_merge - w[n,k] += scale b[n,r] a[r,k], summed in double. Host memory. Local. */
void reel_adapter_merge(float *w, const float *a, const float *b, int64_t n, int64_t k, int64_t r, double scale);

#endif
