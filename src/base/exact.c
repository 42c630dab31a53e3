#include "base/exact.h"

#include <math.h>
#include <string.h>

/* Bit 0 of limb 0 weighs 2^-1074; limb i carries bits 32i..32i+31. */
void reel_exact_add(int64_t limb[REEL_EXACT_LIMBS], double x)
{
    int e;
    int64_t m;
    uint64_t u;
    int bit, i, s;

    if (x == 0) return;
    if (!isfinite(x)) {
        limb[REEL_EXACT_LIMBS - 1]++;
        return;
    }
    m = (int64_t)ldexp(frexp(x, &e), 53); /* x = m 2^(e-53), exactly */
    bit = e - 53 + 1074;
    if (bit < 0) { /* subnormal: its low bits are zero */
        m /= (int64_t)1 << -bit;
        bit = 0;
    }
    u = m < 0 ? (uint64_t)-m : (uint64_t)m;
    i = bit / 32;
    s = bit % 32;
    for (int k = 0; k < 3; k++) { /* 53 bits shifted by up to 31 span three limbs */
        int lo = 32 * k - s;
        uint64_t part = lo >= 64 ? 0 : lo >= 0 ? u >> lo : u << -lo;
        part &= 0xffffffffu;
        limb[i + k] += m < 0 ? -(int64_t)part : (int64_t)part;
    }
}

double reel_exact_value(const int64_t limb[REEL_EXACT_LIMBS])
{
    int64_t d[REEL_EXACT_LIMBS + 1], carry = 0;
    int neg, top;
    double v = 0;

    if (limb[REEL_EXACT_LIMBS - 1]) return NAN;
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
