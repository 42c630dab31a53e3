#ifndef REEL_BE_CHECK_H
#define REEL_BE_CHECK_H

/* Checks of the operator fronts. `op` is the front's __func__; every message names the operator,
 * the argument, what it is and what is wanted. */

#include <stdio.h>

#include "be/backend.h"
#include "be/ops.h"
#include "tensor/sizes.h"

static inline const char *check_show(char out[96], reel_tensor t)
{
    snprintf(out, 96, "%s%s", reel_dtype_name(t.dt), reel_sizes_text(t.n, t.nd).s);
    return out;
}

/* t is there: a view of dtype dt with n elements, with memory unless planning or empty */
static inline void check(const struct reel_stream *s, const char *op, const char *name, reel_tensor t,
                         reel_dtype dt, int64_t n)
{
    char is[96];

    REEL_BUG_IF(t.dt != dt || !t.nd || reel_numel(t) != n, "%s: %s is %s, wanted %s with %lld elements", op,
                name, check_show(is, t), reel_dtype_name(dt), (long long)n);
    REEL_BUG_IF(!s->planning && !t.p && n, "%s: %s has no memory outside planning", op, name);
}

/* the same for a tensor that may be absent (nd 0) */
static inline void check_opt(const struct reel_stream *s, const char *op, const char *name, reel_tensor t,
                             reel_dtype dt, int64_t n)
{
    if (t.nd) check(s, op, name, t, dt, n);
}

/* rows of width d; the last dimension must say so */
static inline void check_rows(const struct reel_stream *s, const char *op, const char *name, reel_tensor t,
                              reel_dtype dt, int64_t rows, int64_t d)
{
    char is[96];

    REEL_BUG_IF(!t.nd || t.n[t.nd - 1] != d, "%s: %s is %s, wanted rows of %lld", op, name, check_show(is, t),
                (long long)d);
    check(s, op, name, t, dt, rows * d);
}

static inline int64_t check_last(const char *op, const char *name, reel_tensor t)
{
    char is[96];

    REEL_BUG_IF(t.nd < 1 || t.n[t.nd - 1] < 1, "%s: %s is %s, wanted rows", op, name, check_show(is, t));
    return t.n[t.nd - 1];
}

/* an activation or matrix type */
static inline void check_float(const char *op, const char *name, reel_tensor t)
{
    REEL_BUG_IF(t.dt != REEL_F32 && t.dt != REEL_BF16, "%s: %s is %s, wanted f32 or bf16", op, name,
                reel_dtype_name(t.dt));
}

static inline void check_rows_struct(const char *op, struct reel_rows r)
{
    REEL_BUG_IF(r.b < 1 || r.s < 0 || r.runs < 1 || r.per_mod < 1 || r.tok0 < 0 ||
                    reel_rows_run_tok(r) * r.runs < r.s,
                "%s: rows b %lld s %lld runs %d of %lld per_mod %lld tok0 %lld do not make sense", op,
                (long long)r.b, (long long)r.s, r.runs, (long long)r.run_tok, (long long)r.per_mod,
                (long long)r.tok0);
}

static inline void count_attention(struct reel_stream *s, double flops)
{
    s->flops += flops;
    s->attention_flops += flops;
}

/* Temporary memory of an operator: pushed on the stream's scratch arena, so that planning counts it.
 * The caller gives it back with check_tmp_end. */
static inline void *check_tmp(struct reel_stream *s, const char *op, size_t bytes, size_t *mark)
{
    *mark = s->scratch ? s->scratch->used : 0;
    if (!bytes) return NULL;
    REEL_BUG_IF(!s->scratch, "%s: wants %zu bytes of scratch and the stream has no arena", op, bytes);
    return reel_arena_push(s->scratch, bytes);
}

static inline void check_tmp_end(struct reel_stream *s, size_t mark)
{
    if (s->scratch) reel_arena_reset(s->scratch, mark);
}

#endif
