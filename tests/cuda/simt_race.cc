/* Races, exactly: two accesses to the same bytes, one of them a write, with no chain of barriers, launches,
 * streams and events between them. A cell keeps the last write and what stands for all reads since: after
 * FastTrack (Flanagan and Freund, PLDI 2009), with CUDA's levels of order in place of locks. */

#include "simt_check.h"

#include <algorithm>
#include <map>
#include <stdio.h>
#include <stdlib.h>
#include <vector>

namespace simt
{

/* ---- the record of an access, one word ----
 * serial 28: of the block, which tells the launch; thread 10; time 22: the block's clock; flags 4.
 * With MANY_OPS, thread and time hold the number of a set of operations instead. */
enum { ATOMIC_WRITE = 1, MANY_LANES = 1, MANY_WARPS = 2, MANY_BLOCKS = 4, MANY_OPS = 8 };
enum { SERIAL_BITS = 28, TIME_BITS = 22 };

static uint64_t pack(uint64_t serial, uint64_t thread, uint64_t time, uint64_t flags)
{
    return serial << 36 | thread << 26 | time << 4 | flags;
}
static uint64_t serial_of(uint64_t a)
{
    return a >> 36;
}
static int thread_of(uint64_t a)
{
    return (int)(a >> 26 & 1023);
}
static uint32_t time_of(uint64_t a)
{
    return (uint32_t)(a >> 4 & ((1u << TIME_BITS) - 1));
}
static unsigned flags_of(uint64_t a)
{
    return (unsigned)(a & 15);
}
static uint32_t set_of(uint64_t a)
{
    return (uint32_t)(a >> 4);
}

/* ---- operations: launches and others; a block's serial tells which ---- */

struct Run {
    uint64_t serial; /* first */
    uint32_t op;
};
static std::vector<Run> runs;
static uint32_t running_op;

static uint32_t op_of(uint64_t serial)
{
    static uint64_t from = 1, to;
    static uint32_t op;

    if (serial >= from && serial < to) return op;
    auto it = std::upper_bound(runs.begin(), runs.end(), serial,
                               [](uint64_t s, const Run &r) { return s < r.serial; });
    to = it == runs.end() ? 0 : it->serial;
    if (it == runs.begin()) return 0;
    from = (--it)->serial;
    return op = it->op;
}

static void begin_run(uint64_t serial, uint32_t op)
{
    if (runs.empty() || runs.back().op != op) runs.push_back(Run{ serial, op });
    running_op = op;
    if (serial < 1ull << SERIAL_BITS) return;
    fprintf(stderr, "simt: more than 2^%d blocks in one process: the checker cannot tell them apart\n",
            SERIAL_BITS);
    abort();
}

void race_launch()
{
    begin_run(launch_serial, runtime.running ? runtime.running() : 0);
}

/* Has `op` ended, by order of streams and events, when the running operation begins? Remembered per running operation. */
static bool op_before(uint32_t op)
{
    static std::vector<uint64_t> known; /* running operation, answer */
    uint64_t mine = (uint64_t)running_op << 1 | 1ull << 40;

    if (op == running_op || !runtime.happens_before) return op != running_op;
    if (op >= known.size()) known.resize(op + 64);
    if (known[op] >> 1 != mine >> 1) known[op] = mine | runtime.happens_before(op, running_op);
    return known[op] & 1;
}

/* Sets of operations that read the same bytes with no order between them; each set once. */
static std::vector<std::vector<uint32_t>> sets;
static uint32_t set_with(std::vector<uint32_t> ops)
{
    static std::map<std::vector<uint32_t>, uint32_t> number;

    std::sort(ops.begin(), ops.end());
    ops.erase(std::unique(ops.begin(), ops.end()), ops.end());
    auto it = number.emplace(ops, (uint32_t)sets.size()).first;
    if (it->second == sets.size()) sets.push_back(ops);
    return it->second;
}

static bool set_before(uint32_t set)
{
    for (uint32_t op : sets[set])
        if (!op_before(op)) return false;
    return true;
}

static std::vector<uint32_t> reader_ops(uint64_t r)
{
    return flags_of(r) & MANY_OPS ? sets[set_of(r)] : std::vector<uint32_t>{ op_of(serial_of(r)) };
}

/* ---- order ---- */

struct Me {
    uint64_t serial;
    int thread, warp;
    uint32_t time;
    bool shared;
};

/* Is the access `a` of the running launch ordered before mine? */
static Conflict conflict_in_launch(uint64_t a, const Me &me, bool read)
{
    int warp = thread_of(a) / 32;
    unsigned many = read ? flags_of(a) : 0;

    if (many & MANY_BLOCKS || serial_of(a) != me.serial) return OTHER_BLOCK;
    if (many & MANY_WARPS) {
        for (int w = 0; w < (running_threads() + 31) / 32; w++)
            if (time_of(a) >= seen_time[me.warp][w]) return SAME_BLOCK;
        return ORDERED;
    }
    if (thread_of(a) == me.thread && !(many & MANY_LANES)) return ORDERED;
    return time_of(a) < seen_time[me.warp][warp] ? ORDERED : SAME_BLOCK;
}

static Conflict conflict(uint64_t a, const Me &me, bool read)
{
    if (!a || (me.shared && serial_of(a) != me.serial)) return ORDERED;
    if (read && flags_of(a) & MANY_OPS) return set_before(set_of(a)) ? ORDERED : OTHER_OP;
    if (serial_of(a) >= launch_serial) return conflict_in_launch(a, me, read);
    return op_before(op_of(serial_of(a))) ? ORDERED : OTHER_OP;
}

/* ---- the two kinds of access ---- */

static uint64_t join_reads(uint64_t old, uint64_t mine, const Me &me)
{
    Conflict c = conflict(old, me, true);

    if (c == ORDERED) return mine;
    if (c == OTHER_BLOCK) return mine | MANY_BLOCKS;
    if (c == SAME_BLOCK)
        return mine | (flags_of(old) & MANY_WARPS) |
               (thread_of(old) / 32 == me.warp ? MANY_LANES : MANY_WARPS);
    std::vector<uint32_t> ops = reader_ops(old);
    ops.push_back(running_op);
    return pack(me.serial, 0, 0, MANY_OPS) | (uint64_t)set_with(ops) << 4;
}

static void keep_worst(Race *r, Conflict c, uint64_t a, bool wrote)
{
    if (c > r->with) *r = Race{ c, wrote, thread_of(a), 0 };
    if (c == OTHER_OP)
        r->op = flags_of(a) & MANY_OPS && !wrote ? sets[set_of(a)].back() : op_of(serial_of(a));
}

static Race note_cells(Cell *c, size_t n, const Me &me, Access kind)
{
    uint64_t mine = pack(me.serial, (uint64_t)me.thread, me.time, 0);
    Race worst = { ORDERED, false, 0, 0 };

    for (size_t i = 0; i < n; i++, c++) {
        bool both_atomic = kind == ATOMIC && flags_of(c->write) & ATOMIC_WRITE;
        Conflict w =
            (c->write | ATOMIC_WRITE) == (mine | ATOMIC_WRITE) ? ORDERED : conflict(c->write, me, false);

        if (w != ORDERED && !(both_atomic && w != OTHER_OP)) keep_worst(&worst, w, c->write, true);
        if (kind == LOAD) {
            if (c->reads != mine) c->reads = join_reads(c->reads, mine, me);
            continue;
        }
        Conflict r = conflict(c->reads, me, true);
        if (r != ORDERED) keep_worst(&worst, r, c->reads, false);
        c->write = mine | (kind == ATOMIC ? ATOMIC_WRITE : 0);
        c->reads = 0;
    }
    return worst;
}

Race race_note(Cell *c, size_t n, Access kind, bool shared)
{
    Me me = { block_serial, cur->linear, cur->warp, sync_time, shared };

    if (me.time >> TIME_BITS) {
        fprintf(stderr, "simt: more than 2^%d barriers in one block: the checker cannot count them\n",
                TIME_BITS);
        abort();
    }
    return note_cells(c, n, me, kind);
}

Race race_range(Cell *c, size_t n, uint32_t op, bool write)
{
    Me me = { ++block_serial, 0, 0, 0, false };

    launch_serial = block_serial; /* nothing before belongs to this operation */
    begin_run(block_serial, op);
    return note_cells(c, n, me, write ? STORE : LOAD);
}

} // namespace simt
