#include "track/track.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "track/track_priv.h"

/* One row per name that a configuration may give: REEL_TRACK_NAMES in the same order. */
static const struct {
    const char *name;
    const struct track_sink_ops *ops;
    const char *warning;
} formats[] = {
    { "jsonl", &track_jsonl, NULL },
    { "tensorboard", &track_tensorboard, NULL },
    { "wandb", &track_wandb, NULL },
    { "swanlab", NULL, "tracker swanlab is not available: metrics.jsonl holds the same numbers" },
    { "none", NULL, NULL },
};
enum { N_FORMATS = sizeof formats / sizeof *formats };

struct reel_track {
    reel_err held; /* of a note */
    int n;
    struct sink {
        const struct track_sink_ops *ops;
        void *priv;
    } sink[N_FORMATS];
};

/* Every sink is served even if one fails; the first error is kept. */
#define EACH_SINK(t, e, call)                                                                      \
    for (int i = 0; (t) && i < (t)->n; i++) {                                                      \
        struct sink *s = &(t)->sink[i];                                                            \
        reel_err e_ = (call);                                                                      \
        if (!(e)) (e) = e_;                                                                        \
    }

static double wall_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Bit i is set if formats[i] is wanted. */
static reel_err wanted(const struct reel_strs *names, unsigned *mask)
{
    static const char *const absent[] = { "jsonl", "tensorboard" };
    const char *const *v = names->n ? (const char *const *)names->v : absent;

    *mask = 1; /* jsonl always */
    for (int k = 0, n = names->n ? names->n : 2; k < n; k++) {
        int i = 0;

        while (i < N_FORMATS && strcmp(formats[i].name, v[k]) != 0) i++;
        if (i == N_FORMATS)
            return REEL_FAIL(REEL_ECONFIG, "training.tracker.trackers: '%s' is not one of %s", v[k],
                             REEL_TRACK_NAMES);
        *mask |= 1u << i;
    }
    return REEL_OK;
}

static reel_err add(struct reel_track *t, const struct track_sink_ops *ops,
                    const struct reel_track_opts *o)
{
    struct sink *s = &t->sink[t->n];

    s->ops = ops;
    s->priv = calloc(1, ops->priv_size);
    if (!s->priv) return REEL_FAIL(REEL_ENOMEM, "no memory for the %s tracker", ops->name);
    reel_err e = ops->open(s->priv, o, wall_s());

    if (e)
        free(s->priv);
    else
        t->n++;
    return e;
}

static reel_err open_wanted(struct reel_track *t, const struct reel_track_opts *o, unsigned mask)
{
    REEL_TRY(reel_mkdirs(o->dir));
    for (int i = 0; i < N_FORMATS; i++) {
        if (!(mask >> i & 1)) continue;
        if (formats[i].warning) fprintf(stderr, "reel: warning: %s\n", formats[i].warning);
        if (formats[i].ops) REEL_TRY(add(t, formats[i].ops, o));
    }
    return REEL_OK;
}

reel_err reel_track_open(struct reel_track **t, const struct reel_track_opts *o)
{
    unsigned mask;
    reel_err e;

    *t = NULL;
    if (strlen(o->dir) > TRACK_DIR_MOST) return REEL_FAIL(REEL_EIO, "%s: the path is too long: trackers take at most %d bytes", o->dir, TRACK_DIR_MOST);
    REEL_TRY(wanted(&o->trackers, &mask));
    *t = calloc(1, sizeof **t);
    if (!*t) return REEL_FAIL(REEL_ENOMEM, "no memory for the trackers");
    e = open_wanted(*t, o, mask);
    if (e) {
        reel_track_close(*t, 1);
        *t = NULL;
    }
    return e;
}

reel_err reel_track_scalars(struct reel_track *t, long step, const char *const *names,
                            const double *values, int n)
{
    struct track_at at = { step, wall_s() };
    reel_err e = REEL_OK;

    if (t) e = t->held;
    EACH_SINK(t, e, s->ops->scalars(s->priv, &at, names, values, n));
    return e;
}

void reel_track_note(struct reel_track *t, long step, const char *kind, json_t *note)
{
    struct track_at at = { step, wall_s() };
    char *text = t && note ? json_dumps(note, JSON_REAL_PRECISION(15)) : NULL;

    if (t && !text && !t->held) t->held = REEL_FAIL(REEL_ENOMEM, "no memory for the note '%s' of step %ld", kind, step);
    EACH_SINK(text ? t : NULL, t->held, s->ops->note ? s->ops->note(s->priv, &at, kind, text) : REEL_OK);
    free(text);
    json_decref(note);
}

reel_err reel_track_text(struct reel_track *t, long step, const char *tag, const char *text)
{
    struct track_at at = { step, wall_s() };
    reel_err e = REEL_OK;

    EACH_SINK(t, e, s->ops->text(s->priv, &at, tag, text));
    return e;
}

static int be32(const unsigned char *p)
{
    return (int)((unsigned)p[0] << 24 | (unsigned)p[1] << 16 | (unsigned)p[2] << 8 | p[3]);
}

/* Signature, then the IHDR chunk: width at 16, height at 20, colour type at 25. */
static reel_err png_head(struct track_png *png, const char *tag)
{
    static const unsigned char colours[7] = { [0] = 1, [2] = 3, [3] = 3, [4] = 2, [6] = 4 };
    const unsigned char *p = png->p;

    if (png->n < 33 || memcmp(p, "\x89PNG\r\n\x1a\n", 8) != 0 || memcmp(p + 12, "IHDR", 4) != 0 ||
        p[25] > 6 || !colours[p[25]])
        return REEL_FAIL(REEL_EDATA, "image %s: %zu bytes that are not a PNG file", tag, png->n);
    png->width = be32(p + 16);
    png->height = be32(p + 20);
    png->colours = colours[p[25]];
    return REEL_OK;
}

reel_err reel_track_image(struct reel_track *t, long step, const char *tag, const void *png,
                          size_t bytes)
{
    struct track_at at = { step, wall_s() };
    struct track_png pic = { .p = png, .n = bytes };
    reel_err e = REEL_OK;

    if (!t) return REEL_OK;
    REEL_TRY(png_head(&pic, tag));
    EACH_SINK(t, e, s->ops->image(s->priv, &at, tag, &pic));
    return e;
}

reel_err reel_track_videos(struct reel_track *t, long step, const char *tag, const struct reel_track_film *film, int n)
{
    struct track_at at = { step, wall_s() };
    reel_err e = REEL_OK;

    for (int i = 0; t && i < n; i++)
        if (film[i].gif && (film[i].gif_bytes < 13 || memcmp(film[i].gif, "GIF89a", 6) != 0))
            return REEL_FAIL(REEL_EDATA, "video %s: %zu bytes that are not a GIF file", tag, film[i].gif_bytes);
    EACH_SINK(t, e, s->ops->videos(s->priv, &at, tag, film, n));
    return e;
}

int reel_track_wants_gif(const struct reel_track *t)
{
    int wants = 0;

    for (int i = 0; t && i < t->n; i++) wants |= t->sink[i].ops->gif;
    return wants;
}

reel_err reel_track_close(struct reel_track *t, int exit_code)
{
    struct track_at at = { 0, wall_s() };
    reel_err e = t ? t->held : REEL_OK;

    EACH_SINK(t, e, s->ops->close(s->priv, &at, exit_code));
    for (int i = 0; t && i < t->n; i++) free(t->sink[i].priv);
    free(t);
    return e;
}
