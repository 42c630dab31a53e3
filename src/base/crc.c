#include "base/crc.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Reflected polynomials. fold = { x^(512+32), x^(512-32), x^(128+32), x^(128-32), x^(2048+32), x^(2048-32) } mod P, reflected
 * and shifted by one: the multipliers that carry 64 bits over 64, 16 and 256 bytes (Gopal et al., "Fast CRC Computation for Generic
 * Polynomials Using PCLMULQDQ", Intel 2009). */
struct crc_kind { uint32_t poly; uint64_t fold[6]; };
static const struct crc_kind zip = { 0xEDB88320u, { 0x154442bd4, 0x1c6e41596, 0x1751997d0, 0x0ccaa009e, 0x11542778a, 0x1322d1430 } };
static const struct crc_kind castagnoli = { 0x82F63B78u, { 0x0740eef02, 0x09e4addf8, 0x0f20c0dfe, 0x14cd00bd6, 0x0dcb17aa4, 0x0b9e02b86 } };

/* The table is made on the spot: 2048 shifts, so there is nothing to initialise or share. */
static uint32_t by_table(const struct crc_kind *k, uint32_t crc, const unsigned char *p, size_t n)
{
    uint32_t t[256];

    if (n < 64) { /* not worth a table */
        for (; n--; p++) {
            crc ^= *p;
            for (int b = 0; b < 8; b++) crc = crc >> 1 ^ (crc & 1 ? k->poly : 0);
        }
        return crc;
    }
    for (uint32_t i = 0; i < 256; i++) {
        t[i] = i;
        for (int b = 0; b < 8; b++) t[i] = t[i] >> 1 ^ (t[i] & 1 ? k->poly : 0);
    }
    for (; n--; p++) crc = crc >> 8 ^ t[(crc ^ *p) & 0xff];
    return crc;
}

#if defined(__x86_64__)
#define CLMUL __attribute__((target("pclmul,sse4.1")))

CLMUL static inline __m128i fold(__m128i x, __m128i k, __m128i next)
{
    __m128i lo = _mm_clmulepi64_si128(x, k, 0x00), hi = _mm_clmulepi64_si128(x, k, 0x11);

    return _mm_xor_si128(_mm_xor_si128(lo, hi), next);
}

#define WIDE __attribute__((target("avx512f,vpclmulqdq")))

WIDE static inline __m512i fold_wide(__m512i x, __m512i k, __m512i next)
{
    return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(x, k, 0x00), _mm512_clmulepi64_epi128(x, k, 0x11), next, 0x96);
}

WIDE static inline __m512i both(const uint64_t k[2]) { return _mm512_broadcast_i32x4(_mm_set_epi64x((long long)k[1], (long long)k[0])); }

/* Folds 192 + 256 i bytes behind the 64 of x into x; returns how many. n >= 192. */
WIDE static size_t by_wide(const struct crc_kind *kind, __m128i x[4], const unsigned char *p, size_t n)
{
    __m512i k = both(kind->fold + 4), y[4] = { _mm512_loadu_si512(x) };
    size_t at = 192;

    for (int i = 1; i < 4; i++) y[i] = _mm512_loadu_si512(p + 64 * (i - 1));
    for (; n - at >= 256; at += 256)
        for (int i = 0; i < 4; i++) y[i] = fold_wide(y[i], k, _mm512_loadu_si512(p + at + 64 * i));
    k = both(kind->fold);
    for (int i = 1; i < 4; i++) y[0] = fold_wide(y[0], k, y[i]);
    _mm512_storeu_si512(x, y[0]);
    return at;
}

/* Folds all whole 16-byte pieces (n >= 64) into one, whose CRC from 0 by table equals theirs. */
CLMUL static uint32_t by_clmul(const struct crc_kind *kind, uint32_t crc, const unsigned char *p, size_t n)
{
    __m128i k = _mm_set_epi64x((long long)kind->fold[1], (long long)kind->fold[0]), x[4];
    unsigned char rest[16];

    for (int i = 0; i < 4; i++) x[i] = _mm_loadu_si128((const __m128i *)p + i);
    x[0] = _mm_xor_si128(x[0], _mm_cvtsi32_si128((int)crc));
    p += 64, n -= 64;
    if (n >= 1024 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq")) {
        size_t done = by_wide(kind, x, p, n);
        p += done, n -= done;
    }
    for (; n >= 64; p += 64, n -= 64)
        for (int i = 0; i < 4; i++) x[i] = fold(x[i], k, _mm_loadu_si128((const __m128i *)p + i));
    k = _mm_set_epi64x((long long)kind->fold[3], (long long)kind->fold[2]);
    for (int i = 1; i < 4; i++) x[0] = fold(x[0], k, x[i]);
    for (; n >= 16; p += 16, n -= 16) x[0] = fold(x[0], k, _mm_loadu_si128((const __m128i *)p));
    _mm_storeu_si128((__m128i *)rest, x[0]);
    return by_table(kind, by_table(kind, 0, rest, 16), p, n);
}
#endif

static uint32_t crc_of(const struct crc_kind *k, uint32_t crc, const void *data, size_t n)
{
#if defined(__x86_64__)
    if (n >= 64 && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"))
        return ~by_clmul(k, ~crc, data, n);
#endif
    return ~by_table(k, ~crc, data, n);
}

uint32_t reel_crc32(uint32_t crc, const void *data, size_t bytes) { return crc_of(&zip, crc, data, bytes); }
uint32_t reel_crc32c(uint32_t crc, const void *data, size_t bytes) { return crc_of(&castagnoli, crc, data, bytes); }
uint32_t reel_crc32_table(uint32_t crc, const void *data, size_t bytes) { return ~by_table(&zip, ~crc, data, bytes); }
uint32_t reel_crc32c_table(uint32_t crc, const void *data, size_t bytes)
{
    return ~by_table(&castagnoli, ~crc, data, bytes);
}

/* a * b mod P, reflected: bit 31 is x^0. */
static uint32_t times(const struct crc_kind *k, uint32_t a, uint32_t b)
{
    uint32_t p = 0;

    for (; a; a <<= 1) {
        if (a >> 31) p ^= b;
        b = b >> 1 ^ (b & 1 ? k->poly : 0);
    }
    return p;
}

/* a moves up by x^(8 bytes); the complements before and after cancel. */
uint32_t reel_crc32_join(uint32_t a, uint32_t b, uint64_t bytes)
{
    for (uint32_t power = 1u << (31 - 8); bytes; bytes >>= 1) {
        if (bytes & 1) a = times(&zip, power, a);
        power = times(&zip, power, power);
    }
    return a ^ b;
}
