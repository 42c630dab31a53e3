/* .metadata -> struct reel_dcp, and the checks that make the rest simple. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "ckpt/dcp_priv.h"

static reel_err bad(const struct reel_dcp *d, const char *key, const char *what)
{
    return REEL_FAIL(REEL_EDATA, "%s/.metadata: %s: %s", d->dir, key, what);
}

/* ---- storage_data: where each (key, offset) lies ---- */

struct place { const char *key; int nd; int64_t off[REEL_PT_MAXDIM]; const char *path; uint64_t at, len; };

static int place_cmp(const void *pa, const void *pb)
{
    const struct place *a = pa, *b = pb;
    int c = strcmp(a->key, b->key);

    if (c) return c;
    if (a->nd != b->nd) return a->nd < b->nd ? -1 : 1;
    for (int i = 0; i < a->nd; i++)
        if (a->off[i] != b->off[i]) return a->off[i] < b->off[i] ? -1 : 1;
    return 0;
}

static const char *text_of(const struct reel_pv *v)
{
    return v && v->kind == REEL_PV_STR && strlen(v->u.str.p) == v->u.str.n ? v->u.str.p : NULL;
}

static int path_is_inside(const char *p)
{
    if (!*p || *p == '/') return 0;
    for (const char *s = p; s; s = strchr(s, '/')) {
        s += *s == '/';
        if (strncmp(s, "..", 2) == 0 && (s[2] == '/' || !s[2])) return 0;
    }
    return 1;
}

static reel_err parse_place(const struct reel_dcp *d, struct place *p, const struct reel_pv *k, const struct reel_pv *v)
{
    const struct reel_pv *off = reel_pv_get(k, "offset"), *at = reel_pv_get(v, "offset"),
                         *len = reel_pv_get(v, "length"), *tr = reel_pv_get(v, "transform_descriptors");

    p->key = text_of(reel_pv_get(k, "fqn"));
    p->path = text_of(reel_pv_get(v, "relative_path"));
    if (strcmp(reel_pv_class(k), "MetadataIndex") != 0 || strcmp(reel_pv_class(v), "_StorageInfo") != 0 || !p->key ||
        !p->path || !at || !len || at->kind != REEL_PV_INT || len->kind != REEL_PV_INT)
        return bad(d, "storage_data", "damaged entry");
    if (tr && tr->kind != REEL_PV_NONE) return bad(d, p->key, "stored through a transform, which is not supported");
    if (!path_is_inside(p->path)) return bad(d, p->key, "its file is outside the checkpoint");
    if (at->u.i < 0 || len->u.i < 0 || at->u.i >> 60 || len->u.i >> 60) return bad(d, p->key, "impossible file offset");
    p->at = (uint64_t)at->u.i;
    p->len = (uint64_t)len->u.i;
    p->nd = off && off->kind != REEL_PV_NONE ? reel_pv_ints(off, p->off, REEL_PT_MAXDIM) : -1;
    return REEL_OK;
}

static reel_err parse_places(struct reel_dcp *d, const struct reel_pv *dict, struct place **out, size_t *n)
{
    struct place *p;

    if (!dict || dict->kind != REEL_PV_DICT) return bad(d, "storage_data", "missing");
    *n = dict->u.seq.n / 2;
    *out = p = calloc(*n + 1, sizeof *p);
    if (!p) return REEL_FAIL(REEL_ENOMEM, "%s: no memory", d->dir);
    for (size_t i = 0; i < *n; i++) REEL_TRY(parse_place(d, &p[i], dict->u.seq.v[2 * i], dict->u.seq.v[2 * i + 1]));
    qsort(p, *n, sizeof *p, place_cmp);
    for (size_t i = 1; i < *n; i++)
        if (place_cmp(&p[i - 1], &p[i]) == 0) return bad(d, p[i].key, "a chunk with two storage entries");
    return REEL_OK;
}

