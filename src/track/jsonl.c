/* metrics.jsonl: one JSON object a line, {"step": 3, "time": 1700000000.5, "train_loss": 0.5, ...}.
 * Pictures lie in media/ and are named by their line. */
#include "track/track_priv.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

struct jsonl {
    struct track_file f;
    struct track_buf b;
    char dir[400];
};

/* A crash may have cut the last line short: drop it, so that every line is whole. */
static reel_err drop_cut_line(struct track_file *f)
{
    off_t end = lseek(f->fd, 0, SEEK_END), keep = end;
    char c;

    while (keep > 0 && pread(f->fd, &c, 1, keep - 1) == 1 && c != '\n') keep--;
    if (keep < end && ftruncate(f->fd, keep))
        return REEL_FAIL(REEL_EIO, "%s: cannot drop its cut last line", f->path);
    return REEL_OK;
}

static reel_err jsonl_open(void *priv, const struct reel_track_opts *o, double wall_s)
{
    struct jsonl *j = priv;
    char path[512];

    (void)wall_s;
    snprintf(j->dir, sizeof j->dir, "%s", o->dir);
    snprintf(path, sizeof path, "%s/metrics.jsonl", j->dir);
    REEL_TRY(track_file_open(&j->f, path));
    return drop_cut_line(&j->f);
}

static void begin(struct jsonl *j, const struct track_at *at)
{
    j->b.n = 0;
    track_putf(&j->b, "{\"step\": %ld, \"time\": %.3f", at->step, at->wall_s);
}

static reel_err end(struct jsonl *j)
{
    track_put(&j->b, "}\n", 2);
    return track_file_append(&j->f, &j->b);
}

static void key(struct jsonl *j, const char *name)
{
    track_put(&j->b, ", ", 2);
    track_json_string(&j->b, name);
    track_put(&j->b, ": ", 2);
}

static reel_err jsonl_scalars(void *priv, const struct track_at *at, const char *const *names,
                              const double *values, int n)
{
    struct jsonl *j = priv;

    begin(j, at);
    for (int i = 0; i < n; i++) {
        const char *quote = isfinite(values[i]) ? "" : "\""; /* JSON has no word for these */

        key(j, names[i]);
        track_putf(&j->b, "%s", quote);
        track_json_number(&j->b, values[i]);
        track_putf(&j->b, "%s", quote);
    }
    return end(j);
}

/* {"step": .., "time": .., "<kind>": {"<tag>": "<value>"}} */
static reel_err line(struct jsonl *j, const struct track_at *at, const char *kind, const char *tag,
                     const char *value)
{
    begin(j, at);
    key(j, kind);
    track_put(&j->b, "{", 1);
    track_json_string(&j->b, tag);
    track_put(&j->b, ": ", 2);
    track_json_string(&j->b, value);
    track_put(&j->b, "}", 1);
    return end(j);
}

static reel_err jsonl_text(void *priv, const struct track_at *at, const char *tag, const char *text)
{
    return line(priv, at, "text", tag, text);
}

static reel_err jsonl_image(void *priv, const struct track_at *at, const char *tag,
                            const struct track_png *png)
{
    struct jsonl *j = priv;
    char slug[64], path[512];

    track_slug(slug, sizeof slug, tag);
    snprintf(path, sizeof path, "%s/media", j->dir);
    REEL_TRY(reel_mkdirs(path));
    snprintf(path, sizeof path, "%s/media/%s_%ld.png", j->dir, slug, at->step);
    REEL_TRY(reel_file_write(path, png->p, png->n));
    return line(j, at, "image", tag, path + strlen(j->dir) + 1);
}

/* {"step": .., "time": .., "videos": {"<tag>": [{"path": "..", "caption": ".."}, ..]}} */
static reel_err jsonl_videos(void *priv, const struct track_at *at, const char *tag,
                             const struct reel_track_film *film, int n)
{
    struct jsonl *j = priv;

    begin(j, at);
    key(j, "videos");
    track_put(&j->b, "{", 1);
    track_json_string(&j->b, tag);
    track_put(&j->b, ": [", 3);
    for (int i = 0; i < n; i++) {
        track_putf(&j->b, "%s{\"path\": ", i ? ", " : "");
        track_json_string(&j->b, film[i].path);
        if (film[i].caption) {
            key(j, "caption");
            track_json_string(&j->b, film[i].caption);
        }
        track_put(&j->b, "}", 1);
    }
    track_put(&j->b, "]}", 2);
    return end(j);
}

static reel_err jsonl_note(void *priv, const struct track_at *at, const char *kind, const char *json)
{
    struct jsonl *j = priv;

    begin(j, at);
    key(j, kind);
    track_put(&j->b, json, strlen(json));
    return end(j);
}

static reel_err jsonl_close(void *priv, const struct track_at *at, int exit_code)
{
    struct jsonl *j = priv;

    (void)at;
    (void)exit_code;
    track_buf_free(&j->b);
    return track_file_close(&j->f);
}

const struct track_sink_ops track_jsonl = {
    .name = "jsonl",
    .priv_size = sizeof(struct jsonl),
    .open = jsonl_open,
    .scalars = jsonl_scalars,
    .text = jsonl_text,
    .image = jsonl_image,
    .videos = jsonl_videos,
    .note = jsonl_note,
    .close = jsonl_close,
};
