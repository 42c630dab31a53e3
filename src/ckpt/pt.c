#include "ckpt/pt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "base/file.h"

#define READ_BLOCK ((uint64_t)1 << 20) /* CRC while the bytes are in cache */

static const struct reel_pt_type types[] = {
    { "float32", "FloatStorage", 4, REEL_F32 },
    { "bfloat16", "BFloat16Storage", 2, REEL_BF16 },
    { "float16", "HalfStorage", 2, REEL_F16 },
    { "float64", "DoubleStorage", 8, REEL_F64 },
    { "int64", "LongStorage", 8, REEL_I64 },
    { "int32", "IntStorage", 4, REEL_I32 },
    { "uint16", NULL, 2, REEL_U16 },
    { "uint8", "ByteStorage", 1, REEL_U8 },
    { "int16", "ShortStorage", 2, REEL_NDTYPE },
    { "int8", "CharStorage", 1, REEL_NDTYPE },
    { "bool", "BoolStorage", 1, REEL_NDTYPE },
    { "uint32", NULL, 4, REEL_NDTYPE },
    { "uint64", NULL, 8, REEL_NDTYPE },
    { "complex64", "ComplexFloatStorage", 8, REEL_NDTYPE },
    { "complex128", "ComplexDoubleStorage", 16, REEL_NDTYPE },
    { "float8_e4m3fn", NULL, 1, REEL_NDTYPE },
    { "float8_e5m2", NULL, 1, REEL_NDTYPE },
    { "float8_e4m3fnuz", NULL, 1, REEL_NDTYPE },
    { "float8_e5m2fnuz", NULL, 1, REEL_NDTYPE },
    { "float8_e8m0fnu", NULL, 1, REEL_NDTYPE },
};
#define N_TYPES ((int)(sizeof types / sizeof types[0]))

const struct reel_pt_type *reel_pt_type_named(const char *name)
{
    for (int i = 0; i < N_TYPES; i++)
        if (strcmp(types[i].name, name) == 0) return &types[i];
    return NULL;
}

const struct reel_pt_type *reel_pt_type_of(reel_dtype dt)
{
    int i = 0;

    while (i < N_TYPES && types[i].dt != dt) i++;
    REEL_BUG_IF(i == N_TYPES, "no torch type for dtype %d", (int)dt);
    return &types[i];
}

int64_t reel_pt_numel(const int64_t *n, int nd)
{
    int64_t k = 1, zero = 0;

    for (int i = 0; i < nd; i++) {
        if (n[i] == 0) zero = 1;
        else if (__builtin_mul_overflow(k, n[i], &k) || k >> 62) return -1;
    }
    return zero ? 0 : k;
}

static reel_err bad(const struct reel_pt *pt, const char *what)
{
    return REEL_FAIL(REEL_EDATA, "%s: %s: archive at byte %llu: %s", pt->z.b.path, pt->z.b.what,
                     (unsigned long long)pt->z.b.at, what);
}

static reel_err read_pickle(struct reel_pt *pt)
{
    const struct reel_zip_rec *r = reel_zip_find(&pt->z, "data.pkl");
    char where[512], *buf;
    reel_err e;

    if (!r) return bad(pt, "no record data.pkl");
    snprintf(where, sizeof where, "%s: %s: archive at byte %llu", pt->z.b.path, pt->z.b.what, (unsigned long long)pt->z.b.at);
    buf = malloc(r->bytes + 1);
    if (!buf) return REEL_FAIL(REEL_ENOMEM, "%s: no memory", where);
    e = reel_zip_read(&pt->z, r, buf);
    if (!e) e = reel_pickle_load(&pt->pkl, buf, r->bytes, where);
    free(buf);
    return e;
}

static reel_err check_order(const struct reel_pt *pt)
{
    const struct reel_zip_rec *r = reel_zip_find(&pt->z, "byteorder");
    char order[8] = "";

    if (!reel_zip_find(&pt->z, "version")) return bad(pt, "no record version: not written by torch.save");
    if (!r) return REEL_OK; /* older writers leave it out: little */
    if (r->bytes < sizeof order) REEL_TRY(reel_zip_read(&pt->z, r, order));
    return strcmp(order, "little") == 0 ? REEL_OK : bad(pt, "byte order is not little");
}

