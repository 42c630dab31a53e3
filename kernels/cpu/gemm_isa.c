#include "kernels/cpu/gemm.h"

const struct reel_cpu_isa *reel_cpu_isa(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return __builtin_cpu_supports("avx512bf16") ? &reel_isa_avx512bf16 : &reel_isa_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &reel_isa_avx2;
#endif
    return &reel_isa_portable;
}
