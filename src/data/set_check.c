/* `reel check SET`: every byte read, every checksum compared, values judged. */
#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "comm/pulse.h"
#include "data/set_priv.h"

/* sums over this rank's samples, per channel, of normalised values */
struct tally { int64_t damaged, samples; double n, sum[REEL_SET_CHANNELS], sq[REEL_SET_CHANNELS]; };

static reel_err judge_values(struct tally *y, const struct reel_set *s, int64_t i, const float *x, const float *text, int rows)
{
    const struct reel_set_info *f = &s->info;
    size_t per = (size_t)f->frames * (size_t)f->height * (size_t)f->width;
    int64_t local;
    const char *where = reel_set_where(s, i, &local);

    for (size_t c = 0; c < (size_t)f->channels; c++)
        for (size_t k = 0; k < per; k++) {
            double v = ((double)x[c * per + k] - (double)f->mean[c]) / (double)f->std[c];
            if (!isfinite(v)) return REEL_FAIL(REEL_EDATA, "%s: sample %lld: channel %zu holds a non-finite number", where, (long long)local, c);
            y->sum[c] += v, y->sq[c] += v * v;
        }
    for (int64_t k = 0; k < (int64_t)rows * f->text_dim; k++)
        if (!isfinite(text[k])) return REEL_FAIL(REEL_EDATA, "%s: sample %lld: the text holds a non-finite number", where, (long long)local);
    y->n += (double)per;
    return REEL_OK;
}

static reel_err check_sample(struct tally *y, struct reel_set *s, int64_t i, float *x, float *text)
{
    int rows;

    REEL_TRY(reel_set_read(s, i, s->info.frames, s->info.channels ? x : NULL, text, &rows));
    return judge_values(y, s, i, x, text, rows);
}

/* Round-robin; goes on after a damaged sample so that all are counted. The first error is kept. */
static reel_err check_mine(struct tally *y, struct reel_set *s, const struct reel_comm *c)
{
    const struct reel_set_info *f = &s->info;
    float *x = malloc(reel_set_latent_bytes_(f) / reel_dtype_size(f->dtype) * sizeof *x + 64);
    float *text = malloc((size_t)f->text_rows * (size_t)f->text_dim * sizeof *text + 64);
    reel_err e = x && text ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for one sample");

    for (int p = 0; p < s->n_parts && x && text; p++) /* repeats are the same bytes: once */
        for (int64_t i = c->rank; i < s->part[p].info.n; i += c->size) {
            reel_err one;
            reel_pulse(c);
            one = check_sample(y, s, s->part[p].first + i, x, text);
            y->samples++;
            y->damaged += one != REEL_OK;
            if (one && !e) e = one;
        }
    free(x), free(text);
    return e;
}

static reel_err check_meta_file(const struct reel_set_part *p)
{
    static const char *const name[] = { "/meta/id", "/meta/caption", "/meta/file_name", "/meta/width", "/meta/height",
                                        "/meta/num_frames_src", "/meta/fps", "/meta/duration" };
    enum { N = sizeof name / sizeof *name };
    size_t size[N] = { 0 };
    char *col[N] = { NULL };
    hid_t f = H5Fopen(p->path, H5F_ACC_RDONLY, H5P_DEFAULT);
    reel_err e = f < 0 ? REEL_FAIL(REEL_EDATA, "%s: cannot open", p->path) : REEL_OK;

    for (int k = 0; k < N && !e; k++) {
        hid_t d = H5Dopen2(f, name[k], H5P_DEFAULT), t = d < 0 ? -1 : H5Dget_type(d), sp = d < 0 ? -1 : H5Dget_space(d);
        int ok = t >= 0 && H5Sget_simple_extent_npoints(sp) == p->info.n;
        size[k] = ok ? H5Tget_size(t) : 0;
        ok = ok && (col[k] = malloc(size[k] * (size_t)p->info.n)) && H5Dread(d, t, H5S_ALL, H5S_ALL, H5P_DEFAULT, col[k]) >= 0;
        if (!ok) e = REEL_FAIL(REEL_EDATA, "%s: %s is missing, damaged or not one per sample", p->path, name[k]);
        if (t >= 0) H5Tclose(t);
        if (sp >= 0) H5Sclose(sp);
        if (d >= 0) H5Dclose(d);
    }
    for (int64_t i = 0; i < p->info.n && !e; i++) {
        uint32_t crc = 0;
        for (int k = 0; k < N; k++) {
            const char *v = col[k] + (size_t)i * size[k];
            crc = reel_crc32c(crc, v, k < 3 ? strnlen(v, size[k]) : size[k]);
        }
        if (crc != p->crc[i][REEL_CRC_META])
            e = REEL_FAIL(REEL_EDATA, "%s: sample %lld: caption or other description does not match its checksum", p->path, (long long)i);
    }
    for (int k = 0; k < N; k++) free(col[k]);
    if (f >= 0) H5Fclose(f);
    return e;
}

static void summary(const char *path, const struct reel_set *s, const struct tally *y)
{
    const struct reel_set_info *f = &s->info;
    double lo = (double)INFINITY, hi = 0, off = 0;

    for (int c = 0; c < f->channels; c++) {
        double m = y->sum[c] / y->n, d = sqrt(fmax(y->sq[c] / y->n - m * m, 0));
        if (d < lo) lo = d;
        if (d > hi) hi = d;
        if (fabs(m) > off) off = fabs(m);
    }
    printf("%s: %lld samples in %d file%s, %s, latents [%d,%d,%d,%d] %s of %s, text [<=%d,%d], %.1f MB, all checksums good", path,
           (long long)f->n, f->n_files, f->n_files == 1 ? "" : "s", f->kind, f->channels, f->frames, f->height, f->width,
           reel_dtype_name(f->dtype), f->family, f->text_rows, f->text_dim, (double)f->bytes / 1e6);
    if (f->channels) printf("; normalised: deviation %.2f to %.2f, mean within %.2f%s", lo, hi, off,
                            hi > 10 || off > 10 ? " (far from 1 and 0: are the constants of another family?)" : "");
    printf("\n");
}

reel_err reel_set_check(const char *data_path, struct reel_comm *c)
{
    struct tally y = { 0 };
    struct reel_set *s;
    int64_t damaged;
    reel_err e = reel_set_open(&s, data_path, c);

    if (e) return e;
    e = check_mine(&y, s, c);
    for (int p = c->rank; p < s->n_parts && !e; p += c->size) e = check_meta_file(&s->part[p]);
    damaged = y.damaged;
    reel_pulse_rest(c);
    reel_comm_sum_i64(c, &damaged, 1);
    reel_comm_sum(c, &y.n, 1 + 2 * REEL_SET_CHANNELS);
    e = reel_agree(c, e);
    if (!e && c->rank == 0) summary(data_path, s, &y);
    if (damaged > 1) {
        size_t n = strlen(reel_errrec()->msg);
        snprintf(reel_errrec()->msg + n, sizeof reel_errrec()->msg - n, " (%lld of %lld samples are damaged)", (long long)damaged, (long long)s->info.n);
    }
    reel_set_close(s);
    return e;
}
