/* Operators that have no kernel yet: weak, so that a kernel of the same name replaces its line. */
#include "kernels/cuda/cuda.h"

extern "C" {
#define REEL_OP(op, args) \
    __attribute__((weak)) void reel_cuda_##op args { reel_die_(__FILE__, __LINE__, "cuda: " #op " has no kernel"); }
#define REEL_TMP(op, args) \
    __attribute__((weak)) size_t reel_cuda_##op##_tmp args { return 0; }
#include "kernels/ops.def"
}
