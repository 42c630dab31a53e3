#include "ckpt/zip.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "base/file.h"

#define END_LEN     22 /* end record, without comment */
#define LOCATOR_LEN 20
#define END64_LEN   56
#define CENTRAL_LEN 46
#define LOCAL_LEN   30
#define ROOT        "archive"

static uint64_t le(const unsigned char *p, int bytes)
{
    uint64_t v = 0;

    for (int i = bytes - 1; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

static reel_err bad(const struct reel_blob *b, const char *what)
{
    return REEL_FAIL(REEL_EDATA, "%s: %s: archive at byte %llu: %s", b->path, b->what, (unsigned long long)b->at,
                     what);
}

/* Bytes [at, at+n) of the blob, both from the directory and so not to be trusted. */
static reel_err blob_read(const struct reel_blob *b, void *dst, uint64_t at, uint64_t n, const char *what)
{
    if (at > b->len || n > b->len - at) return bad(b, what);
    return reel_pread(b->fd, dst, n, b->at + at, b->path);
}

struct directory { uint64_t n, bytes, at; };

static reel_err find_zip64(const struct reel_blob *b, uint64_t end, struct directory *d)
{
    unsigned char loc[LOCATOR_LEN], e[END64_LEN];

    if (end < LOCATOR_LEN) return bad(b, "no ZIP64 locator");
    REEL_TRY(blob_read(b, loc, end - LOCATOR_LEN, LOCATOR_LEN, "no ZIP64 locator"));
    if (memcmp(loc, "PK\6\7", 4) != 0) return bad(b, "no ZIP64 locator");
    REEL_TRY(blob_read(b, e, le(loc + 8, 8), END64_LEN, "no ZIP64 end record"));
    if (memcmp(e, "PK\6\6", 4) != 0) return bad(b, "no ZIP64 end record");
    *d = (struct directory){ le(e + 32, 8), le(e + 40, 8), le(e + 48, 8) };
    return REEL_OK;
}

/* These archives have no comment, so the end record is the last 22 bytes. */
static reel_err find_directory(const struct reel_blob *b, struct directory *d)
{
    unsigned char e[END_LEN];
    uint64_t at = b->len - END_LEN;

    if (b->len < END_LEN) return bad(b, "too short for a zip archive");
    REEL_TRY(blob_read(b, e, at, END_LEN, "no end record"));
    if (memcmp(e, "PK\5\6", 4) != 0) return bad(b, "no end record (truncated, or not a zip archive)");
    *d = (struct directory){ le(e + 10, 2), le(e + 12, 4), le(e + 16, 4) };
    if (d->n == 0xffff || d->bytes == 0xffffffffu || d->at == 0xffffffffu) REEL_TRY(find_zip64(b, at, d));
    if (d->at > b->len || d->bytes > b->len - d->at) return bad(b, "directory outside the archive");
    return REEL_OK;
}

/* ZIP64 extra field: holds only the values that are saturated, in this order. */
static reel_err widen(const struct reel_blob *b, const unsigned char *x, uint64_t n, uint64_t *us, uint64_t *cs,
                      uint64_t *head)
{
    uint64_t *want[3] = { us, cs, head };

    for (uint64_t i = 0; i + 4 <= n; i += 4 + le(x + i + 2, 2)) {
        if (le(x + i, 2) != 1) continue;
        uint64_t at = i + 4, end = i + 4 + le(x + i + 2, 2);
        for (int k = 0; k < 3; k++) {
            if (*want[k] != 0xffffffffu) continue;
            if (end > n || at + 8 > end) return bad(b, "short ZIP64 field");
            *want[k] = le(x + at, 8);
            at += 8;
        }
    }
    return REEL_OK;
}

static reel_err add_name(struct reel_zip *z, struct reel_zip_rec *r, const char *name, size_t n)
{
    const char *slash = memchr(name, '/', n);
    size_t root = slash ? (size_t)(slash - name) : n;

    if (!slash || root >= sizeof z->root || n - root - 1 >= sizeof r->name || memchr(name, 0, n))
        return bad(&z->b, "unexpected record name");
    if (z->n == 0) memcpy(z->root, name, root), z->root[root] = 0;
    if (strlen(z->root) != root || memcmp(z->root, name, root) != 0)
        return bad(&z->b, "records in two folders");
    memcpy(r->name, slash + 1, n - root - 1);
    r->name[n - root - 1] = 0;
    if (reel_zip_find(z, r->name)) return bad(&z->b, "two records of one name");
    return REEL_OK;
}

static reel_err add_record(struct reel_zip *z, const unsigned char *p, uint64_t room, uint64_t *used)
{
    struct reel_zip_rec *r = &z->rec[z->n];
    uint64_t nl, xl, cl, cs;

    if (room < CENTRAL_LEN || memcmp(p, "PK\1\2", 4) != 0) return bad(&z->b, "damaged directory");
    nl = le(p + 28, 2), xl = le(p + 30, 2), cl = le(p + 32, 2);
    if (room - CENTRAL_LEN < nl + xl + cl) return bad(&z->b, "damaged directory");
    r->crc = (uint32_t)le(p + 16, 4);
    cs = le(p + 20, 4), r->bytes = le(p + 24, 4), r->head = le(p + 42, 4);
    REEL_TRY(widen(&z->b, p + CENTRAL_LEN + nl, xl, &r->bytes, &cs, &r->head));
    if (r->bytes > z->b.len || r->head > z->b.len) return bad(&z->b, "record outside the archive");
    if (le(p + 8, 2) & 1 || le(p + 10, 2) || cs != r->bytes)
        return bad(&z->b, "a record is compressed or encrypted; only stored records are written by torch.save");
    REEL_TRY(add_name(z, r, (const char *)p + CENTRAL_LEN, nl));
    z->n++;
    *used = CENTRAL_LEN + nl + xl + cl;
    return REEL_OK;
}

static reel_err parse_directory(struct reel_zip *z, const unsigned char *p, const struct directory *d)
{
    uint64_t at = 0, used = 0;

    if (d->n > REEL_ZIP_RECS) return bad(&z->b, "more records than a checkpoint archive has");
    for (uint64_t i = 0; i < d->n; i++, at += used) REEL_TRY(add_record(z, p + at, d->bytes - at, &used));
    return REEL_OK;
}

reel_err reel_zip_open(struct reel_zip *z, const struct reel_blob *b)
{
    struct directory d = { 0 };
    unsigned char *p;
    reel_err e;

    *z = (struct reel_zip){ .b = *b };
    REEL_TRY(find_directory(b, &d));
    z->central = d.at;
    if (d.bytes > ((uint64_t)1 << 24)) return bad(b, "directory of more than 16 MiB");
    p = malloc(d.bytes + 1);
    if (!p) return REEL_FAIL(REEL_ENOMEM, "%s: no memory", b->path);
    e = blob_read(b, p, d.at, d.bytes, "directory outside the archive");
    if (!e) e = parse_directory(z, p, &d);
    free(p);
    return e;
}

const struct reel_zip_rec *reel_zip_find(const struct reel_zip *z, const char *name)
{
    for (int i = 0; i < z->n; i++)
        if (strcmp(z->rec[i].name, name) == 0) return &z->rec[i];
    return NULL;
}

reel_err reel_zip_data(const struct reel_zip *z, const struct reel_zip_rec *r, uint64_t *at)
{
    unsigned char h[LOCAL_LEN];
    uint64_t data;

    REEL_TRY(blob_read(&z->b, h, r->head, LOCAL_LEN, "record outside the archive"));
    if (memcmp(h, "PK\3\4", 4) != 0) return bad(&z->b, "damaged local header");
    if (le(h + 8, 2) || le(h + 6, 2) & 1) return bad(&z->b, "local header says compressed");
    if (!(le(h + 6, 2) & 8) && le(h + 14, 4) != r->crc) return bad(&z->b, "local header and directory disagree");
    data = r->head + LOCAL_LEN + le(h + 26, 2) + le(h + 28, 2);
    if (data > z->central || r->bytes > z->central - data) return bad(&z->b, "record outside the archive");
    *at = z->b.at + data;
    return REEL_OK;
}

reel_err reel_zip_crc_error(const struct reel_zip *z, const struct reel_zip_rec *r, uint32_t got)
{
    return REEL_FAIL(REEL_EDATA, "%s: %s: archive at byte %llu: record %s is damaged: CRC-32 %08x, %08x was written",
                     z->b.path, z->b.what, (unsigned long long)z->b.at, r->name, got, r->crc);
}

reel_err reel_zip_read(const struct reel_zip *z, const struct reel_zip_rec *r, void *buf)
{
    uint64_t at;
    uint32_t crc;

    REEL_TRY(reel_zip_data(z, r, &at));
    REEL_TRY(reel_pread(z->b.fd, buf, r->bytes, at, z->b.path));
    crc = reel_crc32(0, buf, r->bytes);
    return crc == r->crc ? REEL_OK : reel_zip_crc_error(z, r, crc);
}

/* ---- writer ---- */

static void put(struct reel_pw *w, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) reel_pw_op(w, (char)(v >> (8 * i)));
}

/* version needed, flags (UTF-8), method, time, date; CRC and sizes; name length */
static void put_common(struct reel_pw *w, const char *name, uint32_t crc, uint64_t bytes)
{
    put(w, 0, 2);
    put(w, 0x0800, 2);
    put(w, 0, 6);
    put(w, crc, 4);
    put(w, bytes, 4);
    put(w, bytes, 4);
    put(w, strlen(ROOT "/") + strlen(name), 2);
}

size_t reel_zip_put_head(struct reel_pw *w, uint64_t pos, const char *name, uint32_t crc, uint64_t bytes)
{
    size_t nl = strlen(ROOT "/") + strlen(name), pad = (size_t)-(pos + LOCAL_LEN + nl + 4) % 64;

    REEL_BUG_IF(bytes > 0xfffffffeu, "zip record of %llu bytes", (unsigned long long)bytes);
    reel_pw_raw(w, "PK\3\4", 4);
    put_common(w, name, crc, bytes);
    put(w, 4 + pad, 2);
    reel_pw_raw(w, ROOT "/", strlen(ROOT "/"));
    reel_pw_raw(w, name, strlen(name));
    reel_pw_raw(w, "FB", 2);
    put(w, pad, 2);
    for (size_t i = 0; i < pad; i++) reel_pw_op(w, 'Z');
    return LOCAL_LEN + nl + 4 + pad;
}

void reel_zip_put_tail(struct reel_pw *w, uint64_t pos, const struct reel_zip_put *rec, int n)
{
    size_t start = w->n;

    for (int i = 0; i < n; i++) {
        reel_pw_raw(w, "PK\1\2", 4);
        put(w, 0, 2);
        put_common(w, rec[i].name, rec[i].crc, rec[i].bytes);
        put(w, 0, 8); /* extra, comment, disk, */
        put(w, 0, 4); /* attributes */
        put(w, rec[i].head, 4);
        reel_pw_raw(w, ROOT "/", strlen(ROOT "/"));
        reel_pw_raw(w, rec[i].name, strlen(rec[i].name));
    }
    size_t bytes = w->n - start;
    reel_pw_raw(w, "PK\5\6", 4);
    put(w, 0, 4);
    put(w, (uint64_t)n, 2);
    put(w, (uint64_t)n, 2);
    put(w, bytes, 4);
    put(w, pos, 4);
    put(w, 0, 2);
}
