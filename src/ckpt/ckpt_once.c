/* Every byte of a checkpoint's files against its marker, of which a load has read most already: a file's checksum is put together from
 * those of the archives that ranks have read; the rest is read now, shared out over them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "base/file.h"
#include "ckpt/ckpt_priv.h"

#define RUN_BYTES ((uint64_t)64 << 20) /* what one rank reads in one go */

/* Bytes [at, at+len) of a file: an archive, or what is between two. Reading merges neighbours that nobody has read into runs. */
struct piece {
    int file;
    uint64_t at, len;
    const struct reel_dcp_chunk *c;
    uint32_t crc;
    int rank; /* who is to read it; -1: nobody yet; the number of ranks: it has been read */
};

struct whole {
    struct reel_ckpt *k;
    const char **file; /* names in the marker, sorted; those of tensors and values */
    int n_file, n;
    struct piece *p; /* [n] */
};

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static int by_place(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;

    if (x->file != y->file) return x->file - y->file;
    return x->at < y->at ? -1 : x->at > y->at;
}

static uint64_t size_of(const struct whole *w, int file)
{
    return (uint64_t)json_integer_value(json_object_get(json_object_get(w->k->m.files, w->file[file]), "size"));
}

/* ---- pieces: archives in the order of the files, and the bytes between them ---- */

static reel_err list_files(struct whole *w)
{
    const char *name;
    json_t *v;

    w->file = calloc(json_object_size(w->k->m.files) + 1, sizeof *w->file);
    if (!w->file) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for the list of its files", w->k->dir);
    json_object_foreach(w->k->m.files, name, v) if (ckpt_is_shard(name)) w->file[w->n_file++] = name;
    qsort(w->file, (size_t)w->n_file, sizeof *w->file, by_name);
    return REEL_OK;
}

static reel_err add_archive(struct whole *w, const struct reel_dcp_entry *e, const struct reel_dcp_chunk *c)
{
    char path[256];
    const char *key = path, **hit;

    snprintf(path, sizeof path, "dcp/%s", c->path);
    hit = bsearch(&key, w->file, (size_t)w->n_file, sizeof *w->file, by_name);
    if (!hit) return REEL_FAIL(REEL_EDATA, "%s/%s: holds %s, but was not committed", w->k->dir, path, e->key);
    w->p[w->n++] = (struct piece){ (int)(hit - w->file), c->at, c->len, c, c->crc, -1 };
    return REEL_OK;
}

static void add_gap(struct whole *w, int file, uint64_t from, uint64_t to)
{
    if (to > from) w->p[w->n++] = (struct piece){ file, from, to - from, NULL, 0, -1 };
}

static reel_err add_gaps(struct whole *w)
{
    int n = w->n, i = 0;

    for (int f = 0; f < w->n_file; f++) {
        uint64_t end = 0;
        for (; i < n && w->p[i].file == f; i++) {
            if (w->p[i].at < end) return REEL_FAIL(REEL_EDATA, "%s/%s: two archives overlap at byte %llu", w->k->dir, w->file[f], (unsigned long long)end);
            add_gap(w, f, end, w->p[i].at);
            end = w->p[i].at + w->p[i].len;
        }
        if (end > size_of(w, f)) return REEL_FAIL(REEL_EDATA, "%s/%s: an archive reaches beyond its end", w->k->dir, w->file[f]);
        add_gap(w, f, end, size_of(w, f));
    }
    qsort(w->p, (size_t)w->n, sizeof *w->p, by_place);
    return REEL_OK;
}

static reel_err list_pieces(struct whole *w)
{
    const struct reel_dcp *d = w->k->d;
    int chunks = 0;

    REEL_TRY(list_files(w));
    for (int i = 0; i < reel_dcp_count(d); i++) chunks += reel_dcp_entry(d, i)->n_chunks;
    w->p = calloc(2 * (size_t)chunks + (size_t)w->n_file + 1, sizeof *w->p);
    if (!w->p) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for the list of its archives", w->k->dir);
    for (int i = 0; i < reel_dcp_count(d); i++) {
        const struct reel_dcp_entry *e = reel_dcp_entry(d, i);
        for (int c = 0; c < e->n_chunks; c++) REEL_TRY(add_archive(w, e, &e->chunk[c]));
    }
    qsort(w->p, (size_t)w->n, sizeof *w->p, by_place);
    return add_gaps(w);
}

/* ---- who has read what ---- */

static int is_known(const struct whole *w, const struct piece *p) { return p->rank == w->k->world->size; }

