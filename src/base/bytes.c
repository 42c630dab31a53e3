#include "base/bytes.h"

#include <stdio.h>

struct reel_bytes_text reel_bytes_text(double bytes)
{
    struct reel_bytes_text t;
    double kib = bytes / 1024;
    const char *unit = kib >= 1048576 ? "GiB" : kib >= 1024 ? "MiB" : "KiB";

    snprintf(t.s, sizeof t.s, "%.1f %s", kib >= 1048576 ? kib / 1048576 : kib >= 1024 ? kib / 1024 : kib, unit);
    return t;
}
