#ifndef REEL_TESTS_CUDA_FAKE_GEMM_H
#define REEL_TESTS_CUDA_FAKE_GEMM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Element (i,k) of a matrix: p[i*ld + k] if kcontig, else p[k*ld + i]; f32, or bf16. */
struct fake_mat {
    const void *p;
    int64_t ld;
    int kcontig, bf16;
};

/* out[j*m + i] = sum over k of a(i,k) b(j,k), i < m, j < n, f32: `pieces` sums over k, added in order. By the
 * engine of the CPU backend, whose bits depend on k alone. */
void fake_gemm(float *out, int64_t m, int64_t n, int64_t k, struct fake_mat a, struct fake_mat b, int pieces);

#ifdef __cplusplus
}
#endif

#endif
