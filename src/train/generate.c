#include "train/generate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "be/ops.h"
#include "media/clips.h"
#include "media/codec.h"
#include "media/measure.h"
#include "media/picture.h"
#include "media/text.h"
#include "models/sampler.h"
#include "train/save.h"

#define DATA_SEED        1    /* of the built-in clips' captions */
#define BENCHMARK_STRIDE 4096 /* held-out indices per benchmark */
#define GOOD_RESIDUAL    30   /* grey levels: a clip that shows its shape and little else */
#define SHEET_CLIPS      16
#define SHOWN            4 /* frames of a clip on the sheet */

struct job {
    struct reel_run *r;
    const struct reel_generate_flags *f;
    int64_t n, mine, per_group; /* clips asked for, of this group (padded), the same of every group */
    int frames, height, width;  /* pixels */
    size_t clip_bytes, latent; /* of one clip: bytes of pixels, elements of latents */
    uint8_t *rgb;              /* rank 0: all clips; others: their own */
    float *z;                  /* normalised latents [C,T,h,w] per clip, in the same places */
};

static struct reel_clip_what wanted(const struct job *j, int64_t i)
{
    return reel_clip_what(DATA_SEED, REEL_CLIP_HELD_OUT + BENCHMARK_STRIDE * j->f->benchmark + i);
}

static void caption(const struct job *j, int64_t i, char *buf, size_t size)
{
    char line[REEL_CLIP_CAPTION];

    if (!j->f->clips) {
        snprintf(buf, size, "%s", j->f->prompt);
        return;
    }
    reel_clip_caption(wanted(j, i), line);
    snprintf(buf, size, "%s", line);
}

static reel_err judge(const struct reel_config *cfg, const struct reel_generate_flags *f)
{
    if (!f->prompt && f->clips <= 0)
        return REEL_FAIL(REEL_ECONFIG, "generate: say what to show: --prompt \"a red circle moves slowly up on a white "
                                       "background\", or --clips 64 for captions of held-out clips");
    if (f->ema && !f->checkpoint)
        return REEL_FAIL(REEL_ECONFIG, "generate: --ema is an average that a checkpoint holds: say which, --checkpoint PATH|latest");
    if (cfg->training.data.num_latent_t < 1 || cfg->training.data.num_height < 16 || cfg->training.data.num_width < 16)
        return reel_config_fail(cfg, "training.data.num_latent_t", "generate needs num_latent_t, num_height and num_width");
    return REEL_OK;
}

static reel_err fits_codec(const struct reel_model *m)
{
    if (m->channels == REEL_CODEC_CHANNELS && m->text_dim == REEL_TEXT_DIM) return REEL_OK;
    return REEL_FAIL(REEL_ECONFIG,
                     "generate: the model takes %d latent channels and text of %d columns; the built-in codec and text "
                     "vectors have %d and %d",
                     m->channels, m->text_dim, REEL_CODEC_CHANNELS, REEL_TEXT_DIM);
}

/* Texts of clips i0.. of this batch on the device; what is past the last clip repeats it. */
static void put_texts(struct job *j, reel_tensor text, int64_t i0)
{
    int64_t B = text.n[0], L = text.n[1];
    float *host = calloc((size_t)reel_numel(text), sizeof *host), rows[REEL_TEXT_ROWS * REEL_TEXT_DIM];
    char line[1024];

    for (int64_t b = 0; b < B; b++) {
        int64_t i = i0 + b < j->n ? i0 + b : j->n - 1;
        int k;
        caption(j, i, line, sizeof line);
        k = reel_text_vectors(line, rows);
        if (k > L) k = (int)L;
        memcpy(host + b * L * REEL_TEXT_DIM, rows, (size_t)(k * REEL_TEXT_DIM) * sizeof *host);
    }
    reel_put(&j->r->s, text, host);
    reel_sync(&j->r->s);
    free(host);
}

/* Latents [T,C,h,w] of one clip to [C,T,h,w], and its pixels. */
static void decode(struct job *j, const float *x, float *z, uint8_t *rgb)
{
    const int64_t *d = j->r->method.shape;
    int64_t hw = d[3] * d[4];
    float *raw = malloc(j->latent * sizeof *raw);

    for (int64_t c = 0; c < d[2]; c++)
        for (int64_t t = 0; t < d[1]; t++)
            for (int64_t k = 0; k < hw; k++) {
                float v = x[(t * d[2] + c) * hw + k];
                z[(c * d[1] + t) * hw + k] = v;
                raw[(c * d[1] + t) * hw + k] = v * reel_family_dct.std[c] + reel_family_dct.mean[c];
            }
    reel_codec_decode(rgb, raw, (int)d[1], (int)d[3], (int)d[4]);
    free(raw);
}