void reel_pt_close(struct reel_pt *pt)
{
    reel_pickle_free(pt->pkl);
    pt->pkl = NULL;
}

/* ---- tensors ---- */

/* ("storage", class, key, location, numel) */
static reel_err storage_of(const struct reel_pt *pt, const struct reel_pv *v, struct reel_pt_tensor *t,
                           const struct reel_pv *type7)
{
    const struct reel_pv *cls, *key, *count;
    char name[64];
    int size;

    if (!v || v->kind != REEL_PV_PERSID || v->u.seq.n != 5) return bad(pt, "a tensor without a storage");
    cls = v->u.seq.v[1], key = v->u.seq.v[2], count = v->u.seq.v[4];
    if (v->u.seq.v[0]->kind != REEL_PV_STR || strcmp(v->u.seq.v[0]->u.str.p, "storage") != 0 ||
        cls->kind != REEL_PV_GLOBAL || key->kind != REEL_PV_STR || count->kind != REEL_PV_INT || count->u.i < 0)
        return bad(pt, "an unknown kind of storage");
    t->type = type7 ? reel_pt_type_named(reel_pv_class(type7)) : NULL;
    for (int i = 0; i < N_TYPES && !t->type; i++)
        if (types[i].storage && strcmp(types[i].storage, reel_pv_class(cls)) == 0) t->type = &types[i];
    if (!t->type) t->type = reel_pt_type_named("uint8");
    size = strcmp(reel_pv_class(cls), "UntypedStorage") == 0 ? 1 : t->type->size;
    snprintf(name, sizeof name, "data/%s", key->u.str.p);
    t->rec = reel_zip_find(&pt->z, name);
    if (!t->rec) return bad(pt, "a storage without its record");
    if (count->u.i >> 56 || (uint64_t)count->u.i * (uint64_t)size != t->rec->bytes)
        return bad(pt, "a storage and its record differ in length");
    t->stored = (int64_t)(t->rec->bytes / (uint64_t)t->type->size);
    return REEL_OK;
}

static reel_err check_extent(const struct reel_pt *pt, struct reel_pt_tensor *t)
{
    int64_t last = t->off, step;

    t->numel = reel_pt_numel(t->n, t->nd);
    if (t->numel < 0) return bad(pt, "a tensor whose size overflows");
    if (t->numel == 0) return REEL_OK;
    for (int i = 0; i < t->nd; i++)
        if (__builtin_mul_overflow(t->n[i] - 1, t->stride[i], &step) || __builtin_add_overflow(last, step, &last))
            return bad(pt, "a tensor whose strides overflow");
    return last < t->stored ? REEL_OK : bad(pt, "a tensor that reaches outside its storage");
}

reel_err reel_pt_tensor_of(const struct reel_pt *pt, const struct reel_pv *v, struct reel_pt_tensor *t)
{
    const struct reel_pv *a;

    *t = (struct reel_pt_tensor){ 0 };
    if (!v || v->kind != REEL_PV_OBJ || strncmp(reel_pv_class(v), "_rebuild_tensor_v", 17) != 0)
        return bad(pt, "a tensor was expected");
    a = v->u.obj.args;
    if (a->u.seq.n < 6 || a->u.seq.v[1]->kind != REEL_PV_INT || a->u.seq.v[1]->u.i < 0)
        return bad(pt, "a damaged tensor");
    t->off = a->u.seq.v[1]->u.i;
    t->nd = reel_pv_ints(a->u.seq.v[2], t->n, REEL_PT_MAXDIM);
    if (t->nd < 0 || reel_pv_ints(a->u.seq.v[3], t->stride, REEL_PT_MAXDIM) != t->nd)
        return bad(pt, "sizes or strides that are none");
    REEL_TRY(storage_of(pt, a->u.seq.v[0], t, a->u.seq.n > 6 ? a->u.seq.v[6] : NULL));
    return check_extent(pt, t);
}

