/* A pass shared by sequence parallel ranks: who holds what, tokens for heads and back, sums over ranks.
 * Ulysses: Jacobs et al., DeepSpeed Ulysses (2023). Memory is the pass's scratch; the caller gives it back. */
#include "kernels/pieces.h"
#include "nn/nn.h"

/* ---- who holds what ---- */

/* rows of nb whole samples, or none of them */
static struct reel_rows whole(int64_t nb, int64_t S, int64_t per_mod, int some)
{
    struct reel_rows r = reel_rows_make(nb, S, per_mod);

    if (!some) r.s = 0, r.tok0 = S;
    return r;
}

/* Pieces are dealt out to the first 2^k ranks of the group, equally: a sample to each, several, or 1/2, 1/4 .. of one to each
 * of 2, 4 .. ranks. Ranks beyond 2^k have none; they take a share of the heads if the group has one sample alone. */
struct reel_share reel_share_make(int64_t B, int64_t S, int64_t L, int64_t per_mod, int rank, int size)
{
    int parts = 1, some, cut, ranks, i;
    int64_t dealt = reel_pow2_up(size + 1) / 2, B2 = reel_pow2_up(B), held;
    struct reel_share h = { .batch = B };

    while (parts < dealt && parts < B2 && parts < 1 << REEL_SP_HALVINGS) parts *= 2;
    ranks = parts == 1 ? size : (int)dealt / parts; /* of a part */
    i = rank % ranks;
    held = B2 / parts;
    cut = ranks > 1;
    REEL_BUG_IF(cut && held > 1, "%ld samples for %d sequence parallel ranks", (long)B, size);
    h.b0 = rank / ranks * held;
    some = h.b0 < B && rank / ranks < parts;
    if (!some) h.b0 = 0, held = 1;
    h.nb = held < B - h.b0 ? held : B - h.b0;
    h.first = some && i == 0;
    h.parts = cut && some ? parts : 0;
    h.all = reel_rows_make(h.nb, S, per_mod);
    h.rows = h.parts ? reel_rows_part(1, S, per_mod, i, ranks) : whole(h.nb, S, per_mod, some);
    h.txt = h.parts ? reel_rows_part(1, L, L, i, ranks) : whole(h.nb, L, L, some);
    h.most = h.rows.runs * h.rows.run_tok;
    h.txt_most = h.txt.runs * h.txt.run_tok;
    return h;
}

struct reel_share reel_share_of(struct reel_mesh *m, int64_t B, int64_t S, int64_t L, int64_t per_mod)
{
    struct reel_share h = reel_share_make(B, S, L, per_mod, m ? m->sp.rank : 0, m ? m->sp.size : 1);

    if (h.parts) h.comm = reel_mesh_sp(m, h.parts);
    return h;
}

static reel_tensor rows_new(const struct reel_pass *c, reel_dtype dt, int64_t rows, int64_t width)
{
    return reel_new(c->a, dt, REEL_DIMS(rows, width));
}

static void exchange(const struct reel_pass *c, reel_tensor dst, reel_tensor src)
{
    struct reel_req req = { .n = 0 };

    reel_comm_alltoall_start(c->share.comm, c->s, dst, src, &req);
    reel_comm_wait(c->share.comm, &req);
}

/* ---- the whole batch on every rank ---- */

static struct reel_rows rows_of(const struct reel_share *h, int text) { return text ? h->txt : h->rows; }

reel_tensor reel_share_gather(const struct reel_pass *c, reel_tensor x, int text)
{
    struct reel_comm *sp = c->mesh ? &c->mesh->sp : NULL;
    int64_t S = text ? c->txt.s : c->share.all.s, B = c->share.batch, W = x.n[1], chunk = 0;
    struct reel_req req = { .n = 0 };
    reel_tensor all, full;

    if (!sp || sp->size == 1) return x;
    for (int r = 0; r < sp->size; r++) {
        struct reel_share h = reel_share_make(B, S, S, S, r, sp->size);
        int64_t n = reel_rows_count(rows_of(&h, text));
        chunk = n > chunk ? n : chunk;
    }
    full = rows_new(c, x.dt, B * S, W);
    all = rows_new(c, x.dt, sp->size * chunk, W);
    reel_copy(c->s, reel_slice(all, sp->rank * chunk, sp->rank * chunk + x.n[0]), x);
    reel_comm_allgather_start(sp, c->s, all, &req);
    reel_comm_wait(sp, &req);
    for (int r = 0; r < sp->size; r++) {
        struct reel_share h = reel_share_make(B, S, S, S, r, sp->size);
        int64_t n = reel_rows_count(rows_of(&h, text)), at = h.b0 * S + rows_of(&h, text).tok0;
        if (n) reel_copy(c->s, reel_slice(full, at, at + n), reel_slice(all, r * chunk, r * chunk + n));
    }
    return full;
}

/* ---- sums over the ranks of a sample ---- */

