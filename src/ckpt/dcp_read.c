/* Chunks and objects of an open checkpoint. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "ckpt/dcp_priv.h"

static void close_file(struct reel_dcp *d, int i)
{
    if (!d->file[i].full) return;
    close(d->file[i].fd);
    free(d->file[i].full);
    d->file[i].full = NULL;
}

void reel_dcp_close_files(struct reel_dcp *d)
{
    for (int i = 0; i < REEL_DCP_FILES; i++) close_file(d, i);
}

/* Slot of an open file, the oldest one replaced. */
static reel_err open_file(struct reel_dcp *d, const char *path, int *slot)
{
    char full[4096];
    int i;

    REEL_TRY(reel_join(full, sizeof full, d->dir, path));
    for (i = 0; i < REEL_DCP_FILES; i++)
        if (d->file[i].full && strcmp(d->file[i].full, full) == 0) return *slot = i, REEL_OK;
    i = *slot = d->turn++ % REEL_DCP_FILES;
    close_file(d, i);
    d->file[i].fd = open(full, O_RDONLY | O_CLOEXEC);
    if (d->file[i].fd < 0) return REEL_FAIL(REEL_EIO, "%s: cannot open: %s", full, strerror(errno));
    d->file[i].full = strdup(full);
    if (d->file[i].full) return REEL_OK;
    close(d->file[i].fd);
    return REEL_FAIL(REEL_ENOMEM, "%s: no memory", full);
}

static reel_err open_blob(struct reel_dcp *d, const struct reel_dcp_entry *e, const struct reel_dcp_chunk *c,
                          struct reel_blob *b)
{
    int i;

    REEL_TRY(open_file(d, c->path, &i));
    *b = (struct reel_blob){ d->file[i].fd, d->file[i].full, e->key, c->at, c->len };
    return REEL_OK;
}

reel_err reel_dcp_read_object(struct reel_dcp *d, const struct reel_dcp_entry *e, struct reel_pt *pt)
{
    struct reel_blob b;

    pt->pkl = NULL;
    REEL_TRY(open_blob(d, e, e->chunk, &b));
    return reel_pt_open(pt, &b);
}

/* The archive of a chunk, whose tensor must be what the metadata says. */
static reel_err open_chunk(struct reel_dcp *d, const struct reel_dcp_entry *e, const struct reel_dcp_chunk *c,
                           struct reel_pt *pt, struct reel_pt_tensor *t)
{
    struct reel_blob b;

    pt->pkl = NULL;
    REEL_TRY(open_blob(d, e, c, &b));
    REEL_TRY(reel_pt_open(pt, &b));
    REEL_TRY(reel_pt_tensor_of(pt, reel_pickle_root(pt->pkl), t));
    if (t->type != e->type)
        return REEL_FAIL(REEL_EDATA, "%s/%s: %s: archive at byte %llu holds %s, .metadata says %s", d->dir, c->path,
                         e->key, (unsigned long long)c->at, t->type->name, e->type->name);
    if (t->nd != e->nd || memcmp(t->n, c->n, (size_t)e->nd * sizeof *c->n) != 0)
        return REEL_FAIL(REEL_EDATA, "%s/%s: %s: archive at byte %llu has other sizes than .metadata says", d->dir,
                         c->path, e->key, (unsigned long long)c->at);
    return REEL_OK;
}

void reel_dcp_want_sums(struct reel_dcp *d) { d->sums = 1; }

/* Of an archive whose data have been read, if that is wanted. */
static reel_err sum_chunk(const struct reel_dcp *d, struct reel_dcp_chunk *c, const struct reel_pt *pt, const struct reel_pt_tensor *t)
{
    if (!d->sums) return REEL_OK;
    REEL_TRY(reel_pt_sum(pt, t->rec, &c->crc));
    c->read = 1;
    return REEL_OK;
}