static reel_err check_tensor(void *ctx, const struct reel_pv *call)
{
    struct reel_pt_tensor t;

    if (strncmp(reel_pv_class(call), "_rebuild_tensor_v", 17) != 0) return REEL_OK;
    return reel_pt_tensor_of(ctx, call, &t);
}

reel_err reel_pt_open(struct reel_pt *pt, const struct reel_blob *b)
{
    pt->pkl = NULL;
    REEL_TRY(reel_zip_open(&pt->z, b));
    REEL_TRY(check_order(pt));
    REEL_TRY(read_pickle(pt));
    return reel_pickle_calls(pt->pkl, check_tensor, pt);
}

static reel_err read_storage(const struct reel_pt *pt, const struct reel_zip_rec *r, char *dst)
{
    uint64_t at, n = r->bytes;
    uint32_t crc = 0;

    REEL_TRY(reel_zip_data(&pt->z, r, &at));
    for (uint64_t done = 0; done < n; done += READ_BLOCK) {
        uint64_t k = n - done < READ_BLOCK ? n - done : READ_BLOCK;
        REEL_TRY(reel_pread(pt->z.b.fd, dst + done, k, at + done, pt->z.b.path));
        crc = reel_crc32(crc, dst + done, k);
    }
    return crc == r->crc ? REEL_OK : reel_zip_crc_error(&pt->z, r, crc);
}

static int is_whole_row_major(const struct reel_pt_tensor *t)
{
    int64_t want = 1;

    for (int i = t->nd - 1; i >= 0; i--) {
        if (t->n[i] != 1 && t->stride[i] != want) return 0;
        want *= t->n[i];
    }
    return t->off == 0 && t->numel == t->stored;
}

static void gather(const struct reel_pt_tensor *t, const char *src, char *dst)
{
    int64_t i[REEL_PT_MAXDIM] = { 0 }, at = t->off;
    size_t size = (size_t)t->type->size;

    for (int64_t k = 0; k < t->numel; k++) {
        memcpy(dst + (size_t)k * size, src + (size_t)at * size, size);
        for (int d = t->nd - 1; d >= 0; d--) {
            at += t->stride[d];
            if (++i[d] < t->n[d]) break;
            at -= t->n[d] * t->stride[d];
            i[d] = 0;
        }
    }
}

reel_err reel_pt_data(const struct reel_pt *pt, const struct reel_pt_tensor *t, void *dst)
{
    char *all;
    reel_err e;

    if (is_whole_row_major(t)) return read_storage(pt, t->rec, dst);
    all = malloc(t->rec->bytes + 1);
    if (!all) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for %llu bytes", pt->z.b.path,
                               (unsigned long long)t->rec->bytes);
    e = read_storage(pt, t->rec, all);
    if (!e) gather(t, all, dst);
    free(all);
    return e;
}

/* The blob's bytes [at, end) behind what has *crc. */
static reel_err sum_bytes(const struct reel_blob *b, uint64_t at, uint64_t end, uint32_t *crc)
{
    char buf[4096];

    while (at < end) {
        size_t k = end - at < sizeof buf ? (size_t)(end - at) : sizeof buf;
        REEL_TRY(reel_pread(b->fd, buf, k, b->at + at, b->path));
        *crc = reel_crc32(*crc, buf, k);
        at += k;
    }
    return REEL_OK;
}

reel_err reel_pt_sum(const struct reel_pt *pt, const struct reel_zip_rec *known, uint32_t *crc)
{
    const struct reel_blob *b = &pt->z.b;
    uint64_t data;

    *crc = 0;
    REEL_TRY(reel_zip_data(&pt->z, known, &data));
    data -= b->at;
    REEL_TRY(sum_bytes(b, 0, data, crc));
    *crc = reel_crc32_join(*crc, known->crc, known->bytes);
    return sum_bytes(b, data + known->bytes, b->len, crc);
}

reel_err reel_pt_verify(const struct reel_pt *pt)
{
    reel_err e = REEL_OK;

    for (int i = 0; i < pt->z.n && !e; i++) {
        char *buf = malloc(pt->z.rec[i].bytes + 1);
        e = buf ? read_storage(pt, &pt->z.rec[i], buf) : REEL_FAIL(REEL_ENOMEM, "%s: no memory", pt->z.b.path);
        free(buf);
    }
    return e;
}

