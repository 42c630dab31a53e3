/* UMT5's encoder over the prompts of a round: x += attention(RMS(x)) and x += W (gelu(W0 RMS(x)) W1 RMS(x)), layer by layer.
 * The residual stream is f32 whatever the products are. Rows know nothing of each other outside attention, and attention
 * goes prompt by prompt, so what a prompt becomes does not depend on its round.
 * Source: transformers models/umt5/modeling_umt5.py; FastVideo fastvideo/models/encoders/t5.py @2f3d4074. */
#include <string.h>

#include "be/ops.h"
#include "encode/umt5_priv.h"

static const reel_tensor none = { 0 };

/* The first m rows. */
static reel_tensor top(reel_tensor t, int64_t m) { return reel_slice(t, 0, m); }

static reel_tensor weight(const struct reel_umt5 *u, int layer, enum reel_umt5_param which)
{
    return reel_param(u->ps, layer * REEL_UMT5_PER_LAYER + (int)which);
}

static void normed(struct reel_umt5 *u, reel_tensor w, int m)
{
    reel_rms_rope_fwd(&u->s, top(u->norm, m), top(u->rstd, m), top(u->x, m), w, none, none, reel_rows_make(1, m, m), 1, u->dims.eps, none);
    if (u->dt == REEL_BF16) reel_cast(&u->s, top(u->h, m), top(u->norm, m));
}

/* y = x w^T, on a card unit by unit */
static void product(struct reel_umt5 *u, reel_tensor y, reel_tensor x, reel_tensor w, int m, struct reel_cut cut, enum reel_epi epi)
{
    int step = reel_backend_on_device(u->be) ? u->unit : m;

    for (int at = 0; at < m; at += step)
        reel_linear_fwd(&u->s, reel_slice(y, at, at + step), none, reel_slice(x, at, at + step), w, none, reel_rows_make(1, step, step),
                        cut, epi);
}

static void make(struct reel_umt5 *u, reel_tensor y, reel_tensor x, reel_tensor w, int m)
{
    product(u, y, x, w, m, REEL_UNCUT, REEL_EPI_NONE);
}

/* x += y w^T: in bf16 the product is rounded to f32, never to bf16 */
static void residual(struct reel_umt5 *u, reel_tensor y, reel_tensor w, int m)
{
    if (u->dt == REEL_F32) return product(u, u->x, y, w, m, REEL_UNCUT, REEL_EPI_ADD);
    product(u, u->norm, y, w, m, (struct reel_cut){ 1, 1, 1 }, REEL_EPI_NONE);
    reel_sum_end(&u->s, top(u->x, m), top(u->norm, m), none, 1);
}

static void attend(struct reel_umt5 *u, int64_t at, int64_t n)
{
    reel_attn_rel_fwd(&u->s, reel_slice(u->o, at, at + n), reel_slice(u->q, at, at + n), reel_slice(u->k, at, at + n),
                      reel_slice(u->v, at, at + n), u->rel);
}

/* What fills up the last unit is one more sequence, which nobody reads. */
static void attention(struct reel_umt5 *u, int layer, const int *len, int n, int m)
{
    int64_t at = 0, w = 2 * REEL_UMT5_MOST - 1, heads = u->dims.heads;

    normed(u, weight(u, layer, REEL_UMT5_NORM1), m);
    make(u, u->q, u->h, weight(u, layer, REEL_UMT5_Q), m);
    make(u, u->k, u->h, weight(u, layer, REEL_UMT5_K), m);
    make(u, u->v, u->h, weight(u, layer, REEL_UMT5_V), m);
    reel_embed(&u->s, u->near, weight(u, layer, REEL_UMT5_BIAS), u->bucket);
    reel_swap_tc(&u->s, reel_reshape(u->rel, REEL_DIMS(1, heads, w)), reel_reshape(u->near, REEL_DIMS(1, w, heads)));
    for (int i = 0; i < n; at += len[i++]) attend(u, at, len[i]);
    if (at < m) attend(u, at, m - at);
    residual(u, u->o, weight(u, layer, REEL_UMT5_O), m);
}

