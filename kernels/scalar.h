#ifndef REEL_KERNELS_SCALAR_H
#define REEL_KERNELS_SCALAR_H

/* Mathematics of one element, shared by every backend: C11 and nvcc. No libm: polynomials in the
 * four operations and sqrt, each rounded once, so that all compilers give the same bits. Build with
 * contraction off (-ffp-contract=off, -fmad=false). Branch-free where a loop should vectorise.
 * Polynomials are Taylor series cut where the next term is below the type's last place. */

#include <math.h> /* sqrt, sqrtf: IEEE, correctly rounded */
#include <stdint.h>
#include <string.h>

#include "base/rng.h"
#include "kernels/kernels.h"
#include "tensor/half.h"

/* ---- bits ---- */

REEL_HD double reel_bits_f64(uint64_t u)
{
    double x;
    memcpy(&x, &u, 8);
    return x;
}
REEL_HD uint64_t reel_f64_bits(double x)
{
    uint64_t u;
    memcpy(&u, &x, 8);
    return u;
}

/* ---- f32: exp, tanh and what the layers make of them ---- */

/** reel_expf - e^x, 1 ulp; inf above 88.72, gradual underflow, NaN kept. Local. */
REEL_HD float reel_expf(float x)
{
    float c = x > 89.0f ? 89.0f : x, n, r, p;
    uint32_t k, k1;

    c = c < -104.0f ? -104.0f : c;
    n = c * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the sum's low bits are the nearest integer */
    k = reel_f32_bits(n) - 0x4B400000u;
    n = n - 12582912.0f;
    r = (c - n * 0.693359375f) - n * -2.12194440e-4f; /* ln 2 = 355/512 - 2.1e-4, first product exact */
    p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * (r * r) + r + 1.0f;
    k1 = (uint32_t)((int32_t)k >> 1); /* 2^k in two steps: neither factor over- or underflows */
    return p * reel_bits_f32((k1 + 127u) << 23) * reel_bits_f32((k - k1 + 127u) << 23);
}

/** reel_tanhf - tanh x, 5 ulp. Local. */
REEL_HD float reel_tanhf(float x)
{
    float a = x < 0 ? -x : x, z = x * x, p, big;

    p = -8.8632355e-3f;
    p = p * z + 2.1869488e-2f;
    p = p * z + -5.3968254e-2f;
    p = p * z + 1.3333333e-1f;
    p = p * z + -3.3333333e-1f;
    p = p * z * x + x;
    big = 1.0f - 2.0f / (reel_expf(2.0f * a) + 1.0f);
    big = x < 0 ? -big : big;
    return a < 0.25f ? p : big;
}

/** reel_sigmoidf - 1/(1+e^-x): the one building block of silu and gelu, without cancellation. Local. */
REEL_HD float reel_sigmoidf(float x) { return 1.0f / (1.0f + reel_expf(-x)); }

REEL_HD float reel_silu(float x) { return x / (1.0f + reel_expf(-x)); }
REEL_HD float reel_silu_d(float x)
{
    float s = reel_sigmoidf(x);
    return s * (1.0f + x * (1.0f - s));
}

/* What makes a row of d numbers, whose squares add up to sq, one of length sqrt(d); rows shorter than 1e-12 count as that long. */
REEL_HD float reel_unit_scale(float sq, int64_t d)
{
    float len = sqrtf(sq);
    return sqrtf((float)d) / (len > 1e-12f ? len : 1e-12f);
}

/* gelu_tanh(x) = x sigmoid(2z), z = sqrt(2/pi) (x + 0.044715 x^3): 0.5 (1 + tanh z) = sigmoid(2z).
 * |x| is bounded first, where the sigmoid is 0 or 1 anyway, so that the cube stays finite. */
#define REEL_GELU_2C 1.59576912f /* 2 sqrt(2/pi) */
REEL_HD float reel_gelu_arg(float x)
{
    float c = x > 20.0f ? 20.0f : x;
    c = c < -20.0f ? -20.0f : c;
    return REEL_GELU_2C * (c + 0.044715f * (c * c * c));
}
REEL_HD float reel_gelu(float x) { return x * reel_sigmoidf(reel_gelu_arg(x)); }
REEL_HD float reel_gelu_d(float x)
{
    float s = reel_sigmoidf(reel_gelu_arg(x)), c = x > 20.0f ? 20.0f : x;
    c = c < -20.0f ? -20.0f : c;
    return s + c * s * (1.0f - s) * (REEL_GELU_2C * (1.0f + 0.134145f * (c * c)));
}

