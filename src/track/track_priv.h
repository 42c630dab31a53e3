#ifndef REEL_TRACK_PRIV_H
#define REEL_TRACK_PRIV_H

/* Inside track: growing buffers with their encodings, appending files, and the sinks. */

#include <stdint.h>

#include "track/track.h"

/* Bytes to be written. Running out of memory is remembered (oom) and reported by the one who
 * writes the buffer out, so that encoders have no error paths. */
struct track_buf {
    unsigned char *p;
    size_t n, cap;
    int oom;
};
void track_buf_free(struct track_buf *b);
void track_put(struct track_buf *b, const void *p, size_t n);
void track_putf(struct track_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void track_le(struct track_buf *b, uint64_t v, int bytes); /* little endian */

/* JSON text: a number in the fewest digits that read back the same; NaN, Infinity, -Infinity bare. */
void track_json_number(struct track_buf *b, double v);
void track_json_string(struct track_buf *b, const char *s);

/* Protocol buffers, the part that is needed. Zero integers are left out by pb_int (the default). */
void track_pb_varint(struct track_buf *b, uint64_t v);
void track_pb_int(struct track_buf *b, int field, int64_t v);
void track_pb_double(struct track_buf *b, int field, double v);
void track_pb_float(struct track_buf *b, int field, float v);
void track_pb_bytes(struct track_buf *b, int field, const void *p, size_t n);
void track_pb_str(struct track_buf *b, int field, const char *s);
size_t track_pb_open(struct track_buf *b,
                     int field); /* a nested message, until close(what open gave) */
void track_pb_close(struct track_buf *b, size_t at);

void track_sha256_hex(const void *p, size_t n, char hex[65]);

enum { TRACK_DIR_MOST = 360 }; /* bytes of reel_track_opts.dir: leaves room for the names below it */

/* A file that only grows, by whole records: one that does not fit on the disk is taken back. */
struct track_file {
    int fd;
    char path[512];
};
reel_err track_file_open(struct track_file *f, const char *path);
reel_err track_file_append(struct track_file *f, const struct track_buf *b);
reel_err track_file_close(struct track_file *f);
/* "a/b c" -> "a_b_c": a tag as part of a file name. */
void track_slug(char *out, size_t size, const char *tag);

/* What every record says. */
struct track_at {
    long step;
    double wall_s; /* unix time */
};

/* A PNG, or an animated GIF. */
struct track_png {
    const void *p;
    size_t n;
    int width, height, colours; /* 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA */
};

/* One format. `priv` is zeroed before open; close is called if open succeeded. All Local. */
struct track_sink_ops {
    const char *name;
    size_t priv_size;
    int gif; /* shows films as GIFs */
    reel_err (*open)(void *priv, const struct reel_track_opts *o, double wall_s);
    reel_err (*scalars)(void *priv, const struct track_at *at, const char *const *names,
                        const double *values, int n);
    reel_err (*text)(void *priv, const struct track_at *at, const char *tag, const char *text);
    reel_err (*image)(void *priv, const struct track_at *at, const char *tag,
                      const struct track_png *png);
    reel_err (*videos)(void *priv, const struct track_at *at, const char *tag,
                       const struct reel_track_film *film, int n);
    reel_err (*note)(void *priv, const struct track_at *at, const char *kind, const char *json); /* NULL: none */
    reel_err (*close)(void *priv, const struct track_at *at, int exit_code);
};
extern const struct track_sink_ops track_jsonl, track_tensorboard, track_wandb;

/* Encoders, separate from the sinks so that tests can give them fixed times and compare bytes. */
void track_tb_record(struct track_buf *out, const struct track_buf *event);
void track_tb_restart(struct track_buf *b, double wall_s, long step);
void track_tb_version(struct track_buf *b, double wall_s);
void track_tb_scalars(struct track_buf *b, const struct track_at *at, const char *const *names,
                      const double *values, int n);
void track_tb_text(struct track_buf *b, const struct track_at *at, const char *tag,
                   const char *text);
void track_tb_image(struct track_buf *b, const struct track_at *at, const char *tag,
                    const struct track_png *png);

/* The transaction log of a W&B run. `at` is the file offset, which the framing depends on. */
struct track_wb {
    struct track_buf rec, out; /* one record; its framed bytes */
    uint64_t at;
    int64_t num;
    char id[9];
    double start_s, first_s; /* unix seconds of this start, by which W&B orders the fragments of a run; of the first one */
    long step; /* of the row being gathered */
    struct track_buf row, last;
};
size_t track_wb_begin(struct track_wb *w, int field);
void track_wb_end(struct track_wb *w, size_t at); /* frames the record into w->out */
void track_wb_header(struct track_wb *w);
void track_wb_run(struct track_wb *w, const struct reel_track_opts *o, const char *host,
                  const char *group);
void track_wb_number(struct track_wb *w, const struct track_at *at, const char *name, double v);
void track_wb_row(struct track_wb *w); /* the gathered row becomes a record */
void track_wb_exit(struct track_wb *w, int exit_code, double wall_s);

#endif
