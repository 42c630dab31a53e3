/* A launch: limits, order of blocks, shared memory, reports. */

#include "simt_exec.h"

#include <map>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>

namespace simt
{

uint3 block_idx;
dim3 block_dim, grid_dim;
uint64_t block_serial = 1, launch_serial = 1;
void *dyn_shared;
bool in_kernel;
Launch *running_launch;
Order order;
Runtime runtime;
Checker checker;

static uint64_t random_state = 88172645463325252ull;
uint64_t random_bits()
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

void set_order(Order o, uint64_t seed)
{
    order = o;
    random_state = seed * 0x9E3779B97F4A7C15ull + 0x1234567;
    if (!random_state) random_state = 1;
}

/* ---- reports ---- */

enum { REPORTS_MAX = 20 };
static int n_errors;
static bool aborts = true;

int errors()
{
    return n_errors;
}
void abort_on_error(bool yes)
{
    aborts = yes;
}

void error(const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    if (++n_errors <= REPORTS_MAX) {
        fprintf(stderr, "simt: kernel %s", running_launch ? running_launch->kernel : "(none)");
        if (in_kernel) fprintf(stderr, ", block (%u,%u,%u)", block_idx.x, block_idx.y, block_idx.z);
        if (cur) fprintf(stderr, ", thread (%u,%u,%u)", cur->idx.x, cur->idx.y, cur->idx.z);
        if (file) fprintf(stderr, ", %s:%d", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line);
        fprintf(stderr, ": ");
        va_start(ap, fmt);
        vfprintf(stderr, fmt, ap);
        va_end(ap);
        fprintf(stderr, "\n");
    }
    if (aborts) abort();
}

/* A block that runs this long waits for something that no other thread can bring. SIMT_SPIN_S: seconds of processor time. */
enum { SPIN_S = 60 };
static void on_tick(int)
{
    static uint64_t serial;

    if (in_kernel && serial == block_serial)
        error(NULL, 0, "a kernel spins: its block takes more than its share of time");
    if (in_kernel && serial == block_serial) abort();
    serial = block_serial;
}

static void watch_for_spins()
{
    const char *e = getenv("SIMT_SPIN_S");
    struct itimerval every;

    every.it_value.tv_sec = every.it_interval.tv_sec = e ? atol(e) : (long)SPIN_S;
    every.it_value.tv_usec = every.it_interval.tv_usec = 0;
    signal(SIGVTALRM, on_tick);
    setitimer(ITIMER_VIRTUAL, &every, NULL);
}

/* ---- shared memory: arrays between red zones, filled with NaN when a block begins ---- */

enum { RED_ZONE = 128, CANARY = 0xA5, CANARY_BYTES = 64 };
struct Placed {
    unsigned char *end;
    const char *name;
};
unsigned char *shared_base;
static size_t shared_used, shared_counted, shared_limit;
static std::vector<Placed> placed;

static void *place(size_t bytes, size_t align, const char *name)
{
    unsigned char *p;

    shared_used = (shared_used + RED_ZONE + align - 1) / align * align;
    if (shared_used + bytes + RED_ZONE > SHARED_MAX) {
        error(NULL, 0, "shared memory: %s does not fit", name);
        abort();
    }
    p = shared_base + shared_used;
    shared_used += bytes;
    memset(p, 0xFF, bytes);
    memset(p + bytes, CANARY, CANARY_BYTES);
    placed.push_back(Placed{ p + bytes, name });
    if (checker.shared_placed) checker.shared_placed(p, bytes, name);
    return p;
}

void *place_shared(SharedSlot *slot, size_t bytes, size_t align, const char *name)
{
    slot->serial = block_serial;
    slot->p = place(bytes, align, name);
    shared_counted = (shared_counted + align - 1) / align * align + bytes;
    if (shared_counted > shared_limit)
        error(NULL, 0, "%zu bytes of shared memory with %s, the kernel may have %zu", shared_counted, name,
              shared_limit);
    return slot->p;
}

static void shared_begin()
{
    shared_used = 0;
    placed.clear();
    shared_counted = running_launch->smem;
    dyn_shared = place(running_launch->smem, 128, "dynamic shared memory");
}

static void shared_end()
{
    for (const Placed &p : placed) {
        for (int i = 0; i < CANARY_BYTES; i++) {
            if (p.end[i] == CANARY) continue;
            error(NULL, 0, "shared memory overrun: a store past the end of %s", p.name);
            break;
        }
    }
}

/* ---- limits ---- */

static const Limits sm_80 = { "sm_80", 8, 0, 108, 166912, 167936 },
                    sm_90 = { "sm_90", 9, 0, 132, 232448, 233472 };

const Limits &limits()
{
    const char *sm = getenv("SIMT_SM");

    return sm && !strcmp(sm, "90") ? sm_90 : sm_80;
}

enum { SHARED_DEFAULT = 48 * 1024, ARGS_MAX = 4096 };
static std::map<const void *, size_t> &opted_in()
{
    static std::map<const void *, size_t> m;
    return m;
}

static size_t dyn_limit(const void *fn)
{
    auto it = opted_in().find(fn);
    return it == opted_in().end() ? (size_t)SHARED_DEFAULT : it->second;
}

cudaError_t allow_dyn_shared(const void *fn, size_t bytes)
{
    if (bytes > limits().shared_optin) return cudaErrorInvalidValue;
    opted_in()[fn] = bytes;
    return cudaSuccess;
}

static const char *refused(const Launch &l, size_t arg_bytes, size_t dyn)
{
    if (!l.block.x || !l.block.y || !l.block.z || (uint64_t)l.block.x * l.block.y * l.block.z > THREADS_MAX)
        return "a block has 1 to 1024 threads";
    if (l.block.z > 64) return "a block is at most 64 deep";
    if (!l.grid.x || !l.grid.y || !l.grid.z) return "an empty grid";
    if (l.grid.x > 0x7fffffffu || l.grid.y > 65535 || l.grid.z > 65535)
        return "a grid is at most 2^31-1 by 65535 by 65535";
    if (l.smem > dyn) return "more dynamic shared memory than ALLOW_DYN_SHARED asked for (48 KiB without)";
    if (arg_bytes > ARGS_MAX) return "more than 4 KiB of arguments";
    return NULL;
}

void enqueue(Launch *l, const void *fn, size_t arg_bytes, cudaStream_t stream)
{
    const char *why = refused(*l, arg_bytes, dyn_limit(fn));

    l->fn = fn;
    if (why) {
        fprintf(stderr, "simt: launch of %s refused: %s (grid %u,%u,%u, block %u,%u,%u, %zu bytes shared)\n",
                l->kernel, why, l->grid.x, l->grid.y, l->grid.z, l->block.x, l->block.y, l->block.z, l->smem);
        if (runtime.failed)
            runtime.failed(cudaErrorInvalidConfiguration);
        else
            n_errors++;
        delete l;
        return;
    }
    if (runtime.enqueue) {
        runtime.enqueue(l, stream);
        return;
    }
    run(*l);
    delete l;
}

/* ---- the grid ---- */

static void setup()
{
    const char *e = getenv("SIMT_ORDER");

    if (shared_base) return;
    shared_base =
        (unsigned char *)mmap(NULL, SHARED_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (shared_base == MAP_FAILED) abort();
    watch_for_spins();
    if (!e) return;
    if (!strcmp(e, "reverse")) set_order(REVERSE, 0);
    if (!strncmp(e, "random", 6)) set_order(RANDOM, e[6] == ':' ? strtoull(e + 7, NULL, 10) : 1);
}

static void number_threads()
{
    int i = 0;
    uint3 t;

    block.threads = (int)(block_dim.x * block_dim.y * block_dim.z);
    block.warps = (block.threads + LANES - 1) / LANES;
    for (t.z = 0; t.z < block_dim.z; t.z++)
        for (t.y = 0; t.y < block_dim.y; t.y++)
            for (t.x = 0; t.x < block_dim.x; t.x++, i++) {
                block.lane[i].idx = t;
                block.lane[i].linear = i;
                block.lane[i].warp = i / LANES;
                block.lane[i].lane = i % LANES;
            }
}

static std::vector<uint32_t> block_order(size_t n)
{
    std::vector<uint32_t> at(n);

    for (size_t i = 0; i < n; i++) at[i] = (uint32_t)(order == REVERSE ? n - 1 - i : i);
    for (size_t i = n; order == RANDOM && i-- > 1;) std::swap(at[i], at[random_bits() % (i + 1)]);
    return at;
}

void run(Launch &l)
{
    setup();
    record(l);
    running_launch = &l;
    grid_dim = l.grid;
    block_dim = l.block;
    shared_limit = std::max(dyn_limit(l.fn), (size_t)SHARED_DEFAULT);
    number_threads();
    launch_serial = block_serial + 1;
    in_kernel = true;
    if (checker.launch_begin) checker.launch_begin(l);
    for (uint32_t i : block_order((size_t)l.grid.x * l.grid.y * l.grid.z)) {
        block_idx.x = i % l.grid.x;
        block_idx.y = i / l.grid.x % l.grid.y;
        block_idx.z = i / l.grid.x / l.grid.y;
        block_serial++;
        if (checker.block_begin) checker.block_begin();
        shared_begin();
        run_block();
        shared_end();
        if (checker.block_end) checker.block_end();
    }
    cur = NULL;
    in_kernel = false;
    running_launch = NULL;
}

/* ---- accesses that the primitives make known in every build ---- */

void note(const void *p, int bytes, Access kind, At at)
{
    static const char *name[] = { "load", "store", "atomic" };

    if ((uintptr_t)p & (uintptr_t)(bytes - 1))
        error(at.file, at.line, "MISALIGNED %d-byte %s at %p", bytes, name[kind], p);
    if (checker.access) checker.access(p, bytes, kind, at);
}

} // namespace simt