/* Sums over the ranks of how many have read a piece, and of the checksums they saw: all alike, or the mean is none of them. */
static reel_err exchange(struct whole *w)
{
    int64_t *v = calloc(2 * (size_t)w->n + 1, sizeof *v);

    REEL_TRY(reel_agree(w->k->world, v ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "%s: no memory to compare its checksums", w->k->dir)));
    for (int i = 0; i < w->n; i++) {
        int mine = w->p[i].c ? w->p[i].c->read : w->p[i].rank == w->k->world->rank;
        if (!is_known(w, &w->p[i])) v[2 * i] = mine, v[2 * i + 1] = mine ? w->p[i].crc : 0;
    }
    reel_comm_sum_i64(w->k->world, v, 2 * w->n);
    for (int i = 0; i < w->n; i++) {
        if (!v[2 * i]) continue;
        w->p[i].crc = (uint32_t)(v[2 * i + 1] / v[2 * i]) ^ (uint32_t)(v[2 * i + 1] % v[2 * i]);
        w->p[i].rank = w->k->world->size;
    }
    free(v);
    return REEL_OK;
}

static int joins(const struct piece *a, const struct piece *b)
{
    return a->rank < 0 && b->rank < 0 && a->file == b->file && a->len + b->len <= RUN_BYTES;
}

/* Neighbours become one; then each run that nobody has read gets a rank, all about the same bytes. Symmetric. */
static void share_out(struct whole *w)
{
    uint64_t all = 0, before = 0;
    int n = 0;

    for (int i = 0; i < w->n; i++) {
        if (n && joins(&w->p[n - 1], &w->p[i])) w->p[n - 1].len += w->p[i].len;
        else w->p[n++] = w->p[i];
    }
    w->n = n;
    for (int i = 0; i < n; i++) all += is_known(w, &w->p[i]) ? 0 : w->p[i].len;
    for (int i = 0; i < n; i++) {
        struct piece *p = &w->p[i];
        p->c = NULL;
        if (is_known(w, p)) continue;
        p->rank = (int)((double)before / ((double)all + 1) * w->k->world->size);
        before += p->len;
    }
}

/* ---- the rest ---- */

static reel_err read_runs(void *ctx)
{
    struct whole *w = ctx;
    char path[PATH_MAX];

    for (int i = 0; i < w->n; i++) {
        struct piece *p = &w->p[i];
        if (p->rank != w->k->world->rank) continue;
        REEL_TRY(reel_join(path, sizeof path, w->k->dir, w->file[p->file]));
        REEL_TRY(ckpt_sum(w->k->m.version, path, p->at, p->len, &p->crc));
    }
    return REEL_OK;
}

/* ---- the verdict ---- */

static reel_err compare(void *ctx)
{
    const struct whole *w = ctx;
    int i = 0;

    for (int f = 0; f < w->n_file; f++) {
        uint32_t crc = 0;
        for (; i < w->n && w->p[i].file == f; i++) crc = reel_crc32_join(crc, w->p[i].crc, w->p[i].len);
        REEL_TRY(ckpt_marker_compare(&w->k->m, w->k->dir, w->file[f], crc));
    }
    return REEL_OK;
}

static reel_err verify(struct whole *w)
{
    struct ckpt_task t = { 0 };

    REEL_TRY(reel_agree(w->k->world, list_pieces(w)));
    REEL_TRY(exchange(w));
    share_out(w);
    ckpt_task_start(&t, read_runs, w);
    REEL_TRY(ckpt_task_wait(&t, w->k->world));
    REEL_TRY(exchange(w));
    if (w->k->world->rank == 0) ckpt_task_start(&t, compare, w); /* finding the damaged record reads a whole file */
    else ckpt_task_none(&t);
    return ckpt_task_wait(&t, w->k->world);
}

/* ---- markers before version 3 have a checksum that archives have not: their files are read beforehand ---- */

static int by_archives(const struct reel_ckpt *k) { return k->m.files && k->m.version >= 3; }

/* This rank's share of the files: every size-th. */
static reel_err sum_files(void *ctx)
{
    const struct reel_ckpt *k = ctx;

    return ckpt_marker_sums(&k->m, k->dir, 0, k->world->rank, k->world->size);
}

reel_err ckpt_want_whole(struct reel_ckpt *k)
{
    struct ckpt_task t = { 0 };

    if (by_archives(k)) reel_dcp_want_sums(k->d);
    if (!k->m.files || by_archives(k)) return REEL_OK;
    ckpt_task_start(&t, sum_files, k);
    return ckpt_task_wait(&t, k->world);
}

reel_err ckpt_verify_rest(struct reel_ckpt *k)
{
    struct whole w = { .k = k };
    reel_err e = by_archives(k) ? verify(&w) : REEL_OK;

    free(w.file);
    free(w.p);
    return e;
}
