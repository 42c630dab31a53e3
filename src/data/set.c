/* Opening a set (rank 0 reads the tables, all ranks get them) and reading samples. */
#include "data/set_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/file.h"
#include "tensor/half.h"

/* ---- names: "a:2,b:1", folders, repeats ---------------------------------------------------- */

struct names { struct { char *path; int64_t repeat; } *v; int n; };

static reel_err name_add(struct names *l, const char *path, size_t len, int64_t repeat)
{
    void *v;

    if (repeat <= 0) return REEL_OK;
    v = realloc(l->v, (size_t)(l->n + 1) * sizeof *l->v);
    if (!v) return REEL_FAIL(REEL_ENOMEM, "no memory for the list of data files");
    l->v = v;
    l->v[l->n].path = strndup(path, len);
    l->v[l->n].repeat = repeat;
    if (!l->v[l->n].path) return REEL_FAIL(REEL_ENOMEM, "no memory for the list of data files");
    l->n++;
    return REEL_OK;
}

static void names_free(struct names *l)
{
    for (int i = 0; i < l->n; i++) free(l->v[i].path);
    free(l->v);
}

static int is_h5(const char *s) { return reel_ends(s, ".h5") && s[0] != '.'; }

static reel_err add_folder(struct names *l, const char *path, int64_t repeat)
{
    DIR *d = opendir(path);
    struct dirent *e;
    reel_err err = REEL_OK;
    int before = l->n;

    if (!d) return REEL_FAIL(REEL_EIO, "%s: cannot open the folder: %m", path);
    while (!err && (e = readdir(d))) {
        char full[1024];
        if (!is_h5(e->d_name)) continue;
        err = reel_join(full, sizeof full, path, e->d_name);
        if (!err) err = name_add(l, full, strlen(full), repeat);
    }
    closedir(d);
    if (!err && l->n == before && repeat > 0)
        return REEL_FAIL(REEL_EIO, "%s: the folder holds no .h5 file, so it is no data set; `reel preprocess` makes one", path);
    return err;
}

static reel_err add_path(struct names *l, const char *path, int64_t repeat)
{
    char with[1024];

    if (repeat <= 0) return REEL_OK;
    if (!*path) return REEL_FAIL(REEL_ECONFIG, "data_path is empty: name a data set");
    if (reel_is_dir(path)) return add_folder(l, path, repeat);
    if (!reel_is_file(path) && snprintf(with, sizeof with, "%s.h5", path) < (int)sizeof with && reel_is_file(with))
        path = with;
    return name_add(l, path, strlen(path), repeat);
}

/* One item of "a:2,b:1": digits behind the last colon are the repeats. */
static reel_err add_item(struct names *l, const char *s, size_t len)
{
    char path[1024], *colon, *end;
    long long repeat = 1;

    while (len && (*s == ' ' || *s == '\t')) s++, len--;
    while (len && (s[len - 1] == ' ' || s[len - 1] == '\t')) len--;
    if (len >= sizeof path) return REEL_FAIL(REEL_ECONFIG, "data_path: a name is longer than %zu bytes", sizeof path);
    memcpy(path, s, len);
    path[len] = 0;
    colon = strrchr(path, ':');
    if (colon && colon[1] && !reel_is_file(path) && !reel_is_dir(path)) {
        repeat = strtoll(colon + 1, &end, 10);
        if (*end) repeat = 1;
        else *colon = 0;
    }
    return add_path(l, path, repeat);
}

static reel_err add_spec(struct names *l, const char *spec)
{
    if (reel_is_file(spec) || reel_is_dir(spec)) return add_path(l, spec, 1);
    for (;; spec++) {
        size_t n = strcspn(spec, ",");
        REEL_TRY(add_item(l, spec, n));
        spec += n;
        if (!*spec) return REEL_OK;
    }
}

/* ---- rank 0: load every file; the rest get a copy ------------------------------------------ */

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct reel_set_part *)a)->path, ((const struct reel_set_part *)b)->path);
}

