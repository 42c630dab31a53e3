/* commit.json: which files a checkpoint has, how long they are, and what their bytes sum up to. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/file.h"
#include "ckpt/ckpt_priv.h"

#define BLOCK ((size_t)1 << 20)

/* Markers before version 3 have CRC-32C. */
#define SUM_KEY(version) ((version) < 3 ? "crc32c" : "crc32")
static uint32_t sum(int version, uint32_t crc, const void *p, size_t n) { return version < 3 ? reel_crc32c(crc, p, n) : reel_crc32(crc, p, n); }

/* ---- the marker itself ---- */

void ckpt_marker_add(struct ckpt_marker *m, const char *name, const struct ckpt_written *w)
{
    char crc[16];

    if (!m->files) m->files = json_object();
    m->version = 3;
    snprintf(crc, sizeof crc, "%08x", w->crc);
    m->bad |= json_object_set_new(m->files, name, json_pack("{s:I, s:s}", "size", (json_int_t)w->bytes, SUM_KEY(m->version), crc)) != 0;
}

void ckpt_marker_free(struct ckpt_marker *m)
{
    json_decref(m->files);
    m->files = NULL;
}

/* The checksum of the list in one spelling, as text; 0: no memory. */
static int list_crc(int version, const json_t *files, char crc[16])
{
    char *text = json_dumps(files, JSON_COMPACT | JSON_SORT_KEYS);

    if (!text) return 0;
    snprintf(crc, 16, "%08x", sum(version, 0, text, strlen(text)));
    free(text);
    return 1;
}

reel_err ckpt_marker_write(struct ckpt_marker *m, const char *dir)
{
    char path[PATH_MAX], crc[16], *text = NULL;
    json_t *top;
    reel_err e = REEL_OK;

    if (!m->bad && list_crc(m->version, m->files, crc)) {
        top = json_pack("{s:i, s:O, s:s}", "version", m->version, "files", m->files, SUM_KEY(m->version), crc);
        text = top ? json_dumps(top, JSON_INDENT(2)) : NULL;
        json_decref(top);
    }
    if (!text) return REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for the commit marker");
    e = reel_join(path, sizeof path, dir, CKPT_MARKER);
    if (!e) e = reel_file_write(path, text, strlen(text));
    free(text);
    return e;
}

static int version_of(const json_t *top)
{
    json_int_t v = json_integer_value(json_object_get(top, "version"));

    return v >= 1 && v <= 3 ? (int)v : 0;
}

/* What a whole marker has: these keys, no others, and the sum of its list. Version 1 had no sum. */
static const char *fault_of(const json_t *top)
{
    const json_t *files = json_object_get(top, "files");
    int version = version_of(top);
    const char *want = json_string_value(json_object_get(top, SUM_KEY(version)));
    char crc[16];

    if (!version) return "its version is none of 1, 2 and 3";
    if (!json_is_object(files) || json_object_size(top) != (version == 1 ? 2 : 3)) return "its keys are not those of a marker";
    if (version == 1) return NULL;
    if (!want || !list_crc(version, files, crc) || strcmp(want, crc) != 0) return "its list of files does not have the checksum that was written";
    return NULL;
}

reel_err ckpt_marker_read(struct ckpt_marker *m, const char *dir)
{
    char path[PATH_MAX];
    struct stat st;
    const char *why;
    json_t *top;
    int there;

    *m = (struct ckpt_marker){ 0 };
    REEL_TRY(reel_join(path, sizeof path, dir, CKPT_MARKER));
    REEL_TRY(reel_stat(path, &st, &there));
    if (!there) return REEL_OK;
    REEL_TRY(reel_json_file(&top, path));
    why = fault_of(top);
    if (!why) m->files = json_incref(json_object_get(top, "files")), m->version = version_of(top);
    json_decref(top);
    return why ? REEL_FAIL(REEL_EDATA, "%s: damaged commit marker: %s", path, why) : REEL_OK;
}

/* ---- files against it ---- */

static reel_err check_size(const char *dir, const char *name, const json_t *v)
{
    char path[PATH_MAX];
    struct stat st;
    json_int_t want = json_integer_value(json_object_get(v, "size"));
    int there;

    REEL_TRY(reel_join(path, sizeof path, dir, name));
    REEL_TRY(reel_stat(path, &st, &there));
    if (!there) return REEL_FAIL(REEL_EDATA, "%s: missing, though it was committed", path);
    if (st.st_size != want)
        return REEL_FAIL(REEL_EDATA, "%s: %lld bytes, %lld were committed", path, (long long)st.st_size, (long long)want);
    return REEL_OK;
}

