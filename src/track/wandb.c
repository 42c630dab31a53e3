/* W&B offline runs: a transaction log that `wandb sync` sends. Records (protocol buffers) in the
 * framing of a LevelDB log; the rows of one step are gathered, because steps must increase. */
#define _GNU_SOURCE
#include "track/track_priv.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/file.h"

enum { REC_NUM = 1, REC_HISTORY = 2, REC_SUMMARY = 3, REC_FILES = 6, REC_RUN = 17 };
enum { REC_EXIT = 18, REC_HEADER = 21, REC_INFO = 200, INFO_STREAM = 1 };
enum { HEADER_VERSION = 1, VERSION_PRODUCER = 1, VERSION_MIN_CONSUMER = 2 };
enum { RUN_ID = 1, RUN_ENTITY = 2, RUN_PROJECT = 3, RUN_CONFIG = 4, RUN_GROUP = 6, RUN_NAME = 8 };
enum { RUN_HOST = 13, RUN_START = 17, RUN_RESUMED = 18, TIME_SECONDS = 1, TIME_NANOS = 2 };
enum { CONFIG_UPDATE = 1, ITEM_KEY = 1, ITEM_NESTED_KEY = 2, ITEM_JSON = 16 };
enum { HISTORY_ITEM = 1, HISTORY_STEP = 2, STEP_NUM = 1 };
enum { FILES_FILE = 1, FILE_PATH = 1, FILE_TYPE = 3, TYPE_OTHER = 0, TYPE_MEDIA = 2 };
enum { EXIT_CODE = 1, EXIT_RUNTIME = 2 };
enum {
    WB_BLOCK = 32768,
    CHUNK_HEAD = 7,
    CHUNK_WHOLE = 1,
    CHUNK_FIRST = 2,
    CHUNK_MIDDLE = 3,
    CHUNK_LAST = 4
};

struct wandb {
    struct track_file f;
    struct track_wb w;
    char dir[480]; /* .../wandb/offline-run-* */
};

static void chunk(struct track_wb *w, int type, const unsigned char *p, size_t n)
{
    unsigned char t = (unsigned char)type;
    uint32_t crc = reel_crc32(reel_crc32(0, &t, 1), p, n);

    track_le(&w->out, crc, 4);
    track_le(&w->out, n, 2);
    track_put(&w->out, &t, 1);
    track_put(&w->out, p, n);
    w->at += CHUNK_HEAD + n;
}

/* A chunk never crosses a block; fewer than 7 bytes at a block's end are zeros. */
static void frame(struct track_wb *w)
{
    static const unsigned char zeros[CHUNK_HEAD];
    const unsigned char *p = w->rec.p;
    size_t rest = w->rec.n;
    int first = 1, last;

    w->out.oom |= w->rec.oom;
    if (w->out.oom) return;
    do {
        size_t left = WB_BLOCK - (size_t)(w->at % WB_BLOCK), n;

        if (left < CHUNK_HEAD) {
            track_put(&w->out, zeros, left);
            w->at += left;
            left = WB_BLOCK;
        }
        n = rest < left - CHUNK_HEAD ? rest : left - CHUNK_HEAD;
        last = n == rest;
        chunk(w, first ? last ? CHUNK_WHOLE : CHUNK_FIRST : last ? CHUNK_LAST : CHUNK_MIDDLE, p, n);
        p += n;
        rest -= n;
        first = 0;
    } while (!last);
}

size_t track_wb_begin(struct track_wb *w, int field)
{
    w->rec.n = 0;
    track_pb_int(&w->rec, REC_NUM, ++w->num);
    return track_pb_open(&w->rec, field);
}

void track_wb_end(struct track_wb *w, size_t at)
{
    size_t info;

    track_pb_close(&w->rec, at);
    info = track_pb_open(&w->rec, REC_INFO);
    track_pb_str(&w->rec, INFO_STREAM, w->id);
    track_pb_close(&w->rec, info);
    frame(w);
}