/* ---- f64 inside, f32 outside: draws and the sinusoid, where a last place matters ---- */

/** reel_exp64 - e^x for |x| < 700, a few 1e-16. Local. */
REEL_HD double reel_exp64(double x)
{
    double n = x * 1.4426950408889634 + 6755399441055744.0, r, p; /* 1.5 * 2^52, as in reel_expf */
    uint64_t k = reel_f64_bits(n) << 52;                          /* the integer, at the exponent */

    n = n - 6755399441055744.0;
    r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * (r * r) + r + 1.0;
    return reel_bits_f64(reel_f64_bits(p) + k);
}

/** reel_log64 - ln x of a positive normal f32, relative error below 1e-10 (near 1 too). Local.
 * x = 2^e m, m in [sqrt 1/2, sqrt 2); ln m = 2 atanh((m-1)/(m+1)). */
REEL_HD double reel_log64(float x)
{
    int32_t u = (int32_t)reel_f32_bits(x), e = (u - 0x3f3504f3) >> 23;
    double m = (double)reel_bits_f32((uint32_t)u - ((uint32_t)e << 23)), s = (m - 1.0) / (m + 1.0), z = s * s, p;

    p = 1.0 / 15.0;
    p = p * z + 1.0 / 13.0;
    p = p * z + 1.0 / 11.0;
    p = p * z + 1.0 / 9.0;
    p = p * z + 1.0 / 7.0;
    p = p * z + 1.0 / 5.0;
    p = p * z + 1.0 / 3.0;
    return (double)e * 0.69314718055994530942 + 2.0 * (p * z * s + s);
}
REEL_HD float reel_logf(float x) { return (float)reel_log64(x); }

struct reel_sincos { double s, c; };

/* sin and cos of r + q pi/2, |r| <= pi/4: error below 1e-11 */
REEL_HD struct reel_sincos reel_sincos_quadrant(double r, uint32_t q)
{
    double z = r * r, s, c, ss, cc;

    s = -1.0 / 39916800.0;
    s = s * z + 1.0 / 362880.0;
    s = s * z + -1.0 / 5040.0;
    s = s * z + 1.0 / 120.0;
    s = s * z + -1.0 / 6.0;
    s = s * z * r + r;
    c = 1.0 / 479001600.0;
    c = c * z + -1.0 / 3628800.0;
    c = c * z + 1.0 / 40320.0;
    c = c * z + -1.0 / 720.0;
    c = c * z + 1.0 / 24.0;
    c = c * (z * z) + (1.0 - 0.5 * z);
    ss = q & 1 ? c : s;
    cc = q & 1 ? s : c;
    ss = q & 2 ? -ss : ss;
    cc = (q + 1) & 2 ? -cc : cc;
    return (struct reel_sincos){ ss, cc };
}

/** reel_sincos64 - of an angle in radians, |x| < 1e6. Local. */
REEL_HD struct reel_sincos reel_sincos64(double x)
{
    double n = x * 0.63661977236758134308 + 6755399441055744.0; /* nearest multiple of pi/2 */
    uint32_t q = (uint32_t)reel_f64_bits(n);

    n = n - 6755399441055744.0;
    /* pi/2 in two parts of which the first has 33 bits: n times it is exact */
    return reel_sincos_quadrant((x - n * 1.57079632673412561417) - n * 6.07710050650619224932e-11, q);
}

struct reel_pair { float a, b; };

/** reel_normal_pair - the Box-Muller normals of an even element and its successor. Local.
 * The angle 2 pi u2 is reduced in integers, exactly. Inside in f64: its cost drowns in Philox's, and the
 * results are the f64 values rounded to f32 but for ties (spec: within 1e-6). */
REEL_HD struct reel_pair reel_normal_pair(uint32_t w0, uint32_t w1)
{
    float u1 = (float)((w0 >> 8) + 1) * 0x1p-24f;
    double r = sqrt(-2.0 * reel_log64(u1));
    uint32_t k = w1 >> 8, q = (k + (1u << 21)) >> 22;
    struct reel_sincos t = reel_sincos_quadrant((double)((int32_t)k - (int32_t)(q << 22)) * 3.7450702829239286e-07, q);

    return (struct reel_pair){ (float)(r * t.c), (float)(r * t.s) };
}

/** reel_normal - element e of a normal draw; pairs share a Philox call, loops use reel_normal_pair. Local. */
REEL_HD float reel_normal(uint64_t key, uint32_t step, uint32_t round, uint32_t b, uint64_t e)
{
    struct reel_philox4 p = reel_philox((uint32_t)(e / 4), b, step, round, key);
    struct reel_pair n = e & 2 ? reel_normal_pair(p.w[2], p.w[3]) : reel_normal_pair(p.w[0], p.w[1]);
    return e & 1 ? n.b : n.a;
}

