#ifndef REEL_MODELS_WAN_PRIV_H
#define REEL_MODELS_WAN_PRIV_H

/* What the Wan transformers share, in reading order: wan_config.c (config.json), wan_params.c (the
 * parameter table, and weights as the layers want them), wan_block.c (one block forward and backward),
 * wan_pass.c (passes over the blocks, records of what they keep). All functions are Local but for
 * reel_wan_fwd and reel_wan_bwd. */

#include "models/model.h"
#include "nn/nn.h"

/* ---- wan_config.c ---- */

struct wan_cfg {
    int64_t layers, heads, head_dim, ffn, in_ch, out_ch, text_dim, freq_dim, text_len;
    int64_t ph, pw;
    double eps;
};

/** reel_wan_cfg_read - transformer/config.json's text, checked. Errors: REEL_ECONFIG, with the key's name. */
reel_err reel_wan_cfg_read(struct wan_cfg *c, const char *text, const char *where);

/* ---- wan_params.c ---- */

/** reel_wan_define - m->def, its counts and the sizes that callers see. Errors: REEL_ENOMEM. */
reel_err reel_wan_define(struct reel_model *m, const struct wan_cfg *c, const char *where);

struct wan_block {
    struct reel_attn self, cross;
    struct reel_ffn ffn;
    reel_tensor n2w, n2b, dn2w, dn2b;
    reel_tensor table, dtable; /* [6,D] */
};

/* Weights as the layers want them. `grad`: with their gradient buffers. */
struct reel_patch reel_wan_patch(const struct reel_model *m, int grad);
struct reel_time reel_wan_time(const struct reel_model *m, int grad);
struct reel_text reel_wan_text(const struct reel_model *m, int grad);
struct reel_head reel_wan_head(const struct reel_model *m, int grad);
struct wan_block reel_wan_block(const struct reel_model *m, int block, int grad);

/* ---- what a pass keeps ---- */

/* Of one block. x after self attention is x + gate*u1, made again; u1 and u3 are the branches before
 * their gates, whose gradients need them. */
struct wan_block_kept {
    reel_tensor u1, x2, u3; /* [B*S,D]; x2 after cross attention */
    struct reel_attn_kept self, cross;
    struct reel_ffn_kept ffn;
};

struct reel_kept {
    struct reel_kept *next;
    int taken, checkpointing;
    struct reel_pass c;
    struct reel_params *ps;
    struct reel_model_in in;
    struct reel_rope rope;
    struct reel_time_kept time;
    struct reel_text_kept text;
    reel_tensor *x;               /* [layers+1]: block inputs, then the head's */
    struct wan_block_kept *block; /* [layers], unless checkpointing */
};

/* Gradients that every block adds to. */
struct wan_shared_grads { reel_tensor dctx, dtproj, dtemb; }; /* f32 */

/* ---- wan_block.c ---- */

enum { WAN_MODS = 6 }; /* rows of a block's modulation e [nmod,6,D] */

void reel_wan_attn_keep(const struct reel_pass *c, struct wan_block_kept *k, int64_t D);
void reel_wan_ffn_keep(const struct reel_pass *c, struct wan_block_kept *k, int64_t D, int64_t F, int backward);
/** reel_wan_modulation - e = table + tproj. */
reel_tensor reel_wan_modulation(const struct reel_pass *c, const struct wan_block *w, reel_tensor tproj);
/** reel_wan_block_fwd - y may be x; y nd 0: only what the backward pass needs. */
void reel_wan_block_fwd(const struct reel_pass *c, const struct wan_block *w, struct wan_block_kept *k, reel_tensor y,
                        reel_tensor x, reel_tensor e, const struct reel_kept *pass);
/** reel_wan_block_bwd - g [B*S,D], the gradient of the residual stream, is updated in place. What lies
 * above the arena's mark ffn_end is the feed-forward's and is given back when it is done. */
void reel_wan_block_bwd(const struct reel_pass *c, const struct wan_block *w, struct wan_block_kept *k, reel_tensor g,
                        reel_tensor x, reel_tensor e, reel_tensor de, size_t ffn_end, const struct reel_kept *pass,
                        const struct wan_shared_grads *sg);

/* ---- wan_pass.c ---- */

struct wan {
    struct wan_cfg c;
    struct reel_rope_cache rope;
    struct reel_kept *pool; /* host records of passes; grows while planning, reused in steps */
};

/** reel_wan_init, _fini, _fwd, _bwd - as in struct reel_model_ops. */
reel_err reel_wan_init(struct reel_model *m, const char *config_json, const char *where);
void reel_wan_fini(struct reel_model *m);
reel_tensor reel_wan_fwd(struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in,
                         struct reel_kept **kept);
void reel_wan_bwd(struct reel_model *m, struct reel_arena *a, struct reel_kept *k, reel_tensor dv, reel_tensor dx,
                  reel_tensor dtext);

#endif
