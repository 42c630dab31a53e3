/* One output element per input element: activations, casts, linear combinations, fills, casts, AdamW; the sinusoid. */
#include "kernels/cuda/map.h"

/* Defines the function of map.h: EXPR of y, x, z, a, b. */
#define MAP_FN(name, reads, EXPR)                                                                  \
    struct name {                                                                                  \
        enum { READS = reads };                                                                    \
        float a, b;                                                                                \
        __device__ name(const struct map &m, int64_t) : a(m.a), b(m.b) {}                          \
        __device__ float operator()(float y, float x, float z) const                               \
        {                                                                                          \
            (void)y, (void)x, (void)z;                                                             \
            return EXPR;                                                                           \
        }                                                                                          \
    };

MAP_FN(silu_fwd, READ_X, reel_silu(x))
MAP_FN(silu_bwd, READ_X | READ_Z, x *reel_silu_d(z))
MAP_FN(gelu_fwd, READ_X, reel_gelu(x))
MAP_FN(gelu_bwd, READ_X | READ_Z, x *reel_gelu_d(z))
MAP_FN(geglu_fwd, READ_X | READ_Z, reel_gelu(x) *z)
MAP_FN(add, READ_X | READ_Y, y + x)
MAP_FN(axpby, READ_X | READ_Y, a *x + b * y)
MAP_FN(scale, READ_Y, a *y)
MAP_FN(lerp, READ_X | READ_Y, reel_lerp(y, x, a))

template <class F>
static void run(const struct reel_stream *s, int dt, void *y, const void *x, const void *z, int64_t n, float a = 0, float b = 0)
{
    struct map m = {};

    m.y = y, m.x = x, m.z = z, m.n = n, m.groups = 1, m.a = a, m.b = b;
    BY_DT(dt, map_run<DT, F>(s, m));
}

/* A row of the table is a thread block's. */
template <int DT>
__global__ void __launch_bounds__(MAP_THREADS) embed_kernel(void *y, const void *table, const int32_t *id, int64_t n, int64_t d, bool wide)
{
    constexpr int N = PER16<DT>;

    for (int64_t row = blockIdx.x; row < n; row += gridDim.x)
        for (int64_t i = (int64_t)threadIdx.x * N; i < d; i += MAP_THREADS * N) {
            const int here = (int)min(d - i, (int64_t)N);
            float x[N] = { 0 };

            ld<DT>(x, table, id[row] * d + i, here, wide);
            st<DT>(y, row * d + i, here, x, wide);
        }
}

template <int DT>
static void embed_run(const struct reel_stream *s, void *y, const void *table, const int32_t *id, int64_t n, int64_t d)
{
    bool wide = aligned16(y) && aligned16(table) && d % PER16<DT> == 0;

    LAUNCH((embed_kernel<DT>), dim3((unsigned)lesser(n, MAX_BLOCKS)), dim3(MAP_THREADS), 0, reel_cuda_stream(s), y, table, id, n, d, wide);
}

void reel_cuda_silu_fwd(struct reel_stream *s, int dt, void *y, const void *x, int64_t n)
{
    run<silu_fwd>(s, dt, y, x, NULL, n);
    REEL_CUDA_LAUNCHED();
}

void reel_cuda_silu_bwd(struct reel_stream *s, int dt, void *dx, const void *dy, const void *x, int64_t n)
{
    run<silu_bwd>(s, dt, dx, dy, x, n);
    REEL_CUDA_LAUNCHED();
}

void reel_cuda_gelu_fwd(struct reel_stream *s, int dt, void *y, const void *x, int64_t n)
{
    run<gelu_fwd>(s, dt, y, x, NULL, n);
    REEL_CUDA_LAUNCHED();
}

void reel_cuda_geglu_fwd(struct reel_stream *s, int dt, void *y, const void *x, const void *z, int64_t n)
{
    run<geglu_fwd>(s, dt, y, x, z, n);
    REEL_CUDA_LAUNCHED();
}

void reel_cuda_embed(struct reel_stream *s, int dt, void *y, const void *table, const int32_t *id, int64_t n, int64_t d)
{
    BY_DT(dt, embed_run<DT>(s, y, table, id, n, d));
    REEL_CUDA_LAUNCHED();
}

