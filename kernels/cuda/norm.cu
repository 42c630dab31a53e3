/* LayerNorm with modulation or weights; RMSNorm over the full width with rotation. */
#include "kernels/cuda/rows.h"

/* ---- LayerNorm ---- */

struct ln {
    void *y; /* y forward, dx backward */
    const void *x, *dy;
    float *mean, *rstd;
    const float *cmean, *crstd;
    const float *scale, *shift; /* first modulation row's, or weight and bias */
    float one;                  /* 1: y = xhat*(1+scale)+shift; 0: y = xhat*scale+shift */
    int64_t nper, ld, d;        /* modulation rows of a sample, their distance */
    struct reel_rows r;
    float eps;
    int acc;
    bool wide;
};

template <int DT> __global__ void __launch_bounds__(ROW_THREADS) ln_fwd_kernel(const struct ln a, int64_t steps)
{
    const struct cols c = own_cols(a.d);
    const int64_t rows = a.r.b * a.r.s;
    struct row_sum<1> over;
    float scale[8], shift[8];
    int64_t have = -1; /* the modulation row in scale and shift */

    for (int64_t k = 0; k < steps; k++) {
        const int64_t row = step_row(steps, k), at = row * a.d + c.i;
        const int n = row < rows ? c.n : 0;
        float x[8], s[1], mu, rs;

        ld<DT>(x, a.x, at, n, a.wide);
        s[0] = sum8(x);
        over(s);
        mu = s[0] / (float)a.d;
#pragma unroll
        for (int j = 0; j < 8; j++) x[j] = j < n ? x[j] - mu : 0.0f;
        s[0] = ((x[0] * x[0] + x[4] * x[4]) + (x[2] * x[2] + x[6] * x[6])) +
               ((x[1] * x[1] + x[5] * x[5]) + (x[3] * x[3] + x[7] * x[7]));
        over(s);
        rs = 1.0f / sqrtf(s[0] / (float)a.d + a.eps);
        if (n && threadIdx.x == 0) a.mean[row] = mu, a.rstd[row] = rs;
        if (n) {
            const int64_t b = (unsigned)row / (unsigned)a.r.s, m = reel_mod_at(&a.r, a.nper, a.ld, b, row - b * a.r.s);
            if (m != have) {
                ld<REEL_F32>(scale, a.scale, m + c.i, n, a.wide);
                ld<REEL_F32>(shift, a.shift, m + c.i, n, a.wide);
                have = m;
            }
#pragma unroll
            for (int j = 0; j < 8; j++) x[j] = x[j] * rs * (scale[j] + a.one) + shift[j];
            st<DT>(a.y, at, n, x, a.wide);
        }
    }
}

static void ln_fwd(const struct reel_stream *s, int dt, struct ln a)
{
    const dim3 block = row_block(reel_ceil_div(a.d, 8));
    const int64_t rows = a.r.b * a.r.s;

    if (rows < 1) return;
    REEL_BUG_IF(rows > UINT32_MAX, "cuda: %lld rows", (long long)rows);
    a.wide = a.d % 8 == 0 && aligned16(a.x) && aligned16(a.y) && aligned16(a.scale) && aligned16(a.shift) && a.ld % 4 == 0;
    BY_DT(dt, LAUNCH((ln_fwd_kernel<DT>), dim3(row_blocks(rows, block)), block, 0, reel_cuda_stream(s), a, row_steps(rows, block)));
}

void reel_cuda_ln_mod_fwd(struct reel_stream *s, int dt, void *y, float *mean, float *rstd, const void *x, const float *mod,
                          int64_t nmod, int64_t ld, int64_t shift, int64_t scale, int64_t d, struct reel_rows r, double eps)
{
    struct ln a = {};

    a.y = y, a.x = x, a.mean = mean, a.rstd = rstd, a.scale = mod + scale, a.shift = mod + shift, a.one = 1;
    a.nper = nmod / r.b, a.ld = ld, a.d = d, a.r = r, a.eps = (float)eps;
    ln_fwd(s, dt, a);
    REEL_CUDA_LAUNCHED();
}

void reel_cuda_ln_affine_fwd(struct reel_stream *s, int dt, void *y, float *mean, float *rstd, const void *x, const float *w,
                             const float *b, int64_t d, struct reel_rows r, double eps)
{
    struct ln a = {};

    a.y = y, a.x = x, a.mean = mean, a.rstd = rstd, a.scale = w, a.shift = b;
    a.nper = 1, a.d = d, a.r = r, a.eps = (float)eps;
    ln_fwd(s, dt, a);
    REEL_CUDA_LAUNCHED();
}

