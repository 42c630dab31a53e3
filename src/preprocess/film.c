/* One film: is it fit, which clips it gives, and their pictures. Memory: one source frame and one clip. */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "media/fit.h"
#include "media/video.h"
#include "preprocess/preprocess_priv.h"

enum { WHY = 512, WINDOW_BITS = 20 };

struct source { /* a film as it counts: what the list says of it goes before what the file says */
    struct reel_video *v;
    struct reel_fit *fit;
    uint8_t *raw;          /* one frame */
    double fps, duration;
    int64_t frames;
    double rate;           /* pictures of a clip per second */
    int64_t n;             /* pictures at that rate */
    int64_t first, clips;  /* first picture of the first clip, how many clips; 0: none */
};

static uint64_t draw_key(const struct reel_prep *j, const char *name) { return reel_rng_key((uint64_t)j->a.seed, name); }

/* Whether the draw of that name says yes to item i, with probability p. */
static int drawn(const struct reel_prep *j, const char *name, int64_t i, double p)
{
    return (double)reel_rng_word(draw_key(j, name), 0, 0, (uint32_t)i, 0) < p * 0x1p32;
}

const char *reel_film_caption(const struct reel_prep *j, int64_t i)
{
    return drawn(j, "preprocess/no_caption", i, j->a.training_cfg_rate) ? "" : j->films.v[i].caption;
}

/* A film's fault is a reason to skip it, not an error of the run. */
static reel_err skip_error(struct reel_prep *j, int64_t i, reel_err e, char why[WHY])
{
    char local[WHY];

    if (e == REEL_ENOMEM) return e;
    snprintf(why ? why : local, WHY, "%.*s", WHY - 1, reel_errrec()->msg);
    reel_err_clear();
    return reel_prep_skip(j, i, e == REEL_EIO ? REEL_SKIP_MISSING : REEL_SKIP_DAMAGED, why ? why : local);
}

static void measure(const struct reel_prep *j, int64_t i, struct source *s)
{
    const struct reel_video_info *f = reel_video_info(s->v);
    const struct reel_film *film = &j->films.v[i];
    int said = (film->fps > 0 || film->frames) && !f->variable;

    s->fps = said && film->fps > 0 ? film->fps : f->fps;
    s->frames = said && film->frames ? film->frames : f->frames;
    s->duration = said ? (double)s->frames / s->fps : f->duration;
    s->rate = j->a.train_fps > 0 ? j->a.train_fps : s->fps;
    s->n = said ? reel_frame_count(s->frames, s->fps, s->rate) : reel_video_count(s->v, s->rate);
}

/* The frame that is picture k; a film that has ended stands still. */
static int64_t pick(const struct source *s, int64_t k)
{
    const struct reel_video_info *f = reel_video_info(s->v);

    if (k >= s->n) k = s->n - 1;
    return f->variable ? reel_video_pick(s->v, k, s->rate) : reel_frame_index(k, s->fps, s->rate);
}

/* Why no clip is taken, into `why`; -1: there is no reason. */
static int unfit(const struct reel_prep *j, int64_t i, const struct source *s, char why[WHY])
{
    const char *path = j->films.v[i].path;
    const struct reel_video_info *f = reel_video_info(s->v);
    double clip = j->F / s->rate, off = (double)f->height / f->width * j->W / j->H;

    if (j->a.tolerance > 0 && s->duration > j->a.tolerance * clip * j->a.speed_factor) {
        snprintf(why, WHY, "%s: %.1f s, longer than %g clips of %.1f s (--tolerance)", path, s->duration, j->a.tolerance, clip * j->a.speed_factor);
        return REEL_SKIP_LONG;
    }
    if (j->a.aspect_tolerance > 0 && fmax(off, 1 / off) > j->a.aspect_tolerance) {
        snprintf(why, WHY, "%s: %d x %d, %.2f times too %s for clips of %d x %d (--aspect-tolerance)", path, f->width, f->height, fmax(off, 1 / off),
                 off > 1 ? "high" : "wide", j->W, j->H);
        return REEL_SKIP_SHAPE;
    }
    if (s->n < 1 || (s->n < j->F && drawn(j, "preprocess/drop_short", i, j->a.drop_short_ratio))) {
        snprintf(why, WHY, "%s: %" PRId64 " pictures at %g a second; a clip takes %d", path, s->n, s->rate, j->F);
        return REEL_SKIP_SHORT;
    }
    return -1;
}

