/* TensorBoard event files: TFRecord framing around Event messages. A damaged record ends the file for
 * its reader, so a resumed run begins a new file instead of appending. */
#include "track/track_priv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/file.h"

enum { EVENT_WALL_TIME = 1, EVENT_STEP = 2, EVENT_FILE_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION = 7 };
enum { SESSION_STATUS = 1, SESSION_START = 1 };
enum { SUMMARY_VALUE = 1 };
enum { VALUE_TAG = 1, VALUE_SIMPLE = 2, VALUE_IMAGE = 4, VALUE_TENSOR = 8, VALUE_METADATA = 9 };
enum { IMAGE_HEIGHT = 1, IMAGE_WIDTH = 2, IMAGE_COLORSPACE = 3, IMAGE_ENCODED = 4 };
enum { METADATA_PLUGIN = 1, PLUGIN_NAME = 1 };
enum {
    TENSOR_DTYPE = 1,
    TENSOR_SHAPE = 2,
    SHAPE_DIM = 2,
    DIM_SIZE = 1,
    TENSOR_STRING = 8,
    DT_STRING = 7
};

struct tensorboard {
    struct track_file f;
    struct track_buf event, out;
};

static uint32_t masked(const void *p, size_t n)
{
    uint32_t c = reel_crc32c(0, p, n);

    return (c >> 15 | c << 17) + 0xa282ead8u;
}

void track_tb_record(struct track_buf *out, const struct track_buf *event)
{
    size_t at = out->n;

    track_le(out, event->n, 8);
    if (!out->oom) track_le(out, masked(out->p + at, 8), 4);
    track_put(out, event->p, event->n);
    track_le(out, masked(event->p, event->n), 4);
    out->oom |= event->oom;
}

void track_tb_version(struct track_buf *b, double wall_s)
{
    track_pb_double(b, EVENT_WALL_TIME, wall_s);
    track_pb_str(b, EVENT_FILE_VERSION, "brain.Event:2");
}

/* Readers forget what earlier files say of this step and later ones. */
void track_tb_restart(struct track_buf *b, double wall_s, long step)
{
    size_t session;

    track_pb_double(b, EVENT_WALL_TIME, wall_s);
    track_pb_int(b, EVENT_STEP, step);
    session = track_pb_open(b, EVENT_SESSION);
    track_pb_int(b, SESSION_STATUS, SESSION_START);
    track_pb_close(b, session);
}

static size_t event_open(struct track_buf *b, const struct track_at *at)
{
    track_pb_double(b, EVENT_WALL_TIME, at->wall_s);
    track_pb_int(b, EVENT_STEP, at->step);
    return track_pb_open(b, EVENT_SUMMARY);
}

void track_tb_scalars(struct track_buf *b, const struct track_at *at, const char *const *names,
                      const double *values, int n)
{
    size_t summary = event_open(b, at);

    for (int i = 0; i < n; i++) {
        size_t value = track_pb_open(b, SUMMARY_VALUE);

        track_pb_str(b, VALUE_TAG, names[i]);
        track_pb_float(b, VALUE_SIMPLE, (float)values[i]);
        track_pb_close(b, value);
    }
    track_pb_close(b, summary);
}

/* A string tensor of shape [1], shown by the text page. */
void track_tb_text(struct track_buf *b, const struct track_at *at, const char *tag,
                   const char *text)
{
    size_t summary = event_open(b, at), value = track_pb_open(b, SUMMARY_VALUE), m, p;

    track_pb_str(b, VALUE_TAG, tag);
    m = track_pb_open(b, VALUE_METADATA);
    p = track_pb_open(b, METADATA_PLUGIN);
    track_pb_str(b, PLUGIN_NAME, "text");
    track_pb_close(b, p);
    track_pb_close(b, m);
    m = track_pb_open(b, VALUE_TENSOR);
    track_pb_int(b, TENSOR_DTYPE, DT_STRING);
    p = track_pb_open(b, TENSOR_SHAPE);
    size_t d = track_pb_open(b, SHAPE_DIM);
    track_pb_int(b, DIM_SIZE, 1);
    track_pb_close(b, d);
    track_pb_close(b, p);
    track_pb_str(b, TENSOR_STRING, text);
    track_pb_close(b, m);
    track_pb_close(b, value);
    track_pb_close(b, summary);
}

void track_tb_image(struct track_buf *b, const struct track_at *at, const char *tag,
                    const struct track_png *png)
{
    size_t summary = event_open(b, at), value = track_pb_open(b, SUMMARY_VALUE), image;

    track_pb_str(b, VALUE_TAG, tag);
    image = track_pb_open(b, VALUE_IMAGE);
    track_pb_int(b, IMAGE_HEIGHT, png->height);
    track_pb_int(b, IMAGE_WIDTH, png->width);
    track_pb_int(b, IMAGE_COLORSPACE, png->colours);
    track_pb_bytes(b, IMAGE_ENCODED, png->p, png->n);
    track_pb_close(b, image);
    track_pb_close(b, value);
    track_pb_close(b, summary);
}

