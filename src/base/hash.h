#ifndef REEL_BASE_HASH_H
#define REEL_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define REEL_FNV 0xcbf29ce484222325u

/** reel_fnv - FNV-1a 64 of bytes, continued from h (REEL_FNV: from nothing). Local. */
static inline uint64_t reel_fnv(uint64_t h, const void *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) h = (h ^ ((const unsigned char *)p)[i]) * 0x100000001b3u;
    return h;
}

/**
 * reel_hash_f32 - elements [first, first+n) of a tensor as one number; that of the whole is the sum of its parts', so it does not
 * depend on who holds which. Local.
 * @key  of the tensor: reel_fnv of its name
 * Source: splitmix64's finaliser; Steele, Lea and Flood, OOPSLA 2014.
 */
static inline uint64_t reel_hash_f32(uint64_t key, uint64_t first, const float *x, int64_t n)
{
    uint64_t sum = 0;

    for (int64_t i = 0; i < n; i++) {
        uint64_t z = key + (first + (uint64_t)i) * 0x9e3779b97f4a7c15u;
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        z = (z ^ z >> 30 ^ bits) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        sum += z ^ z >> 31;
    }
    return sum;
}

#endif
