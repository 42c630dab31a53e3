/* A file of the cache: head, encoder's id, text, rows, CRC of all before it. Its name is a hash of id and text, which the
 * file repeats: two texts with one hash are told apart. Files appear by rename, from a name that nobody else has. */
#include "encode/text_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/file.h"
#include "base/hash.h"

#define MAGIC "reeltxt1"

struct head { char magic[8]; uint32_t id_bytes, text_bytes, n, dim; };

/* Its NUL too: where one string ends and the next begins matters. */
static uint64_t fnv(uint64_t h, const char *s) { return reel_fnv(h, s, strlen(s) + 1); }

static void path_of(char path[PATH_MAX], const char *dir, const char *id, const char *text)
{
    uint64_t a = fnv(fnv(REEL_FNV, id), text), b = fnv(fnv(0x6c62272e07bb0142u, text), id);

    snprintf(path, PATH_MAX, "%s/%02x/%016" PRIx64 "%016" PRIx64 ".rows", dir, (unsigned)(a >> 56), a, b);
}

/* Where the rows are in a file's bytes; NULL: damaged, or *other is 1: of another text. */
static const char *rows_in(const char *data, size_t bytes, const char *id, const char *text, int dim, int *n, int *other)
{
    size_t id_bytes = strlen(id), text_bytes = strlen(text), at = sizeof(struct head) + id_bytes + text_bytes, rows;
    struct head h;
    uint32_t crc;

    if (bytes < sizeof h + 4) return NULL;
    memcpy(&h, data, sizeof h);
    memcpy(&crc, data + bytes - 4, 4);
    if (memcmp(h.magic, MAGIC, 8) || crc != reel_crc32(0, data, bytes - 4)) return NULL;
    *other = h.id_bytes != id_bytes || h.text_bytes != text_bytes || memcmp(data + sizeof h, id, id_bytes) ||
             memcmp(data + sizeof h + id_bytes, text, text_bytes);
    rows = (size_t)h.n * h.dim * sizeof(float);
    if (*other || h.dim != (uint32_t)dim || h.n < 1 || bytes != at + rows + 4) return NULL;
    *n = (int)h.n;
    return data + at;
}

int reel_text_cache_get(const char *dir, const char *id, const char *text, int dim, struct reel_text_rows *rows)
{
    char path[PATH_MAX], *data = NULL;
    const char *at = NULL;
    size_t bytes = 0;
    int n = 0, other = 0;

    path_of(path, dir, id, text);
    if (!reel_is_file(path)) return 0;
    if (reel_file_read(path, &data, &bytes)) reel_err_clear();
    else at = rows_in(data, bytes, id, text, dim, &n, &other);
    if (at) {
        size_t want = (size_t)n * (size_t)dim * sizeof *rows->rows;
        rows->rows = malloc(want);
        rows->n = rows->rows ? n : 0;
        if (rows->rows) memcpy(rows->rows, at, want);
    } else if (!other) {
        fprintf(stderr, "reel: %s is damaged; the rows of its prompt are made again\n", path);
    }
    free(data);
    return at && rows->rows;
}

/* `path` with the bytes; half a file is never seen under this name. */
static reel_err appear(const char *path, const void *data, size_t bytes)
{
    char tmp[PATH_MAX + 96], host[64] = "";
    reel_err e;
    int fd;

    gethostname(host, sizeof host - 1);
    snprintf(tmp, sizeof tmp, "%s.%s.%ld", path, host, (long)getpid());
    fd = open(tmp, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0666);
    if (fd < 0) return REEL_FAIL(REEL_EIO, "%s: cannot create: %s", tmp, strerror(errno));
    e = reel_write(fd, data, bytes, tmp);
    if (close(fd) && !e) e = REEL_FAIL(REEL_EIO, "%s: cannot close: %s", tmp, strerror(errno));
    if (!e && rename(tmp, path)) e = REEL_FAIL(REEL_EIO, "%s: cannot rename to %s: %s", tmp, path, strerror(errno));
    if (e) unlink(tmp);
    return e;
}

reel_err reel_text_cache_put(const char *dir, const char *id, const char *text, int dim, const struct reel_text_rows *rows)
{
    struct head h = { MAGIC, (uint32_t)strlen(id), (uint32_t)strlen(text), (uint32_t)rows->n, (uint32_t)dim };
    size_t size = (size_t)rows->n * (size_t)dim * sizeof *rows->rows, bytes = sizeof h + h.id_bytes + h.text_bytes + size + 4;
    char path[PATH_MAX], folder[PATH_MAX], *data = malloc(bytes), *p = data;
    uint32_t crc;
    reel_err e;

    if (!data) return REEL_FAIL(REEL_ENOMEM, "no memory for %zu bytes of text rows", bytes);
    memcpy(p, &h, sizeof h), p += sizeof h;
    memcpy(p, id, h.id_bytes), p += h.id_bytes;
    memcpy(p, text, h.text_bytes), p += h.text_bytes;
    memcpy(p, rows->rows, size), p += size;
    crc = reel_crc32(0, data, bytes - 4);
    memcpy(p, &crc, 4);
    path_of(path, dir, id, text);
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    e = reel_mkdirs(folder);
    if (!e) e = appear(path, data, bytes);
    free(data);
    return e;
}
