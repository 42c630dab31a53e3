#include "tensor/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "tensor/half.h"

#define HEADER_MAX 100000000u /* bytes; the reference reader's limit */

/* Rank = row: the writer puts higher rows first. */
static const struct st_type { const char *name; int bits; reel_dtype dt; } types[] = {
    { "BOOL", 8, REEL_NDTYPE },        { "F4", 4, REEL_NDTYPE },         { "F6_E2M3", 6, REEL_NDTYPE },
    { "F6_E3M2", 6, REEL_NDTYPE },     { "U8", 8, REEL_U8 },             { "I8", 8, REEL_NDTYPE },
    { "F8_E5M2", 8, REEL_NDTYPE },     { "F8_E4M3", 8, REEL_NDTYPE },    { "F8_E8M0", 8, REEL_NDTYPE },
    { "F8_E4M3FNUZ", 8, REEL_NDTYPE }, { "F8_E5M2FNUZ", 8, REEL_NDTYPE }, { "I16", 16, REEL_NDTYPE },
    { "U16", 16, REEL_U16 },           { "F16", 16, REEL_F16 },          { "BF16", 16, REEL_BF16 },
    { "I32", 32, REEL_I32 },           { "U32", 32, REEL_NDTYPE },       { "F32", 32, REEL_F32 },
    { "C64", 64, REEL_NDTYPE },        { "F64", 64, REEL_F64 },          { "I64", 64, REEL_I64 },
    { "U64", 64, REEL_NDTYPE },
};
#define NTYPES ((int)(sizeof types / sizeof types[0]))

struct reel_st {
    int fd;             /* -1: memory */
    const char *mem;
    char *path;
    uint64_t size, data; /* bytes of the file, start of the data part */
    json_t *json;       /* owns names and dtype strings */
    int n;
    struct reel_st_entry *e;  /* in data order */
    struct reel_st_entry **by_name;
};

static const struct st_type *type_named(const char *s)
{
    for (int i = 0; i < NTYPES; i++)
        if (strcmp(types[i].name, s) == 0) return &types[i];
    return NULL;
}

static int type_rank(reel_dtype dt)
{
    for (int i = 0; i < NTYPES; i++)
        if (types[i].dt == dt) return i;
    return -1;
}

/* ---- header -> entries ---- */

static reel_err parse_shape(struct reel_st *st, struct reel_st_entry *t, json_t *shape, uint64_t *bits)
{
    if (!json_is_array(shape)) return REEL_FAIL(REEL_EDATA, "%s: %s: no shape", st->path, t->name);
    if (json_array_size(shape) > REEL_ST_MAXDIM)
        return REEL_FAIL(REEL_EDATA, "%s: %s: %zu dimensions, at most %d are supported", st->path, t->name,
                         json_array_size(shape), REEL_ST_MAXDIM);
    for (t->nd = 0; t->nd < (int)json_array_size(shape); t->nd++) {
        json_t *v = json_array_get(shape, (size_t)t->nd);
        if (!json_is_integer(v) || json_integer_value(v) < 0)
            return REEL_FAIL(REEL_EDATA, "%s: %s: shape holds something that is not a size", st->path, t->name);
        t->n[t->nd] = json_integer_value(v);
        if (__builtin_mul_overflow(*bits, (uint64_t)t->n[t->nd], bits))
            return REEL_FAIL(REEL_EDATA, "%s: %s: its shape overflows 64 bits", st->path, t->name);
    }
    if (*bits % 8)
        return REEL_FAIL(REEL_EDATA, "%s: %s: not a whole number of bytes", st->path, t->name);
    return REEL_OK;
}

static reel_err parse_offsets(struct reel_st *st, struct reel_st_entry *t, json_t *off)
{
    json_t *a = json_array_get(off, 0), *b = json_array_get(off, 1);
    int64_t lo, hi;

    if (json_array_size(off) != 2 || !json_is_integer(a) || !json_is_integer(b))
        return REEL_FAIL(REEL_EDATA, "%s: %s: data_offsets is not [begin, end]", st->path, t->name);
    lo = json_integer_value(a);
    hi = json_integer_value(b);
    if (lo < 0 || hi < lo || (uint64_t)hi > st->size - st->data)
        return REEL_FAIL(REEL_EDATA, "%s: %s: data_offsets [%lld,%lld) outside the %llu data bytes", st->path,
                         t->name, (long long)lo, (long long)hi, (unsigned long long)(st->size - st->data));
    t->at = st->data + (uint64_t)lo;
    t->bytes = (uint64_t)(hi - lo);
    return REEL_OK;
}