/* h = dy*(1+scale); dx = rstd (h - mean(h) - xhat mean(h xhat)); sums of dy and dy*xhat */
template <int DT> struct ln_bwd {
    struct ln a;
    struct row_sum<2> over;
    float scale[8];

    ln_bwd(const struct ln &args) : a(args) {}
    __device__ struct cols columns() const { return own_cols(a.d); }
    __device__ __forceinline__ void begin(int64_t b, int64_t tok, struct cols c)
    {
        ld<REEL_F32>(scale, a.scale, reel_mod_at(&a.r, a.nper, a.ld, b, tok) + c.i, c.n, a.wide);
    }
    __device__ __forceinline__ void row(int64_t row, int64_t, struct cols c, float (&sum)[2][8])
    {
        const int64_t at = row * a.d + c.i;
        const float mu = c.n ? a.cmean[row] : 0, rs = c.n ? a.crstd[row] : 0;
        float h[8], xh[8], t[8], s[2];

        ld<DT>(h, a.dy, at, c.n, a.wide);
        ld<DT>(xh, a.x, at, c.n, a.wide);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            xh[j] = j < c.n ? (xh[j] - mu) * rs : 0;
            sum[0][j] += h[j];
            sum[1][j] += h[j] * xh[j];
            h[j] *= scale[j] + a.one;
            t[j] = h[j] * xh[j];
        }
        s[0] = sum8(h);
        s[1] = sum8(t);
        over(s);
        s[0] /= (float)a.d;
        s[1] /= (float)a.d;
        if (a.acc) ld<DT>(t, a.y, at, c.n, a.wide);
#pragma unroll
        for (int j = 0; j < 8; j++) h[j] = (h[j] - s[0] - xh[j] * s[1]) * rs + (a.acc ? t[j] : 0.0f);
        st<DT>(a.y, at, c.n, h, a.wide);
    }
};

static struct sums ln_bwd_run(const struct reel_stream *s, int dt, struct ln a, float *tmp)
{
    const struct sums sums = { reel_pieces_make(a.r), a.nper, a.d, tmp, a.d % 8 == 0 && aligned16(tmp) };

    a.wide = sums.wide && aligned16(a.x) && aligned16(a.dy) && aligned16(a.y) && aligned16(a.scale) && a.ld % 4 == 0;
    BY_DT(dt, stretch_run<2>(s, ln_bwd<DT>(a), sums, row_block(reel_ceil_div(a.d, 8))));
    return sums;
}

void reel_cuda_ln_mod_bwd(struct reel_stream *s, int dt, void *dx, int acc, float *dmod, const void *dy, const void *x,
                          const float *mean, const float *rstd, const float *mod, int64_t nmod, int64_t ld, int64_t shift,
                          int64_t scale, int64_t d, struct reel_rows r, float *tmp)
{
    struct ln a = {};

    a.y = dx, a.x = x, a.dy = dy, a.cmean = mean, a.crstd = rstd, a.scale = mod + scale, a.one = 1;
    a.nper = nmod / r.b, a.ld = ld, a.d = d, a.r = r, a.acc = acc;
    row_sums_run(s, ln_bwd_run(s, dt, a, tmp), 2, 1, ld, 1, dmod + shift, dmod + scale);
    REEL_CUDA_LAUNCHED();
}

void reel_cuda_ln_affine_bwd(struct reel_stream *s, int dt, void *dx, int acc, float *dw, float *db, const void *dy,
                             const void *x, const float *mean, const float *rstd, const float *w, int64_t d,
                             struct reel_rows r, int pacc, float *tmp)
{
    struct ln a = {};
    struct sums sums;

    a.y = dx, a.x = x, a.dy = dy, a.cmean = mean, a.crstd = rstd, a.scale = w;
    a.nper = 1, a.d = d, a.r = r, a.acc = acc;
    sums = ln_bwd_run(s, dt, a, dw ? tmp : NULL);
    if (dw) row_sums_run(s, sums, 2, 0, 0, pacc, db, dw);
    REEL_CUDA_LAUNCHED();
}

/* ---- RMSNorm over the full width, then rotation of adjacent pairs within each head ---- */

/* A sum over a row is one sum per head, then the tree over the head's index, so that ranks with some of the heads make
 * the same bits. A head has `lanes` threads, a power of two, and threads beyond its columns idle: its sum is an
 * exchange within a warp, and the parts of a wide head are neighbours in the tree. */