void track_wb_header(struct track_wb *w)
{
    static const unsigned char magic[] = { ':', 'W', '&', 'B', 0xe1, 0xbe, 0 };
    size_t rec, version;

    track_put(&w->out, magic, sizeof magic);
    w->at = sizeof magic;
    rec = track_wb_begin(w, REC_HEADER);
    version = track_pb_open(&w->rec, HEADER_VERSION);
    track_pb_str(&w->rec, VERSION_PRODUCER, "0.31.0"); /* the version whose format this is */
    track_pb_str(&w->rec, VERSION_MIN_CONSUMER, "0.70.0");
    track_pb_close(&w->rec, version);
    track_wb_end(w, rec);
}

static void opt_str(struct track_buf *b, int field, const char *s)
{
    if (s && *s) track_pb_str(b, field, s);
}

static void config_item(struct track_buf *b, const char *key, const char *json)
{
    size_t at = track_pb_open(b, CONFIG_UPDATE);

    track_pb_str(b, ITEM_KEY, key);
    track_pb_str(b, ITEM_JSON, json);
    track_pb_close(b, at);
}

/* One item per top level key of a JSON object. */
static void config_items(struct track_buf *b, const char *json)
{
    json_t *all = json ? json_loads(json, 0, NULL) : NULL, *value;
    const char *key;

    json_object_foreach(all, key, value)
    {
        char *s = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));

        if (!s) {
            b->oom = 1;
            break;
        }
        config_item(b, key, s);
        free(s);
    }
    json_decref(all);
}

void track_wb_run(struct track_wb *w, const struct reel_track_opts *o, const char *host,
                  const char *group)
{
    size_t rec = track_wb_begin(w, REC_RUN), sub;

    track_pb_str(&w->rec, RUN_ID, w->id);
    opt_str(&w->rec, RUN_ENTITY, o->entity);
    track_pb_str(&w->rec, RUN_PROJECT, o->project && *o->project ? o->project : "reel");
    sub = track_pb_open(&w->rec, RUN_CONFIG);
    config_items(&w->rec, o->config_json);
    track_pb_close(&w->rec, sub);
    opt_str(&w->rec, RUN_GROUP, group);
    opt_str(&w->rec, RUN_NAME, o->run_name);
    opt_str(&w->rec, RUN_HOST, host);
    sub = track_pb_open(&w->rec, RUN_START);
    track_pb_int(&w->rec, TIME_SECONDS, (int64_t)w->start_s);
    track_pb_varint(&w->rec, TIME_NANOS << 3); /* written even when zero */
    track_pb_varint(&w->rec, (uint64_t)((w->start_s - floor(w->start_s)) * 1e9));
    track_pb_close(&w->rec, sub);
    if (o->goes_on) track_pb_int(&w->rec, RUN_RESUMED, 1);
    track_wb_end(w, rec);
}

/* An item of the row: a path of one or two keys and a JSON value (b, text). */
static void item(struct track_wb *w, const char *key, const char *sub, const struct track_buf *json)
{
    size_t at = track_pb_open(&w->row, HISTORY_ITEM);

    track_pb_str(&w->row, ITEM_NESTED_KEY, key);
    if (sub) track_pb_str(&w->row, ITEM_NESTED_KEY, sub);
    track_pb_bytes(&w->row, ITEM_JSON, json->p, json->n);
    track_pb_close(&w->row, at);
    w->row.oom |= json->oom;
}

static void item_number(struct track_wb *w, const char *key, double v)
{
    struct track_buf *b = &w->rec; /* free between records */

    b->n = 0;
    track_json_number(b, v);
    item(w, key, NULL, b);
}

static void item_int(struct track_wb *w, const char *key, const char *sub, long v)
{
    w->rec.n = 0;
    track_putf(&w->rec, "%ld", v);
    item(w, key, sub, &w->rec);
}

static void item_str(struct track_wb *w, const char *key, const char *sub, const char *v)
{
    w->rec.n = 0;
    track_json_string(&w->rec, v);
    item(w, key, sub, &w->rec);
}