static reel_err parse_entry(struct reel_st *st, struct reel_st_entry *t, const char *name, json_t *v)
{
    const struct st_type *ty;
    uint64_t bits;

    t->name = name;
    t->dtype = json_string_value(json_object_get(v, "dtype"));
    if (!t->dtype) return REEL_FAIL(REEL_EDATA, "%s: %s: no dtype", st->path, name);
    ty = type_named(t->dtype);
    if (!ty) return REEL_FAIL(REEL_EDATA, "%s: %s: unknown dtype \"%s\"", st->path, name, t->dtype);
    t->dt = ty->dt;
    bits = (uint64_t)ty->bits;
    REEL_TRY(parse_shape(st, t, json_object_get(v, "shape"), &bits));
    REEL_TRY(parse_offsets(st, t, json_object_get(v, "data_offsets")));
    if (bits / 8 != t->bytes)
        return REEL_FAIL(REEL_EDATA, "%s: %s: shape needs %llu bytes, data_offsets give %llu", st->path, name,
                         (unsigned long long)(bits / 8), (unsigned long long)t->bytes);
    return REEL_OK;
}

static int by_offset(const void *pa, const void *pb)
{
    const struct reel_st_entry *a = pa, *b = pb;

    if (a->at != b->at) return a->at < b->at ? -1 : 1;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int by_name(const void *pa, const void *pb)
{
    return strcmp((*(struct reel_st_entry *const *)pa)->name, (*(struct reel_st_entry *const *)pb)->name);
}

/* No holes, no overlaps, nothing behind the last tensor. */
static reel_err check_cover(struct reel_st *st)
{
    uint64_t at = st->data;

    for (int i = 0; i < st->n; i++) {
        if (st->e[i].at != at)
            return REEL_FAIL(REEL_EDATA, "%s: %s: data begins at %llu, %s at %llu", st->path, st->e[i].name,
                             (unsigned long long)(st->e[i].at - st->data),
                             st->e[i].at > at ? "a hole starts" : "it overlaps the tensor that ends",
                             (unsigned long long)(at - st->data));
        at += st->e[i].bytes;
    }
    if (at != st->size)
        return REEL_FAIL(REEL_EDATA, "%s: %llu bytes behind the last tensor", st->path,
                         (unsigned long long)(st->size - at));
    return REEL_OK;
}

static reel_err check_meta(struct reel_st *st, json_t *meta)
{
    const char *k;
    json_t *v;

    if (meta && !json_is_object(meta))
        return REEL_FAIL(REEL_EDATA, "%s: __metadata__ is not an object", st->path);
    json_object_foreach(meta, k, v)
        if (!json_is_string(v))
            return REEL_FAIL(REEL_EDATA, "%s: __metadata__: \"%s\" is not a string", st->path, k);
    return REEL_OK;
}

static reel_err parse_header(struct reel_st *st, const char *text, size_t bytes)
{
    const char *name;
    json_t *v;

    if (bytes == 0 || text[0] != '{')
        return REEL_FAIL(REEL_EDATA, "%s: not a safetensors file: its header does not begin with {", st->path);
    REEL_TRY(reel_json_parse(&st->json, text, bytes, st->path));
    REEL_TRY(check_meta(st, json_object_get(st->json, "__metadata__")));
    st->e = calloc(json_object_size(st->json) + 1, sizeof *st->e);
    st->by_name = calloc(json_object_size(st->json) + 1, sizeof(struct reel_st_entry *));
    if (!st->e || !st->by_name) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for its header", st->path);
    json_object_foreach(st->json, name, v)
    {
        if (strcmp(name, "__metadata__") == 0) continue;
        REEL_TRY(parse_entry(st, &st->e[st->n++], name, v));
    }
    qsort(st->e, (size_t)st->n, sizeof *st->e, by_offset);
    for (int i = 0; i < st->n; i++) st->by_name[i] = &st->e[i];
    qsort(st->by_name, (size_t)st->n, sizeof(struct reel_st_entry *), by_name);
    return check_cover(st);
}

static reel_err read_bytes(const struct reel_st *st, void *dst, size_t bytes, uint64_t at)
{
    if (st->fd >= 0) return reel_pread(st->fd, dst, bytes, at, st->path);
    memcpy(dst, st->mem + at, bytes);
    return REEL_OK;
}

static reel_err read_header(struct reel_st *st)
{
    unsigned char len[8];
    uint64_t n = 0;
    char *text;
    reel_err e;

    if (st->size < 8) return REEL_FAIL(REEL_EDATA, "%s: %llu bytes are too few for a safetensors file", st->path,
                                       (unsigned long long)st->size);
    REEL_TRY(read_bytes(st, len, 8, 0));
    for (int i = 7; i >= 0; i--) n = n << 8 | len[i];
    if (n > HEADER_MAX || n > st->size - 8)
        return REEL_FAIL(REEL_EDATA, "%s: no safetensors file, or a damaged one: header of %llu bytes in a file of %llu (limit %u)", st->path,
                         (unsigned long long)n, (unsigned long long)st->size, HEADER_MAX);
    st->data = 8 + n;
    text = malloc(n + 1);
    if (!text) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for its header", st->path);
    e = read_bytes(st, text, n, 8);
    if (!e) e = parse_header(st, text, n);
    free(text);
    return e;
}

static reel_err open_common(struct reel_st **out, struct reel_st start, const char *where)
{
    struct reel_st *st = malloc(sizeof *st);
    reel_err e;

    *out = NULL;
    if (st) *st = start, st->path = strdup(where);
    if (!st || !st->path) {
        free(st);
        if (start.fd >= 0) close(start.fd);
        return REEL_FAIL(REEL_ENOMEM, "%s: no memory", where);
    }
    e = read_header(st);
    if (e) reel_st_close(st);
    else *out = st;
    return e;
}

reel_err reel_st_open(struct reel_st **st, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat s;

    *st = NULL;
    if (fd < 0) return REEL_FAIL(REEL_EIO, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode)) {
        close(fd);
        return REEL_FAIL(REEL_EIO, "%s: not a regular file", path);
    }
    return open_common(st, (struct reel_st){ .fd = fd, .size = (uint64_t)s.st_size }, path);
}

