/* Few-step distillation: x0 of a velocity and back, the ODE step, guidance, the distribution matching gradient. */
#include "kernels/cuda/frames.h"
#include "kernels/cuda/map.h"

struct x0_fwd {
    enum { READS = READ_X | READ_Z };
    float sigma;
    __device__ x0_fwd(const struct map &m, int64_t g) : sigma(m.p[g]) {}
    __device__ float operator()(float, float x, float v) const { return reel_x0(sigma, x, v); }
};

struct x0_bwd {
    enum { READS = READ_X };
    float k;
    __device__ x0_bwd(const struct map &m, int64_t g) : k((float)(-(double)m.p[g] * m.scale)) {}
    __device__ float operator()(float, float dx0, float) const { return k * dx0; }
};

struct ode_step {
    enum { READS = READ_X | READ_Z };
    float sigma, next;
    __device__ ode_step(const struct map &m, int64_t g) : sigma(m.p[g]), next(m.q[g]) {}
    __device__ float operator()(float, float z, float x0) const { return reel_ode(sigma, next, z, x0); }
};

static struct map levels(float *y, const float *x, const float *z, const float *sigma, int64_t nsigma, int64_t inner)
{
    struct map m = {};

    m.y = y, m.x = x, m.z = z, m.p = sigma, m.groups = nsigma, m.n = inner;
    return m;
}

void reel_cuda_x0_fwd(struct reel_stream *s, float *x0, const float *x, const float *v, const float *sigma, int64_t nsigma,
                      int64_t inner)
{
    map_run<REEL_F32, x0_fwd>(s, levels(x0, x, v, sigma, nsigma, inner));
    REEL_CUDA_LAUNCHED();
}

void reel_cuda_x0_bwd(struct reel_stream *s, float *dv, const float *dx0, const float *sigma, int64_t nsigma, int64_t inner,
                      double scale)
{
    struct map m = levels(dv, dx0, NULL, sigma, nsigma, inner);

    m.scale = scale;
    map_run<REEL_F32, x0_bwd>(s, m);
    REEL_CUDA_LAUNCHED();
}

void reel_cuda_ode_step(struct reel_stream *s, float *y, const float *z, const float *x0, const float *sigma,
                        const float *next, int64_t nsigma, int64_t inner)
{
    struct map m = levels(y, z, x0, sigma, nsigma, inner);

    m.q = next;
    map_run<REEL_F32, ode_step>(s, m);
    REEL_CUDA_LAUNCHED();
}

/* ---- sums per frame ---- */

struct distill {
    float *y;
    const float *a, *b, *c, *m;
    int64_t per_m;
    float scale;
    int to_num;
};

struct guide {
    const struct distill &d;
    __device__ guide(const struct distill &args, int64_t) : d(args) {}
    __device__ double four(int64_t at, int n, bool wide) const
    {
        float x[4], c[4], u[4];
        double s = 0;

        ld<REEL_F32>(x, d.a, at, n, wide);
        ld<REEL_F32>(c, d.b, at, n, wide);
        ld<REEL_F32>(u, d.c, at, n, wide);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            c[j] = reel_guided(d.scale, c[j], u[j]);
            if (j < n) s += fabs((double)x[j] - (double)c[j]);
        }
        st<REEL_F32>(d.y, at, n, c, wide);
        return s;
    }
};

void reel_cuda_guide(struct reel_stream *s, float *real, double *sum, const float *x, const float *cond, const float *uncond,
                     int64_t frames, int64_t inner, double scale)
{
    struct distill a = {};

    a.y = real, a.a = x, a.b = cond, a.c = uncond, a.scale = (float)scale;
    frames_run<guide>(s, a, sum, frames, inner, aligned16(real) && aligned16(x) && aligned16(cond) && aligned16(uncond));
    REEL_CUDA_LAUNCHED();
}

struct dmd {
    const struct distill &d;
    float m;
    __device__ dmd(const struct distill &args, int64_t frame) : d(args), m(args.m[frame / args.per_m]) {}
    __device__ double four(int64_t at, int n, bool wide) const
    {
        float f[4], r[4];
        double s = 0;

        ld<REEL_F32>(f, d.a, at, n, wide);
        ld<REEL_F32>(r, d.b, at, n, wide);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            f[j] = (f[j] - r[j]) / m;
            if (d.to_num) f[j] = reel_nan_to_num(f[j]);
            if (j < n) s += (double)f[j] * (double)f[j];
        }
        st<REEL_F32>(d.y, at, n, f, wide);
        return s;
    }
};

void reel_cuda_dmd_grad(struct reel_stream *s, float *g, double *sum, const float *fake, const float *real, const float *m,
                        int64_t frames, int64_t per_m, int64_t inner, int to_num)
{
    struct distill a = {};

    a.y = g, a.a = fake, a.b = real, a.m = m, a.per_m = per_m, a.to_num = to_num;
    frames_run<dmd>(s, a, sum, frames, inner, aligned16(g) && aligned16(fake) && aligned16(real));
    REEL_CUDA_LAUNCHED();
}
