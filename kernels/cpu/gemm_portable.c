/* Plain C: GCC vectors of four, which every processor has in one form or another. */
#define W 4
#define MR 4
#define NV 2
#include "kernels/cpu/gemm_vec.h"
#include "kernels/cpu/gemm.inc"
#include "kernels/cpu/attn.inc"

const struct reel_cpu_isa reel_isa_portable = REEL_ISA_TABLE("portable");
