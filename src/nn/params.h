#ifndef REEL_NN_PARAMS_H
#define REEL_NN_PARAMS_H

/* One role's parameters under tensor parallelism and HSDP. A parameter that the table splits is cut
 * over mesh->tp first (reel_tp_part); what a tp rank holds of a tensor is then sharded on dim 0 over
 * mesh->shard as FSDP2 does: R = ceil(n/size) rows a rank, the last ranks short or empty; f32 masters. A
 * unit (a transformer block, or the root) is gathered just in time in the compute dtype, used,
 * released; its full f32 gradient is summed over all replicate x shard ranks in one fixed tree over
 * their hsdp rank, ((0+1)+(2+3))+..., and added to the gradient shard: the same bits for every split
 * of one world into replicate x shard. "Full" and "gathered" mean the part of this tp rank; nothing
 * is ever summed over tp here: of a parameter that every tp rank holds, each makes the same gradient.
 * With shard 1 and f32 the gathered view is the master itself: nothing is copied.
 *
 * A forward and its backward, block l of L (unit 0 is the root, block l is unit l):
 *     need(0);   prefetch(1);   for l = 1..L:  need(l); prefetch(l+1); ... release(l);
 *     begin(0);  prefetch(L);   for l = L..1:  need(l); prefetch(l-1); begin(l); ... reduce(l); release(l);
 *     reduce(0); release(0);    finish();
 * Two blocks may be held or on their way at once, and gradients of two blocks; the root besides. */

#include "base/err.h"
#include "comm/comm.h"
#include "tensor/tensor.h"

struct reel_params; /* opaque; tensors live in the arenas given, bookkeeping in one malloc at open */

/* What other programs call a model's parameters. A row: the same parameter, or prefix of parameters (ends
 * in '.'), under each naming; NULL: that one has none. Names that no row matches are the same everywhere. */
enum { REEL_NAMING_OWN, REEL_NAMING_CKPT, REEL_NAMING_ORIGINAL, REEL_N_NAMINGS }; /* Diffusers', FastVideo's, the authors' */
struct reel_naming {
    const struct reel_name_row {
        const char *name[REEL_N_NAMINGS];
    } *root, *block; /* outside of blocks; behind "blocks.<i>." */
    int n_root, n_block;
};

struct reel_params_cfg {
    const char *role;                 /* "student" */
    const struct reel_param_def *def; /* table, kept by reference */
    int n, n_units;
    reel_dtype compute; /* REEL_F32 or REEL_BF16 */
    int trainable;      /* gradients and AdamW moments exist, of parameters that are not frozen */
    const struct reel_naming *naming; /* NULL: files use the table's names */
    int pieces;                       /* equal pieces of columns that sums over split features are made of; 0: 1 */
};

/** reel_head_pieces - canonical pieces of features: the largest power of two up to 8 that divides the heads. Local. */
int reel_head_pieces(int heads);

/**
 * reel_tp_part - what tp rank `rank` of `size` holds of n split rows or columns: [*at, *at + result). Local.
 * Equal parts if size divides n; else whole groups of 8 where 8 divides n, the first ranks one more.
 */
int64_t reel_tp_part(int64_t n, int rank, int size, int64_t *at);

/**
 * reel_params_open - lay out shards, gather buffers (two blocks plus the root), gradient buffers. Local.
 * Run it with planning arenas and stream first (base NULL), then for real; a mesh that was only
 * placed (reel_mesh_place) is enough for planning. Masters, gradients and moments start as zeros.
 * @params  arena of master shards          @optim  arena of gradient shard and moments
 * @work    arena of gathered units, full gradients of a unit, reduction staging
 * Errors: REEL_ENOMEM (bookkeeping). An impossible table is a bug.
 */
reel_err reel_params_open(struct reel_params **ps, const struct reel_params_cfg *cfg, struct reel_mesh *mesh,
                          struct reel_stream *s, struct reel_arena *params, struct reel_arena *optim,
                          struct reel_arena *work);
void reel_params_close(struct reel_params *ps); /* Local; nothing may be in flight */

/**
 * reel_params_prefetch - start gathering a unit. Collective(shard), nonblocking.
 * No effect if the unit is held or on its way, or does not exist (so loops need no edge case).
 * A third block at once is a bug.
 */
void reel_params_prefetch(struct reel_params *ps, int unit);
/** reel_params_need - hold a unit: wait for its prefetch, or gather now. Collective(shard). */
void reel_params_need(struct reel_params *ps, int unit);
/** reel_params_release - give a held unit's buffer back; its views are dead. Local. */
void reel_params_release(struct reel_params *ps, int unit);
/** reel_param - this tp rank's weight `i` of the table, whole, in its gathered dtype; valid from need() to release(). Local. */
reel_tensor reel_param(const struct reel_params *ps, int i);
/** reel_param_find - table index of a name; a name the table lacks is a bug. Local. */
int reel_param_find(const struct reel_params *ps, const char *name);
/** reel_params_progress - let messages in flight move; call it between long operations. Local. */
void reel_params_progress(struct reel_params *ps);

/* Gradients. begin() hands out the unit's full f32 buffers (contents undefined: the first writer
 * overwrites), reduce() starts the reduction, finish() waits for all of them. Collective(hsdp), in
 * one order on every rank. The sum over ranks is taken as it is: the loss cotangent already carries
 * 1/(global count). Rounds are added in the order of their reduce(). */
void reel_grads_begin(struct reel_params *ps, int unit);
/** reel_param_grad - full gradient `i`, f32; valid from begin() to reduce(); nd 0 if the parameter is frozen.
 * A backward pass writes all of the others. Local. */
reel_tensor reel_param_grad(const struct reel_params *ps, int i);
void reel_grads_reduce(struct reel_params *ps, int unit);
void reel_grads_finish(struct reel_params *ps);
/** reel_grads_zero - forget the accumulated shards (start of a step). Local. */
void reel_grads_zero(struct reel_params *ps);

/* This rank's rows of parameter i, and of dim 1 the columns [col0, col0+cols) if it is split by columns (else cols 0:
 * all): f32 [rows, ...] views; rows may be 0. Local. g, m, v: nd 0 if it is not trained. Writing w takes effect at
 * the next gather of its unit. */
struct reel_shard { int64_t row0, rows, col0, cols; reel_tensor w, g, m, v; };
struct reel_shard reel_param_shard(const struct reel_params *ps, int i);
/** reel_shard_element - index within the whole parameter of element e of a shard's tensor; consecutive within the
 * runs of reel_shard_run elements that it consists of. Local. */
int64_t reel_shard_element(const struct reel_params *ps, int i, int64_t e);
int64_t reel_shard_run(const struct reel_params *ps, int i);
/**
 * reel_grad_squares - add the squares of this rank's gradient of parameter i to acc (reel_sumsq), rows or pieces of rows
 * that are the same in every layout; what every tp rank holds counts on the first alone. Sum acc over shard and tp. Local.
 */
void reel_grad_squares(const struct reel_params *ps, int i, reel_tensor acc);
const struct reel_params_cfg *reel_params_cfg(const struct reel_params *ps);
/** reel_params_pieces - of the configuration's pieces, those that this tp rank holds; 1 if they cannot be dealt out. Local. */
int reel_params_pieces(const struct reel_params *ps);
struct reel_mesh *reel_params_mesh(const struct reel_params *ps);

#endif
