#ifndef REEL_KERNELS_CPU_TREE_H
#define REEL_KERNELS_CPU_TREE_H

/* The fixed binary tree in which partial sums are added (kernels/pieces.h says over what). */

#include <string.h>

#include "kernels/pieces.h"

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
