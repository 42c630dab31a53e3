/* Committing a set. While samples come in nobody knows how many there will be, so each rank spools its
 * own to a file beside the target (set_spool.c). The commit exchanges keys and counts, all ranks create
 * the file together, and each writes its samples into their places: disjoint hyperslabs, no rank in the
 * bytes. */
#include "data/set_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/file.h"
#include "comm/pulse.h"

static const char *const str_name[REEL_SET_STRINGS] = { "/meta/id", "/meta/caption", "/meta/file_name" };

struct placed { int64_t key; int32_t rank, rows; uint32_t crc[REEL_NCRC]; }; /* of all ranks, sorted */

/* ---- commit: the file ---------------------------------------------------------------------- */

struct out { /* one file being written, by all ranks together */
    hid_t file, dcpl, gcpl;
    int bad; /* an HDF5 call failed on this rank; later collective ones still run */
};

static void attr(struct out *o, hid_t obj, const char *name, hid_t type, hsize_t n, const void *v)
{
    hid_t s = n ? H5Screate_simple(1, &n, NULL) : H5Screate(H5S_SCALAR);
    hid_t a = H5Acreate2(obj, name, type, s, H5P_DEFAULT, H5P_DEFAULT);

    o->bad |= a < 0 || H5Awrite(a, type, v) < 0;
    if (a >= 0) H5Aclose(a);
    H5Sclose(s);
}

static hid_t str_type(size_t len)
{
    hid_t t = H5Tcopy(H5T_C_S1);

    H5Tset_size(t, len ? len : 1);
    H5Tset_strpad(t, H5T_STR_NULLPAD);
    H5Tset_cset(t, H5T_CSET_UTF8);
    return t;
}

static void attr_str(struct out *o, hid_t obj, const char *name, const char *v)
{
    hid_t t = str_type(strlen(v));

    attr(o, obj, name, t, 0, v);
    H5Tclose(t);
}

static void attr_int(struct out *o, hid_t obj, const char *name, int v) { attr(o, obj, name, H5T_STD_I32LE, 0, &v); }
static void attr_u32(struct out *o, hid_t obj, const char *name, uint32_t v) { attr(o, obj, name, H5T_STD_U32LE, 0, &v); }

static hid_t group(struct out *o, const char *name)
{
    hid_t g = H5Gcreate2(o->file, name, H5P_DEFAULT, o->gcpl, H5P_DEFAULT);

    o->bad |= g < 0;
    return g;
}

static hid_t dataset(struct out *o, const char *name, hid_t type, int nd, const hsize_t *n)
{
    hid_t s = H5Screate_simple(nd, n, NULL), d = H5Dcreate2(o->file, name, type, s, H5P_DEFAULT, o->dcpl, H5P_DEFAULT);

    o->bad |= d < 0;
    H5Sclose(s);
    return d;
}

/* rows [at, at+n) of a dataset whose other dimensions are written whole; independent */
static void put(struct out *o, hid_t d, hid_t type, int64_t at, int64_t n, const void *v)
{
    hsize_t dim[5], start[5] = { 0 }, count[5];
    hid_t fs = H5Dget_space(d), ms;
    int nd = H5Sget_simple_extent_dims(fs, dim, NULL);

    memcpy(count, dim, sizeof dim);
    start[0] = (hsize_t)at, count[0] = (hsize_t)n;
    if (n > 0 && nd > 0) {
        ms = H5Screate_simple(nd, count, NULL);
        o->bad |= H5Sselect_hyperslab(fs, H5S_SELECT_SET, start, NULL, count, NULL) < 0 ||
                  H5Dwrite(d, type, ms, fs, H5P_DEFAULT, v) < 0;
        H5Sclose(ms);
    }
    H5Sclose(fs);
}

struct columns { hid_t latent, text, offset, crc, str[REEL_SET_STRINGS], dims[3], num[2], str_type[REEL_SET_STRINGS]; };
static const char *const dims_name[3] = { "/meta/width", "/meta/height", "/meta/num_frames_src" };
static const char *const num_name[2] = { "/meta/fps", "/meta/duration" };