void reel_cuda_gelu_bwd(struct reel_stream *s, int dt, void *dx, const void *dy, const void *pre, int64_t n)
{
    run<gelu_bwd>(s, dt, dx, dy, pre, n);
    REEL_CUDA_LAUNCHED();
}

void reel_cuda_add(struct reel_stream *s, int dt, void *y, const void *x, int64_t n)
{
    run<add>(s, dt, y, x, NULL, n);
    REEL_CUDA_LAUNCHED();
}

void reel_cuda_axpby(struct reel_stream *s, float *y, float a, const float *x, float b, int64_t n)
{
    run<axpby>(s, REEL_F32, y, x, NULL, n, a, b);
    REEL_CUDA_LAUNCHED();
}

void reel_cuda_scale(struct reel_stream *s, int dt, void *y, float a, int64_t n)
{
    run<scale>(s, dt, y, NULL, NULL, n, a);
    REEL_CUDA_LAUNCHED();
}

void reel_cuda_lerp(struct reel_stream *s, float *y, const float *x, float a, int64_t n)
{
    run<lerp>(s, REEL_F32, y, x, NULL, n, a);
    REEL_CUDA_LAUNCHED();
}

/* ---- fill: an element's bytes repeated to sixteen ---- */

template <class T> __global__ void __launch_bounds__(MAP_THREADS) fill_kernel(T *y, T v, uint4 v16, int64_t n, int64_t head)
{
    constexpr int V = 16 / sizeof(T);
    const int64_t first = (int64_t)blockIdx.x * MAP_THREADS + threadIdx.x, step = (int64_t)gridDim.x * MAP_THREADS;
    const int64_t vecs = (n - head) / V, tail = head + vecs * V;

    for (int64_t i = first; i < vecs; i += step) st_vec(y + head + i * V, v16);
    for (int64_t i = first; i < head; i += step) y[i] = v;
    for (int64_t i = tail + first; i < n; i += step) y[i] = v;
}

template <class T> static void fill(const struct reel_stream *s, void *y, T v, int64_t n)
{
    int64_t head = lesser(n, (int64_t)((16 - ((uintptr_t)y & 15)) % 16 / sizeof(T))); /* elements up to a multiple of 16 bytes */
    T v16[16 / sizeof(T)];
    uint4 u;

    for (T &x : v16) x = v;
    memcpy(&u, v16, sizeof u);
    LAUNCH((fill_kernel<T>), map_grid(n, 1, 16 / sizeof(T)),
           dim3(MAP_THREADS), 0, reel_cuda_stream(s), (T *)y, v, u, n, head);
}

/* any: every dtype; zero and small integers are what the wider ones are filled with */
void reel_cuda_fill(struct reel_stream *s, int any, void *y, double value, int64_t n)
{
    if (n < 1) return;
    switch (any) {
    case REEL_F32: fill<float>(s, y, (float)value, n); break;
    case REEL_BF16: fill<uint16_t>(s, y, reel_f32_bf16((float)value), n); break;
    case REEL_F64: fill<double>(s, y, value, n); break;
    case REEL_I64: fill<int64_t>(s, y, (int64_t)value, n); break;
    case REEL_I32: fill<int32_t>(s, y, (int32_t)value, n); break;
    case REEL_U16: fill<uint16_t>(s, y, (uint16_t)value, n); break;
    default: fill<uint8_t>(s, y, (uint8_t)value, n); break;
    }
    REEL_CUDA_LAUNCHED();
}

/* ---- casts ---- */

template <int TO, int FROM>
__global__ void __launch_bounds__(MAP_THREADS) cast_kernel(void *y, const void *x, int64_t count, bool wide)
{
    const int64_t step = (int64_t)gridDim.x * MAP_THREADS * 8;

    for (int64_t i = ((int64_t)blockIdx.x * MAP_THREADS + threadIdx.x) * 8; i < count; i += step) {
        const int n = (int)min(count - i, (int64_t)8);
        float v[8];

        ld<FROM>(v, x, i, n, wide);
        st<TO>(y, i, n, v, wide);
    }
}

