#ifndef REEL_KERNELS_CUDA_TREE_H
#define REEL_KERNELS_CUDA_TREE_H

/* Sums over leaves in the one binary tree over their indices (kernels/pieces.h), a column a thread. An index
 * without a leaf is a hole: the other half is taken as it is. */

#include "kernels/cuda/vec.h"
#include "kernels/pieces.h"

/* A sum that may be a hole. */
struct part {
    float x;
    bool have;
};

__device__ __forceinline__ struct part join(struct part a, struct part b)
{
    return (struct part){ !a.have ? b.x : b.have ? a.x + b.x : a.x, a.have || b.have };
}

/* The tree over get(0) .. get(7): loads first, so that they wait for memory together. */
template <class Get> __device__ __forceinline__ struct part tree8(const Get &get)
{
    struct part p[8];

#pragma unroll
    for (int j = 0; j < 8; j++) p[j] = get(j);
#pragma unroll
    for (int w = 1; w < 8; w *= 2)
#pragma unroll
        for (int j = 0; j < 8; j += 2 * w) p[j] = join(p[j], p[j + w]);
    return p[0];
}

/* The tree over the indices lo .. lo+span-1; span is a power of two, at most 8 << LEVELS, lo a multiple of it. Left
 * halves that wait for their right ones are the binary digits of the number of groups of eight done: a stack in registers. */
template <int LEVELS, class Get> __device__ __forceinline__ struct part tree(const Get &get, int64_t lo, int64_t span)
{
    struct part p = tree8([&](int j) { return j < span ? get(lo + j) : (struct part){ 0, false }; }), left[LEVELS] = { p };

    for (int n = 1; n < span / 8; n++) {
        p = tree8([&](int j) { return get(lo + 8 * n + j); });
#pragma unroll
        for (int l = 0; l < LEVELS; l++) {
            if (n >> l & 1) p = join(left[l], p);
            else left[l] = p; /* whole at the last n with these upper digits, which is the one that is read */
        }
    }
    return p;
}

#define TREE_LEVELS 10
#define TREE_THREADS 256
#define TREE_GROUPS  8

/* Where the sums go: job j's n columns to out(j) = to[j % k] + j / k * ld, added to what is there (acc) or not. */
struct tree_out {
    float *to[2];
    int64_t n, ld, jobs;
    int k, acc;
};

/* A block takes blockDim.x columns; its blockDim.y groups share the tree in equal, aligned parts.
 * Leaves::pick(job, range) makes the job's leaves and says which indices count, at(i) where leaf i's columns begin, or NULL. */
template <class Leaves> __global__ void __launch_bounds__(TREE_THREADS) tree_kernel(const Leaves all, const struct tree_out o)
{
    SHARED(float, sum, [TREE_GROUPS][TREE_THREADS]);
    SHARED(int, have, [TREE_GROUPS]);

    for (int64_t job = blockIdx.y; job < o.jobs; job += gridDim.y) {
        struct reel_range r;
        const Leaves leaves = all.pick(job, &r);
        const int64_t each = (r.hi - r.lo) / blockDim.y, span = each ? each : 1, lo = r.lo + threadIdx.y * span;
        float *out = (job % o.k ? o.to[1] : o.to[0]) + job / o.k * o.ld;

        for (int64_t c0 = (int64_t)blockIdx.x * blockDim.x; c0 < o.n; c0 += (int64_t)gridDim.x * blockDim.x) {
            const int64_t col = c0 + threadIdx.x;
            const bool here = col < o.n;
            struct part p = { 0, false };

            if (lo < r.hi)
                p = tree<TREE_LEVELS>(
                    [&](int64_t i) {
                        const float *x = leaves.at(i);
                        return (struct part){ x && here ? x[col] : 0, x != NULL };
                    },
                    lo, span);
            if (blockDim.y > 1) {
                sum[threadIdx.y][threadIdx.x] = p.x;
                if (threadIdx.x == 0) have[threadIdx.y] = p.have;
                __syncthreads();
                if (threadIdx.y == 0)
                    p = tree8([&](int j) {
                        return j < (int)blockDim.y ? (struct part){ sum[j][threadIdx.x], have[j] != 0 } : (struct part){ 0, false };
                    });
            }
            if (here && threadIdx.y == 0) {
                const float x = p.have ? p.x : 0;
                out[col] = o.acc ? out[col] + x : x;
            }
            if (blockDim.y > 1) __syncthreads(); /* sum is free for the next columns */
        }
    }
}

/* span: of the whole tree */
template <class Leaves> static void tree_run(const struct reel_stream *s, const Leaves &leaves, struct tree_out o, int64_t span)
{
    unsigned groups = 1;

    REEL_BUG_IF(span > TREE_GROUPS << (TREE_LEVELS + 3), "cuda: a tree over %lld pieces; at most %d", (long long)span,
                TREE_GROUPS << (TREE_LEVELS + 3));
    if (o.n < 1 || o.jobs < 1) return;
    while (groups < TREE_GROUPS && span / groups > 8) groups *= 2;
    const dim3 block(TREE_THREADS / groups, groups);
    const int64_t x = lesser(reel_ceil_div(o.n, block.x), 4 * MAX_BLOCKS), y = lesser(o.jobs, 4 * MAX_BLOCKS / x);
    LAUNCH((tree_kernel<Leaves>), dim3((unsigned)x, (unsigned)y), block, 0, reel_cuda_stream(s), leaves, o);
}

#endif