static void root(struct out *o, const struct reel_set_info *f)
{
    hid_t g = H5Gopen2(o->file, "/", H5P_DEFAULT);

    attr_str(o, g, "format", REEL_SET_FORMAT);
    attr_int(o, g, "format_version", REEL_SET_VERSION);
    attr_str(o, g, "kind", f->kind);
    attr_str(o, g, "model_family", f->family);
    attr_str(o, g, "vae_id", f->vae);
    attr_str(o, g, "text_encoder_id", f->text_encoder);
    attr_str(o, g, "tokenizer_id", f->tokenizer);
    attr_str(o, g, "created_by", "reel");
    attr_str(o, g, "source", f->source);
    attr_int(o, g, "latents_normalized", 0);
    attr(o, g, "fps", H5T_IEEE_F64LE, 0, &f->fps);
    attr_int(o, g, "height", f->pix_height);
    attr_int(o, g, "width", f->pix_width);
    attr_int(o, g, "num_frames", f->pix_frames);
    attr(o, g, "latent_downsample", H5T_STD_I32LE, 3, f->down);
    H5Gclose(g);
}

static void make_latents(struct out *o, const struct reel_set_info *f, hsize_t n, hid_t type, struct columns *k)
{
    hsize_t dim[5] = { n, (hsize_t)f->channels, (hsize_t)f->frames, (hsize_t)f->height, (hsize_t)f->width };
    hid_t g = group(o, "/latents");

    k->latent = dataset(o, "/latents/data", type, 5, dim);
    attr_str(o, k->latent, "dtype", f->dtype == REEL_F32 ? "float32" : "bfloat16");
    attr_str(o, k->latent, "layout", "CTHW");
    attr(o, k->latent, "mean", H5T_IEEE_F32LE, dim[1], f->mean);
    attr(o, k->latent, "std", H5T_IEEE_F32LE, dim[1], f->std);
    if (f->states) {
        attr_int(o, k->latent, "states", f->states);
        attr(o, k->latent, "state_t", H5T_IEEE_F32LE, (hsize_t)f->states, f->state_t);
        attr_str(o, k->latent, "recipe", f->recipe);
    }
    H5Gclose(g);
}

static void make_text(struct out *o, const struct reel_set_info *f, hsize_t n, hsize_t rows, hid_t type, struct columns *k)
{
    hid_t g = group(o, "/text");
    double pad = 0;

    attr_int(o, g, "pad_to", f->pad_to);
    attr(o, g, "pad_value", H5T_IEEE_F64LE, 0, &pad);
    attr_int(o, g, "hidden", f->text_dim);
    k->text = dataset(o, "/text/tokens", type, 2, (hsize_t[]){ rows, (hsize_t)f->text_dim });
    attr_str(o, k->text, "dtype", f->dtype == REEL_F32 ? "float32" : "bfloat16");
    k->offset = dataset(o, "/text/offset", H5T_STD_I64LE, 1, (hsize_t[]){ n + 1 });
    H5Gclose(g);
}

static void make_meta(struct out *o, hsize_t n, const int *len, struct columns *k)
{
    hid_t g = group(o, "/meta");

    for (int i = 0; i < REEL_SET_STRINGS; i++) {
        k->str_type[i] = str_type((size_t)len[i]);
        k->str[i] = dataset(o, str_name[i], k->str_type[i], 1, &n);
    }
    for (int i = 0; i < 3; i++) k->dims[i] = dataset(o, dims_name[i], H5T_STD_I32LE, 1, &n);
    for (int i = 0; i < 2; i++) k->num[i] = dataset(o, num_name[i], H5T_IEEE_F64LE, 1, &n);
    H5Gclose(g);
}

static void make_prompt(struct out *o, const char *name, const float *v, int rows, int dim, const char *prompt, int writes)
{
    hid_t g, d;
    char at[64];

    if (!v) return;
    g = group(o, name);
    snprintf(at, sizeof at, "%s/text", name);
    d = dataset(o, at, H5T_IEEE_F32LE, 2, (hsize_t[]){ (hsize_t)rows, (hsize_t)dim });
    attr_str(o, d, "prompt", prompt);
    attr_u32(o, d, "crc32c", reel_crc32c(0, v, (size_t)rows * (size_t)dim * sizeof *v));
    if (writes) put(o, d, H5T_IEEE_F32LE, 0, rows, v);
    H5Dclose(d);
    H5Gclose(g);
}