template <int TO, int FROM> static void cast(const struct reel_stream *s, void *dst, const void *src, int64_t n)
{
    LAUNCH((cast_kernel<TO, FROM>), map_grid(n, 1, 8), dim3(MAP_THREADS), 0, reel_cuda_stream(s), dst, src, n,
           aligned16(dst) && aligned16(src));
}

void reel_cuda_cast(struct reel_stream *s, int to, void *dst, int from, const void *src, int64_t n)
{
    if (n < 1) return;
    if (to == from)
        REEL_CUDA(cudaMemcpyAsync(dst, src, (size_t)n * (to == REEL_F32 ? 4 : 2), cudaMemcpyDeviceToDevice, reel_cuda_stream(s)));
    else if (from == REEL_F16)
        cast<REEL_F32, REEL_F16>(s, dst, src, n);
    else if (to == REEL_F32)
        cast<REEL_F32, REEL_BF16>(s, dst, src, n);
    else
        cast<REEL_BF16, REEL_F32>(s, dst, src, n);
    REEL_CUDA_LAUNCHED();
}

/* ---- AdamW: f32 master weights and moments, four elements a thread ---- */

__global__ void __launch_bounds__(MAP_THREADS) adamw_kernel(float *p, float *m, float *v, const float *g, int64_t n,
                                                            struct reel_adamw_f h, bool wide)
{
    const int64_t first = (int64_t)blockIdx.x * MAP_THREADS + threadIdx.x, step = (int64_t)gridDim.x * MAP_THREADS;
    const int64_t vecs = wide ? n / 4 : 0;

    for (int64_t i = first; i < vecs; i += step) {
        float4 p4 = ld_vec<float4>(p + 4 * i), m4 = ld_vec<float4>(m + 4 * i), v4 = ld_vec<float4>(v + 4 * i);
        const float4 g4 = ld_vec<float4>(g + 4 * i);

        reel_adamw_el(&p4.x, &m4.x, &v4.x, g4.x, h);
        reel_adamw_el(&p4.y, &m4.y, &v4.y, g4.y, h);
        reel_adamw_el(&p4.z, &m4.z, &v4.z, g4.z, h);
        reel_adamw_el(&p4.w, &m4.w, &v4.w, g4.w, h);
        st_vec(p + 4 * i, p4);
        st_vec(m + 4 * i, m4);
        st_vec(v + 4 * i, v4);
    }
    for (int64_t i = 4 * vecs + first; i < n; i += step) reel_adamw_el(p + i, m + i, v + i, g[i], h);
}

void reel_cuda_adamw(struct reel_stream *s, float *p, float *m, float *v, const float *g, int64_t n, struct reel_adamw h)
{
    if (n < 1) return;
    LAUNCH(adamw_kernel, map_grid(n, 1, 4), dim3(MAP_THREADS), 0,
           reel_cuda_stream(s), p, m, v, g, n, reel_adamw_consts(h),
           aligned16(p) && aligned16(m) && aligned16(v) && aligned16(g));
    REEL_CUDA_LAUNCHED();
}

/* ---- sinusoid ---- */

__global__ void __launch_bounds__(MAP_THREADS) sinusoid_kernel(float *emb, const float *t, int64_t n, int64_t pairs)
{
    const int64_t step = (int64_t)gridDim.x * MAP_THREADS;

    for (int64_t k = (int64_t)blockIdx.x * MAP_THREADS + threadIdx.x; k < n * pairs; k += step) {
        const int64_t i = k / pairs, j = k % pairs;
        const struct reel_sincos a = reel_sincos64((double)(t[i] * reel_freq(j, pairs)));

        emb[2 * pairs * i + j] = (float)a.c;
        emb[2 * pairs * i + pairs + j] = (float)a.s;
    }
}

void reel_cuda_sinusoid(struct reel_stream *s, float *emb, const float *t, int64_t n, int64_t freq)
{
    if (n * (freq / 2) < 1) return;
    LAUNCH(sinusoid_kernel, map_grid(n * (freq / 2), 1, 1), dim3(MAP_THREADS), 0,
           reel_cuda_stream(s), emb, t, n, freq / 2);
    REEL_CUDA_LAUNCHED();
}
