#ifndef REEL_BASE_RNG_H
#define REEL_BASE_RNG_H

/* Named draws. A draw is a pure function of (seed, name) and coordinates (step, round, sample b,
 * element); never of rank, layout or call order. Philox4x32-10 (Salmon et al., SC'11), key from
 * FNV-1a 64 of seed and name. Header-only and free of libm so that every backend compiles it. */

#include <stdint.h>

#ifdef __CUDACC__
#define REEL_HD __host__ __device__ static inline
#else
#define REEL_HD static inline
#endif

struct reel_philox4 { uint32_t w[4]; };

REEL_HD struct reel_philox4 reel_philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t key)
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);

    for (int i = 0; i < 10; i++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (struct reel_philox4){ { c0, c1, c2, c3 } };
}

/** reel_rng_key - FNV-1a 64 of the seed's 8 little-endian bytes, then the name. Local. */
static inline uint64_t reel_rng_key(uint64_t seed, const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (int i = 0; i < 8; i++) h = (h ^ (seed >> (8 * i) & 0xff)) * 0x100000001b3u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

/** reel_rng_word - 32 bits of element `e`. Local. */
REEL_HD uint32_t reel_rng_word(uint64_t key, uint32_t step, uint32_t round, uint32_t b, uint64_t e)
{
    return reel_philox((uint32_t)(e / 4), b, step, round, key).w[e % 4];
}
REEL_HD float reel_rng_uniform(uint32_t w) { return (float)(w >> 8) * 0x1p-24f; } /* [0,1) */
REEL_HD int64_t reel_rng_below(uint32_t w, uint32_t n) { return (int64_t)(((uint64_t)w * n) >> 32); }
/* The normal of a pair of words lives in kernels/scalar.h (shared by host code and kernels). */

#endif
