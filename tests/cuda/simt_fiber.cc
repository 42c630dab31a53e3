#include "simt_fiber.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Saves what a callee must preserve and nothing else: kernels change neither rounding nor signal masks. */
#if defined(__x86_64__)
enum { SAVED_WORDS = 6 };
asm(".text\n.globl simt_switch\n.hidden simt_switch\n.type simt_switch,@function\n"
    "simt_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
    ".size simt_switch,.-simt_switch\n");
#elif defined(__aarch64__)
enum { SAVED_WORDS = 20 };
asm(".text\n.globl simt_switch\n.hidden simt_switch\n.type simt_switch,%function\n"
    "simt_switch:\n"
    "sub sp,sp,#160\n"
    "stp x19,x20,[sp,#0]\nstp x21,x22,[sp,#16]\nstp x23,x24,[sp,#32]\nstp x25,x26,[sp,#48]\n"
    "stp x27,x28,[sp,#64]\nstp x29,x30,[sp,#80]\n"
    "stp d8,d9,[sp,#96]\nstp d10,d11,[sp,#112]\nstp d12,d13,[sp,#128]\nstp d14,d15,[sp,#144]\n"
    "mov x9,sp\nstr x9,[x0]\nmov sp,x1\n"
    "ldp x19,x20,[sp,#0]\nldp x21,x22,[sp,#16]\nldp x23,x24,[sp,#32]\nldp x25,x26,[sp,#48]\n"
    "ldp x27,x28,[sp,#64]\nldp x29,x30,[sp,#80]\n"
    "ldp d8,d9,[sp,#96]\nldp d10,d11,[sp,#112]\nldp d12,d13,[sp,#128]\nldp d14,d15,[sp,#144]\n"
    "add sp,sp,#160\nret\n"
    ".size simt_switch,.-simt_switch\n");
#else
#error "simt_switch: save the registers that a callee preserves, swap stack pointers, restore"
#endif

namespace simt
{

unsigned char *stacks_open()
{
    size_t bytes = (size_t)STACKS_MAX * STACK_BYTES;
    unsigned char *p = (unsigned char *)mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED) {
        perror("simt: stacks");
        abort();
    }
    for (int i = 0; i < STACKS_MAX; i++) mprotect(p + (size_t)i * STACK_BYTES, 4096, PROT_NONE);
    return p;
}

void *stack_prepare(unsigned char *stacks, int i, void (*entry)())
{
    /* tops are staggered: equal ones would put the same locals of all threads into the same cache sets */
    uintptr_t top = (uintptr_t)stacks + (size_t)(i + 1) * STACK_BYTES - 256 - (size_t)(i * 7 % 61) * 64;
    void **sp = (void **)(top & ~(uintptr_t)15);

#if defined(__x86_64__)
    *--sp = NULL;
    *--sp = (void *)entry; /* where `ret` goes, with the stack aligned as after a call */
    sp -= SAVED_WORDS;
#else
    sp -= SAVED_WORDS;
    sp[11] = (void *)entry; /* x30 */
#endif
    return sp;
}

} // namespace simt
