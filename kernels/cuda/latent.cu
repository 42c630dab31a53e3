/* Latents: patches, layouts, named noise, noise levels, the flow loss. */
#include "kernels/cuda/frames.h"
#include "kernels/cuda/map.h"

/* ---- patches: a thread a feature of a token, features fastest ---- */

template <int DT, bool BACK>
__global__ void __launch_bounds__(MAP_THREADS) patch_kernel(void *tok, float *x, const struct reel_grid g, int order)
{
    const unsigned nh = (unsigned)(g.h / g.ph), nw = (unsigned)(g.w / g.pw), c = (unsigned)g.c, ph = (unsigned)g.ph,
                   pw = (unsigned)g.pw, f = c * ph * pw, line = nw * f;

    for (int64_t l = blockIdx.y; l < g.b * g.t * nh; l += gridDim.y) /* a row of tokens */
        for (unsigned k = blockIdx.x * MAP_THREADS + threadIdx.x; k < line; k += gridDim.x * MAP_THREADS) {
            const unsigned j = k / f, e = k % f;
            const bool chw = order == REEL_PATCH_CHW;
            const unsigned ic = chw ? e / (ph * pw) : e % c, p = chw ? e / pw % ph : e / c / pw, q = chw ? e % pw : e / c % pw;
            const int64_t i = l % nh * ph + p, xi = ((l / nh * c + ic) * g.h + i) * g.w + j * pw + q, at = l * line + k;

            if (BACK) x[xi] = ld1<DT>(tok, at);
            else st1<DT>(tok, at, x[xi]);
        }
}

template <int DT, bool BACK> static void patch_run(const struct reel_stream *s, void *tok, float *x, struct reel_grid g, int order)
{
    const int64_t line = g.w * g.c * g.ph, lines = g.b * g.t * (g.h / g.ph);

    if (line < 1 || lines < 1) return;
    LAUNCH((patch_kernel<DT, BACK>), map_grid(line, lines, 1), dim3(MAP_THREADS), 0, reel_cuda_stream(s), tok, x, g, order);
}

void reel_cuda_patch(struct reel_stream *s, int dt, void *tok, const float *x, struct reel_grid g, int order)
{
    BY_DT(dt, patch_run<DT, false>(s, tok, (float *)x, g, order));
    REEL_CUDA_LAUNCHED();
}

void reel_cuda_unpatch(struct reel_stream *s, int dt, float *x, const void *tok, struct reel_grid g, int order)
{
    BY_DT(dt, patch_run<DT, true>(s, (void *)tok, x, g, order));
    REEL_CUDA_LAUNCHED();
}

/* y[b,n2,n1,inner] = x[b,n1,n2,inner]: a group of blocks takes an inner run */
__global__ void __launch_bounds__(MAP_THREADS) swap_kernel(float *y, const float *x, int64_t n, int64_t n1, int64_t n2,
                                                           int64_t inner, bool wide)
{
    for (int64_t g = blockIdx.y; g < n; g += gridDim.y) {
        const int64_t b = g / (n1 * n2), i = g / n2 % n1, j = g % n2, to = ((b * n2 + j) * n1 + i) * inner;
        for (int64_t k = ((int64_t)blockIdx.x * MAP_THREADS + threadIdx.x) * 4; k < inner; k += (int64_t)gridDim.x * MAP_THREADS * 4) {
            const int m = (int)min(inner - k, (int64_t)4);
            float v[4];
            ld<REEL_F32>(v, x, g * inner + k, m, wide);
            st<REEL_F32>(y, to + k, m, v, wide);
        }
    }
}

void reel_cuda_swap_tc(struct reel_stream *s, float *y, const float *x, int64_t b, int64_t n1, int64_t n2, int64_t inner)
{
    if (b * n1 * n2 * inner < 1) return;
    LAUNCH(swap_kernel, map_grid(inner, b * n1 * n2, 4), dim3(MAP_THREADS), 0, reel_cuda_stream(s), y, x, b * n1 * n2, n1, n2, inner,
           inner % 4 == 0 && aligned16(x) && aligned16(y));
    REEL_CUDA_LAUNCHED();
}

struct normalize {
    enum { READS = READ_X };
    float mean, istd;
    __device__ normalize(const struct map &m, int64_t g) : mean(m.p[g % m.per]), istd(m.q[g % m.per]) {}
    __device__ float operator()(float, float x, float) const { return (x - mean) * istd; }
};

void reel_cuda_normalize(struct reel_stream *s, float *y, const float *x, const float *mean, const float *istd, int64_t outer,
                         int64_t c, int64_t inner)
{
    struct map m = {};

    m.y = y, m.x = x, m.p = mean, m.q = istd, m.groups = outer * c, m.per = c, m.n = inner;
    map_run<REEL_F32, normalize>(s, m);
    REEL_CUDA_LAUNCHED();
}