static reel_err locate(const struct reel_dcp *d, const struct reel_dcp_entry *e, struct reel_dcp_chunk *c,
                       const struct place *p, size_t n)
{
    struct place want = { .key = e->key, .nd = e->type ? e->nd : -1 }, *hit;

    memcpy(want.off, c->off, sizeof want.off);
    hit = bsearch(&want, p, n, sizeof *p, place_cmp);
    if (!hit) return bad(d, e->key, "a chunk without a storage entry");
    c->path = hit->path;
    c->at = hit->at;
    c->len = hit->len;
    if (e->type && (uint64_t)reel_pt_numel(c->n, e->nd) > c->len / (uint64_t)e->type->size)
        return bad(d, e->key, "a chunk larger than its archive");
    return REEL_OK;
}

/* ---- state_dict_metadata ---- */

/* What a hostile file may cost: each chunk has a place of its own, and comparing chunks takes a time that its length bounds. */
struct limits { size_t places, compares; };

#define COMPARES_PER_BYTE 16 /* a grid of R x C chunks takes R C C/2 of them, and has two hundred bytes of metadata each */

static reel_err parse_chunks(const struct reel_dcp *d, struct reel_dcp_entry *e, const struct reel_pv *list, struct limits *l)
{
    if (!list || list->kind != REEL_PV_LIST) return bad(d, e->key, "no list of chunks");
    if (list->u.seq.n > l->places) return bad(d, e->key, "a chunk without a storage entry");
    l->places -= list->u.seq.n;
    e->chunk = calloc(list->u.seq.n + 1, sizeof *e->chunk);
    if (!e->chunk) return REEL_FAIL(REEL_ENOMEM, "%s: no memory", d->dir);
    for (size_t i = 0; i < list->u.seq.n; i++) {
        struct reel_dcp_chunk *c = &e->chunk[e->n_chunks++];
        if (reel_pv_ints(reel_pv_get(list->u.seq.v[i], "offsets"), c->off, REEL_PT_MAXDIM) != e->nd ||
            reel_pv_ints(reel_pv_get(list->u.seq.v[i], "sizes"), c->n, REEL_PT_MAXDIM) != e->nd)
            return bad(d, e->key, "a chunk whose offsets or sizes do not fit the tensor");
        for (int k = 0; k < e->nd; k++)
            if (c->off[k] > e->n[k] || c->n[k] > e->n[k] - c->off[k])
                return bad(d, e->key, "a chunk that reaches outside its tensor");
    }
    return REEL_OK;
}

static int chunk_cmp(const void *pa, const void *pb)
{
    const struct reel_dcp_chunk *a = pa, *b = pb;

    for (int i = 0; i < REEL_PT_MAXDIM; i++)
        if (a->off[i] != b->off[i]) return a->off[i] < b->off[i] ? -1 : 1;
    return 0;
}

static int chunks_overlap(const struct reel_dcp_entry *e, const struct reel_dcp_chunk *a, const struct reel_dcp_chunk *b)
{
    for (int i = 0; i < e->nd; i++)
        if (a->off[i] >= b->off[i] + b->n[i] || b->off[i] >= a->off[i] + a->n[i]) return 0;
    return reel_pt_numel(a->n, e->nd) > 0 && reel_pt_numel(b->n, e->nd) > 0;
}

/* Sorted by their first row, a chunk can only meet those that begin before it ends. */
static reel_err check_cover(const struct reel_dcp *d, struct reel_dcp_entry *e, struct limits *l)
{
    int64_t total = reel_pt_numel(e->n, e->nd), sum = 0;

    if (total < 0) return bad(d, e->key, "a size that overflows");
    qsort(e->chunk, (size_t)e->n_chunks, sizeof *e->chunk, chunk_cmp);
    for (int i = 0; i < e->n_chunks; i++) {
        struct reel_dcp_chunk *c = &e->chunk[i];
        if (reel_pt_numel(c->n, e->nd) == 0) continue;
        sum += reel_pt_numel(c->n, e->nd);
        if (sum > total) return bad(d, e->key, "chunks overlap");
        for (int k = i + 1; k < e->n_chunks && (e->nd == 0 || e->chunk[k].off[0] < c->off[0] + c->n[0]); k++) {
            if (l->compares-- == 0) return bad(d, e->key, "more chunks side by side than a run writes");
            if (chunks_overlap(e, c, &e->chunk[k])) return bad(d, e->key, "chunks overlap");
        }
    }
    return sum == total ? REEL_OK : bad(d, e->key, "chunks do not fill the tensor");
}

