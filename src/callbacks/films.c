/* Films of the prompts: sampled by whole groups, decoded and written by the ranks of a group in turns. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "be/ops.h"
#include "callbacks/validation_priv.h"
#include "media/movie.h"
#include "media/picture.h"
#include "track/track.h"

static size_t clip_size(const struct reel_val_film *f) { return (size_t)(f->shape[1] * f->shape[2] * f->shape[3] * f->shape[4]); }

static int64_t pictures(const struct reel_val_film *f) { return 4 * f->shape[1] - 3; }

static void noise(void *ctx, struct reel_stream *s, reel_tensor eps, int64_t lo, int64_t T, int k)
{
    struct reel_cb *c = ctx;
    const struct reel_where *w = &((struct reel_validation *)c->priv)->film.where;
    char name[32];

    snprintf(name, sizeof name, "validation/noise/%d", k);
    if (w->nb < eps.n[0]) reel_fill(s, eps, 0); /* padding: nobody looks at it */
    if (w->nb) reel_draw_frames(c->method->draws, s, reel_slice(eps, 0, w->nb), lo, T, name, *w);
}

/* Batch `at` of the group's prompts, film `video` of each: coordinates of their noise. */
static void set_where(struct reel_cb *c, int64_t at, int64_t video)
{
    struct reel_validation *v = c->priv;

    v->film.where = reel_val_where(c, v->per_group, at, v->batch, v->n);
    v->film.where.round = (uint32_t)video;
}

/* Bytes of the host's buffers. */
struct sizes { size_t latent, raw, rows, rgb, grid, written; };

static struct sizes sizes_of(const struct reel_validation *v)
{
    const struct reel_val_film *f = &v->film;
    size_t videos = (size_t)v->num_videos_per_prompt, area = (size_t)(f->shape[3] * f->shape[4]);
    int height, width;

    reel_grid_size((int)videos, (int)(8 * f->shape[3]), (int)(8 * f->shape[4]), &height, &width);
    return (struct sizes){ .latent = videos * (size_t)v->batch * clip_size(f) * sizeof(float), .raw = (size_t)f->shape[2] * area * sizeof(float),
                           .rows = reel_bytes(f->io.text), .rgb = (videos > 1 ? videos * (size_t)pictures(f) : 4) * area * 64 * 3,
                           .grid = (size_t)height * (size_t)width * 3, .written = (size_t)v->n * sizeof(int64_t) };
}

void reel_val_films_layout(struct reel_cb *c, struct reel_arena *a)
{
    struct reel_validation *v = c->priv;
    struct reel_val_film *f = &v->film;
    struct sizes b;

    memcpy(f->shape, c->method->shape, sizeof f->shape);
    f->shape[0] = v->batch;
    if (v->num_frames != REEL_INT_UNSET) f->shape[1] = (v->num_frames - 1) / 4 + 1;
    f->io = reel_sampling_io_make(a, c->method->role[REEL_STUDENT], f->shape);
    b = sizes_of(v);
    c->beside = b.latent + b.raw + b.rows + b.rgb + b.grid + b.written;
    if (f->codec) c->beside += reel_codec_bytes(f->codec, (int)(8 * f->shape[3]), (int)(8 * f->shape[4]));
}

void reel_val_films_plan(struct reel_cb *c)
{
    struct reel_val_film *f = &((struct reel_validation *)c->priv)->film;
    int steps = f->sampler.steps;

    f->sampler.model = c->method->role[REEL_STUDENT];
    f->sampler.a = c->method->a;
    f->sampler.noise = noise;
    f->sampler.ctx = c;
    set_where(c, 0, 0);
    if (steps > 3) f->sampler.steps = 3; /* the first, one between, the last: more take no more memory */
    reel_sample(&f->sampler, &f->io);
    f->sampler.steps = steps;
}

/* ---- host memory ----------------------------------------------------------------------------- */