static void choose(const struct reel_prep *j, int64_t i, struct source *s)
{
    s->clips = 1;
    if (s->n < j->F) return;
    if (j->a.windows) s->clips = s->n / j->F < 1 << WINDOW_BITS ? s->n / j->F : 1 << WINDOW_BITS;
    if (j->a.temporal_sample)
        s->first = reel_rng_below(reel_rng_word(draw_key(j, "preprocess/window"), 0, 0, (uint32_t)i, 0), (uint32_t)(s->n - j->F + 1));
}

static reel_err cut_clip(struct reel_prep *j, struct source *s, int64_t first)
{
    int64_t last = -1;

    for (int f = 0; f < j->F && !reel_prep_ends(j); f++) {
        int64_t at = pick(s, first + f);
        if (at != last) REEL_TRY(reel_video_frame(s->v, at, s->raw));
        last = at;
        reel_fault_stall();
        if (reel_fault("told")) raise(SIGUSR1);
        reel_fit(s->fit, j->rgb + (size_t)f * j->frame, s->raw);
    }
    return REEL_OK;
}

static reel_err take_clips(struct reel_prep *j, int64_t i, struct source *s, const struct reel_text_rows *text)
{
    const struct reel_video_info *f = reel_video_info(s->v);
    const char *path = j->films.v[i].path, *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    char id[300], note[WHY + 8] = "";
    int64_t k = j->done[i]; /* of an earlier run */
    reel_err e = REEL_OK;

    for (; k < s->clips; k++) {
        struct reel_set_sample x = { .key = i << WINDOW_BITS | k, .id = id, .caption = reel_film_caption(j, i), .file_name = path, .width = f->width,
                                     .height = f->height, .frames = (int)s->frames, .fps = s->fps, .duration = s->duration };
        reel_phase_of("decoding film", i + 1, path);
        if ((e = cut_clip(j, s, s->first + k * j->F))) break;
        if (j->left) return REEL_OK; /* what is closed stays; the next run takes up this clip */
        snprintf(id, sizeof id, "%s#%" PRId64, base, k);
        reel_phase_of("encoding film", i + 1, path);
        REEL_TRY(reel_prep_sample(j, &x, text));
        if (k + 1 < s->clips) REEL_TRY(reel_set_done(j->w, i, REEL_PREP_MORE));
    }
    if (e) { /* the clips before the damage stay */
        snprintf(note, sizeof note, "%d ", e == REEL_EIO ? REEL_SKIP_MISSING : REEL_SKIP_DAMAGED);
        REEL_TRY(skip_error(j, i, e, note + strlen(note)));
    }
    return k ? reel_set_done(j->w, i, note) : REEL_OK;
}

static reel_err open_film(struct reel_prep *j, int64_t i, struct source *s, char why[WHY], int *kind)
{
    const struct reel_video_info *f = reel_video_info(s->v);

    measure(j, i, s);
    *kind = unfit(j, i, s, why);
    if (*kind >= 0) return REEL_OK;
    choose(j, i, s);
    REEL_TRY(reel_fit_open(&s->fit, f->height, f->width, j->H, j->W));
    s->raw = malloc((size_t)f->height * (size_t)f->width * 3);
    return s->raw ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "%s: no memory for a frame", j->films.v[i].path);
}

reel_err reel_film_clips(struct reel_prep *j, int64_t i, const struct reel_text_rows *text)
{
    const struct reel_film *film = &j->films.v[i];
    struct source s = { 0 };
    char why[WHY];
    int kind = -1;
    reel_err e;

    if (film->odd || !*film->caption) {
        snprintf(why, sizeof why, "%s: %s", film->path, film->odd ? film->odd : "the caption is empty");
        return reel_prep_skip(j, i, *film->caption ? REEL_SKIP_METADATA : REEL_SKIP_CAPTION, why);
    }
    reel_phase_of("opening film", i + 1, film->path);
    e = reel_video_open(&s.v, film->path);
    if (e) return skip_error(j, i, e, NULL);
    e = open_film(j, i, &s, why, &kind);
    if (!e) e = kind >= 0 ? reel_prep_skip(j, i, (enum reel_skip)kind, why) : take_clips(j, i, &s, text);
    free(s.raw);
    reel_fit_close(s.fit);
    reel_video_close(s.v);
    return e;
}
