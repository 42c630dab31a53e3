#ifndef REEL_TESTS_CUDA_SIMT_CHECK_H
#define REEL_TESTS_CUDA_SIMT_CHECK_H

/* Inside the checker. */

#include <string>

#include "simt_rt.h"

namespace simt
{

/* A place in a kernel's source: a return address (the compiler's hooks) or a line and a file (the primitives). */
typedef uintptr_t Site;
inline Site site_at(At at)
{
    return (uintptr_t)at.file | (uintptr_t)at.line << 48;
}

struct Line {
    std::string file;
    int line;
};
/* The line of a site; inlined helpers of the toolkit and of the executor are passed over. */
const Line &site_line(Site s);

/* True the first time: each site reports each kind of finding once. */
bool first_report(Site s, int kind);

/* Everything that a kernel reads and writes comes here. */
void check_access(Site site, const void *p, int bytes, Access kind);

enum Finding { BOUNDS, UNINITIALISED, ALIGNMENT, HOST_MEMORY, ARITHMETIC, RACE };
#define REPORT(site, finding, ...)                                                                           \
    do {                                                                                                     \
        if (simt::first_report((site), (finding)))                                                           \
            simt::error(simt::site_line(site).file.c_str(), simt::site_line(site).line, __VA_ARGS__);        \
    } while (0)

/* ---- races (simt_race.cc) ---- */

/* Two bytes of memory, the smallest thing that kernels share: the last write, the reads since then.
 * 0 is none; see simt_race.cc for the fields. */
struct Cell {
    uint64_t write, reads;
};

enum Conflict { ORDERED, SAME_BLOCK, OTHER_BLOCK, OTHER_OP };
struct Race {
    Conflict with;
    bool before_wrote; /* what the earlier access did */
    int thread;        /* of the earlier access */
    uint32_t op;
};
/* Notes an access of the running thread to n cells in a row; the worst conflict found. */
Race race_note(Cell *c, size_t n, Access kind, bool shared);
/* The same for an operation that is not a kernel. */
Race race_range(Cell *c, size_t n, uint32_t op, bool write);
void race_launch();

/* ---- traffic (simt_traffic.cc) ---- */

extern bool traffic_sampled; /* of this block */
void traffic_note(Site site, const void *p, int bytes, Access kind, bool shared);
void traffic_block_begin();
void traffic_block_end();

} // namespace simt

#endif
