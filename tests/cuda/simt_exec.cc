/* One block: its threads run one at a time, each until it waits. A thread gets a stack of its own only
 * when the one it runs on is kept by a thread that waits, so that a kernel without barriers is a loop. */

#include "simt_exec.h"
#include "simt_fiber.h"

#include <algorithm>
#include <stdio.h>
#include <string>

namespace simt
{

Thread *cur;
Block block;
uint64_t switches;

unsigned char *stacks;
const size_t stacks_bytes = (size_t)STACKS_MAX * STACK_BYTES;
static void *idle_sp[STACKS_MAX]; /* by stack: where a worker without a thread stands */
static int idle[STACKS_MAX], n_idle, n_stacks;
static void *scheduler_sp;
static Lane *given;  /* the thread that the worker switched to shall begin */
static int entering; /* the stack of a worker that is new */

/* ---- the clock of a block: what each warp has seen of each ---- */

uint32_t sync_time, seen_time[WARPS_MAX][WARPS_MAX];

static void times_reset()
{
    sync_time = 1;
    for (int w = 0; w < block.warps; w++) std::fill(seen_time[w], seen_time[w] + block.warps, 0u);
}

static void times_warp(int w)
{
    seen_time[w][w] = ++sync_time;
}

static void times_join(const uint32_t *waiting)
{
    uint32_t all[WARPS_MAX] = { 0 };
    int n = block.warps;

    sync_time++;
    for (int w = 0; w < n; w++)
        for (int v = 0; waiting[w] && v < n; v++)
            all[v] = std::max(all[v], v == w ? sync_time : seen_time[w][v]);
    for (int w = 0; w < n; w++)
        if (waiting[w]) std::copy(all, all + n, seen_time[w]);
}

/* ---- switching ---- */

static Lane *next_lane(const Warp *w)
{
    uint32_t m = w->fresh | w->runnable;
    int k = 0;

    if (!m) return NULL;
    if (order == FORWARD) k = __builtin_ctz(m);
    if (order == REVERSE) k = 31 - __builtin_clz(m);
    if (order == RANDOM) {
        for (int skip = (int)(random_bits() % (unsigned)__builtin_popcount(m)); skip > 0; skip--) m &= m - 1;
        k = __builtin_ctz(m);
    }
    return &block.lane[(w - block.warp) * LANES + k];
}

static bool is_fresh(const Lane *l)
{
    return (block.warp[l->warp].fresh >> l->lane) & 1;
}

static void worker();

static void *idle_worker()
{
    if (n_idle) return idle_sp[idle[--n_idle]];
    entering = n_stacks++;
    return stack_prepare(stacks, entering, worker);
}

/* Leaves the running thread or worker at *save and continues with `next`, or with the scheduler. */
static void go(void **save, Lane *next)
{
    switches++;
    if (!next) {
        simt_switch(save, scheduler_sp);
    } else if (is_fresh(next)) {
        given = next;
        simt_switch(save, idle_worker());
    } else {
        block.warp[next->warp].runnable &= ~(1u << next->lane);
        cur = next;
        simt_switch(save, next->sp);
    }
}

int running_threads()
{
    return block.threads;
}

static void run_thread(Lane *l)
{
    Warp *w = &block.warp[l->warp];

    w->fresh &= ~(1u << l->lane);
    l->barrier = -1;
    l->group = 0;
    l->copies.clear();
    cur = l;
    running_launch->thread();
    for (const Copy &c : l->copies) memcpy(c.to, c.from, (size_t)c.bytes);
    w->exited |= 1u << l->lane;
    block.alive--;
}

/* The bottom of every stack: one thread after the other; parked while there is none to begin. */
static void worker()
{
    int me = entering;

    for (;;) {
        Lane *next;

        for (next = given; next && is_fresh(next); next = next_lane(&block.warp[next->warp]))
            run_thread(next);
        idle[n_idle++] = me;
        go(&idle_sp[me], next);
    }
}

static Lane *running()
{
    return static_cast<Lane *>(cur);
}

/* The running thread waits; others run until it is runnable and its turn comes. */
static void wait()
{
    Lane *l = running();

    go(&l->sp, next_lane(&block.warp[l->warp]));
}

/* ---- barriers of the block ---- */

static void release(Barrier *b)
{
    if (checker.access) times_join(b->waiting);
    block.reduced = b->sum;
    for (int w = 0; w < block.warps; w++) {
        for (uint32_t rest = b->waiting[w]; rest; rest &= rest - 1)
            block.lane[w * LANES + __builtin_ctz(rest)].barrier = -1;
        block.warp[w].runnable |= b->waiting[w];
        b->waiting[w] = 0;
    }
    b->arrived = 0;
}

void barrier(int id, int count, At at)
{
    Lane *l = running();
    Barrier *b = &block.barrier[id & (BARRIERS - 1)];
    int need = count ? count : block.threads;

    if (id < 0 || id >= BARRIERS) error(at.file, at.line, "barrier %d: there are 16", id);
    if (count % LANES) error(at.file, at.line, "barrier %d of %d threads: whole warps only", id, count);
    if (!b->arrived) {
        b->need = need;
        b->at = at;
    }
    if (b->need != need)
        error(at.file, at.line, "barrier %d of %d threads, of %d at line %d", id, need, b->need, b->at.line);
    if (!id && b->at.line != at.line)
        error(at.file, at.line, "threads meet at different barriers: lines %d and %d", b->at.line, at.line);
    l->barrier = id;
    l->at = at;
    b->waiting[l->warp] |= 1u << l->lane;
    if (++b->arrived < b->need) {
        wait();
        return;
    }
    release(b);
    block.warp[l->warp].runnable &= ~(1u << l->lane); /* the last to arrive goes on */
}

int barrier_reduce(Reduce op, int v, At at)
{
    Barrier *b = &block.barrier[0];

    if (!b->arrived) b->sum = op == REDUCE_AND;
    if (op == REDUCE_OR) b->sum |= v != 0;
    if (op == REDUCE_AND) b->sum &= v != 0;
    if (op == REDUCE_COUNT) b->sum += v != 0;
    barrier(0, 0, at);
    return block.reduced;
}

/* ---- collectives of the warp ---- */

static void check_joined(const Lane *mine, const Lane *first, uint32_t mask)
{
    for (uint32_t rest = mask; rest; rest &= rest - 1) {
        const Lane *o = first + __builtin_ctz(rest);

        if (o->op != mine->op || o->mask != mine->mask || o->at.line != mine->at.line)
            error(mine->at.file, mine->at.line,
                  "lane %d is in another warp collective, at line %d with mask %08x, not %08x", o->lane,
                  o->at.line, o->mask, mine->mask);
    }
}

void collective(uint32_t mask, WarpOp op, void *payload, At at)
{
    Lane *l = running();
    Warp *w = &block.warp[l->warp];
    uint32_t bit = 1u << l->lane;

    if (!(mask & bit))
        error(at.file, at.line, "lane %d calls a warp collective whose mask %08x leaves it out", l->lane,
              mask);
    mask &= w->exist;
    if (mask & w->exited)
        error(at.file, at.line, "a warp collective waits for lanes %08x, which have exited",
              mask & w->exited);
    l->mask = mask;
    l->op = op;
    l->at = at;
    w->payload[l->lane] = payload;
    w->in_collective |= bit;
    if ((w->in_collective & mask) != mask) {
        wait();
        return;
    }
    check_joined(l, &block.lane[l->warp * LANES], mask);
    op(w->payload, mask);
    if (op == sync_op && mask == w->exist) times_warp(l->warp); /* shuffles and votes order no memory */
    w->in_collective &= ~mask;
    w->runnable |= mask & ~bit;
}

/* ---- asynchronous copies: the data is there when its group has been waited for, not before ---- */

void cp_async(void *smem, const void *src, int bytes, At at)
{
    Lane *l = running();

    if (bytes) note(src, bytes, LOAD, at);
    note(smem, 16, STORE, at);
    memset(smem, 0xFF, 16);
    if (checker.undefined) checker.undefined(smem, 16);
    l->copies.push_back(Copy{ smem, src, bytes, l->group, at });
}

void cp_async_commit()
{
    running()->group++;
}

void cp_async_wait(int last)
{
    Lane *l = running();
    size_t kept = 0;

    for (Copy &c : l->copies) {
        if (c.group >= l->group - last) {
            l->copies[kept++] = c;
            continue;
        }
        memset(c.to, 0, 16);
        memcpy(c.to, c.from, (size_t)c.bytes);
        if (checker.access) checker.access(c.to, 16, STORE, c.at);
    }
    l->copies.resize(kept);
}

/* ---- the block ---- */

static void begin_threads()
{
    block.alive = block.threads;
    for (int w = 0; w < block.warps; w++) {
        int n = std::min((int)LANES, block.threads - w * LANES);
        uint32_t all = n == LANES ? ~0u : (1u << n) - 1;

        block.warp[w].exist = block.warp[w].fresh = all;
        block.warp[w].runnable = block.warp[w].exited = block.warp[w].in_collective = 0;
    }
    for (Barrier &b : block.barrier) b.arrived = 0;
}

static std::string describe(const Lane &l)
{
    char mask[48];

    snprintf(mask, sizeof mask, "in a warp collective with mask %08x", l.mask);
    bool in_warp = (block.warp[l.warp].in_collective >> l.lane) & 1;
    return "\n  thread " + std::to_string(l.linear) + " waits " +
           (in_warp ? mask : "at barrier " + std::to_string(l.barrier)) + ", line " +
           std::to_string(l.at.line);
}

/* Names one thread of each group that waits at one place. */
static void deadlock()
{
    const Lane *first = NULL, *last = NULL;
    std::string who;

    for (int i = 0; i < block.threads && who.size() < 1000; i++) {
        Lane &l = block.lane[i];

        if ((block.warp[l.warp].exited >> l.lane) & 1) continue;
        if (!first) first = &l;
        if (!last || last->at.line != l.at.line) who += describe(l);
        last = &l;
    }
    n_stacks = n_idle = 0; /* the waiting threads' stacks are given up */
    error(first->at.file, first->at.line, "DEADLOCK: %d of %d threads wait, %d have exited%s", block.alive,
          block.threads, block.threads - block.alive, who.c_str());
}

void run_block()
{
    int place[WARPS_MAX];

    if (!stacks) stacks = stacks_open();
    begin_threads();
    times_reset();
    for (int w = 0; w < block.warps; w++) place[w] = order == REVERSE ? block.warps - 1 - w : w;
    while (block.alive) {
        bool progress = false;

        for (int w = block.warps - 1; order == RANDOM && w > 0; w--)
            std::swap(place[w], place[random_bits() % (unsigned)(w + 1)]);
        for (int k = 0; k < block.warps; k++) {
            while (Lane *l = next_lane(&block.warp[place[k]])) {
                progress = true;
                go(&scheduler_sp, l);
            }
        }
        cur = NULL;
        if (progress) continue;
        deadlock();
        return;
    }
}

} // namespace simt
