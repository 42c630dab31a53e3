#ifndef REEL_NN_NN_H
#define REEL_NN_NN_H

/* Layers as forward and backward pairs. A layer is a struct of its weights (and, in a backward pass,
 * of their gradients); what a forward leaves for its backward is a struct of saved tensors, which
 * the caller lays out with the layer's _keep function: in the arena of the step when the backward
 * comes much later, in scratch when it comes at once. All functions are Local and asynchronous on c->s.
 *
 * Activations are matrices [rows, width] in c->dt; rows are tokens of all samples, sample by sample.
 * Saved is what is dear to make again; normalised inputs, rotated q and k and the norms' statistics
 * are made again in the backward pass. Every function gives back the scratch it took. */

#include "be/ops.h"
#include "comm/comm.h"

/* What this rank holds of a batch that the ranks of its SP group share. The (sample, run) pieces of the batch's tokens are
 * dealt out in aligned runs, so that what a rank adds up is a subtree whatever the group's size: whole samples as long as
 * there are enough of them, else whole canonical runs of one. Around self attention the ranks of one sample exchange their
 * tokens for all tokens of their heads. */
struct reel_share {
    struct reel_comm *comm; /* the ranks that share this rank's sample; NULL: it has its samples to itself */
    int64_t batch;          /* samples of the whole group */
    int64_t b0, nb;         /* this rank's; at least one, but `rows` may hold none of its tokens */
    int parts, first;       /* parts of the SP group with a sample each, 0: comm is NULL; whether this rank answers for what its sample's ranks all compute */
    struct reel_rows rows, all; /* its tokens, and all of its samples */
    struct reel_rows txt;   /* its text rows in a backward pass */
    int64_t most, txt_most; /* rows of a full share: every rank's message has that many */
};

/* What all layers of one pass share. */
struct reel_pass {
    struct reel_stream *s;
    struct reel_arena *a; /* scratch on top of what is kept */
    struct reel_mesh *mesh; /* its tp and sp ranks share the pass; NULL: this rank is alone */
    reel_dtype dt;        /* of activations: REEL_F32 or REEL_BF16 */
    struct reel_rows tok; /* latent tokens [B*S]; in a shared pass this rank's */
    struct reel_rows txt; /* text rows [B*L] of this rank's samples */
    struct reel_rows vec; /* timesteps [B] or [B*T], likewise */
    struct reel_share share;
    int heads;            /* of this tensor parallel rank */
    int pieces;           /* canonical pieces of features that it holds; 0: 1 */
    double eps;
    /* debugging: called with every named intermediate (phase "act" or "dact"), or NULL */
    void (*probe)(void *ctx, const char *phase, int block, const char *name, reel_tensor x);
    void *probe_ctx;
    int block; /* of the probe: -1 outside the blocks */
};

/** reel_rows_count - b*s. */
static inline int64_t reel_rows_count(struct reel_rows r) { return r.b * r.s; }
/** reel_act - a new matrix [rows of r, width] in the pass's dtype. */
reel_tensor reel_act(const struct reel_pass *c, struct reel_rows r, int64_t width);
/** reel_act_f32 - the same in f32. */
reel_tensor reel_act_f32(const struct reel_pass *c, struct reel_rows r, int64_t width);
/** reel_flat - [B,S,W] as [B*S,W]. */
static inline reel_tensor reel_flat(reel_tensor x) { return reel_reshape(x, REEL_DIMS(x.n[0] * x.n[1], x.n[2])); }
/** reel_by_sample - [B*F,R,D] as [B,F,R,D], F timesteps a sample: sums go over a sample first. */
static inline reel_tensor reel_by_sample(const struct reel_pass *c, reel_tensor x)
{
    return reel_reshape(x, REEL_DIMS(c->vec.b, c->vec.s, x.n[1], x.n[2]));
}
void reel_probe(const struct reel_pass *c, const char *phase, const char *name, reel_tensor x);

/* ---- sharing a pass between sequence parallel ranks (share.c). Collective(share.comm) where not said otherwise ---- */
/**
 * reel_share_make - what rank `rank` of `size` holds of B samples of S tokens and L text rows. comm is not set. Local.
 */
struct reel_share reel_share_make(int64_t B, int64_t S, int64_t L, int64_t per_mod, int rank, int size);
/** reel_share_of - of this rank in the mesh (NULL: alone), comm set. Local. */
struct reel_share reel_share_of(struct reel_mesh *m, int64_t B, int64_t S, int64_t L, int64_t per_mod);
/** reel_share_mine - the rows r of x [rows of whole samples, W]: a view. Local. */
static inline reel_tensor reel_share_mine(reel_tensor x, struct reel_rows r)
{
    return reel_slice(x, r.tok0, r.tok0 + r.b * r.s);
}
/** reel_share_gather - full [batch*S,W] from the rows [r.b*r.s,W] of every rank of the SP group; x is returned if
 * it is alone. text: rows are text rows. Collective(sp). */