reel_err reel_val_films_codec(struct reel_cb *c)
{
    struct reel_validation *v = c->priv;
    const struct reel_model *m = c->method->role[REEL_STUDENT];

    if (v->film.codec) return REEL_OK;
    REEL_TRY(reel_codec_open(&v->film.codec, &v->encoders));
    if (reel_codec_family(v->film.codec)->channels == m->channels) return REEL_OK;
    return REEL_FAIL(REEL_ECONFIG, "%s: the codec %s has %d channels, the student takes %d", c->name, reel_codec_id(v->film.codec),
                     reel_codec_family(v->film.codec)->channels, m->channels);
}

reel_err reel_val_films_open(struct reel_cb *c)
{
    struct reel_validation *v = c->priv;
    struct reel_val_film *f = &v->film;
    struct sizes b = sizes_of(v);

    f->latent = malloc(b.latent);
    f->raw = malloc(b.raw);
    f->rows = malloc(b.rows);
    f->rgb = malloc(b.rgb);
    f->grid = malloc(b.grid);
    f->written = malloc(b.written);
    if (f->latent && f->raw && f->rows && f->rgb && f->grid && f->written) return REEL_OK;
    return REEL_FAIL(REEL_ENOMEM, "%s: no host memory for %d films of %d pictures", c->name, (int)v->num_videos_per_prompt, (int)pictures(f));
}

void reel_val_films_close(struct reel_cb *c)
{
    struct reel_val_film *f = &((struct reel_validation *)c->priv)->film;

    reel_codec_close(f->codec);
    free(f->latent), free(f->raw), free(f->rows), free(f->rgb), free(f->grid), free(f->written);
    f->codec = NULL;
    f->latent = f->raw = f->rows = NULL;
    f->rgb = f->grid = NULL;
    f->written = NULL;
}

/* ---- sampling -------------------------------------------------------------------------------- */

/* Texts padded with zeros or cut to the model's rows, the prompt's place `at` on; NULL: the negative prompt for all. */
static void put_texts(struct reel_cb *c, reel_tensor dst, const struct reel_text_rows *text)
{
    struct reel_validation *v = c->priv;

    for (int64_t b = 0; b < dst.n[0]; b++) {
        const struct reel_text_rows *r = text ? text + b : &v->negative;
        reel_set_pad(v->film.rows + b * dst.n[1] * dst.n[2], dst.n[1], dst.n[2], r->rows, r->n);
    }
    reel_put(c->method->s, dst, v->film.rows);
}

static void sample_batch(struct reel_cb *c, int64_t at, long step)
{
    struct reel_validation *v = c->priv;
    struct reel_val_film *f = &v->film;
    struct reel_step st = { .step = step };

    f->sampler.sparsity = reel_method_sparsity(c->method, &st);
    put_texts(c, f->io.uncond, NULL);
    put_texts(c, f->io.text, v->text + at);
    for (int64_t i = 0; i < v->num_videos_per_prompt; i++) {
        set_where(c, at, i);
        reel_sample(&f->sampler, &f->io);
        reel_get(c->method->s, f->latent + (size_t)(i * v->batch) * clip_size(f), f->io.x);
    }
}

/* ---- decoding and writing -------------------------------------------------------------------- */

/* One prompt's film under way on this rank. */
struct film { int64_t b, place; /* in the batch, of all prompts; place -1: none */ struct reel_movie *movie; char path[PATH_MAX]; };

/* <name>_step_S_inference_steps_N_rank_R_video_I.mp4: R the first rank of the prompt's group, I its index there. */
static reel_err name_film(struct reel_cb *c, long step, int64_t place, char path[PATH_MAX])
{
    const struct reel_validation *v = c->priv;
    const char *dir = v->output_dir ? v->output_dir : c->method->cfg->training.checkpoint.output_dir;
    const struct reel_mesh_dims *d = &c->mesh->dims;
    char file[256];

    snprintf(file, sizeof file, "%s_step_%ld_inference_steps_%d_rank_%d_video_%d.mp4", c->name, step, v->film.sampler.steps,
             (int)(place / v->per_group) * d->sp * d->tp, (int)(place % v->per_group));
    return reel_join(path, PATH_MAX, dir, file);
}

/* A film that cannot be written is said and left out: no reason to lose a run. */
static void give_up(struct film *m)
{
    fprintf(stderr, "reel: warning: %s is left out: %s\n", m->path, reel_errrec()->msg);
    reel_err_clear();
    reel_movie_drop(&m->movie);
    m->movie = NULL;
}

