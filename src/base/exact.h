#ifndef REEL_BASE_EXACT_H
#define REEL_BASE_EXACT_H

#include <stdint.h>
#include <string.h>

#include "base/rng.h" /* REEL_HD */

/* An exact, order-independent accumulator of doubles: a fixed-point number of 64-bit limbs, each
 * carrying 32 bits of the value, so that limbs can be summed over ranks as plain integers (up to
 * 2^30 terms) before they are normalised. Bit 0 of limb 0 weighs 2^-1074; limb i carries bits
 * 32i..32i+31. limb[REEL_EXACT_LIMBS-1] counts non-finite terms. */
#define REEL_EXACT_LIMBS 68

/* A double as what it adds to three neighbouring limbs. */
struct reel_exact_term {
    int limb;
    int64_t part[3];
};

/** reel_exact_split - for hosts and devices, which add the parts as integers in any order. Local. */
REEL_HD struct reel_exact_term reel_exact_split(double x)
{
    struct reel_exact_term t = { REEL_EXACT_LIMBS - 3, { 0, 0, 1 } }; /* not finite */
    uint64_t u, m;
    int e, s;

    memcpy(&u, &x, 8);
    e = (int)(u >> 52 & 0x7ff);
    m = u & ((1ull << 52) - 1);
    if (e == 0x7ff) return t;
    if (e) m |= 1ull << 52, e--; /* x = m 2^(e-1074) */
    t.limb = e / 32;
    s = e % 32;
    for (int k = 0; k < 3; k++) { /* 53 bits shifted by up to 31 span three limbs */
        int lo = 32 * k - s;
        int64_t part = (int64_t)((lo >= 64 ? 0 : lo >= 0 ? m >> lo : m << -lo) & 0xffffffffu);
        t.part[k] = u >> 63 ? -part : part;
    }
    return t;
}

void reel_exact_add(int64_t limb[REEL_EXACT_LIMBS], double x);
/** reel_exact_value - the sum, correctly rounded to double; NaN if any term was not finite. Local. */
double reel_exact_value(const int64_t limb[REEL_EXACT_LIMBS]);

#endif
