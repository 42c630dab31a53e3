/* Sparse attention in plain C. */
#define W 4
#define MR 4
#define NV 2
#include "kernels/cpu/gemm_vec.h"
#include "kernels/cpu/gemm_tile.inc"
#include "kernels/cpu/vsa.inc"

const struct reel_vsa_isa reel_vsa_portable = REEL_VSA_TABLE;
