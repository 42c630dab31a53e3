/* Films or built-in clips -> latents and text vectors -> one set, round-robin over ranks. Memory per rank: one
 * source frame, one clip, one latent. A sample's key is (film, window), so ranks leave no trace. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "data/demo_set.h"
#include "data/preprocess_priv.h"
#include "media/clips.h"
#include "media/dct.h"
#include "media/fit.h"
#include "media/picture.h"
#include "media/text.h"
#include "media/video.h"

enum { SHOWN = 4, SHOWN_FRAMES = 4, SKIPS = 8, SKIP_LEN = 512, WINDOW_BITS = 20 };

struct skips { int64_t n; struct { int64_t item; char why[SKIP_LEN]; } first[SKIPS]; }; /* of one rank */

struct job {
    const struct reel_preprocess_args *a;
    struct reel_comm *c;
    struct reel_set_desc d;
    struct reel_set_writer *w;
    struct reel_films films;
    int H, W, F;
    size_t frame;       /* bytes of one picture of a clip */
    uint8_t *rgb, *back; /* [F,H,W,3]: the clip, and what its latents decode to */
    float *latent;
    struct skips skips;
    int64_t samples, items, shown_key[SHOWN];
    uint8_t *shown;     /* [SHOWN][2*SHOWN_FRAMES] pictures for the contact sheet */
    int n_shown;
    double began, said;
};

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- one sample ---------------------------------------------------------------------------- */

static void keep_for_sheet(struct job *j, int64_t key)
{
    uint8_t *to = j->shown + (size_t)j->n_shown * 2 * SHOWN_FRAMES * j->frame;

    if (j->n_shown == SHOWN) return;
    reel_dct_decode(j->back, j->latent, j->d.frames, j->d.height, j->d.width, 0);
    for (int i = 0; i < SHOWN_FRAMES; i++) {
        size_t f = (size_t)(i * (j->F - 1) / (SHOWN_FRAMES - 1)) * j->frame;
        memcpy(to + (size_t)i * j->frame, j->rgb + f, j->frame);
        memcpy(to + (size_t)(SHOWN_FRAMES + i) * j->frame, j->back + f, j->frame);
    }
    j->shown_key[j->n_shown++] = key;
}

/* The clip in j->rgb becomes a sample; `s` describes the source. */
static reel_err emit(struct job *j, struct reel_set_sample *s)
{
    float text[REEL_TEXT_ROWS * REEL_TEXT_DIM];

    reel_dct_encode(j->latent, j->rgb, j->F, j->H, j->W);
    s->latent = j->latent;
    s->text = text;
    s->rows = reel_text_vectors(s->caption, text);
    keep_for_sheet(j, s->key);
    j->samples++;
    return reel_set_add(j->w, s);
}

static reel_err demo_clip(struct job *j, int64_t i)
{
    struct reel_clip clip = { (uint64_t)j->a->demo_seed, i, 0, j->W, j->H, j->F };
    char id[48], caption[REEL_CLIP_CAPTION];
    struct reel_set_sample s = { .key = i, .id = id, .caption = caption, .width = j->W, .height = j->H, .frames = j->F,
                                 .fps = REEL_DEMO_FPS, .duration = j->F / REEL_DEMO_FPS };

    snprintf(id, sizeof id, "clip-%" PRId64 "-%" PRId64, j->a->demo_seed, i);
    reel_clip_draw(&clip, j->rgb);
    reel_clip_caption(reel_clip_what(clip.seed, i), caption);
    return emit(j, &s);
}

/* ---- one film ------------------------------------------------------------------------------ */

static void skip(struct job *j, int64_t i, const char *why)
{
    struct skips *s = &j->skips;

    if (s->n < SKIPS) {
        s->first[s->n].item = i;
        snprintf(s->first[s->n].why, SKIP_LEN, "%.*s", SKIP_LEN - 1, why);
    }
    s->n++;
}

/* A film's fault is a reason to skip it, not an error of the run. */
static reel_err skip_error(struct job *j, int64_t i, reel_err e)
{
    if (e == REEL_ENOMEM) return e;
    skip(j, i, reel_errrec()->msg);
    reel_err_clear();
    return REEL_OK;
}

static reel_err cut_clip(struct job *j, struct reel_video *v, struct reel_fit *fit, uint8_t *raw, int64_t first, double fps)
{
    int64_t last = -1;

    for (int f = 0; f < j->F; f++) {
        int64_t at = reel_video_pick(v, first + f, fps);
        if (at != last) REEL_TRY(reel_video_frame(v, at, raw));
        last = at;
        reel_fit(fit, j->rgb + (size_t)f * j->frame, raw);
    }
    return REEL_OK;
}