reel_err ckpt_marker_sizes(const struct ckpt_marker *m, const char *dir)
{
    const char *name;
    json_t *v;

    json_object_foreach(m->files, name, v) REEL_TRY(check_size(dir, name, v));
    return REEL_OK;
}

reel_err ckpt_sum(int version, const char *path, uint64_t at, uint64_t bytes, uint32_t *crc)
{
    char *buf = malloc(BLOCK);
    int fd = buf ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    reel_err e = REEL_OK;

    *crc = 0;
    if (!buf) e = REEL_FAIL(REEL_ENOMEM, "%s: no memory to read it", path);
    else if (fd < 0) e = REEL_FAIL(REEL_EIO, "%s: cannot open: %m", path);
    for (uint64_t done = 0, k; done < bytes && !e; done += k) {
        k = bytes - done < BLOCK ? bytes - done : BLOCK;
        e = reel_pread(fd, buf, k, at + done, path);
        if (!e) *crc = sum(version, *crc, buf, k);
    }
    if (fd >= 0) close(fd);
    free(buf);
    return e;
}

static const char *want_of(const struct ckpt_marker *m, const char *name)
{
    return json_string_value(json_object_get(json_object_get(m->files, name), SUM_KEY(m->version)));
}

/* Which record of a damaged file it is, into the error record. Left as it is: all of them are whole. */
static void find_record(const char *dir, const char *name)
{
    struct reel_dcp *d;
    const char *file = strrchr(name, '/');

    if (!file || reel_dcp_open_of(&d, dir)) return;
    for (int i = 0; i < reel_dcp_count(d); i++) {
        const struct reel_dcp_entry *e = reel_dcp_entry(d, i);
        int here = 0;
        for (int k = 0; k < e->n_chunks; k++) here |= strcmp(e->chunk[k].path, file + 1) == 0;
        if (here && reel_dcp_verify(d, e)) break;
    }
    reel_dcp_close(d);
}

static reel_err say_damaged(const struct ckpt_marker *m, const char *dir, const char *name, const char *have)
{
    const char *want = want_of(m, name);
    char where[REEL_ERR_MSG / 2] = "its records are whole, so it is a header or padding";

    reel_err_clear();
    if (ckpt_is_shard(name)) {
        find_record(dir, name);
        if (reel_errrec()->code) snprintf(where, sizeof where, "%.*s", (int)sizeof where - 1, reel_errrec()->msg);
        reel_err_clear();
    } else {
        snprintf(where, sizeof where, "somewhere in its text");
    }
    return REEL_FAIL(REEL_EDATA, "%s/%s: damaged: %s %s, %s was committed (%s)", dir, name, m->version < 3 ? "CRC-32C" : "CRC-32", have,
                     want ? want : "none", where);
}

reel_err ckpt_marker_compare(const struct ckpt_marker *m, const char *dir, const char *name, uint32_t crc)
{
    const char *want = want_of(m, name);
    char have[16];

    snprintf(have, sizeof have, "%08x", crc);
    return want && strcmp(have, want) == 0 ? REEL_OK : say_damaged(m, dir, name, have);
}

static reel_err check_crc(const struct ckpt_marker *m, const char *dir, const char *name, const json_t *v)
{
    char path[PATH_MAX];
    uint32_t crc;

    REEL_TRY(check_size(dir, name, v));
    REEL_TRY(reel_join(path, sizeof path, dir, name));
    REEL_TRY(ckpt_sum(m->version, path, 0, (uint64_t)json_integer_value(json_object_get(v, "size")), &crc));
    return ckpt_marker_compare(m, dir, name, crc);
}

int ckpt_is_shard(const char *name) { return strncmp(name, "dcp/", 4) == 0 && reel_ends(name, ".distcp"); }

reel_err ckpt_marker_sums(const struct ckpt_marker *m, const char *dir, int texts, int rank, int size)
{
    const char *name;
    json_t *v;
    int i = 0;

    json_object_foreach(m->files, name, v) {
        if (texts && ckpt_is_shard(name)) continue;
        if (i++ % size == rank) REEL_TRY(check_crc(m, dir, name, v));
    }
    return REEL_OK;
}