struct rms {
    void *y; /* y forward, dx backward */
    const void *x, *dy;
    float *rstd, *made;
    const float *crstd, *w, *cos, *sin, *dots;
    int heads, all_heads, hd, lanes;
    int64_t d;
    struct reel_rows r;
    float eps;
    bool wide;
};

#define MAX_PARTS 1024

__device__ __forceinline__ struct cols rms_own(const struct rms &a)
{
    const int h = (int)threadIdx.x / a.lanes, j = (int)threadIdx.x % a.lanes * 8, n = h < a.heads ? a.hd - j : 0;

    return (struct cols){ h * a.hd + j, n < 0 ? 0 : n > 8 ? 8 : n };
}

/* x turned by the angles of token t, dir 1, or back, dir -1 */
__device__ __forceinline__ void turn(float (&x)[8], const struct rms &a, int64_t t, int n, float dir)
{
    const int64_t at = t * (a.hd / 2) + (int)threadIdx.x % a.lanes * 4;
    float co[4], si[4];

    ld<REEL_F32>(co, a.cos, at, n / 2, a.wide);
    ld<REEL_F32>(si, a.sin, at, n / 2, a.wide);
#pragma unroll
    for (int p = 0; p < 4; p++) {
        const float u = x[2 * p], v = x[2 * p + 1], s = si[p] * dir;
        x[2 * p] = u * co[p] + v * -s;
        x[2 * p + 1] = v * co[p] + u * s;
    }
}

/* The tree over x[0..n) for a whole warp, n <= MAX_PARTS: every lane gets the sum; holes are zeros. */
__device__ __forceinline__ float warp_tree(const float *x, int n)
{
    int each = 1;

    while (32 * each < n) each *= 2;
    const struct part p = tree<2>([&](int64_t i) { return (struct part){ i < n ? x[i] : 0, i < n }; }, threadIdx.x % 32 * each, each);
    float s = p.have ? p.x : 0;
    for (int o = 1; o < 32; o *= 2) s += __shfl_xor_sync(0xffffffffu, s, o);
    return s;
}

/* Sums of a row's heads; every thread of the block calls it with its part of a sum. */
struct head_sums {
    int which;
    __device__ head_sums() : which(0) {}

    /* parts of the heads of the row, in shared memory: `per` each, valid until the call after next */
    __device__ __forceinline__ const float *parts(float s, const struct rms &a, int *per)
    {
        SHARED(float, part, [2][MAX_PARTS]);
        const int width = a.lanes < 32 ? a.lanes : 32, count = (int)blockDim.x / width;
        float *own = part[which] + threadIdx.y * count;

        for (int o = width / 2; o; o /= 2) s += __shfl_xor_sync(0xffffffffu, s, o);
        if (threadIdx.x % width == 0) own[threadIdx.x / width] = s;
        __syncthreads();
        which ^= 1;
        *per = a.lanes / width;
        return own;
    }

    __device__ __forceinline__ float total(float s, const struct rms &a, int64_t row, bool here)
    {
        int per = 1, n = a.all_heads;
        const float *x = a.dots + row * n;

        if (!a.dots) {
            x = parts(s, a, &per);
            n = a.heads * per;
        } else if (!here) {
            n = 0;
        }
        return warp_tree(x, n);
    }
};

__device__ __forceinline__ float dot8(const float (&x)[8], const float (&y)[8])
{
    float t[8];

#pragma unroll
    for (int j = 0; j < 8; j++) t[j] = x[j] * y[j];
    return sum8(t);
}

template <int DT> __global__ void __launch_bounds__(ROW_THREADS) rms_fwd_kernel(const struct rms a, int64_t steps)
{
    const struct cols c = rms_own(a);
    const int64_t rows = a.r.b * a.r.s;
    struct head_sums over;
    float w[8];

    if (a.w) ld<REEL_F32>(w, a.w, c.i, c.n, a.wide);
    for (int64_t k = 0; k < steps; k++) {
        const int64_t row = step_row(steps, k), at = row * a.d + c.i;
        const bool here = row < rows;
        const int n = here ? c.n : 0;
        float x[8];

        ld<DT>(x, a.x, at, n, a.wide);
        if (a.w) {
            const float rs = 1.0f / sqrtf(over.total(dot8(x, x), a, row, here) / (float)(a.all_heads * a.hd) + a.eps);
            if (here && threadIdx.x == 0) a.rstd[row] = rs;
#pragma unroll
            for (int j = 0; j < 8; j++) x[j] = x[j] * rs * w[j];
        }
        if (a.cos) turn(x, a, (unsigned)row % (unsigned)a.r.s, n, 1);
        st<DT>(a.y, at, n, x, a.wide);
    }
}

