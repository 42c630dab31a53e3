/* Kernels that use every word of simt.h as PTX means it, layouts written out again from its manual. Each fills
 * out[]; t_simt_words.cc knows what with. */

#include "kernels/cuda/simt.h"
#include "simt_clean.h"

typedef __nv_bfloat16 bf16;

/* Every thread of a grid of blocks, each once. */
__global__ void number_threads(float *out)
{
    unsigned t = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    unsigned b = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;

    out[b * (blockDim.x * blockDim.y * blockDim.z) + t] += (float)(1 + t + 1000 * b);
}

/* One warp: out[32 k + lane] of the k-th kind of shuffle of lane numbers. */
__global__ void shuffle_lanes(float *out)
{
    int l = (int)threadIdx.x;
    const uint32_t all = 0xffffffffu;

    out[l] = (float)__shfl_sync(all, l, 5);
    out[32 + l] = (float)__shfl_sync(all, l, l + 1, 8);
    out[64 + l] = (float)__shfl_xor_sync(all, l, 16);
    out[96 + l] = __shfl_xor_sync(all, (float)l, 3, 4);
    out[128 + l] = (float)__shfl_up_sync(all, l, 2);
    out[160 + l] = (float)__shfl_down_sync(all, (double)l, 3, 16);
    if (l < 16)
        out[192 + l] = (float)__shfl_xor_sync(0xffffu, l, 1); /* half a warp */
    else
        out[192 + l] = (float)__shfl_xor_sync(0xffff0000u, l, 2);
}

/* 70 threads, the last warp of 6 lanes. */
__global__ void vote(float *out)
{
    int t = (int)threadIdx.x;

    out[t] = (float)__popc(__ballot_sync(0xffffffffu, t % 3 == 0));
    out[128 + t] = (float)(__any_sync(0xffffffffu, t == 64) + 2 * __all_sync(0xffffffffu, t >= 32));
    out[256 + t] = (float)__reduce_add_sync(0xffffffffu, (uint32_t)t);
    out[384 + t] = (float)(__syncthreads_count(t % 2) + 100 * __syncthreads_and(t < 70));
    out[512 + t] = (float)(__syncthreads_or(t == 69) + 10 * __syncthreads_or(t == 70));
}

/* A tree of partial sums through shared memory, of 256 threads. */
__global__ void tree_sum(float *out)
{
    SHARED(float, s, [256]);
    int t = (int)threadIdx.x;

    s[t] = out[t];
    for (int step = 128; step > 0; step /= 2) {
        __syncthreads();
        if (t < step) s[t] += s[t + step];
    }
    if (!t) out[256] = s[0];
}

/* Warps 0 and 1 make rows together (barrier 2), warps 2 and 3 use them (barrier 1). With two buffers a row is
 * overwritten after the barrier of the next one, when its users are done. */
__global__ void hand_over(float *out)
{
    SHARED(float, part, [64]);
    SHARED(float, s, [2][64]);
    int t = (int)threadIdx.x;

    for (int row = 0; row < 6; row++) {
        if (t < 64) {
            part[t] = (float)(row * 100 + t);
            bar_sync(2, 64);
            s[row % 2][t] = part[63 - t];
            bar_sync(1, 128);
        } else {
            bar_sync(1, 128);
            out[row * 64 + t - 64] = s[row % 2][t - 64];
        }
    }
}

__global__ void count_all(int *n, unsigned *most)
{
    atomicAdd(n, 2);
    atomicMax(most, blockIdx.x * blockDim.x + threadIdx.x);
}

