#ifndef REEL_KERNELS_MASK_H
#define REEL_KERNELS_MASK_H

/* Which keys a query of attention sees, for every backend. Indices and lengths count tokens. */

#include "base/rng.h" /* REEL_HD */

enum reel_see {
    REEL_SEE_ALL,     /* every key; a zeroed mask says this */
    REEL_SEE_CHUNKS,  /* block-causal: chunks up to the query's own */
    REEL_SEE_TEACHER, /* [clean half | noisy half]: noisy queries see earlier clean chunks and their own noisy one */
    REEL_SEE_WINDOW,  /* a cache of keys: every query sees rows [0,sink) and [lo,hi) */
};

struct reel_mask {
    enum reel_see see;
    int64_t chunk;        /* CHUNKS, TEACHER: tokens of a chunk; a sequence's last one may be short */
    int64_t window;       /* CHUNKS: keys seen, counted back from the end of the query's chunk; 0: all */
    int64_t half;         /* TEACHER: tokens of one half */
    int64_t zeros;        /* CHUNKS, TEACHER: keys of score 0 and value 0 that (noisy) queries of a short last chunk see too */
    int64_t sink, lo, hi; /* WINDOW: 0 <= sink <= lo <= hi <= rows of the cache */
};

/* What one query sees: keys [lo[0],hi[0]) and [lo[1],hi[1]), which do not overlap and come in this order, and
 * `zeros` keys of score 0 and value 0. */
struct reel_keys {
    int64_t lo[2], hi[2];
    int64_t zeros;
};

/**
 * reel_mask_row - what query s of a sequence with sk keys sees. Local.
 * CHUNKS: the chunk's end and the window's beginning are clipped to sk, unless zero keys stand in for the missing
 * tokens: then the window is counted from the whole chunk's end. A query sees itself whatever the window.
 * Source: the block masks of FastVideo's fastvideo/models/dits/causal_wanvideo.py @2f3d4074, which pads a sequence to
 * a multiple of 128 with zero keys.
 */
REEL_HD struct reel_keys reel_mask_row(struct reel_mask m, int64_t sk, int64_t s)
{
    struct reel_keys r = { { 0, 0 }, { 0, 0 }, 0 };
    int64_t n = m.see == REEL_SEE_TEACHER ? m.half : sk, noisy = m.see == REEL_SEE_TEACHER && s >= m.half;
    int64_t whole, end, lo;

    switch (m.see) {
    case REEL_SEE_ALL: r.hi[0] = sk; return r;
    case REEL_SEE_WINDOW:
        r.hi[0] = m.sink;
        r.lo[1] = m.lo;
        r.hi[1] = m.hi;
        return r;
    case REEL_SEE_CHUNKS:
    case REEL_SEE_TEACHER: break;
    }
    whole = ((noisy ? s - n : s) / m.chunk + 1) * m.chunk;
    end = whole < n ? whole : n;
    if (whole > n && (noisy || m.see == REEL_SEE_CHUNKS)) r.zeros = m.zeros;
    if (noisy) {
        r.hi[0] = whole - m.chunk;
        r.lo[1] = n + whole - m.chunk;
        r.hi[1] = n + end;
        return r;
    }
    lo = m.window ? (r.zeros ? whole : end) - m.window : 0;
    if (lo > end) lo = end;
    if (s < lo) r.lo[0] = s, r.hi[0] = s + 1;
    r.lo[1] = lo > 0 ? lo : 0;
    r.hi[1] = end;
    return r;
}

/* reel_mask_alike - 1 if all queries see the same keys. Local. */
REEL_HD int reel_mask_alike(struct reel_mask m)
{
    return m.see == REEL_SEE_ALL || m.see == REEL_SEE_WINDOW;
}

#endif