static void feed_forward(struct reel_umt5 *u, int layer, int m)
{
    normed(u, weight(u, layer, REEL_UMT5_NORM2), m);
    make(u, u->a, u->h, weight(u, layer, REEL_UMT5_GATE), m);
    make(u, u->b, u->h, weight(u, layer, REEL_UMT5_UP), m);
    reel_geglu_fwd(&u->s, top(u->a, m), top(u->a, m), top(u->b, m));
    residual(u, u->a, weight(u, layer, REEL_UMT5_DOWN), m);
}

/* Every rank looks its columns of all ranks' tokens up; x[m,d] are this rank's tokens with the columns of all. */
static void embed(struct reel_umt5 *u, int m, int most)
{
    int64_t ranks = u->comm->size, d = u->dims.d, cols = u->cols;
    reel_tensor ids = reel_view(u->ids.p, REEL_I32, REEL_DIMS(ranks * most));
    reel_tensor mine = reel_view(u->send.p, u->dt, REEL_DIMS(ranks * most, cols)), got = mine;
    reel_tensor to = u->dt == REEL_F32 ? u->x : u->h;
    struct reel_req req = { 0 };

    reel_put(&u->s, ids, u->host_ids);
    reel_embed(&u->s, mine, u->table, ids);
    if (ranks > 1) {
        got = reel_view(u->recv.p, u->dt, REEL_DIMS(ranks * most, cols));
        reel_comm_alltoall_start(u->comm, &u->s, got, mine, &req);
        reel_comm_wait(u->comm, &req);
    }
    for (int64_t r = 0; m && r < ranks && r * cols < d; r++)
        reel_copy_2d(&u->s, top(to, m), r * cols, reel_slice(got, r * most, r * most + m), 0, d - r * cols < cols ? d - r * cols : cols);
    if (m && u->dt == REEL_BF16) reel_cast(&u->s, top(u->x, m), top(u->h, m));
}

static void show(struct reel_umt5 *u, int layer, int m)
{
    if (!u->look || !m) return;
    reel_get(&u->s, u->host_rows, top(u->x, m));
    u->look(u->look_ctx, layer, u->host_rows, m);
}

void reel_umt5_round(struct reel_umt5 *u, const int *len, int n, int m, int most)
{
    int layers = (int)u->dims.layers;

    reel_params_prefetch(u->ps, 1);
    embed(u, m, most);
    for (int l = 0; l < layers; l++) {
        reel_params_need(u->ps, l + 1);
        reel_params_prefetch(u->ps, l + 2);
        show(u, l, m);
        if (m) attention(u, l, len, n, m);
        reel_params_progress(u->ps);
        if (m) feed_forward(u, l, m);
        reel_params_release(u->ps, l + 1);
    }
    reel_params_need(u->ps, 0);
    show(u, layers, m);
    if (m) {
        reel_rms_rope_fwd(&u->s, top(u->norm, m), top(u->rstd, m), top(u->x, m), reel_param(u->ps, u->n_def - 1), none, none,
                          reel_rows_make(1, m, m), 1, u->dims.eps, none);
        reel_get(&u->s, u->host_rows, top(u->norm, m));
    }
    reel_params_release(u->ps, 0);
}

/* Temporary memory does not grow with the number of rows alone: every number that may come is asked. */
void reel_umt5_plan(struct reel_umt5 *u)
{
    int64_t d = u->dims.d, inner = u->dims.heads * u->dims.kv, ff = u->dims.ff;
    reel_tensor wq = reel_view(NULL, u->dt, REEL_DIMS(inner, d)), wo = reel_view(NULL, u->dt, REEL_DIMS(d, inner));
    reel_tensor w0 = reel_view(NULL, u->dt, REEL_DIMS(ff, d)), w2 = reel_view(NULL, u->dt, REEL_DIMS(d, ff));

    for (int m = u->unit; m <= REEL_UMT5_ROUND; m += u->unit) {
        make(u, u->q, u->h, wq, m);
        residual(u, u->o, wo, m);
        make(u, u->a, u->h, w0, m);
        residual(u, u->a, w2, m);
    }
    for (int n = 1; n <= REEL_UMT5_MOST; n++) attend(u, 0, n);
}