/* ---- writer ---- */

static void put_tensor_pickle(struct reel_pw *w, const struct reel_pt_type *type, const int64_t *n, int nd)
{
    int64_t stride[REEL_PT_MAXDIM], k = 1;

    for (int i = nd - 1; i >= 0; i--) stride[i] = k, k *= n[i] > 1 ? n[i] : 1;
    reel_pw_begin(w);
    reel_pw_global(w, "torch._utils", type->storage ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3");
    reel_pw_op(w, REEL_P_MARK);
    reel_pw_op(w, REEL_P_MARK);
    reel_pw_str(w, "storage");
    if (type->storage) reel_pw_global(w, "torch", type->storage);
    else reel_pw_global(w, "torch.storage", "UntypedStorage");
    reel_pw_str(w, "0");
    reel_pw_str(w, "cpu");
    reel_pw_int(w, reel_pt_numel(n, nd) * (type->storage ? 1 : type->size));
    reel_pw_op(w, REEL_P_TUPLE);
    reel_pw_op(w, REEL_P_PERSID);
    reel_pw_int(w, 0);
    reel_pw_ints(w, n, nd);
    reel_pw_ints(w, stride, nd);
    reel_pw_op(w, REEL_P_FALSE);
    reel_pw_global(w, "collections", "OrderedDict");
    reel_pw_op(w, REEL_P_EMPTY_TUPLE);
    reel_pw_op(w, REEL_P_REDUCE);
    if (!type->storage) reel_pw_global(w, "torch", type->name);
    reel_pw_op(w, REEL_P_TUPLE);
    reel_pw_op(w, REEL_P_REDUCE);
    reel_pw_end(w);
}

/* A small record: header and data. `start` is where the archive begins in w. */
static void put_record(struct reel_pw *w, size_t start, struct reel_zip_put *rec, const char *name, const void *data,
                       size_t n)
{
    *rec = (struct reel_zip_put){ name, w->n - start, n, reel_crc32(0, data, n) };
    reel_zip_put_head(w, rec->head, name, rec->crc, n);
    reel_pw_raw(w, data, n);
}

void reel_pt_put_tensor(struct reel_pw *w, const struct reel_pt_type *type, const int64_t *n, int nd, uint32_t crc,
                        struct reel_zip_put rec[4])
{
    size_t start = w->n;
    struct reel_pw pkl = { 0 };
    uint64_t bytes = (uint64_t)reel_pt_numel(n, nd) * (uint64_t)type->size;

    put_tensor_pickle(&pkl, type, n, nd);
    w->failed |= pkl.failed;
    put_record(w, start, &rec[0], "data.pkl", pkl.p, pkl.n);
    reel_pw_free(&pkl);
    put_record(w, start, &rec[1], "byteorder", "little", 6);
    rec[2] = (struct reel_zip_put){ "data/0", w->n - start, bytes, crc };
    reel_zip_put_head(w, rec[2].head, "data/0", crc, bytes);
}

void reel_pt_put_tail(struct reel_pw *w, uint64_t pos, struct reel_zip_put rec[4])
{
    size_t start = w->n;

    rec[3] = (struct reel_zip_put){ "version", pos, 2, reel_crc32(0, "3\n", 2) };
    reel_zip_put_head(w, pos, "version", rec[3].crc, 2);
    reel_pw_raw(w, "3\n", 2);
    reel_zip_put_tail(w, pos + (w->n - start), rec, 4);
}

void reel_pt_put_object(struct reel_pw *w, const void *pkl, size_t bytes)
{
    struct reel_zip_put rec[3];
    size_t start = w->n;

    put_record(w, start, &rec[0], "data.pkl", pkl, bytes);
    put_record(w, start, &rec[1], "byteorder", "little", 6);
    put_record(w, start, &rec[2], "version", "3\n", 2);
    reel_zip_put_tail(w, w->n - start, rec, 3);
}