template <int DT> __global__ void __launch_bounds__(ROW_THREADS) rms_dots_kernel(const struct rms a, int64_t steps)
{
    const struct cols c = rms_own(a);
    const int64_t rows = a.r.b * a.r.s;
    struct head_sums over;
    float w[8];

    if (a.dy) ld<REEL_F32>(w, a.w, c.i, c.n, a.wide);
    for (int64_t k = 0; k < steps; k++) {
        const int64_t row = step_row(steps, k), at = row * a.d + c.i;
        const int n = row < rows ? c.n : 0;
        float x[8], g[8];
        const float *part;
        int per;

        ld<DT>(x, a.x, at, n, a.wide);
        if (a.dy) {
            ld<DT>(g, a.dy, at, n, a.wide);
            if (a.cos) turn(g, a, (unsigned)row % (unsigned)a.r.s, n, -1);
#pragma unroll
            for (int j = 0; j < 8; j++) g[j] *= w[j];
        }
        part = over.parts(a.dy ? dot8(g, x) : dot8(x, x), a, &per);
        for (int h = (int)threadIdx.x; h < a.heads && row < rows; h += (int)blockDim.x)
            a.made[row * a.heads + h] =
                tree<2>([&](int64_t i) { return (struct part){ part[i], true }; }, h * per, per).x;
    }
}

/* g = dy turned back; dx = rstd (g*w - xhat mean(g*w*xhat)), xhat = x rstd; the sum of g*xhat */
template <int DT> struct rms_bwd {
    struct rms a;
    struct head_sums over;
    float w[8];

    rms_bwd(const struct rms &args) : a(args) {}
    __device__ struct cols columns() const { return rms_own(a); }
    __device__ __forceinline__ void begin(int64_t, int64_t, struct cols c)
    {
        if (a.w) ld<REEL_F32>(w, a.w, c.i, c.n, a.wide);
    }
    __device__ __forceinline__ void row(int64_t row, int64_t tok, struct cols c, float (&sum)[1][8])
    {
        const int64_t at = row * a.d + c.i;
        float g[8], x[8];

        ld<DT>(g, a.dy, at, c.n, a.wide);
        if (a.cos) turn(g, a, tok, c.n, -1);
        if (a.w) norm(g, x, row, tok, c, sum);
        st<DT>(a.y, at, c.n, g, a.wide);
    }
    __device__ __forceinline__ void norm(float (&g)[8], float (&x)[8], int64_t row, int64_t tok, struct cols c, float (&sum)[1][8])
    {
        const bool here = tok < a.r.s;
        const float rs = here ? a.crstd[row] : 0;
        float gw[8], m;

        ld<DT>(x, a.x, row * a.d + c.i, c.n, a.wide);
#pragma unroll
        for (int j = 0; j < 8; j++) gw[j] = g[j] * w[j];
        m = over.total(dot8(gw, x), a, row, here) * rs / (float)(a.all_heads * a.hd);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const float xh = x[j] * rs;
            sum[0][j] += g[j] * xh;
            g[j] = (gw[j] - xh * m) * rs;
        }
    }
};

static struct rms rms_args(const void *x, const float *w, const float *cos, const float *sin, int heads, int64_t d,
                           struct reel_rows r)
{
    struct rms a = {};

    a.x = x, a.w = w, a.cos = cos, a.sin = sin, a.heads = heads, a.d = d, a.r = r;
    a.hd = (int)(d / heads);
    a.lanes = (int)reel_pow2_up(reel_ceil_div(a.hd, 8));
    a.wide = a.hd % 8 == 0 && aligned16(x) && aligned16(w) && aligned16(cos) && aligned16(sin);
    REEL_BUG_IF(r.b * r.s > UINT32_MAX, "cuda: %lld rows", (long long)(r.b * r.s));
    return a;
}

/* Rows of a block: fewer if the parts of the heads' sums would not fit. */
static dim3 rms_block(const struct rms &a)
{
    dim3 block = row_block((int64_t)a.heads * a.lanes);

    while (block.y * block.x / (unsigned)lesser(a.lanes, 32) > MAX_PARTS) block.y /= 2;
    return block;
}