struct windows { int64_t first, n; double fps; }; /* first picture, number of clips, pictures per second */

/* Which clips a film gives; n 0: none, and why is told. */
static struct windows choose(struct job *j, const struct reel_video *v, int64_t i)
{
    const struct reel_video_info *f = reel_video_info(v);
    struct windows w = { .fps = j->a->train_fps > 0 ? j->a->train_fps : f->fps };
    int64_t n = reel_video_count(v, w.fps);
    char why[SKIP_LEN];

    if (j->a->tolerance > 0 && f->duration > j->a->tolerance * j->F / w.fps) {
        snprintf(why, sizeof why, "%s: %.1f s, longer than %g clips of %.1f s (--tolerance)", j->films.v[i].path, f->duration, j->a->tolerance, j->F / w.fps);
        skip(j, i, why);
    } else if (n < j->F) {
        snprintf(why, sizeof why, "%s: %" PRId64 " pictures at %g a second; a clip takes %d", j->films.v[i].path, n, w.fps, j->F);
        skip(j, i, why);
    } else if (j->a->windows) {
        w.n = n / j->F < 1 << WINDOW_BITS ? n / j->F : 1 << WINDOW_BITS;
    } else {
        uint64_t key = reel_rng_key((uint64_t)j->a->seed, "preprocess/window");
        w.n = 1;
        if (j->a->temporal_sample) w.first = reel_rng_below(reel_rng_word(key, 0, 0, (uint32_t)i, 0), (uint32_t)(n - j->F + 1));
    }
    return w;
}

static reel_err film_clips(struct job *j, int64_t i, struct reel_video *v, struct reel_fit *fit, uint8_t *raw)
{
    const struct reel_video_info *f = reel_video_info(v);
    const struct reel_film *film = &j->films.v[i];
    const char *base = strrchr(film->path, '/') ? strrchr(film->path, '/') + 1 : film->path;
    struct windows w = choose(j, v, i);
    char id[300];

    for (int64_t k = 0; k < w.n; k++) {
        struct reel_set_sample s = { .key = i << WINDOW_BITS | k, .id = id, .caption = film->caption, .file_name = film->path, .width = f->width,
                                     .height = f->height, .frames = (int)f->frames, .fps = f->fps, .duration = f->duration };
        reel_err e = cut_clip(j, v, fit, raw, w.first + k * j->F, w.fps);
        if (e) return skip_error(j, i, e); /* the clips before the damage stay */
        snprintf(id, sizeof id, "%s#%" PRId64, base, k);
        REEL_TRY(emit(j, &s));
    }
    return REEL_OK;
}

static reel_err one_film(struct job *j, int64_t i)
{
    struct reel_video *v = NULL;
    struct reel_fit *fit = NULL;
    uint8_t *raw = NULL;
    reel_err e;

    if (!*j->films.v[i].caption) {
        char why[SKIP_LEN];
        snprintf(why, sizeof why, "%s: the caption is empty", j->films.v[i].path);
        return skip(j, i, why), REEL_OK;
    }
    e = reel_video_open(&v, j->films.v[i].path);
    if (e) return skip_error(j, i, e);
    e = reel_fit_open(&fit, reel_video_info(v)->height, reel_video_info(v)->width, j->H, j->W);
    if (!e && !(raw = malloc((size_t)reel_video_info(v)->height * (size_t)reel_video_info(v)->width * 3)))
        e = REEL_FAIL(REEL_ENOMEM, "%s: no memory for a frame", j->films.v[i].path);
    if (!e) e = film_clips(j, i, v, fit, raw);
    free(raw);
    reel_fit_close(fit);
    reel_video_close(v);
    return e;
}

/* ---- all of them --------------------------------------------------------------------------- */

static void progress(struct job *j, int64_t i) /* rank 0's share stands for all */
{
    double t = now_s();
    int tty = isatty(2);

    if (j->c->rank || j->a->quiet || t - j->said < (tty ? 0.5 : 10)) return;
    j->said = t;
    fprintf(stderr, "%spreprocess: %" PRId64 " of %" PRId64 ", %.1f/s%s", tty ? "\r" : "", i + 1, j->items, (double)(i + 1) / (t - j->began), tty ? "  " : "\n");
}

