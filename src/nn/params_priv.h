#ifndef REEL_NN_PARAMS_PRIV_H
#define REEL_NN_PARAMS_PRIV_H

/* What params.c (layout), gather.c and grads.c share.
 *
 * A unit's shard is one flat f32 vector: packed (small) parameters first, then the large ones, each
 * 256-byte aligned; its gradient and moments are such vectors of the trained parameters alone. A gathered parameter is [size*rows, ...] with its first n rows meaningful, so
 * that one allgather of equal chunks fills it in place. Packed parameters travel in one message
 * per unit: their part of the shard is one chunk, and chunks are spread out after arrival. */

#include <limits.h>

#include "be/ops.h"
#include "nn/params.h"

struct reel_place {     /* where one parameter lives */
    int64_t n[REEL_MAXDIM], at; /* this tp rank's part: its dimensions, and where it begins along the split one */
    int64_t chunk;      /* elements of a rank's rows, padding included: ceil(n/size) * row */
    int64_t rows, row;  /* rows per rank; elements of one row of the part */
    int64_t shard_at;   /* element offset in the unit's shard */
    int64_t grad_at;    /* if trained: element offset in the shards of gradient and moments */
    int64_t full_at;    /* if trained: element offset in the unit's full gradient */
    size_t gather_at;   /* byte offset in the unit's gather block, unless direct */
    reel_dtype dt;      /* gathered dtype */
    int direct, packed; /* direct: the master is the gathered view */
    int trained;
};

/* Parameters that lie side by side. */
struct reel_row {
    const int *i;        /* their table indices, the packed ones first */
    int n, n_packed;
    int64_t len, packed; /* elements of a rank's vector; of its packed part */
};

struct reel_unit {
    struct reel_row all, trained;
    int64_t full_n;      /* elements of its full gradient block */
    size_t gather_bytes;
    reel_tensor w;       /* f32 [all.len] */
    reel_tensor g, m, v; /* f32 [trained.len]; nd 0: nothing of the role is trained */
};

enum reel_slot_state { REEL_SLOT_FREE, REEL_SLOT_FLYING, REEL_SLOT_HELD };

struct reel_gather_slot {
    reel_tensor mem; /* u8 */
    int unit;
    enum reel_slot_state state;
    struct reel_req req;
};

struct reel_grad_slot {
    reel_tensor full; /* f32 */
    int unit;         /* -1: free; REEL_SLOT_ABSENT: never used in this layout */
    int reducing;
};

/* Slot 0 serves the root, the other two serve the blocks in turn. */
enum { REEL_SLOTS = 3, REEL_SLOT_ABSENT = INT_MAX };

struct reel_stage { int unit; struct reel_req req; }; /* unit -1: idle */

struct reel_params {
    struct reel_params_cfg cfg;
    struct reel_mesh *mesh;
    struct reel_stream *s;
    struct reel_place *place; /* [cfg.n] */
    int *order;               /* [2 * cfg.n] what the rows index: all parameters by unit, then the trained ones */
    struct reel_unit *unit;   /* [cfg.n_units] */
    struct reel_gather_slot gather[REEL_SLOTS];
    struct reel_grad_slot grad[REEL_SLOTS];
    struct reel_stage shard_stage, sum_stage, spread_stage; /* a unit's way through the reduction */
    reel_tensor received; /* f32: chunks of this rank's shard from the shard group */
    reel_tensor partial;  /* f32 [terms * trained.len]: this shard group's part of the sum */
    reel_tensor peers;    /* f32 [terms * trained.len]: one piece of every replica's part */
    reel_tensor total;    /* f32 [trained.len]: the sum */
    int terms;            /* summands that one shard group sends to its replicas */
};

/* Elements [at, at+n) of a flat tensor. Local. */
reel_tensor reel_span(reel_tensor flat, int64_t at, int64_t n);
/* The dimensions of this tp rank's part over the start of `p`. Local. */
reel_tensor reel_param_view(const struct reel_params *ps, int i, void *p, reel_dtype dt);
/* A free slot's index for `unit` given who is in the three slots (-1: free), or -1. Local. */
int reel_slot_pick(int unit, const int in_slot[REEL_SLOTS]);
/* grads.c: buffers. Local. */
void reel_grads_layout(struct reel_params *ps, struct reel_arena *work);

#endif
