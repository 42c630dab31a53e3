/* Wan2.1 text-to-video transformer with block-causal attention: chunks of frames see themselves and earlier ones. Same
 * parameters as the bidirectional model. Whole clips at once, with a mask (teacher forcing besides: noisy chunks see
 * earlier clean ones), or chunk after chunk with a cache (wan_kv.c).
 * Source: fastvideo/models/dits/causal_wanvideo.py, fastvideo/models/dits/_relative_rope.py @2f3d4074. */
#include "models/wan_priv.h"

static const reel_tensor none;

static reel_err causal_init(struct reel_model *m, const char *config_json, const char *where)
{
    struct wan *w = m->priv;

    REEL_TRY(reel_wan_cfg_read(&w->c, config_json, where));
    REEL_TRY(reel_wan_cfg_read_causal(&w->c, config_json, where, &m->opts));
    w->parity = m->opts.parity;
    m->chunk = w->c.chunk;
    m->window = w->c.window;
    return reel_wan_define(m, &w->c, where);
}

/* ---- whole clips ---- */

#define PADDED_TO 128 /* tokens: FastVideo pads a sequence to a multiple of it */

/* Under parity: the zero keys of that padding that fall into a short last chunk. */
static int64_t zero_keys(const struct wan *w, int64_t T, int64_t frame, int halves)
{
    int64_t missing = (w->c.chunk - T % w->c.chunk) % w->c.chunk * frame;
    int64_t pad = (PADDED_TO - halves * T * frame % PADDED_TO) % PADDED_TO;

    if (!w->parity) return 0;
    return missing < pad ? missing : pad;
}

static reel_tensor twice(const struct reel_model *m, struct reel_arena *a, reel_tensor x)
{
    reel_tensor y = reel_new(a, x.dt, REEL_DIMS(2 * x.n[0], x.n[1]));

    reel_copy(m->s, reel_slice(y, 0, x.n[0]), x);
    reel_copy(m->s, reel_slice(y, x.n[0], 2 * x.n[0]), x);
    return y;
}

/* halves 2: [clean | noisy], both at the same positions. */
static struct wan_view whole_clip(struct reel_model *m, struct reel_arena *a, reel_tensor x, int halves)
{
    struct wan *w = m->priv;
    struct wan_view v = { 0 };
    int64_t grid[3], frame;

    reel_wan_grid(w, x, grid);
    frame = grid[1] * grid[2];
    grid[0] /= halves;
    v.rope = reel_rope_get(&w->rope, m->s, m->mem, a, grid, (int)w->c.head_dim);
    v.mask = (struct reel_mask){ .see = REEL_SEE_CHUNKS, .chunk = w->c.chunk * frame,
                                 .window = w->c.window > 0 ? w->c.window * frame : 0,
                                 .zeros = zero_keys(w, grid[0], frame, halves) };
    if (halves == 1) return v;
    v.rope = (struct reel_rope){ twice(m, a, v.rope.cos), twice(m, a, v.rope.sin) };
    v.mask.see = REEL_SEE_TEACHER;
    v.mask.half = grid[0] * frame;
    return v;
}

/* ---- teacher forcing: a clip of twice the frames ---- */

/* frames [lo,hi) of sample b of x [B,T,...] */
static reel_tensor frames(reel_tensor x, int64_t b, int64_t lo, int64_t hi) { return reel_slice(reel_at(x, b), lo, hi); }

static reel_tensor join(const struct reel_model *m, struct reel_arena *a, reel_tensor clean, reel_tensor noisy)
{
    int64_t n[REEL_MAXDIM], T = noisy.n[1];
    reel_tensor y;

    for (int i = 0; i < noisy.nd; i++) n[i] = i == 1 ? 2 * T : noisy.n[i];
    y = reel_new(a, REEL_F32, n, noisy.nd);
    for (int64_t b = 0; b < n[0]; b++) {
        reel_copy(m->s, frames(y, b, 0, T), reel_at(clean, b));
        reel_copy(m->s, frames(y, b, T, 2 * T), reel_at(noisy, b));
    }
    return y;
}

static void take_noisy(const struct reel_model *m, reel_tensor noisy, reel_tensor both)
{
    for (int64_t b = 0; b < noisy.n[0]; b++)
        reel_copy(m->s, reel_at(noisy, b), frames(both, b, noisy.n[1], 2 * noisy.n[1]));
}

/* t [B] or [B,T], nd 0: zeros -> [B,T] */
static reel_tensor per_frame(const struct reel_model *m, struct reel_arena *a, reel_tensor t, int64_t B, int64_t T)
{
    reel_tensor y;

    if (t.nd == 2) return t;
    y = reel_new(a, REEL_F32, REEL_DIMS(B, T));
    if (!t.nd) reel_fill(m->s, y, 0);
    for (int64_t b = 0; b < B && t.nd; b++)
        for (int64_t f = 0; f < T; f++) reel_copy(m->s, frames(y, b, f, f + 1), reel_slice(t, b, b + 1));
    return y;
}