static reel_err load_all(struct reel_set *s, const struct names *l)
{
    if (!l->n) return REEL_FAIL(REEL_ECONFIG, "data_path names no file (every repeat count is 0)");
    s->part = calloc((size_t)l->n, sizeof *s->part);
    if (!s->part) return REEL_FAIL(REEL_ENOMEM, "no memory for %d data files", l->n);
    for (int i = 0; i < l->n; i++) {
        s->n_parts = i + 1;
        REEL_TRY(reel_set_load_(&s->part[i], l->v[i].path));
        s->part[i].repeat = l->v[i].repeat;
    }
    qsort(s->part, (size_t)s->n_parts, sizeof *s->part, by_path);
    return REEL_OK;
}

/* The bytes behind a part's pointers, in one order for packing and unpacking. */
struct block { void **at; size_t bytes; };
static int blocks(struct reel_set_part *p, struct block b[4])
{
    size_t row = (size_t)p->info.text_dim * sizeof(float), n = (size_t)p->info.n;
    int k = 0;

    b[k++] = (struct block){ (void **)&p->offset, (n + 1) * sizeof *p->offset };
    b[k++] = (struct block){ (void **)&p->crc, n * sizeof *p->crc };
    if (p->negative) b[k++] = (struct block){ (void **)&p->negative, (size_t)p->negative_rows * row };
    if (p->empty) b[k++] = (struct block){ (void **)&p->empty, (size_t)p->empty_rows * row };
    return k;
}

static reel_err pack(struct reel_set *s, void **blob, size_t *bytes)
{
    struct block b[4];
    char *at;

    *bytes = sizeof s->n_parts;
    for (int i = 0; i < s->n_parts; i++) {
        *bytes += sizeof *s->part;
        for (int k = blocks(&s->part[i], b); k--;) *bytes += b[k].bytes;
    }
    at = *blob = malloc(*bytes);
    if (!at) return REEL_FAIL(REEL_ENOMEM, "no memory for the tables of the data set (%zu bytes)", *bytes);
    at = mempcpy(at, &s->n_parts, sizeof s->n_parts);
    for (int i = 0; i < s->n_parts; i++) {
        int n = blocks(&s->part[i], b);
        at = mempcpy(at, &s->part[i], sizeof *s->part);
        for (int k = 0; k < n; k++) at = mempcpy(at, *b[k].at, b[k].bytes);
    }
    return REEL_OK;
}

static reel_err unpack(struct reel_set *s, const char *at)
{
    struct block b[4];
    int n;

    memcpy(&n, at, sizeof n);
    at += sizeof n;
    s->part = calloc((size_t)n, sizeof *s->part);
    if (!s->part) return REEL_FAIL(REEL_ENOMEM, "no memory for %d data files", n);
    for (; s->n_parts < n; s->n_parts++) {
        struct reel_set_part *p = &s->part[s->n_parts], from;
        int blk;
        memcpy(&from, at, sizeof from);
        at += sizeof from;
        *p = from;
        blk = blocks(p, b);
        p->offset = NULL, p->crc = NULL, p->negative = p->empty = NULL;
        for (int k = 0; k < blk; k++, at += b[k - 1].bytes) {
            if (!(*b[k].at = malloc(b[k].bytes + 1))) return REEL_FAIL(REEL_ENOMEM, "no memory for the tables of %s", from.path);
            memcpy(*b[k].at, at, b[k].bytes);
        }
    }
    return REEL_OK;
}

/* ---- one set out of its parts -------------------------------------------------------------- */

