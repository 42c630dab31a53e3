#ifndef REEL_KERNELS_CUDA_ATTN_PLAIN_H
#define REEL_KERNELS_CUDA_ATTN_PLAIN_H

/* Attention's steps in f32 fused multiply-adds: for f32, whose 24 bits tensor cores do not keep, and for bf16 heads wider
 * than 128. A thread block of 16 x 16 owns TR rows; thread (y,x) rows y + 16 i, of a STEP of the other side columns
 * x + 16 j, of a result features 4x.. and 4x + 64... Any width: features pass CHUNK at a time, and a result
 * wider than F is cut into slices for as many thread blocks, each of which forms the scores again. */

#include "kernels/cuda/attn.h"

#define TR 64
#define CHUNK 32
#define PAD 36 /* floats from row to row of CHUNK or STEP: 16-byte reads of 8 rows meet no bank twice */

__device__ __forceinline__ float f32(float x) { return x; }
__device__ __forceinline__ float f32(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ void put(float *p, float x) { *p = x; }
__device__ __forceinline__ void put(__nv_bfloat16 *p, float x) { *p = __float2bfloat16(x); }

/* Rows of a tensor, of which [lo,hi) are there, in a cache those in use; others are zeros. */
template <class T> struct source {
    const T *p;
    int first, lo, hi, cache;
};

/* dst[rows][pad] = features [d0,d0+width) of the rows, zeros where there are none */
template <class T>
__device__ __forceinline__ void fetch(float *dst, int pad, const struct source<T> &s, int rows, int d0, int width, const struct attn &a)
{
#pragma unroll 2
    for (int i = threadIdx.x; i < rows * width; i += 256) {
        int r = i / width, d = i % width;
        bool there = s.lo <= r && r < s.hi && d0 + d < a.hd && (!s.cache || in_use(a, s.first + r));
        dst[r * pad + d] = there ? f32(s.p[token(a, s.first + r) * a.ld + d0 + d]) : 0;
    }
}

/* Shared memory of a thread block. */
template <int F> struct plain_mem {
    float row[TR * PAD], col[STEP * PAD]; /* a chunk of the features of both sides */
    float w[TR * PAD];                    /* weights [rows][STEP] */
    float y[STEP * (F + 4)];              /* the features [STEP][F] that are weighed */
};

/* c[i][j] = row y + 16 i . column x + 16 j */
template <class T, int F>
__device__ __forceinline__ void plain_dots(float (&c)[4][2], struct plain_mem<F> &m, const struct source<T> &rows,
                                           const struct source<T> &cols, const struct attn &a)
{
    int x = threadIdx.x & 15, y = threadIdx.x >> 4;

#pragma unroll
    for (int i = 0; i < 4; i++) c[i][0] = c[i][1] = 0;
    for (int d0 = 0; d0 < a.hd; d0 += CHUNK) {
        __syncthreads();
        fetch(m.row, PAD, rows, TR, d0, CHUNK, a);
        fetch(m.col, PAD, cols, STEP, d0, CHUNK, a);
        __syncthreads();
#pragma unroll 1
        for (int d = 0; d < CHUNK; d += 4) {
            float4 v[2];
#pragma unroll
            for (int j = 0; j < 2; j++) v[j] = ld_vec<float4>(m.col + (x + 16 * j) * PAD + d);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float4 u = ld_vec<float4>(m.row + (y + 16 * i) * PAD + d);
#pragma unroll
                for (int j = 0; j < 2; j++)
                    c[i][j] = fmaf(u.w, v[j].w, fmaf(u.z, v[j].z, fmaf(u.y, v[j].y, fmaf(u.x, v[j].x, c[i][j]))));
            }
        }
    }
}

/* o[row y + 16 i][features of the thread] += sum over the STEP of weight w times features [f0,f0+F) of the rows of s. The
 * STEP's sum is formed by itself: one chain over all keys would lose another bit. */
template <class T, int F>
__device__ __forceinline__ void plain_weigh(float (&o)[4][F / 16], struct plain_mem<F> &m, const float (&w)[4][2],
                                            const struct source<T> &s, int f0, const struct attn &a)
{
    int x = threadIdx.x & 15, y = threadIdx.x >> 4;

    __syncthreads();
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 2; j++) m.w[(y + 16 * i) * PAD + x + 16 * j] = w[i][j];
    fetch(m.y, F + 4, s, STEP, f0, F, a);
    __syncthreads();
#pragma unroll
    for (int f = 0; f < F / 64; f++) {
        float t[4][4] = {};
#pragma unroll 2
        for (int k = 0; k < STEP; k++) {
            float4 v = ld_vec<float4>(m.y + k * (F + 4) + 64 * f + 4 * x);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float u = m.w[(y + 16 * i) * PAD + k];
                t[i][0] = fmaf(u, v.x, t[i][0]);
                t[i][1] = fmaf(u, v.y, t[i][1]);
                t[i][2] = fmaf(u, v.z, t[i][2]);
                t[i][3] = fmaf(u, v.w, t[i][3]);
            }
        }
#pragma unroll
        for (int i = 0; i < 16; i++) o[i / 4][4 * f + i % 4] += t[i / 4][i % 4];
    }
}

/* The thread's part of own row y + 16 i, if there is one: x times mul, plus `coarse` over the number of rows. */
template <class T, int F>
__device__ __forceinline__ void plain_store(T *dst, const float (&x)[F / 16], float mul, int i, const struct own &mine, int f0,
                                            const T *coarse, const struct attn &a)
{
    int r = (int)(threadIdx.x >> 4) + 16 * i;

    if (r >= mine.n) return;
#pragma unroll
    for (int f = 0; f < F / 16; f++) {
        int d = f0 + f / 4 * 64 + (int)(threadIdx.x & 15) * 4 + f % 4;
        if (d < a.hd) put(dst + token(a, mine.first + r) * a.ld + d, x[f] * mul + (coarse ? f32(coarse[d]) / mine.n : 0));
    }
}

#endif
