/* memory of a backend: arenas, copies between it and the host */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "be/backend.h"

#define HUGE_PAGE ((size_t)2 << 20)

/* Pages of 2 MiB, where the system has them to give: a matrix product walks many rows at once, and its misses in the TLB cost 5%. */
static void *host_pages(size_t bytes)
{
    const int large = bytes >= 2 * HUGE_PAGE;
    void *p;

    if (posix_memalign(&p, large ? HUGE_PAGE : 256, bytes)) return NULL;
    if (large) madvise(p, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    return p;
}

reel_err reel_arena_open(struct reel_arena *a, struct reel_backend *be, const char *name, size_t cap)
{
    void *p = NULL;

    *a = (struct reel_arena){ .name = name, .cap = (cap + 255) & ~(size_t)255, .on_device = be->dev != NULL };
    if (!a->cap) a->cap = 256;
    if (be->dev) {
        REEL_TRY(be->dev->alloc(be->device, &p, a->cap, name));
        a->base = p;
        return REEL_OK;
    }
    a->base = host_pages(a->cap);
    if (!a->base) return REEL_FAIL(REEL_ENOMEM, "arena %s: cannot allocate %.2f GiB", name, (double)cap / (1 << 30));
    return REEL_OK;
}

void reel_arena_close(struct reel_arena *a, struct reel_backend *be)
{
    if (a->base && be->dev) be->dev->free(be->device, a->base);
    else free(a->base);
    a->base = NULL;
    a->cap = a->used = 0;
}

void *reel_host_alloc(struct reel_backend *be, size_t bytes)
{
    return be->dev ? be->dev->host_alloc(be->device, bytes + 1) : malloc(bytes + 1);
}

void reel_host_free(struct reel_backend *be, void *p)
{
    if (p && be->dev) be->dev->host_free(be->device, p);
    else free(p);
}

/* Whether there is anything to do; on the CPU every operator has finished before it returned. */
static int runs(const struct reel_stream *s, reel_tensor t) { return !s->planning && reel_numel(t) > 0; }

void reel_sync(struct reel_stream *s)
{
    if (!s->planning && s->be->dev) s->be->dev->sync(s);
}

void reel_put(struct reel_stream *s, reel_tensor dst, const void *host)
{
    if (!runs(s, dst)) return;
    if (s->be->dev) s->be->dev->put(s, dst.p, host, reel_bytes(dst));
    else memcpy(dst.p, host, reel_bytes(dst));
}

void reel_get(struct reel_stream *s, void *host, reel_tensor src)
{
    if (!runs(s, src)) return;
    if (s->be->dev) s->be->dev->get(s, host, src.p, reel_bytes(src));
    else memcpy(host, src.p, reel_bytes(src));
}

void reel_get_start(struct reel_stream *s, void *host, reel_tensor src)
{
    if (!runs(s, src)) return;
    if (s->be->dev) s->be->dev->get_start(s, host, src.p, reel_bytes(src));
    else memcpy(host, src.p, reel_bytes(src));
}

void reel_copy(struct reel_stream *s, reel_tensor dst, reel_tensor src)
{
    const char *d = dst.p, *from = src.p;
    size_t n = reel_bytes(dst);

    REEL_BUG_IF(dst.dt != src.dt || reel_numel(dst) != reel_numel(src),
                "reel_copy: %lld x %s into %lld x %s", (long long)reel_numel(src), reel_dtype_name(src.dt),
                (long long)reel_numel(dst), reel_dtype_name(dst.dt));
    if (!runs(s, dst) || d == from) return;
    REEL_BUG_IF(d < from + n && from < d + n, "reel_copy: %zu bytes overlap", n);
    if (s->be->dev) s->be->dev->copy(s, dst.p, src.p, n);
    else memcpy(dst.p, src.p, n);
}
