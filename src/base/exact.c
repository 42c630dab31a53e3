#include "base/exact.h"

#include <math.h>

void reel_exact_add(int64_t limb[REEL_EXACT_LIMBS], double x)
{
    struct reel_exact_term t = reel_exact_split(x);

    for (int k = 0; k < 3; k++) limb[t.limb + k] += t.part[k];
}

double reel_exact_value(const int64_t limb[REEL_EXACT_LIMBS])
{
    int64_t d[REEL_EXACT_LIMBS + 1], carry = 0;
    int neg, top;
    double v = 0;

    if (limb[REEL_EXACT_LIMBS - 1]) return (double)NAN;
    for (int i = 0; i < REEL_EXACT_LIMBS - 1; i++) {
        int64_t t = limb[i] + carry;
        carry = t >> 32;
        d[i] = t - carry * ((int64_t)1 << 32);
    }
    neg = carry < 0;
    if (neg) { /* two's complement over base 2^32 digits */
        int64_t c = 1;
        for (int i = 0; i < REEL_EXACT_LIMBS - 1; i++) {
            int64_t t = (d[i] ^ 0xffffffff) + c;
            c = t >> 32;
            d[i] = t & 0xffffffff;
        }
    }
    for (top = REEL_EXACT_LIMBS - 2; top > 0 && !d[top]; top--)
        ;
    /* The top three digits hold at least 65 significant bits; what lies below only breaks ties. */
    if (top >= 2) {
        unsigned __int128 w = (unsigned __int128)d[top] << 64 | (unsigned __int128)d[top - 1] << 32 |
                              (unsigned __int128)d[top - 2];
        int sticky = 0, shift = 0;
        for (int i = 0; i < top - 2; i++) sticky |= d[i] != 0;
        while (w >> 64) {
            sticky |= (int)(w & 1);
            w >>= 1;
            shift++;
        }
        while (!(w >> 63) && shift > 0) w <<= 1, shift--; /* never below the digits read */
        {
            uint64_t u = (uint64_t)w, keep = u >> 11, rest = u & 0x7ff;
            int bits = u >> 63 ? 1 : 0;
            if (bits) {
                if (rest > 0x400 || (rest == 0x400 && (sticky || (keep & 1)))) keep++;
                v = ldexp((double)keep, 11 + shift + 32 * (top - 2) - 1074);
            } else {
                v = ldexp((double)u, shift + 32 * (top - 2) - 1074);
            }
        }
    } else {
        uint64_t u = (uint64_t)d[1] << 32 | (uint64_t)d[0];
        v = ldexp((double)u, -1074);
    }
    return neg ? -v : v;
}