reel_tensor reel_share_gather(const struct reel_pass *c, reel_tensor x, int text);
/** reel_share_sum - x f32 = its sum over the ranks of a sample, in the tree. */
void reel_share_sum(const struct reel_pass *c, reel_tensor x);
/** reel_share_sum_text - this rank's text rows of the sum of x f32 [rows of txt, W] over the ranks of a sample. */
reel_tensor reel_share_sum_text(const struct reel_pass *c, reel_tensor x);
/** reel_share_none - the gradients of what another rank answers for: -0, which changes no bits of a sum. Local. */
void reel_share_none(const struct reel_pass *c, reel_tensor dw);

/* Heads of a sample's ranks: `per` each, the last ranks fewer or none. */
struct reel_heads { int per, n; };
/** reel_share_heads - of this rank. Local. */
struct reel_heads reel_share_heads(const struct reel_pass *c);
/** reel_share_whole - the pass as attention sees it: all tokens, this rank's heads; itself if it is not shared. Local. */
struct reel_pass reel_share_whole(const struct reel_pass *c);
/** reel_headed_new - memory for all tokens of this rank's heads: [ranks*most, per*d] of heads of width d. Local. */
reel_tensor reel_headed_new(const struct reel_pass *c, int64_t d);
/** reel_headed - [1,S,per*d] of such memory. Local. */
reel_tensor reel_headed(const struct reel_pass *c, reel_tensor x);
/** reel_to_heads - y of reel_headed_new from this rank's tokens x [rows, heads*d]; complete after reel_comm_wait. */
void reel_to_heads(const struct reel_pass *c, reel_tensor y, reel_tensor x, struct reel_req *req);
/** reel_to_tokens - the way back from x of reel_headed_new: what arrives, complete after reel_comm_wait, for ... */
reel_tensor reel_to_tokens(const struct reel_pass *c, reel_tensor x, struct reel_req *req);
/** reel_tokens_arrived - ... this rank's tokens y [rows, heads*d]. Local. */
void reel_tokens_arrived(const struct reel_pass *c, reel_tensor y, reel_tensor got);

/* ---- tensor parallel ranks (tp.c): the model's heads and hidden features are dealt out to them ---- */
int reel_tp_size(const struct reel_pass *c); /* ranks that share this rank's rows */
/** reel_tp_cut - a product whose sum, or whose columns, are features of which this rank holds a part. Local. */
struct reel_cut reel_tp_cut(const struct reel_pass *c, int sum, int cols);
/** reel_tp_partial - f32 [rows,width] for a partial result; only if there are several ranks. Local. */
reel_tensor reel_tp_partial(const struct reel_pass *c, int64_t rows, int64_t width);
/** reel_tp_sum - y [rows,W] (= or +=) the sum of all ranks' partial results, and bias (nd 0: none), rounded once; y the
 * same on all ranks before and after. part is used up. Collective(tp). */
void reel_tp_sum(const struct reel_pass *c, reel_tensor y, reel_tensor part, reel_tensor bias, int acc);

/* ---- linear: y = x w^T + b, and with an adapter + scale (x a^T) b^T ---- */
struct reel_lora {
    reel_tensor a, b;   /* [r,K], [N,r]; nd 0: no adapter */
    reel_tensor da, db; /* f32, as below */
    double scale;       /* alpha / r */
};
struct reel_lin {
    reel_tensor w, b;   /* [N,K], f32 [N] */
    reel_tensor dw, db; /* f32, overwritten by the backward pass; nd 0 in a forward pass, and of frozen layers */
    struct reel_lora lora;
    enum reel_param_split split; /* of w over tensor parallel ranks: rows are y's columns, columns are x's */
};
/** reel_lin_fwd - y [M,N] of x [M,K]; N or K are those held here if w is split. Collective(tp) if split by columns. */
void reel_lin_fwd(const struct reel_pass *c, const struct reel_lin *w, reel_tensor y, reel_tensor x,
                  struct reel_rows r);
/** reel_lin_cut - how the forward product is cut. Local. */
struct reel_cut reel_lin_cut(const struct reel_pass *c, const struct reel_lin *w);
/**
 * reel_lin_bwd - dw, db, the adapter's gradients, and dx: each unless it is nd 0. Collective(tp) if split by rows.
 * @dx  [M,K]  overwritten, or added to if acc; may be x
 */
