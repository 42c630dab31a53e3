#ifndef REEL_BASE_EXACT_H
#define REEL_BASE_EXACT_H

#include <stdint.h>

/* An exact, order-independent accumulator of doubles: a fixed-point number of 64-bit limbs, each
 * carrying 32 bits of the value, so that limbs can be summed over ranks as plain integers (up to
 * 2^30 terms) before they are normalised. limb[REEL_EXACT_LIMBS-1] counts non-finite terms. */
#define REEL_EXACT_LIMBS 68

void reel_exact_add(int64_t limb[REEL_EXACT_LIMBS], double x);
/** reel_exact_value - the sum, correctly rounded to double; NaN if any term was not finite. Local. */
double reel_exact_value(const int64_t limb[REEL_EXACT_LIMBS]);

#endif
