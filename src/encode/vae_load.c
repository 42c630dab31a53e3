/* The weights of a VAE: from [n,c,kt,kh,kw] of the files to [n,kt,kh,kw,c]. */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "encode/vae_priv.h"
#include "tensor/half.h"
#include "tensor/sizes.h"

struct load {
    struct reel_vae *v;
    struct reel_weights files;
    const char *dir;
    float *raw, *turned; /* the largest tensor, twice */
    int wanted, missing, wrong;
    char first[2][160];  /* one that is missing, one of another shape */
    uint64_t hash;       /* of all weights in order: FNV-1a over words */
};

/* Calls fn for every tensor, in the order of the networks. */
static reel_err each(struct load *l, reel_err (*fn)(struct load *l, const char *name, reel_tensor *t, const int64_t *n, int nd))
{
    char name[112];

    for (int way = 0; way < 2; way++)
        for (int i = 0; i < l->v->net[way].n; i++) {
            struct vae_step *s = &l->v->net[way].step[i];
            for (int k = 0; k < 2; k++)
                if (s->norm[k].d) REEL_TRY(fn(l, s->norm[k].name, &s->norm[k].w, REEL_DIMS(s->norm[k].d)));
            for (int k = 0; k < 3; k++) {
                struct vae_conv *c = &s->conv[k];
                if (!c->n) continue;
                snprintf(name, sizeof name, "%s.weight", c->name);
                REEL_TRY(fn(l, name, &c->w, REEL_DIMS(c->n, c->kt, c->kh, c->kw, c->c)));
                snprintf(name, sizeof name, "%s.bias", c->name);
                REEL_TRY(fn(l, name, &c->b, REEL_DIMS(c->n)));
            }
        }
    return REEL_OK;
}

/* The file's shape, without dimensions of one but the first: [n,c,kt,kh,kw], also [n,c,kh,kw]; gamma [d,1,1,1]. */
static int fits(const struct reel_st_entry *e, const int64_t *n, int nd)
{
    const int64_t conv[5] = { n[0], nd == 5 ? n[4] : 1, nd == 5 ? n[1] : 1, nd == 5 ? n[2] : 1, nd == 5 ? n[3] : 1 };
    int k = 0;

    for (int i = 0; i < 5; i++) {
        if (i && conv[i] == 1) continue;
        while (k && k < e->nd && e->n[k] == 1) k++;
        if (k >= e->nd || e->n[k++] != conv[i]) return 0;
    }
    while (k < e->nd && e->n[k] == 1) k++;
    return k == e->nd;
}

static reel_err look(struct load *l, const char *name, reel_tensor *t, const int64_t *n, int nd)
{
    struct reel_st *st;
    const struct reel_st_entry *e = reel_weights_find(&l->files, name, &st);

    (void)t;
    l->wanted++;
    if (!e) {
        if (!l->missing++) snprintf(l->first[0], sizeof l->first[0], "%s", name);
    } else if (!fits(e, n, nd)) {
        if (l->wrong++) return REEL_OK;
        snprintf(l->first[1], sizeof l->first[1], "%s %s", name, reel_sizes_text(e->n, e->nd).s);
    }
    return REEL_OK;
}

static reel_err place(struct load *l, const char *name, reel_tensor *t, const int64_t *n, int nd)
{
    (void)name;
    *t = reel_new(&l->v->weights, nd == 5 ? l->v->dt : REEL_F32, n, nd);
    return REEL_OK;
}

/* [n,c,taps] to [n,taps,c] */
static void turn(float *out, const float *in, int64_t n, int64_t c, int64_t taps)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < taps; k++)
            for (int64_t j = 0; j < c; j++) out[(i * taps + k) * c + j] = in[(i * c + j) * taps + k];
}

static void hash_words(uint64_t *h, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) *h = (*h ^ reel_f32_bits(x[i])) * 0x100000001b3u;
}

