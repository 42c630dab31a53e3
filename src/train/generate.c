#include "train/generate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "be/ops.h"
#include "media/benchmark.h"
#include "media/dct.h"
#include "media/picture.h"
#include "media/text.h"
#include "nn/schedule.h"
#include "train/save.h"

#define MAX_STEPS   REEL_GENERATE_MAX_STEPS
#define SHEET_CLIPS 16
#define SHOWN       4 /* frames of a clip on the sheet */

enum { REAL = REEL_NSAMPLER }; /* --sampler real */
static const char *const samplers[] = { "euler", "fewstep", "streaming", "unipc", "causal", "real" };

struct job {
    struct reel_run *r;
    const struct reel_generate_flags *f;
    int64_t n, mine, per_group; /* clips asked for, of this group (padded), the same of every group */
    int frames, height, width;  /* pixels */
    struct reel_benchmark bench;
    size_t clip_bytes, latent; /* of one clip: bytes of pixels, elements of latents */
    uint8_t *rgb;              /* rank 0: all clips; others: their own */
    float *z;                  /* normalised latents [C,T,h,w] per clip, in the same places */
    float *host, *raw;         /* one batch of latents or texts; one clip's latents before decoding */
    float sigma[MAX_STEPS + 1], t[MAX_STEPS];
    const struct reel_sampler *sampler;
};

static void caption(const struct job *j, int64_t i, char *buf, size_t size)
{
    char line[REEL_CLIP_CAPTION];

    if (!j->f->clips) {
        snprintf(buf, size, "%s", j->f->prompt);
        return;
    }
    reel_clip_caption(reel_benchmark_what(&j->bench, i), line);
    snprintf(buf, size, "%s", line);
}

static reel_err judge(const struct reel_config *cfg, const struct reel_generate_flags *f)
{
    if (!f->prompt && f->clips <= 0)
        return REEL_FAIL(REEL_ECONFIG, "generate: say what to show: --prompt \"a red circle moves slowly up on a white "
                                       "background\", or --clips 64 for captions of held-out clips");
    if (f->ema && !f->checkpoint)
        return REEL_FAIL(REEL_ECONFIG, "generate: --ema is an average that a checkpoint holds: say which, --checkpoint PATH|latest");
    if (f->sampler == REAL && !f->clips) return REEL_FAIL(REEL_ECONFIG, "generate: --sampler real shows held-out clips: add --clips 64");
    if (f->sampler != REAL && !reel_sampler_guided((enum reel_sampler_kind)f->sampler) && !isnan(f->guidance) && f->guidance != 1)
        return REEL_FAIL(REEL_ECONFIG, "generate: --guidance %g: few-step samplers are not guided", f->guidance);
    if (cfg->training.data.num_latent_t < 1 || cfg->training.data.num_height < 16 || cfg->training.data.num_width < 16)
        return reel_config_fail(cfg, "training.data.num_latent_t", "generate needs num_latent_t, num_height and num_width");
    return REEL_OK;
}

static reel_err fits_codec(const struct reel_model *m)
{
    if (m->channels == REEL_DCT_CHANNELS && m->text_dim == REEL_TEXT_DIM) return REEL_OK;
    return REEL_FAIL(REEL_ECONFIG,
                     "generate: the model takes %d latent channels and text of %d columns; the built-in codec and text "
                     "vectors have %d and %d",
                     m->channels, m->text_dim, REEL_DCT_CHANNELS, REEL_TEXT_DIM);
}

/* Texts of clips i0.. of this batch on the device; what is past the last clip repeats it. */
static void put_texts(struct job *j, reel_tensor text, int64_t i0)
{
    int64_t B = text.n[0], L = text.n[1];
    float rows[REEL_TEXT_ROWS * REEL_TEXT_DIM];
    char line[1024];

    memset(j->host, 0, reel_bytes(text));
    for (int64_t b = 0; b < B; b++) {
        int64_t i = i0 + b < j->n ? i0 + b : j->n - 1;
        int k;
        caption(j, i, line, sizeof line);
        k = reel_text_vectors(line, rows);
        if (k > L) k = (int)L;
        memcpy(j->host + b * L * REEL_TEXT_DIM, rows, (size_t)(k * REEL_TEXT_DIM) * sizeof *rows);
    }
    reel_put(&j->r->s, text, j->host);
}