void reel_lin_bwd(const struct reel_pass *c, const struct reel_lin *w, reel_tensor dx, int acc, reel_tensor dy,
                  reel_tensor x, struct reel_rows r);
/** reel_lins_bwd - the same of n layers of one shape and split with the input x: dx is one sum. */
void reel_lins_bwd(const struct reel_pass *c, const struct reel_lin *const *w, const reel_tensor *dy, int n, reel_tensor dx,
                   int acc, reel_tensor x, struct reel_rows r);

/* ---- rotary position tables ---- */
struct reel_rope { reel_tensor cos, sin; }; /* f32 [S, d/2]; nd 0: no rotation */
#define REEL_ROPE_SHAPES 16
struct reel_rope_cache {
    int n;
    struct reel_rope_entry {
        int64_t grid[3];
        int d;
        float *host; /* cos, then sin */
        struct reel_rope dev;
    } e[REEL_ROPE_SHAPES];
    float *passing; /* host: tables on their way to the device, of reel_rope_at */
    int64_t n_passing;
};
/** reel_rope_fill - tables of a T x H x W token grid, times from `first` on, head width d: angles in
 * double, rounded to f32.
 * @cos, @sin  out host [T*H*W, d/2] */
void reel_rope_fill(float *cos, float *sin, const int64_t grid[3], int64_t first, int d);
/**
 * reel_rope_get - the tables of a grid; made on the host at its first use (which planning does).
 * @mem  arena that outlives the cache's use: each shape goes to the device once; NULL: the tables are
 *       put into `step` at every call
 */
struct reel_rope reel_rope_get(struct reel_rope_cache *cache, struct reel_stream *s, struct reel_arena *mem,
                               struct reel_arena *step, const int64_t grid[3], int d);
/** reel_rope_at - tables of grid[0] frames from frame `first` on, made anew in arena a. Local.
 * Takes host memory at the first use of a larger grid, which planning does. */
struct reel_rope reel_rope_at(struct reel_rope_cache *cache, struct reel_stream *s, struct reel_arena *a,
                              const int64_t grid[3], int64_t first, int d);
/** reel_rope_rows - rows [lo,hi) of tables. */
struct reel_rope reel_rope_rows(struct reel_rope r, int64_t lo, int64_t hi);
void reel_rope_free(struct reel_rope_cache *cache);

/* ---- sparse attention (Video Sparse Attention): tiles of at most 4 x 4 x 4 tokens are the blocks ---- */
/** reel_tiles_count - tiles of a T x H x W token grid. */
int64_t reel_tiles_count(const int64_t grid[3]);
/**
 * reel_tiles_fill - the index of a token grid (struct reel_tiles).
 * @start  out host [tiles+1]    @order  out host [T*H*W]
 */
void reel_tiles_fill(int32_t *start, int32_t *order, const int64_t grid[3]);
#define REEL_TILE_SHAPES REEL_ROPE_SHAPES
struct reel_tiles_cache {
    int n;
    struct reel_tiles_entry {
        int64_t grid[3];
        int32_t *host; /* start, then order */
        struct reel_tile_index dev;
    } e[REEL_TILE_SHAPES];
};
/** reel_tiles_get - the index of a grid, as reel_rope_get has the tables. */
struct reel_tile_index reel_tiles_get(struct reel_tiles_cache *cache, struct reel_stream *s, struct reel_arena *mem,
                                      struct reel_arena *step, const int64_t grid[3]);
void reel_tiles_free(struct reel_tiles_cache *cache);
/** reel_vsa_topk - of n blocks: max(1, min(ceil((1 - sparsity) n), n)) in IEEE double. */
int64_t reel_vsa_topk(double sparsity, int64_t n);

/* What a sparse layer looks at; topk 0: it is dense. */
struct reel_sparse { struct reel_tile_index index; int64_t topk; };
/* gate and fine (the output of the chosen blocks) [B,S,D]; means and the coarse branch's output c [B,n,D]; i32 sel
 * [B,heads,n,topk]. The layer's output is made again from gate, c and fine. */
struct reel_sparse_kept { reel_tensor gate, fine, qc, kc, vc, c, lse_c, sel; };
/** reel_sparse_keep - memory for all but the gate. */
void reel_sparse_keep(const struct reel_pass *c, struct reel_sparse_kept *k, const struct reel_sparse *see, int64_t D);
/** reel_sparse_fwd - everything in k but the gate, and lse of fine, from q, k, v [B,S,D]. */
void reel_sparse_fwd(const struct reel_pass *c, struct reel_sparse_kept *kept, const struct reel_sparse *see, reel_tensor lse,
                     reel_tensor q, reel_tensor k, reel_tensor v);
