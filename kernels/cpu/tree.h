#ifndef REEL_KERNELS_CPU_TREE_H
#define REEL_KERNELS_CPU_TREE_H

/* The fixed binary tree in which partial sums are added, and the canonical pieces of rows.
 *
 * A piece is a block of REEL_BLOCK tokens of a run of a sample. Its index is
 *     (sample * runs' + run) * blocks' + block,   ' = rounded up to a power of two,
 * and the tree pairs indices recursively: ((0+1)+(2+3))+((4+5)+(6+7)). An index without a piece is a
 * hole: the other half is taken as it is. So each sample, and each aligned set of runs, is a subtree. */

#include <string.h>

#include "kernels/kernels.h"

#define REEL_BLOCK 64 /* tokens summed row after row before the tree takes over */

struct reel_pieces {
    struct reel_rows r;
    int64_t run_tok, blocks;   /* tokens and blocks of a full run */
    int64_t runs2, blocks2;    /* rounded up */
};

static inline int64_t reel_pow2_up(int64_t n)
{
    int64_t p = 1;

    while (p < n) p *= 2;
    return p;
}

static inline struct reel_pieces reel_pieces_make(struct reel_rows r)
{
    int64_t rt = reel_rows_run_tok(r), blocks;

    if (rt < 1) rt = 1;
    blocks = (rt + REEL_BLOCK - 1) / REEL_BLOCK;
    return (struct reel_pieces){ r, rt, blocks, reel_pow2_up(r.runs), reel_pow2_up(blocks) };
}

/* Pieces are stored densely: (sample * runs + run) * blocks + block, holes included. */
static inline int64_t reel_pieces_count(const struct reel_pieces *p)
{
    return p->r.b * p->r.runs * p->blocks;
}

struct reel_range { int64_t lo, hi; }; /* tokens of a sample; empty if lo >= hi */

static inline struct reel_range reel_piece_tokens(const struct reel_pieces *p, int64_t run, int64_t block)
{
    int64_t lo = run * p->run_tok, end = lo + p->run_tok, hi;

    if (end > p->r.s) end = p->r.s;
    lo += block * REEL_BLOCK;
    hi = lo + REEL_BLOCK;
    return (struct reel_range){ lo, hi < end ? hi : end };
}

/**
 * reel_tree - out[0..n-1] = sum of the leaves lo..lo+span-1; 0 if all of them are holes. Local.
 * leaf(ctx, i) is leaf i's n floats or NULL. span is a power of two; n at most REEL_TREE_COLS.
 */
#define REEL_TREE_COLS 64
static inline int reel_tree(float *out, int n, int64_t lo, int64_t span,
                     const float *(*leaf)(const void *ctx, int64_t i), const void *ctx)
{
    float right[REEL_TREE_COLS];
    int have;

    if (span == 1) {
        const float *x = leaf(ctx, lo);
        if (x) memcpy(out, x, (size_t)n * sizeof *out);
        return x != NULL;
    }
    have = reel_tree(out, n, lo, span / 2, leaf, ctx);
    if (!reel_tree(right, n, lo + span / 2, span / 2, leaf, ctx)) return have;
    if (!have)
        memcpy(out, right, (size_t)n * sizeof *out);
    else
        for (int i = 0; i < n; i++) out[i] += right[i];
    return 1;
}

#endif
