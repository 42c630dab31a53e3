/* AVX2 and FMA (Intel since Haswell, AMD since Zen). 4 x 24 registers: 12 sums, 3 of B, 1 of A. */
#if defined(__x86_64__)
#include "kernels/cpu/target.h"

REEL_TARGET("avx2,fma")
#define W 8
#define MR 4
#define NV 3
#include "kernels/cpu/gemm_vec.h"
#include "kernels/cpu/gemm.inc"
#include "kernels/cpu/attn.inc"

const struct reel_cpu_isa reel_isa_avx2 = REEL_ISA_TABLE("avx2");
REEL_TARGET_END
#endif
