#include "data/order.h"

#include "base/rng.h"
#include "data/draws.h"

/* h: half the bits; 4^h >= N */
int64_t reel_order_sample(uint64_t seed, uint32_t epoch, int64_t N, int64_t i)
{
    uint64_t key = reel_rng_key(seed, "data/sample"), x = (uint64_t)i;
    int h = 1;

    REEL_BUG_IF(i < 0 || i >= N, "position %lld of %lld samples", (long long)i, (long long)N);
    while (h < 31 && (1ull << (2 * h)) < (uint64_t)N) h++;
    do { /* Feistel on 2h bits; walk the cycle until the value is a sample */
        uint32_t mask = (1u << h) - 1, left = (uint32_t)(x >> h), right = (uint32_t)x & mask;
        for (uint32_t r = 0; r < 6; r++) {
            uint32_t f = reel_philox(right, r, epoch, 0, key).w[0] & mask, was = left;
            left = right;
            right = was ^ f;
        }
        x = (uint64_t)left << h | right;
    } while (x >= (uint64_t)N);
    return (int64_t)x;
}

/* MT19937: Matsumoto, Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998), and the 2002 initialisations. */
#define MT_N 624
struct mt { uint32_t s[MT_N]; int i; };

static void mt_init(struct mt *m, uint32_t seed)
{
    m->s[0] = seed;
    for (uint32_t i = 1; i < MT_N; i++) m->s[i] = 1812433253u * (m->s[i - 1] ^ m->s[i - 1] >> 30) + i;
    m->i = MT_N;
}

static void mt_init_words(struct mt *m, const uint32_t *key, int n)
{
    int i = 1, j = 0;

    mt_init(m, 19650218u);
    for (int k = n > MT_N ? n : MT_N; k; k--) {
        m->s[i] = (m->s[i] ^ (m->s[i - 1] ^ m->s[i - 1] >> 30) * 1664525u) + key[j] + (uint32_t)j;
        if (++i >= MT_N) m->s[0] = m->s[MT_N - 1], i = 1;
        if (++j >= n) j = 0;
    }
    for (int k = MT_N - 1; k; k--) {
        m->s[i] = (m->s[i] ^ (m->s[i - 1] ^ m->s[i - 1] >> 30) * 1566083941u) - (uint32_t)i;
        if (++i >= MT_N) m->s[0] = m->s[MT_N - 1], i = 1;
    }
    m->s[0] = 0x80000000u;
    m->i = MT_N;
}

static void mt_refill(struct mt *m)
{
    for (int i = 0; i < MT_N; i++) {
        uint32_t y = (m->s[i] & 0x80000000u) | (m->s[(i + 1) % MT_N] & 0x7fffffffu);
        m->s[i] = m->s[(i + 397) % MT_N] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    m->i = 0;
}

static uint32_t mt_next(struct mt *m)
{
    uint32_t y;

    if (m->i == MT_N) mt_refill(m);
    y = m->s[m->i++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

void reel_order_randperm(uint64_t seed, int64_t n, int64_t *perm)
{
    struct mt m;

    mt_init(&m, (uint32_t)seed);
    for (int64_t i = 0; i < n; i++) perm[i] = i;
    for (int64_t i = 0; i < n - 1; i++) {
        int64_t z = i + (int64_t)(mt_next(&m) % (uint64_t)(n - i)), was = perm[i];
        perm[i] = perm[z];
        perm[z] = was;
    }
}

double reel_order_random(uint64_t x)
{
    uint32_t key[2] = { (uint32_t)x, (uint32_t)(x >> 32) }, a, b;
    struct mt m;

    mt_init_words(&m, key, key[1] ? 2 : 1);
    a = mt_next(&m) >> 5;
    b = mt_next(&m) >> 6;
    return (a * 67108864.0 + b) / 9007199254740992.0;
}
