/* The cache of a streaming rollout: keys and values of the frames that have passed, and of the text. What a pass sees
 * follows from its frames alone: with a window of w frames the sink and the last w - sink ones. In a cache that holds the
 * whole clip nothing is ever overwritten, so that a backward pass finds its context; in a smaller one
 * the oldest frames give way physically. Same visible rows, same bits. */
#include <stdlib.h>

#include "models/wan_priv.h"

static struct reel_kv *kv_take(struct wan *w)
{
    size_t n = (size_t)w->c.layers;
    struct reel_kv *kv = w->kv_pool, *next;

    while (kv && kv->taken) kv = kv->next;
    if (!kv) {
        kv = calloc(1, sizeof *kv + n * sizeof *kv->layer);
        REEL_BUG_IF(!kv, "out of memory: the record of a cache");
        kv->next = w->kv_pool;
        w->kv_pool = kv;
    }
    next = kv->next;
    *kv = (struct reel_kv){ .next = next, .taken = 1, .layer = (struct wan_kv_layer *)(kv + 1) };
    return kv;
}

struct reel_kv *reel_wan_kv_open(struct reel_model *m, struct reel_arena *a, const int64_t shape[5])
{
    struct wan *w = m->priv;
    struct reel_kv *kv = kv_take(w);
    struct reel_pass c = { .heads = m->heads / reel_params_mesh(m->ps)->tp.size };
    int64_t D = c.heads * w->c.head_dim, B, rows;

    kv->frames = shape[1];
    kv->frame = shape[3] / w->c.ph * (shape[4] / w->c.pw);
    kv->batch = shape[0];
    rows = kv->frames * kv->frame;
    c.share = reel_share_of(reel_params_mesh(m->ps), shape[0], rows, 1, rows);
    B = c.share.nb;
    for (int i = 0; i < (int)w->c.layers; i++) {
        struct wan_kv_layer *l = &kv->layer[i];

        l->k = reel_new(a, m->compute, REEL_DIMS(B, rows, reel_share_heads(&c).per * w->c.head_dim));
        l->v = reel_new(a, m->compute, REEL_DIMS(B, rows, reel_share_heads(&c).per * w->c.head_dim));
        l->text_k = reel_new(a, m->compute, REEL_DIMS(B, w->c.text_len, D));
        l->text_v = reel_new(a, m->compute, REEL_DIMS(B, w->c.text_len, D));
    }
    return kv;
}

void reel_wan_kv_close(struct reel_model *m, struct reel_kv *kv)
{
    REEL_BUG_IF(!kv->taken, "role %s: a cache is closed twice", m->role);
    kv->taken = 0;
}

/* rows [lo,hi) of sample b of x [B,C,D] */
static reel_tensor rows(reel_tensor x, int64_t b, int64_t lo, int64_t hi) { return reel_slice(reel_at(x, b), lo, hi); }

/* rows from `from` up to `end` to `to`; they may overlap */
static void shift(struct reel_stream *s, struct reel_arena *a, reel_tensor x, int64_t to, int64_t from, int64_t end)
{
    size_t mark = a->used;
    reel_tensor tmp;

    if (from >= end) return;
    tmp = reel_new(a, x.dt, REEL_DIMS(end - from, x.n[2]));
    for (int64_t b = 0; b < x.n[0]; b++) {
        reel_copy(s, tmp, rows(x, b, from, end));
        reel_copy(s, rows(x, b, to, to + end - from), tmp);
    }
    reel_arena_reset(a, mark);
}

/* Room for frames [first, stop): the oldest after the sink give way. */
static void make_room(const struct reel_model *m, struct reel_arena *a, struct reel_kv *kv, int64_t first, int64_t stop,
                      int backward)
{
    const struct wan_cfg *c = &((const struct wan *)m->priv)->c;
    int64_t out = stop - kv->rolled - kv->frames, held = kv->end - kv->rolled;

    REEL_BUG_IF(backward && (kv->rolled || out > 0), "role %s: a backward pass needs a cache of the whole clip, and this one "
                "has %ld frames of %ld", m->role, (long)kv->frames, (long)stop);
    if (out <= 0) return;
    REEL_BUG_IF(c->window < 0 || kv->frames < c->window || kv->frames < c->sink + stop - first,
                "role %s: a cache of %ld frames for frames %ld to %ld with a window of %ld", m->role, (long)kv->frames,
                (long)first, (long)(stop - 1), (long)c->window);
    for (int i = 0; i < (int)c->layers; i++) {
        shift(m->s, a, kv->layer[i].k, c->sink * kv->frame, (c->sink + out) * kv->frame, held * kv->frame);
        shift(m->s, a, kv->layer[i].v, c->sink * kv->frame, (c->sink + out) * kv->frame, held * kv->frame);
    }
    kv->rolled += out;
}

/* The rows that frames [first, stop) see. The sink is named even where the window follows it at once, because attention
 * sums the two ranges one after the other and shall do so in a cache of any capacity. FastVideo's training enlarges
 * the cache to the clip, so that nothing is evicted and its window is the last frames only, without a sink (parity). */