static reel_err fetch(struct load *l, const char *name, reel_tensor *t, const int64_t *n, int nd)
{
    struct reel_st *st;
    const struct reel_st_entry *e = reel_weights_find(&l->files, name, &st);
    const int64_t count = reel_numel(*t);
    struct reel_stream *s = &l->v->s;
    float *x = l->raw;

    REEL_TRY(reel_weights_read(st, e, 0, e->nd ? e->n[0] : 1, 0, 0, x));
    hash_words(&l->hash, x, count);
    if (nd == 5 && n[4] > 1 && n[1] * n[2] * n[3] > 1) turn(x = l->turned, l->raw, n[0], n[4], n[1] * n[2] * n[3]);
    if (t->dt == REEL_F32) return reel_put(s, *t, x), REEL_OK;
    void *narrow = x == l->raw ? l->turned : l->raw;
    for (int64_t i = 0; i < count; i++) ((uint16_t *)narrow)[i] = reel_f32_bf16(x[i]);
    reel_put(s, *t, narrow);
    return REEL_OK;
}

static int extra_count(const struct load *l)
{
    int n = 0;

    for (int i = 0; i < l->files.n_files; i++) n += reel_st_count(l->files.file[i]);
    return n - (l->wanted - l->missing);
}

static reel_err judge(struct load *l)
{
    const int extra = extra_count(l);

    if (l->missing || l->wrong || extra)
        return REEL_FAIL(REEL_EDATA, "%s: weights do not belong to its config.json: of %d tensors %d are missing%s%s%s, %d have another shape%s%s%s, "
                         "%d others are there", l->dir, l->wanted, l->missing, l->missing ? " (" : "", l->first[0], l->missing ? ")" : "",
                         l->wrong, l->wrong ? " (" : "", l->first[1], l->wrong ? ")" : "", extra);
    return REEL_OK;
}

static size_t largest(const struct load *l)
{
    size_t most = 0;

    for (int i = 0; i < l->files.n_files; i++)
        for (int k = 0; k < reel_st_count(l->files.file[i]); k++) {
            const struct reel_st_entry *e = reel_st_entry(l->files.file[i], k);
            size_t n = 1;
            for (int d = 0; d < e->nd; d++) n *= (size_t)e->n[d];
            if (n > most) most = n;
        }
    return most;
}

reel_err vae_plan(struct reel_vae *v)
{
    struct load l = { .v = v };

    REEL_TRY(each(&l, place));
    v->weight_bytes = v->weights.used;
    return REEL_OK;
}

static reel_err load_all(struct load *l)
{
    struct reel_vae *v = l->v;
    const size_t most = largest(l) + 1;

    REEL_TRY(each(l, look));
    REEL_TRY(judge(l));
    REEL_TRY(vae_plan(v));
    REEL_TRY(reel_arena_open(&v->weights, v->s.be, "vae.weights", v->weight_bytes));
    REEL_TRY(each(l, place));
    l->raw = malloc(most * sizeof *l->raw);
    l->turned = malloc(most * sizeof *l->turned);
    if (!l->raw || !l->turned) return REEL_FAIL(REEL_ENOMEM, "%s: no memory to read weights", l->dir);
    REEL_TRY(each(l, fetch));
    reel_sync(&v->s);
    snprintf(v->id, sizeof v->id, "wan-vae:%016llx", (unsigned long long)l->hash);
    return REEL_OK;
}

reel_err vae_load(struct reel_vae *v, const char *dir)
{
    struct load l = { .v = v, .dir = dir, .hash = REEL_FNV };
    char *list;
    size_t bytes;
    reel_err e;

    REEL_TRY(reel_weights_list(dir, &list, &bytes));
    e = reel_weights_open(&l.files, list, bytes);
    free(list);
    if (!e) e = load_all(&l);
    reel_weights_close(&l.files);
    free(l.raw);
    free(l.turned);
    return e;
}