#define RMS_ROWS(kernel)                                                                           \
    do {                                                                                           \
        const dim3 block = rms_block(a);                                                           \
        const int64_t rows = r.b * r.s;                                                            \
        if (rows < 1) return;                                                                      \
        BY_DT(dt, LAUNCH((kernel<DT>), dim3(row_blocks(rows, block)), block, 0,                    \
                         reel_cuda_stream(s), a, row_steps(rows, block)));                         \
    } while (0)

void reel_cuda_rms_dots(struct reel_stream *s, int dt, float *dots, const void *dy, const void *x, const float *w,
                        const float *cos, const float *sin, int heads, int64_t d, struct reel_rows r)
{
    struct rms a = rms_args(x, dy ? w : NULL, dy ? cos : NULL, dy ? sin : NULL, heads, d, r);

    a.made = dots, a.dy = dy, a.wide = a.wide && aligned16(dy);
    RMS_ROWS(rms_dots_kernel);
    REEL_CUDA_LAUNCHED();
}

void reel_cuda_rms_rope_fwd(struct reel_stream *s, int dt, void *y, float *rstd, const void *x, const float *w,
                            const float *cos, const float *sin, int heads, int64_t d, struct reel_rows r, double eps,
                            const float *dots, int all_heads)
{
    struct rms a = rms_args(x, w, cos, sin, heads, d, r);

    a.y = y, a.rstd = rstd, a.eps = (float)eps, a.dots = dots, a.all_heads = all_heads, a.wide = a.wide && aligned16(y);
    RMS_ROWS(rms_fwd_kernel);
    REEL_CUDA_LAUNCHED();
}

void reel_cuda_rms_rope_bwd(struct reel_stream *s, int dt, void *dx, float *dw, const void *dy, const void *x,
                            const float *rstd, const float *w, const float *cos, const float *sin, int heads, int64_t d,
                            struct reel_rows r, int pacc, const float *dots, int all_heads, float *tmp)
{
    struct rms a = rms_args(x, w, cos, sin, heads, d, r);
    const struct sums sums = { reel_pieces_make(r), 1, d, dw ? tmp : NULL, a.hd % 8 == 0 && aligned16(tmp) };

    a.y = dx, a.dy = dy, a.crstd = rstd, a.dots = dots, a.all_heads = all_heads;
    a.wide = a.wide && aligned16(dx) && aligned16(dy);
    BY_DT(dt, stretch_run<1>(s, rms_bwd<DT>(a), sums, rms_block(a)));
    if (dw) row_sums_run(s, sums, 1, 0, 0, pacc, dw, NULL);
    REEL_CUDA_LAUNCHED();
}

/* ---- rows of unit length, times sqrt(d) w ---- */

struct unit {
    void *y;
    const void *x;
    const float *w;
    int64_t rows, d;
    int silu;
    bool wide;
};

template <int DT> __global__ void __launch_bounds__(ROW_THREADS) unit_kernel(const struct unit a, int64_t steps)
{
    const struct cols c = own_cols(a.d);
    struct row_sum<1> over;
    float w[8];

    ld<REEL_F32>(w, a.w, c.i, c.n, a.wide);
    for (int64_t k = 0; k < steps; k++) {
        const int64_t row = step_row(steps, k), at = row * a.d + c.i;
        const int n = row < a.rows ? c.n : 0;
        float x[8], t[8], s[1];

        ld<DT>(x, a.x, at, n, a.wide);
#pragma unroll
        for (int j = 0; j < 8; j++) t[j] = x[j] * x[j];
        s[0] = sum8(t);
        over(s);
        s[0] = reel_unit_scale(s[0], a.d);
#pragma unroll
        for (int j = 0; j < 8; j++) x[j] = a.silu ? reel_silu(x[j] * s[0] * w[j]) : x[j] * s[0] * w[j];
        st<DT>(a.y, at, n, x, a.wide);
    }
}

void reel_cuda_unit_fwd(struct reel_stream *s, int dt, void *y, const void *x, const float *w, int64_t rows, int64_t d, int silu)
{
    const struct unit a = { y, x, w, rows, d, silu, d % 8 == 0 && aligned16(x) && aligned16(y) && aligned16(w) };
    const dim3 block = row_block(reel_ceil_div(d, 8));

    if (rows < 1) return;
    BY_DT(dt, LAUNCH((unit_kernel<DT>), dim3(row_blocks(rows, block)), block, 0, reel_cuda_stream(s), a, row_steps(rows, block)));
    REEL_CUDA_LAUNCHED();
}
