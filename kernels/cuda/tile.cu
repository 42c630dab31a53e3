/* Means over the tiles of a token grid, and the gate between a tile's value and its tokens'. A row of threads is a tile;
 * within it tokens are added in their order. */
#include "kernels/cuda/rows.h"

struct tiles {
    void *y, *dc;
    const void *x, *gate, *c, *dy;
    struct reel_tiles t;
    int64_t b, d;
    bool wide;
};

/* The tile of this row of threads: tokens lo..hi-1 of t.order, of the sample whose first token is base. */
struct tile {
    int64_t index, base;
    int lo, hi;
};

__device__ __forceinline__ struct tile own_tile(const struct tiles &a)
{
    const int64_t i = (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
    struct tile t = { i, i / a.t.n * a.t.s, 0, 0 };

    if (i < a.b * a.t.n) t.lo = a.t.start[i % a.t.n], t.hi = a.t.start[i % a.t.n + 1];
    return t;
}

template <int DT> __global__ void __launch_bounds__(ROW_THREADS) tile_mean_kernel(const struct tiles a)
{
    const struct tile t = own_tile(a);
    const struct cols c = own_cols(a.d);
    float sum[8] = { 0 }, x[8];

    if (t.lo == t.hi) return;
    for (int p = t.lo; p < t.hi; p++) {
        ld<DT>(x, a.x, (t.base + a.t.order[p]) * a.d + c.i, c.n, a.wide);
#pragma unroll
        for (int j = 0; j < 8; j++) sum[j] += x[j];
    }
#pragma unroll
    for (int j = 0; j < 8; j++) sum[j] /= (float)(t.hi - t.lo);
    st<DT>(a.y, t.index * a.d + c.i, c.n, sum, a.wide);
}

template <int DT> __global__ void __launch_bounds__(ROW_THREADS) tile_gate_fwd_kernel(const struct tiles a)
{
    const struct tile t = own_tile(a);
    const struct cols c = own_cols(a.d);
    float v[8], g[8], x[8];

    if (t.lo == t.hi) return;
    ld<DT>(v, a.c, t.index * a.d + c.i, c.n, a.wide);
    for (int p = t.lo; p < t.hi; p++) {
        const int64_t at = (t.base + a.t.order[p]) * a.d + c.i;
        ld<DT>(g, a.gate, at, c.n, a.wide);
        ld<DT>(x, a.x, at, c.n, a.wide);
#pragma unroll
        for (int j = 0; j < 8; j++) x[j] = g[j] * v[j] + x[j];
        st<DT>(a.y, at, c.n, x, a.wide);
    }
}

template <int DT> __global__ void __launch_bounds__(ROW_THREADS) tile_gate_bwd_kernel(const struct tiles a)
{
    const struct tile t = own_tile(a);
    const struct cols c = own_cols(a.d);
    float v[8], sum[8] = { 0 }, g[8], dy[8];

    if (t.lo == t.hi) return;
    ld<DT>(v, a.c, t.index * a.d + c.i, c.n, a.wide);
    for (int p = t.lo; p < t.hi; p++) {
        const int64_t at = (t.base + a.t.order[p]) * a.d + c.i;
        ld<DT>(g, a.gate, at, c.n, a.wide); /* before dgate, which may take the gate's place */
        ld<DT>(dy, a.dy, at, c.n, a.wide);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            sum[j] += g[j] * dy[j];
            dy[j] *= v[j];
        }
        st<DT>(a.y, at, c.n, dy, a.wide);
    }
    st<DT>(a.dc, t.index * a.d + c.i, c.n, sum, a.wide);
}

#define TILES_RUN(kernel)                                                                          \
    do {                                                                                           \
        const dim3 block = window_block(d);                                                        \
        if (b * t.n < 1) return;                                                                   \
        BY_DT(dt, LAUNCH((kernel<DT>), dim3((unsigned)reel_ceil_div(b * t.n, block.y), (unsigned)row_windows(d)), block, 0, \
                         reel_cuda_stream(s), a));                                                 \
    } while (0)

void reel_cuda_tile_mean(struct reel_stream *s, int dt, void *y, const void *x, struct reel_tiles t, int64_t b, int64_t d)
{
    struct tiles a = {};

    a.y = y, a.x = x, a.t = t, a.b = b, a.d = d, a.wide = d % 8 == 0 && aligned16(y) && aligned16(x);
    TILES_RUN(tile_mean_kernel);
    REEL_CUDA_LAUNCHED();
}

void reel_cuda_tile_gate_fwd(struct reel_stream *s, int dt, void *y, const void *gate, const void *c, const void *x,
                             struct reel_tiles t, int64_t b, int64_t d)
{
    struct tiles a = {};

    a.y = y, a.gate = gate, a.c = c, a.x = x, a.t = t, a.b = b, a.d = d;
    a.wide = d % 8 == 0 && aligned16(y) && aligned16(gate) && aligned16(c) && aligned16(x);
    TILES_RUN(tile_gate_fwd_kernel);
    REEL_CUDA_LAUNCHED();
}

void reel_cuda_tile_gate_bwd(struct reel_stream *s, int dt, void *dgate, void *dc, const void *dy, const void *gate,
                             const void *c, struct reel_tiles t, int64_t b, int64_t d)
{
    struct tiles a = {};

    a.y = dgate, a.dc = dc, a.dy = dy, a.gate = gate, a.c = c, a.t = t, a.b = b, a.d = d;
    a.wide = d % 8 == 0 && aligned16(dgate) && aligned16(dc) && aligned16(dy) && aligned16(gate) && aligned16(c);
    TILES_RUN(tile_gate_bwd_kernel);
    REEL_CUDA_LAUNCHED();
}