static struct reel_mask visible(const struct wan *w, const struct reel_kv *kv, int64_t first, int64_t stop)
{
    struct reel_mask m = { .see = REEL_SEE_WINDOW, .hi = (stop - kv->rolled) * kv->frame };
    int64_t window = w->c.window, sink = w->c.sink, lo;

    if (window < 0 || stop <= window) return m;
    if (w->parity && kv->frames > window) sink = 0;
    lo = stop - (window - sink);
    if (lo > first) lo = first;
    lo -= kv->rolled;
    if (lo < sink) return m;
    m.sink = sink * kv->frame;
    m.lo = lo * kv->frame;
    return m;
}

static void check_frames(const struct reel_model *m, const struct reel_kv *kv, const struct reel_model_in *in)
{
    const struct wan *w = m->priv;
    int64_t grid[3], at = in->frame0 - kv->rolled;

    reel_wan_grid(w, in->x, grid);
    REEL_BUG_IF(!kv->taken, "role %s: a pass with a closed cache", m->role);
    REEL_BUG_IF(in->frame0 < 0 || in->frame0 > kv->end || (kv->rolled && at < w->c.sink),
                "role %s: frame %ld follows %ld frames, of which %ld are gone", m->role, (long)in->frame0, (long)kv->end,
                (long)kv->rolled);
    REEL_BUG_IF(in->x.n[0] != kv->batch || grid[1] * grid[2] != kv->frame || grid[0] > kv->frames ||
                    in->text.n[1] > w->c.text_len || (kv->text_rows && kv->text_rows != in->text.n[1]),
                "role %s: %ld samples of %ld frames of %ld tokens and %ld text rows in a cache of %ld, %ld, %ld, %ld",
                m->role, (long)in->x.n[0], (long)grid[0], (long)(grid[1] * grid[2]), (long)in->text.n[1],
                (long)kv->batch, (long)kv->frames, (long)kv->frame, (long)w->c.text_len);
}

/* Positions: the clip's frame numbers, or those within the window. */
static void rotate(const struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in, struct wan_view *view)
{
    struct wan *w = m->priv;
    const struct reel_kv *kv = view->kv;
    int64_t grid[3], whole[3], n, at = in->frame0 * kv->frame;
    struct reel_rope table;

    reel_wan_grid(w, in->x, grid);
    n = grid[0] * kv->frame;
    if (!w->c.relativistic && in->frame0 + grid[0] > kv->frames) {
        view->rope = reel_rope_at(&w->rope, m->s, a, grid, in->frame0, (int)w->c.head_dim);
        return;
    }
    reel_wan_grid(w, in->x, whole);
    whole[0] = kv->frames;
    table = reel_rope_get(&w->rope, m->s, m->mem, a, whole, (int)w->c.head_dim);
    if (w->c.relativistic) {
        view->window = table;
        at = view->mask.sink + view->mask.hi - view->mask.lo - n;
    }
    view->rope = reel_rope_rows(table, at, at + n);
}

struct wan_view reel_wan_kv_view(struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in, int backward)
{
    struct reel_kv *kv = in->kv;
    int64_t stop = in->frame0 + in->x.n[1];
    struct wan_view view = { .kv = kv };

    check_frames(m, kv, in);
    make_room(m, a, kv, in->frame0, stop, backward);
    view.mask = visible(m->priv, kv, in->frame0, stop);
    view.row0 = (in->frame0 - kv->rolled) * kv->frame;
    rotate(m, a, in, &view);
    if (stop > kv->end) kv->end = stop;
    return view;
}

static reel_tensor lend(const struct reel_pass *c, reel_tensor cache, int64_t row0)
{
    const struct reel_rows r = c->share.all;
    reel_tensor x = reel_new(c->a, cache.dt, REEL_DIMS(r.b, r.s, cache.n[2]));

    for (int64_t b = 0; b < r.b; b++) reel_copy(c->s, reel_at(x, b), rows(cache, b, row0, row0 + r.s));
    return x;
}

struct wan_loan reel_wan_kv_lend(const struct reel_pass *c, const struct wan_view *view, int layer)
{
    if (!view->kv) return (struct wan_loan){ 0 };
    return (struct wan_loan){ lend(c, view->kv->layer[layer].k, view->row0), lend(c, view->kv->layer[layer].v, view->row0) };
}

void reel_wan_kv_return(const struct reel_pass *c, const struct wan_view *view, int layer, const struct wan_loan *loan)
{
    const struct reel_rows r = c->share.all;

    for (int64_t b = 0; b < r.b && view->kv; b++) {
        reel_copy(c->s, rows(view->kv->layer[layer].k, b, view->row0, view->row0 + r.s), reel_at(loan->k, b));
        reel_copy(c->s, rows(view->kv->layer[layer].v, b, view->row0, view->row0 + r.s), reel_at(loan->v, b));
    }
}
