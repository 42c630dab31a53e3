/* Convolutions: the numbers that a strip of results sums are laid out as a matrix, which is multiplied. */
#include "kernels/cuda/map.h"

#define STRIP_BYTES ((int64_t)64 << 20) /* of the matrix */

/* Elements of 16 bytes a thread where channels allow (N > 1). Results [row0, row0+rows) in raster order; the matrix is [rows, k], terms by tap, channels fastest. */
struct strip {
    struct reel_conv g;
    const void *x, *past;
    void *col;
    int64_t row0, rows, k;
};

/* Where tap `tap` of result `row` finds its channels: an element of x or, before[0] set, of past; -1: zeros. */
__device__ __forceinline__ int64_t channels_at(const struct strip &a, int64_t row, unsigned tap, bool *before)
{
    const struct reel_conv &g = a.g;
    const int64_t plane = g.oh * g.ow, j = row / plane;
    const unsigned in = (unsigned)(row - j * plane), area = (unsigned)(g.kh * g.kw), xy = tap % area;
    const int64_t f = j * g.st + tap / area - g.past;
    const int64_t r = (int64_t)(in / (unsigned)g.ow) * g.ss + xy / (unsigned)g.kw - g.pad;
    const int64_t q = (int64_t)(in % (unsigned)g.ow) * g.ss + xy % (unsigned)g.kw - g.pad;

    *before = f < 0;
    if (r < 0 || q < 0 || r >= g.h << g.up || q >= g.w << g.up || (f < 0 && !a.past)) return -1;
    return (((f < 0 ? f + g.past : f) * g.h + (r >> g.up)) * g.w + (q >> g.up)) * g.c;
}

template <int DT, int N> __global__ void __launch_bounds__(MAP_THREADS) col_kernel(const struct strip a)
{
    const int64_t per = a.k / N, all = a.rows * per, step = (int64_t)gridDim.x * MAP_THREADS;

    for (int64_t i = (int64_t)blockIdx.x * MAP_THREADS + threadIdx.x; i < all; i += step) {
        const int64_t row = i / per;
        const unsigned k = (unsigned)(i - row * per) * N, c = (unsigned)a.g.c, tap = k / c;
        float x[N] = {};
        bool before;
        const int64_t at = channels_at(a, a.row0 + row, tap, &before);

        if (at >= 0) ld<DT>(x, before ? a.past : a.x, at + k - tap * c, N, N > 1);
        st<DT>(a.col, row * a.k + k, N, x, N > 1);
    }
}

template <int DT> static void col_run(const struct reel_stream *s, const struct strip &a)
{
    constexpr int N = PER16<DT>;

    if (a.g.c % N == 0 && aligned16(a.x) && aligned16(a.past) && aligned16(a.col))
        LAUNCH((col_kernel<DT, N>), map_grid(a.rows * a.k, 1, N), dim3(MAP_THREADS), 0, reel_cuda_stream(s), a);
    else
        LAUNCH((col_kernel<DT, 1>), map_grid(a.rows * a.k, 1, 1), dim3(MAP_THREADS), 0, reel_cuda_stream(s), a);
}

/* A point of a frame is its own matrix. */
static bool plain(struct reel_conv g)
{
    return g.kt == 1 && g.kh == 1 && g.kw == 1 && g.st == 1 && g.ss == 1 && !g.pad && !g.up && g.oh == g.h && g.ow == g.w;
}

static int64_t strip_rows(int dt, struct reel_conv g)
{
    const int64_t most = STRIP_BYTES / ((reel_conv_k(g) + g.n) * bytes_of(dt));

    return lesser(most < 1 ? 1 : most, g.ot * g.oh * g.ow);
}

static struct reel_rows one_run(int64_t n) { return (struct reel_rows){ 1, n, 1, n, n, 0 }; }

static size_t whole(int64_t bytes) { return (size_t)reel_ceil_div(bytes, 256) * 256; }

extern "C" void reel_cuda_conv_fwd(struct reel_stream *s, int dt, void *y, const void *x, const void *past, const void *w, const float *bias,
                                   struct reel_conv g, int acc, void *tmp)
{
    const int64_t all = g.ot * g.oh * g.ow, k = reel_conv_k(g), most = strip_rows(dt, g), size = bytes_of(dt);
    void *rest = plain(g) ? tmp : (char *)tmp + whole(most * k * size);

    REEL_BUG_IF(k > INT32_MAX || g.oh * g.ow > UINT32_MAX, "cuda: convolution of %lld terms", (long long)k);
    for (int64_t row = 0; row < all; row += most) {
        const struct strip a = { g, x, past, tmp, row, lesser(most, all - row), k };
        const void *col = plain(g) ? (const char *)x + row * k * size : tmp;

        if (!plain(g)) BY_DT(dt, col_run<DT>(s, a));
        reel_cuda_linear_fwd(s, dt, (char *)y + row * g.n * size, NULL, col, w, bias, a.rows, g.n, k, one_run(a.rows), REEL_UNCUT,
                             acc ? REEL_EPI_ADD : REEL_EPI_NONE, rest);
    }
    REEL_CUDA_LAUNCHED();
}

extern "C" size_t reel_cuda_conv_fwd_tmp(struct reel_stream *s, int dt, struct reel_conv g)
{
    const int64_t rows = strip_rows(dt, g), k = reel_conv_k(g);

    return (plain(g) ? 0 : whole(rows * k * bytes_of(dt))) + reel_cuda_linear_fwd_tmp(s, dt, rows, g.n, k, one_run(rows), REEL_UNCUT);
}
