/* What one rank writes of a checkpoint: its file, and rank 0 .metadata and metadata.json. Runs in the save's thread. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/file.h"
#include "ckpt/ckpt_priv.h"

#define PUSH_BYTES ((uint64_t)32 << 20) /* the disk starts on these while the next ones are checksummed */

/* ---- one file: buffered, checksummed ---- */

struct sink { struct reel_ckpt_job *j; int fd; const char *path; char *buf; size_t used; uint64_t bytes, out, pushed; uint32_t crc; };

/* To the file. Nothing once another rank has failed. */
static reel_err emit(struct sink *s, const char *p, size_t n)
{
    if (atomic_load(&s->j->cancel)) return REEL_OK;
    REEL_TRY(reel_write(s->fd, p, n, s->path));
    s->out += n;
    atomic_fetch_add(&s->j->progress, n);
    if (s->out - s->pushed >= PUSH_BYTES) { /* a hint: fsync at the end is what counts */
        (void)!sync_file_range(s->fd, (off_t)s->pushed, (off_t)(s->out - s->pushed), SYNC_FILE_RANGE_WRITE);
        s->pushed = s->out;
    }
    return REEL_OK;
}

static reel_err flush(struct sink *s)
{
    size_t n = s->used;

    s->used = 0;
    return emit(s, s->buf, n);
}

static reel_err put(struct sink *s, const void *data, size_t n, uint32_t crc)
{
    const char *p = data;

    s->bytes += n;
    s->crc = reel_crc32_join(s->crc, crc, n);
    if (n > CKPT_SINK_BYTES - s->used) REEL_TRY(flush(s));
    for (; n > CKPT_SINK_BYTES; p += CKPT_SINK_BYTES, n -= CKPT_SINK_BYTES) REEL_TRY(emit(s, p, CKPT_SINK_BYTES));
    memcpy(s->buf + s->used, p, n);
    s->used += n;
    return REEL_OK;
}

static reel_err put_text(struct sink *s, const void *data, size_t n) { return put(s, data, n, reel_crc32(0, data, n)); }

static reel_err put_item(struct sink *s, const struct ckpt_item *it)
{
    size_t bytes = (size_t)reel_pt_numel(it->n, it->nd) * (size_t)it->type->size, head;
    uint32_t crc = reel_crc32(0, it->host, bytes);
    struct reel_zip_put rec[4];
    struct reel_pw w = { 0 };
    reel_err e;

    reel_pt_put_tensor(&w, it->type, it->n, it->nd, crc, rec);
    head = w.n;
    e = w.failed ? REEL_FAIL(REEL_ENOMEM, "%s: no memory", s->path) : put_text(s, w.p, head);
    if (!e) e = put(s, it->host, bytes, crc);
    w.n = 0;
    reel_pt_put_tail(&w, head + bytes, rec);
    if (!e) e = w.failed ? REEL_FAIL(REEL_ENOMEM, "%s: no memory", s->path) : put_text(s, w.p, w.n);
    reel_pw_free(&w);
    return e;
}

static reel_err put_all(struct reel_ckpt_job *j, struct sink *s)
{
    if (j->objects.n) REEL_TRY(put_text(s, j->objects.p, j->objects.n));
    for (int i = 0; i < j->n_item && !atomic_load(&j->cancel); i++) REEL_TRY(put_item(s, &j->item[i]));
    if (reel_fault("ckpt_write")) return REEL_FAIL(REEL_EIO, "%s: cannot write: injected fault", s->path);
    REEL_TRY(flush(s));
    if (atomic_load(&j->cancel)) return REEL_OK;
    if (fsync(s->fd) != 0) return REEL_FAIL(REEL_EIO, "%s: fsync: %s", s->path, strerror(errno));
    return REEL_OK;
}

static reel_err write_shard(struct reel_ckpt_job *j)
{
    char path[PATH_MAX + 64];
    struct sink s = { .j = j, .path = path, .buf = j->buf };
    reel_err e;

    snprintf(path, sizeof path, "%s/dcp/__%d_0.distcp", j->tmp, j->world->rank);
    s.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (s.fd < 0) return REEL_FAIL(REEL_EIO, "%s: cannot create: %s", path, strerror(errno));
    e = put_all(j, &s);
    if (close(s.fd) != 0 && !e) e = REEL_FAIL(REEL_EIO, "%s: close: %s", path, strerror(errno));
    j->file = (struct ckpt_written){ s.bytes, s.crc, 1 };
    return e;
}

/* ---- rank 0: what is known before a byte is written ---- */

static reel_err add_text(json_t *info, const char *key, const char *text, const char *what)
{
    json_t *v;

    REEL_TRY(reel_json_parse(&v, text, strlen(text), what));
    return json_object_set_new(info, key, v) ? REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for metadata.json") : REEL_OK;
}

static reel_err make_info(struct reel_ckpt_job *j)
{
    json_t *info = json_pack("{s:I}", "step", (json_int_t)j->req.step);
    reel_err e = add_text(info, "config", j->req.config_json ? j->req.config_json : "{}", "the configuration");

    if (!e && j->req.found_json) e = add_text(info, "found", j->req.found_json, "what the run found");
    free(j->info);
    j->info = e ? NULL : json_dumps(info, JSON_INDENT(2));
    json_decref(info);
    if (e) return e;
    return j->info ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for metadata.json");
}

static reel_err make_texts(struct reel_ckpt_job *j)
{
    j->objects.n = j->meta.n = 0;
    j->objects.failed = j->meta.failed = 0;
    for (int i = 0; i < j->req.set.n_o; i++) ckpt_put_val(&j->objects, &j->req.set.o[i].v);
    if (j->objects.failed) return REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for the objects");
    REEL_TRY(ckpt_plan_metadata(&j->plan, &j->req.set, &j->meta));
    return make_info(j);
}

static reel_err write_text(const struct reel_ckpt_job *j, const char *name, const char *text, size_t n, struct ckpt_written *w)
{
    char path[PATH_MAX + 64];

    snprintf(path, sizeof path, "%s/%s", j->tmp, name);
    *w = (struct ckpt_written){ n, reel_crc32(0, text, n), 1 };
    return reel_file_write(path, text, n);
}

reel_err ckpt_write(void *ctx)
{
    struct reel_ckpt_job *j = ctx;
    int root = j->world->rank == 0;

    j->file = (struct ckpt_written){ 0 };
    if (root) REEL_TRY(make_texts(j));
    if (j->n_item || (root && j->objects.n)) REEL_TRY(write_shard(j));
    if (!root || atomic_load(&j->cancel)) return REEL_OK;
    REEL_TRY(write_text(j, "metadata.json", j->info, strlen(j->info), &j->text[0]));
    return write_text(j, "dcp/.metadata", j->meta.p, j->meta.n, &j->text[1]);
}