static reel_err all_items(struct job *j)
{
    for (int64_t i = j->c->rank; i < j->items; i += j->c->size) {
        REEL_TRY(j->a->demo_clips ? demo_clip(j, i) : one_film(j, i));
        progress(j, i);
    }
    return REEL_OK;
}

static reel_err allocate(struct job *j)
{
    size_t latent = (size_t)j->d.channels * (size_t)j->d.frames * (size_t)j->d.height * (size_t)j->d.width;

    j->rgb = malloc((size_t)j->F * j->frame);
    j->back = malloc((size_t)j->F * j->frame);
    j->shown = malloc(SHOWN * 2 * SHOWN_FRAMES * j->frame);
    j->latent = malloc(latent * sizeof *j->latent);
    return j->rgb && j->back && j->shown && j->latent ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for one clip of %dx%dx%d", j->F, j->H, j->W);
}

/* ---- contact sheet ------------------------------------------------------------------------- */

/* The pictures of the first samples of all ranks, on every rank: from = owner's slot. */
static reel_err gather_shown(struct job *j, uint8_t *all, int *n)
{
    int64_t mine[SHOWN], *every = malloc((size_t)j->c->size * sizeof mine), last = -1;
    size_t bytes = 2 * SHOWN_FRAMES * j->frame;
    reel_err e = reel_agree(j->c, every ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for the contact sheet"));

    if (e) return free(every), e;
    for (int i = 0; i < SHOWN; i++) mine[i] = i < j->n_shown ? j->shown_key[i] : INT64_MAX;
    reel_comm_allgather(j->c, mine, sizeof mine, every);
    for (*n = 0; *n < SHOWN; ++*n) {
        int best = -1;
        for (int i = 0; i < j->c->size * SHOWN; i++)
            if (every[i] > last && every[i] != INT64_MAX && (best < 0 || every[i] < every[best])) best = i;
        if (best < 0) break;
        last = every[best];
        if (best / SHOWN == j->c->rank) memcpy(all + (size_t)*n * bytes, j->shown + (size_t)(best % SHOWN) * bytes, bytes);
        reel_comm_bcast(j->c, all + (size_t)*n * bytes, bytes, best / SHOWN);
    }
    free(every);
    return REEL_OK;
}

static void sheet_name(const struct job *j, char *name, size_t room)
{
    size_t n = strlen(j->a->output);

    if (j->a->sheet) snprintf(name, room, "%s", strcmp(j->a->sheet, "none") ? j->a->sheet : "");
    else snprintf(name, room, "%.*s.png", (int)(n > 3 && !strcmp(j->a->output + n - 3, ".h5") ? n - 3 : n), j->a->output);
}

static reel_err sheet(struct job *j)
{
    char name[1100];
    const uint8_t *pic[SHOWN * 2 * SHOWN_FRAMES];
    uint8_t *all;
    int n = 0;
    reel_err e;

    sheet_name(j, name, sizeof name);
    if (!*name) return REEL_OK;
    all = malloc(SHOWN * 2 * SHOWN_FRAMES * j->frame);
    e = reel_agree(j->c, all ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for the contact sheet"));
    if (!e) e = gather_shown(j, all, &n);
    for (int i = 0; i < n * 2 * SHOWN_FRAMES; i++) pic[i] = all + (size_t)i * j->frame;
    if (!e && j->c->rank == 0) e = reel_sheet_png(name, pic, n * 2 * SHOWN_FRAMES, SHOWN_FRAMES, j->H, j->W);
    free(all);
    return reel_agree(j->c, e);
}

/* ---- the whole ----------------------------------------------------------------------------- */

/* How many samples there are, and why others are not; the first reasons in the order of the list. */
static reel_err tell_skips(struct job *j)
{
    struct skips *all = malloc((size_t)j->c->size * sizeof *all);
    int64_t total[2] = { j->samples, j->skips.n }, told = 0, last = -1;
    char first[SKIP_LEN] = "";
    reel_err e = reel_agree(j->c, all ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for the summary"));

    if (e) return free(all), e;
    reel_comm_allgather(j->c, &j->skips, sizeof j->skips, all);
    reel_comm_sum_i64(j->c, total, 2);
    while (told < SKIPS) {
        const char *why = NULL;
        int64_t item = INT64_MAX;
        for (int r = 0; r < j->c->size; r++)
            for (int i = 0; i < SKIPS && i < all[r].n; i++)
                if (all[r].first[i].item > last && all[r].first[i].item < item) item = all[r].first[i].item, why = all[r].first[i].why;
        if (!why) break;
        if (!told++) snprintf(first, sizeof first, "%s", why);
        if (j->c->rank == 0) fprintf(stderr, "reel: skipped: %s\n", why);
        last = item;
    }
    if (j->c->rank == 0 && total[1] > told) fprintf(stderr, "reel: and %" PRId64 " more\n", total[1] - told);
    free(all);
    j->samples = total[0], j->skips.n = total[1];
    return total[0] ? REEL_OK : REEL_FAIL(REEL_EDATA, "%s: no film is usable; the first of %" PRId64 " reasons: %s", j->a->output, total[1], first);
}

static void summary(const struct job *j)
{
    char name[1100];

    if (j->c->rank) return;
    sheet_name(j, name, sizeof name);
    if (isatty(2) && !j->a->quiet) fprintf(stderr, "\r\033[K");
    printf("%s: %" PRId64 " samples of %" PRId64 " %s (%" PRId64 " skipped), latents [%d,%d,%d,%d] %s of %s, %.1f s%s%s\n", j->a->output, j->samples,
           j->items, j->a->demo_clips ? "clips" : "films", j->skips.n, j->d.channels, j->d.frames, j->d.height, j->d.width,
           reel_dtype_name(j->d.dtype), j->d.family, now_s() - j->began, *name ? "; contact sheet " : "", name);
    fflush(stdout);
}

static reel_err prepare(struct job *j, char *source, size_t room)
{
    const struct reel_preprocess_args *a = j->a;
    double fps = a->demo_clips ? REEL_DEMO_FPS : a->train_fps;

    REEL_TRY(reel_builtin_desc(&j->d, (int)a->height, (int)a->width, (int)a->num_frames, fps, a->dtype ? REEL_BF16 : REEL_F32));
    if (a->windows && a->temporal_sample) return REEL_FAIL(REEL_ECONFIG, "--windows and --temporal-sample exclude each other");
    if (a->demo_clips && (a->videos || a->captions)) return REEL_FAIL(REEL_ECONFIG, "--demo-clips and --videos exclude each other");
    j->H = (int)a->height, j->W = (int)a->width, j->F = (int)a->num_frames;
    j->frame = (size_t)j->H * (size_t)j->W * 3;
    if (a->demo_clips) snprintf(source, room, "built-in clips, seed %" PRId64, a->demo_seed);
    else snprintf(source, room, "%s", a->captions ? a->captions : a->videos ? a->videos : "");
    j->d.source = source;
    return REEL_OK;
}

static reel_err may_write(const struct job *j) /* rank 0's view, agreed */
{
    reel_err e = REEL_OK;

    if (j->c->rank == 0 && reel_is_dir(j->a->output)) e = REEL_FAIL(REEL_ECONFIG, "%s is a folder; --output names a file", j->a->output);
    if (j->c->rank == 0 && reel_is_file(j->a->output) && !j->a->overwrite)
        e = REEL_FAIL(REEL_ECONFIG, "%s exists; --overwrite replaces it", j->a->output);
    return reel_agree(j->c, e);
}

static reel_err may_draw(const struct job *j) /* the sheet, which comes last; rank 0's view, agreed */
{
    char name[1100];

    sheet_name(j, name, sizeof name);
    return reel_agree(j->c, j->c->rank == 0 && *name ? reel_file_probe(name) : REEL_OK);
}

static reel_err work(struct job *j)
{
    reel_err e;

    REEL_TRY(may_write(j));
    j->items = j->a->demo_clips;
    if (!j->items) {
        REEL_TRY(reel_films_open(&j->films, j->a, j->c));
        j->items = j->films.n;
    }
    REEL_TRY(reel_parent_folders(j->a->output, j->c));
    REEL_TRY(may_draw(j));
    REEL_TRY(reel_agree(j->c, allocate(j)));
    REEL_TRY(reel_set_create(&j->w, j->a->output, &j->d, j->c));
    e = reel_agree(j->c, all_items(j));
    if (!e) e = tell_skips(j);
    e = reel_set_commit(j->w, e, NULL);
    if (!e) e = sheet(j);
    if (!e) summary(j);
    return e;
}

reel_err reel_preprocess(const struct reel_preprocess_args *a, struct reel_comm *world)
{
    struct job j = { .a = a, .c = world, .began = now_s(), .said = now_s() };
    char source[256];
    reel_err e = prepare(&j, source, sizeof source);

    if (!e) e = work(&j);
    reel_films_close(&j.films);
    free(j.rgb), free(j.back), free(j.latent), free(j.shown);
    return e;
}
