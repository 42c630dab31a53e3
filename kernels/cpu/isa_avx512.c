/* The loops for x86-64 processors with avx512; empty elsewhere. */
#if defined(__x86_64__) && defined(__GNUC__)
#include "kernels/cpu/target.h"

REEL_LOOPS_512
REEL_TARGET("avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")
#define REEL_ISA avx512
#include "kernels/cpu/loops.inc"

REEL_TARGET_END
#else
#include "kernels/kernels.h"
const struct reel_backend_ops reel_cpu_ops_avx512;
#endif
