/* Fronts of sparse attention: tiles of a token grid, choice of blocks, attention over the chosen. */
#include "be/check.h"

/* The index of tiles of `s` tokens; what it points to was made by reel_tiles_fill. */
static struct reel_tiles check_tiles(struct reel_stream *s, const char *op, struct reel_tile_index t, int64_t tokens)
{
    char is[96];

    REEL_BUG_IF(t.start.nd != 1 || t.start.n[0] < 2 || t.start.n[0] > tokens + 1,
                "%s: start is %s, wanted [tiles+1] for at most %lld tiles", op, check_show(is, t.start), (long long)tokens);
    check(s, op, "start", t.start, REEL_I32, t.start.n[0]);
    check(s, op, "order", t.order, REEL_I32, tokens);
    return (struct reel_tiles){ t.start.p, t.order.p, t.start.n[0] - 1, tokens };
}

static void check_3d(const char *op, const char *name, reel_tensor x)
{
    char is[96];

    REEL_BUG_IF(x.nd != 3, "%s: %s is %s, wanted [B,S,D]", op, name, check_show(is, x));
    check_float(op, name, x);
}

static int64_t check_heads(const char *op, reel_tensor x, int heads)
{
    int64_t hd = heads > 0 ? x.n[2] / heads : 0;

    REEL_BUG_IF(heads < 1 || hd * heads != x.n[2] || hd > REEL_MAX_HEAD,
                "%s: %d heads do not divide width %lld into heads of at most %d", op, heads, (long long)x.n[2], REEL_MAX_HEAD);
    return hd;
}

/* sel [b,heads,n,topk] i32; returns topk */
static int64_t check_sel(struct reel_stream *s, const char *op, reel_tensor sel, int64_t b, int heads, int64_t n)
{
    int64_t k = sel.nd == 4 ? sel.n[3] : 0;
    char is[96];

    REEL_BUG_IF(k < 1 || k > n, "%s: sel is %s, wanted [B,heads,n,topk] with topk of 1 to %lld", op, check_show(is, sel),
                (long long)n);
    check(s, op, "sel", sel, REEL_I32, b * heads * n * k);
    return k;
}

void reel_tile_mean(struct reel_stream *s, reel_tensor y, reel_tensor x, struct reel_tile_index index)
{
    struct reel_tiles t;

    check_3d(__func__, "x", x);
    t = check_tiles(s, __func__, index, x.n[1]);
    check(s, __func__, "x", x, x.dt, reel_numel(x));
    check_rows(s, __func__, "y", y, x.dt, x.n[0] * t.n, x.n[2]);
    if (!s->planning) s->ops->tile_mean(s, (int)x.dt, y.p, x.p, t, x.n[0], x.n[2]);
}

static struct reel_tiles check_gate(struct reel_stream *s, const char *op, reel_tensor dy, reel_tensor gate,
                                    reel_tensor c, struct reel_tile_index index)
{
    struct reel_tiles t;

    check_3d(op, "gate", gate);
    t = check_tiles(s, op, index, gate.n[1]);
    check(s, op, "gate", gate, gate.dt, reel_numel(gate));
    check_rows(s, op, "y", dy, gate.dt, gate.n[0] * t.s, gate.n[2]);
    check_rows(s, op, "c", c, gate.dt, gate.n[0] * t.n, gate.n[2]);
    return t;
}

void reel_tile_gate_fwd(struct reel_stream *s, reel_tensor y, reel_tensor gate, reel_tensor c, reel_tensor x,
                        struct reel_tile_index index)
{
    struct reel_tiles t = check_gate(s, __func__, y, gate, c, index);

    check_rows(s, __func__, "x", x, gate.dt, gate.n[0] * t.s, gate.n[2]);
    if (!s->planning) s->ops->tile_gate_fwd(s, (int)gate.dt, y.p, gate.p, c.p, x.p, t, gate.n[0], gate.n[2]);
}

void reel_tile_gate_bwd(struct reel_stream *s, reel_tensor dgate, reel_tensor dc, reel_tensor dy, reel_tensor gate,
                        reel_tensor c, struct reel_tile_index index)
{
    struct reel_tiles t = check_gate(s, __func__, dy, gate, c, index);

    check_rows(s, __func__, "dgate", dgate, gate.dt, gate.n[0] * t.s, gate.n[2]);
    check_rows(s, __func__, "dc", dc, gate.dt, gate.n[0] * t.n, gate.n[2]);
    if (!s->planning)
        s->ops->tile_gate_bwd(s, (int)gate.dt, dgate.p, dc.p, dy.p, gate.p, c.p, t, gate.n[0], gate.n[2]);
}

