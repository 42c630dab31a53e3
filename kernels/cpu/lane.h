#ifndef REEL_KERNELS_CPU_LANE_H
#define REEL_KERNELS_CPU_LANE_H

/* Eight lanes as one value. Element i of a row goes to lane i%8 of accumulator (i/8)%2 and the
 * sixteen partial sums are added in one order, whatever the instruction set: same bits from each. */

#include "kernels/scalar.h"


#define REEL_INLINE static inline __attribute__((always_inline))

typedef float v8 __attribute__((vector_size(32)));
typedef uint32_t u8x __attribute__((vector_size(32)));
typedef uint16_t h8 __attribute__((vector_size(16)));

REEL_INLINE float ld(int dt, const void *p, int64_t i)
{
    return dt == REEL_BF16 ? reel_bf16_f32(((const uint16_t *)p)[i]) : ((const float *)p)[i];
}

REEL_INLINE void st(int dt, void *p, int64_t i, float x)
{
    if (dt == REEL_BF16)
        ((uint16_t *)p)[i] = reel_f32_bf16(x);
    else
        ((float *)p)[i] = x;
}

/* n < 8: the row's tail, missing lanes are zero */
REEL_INLINE v8 ld8(int dt, const void *p, int64_t i, int n)
{
    v8 x = { 0 };

    if (n < 8) {
        float f[8] = { 0 };
        for (int l = 0; l < n; l++) f[l] = ld(dt, p, i + l);
        memcpy(&x, f, sizeof x);
    } else if (dt == REEL_BF16) {
        h8 h;
        u8x u;
        memcpy(&h, (const uint16_t *)p + i, sizeof h);
        u = __builtin_convertvector(h, u8x) << 16;
        memcpy(&x, &u, sizeof x);
    } else {
        memcpy(&x, (const float *)p + i, sizeof x);
    }
    return x;
}

REEL_INLINE void st8(int dt, void *p, int64_t i, int n, v8 x)
{
    if (n < 8) {
        float f[8];
        memcpy(f, &x, sizeof f);
        for (int l = 0; l < n; l++) st(dt, p, i + l, f[l]);
    } else if (dt == REEL_BF16) {
        u8x u, r, nan;
        h8 h;
        memcpy(&u, &x, sizeof u);
        nan = (u8x)((u & 0x7fffffff) > 0x7f800000);
        r = (u + 0x7fff + (u >> 16 & 1)) >> 16;
        r = (r & ~nan) | ((u >> 16 | 0x40) & nan);
        h = __builtin_convertvector(r, h8);
        memcpy((uint16_t *)p + i, &h, sizeof h);
    } else {
        memcpy((float *)p + i, &x, sizeof x);
    }
}

/* lanes at and above n become zero */
REEL_INLINE v8 keep8(v8 x, int n)
{
    float f[8];

    if (n == 8) return x;
    memcpy(f, &x, sizeof f);
    for (int l = n; l < 8; l++) f[l] = 0;
    memcpy(&x, f, sizeof x);
    return x;
}

REEL_INLINE float sum8(v8 a, v8 b)
{
    v8 s = a + b;
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/* the same order over eight f64 lanes */
REEL_INLINE double add8(const double a[8])
{
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}

/* The statements in `...` for each group of eight of a row of d: first element i, n real lanes, and
 * k = 0 or 1, the accumulator it goes to. n and k are constants but in the last, incomplete group. */
#define REEL_EACH8(i, n, k, d, ...)                                                                \
    do {                                                                                           \
        int64_t i = 0;                                                                             \
        for (; i + 16 <= (d); i += 8) {                                                            \
            REEL_GROUP8(8, 0, n, k, __VA_ARGS__)                                                   \
            i += 8;                                                                                \
            REEL_GROUP8(8, 1, n, k, __VA_ARGS__)                                                   \
        }                                                                                          \
        if (i + 8 <= (d)) {                                                                        \
            REEL_GROUP8(8, 0, n, k, __VA_ARGS__)                                                   \
            i += 8;                                                                                \
            if (i < (d)) REEL_GROUP8((int)((d) - i), 1, n, k, __VA_ARGS__)                         \
        } else if (i < (d)) {                                                                      \
            REEL_GROUP8((int)((d) - i), 0, n, k, __VA_ARGS__)                                      \
        }                                                                                          \
    } while (0)
#define REEL_GROUP8(lanes, acc, n, k, ...)                                                         \
    {                                                                                              \
        const int n = lanes, k = acc;                                                              \
        (void)k;                                                                                   \
        __VA_ARGS__                                                                                \
    }

#endif
