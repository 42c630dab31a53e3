#include "base/arena.h"

#include <string.h>

#include "base/err.h"

void *reel_arena_push(struct reel_arena *a, size_t bytes)
{
    size_t at = a->used;

    bytes = (bytes + 255) & ~(size_t)255;
    REEL_BUG_IF(a->base && at + bytes > a->cap, "arena %s: %zu bytes asked at %zu of %zu", a->name, bytes,
                at, a->cap);
    a->used = at + bytes;
    if (a->used > a->peak) a->peak = a->used;
    return a->base ? a->base + at : NULL;
}

void reel_arena_reset(struct reel_arena *a, size_t mark)
{
    REEL_BUG_IF(mark > a->used, "arena %s: reset to %zu above %zu", a->name, mark, a->used);
#ifdef REEL_POISON
    if (a->base && !a->on_device) memset(a->base + mark, 0xff, a->used - mark);
#endif
    a->used = mark;
}
