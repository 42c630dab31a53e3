/* Saving: plan, write in a thread, commit on the main thread. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/file.h"
#include "base/json.h"
#include "ckpt/ckpt_priv.h"

#define SINK_BYTES ((size_t)1 << 20)
#define PUSH_BYTES ((uint64_t)32 << 20) /* the disk starts on these while the next ones are checksummed */

struct written { uint64_t bytes; uint32_t crc, there; };

struct item { const struct reel_pt_type *type; int nd; int64_t n[REEL_MAXDIM]; const char *host; };

struct reel_ckpt_job {
    struct reel_comm *world;
    char tmp[PATH_MAX], final[PATH_MAX], output[PATH_MAX];
    int keep;
    /* what the thread writes */
    struct item *item;
    int n_item;
    struct reel_pw objects, meta; /* rank 0: archives of the objects; .metadata */
    char *info;                   /* rank 0: metadata.json */
    size_t info_bytes;
    /* and what it leaves */
    struct written file;
    reel_err err;
    struct reel_errrec rec;
    pthread_t thread;
    int started;
    atomic_int done;
};

/* ---- one file: buffered, checksummed ---- */

struct sink { int fd; const char *path; char *buf; size_t used; uint64_t bytes, out, pushed; uint32_t crc; };

/* To the file; the checksum warms the cache for the write. */
static reel_err emit(struct sink *s, const char *p, size_t n)
{
    s->crc = reel_crc32c(s->crc, p, n);
    REEL_TRY(reel_write(s->fd, p, n, s->path));
    s->out += n;
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

static reel_err put(struct sink *s, const void *data, size_t n)
{
    const char *p = data;

    s->bytes += n;
    if (n > SINK_BYTES - s->used) REEL_TRY(flush(s));
    for (; n > SINK_BYTES; p += SINK_BYTES, n -= SINK_BYTES) REEL_TRY(emit(s, p, SINK_BYTES));
    memcpy(s->buf + s->used, p, n);
    s->used += n;
    return REEL_OK;
}

static reel_err put_item(struct sink *s, const struct item *it)
{
    size_t bytes = (size_t)reel_pt_numel(it->n, it->nd) * (size_t)it->type->size, head;
    struct reel_zip_put rec[4];
    struct reel_pw w = { 0 };
    reel_err e;

    reel_pt_put_tensor(&w, it->type, it->n, it->nd, reel_crc32(0, it->host, bytes), rec);
    head = w.n;
    e = w.failed ? REEL_FAIL(REEL_ENOMEM, "%s: no memory", s->path) : put(s, w.p, head);
    if (!e) e = put(s, it->host, bytes);
    w.n = 0;
    reel_pt_put_tail(&w, head + bytes, rec);
    if (!e) e = w.failed ? REEL_FAIL(REEL_ENOMEM, "%s: no memory", s->path) : put(s, w.p, w.n);
    reel_pw_free(&w);
    return e;
}

static reel_err put_all(struct reel_ckpt_job *j, struct sink *s)
{
    if (j->objects.n) REEL_TRY(put(s, j->objects.p, j->objects.n));
    for (int i = 0; i < j->n_item; i++) REEL_TRY(put_item(s, &j->item[i]));
    if (reel_fault("ckpt_write")) return REEL_FAIL(REEL_EIO, "%s: cannot write: injected fault", s->path);
    REEL_TRY(flush(s));
    if (fsync(s->fd) != 0) return REEL_FAIL(REEL_EIO, "%s: fsync: %s", s->path, strerror(errno));
    return REEL_OK;
}

static reel_err write_shard(struct reel_ckpt_job *j)
{
    char path[PATH_MAX + 64];
    struct sink s = { .path = path, .buf = malloc(SINK_BYTES) };
    reel_err e;

    snprintf(path, sizeof path, "%s/dcp/__%d_0.distcp", j->tmp, j->world->rank);
    if (!s.buf) return REEL_FAIL(REEL_ENOMEM, "%s: no memory", path);
    s.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (s.fd < 0) {
        free(s.buf);
        return REEL_FAIL(REEL_EIO, "%s: cannot create: %s", path, strerror(errno));
    }
    e = put_all(j, &s);
    if (close(s.fd) != 0 && !e) e = REEL_FAIL(REEL_EIO, "%s: close: %s", path, strerror(errno));
    free(s.buf);
    j->file = (struct written){ s.bytes, s.crc, 1 };
    return e;
}

static reel_err write_mine(struct reel_ckpt_job *j)
{
    char path[PATH_MAX + 64];

    if (j->n_item || j->objects.n) REEL_TRY(write_shard(j));
    if (j->world->rank != 0) return REEL_OK;
    snprintf(path, sizeof path, "%s/metadata.json", j->tmp);
    REEL_TRY(reel_file_write(path, j->info, j->info_bytes));
    snprintf(path, sizeof path, "%s/dcp/.metadata", j->tmp);
    return reel_file_write(path, j->meta.p, j->meta.n);
}

static void *writer(void *arg)
{
    struct reel_ckpt_job *j = arg;

    reel_err_clear();
    j->err = write_mine(j);
    j->rec = *reel_errrec();
    atomic_store(&j->done, 1);
    return NULL;
}

/* ---- begin ---- */

static int is_leftover(const char *name)
{
    size_t digits;

    if (strncmp(name, "checkpoint-", 11) != 0) return 0;
    digits = strspn(name + 11, "0123456789");
    return digits && (strcmp(name + 11 + digits, ".tmp") == 0 || strcmp(name + 11 + digits, ".old.tmp") == 0);
}

static reel_err make_folder(const struct reel_ckpt_job *j)
{
    char dcp[PATH_MAX + 8], **names = NULL;
    size_t n = 0, i;

    REEL_TRY(reel_mkdirs(j->output));
    REEL_TRY(reel_list_dir(j->output, &names, &n)); /* what a killed run left behind */
    for (i = 0; i < n; i++) {
        char path[PATH_MAX];
        if (is_leftover(names[i]) && !reel_join(path, sizeof path, j->output, names[i])) (void)!reel_rmtree(path);
    }
    reel_list_free(names, n);
    snprintf(dcp, sizeof dcp, "%s/dcp", j->tmp);
    return reel_mkdirs(dcp);
}

static reel_err make_info(struct reel_ckpt_job *j, const struct reel_ckpt_req *q)
{
    json_t *config = json_object(), *info;

    if (q->config_json) {
        json_decref(config);
        REEL_TRY(reel_json_parse(&config, q->config_json, strlen(q->config_json), "the configuration"));
    }
    info = json_pack("{s:I, s:o}", "step", (json_int_t)q->step, "config", config);
    j->info = info ? json_dumps(info, JSON_INDENT(2)) : NULL;
    json_decref(info);
    if (!j->info) return REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for metadata.json");
    j->info_bytes = strlen(j->info);
    return REEL_OK;
}

static reel_err take_items(struct reel_ckpt_job *j, const struct reel_ckpt_set *set, const struct ckpt_plan *p)
{
    j->item = calloc((size_t)set->n_t + 1, sizeof *j->item);
    if (!j->item) return REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for the list of tensors");
    for (int i = 0; i < set->n_t; i++) {
        const struct reel_ckpt_tensor *t = &set->t[i];
        struct ckpt_part part = { t->row0, t->rows, t->cols ? t->col0 : 0, t->cols ? t->cols : t->nd > 1 ? t->n[1] : 0 };
        int64_t off[REEL_MAXDIM];
        struct item *it = &j->item[j->n_item];
        if (!p->own[(size_t)j->world->rank * (size_t)set->n_t + (size_t)i]) continue;
        *it = (struct item){ .type = reel_pt_type_of(t->dt), .nd = t->nd, .host = t->host };
        ckpt_chunk(t, &part, off, it->n);
        if (reel_pt_numel(it->n, it->nd) >= ((int64_t)1 << 32) / it->type->size)
            return REEL_FAIL(REEL_ECONFIG, "checkpoint: %s: a part of 4 GiB or more: shard it over more ranks", t->key);
        j->n_item++;
    }
    return REEL_OK;
}

/* Rank 0's share besides its shard: objects, .metadata, metadata.json, the folder. */
static reel_err prepare_root(struct reel_ckpt_job *j, const struct reel_ckpt_req *q, const struct ckpt_plan *p)
{
    for (int i = 0; i < q->set.n_o; i++) ckpt_put_val(&j->objects, &q->set.o[i].v);
    if (j->objects.failed) return REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for the objects");
    REEL_TRY(ckpt_plan_metadata(p, &q->set, &j->meta));
    REEL_TRY(make_info(j, q));
    return make_folder(j);
}

static reel_err prepare(struct reel_ckpt_job *j, const struct reel_ckpt_req *q)
{
    struct ckpt_plan p;
    reel_err e;

    REEL_TRY(ckpt_plan_open(&p, &q->set, j->world));
    e = take_items(j, &q->set, &p);
    if (!e && j->world->rank == 0) e = prepare_root(j, q, &p);
    ckpt_plan_close(&p);
    return reel_agree(j->world, e);
}

static reel_err name_folders(struct reel_ckpt_job *j, const struct reel_ckpt_req *q)
{
    j->keep = q->keep;
    if (snprintf(j->output, sizeof j->output, "%s", q->output_dir) >= PATH_MAX - 64)
        return REEL_FAIL(REEL_ECONFIG, "%s: path too long", q->output_dir);
    snprintf(j->final, sizeof j->final, "%.*s/checkpoint-%ld", PATH_MAX - 64, q->output_dir, q->step);
    snprintf(j->tmp, sizeof j->tmp, "%.*s/checkpoint-%ld.tmp", PATH_MAX - 64, q->output_dir, q->step);
    return REEL_OK;
}

static void job_free(struct reel_ckpt_job *j)
{
    reel_pw_free(&j->objects);
    reel_pw_free(&j->meta);
    free(j->info);
    free(j->item);
    free(j);
}

reel_err reel_ckpt_begin(struct reel_ckpt_job **job, const struct reel_ckpt_req *q, struct reel_comm *world)
{
    struct reel_ckpt_job *j = calloc(1, sizeof *j);
    reel_err e = j ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory");

    *job = NULL;
    e = reel_agree(world, e);
    if (e) return free(j), e;
    j->world = world;
    e = name_folders(j, q); /* symmetric */
    if (!e) e = prepare(j, q);
    if (e) return job_free(j), e;
    j->started = pthread_create(&j->thread, NULL, writer, j) == 0;
    if (!j->started) writer(j); /* no thread to be had: write now */
    *job = j;
    return REEL_OK;
}

/* ---- commit: rank 0 ---- */

static reel_err hash_file(const char *dir, const char *name, struct written *w)
{
    char path[PATH_MAX + 64], *text;
    size_t n;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    REEL_TRY(reel_file_read(path, &text, &n));
    *w = (struct written){ n, reel_crc32c(0, text, n), 1 };
    free(text);
    return REEL_OK;
}

static int add_file(json_t *files, const char *name, const struct written *w)
{
    char crc[16];

    snprintf(crc, sizeof crc, "%08x", w->crc);
    return json_object_set_new(files, name, json_pack("{s:I, s:s}", "size", (json_int_t)w->bytes, "crc32c", crc));
}

static reel_err write_marker(const struct reel_ckpt_job *j, const struct written *all)
{
    json_t *files = json_object(), *top = json_pack("{s:i, s:o}", "version", 1, "files", files);
    struct written w;
    char name[64], path[PATH_MAX + 64], *text;
    int bad = 0;
    reel_err e;

    e = hash_file(j->tmp, "metadata.json", &w);
    if (!e) bad |= add_file(files, "metadata.json", &w), e = hash_file(j->tmp, "dcp/.metadata", &w);
    if (!e) bad |= add_file(files, "dcp/.metadata", &w);
    for (int r = 0; r < j->world->size; r++) {
        if (!all[r].there) continue;
        snprintf(name, sizeof name, "dcp/__%d_0.distcp", r);
        bad |= add_file(files, name, &all[r]);
    }
    text = json_dumps(top, JSON_INDENT(2));
    json_decref(top);
    if (!e && (bad || !text)) e = REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for the commit marker");
    snprintf(path, sizeof path, "%s/" CKPT_MARKER, j->tmp);
    if (!e) e = reel_file_write(path, text, strlen(text));
    free(text);
    return e;
}

/* The new folder under its name; one that stood there (the same step, saved again) goes away whole. */
static reel_err publish(const struct reel_ckpt_job *j)
{
    if (!reel_is_dir(j->final)) {
        if (rename(j->tmp, j->final) == 0) return reel_fsync_dir(j->output);
        return REEL_FAIL(REEL_EIO, "%s: cannot rename to %s: %s", j->tmp, j->final, strerror(errno));
    }
    if (renameat2(AT_FDCWD, j->tmp, AT_FDCWD, j->final, RENAME_EXCHANGE) != 0) {
        char old[PATH_MAX + 16]; /* a file system that cannot exchange */
        snprintf(old, sizeof old, "%s.old.tmp", j->final);
        if (rename(j->final, old) != 0 || rename(j->tmp, j->final) != 0)
            return REEL_FAIL(REEL_EIO, "%s: cannot replace: %s", j->final, strerror(errno));
        REEL_TRY(reel_fsync_dir(j->output));
        return reel_rmtree(old);
    }
    REEL_TRY(reel_fsync_dir(j->output));
    return reel_rmtree(j->tmp);
}

/* All but the newest `keep` complete ones go; first under a name that no resume looks at. */
static reel_err prune(const struct reel_ckpt_job *j)
{
    char path[PATH_MAX], gone[PATH_MAX + 8];
    long *step;
    int n, kept = 0;
    reel_err e = REEL_OK;

    if (j->keep <= 0) return REEL_OK;
    REEL_TRY(ckpt_list(j->output, &step, &n));
    for (int i = n - 1; i >= 0 && !e; i--) {
        snprintf(path, sizeof path, "%.*s/checkpoint-%ld", PATH_MAX - 64, j->output, step[i]);
        if (kept < j->keep) {
            kept += ckpt_complete(path) == REEL_OK;
            reel_err_clear();
            continue;
        }
        snprintf(gone, sizeof gone, "%s.tmp", path);
        if (rename(path, gone) != 0) e = REEL_FAIL(REEL_EIO, "%s: cannot remove: %s", path, strerror(errno));
        else e = reel_rmtree(gone);
    }
    free(step);
    return e;
}

static reel_err commit(const struct reel_ckpt_job *j, const struct written *all)
{
    char dcp[PATH_MAX + 8];

    REEL_TRY(write_marker(j, all));
    if (reel_fault("ckpt_commit")) return REEL_FAIL(REEL_EIO, "%s: cannot commit: injected fault", j->tmp);
    snprintf(dcp, sizeof dcp, "%s/dcp", j->tmp);
    REEL_TRY(reel_fsync_dir(dcp));
    REEL_TRY(reel_fsync_dir(j->tmp));
    REEL_TRY(publish(j));
    if (prune(j)) { /* the new checkpoint is safe: disk space is not worth a stop */
        fprintf(stderr, "reel: warning: %s\n", reel_errrec()->msg);
        reel_err_clear();
    }
    return REEL_OK;
}

static reel_err gather_and_commit(struct reel_ckpt_job *j)
{
    struct written *all = calloc((size_t)j->world->size, sizeof *all);
    reel_err e = reel_agree(j->world, all ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory"));

    if (!e) reel_comm_gather(j->world, &j->file, sizeof j->file, all, 0);
    if (!e && j->world->rank == 0) e = commit(j, all);
    free(all);
    return reel_agree(j->world, e);
}

reel_err reel_ckpt_finish(struct reel_ckpt_job **job)
{
    struct reel_ckpt_job *j = *job;
    reel_err e;

    if (!j) return REEL_OK;
    *job = NULL;
    if (j->started) pthread_join(j->thread, NULL);
    if (j->err) *reel_errrec() = j->rec; /* the thread's story becomes this thread's */
    e = reel_agree(j->world, j->err);
    if (!e) e = gather_and_commit(j);
    if (e && j->world->rank == 0) {
        struct reel_errrec first = *reel_errrec();
        (void)!reel_rmtree(j->tmp); /* best effort; a leftover .tmp is never resumed */
        *reel_errrec() = first;
    }
    reel_comm_barrier(j->world); /* nobody returns before the folder has its final state */
    job_free(j);
    return e;
}

reel_err reel_ckpt_poll(struct reel_ckpt_job **job)
{
    int64_t busy;

    if (!*job) return REEL_OK;
    busy = !atomic_load(&(*job)->done);
    reel_comm_sum_i64((*job)->world, &busy, 1);
    return busy ? REEL_OK : reel_ckpt_finish(job);
}

reel_err reel_ckpt_save(const struct reel_ckpt_req *req, struct reel_comm *world)
{
    struct reel_ckpt_job *job;

    REEL_TRY(reel_ckpt_begin(&job, req, world));
    return reel_ckpt_finish(&job);
}
