/* The loops for any processor. */
#pragma GCC optimize("O3", "no-math-errno", "no-trapping-math")
#define REEL_ISA portable
#include "kernels/cpu/loops.inc"
