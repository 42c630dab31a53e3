/* commit.json: which files a checkpoint has, how long they are, and what their bytes sum up to. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/crc.h"
#include "base/file.h"
#include "ckpt/ckpt_priv.h"

#define BLOCK ((size_t)1 << 20)

/* ---- the marker itself ---- */

void ckpt_marker_add(struct ckpt_marker *m, const char *name, const struct ckpt_written *w)
{
    char crc[16];

    if (!m->files) m->files = json_object();
    snprintf(crc, sizeof crc, "%08x", w->crc);
    m->bad |= json_object_set_new(m->files, name, json_pack("{s:I, s:s}", "size", (json_int_t)w->bytes, "crc32c", crc)) != 0;
}

void ckpt_marker_free(struct ckpt_marker *m)
{
    json_decref(m->files);
    m->files = NULL;
}

/* CRC-32C of the list in one spelling, as text; 0: no memory. */
static int list_crc(const json_t *files, char crc[16])
{
    char *text = json_dumps(files, JSON_COMPACT | JSON_SORT_KEYS);

    if (!text) return 0;
    snprintf(crc, 16, "%08x", reel_crc32c(0, text, strlen(text)));
    free(text);
    return 1;
}

reel_err ckpt_marker_write(struct ckpt_marker *m, const char *dir)
{
    char path[PATH_MAX], crc[16], *text = NULL;
    json_t *top;
    reel_err e = REEL_OK;

    if (!m->bad && list_crc(m->files, crc)) {
        top = json_pack("{s:i, s:O, s:s}", "version", 2, "files", m->files, "crc32c", crc);
        text = top ? json_dumps(top, JSON_INDENT(2)) : NULL;
        json_decref(top);
    }
    if (!text) return REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for the commit marker");
    e = reel_join(path, sizeof path, dir, CKPT_MARKER);
    if (!e) e = reel_file_write(path, text, strlen(text));
    free(text);
    return e;
}

/* What a whole marker has: these keys, no others, and the sum of its list. Version 1 had no sum. */
static const char *fault_of(const json_t *top)
{
    const json_t *files = json_object_get(top, "files");
    json_int_t version = json_integer_value(json_object_get(top, "version"));
    const char *sum = json_string_value(json_object_get(top, "crc32c"));
    char crc[16];

    if (version != 1 && version != 2) return "its version is neither 1 nor 2";
    if (!json_is_object(files) || json_object_size(top) != (version == 1 ? 2 : 3)) return "its keys are not those of a marker";
    if (version == 1) return NULL;
    if (!sum || !list_crc(files, crc) || strcmp(sum, crc) != 0) return "its list of files does not have the checksum that was written";
    return NULL;
}

reel_err ckpt_marker_read(struct ckpt_marker *m, const char *dir)
{
    char path[PATH_MAX];
    const char *why;
    json_t *top;

    *m = (struct ckpt_marker){ 0 };
    REEL_TRY(reel_join(path, sizeof path, dir, CKPT_MARKER));
    if (!reel_is_file(path)) return REEL_OK;
    REEL_TRY(reel_json_file(&top, path));
    why = fault_of(top);
    if (!why) m->files = json_incref(json_object_get(top, "files"));
    json_decref(top);
    return why ? REEL_FAIL(REEL_EDATA, "%s: damaged commit marker: %s", path, why) : REEL_OK;
}

/* ---- files against it ---- */

static reel_err check_size(const char *dir, const char *name, const json_t *v)
{
    char path[PATH_MAX];
    struct stat st;
    json_int_t want = json_integer_value(json_object_get(v, "size"));

    REEL_TRY(reel_join(path, sizeof path, dir, name));
    if (stat(path, &st) != 0) return REEL_FAIL(REEL_EIO, "%s: missing, though it was committed", path);
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

static reel_err sum_file(const char *path, uint64_t size, char crc[16])
{
    char *buf = malloc(BLOCK);
    FILE *f = fopen(path, "rb");
    uint32_t sum = 0;
    size_t k;

    if (f) setvbuf(f, NULL, _IONBF, 0);
    while (f && buf && (k = fread(buf, 1, BLOCK, f)) > 0) sum = reel_crc32c(sum, buf, k), size -= k;
    if (f) fclose(f);
    free(buf);
    if (!buf) return REEL_FAIL(REEL_ENOMEM, "%s: no memory to read it", path);
    if (!f || size) return REEL_FAIL(REEL_EIO, "%s: cannot be read whole", path);
    snprintf(crc, 16, "%08x", sum);
    return REEL_OK;
}

/* Which record of a damaged file it is, into the error record. Left as it is: all of them are whole. */
static void find_record(const char *dir, const char *name)
{
    struct reel_dcp *d;
    char dcp[PATH_MAX];
    const char *file = strrchr(name, '/');

    if (!file || ckpt_dcp_dir(dir, dcp, sizeof dcp) || reel_dcp_open(&d, dcp)) return;
    for (int i = 0; i < reel_dcp_count(d); i++) {
        const struct reel_dcp_entry *e = reel_dcp_entry(d, i);
        int here = 0;
        for (int k = 0; k < e->n_chunks; k++) here |= strcmp(e->chunk[k].path, file + 1) == 0;
        if (here && reel_dcp_verify(d, e)) break;
    }
    reel_dcp_close(d);
}

static reel_err say_damaged(const char *dir, const char *name, const char *path, const char *have, const char *want)
{
    char where[REEL_ERR_MSG / 2] = "its records are whole, so it is a header or padding";
    const char *ending = strrchr(name, '.');

    reel_err_clear();
    if (ending && strcmp(ending, ".distcp") == 0) {
        find_record(dir, name);
        if (reel_errrec()->code) snprintf(where, sizeof where, "%.*s", (int)sizeof where - 1, reel_errrec()->msg);
        reel_err_clear();
    } else {
        snprintf(where, sizeof where, "somewhere in its text");
    }
    return REEL_FAIL(REEL_EDATA, "%s: damaged: CRC-32C %s, %s was committed (%s)", path, have, want ? want : "none", where);
}

static reel_err check_crc(const char *dir, const char *name, const json_t *v)
{
    char path[PATH_MAX], have[16];
    const char *want = json_string_value(json_object_get(v, "crc32c"));

    REEL_TRY(check_size(dir, name, v));
    REEL_TRY(reel_join(path, sizeof path, dir, name));
    REEL_TRY(sum_file(path, (uint64_t)json_integer_value(json_object_get(v, "size")), have));
    return want && strcmp(have, want) == 0 ? REEL_OK : say_damaged(dir, name, path, have, want);
}

reel_err ckpt_marker_sums(const struct ckpt_marker *m, const char *dir, int texts, int rank, int size)
{
    const char *name;
    json_t *v;
    int i = 0;

    json_object_foreach(m->files, name, v) {
        const char *ending = strrchr(name, '.');
        if (texts && ending && strcmp(ending, ".distcp") == 0) continue;
        if (i++ % size == rank) REEL_TRY(check_crc(dir, name, v));
    }
    return REEL_OK;
}
