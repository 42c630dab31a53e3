/* AVX-512F. 8 x 48 registers: 24 sums, 3 of B, 1 of A. */
#if defined(__x86_64__)
#include "kernels/cpu/target.h"

REEL_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
#define W 16
#define MR 8
#define NV 3
#include "kernels/cpu/gemm_vec.h"
#include "kernels/cpu/gemm.inc"
#include "kernels/cpu/attn.inc"

const struct reel_cpu_isa reel_isa_avx512 = REEL_ISA_TABLE("avx512");
REEL_TARGET_END
#endif
