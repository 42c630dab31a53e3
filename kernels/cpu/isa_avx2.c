/* The loops for x86-64 processors with avx2; empty elsewhere. */
#if defined(__x86_64__) && defined(__GNUC__)
#include "kernels/cpu/target.h"

REEL_LOOPS
REEL_TARGET("avx2,fma")
#define REEL_ISA avx2
#include "kernels/cpu/loops.inc"

REEL_TARGET_END
#else
#include "kernels/kernels.h"
const struct reel_backend_ops reel_cpu_ops_avx2;
#endif
