/* One chunk of one tile through a network. */
#include <string.h>

#include "comm/pulse.h"
#include "encode/vae_priv.h"

struct run {
    struct vae_film *f;
    struct vae_tile *tile;
    reel_dtype dt;
    int first; /* the film's first chunk */
    int at;    /* which buffer x lies in */
    reel_tensor x;
};

/* Activations take turns in three buffers: this one lies i further than x's. */
static reel_tensor buffer(struct run *r, int i, reel_dtype dt, const int64_t *n, int nd)
{
    const int slot = (r->at + i) % 3;
    reel_tensor t = reel_view(NULL, dt, n, nd);
    const size_t bytes = reel_bytes(t);

    if (r->f->s.planning) {
        if (bytes > r->f->need[slot]) r->f->need[slot] = bytes;
        return t;
    }
    REEL_BUG_IF(bytes > r->f->need[slot], "buffer %d: %zu bytes of %zu", slot, bytes, r->f->need[slot]);
    t.p = (char *)r->f->work.base + vae_buffer_at(r->f, slot);
    return t;
}

/* x[T,H,W,C] with other channels */
static reel_tensor like(struct run *r, int i, reel_tensor x, int64_t c)
{
    return buffer(r, i, r->dt, REEL_DIMS(x.n[0], x.n[1], x.n[2], c));
}

static void moved(struct run *r, int i, reel_tensor x)
{
    r->at = (r->at + i) % 3;
    r->x = x;
}

/* ---- memory of the frames before ---- */

static const reel_tensor none = { 0 };

static reel_tensor past_of(const struct run *r, const struct vae_conv *c)
{
    return r->tile->cache[c->cache].seen ? r->tile->cache[c->cache].t : none;
}

/* The last n frames of x and what was kept, for the next chunk; zeros where there were none. */
static void keep(struct run *r, const struct vae_conv *c, reel_tensor x, int64_t n)
{
    reel_tensor *t = &r->tile->cache[c->cache].t;
    const int64_t from = n < x.n[0] ? n : x.n[0];

    if (!t->nd) *t = reel_new(&r->f->caches, r->dt, REEL_DIMS(n, x.n[1], x.n[2], x.n[3]));
    for (int64_t i = 0; i < n - from; i++) {
        if (r->tile->cache[c->cache].seen) reel_copy(&r->f->s, reel_at(*t, i), reel_at(*t, i + from));
        else reel_fill(&r->f->s, reel_at(*t, i), 0);
    }
    reel_copy(&r->f->s, reel_slice(*t, n - from, n), reel_slice(x, x.n[0] - from, x.n[0]));
    r->tile->cache[c->cache].seen = 1;
}

/* ---- steps ---- */

/* y (= or +=) conv of x, causal in time */
static void conv(struct run *r, const struct vae_conv *c, reel_tensor y, reel_tensor x, int acc)
{
    const int causal = c->kt > 1;

    reel_conv_fwd(&r->f->s, y, x, causal ? past_of(r, c) : none, c->w, c->b, (struct reel_conv_how){ 1, 1, (c->kh - 1) / 2, 0, acc });
    if (causal) keep(r, c, x, c->kt - 1);
}

static void run_conv(struct run *r, const struct vae_step *p)
{
    reel_tensor y = like(r, 1, r->x, p->conv[0].n);

    conv(r, &p->conv[0], y, r->x, 0);
    moved(r, 1, y);
}

static void run_head(struct run *r, const struct vae_step *p)
{
    reel_tensor y = like(r, 1, r->x, p->conv[0].n);

    reel_unit_fwd(&r->f->s, r->x, r->x, p->norm[0].w, 1);
    conv(r, &p->conv[0], y, r->x, 0);
    moved(r, 1, y);
}

static void run_res(struct run *r, const struct vae_step *p)
{
    reel_tensor a = like(r, 1, r->x, p->conv[0].c), b = like(r, 2, r->x, p->conv[0].n), y = r->x;

    reel_unit_fwd(&r->f->s, a, r->x, p->norm[0].w, 1);
    conv(r, &p->conv[0], b, a, 0);
    reel_unit_fwd(&r->f->s, b, b, p->norm[1].w, 1);
    if (p->conv[2].n) {
        y = like(r, 1, r->x, p->conv[2].n);
        conv(r, &p->conv[2], y, r->x, 0);
    }
    conv(r, &p->conv[1], y, b, 1);
    moved(r, p->conv[2].n ? 1 : 0, y);
}

/* Rows [i,i+n) of a convolution's results alone. */
static struct vae_conv part(const struct vae_conv *c, int i, int n)
{
    struct vae_conv v = *c;

    v.n = n;
    v.w = reel_slice(c->w, i, i + n);
    v.b = reel_slice(c->b, i, i + n);
    return v;
}