/* A record of a step later than the gathered row's sends that row on its way. */
static void at_step(struct track_wb *w, const struct track_at *at)
{
    if (w->row.n && at->step > w->step) track_wb_row(w);
    if (w->row.n) return;
    w->step = at->step;
    w->last.n = 0;
    item_number(w, "_timestamp", at->wall_s);
    item_number(w, "_runtime", at->wall_s - w->first_s);
    /* kept apart until the row is sent, so that they stand behind the measured values */
    track_put(&w->last, w->row.p, w->row.n);
    w->row.n = 0;
}

void track_wb_number(struct track_wb *w, const struct track_at *at, const char *name, double v)
{
    at_step(w, at);
    item_number(w, name, v);
}

void track_wb_row(struct track_wb *w)
{
    size_t rec, step;

    if (!w->row.n) return;
    track_put(&w->row, w->last.p, w->last.n);
    item_int(w, "_step", NULL, w->step);
    rec = track_wb_begin(w, REC_HISTORY);
    track_put(&w->rec, w->row.p, w->row.n);
    step = track_pb_open(&w->rec, HISTORY_STEP);
    track_pb_int(&w->rec, STEP_NUM, w->step);
    track_pb_close(&w->rec, step);
    track_wb_end(w, rec);
    w->out.oom |= w->row.oom | w->last.oom;
    w->last.n = 0;
    track_put(&w->last, w->row.p, w->row.n); /* the newest row is also the summary */
    w->row.n = 0;
}

void track_wb_exit(struct track_wb *w, int exit_code, double wall_s)
{
    size_t rec;

    track_wb_row(w);
    if (w->last.n) { /* items of history and summary have one shape */
        rec = track_wb_begin(w, REC_SUMMARY);
        track_put(&w->rec, w->last.p, w->last.n);
        track_wb_end(w, rec);
    }
    rec = track_wb_begin(w, REC_EXIT);
    track_pb_int(&w->rec, EXIT_CODE, exit_code);
    track_pb_int(&w->rec, EXIT_RUNTIME, (int64_t)(wall_s - w->first_s));
    track_wb_end(w, rec);
}

static reel_err flush(struct wandb *d)
{
    reel_err e = d->w.out.n || d->w.out.oom ? track_file_append(&d->f, &d->w.out) : REEL_OK;

    d->w.out.n = 0;
    return e;
}

#define ID_CHARS "abcdefghijklmnopqrstuvwxyz0123456789"
static reel_err new_id(char id[9])
{
    unsigned char r[8];

    if (getrandom(r, sizeof r, 0) != (ssize_t)sizeof r)
        return REEL_FAIL(REEL_EIO, "no random bytes for a run id: %s", strerror(errno));
    for (int i = 0; i < 8; i++) id[i] = ID_CHARS[r[i] % 36];
    id[8] = 0;
    return REEL_OK;
}

/* What the first start of a run wrote: its id and when it began. */
static int parse_id(const char *text, char id[9], double *first_s)
{
    char *end;

    if (strspn(text, ID_CHARS) != 8 || text[8] != ' ') return 0;
    *first_s = strtod(text + 9, &end);
    memcpy(id, text, 8);
    id[8] = 0;
    return end > text + 9 && *end == '\n';
}

/* A run that goes on has the id of its first start, so that W&B takes its starts for fragments of one run. */
static reel_err run_id(struct wandb *d, const struct reel_track_opts *o, double wall_s)
{
    char path[520], line[64], *text = NULL;
    size_t n = 0;
    int known;

    snprintf(path, sizeof path, "%s/wandb", o->dir);
    REEL_TRY(reel_mkdirs(path));
    snprintf(path, sizeof path, "%s/wandb/id", o->dir);
    if (o->goes_on && reel_is_file(path)) REEL_TRY(reel_file_read(path, &text, &n));
    known = text && parse_id(text, d->w.id, &d->w.first_s);
    free(text);
    if (known) return REEL_OK;
    REEL_TRY(new_id(d->w.id));
    d->w.first_s = wall_s;
    return reel_file_write(path, line, (size_t)snprintf(line, sizeof line, "%s %.3f\n", d->w.id, wall_s));
}

#define STAMP "%Y%m%d_%H%M%S"
#define OFFLINE "offline-run-"

