#ifndef REEL_TESTS_CUDA_SIMT_RIG_H
#define REEL_TESTS_CUDA_SIMT_RIG_H

/* A runtime just large enough to test the executor by itself: device memory from one range, four streams that
 * run at once in order of issue, and what is ordered before what. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <vector>

#include "simt_rt.h"

namespace rig
{

enum { STREAMS = 4 };
static const size_t ARENA = 1u << 26, RED = 256;

struct Op {
    const char *what;
    int stream;
    uint32_t seen[STREAMS]; /* of each stream, the last operation that comes before this one, or is it */
};
static std::vector<Op> ops(1);
static uint32_t head[STREAMS][STREAMS]; /* by stream: what its next operation comes after */
static uint32_t current;
static cudaError_t failure;
static std::vector<simt::Allocation> allocations;
static unsigned char *arena;
static size_t used;

static const simt::Allocation *find(const void *p)
{
    const simt::Allocation *best = NULL;

    for (const simt::Allocation &a : allocations)
        if ((const unsigned char *)p + RED / 2 >= a.p && (!best || a.p > best->p)) best = &a;
    return best;
}

static bool happens_before(uint32_t a, uint32_t b)
{
    return ops[b].seen[ops[a].stream] >= a;
}
static uint32_t running()
{
    return current;
}
static simt::OpInfo info(uint32_t id)
{
    return simt::OpInfo{ ops[id].what, ops[id].stream };
}

static void enqueue(simt::Launch *l, cudaStream_t stream)
{
    int s = (int)(uintptr_t)stream;
    Op op = { l->kernel, s, { 0 } };

    current = (uint32_t)ops.size();
    head[s][s] = current;
    memcpy(op.seen, head[s], sizeof op.seen);
    ops.push_back(op);
    simt::run(*l);
    delete l;
}

/* What follows on stream s comes after all that has been given to stream `on`. */
__attribute__((unused)) static void wait(int s, int on)
{
    for (int i = 0; i < STREAMS; i++)
        if (head[on][i] > head[s][i]) head[s][i] = head[on][i];
}

static void refused(cudaError_t e)
{
    failure = e;
}

static void open()
{
    arena = (unsigned char *)mmap(NULL, ARENA, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena == MAP_FAILED) exit(99);
    used = RED;
    simt::runtime = simt::Runtime{ enqueue, refused, arena, ARENA, find, running, info, happens_before };
}

/* Poisoned: NaN in every floating type. The host writes it directly, then says which bytes are defined. */
static void *alloc(size_t bytes)
{
    unsigned char *p = arena + used;

    used += (bytes + 2 * RED - 1) / RED * RED;
    memset(p, 0xFF, bytes);
    allocations.push_back(simt::Allocation{ p, bytes, true, (int)allocations.size() });
    if (simt::checker.defined) simt::checker.defined(p, bytes, false);
    return p;
}

static void defined(const void *p, size_t bytes)
{
    if (simt::checker.defined) simt::checker.defined(p, bytes, true);
}

} // namespace rig

#endif