reel_err reel_st_open_mem(struct reel_st **st, const void *mem, size_t bytes, const char *where)
{
    return open_common(st, (struct reel_st){ .fd = -1, .mem = mem, .size = bytes }, where);
}

void reel_st_close(struct reel_st *st)
{
    if (!st) return;
    if (st->fd >= 0) close(st->fd);
    json_decref(st->json);
    free(st->by_name);
    free(st->e);
    free(st->path);
    free(st);
}

int reel_st_count(const struct reel_st *st) { return st->n; }
const struct reel_st_entry *reel_st_entry(const struct reel_st *st, int i) { return &st->e[i]; }
const char *reel_st_path(const struct reel_st *st) { return st->path; }

const struct reel_st_entry *reel_st_find(const struct reel_st *st, const char *name)
{
    struct reel_st_entry key = { .name = name }, *k = &key, **hit;

    hit = bsearch(&k, st->by_name, (size_t)st->n, sizeof *hit, by_name);
    return hit ? *hit : NULL;
}

const char *reel_st_meta(const struct reel_st *st, const char *key)
{
    return json_string_value(json_object_get(json_object_get(st->json, "__metadata__"), key));
}

reel_err reel_st_read(const struct reel_st *st, const struct reel_st_entry *e, uint64_t from, size_t bytes,
                      void *dst)
{
    REEL_BUG_IF(from > e->bytes || bytes > e->bytes - from, "%s: %s: read of [%llu,+%zu) of %llu", st->path,
                e->name, (unsigned long long)from, bytes, (unsigned long long)e->bytes);
    return read_bytes(st, dst, bytes, e->at + from);
}

/* In place: the 16-bit values stand in the second half of dst, so float i never covers a half not yet read. */
static void widen(float *dst, int64_t n, reel_dtype dt)
{
    const char *half = (const char *)dst + n * 2;

    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, half + 2 * i, 2);
        float f = dt == REEL_BF16 ? reel_bf16_f32(h) : reel_f16_f32(h);
        memcpy(dst + i, &f, 4);
    }
}