/* Latents [T,C,h,w] of one clip to [C,T,h,w] */
static void channels_first(const struct job *j, const float *x, float *z)
{
    const int64_t *d = j->r->method.shape;
    int64_t hw = d[3] * d[4];

    for (int64_t c = 0; c < d[2]; c++)
        for (int64_t t = 0; t < d[1]; t++) memcpy(z + (c * d[1] + t) * hw, x + (t * d[2] + c) * hw, (size_t)hw * sizeof *z);
}

static void decode(struct job *j, const float *z, uint8_t *rgb)
{
    const int64_t *d = j->r->method.shape;
    size_t per = j->latent / (size_t)d[2];

    for (size_t k = 0; k < j->latent; k++) j->raw[k] = z[k] * reel_family_dct.std[k / per] + reel_family_dct.mean[k / per];
    reel_dct_decode(rgb, j->raw, (int)d[1], (int)d[3], (int)d[4], 0);
}

/* Not sampled at all: other clips of the same captions, what a perfect model would make. */
static reel_err take_real(struct job *j, int64_t i0, int64_t at, int64_t n)
{
    for (int64_t b = 0; b < n; b++) {
        int64_t i = i0 + b < j->n ? i0 + b : j->n - 1;
        REEL_TRY(reel_benchmark_real(&j->bench, i, 2, j->z + (size_t)(at + b) * j->latent));
    }
    return REEL_OK;
}

static void sample_batch(struct job *j, struct reel_sampling *g, int64_t i0, int64_t at)
{
    struct reel_run *r = j->r;
    int64_t B = g->batch;

    g->where = (struct reel_where){ .b0 = i0, .nb = B, .b_global = i0 + B };
    put_texts(j, g->io.text, i0);
    reel_fill(&r->s, g->io.uncond, 0);
    reel_sample(&g->sampler, &g->io);
    reel_get(&r->s, j->host, g->io.x);
    for (int64_t b = 0; b < B; b++) channels_first(j, j->host + (size_t)b * j->latent, j->z + (size_t)(at + b) * j->latent);
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
    for (size_t g = 1; g < (size_t)j->r->mesh.dp_size; g++) { /* the ranks of a group have the same clips */
        size_t first = g * (size_t)(w->size / j->r->mesh.dp_size);
        memmove(rgb + g * pixels, rgb + first * pixels, pixels);
        memmove((char *)z + g * lat, (char *)z + first * lat, lat);
    }
    free(j->rgb);
    free(j->z);
    j->rgb = rgb;
    j->z = z;
    return REEL_OK;
}

