#ifndef REEL_BASE_ARENA_H
#define REEL_BASE_ARENA_H

#include <stddef.h>

/* One arena per lifetime. Storage is never freed piecemeal; planning runs the real layout code
 * with base == NULL and only counts. */
struct reel_arena {
    const char *name; /* "params.student", "acts", ...: named in every report */
    char *base;       /* NULL while planning */
    size_t used, peak, cap;
    int on_device;
};

/**
 * reel_arena_push - the next `bytes`, 256-aligned. Local.
 * While planning (base == NULL) returns NULL and only counts, so the code that lays memory out
 * is the code that sizes it. After planning, exhaustion is a bug, not an error.
 */
void *reel_arena_push(struct reel_arena *a, size_t bytes);

/** reel_arena_reset - give back everything above `mark` (a former value of `used`); poisons it
 * in sanitized builds. Local. */
void reel_arena_reset(struct reel_arena *a, size_t mark);

#endif