/* ---- commit: who writes what where --------------------------------------------------------- */

struct plan {
    struct placed *all; /* [n] sorted by key */
    int64_t n, *offset; /* [n+1] */
    uint32_t (*crc)[REEL_NCRC];
    int len[REEL_SET_STRINGS];
};

static int by_key(const void *a, const void *b) /* of struct reel_record and struct placed: the key comes first */
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

struct counts { int64_t n; int32_t len[REEL_SET_STRINGS]; };

static void fill_placed(struct reel_set_writer *w, struct placed *v)
{
    if (w->n) qsort(w->r, (size_t)w->n, sizeof *w->r, by_key);
    for (int64_t i = 0; i < w->n; i++) {
        v[i] = (struct placed){ .key = w->r[i].key, .rank = w->c->rank, .rows = w->r[i].rows };
        memcpy(v[i].crc, w->r[i].crc, sizeof v[i].crc);
    }
}

/* Sorted keys of all ranks. The exchange is one allgather of equal pieces, the longest rank's length. */
static reel_err exchange(struct reel_set_writer *w, struct plan *p)
{
    struct reel_comm *c = w->c;
    struct counts mine = { .n = w->n }, *every = calloc((size_t)c->size, sizeof *every);
    struct placed *send = NULL, *recv = NULL;
    int64_t most = 1, at = 0;
    reel_err e;

    memcpy(mine.len, w->max_len, sizeof mine.len);
    e = reel_agree(c, every ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for %d ranks", c->size));
    if (e) return free(every), e;
    reel_comm_allgather(c, &mine, sizeof mine, every);
    for (int r = 0; r < c->size; r++) {
        p->n += every[r].n;
        if (every[r].n > most) most = every[r].n;
        for (int i = 0; i < REEL_SET_STRINGS; i++)
            if (every[r].len[i] > p->len[i]) p->len[i] = every[r].len[i];
    }
    send = calloc((size_t)most, sizeof *send);
    recv = malloc((size_t)most * (size_t)c->size * sizeof *recv);
    e = reel_agree(c, send && recv ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for the keys of %lld samples", (long long)p->n));
    if (!e) {
        fill_placed(w, send);
        reel_comm_allgather(c, send, (size_t)most * sizeof *send, recv);
        for (int r = 0; r < c->size; r++) { /* close the gaps in place */
            memmove(recv + at, recv + (int64_t)r * most, (size_t)every[r].n * sizeof *recv);
            at += every[r].n;
        }
        p->all = recv, recv = NULL;
        qsort(p->all, (size_t)p->n, sizeof *p->all, by_key);
    }
    free(send), free(recv), free(every);
    return e;
}

static reel_err make_plan(struct reel_set_writer *w, struct plan *p) /* Symmetric after the exchange */
{
    if (!p->n) return REEL_FAIL(REEL_EDATA, "%s: no sample to write", w->path);
    p->offset = malloc((size_t)(p->n + 1) * sizeof *p->offset);
    p->crc = malloc((size_t)p->n * sizeof *p->crc);
    if (!p->offset || !p->crc) return REEL_FAIL(REEL_ENOMEM, "no memory for the tables of %lld samples", (long long)p->n);
    p->offset[0] = 0;
    for (int64_t i = 0; i < p->n; i++) {
        if (i && p->all[i].key == p->all[i - 1].key)
            return REEL_FAIL(REEL_EDATA, "%s: two samples have the key %lld", w->path, (long long)p->all[i].key);
        p->offset[i + 1] = p->offset[i] + p->all[i].rows;
        memcpy(p->crc[i], p->all[i].crc, sizeof p->crc[i]);
    }
    return REEL_OK;
}

static reel_err put_strings(struct reel_set_writer *w, struct out *o, const struct plan *p, const struct columns *k,
                            const struct reel_record *r, int64_t i, int64_t at)
{
    for (int s = 0; s < REEL_SET_STRINGS; s++) {
        size_t len = p->len[s] ? (size_t)p->len[s] : 1;
        REEL_TRY(reel_set_need_(w, len));
        memset(w->raw, 0, len);
        REEL_TRY(reel_pread(w->spool[r->spool].fd, w->raw, (size_t)r->len[s], (uint64_t)at, w->spool[r->spool].path));
        put(o, k->str[s], k->str_type[s], i, 1, w->raw);
        at += r->len[s];
    }
    return REEL_OK;
}

static reel_err put_sample(struct reel_set_writer *w, struct out *o, const struct plan *p, const struct columns *k,
                           const struct reel_record *r, int64_t i, hid_t type)
{
    size_t latent = reel_set_latent_bytes_(&w->f), text = (size_t)r->rows * reel_set_row_bytes_(&w->f);
    const int32_t dims[3] = { r->width, r->height, r->frames };
    const double num[2] = { r->fps, r->duration };

    REEL_TRY(reel_set_need_(w, latent + text + 1));
    REEL_TRY(reel_pread(w->spool[r->spool].fd, w->raw, latent + text, (uint64_t)r->at, w->spool[r->spool].path));
    if (latent) put(o, k->latent, type, i, 1, w->raw);
    put(o, k->text, type, p->offset[i], r->rows, (char *)w->raw + latent);
    for (int j = 0; j < 3; j++) put(o, k->dims[j], H5T_STD_I32LE, i, 1, &dims[j]);
    for (int j = 0; j < 2; j++) put(o, k->num[j], H5T_IEEE_F64LE, i, 1, &num[j]);
    return put_strings(w, o, p, k, r, i, r->at + (int64_t)(latent + text));
}

static reel_err put_samples(struct reel_set_writer *w, struct out *o, const struct plan *p, const struct columns *k, hid_t type)
{
    const struct reel_record *r = w->r; /* sorted like p->all, so this rank's come in order */

    for (int64_t i = 0; i < p->n && !o->bad; i++)
        if (p->all[i].rank == w->c->rank) {
            reel_pulse(w->c);
            REEL_TRY(put_sample(w, o, p, k, r++, i, type));
        }
    return REEL_OK;
}

/* Everything between create and close. The calls that make objects are collective and run on every
 * rank whatever happened before; raw data is written independently. */
static reel_err write_file(struct reel_set_writer *w, struct out *o, const struct plan *p)
{
    hid_t type = w->f.dtype == REEL_F32 ? H5T_IEEE_F32LE : H5T_STD_U16LE, g;
    int first = w->c->rank == 0;
    hsize_t n = (hsize_t)p->n;
    struct columns k = { .latent = -1 };
    reel_err e;

    root(o, &w->f);
    if (w->f.channels) make_latents(o, &w->f, n, type, &k);
    make_text(o, &w->f, n, (hsize_t)p->offset[p->n], type, &k);
    make_meta(o, n, p->len, &k);
    g = group(o, "/aux");
    make_prompt(o, "/aux/negative", w->negative, w->negative_rows, w->f.text_dim, w->negative_prompt, first);
    make_prompt(o, "/aux/empty", w->empty, w->empty_rows, w->f.text_dim, "", first);
    H5Gclose(g);
    g = group(o, "/integrity");
    k.crc = dataset(o, "/integrity/crc32c", H5T_STD_U32LE, 2, (hsize_t[]){ n, REEL_NCRC });
    attr_u32(o, g, "crc32c", reel_crc32c(0, p->crc, (size_t)p->n * sizeof *p->crc));
    attr_u32(o, g, "offset_crc32c", reel_crc32c(0, p->offset, (size_t)(p->n + 1) * sizeof *p->offset));
    H5Gclose(g);
    if (first) put(o, k.offset, H5T_STD_I64LE, 0, p->n + 1, p->offset);
    if (first) put(o, k.crc, H5T_STD_U32LE, 0, p->n, p->crc);
    e = put_samples(w, o, p, &k, type);
    reel_pulse_rest(w->c);
    if (k.latent >= 0) H5Dclose(k.latent);
    H5Dclose(k.text), H5Dclose(k.offset), H5Dclose(k.crc);
    for (int i = 0; i < REEL_SET_STRINGS; i++) H5Dclose(k.str[i]), H5Tclose(k.str_type[i]);
    for (int i = 0; i < 3; i++) H5Dclose(k.dims[i]);
    for (int i = 0; i < 2; i++) H5Dclose(k.num[i]);
    return e;
}

static hid_t access_list(struct reel_comm *c)
{
    hid_t p = H5Pcreate(H5P_FILE_ACCESS);

    H5Pset_fapl_mpio(p, c->mpi, MPI_INFO_NULL);
    H5Pset_libver_bounds(p, H5F_LIBVER_V110, H5F_LIBVER_V110);
    H5Pset_alignment(p, REEL_SET_BIG, REEL_SET_ALIGN);
    H5Pset_small_data_block_size(p, 0); /* the unused end of such a block would hold what memory held */
    H5Pset_all_coll_metadata_ops(p, 1);
    H5Pset_coll_metadata_write(p, 1);
    return p;
}

/* nothing in the file may depend on the clock */
static hid_t timeless(hid_t class)
{
    hid_t p = H5Pcreate(class);

    H5Pset_obj_track_times(p, 0);
    return p;
}

static reel_err write_tmp(struct reel_set_writer *w, const struct plan *p)
{
    struct out o = { .dcpl = timeless(H5P_DATASET_CREATE), .gcpl = timeless(H5P_GROUP_CREATE) };
    hid_t fapl = access_list(w->c), fcpl = H5Pcreate(H5P_FILE_CREATE);
    reel_err e = REEL_OK;
    int why;

    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    (void)reel_comm_file_errno(); /* of this file alone */
    H5Pset_obj_track_times(fcpl, 0);
    H5Pset_fill_time(o.dcpl, H5D_FILL_TIME_NEVER);
    H5Pset_alloc_time(o.dcpl, H5D_ALLOC_TIME_EARLY);
    o.file = H5Fcreate(w->tmp, H5F_ACC_TRUNC, fcpl, fapl); /* fails on every rank or on none */
    if (o.file >= 0) {
        e = write_file(w, &o, p);
        o.bad |= H5Fclose(o.file) < 0;
    }
    H5Pclose(fapl), H5Pclose(fcpl), H5Pclose(o.dcpl), H5Pclose(o.gcpl);
    why = reel_comm_file_errno();
    if (e || (o.file >= 0 && !o.bad && !why)) return e;
    return REEL_FAIL(REEL_EIO, "%s: cannot write the data set: %s", w->tmp, why ? strerror(why) : "HDF5 does not say why");
}

/* What memory holds of the file goes to the disk in pieces, with a sign of life after each: all at once may take very long. */
static reel_err flush(const struct reel_set_writer *w)
{
    enum { PIECE = 256 << 20, ALL = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER };
    int fd = open(w->tmp, O_WRONLY | O_CLOEXEC), bad = 0;
    off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);

    for (off_t at = 0; at < end && !bad; at += PIECE) {
        reel_pulse(w->c);
        bad = sync_file_range(fd, at, PIECE, ALL) && errno != ENOSYS && errno != EINVAL; /* a file system that cannot */
    }
    if (bad) REEL_FAIL(REEL_EIO, "%s: cannot sync: %m", w->tmp);
    if (fd >= 0) close(fd);
    return bad ? REEL_EIO : REEL_OK;
}

/* Rank 0: durable, then under its name. */
static reel_err publish(const struct reel_set_writer *w)
{
    reel_err e = w->c->rank ? REEL_OK : flush(w);

    if (!e && !w->c->rank) e = reel_publish(w->tmp, w->path);
    reel_pulse_rest(w->c);
    return e;
}

reel_err reel_set_commit(struct reel_set_writer *w, reel_err mine, int64_t *n)
{
    struct reel_comm *c = w->c;
    struct plan p = { 0 };
    reel_err e;

    reel_pulse_rest(c);
    e = reel_agree(c, mine ? mine : w->health);
    if (!e) e = exchange(w, &p);
    if (!e) e = reel_agree(c, make_plan(w, &p));
    if (!e) {
        e = reel_agree(c, write_tmp(w, &p));
        if (!e) e = reel_agree(c, publish(w));
        if (e && c->rank == 0) unlink(w->tmp);
    }
    if (n) *n = p.n;
    free(p.all), free(p.offset), free(p.crc);
    reel_set_writer_free_(w);
    return e;
}
