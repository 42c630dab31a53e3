#include "tensor/sizes.h"

#include <stdio.h>

struct reel_sizes_text reel_sizes_text(const int64_t *n, int nd)
{
    struct reel_sizes_text t = { "[" };
    size_t at = 1;

    for (int i = 0; i < nd && at < sizeof t.s; i++) at += (size_t)snprintf(t.s + at, sizeof t.s - at, "%s%lld", i ? "," : "", (long long)n[i]);
    if (at < sizeof t.s) snprintf(t.s + at, sizeof t.s - at, "]");
    return t;
}
