#ifndef REEL_TENSOR_HALF_H
#define REEL_TENSOR_HALF_H

/* 16-bit floats, for files and kernels. Branch-free, so that loops vectorise. */

#include <stdint.h>
#include <string.h>

#include "base/rng.h" /* REEL_HD */

REEL_HD uint32_t reel_f32_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}
REEL_HD float reel_bits_f32(uint32_t u)
{
    float x;
    memcpy(&x, &u, 4);
    return x;
}

/** reel_bf16_f32 - widen. reel_f32_bf16 - round to nearest even; a NaN stays one (quiet). Local. */
REEL_HD float reel_bf16_f32(uint16_t h) { return reel_bits_f32((uint32_t)h << 16); }
REEL_HD uint16_t reel_f32_bf16(float x)
{
    uint32_t u = reel_f32_bits(x), r = (u + 0x7fffu + (u >> 16 & 1)) >> 16;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? (u >> 16 | 0x40u) : r);
}
/** reel_f16_f32 - widen IEEE half: exact, by scaling of the shifted bits. Local. */
REEL_HD float reel_f16_f32(uint16_t h)
{
    uint32_t mag = (uint32_t)(h & 0x7fffu) << 13, sign = (uint32_t)(h & 0x8000u) << 16;
    float x = reel_bits_f32(mag) * 0x1p112f; /* rebias 15 -> 127; subnormals come out right */
    uint32_t u = (h & 0x7c00u) == 0x7c00u ? mag | 0x7f800000u : reel_f32_bits(x);
    return reel_bits_f32(u | sign);
}

#endif
