#ifndef REEL_KERNELS_CUDA_MAP_H
#define REEL_KERNELS_CUDA_MAP_H

/* Element-wise operators: y[i] = F(y[i], x[i], z[i]), sixteen bytes a thread, in `groups` of n elements that share
 * what F reads once per group (a noise level, a channel's mean). One group: plain arrays. */

#include "kernels/cuda/vec.h"

enum { READ_X = 1, READ_Y = 2, READ_Z = 4 };

struct map {
    void *y;
    const void *x, *z;
    const float *p, *q; /* numbers of a group */
    float a, b;
    double scale;
    int64_t n, groups, per; /* per: of the numbers, where groups repeat them */
};

#define MAP_THREADS 256

/* F has `enum { READS }` and is made of (map, group): F(m, g)(y, x, z). y may be x or z. */
template <int DT, class F> __global__ void __launch_bounds__(MAP_THREADS) map_kernel(struct map m, bool wide)
{
    constexpr int N = PER16<DT>;
    const int64_t first = ((int64_t)blockIdx.x * MAP_THREADS + threadIdx.x) * N, step = (int64_t)gridDim.x * MAP_THREADS * N;

    for (int64_t g = blockIdx.y; g < m.groups; g += gridDim.y) {
        const F f(m, g);
        for (int64_t i = first; i < m.n; i += step) {
            const int64_t at = g * m.n + i;
            const int n = (int)min(m.n - i, (int64_t)N);
            float y[N] = { 0 }, x[N] = { 0 }, z[N] = { 0 };

            if (F::READS & READ_X) ld<DT>(x, m.x, at, n, wide);
            if (F::READS & READ_Y) ld<DT>(y, m.y, at, n, wide);
            if (F::READS & READ_Z) ld<DT>(z, m.z, at, n, wide);
#pragma unroll
            for (int j = 0; j < N; j++) y[j] = f(y[j], x[j], z[j]);
            st<DT>(m.y, at, n, y, wide);
        }
    }
}

/* Blocks for `groups` of n elements, `each` a thread, at most MAX_BLOCKS in all. */
static inline dim3 map_grid(int64_t n, int64_t groups, int each)
{
    int64_t x = lesser(reel_ceil_div(n, each * MAP_THREADS), MAX_BLOCKS), y = lesser(groups, MAX_BLOCKS / x);

    return dim3((unsigned)x, (unsigned)y);
}

template <int DT, class F> static void map_run(const struct reel_stream *s, struct map m)
{
    bool wide = aligned16(m.y) && aligned16(m.x) && aligned16(m.z) && (m.groups == 1 || m.n % PER16<DT> == 0);

    if (m.n < 1 || m.groups < 1) return;
    LAUNCH((map_kernel<DT, F>), map_grid(m.n, m.groups, PER16<DT>), dim3(MAP_THREADS), 0, reel_cuda_stream(s), m, wide);
}

#endif