/* Time of the newest start in `dir`, as its name says it. */
static reel_err newest_stamp(const char *dir, char stamp[16])
{
    char **name;
    size_t n;

    *stamp = 0;
    REEL_TRY(reel_list_dir(dir, &name, &n));
    for (size_t i = 0; i < n; i++) /* sorted */
        if (!strncmp(name[i], OFFLINE, strlen(OFFLINE))) snprintf(stamp, 16, "%.15s", name[i] + strlen(OFFLINE));
    reel_list_free(name, n);
    return REEL_OK;
}

/* A folder of its own for each start. W&B orders them by the time in their names, local and in seconds: each comes after those before it,
 * whatever became of the clock. */
static reel_err run_dir(struct wandb *d, const struct reel_track_opts *o, double wall_s)
{
    time_t when = (time_t)wall_s, last_s = -1;
    char top[TRACK_DIR_MOST + 16], last[16], stamp[32];
    struct tm tm = { .tm_isdst = -1 };

    snprintf(top, sizeof top, "%s/wandb", o->dir);
    REEL_TRY(newest_stamp(top, last));
    if (strptime(last, STAMP, &tm)) last_s = mktime(&tm);
    if (last_s > when) when = last_s;
    do strftime(stamp, sizeof stamp, STAMP, localtime_r(&when, &tm));
    while (last_s >= 0 && strcmp(stamp, last) <= 0 && ++when);
    d->w.start_s = fmax(wall_s, (double)when);
    snprintf(d->dir, sizeof d->dir, "%s/" OFFLINE "%s-%s", top, stamp, d->w.id);
    return mkdir(d->dir, 0777) == 0 ? REEL_OK : REEL_FAIL(REEL_EIO, "%s: cannot make: %s", d->dir, strerror(errno));
}

static reel_err wandb_open(void *priv, const struct reel_track_opts *o, double wall_s)
{
    struct wandb *d = priv;
    char host[64] = "localhost", path[520];

    REEL_TRY(run_id(d, o, wall_s));
    REEL_TRY(run_dir(d, o, wall_s));
    snprintf(path, sizeof path, "%s/files", d->dir);
    REEL_TRY(reel_mkdirs(path));
    snprintf(path, sizeof path, "%s/run-%s.wandb", d->dir, d->w.id);
    REEL_TRY(track_file_open(&d->f, path));
    gethostname(host, sizeof host - 1);
    track_wb_header(&d->w);
    track_wb_run(&d->w, o, host, o->run_name); /* runs of one name, e.g. from other seeds, share a group */
    return flush(d);
}

static reel_err wandb_scalars(void *priv, const struct track_at *at, const char *const *names,
                              const double *values, int n)
{
    struct wandb *d = priv;

    for (int i = 0; i < n; i++) track_wb_number(&d->w, at, names[i], values[i]);
    return flush(d);
}

/* A file below files/ belongs to the run. */
static void files_record(struct wandb *d, const char *rel, int type)
{
    size_t rec = track_wb_begin(&d->w, REC_FILES), file = track_pb_open(&d->w.rec, FILES_FILE);

    track_pb_str(&d->w.rec, FILE_PATH, rel);
    track_pb_int(&d->w.rec, FILE_TYPE, type);
    track_pb_close(&d->w.rec, file);
    track_wb_end(&d->w, rec);
}

static reel_err wandb_text(void *priv, const struct track_at *at, const char *tag, const char *text)
{
    struct wandb *d = priv;
    char slug[64], path[600];

    (void)at;
    track_slug(slug, sizeof slug, tag);
    snprintf(path, sizeof path, "%s/files/%s", d->dir, slug);
    REEL_TRY(reel_file_write(path, text, strlen(text)));
    files_record(d, slug, TYPE_OTHER);
    return flush(d);
}

struct stored {
    char hex[65], rel[160]; /* sha256; path below files/ */
    const char *ext;
    size_t n;
};

