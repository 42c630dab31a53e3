#ifndef REEL_MODELS_MODEL_H
#define REEL_MODELS_MODEL_H

/* A model is one file: a parameter table, a forward pass and its hand-written backward. It knows
 * nothing of methods, files or ranks. */

#include "base/opt.h"
#include "base/plugin.h"
#include "nn/params.h"

struct reel_model;
struct reel_kept; /* what a forward leaves for its backward, in the arena it was given */
struct reel_kv;   /* keys and values that streaming passes have seen, of every layer and of the text */

struct reel_model_in {
    reel_tensor x;    /* [B,T,C,H,W] f32 latents */
    reel_tensor t;    /* [B] or [B,T] f32 timesteps in [0,1000] */
    reel_tensor text; /* [B,L,text_dim] f32, zero rows beyond the prompt */
    /* the rest may stay zero: absent */
    reel_tensor clean; /* [B,T,C,H,W] f32: the clean clip that noisy chunks attend to (teacher forcing) */
    reel_tensor clean_t; /* its timesteps [B] or [B,T] f32; absent: 0 */
    double sparsity;   /* sparse attention: share of key tiles left out; 0: all of them */
    struct reel_kv *kv; /* streaming: x is frames frame0.. of the clip, earlier ones are in the cache */
    int64_t frame0;
    int store_only;    /* streaming: the pass is wanted for its keys and values, no velocity is made (nd 0) */
};

/* Low-rank adapters of the layers that `wants` says ("blocks.0.attn1.to_q"). */
struct reel_lora_opts {
    int64_t rank; /* 0: none */
    double scale; /* alpha / rank */
    int (*wants)(const void *ctx, const char *layer);
    const void *ctx;
};

/* What the configuration says of a role beside its config.json. */
struct reel_model_opts {
    int64_t num_frames_per_block, local_attn_size, sink_size; /* latent frames; REEL_INT_UNSET: config.json decides */
    int sparse; /* blocks carry the gate of sparse attention */
    int parity; /* training.model.parity or method.parity: fastvideo */
    struct reel_lora_opts lora; /* the caller adds the adapters to the table: models/lora.h */
};

struct reel_model_ops {
    const char *name, *help;
    const char *targets; /* FastVideo _target_ strings, '|' between; NULL: none */
    int causal;          /* attends to earlier chunks of frames only */
    const struct reel_naming *naming; /* what other programs call its parameters; NULL: as its table does */
    int adapters;        /* its linear layers take adapters (models/lora.h) */
    int shares;          /* sequence parallel ranks share its passes (struct reel_share); 0: it runs with sp_size 1 only */
    size_t priv_size; /* of m->priv, which the caller provides zeroed before init */
    /* config_json: the text of transformer/config.json. Fills priv and the parameter table. Symmetric. */
    reel_err (*init)(struct reel_model *m, const char *config_json, const char *where);
    void (*fini)(struct reel_model *m); /* gives back what init and the passes took, not priv. Local. */
    /* returns v [B,T,C,H,W] f32 in arena a; kept NULL: no backward will follow, no activation is
     * stored. With kept, `in` must stay valid until bwd, and everything pushed on `a` since. The first
     * pass of each kind runs while planning, so that no later one allocates. Collective(hsdp). */
    reel_tensor (*fwd)(struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in,
                       struct reel_kept **kept);
    /* adds to the gradient shards (complete after reel_grads_finish) and ends `kept`; dx, dtext: nd 0
     * or f32 outputs of the inputs' shapes. Collective(hsdp). */
    void (*bwd)(struct reel_model *m, struct reel_arena *a, struct reel_kept *kept, reel_tensor dv,
                reel_tensor dx, reel_tensor dtext);
    double (*flops)(const struct reel_model *m, int64_t B, int64_t T, int64_t H, int64_t W); /* of one forward */

    /* Streaming; NULL: this model runs whole clips only. A cache for one rollout of clips of `shape`
     * [B,T,C,H,W], in arena a, empty. Passes with in->kv write the rows of their frames (again and again for
     * the same frames) and read earlier ones as constants; a pass with kept needs its context rows until its
     * backward, so that later passes may only write later frames and its own. For longer clips without a backward
     * pass T may be the window's frames: the oldest give way. Local. */
    struct reel_kv *(*kv_open)(struct reel_model *m, struct reel_arena *a, const int64_t shape[5]);
    void (*kv_close)(struct reel_model *m, struct reel_kv *kv); /* gives the record back; the arena is the caller's */
};

#define REEL_ASSUMED 128

struct reel_model {
    const struct reel_model_ops *ops;
    const char *role;
    void *priv;
    struct reel_param_def *def; /* malloc'ed by init */
    int n_def, n_units;
    char assumed[REEL_ASSUMED]; /* by init: sizes that config.json leaves out, with what was taken: "num_layers 40, ffn_dim 13824 (Wan 14B)" */
    int text_len, text_dim, channels, heads, patch_h, patch_w;
    int one_run; /* sums over rows are not cut into canonical runs: training.reproducibility resume */
    int pieces;  /* canonical pieces of its features (reel_params_cfg); 0: its layers are not split */
    int checkpointing; /* full activation checkpointing: keep block inputs only */
    struct reel_model_opts opts; /* before init */
    int64_t chunk;     /* causal models: latent frames that attend to one another (set by init), else 0 */
    int64_t window;    /* causal models: latent frames that a chunk sees, itself included; -1: all */
    reel_dtype compute;
    float flow_shift;
    int trainable;
    struct reel_stream *s;
    struct reel_params *ps;
    struct reel_arena *mem; /* role's own tables (rotary positions), or NULL: put anew in every pass */
    /* debugging: sees every named intermediate; phase is "act" or "dact", block -1 outside blocks */
    void (*probe)(void *ctx, const char *phase, int block, const char *name, reel_tensor x);
    void *probe_ctx;
    void (*around_bwd)(void *ctx, int after); /* where a backward pass begins (0) and ends (1); NULL normally */
    void *around_ctx;
    long opt_step;     /* completed AdamW updates */
    float gscale;      /* a callback may lower it; the update multiplies gradients by it */
};

/** reel_model_bwd - m->ops->bwd, between two calls of m->around_bwd. Collective(hsdp). */
void reel_model_bwd(struct reel_model *m, struct reel_arena *a, struct reel_kept *kept, reel_tensor dv, reel_tensor dx,
                    reel_tensor dtext);

/* The registry, generated from MODELS of local.mk; NULL-terminated. */
extern const struct reel_model_ops *const reel_models[];

#endif
