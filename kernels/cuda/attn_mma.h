#ifndef REEL_KERNELS_CUDA_ATTN_MMA_H
#define REEL_KERNELS_CUDA_ATTN_MMA_H

/* Attention's steps for bf16 on tensor cores. A warp owns M times 16 rows; the other side of a product lies in shared
 * memory, STEP rows of it, D features wide (narrower heads are filled up with zeros) and 16 bytes more, so
 * that the 8 rows of an 8x8 matrix lie in different banks. With g = lane / 4 and t = lane % 4 a lane holds, of an
 * accumulator x[n], rows g (x[n][0], x[n][1]) and g + 8 (x[n][2], x[n][3]), columns 8n + 2t and the next. */

#include "kernels/cuda/attn.h"

#define THREADS 128 /* 4 warps */

typedef __nv_bfloat16 bf16;

template <int D> struct width {
    enum { LD = D + 8 }; /* elements from row to row in shared memory */
};

/* 8 elements of a row of which [0,n) exist; unaligned */
__device__ __forceinline__ uint4 load8(const bf16 *p, int n)
{
    bf16 x[8];
    uint4 u;

#pragma unroll
    for (int i = 0; i < 8; i++) x[i] = i < n ? p[i] : __float2bfloat16(0);
    memcpy(&u, x, sizeof u);
    return u;
}

/* dst[r][D] = row first + r of src for r in [lo,hi) and zeros elsewhere; asynchronous: wait for the group. A row of odd
 * width or alignment is copied at once, element by element. cache: rows that are not in use are not read. */
template <int D, int ROWS>
__device__ __forceinline__ void load_rows(bf16 *dst, const bf16 *src, const struct attn &a, int first, int lo, int hi,
                                          int cache = 0)
{
    for (int i = threadIdx.x; i < ROWS * D / 8; i += THREADS) {
        int r = i / (D / 8), c = i % (D / 8) * 8;
        bool there = lo <= r && r < hi && c < a.hd && (!cache || in_use(a, first + r));
        const bf16 *from = there ? src + token(a, first + r) * a.ld + c : src;
        if (a.hd % 8 == 0)
            cp_async16(dst + r * width<D>::LD + c, from, there);
        else
            st_vec(dst + r * width<D>::LD + c, load8(from, there ? a.hd - c : 0));
    }
}

/* Two tensors' rows of a block into a stage, [2][STEP][LD]; closes the group. */
template <int D>
__device__ __forceinline__ void load_pair(bf16 *stage, const bf16 *x, const bf16 *y, const struct attn &a, const struct block &b)
{
    load_rows<D, STEP>(stage, x, a, b.first, b.lo, b.hi);
    load_rows<D, STEP>(stage + STEP * width<D>::LD, y, a, b.first, b.lo, b.hi);
    cp_async_commit();
}

/* The 16 x 16 operand of rows 0..15, features d..d+15 */
template <int D> __device__ __forceinline__ void load_a(uint32_t (&f)[4], const bf16 *rows, int d)
{
    int lane = threadIdx.x & 31;

    ldmatrix_x4(f, rows + (lane & 15) * width<D>::LD + d + (lane >> 4) * 8);
}

template <int M, int N> __device__ __forceinline__ void clear(float (&x)[M][N][4])
{
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < N; n++) x[m][n][0] = x[m][n][1] = x[m][n][2] = x[m][n][3] = 0;
}

/* s[16 M, STEP] += f[16 M, 16] y^T, f the features from d on of the warp's rows, y[STEP, D] */
template <int D, int M>
__device__ __forceinline__ void dots(float (&s)[M][STEP / 8][4], const uint32_t (&f)[M][4], const bf16 *y, int d)
{
    int lane = threadIdx.x & 31;

#pragma unroll
    for (int n = 0; n < STEP / 8; n += 2) {
        uint32_t r[4];
        ldmatrix_x4(r, y + (n * 8 + (lane >> 4) * 8 + (lane & 7)) * width<D>::LD + d + (lane >> 3 & 1) * 8);
        const uint32_t b0[2] = { r[0], r[1] }, b1[2] = { r[2], r[3] };
#pragma unroll
        for (int m = 0; m < M; m++) {
            mma_m16n8k16_bf16(s[m][n], f[m], b0);
            mma_m16n8k16_bf16(s[m][n + 1], f[m], b1);
        }
    }
}