void reel_share_sum(const struct reel_pass *c, reel_tensor x)
{
    struct reel_comm *comm = c->share.comm;
    size_t mark = c->a->used;
    int64_t n = reel_numel(x), each;
    struct reel_req req = { .n = 0 };
    reel_tensor flat, parts, own;

    if (!comm) return;
    each = reel_ceil_div(n, comm->size);
    flat = reel_new(c->a, REEL_F32, REEL_DIMS(comm->size * each));
    parts = rows_new(c, REEL_F32, comm->size, each);
    own = reel_slice(flat, comm->rank * each, (comm->rank + 1) * each);
    reel_fill(c->s, reel_slice(flat, n, comm->size * each), 0);
    reel_copy(c->s, reel_slice(flat, 0, n), reel_reshape(x, REEL_DIMS(n)));
    exchange(c, parts, flat);
    reel_tree_sum(c->s, own, parts, 0);
    reel_comm_allgather_start(comm, c->s, flat, &req);
    reel_comm_wait(comm, &req);
    reel_copy(c->s, reel_reshape(x, REEL_DIMS(n)), reel_slice(flat, 0, n));
    reel_arena_reset(c->a, mark);
}

reel_tensor reel_share_sum_text(const struct reel_pass *c, reel_tensor x)
{
    const struct reel_share *h = &c->share;
    int64_t W = x.n[1], L = x.n[0];
    reel_tensor sent, parts, sum;

    if (!h->comm) return reel_share_mine(x, h->txt);
    sum = rows_new(c, REEL_F32, h->txt_most, W);
    sent = rows_new(c, REEL_F32, h->comm->size * h->txt_most, W);
    parts = rows_new(c, REEL_F32, h->comm->size, h->txt_most * W);
    reel_fill(c->s, reel_slice(sent, L, sent.n[0]), 0);
    reel_copy(c->s, reel_slice(sent, 0, L), x);
    exchange(c, parts, sent);
    reel_tree_sum(c->s, reel_reshape(sum, REEL_DIMS(h->txt_most * W)), parts, 0);
    return reel_slice(sum, 0, h->txt.s);
}

void reel_share_none(const struct reel_pass *c, reel_tensor dw)
{
    if (dw.nd) reel_fill(c->s, dw, -0.0);
}

/* ---- tokens for heads, and back ---- */

struct reel_heads reel_share_heads(const struct reel_pass *c)
{
    int ranks = c->share.comm ? c->share.comm->size : 1, rank = c->share.comm ? c->share.comm->rank : 0;
    int per = (c->heads + ranks - 1) / ranks, left = c->heads - rank * per;

    return (struct reel_heads){ per, left < 0 ? 0 : left < per ? left : per };
}

struct reel_pass reel_share_whole(const struct reel_pass *c)
{
    struct reel_pass h = *c;

    if (!c->share.comm) return h;
    h.heads = reel_share_heads(c).per;
    h.tok = c->share.all;
    return h;
}

reel_tensor reel_headed_new(const struct reel_pass *c, int64_t d)
{
    return rows_new(c, c->dt, c->share.comm->size * c->share.most, reel_share_heads(c).per * d);
}

reel_tensor reel_headed(const struct reel_pass *c, reel_tensor x)
{
    return reel_reshape(reel_slice(x, 0, c->share.all.s), REEL_DIMS(1, c->share.all.s, x.n[1]));
}

/* Calls copy for each rank's columns of this rank's tokens: lo.. of x [rows, heads*d], 0.. of the message. */
static void each_rank(const struct reel_pass *c, reel_tensor tokens, reel_tensor message, int out)
{
    const struct reel_share *h = &c->share;
    int64_t W = message.n[1], D = tokens.n[1], rows = tokens.n[0];

    for (int64_t r = 0; r < h->comm->size && rows; r++) {
        reel_tensor part = reel_slice(message, r * h->most, r * h->most + rows);
        int64_t lo = r * W, n = D - lo < W ? D - lo : W;
        if (n <= 0) continue;
        if (out) reel_copy_2d(c->s, part, 0, tokens, lo, n);
        else reel_copy_2d(c->s, tokens, lo, part, 0, n);
    }
}

void reel_to_heads(const struct reel_pass *c, reel_tensor y, reel_tensor x, struct reel_req *req)
{
    reel_tensor sent = reel_new(c->a, x.dt, y.n, 2);

    if (c->heads % c->share.comm->size) reel_fill(c->s, sent, 0); /* heads that nobody has */
    each_rank(c, x, sent, 1);
    reel_comm_alltoall_start(c->share.comm, c->s, y, sent, req);
}

reel_tensor reel_to_tokens(const struct reel_pass *c, reel_tensor x, struct reel_req *req)
{
    reel_tensor got = reel_new(c->a, x.dt, x.n, 2);

    reel_comm_alltoall_start(c->share.comm, c->s, got, x, req);
    return got;
}

void reel_tokens_arrived(const struct reel_pass *c, reel_tensor y, reel_tensor got)
{
    each_rank(c, y, got, 0);
}
