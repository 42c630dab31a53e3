/* AVX-512 with products of bfloat16 pairs (AMD since Zen 4, Intel since Cooper Lake). */
#if defined(__x86_64__)
#include "kernels/cpu/target.h"

REEL_TARGET("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")
#define W 16
#define MR 8
#define NV 3
#define DOT2 1
#include "kernels/cpu/gemm_vec.h"
#include "kernels/cpu/gemm.inc"
#include "kernels/cpu/attn.inc"

const struct reel_cpu_isa reel_isa_avx512bf16 = REEL_ISA_TABLE("avx512_bf16");
REEL_TARGET_END
#endif
