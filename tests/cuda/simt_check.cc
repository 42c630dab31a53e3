/* The checker: what every access of a kernel may not do. Kernels are compiled with -fsanitize=thread, whose
 * hooks end here instead of in its runtime library; linking this file puts the checker into the executor. */

#include "simt_check.h"

#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <vector>

namespace simt
{

enum { GRAIN = 2 }; /* bytes of a cell */
enum State : uint8_t {
    UNDEFINED,
    DEFINED,
    IN_FLIGHT
}; /* of a byte; in flight: cp.async has not been waited for */

/* Shadows of shared memory, and of the runtime's arena. */
static Cell shared_cell[SHARED_MAX / GRAIN];
static uint8_t shared_state[SHARED_MAX], shared_owner[SHARED_MAX]; /* owner: 1 + index of an array */
struct Array {
    std::string name;
    size_t at;
};
static std::vector<Array> arrays; /* of the block */
static Cell *device_cell;
static uint8_t *device_state;

static const char *verb(Access kind)
{
    return kind == LOAD ? "load" : kind == STORE ? "store" : "atomic";
}

/* ---- what is common to both memories ---- */

/* Accessed bytes that exist: their shadows, and what to call them. */
struct Place {
    uint8_t *state;
    Cell *cell;
    size_t cells;
    size_t offset;      /* in the array or the allocation */
    const Array *array; /* of shared memory, or NULL */
    int allocation;
};

static std::string name(const Place &m)
{
    std::string what =
        m.array ? "shared " + m.array->name : "device allocation #" + std::to_string(m.allocation);

    return what + " at byte " + std::to_string(m.offset);
}

static void report_race(Site site, const Place &m, Access kind, Race r)
{
    static const char *why[] = { "", "no barrier between them", "blocks have no order",
                                 "no stream or event orders them" };
    const char *did = r.before_wrote ? "stored" : "loaded";

    if (!first_report(site, RACE + r.with)) return;
    const Line &l = site_line(site);
    if (r.with == OTHER_OP)
        error(l.file.c_str(), l.line, "RACE in %s: a %s here, %s by operation %u (%s); %s", name(m).c_str(),
              verb(kind), did, r.op, runtime.op ? runtime.op(r.op).what : "?", why[r.with]);
    else
        error(l.file.c_str(), l.line, "RACE in %s: a %s here, %s by thread %d of %s; %s", name(m).c_str(),
              verb(kind), did, r.thread, r.with == SAME_BLOCK ? "the block" : "another block", why[r.with]);
}

static void check_defined(Site site, const Place &m, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        if (m.state[i] == DEFINED) continue;
        REPORT(site, UNINITIALISED, "UNINITIALISED read of %s%s", name(m).c_str(),
               m.state[i] == IN_FLIGHT ? ": cp.async has not been waited for" : "");
        return;
    }
}

static size_t cells(size_t at, int bytes)
{
    return (at + (size_t)bytes - 1) / GRAIN - at / GRAIN + 1;
}

/* Single bytes are not watched for races: two share a cell. */
static void check_place(Site site, const void *p, int bytes, Access kind, const Place &m)
{
    if ((uintptr_t)p & (uintptr_t)(bytes - 1))
        REPORT(site, ALIGNMENT, "MISALIGNED %d-byte %s of %s", bytes, verb(kind), name(m).c_str());
    if (kind != STORE) check_defined(site, m, bytes);
    for (int i = 0; kind != LOAD && i < bytes; i++) m.state[i] = DEFINED;
    if (bytes >= GRAIN) {
        Race r = race_note(m.cell, m.cells, kind, m.array != NULL);
        if (r.with) report_race(site, m, kind, r);
    }
    if (traffic_sampled) traffic_note(site, p, bytes, kind, m.array != NULL);
}

/* ---- shared memory ---- */

static void check_shared(Site site, const void *p, int bytes, Access kind)
{
    size_t at = (size_t)((const uint8_t *)p - shared_base);
    int owner = shared_owner[at];

    if (owner && at + (size_t)bytes <= SHARED_MAX && shared_owner[at + (size_t)bytes - 1] == owner) {
        const Array *a = &arrays[(size_t)owner - 1];
        check_place(site, p, bytes, kind,
                    Place{ shared_state + at, shared_cell + at / GRAIN, cells(at, bytes), at - a->at, a, 0 });
        return;
    }
    REPORT(site, BOUNDS, "OUT OF BOUNDS %d-byte %s of shared memory, %s %s", bytes, verb(kind),
           owner ? "past the end of" : "outside of",
           owner ? arrays[(size_t)owner - 1].name.c_str() : "every array");
}

static void shared_placed(void *p, size_t bytes, const char *name)
{
    size_t at = (size_t)((uint8_t *)p - shared_base);

    arrays.push_back(Array{ name, at });
    memset(shared_owner + at, (int)arrays.size(), bytes);
    memset(shared_state + at, UNDEFINED, bytes);
}

static void block_begin()
{
    memset(shared_owner, 0, sizeof shared_owner);
    arrays.clear();
    traffic_block_begin();
}

/* ---- device memory ---- */

static void *shadow(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p != MAP_FAILED) return p;
    perror("simt: shadow memory");
    abort();
}

