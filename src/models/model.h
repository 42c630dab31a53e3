#ifndef REEL_MODELS_MODEL_H
#define REEL_MODELS_MODEL_H

/* A model is one file: a parameter table, a forward pass and its hand-written backward. It knows
 * nothing of methods, files or ranks. */

#include "base/opt.h"
#include "nn/params.h"

struct reel_model;
struct reel_kept; /* what a forward leaves for its backward, in the arena it was given */

struct reel_model_in {
    reel_tensor x;    /* [B,T,C,H,W] f32 latents */
    reel_tensor t;    /* [B] or [B,T] f32 timesteps in [0,1000] */
    reel_tensor text; /* [B,L,text_dim] f32, zero rows beyond the prompt */
};

struct reel_model_ops {
    const char *name, *help;
    size_t priv_size;
    /* config_json: the text of transformer/config.json. Fills priv and the parameter table. Symmetric. */
    reel_err (*init)(struct reel_model *m, const char *config_json, const char *where);
    /* returns v [B,T,C,H,W] f32 in arena a; kept NULL: no backward will follow. Collective(hsdp). */
    reel_tensor (*fwd)(struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in,
                       struct reel_kept **kept);
    /* adds to the gradient shards; dx, dtext: nd 0 or f32 outputs of the inputs' shapes. */
    void (*bwd)(struct reel_model *m, struct reel_arena *a, struct reel_kept *kept, reel_tensor dv,
                reel_tensor dx, reel_tensor dtext);
    double (*flops)(const struct reel_model *m, int64_t B, int64_t T, int64_t H, int64_t W); /* of one forward */
};

struct reel_model {
    const struct reel_model_ops *ops;
    const char *role;
    void *priv;
    struct reel_param_def *def; /* malloc'ed by init */
    int n_def, n_units;
    int text_len, text_dim, channels, heads, patch_h, patch_w;
    int checkpointing; /* full activation checkpointing: keep block inputs only */
    reel_dtype compute;
    float flow_shift;
    int trainable;
    struct reel_stream *s;
    struct reel_params *ps;
    long opt_step;     /* completed AdamW updates */
    float gscale;      /* set by grad_clip, used by the update */
};

extern const struct reel_model_ops reel_model_wan;

#endif