static void run_attn(struct run *r, const struct vae_step *p)
{
    const int64_t t = r->x.n[0], hw = r->x.n[1] * r->x.n[2], c = r->x.n[3], row = (int64_t)vae_aligned((size_t)(t * hw * c) * reel_dtype_size(r->dt));
    reel_tensor a = like(r, 1, r->x, c), all = buffer(r, 2, REEL_U8, REEL_DIMS(3 * row + t * hw * 4)), v[3], lse = reel_slice(all, 3 * row, all.n[0]);

    reel_unit_fwd(&r->f->s, a, r->x, p->norm[0].w, 0);
    for (int i = 0; i < 3; i++) {
        const struct vae_conv third = part(&p->conv[0], i * (int)c, (int)c);
        v[i] = reel_view(reel_slice(all, i * row, (i + 1) * row).p, r->dt, REEL_DIMS(t, r->x.n[1], r->x.n[2], c));
        conv(r, &third, v[i], a, 0);
        v[i] = reel_reshape(v[i], REEL_DIMS(t, hw, c));
    }
    lse = reel_view(lse.p, REEL_F32, REEL_DIMS(t, 1, hw));
    reel_attn_fwd(&r->f->s, reel_reshape(a, REEL_DIMS(t, hw, c)), lse, v[0], v[1], v[2], 1, (struct reel_mask){ 0 });
    conv(r, &p->conv[1], r->x, a, 1);
}

static void run_down(struct run *r, const struct vae_step *p)
{
    reel_tensor x = r->x, y = buffer(r, 1, r->dt, REEL_DIMS(x.n[0], x.n[1] / 2, x.n[2] / 2, p->conv[0].n)), past;
    const struct vae_conv *c = &p->conv[1];

    reel_conv_fwd(&r->f->s, y, x, none, p->conv[0].w, p->conv[0].b, (struct reel_conv_how){ 1, 2, 0, 0, 0 });
    moved(r, 1, y);
    if (!c->n) return;
    past = past_of(r, c);
    if (past.nd) { /* the first frame stays as it is */
        x = buffer(r, 1, r->dt, REEL_DIMS(y.n[0] / 2, y.n[1], y.n[2], c->n));
        reel_conv_fwd(&r->f->s, x, y, past, c->w, c->b, (struct reel_conv_how){ 2, 1, 0, 0, 0 });
        moved(r, 1, x);
    }
    keep(r, c, y, 1);
}

/* Frames twice as many: frame j becomes 2j from the first half of the channels and 2j+1 from the second. */
static void double_frames(struct run *r, const struct vae_conv *c)
{
    const int64_t t = r->x.n[0], h = r->x.n[1], w = r->x.n[2], ch = r->x.n[3];
    reel_tensor both = like(r, 1, r->x, 2 * ch), y;

    conv(r, c, both, r->x, 0);
    moved(r, 1, both);
    y = buffer(r, 1, r->dt, REEL_DIMS(2 * t, h, w, ch));
    for (int64_t j = 0; j < 2 * t; j++) reel_copy_2d(&r->f->s, reel_at(y, j), 0, reel_at(both, j / 2), j % 2 * ch, ch);
    moved(r, 1, y);
}

static void run_up(struct run *r, const struct vae_step *p)
{
    reel_tensor y;

    if (p->conv[1].n && !r->first) double_frames(r, &p->conv[1]); /* the first frame stays one and is not remembered */
    y = buffer(r, 1, r->dt, REEL_DIMS(r->x.n[0], 2 * r->x.n[1], 2 * r->x.n[2], p->conv[0].n));
    reel_conv_fwd(&r->f->s, y, r->x, none, p->conv[0].w, p->conv[0].b, (struct reel_conv_how){ 1, 1, 1, 1, 0 });
    moved(r, 1, y);
}

static void run_step(struct run *r, const struct vae_step *p)
{
    static void (*const by_kind[])(struct run *r, const struct vae_step *p) = {
        [VAE_CONV] = run_conv, [VAE_RES] = run_res, [VAE_ATTN] = run_attn, [VAE_DOWN] = run_down, [VAE_UP] = run_up, [VAE_HEAD] = run_head,
    };

    by_kind[p->kind](r, p);
    if (r->f->look && !r->f->s.planning) r->f->look(r->f->look_ctx, p->name, r->x, &r->f->s);
}

/* x in the other type, in the next buffer */
static void become(struct run *r, reel_dtype dt)
{
    reel_tensor y;

    if (r->x.dt == dt) return;
    y = buffer(r, 1, dt, r->x.n, r->x.nd);
    reel_cast(&r->f->s, y, r->x);
    moved(r, 1, y);
}

int vae_run(const struct reel_vae *v, struct vae_film *f, struct vae_tile *tile, const float *x, int t, float *out)
{
    const struct vae_net *net = &v->net[f->way];
    struct run r = { .f = f, .tile = tile, .dt = v->dt, .first = !f->chunk };

    r.x = buffer(&r, 0, REEL_F32, REEL_DIMS(t, tile->h, tile->w, vae_in(v, f->way)));
    reel_put(&f->s, r.x, x);
    become(&r, v->dt);
    for (int i = 0; i < net->n; i++) {
        if (!f->s.planning) reel_pulse(v->comm);
        run_step(&r, &net->step[i]);
    }
    become(&r, REEL_F32);
    reel_get(&f->s, out, r.x);
    return (int)r.x.n[0];
}
