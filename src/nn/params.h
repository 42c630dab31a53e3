#ifndef REEL_NN_PARAMS_H
#define REEL_NN_PARAMS_H

/* One role's parameters under HSDP. Every tensor is sharded on dim 0 over mesh->shard as FSDP2
 * does: R = ceil(n/size) rows a rank, the last ranks short or empty; f32 masters. A unit (a
 * transformer block, or the root) is gathered just in time in the compute dtype, used, released;
 * its full f32 gradient is reduce-scattered over shard in a fixed tree, then summed over
 * replicate, and added to the gradient shard. With shard 1 and f32 the gathered view is the
 * master itself: nothing is copied. */

#include "base/err.h"
#include "comm/comm.h"
#include "tensor/tensor.h"

struct reel_params; /* opaque; storage in the arenas given */

struct reel_params_cfg {
    const char *role;                 /* "student" */
    const struct reel_param_def *def; /* table, kept by reference */
    int n, n_units;
    reel_dtype compute; /* REEL_F32 or REEL_BF16 */
    int trainable;      /* gradients and AdamW moments exist */
};

/**
 * reel_params_open - lay out shards, gather buffers (two units plus the root), gradient buffers. Local.
 * Run it with planning arenas first (base NULL), then for real.
 * @params  arena of master shards          @optim  arena of gradient shard and moments
 * @work    arena of gathered units, full gradients of a unit, reduction staging
 */
reel_err reel_params_open(struct reel_params **ps, const struct reel_params_cfg *cfg, struct reel_mesh *mesh,
                          struct reel_stream *s, struct reel_arena *params, struct reel_arena *optim,
                          struct reel_arena *work);
void reel_params_close(struct reel_params *ps);

/* Gather. Collective(shard). need() waits for a prefetch or gathers now. */
void reel_params_prefetch(struct reel_params *ps, int unit);
void reel_params_need(struct reel_params *ps, int unit);
void reel_params_release(struct reel_params *ps, int unit);
/** reel_param - full weight `i` of the table in its gathered dtype; valid from need() to release(). Local. */
reel_tensor reel_param(const struct reel_params *ps, int i);
/** reel_param_find - table index of a name; a name the table lacks is a bug. Local. */
int reel_param_find(const struct reel_params *ps, const char *name);

/* Gradients. begin() hands out the unit's full f32 buffers (contents undefined: the first writer
 * overwrites), reduce() starts the reduction, finish() waits for all of them. Collective(hsdp).
 * The sum over ranks is taken as it is: the loss cotangent already carries 1/(global count). */
void reel_grads_begin(struct reel_params *ps, int unit);
reel_tensor reel_param_grad(const struct reel_params *ps, int i);
void reel_grads_reduce(struct reel_params *ps, int unit);
void reel_grads_finish(struct reel_params *ps);
void reel_grads_zero(struct reel_params *ps); /* forget the accumulated shards (start of a step) */

/* This rank's rows of parameter i: f32 [rows, ...] views; rows may be 0. Local. */
struct reel_shard { int64_t row0, rows; reel_tensor w, g, m, v; };
struct reel_shard reel_param_shard(const struct reel_params *ps, int i);
const struct reel_params_cfg *reel_params_cfg(const struct reel_params *ps);

#endif