void reel_vsa_select(struct reel_stream *s, reel_tensor sel, reel_tensor scores, reel_tensor q, reel_tensor k, int heads)
{
    int64_t hd, topk, b, n;
    size_t mark;
    void *tmp;

    check_3d(__func__, "q", q);
    b = q.n[0], n = q.n[1];
    hd = check_heads(__func__, q, heads);
    topk = check_sel(s, __func__, sel, b, heads, n);
    check(s, __func__, "q", q, q.dt, reel_numel(q));
    check_rows(s, __func__, "k", k, q.dt, b * n, q.n[2]);
    check_opt(s, __func__, "scores", scores, REEL_F32, b * heads * n * n);
    count_attention(s, 2.0 * (double)b * (double)n * (double)n * (double)q.n[2]);
    tmp = check_tmp(s, __func__, s->ops->vsa_select_tmp(s, (int)q.dt, b, n, heads, hd), &mark);
    if (!s->planning)
        s->ops->vsa_select(s, (int)q.dt, sel.p, scores.nd ? scores.p : NULL, q.p, k.p, b, n, heads, hd, topk, tmp);
    check_tmp_end(s, mark);
}

struct sparse { struct reel_tiles t; int64_t b, hd, topk; };

static struct sparse check_sparse(struct reel_stream *s, const char *op, reel_tensor o, reel_tensor lse, reel_tensor q,
                                  reel_tensor k, reel_tensor v, reel_tensor sel, struct reel_tile_index index, int heads)
{
    struct sparse z;

    check_3d(op, "q", q);
    z.b = q.n[0];
    z.t = check_tiles(s, op, index, q.n[1]);
    z.hd = check_heads(op, q, heads);
    z.topk = check_sel(s, op, sel, z.b, heads, z.t.n);
    check(s, op, "q", q, q.dt, reel_numel(q));
    check_rows(s, op, "k", k, q.dt, z.b * z.t.s, q.n[2]);
    check_rows(s, op, "v", v, q.dt, z.b * z.t.s, q.n[2]);
    check_rows(s, op, "o", o, q.dt, z.b * z.t.s, q.n[2]);
    check(s, op, "lse", lse, REEL_F32, z.b * heads * z.t.s);
    return z;
}

/* Pairs of a query and a key, as if all tiles had the mean size. */
static double sparse_pairs(const struct sparse *z)
{
    return (double)z->b * (double)z->t.s * (double)z->topk * (double)z->t.s / (double)z->t.n;
}

void reel_vsa_fwd(struct reel_stream *s, reel_tensor o, reel_tensor lse, reel_tensor q, reel_tensor k, reel_tensor v,
                  reel_tensor sel, struct reel_tile_index index, int heads)
{
    struct sparse z = check_sparse(s, __func__, o, lse, q, k, v, sel, index, heads);
    size_t mark;
    void *tmp;

    count_attention(s, 4.0 * sparse_pairs(&z) * (double)q.n[2]);
    tmp = check_tmp(s, __func__, s->ops->vsa_fwd_tmp(s, (int)q.dt, z.t, z.b, heads, z.hd, z.topk), &mark);
    if (!s->planning)
        s->ops->vsa_fwd(s, (int)q.dt, o.p, lse.p, q.p, k.p, v.p, sel.p, z.t, z.b, heads, z.hd, z.topk, tmp);
    check_tmp_end(s, mark);
}

void reel_vsa_bwd(struct reel_stream *s, reel_tensor dq, reel_tensor dk, reel_tensor dv, reel_tensor dout, reel_tensor o,
                  reel_tensor lse, reel_tensor q, reel_tensor k, reel_tensor v, reel_tensor sel, reel_tensor dqc,
                  reel_tensor dkc, reel_tensor dvc, struct reel_tile_index index, int heads)
{
    struct sparse z = check_sparse(s, __func__, o, lse, q, k, v, sel, index, heads);
    const struct { const char *name; reel_tensor x; int tiles; } more[] = {
        { "dout", dout, 0 }, { "dq", dq, 0 }, { "dk", dk, 0 }, { "dv", dv, 0 }, { "dqc", dqc, 1 }, { "dkc", dkc, 1 }, { "dvc", dvc, 1 },
    };
    size_t mark;
    void *tmp;

    for (int i = 0; i < (dqc.nd ? 7 : 4); i++)
        check_rows(s, __func__, more[i].name, more[i].x, q.dt, z.b * (more[i].tiles ? z.t.n : z.t.s), q.n[2]);
    count_attention(s, 8.0 * sparse_pairs(&z) * (double)q.n[2]); /* recomputation is not counted */
    tmp = check_tmp(s, __func__, s->ops->vsa_bwd_tmp(s, (int)q.dt, z.t, z.b, heads, z.hd, z.topk), &mark);
    if (!s->planning)
        s->ops->vsa_bwd(s, (int)q.dt, dq.p, dk.p, dv.p, dout.p, o.p, lse.p, q.p, k.p, v.p, sel.p, dqc.nd ? dqc.p : NULL,
                        dqc.nd ? dkc.p : NULL, dqc.nd ? dvc.p : NULL, z.t, z.b, heads, z.hd, z.topk, tmp);
    check_tmp_end(s, mark);
}