/* Store a file of the run and say so; the row then refers to it. */
static reel_err store(struct wandb *d, const struct track_at *at, const char *tag, const char *kind,
                      const char *ext, const void *p, size_t n, struct stored *m)
{
    char slug[64], path[700];

    m->ext = ext;
    m->n = n;
    track_sha256_hex(p, n, m->hex);
    track_slug(slug, sizeof slug, tag);
    snprintf(path, sizeof path, "%s/files/media/%ss", d->dir, kind);
    REEL_TRY(reel_mkdirs(path));
    snprintf(m->rel, sizeof m->rel, "media/%ss/%s_%ld_%.20s.%s", kind, slug, at->step, m->hex, ext);
    snprintf(path, sizeof path, "%s/files/%s", d->dir, m->rel);
    REEL_TRY(reel_file_write(path, p, n));
    at_step(&d->w, at);
    files_record(d, m->rel, TYPE_MEDIA);
    return REEL_OK;
}

static reel_err wandb_image(void *priv, const struct track_at *at, const char *tag,
                            const struct track_png *png)
{
    struct wandb *d = priv;
    struct stored m;

    REEL_TRY(store(d, at, tag, "image", "png", png->p, png->n, &m));
    item_str(&d->w, tag, "_type", "image-file");
    item_str(&d->w, tag, "sha256", m.hex);
    item_int(&d->w, tag, "size", (long)m.n);
    item_str(&d->w, tag, "path", m.rel);
    item_str(&d->w, tag, "format", m.ext);
    item_int(&d->w, tag, "width", png->width);
    item_int(&d->w, tag, "height", png->height);
    return flush(d);
}

static void json_member(struct track_buf *b, const char *key, const char *value)
{
    track_putf(b, ", \"%s\": ", key);
    track_json_string(b, value);
}

static reel_err store_film(struct wandb *d, const struct track_at *at, const char *tag,
                           const struct reel_track_film *film, struct track_buf *list)
{
    const char *dot = strrchr(film->path, '.');
    struct stored m;
    char *data;
    size_t n;
    reel_err e;

    REEL_TRY(reel_file_read(film->path, &data, &n));
    e = store(d, at, tag, "video", dot && !strchr(dot, '/') ? dot + 1 : "mp4", data, n, &m);
    free(data);
    REEL_TRY(e);
    track_putf(list, "%s{\"_type\": \"video-file\", \"size\": %zu", list->n ? ", " : "[", n);
    json_member(list, "sha256", m.hex);
    json_member(list, "path", m.rel);
    json_member(list, "format", m.ext);
    if (film->caption) json_member(list, "caption", film->caption);
    track_put(list, "}", 1);
    return REEL_OK;
}

/* The names of the W&B client's Video.seq_to_json. */
static reel_err wandb_videos(void *priv, const struct track_at *at, const char *tag,
                             const struct reel_track_film *film, int n)
{
    struct wandb *d = priv;
    struct track_buf list = { 0 }, captions = { 0 };
    reel_err e = REEL_OK;

    for (int i = 0; i < n && !e; i++) {
        track_put(&captions, i ? ", " : "[", i ? 2 : 1);
        track_json_string(&captions, film[i].caption ? film[i].caption : "");
        e = store_film(d, at, tag, &film[i], &list);
    }
    track_put(&captions, "]", 1);
    track_put(&list, "]", 1);
    if (!e && n > 0) {
        item_str(&d->w, tag, "_type", "videos");
        item_int(&d->w, tag, "count", n);
        item(&d->w, tag, "videos", &list);
        item(&d->w, tag, "captions", &captions);
        e = flush(d);
    }
    track_buf_free(&list);
    track_buf_free(&captions);
    return e;
}

static reel_err wandb_close(void *priv, const struct track_at *at, int exit_code)
{
    struct wandb *d = priv;
    reel_err e, c;

    track_wb_exit(&d->w, exit_code, at->wall_s);
    e = flush(d);
    track_buf_free(&d->w.rec);
    track_buf_free(&d->w.out);
    track_buf_free(&d->w.row);
    track_buf_free(&d->w.last);
    c = track_file_close(&d->f);
    return e ? e : c;
}

const struct track_sink_ops track_wandb = {
    .name = "wandb",
    .priv_size = sizeof(struct wandb),
    .open = wandb_open,
    .scalars = wandb_scalars,
    .text = wandb_text,
    .image = wandb_image,
    .videos = wandb_videos,
    .close = wandb_close,
};
