/* Device memory and pinned host memory. Both are mapped twice: where the program sees them, and where the
 * double reads and writes them whatever the program may do (alias). Device memory is closed to the program
 * but while a kernel runs; a pinned buffer is closed as long as a copy owns it. */
#include "fake.h"

#include <map>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

namespace fake
{

enum { PAGE = 4096, ALIGN = 256 };
static const size_t ARENA = (size_t)1 << 40;

static unsigned char *user, *mine; /* the arena, and its alias */
static size_t used;
static int arena_fd = -1;
static bool opened;
static std::map<uintptr_t, Alloc> allocs;
static struct sigaction before[2];

struct Pinned {
    unsigned char *user, *mine;
    size_t bytes;
    int fd;
};
static std::map<uintptr_t, Pinned> pinned;

struct Flight { /* bytes that a copy owns */
    uintptr_t lo, hi;
    bool writes;
    const char *what;
    int stream;
    uint32_t tick;
};
static std::vector<Flight> flights;

static size_t up(size_t n, size_t to) { return (n + to - 1) / to * to; }

static const char *describe(const void *p, char out[160])
{
    const Alloc *a = find(p);
    size_t off = a ? (size_t)((const unsigned char *)p - a->p) : 0;

    if (!a)
        snprintf(out, 160, "address %p is in no allocation", p);
    else if (!a->live)
        snprintf(out, 160, "address %p is %zu bytes into allocation %d, which was freed", p, off, a->id);
    else if (off < a->bytes)
        snprintf(out, 160, "address %p is %zu bytes into allocation %d of %zu bytes", p, off, a->id, a->bytes);
    else
        snprintf(out, 160, "address %p is %zu bytes past the end of allocation %d of %zu bytes", p, off - a->bytes, a->id,
                 a->bytes);
    return out;
}

static void on_fault(int sig, siginfo_t *si, void *)
{
    uintptr_t at = (uintptr_t)si->si_addr;
    char words[160];

    if (is_device(si->si_addr)) {
        describe(si->si_addr, words);
        if (running && running->kind == KERNEL) fail("kernel %s touches memory that is not its own: %s", running->what, words);
        fail("host code touches device memory: %s", words);
    }
    for (const Flight &f : flights)
        if (at >= f.lo / PAGE * PAGE && at < up(f.hi, PAGE))
            fail("host code %s pinned memory %p that %s on stream %d still %s: wait for it first",
                 f.writes ? "touches" : "writes to", si->si_addr, f.what, f.stream, f.writes ? "fills" : "reads");
    sigaction(sig, &before[sig == SIGBUS], NULL); /* not ours: fault again */
}

static void *map(int fd, size_t bytes, int prot, void *at)
{
    void *p = mmap(at, bytes, prot, MAP_SHARED | MAP_NORESERVE | (at ? MAP_FIXED : 0), fd, 0);

    if (p == MAP_FAILED) fail("cannot map %zu bytes", bytes);
    return p;
}

static void start()
{
    static unsigned char alternate[64 << 10];
    stack_t st = {};
    struct sigaction sa = {};

    arena_fd = memfd_create("device", 0);
    if (arena_fd < 0 || ftruncate(arena_fd, (off_t)ARENA)) fail("cannot make %zu bytes of device memory", ARENA);
    user = (unsigned char *)map(arena_fd, ARENA, PROT_NONE, NULL);
    mine = (unsigned char *)map(arena_fd, ARENA, PROT_READ | PROT_WRITE, NULL);
    st.ss_sp = alternate; /* a fiber's stack is small */
    st.ss_size = sizeof alternate;
    sigaltstack(&st, NULL);
    sa.sa_sigaction = on_fault;
    sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &sa, &before[0]);
    sigaction(SIGBUS, &sa, &before[1]);
}

unsigned char *arena()
{
    if (!user) start();
    return user;
}

size_t arena_bytes() { return ARENA; }

bool is_device(const void *p) { return user && (uintptr_t)p - (uintptr_t)user < ARENA; }

/* ---- device ---- */

void *device_alloc(size_t bytes)
{
    static int ids;
    Device &d = device_memory(device());
    unsigned char *lo = arena() + used + PAGE, *p = lo + up(bytes, PAGE) - up(bytes, ALIGN);

    if (bytes > d.bytes - d.used || used + up(bytes, PAGE) + 2 * PAGE > ARENA) return NULL;
    used += up(bytes, PAGE) + PAGE;
    allocs.emplace((uintptr_t)p, Alloc(p, bytes, ids++, device()));
    d.used += bytes;
    if (d.used > d.peak) d.peak = d.used;
    memset(mine + (lo - user), 0xff, up(bytes, PAGE));
    if (simt::checker.defined) simt::checker.defined(p, bytes, false);
    open_for_kernels(false);
    return p;
}

/* The bytes around an allocation that belong to nobody still hold what they were filled with. */
static void check_redzone(const Alloc &a, const char *after)
{
    const unsigned char *p = mine + (a.p - user), *lo = mine + (size_t)(a.p - user) / PAGE * PAGE,
                        *hi = p + up(a.bytes, ALIGN);

    for (const unsigned char *q = p + a.bytes; q < hi; q++)
        if (*q != 0xff) fail("%s has written %zu bytes past the end of allocation %d of %zu bytes", after, (size_t)(q - p - a.bytes) + 1, a.id, a.bytes);
    for (const unsigned char *q = lo; q < p; q++)
        if (*q != 0xff) fail("%s has written %zu bytes before allocation %d", after, (size_t)(p - q), a.id);
}

void check_redzones(const char *after)
{
    for (auto &a : allocs)
        if (a.second.live) check_redzone(a.second, after);
}

