/* The tables of one file, read through HDF5 once, by one rank. Every later access is a plain read
 * at the addresses found here, so HDF5's lack of thread-safety never matters. */
#include "data/set_priv.h"

#include <fcntl.h>
#include <hdf5.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/file.h"

struct h5 { hid_t file; const char *path; };

static uint64_t le64(const unsigned char *p)
{
    uint64_t v = 0;

    for (int i = 7; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

/* The superblock says how long the file ought to be: a truncated copy is told apart from garbage. */
static reel_err check_length(struct reel_set_part *p)
{
    static const unsigned char sig[8] = { 0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n' };
    unsigned char b[64] = { 0 };
    uint64_t end;
    struct stat st;
    ssize_t got;
    int fd = open(p->path, O_RDONLY);

    if (fd < 0) return REEL_FAIL(REEL_EIO, "%s: cannot open the data set: %m", p->path);
    if (fstat(fd, &st) || (got = pread(fd, b, sizeof b, 0)) < 0) {
        close(fd);
        return REEL_FAIL(REEL_EIO, "%s: cannot read: %m", p->path);
    }
    close(fd);
    p->file_bytes = (uint64_t)st.st_size;
    if (got < 64 || memcmp(b, sig, 8) != 0)
        return REEL_FAIL(REEL_EDATA, "%s: not an HDF5 file, so not a data set", p->path);
    end = b[8] >= 2 ? le64(b + 28) : b[8] == 1 ? le64(b + 44) : le64(b + 40);
    if (end > p->file_bytes)
        return REEL_FAIL(REEL_EDATA, "%s: truncated: %llu of %llu bytes", p->path,
                         (unsigned long long)p->file_bytes, (unsigned long long)end);
    return REEL_OK;
}

static hid_t attr_open(struct h5 *h, const char *obj, const char *name)
{
    return H5Aopen_by_name(h->file, obj, name, H5P_DEFAULT, H5P_DEFAULT);
}

static reel_err attr_missing(struct h5 *h, const char *obj, const char *name)
{
    return REEL_FAIL(REEL_EDATA, "%s: attribute %s of %s is missing or unreadable; not a data set or damaged",
                     h->path, name, obj);
}

/* numbers: exactly n of them, converted by HDF5 */
static reel_err attr_num(struct h5 *h, const char *obj, const char *name, hid_t mem, int64_t n, void *out)
{
    hid_t a = attr_open(h, obj, name), s = a < 0 ? -1 : H5Aget_space(a);
    int ok = s >= 0 && H5Sget_simple_extent_npoints(s) == n && H5Aread(a, mem, out) >= 0;

    if (s >= 0) H5Sclose(s);
    if (a >= 0) H5Aclose(a);
    return ok ? REEL_OK : attr_missing(h, obj, name);
}

static reel_err attr_int(struct h5 *h, const char *obj, const char *name, int *out)
{
    return attr_num(h, obj, name, H5T_NATIVE_INT, 1, out);
}

/* fixed or variable length, cut to the room */
static reel_err attr_str(struct h5 *h, const char *obj, const char *name, char *out, size_t room)
{
    hid_t a = attr_open(h, obj, name), t = a < 0 ? -1 : H5Aget_type(a), m = -1;
    int ok = t >= 0 && H5Tget_class(t) == H5T_STRING;

    if (ok && H5Tis_variable_str(t)) {
        char *v = NULL;
        m = H5Tcopy(t);
        ok = H5Aread(a, m, &v) >= 0 && v;
        if (ok) snprintf(out, room, "%s", v);
        if (v) H5free_memory(v);
    } else if (ok) {
        size_t len = H5Tget_size(t);
        char *v = calloc(1, len + 1);
        ok = v && H5Aread(a, t, v) >= 0;
        if (ok) snprintf(out, room, "%s", v);
        free(v);
    }
    if (m >= 0) H5Tclose(m);
    if (t >= 0) H5Tclose(t);
    if (a >= 0) H5Aclose(a);
    return ok ? REEL_OK : attr_missing(h, obj, name);
}

/* An open dataset of `nd` dimensions whose file type is `type`. */
static reel_err data_open(struct h5 *h, const char *name, hid_t type, int nd, hsize_t *dims, hid_t *out)
{
    hid_t d = H5Dopen2(h->file, name, H5P_DEFAULT), t, s;
    int ok;

    if (d < 0) return REEL_FAIL(REEL_EDATA, "%s: dataset %s is missing or damaged", h->path, name);
    t = H5Dget_type(d);
    s = H5Dget_space(d);
    ok = t >= 0 && s >= 0 && H5Tequal(t, type) > 0 && H5Sget_simple_extent_ndims(s) == nd &&
         H5Sget_simple_extent_dims(s, dims, NULL) == nd;
    if (t >= 0) H5Tclose(t);
    if (s >= 0) H5Sclose(s);
    if (ok) return *out = d, REEL_OK;
    H5Dclose(d);
    return REEL_FAIL(REEL_EDATA, "%s: dataset %s has another type or number of dimensions than a set of version %d",
                     h->path, name, REEL_SET_VERSION);
}

/* Address of a dataset's bytes, which must lie in one piece within the file. */
static reel_err data_at(struct h5 *h, const char *name, hid_t d, uint64_t bytes, uint64_t file_bytes, uint64_t *at)
{
    haddr_t a = bytes ? H5Dget_offset(d) : 0;

    if (a == HADDR_UNDEF)
        return REEL_FAIL(REEL_EDATA, "%s: %s is not contiguous; `h5repack -l CONTI` makes it so", h->path, name);
    if (a > file_bytes || bytes > file_bytes - a)
        return REEL_FAIL(REEL_EDATA, "%s: truncated: %s ends at byte %llu of %llu", h->path, name,
                         (unsigned long long)(a + bytes), (unsigned long long)file_bytes);
    *at = a;
    return REEL_OK;
}

static reel_err root_attrs(struct h5 *h, struct reel_set_info *f)
{
    char format[32] = "";
    int version = 0, normalised = 0;

    REEL_TRY(attr_str(h, "/", "format", format, sizeof format));
    REEL_TRY(attr_int(h, "/", "format_version", &version));
    if (strcmp(format, REEL_SET_FORMAT) != 0 || version != REEL_SET_VERSION)
        return REEL_FAIL(REEL_EDATA, "%s: format %s version %d; this program reads %s version %d", h->path, format,
                         version, REEL_SET_FORMAT, REEL_SET_VERSION);
    REEL_TRY(attr_str(h, "/", "kind", f->kind, sizeof f->kind));
    if (strcmp(f->kind, "t2v") != 0 && strcmp(f->kind, "text_only") != 0 && strcmp(f->kind, "trajectories") != 0)
        return REEL_FAIL(REEL_EDATA, "%s: kind \"%s\"; known are t2v, text_only and trajectories", h->path, f->kind);
    REEL_TRY(attr_str(h, "/", "model_family", f->family, sizeof f->family));
    REEL_TRY(attr_str(h, "/", "vae_id", f->vae, sizeof f->vae));
    REEL_TRY(attr_str(h, "/", "text_encoder_id", f->text_encoder, sizeof f->text_encoder));
    REEL_TRY(attr_str(h, "/", "tokenizer_id", f->tokenizer, sizeof f->tokenizer));
    REEL_TRY(attr_str(h, "/", "source", f->source, sizeof f->source));
    REEL_TRY(attr_int(h, "/", "latents_normalized", &normalised));
    if (normalised)
        return REEL_FAIL(REEL_EDATA, "%s: latents_normalized is %d; sets hold raw latents (0)", h->path, normalised);
    REEL_TRY(attr_int(h, "/", "height", &f->pix_height));
    REEL_TRY(attr_int(h, "/", "width", &f->pix_width));
    REEL_TRY(attr_int(h, "/", "num_frames", &f->pix_frames));
    REEL_TRY(attr_num(h, "/", "fps", H5T_NATIVE_DOUBLE, 1, &f->fps));
    return attr_num(h, "/", "latent_downsample", H5T_NATIVE_INT, 3, f->down);
}

static reel_err storage(struct h5 *h, const char *obj, reel_dtype *dt, hid_t *type)
{
    char s[16] = "";

    REEL_TRY(attr_str(h, obj, "dtype", s, sizeof s));
    if (!strcmp(s, "float32")) return *dt = REEL_F32, *type = H5T_IEEE_F32LE, REEL_OK;
    if (!strcmp(s, "bfloat16")) return *dt = REEL_BF16, *type = H5T_STD_U16LE, REEL_OK;
    return REEL_FAIL(REEL_EDATA, "%s: %s has dtype \"%s\"; known are float32 and bfloat16", h->path, obj, s);
}

static reel_err latents(struct h5 *h, struct reel_set_part *p)
{
    struct reel_set_info *f = &p->info;
    hsize_t n[5];
    hid_t type, d;
    reel_err e;

    REEL_TRY(storage(h, "/latents/data", &f->dtype, &type));
    REEL_TRY(data_open(h, "/latents/data", type, 5, n, &d));
    for (int i = 0; i < 5; i++)
        if (n[i] < 1 || n[i] > INT32_MAX || (i == 1 && n[i] > REEL_SET_CHANNELS)) {
            H5Dclose(d);
            return REEL_FAIL(REEL_EDATA, "%s: /latents/data has %llu in dimension %d of [N,C,T,H,W]", h->path,
                             (unsigned long long)n[i], i);
        }
    f->n = (int64_t)n[0];
    f->channels = (int)n[1], f->frames = (int)n[2], f->height = (int)n[3], f->width = (int)n[4];
    e = data_at(h, "/latents/data", d, n[0] * reel_set_latent_bytes_(f), p->file_bytes, &p->latent_at);
    H5Dclose(d);
    REEL_TRY(e);
    REEL_TRY(attr_num(h, "/latents/data", "mean", H5T_NATIVE_FLOAT, f->channels, f->mean));
    REEL_TRY(attr_num(h, "/latents/data", "std", H5T_NATIVE_FLOAT, f->channels, f->std));
    for (int c = 0; c < f->channels; c++)
        if (!isfinite(f->mean[c]) || !(f->std[c] > 0) || !isfinite(f->std[c]))
            return REEL_FAIL(REEL_EDATA, "%s: channel %d has mean %g and std %g; a std must be positive", h->path, c,
                             (double)f->mean[c], (double)f->std[c]);
    return REEL_OK;
}

/* What tells trajectories from clips. */
static reel_err trajectories(struct h5 *h, struct reel_set_info *f)
{
    REEL_TRY(attr_int(h, "/latents/data", "states", &f->states));
    if (f->states < 2 || f->states > REEL_SET_STATES || f->frames % f->states)
        return REEL_FAIL(REEL_EDATA, "%s: %d latent frames in %d states; 2 to %d states of equal length are possible", h->path,
                         f->frames, f->states, REEL_SET_STATES);
    REEL_TRY(attr_num(h, "/latents/data", "state_t", H5T_NATIVE_FLOAT, f->states, f->state_t));
    return attr_str(h, "/latents/data", "recipe", f->recipe, sizeof f->recipe);
}

/* A small table in full, checked against the crc of attribute `sum` of /integrity. */
static reel_err table(struct h5 *h, const char *name, hid_t type, int64_t rows, int64_t cols, size_t size,
                      const char *sum, void *out)
{
    hsize_t n[2] = { 0, 1 };
    uint32_t want = 0, have;
    hid_t d;
    int ok;

    REEL_TRY(data_open(h, name, type, cols > 1 ? 2 : 1, n, &d));
    ok = n[0] == (hsize_t)rows && n[1] == (hsize_t)cols && H5Dread(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) >= 0;
    H5Dclose(d);
    if (!ok)
        return REEL_FAIL(REEL_EDATA, "%s: table %s is not [%lld,%lld] or unreadable", h->path, name, (long long)rows,
                         (long long)cols);
    REEL_TRY(attr_num(h, "/integrity", sum, H5T_NATIVE_UINT32, 1, &want));
    have = reel_crc32c(0, out, (size_t)(rows * cols) * size);
    if (have != want)
        return REEL_FAIL(REEL_EDATA, "%s: table %s does not match its checksum (%08x, stored %08x): the file is damaged",
                         h->path, name, have, want);
    return REEL_OK;
}

static reel_err text(struct h5 *h, struct reel_set_part *p)
{
    struct reel_set_info *f = &p->info;
    hsize_t n[2], m[1];
    reel_dtype dt;
    hid_t type, d;
    reel_err e;

    REEL_TRY(storage(h, "/text/tokens", &dt, &type));
    if (!f->channels) f->dtype = dt;
    if (dt != f->dtype) return REEL_FAIL(REEL_EDATA, "%s: latents and text have different dtypes", h->path);
    REEL_TRY(data_open(h, "/text/tokens", type, 2, n, &d));
    f->text_dim = (int)n[1];
    e = data_at(h, "/text/tokens", d, n[0] * reel_set_row_bytes_(f), p->file_bytes, &p->text_at);
    H5Dclose(d);
    REEL_TRY(e);
    REEL_TRY(attr_int(h, "/text", "pad_to", &f->pad_to));
    REEL_TRY(data_open(h, "/text/offset", H5T_STD_I64LE, 1, m, &d));
    H5Dclose(d);
    if (!f->channels) f->n = (int64_t)m[0] - 1;
    if (m[0] != (hsize_t)f->n + 1 || f->n < 1)
        return REEL_FAIL(REEL_EDATA, "%s: /text/offset has %llu entries; %lld samples need one more", h->path,
                         (unsigned long long)m[0], (long long)f->n);
    p->offset = malloc((size_t)m[0] * sizeof *p->offset);
    p->crc = malloc((size_t)f->n * sizeof *p->crc);
    if (!p->offset || !p->crc) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for tables of %lld samples", h->path, (long long)f->n);
    REEL_TRY(table(h, "/text/offset", H5T_STD_I64LE, f->n + 1, 1, 8, "offset_crc32c", p->offset));
    REEL_TRY(table(h, "/integrity/crc32c", H5T_STD_U32LE, f->n, REEL_NCRC, 4, "crc32c", p->crc));
    for (int64_t i = 0; i < f->n; i++) {
        int64_t rows = p->offset[i + 1] - p->offset[i];
        if (p->offset[0] != 0 || rows < 0 || p->offset[i + 1] > (int64_t)n[0])
            return REEL_FAIL(REEL_EDATA, "%s: /text/offset is not ascending within the text at sample %lld", h->path, (long long)i);
        if (rows > f->text_rows) f->text_rows = (int)rows;
    }
    return REEL_OK;
}

/* A prompt's vectors, if the file has them. A prompt of no rows is there but empty. */
static reel_err prompt(struct h5 *h, const struct reel_set_info *f, const char *group, const char *name, float **out,
                       int *rows)
{
    hsize_t n[2];
    uint32_t want = 0;
    hid_t d;
    int ok;

    *out = NULL, *rows = 0;
    if (H5Lexists(h->file, "/aux", H5P_DEFAULT) <= 0 || H5Lexists(h->file, group, H5P_DEFAULT) <= 0) return REEL_OK;
    REEL_TRY(data_open(h, name, H5T_IEEE_F32LE, 2, n, &d));
    ok = n[1] == (hsize_t)f->text_dim && n[0] < 1 << 20;
    *out = ok ? malloc((size_t)(n[0] * n[1] + 1) * sizeof **out) : NULL;
    ok = *out && (!n[0] || H5Dread(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, *out) >= 0);
    H5Dclose(d);
    if (!ok) return REEL_FAIL(REEL_EDATA, "%s: %s is not [rows,%d] or unreadable", h->path, name, f->text_dim);
    REEL_TRY(attr_num(h, name, "crc32c", H5T_NATIVE_UINT32, 1, &want));
    if (reel_crc32c(0, *out, (size_t)(n[0] * n[1]) * sizeof **out) != want)
        return REEL_FAIL(REEL_EDATA, "%s: %s does not match its checksum: the file is damaged", h->path, name);
    *rows = (int)n[0];
    return REEL_OK;
}

static reel_err all_tables(struct h5 *h, struct reel_set_part *p)
{
    REEL_TRY(root_attrs(h, &p->info));
    if (strcmp(p->info.kind, "text_only") != 0) REEL_TRY(latents(h, p));
    if (!strcmp(p->info.kind, "trajectories")) REEL_TRY(trajectories(h, &p->info));
    REEL_TRY(text(h, p));
    REEL_TRY(prompt(h, &p->info, "/aux/negative", "/aux/negative/text", &p->negative, &p->negative_rows));
    return prompt(h, &p->info, "/aux/empty", "/aux/empty/text", &p->empty, &p->empty_rows);
}

reel_err reel_set_load_(struct reel_set_part *p, const char *path)
{
    struct h5 h = { .path = p->path };
    hid_t fapl;
    reel_err e;

    *p = (struct reel_set_part){ .fd = -1 };
    if (snprintf(p->path, sizeof p->path, "%s", path) >= (int)sizeof p->path)
        return REEL_FAIL(REEL_EIO, "%s: the name is too long", path);
    REEL_TRY(check_length(p));
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* our messages, not its stack */
    fapl = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_file_locking(fapl, 0, 1); /* read-only; many network file systems have no locks */
    h.file = H5Fopen(path, H5F_ACC_RDONLY, fapl);
    H5Pclose(fapl);
    if (h.file < 0)
        return REEL_FAIL(REEL_EDATA, "%s: HDF5 cannot open it: damaged, or left open by a killed writer", path);
    e = all_tables(&h, p);
    H5Fclose(h.file);
    p->info.bytes = (int64_t)p->file_bytes;
    return e;
}
