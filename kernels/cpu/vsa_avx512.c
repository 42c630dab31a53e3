/* Sparse attention for AVX-512F. 8 x 16 registers: 8 sums, as many as hide the latency of two units. */
#if defined(__x86_64__)
#include "kernels/cpu/target.h"

REEL_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
#define W 16
#define MR 8
#define NV 1
#include "kernels/cpu/gemm_vec.h"
#include "kernels/cpu/gemm_tile.inc"
#include "kernels/cpu/vsa.inc"

const struct reel_vsa_isa reel_vsa_avx512 = REEL_VSA_TABLE;
REEL_TARGET_END
#endif