static reel_err fits(const struct reel_set_part *a, const struct reel_set_part *b)
{
    const struct reel_set_info *x = &a->info, *y = &b->info;

    if (strcmp(x->kind, y->kind) != 0)
        return REEL_FAIL(REEL_EDATA, "%s holds %s but %s holds %s: one set has one kind", a->path, x->kind, b->path, y->kind);
    if (strcmp(x->recipe, y->recipe) != 0)
        return REEL_FAIL(REEL_EDATA, "%s and %s were not made by the same run: their recipes differ", a->path, b->path);
    if (x->channels != y->channels || x->frames != y->frames || x->height != y->height || x->width != y->width)
        return REEL_FAIL(REEL_EDATA, "%s has latents [%d,%d,%d,%d] but %s has [%d,%d,%d,%d]: one set has one shape", a->path,
                         x->channels, x->frames, x->height, x->width, b->path, y->channels, y->frames, y->height, y->width);
    if (x->text_dim != y->text_dim)
        return REEL_FAIL(REEL_EDATA, "%s has text vectors of %d columns but %s of %d", a->path, x->text_dim, b->path, y->text_dim);
    if (memcmp(x->mean, y->mean, sizeof x->mean) != 0 || memcmp(x->std, y->std, sizeof x->std) != 0)
        return REEL_FAIL(REEL_EDATA, "%s (family %s) and %s (family %s) have different normalisation constants", a->path,
                         x->family, b->path, y->family);
    return REEL_OK;
}

static reel_err join_parts(struct reel_set *s)
{
    size_t raw = 0;

    s->info = s->part[0].info;
    s->info.n = s->info.bytes = 0;
    s->info.n_files = s->n_parts;
    for (int i = 0; i < s->n_parts; i++) {
        struct reel_set_part *p = &s->part[i];
        size_t row = reel_set_row_bytes_(&p->info), latent = reel_set_latent_bytes_(&p->info);
        REEL_TRY(fits(&s->part[0], p));
        p->first = s->info.n;
        s->info.n += p->info.n * p->repeat;
        s->info.bytes += p->info.bytes;
        if (p->info.text_rows > s->info.text_rows) s->info.text_rows = p->info.text_rows;
        if (row * (size_t)p->info.text_rows > raw) raw = row * (size_t)p->info.text_rows;
        if (latent > raw) raw = latent;
    }
    s->raw = malloc(raw + 1);
    return s->raw ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for one sample (%zu bytes)", raw);
}

/* Every rank must see the same file: one that a node lacks, or holds another copy of, is found now. */
static reel_err open_files(struct reel_set *s)
{
    for (int i = 0; i < s->n_parts; i++) {
        struct reel_set_part *p = &s->part[i];
        struct stat st;
        p->fd = -1;
        if (reel_fault("data_open"))
            return REEL_FAIL(REEL_EIO, "%s: cannot open the data set: injected fault", p->path);
        if (stat(p->path, &st)) return REEL_FAIL(REEL_EIO, "%s: cannot open the data set: %m", p->path);
        if ((uint64_t)st.st_size != p->file_bytes)
            return REEL_FAIL(REEL_EIO, "%s: %lld bytes here but %llu on rank 0: not the same file", p->path,
                             (long long)st.st_size, (unsigned long long)p->file_bytes);
        if (s->n_parts <= REEL_SET_MAX_FDS && (p->fd = open(p->path, O_RDONLY | O_CLOEXEC)) < 0)
            return REEL_FAIL(REEL_EIO, "%s: cannot open the data set: %m", p->path);
    }
    return REEL_OK;
}

static reel_err open_named(struct reel_set **out, struct names *l, reel_err mine, struct reel_comm *c)
{
    struct reel_set *s = calloc(1, sizeof *s);
    void *blob = NULL;
    size_t bytes = 0;

    if (!s && !mine) mine = REEL_FAIL(REEL_ENOMEM, "no memory for a data set");
    if (!mine && c->rank == 0) mine = load_all(s, l);
    if (!mine && c->rank == 0) mine = pack(s, &blob, &bytes);
    mine = reel_agree(c, mine);
    if (!mine) mine = reel_comm_bcast_blob(c, &blob, &bytes, 0);
    if (!mine) {
        if (c->rank != 0) mine = unpack(s, blob);
        if (!mine) mine = join_parts(s);
        if (!mine) mine = open_files(s);
        mine = reel_agree(c, mine);
    }
    free(blob);
    if (mine) reel_set_close(s);
    *out = mine ? NULL : s;
    return mine;
}

