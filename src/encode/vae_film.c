/* A film in one direction: its tiles, its memory, and the seams between tiles. */
#include <stdlib.h>
#include <string.h>

#include "encode/vae_priv.h"

int vae_in(const struct reel_vae *v, enum vae_way way) { return way == VAE_ENCODE ? 3 : v->cfg.z; }
int vae_out(const struct reel_vae *v, enum vae_way way) { return way == VAE_ENCODE ? 2 * v->cfg.z : 3; }

#define PIXELS (1 << (VAE_LEVELS - 1)) /* of a latent, each way */

static int most_in(enum vae_way way) { return way == VAE_ENCODE ? VAE_GROUP : 1; }
static int most_out(enum vae_way way) { return way == VAE_ENCODE ? 1 : VAE_GROUP; }
static int size_out(enum vae_way way, int n) { return way == VAE_ENCODE ? n / PIXELS : n * PIXELS; }
static int lesser(int a, int b) { return a < b ? a : b; }

/* ---- tiles ---- */

/* Tiles begin three quarters of a tile apart, as long as there is picture. Source: AutoencoderKLWan.tiled_encode. */
static int apart(int tile) { return tile * 3 / 4; }
static int count(int n, int step) { return (n + step - 1) / step; }

static reel_err make_tiles(const struct reel_vae *v, struct vae_film *f)
{
    const int scale = f->way == VAE_ENCODE ? PIXELS : 1, side = v->tile * scale, step = apart(v->tile) * scale;
    const int whole = !v->tile || (f->h <= side && f->w <= side);

    f->rows = whole ? 1 : count(f->h, step);
    f->cols = whole ? 1 : count(f->w, step);
    f->tile = calloc((size_t)f->rows * (size_t)f->cols, sizeof *f->tile);
    if (!f->tile) return REEL_FAIL(REEL_ENOMEM, "no memory for %d tiles", f->rows * f->cols);
    for (int i = 0; i < f->rows * f->cols; i++) {
        struct vae_tile *t = &f->tile[i];
        t->y = whole ? 0 : i / f->cols * step;
        t->x = whole ? 0 : i % f->cols * step;
        t->h = whole ? f->h : lesser(side, f->h - t->y);
        t->w = whole ? f->w : lesser(side, f->w - t->x);
    }
    return REEL_OK;
}

/* Rows and columns of a tile's result. */
static int out_h(const struct vae_film *f, const struct vae_tile *t) { return size_out(f->way, t->h); }
static int out_w(const struct vae_film *f, const struct vae_tile *t) { return size_out(f->way, t->w); }

/* ---- memory ---- */

static void forget(struct vae_film *f)
{
    for (int i = 0; i < f->rows * f->cols; i++) memset(f->tile[i].cache, 0, sizeof f->tile[i].cache);
    if (f->caches.base) reel_arena_reset(&f->caches, 0);
    f->chunk = 0;
}

/* Two chunks of every tile without memory: the first one remembers the least, the second has the most frames. */
static void plan(const struct reel_vae *v, struct vae_film *f)
{
    reel_stream_init(&f->s, v->s.be, 1, &f->scratch);
    f->scratch.name = "vae.scratch";
    for (f->chunk = 0; f->chunk < 2; f->chunk++)
        for (int i = 0; i < f->rows * f->cols; i++) vae_run(v, f, &f->tile[i], NULL, f->chunk ? most_in(f->way) : 1, NULL);
}

size_t vae_buffer_at(const struct vae_film *f, int i)
{
    size_t at = 0;

    for (int k = 0; k < i; k++) at += vae_aligned(f->need[k]);
    return at;
}

static size_t work_bytes(const struct vae_film *f) { return vae_buffer_at(f, 3); }

static float *numbers(struct vae_film *f, int64_t t, int64_t h, int64_t w, int64_t c)
{
    const size_t bytes = (size_t)(t * h * w * c) * sizeof(float);

    f->host += bytes;
    return f->s.planning ? NULL : malloc(bytes);
}

/* Buffers of the host; while planning they are counted. */
static reel_err host_memory(const struct reel_vae *v, struct vae_film *f)
{
    const int n = f->rows * f->cols, in = vae_in(v, f->way), out = vae_out(v, f->way), ti = most_in(f->way), to = most_out(f->way);
    int ok;

    f->host = 0;
    f->in = numbers(f, ti, f->h, f->w, in);
    f->out = numbers(f, to, size_out(f->way, f->h), size_out(f->way, f->w), out);
    ok = f->in && f->out;
    if (n > 1) {
        f->cut = numbers(f, ti, f->tile[0].h, f->tile[0].w, in);
        if (!f->part) f->part = calloc((size_t)n, sizeof *f->part);
        ok = ok && f->cut && f->part;
        for (int i = 0; i < n && f->part; i++) {
            f->part[i] = numbers(f, to, out_h(f, &f->tile[i]), out_w(f, &f->tile[i]), out);
            ok = ok && f->part[i];
        }
    }
    return ok || f->s.planning ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for pictures of %d x %d", f->h, f->w);
}

void vae_film_end(const struct reel_vae *v, struct vae_film *f)
{
    struct reel_arena *const arena[] = { &f->scratch, &f->caches, &f->work };

    for (int i = 0; i < 3; i++)
        if (arena[i]->base) reel_arena_close(arena[i], v->s.be);
    for (int i = 0; f->part && i < f->rows * f->cols; i++) free(f->part[i]);
    free(f->part);
    free(f->in), free(f->out), free(f->cut), free(f->tile);
    memset(f, 0, sizeof *f);
}

