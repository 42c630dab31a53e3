#ifndef REEL_CKPT_IMPORT_H
#define REEL_CKPT_IMPORT_H

#include "base/err.h"
#include "comm/comm.h"
#include "nn/params.h"

/* Weights of other programs as what a run starts from. Names may be Diffusers', FastVideo's or the authors'. */
struct reel_import {
    const char *weights; /* a safetensors file, or a folder of them */
    const char *config;  /* text of the Diffusers config.json of these weights */
    const char *base;    /* Diffusers folder whose other components come along; NULL: none */
    const struct reel_params_cfg *model; /* the table that config.json means: role, def, n, naming */
    const char *assumed; /* sizes that config.json leaves out, with what was taken, for messages */
    const char *out;
    reel_dtype dt;       /* REEL_F32 or REEL_BF16; REEL_NDTYPE: each as it is */
    int64_t shard_bytes; /* largest file; 0: 5e9 */
};

/**
 * reel_import_folder - a Diffusers folder, as reel_export writes it. Tensors stream through one buffer. Local.
 * Errors: REEL_ECONFIG (out exists), REEL_EDATA (missing, unexpected, mis-shaped tensors in one message), REEL_EIO.
 */
reel_err reel_import_folder(const struct reel_import *x);

/**
 * reel_import_checkpoint - a checkpoint of the role's weights in f32, without optimizer state. Every rank reads and
 * writes its share of the rows. Collective(world).
 * @meta  the text of "config" in metadata.json
 * Errors as above, agreed. x->out is <folder>/checkpoint-<step>; dt, base and shard_bytes play no part.
 */
reel_err reel_import_checkpoint(const struct reel_import *x, const char *meta, struct reel_comm *world);

#endif
