#ifndef REEL_CKPT_EXPORT_H
#define REEL_CKPT_EXPORT_H

#include "base/err.h"
#include "nn/params.h"

struct reel_export {
    const char *checkpoint; /* checkpoint folder */
    const char *role;       /* NULL: student */
    int ema;                /* the averaged student instead of its weights */
    int lora, merge;        /* a checkpoint of adapters: these alone; or added to the base's weights */
    const struct reel_naming *naming; /* of the role's model */
    const char *base;       /* Diffusers folder the role started from: its config.json and other components */
    const char *weights;    /* merge: file or folder whose weights the role started from instead of base's; NULL: none */
    const char *out;        /* folder to make */
    reel_dtype dt;          /* REEL_F32 or REEL_BF16 */
    int64_t shard_bytes;    /* largest file; 0: 5e9 */
};

/**
 * reel_export - write a Diffusers folder: transformer/config.json, transformer/diffusion_pytorch_model
 * .safetensors (or shards and their index), the base's other components and model_index.json (hard
 * links where possible, copies otherwise). With `lora`, adapter_config.json and adapter_model.safetensors
 * for PEFT and pytorch_lora_weights.safetensors for Diffusers. Tensors stream through one buffer. Local.
 * Errors: REEL_ECONFIG (out exists, no such role, adapters or not), REEL_EDATA (names or shapes that are not the
 * base's), REEL_EIO.
 */
reel_err reel_export(const struct reel_export *x);

/** reel_export_key - `models.<role>.<key>` from the checkpoint's metadata.json, a string. Local. REEL_EIO, REEL_EDATA. */
reel_err reel_export_key(const char *checkpoint, const char *role, const char *key, char *value, size_t size);

#endif