reel_err reel_set_open(struct reel_set **set, const char *data_path, struct reel_comm *c)
{
    struct names l = { 0 };
    reel_err e = c->rank == 0 ? add_spec(&l, data_path) : REEL_OK;

    e = open_named(set, &l, e, c);
    names_free(&l);
    return e;
}

reel_err reel_set_open_list(struct reel_set **set, const struct reel_set_source *src, int n, struct reel_comm *c)
{
    struct names l = { 0 };
    reel_err e = REEL_OK;

    for (int i = 0; i < n && !e && c->rank == 0; i++) e = add_path(&l, src[i].path, src[i].repeat);
    e = open_named(set, &l, e, c);
    names_free(&l);
    return e;
}

void reel_set_part_free_(struct reel_set_part *p)
{
    free(p->offset);
    free(p->crc);
    free(p->negative);
    free(p->empty);
    if (p->fd >= 0) close(p->fd);
}

void reel_set_close(struct reel_set *s)
{
    if (!s) return;
    for (int i = 0; i < s->n_parts; i++) reel_set_part_free_(&s->part[i]);
    free(s->part);
    free(s->raw);
    free(s);
}

/* ---- reading ------------------------------------------------------------------------------- */

const struct reel_set_info *reel_set_info(const struct reel_set *s) { return &s->info; }

size_t reel_set_latent_bytes_(const struct reel_set_info *f)
{
    return (size_t)f->channels * (size_t)f->frames * (size_t)f->height * (size_t)f->width * reel_dtype_size(f->dtype);
}

size_t reel_set_row_bytes_(const struct reel_set_info *f) { return (size_t)f->text_dim * reel_dtype_size(f->dtype); }

static struct reel_set_part *find(const struct reel_set *s, int64_t index, int64_t *local)
{
    int lo = 0, hi = s->n_parts - 1;

    REEL_BUG_IF(index < 0 || index >= s->info.n, "sample %lld of %lld", (long long)index, (long long)s->info.n);
    while (lo < hi) {
        int mid = (lo + hi + 1) / 2;
        if (s->part[mid].first <= index) lo = mid;
        else hi = mid - 1;
    }
    *local = (index - s->part[lo].first) % s->part[lo].info.n;
    return &s->part[lo];
}

const char *reel_set_where(const struct reel_set *s, int64_t index, int64_t *local)
{
    return find(s, index, local)->path;
}

int64_t reel_set_sample_bytes(const struct reel_set *s, int64_t index)
{
    int64_t i;
    const struct reel_set_part *p = find(s, index, &i);

    return (int64_t)(reel_set_latent_bytes_(&p->info) +
                     (size_t)(p->offset[i + 1] - p->offset[i]) * reel_set_row_bytes_(&p->info));
}

/* Over the stored checksums [first, first+n) of every sample. */
static uint32_t sums_crc(const struct reel_set *s, int first, size_t n)
{
    uint32_t crc = 0;

    for (int64_t i = 0; i < s->info.n; i++) {
        int64_t k;
        const struct reel_set_part *p = find(s, i, &k);
        crc = reel_crc32c(crc, &p->crc[k][first], n * sizeof **p->crc);
    }
    return crc;
}

uint32_t reel_set_text_crc(const struct reel_set *s) { return sums_crc(s, REEL_CRC_TEXT, 1); }

uint32_t reel_set_crc(const struct reel_set *s, int latents)
{
    const size_t per_channel = (size_t)s->info.channels * sizeof *s->info.mean, row = (size_t)s->info.text_dim * sizeof(float);
    const float *negative, *empty;
    int rows[2];
    uint32_t crc = latents ? sums_crc(s, REEL_CRC_LATENT, 2) : reel_set_text_crc(s);

    negative = reel_set_negative(s, &rows[0]);
    empty = reel_set_empty(s, &rows[1]);
    crc = reel_crc32c(crc, rows, sizeof rows);
    if (negative) crc = reel_crc32c(crc, negative, (size_t)rows[0] * row);
    if (empty) crc = reel_crc32c(crc, empty, (size_t)rows[1] * row);
    if (latents) crc = reel_crc32c(reel_crc32c(crc, s->info.mean, per_channel), s->info.std, per_channel);
    return crc;
}

