#ifndef REEL_TRAIN_IMPORT_H
#define REEL_TRAIN_IMPORT_H

#include "comm/comm.h"
#include "config/config.h"

struct reel_import_flags {
    const char *model, *role, *base;
    int dtype; /* keep, f32, bf16 */
    int64_t shard_bytes;
};

/**
 * reel_import - `reel import FROM OUT`: a Diffusers folder or repository, a folder of the authors, or one safetensors
 * file, checked against the model's table, as a Diffusers folder, or, if OUT ends in checkpoint-N, as a checkpoint. Collective(world).
 * @models  registry
 * Errors, agreed: REEL_ECONFIG, REEL_EDATA, REEL_EIO, REEL_ENOMEM.
 */
reel_err reel_import(const struct reel_import_flags *f, const char *from, const char *out, const struct reel_kind *models,
                     const struct reel_env *env, struct reel_comm *world);

#endif