static struct reel_model_in doubled(const struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in)
{
    struct reel_model_in two = *in;
    int64_t B = in->x.n[0], T = in->x.n[1];

    for (int i = 0; i < 5; i++)
        REEL_BUG_IF(in->clean.nd != 5 || in->clean.n[i] != in->x.n[i], "role %s: clean latents differ from noisy ones in "
                    "dimension %d", m->role, i);
    two.x = join(m, a, in->clean, in->x);
    two.t = join(m, a, per_frame(m, a, in->clean_t, B, T), per_frame(m, a, in->t, B, T));
    return two;
}

static reel_tensor forced_fwd(struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in,
                              struct reel_kept **kept)
{
    reel_tensor v = reel_new(a, REEL_F32, in->x.n, in->x.nd), both;
    size_t mark = a->used;
    struct reel_model_in two = doubled(m, a, in);
    struct reel_kept *k;

    both = reel_new(a, REEL_F32, two.x.n, two.x.nd);
    k = reel_wan_begin(m, a, &two, kept != NULL);
    k->view = whole_clip(m, a, two.x, 2);
    reel_wan_run(m, k, both);
    take_noisy(m, v, both);
    reel_wan_end(m, k, mark, kept);
    return v;
}

static void forced_bwd(struct reel_model *m, struct reel_arena *a, struct reel_kept *k, reel_tensor dv, reel_tensor dx,
                       reel_tensor dtext)
{
    size_t mark = a->used;
    const int64_t two[5] = { dv.n[0], 2 * dv.n[1], dv.n[2], dv.n[3], dv.n[4] };
    reel_tensor dv2 = reel_new(a, REEL_F32, two, 5), dx2 = dx.nd ? reel_new(a, REEL_F32, two, 5) : none;

    reel_fill(m->s, dv2, 0);
    for (int64_t b = 0; b < dv.n[0]; b++)
        reel_copy(m->s, frames(dv2, b, dv.n[1], 2 * dv.n[1]), reel_at(dv, b));
    reel_wan_bwd(m, a, k, dv2, dx2, dtext);
    if (dx.nd) take_noisy(m, dx, dx2);
    reel_arena_reset(a, mark);
}

/* ---- the model ---- */

static reel_tensor causal_fwd(struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in,
                              struct reel_kept **kept)
{
    reel_tensor v = none;
    struct reel_kept *k;
    size_t mark;

    REEL_BUG_IF(in->kv && in->clean.nd, "role %s: a streaming pass has its clean frames in the cache", m->role);
    REEL_BUG_IF(in->store_only && (!in->kv || kept), "role %s: a pass for its keys and values needs a cache and has no "
                "backward", m->role);
    if (in->clean.nd) return forced_fwd(m, a, in, kept);
    if (!in->store_only) v = reel_new(a, REEL_F32, in->x.n, in->x.nd);
    mark = a->used;
    k = reel_wan_begin(m, a, in, kept != NULL);
    k->view = in->kv ? reel_wan_kv_view(m, a, in, kept != NULL) : whole_clip(m, a, in->x, 1);
    reel_wan_run(m, k, v);
    if (in->kv && !kept) in->kv->text_rows = in->text.n[1];
    reel_wan_end(m, k, mark, kept);
    return v;
}

static void causal_bwd(struct reel_model *m, struct reel_arena *a, struct reel_kept *k, reel_tensor dv, reel_tensor dx,
                       reel_tensor dtext)
{
    if (k->in.clean.nd) forced_bwd(m, a, k, dv, dx, dtext);
    else reel_wan_bwd(m, a, k, dv, dx, dtext);
}

/* Of a whole clip without a clean half: pairs are those that the mask shows. */
static double causal_flops(const struct reel_model *m, int64_t B, int64_t T, int64_t H, int64_t W)
{
    const struct wan_cfg *c = &((const struct wan *)m->priv)->c;
    double frame = (double)(H / c->ph * (W / c->pw)), pairs = 0;

    for (int64_t t = 0; t < T; t++) {
        int64_t end = (t / c->chunk + 1) * c->chunk, n = end < T ? end : T;

        pairs += (double)(c->window > 0 && c->window < n ? c->window : n);
    }
    return (double)B * reel_wan_flops(c, (double)T * frame, pairs * frame * frame);
}

const struct reel_model_ops reel_model_wan_causal = {
    .name = "wan_causal",
    .help = "the same with block-causal attention and a KV cache",
    .targets = "fastvideo.train.models.wan.WanCausalModel|fastvideo.train.models.wan.wan_causal.WanCausalModel",
    .causal = 1,
    .naming = &reel_wan_naming,
    .adapters = 1,
    .shares = 1,
    .priv_size = sizeof(struct wan),
    .init = causal_init,
    .fini = reel_wan_fini,
    .fwd = causal_fwd,
    .bwd = causal_bwd,
    .flops = causal_flops,
    .kv_open = reel_wan_kv_open,
    .kv_close = reel_wan_kv_close,
};

REEL_EXPORT(REEL_KIND_MODEL, wan_causal);
