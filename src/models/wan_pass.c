/* Passes over the blocks of a Wan transformer: what they keep, forward, backward. */
#include <stdlib.h>

#include "models/wan_priv.h"

/* ---- records of passes ---- */

static struct reel_kept *kept_new(struct wan *w)
{
    size_t n = (size_t)w->c.layers;
    struct reel_kept *k = calloc(1, sizeof *k + (n + 1) * sizeof *k->x + n * sizeof *k->block);

    REEL_BUG_IF(!k, "out of memory: the record of a pass");
    k->x = (reel_tensor *)(k + 1);
    k->block = (struct wan_block_kept *)(k->x + n + 1);
    k->next = w->pool;
    return w->pool = k;
}

static struct reel_kept *kept_take(struct wan *w)
{
    struct reel_kept *k = w->pool;

    while (k && k->taken) k = k->next;
    if (!k) k = kept_new(w);
    k->taken = 1;
    return k;
}

void reel_wan_fini(struct reel_model *m)
{
    struct wan *w = m->priv;
    struct reel_kept *next;
    struct reel_kv *next_kv;

    for (; w->pool; w->pool = next) {
        next = w->pool->next;
        free(w->pool);
    }
    for (; w->kv_pool; w->kv_pool = next_kv) {
        next_kv = w->kv_pool->next;
        free(w->kv_pool);
    }
    reel_rope_free(&w->rope);
    reel_tiles_free(&w->tiles);
    free(m->def);
    m->def = NULL;
}

static void check_input(const struct reel_model *m, const struct reel_model_in *in)
{
    const int64_t *x = in->x.n, *t = in->t.n, *e = in->text.n;

    REEL_BUG_IF(in->x.nd != 5 || x[2] != m->channels || x[3] % m->patch_h || x[4] % m->patch_w,
                "latents of %d dimensions, %ld channels, %ld x %ld: [B,T,%d,H,W] is needed, H and W multiples of "
                "%d and %d", in->x.nd, (long)x[2], (long)x[3], (long)x[4], m->channels, m->patch_h, m->patch_w);
    REEL_BUG_IF((in->t.nd != 1 && in->t.nd != 2) || t[0] != x[0] || (in->t.nd == 2 && t[1] != x[1]),
                "timesteps must be [B] or [B,T] of latents [%ld,%ld,...]", (long)x[0], (long)x[1]);
    REEL_BUG_IF(in->text.nd != 3 || e[0] != x[0] || e[2] != m->text_dim,
                "text rows must be [%ld,L,%d]", (long)x[0], m->text_dim);
}

void reel_wan_grid(const struct wan *w, reel_tensor x, int64_t grid[3])
{
    grid[0] = x.n[1];
    grid[1] = x.n[3] / w->c.ph;
    grid[2] = x.n[4] / w->c.pw;
}

static struct reel_pass pass_of(const struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in)
{
    const struct wan *w = m->priv;
    int per_frame = in->t.nd == 2;
    int64_t T = in->x.n[1], L = in->text.n[1], grid[3], frame;
    struct reel_mesh *mesh = reel_params_mesh(m->ps);
    struct reel_share share;

    reel_wan_grid(w, in->x, grid);
    frame = grid[1] * grid[2];
    share = reel_share_of(mesh, in->x.n[0], T * frame, L, per_frame ? frame : T * frame);
    return (struct reel_pass){
        .s = m->s, .a = a, .mesh = mesh, .dt = m->compute, .eps = w->c.eps,
        .heads = m->heads / mesh->tp.size, .pieces = reel_params_pieces(m->ps),
        .share = share, .tok = share.rows,
        .txt = reel_rows_make(share.nb, L, L),
        .vec = reel_rows_make(share.nb, per_frame ? T : 1, 1),
        .probe = m->probe, .probe_ctx = m->probe_ctx, .block = -1,
    };
}

/* Reproducibility on one layout only: sums over rows as long as the rank's rows. */
static void one_run(struct reel_pass *c)
{
    struct reel_rows *r[] = { &c->tok, &c->txt, &c->vec, &c->share.rows, &c->share.txt };

    for (int i = 0; i < 5; i++) r[i]->runs = 1, r[i]->run_tok = r[i]->s;
}

/* The blocks that tokens choose among, and how many they choose. */
static struct reel_sparse sparse_of(struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in)
{
    struct wan *w = m->priv;
    int64_t grid[3];

    if (!w->c.sparse) return (struct reel_sparse){ 0 };
    reel_wan_grid(w, in->x, grid);
    return (struct reel_sparse){ reel_tiles_get(&w->tiles, m->s, m->mem, a, grid),
                                 reel_vsa_topk(in->sparsity, reel_tiles_count(grid)) };
}

/* This rank's samples. */
static struct reel_model_in mine(const struct reel_share *h, const struct reel_model_in *in)
{
    struct reel_model_in own = *in;