static reel_err measure(struct job *j)
{
    const struct reel_sampler *g = j->sampler;
    struct reel_score s;
    static const char *const names[] = { "shape", "colour", "ground", "direction", "speed" };

    REEL_TRY(reel_benchmark_score(&j->bench, j->z, j->rgb, &s));
    printf("measures of %ld clips, benchmark %d, %s, %d steps, guidance %g:", (long)j->n, j->bench.number,
           samplers[j->f->sampler], g->steps, g->guidance);
    for (int k = 0; k < 5; k++) printf(" %s %.4f", names[k], s.right[k]);
    printf(" all %.4f good %.4f residual %.2f swd %.4f swd_patch %.4f\n", s.all, s.good, s.residual, s.swd, s.patch);
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

static void size_job(struct job *j, const struct reel_sampling *g)
{
    size_t batch = reel_bytes(g->io.x) > reel_bytes(g->io.text) ? reel_bytes(g->io.x) : reel_bytes(g->io.text);
    const int64_t *d = j->r->method.shape;
    int64_t groups = j->r->mesh.dp_size, B = d[0];

    j->n = j->f->clips ? j->f->clips : 1;
    j->per_group = ((j->n + groups - 1) / groups + B - 1) / B * B;
    j->frames = (int)(4 * d[1] - 3);
    j->height = (int)(8 * d[3]);
    j->width = (int)(8 * d[4]);
    j->clip_bytes = (size_t)j->frames * (size_t)j->height * (size_t)j->width * 3;
    j->latent = (size_t)(d[1] * d[2] * d[3] * d[4]);
    j->bench = (struct reel_benchmark){ (int)j->f->benchmark, j->n, (int)d[1], (int)d[3], (int)d[4] };
    j->rgb = malloc((size_t)j->per_group * j->clip_bytes);
    j->z = malloc((size_t)j->per_group * j->latent * sizeof *j->z);
    j->host = malloc(batch);
    j->raw = malloc(j->latent * sizeof *j->raw);
}

static reel_err make_clips(struct job *j, struct reel_sampling *g)
{
    reel_err e = REEL_OK;

    for (int64_t at = 0; at < j->per_group && e == REEL_OK; at += g->batch) {
        int64_t i0 = j->r->mesh.dp_rank * j->per_group + at;
        if (j->f->sampler == REAL) e = take_real(j, i0, at, g->batch);
        else sample_batch(j, g, i0, at);
        for (int64_t i = at; i < at + g->batch; i++) decode(j, j->z + (size_t)i * j->latent, j->rgb + (size_t)i * j->clip_bytes);
        if (j->r->world->rank == 0)
            fprintf(stderr, "\rgenerate: %ld of %ld clips a group", (long)(at + g->batch), (long)j->per_group);
    }
    if (j->r->world->rank == 0) fprintf(stderr, "\n");
    return reel_agree(j->r->world, e);
}

static reel_err run(struct job *j, struct reel_sampling *g)
{
    REEL_TRY(fits_codec(&j->r->role[REEL_STUDENT]));
    size_job(j, g);
    REEL_TRY(reel_agree(j->r->world, j->rgb && j->z && j->host && j->raw ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for the clips")));
    reel_sampler_levels(g->sampler.kind, j->sigma, j->t, g->sampler.steps, j->r->role[REEL_STUDENT].flow_shift);
    REEL_TRY(make_clips(j, g));
    REEL_TRY(collect(j));
    return reel_agree(j->r->world, j->r->world->rank ? REEL_OK : publish(j));
}

/* Two calls a step of many: guidance is on unless the flag says otherwise. */
static void choose_sampler(struct job *j, struct reel_sampler *s)
{
    s->kind = j->f->sampler == REAL ? REEL_SAMPLER_FEWSTEP : (enum reel_sampler_kind)j->f->sampler;
    s->steps = (int)j->f->steps;
    s->sigma = j->sigma;
    s->t = j->t;
    s->guidance = isnan(j->f->guidance) ? reel_sampler_guided(s->kind) ? 2 : 1 : j->f->guidance;
}

reel_err reel_generate(const struct reel_config *cfg, const struct reel_generate_flags *f, const struct reel_env *env,
                       struct reel_comm *world)
{
    struct reel_run *r = calloc(1, sizeof *r);
    struct reel_sampling g = { .batch = !f->clips ? 1 : f->batch < f->clips ? f->batch : f->clips, .checkpoint = f->checkpoint, .ema = f->ema,
                               .seed = (uint64_t)f->benchmark };
    struct job j = { .r = r, .f = f };
    reel_err e = judge(cfg, f);

    if (cfg->training.distributed.sp_size >= 2 << REEL_SP_HALVINGS && g.batch > 1 << REEL_SP_HALVINGS)
        g.batch = 1 << REEL_SP_HALVINGS; /* what so large a group can be dealt */

    choose_sampler(&j, &g.sampler);
    j.sampler = &g.sampler;
    if (e == REEL_OK) e = reel_agree(world, f->out && world->rank == 0 ? reel_file_probe(f->out) : REEL_OK);
    if (e == REEL_OK) e = reel_run_open_sampling(r, cfg, &g, env, world);
    if (e == REEL_OK) e = run(&j, &g);
    free(j.rgb);
    free(j.z);
    free(j.host);
    free(j.raw);
    if (e == REEL_OK) e = reel_run_close(r);
    free(r);
    return e;
}