static void write_picture(struct reel_cb *c, struct film *m, const uint8_t *const *pic)
{
    struct reel_validation *v = c->priv;
    int n = (int)v->num_videos_per_prompt;

    if (!m->movie) return;
    if (n > 1) reel_grid_rgb(v->film.grid, pic, n, (int)(8 * v->film.shape[3]), (int)(8 * v->film.shape[4]));
    if (reel_movie_frame(m->movie, n > 1 ? v->film.grid : pic[0])) give_up(m);
}

static void open_film(struct reel_cb *c, struct film *m, long step)
{
    struct reel_validation *v = c->priv;
    struct reel_movie_opts o = { .path = m->path, .fps = c->run->fps, .caption = v->prompts.text[m->place] };

    reel_grid_size((int)v->num_videos_per_prompt, (int)(8 * v->film.shape[3]), (int)(8 * v->film.shape[4]), &o.height, &o.width);
    if (name_film(c, step, m->place, m->path) || reel_movie_open(&m->movie, &o)) give_up(m);
}

/* Latent frame t of a clip to pictures at rgb. Local: the caller agrees. */
static reel_err decode(struct reel_val_film *f, const float *clip, int64_t t, uint8_t *rgb)
{
    size_t area = (size_t)(f->shape[3] * f->shape[4]), C = (size_t)f->shape[2];
    const float *z = clip + (size_t)t * C * area;

    if (t == 0) REEL_TRY(reel_codec_decode_begin(f->codec, (int)f->shape[3], (int)f->shape[4]));
    return reel_codec_decode_frame(f->codec, rgb, f->raw, z);
}

/* Pictures of one clip, written as they come where there is one clip, else kept. Collective(world): one agreement a
 * latent frame, so that nobody waits for longer. */
static reel_err decode_clip(struct reel_cb *c, struct film *m, int64_t video)
{
    struct reel_validation *v = c->priv;
    struct reel_val_film *f = &v->film;
    size_t picture = (size_t)(f->shape[3] * f->shape[4]) * 64 * 3;
    int one = v->num_videos_per_prompt == 1;
    uint8_t *rgb = f->rgb + (one ? 0 : (size_t)(video * pictures(f)) * picture);

    for (int64_t t = 0; t < f->shape[1]; t++) {
        reel_err e = REEL_OK;
        if (m->place >= 0) e = decode(f, f->latent + (size_t)(video * v->batch + m->b) * clip_size(f), t, rgb);
        REEL_TRY(reel_agree(c->run->world, e));
        for (int i = 0; i < (t ? 4 : 1); i++, rgb += picture)
            if (one && m->place >= 0) write_picture(c, m, &(const uint8_t *){ rgb });
        if (one) rgb = f->rgb;
    }
    return REEL_OK;
}

/* Pictures of all clips side by side. */
static void write_grids(struct reel_cb *c, struct film *m)
{
    struct reel_validation *v = c->priv;
    struct reel_val_film *f = &v->film;
    size_t picture = (size_t)(f->shape[3] * f->shape[4]) * 64 * 3;
    const uint8_t *pic[4096];

    for (int64_t k = 0; k < pictures(f) && m->movie; k++) {
        for (int64_t i = 0; i < v->num_videos_per_prompt; i++) pic[i] = f->rgb + (size_t)(i * pictures(f) + k) * picture;
        write_picture(c, m, pic);
    }
}

/* The film of sample b of the batch at `at`, if there is such a prompt. Collective(world). */
static reel_err write_film(struct reel_cb *c, int64_t at, int64_t b, long step)
{
    struct reel_validation *v = c->priv;
    int64_t place = c->mesh->dp_rank * v->per_group + at + b;
    struct film m = { .b = b, .place = b < v->batch && place < v->n ? place : -1 };
    reel_err e = REEL_OK;

    if (m.place >= 0) open_film(c, &m, step);
    for (int64_t i = 0; i < v->num_videos_per_prompt && e == REEL_OK; i++) e = decode_clip(c, &m, i);
    if (e) reel_movie_drop(&m.movie);
    if (m.movie && v->num_videos_per_prompt > 1) write_grids(c, &m);
    if (m.movie && !(v->film.written[m.place] = reel_movie_close(&m.movie) == REEL_OK)) give_up(&m);
    return e;
}