reel_err reel_set_raw_(struct reel_set_part *p, int64_t i, int which, void *dst)
{
    static const char *const what[] = { "latents", "text" };
    size_t row = reel_set_row_bytes_(&p->info), latent = reel_set_latent_bytes_(&p->info);
    size_t bytes = which == REEL_CRC_LATENT ? latent : (size_t)(p->offset[i + 1] - p->offset[i]) * row;
    uint64_t at = which == REEL_CRC_LATENT ? p->latent_at + (uint64_t)i * latent : p->text_at + (uint64_t)p->offset[i] * row;
    int fd = p->fd >= 0 ? p->fd : open(p->path, O_RDONLY | O_CLOEXEC);
    uint32_t crc;
    reel_err e;

    if (fd < 0) return REEL_FAIL(REEL_EIO, "%s: cannot open the data set: %m", p->path);
    e = reel_pread(fd, dst, bytes, at, p->path);
    if (p->fd < 0) close(fd);
    REEL_TRY(e);
    crc = reel_crc32c(0, dst, bytes);
    if (crc != p->crc[i][which])
        return REEL_FAIL(REEL_EDATA, "%s: sample %lld: the %s do not match their checksum (%08x, stored %08x): the file is damaged",
                         p->path, (long long)i, what[which], crc, p->crc[i][which]);
    return REEL_OK;
}

static void widen(reel_dtype dt, const void *src, float *dst, size_t n)
{
    const uint16_t *h = src;

    if (dt == REEL_F32) memcpy(dst, src, n * sizeof *dst);
    else
        for (size_t i = 0; i < n; i++) dst[i] = reel_bf16_f32(h[i]);
}

reel_err reel_set_read(struct reel_set *s, int64_t index, int n_frames, float *latent, float *text, int *rows)
{
    int64_t i;
    struct reel_set_part *p = find(s, index, &i);
    const struct reel_set_info *f = &p->info;
    size_t frame = (size_t)f->height * (size_t)f->width, size = reel_dtype_size(f->dtype);
    int n = (int)(p->offset[i + 1] - p->offset[i]);

    REEL_BUG_IF(latent && (n_frames < 1 || n_frames > f->frames), "%d of %d latent frames", n_frames, f->frames);
    if (rows) *rows = n;
    if (latent) {
        REEL_TRY(reel_set_raw_(p, i, REEL_CRC_LATENT, s->raw));
        for (size_t c = 0; c < (size_t)f->channels; c++)
            widen(f->dtype, s->raw + c * (size_t)f->frames * frame * size, latent + c * (size_t)n_frames * frame,
                  (size_t)n_frames * frame);
    }
    if (!text) return REEL_OK;
    REEL_TRY(reel_set_raw_(p, i, REEL_CRC_TEXT, s->raw));
    widen(f->dtype, s->raw, text, (size_t)n * (size_t)f->text_dim);
    return REEL_OK;
}

void reel_set_pad(float *out, int64_t most, int64_t dim, const float *text, int rows)
{
    size_t use = (size_t)((rows < most ? rows : most) * dim);

    if (use) memcpy(out, text, use * sizeof *out);
    memset(out + use, 0, ((size_t)(most * dim) - use) * sizeof *out);
}

const float *reel_set_negative(const struct reel_set *s, int *rows)
{
    *rows = s->part[0].negative_rows;
    return s->part[0].negative;
}

const float *reel_set_empty(const struct reel_set *s, int *rows)
{
    *rows = s->part[0].empty_rows;
    return s->part[0].empty;
}
