/* Sparse attention for AVX-512F. A tile of 64 tokens is one panel: 4 x 64 registers are 16 sums, 4 of B, 1 of A. */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
#define W 16
#define MR 4
#define NV 4
#include "kernels/cpu/gemm_vec.h"
#include "kernels/cpu/gemm_tile.inc"
#include "kernels/cpu/vsa.inc"

const struct reel_vsa_isa reel_vsa_avx512 = REEL_VSA_TABLE;
#endif