static reel_err read_chunk(struct reel_dcp *d, const struct reel_dcp_entry *e, struct reel_dcp_chunk *c, void *dst)
{
    struct reel_pt pt;
    struct reel_pt_tensor t;
    reel_err err = open_chunk(d, e, c, &pt, &t);

    if (!err) err = reel_pt_data(&pt, &t, dst);
    if (!err) err = sum_chunk(d, c, &pt, &t);
    reel_pt_close(&pt);
    return err;
}

/* A box of one array into a box of another; both row-major. */
struct box { char *p; const int64_t *n; int64_t at[REEL_PT_MAXDIM]; };

static char *corner(const struct box *b, const int64_t *i, int nd, size_t size)
{
    int64_t k = 0;

    for (int d = 0; d < nd; d++) k = k * b->n[d] + b->at[d] + i[d];
    return b->p + (size_t)k * size;
}

static void copy_box(const struct box *dst, const struct box *src, const int64_t *ext, int nd, size_t size)
{
    int64_t i[REEL_PT_MAXDIM] = { 0 };
    size_t row = (nd ? (size_t)ext[nd - 1] : 1) * size;

    for (;;) {
        memcpy(corner(dst, i, nd, size), corner(src, i, nd, size), row);
        int d = nd - 2;
        while (d >= 0 && ++i[d] == ext[d]) i[d--] = 0;
        if (d < 0) return;
    }
}

/* Whole rows of the block, nothing beside them: the chunk can be read in place. */
static int fits_in_place(const struct reel_dcp_chunk *c, const int64_t *off, const int64_t *n, int nd)
{
    for (int i = 0; i < nd; i++)
        if (c->off[i] < off[i] || c->off[i] + c->n[i] > off[i] + n[i] || (i && c->n[i] != n[i])) return 0;
    return 1;
}

static reel_err read_part(struct reel_dcp *d, const struct reel_dcp_entry *e, struct reel_dcp_chunk *c,
                          const int64_t *off, const int64_t *n, void *dst)
{
    struct box to = { .p = dst, .n = n }, from = { .n = c->n };
    int64_t ext[REEL_PT_MAXDIM];
    size_t size = (size_t)e->type->size;
    reel_err err;

    for (int i = 0; i < e->nd; i++) {
        int64_t lo = off[i] > c->off[i] ? off[i] : c->off[i];
        int64_t hi = off[i] + n[i] < c->off[i] + c->n[i] ? off[i] + n[i] : c->off[i] + c->n[i];
        if (lo >= hi) return REEL_OK;
        to.at[i] = lo - off[i];
        from.at[i] = lo - c->off[i];
        ext[i] = hi - lo;
    }
    if (fits_in_place(c, off, n, e->nd)) {
        int64_t zero[REEL_PT_MAXDIM] = { 0 };
        return read_chunk(d, e, c, corner(&to, zero, e->nd, size));
    }
    from.p = malloc((size_t)reel_pt_numel(c->n, e->nd) * size);
    if (!from.p) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for a chunk", e->key);
    err = read_chunk(d, e, c, from.p);
    if (!err) copy_box(&to, &from, ext, e->nd, size);
    free(from.p);
    return err;
}

reel_err reel_dcp_read(struct reel_dcp *d, const struct reel_dcp_entry *e, const int64_t *off, const int64_t *n,
                       void *dst)
{
    for (int i = 0; i < e->n_chunks; i++) REEL_TRY(read_part(d, e, &e->chunk[i], off, n, dst));
    return REEL_OK;
}

reel_err reel_dcp_verify(struct reel_dcp *d, const struct reel_dcp_entry *e)
{
    for (int i = 0; i < e->n_chunks; i++) {
        struct reel_pt pt;
        struct reel_pt_tensor t;
        struct reel_dcp_chunk *c = &e->chunk[i];
        reel_err err = e->type ? open_chunk(d, e, c, &pt, &t) : reel_dcp_read_object(d, e, &pt);
        if (!err) err = reel_pt_verify(&pt);
        if (!err && e->type) err = sum_chunk(d, c, &pt, &t);
        reel_pt_close(&pt);
        if (err) return err;
    }
    return REEL_OK;
}