static reel_err parse_tensor(const struct reel_dcp *d, struct reel_dcp_entry *e, const struct reel_pv *v, struct limits *l)
{
    const struct reel_pv *props = reel_pv_get(v, "properties"), *state = props ? props->u.obj.state : NULL;

    if (strcmp(reel_pv_class(props), "TensorProperties") != 0 || !state || state->kind != REEL_PV_TUPLE ||
        state->u.seq.n < 5 || state->u.seq.n > 6)
        return bad(d, e->key, "no tensor properties");
    e->type = reel_pt_type_named(reel_pv_class(state->u.seq.v[0]));
    if (!e->type) return bad(d, e->key, "unknown element type");
    e->nd = reel_pv_ints(reel_pv_get(v, "size"), e->n, REEL_PT_MAXDIM);
    if (e->nd < 0) return bad(d, e->key, "no size, or more than 8 dimensions");
    REEL_TRY(parse_chunks(d, e, reel_pv_get(v, "chunks"), l));
    return check_cover(d, e, l);
}

static reel_err parse_entry(const struct reel_dcp *d, struct reel_dcp_entry *e, const struct reel_pv *k,
                            const struct reel_pv *v, struct limits *l)
{
    e->key = text_of(k);
    if (!e->key) return bad(d, "state_dict_metadata", "a key that is not text");
    if (strcmp(reel_pv_class(v), "TensorStorageMetadata") == 0) return parse_tensor(d, e, v, l);
    if (strcmp(reel_pv_class(v), "BytesStorageMetadata") != 0) return bad(d, e->key, "neither tensor nor object");
    e->chunk = calloc(1, sizeof *e->chunk);
    if (!e->chunk) return REEL_FAIL(REEL_ENOMEM, "%s: no memory", d->dir);
    e->n_chunks = 1;
    return REEL_OK;
}

static int entry_cmp(const void *a, const void *b)
{
    return strcmp(((const struct reel_dcp_entry *)a)->key, ((const struct reel_dcp_entry *)b)->key);
}

static reel_err parse_entries(struct reel_dcp *d, const struct reel_pv *dict, struct limits *l)
{
    if (!dict || dict->kind != REEL_PV_DICT) return bad(d, "state_dict_metadata", "missing");
    d->e = calloc(dict->u.seq.n / 2 + 1, sizeof *d->e);
    if (!d->e) return REEL_FAIL(REEL_ENOMEM, "%s: no memory", d->dir);
    for (size_t i = 0; i + 1 < dict->u.seq.n; i += 2)
        REEL_TRY(parse_entry(d, &d->e[d->n++], dict->u.seq.v[i], dict->u.seq.v[i + 1], l));
    qsort(d->e, (size_t)d->n, sizeof *d->e, entry_cmp);
    for (int i = 1; i < d->n; i++)
        if (entry_cmp(&d->e[i - 1], &d->e[i]) == 0) return bad(d, d->e[i].key, "the key appears twice");
    return REEL_OK;
}

static reel_err parse(struct reel_dcp *d, size_t bytes)
{
    const struct reel_pv *root = reel_pickle_root(d->pkl);
    struct place *p = NULL;
    struct limits l = { .compares = COMPARES_PER_BYTE * (bytes + 65536) };
    reel_err e;

    if (strcmp(reel_pv_class(root), "Metadata") != 0) return bad(d, "pickle", "not the metadata of a checkpoint");
    e = parse_places(d, reel_pv_get(root, "storage_data"), &p, &l.places);
    size_t n = l.places;
    if (!e) e = parse_entries(d, reel_pv_get(root, "state_dict_metadata"), &l);
    for (int i = 0; i < d->n && !e; i++)
        for (int k = 0; k < d->e[i].n_chunks && !e; k++) e = locate(d, &d->e[i], &d->e[i].chunk[k], p, n);
    free(p);
    return e;
}

