#ifndef REEL_TESTS_CUDA_SIMT_FIBER_H
#define REEL_TESTS_CUDA_SIMT_FIBER_H

/* Stacks and the switch between them: a CUDA thread that waits at a barrier keeps its stack. */

#include <stddef.h>

namespace simt
{

enum { STACK_BYTES = 64 * 1024, STACKS_MAX = 1024 };

/* An address range of STACKS_MAX stacks, each above a page that may not be touched. */
unsigned char *stacks_open();
/* The stack pointer from which a first switch enters `entry` on stack i. entry never returns. */
void *stack_prepare(unsigned char *stacks, int i, void (*entry)());

} // namespace simt

/* Leaves where it stands (*save), continues at `to`. */
extern "C" void simt_switch(void **save, void *to);

#endif
