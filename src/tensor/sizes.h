#ifndef REEL_TENSOR_SIZES_H
#define REEL_TENSOR_SIZES_H

#include <stdint.h>

struct reel_sizes_text { char s[80]; };

/** reel_sizes_text - "[2,16,4]", cut where it is too long. Local. By value: reel_sizes_text(n, nd).s is an argument of printf. */
struct reel_sizes_text reel_sizes_text(const int64_t *n, int nd);

#endif
