/* One vector of W floats for whichever instruction set the including file was written for. The
 * includer defines W (4, 8 or 16), and sets the target (REEL_TARGET) before anything is included.
 * W 4 is plain C for every processor: GCC vectors, a product and a sum where others fuse; so is
 * any W with VEC_PLAIN, which lets a test run 16 lanes where the processor has 8.
 * DOT2 1: there is an instruction that multiplies pairs of bfloat16 (dot2_). */
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/target.h"
#if W == 4 || defined(VEC_PLAIN)
#define VEC 0
#else
#define VEC W
#include <immintrin.h>
#endif
#ifndef DOT2
#define DOT2 0
#endif

#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(4 * W)));
typedef int32_t vi __attribute__((vector_size(4 * W)));
typedef uint32_t vu __attribute__((vector_size(4 * W)));
typedef uint16_t vh __attribute__((vector_size(2 * W)));
typedef float v4 __attribute__((vector_size(16)));
typedef int32_t v4i __attribute__((vector_size(16)));
typedef uint32_t v4u __attribute__((vector_size(16)));
typedef uint16_t v4h __attribute__((vector_size(8)));

INLINE vf ld(const float *p)
{
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void st(float *p, vf v)
{
    memcpy(p, &v, sizeof v);
}

INLINE vf splat(float x)
{
#if VEC == 16
    return (vf)_mm512_set1_ps(x);
#elif VEC == 8
    return (vf)_mm256_set1_ps(x);
#else
    return (vf){ 0 } + x;
#endif
}

/* a*b + c */
INLINE vf fma_(vf a, vf b, vf c)
{
#if VEC == 16
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif VEC == 8
    return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

/* c + lower halves' product + upper halves' product; a and b hold pairs of bfloat16 */
INLINE vf dot2_(vf a, vf b, vf c)
{
#if DOT2 && VEC == 16
    return (vf)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b);
#else
    vu x = (vu)a, y = (vu)b;
    c = fma_((vf)(x & 0xffff0000u), (vf)(y & 0xffff0000u), c);
    return fma_((vf)(x << 16), (vf)(y << 16), c);
#endif
}

/* The larger; b where either is not a number. */
INLINE vf max_(vf a, vf b)
{
#if VEC == 16
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif VEC == 8
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    vi m = a > b;
    return (vf)(((vi)a & m) | ((vi)b & ~m));
#endif
}

INLINE vf min_(vf a, vf b)
{
    return -max_(-a, -b);
}

/* 2^x for x in [-126, 127) (raised to -126; not-a-number stays so), relative error below 1.2e-7: the
 * nearest integer by the shifting constant 1.5*2^23, then a minimax polynomial on [-1/2, 1/2]
 * (1.97e-9 before rounding). */
INLINE vf exp2_(vf x)
{
    const vf shift = splat(12582912.0f);
    vf t, f, p;

    x = max_(splat(-126.0f), x);
    t = x + shift;
    f = x - (t - shift);
    p = fma_(f, splat(0x1.41fbbcp-13f), splat(0x1.5f3e54p-10f));
    p = fma_(f, p, splat(0x1.3b2d4cp-7f));
    p = fma_(f, p, splat(0x1.c6aee8p-5f));
    p = fma_(f, p, splat(0x1.ebfbdcp-3f));
    p = fma_(f, p, splat(0x1.62e430p-1f));
    p = fma_(f, p, splat(1.0f));
    return p * (vf)(((vi)t + 127) << 23);
}

/* bfloat16 <-> float, round to nearest even; a number that is none becomes a quiet one. */
INLINE vf ldh(const uint16_t *p)
{
    vh h;
    memcpy(&h, p, sizeof h);
    return (vf)(__builtin_convertvector(h, vu) << 16);
}

INLINE void sth(uint16_t *p, vf v)
{
    vu u = (vu)v, nan = (vu)(v != v);
    vu r = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    vh h = __builtin_convertvector((r & ~nan) | (((u >> 16) | 0x40u) & nan), vh);
    memcpy(p, &h, sizeof h);
}

INLINE float h2f(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

INLINE uint16_t f2h(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if (f != f) return (uint16_t)((u >> 16) | 0x40u);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

INLINE v4 ld4(const float *p)
{
    v4 v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE v4 ldh4(const uint16_t *p)
{
    v4h h;
    memcpy(&h, p, sizeof h);
    return (v4)(__builtin_convertvector(h, v4u) << 16);
}

INLINE void st4(float *p, v4 v)
{
    memcpy(p, &v, sizeof v);
}

/* rows <-> columns of a 4 x 4 block */
INLINE void transpose4(v4 r[4])
{
    v4 a = REEL_SHUFFLE(v4i, r[0], r[1], 0, 4, 1, 5);
    v4 b = REEL_SHUFFLE(v4i, r[0], r[1], 2, 6, 3, 7);
    v4 c = REEL_SHUFFLE(v4i, r[2], r[3], 0, 4, 1, 5);
    v4 d = REEL_SHUFFLE(v4i, r[2], r[3], 2, 6, 3, 7);

    r[0] = REEL_SHUFFLE(v4i, a, c, 0, 1, 4, 5);
    r[1] = REEL_SHUFFLE(v4i, a, c, 2, 3, 6, 7);
    r[2] = REEL_SHUFFLE(v4i, b, d, 0, 1, 4, 5);
    r[3] = REEL_SHUFFLE(v4i, b, d, 2, 3, 6, 7);
}

INLINE void sth4(uint16_t *p, v4 v)
{
    for (int i = 0; i < 4; i++) p[i] = f2h(v[i]);
}
