#ifndef REEL_KERNELS_CUDA_VEC_H
#define REEL_KERNELS_CUDA_VEC_H

/* Elements of memory as floats: one, or those of a thread in accesses of sixteen bytes. */

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/simt.h"
#include "kernels/pieces.h"
#include "kernels/scalar.h"

/* The statements in `...` with DT a constant, so that each dtype gets its own kernel. */
#define BY_DT(dt, ...)                                                                             \
    do {                                                                                           \
        if ((dt) == REEL_BF16) {                                                                   \
            constexpr int DT = REEL_BF16;                                                          \
            __VA_ARGS__;                                                                           \
        } else {                                                                                   \
            constexpr int DT = REEL_F32;                                                           \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
    } while (0)

REEL_HD int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }

/* Blocks of a grid that strides over its work: some waves of the largest devices. Results do not depend on it; the
 * checked build has few, so that grids stride. */
#ifndef MAX_BLOCKS
#define MAX_BLOCKS 2048
#endif

static inline bool aligned16(const void *p) { return ((uintptr_t)p & 15) == 0; } /* NULL is */

template <int DT> __device__ __forceinline__ float ld1(const void *p, int64_t i)
{
    if constexpr (DT == REEL_F32) return ((const float *)p)[i];
    else if constexpr (DT == REEL_BF16) return reel_bf16_f32(((const uint16_t *)p)[i]);
    else return reel_f16_f32(((const uint16_t *)p)[i]);
}

template <int DT> __device__ __forceinline__ void st1(void *p, int64_t i, float x)
{
    if constexpr (DT == REEL_F32) ((float *)p)[i] = x;
    else ((uint16_t *)p)[i] = (uint16_t)pack_bf16(x, 0);
}

/* As an element of type DT holds it. */
template <int DT> __device__ __forceinline__ float rounded(float x)
{
    if constexpr (DT == REEL_F32) return x;
    else return reel_bf16_f32((uint16_t)pack_bf16(x, 0));
}

/* Elements of sixteen bytes */
template <int DT> constexpr int PER16 = DT == REEL_F32 ? 4 : 8;

template <int DT> __device__ __forceinline__ void ld16(float *x, const void *p, int64_t i)
{
    if constexpr (DT == REEL_F32) {
        const float4 a = ld_vec<float4>((const float *)p + i);
        x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w;
    } else {
        const uint4 u = ld_vec<uint4>((const uint16_t *)p + i);
        const uint32_t w[4] = { u.x, u.y, u.z, u.w };
        for (int j = 0; j < 4; j++) {
            const uint16_t lo = (uint16_t)w[j], hi = (uint16_t)(w[j] >> 16);
            x[2 * j] = DT == REEL_F16 ? reel_f16_f32(lo) : reel_bf16_f32(lo);
            x[2 * j + 1] = DT == REEL_F16 ? reel_f16_f32(hi) : reel_bf16_f32(hi);
        }
    }
}

template <int DT> __device__ __forceinline__ void st16(void *p, int64_t i, const float *x)
{
    if constexpr (DT == REEL_F32)
        stg_vec((float *)p + i, make_float4(x[0], x[1], x[2], x[3]));
    else
        stg_vec((uint16_t *)p + i,
               make_uint4(pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]), pack_bf16(x[4], x[5]), pack_bf16(x[6], x[7])));
}

/* Elements i..i+n-1 of at most N, the others zero. wide: whole groups of N may go in accesses of 16 bytes. */
template <int DT, int N> __device__ __forceinline__ void ld(float (&x)[N], const void *p, int64_t i, int n, bool wide)
{
    if (wide && n == N) {
#pragma unroll
        for (int j = 0; j < N; j += PER16<DT>) ld16<DT>(x + j, p, i + j);
    } else {
#pragma unroll
        for (int j = 0; j < N; j++) x[j] = j < n ? ld1<DT>(p, i + j) : 0.0f;
    }
}

template <int DT, int N> __device__ __forceinline__ void st(void *p, int64_t i, int n, const float (&x)[N], bool wide)
{
    if (wide && n == N) {
#pragma unroll
        for (int j = 0; j < N; j += PER16<DT>) st16<DT>(p, i + j, x + j);
    } else {
#pragma unroll
        for (int j = 0; j < N; j++)
            if (j < n) st1<DT>(p, i + j, x[j]);
    }
}

/* in one order */
__device__ __forceinline__ float sum8(const float (&x)[8])
{
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

#endif
