#ifndef REEL_MODELS_WAN_PRIV_H
#define REEL_MODELS_WAN_PRIV_H

/* What the Wan transformers share, in reading order: wan_config.c (config.json), wan_params.c (the
 * parameter table, and weights as the layers want them), wan_block.c (one block forward and backward),
 * wan_kv.c (the cache of streaming passes), wan_pass.c (passes over the blocks, records of what they
 * keep). All functions are Local but for reel_wan_run and reel_wan_bwd, which are Collective(hsdp). */

#include "models/model.h"
#include "nn/nn.h"

/* ---- wan_config.c ---- */

struct wan_cfg {
    int64_t layers, heads, head_dim, ffn, in_ch, out_ch, text_dim, freq_dim, text_len;
    int64_t ph, pw;
    double eps;
    int sparse; /* blocks carry the gate of sparse attention */
    /* causal models only: latent frames of a chunk, of a window (-1: all) and of its sink */
    int64_t chunk, window, sink;
    char assumed[REEL_ASSUMED - 16]; /* "num_layers 40, ...": keys that are absent */
    int relativistic; /* keys are cached unrotated; the window's positions count from its first frame */
};

/** reel_wan_cfg_read - transformer/config.json's text, checked. Errors: REEL_ECONFIG, with the key's name. */
reel_err reel_wan_cfg_read(struct wan_cfg *c, const char *text, const char *where);
/** reel_wan_cfg_read_causal - the causal fields, where the options leave them to config.json. Errors: the same. */
reel_err reel_wan_cfg_read_causal(struct wan_cfg *c, const char *text, const char *where, const struct reel_model_opts *o);

/* ---- wan_names.c ---- */

extern const struct reel_naming reel_wan_naming;

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
struct reel_text_mlp reel_wan_text(const struct reel_model *m, int grad);
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

/* Which keys self attention of a pass sees, and where they are rotated to. */
struct wan_view {
    struct reel_rope rope;
    struct reel_mask mask;
    struct reel_sparse sparse;
    struct reel_kv *kv;      /* streaming, or NULL */
    int64_t row0;            /* of this pass's tokens in the cache */
    struct reel_rope window; /* as in struct reel_sight */
};

struct reel_kept {
    struct reel_kept *next;
    int taken, backward, checkpointing;
    struct reel_pass c;
    struct reel_params *ps;
    struct reel_model_in in; /* this rank's samples */
    struct wan_view view;
    struct reel_time_kept time;
    struct reel_text_kept text; /* ctx nd 0: the cache has the text's keys and values */
    reel_tensor *x;               /* [layers+1]: block inputs, then the head's */
    struct wan_block_kept *block; /* [layers], unless checkpointing */
};

/* Gradients that every block adds to. */
struct wan_shared_grads { reel_tensor dctx, dtproj, dtemb; }; /* f32 */

/* ---- wan_block.c ---- */

enum { WAN_MODS = 6 }; /* rows of a block's modulation e [nmod,6,D] */

void reel_wan_attn_keep(const struct reel_pass *c, struct wan_block_kept *k, int64_t D, const struct reel_kept *pass);
void reel_wan_ffn_keep(const struct reel_pass *c, struct wan_block_kept *k, int64_t D, int64_t F, int backward);
/** reel_wan_modulation - e = table + tproj. */
reel_tensor reel_wan_modulation(const struct reel_pass *c, const struct wan_block *w, reel_tensor tproj);
/** reel_wan_block_fwd - y may be x; y nd 0: only what the backward pass needs. */
void reel_wan_block_fwd(const struct reel_pass *c, const struct wan_block *w, struct wan_block_kept *k, reel_tensor y,
                        reel_tensor x, reel_tensor e, const struct reel_kept *pass);
/** reel_wan_block_store - only puts the block's keys and values into the cache. */
void reel_wan_block_store(const struct reel_pass *c, const struct wan_block *w, reel_tensor x, reel_tensor e,
                          const struct reel_kept *pass);
/** reel_wan_block_bwd - g [B*S,D], the gradient of the residual stream, is updated in place. What lies
 * above the arena's mark ffn_end is the feed-forward's and is given back when it is done. */
void reel_wan_block_bwd(const struct reel_pass *c, const struct wan_block *w, struct wan_block_kept *k, reel_tensor g,
                        reel_tensor x, reel_tensor e, reel_tensor de, size_t ffn_end, const struct reel_kept *pass,
                        const struct wan_shared_grads *sg);

/* ---- wan_kv.c ---- */

/* [B,frames*frame,D] of this rank's samples and, in a shared pass, heads; [B,text_len,D] */
struct wan_kv_layer { reel_tensor k, v, text_k, text_v; };

/* Rows of the cache are the clip's frames in order; once they are used up, the oldest after the sink give way. */
struct reel_kv {
    struct reel_kv *next;
    int taken;
    int64_t batch;         /* samples of the SP group */
    int64_t frames, frame; /* capacity; tokens of a frame */
    int64_t end;           /* frames of the clip that have passed */
    int64_t rolled;        /* frames that gave way: frame f >= sink is in row (f - rolled)*frame */
    int64_t text_rows;     /* 0: the text has not passed yet */
    struct wan_kv_layer *layer;
};

struct reel_kv *reel_wan_kv_open(struct reel_model *m, struct reel_arena *a, const int64_t shape[5]);
void reel_wan_kv_close(struct reel_model *m, struct reel_kv *kv);
/** reel_wan_kv_view - makes room for the frames of a streaming pass and says what they see. */
struct wan_view reel_wan_kv_view(struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in, int backward);

/* The rows of one layer that a backward pass takes for its own, lent and given back. */
struct wan_loan { reel_tensor k, v; };
struct wan_loan reel_wan_kv_lend(const struct reel_pass *c, const struct wan_view *view, int layer);
void reel_wan_kv_return(const struct reel_pass *c, const struct wan_view *view, int layer, const struct wan_loan *loan);

/* ---- wan_pass.c ---- */

struct wan {
    struct wan_cfg c;
    struct reel_rope_cache rope;
    struct reel_tiles_cache tiles;
    struct reel_kept *pool;  /* host records of passes; grows while planning, reused in steps */
    struct reel_kv *kv_pool; /* of caches, likewise */
    int parity;
};

/** reel_wan_fini - as in struct reel_model_ops. */
void reel_wan_fini(struct reel_model *m);
/** reel_wan_begin - a pass's record, its memory in a; what it sees is the caller's to say. */
struct reel_kept *reel_wan_begin(struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in, int backward);
/** reel_wan_run - the forward pass into v. */
void reel_wan_run(struct reel_model *m, struct reel_kept *k, reel_tensor v);
/** reel_wan_end - hands the record over for a backward pass, or (kept NULL) gives it and what lies above mark back. */
void reel_wan_end(struct reel_model *m, struct reel_kept *k, size_t mark, struct reel_kept **kept);
/** reel_wan_bwd - as in struct reel_model_ops. */
void reel_wan_bwd(struct reel_model *m, struct reel_arena *a, struct reel_kept *k, reel_tensor dv, reel_tensor dx,
                  reel_tensor dtext);
/** reel_wan_grid - tokens of x [B,T,C,H,W] along time, height, width. */
void reel_wan_grid(const struct wan *w, reel_tensor x, int64_t grid[3]);
/** reel_wan_flops - of a forward pass over S tokens with `pairs` pairs of a query and a key; one sample. */
double reel_wan_flops(const struct wan_cfg *c, double S, double pairs);

#endif
