#ifndef REEL_DATA_ORDER_H
#define REEL_DATA_ORDER_H

/* The other order of the samples: what the reference data loader does with its seed, for runs that
 * continue one of its runs (training.data.parity). The default order is reel_order_sample (draws.h). */

#include <stdint.h>

/** reel_order_randperm - permutation of 0..n-1, n < 2^32/20, as PyTorch 1.13-2.x randperm on the host makes it:
 * MT19937, plain initialisation with seed mod 2^32; r[i] <-> r[i + next mod (n-i)]. Local. @perm out [n] */
void reel_order_randperm(uint64_t seed, int64_t n, int64_t *perm);

/** reel_order_random - the first random() of a Python generator seeded with x >= 0: MT19937 initialised by
 * array with the 32-bit words of x, two outputs a, b: ((a>>5) 2^26 + (b>>6)) / 2^53. Local. */
double reel_order_random(uint64_t x);

#endif