static void sample_batch(struct job *j, struct reel_sampling *g, int64_t at)
{
    struct reel_run *r = j->r;
    int64_t B = g->x.n[0], i0 = r->mesh.dp_rank * j->per_group + at;
    struct reel_sampler s = { .model = &r->role[REEL_STUDENT], .a = &r->step_mem, .steps = (int)j->f->steps,
                              .guidance = j->f->guidance, .shift = r->role[REEL_STUDENT].flow_shift };
    struct reel_where w = { .b0 = i0, .nb = B, .b_global = i0 + B };
    float *host = malloc(reel_bytes(g->x));

    reel_draw_normal(r->draws, &r->s, g->x, "validation/noise/0", w);
    put_texts(j, g->text, i0);
    reel_fill(&r->s, g->uncond, 0);
    reel_sample_euler(&s, g->x, g->t, g->text, g->uncond);
    reel_get(&r->s, host, g->x);
    for (int64_t b = 0; b < B; b++)
        decode(j, host + (size_t)b * j->latent, j->z + (size_t)(at + b) * j->latent, j->rgb + (size_t)(at + b) * j->clip_bytes);
    free(host);
}

/* Everyone's clips on rank 0; groups hold equal, consecutive runs of them. */
static reel_err collect(struct job *j)
{
    struct reel_comm *w = j->r->world;
    size_t pixels = (size_t)j->per_group * j->clip_bytes, lat = (size_t)j->per_group * j->latent * sizeof(float);
    uint8_t *rgb = w->rank ? NULL : malloc(pixels * (size_t)w->size);
    float *z = w->rank ? NULL : malloc(lat * (size_t)w->size);

    REEL_TRY(reel_agree(w, !w->rank && (!rgb || !z) ? REEL_FAIL(REEL_ENOMEM, "no memory for %ld clips", (long)j->n) : REEL_OK));
    reel_comm_gather(w, j->rgb, pixels, rgb, 0);
    reel_comm_gather(w, j->z, lat, z, 0);
    if (w->rank) return REEL_OK;
    free(j->rgb);
    free(j->z);
    j->rgb = rgb;
    j->z = z;
    return REEL_OK;
}

struct score { double right[5], all, good, residual, swd, patch; };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static reel_err detect_all(struct job *j, struct score *s)
{
    double *residual = malloc((size_t)j->n * sizeof *residual);

    for (int64_t i = 0; i < j->n; i++) {
        struct reel_clip_what w = wanted(j, i);
        struct reel_seen v;
        REEL_TRY(reel_detect(j->rgb + (size_t)i * j->clip_bytes, j->frames, j->height, j->width, &v));
        int ok[5] = { v.what.shape == w.shape, v.what.colour == w.colour, v.what.ground == w.ground,
                      v.what.direction == w.direction, v.what.speed == w.speed }, all = 1;
        for (int k = 0; k < 5; k++) s->right[k] += ok[k], all &= ok[k];
        s->all += all;
        s->good += all && v.residual <= GOOD_RESIDUAL;
        residual[i] = v.residual;
    }
    for (int k = 0; k < 5; k++) s->right[k] /= (double)j->n;
    s->all /= (double)j->n;
    s->good /= (double)j->n;
    qsort(residual, (size_t)j->n, sizeof *residual, by_value);
    s->residual = 0.5 * (residual[(j->n - 1) / 2] + residual[j->n / 2]);
    free(residual);
    return REEL_OK;
}

/* Variant 1 of the same captions: normalised latents of every clip. */
static void reference(struct job *j, float *z)
{
    const int64_t *d = j->r->method.shape;
    int64_t thw = d[1] * d[3] * d[4];
    uint8_t *rgb = malloc(j->clip_bytes);

    for (int64_t i = 0; i < j->n; i++) {
        struct reel_clip c = { .seed = DATA_SEED, .index = REEL_CLIP_HELD_OUT + BENCHMARK_STRIDE * j->f->benchmark + i,
                               .variant = 1, .width = j->width, .height = j->height, .frames = j->frames };
        float *at = z + (size_t)i * j->latent;
        reel_clip_draw(&c, rgb);
        reel_codec_encode(at, rgb, j->frames, j->height, j->width);
        for (int64_t k = 0; k < d[2] * thw; k++)
            at[k] = (at[k] - reel_family_dct.mean[k / thw]) / reel_family_dct.std[k / thw];
    }
    free(rgb);
}

