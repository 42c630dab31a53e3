#include "tensor/tensor.h"

#include <string.h>

#include "base/err.h"

static const struct { const char *name; size_t size; } dtypes[REEL_NDTYPE] = {
    [REEL_F32] = { "f32", 4 }, [REEL_BF16] = { "bf16", 2 }, [REEL_F16] = { "f16", 2 },
    [REEL_F64] = { "f64", 8 }, [REEL_I64] = { "i64", 8 },   [REEL_I32] = { "i32", 4 },
    [REEL_U16] = { "u16", 2 }, [REEL_U8] = { "u8", 1 },
};

size_t reel_dtype_size(reel_dtype dt) { return dtypes[dt].size; }
const char *reel_dtype_name(reel_dtype dt) { return dtypes[dt].name; }

reel_tensor reel_view(void *p, reel_dtype dt, const int64_t *n, int nd)
{
    reel_tensor t = { .p = p, .dt = dt, .nd = nd };

    REEL_BUG_IF(nd < 0 || nd > REEL_MAXDIM, "tensor of %d dimensions", nd);
    memcpy(t.n, n, (size_t)nd * sizeof *n);
    return t;
}

reel_tensor reel_new(struct reel_arena *a, reel_dtype dt, const int64_t *n, int nd)
{
    reel_tensor t = reel_view(NULL, dt, n, nd);

    t.p = reel_arena_push(a, reel_bytes(t));
    return t;
}

int64_t reel_numel(reel_tensor t)
{
    int64_t k = 1;

    for (int i = 0; i < t.nd; i++) k *= t.n[i];
    return k;
}

size_t reel_bytes(reel_tensor t) { return (size_t)reel_numel(t) * dtypes[t.dt].size; }

reel_tensor reel_slice(reel_tensor t, int64_t lo, int64_t hi)
{
    REEL_BUG_IF(t.nd < 1 || lo < 0 || hi < lo || hi > t.n[0], "slice [%ld,%ld) of %ld rows", (long)lo,
                (long)hi, (long)t.n[0]);
    if (t.p) t.p = (char *)t.p + (t.n[0] ? reel_bytes(t) / (size_t)t.n[0] * (size_t)lo : 0);
    t.n[0] = hi - lo;
    return t;
}

reel_tensor reel_at(reel_tensor t, int64_t i)
{
    reel_tensor r = reel_slice(t, i, i + 1);

    r.nd--;
    memmove(r.n, r.n + 1, (size_t)r.nd * sizeof r.n[0]);
    return r;
}

reel_tensor reel_reshape(reel_tensor t, const int64_t *n, int nd)
{
    reel_tensor r = reel_view(t.p, t.dt, n, nd);

    REEL_BUG_IF(reel_numel(r) != reel_numel(t), "reshape of %ld elements to %ld", (long)reel_numel(t),
                (long)reel_numel(r));
    return r;
}
