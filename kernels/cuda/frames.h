#ifndef REEL_KERNELS_CUDA_FRAMES_H
#define REEL_KERNELS_CUDA_FRAMES_H

/* Losses over latents: a block per frame, whose threads make elements and add terms in f64; thread t takes elements
 * 4t.. of every 4*FRAME_THREADS, so that the sum depends on the frame alone. */

#include "kernels/cuda/vec.h"

#define FRAME_THREADS 512

/* F is made of (arguments, frame); f.four(i, n, wide) makes elements i..i+n-1 of all frames, n <= 4, and gives the sum of
 * their terms. */
template <class F, class Args>
__global__ void __launch_bounds__(FRAME_THREADS) frame_kernel(const Args a, double *sum, int64_t inner, bool wide)
{
    SHARED(double, part, [FRAME_THREADS / 32]);
    const int64_t frame = blockIdx.x;
    const F f(a, frame);
    double s = 0;

    for (int64_t i = 4 * threadIdx.x; i < inner; i += 4 * FRAME_THREADS)
        s += f.four(frame * inner + i, (int)min(inner - i, (int64_t)4), wide);
    for (int o = 16; o; o /= 2) s += __shfl_xor_sync(0xffffffffu, s, o);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = s;
    __syncthreads();
    if (threadIdx.x) return;
    for (int w = 1; w < FRAME_THREADS / 32; w++) s += part[w];
    sum[frame] = s;
}

template <class F, class Args>
static void frames_run(const struct reel_stream *s, const Args &a, double *sum, int64_t frames, int64_t inner, bool wide)
{
    if (frames < 1) return;
    LAUNCH((frame_kernel<F, Args>), dim3((unsigned)frames), dim3(FRAME_THREADS), 0, reel_cuda_stream(s), a, sum, inner,
           wide && inner % 4 == 0);
}

#endif
