#include "base/arena.h"

#include <string.h>

#include "base/err.h"

/* With the address sanitizer what lies between two pieces and what was given back is out of bounds. */
#ifdef REEL_POISON
#include <sanitizer/asan_interface.h>
enum { GAP = 256 };
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)0)
enum { GAP = 0 };
#endif

void *reel_arena_push(struct reel_arena *a, size_t bytes)
{
    size_t at = a->used, end = at + ((bytes + 255) & ~(size_t)255);

    REEL_BUG_IF(a->base && end > a->cap, "arena %s: %zu bytes asked at %zu of %zu", a->name, end - at, at, a->cap);
    a->used = a->base && end + GAP > a->cap ? a->cap : end + GAP; /* the end of memory is a gap */
    if (a->used > a->peak) a->peak = a->used;
    if (!a->base) return NULL;
    if (!a->on_device) {
        ASAN_UNPOISON_MEMORY_REGION(a->base + at, bytes);
        ASAN_POISON_MEMORY_REGION(a->base + at + bytes, a->used - at - bytes);
    }
    return a->base + at;
}

void reel_arena_reset(struct reel_arena *a, size_t mark)
{
    REEL_BUG_IF(mark > a->used, "arena %s: reset to %zu above %zu", a->name, mark, a->used);
#ifdef REEL_POISON
    if (a->base && !a->on_device) {
        ASAN_UNPOISON_MEMORY_REGION(a->base + mark, a->used - mark);
        memset(a->base + mark, 0xff, a->used - mark);
        ASAN_POISON_MEMORY_REGION(a->base + mark, a->used - mark);
    }
#endif
    a->used = mark;
}
