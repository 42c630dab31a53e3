#ifndef REEL_MEDIA_NORMAL64_H
#define REEL_MEDIA_NORMAL64_H

#include <math.h>

#include "base/rng.h"

/** reel_normals64 - the first n normals of sample b of the draw with this key (reel_rng_key), step 0,
 * round 0; Box-Muller in f64. Local. */
static inline void reel_normals64(double *out, int n, uint64_t key, uint32_t b)
{
    for (int i = 0; i < n; i += 2) {
        uint32_t w0 = reel_rng_word(key, 0, 0, b, (uint64_t)i) >> 8, w1 = reel_rng_word(key, 0, 0, b, (uint64_t)i + 1) >> 8;
        double r = sqrt(-2.0 * log((w0 + 1) * 0x1p-24)), a = 2.0 * M_PI * (w1 * 0x1p-24);
        out[i] = r * cos(a);
        if (i + 1 < n) out[i + 1] = r * sin(a);
    }
}

#endif
