#ifndef REEL_KERNELS_CPU_VSA_H
#define REEL_KERNELS_CPU_VSA_H

/* Block-sparse attention of one (sample, head): what vsa.c hands to the code of an instruction set. */

#include <stdatomic.h>

#include "kernels/kernels.h"

#define REEL_TILE 64 /* most tokens of a tile */

/* A block of queries that chose a block of keys; turn: the place of these keys among its choices. */
struct reel_vsa_chosen { int32_t query, turn; };

/* Rows of a tensor lie ld elements apart, a row per token in raster order (a tile for dqc, dkc, dvc).
 * Packed operands keep a tile's rows together: tile i begins at row at[i], rows are rounded up to 8. */
struct reel_vsa {
    const void *q, *k, *v, *dout, *dqc, *dkc, *dvc;
    void *o, *dq, *dk, *dv;
    float *lse;         /* [s] */
    const float *delta; /* [s] dout . o */
    const int32_t *sel; /* [tiles][topk] in increasing order, then -1 */
    struct reel_tiles t;
    int64_t topk, ld, hd;
    int dt;
    /* the head's own memory */
    const int64_t *at;                    /* [tiles+1] */
    float *pack[4];                       /* forward: k by token, v by feature; backward: q, dout by token,
                                           * then by feature. [at[tiles]][hd up to 8] each */
    float *lse2, *tile_delta;             /* backward, [at[tiles]]: base-2 lse and delta in tile order */
    float *acc;                           /* backward: sums of dq, [tiles][lanes of a tile][hd up to 8] */
    _Atomic int64_t *done;                /* backward, [tiles]: how many choices have been added to acc */
    int32_t *first;                       /* backward, [tiles+1]: where a block of keys begins in ... */
    struct reel_vsa_chosen *chosen;       /* ... [tiles*topk]: who chose it, in increasing order */
};

/* Each function does one tile, on one thread; mem is 64-aligned scratch of mem(hd) floats. */
struct reel_vsa_isa {
    int lanes; /* of a tile: REEL_TILE rounded up to whole panels */
    size_t (*fwd_mem)(int64_t hd);
    size_t (*bwd_mem)(int64_t hd);
    void (*fwd_pack)(const struct reel_vsa *v, int64_t keys, float *mem);
    void (*fwd)(const struct reel_vsa *v, int64_t queries, float *mem);
    void (*bwd_pack)(const struct reel_vsa *v, int64_t queries, float *mem); /* and acc, done */
    void (*bwd)(const struct reel_vsa *v, int64_t keys, float *mem);        /* dk, dv; adds to acc in turn */
    void (*bwd_dq)(const struct reel_vsa *v, int64_t queries, float *mem);
};

extern const struct reel_vsa_isa reel_vsa_portable, reel_vsa_avx2, reel_vsa_avx512;

#endif
