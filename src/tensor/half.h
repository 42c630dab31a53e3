#ifndef REEL_TENSOR_HALF_H
#define REEL_TENSOR_HALF_H

/* 16-bit floats on the host, for files. Rounding to nearest, ties to even; NaN stays NaN. */

#include <stdint.h>
#include <string.h>

static inline float reel_bf16_f32(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;

    memcpy(&f, &u, 4);
    return f;
}

static inline uint16_t reel_f32_bf16(float f)
{
    uint32_t u;

    memcpy(&u, &f, 4);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

static inline float reel_f16_f32(uint16_t h)
{
    uint32_t s = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 1023, u;
    float f;

    if (e == 31) u = s | 0x7f800000u | m << 13;
    else if (e) u = s | (e + 112) << 23 | m << 13;
    else {
        f = (float)m * 0x1p-24f;
        memcpy(&u, &f, 4);
        u |= s;
    }
    memcpy(&f, &u, 4);
    return f;
}

#endif
