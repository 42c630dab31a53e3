#ifndef REEL_KERNELS_CUDA_PRODUCT_H
#define REEL_KERNELS_CUDA_PRODUCT_H

/* One matrix product of cuBLASLt, made `batch` times: D[n][m] = sum over k of A(m,k) B(n,k), rows of D ldd apart.
 * The library picks its order of sums by the shape, so the algorithm is chosen once for a shape, without regard to batch
 * and strides, and whoever asks for the same shape gets the same bits. Sums are f32, never split over k. */

#include "kernels/cuda/cuda.h"

struct product {
    int dt, out;                /* dtype of A and B; of D */
    int ta, tb;                 /* A(m,k) is a[k*lda + m], with ta a[m*lda + k]; B(n,k) is b[n*ldb + k], with tb b[k*ldb + n] */
    int64_t m, n, k, lda, ldb, ldd;
    int batch;
    int64_t sa, sb, sd, sbias;  /* elements from one of a batch to the next */
    int add;                    /* D += */
    int unit_a, unit_b, unit_d; /* every address of A, B, D is a multiple of that many elements */
};

/* What is left to do when its sum x is made, in this order: + bias, kept in pre, GELU, + what was in y; then rounded once. y may
 * be x. */
struct product_end {
    void *y, *pre;        /* [m,n] of one dtype; pre, bias: may be NULL */
    const float *x, *bias;
    int64_t m, n;
    int gelu, add;
};

#ifdef __cplusplus
extern "C" {
#endif
/* bias: NULL, or m numbers of D's dtype, added last */
void product_run(struct reel_stream *s, const struct product *p, void *d, const void *a, const void *b, const void *bias);
/* sum.cu */
void product_end_run(const struct reel_stream *s, int dt, const struct product_end *e);
#ifdef __cplusplus
}
#endif

#endif
