#include "media/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/normal64.h"

/* ---- detector ------------------------------------------------------------------------------ */

struct look { /* one clip under examination */
    const uint8_t *rgb;
    int F, H, W;
    size_t n; /* F*H*W */
    double ground[3], colour[3], contrast[3];
    double *alpha;  /* [n] how much of a pixel is the shape's */
    double *centre; /* [F][2] */
    double *area;   /* [F] pixels in the mask */
};

static double median_of_counts(const size_t count[256], size_t total) /* mean of the middle two */
{
    size_t lo = (total - 1) / 2, hi = total / 2, seen = 0;
    double a = -1;

    for (int v = 0; v < 256; v++) {
        seen += count[v];
        if (a < 0 && seen > lo) a = v;
        if (seen > hi) return (a + v) / 2;
    }
    return a;
}

static void find_ground(struct look *k) /* pixels within 2 of the border */
{
    size_t count[3][256] = { { 0 } }, total = 0;

    for (size_t i = 0; i < k->n; i++) {
        int x = (int)(i % (size_t)k->W), y = (int)(i / (size_t)k->W % (size_t)k->H);
        if (x >= 2 && x < k->W - 2 && y >= 2 && y < k->H - 2) continue;
        for (int c = 0; c < 3; c++) count[c][k->rgb[3 * i + (size_t)c]]++;
        total++;
    }
    for (int c = 0; c < 3; c++) k->ground[c] = median_of_counts(count[c], total);
}

struct far { double d; size_t i; };

static int by_distance(const void *a, const void *b) /* largest first; ties: earlier first */
{
    const struct far *x = a, *y = b;

    if (x->d != y->d) return x->d < y->d ? 1 : -1;
    return (x->i > y->i) - (x->i < y->i);
}

static reel_err find_colour(struct look *k) /* mean of the 2% farthest from the ground */
{
    struct far *f = malloc(k->n * sizeof *f);
    size_t use = (size_t)ceil(0.02 * (double)k->n);

    if (!f) return REEL_FAIL(REEL_ENOMEM, "no memory to examine a clip of %zu pixels", k->n);
    for (size_t i = 0; i < k->n; i++) {
        f[i] = (struct far){ 0, i };
        for (size_t c = 0; c < 3; c++) f[i].d += (k->rgb[3 * i + c] - k->ground[c]) * (k->rgb[3 * i + c] - k->ground[c]);
    }
    qsort(f, k->n, sizeof *f, by_distance);
    for (int c = 0; c < 3; c++) {
        k->colour[c] = 0;
        for (size_t i = 0; i < use; i++) k->colour[c] += k->rgb[3 * f[i].i + (size_t)c];
        k->colour[c] /= (double)use;
        k->contrast[c] = k->colour[c] - k->ground[c];
    }
    free(f);
    return REEL_OK;
}

static int nearest(const double rgb[3])
{
    int best = 0;
    double least = (double)INFINITY;

    for (int i = 0; i < REEL_CLIP_COLOURS; i++) {
        double d = 0;
        for (int c = 0; c < 3; c++) d += (reel_clip_colour[i].rgb[c] - rgb[c]) * (reel_clip_colour[i].rgb[c] - rgb[c]);
        if (d < least) least = d, best = i;
    }
    return best;
}