reel_err reel_st_read_f32(const struct reel_st *st, const struct reel_st_entry *e, int64_t row0, int64_t rows,
                          float *dst)
{
    uint64_t per;
    int64_t n0 = e->nd ? e->n[0] : 1;
    size_t bytes;

    if (e->dt != REEL_F32 && e->dt != REEL_BF16 && e->dt != REEL_F16)
        return REEL_FAIL(REEL_EDATA, "%s: %s: dtype %s; F32, BF16 or F16 was expected", st->path, e->name, e->dtype);
    REEL_BUG_IF(row0 < 0 || rows < 0 || row0 + rows > n0, "%s: rows [%lld,+%lld) of %lld", e->name,
                (long long)row0, (long long)rows, (long long)n0);
    if (rows == 0 || e->bytes == 0) return REEL_OK;
    per = e->bytes / (uint64_t)n0;
    bytes = per * (uint64_t)rows;
    if (e->dt == REEL_F32) return reel_st_read(st, e, per * (uint64_t)row0, bytes, dst);
    REEL_TRY(reel_st_read(st, e, per * (uint64_t)row0, bytes, (char *)dst + bytes));
    widen(dst, (int64_t)(bytes / 2), e->dt);
    return REEL_OK;
}

#define BOX_BYTES ((int64_t)8 << 20) /* whole rows read at a time */

reel_err reel_st_read_box_f32(const struct reel_st *st, const struct reel_st_entry *e, int64_t row0, int64_t rows,
                              int64_t col0, int64_t cols, float *dst)
{
    int64_t inner = 1, row, step;
    reel_err err = REEL_OK;
    float *buf;

    if (!cols) return reel_st_read_f32(st, e, row0, rows, dst);
    REEL_BUG_IF(e->nd < 2 || col0 < 0 || cols < 0 || col0 + cols > e->n[1], "%s: columns [%lld,+%lld)", e->name,
                (long long)col0, (long long)cols);
    for (int k = 2; k < e->nd; k++) inner *= e->n[k];
    row = e->n[1] * inner;
    step = BOX_BYTES / (4 * row) > 1 ? BOX_BYTES / (4 * row) : 1;
    buf = malloc((size_t)(step * row) * sizeof *buf);
    if (!buf) return REEL_FAIL(REEL_ENOMEM, "%s: no memory to read %s", st->path, e->name);
    for (int64_t at = 0; at < rows && !err; at += step) {
        int64_t n = rows - at < step ? rows - at : step;
        err = reel_st_read_f32(st, e, row0 + at, n, buf);
        for (int64_t k = 0; k < n && !err; k++, dst += cols * inner)
            memcpy(dst, buf + k * row + col0 * inner, (size_t)(cols * inner) * sizeof *dst);
    }
    free(buf);
    return err;
}

/* ---- writer ---- */

struct order { const struct reel_st_item *it; int rank; };

static int file_order(const void *pa, const void *pb)
{
    const struct order *a = pa, *b = pb;

    if (a->rank != b->rank) return a->rank > b->rank ? -1 : 1;
    return strcmp(a->it->name, b->it->name);
}

static size_t item_bytes(const struct reel_st_item *it)
{
    return reel_bytes(reel_view(NULL, it->dt, it->n, it->nd));
}

static void put_meta(FILE *f, const struct reel_st_kv *meta, int n)
{
    for (int i = 0; i < n; i++) {
        fputs(i ? "," : "\"__metadata__\":{", f);
        reel_json_str(f, meta[i].key);
        putc(':', f);
        reel_json_str(f, meta[i].value);
    }
    if (n) putc('}', f);
}

static void put_items(FILE *f, const struct order *o, int n, int comma)
{
    unsigned long long at = 0;

    for (int i = 0; i < n; i++) {
        const struct reel_st_item *it = o[i].it;
        if (comma || i) putc(',', f);
        reel_json_str(f, it->name);
        fprintf(f, ":{\"dtype\":\"%s\",\"shape\":[", types[o[i].rank].name);
        for (int d = 0; d < it->nd; d++) fprintf(f, "%s%lld", d ? "," : "", (long long)it->n[d]);
        fprintf(f, "],\"data_offsets\":[%llu,%llu]}", at, at + item_bytes(it));
        at += item_bytes(it);
    }
}

