#ifndef REEL_KERNELS_CUDA_SIMT_H
#define REEL_KERNELS_CUDA_SIMT_H

/* The vocabulary of the CUDA kernels, for two compilers. nvcc gives it hardware: launches, inline PTX.
 * g++ gives it the executor of tests/cuda, which runs every thread of a grid on the host and checks
 * it. A kernel uses plain CUDA C++ and what is declared here, nothing else, so that whatever runs on
 * a GPU has run under the executor. Tensor instructions are those of sm_80. */

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __CUDACC__

/* LAUNCH((kernel<256>), grid, block, bytes of dynamic shared memory, stream, arguments...) */
#define LAUNCH(kernel, grid, block, smem, stream, ...)                                                       \
    (kernel)<<<(grid), (block), (smem), (stream)>>>(__VA_ARGS__)
/* SHARED(float, tile, [32][33]): a static array; DYN_SHARED(float, tile): the launch's dynamic bytes */
#define SHARED(T, name, ...) __shared__ T name __VA_ARGS__
#define DYN_SHARED(T, name)                                                                                  \
    extern __shared__ __align__(128) unsigned char simt_dynamic[];                                           \
    T *name = reinterpret_cast<T *>(simt_dynamic)
/* more than 48 KiB of dynamic shared memory must be asked for, once before the first launch */
#define ALLOW_DYN_SHARED(kernel, bytes)                                                                      \
    cudaFuncSetAttribute((const void *)(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, (int)(bytes))

/* d[16,8] += a[16,16] b[16,8]. With g = lane / 4 and t = lane % 4, a register holds two neighbours,
 * the lower index in the low half:
 *   a[r]: row g + 8 (r & 1), columns 2t + 8 (r >> 1) and the next
 *   b[r]: rows 2t + 8 r and the next, column g
 *   d[i]: row g + 8 (i >> 1), column 2t + (i & 1)
 * PTX ISA, mma.m16n8k16. */
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4],
                                                  const uint32_t (&b)[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four 8x8 matrices of 16-bit elements: lane l gives the address of row l % 8 of matrix l / 8 (16
 * bytes, aligned); r[m] gets row lane / 4, columns 2 (lane % 4) and the next, of matrix m. */
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}

/* ... of the transposed matrices: rows 2 (lane % 4) and the next, column lane / 4. */
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}

/* 16 bytes from global to shared memory, there after the wait for their group; zeros if not `pred`
 * (src is not read then). */
__device__ __forceinline__ void cp_async16(void *smem, const void *src, bool pred)
{
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"((uint32_t)__cvta_generic_to_shared(smem)),
        "l"(src), "r"(pred ? 16 : 0)
        : "memory");
}
__device__ __forceinline__ void cp_async_commit()
{
    asm volatile("cp.async.commit_group;\n" ::: "memory");
}
/* Waits for this thread's groups but the last N; other threads see the data after a barrier. */
template <int N> __device__ __forceinline__ void cp_async_wait()
{
    asm volatile("cp.async.wait_group %0;\n" ::"n"(N) : "memory");
}

/* Barrier `id` (1..15; 0 is __syncthreads) of `threads` threads, a multiple of 32. */
__device__ __forceinline__ void bar_sync(int id, int threads)
{
    asm volatile("bar.sync %0, %1;\n" ::"r"(id), "r"(threads) : "memory");
}

/* One load or store of sizeof(V) bytes (float4, uint4, uint2, ...), aligned to as many. */
template <class V> __device__ __forceinline__ V ld_vec(const void *p)
{
    return *reinterpret_cast<const V *>(p);
}
template <class V> __device__ __forceinline__ void st_vec(void *p, V v)
{
    *reinterpret_cast<V *>(p) = v;
}

/* st_vec to device memory, in one instruction: nvcc may take a plain vector store apart to share it with a tail. */
__device__ __forceinline__ void stg_vec(void *p, uint4 v)
{
    asm volatile("st.global.v4.b32 [%0], {%1,%2,%3,%4};\n" ::"l"(__cvta_generic_to_global(p)), "r"(v.x), "r"(v.y),
                 "r"(v.z), "r"(v.w)
                 : "memory");
}
__device__ __forceinline__ void stg_vec(void *p, float4 v)
{
    stg_vec(p, make_uint4(__float_as_uint(v.x), __float_as_uint(v.y), __float_as_uint(v.z), __float_as_uint(v.w)));
}

#else
#include "simt_host.h"
#endif

/* Two floats rounded to bf16 in one register, `lo` in the low half: an element pair of mma's a and b. */
__device__ __forceinline__ uint32_t pack_bf16(float lo, float hi)
{
    __nv_bfloat162 v = __floats2bfloat162_rn(lo, hi);
    uint32_t u;

    memcpy(&u, &v, sizeof u);
    return u;
}

#endif