/* The members of a group take the batch's films in turns. Collective(world). */
static reel_err write_batch(struct reel_cb *c, int64_t at, long step)
{
    const struct reel_validation *v = c->priv;
    const struct reel_mesh *mesh = c->mesh;
    int members = mesh->dims.sp * mesh->dims.tp, mine = mesh->sp.rank * mesh->dims.tp + mesh->tp.rank;

    for (int64_t b = 0; b < v->batch; b += members) REEL_TRY(write_film(c, at, b + mine, step));
    return REEL_OK;
}

/* ---- reports --------------------------------------------------------------------------------- */

static reel_err log_films(struct reel_cb *c, long step, double seconds, int whole)
{
    struct reel_validation *v = c->priv;
    int steps = v->film.sampler.steps;
    char tag[128], count[128], time[128], audio[128], (*path)[PATH_MAX] = malloc((size_t)v->n * sizeof *path);
    struct reel_track_film *film = calloc((size_t)v->n, sizeof *film);
    void **gif = calloc((size_t)v->n, sizeof *gif);
    int n = 0;
    reel_err e = REEL_OK;

    if (!path || !film || !gif) e = REEL_FAIL(REEL_ENOMEM, "no memory for the list of %d films", (int)v->n);
    for (int64_t i = 0; i < v->n && e == REEL_OK; i++) {
        if (!v->film.written[i]) continue;
        e = name_film(c, step, i, path[n]);
        film[n] = (struct reel_track_film){ .path = path[n], .caption = v->prompts.text[i] };
        if (reel_track_wants_gif(c->run->track) && reel_movie_gif(path[n], &gif[n], &film[n].gif_bytes)) reel_err_clear(); /* its path is shown */
        film[n].gif = gif[n];
        n++;
    }
    if (e == REEL_OK && !c->run->quiet)
        printf("reel: %s at step %ld: %d of %d films of %d steps in %.1f s%s%s%s\n", c->name, step, n, (int)v->n, steps, seconds,
               n ? ", the first " : "", n ? path[0] : "", whole ? "" : "; the others are left out, since the run ends");
    snprintf(tag, sizeof tag, "%s_videos_%d_steps", c->name, steps);
    snprintf(count, sizeof count, "%s/%d_steps_video_count", c->name, steps);
    snprintf(time, sizeof time, "%s/%d_steps_duration_sec", c->name, steps);
    snprintf(audio, sizeof audio, "%s/%d_steps_audio_video_count", c->name, steps); /* films have no sound */
    if (e == REEL_OK && n) e = reel_track_videos(c->run->track, step, tag, film, n);
    if (e == REEL_OK) e = reel_track_scalars(c->run->track, step, (const char *const[]){ count, time, audio }, (double[]){ n, seconds, 0 }, 3);
    for (int i = 0; i < n; i++) free(gif[i]);
    free(gif);
    free(film);
    free(path);
    return e;
}

reel_err reel_val_films_run(struct reel_cb *c, long step, int *whole)
{
    struct reel_validation *v = c->priv;
    double began = reel_now();

    memset(v->film.written, 0, (size_t)v->n * sizeof *v->film.written);
    REEL_TRY(reel_agree(c->run->world, reel_val_films_codec(c)));
    for (int64_t at = 0; at < v->per_group; at += v->batch) {
        *whole = !c->run->ends(c->run->ctx);
        if (!*whole) break;
        sample_batch(c, at, step);
        REEL_TRY(write_batch(c, at, step));
    }
    if (v->unload_pipeline) reel_codec_close(v->film.codec), v->film.codec = NULL;
    REEL_TRY(reel_agree(c->run->world, reel_draws_status(c->method->draws)));
    reel_comm_sum_i64(c->run->world, v->film.written, (int)v->n);
    return reel_agree(c->run->world, c->run->world->rank ? REEL_OK : log_films(c, step, reel_now() - began, *whole));
}
