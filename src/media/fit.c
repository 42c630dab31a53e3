#include "media/fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int64_t reel_frame_index(int64_t k, double fps, double train_fps) { return (int64_t)((double)k * (fps / train_fps)); }

int64_t reel_frame_count(int64_t frames, double fps, double train_fps)
{
    return (int64_t)ceil((double)frames / (fps / train_fps));
}

static int half_to_even(int excess) /* round(excess/2) */
{
    int k = excess / 2;

    return excess % 2 ? k + (k & 1) : k;
}

struct reel_crop reel_crop(int h, int w, int H, int W)
{
    double a = (double)H / W;
    struct reel_crop c = { .height = h, .width = w };

    if ((double)h / w > a) c.height = (int)(w * a);
    else c.width = (int)(h / a);
    if (c.height < 1) c.height = 1;
    if (c.width < 1) c.width = 1;
    c.top = half_to_even(h - c.height);
    c.left = half_to_even(w - c.width);
    return c;
}

struct axis { /* one direction: n_out weighted sums; first[i], count[i], weights in fixed point */
    int n_in, n_out, room, precision;
    int *first, *count;
    int32_t *weight; /* [n_out][room] */
};

struct reel_fit {
    struct reel_crop crop;
    int h, w, H, W;
    struct axis x, y;
    uint8_t *rows; /* [crop.height, W, 3] after the first pass */
};

static double triangle(double x) { return fabs(x) < 1 ? 1 - fabs(x) : 0; }

/* Weights of output i in double. The scale is that of aligned corners, the centres are not. */
static void weigh(struct axis *a, int i, double scale, double *w)
{
    double support = scale >= 1 ? scale : 1, inv = scale >= 1 ? 1 / scale : 1, c = scale * (i + 0.5), sum = 0;
    int lo = (int)(c - support + 0.5), hi = (int)(c + support + 0.5), n;

    if (lo < 0) lo = 0;
    if (hi > a->n_in) hi = a->n_in;
    n = hi - lo;
    if (n < 0) n = 0;
    if (n > a->room) n = a->room;
    for (int j = 0; j < n; j++) sum += w[j] = triangle((j + lo - c + 0.5) * inv);
    for (int j = 0; j < n && sum != 0; j++) w[j] /= sum;
    a->first[i] = lo;
    a->count[i] = n;
}

static int precision_of(double top) /* the largest that keeps the largest weight below 2^15 */
{
    int p = 0;

    while (p < 22 && (int)(0.5 + top * (1 << (p + 1))) < 1 << 15) p++;
    return p;
}

static reel_err axis_open(struct axis *a, int n_in, int n_out)
{
    double scale = n_out > 1 ? (double)(n_in - 1) / (n_out - 1) : 0, top = 0, *w;

    a->n_in = n_in, a->n_out = n_out;
    a->room = (int)ceil(scale >= 1 ? scale : 1) * 2 + 1;
    a->first = calloc((size_t)n_out, sizeof *a->first);
    a->count = calloc((size_t)n_out, sizeof *a->count);
    a->weight = calloc((size_t)n_out * (size_t)a->room, sizeof *a->weight);
    w = calloc((size_t)n_out * (size_t)a->room, sizeof *w);
    if (!a->first || !a->count || !a->weight || !w) {
        free(w);
        return REEL_FAIL(REEL_ENOMEM, "no memory to resize %d to %d", n_in, n_out);
    }
    for (int i = 0; i < n_out; i++) {
        weigh(a, i, scale, w + (size_t)i * (size_t)a->room);
        for (int j = 0; j < a->count[i]; j++) top = fmax(top, w[i * a->room + j]);
    }
    a->precision = precision_of(top);
    for (int i = 0; i < n_out * a->room; i++) a->weight[i] = (int32_t)(w[i] * (1 << a->precision) + 0.5);
    free(w);
    return REEL_OK;
}

static void axis_close(struct axis *a) { free(a->first), free(a->count), free(a->weight); }

reel_err reel_fit_open(struct reel_fit **out, int h, int w, int H, int W)
{
    struct reel_fit *f = calloc(1, sizeof *f);
    reel_err e;

    *out = NULL;
    if (!f) return REEL_FAIL(REEL_ENOMEM, "no memory to resize");
    f->h = h, f->w = w, f->H = H, f->W = W;
    f->crop = reel_crop(h, w, H, W);
    f->rows = malloc((size_t)f->crop.height * (size_t)W * 3);
    e = f->rows ? axis_open(&f->x, f->crop.width, W) : REEL_FAIL(REEL_ENOMEM, "no memory to resize");
    if (!e) e = axis_open(&f->y, f->crop.height, H);
    if (e) reel_fit_close(f);
    else *out = f;
    return e;
}

void reel_fit_close(struct reel_fit *f)
{
    if (!f) return;
    axis_close(&f->x), axis_close(&f->y);
    free(f->rows), free(f);
}

static uint8_t settle(int64_t sum, int precision)
{
    int64_t v = (sum + (1 << (precision - 1))) >> precision;

    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* n samples `in` apart weighted into dst; three colours lie side by side */
static void sum3(const struct axis *a, int i, uint8_t *dst, const uint8_t *src, size_t in)
{
    const int32_t *w = a->weight + (size_t)i * (size_t)a->room;
    int64_t s[3] = { 0 };

    src += (size_t)a->first[i] * in;
    for (int j = 0; j < a->count[i]; j++, src += in)
        for (int c = 0; c < 3; c++) s[c] += (int64_t)w[j] * src[c];
    for (int c = 0; c < 3; c++) dst[c] = settle(s[c], a->precision);
}

void reel_fit(struct reel_fit *f, uint8_t *dst, const uint8_t *src)
{
    const struct reel_crop *k = &f->crop;
    size_t row = (size_t)f->W * 3;

    for (int y = 0; y < k->height; y++) {
        const uint8_t *from = src + ((size_t)(k->top + y) * (size_t)f->w + (size_t)k->left) * 3;
        uint8_t *to = f->rows + (size_t)y * row;
        if (k->width == f->W) memcpy(to, from, row);
        else
            for (int x = 0; x < f->W; x++) sum3(&f->x, x, to + 3 * x, from, 3);
    }
    if (k->height == f->H) {
        memcpy(dst, f->rows, (size_t)f->H * row);
        return;
    }
    for (int y = 0; y < f->H; y++)
        for (int x = 0; x < f->W; x++) sum3(&f->y, y, dst + (size_t)y * row + 3 * x, f->rows + 3 * x, row);
}