void device_free(void *p)
{
    auto it = allocs.find((uintptr_t)p);
    char words[160];

    if (it == allocs.end()) fail("cudaFree: %s", describe(p, words));
    Alloc &a = it->second;
    if (!a.live) fail("cudaFree: allocation %d was freed before", a.id);
    check_redzone(a, "something");
    open_for_kernels(false);
    a.live = false;
    device_memory(a.device).used -= a.bytes;
    unsigned char *lo = mine + (size_t)(a.p - user) / PAGE * PAGE;
    madvise(lo, up(a.bytes, PAGE), MADV_REMOVE);
}

const Alloc *find(const void *p)
{
    auto it = allocs.upper_bound((uintptr_t)p);

    if (it == allocs.begin()) return NULL;
    return &(--it)->second;
}

void *alias(const void *p)
{
    if (is_device(p)) return mine + ((const unsigned char *)p - user);
    auto it = pinned.upper_bound((uintptr_t)p);
    if (it != pinned.begin() && (uintptr_t)p < (--it)->first + it->second.bytes)
        return it->second.mine + ((const unsigned char *)p - it->second.user);
    return const_cast<void *>(p);
}

void open_for_kernels(bool yes)
{
    if (yes == opened) return;
    opened = yes;
    if (!yes) {
        mprotect(user, used + PAGE, PROT_NONE);
        return;
    }
    for (auto &a : allocs) {
        unsigned char *lo = user + (size_t)(a.second.p - user) / PAGE * PAGE;
        if (a.second.live) mprotect(lo, up(a.second.bytes, PAGE), PROT_READ | PROT_WRITE);
    }
}

size_t unfreed(int *count)
{
    size_t bytes = 0;

    *count = 0;
    for (auto &a : allocs)
        if (a.second.live) {
            ++*count;
            bytes += a.second.bytes;
        }
    return bytes;
}

/* ---- pinned ---- */

void *pinned_alloc(size_t bytes)
{
    Pinned n = { NULL, NULL, bytes, memfd_create("pinned", 0) };
    size_t all = up(bytes, PAGE);

    arena(); /* the handler */
    if (n.fd < 0 || ftruncate(n.fd, (off_t)all)) return NULL;
    n.user = (unsigned char *)map(n.fd, all, PROT_READ | PROT_WRITE, NULL);
    n.mine = (unsigned char *)map(n.fd, all, PROT_READ | PROT_WRITE, NULL);
    close(n.fd);
    memset(n.mine, 0xff, all);
    pinned[(uintptr_t)n.user] = n;
    return n.user;
}

void pinned_free(void *p)
{
    auto it = pinned.find((uintptr_t)p);

    if (it == pinned.end()) fail("cudaFreeHost: %p is not pinned memory", p);
    munmap(it->second.user, up(it->second.bytes, PAGE));
    munmap(it->second.mine, up(it->second.bytes, PAGE));
    pinned.erase(it);
}

bool is_pinned(const void *p)
{
    auto it = pinned.upper_bound((uintptr_t)p);

    return it != pinned.begin() && (uintptr_t)p < (--it)->first + it->second.bytes;
}

static int wanted(uintptr_t page)
{
    int prot = PROT_READ | PROT_WRITE;

    for (const Flight &f : flights)
        if (up(f.lo, PAGE) <= page && page + PAGE <= f.hi) prot = f.writes || prot == PROT_NONE ? PROT_NONE : PROT_READ;
    return prot;
}

/* Pages of [lo, hi) as what is in flight wants them: whole pages only, a neighbour on the same page is another's. */
static void protect(uintptr_t lo, uintptr_t hi)
{
    uintptr_t from = up(lo, PAGE), end = hi / PAGE * PAGE;

    for (uintptr_t a = from; a < end; a += PAGE)
        if (a + PAGE == end || wanted(a + PAGE) != wanted(from)) {
            mprotect((void *)from, a + PAGE - from, wanted(from));
            from = a + PAGE;
        }
}

void in_flight(const OpP &op, const void *p, size_t n, bool copy_writes)
{
    auto it = pinned.upper_bound((uintptr_t)p);
    uintptr_t lo = (uintptr_t)p, hi = lo + n;

    --it;
    if (hi >= it->first + it->second.bytes) hi = it->first + up(it->second.bytes, PAGE); /* its last page is nobody else's */
    flights.push_back({ lo, hi, copy_writes, op->what, op->stream, op->tick });
    protect(lo, hi);
}

void release_in_flight()
{
    std::vector<Flight> over;

    for (size_t i = 0; i < flights.size();)
        if (host_knows(flights[i].stream, flights[i].tick)) {
            over.push_back(flights[i]);
            flights.erase(flights.begin() + (long)i);
        } else
            i++;
    for (const Flight &f : over) protect(f.lo, f.hi);
}

void range(const Op &op, const void *p, size_t n, bool write)
{
    const Alloc *a = find(p);
    const char *verb = write ? "writes" : "reads";

    if (!n) return;
    if (!is_device(p)) fail("%s %s %p, which is not device memory", op.what, verb, p);
    if (!a) fail("%s %s %p, before any allocation", op.what, verb, p);
    if (!a->live) fail("%s %s allocation %d, which was freed", op.what, verb, a->id);
    size_t off = (size_t)((const unsigned char *)p - a->p);
    if (off > a->bytes || n > a->bytes - off)
        fail("%s %s bytes %zu to %zu of allocation %d, which has %zu", op.what, verb, off, off + n, a->id, a->bytes);
    if (simt::checker.range) simt::checker.range(op.id, p, n, write);
}

} // namespace fake