static reel_err planned(const struct reel_vae *v, struct vae_film *f, enum vae_way way, int h, int w)
{
    f->way = way, f->h = h, f->w = w;
    REEL_TRY(make_tiles(v, f));
    plan(v, f);
    return host_memory(v, f);
}

static size_t planned_bytes(const struct vae_film *f) { return f->scratch.peak + f->caches.used + work_bytes(f) + f->host; }

static reel_err take(struct reel_vae *v, struct vae_film *f)
{
    const size_t caches = f->caches.used, scratch = f->scratch.peak;

    REEL_TRY(reel_arena_open(&f->caches, v->s.be, "vae.caches", caches));
    REEL_TRY(reel_arena_open(&f->scratch, v->s.be, "vae.scratch", scratch));
    REEL_TRY(reel_arena_open(&f->work, v->s.be, "vae.work", work_bytes(f)));
    f->s = v->s;
    f->s.scratch = &f->scratch;
    return host_memory(v, f);
}

reel_err vae_film_begin(struct reel_vae *v, enum vae_way way, int h, int w)
{
    struct vae_film *f = &v->film[way];
    reel_err e;

    if (f->in && f->h == h && f->w == w) return forget(f), REEL_OK;
    vae_film_end(v, f);
    e = planned(v, f, way, h, w);
    if (!e) e = take(v, f);
    if (e) return vae_film_end(v, f), e;
    forget(f);
    return REEL_OK;
}

size_t vae_film_bytes(const struct reel_vae *v, enum vae_way way, int h, int w)
{
    struct vae_film f = { 0 };
    size_t n = planned(v, &f, way, h, w) ? 0 : planned_bytes(&f);

    vae_film_end(v, &f);
    return n;
}

/* ---- a chunk ---- */

/* Columns [x,x+cols) of rows [y,y+rows) of t pictures [h,w,c]. */
static void cut(float *out, const float *in, int t, int h, int w, int c, const struct vae_tile *at)
{
    for (int k = 0; k < t; k++)
        for (int y = 0; y < at->h; y++, out += at->w * c)
            memcpy(out, in + (((int64_t)k * h + at->y + y) * w + at->x) * c, (size_t)(at->w * c) * sizeof *out);
}

/* b's first values along a row or column pass from those of a's end to its own: value i of n = a (1 - i/n) + b i/n. */
static void mix(float *b, const float *a, int n, int i, int64_t count_)
{
    const float q = (float)i / (float)n;

    for (int64_t k = 0; k < count_; k++) b[k] = a[k] * (1 - q) + b[k] * q;
}

static void blend_rows(float *b, const float *a, int t, int ha, int hb, int w, int c, int seam)
{
    const int n = lesser(lesser(ha, hb), seam);

    for (int k = 0; k < t; k++)
        for (int i = 0; i < n; i++)
            mix(b + ((int64_t)k * hb + i) * w * c, a + ((int64_t)k * ha + ha - n + i) * w * c, n, i, (int64_t)w * c);
}

static void blend_cols(float *b, const float *a, int t, int h, int wa, int wb, int c, int seam)
{
    const int n = lesser(lesser(wa, wb), seam);

    for (int64_t k = 0; k < (int64_t)t * h; k++)
        for (int i = 0; i < n; i++) mix(b + (k * wb + i) * c, a + (k * wa + wa - n + i) * c, n, i, c);
}

/* A tile's share of the whole: up to where the next one begins. */
static void paste(const struct vae_film *f, const struct vae_tile *t, const float *part, int frames, int c, int step)
{
    const int h = size_out(f->way, f->h), w = size_out(f->way, f->w), y0 = size_out(f->way, t->y), x0 = size_out(f->way, t->x);
    const int rows = lesser(lesser(step, out_h(f, t)), h - y0), cols = lesser(lesser(step, out_w(f, t)), w - x0);

    for (int k = 0; k < frames; k++)
        for (int y = 0; y < rows; y++)
            memcpy(f->out + (((int64_t)k * h + y0 + y) * w + x0) * c, part + ((int64_t)k * out_h(f, t) + y) * out_w(f, t) * c,
                   (size_t)(cols * c) * sizeof(float));
}

/* Upper and left neighbours first: what they were blended with shows through, as it does in the source. */
static void join(const struct reel_vae *v, struct vae_film *f, int frames)
{
    const int c = vae_out(v, f->way), scale = f->way == VAE_ENCODE ? 1 : PIXELS, step = apart(v->tile) * scale, seam = v->tile * scale - step;

    for (int i = 0; i < f->rows * f->cols; i++) {
        const struct vae_tile *t = &f->tile[i], *above = t - f->cols, *left = t - 1;
        if (i >= f->cols)
            blend_rows(f->part[i], f->part[i - f->cols], frames, out_h(f, above), out_h(f, t), out_w(f, t), c, seam);
        if (i % f->cols) blend_cols(f->part[i], f->part[i - 1], frames, out_h(f, t), out_w(f, left), out_w(f, t), c, seam);
        paste(f, t, f->part[i], frames, c, step);
    }
}

int vae_film_chunk(const struct reel_vae *v, struct vae_film *f, int t)
{
    const int n = f->rows * f->cols;
    int frames = 0;

    if (n == 1) frames = vae_run(v, f, f->tile, f->in, t, f->out);
    for (int i = 0; i < n && n > 1; i++) {
        cut(f->cut, f->in, t, f->h, f->w, vae_in(v, f->way), &f->tile[i]);
        frames = vae_run(v, f, &f->tile[i], f->cut, t, f->part[i]);
    }
    if (n > 1) join(v, f, frames);
    f->chunk++;
    return frames;
}
