#ifndef REEL_KERNELS_H
#define REEL_KERNELS_H

/* What kernels and their callers share: the stream, the argument structs and the table of raw
 * entry points. Raw kernels check nothing; callers go through be/ops.h. */

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "kernels/mask.h"
#include "tensor/tensor.h"

struct reel_backend;
struct reel_backend_ops;
struct reel_pool;

/* An ordered queue of work. The CPU backend runs each op before returning; callers must not
 * rely on that: they call reel_sync before the host looks at results. */
struct reel_stream {
    struct reel_backend *be;
    const struct reel_backend_ops *ops;
    int planning;               /* 1: fronts check shapes and return; memory is NULL */
    struct reel_arena *scratch; /* op-internal temporaries; sized while planning too */
    double flops;               /* model FLOPs issued on this stream, 2 per multiply-add */
    double attention_flops;     /* those of them in attention */
    struct reel_pool *pool;     /* CPU backend: the threads */
    const void *dev;            /* CUDA backend: struct reel_cuda of kernels/cuda/cuda.h, NULL while planning */
    void *queue;                /* CUDA backend: its cudaStream_t */
};

/* Rows of an activation [b*s, *]: b samples of s tokens. Sums over rows are cut into canonical
 * pieces (sample, run) and added in one fixed binary tree over (sample, run). */
struct reel_rows {
    int64_t b, s;
    int runs;        /* runs per sample held here; the last ones shorter or empty */
    int64_t per_mod; /* tokens per modulation row: s (per sample) or s/T (per frame) */
    int64_t run_tok; /* tokens of a full run; 0: ceil(s/runs) */
    int64_t tok0;    /* first token's index within its whole sample (sequence parallel ranks), else 0 */
};

REEL_HD int64_t reel_rows_run_tok(struct reel_rows r)
{
    return r.run_tok ? r.run_tok : (r.s + r.runs - 1) / r.runs;
}

/* How the sum over features of a product is cut: k of linear_fwd, n of linear_bwd_x. Ranks that hold aligned runs of
 * the pieces hold subtrees, so that their partial results, added in the tree of their own index, have the whole's bits. */
struct reel_cut {
    int pieces;  /* equal pieces of the summed dimension held here, a power of two, added as ((0+1)+(2+3))+... */
    int partial; /* 1: the result is f32 whatever dt is, and nothing is added to it: no bias, pre, epi or acc */
    int cols;    /* equal pieces of the result's columns held here: a library whose bits depend on the shape of a
                  * product (cuBLAS) makes each of them a product of its own */
};
#define REEL_UNCUT ((struct reel_cut){ 1, 0, 1 })

/* The normals of a named draw that a tensor [nb,n1,n2,n] holds: (b,i,j,k) is element first + i*s1 + j*s2 + k of
 * sample b0+b, so that a range of a latent's frames is made where the model wants it. */
struct reel_randn {
    uint64_t key;
    uint32_t step, round, b0;
    int64_t first, n1, n2, n, s1, s2;
};

REEL_HD int64_t reel_randn_element(const struct reel_randn *r, int64_t i, int64_t j) { return r->first + i * r->s1 + j * r->s2; }

/* What linear_bwd_x adds: dy w of n layers that share their input, all [m,n] and [n,k]. Piece p of the sum is that of
 * all terms in order, ((dy0 w0)_p + (dy1 w1)_p) + ..., so that the terms of one rank are one partial result. */
#define REEL_MAX_TERMS 4
struct reel_terms { int n; const void *dy[REEL_MAX_TERMS], *w[REEL_MAX_TERMS]; };

/* A convolution over time, rows and columns; channels are the fastest dimension. Result (j, r, q) is the sum over taps (a, b, e)
 * of input frame j*st + a, row r*ss + b - pad, column q*ss + e - pad. Frames are counted from the `past` ones before x on; a frame
 * is first doubled in rows and columns if up. What lies outside a frame is zero. */
struct reel_conv {
    int64_t t, h, w, c;       /* x: frames, rows, columns, channels */
    int64_t ot, oh, ow, n;    /* y */
    int past;                 /* frames before x that taps reach */
    int kt, kh, kw, st, ss, pad, up;
};
REEL_HD int64_t reel_conv_k(struct reel_conv g) { return (int64_t)g.kt * g.kh * g.kw * g.c; }

#define REEL_MAX_HEAD 1024 /* widest head that rotation takes */

enum reel_epi { REEL_EPI_NONE, REEL_EPI_GELU, REEL_EPI_ADD }; /* gelu_tanh; y += (after the whole sum) */

/* A latent x[b,t,c,h,w] cut into patches (1,ph,pw): token (t,h/ph,w/pw), w fastest. */
struct reel_grid {
    int64_t b, t, c, h, w;
    int ph, pw;
};
enum reel_patch_order { REEL_PATCH_CHW, REEL_PATCH_HWC }; /* features (c,ph,pw) or (ph,pw,c) */

/* A token grid [T,H,W] cut into n tiles of at most 4 x 4 x 4, the last ones along an axis smaller. Tile i
 * holds tokens order[start[i]] .. order[start[i+1]-1], raster order within the tile, tiles in raster order. */
struct reel_tiles {
    const int32_t *start; /* [n+1] */
    const int32_t *order; /* [s] places in raster order */
    int64_t n, s;
};

/* One AdamW update (PyTorch's). Doubles, because 1-beta and the bias corrections are formed in
 * double before they are rounded. */
struct reel_adamw {
    double lr, beta1, beta2, eps, wd;
    double step;  /* 1-based count of this update */
    float gscale; /* gradient multiplier: the clip factor */
};

struct reel_backend_ops {
    const char *name; /* "avx2", "portable", "cuda": shown by reel_backend_describe */
#define REEL_OP(op, args)  void(*op) args;
#define REEL_TMP(op, args) size_t(*op##_tmp) args;
#include "kernels/ops.def"
};

/* Matrix products and attention of the CPU backend choose their instructions themselves. */
#define REEL_OP(op, args)
#define REEL_OP_MM(op, args) void reel_cpu_##op args;
#define REEL_TMP(op, args)   size_t reel_cpu_##op##_tmp args;
#include "kernels/ops.def"

/* The loops of the CPU backend, compiled once per instruction set; same bits from each. */
extern const struct reel_backend_ops reel_cpu_ops_portable, reel_cpu_ops_avx2, reel_cpu_ops_avx512;

#endif