/** reel_sparse_out - y [B,S,D] = gate * c + fine. */
void reel_sparse_out(const struct reel_pass *c, const struct reel_sparse_kept *kept, const struct reel_sparse *see,
                     reel_tensor y);
/** reel_sparse_bwd - dq, dk, dv from both branches; the gate's gradient takes the gate's place. */
void reel_sparse_bwd(const struct reel_pass *c, const struct reel_sparse_kept *kept, const struct reel_sparse *see,
                     reel_tensor dq, reel_tensor dk, reel_tensor dv, reel_tensor dout, reel_tensor lse, reel_tensor q,
                     reel_tensor k, reel_tensor v);

/** reel_tp_dots_new - f32 [rows of r, heads of all ranks] for sums over the heads of q or k; nd 0 on a rank alone. Local. */
reel_tensor reel_tp_dots_new(const struct reel_pass *c, struct reel_rows r);
/** reel_tp_dots - these sums (reel_rms_dots) of all ranks' heads; nothing on a rank alone. Collective(tp). */
void reel_tp_dots(const struct reel_pass *c, reel_tensor dots, reel_tensor dy, reel_tensor x, reel_tensor w, struct reel_rope rope,
                  struct reel_rows r);

/* ---- attention: q, k with full-width RMS norm and rotation; then the output projection ---- */
struct reel_attn {
    struct reel_lin q, k, v, o;
    struct reel_lin gate;                         /* of sparse attention's coarse branch, made from xq */
    reel_tensor norm_q, norm_k, dnorm_q, dnorm_k; /* f32 [D]; D is the width of the heads held here */
    const char *name;                             /* "attn1": for the probe */
};
/* What the queries of a layer look at. With a cache the pass's own rows are put into it before attention reads it, and
 * the other rows are constants. */
struct reel_sight {
    struct reel_rows rows;   /* of the layer's input xkv */
    struct reel_rope rope;   /* of queries and own keys; nd 0: cross attention */
    struct reel_mask mask;
    reel_tensor k, v;        /* the cache [B,C,D], keys after the norm; nd 0: none */
    int64_t row0;            /* own rows begin here in every sample of it */
    struct reel_sparse sparse; /* of the token grid; topk 0: dense */
    struct reel_rope window; /* the cache holds keys unrotated; its visible rows take positions from 0. nd 0: rotated */
};
/* q, k before the norm; o before the projection: sparse attention has its own tensors in place of o */
struct reel_attn_kept {
    reel_tensor q, k, v, o, lse;
    struct reel_sparse_kept sparse;
    /* of a shared pass's self attention, all tokens of this rank's heads (reel_headed_new): as attention takes them */
    struct { reel_tensor q, k, v, o, gate; } heads;
    reel_tensor q_dots, k_dots; /* of several tensor parallel ranks: sums over all heads of q and k */
};
/** reel_attn_keep - kv: rows of the keys' input; b 0: a cache has the keys. self: the layer's tokens are exchanged for
 * heads in a shared pass. */
void reel_attn_keep(const struct reel_pass *c, struct reel_attn_kept *k, struct reel_rows kv, int64_t D,
                    struct reel_sparse sparse, int self);
/**
 * reel_attn_layer_fwd - y = attention of xq over xkv.
 * @y   out [B*S,D]    @xq  in [B*S,D]    @xkv in [rows of see, D]; nd 0: the cache has all keys
 */
void reel_attn_layer_fwd(const struct reel_pass *c, const struct reel_attn *w, struct reel_attn_kept *k,
                         reel_tensor y, reel_tensor xq, reel_tensor xkv, const struct reel_sight *see);
/** reel_attn_layer_store - only put the keys and values of xkv into the cache. */
void reel_attn_layer_store(const struct reel_pass *c, const struct reel_attn *w, reel_tensor xkv,
                           const struct reel_sight *see);
/**
 * reel_attn_layer_bwd - dxq overwritten, may be dy; dxkv nd 0: self attention, its share is added to
 * dxq; otherwise the rows share.txt of it are overwritten, as they are of xkv. With a cache the pass's own rows are put back into it; its other rows
 * must be as the forward pass saw them.
 */
