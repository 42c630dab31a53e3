#ifndef REEL_TESTS_CUDA_SIMT_RT_H
#define REEL_TESTS_CUDA_SIMT_RT_H

/* Between the executor (simt_exec.cc), its checker (simt_check.cc) and the runtime that owns streams
 * and device memory (the double of libcudart). The executor alone runs a launch at once. */

#include <string>

#include "kernels/cuda/simt.h"

namespace simt
{

/* Runs every thread of every block of l's grid. */
void run(Launch &l);

/* One line on stderr that names kernel, block, thread and line (file may be NULL); then aborts, unless told not to. */
void error(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int errors();
void abort_on_error(bool yes);

/* A kernel's name as the compiler mangled it. */
std::string symbol(const void *fn);

enum Order { FORWARD, REVERSE, RANDOM };
/* Order of threads and blocks; SIMT_ORDER=forward|reverse|random:SEED sets it for a process. */
void set_order(Order o, uint64_t seed);

/* The device that launches are checked against: sm_80, or SIMT_SM=90. */
struct Limits {
    const char *name;
    int major, minor, multiprocessors;
    size_t shared_optin, shared_per_multiprocessor;
};
const Limits &limits();

/* ---- what the runtime double gives ---- */

struct Allocation {
    unsigned char *p;
    size_t bytes;
    bool live;
    int id;
};

/* An operation of a stream: a launch, a copy, a memset, a library call. Numbered from 1 in order of issue. */
struct OpInfo {
    const char *what;
    int stream;
};

struct Runtime {
    void (*enqueue)(Launch *l, cudaStream_t stream); /* takes l over; run(*l) when its turn comes */
    void (*failed)(cudaError_t e);                   /* a launch was refused */
    const unsigned char *arena;                      /* where all device memory lies */
    size_t arena_bytes;
    const Allocation *(*find)(const void *p); /* the allocation at or before p, NULL if none */
    uint32_t (*running)();                    /* the operation that runs now */
    OpInfo (*op)(uint32_t id);
    bool (*happens_before)(uint32_t earlier, uint32_t later); /* by streams, events and synchronisation */
};
extern Runtime runtime; /* zeros: launches run at once, device memory is not known */

/* ---- what the checker, when linked, gives; NULL otherwise ---- */

struct Checker {
    void (*access)(const void *p, int bytes, Access kind, At at);
    void (*launch_begin)(const Launch &l);
    void (*block_begin)();
    void (*block_end)();
    void (*shared_placed)(void *p, size_t bytes, const char *name);
    void (*undefined)(const void *p, size_t bytes); /* contents are undefined from now */
    /* for the runtime double: an operation other than a launch touches device memory; memory becomes (un)defined */
    void (*range)(uint32_t op, const void *p, size_t bytes, bool write);
    void (*defined)(const void *p, size_t bytes, bool yes);
};
extern Checker checker;

/* ---- for the checker ---- */

enum { SHARED_MAX = 256 * 1024 };
extern bool in_kernel;
extern Launch *running_launch;
extern uint64_t launch_serial;     /* block_serial of the running launch's first block */
extern uint32_t sync_time;         /* counts the block's barriers and __syncwarps */
extern uint32_t seen_time[32][32]; /* [warp][of]: warp has synchronised with what `of` did before then */
extern unsigned char *shared_base, *stacks;
extern const size_t stacks_bytes;
inline bool is_shared(const void *p)
{
    return (uintptr_t)p - (uintptr_t)shared_base < SHARED_MAX;
}
inline bool is_stack(const void *p)
{
    return (uintptr_t)p - (uintptr_t)stacks < stacks_bytes;
}
int running_threads(); /* of the block */

extern uint64_t switches; /* between stacks, so far */

} // namespace simt

#endif