static void open_shadow()
{
    if (device_cell || !runtime.arena) return;
    device_cell = (Cell *)shadow(runtime.arena_bytes / GRAIN * sizeof *device_cell);
    device_state = (uint8_t *)shadow(runtime.arena_bytes);
}

static bool is_device(const void *p)
{
    return runtime.arena && (uintptr_t)p - (uintptr_t)runtime.arena < runtime.arena_bytes;
}

static const Allocation *find_allocation(const uint8_t *p)
{
    static const Allocation *last;

    if (!last || p < last->p || p >= last->p + last->bytes) last = runtime.find(p);
    return last;
}

static bool in_bounds(Site site, const uint8_t *p, int bytes, Access kind, const Allocation *a)
{
    if (a && a->live && p >= a->p && p + bytes <= a->p + a->bytes) return true;
    if (!a || p >= a->p + a->bytes + 256)
        REPORT(site, BOUNDS, "OUT OF BOUNDS %d-byte %s of device memory, in no allocation", bytes,
               verb(kind));
    else if (!a->live)
        REPORT(site, BOUNDS, "OUT OF BOUNDS %d-byte %s of device memory, in allocation #%d, which was freed",
               bytes, verb(kind), a->id);
    else
        REPORT(site, BOUNDS,
               "OUT OF BOUNDS %d-byte %s of device memory, at byte %td of the %zu of allocation #%d", bytes,
               verb(kind), p - a->p, a->bytes, a->id);
    return false;
}

static void check_device(Site site, const void *p, int bytes, Access kind)
{
    const Allocation *a = find_allocation((const uint8_t *)p);
    size_t at = (size_t)((const uint8_t *)p - runtime.arena);

    if (!in_bounds(site, (const uint8_t *)p, bytes, kind, a)) return;
    check_place(site, p, bytes, kind,
                Place{ device_state + at, device_cell + at / GRAIN, cells(at, bytes),
                       (size_t)((const uint8_t *)p - a->p), NULL, a->id });
}

/* An operation that is not a kernel: a copy, a memset, a library's product. Copies may move undefined bytes. */
static void check_range(uint32_t op, const void *p, size_t bytes, bool write)
{
    size_t at = (size_t)((const uint8_t *)p - runtime.arena);

    open_shadow();
    if (!bytes) return;
    if (write) memset(device_state + at, DEFINED, bytes);
    Race r = race_range(device_cell + at / GRAIN, (at + bytes - 1) / GRAIN - at / GRAIN + 1, op, write);
    if (!r.with || !first_report((Site)op << 32 | r.op, RACE)) return;
    error(NULL, 0,
          "RACE in device memory: operation %u (%s) %s what operation %u (%s) %s; no stream or event orders "
          "them",
          op, runtime.op(op).what, write ? "writes" : "reads", r.op, runtime.op(r.op).what,
          r.before_wrote ? "wrote" : "read");
}

static void set_defined(const void *p, size_t bytes, bool yes)
{
    open_shadow();
    memset(device_state + ((const uint8_t *)p - runtime.arena), yes ? DEFINED : UNDEFINED, bytes);
}

static void set_in_flight(const void *p, size_t bytes)
{
    if (is_shared(p)) memset(shared_state + ((const uint8_t *)p - shared_base), IN_FLIGHT, bytes);
}

/* ---- the rest: a thread's stack, a launch's arguments, constants of the program ---- */

struct Image {
    uintptr_t from, to;
};

static int find_image(struct dl_phdr_info *info, size_t, void *out)
{
    Image *im = (Image *)out;
    uintptr_t lo = UINTPTR_MAX, hi = 0, mine = (uintptr_t)&shared_cell;

    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
        uintptr_t a = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        lo = a < lo ? a : lo;
        hi = a + info->dlpi_phdr[i].p_memsz > hi ? a + info->dlpi_phdr[i].p_memsz : hi;
    }
    if (mine < lo || mine >= hi) return 0;
    *im = Image{ lo, hi };
    return 1;
}

static bool in_program(const void *p)
{
    static Image im;

    if (!im.to) dl_iterate_phdr(find_image, &im);
    return (uintptr_t)p >= im.from && (uintptr_t)p < im.to;
}

static bool in_arguments(const void *p)
{
    return (uintptr_t)p - (uintptr_t)running_launch < running_launch->bytes;
}

void check_access(Site site, const void *p, int bytes, Access kind)
{
    if (is_shared(p))
        check_shared(site, p, bytes, kind);
    else if (is_device(p))
        check_device(site, p, bytes, kind);
    else if (!is_stack(p) && !in_arguments(p) && !in_program(p))
        REPORT(site, HOST_MEMORY, "%d-byte %s of HOST memory", bytes, verb(kind));
}

static void check_noted(const void *p, int bytes, Access kind, At at)
{
    if (in_kernel) check_access(site_at(at), p, bytes, kind);
}

static void launch_begin(const Launch &)
{
    open_shadow();
    race_launch();
}

static struct Install {
    Install()
    {
        checker = Checker{ check_noted,   launch_begin,  block_begin, traffic_block_end,
                           shared_placed, set_in_flight, check_range, set_defined };
    }
} install;

} // namespace simt
