/* Plain tensors in a safetensors file become a set, without any encoder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/pulse.h"
#include "data/set.h"
#include "media/family.h"
#include "tensor/safetensors.h"

struct import {
    struct reel_st *st;
    const struct reel_st_entry *latents, *text, *length, *negative, *caption, *id; /* may be NULL: latents, and the last three */
    int64_t n, rows, dim, z[5]; /* samples, padded rows, columns; shape of the latents, or zeros */
    int64_t *len;
    float *neg, *x, *t;
    char *words, *name; /* a caption, an id */
};

static reel_err want(struct import *m, const char *name, int nd, reel_dtype dt, const struct reel_st_entry **out)
{
    const struct reel_st_entry *e = reel_st_find(m->st, name);

    if (!e) return REEL_FAIL(REEL_EDATA, "%s: no tensor \"%s\"; expected latents [N,C,T,H,W] (or none), text [N,L,D], "
                             "length [N]; perhaps negative [1,L,D], caption and id [N,bytes]", reel_st_path(m->st), name);
    if (e->nd != nd || (dt != REEL_NDTYPE && e->dt != dt))
        return REEL_FAIL(REEL_EDATA, "%s: \"%s\" is %s of %d dimensions; expected %d", reel_st_path(m->st), name, e->dtype,
                         e->nd, nd);
    *out = e;
    return REEL_OK;
}

static reel_err may_want(struct import *m, const char *name, int nd, const char *dtype, const struct reel_st_entry **out)
{
    const struct reel_st_entry *e = reel_st_find(m->st, name);

    if (!e) return REEL_OK;
    if (dtype && strcmp(e->dtype, dtype) != 0) return REEL_FAIL(REEL_EDATA, "%s: \"%s\" is %s; expected %s", reel_st_path(m->st), name, e->dtype, dtype);
    return want(m, name, nd, REEL_NDTYPE, out);
}

static reel_err find_tensors(struct import *m)
{
    if (reel_st_find(m->st, "latents") || !reel_st_find(m->st, "text")) REEL_TRY(want(m, "latents", 5, REEL_NDTYPE, &m->latents));
    REEL_TRY(want(m, "text", 3, REEL_NDTYPE, &m->text));
    REEL_TRY(want(m, "length", 1, REEL_I64, &m->length));
    REEL_TRY(may_want(m, "negative", 3, NULL, &m->negative));
    REEL_TRY(may_want(m, "caption", 2, "U8", &m->caption));
    return may_want(m, "id", 2, "U8", &m->id);
}

static reel_err import_open(struct import *m, const char *path)
{
    int64_t strings[2];

    REEL_TRY(reel_st_open(&m->st, path));
    REEL_TRY(find_tensors(m));
    m->n = m->text->n[0], m->rows = m->text->n[1], m->dim = m->text->n[2];
    if (m->latents) memcpy(m->z, m->latents->n, sizeof m->z);
    if ((m->latents && m->z[0] != m->n) || m->length->n[0] != m->n || (m->negative && (m->negative->n[0] != 1 || m->negative->n[2] != m->dim)) ||
        (m->latents && m->z[1] != reel_family_wan.channels))
        return REEL_FAIL(REEL_EDATA, "%s: sizes disagree: %lld latents of %lld channels (16 wanted), %lld texts of %lld columns, "
                         "%lld lengths, negative of %lld columns", path, (long long)m->z[0], (long long)m->z[1],
                         (long long)m->n, (long long)m->dim, (long long)m->length->n[0], (long long)(m->negative ? m->negative->n[2] : 0));
    if ((m->caption && m->caption->n[0] != m->n) || (m->id && m->id->n[0] != m->n))
        return REEL_FAIL(REEL_EDATA, "%s: caption and id must have %lld rows as text has", path, (long long)m->n);
    strings[0] = m->caption ? m->caption->n[1] : 0, strings[1] = m->id ? m->id->n[1] : 0;
    m->len = malloc((size_t)m->n * sizeof *m->len + 1);
    m->neg = malloc(m->negative ? (size_t)(m->negative->n[1] * m->dim) * sizeof(float) + 1 : 1);
    m->t = malloc((size_t)(m->rows * m->dim) * sizeof(float) + 1);
    m->x = malloc((size_t)(m->z[1] * m->z[2] * m->z[3] * m->z[4]) * sizeof(float) + 1);
    m->words = calloc((size_t)strings[0] + 1, 1);
    m->name = calloc((size_t)strings[1] + 1, 1);
    if (!m->len || !m->neg || !m->t || !m->x || !m->words || !m->name) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for one sample", path);
    REEL_TRY(reel_st_read(m->st, m->length, 0, (size_t)m->n * sizeof *m->len, m->len));
    for (int64_t i = 0; i < m->n; i++)
        if (m->len[i] < 0 || m->len[i] > m->rows)
            return REEL_FAIL(REEL_EDATA, "%s: length[%lld] is %lld; the text has %lld rows", path, (long long)i,
                             (long long)m->len[i], (long long)m->rows);
    return m->negative ? reel_st_read_f32(m->st, m->negative, 0, 1, m->neg) : REEL_OK;
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
    struct reel_set_desc d = { .kind = m->latents ? "t2v" : "text_only", .channels = (int)m->z[1], .frames = (int)m->z[2], .height = (int)m->z[3],
        .width = (int)m->z[4], .text_dim = (int)m->dim, .pad_to = (int)m->rows, .dtype = REEL_F32, .mean = f->mean, .std = f->std,
        .family = f->name, .source = "safetensors", .negative = m->neg,
        .negative_rows = m->negative ? rows_used(m->neg, m->negative->n[1], m->dim) : 0, .have_negative = m->negative != NULL,
        .have_empty = m->negative != NULL };

    memcpy(d.down, f->down, sizeof d.down);
    if (!m->latents) return d;
    d.pix_frames = (d.frames - 1) * f->down[0] + 1, d.pix_height = d.height * f->down[1], d.pix_width = d.width * f->down[2];
    return d;
}

static reel_err import_one(struct import *m, struct reel_set_writer *w, const struct reel_set_desc *d, int64_t i)
{
    char number[32];
    struct reel_set_sample s = { .key = i, .latent = m->x, .text = m->t, .rows = (int)m->len[i], .id = m->id ? m->name : number, .caption = m->words,
                                 .width = d->pix_width, .height = d->pix_height, .frames = d->pix_frames };

    snprintf(number, sizeof number, "%lld", (long long)i);
    if (m->latents) REEL_TRY(reel_st_read_f32(m->st, m->latents, i, 1, m->x));
    REEL_TRY(reel_st_read_f32(m->st, m->text, i, 1, m->t));
    if (m->caption) REEL_TRY(reel_st_read(m->st, m->caption, (uint64_t)(i * m->caption->n[1]), (size_t)m->caption->n[1], m->words));
    if (m->id) REEL_TRY(reel_st_read(m->st, m->id, (uint64_t)(i * m->id->n[1]), (size_t)m->id->n[1], m->name));
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
        for (int64_t i = c->rank; i < m.n && !e; i += c->size) {
            reel_pulse(c);
            e = import_one(&m, w, &d, i);
        }
        e = reel_set_commit(w, e, NULL);
    }
    reel_st_close(m.st);
    free(m.len), free(m.neg), free(m.x), free(m.t), free(m.words), free(m.name);
    return e;
}
