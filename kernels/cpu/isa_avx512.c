/* The loops for x86-64 processors with avx512; empty elsewhere. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3", "no-math-errno", "no-trapping-math")
#pragma GCC target("avx2,fma,f16c,avx512f,avx512vl,avx512bw,avx512dq,prefer-vector-width=512")
#define REEL_ISA avx512
#include "kernels/cpu/loops.inc"
#else
#include "kernels/kernels.h"
const struct reel_backend_ops reel_cpu_ops_avx512;
#endif
