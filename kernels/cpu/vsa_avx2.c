/* Sparse attention for AVX2 and FMA. 4 x 16 registers: 8 sums, as many as hide the latency of two units. */
#if defined(__x86_64__)
#include "kernels/cpu/target.h"

REEL_TARGET("avx2,fma")
#define W 8
#define MR 4
#define NV 2
#include "kernels/cpu/gemm_vec.h"
#include "kernels/cpu/gemm_tile.inc"
#include "kernels/cpu/vsa.inc"

const struct reel_vsa_isa reel_vsa_avx2 = REEL_VSA_TABLE;
REEL_TARGET_END
#endif