    own.x = reel_slice(in->x, h->b0, h->b0 + h->nb);
    own.t = reel_slice(in->t, h->b0, h->b0 + h->nb);
    own.text = reel_slice(in->text, h->b0, h->b0 + h->nb);
    return own;
}

/* The memory of a pass. Without a backward pass one residual stream is enough. */
static void kept_layout(struct reel_kept *k, struct reel_model *m, struct reel_arena *a,
                        const struct reel_model_in *in, int backward)
{
    struct wan *w = m->priv;
    const struct reel_pass *c = &k->c;
    const struct reel_time time = reel_wan_time(m, 0);
    const struct reel_text_mlp text = reel_wan_text(m, 0);
    int64_t D = w->c.heads * w->c.head_dim;

    k->c = pass_of(m, a, in);
    if (m->one_run) one_run(&k->c);
    k->in = mine(&k->c.share, in);
    k->backward = backward;
    k->view = (struct wan_view){ .sparse = sparse_of(m, a, in) };
    k->text = (struct reel_text_kept){ 0 };
    k->ps = m->ps;
    k->checkpointing = m->checkpointing;
    reel_time_keep(c, &k->time, &time);
    if (!in->kv || !in->kv->text_rows || backward) reel_text_keep(c, &k->text, &text, k->in.text);
    for (int i = 0; i <= (int)w->c.layers; i++) k->x[i] = i && !backward ? k->x[0] : reel_act(c, c->tok, D);
    for (int i = 0; i < (int)w->c.layers && backward && !k->checkpointing; i++) {
        reel_wan_attn_keep(c, &k->block[i], D, k);
        reel_wan_ffn_keep(c, &k->block[i], D, w->c.ffn, 1);
    }
}

/* ---- forward ---- */

/* A pass that is wanted for its keys and values ends with those of the last block. */
static void pass_block(struct reel_kept *k, int i, const struct wan_block *w, int last)
{
    const struct reel_pass *c = &k->c;
    int own = k->backward && !k->checkpointing;
    struct wan_block_kept tmp, *b = own ? &k->block[i] : &tmp;
    reel_tensor e = reel_wan_modulation(c, w, k->time.tproj);

    if (last && k->in.store_only) {
        reel_wan_block_store(c, w, k->x[i], e, k);
        return;
    }
    if (!own) {
        reel_wan_attn_keep(c, b, k->x[i].n[1], k);
        reel_wan_ffn_keep(c, b, k->x[i].n[1], 0, 0);
    }
    reel_wan_block_fwd(c, w, b, k->x[i + 1], k->x[i], e, k);
    reel_probe(c, "act", "block_out", k->x[i + 1]);
}

static void run_block(struct reel_model *m, struct reel_kept *k, int i)
{
    struct reel_pass *c = &k->c;
    int unit = 1 + i;
    size_t mark = c->a->used;
    struct wan_block w;

    reel_params_need(m->ps, unit);
    if (unit + 1 < m->n_units) reel_params_prefetch(m->ps, unit + 1);
    w = reel_wan_block(m, i, 0);
    c->block = i;
    pass_block(k, i, &w, unit + 1 == m->n_units);
    c->block = -1;
    reel_params_release(m->ps, unit);
    reel_arena_reset(c->a, mark);
}

struct reel_kept *reel_wan_begin(struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in, int backward)
{
    struct reel_kept *k = kept_take(m->priv);

    check_input(m, in);
    reel_params_need(m->ps, 0);
    reel_params_prefetch(m->ps, 1);
    kept_layout(k, m, a, in, backward);
    return k;
}

void reel_wan_run(struct reel_model *m, struct reel_kept *k, reel_tensor v)
{
    const struct reel_pass *c = &k->c;
    const struct reel_time time = reel_wan_time(m, 0);
    const struct reel_text_mlp text = reel_wan_text(m, 0);
    const struct reel_patch patch = reel_wan_patch(m, 0);
    const struct reel_head head = reel_wan_head(m, 0);

    reel_time_fwd(c, &time, &k->time, k->in.t);
    if (k->text.ctx.nd) reel_text_fwd(c, &text, &k->text, k->in.text);
    reel_patch_embed_fwd(c, &patch, k->x[0], k->in.x);
    reel_probe(c, "act", "tokens", k->x[0]);
    for (int i = 0; i + 1 < m->n_units; i++) run_block(m, k, i);
    if (!k->in.store_only) reel_head_fwd(c, &head, v, k->x[m->n_units - 1], k->time.temb);
}

/* With a backward pass to come the root unit stays gathered. */
void reel_wan_end(struct reel_model *m, struct reel_kept *k, size_t mark, struct reel_kept **kept)
{
    if (kept) {
        *kept = k;
        return;
    }
    reel_params_release(m->ps, 0);
    reel_arena_reset(k->c.a, mark);
    k->taken = 0;
}

/* ---- backward ---- */

/* What the forward pass did not keep, in scratch: attention's part, then the feed-forward's. */
static size_t recompute(const struct reel_model *m, const struct reel_kept *k, const struct wan_block *w,
                        struct wan_block_kept *b, int i, reel_tensor e)
{
    struct reel_pass again = k->c;
    size_t ffn_end;

