/* The loops for x86-64 processors with avx2; empty elsewhere. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3", "no-math-errno", "no-trapping-math")
#pragma GCC target("avx2,fma,f16c")
#define REEL_ISA avx2
#include "kernels/cpu/loops.inc"
#else
#include "kernels/kernels.h"
const struct reel_backend_ops reel_cpu_ops_avx2;
#endif