static reel_err distances(struct job *j, struct score *s)
{
    const int64_t *d = j->r->method.shape;
    size_t all = (size_t)j->n * j->latent;
    float *ref = malloc(all * sizeof *ref), *pa = malloc(all * sizeof *pa), *pb = malloc(all * sizeof *pb);
    int64_t rows = j->n * d[1] * (d[3] / 2) * (d[4] / 2);
    reel_err e;

    reference(j, ref);
    reel_patches(pa, j->z, j->n, (int)d[2], (int)d[1], (int)d[3], (int)d[4]);
    reel_patches(pb, ref, j->n, (int)d[2], (int)d[1], (int)d[3], (int)d[4]);
    e = reel_swd(j->z, ref, j->n, (int)j->latent, &s->swd);
    if (e == REEL_OK) e = reel_swd(pa, pb, rows, (int)(d[2] * 4), &s->patch);
    free(ref);
    free(pa);
    free(pb);
    return e;
}

static reel_err measure(struct job *j)
{
    struct score s = { 0 };

    REEL_TRY(detect_all(j, &s));
    REEL_TRY(distances(j, &s));
    printf("measures of %ld clips, %d steps, guidance %g: shape %.3f colour %.3f ground %.3f direction %.3f speed %.3f "
           "all %.3f good %.3f residual %.1f swd %.3f swd_patch %.3f\n",
           (long)j->n, (int)j->f->steps, j->f->guidance, s.right[0], s.right[1], s.right[2], s.right[3], s.right[4], s.all,
           s.good, s.residual, s.swd, s.patch);
    return REEL_OK;
}

/* Clips as rows of SHOWN frames, up to four clips side by side. */
static reel_err write_sheet(struct job *j)
{
    const uint8_t *pic[SHEET_CLIPS * SHOWN];
    int n = j->n < SHEET_CLIPS ? (int)j->n : SHEET_CLIPS, wide = n < 4 ? 1 : 4;

    for (int i = 0; i < n; i++)
        for (int k = 0; k < SHOWN; k++) {
            int f = k * (j->frames - 1) / (SHOWN - 1);
            pic[i * SHOWN + k] = j->rgb + (size_t)i * j->clip_bytes + (size_t)f * (size_t)j->height * (size_t)j->width * 3;
        }
    REEL_TRY(reel_sheet_png(j->f->out, pic, n * SHOWN, wide * SHOWN, j->height, j->width));
    printf("contact sheet of %d clip%s: %s\n", n, n > 1 ? "s" : "", j->f->out);
    return REEL_OK;
}

static reel_err publish(struct job *j)
{
    if (j->f->out) REEL_TRY(write_sheet(j));
    return j->f->clips ? measure(j) : REEL_OK;
}

static void size_job(struct job *j)
{
    const int64_t *d = j->r->method.shape;
    int64_t groups = j->r->mesh.dp_size, B = d[0];

    j->n = j->f->clips ? j->f->clips : 1;
    j->per_group = ((j->n + groups - 1) / groups + B - 1) / B * B;
    j->frames = (int)(4 * d[1] - 3);
    j->height = (int)(8 * d[3]);
    j->width = (int)(8 * d[4]);
    j->clip_bytes = (size_t)j->frames * (size_t)j->height * (size_t)j->width * 3;
    j->latent = (size_t)(d[1] * d[2] * d[3] * d[4]);
    j->rgb = malloc((size_t)j->per_group * j->clip_bytes);
    j->z = malloc((size_t)j->per_group * j->latent * sizeof *j->z);
}

static reel_err run(struct job *j, struct reel_sampling *g)
{
    REEL_TRY(fits_codec(&j->r->role[REEL_STUDENT]));
    size_job(j);
    REEL_TRY(reel_agree(j->r->world, j->rgb && j->z ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for the clips")));
    for (int64_t at = 0; at < j->per_group; at += g->x.n[0]) {
        sample_batch(j, g, at);
        if (j->r->world->rank == 0)
            fprintf(stderr, "\rgenerate: %ld of %ld clips a group", (long)(at + g->x.n[0]), (long)j->per_group);
    }
    if (j->r->world->rank == 0) fprintf(stderr, "\n");
    REEL_TRY(collect(j));
    return reel_agree(j->r->world, j->r->world->rank ? REEL_OK : publish(j));
}

reel_err reel_generate(const struct reel_config *cfg, const struct reel_generate_flags *f, const struct reel_env *env,
                       struct reel_comm *world)
{
    struct reel_run *r = calloc(1, sizeof *r);
    struct reel_sampling g = { .batch = !f->clips ? 1 : f->batch < f->clips ? f->batch : f->clips, .checkpoint = f->checkpoint, .ema = f->ema,
                               .seed = (uint64_t)f->benchmark };
    struct job j = { .r = r, .f = f };
    reel_err e = judge(cfg, f);

    if (e == REEL_OK) e = reel_agree(world, f->out && world->rank == 0 ? reel_file_probe(f->out) : REEL_OK);
    if (e == REEL_OK) e = reel_run_open_sampling(r, cfg, &g, env, world);
    if (e == REEL_OK) e = run(&j, &g);
    free(j.rgb);
    free(j.z);
    if (e == REEL_OK) e = reel_run_close(r);
    free(r);
    return e;
}