static void find_mask(struct look *k)
{
    double square = fmax(k->contrast[0] * k->contrast[0] + k->contrast[1] * k->contrast[1] + k->contrast[2] * k->contrast[2], 1e-9);
    size_t i = 0;

    for (int f = 0; f < k->F; f++) {
        double sx = 0, sy = 0, total = 0;
        k->area[f] = 0;
        for (int y = 0; y < k->H; y++)
            for (int x = 0; x < k->W; x++, i++) {
                double a = 0;
                for (size_t c = 0; c < 3; c++) a += (k->rgb[3 * i + c] - k->ground[c]) * k->contrast[c];
                a = k->alpha[i] = fmin(fmax(a / square, 0), 1);
                if (!(a > 0.5)) continue;
                k->area[f]++;
                total += a, sx += a * (x + 0.5), sy += a * (y + 0.5);
            }
        k->centre[2 * f] = k->area[f] > 0 ? sx / total : k->W / 2.0;
        k->centre[2 * f + 1] = k->area[f] > 0 ? sy / total : k->H / 2.0;
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Squared error of a shape against alpha, or against the pixels themselves. */
static double shape_error(const struct look *k, int shape, double r, int pixels)
{
    double s = 0;
    size_t i = 0;

    for (int f = 0; f < k->F; f++)
        for (int y = 0; y < k->H; y++)
            for (int x = 0; x < k->W; x++, i++) {
                double v = reel_clip_coverage(shape, k->centre[2 * f], k->centre[2 * f + 1], r, x, y), d = k->alpha[i] - v;
                for (size_t c = 0; pixels && c < 3; c++) {
                    d = k->rgb[3 * i + c] - (k->ground[c] + k->contrast[c] * v);
                    s += d * d;
                }
                if (!pixels) s += d * d;
            }
    return s;
}

static void find_shape(struct look *k, struct reel_seen *seen)
{
    double size, least = (double)INFINITY, best_r = 0;
    int best = 0;

    qsort(k->area, (size_t)k->F, sizeof *k->area, by_value); /* the order of frames is not needed any more */
    size = (k->area[(k->F - 1) / 2] + k->area[k->F / 2]) / 2;
    for (int s = 0; s < REEL_CLIP_SHAPES; s++) {
        double r = sqrt(size / reel_clip_shape(s)->area), e = shape_error(k, s, r, 0);
        if (e < least) least = e, best = s, best_r = r;
    }
    seen->what.shape = size > 0 ? best : -1;
    seen->residual = sqrt(shape_error(k, best, best_r, 1) / (3.0 * (double)k->n));
}

static void find_motion(const struct look *k, struct reel_seen *seen)
{
    double move[2] = { 0, 0 }, square = 0, m = k->W < k->H ? k->W : k->H, way;
    int axis;

    for (int f = 0; f < k->F; f++) {
        double t = f - (k->F - 1) / 2.0;
        square += t * t;
        for (int i = 0; i < 2; i++) move[i] += t * k->centre[2 * f + i];
    }
    for (int i = 0; i < 2; i++) move[i] = move[i] / fmax(square, 1e-9) * (k->F - 1) / m;
    axis = fabs(move[1]) > fabs(move[0]);
    way = fabs(move[axis]);
    seen->what.direction = way < 0.07 ? -1 : 2 * axis + (move[axis] < 0); /* right, left, down, up */
    seen->what.speed = way >= 0.28;
}

reel_err reel_detect(const uint8_t *rgb, int frames, int height, int width, struct reel_seen *seen)
{
    struct look k = { .rgb = rgb, .F = frames, .H = height, .W = width, .n = (size_t)frames * (size_t)height * (size_t)width };
    double *mem = malloc((k.n + 3 * (size_t)frames) * sizeof *mem);
    reel_err e;

    if (!mem) return REEL_FAIL(REEL_ENOMEM, "no memory to examine a clip of %zu pixels", k.n);
    k.alpha = mem, k.centre = mem + k.n, k.area = k.centre + 2 * frames;
    find_ground(&k);
    e = find_colour(&k);
    if (!e) {
        find_mask(&k);
        seen->what.colour = nearest(k.colour);
        seen->what.ground = nearest(k.ground);
        find_motion(&k, seen);
        find_shape(&k, seen);
    }
    free(mem);
    return e;
}

/* ---- distances ----------------------------------------------------------------------------- */

#define DIRECTIONS 512

void reel_direction(double *out, int dim, int b)
{
    double s = 0;

    reel_normals64(out, dim, reel_rng_key(0, "demo/projection"), (uint32_t)b);
    for (int i = 0; i < dim; i++) s += out[i] * out[i];
    for (int i = 0; i < dim; i++) out[i] /= sqrt(s);
}

static void project(double *out, const float *x, int64_t n, const double *d, int dim)
{
    for (int64_t i = 0; i < n; i++) {
        double s = 0;
        for (int j = 0; j < dim; j++) s += (double)x[i * dim + j] * d[j];
        out[i] = s;
    }
    qsort(out, (size_t)n, sizeof *out, by_value);
}

reel_err reel_swd(const float *a, const float *b, int64_t n, int dim, double *out)
{
    double *d = malloc(((size_t)dim + 2 * (size_t)n) * sizeof *d), *pa = d + dim, *pb = pa + n, sum = 0;

    if (!d) return REEL_FAIL(REEL_ENOMEM, "no memory for projections of %lld points", (long long)n);
    for (int k = 0; k < DIRECTIONS; k++) {
        reel_direction(d, dim, k);
        project(pa, a, n, d, dim);
        project(pb, b, n, d, dim);
        for (int64_t i = 0; i < n; i++) sum += (pa[i] - pb[i]) * (pa[i] - pb[i]);
    }
    *out = sqrt(sum / ((double)n * DIRECTIONS));
    free(d);
    return REEL_OK;
}

void reel_patches(float *out, const float *z, int64_t n, int C, int T, int h, int w)
{
    for (int64_t i = 0; i < n; i++)
        for (int t = 0; t < T; t++)
            for (int y = 0; y + 1 < h; y += 2)
                for (int x = 0; x + 1 < w; x += 2)
                    for (int c = 0; c < C; c++)
                        for (int k = 0; k < 4; k++)
                            *out++ = z[(((i * C + c) * T + t) * h + y + k / 2) * w + x + k % 2];
}
