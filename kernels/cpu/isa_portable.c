/* The loops for any processor. */
#include "kernels/cpu/target.h"

REEL_LOOPS
#define REEL_ISA portable
#include "kernels/cpu/loops.inc"
