#ifndef REEL_KERNELS_PIECES_H
#define REEL_KERNELS_PIECES_H

/* The canonical pieces in which every backend sums rows, for hosts and devices.
 *
 * A piece is a block of REEL_BLOCK tokens of a run of a sample. Its index is
 *     (sample * runs' + run) * blocks' + block,   ' = rounded up to a power of two,
 * and a binary tree pairs indices: ((0+1)+(2+3))+((4+5)+(6+7)). An index without a piece is a hole: the
 * other half is taken as it is. So each sample, and each aligned set of runs, is a subtree.
 *
 * Rows under different modulation rows (frames) are summed apart: a piece is cut into stretches where the
 * frame changes. */

#include "kernels/kernels.h"

#define REEL_BLOCK 64 /* tokens summed row after row before the tree takes over */

struct reel_pieces {
    struct reel_rows r;
    int64_t run_tok, blocks;   /* tokens and blocks of a full run */
    int64_t runs2, blocks2;    /* rounded up */
};

/* a / b rounded up; a >= 0, b > 0 */
REEL_HD int64_t reel_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

REEL_HD int64_t reel_pow2_up(int64_t n)
{
    int64_t p = 1;

    while (p < n) p *= 2;
    return p;
}

REEL_HD struct reel_pieces reel_pieces_make(struct reel_rows r)
{
    int64_t rt = reel_rows_run_tok(r), blocks;

    if (rt < 1) rt = 1;
    blocks = reel_ceil_div(rt, REEL_BLOCK);
    return (struct reel_pieces){ r, rt, blocks, reel_pow2_up(r.runs), reel_pow2_up(blocks) };
}

/* Pieces are stored densely: (sample * runs + run) * blocks + block, holes included. */
REEL_HD int64_t reel_pieces_count(const struct reel_pieces *p)
{
    return p->r.b * p->r.runs * p->blocks;
}

struct reel_range { int64_t lo, hi; }; /* tokens of a sample; empty if lo >= hi */

REEL_HD struct reel_range reel_piece_tokens(const struct reel_pieces *p, int64_t run, int64_t block)
{
    int64_t lo = run * p->run_tok, end = lo + p->run_tok, hi;

    if (end > p->r.s) end = p->r.s;
    lo += block * REEL_BLOCK;
    hi = lo + REEL_BLOCK;
    return (struct reel_range){ lo, hi < end ? hi : end };
}

/* Partial sums lie in tmp[slot][k][d], k vectors summed at once; slot = piece + f tells the stretches of a sample
 * apart, since piece and frame both only grow along it. nper: modulation rows of a sample. */
REEL_HD int64_t reel_piece_slots(const struct reel_pieces *p, int64_t nper)
{
    return p->r.runs * p->blocks + nper - 1;
}

/* Token range that is both in piece (run, block) and under modulation row f of the sample. */
REEL_HD struct reel_range reel_piece_under(const struct reel_pieces *p, int64_t nper, int64_t run, int64_t block, int64_t f)
{
    struct reel_range t = reel_piece_tokens(p, run, block);
    int64_t lo = f * p->r.per_mod - p->r.tok0, hi = lo + p->r.per_mod;

    if (nper == 1) return t;
    return (struct reel_range){ t.lo > lo ? t.lo : lo, t.hi < hi ? t.hi : hi };
}

/* Offset of the modulation row of token t of sample b, in rows that lie ld apart. */
REEL_HD int64_t reel_mod_at(const struct reel_rows *r, int64_t nper, int64_t ld, int64_t b, int64_t t)
{
    return (b * nper + (nper > 1 ? (r->tok0 + t) / r->per_mod : 0)) * ld;
}

#endif