    again.probe = NULL;
    reel_wan_attn_keep(&again, b, k->x[i].n[1], k);
    ffn_end = again.a->used;
    reel_wan_ffn_keep(&again, b, k->x[i].n[1], ((const struct wan *)m->priv)->c.ffn, 1);
    reel_wan_block_fwd(&again, w, b, (reel_tensor){ 0 }, k->x[i], e, k);
    return ffn_end;
}

static void run_block_bwd(struct reel_model *m, struct reel_kept *k, int i, reel_tensor g,
                          const struct wan_shared_grads *sg)
{
    struct reel_pass *c = &k->c;
    struct wan_block_kept tmp, *b = k->checkpointing ? &tmp : &k->block[i];
    size_t mark = c->a->used, ffn_end;
    struct wan_loan loan = reel_wan_kv_lend(c, &k->view, i);
    reel_tensor e, de;
    struct wan_block w;
    int unit = 1 + i;

    reel_params_need(m->ps, unit);
    if (i) reel_params_prefetch(m->ps, unit - 1);
    reel_grads_begin(m->ps, unit);
    w = reel_wan_block(m, i, 1);
    c->block = i;
    e = reel_wan_modulation(c, &w, k->time.tproj);
    de = reel_new(c->a, REEL_F32, e.n, e.nd);
    ffn_end = k->checkpointing ? recompute(m, k, &w, b, i, e) : c->a->used;
    reel_probe(c, "dact", "block_out", g);
    reel_wan_block_bwd(c, &w, b, g, k->x[i], e, de, ffn_end, k, sg);
    reel_wan_kv_return(c, &k->view, i, &loan);
    c->block = -1;
    reel_grads_reduce(m->ps, unit);
    reel_params_release(m->ps, unit);
    reel_arena_reset(c->a, mark);
}

static reel_tensor zeros(const struct reel_pass *c, struct reel_rows r, int64_t width)
{
    reel_tensor x = reel_act_f32(c, r, width);

    reel_fill(c->s, x, 0);
    return x;
}

static void run_bwd(struct reel_model *m, struct reel_kept *k, reel_tensor dv, reel_tensor dx, reel_tensor dtext)
{
    const struct reel_pass *c = &k->c;
    const struct reel_time time = reel_wan_time(m, 1);
    const struct reel_text_mlp text = reel_wan_text(m, 1);
    const struct reel_patch patch = reel_wan_patch(m, 1);
    const struct reel_head head = reel_wan_head(m, 1);
    int64_t D = k->x[0].n[1];
    reel_tensor g = reel_act(c, c->tok, D);
    struct wan_shared_grads sg = { zeros(c, c->share.txt, D), zeros(c, c->vec, WAN_MODS * D), zeros(c, c->vec, D) };

    reel_head_bwd(c, &head, g, sg.dtemb, dv, k->x[m->n_units - 1], k->time.temb);
    for (int i = m->n_units - 2; i >= 0; i--) run_block_bwd(m, k, i, g, &sg);
    reel_probe(c, "dact", "tokens", g);
    if (dx.nd || patch.lin.dw.nd) reel_patch_embed_bwd(c, &patch, dx, g, k->in.x); /* frozen: nobody asks */
    if (dtext.nd || text.l1.dw.nd) reel_text_bwd(c, &text, &k->text, sg.dctx, dtext);
    if (time.l1.dw.nd) reel_time_bwd(c, &time, &k->time, sg.dtemb, sg.dtproj);
}

void reel_wan_bwd(struct reel_model *m, struct reel_arena *a, struct reel_kept *k, reel_tensor dv, reel_tensor dx,
                  reel_tensor dtext)
{
    size_t mark = a->used;

    REEL_BUG_IF(!m->trainable, "role %s is frozen: it has no backward pass", m->role);
    REEL_BUG_IF(!k->taken, "role %s: a second backward pass over what one forward pass kept", m->role);
    k->c.a = a;
    reel_params_need(m->ps, 0);
    if (m->n_units > 1) reel_params_prefetch(m->ps, m->n_units - 1);
    reel_grads_begin(m->ps, 0);
    run_bwd(m, k, dv, dx, dtext);
    reel_grads_reduce(m->ps, 0);
    reel_params_release(m->ps, 0);
    reel_arena_reset(a, mark);
    k->taken = 0;
}

/* ---- cost ---- */

/* The blocks' products, 2 per multiply-add; patches, head and conditioning are below 1%. */
double reel_wan_flops(const struct wan_cfg *c, double S, double pairs)
{
    double D = (double)(c->heads * c->head_dim), L = (double)c->text_len, F = (double)c->ffn;
    double self = 8 * S * D * D + 4 * pairs * D;
    double cross = 4 * S * D * D + 4 * L * D * D + 4 * S * L * D;

    return (double)c->layers * (self + cross + 4 * S * D * F);
}