reel_err reel_dcp_open_mem(struct reel_dcp **out, const char *dir, const void *meta, size_t bytes)
{
    struct reel_dcp *d = calloc(1, sizeof *d);
    char where[4096];
    reel_err e;

    *out = NULL;
    if (d) d->dir = strdup(dir);
    if (!d || !d->dir) {
        free(d);
        return REEL_FAIL(REEL_ENOMEM, "%s: no memory", dir);
    }
    snprintf(where, sizeof where, "%s/.metadata", dir);
    e = reel_pickle_load(&d->pkl, meta, bytes, where);
    if (!e) e = parse(d, bytes);
    if (e) reel_dcp_close(d);
    else *out = d;
    return e;
}

reel_err reel_dcp_dir(const char *checkpoint, char *dcp, size_t size)
{
    char meta[PATH_MAX];
    struct stat st;
    int there;

    REEL_TRY(reel_join(dcp, size, checkpoint, "dcp"));
    REEL_TRY(reel_stat(dcp, &st, &there));
    if (there) return REEL_OK;
    REEL_TRY(reel_join(meta, sizeof meta, checkpoint, ".metadata"));
    REEL_TRY(reel_stat(meta, &st, &there));
    if (!there) return REEL_FAIL(REEL_EDATA, "%s: not a checkpoint: neither dcp/ nor .metadata in it", checkpoint);
    snprintf(dcp, size, "%s", checkpoint);
    return REEL_OK;
}

reel_err reel_dcp_open(struct reel_dcp **d, const char *dir)
{
    char path[4096], *meta;
    struct stat st;
    size_t n;
    int there;
    reel_err e;

    *d = NULL;
    REEL_TRY(reel_join(path, sizeof path, dir, ".metadata"));
    REEL_TRY(reel_stat(path, &st, &there));
    if (!there) return REEL_FAIL(REEL_EDATA, "%s: incomplete checkpoint: no .metadata", dir);
    REEL_TRY(reel_file_read(path, &meta, &n));
    e = reel_dcp_open_mem(d, dir, meta, n);
    free(meta);
    return e;
}

reel_err reel_dcp_open_of(struct reel_dcp **d, const char *checkpoint)
{
    char dir[PATH_MAX];

    *d = NULL;
    REEL_TRY(reel_dcp_dir(checkpoint, dir, sizeof dir));
    return reel_dcp_open(d, dir);
}

void reel_dcp_close(struct reel_dcp *d)
{
    if (!d) return;
    reel_dcp_close_files(d);
    for (int i = 0; i < d->n; i++) free(d->e[i].chunk);
    reel_pickle_free(d->pkl);
    free(d->e);
    free(d->dir);
    free(d);
}

int reel_dcp_count(const struct reel_dcp *d) { return d->n; }
const struct reel_dcp_entry *reel_dcp_entry(const struct reel_dcp *d, int i) { return &d->e[i]; }

const struct reel_dcp_entry *reel_dcp_find(const struct reel_dcp *d, const char *key)
{
    struct reel_dcp_entry want = { .key = key };

    return bsearch(&want, d->e, (size_t)d->n, sizeof want, entry_cmp);
}

reel_err reel_dcp_check_files(const struct reel_dcp *d)
{
    const char *last = "";
    uint64_t size = 0;
    int there;
    char path[4096];
    struct stat st;

    for (int i = 0; i < d->n; i++)
        for (int k = 0; k < d->e[i].n_chunks; k++) {
            const struct reel_dcp_chunk *c = &d->e[i].chunk[k];
            if (strcmp(c->path, last) != 0) {
                REEL_TRY(reel_join(path, sizeof path, d->dir, c->path));
                REEL_TRY(reel_stat(path, &st, &there));
                if (!there) return REEL_FAIL(REEL_EDATA, "%s: missing; %s needs it", path, d->e[i].key);
                last = c->path, size = (uint64_t)st.st_size;
            }
            if (c->at > size || c->len > size - c->at)
                return REEL_FAIL(REEL_EDATA, "%s/%s: %llu bytes; %s needs [%llu,+%llu)", d->dir, c->path,
                                 (unsigned long long)size, d->e[i].key, (unsigned long long)c->at,
                                 (unsigned long long)c->len);
        }
    return REEL_OK;
}