void reel_attn_layer_bwd(const struct reel_pass *c, const struct reel_attn *w, const struct reel_attn_kept *k,
                         reel_tensor dxq, reel_tensor dxkv, reel_tensor dy, reel_tensor xq, reel_tensor xkv,
                         const struct reel_sight *see);

/* ---- feed-forward: out(gelu_tanh(in(x))) ---- */
struct reel_ffn { struct reel_lin in, out; };
struct reel_ffn_kept { reel_tensor pre; }; /* before gelu [B*S,F]; nd 0: no backward will follow */
void reel_ffn_keep(const struct reel_pass *c, struct reel_ffn_kept *k, int64_t F);
void reel_ffn_fwd(const struct reel_pass *c, const struct reel_ffn *w, struct reel_ffn_kept *k, reel_tensor y,
                  reel_tensor x);
/** reel_ffn_bwd - dx overwritten; may be dy. */
void reel_ffn_bwd(const struct reel_pass *c, const struct reel_ffn *w, const struct reel_ffn_kept *k, reel_tensor dx,
                  reel_tensor dy, reel_tensor x);

/* ---- conditioning: timestep and text MLPs; the time path is f32 throughout ---- */
struct reel_time { struct reel_lin l1, l2, proj; };
struct reel_time_kept { reel_tensor emb, h, temb, tproj; }; /* f32 [n,freq], [n,D], [n,D], [n,6D] */
void reel_time_keep(const struct reel_pass *c, struct reel_time_kept *k, const struct reel_time *w);
void reel_time_fwd(const struct reel_pass *c, const struct reel_time *w, struct reel_time_kept *k, reel_tensor t);
/** reel_time_bwd - parameter gradients from those of temb (without tproj's share, which is added) and tproj. */
void reel_time_bwd(const struct reel_pass *c, const struct reel_time *w, const struct reel_time_kept *k,
                   reel_tensor dtemb, reel_tensor dtproj);

struct reel_text_mlp { struct reel_lin l1, l2; };
struct reel_text_kept { reel_tensor rows, pre, ctx; }; /* [B*L,text_dim], then [B*L,D] */
void reel_text_keep(const struct reel_pass *c, struct reel_text_kept *k, const struct reel_text_mlp *w,
                    reel_tensor text);
void reel_text_fwd(const struct reel_pass *c, const struct reel_text_mlp *w, const struct reel_text_kept *k,
                   reel_tensor text);
/** reel_text_bwd - dctx f32 [rows of share.txt,D] is the sum over all blocks; dtext f32 [B,L,text_dim] of the whole batch
 * or nd 0, overwritten. */
void reel_text_bwd(const struct reel_pass *c, const struct reel_text_mlp *w, const struct reel_text_kept *k,
                   reel_tensor dctx, reel_tensor dtext);

/* ---- modulated LayerNorm: rows shift, shift+1 of e are shift and scale ---- */
struct reel_ln { reel_tensor y, mean, rstd; };
/** reel_mod_grads - gradients of a table [R,D] (nd 0: frozen) and, added, of the timesteps' t, from those of e = table + t
 * [n,R,D] over this rank's tokens, which become those over all tokens of its samples. */
void reel_mod_grads(const struct reel_pass *c, reel_tensor dtable, reel_tensor dt, reel_tensor de);
/** reel_ln_new - y and statistics in fresh memory of the pass. */
struct reel_ln reel_ln_new(const struct reel_pass *c, int64_t D);

/* ---- patches: x holds this rank's samples, dx the whole batch ---- */
struct reel_patch { struct reel_lin lin; int ph, pw; };
void reel_patch_embed_fwd(const struct reel_pass *c, const struct reel_patch *w, reel_tensor y, reel_tensor x);
/** reel_patch_embed_bwd - dx f32 [B,T,C,H,W] or nd 0, overwritten. */
void reel_patch_embed_bwd(const struct reel_pass *c, const struct reel_patch *w, reel_tensor dx, reel_tensor dy,
                          reel_tensor x);

/* ---- head: LayerNorm modulated by table + temb, projection, un-patching. v and dv hold the whole batch ---- */
struct reel_head {
    struct reel_lin lin;
    reel_tensor table, dtable; /* f32 [2,D] */
    int ph, pw;
};
void reel_head_fwd(const struct reel_pass *c, const struct reel_head *w, reel_tensor v, reel_tensor x,
                   reel_tensor temb);
/** reel_head_bwd - dx overwritten; dtemb f32 [n,D] added to. */
void reel_head_bwd(const struct reel_pass *c, const struct reel_head *w, reel_tensor dx, reel_tensor dtemb,
                   reel_tensor dv, reel_tensor x, reel_tensor temb);

#endif
