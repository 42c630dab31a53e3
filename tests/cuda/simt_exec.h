#ifndef REEL_TESTS_CUDA_SIMT_EXEC_H
#define REEL_TESTS_CUDA_SIMT_EXEC_H

/* Inside the executor: the block that runs. */

#include <vector>

#include "simt_rt.h"

namespace simt
{

enum { WARPS_MAX = 32, LANES = 32, THREADS_MAX = WARPS_MAX * LANES, BARRIERS = 16 };

/* A copy that was started and has not been waited for. */
struct Copy {
    void *to;
    const void *from;
    int bytes; /* the rest of 16 is zeros */
    int group;
    At at;
};

struct Lane : Thread {
    void *sp;      /* where it stands while it waits */
    int barrier;   /* that it waits at, -1: none */
    uint32_t mask; /* of the warp collective it waits in */
    WarpOp op;
    At at;
    int group; /* cp.async groups committed */
    std::vector<Copy> copies;
};

/* Every lane of a warp is in exactly one of fresh, runnable, waiting (collective or barrier), exited. */
struct Warp {
    uint32_t exist, fresh, runnable, exited;
    uint32_t in_collective;
    void *payload[LANES];
};

struct Barrier {
    int arrived, need;
    uint32_t waiting[WARPS_MAX];
    At at;   /* of the first to arrive */
    int sum; /* of barrier_reduce */
};

struct Block {
    Lane lane[THREADS_MAX];
    Warp warp[WARPS_MAX];
    Barrier barrier[BARRIERS];
    int threads, warps, alive;
    int reduced; /* result of the last barrier_reduce */
};
extern Block block;

void run_block();
void record(const Launch &l); /* simt_record.cc */
uint64_t random_bits();
extern Order order;

} // namespace simt

#endif