struct noise_mix {
    enum { READS = READ_X | READ_Z };
    float sigma;
    __device__ noise_mix(const struct map &m, int64_t g) : sigma(m.p[g]) {}
    __device__ float operator()(float, float x0, float eps) const { return reel_mix(sigma, x0, eps); }
};

void reel_cuda_noise_mix(struct reel_stream *s, float *xt, const float *x0, const float *eps, const float *sigma, int64_t nsigma,
                         int64_t inner)
{
    struct map m = {};

    m.y = xt, m.x = x0, m.z = eps, m.p = sigma, m.groups = nsigma, m.n = inner;
    map_run<REEL_F32, noise_mix>(s, m);
    REEL_CUDA_LAUNCHED();
}

/* ---- named noise: a Philox call, four normals, a thread ---- */

/* wide: every run begins and ends with a call */
__global__ void __launch_bounds__(MAP_THREADS) randn_kernel(float *out, int64_t runs, struct reel_randn r, bool wide)
{
    for (int64_t run = blockIdx.y; run < runs; run += gridDim.y) {
        const int64_t i = run / r.n2, e = reel_randn_element(&r, i % r.n1, run % r.n2), before = e % 4;
        const uint32_t b = r.b0 + (uint32_t)(i / r.n1), first = (uint32_t)(e / 4);

        for (int64_t c = (int64_t)blockIdx.x * MAP_THREADS + threadIdx.x; 4 * c < before + r.n; c += (int64_t)gridDim.x * MAP_THREADS) {
            const struct reel_philox4 w = reel_philox(first + (uint32_t)c, b, r.step, r.round, r.key);
            const struct reel_pair p = reel_normal_pair(w.w[0], w.w[1]), q = reel_normal_pair(w.w[2], w.w[3]);
            const float v[4] = { p.a, p.b, q.a, q.b };
            const int64_t at = 4 * c - before;
            if (wide) {
                st<REEL_F32>(out, run * r.n + at, 4, v, true);
                continue;
            }
#pragma unroll
            for (int k = 0; k < 4; k++)
                if (at + k >= 0 && at + k < r.n) out[run * r.n + at + k] = v[k];
        }
    }
}

void reel_cuda_randn(struct reel_stream *s, float *out, int64_t nb, struct reel_randn r)
{
    const int64_t runs = nb * r.n1 * r.n2;
    const bool wide = !((r.n | r.first | r.s1 | r.s2) % 4) && aligned16(out);

    if (runs * r.n < 1) return;
    LAUNCH(randn_kernel, map_grid(r.n + 3, runs, 4), dim3(MAP_THREADS), 0, reel_cuda_stream(s), out, runs, r, wide);
    REEL_CUDA_LAUNCHED();
}

/* ---- flow loss: residual, its squares per frame in f64, and the cotangent ---- */

struct flow_args {
    float *dv;
    const float *v, *x0, *other, *sigma, *w; /* other: xt with preconditioning, else eps */
    int64_t per_sigma;
    float cot;
    int precond;
};

struct flow {
    const struct flow_args &a;
    float sigma, k;
    __device__ flow(const struct flow_args &args, int64_t frame)
        : a(args), sigma(args.precond ? args.sigma[frame / args.per_sigma] : 0),
          k(2.0f * args.cot * (args.w ? args.w[frame] : 1.0f))
    {
        if (a.precond) k = -(k * sigma);
    }
    __device__ double four(int64_t at, int n, bool wide) const
    {
        float v[4], x0[4], o[4];
        double s = 0;

        ld<REEL_F32>(v, a.v, at, n, wide);
        ld<REEL_F32>(x0, a.x0, at, n, wide);
        ld<REEL_F32>(o, a.other, at, n, wide);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float r = a.precond ? (o[j] - v[j] * sigma) - x0[j] : v[j] - (o[j] - x0[j]);
            s += (double)r * (double)r;
            v[j] = k * r;
        }
        if (a.dv) st<REEL_F32>(a.dv, at, n, v, wide);
        return s;
    }
};

void reel_cuda_flow_loss(struct reel_stream *s, float *dv, double *sum, const float *v, const float *x0, const float *eps,
                         const float *xt, const float *sigma, const float *w, int64_t frames, int64_t per_sigma, int64_t inner,
                         double cot, int precond)
{
    const struct flow_args a = { dv, v, x0, precond ? xt : eps, sigma, w, per_sigma, (float)cot, precond };

    frames_run<flow>(s, a, sum, frames, inner, aligned16(dv) && aligned16(v) && aligned16(x0) && aligned16(a.other));
    REEL_CUDA_LAUNCHED();
}
