/* Plain tensors in a safetensors file become a set, without any encoder. */
#include <stdlib.h>
#include <string.h>

#include "data/set.h"
#include "media/family.h"
#include "tensor/safetensors.h"

struct import {
    struct reel_st *st;
    const struct reel_st_entry *latents, *text, *length, *negative;
    int64_t n, rows, dim; /* samples, padded rows, columns */
    int64_t *len;
    float *neg, *x, *t;
};

static reel_err want(struct import *m, const char *name, int nd, reel_dtype dt, const struct reel_st_entry **out)
{
    const struct reel_st_entry *e = reel_st_find(m->st, name);

    if (!e) return REEL_FAIL(REEL_EDATA, "%s: no tensor \"%s\"; expected latents [N,C,T,H,W], text [N,L,D], length [N], "
                             "negative [1,L,D]", reel_st_path(m->st), name);
    if (e->nd != nd || (dt != REEL_NDTYPE && e->dt != dt))
        return REEL_FAIL(REEL_EDATA, "%s: \"%s\" is %s of %d dimensions; expected %d", reel_st_path(m->st), name, e->dtype,
                         e->nd, nd);
    *out = e;
    return REEL_OK;
}

static reel_err import_open(struct import *m, const char *path)
{
    REEL_TRY(reel_st_open(&m->st, path));
    REEL_TRY(want(m, "latents", 5, REEL_NDTYPE, &m->latents));
    REEL_TRY(want(m, "text", 3, REEL_NDTYPE, &m->text));
    REEL_TRY(want(m, "length", 1, REEL_I64, &m->length));
    REEL_TRY(want(m, "negative", 3, REEL_NDTYPE, &m->negative));
    m->n = m->latents->n[0], m->rows = m->text->n[1], m->dim = m->text->n[2];
    if (m->text->n[0] != m->n || m->length->n[0] != m->n || m->negative->n[0] != 1 || m->negative->n[2] != m->dim ||
        m->latents->n[1] != reel_family_wan.channels)
        return REEL_FAIL(REEL_EDATA, "%s: sizes disagree: %lld latents of %lld channels (16 wanted), %lld texts of %lld columns, "
                         "%lld lengths, negative of %lld columns", path, (long long)m->n, (long long)m->latents->n[1],
                         (long long)m->text->n[0], (long long)m->dim, (long long)m->length->n[0], (long long)m->negative->n[2]);
    m->len = malloc((size_t)m->n * sizeof *m->len + 1);
    m->neg = malloc((size_t)(m->negative->n[1] * m->dim) * sizeof(float) + 1);
    m->t = malloc((size_t)(m->rows * m->dim) * sizeof(float) + 1);
    m->x = malloc((size_t)(m->latents->n[1] * m->latents->n[2] * m->latents->n[3] * m->latents->n[4]) * sizeof(float) + 1);
    if (!m->len || !m->neg || !m->t || !m->x) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for one sample", path);
    REEL_TRY(reel_st_read(m->st, m->length, 0, (size_t)m->n * sizeof *m->len, m->len));
    for (int64_t i = 0; i < m->n; i++)
        if (m->len[i] < 0 || m->len[i] > m->rows)
            return REEL_FAIL(REEL_EDATA, "%s: length[%lld] is %lld; the text has %lld rows", path, (long long)i,
                             (long long)m->len[i], (long long)m->rows);
    return reel_st_read_f32(m->st, m->negative, 0, 1, m->neg);
}

static int rows_used(const float *v, int64_t rows, int64_t dim)
{
    for (int64_t i = rows * dim; i > 0; i--)
        if (v[i - 1] != 0) return (int)((i + dim - 1) / dim);
    return 0;
}

static struct reel_set_desc describe(const struct import *m)
{
    const struct reel_family *f = &reel_family_wan;
    const int64_t *n = m->latents->n;
    struct reel_set_desc d = { .kind = "t2v", .channels = (int)n[1], .frames = (int)n[2], .height = (int)n[3], .width = (int)n[4],
        .text_dim = (int)m->dim, .pad_to = (int)m->rows, .dtype = REEL_F32, .mean = f->mean, .std = f->std, .family = f->name,
        .source = "safetensors", .negative = m->neg, .negative_rows = rows_used(m->neg, m->negative->n[1], m->dim),
        .have_negative = 1, .have_empty = 1 };

    memcpy(d.down, f->down, sizeof d.down);
    d.pix_frames = (d.frames - 1) * f->down[0] + 1, d.pix_height = d.height * f->down[1], d.pix_width = d.width * f->down[2];
    return d;
}

static reel_err import_one(struct import *m, struct reel_set_writer *w, const struct reel_set_desc *d, int64_t i)
{
    char id[32];
    struct reel_set_sample s = { .key = i, .latent = m->x, .text = m->t, .rows = (int)m->len[i], .id = id,
                                 .width = d->pix_width, .height = d->pix_height, .frames = d->pix_frames };

    snprintf(id, sizeof id, "%lld", (long long)i);
    REEL_TRY(reel_st_read_f32(m->st, m->latents, i, 1, m->x));
    REEL_TRY(reel_st_read_f32(m->st, m->text, i, 1, m->t));
    return reel_set_add(w, &s);
}

reel_err reel_set_from_safetensors(const char *path, const char *out, struct reel_comm *c)
{
    struct import m = { 0 };
    struct reel_set_writer *w = NULL;
    struct reel_set_desc d;
    reel_err e = reel_agree(c, import_open(&m, path));

    if (!e) {
        d = describe(&m);
        e = reel_set_create(&w, out, &d, c);
    }
    if (!e) {
        for (int64_t i = c->rank; i < m.n && !e; i += c->size) e = import_one(&m, w, &d, i);
        e = reel_set_commit(w, e, NULL);
    }
    reel_st_close(m.st);
    free(m.len), free(m.neg), free(m.x), free(m.t);
    return e;
}