/* s[16 M, STEP] = x y^T, x[16 M, D] the warp's rows in shared memory */
template <int D, int M>
__device__ __forceinline__ void scores(float (&s)[M][STEP / 8][4], const bf16 *x, const bf16 *y)
{
    clear(s);
#pragma unroll
    for (int d = 0; d < D; d += 16) {
        uint32_t f[M][4];
#pragma unroll
        for (int m = 0; m < M; m++) load_a<D>(f[m], x + m * 16 * width<D>::LD, d);
        dots<D, M>(s, f, y, d);
    }
}

/* o[16 M, D] += p[16 M, STEP] y[STEP, D] */
template <int D, int M>
__device__ __forceinline__ void weigh(float (&o)[M][D / 8][4], const uint32_t (&p)[M][STEP / 16][4], const bf16 *y)
{
    int lane = threadIdx.x & 31;

#pragma unroll
    for (int k = 0; k < STEP / 16; k++)
#pragma unroll
        for (int n = 0; n < D / 8; n += 2) {
            uint32_t r[4];
            ldmatrix_x4_trans(r, y + (k * 16 + (lane & 15)) * width<D>::LD + (n + (lane >> 4)) * 8);
            const uint32_t b0[2] = { r[0], r[1] }, b1[2] = { r[2], r[3] };
#pragma unroll
            for (int m = 0; m < M; m++) {
                mma_m16n8k16_bf16(o[m][n], p[m][k], b0);
                mma_m16n8k16_bf16(o[m][n + 1], p[m][k], b1);
            }
        }
}

/* Rows of queries: what half h of them holds of keys outside [seen.x, seen.y) of the block becomes `none`. */
__device__ __forceinline__ void hide(float (&s)[STEP / 8][4], int h, int2 seen, float none)
{
#pragma unroll
    for (int n = 0; n < STEP / 8; n++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            int key = n * 8 + (int)(threadIdx.x & 3) * 2 + i;
            if (key < seen.x || key >= seen.y) s[n][2 * h + i] = none;
        }
}

/* An accumulator's layout is that of the next product's left operand: two columns of 8 make one of 16. */
__device__ __forceinline__ void pack(uint32_t (&p)[STEP / 16][4], const float (&s)[STEP / 8][4])
{
#pragma unroll
    for (int n = 0; n < STEP / 8; n++) {
        p[n / 2][n % 2 * 2] = pack_bf16(s[n][0], s[n][1]);
        p[n / 2][n % 2 * 2 + 1] = pack_bf16(s[n][2], s[n][3]);
    }
}

/* The place of a warp's 16 result rows: dst + token * ld, rows first.. of which n exist. */
struct result {
    bf16 *dst;
    int first, n;
    const bf16 *coarse; /* of the rows' tile, or NULL: a row that is added, times `share` */
    float share;
};

/* x times mul (rows g and g + 8) to memory, rounded once, by way of the warp's own rows of shared memory, so that
 * whole lines are written. */
template <int D>
__device__ __forceinline__ void store_rows(bf16 *rows, const float (&x)[D / 8][4], float mul0, float mul1,
                                           const struct attn &a, const struct result &to)
{
    int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;

    __syncwarp();
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
        int c = n * 8 + t * 2;
        float more0 = to.coarse && c < a.hd ? __bfloat162float(to.coarse[c]) * to.share : 0;
        float more1 = to.coarse && c + 1 < a.hd ? __bfloat162float(to.coarse[c + 1]) * to.share : 0;
        st_vec(rows + g * width<D>::LD + c, pack_bf16(x[n][0] * mul0 + more0, x[n][1] * mul0 + more1));
        st_vec(rows + (g + 8) * width<D>::LD + c, pack_bf16(x[n][2] * mul1 + more0, x[n][3] * mul1 + more1));
    }
    __syncwarp();
    for (int i = lane; i < 16 * D / 8; i += 32) {
        int r = i / (D / 8), c = i % (D / 8) * 8;
        if (r >= to.n || c >= a.hd) continue;
        bf16 *dst = to.dst + token(a, to.first + r) * a.ld + c;
        const bf16 *src = rows + r * width<D>::LD + c;
        if (a.hd % 8 == 0)
            st_vec(dst, ld_vec<uint4>(src));
        else
            for (int j = 0; j < 8 && c + j < a.hd; j++) dst[j] = src[j];
    }
}

#endif
