#ifndef REEL_CONFIG_POOL_H
#define REEL_CONFIG_POOL_H

#include <stdarg.h>
#include <stddef.h>

/* Memory of one configuration: grows, is given back as a whole. A few kilobytes; running out of it
 * is a fault, not an error. All functions Local. */
struct reel_pool {
    struct reel_chunk *top;
};

/** reel_pool_push - `bytes` zeroed bytes, 16-aligned. Never NULL. */
void *reel_pool_push(struct reel_pool *p, size_t bytes);
/** reel_pool_str - a copy of the first n bytes of s, terminated. */
char *reel_pool_str(struct reel_pool *p, const char *s, size_t n);
char *reel_pool_printf(struct reel_pool *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void reel_pool_free(struct reel_pool *p);

#endif
