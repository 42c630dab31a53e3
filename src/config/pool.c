#include "config/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define CHUNK_BYTES 16384

struct reel_chunk {
    struct reel_chunk *below;
    size_t used, cap;
    _Alignas(16) char mem[];
};

static struct reel_chunk *chunk_new(size_t cap, struct reel_chunk *below)
{
    struct reel_chunk *c = calloc(1, sizeof *c + cap);

    REEL_BUG_IF(!c, "out of memory: %zu bytes for the configuration", cap);
    c->below = below;
    c->cap = cap;
    return c;
}

void *reel_pool_push(struct reel_pool *p, size_t bytes)
{
    char *at;

    bytes = (bytes + 15) & ~(size_t)15;
    if (!p->top || p->top->used + bytes > p->top->cap)
        p->top = chunk_new(bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES, p->top);
    at = p->top->mem + p->top->used;
    p->top->used += bytes;
    return at;
}

char *reel_pool_str(struct reel_pool *p, const char *s, size_t n)
{
    char *copy = reel_pool_push(p, n + 1);

    memcpy(copy, s, n);
    return copy;
}

char *reel_pool_printf(struct reel_pool *p, const char *fmt, ...)
{
    va_list ap, again;
    char *s;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    s = reel_pool_push(p, (size_t)(n < 0 ? 0 : n) + 1);
    if (n > 0) vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    return s;
}

void reel_pool_free(struct reel_pool *p)
{
    while (p->top) {
        struct reel_chunk *below = p->top->below;

        free(p->top);
        p->top = below;
    }
}
