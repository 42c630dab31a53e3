/* Tensor parallel ranks of a pass: they hold all rows of the residual stream, and heads or hidden features each.
 * Shoeybi et al., Megatron-LM (2019); the order of sums is that of one rank. */
#include "kernels/pieces.h"
#include "nn/nn.h"

static struct reel_comm *ranks_of(const struct reel_pass *c) { return c->mesh && c->mesh->tp.size > 1 ? &c->mesh->tp : NULL; }

int reel_tp_size(const struct reel_pass *c) { return c->mesh ? c->mesh->tp.size : 1; }

struct reel_cut reel_tp_cut(const struct reel_pass *c, int sum, int cols)
{
    int pieces = c->pieces ? c->pieces : 1;

    return (struct reel_cut){ sum ? pieces : 1, sum && ranks_of(c), cols ? pieces : 1 };
}

static int64_t share_of(const struct reel_comm *tp, int64_t rows) { return reel_ceil_div(rows, tp->size); }

reel_tensor reel_tp_partial(const struct reel_pass *c, int64_t rows, int64_t width)
{
    const struct reel_comm *tp = ranks_of(c);
    reel_tensor x = reel_new(c->a, REEL_F32, REEL_DIMS(tp->size * share_of(tp, rows), width));

    return reel_slice(x, 0, rows);
}

void reel_tp_sum(const struct reel_pass *c, reel_tensor y, reel_tensor part, reel_tensor bias, int acc)
{
    struct reel_comm *tp = ranks_of(c);
    size_t mark = c->a->used;
    int64_t rows = y.n[0], W = y.n[1], each = share_of(tp, rows), all = tp->size * each, lo = tp->rank * each, held = rows - lo;
    reel_tensor sent = reel_view(part.p, REEL_F32, REEL_DIMS(all, W)), full = y, own, sum;
    struct reel_req req = { .n = 0 };

    if (!rows) return;
    held = held < 0 ? 0 : held < each ? held : each;
    own = reel_new(c->a, REEL_F32, REEL_DIMS(tp->size, each * W));
    if (all > rows) reel_fill(c->s, reel_slice(sent, rows, all), 0);
    reel_comm_alltoall_start(tp, c->s, own, sent, &req);
    reel_comm_wait(tp, &req);
    sum = reel_slice(sent, 0, each); /* what was sent is not needed any more */
    reel_tree_sum(c->s, reel_reshape(sum, REEL_DIMS(each * W)), own, 0);
    if (all > rows) full = reel_new(c->a, y.dt, REEL_DIMS(all, W));
    if (all > rows && acc && held) reel_copy(c->s, reel_slice(full, lo, lo + held), reel_slice(y, lo, lo + held));
    if (all > rows && held < each) reel_fill(c->s, reel_slice(full, lo + held, lo + each), 0);
    if (held) reel_sum_end(c->s, reel_slice(full, lo, lo + held), reel_slice(sum, 0, held), bias, acc);
    reel_comm_allgather_start(tp, c->s, full, &req);
    reel_comm_wait(tp, &req);
    if (all > rows) reel_copy(c->s, y, reel_slice(full, 0, rows));
    reel_arena_reset(c->a, mark);
}

reel_tensor reel_tp_dots_new(const struct reel_pass *c, struct reel_rows r)
{
    if (!ranks_of(c)) return (reel_tensor){ 0 };
    return reel_act_f32(c, r, c->heads * c->mesh->tp.size);
}

void reel_tp_dots(const struct reel_pass *c, reel_tensor dots, reel_tensor dy, reel_tensor x, reel_tensor w, struct reel_rope rope,
                  struct reel_rows r)
{
    struct reel_comm *tp = ranks_of(c);
    size_t mark = c->a->used;
    int64_t rows = reel_rows_count(r);
    struct reel_req req = { .n = 0 };
    reel_tensor all;

    if (!tp || !rows) return;
    all = reel_new(c->a, REEL_F32, REEL_DIMS(tp->size, rows, c->heads));
    reel_rms_dots(c->s, reel_at(all, tp->rank), dy, x, w, rope.cos, rope.sin, r, c->heads);
    reel_comm_allgather_start(tp, c->s, all, &req);
    reel_comm_wait(tp, &req);
    for (int64_t i = 0; i < tp->size; i++) reel_copy_2d(c->s, dots, i * c->heads, reel_at(all, i), 0, c->heads);
    reel_arena_reset(c->a, mark);
}
