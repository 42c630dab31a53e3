#include "media/benchmark.h"

#include <stdlib.h>

#include "media/dct.h"
#include "media/measure.h"

#define DATA_SEED     1    /* of the built-in clips' captions */
#define STRIDE        4096 /* held-out indices per benchmark */
#define GOOD_RESIDUAL 30   /* grey levels: a clip that shows its shape and little else */
#define CHANNELS      REEL_DCT_CHANNELS

static int64_t place(const struct reel_benchmark *b, int64_t i) { return REEL_CLIP_HELD_OUT + (int64_t)STRIDE * b->number + i; }
static int64_t latent(const struct reel_benchmark *b) { return (int64_t)CHANNELS * b->T * b->h * b->w; }
static size_t clip_bytes(const struct reel_benchmark *b) { return (size_t)(4 * b->T - 3) * (size_t)(8 * b->h) * (size_t)(8 * b->w) * 3; }

struct reel_clip_what reel_benchmark_what(const struct reel_benchmark *b, int64_t i)
{
    return reel_clip_what(DATA_SEED, place(b, i));
}

reel_err reel_benchmark_real(const struct reel_benchmark *b, int64_t i, int variant, float *z)
{
    struct reel_clip c = { .seed = DATA_SEED, .index = place(b, i), .variant = variant, .width = 8 * b->w, .height = 8 * b->h,
                           .frames = 4 * b->T - 3 };
    int64_t per = (int64_t)b->T * b->h * b->w;
    uint8_t *rgb = malloc(clip_bytes(b));

    if (!rgb) return REEL_FAIL(REEL_ENOMEM, "no memory for a clip of %zu bytes", clip_bytes(b));
    reel_clip_draw(&c, rgb);
    reel_dct_encode(z, rgb, c.frames, c.height, c.width);
    for (int64_t k = 0; k < CHANNELS * per; k++) z[k] = (z[k] - reel_family_dct.mean[k / per]) / reel_family_dct.std[k / per];
    free(rgb);
    return REEL_OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static reel_err detect(const struct reel_benchmark *b, const uint8_t *rgb, double *residual, struct reel_score *s)
{
    for (int64_t i = 0; i < b->clips; i++) {
        struct reel_clip_what w = reel_benchmark_what(b, i);
        struct reel_seen v;
        int all = 1;

        REEL_TRY(reel_detect(rgb + (size_t)i * clip_bytes(b), 4 * b->T - 3, 8 * b->h, 8 * b->w, &v));
        int ok[5] = { v.what.shape == w.shape, v.what.colour == w.colour, v.what.ground == w.ground,
                      v.what.direction == w.direction, v.what.speed == w.speed };
        for (int k = 0; k < 5; k++) s->right[k] += ok[k] / (double)b->clips, all &= ok[k];
        s->all += all / (double)b->clips;
        s->good += (all && v.residual <= GOOD_RESIDUAL) / (double)b->clips;
        residual[i] = v.residual;
    }
    qsort(residual, (size_t)b->clips, sizeof *residual, by_value);
    s->residual = 0.5 * (residual[(b->clips - 1) / 2] + residual[b->clips / 2]);
    return REEL_OK;
}

/* ref, pa, pb: room for as many latents as z. */
static reel_err distances(const struct reel_benchmark *b, const float *z, float *ref, float *pa, float *pb, struct reel_score *s)
{
    int dim = (int)latent(b);

    for (int64_t i = 0; i < b->clips; i++) REEL_TRY(reel_benchmark_real(b, i, 1, ref + i * dim));
    reel_patches(pa, z, b->clips, CHANNELS, b->T, b->h, b->w);
    reel_patches(pb, ref, b->clips, CHANNELS, b->T, b->h, b->w);
    REEL_TRY(reel_swd(z, ref, b->clips, dim, &s->swd));
    return reel_swd(pa, pb, b->clips * b->T * (b->h / 2) * (b->w / 2), CHANNELS * 4, &s->patch);
}

reel_err reel_benchmark_score(const struct reel_benchmark *b, const float *z, const uint8_t *rgb, struct reel_score *s)
{
    size_t all = (size_t)(b->clips * latent(b));
    double *residual = malloc((size_t)b->clips * sizeof *residual);
    float *room = malloc(3 * all * sizeof *room);
    reel_err e = residual && room ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory to compare %lld clips", (long long)b->clips);

    *s = (struct reel_score){ 0 };
    if (e == REEL_OK) e = detect(b, rgb, residual, s);
    if (e == REEL_OK) e = distances(b, z, room, room + all, room + 2 * all, s);
    free(residual);
    free(room);
    return e;
}