/* t->event holds one message: it becomes one record, in one write. */
static reel_err flush(struct tensorboard *t)
{
    t->out.n = 0;
    track_tb_record(&t->out, &t->event);
    t->event.n = 0;
    return track_file_append(&t->f, &t->out);
}

#define EVENTS "events.out.tfevents."

/* Seconds for the name of a file: TensorBoard reads files in the order of their names, so each start comes after those before it, whatever
 * became of the clock. */
static reel_err after_others(const char *dir, double *seconds)
{
    char **name;
    size_t n;

    REEL_TRY(reel_list_dir(dir, &name, &n));
    for (size_t i = 0; i < n; i++) {
        double s = strncmp(name[i], EVENTS, strlen(EVENTS)) ? 0 : strtod(name[i] + strlen(EVENTS), NULL);
        if (s < 1e10 && *seconds < s + 1) *seconds = s + 1;
    }
    reel_list_free(name, n);
    return REEL_OK;
}

static reel_err tensorboard_open(void *priv, const struct reel_track_opts *o, double wall_s)
{
    struct tensorboard *t = priv;
    char dir[400], host[64] = "localhost", path[512];
    double seconds = floor(wall_s);

    snprintf(dir, sizeof dir, "%s/tensorboard", o->dir);
    REEL_TRY(reel_mkdirs(dir));
    REEL_TRY(after_others(dir, &seconds));
    gethostname(host, sizeof host - 1);
    snprintf(path, sizeof path, "%s/" EVENTS "%.0f.%s.%ld.0", dir, seconds, host, (long)getpid());
    REEL_TRY(track_file_open(&t->f, path));
    track_tb_version(&t->event, wall_s);
    REEL_TRY(flush(t));
    if (o->goes_on) return REEL_OK; /* the note of the resume says from where */
    track_tb_restart(&t->event, wall_s, 0);
    return flush(t);
}

static reel_err tensorboard_note(void *priv, const struct track_at *at, const char *kind, const char *json)
{
    struct tensorboard *t = priv;

    (void)json;
    if (strcmp(kind, "resume") != 0) return REEL_OK;
    track_tb_restart(&t->event, at->wall_s, at->step + 1);
    return flush(t);
}

static reel_err tensorboard_scalars(void *priv, const struct track_at *at, const char *const *names,
                                    const double *values, int n)
{
    struct tensorboard *t = priv;

    track_tb_scalars(&t->event, at, names, values, n);
    return flush(t);
}

/* The page renders Markdown: a fence keeps the lines of a configuration apart. */
static reel_err tensorboard_text(void *priv, const struct track_at *at, const char *tag,
                                 const char *text)
{
    struct tensorboard *t = priv;
    struct track_buf fenced = { 0 };

    track_putf(&fenced, "```\n%s%s```\n", text,
               *text && text[strlen(text) - 1] == '\n' ? "" : "\n");
    t->event.oom |= fenced.oom;
    if (!fenced.oom) track_tb_text(&t->event, at, tag, (const char *)fenced.p);
    track_buf_free(&fenced);
    return flush(t);
}

static reel_err tensorboard_image(void *priv, const struct track_at *at, const char *tag,
                                  const struct track_png *png)
{
    struct tensorboard *t = priv;

    track_tb_image(&t->event, at, tag, png);
    return flush(t);
}

static int le16(const unsigned char *p) { return p[0] | p[1] << 8; }

/* There is no type for films: an animated GIF is shown as a picture; the list names the files. */
static reel_err tensorboard_videos(void *priv, const struct track_at *at, const char *tag,
                                   const struct reel_track_film *film, int n)
{
    struct tensorboard *t = priv;
    struct track_buf list = { 0 };
    char name[256];

    for (int i = 0; i < n; i++) {
        const unsigned char *head = film[i].gif; /* width at 6, height at 8 */

        track_putf(&list, "* `%s`%s%s\n", film[i].path, film[i].caption ? " " : "",
                   film[i].caption ? film[i].caption : "");
        if (!head) continue;
        snprintf(name, sizeof name, "%s/%d", tag, i);
        track_tb_image(&t->event, at, name,
                       &(struct track_png){ head, film[i].gif_bytes, le16(head + 6), le16(head + 8), 3 });
        REEL_TRY(flush(t));
    }
    track_put(&list, "", 1);
    t->event.oom |= list.oom;
    if (!list.oom) track_tb_text(&t->event, at, tag, (const char *)list.p);
    track_buf_free(&list);
    return flush(t);
}

static reel_err tensorboard_close(void *priv, const struct track_at *at, int exit_code)
{
    struct tensorboard *t = priv;

    (void)at;
    (void)exit_code;
    track_buf_free(&t->event);
    track_buf_free(&t->out);
    return track_file_close(&t->f);
}

const struct track_sink_ops track_tensorboard = {
    .name = "tensorboard",
    .priv_size = sizeof(struct tensorboard),
    .gif = 1,
    .open = tensorboard_open,
    .scalars = tensorboard_scalars,
    .text = tensorboard_text,
    .image = tensorboard_image,
    .videos = tensorboard_videos,
    .note = tensorboard_note,
    .close = tensorboard_close,
};
