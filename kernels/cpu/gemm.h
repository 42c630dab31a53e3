#ifndef REEL_KERNELS_CPU_GEMM_H
#define REEL_KERNELS_CPU_GEMM_H

/* Matrix products C[i,j] = sum_k A[i,k] B[j,k] whose bits depend on the sizes of the sum only:
 * the sum over k is cut into pieces, a piece into segments of at most REEL_KSEG terms; a segment is
 * one chain of fused multiply-adds from 0, segments of a piece are added in order, pieces in one
 * binary tree. Rows and columns are independent, so any cut of them gives the same bits. */

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "tensor/tensor.h"

#define REEL_KSEG 256
#define REEL_COLS 64

/* Element (i,k): p[i*ld + k] if kcontig, else p[k*ld + i]. f32 or bf16. */
struct reel_mat {
    const void *p;
    int64_t ld;
    int kcontig;
    int dt;
};

/* What a convolution sums for each of its results: a matrix that is read where its numbers lie. Row i is result (j, r, q) in
 * raster order, term k is tap (a, b, e) and channel, channels fastest; */
struct reel_gather {
    struct reel_conv g;
    const void *x, *past, *zero; /* zero: c channels of zeros; past NULL: frames of zeros */
    int skip;                    /* taps in time left out, because they would see zeros only */
};

/* One segment of the sum. */
struct reel_kseg {
    int64_t k0;    /* first term */
    int32_t len;   /* terms, 1..REEL_KSEG */
    int8_t first;  /* begins a piece */
    int8_t last;   /* ends a piece: add the tree levels of `adds`, put the result at level `dest` */
    int8_t dest;
    int8_t term;   /* which matrices it multiplies */
    uint32_t adds; /* bit l: add the partial sum kept at level l */
};

struct reel_kplan {
    const struct reel_kseg *seg;
    int64_t nseg;
    int levels; /* the result's level = number of partial sums kept */
};

/* Where results go: y[i*ld + j], with bias[j] and GELU if asked; pre keeps the value before GELU. */
struct reel_gemm_out {
    void *y, *pre;
    const float *bias;
    int64_t ld;
    int dt, gelu, acc; /* acc: y += (after the whole sum) */
};

struct reel_gemm {
    struct reel_mat a, b;
    const struct reel_gather *from; /* NULL, or where a's numbers are; a has their dtype */
    struct reel_mat more[3][2]; /* a and b of terms 1, 2, 3: products of the same shapes and dtypes in the same sum */
    struct reel_kplan plan;
    struct reel_gemm_out out;
};

#define REEL_ATTN_QB 96 /* queries of a block of the backward pass: a multiple of every nr */
#define REEL_ATTN_KT 240 /* most keys of a tile of the backward pass, likewise */

/* Attention of one (sample, head): rows of hd elements, ld apart, of dtype dt. */
struct reel_attn {
    const void *q, *k, *v, *dout;
    void *o, *dq, *dk, *dv;
    float *lse;         /* [sq] log of the row's sum of exponentials; forward: may be NULL */
    const float *rel;   /* forward: NULL, or rel[query - key] is added to the score, which is not scaled */
    const float *delta; /* [sq] dout . o */
    int64_t sq, sk, ld, hd;
    int dt;
    struct reel_mask mask;
    int64_t dk0, dkn; /* dk and dv hold key rows [dk0,dk0+dkn) */
    int dkv_dt;       /* of dk and dv */
};

/* The order in which key tiles add to dq, whoever runs them: of the n tiles that a block of queries sees, the i-th adds when
 * done[block] == round*n + i, then sets one more. acc is [block][REEL_ATTN_QB][hd up to 8] f32, in the kernel's order. */
struct reel_attn_turn {
    float *acc;
    _Atomic int64_t *done;
    int64_t tile, tiles;  /* this tile's index, and of how many */
    int64_t width, round; /* keys of a tile, 0 if every query sees every tile; how often acc was used before */
};

/* What one instruction set offers. */
struct reel_cpu_isa {
    const char *name;
    int mr, nr; /* register tile: rows of A, rows of B */
    /**
     * tile - rows [i0,i1) by columns [j0,j1) of g. Local, one thread.
     * @mem  reel_gemm_mem floats of scratch, 64-aligned
     */
    void (*tile)(const struct reel_gemm *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1, float *mem);
    /* floats of scratch for a tile of ni x nj */
    size_t (*tile_mem)(const struct reel_gemm *g, int64_t ni, int64_t nj);
    /** colsum - out[j] = (+ if acc) sum over k of m(j0+j, k0+k), n <= REEL_COLS columns, f64. Local. */
    void (*colsum)(double *out, const struct reel_mat *m, int64_t j0, int64_t n, int64_t k0, int64_t len, int acc);
    /** peak - runs n rounds of independent multiply-adds in registers; the flops done. For benches. */
    double (*peak)(int64_t n);
    /** attn_fwd - o, lse of queries [i0,i1). Local, one thread; mem 64-aligned. */
    void (*attn_fwd)(const struct reel_attn *a, int64_t i0, int64_t i1, float *mem);
    size_t (*attn_fwd_mem)(int64_t hd, int64_t nq);
    /** attn_delta - delta of queries [i0,i1). */
    void (*attn_delta)(const struct reel_attn *a, float *delta, int64_t i0, int64_t i1);
    /** attn_bwd - dk, dv of keys [k0,k1) (at most REEL_ATTN_KT; of a cache, all of one range) and their part of dq, in turn. */
    void (*attn_bwd)(const struct reel_attn *a, struct reel_attn_turn *t, int64_t k0, int64_t k1, float *mem);
    size_t (*attn_bwd_mem)(int64_t hd);
};

const struct reel_cpu_isa *reel_cpu_isa(void); /* the best this processor runs */
extern const struct reel_cpu_isa reel_isa_portable, reel_isa_avx2, reel_isa_avx512, reel_isa_avx512bf16;

#endif
