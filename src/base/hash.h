#ifndef REEL_BASE_HASH_H
#define REEL_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define REEL_FNV 0xcbf29ce484222325u

/** reel_fnv - FNV-1a 64 of bytes, continued from h (REEL_FNV: from nothing). Local. */
static inline uint64_t reel_fnv(uint64_t h, const void *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) h = (h ^ ((const unsigned char *)p)[i]) * 0x100000001b3u;
    return h;
}

#endif