/** reel_freq - sinusoid frequency j of `pairs`: exp(-ln(10000) j/pairs) as float32 programs make it. Local.
 * The argument is rounded twice to f32, the result once, but for the two arguments whose results
 * every published model's table has one unit higher. */
REEL_HD float reel_freq(int64_t j, int64_t pairs)
{
    float arg = -9.21034037f * (float)j / (float)pairs;
    uint32_t u = reel_f32_bits(arg);
    float w = (float)reel_exp64((double)arg);

    return u == 0xbf5d0c55u || u == 0xc0f412f3u ? reel_bits_f32(reel_f32_bits(w) + 1) : w;
}

/* ---- noise levels: each operation rounded in f32 ---- */

/** reel_warp - flow shift s of a uniform level u: s u / (1 + (s-1) u). Local. */
REEL_HD float reel_warp(float s, float u) { return (s * u) / (1.0f + (s - 1.0f) * u); }
/** reel_mix - (1-sigma) x0 + sigma eps. Local. */
REEL_HD float reel_mix(float sigma, float x0, float eps) { return (1.0f - sigma) * x0 + sigma * eps; }

/* ---- few-step distillation ---- */

/** reel_x0 - x - sigma v, in f64 and rounded once: the reference widens here too. Local. */
REEL_HD float reel_x0(float sigma, float x, float v) { return (float)((double)x - (double)sigma * (double)v); }
/** reel_guided - u + scale (c - u). Local. */
REEL_HD float reel_guided(float scale, float c, float u) { return u + scale * (c - u); }
/** reel_ode - z at level `sigma`, taken to level `next` along the noise that x0 implies; f64, rounded once. Local. */
REEL_HD float reel_ode(float sigma, float next, float z, float x0)
{
    double s = (double)sigma, n = (double)next, eps = ((double)z - (1.0 - s) * (double)x0) / (s > 1e-8 ? s : 1e-8);

    return (float)((1.0 - n) * (double)x0 + n * eps);
}
/** reel_nan_to_num - NaN becomes 0, an infinity the largest finite f32 of its sign. Local. */
REEL_HD float reel_nan_to_num(float x)
{
    const float big = 3.40282347e38f;

    return x != x ? 0.0f : x > big ? big : x < -big ? -big : x;
}

/* ---- averages ---- */

/** reel_lerp - from y towards x by w as PyTorch writes it: exact for weights 0 and 1 and for y = x. Local. */
REEL_HD float reel_lerp(float y, float x, float w)
{
    float d = x - y;

    return w < 0.5f ? y + w * d : x - d * (1.0f - w);
}

/* ---- AdamW ---- */

/* A step's constants, rounded from double once, as PyTorch's scalars are. */
struct reel_adamw_f {
    float decay;     /* 1 - lr wd */
    float om1;       /* 1 - beta1: weight of the gradient in m */
    float beta2, om2;
    float bc2_sqrt;  /* sqrt(1 - beta2^n) */
    float step_size; /* -lr / (1 - beta1^n) */
    float eps, gscale;
};

/* 1 - beta is formed in double and rounded once; powers by repeated squaring, no libm. */
static inline struct reel_adamw_f reel_adamw_consts(struct reel_adamw h)
{
    double b1 = 1, b2 = 1, p1 = h.beta1, p2 = h.beta2;

    for (uint64_t n = (uint64_t)h.step; n; n >>= 1, p1 *= p1, p2 *= p2)
        if (n & 1) b1 *= p1, b2 *= p2;
    return (struct reel_adamw_f){ (float)(1 - h.lr * h.wd), (float)(1 - h.beta1), (float)h.beta2, (float)(1 - h.beta2),
                                  (float)sqrt(1 - b2), (float)(-h.lr / (1 - b1)), (float)h.eps, h.gscale };
}

/** reel_adamw_el - one element. Local. */
REEL_HD void reel_adamw_el(float *p, float *m, float *v, float g, struct reel_adamw_f h)
{
    float gs = g * h.gscale, mn = reel_lerp(*m, gs, h.om1);
    float vn = *v * h.beta2 + h.om2 * gs * gs;

    *m = mn;
    *v = vn;
    *p = *p * h.decay + h.step_size * mn / (sqrtf(vn) / h.bc2_sqrt + h.eps);
}

#endif