/* Length, JSON and padding, as they stand in the file. */
static reel_err make_header(char **buf, size_t *len, const struct order *o, int n, const struct reel_st_kv *meta,
                            int n_meta)
{
    static const struct reel_st_kv pt = { "format", "pt" };
    FILE *f = open_memstream(buf, len);
    uint64_t h;

    if (!f) return REEL_FAIL(REEL_ENOMEM, "no memory for a safetensors header");
    if (!meta) meta = &pt, n_meta = 1;
    fputs("12345678{", f);
    put_meta(f, meta, n_meta);
    put_items(f, o, n, n_meta > 0);
    putc('}', f);
    fflush(f);
    for (size_t k = *len; k % 8; k++) putc(' ', f);
    if (fclose(f) != 0) return REEL_FAIL(REEL_ENOMEM, "no memory for a safetensors header");
    h = *len - 8;
    for (int i = 0; i < 8; i++) (*buf)[i] = (char)(h >> (8 * i));
    return REEL_OK;
}

static reel_err sort_items(struct order *o, const struct reel_st_item *items, int n, const char *path)
{
    for (int i = 0; i < n; i++) o[i] = (struct order){ &items[i], type_rank(items[i].dt) };
    qsort(o, (size_t)n, sizeof *o, file_order);
    for (int i = 0; i < n; i++)
        if (strcmp(o[i].it->name, "__metadata__") == 0)
            return REEL_FAIL(REEL_EDATA, "%s: a tensor cannot be called __metadata__", path);
    for (int i = 1; i < n; i++)
        if (strcmp(o[i].it->name, o[i - 1].it->name) == 0)
            return REEL_FAIL(REEL_EDATA, "%s: two tensors are called %s", path, o[i].it->name);
    return REEL_OK;
}

static reel_err put_data(int fd, const char *path, const struct order *o, int n, const struct reel_st_item *first,
                         reel_err (*fill)(void *, int, void *), void *ctx)
{
    reel_err e = REEL_OK;
    size_t cap = 1;
    char *buf;

    for (int i = 0; i < n; i++)
        if (!o[i].it->data && item_bytes(o[i].it) > cap) cap = item_bytes(o[i].it);
    buf = malloc(cap);
    if (!buf) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for a tensor of %zu bytes", path, cap);
    for (int i = 0; i < n && !e; i++) {
        const void *src = o[i].it->data;
        if (!src) e = fill(ctx, (int)(o[i].it - first), buf), src = buf;
        if (!e) e = reel_write(fd, src, item_bytes(o[i].it), path);
    }
    free(buf);
    return e;
}

static reel_err put_file(const char *tmp, const char *head, size_t len, const struct order *o, int n,
                         const struct reel_st_item *first, reel_err (*fill)(void *, int, void *), void *ctx)
{
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    reel_err e;

    if (fd < 0) return REEL_FAIL(REEL_EIO, "%s: cannot create: %s", tmp, strerror(errno));
    e = reel_write(fd, head, len, tmp);
    if (!e) e = put_data(fd, tmp, o, n, first, fill, ctx);
    if (!e && fsync(fd) != 0) e = REEL_FAIL(REEL_EIO, "%s: fsync: %s", tmp, strerror(errno));
    if (close(fd) != 0 && !e) e = REEL_FAIL(REEL_EIO, "%s: close: %s", tmp, strerror(errno));
    return e;
}

reel_err reel_st_write(const char *path, const struct reel_st_item *items, int n, const struct reel_st_kv *meta,
                       int n_meta, reel_err (*fill)(void *ctx, int item, void *dst), void *ctx)
{
    struct order *o = malloc((size_t)(n + 1) * sizeof *o);
    char tmp[PATH_MAX], *head = NULL;
    size_t len = 0;
    reel_err e;

    if (!o) return REEL_FAIL(REEL_ENOMEM, "%s: no memory", path);
    e = sort_items(o, items, n, path);
    if (!e && snprintf(tmp, sizeof tmp, "%s.tmp", path) >= (int)sizeof tmp)
        e = REEL_FAIL(REEL_EIO, "%s: path too long", path);
    if (!e) e = make_header(&head, &len, o, n, meta, n_meta);
    if (!e) {
        e = put_file(tmp, head, len, o, n, items, fill, ctx);
        if (!e) e = reel_rename(tmp, path);
        if (e) unlink(tmp);
    }
    free(head);
    free(o);
    return e;
}