/* c[m,n] = a[m,k] b[n,k]^T (b_kn: b[k,n]), one warp per 16 x 16 of c; tiles of 16 k through two buffers. */
template <bool B_KN>
__device__ void fetch(bf16 *sa, bf16 *sb, const bf16 *a, const bf16 *b, int m, int n, int k, int k0)
{
    int l = (int)threadIdx.x, row = l / 2, col = l % 2 * 8, m0 = (int)blockIdx.y * 16,
        n0 = (int)blockIdx.x * 16;
    bool in_a = m0 + row < m && k0 + col < k,
         in_b = B_KN ? k0 + row < k && n0 + col < n : n0 + row < n && k0 + col < k;
    size_t at_b = B_KN ? (size_t)(k0 + row) * (size_t)n + (size_t)(n0 + col)
                       : (size_t)(n0 + row) * (size_t)k + (size_t)(k0 + col);

    cp_async16(sa + row * 24 + col, a + (in_a ? (size_t)(m0 + row) * (size_t)k + (size_t)(k0 + col) : 0),
               in_a);
    cp_async16(sb + row * 24 + col, b + (in_b ? at_b : 0), in_b);
    cp_async_commit();
}

template <bool B_KN> __global__ void multiply(const bf16 *a, const bf16 *b, float *c, int m, int n, int k)
{
    DYN_SHARED(bf16, smem); /* rows of 24: a fetch of 8 rows touches every bank once */
    bf16 *sa[2] = { smem, smem + 16 * 24 }, *sb[2] = { smem + 32 * 24, smem + 48 * 24 };
    int l = (int)threadIdx.x, tiles = (k + 15) / 16;
    float d[2][4] = { { 0, 0, 0, 0 }, { 0, 0, 0, 0 } };

    fetch<B_KN>(sa[0], sb[0], a, b, m, n, k, 0);
    for (int i = 0; i < tiles; i++) {
        uint32_t ra[4], rb[4];

        if (i + 1 < tiles)
            fetch<B_KN>(sa[(i + 1) % 2], sb[(i + 1) % 2], a, b, m, n, k, (i + 1) * 16);
        else
            cp_async_commit();
        cp_async_wait<1>();
        __syncwarp();
        ldmatrix_x4(ra, sa[i % 2] + l % 16 * 24 + l / 16 * 8);
        if (B_KN)
            ldmatrix_x4_trans(rb, sb[i % 2] + l % 16 * 24 + l / 16 * 8);
        else
            ldmatrix_x4(rb, sb[i % 2] + (l / 16 * 8 + l % 8) * 24 + l / 8 % 2 * 8);
        uint32_t b0[2] = { rb[0], rb[1] }, b1[2] = { rb[2], rb[3] };
        mma_m16n8k16_bf16(d[0], ra, b0);
        mma_m16n8k16_bf16(d[1], ra, b1);
        __syncwarp(); /* the buffer is read, the next fetch may overwrite it */
    }
    for (int i = 0; i < 8; i++) {
        int row = (int)blockIdx.y * 16 + l / 4 + i / 2 % 2 * 8,
            col = (int)blockIdx.x * 16 + i / 4 * 8 + l % 4 * 2 + i % 2;
        if (row < m && col < n) c[(size_t)row * (size_t)n + (size_t)col] = d[i / 4][i % 4];
    }
}

enum { MULTIPLY_SHARED = 4 * 16 * 24 * 2 };

void clean_multiply(const void *a, const void *b, float *c, int m, int n, int k, int b_kn)
{
    dim3 grid((unsigned)(n + 15) / 16, (unsigned)(m + 15) / 16);

    if (b_kn)
        LAUNCH((multiply<true>), grid, 32, MULTIPLY_SHARED, 0, (const bf16 *)a, (const bf16 *)b, c, m, n, k);
    else
        LAUNCH((multiply<false>), grid, 32, MULTIPLY_SHARED, 0, (const bf16 *)a, (const bf16 *)b, c, m, n, k);
}
void clean_number(float *out)
{
    LAUNCH(number_threads, dim3(3, 2, 2), dim3(33, 3, 2), 0, 0, out);
}
void clean_shuffle(float *out)
{
    LAUNCH(shuffle_lanes, 1, 32, 0, 0, out);
}
void clean_vote(float *out)
{
    LAUNCH(vote, 1, 70, 0, 0, out);
}
void clean_tree(float *out)
{
    LAUNCH(tree_sum, 1, 256, 0, 0, out);
}
void clean_hand_over(float *out)
{
    LAUNCH(hand_over, 1, 128, 0, 0, out);
}
void clean_count(int *n, unsigned *most)
{
    LAUNCH(count_all, 5, 96, 0, 0, n, most);
}
