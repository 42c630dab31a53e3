/* Weights of a component folder into parameter shards. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "ckpt/hf.h"
#include "ckpt/names.h"
#include "tensor/sizes.h"

#define NAMES_SHOWN 6

/* Names for one message, the first few in full. */
struct complaint { char text[400]; int n, full; };

static void complain(struct complaint *c, const char *fmt, const char *name, const char *detail)
{
    size_t at = strlen(c->text);
    char one[240];

    if (c->n++ >= NAMES_SHOWN || c->full) return;
    snprintf(one, sizeof one, fmt, name, detail);
    c->full = at + strlen(one) + 3 > sizeof c->text;
    if (!c->full) snprintf(c->text + at, sizeof c->text - at, "%s%s", c->n > 1 ? ", " : "", one);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct reel_hf_tensor *)a)->name, ((const struct reel_hf_tensor *)b)->name);
}

reel_err reel_hf_index(const struct reel_weights *w, const struct reel_naming *naming, struct reel_hf_tensor **out, int *n)
{
    struct reel_hf_tensor *f;
    int total = 0, k = 0;

    for (int i = 0; i < w->n_files; i++) total += reel_st_count(w->file[i]);
    *out = f = calloc((size_t)total + 1, sizeof *f);
    *n = total;
    if (!f) return REEL_FAIL(REEL_ENOMEM, "no memory for the names of %d tensors", total);
    for (int i = 0; i < w->n_files; i++)
        for (int t = 0; t < reel_st_count(w->file[i]); t++, k++) {
            f[k].e = reel_st_entry(w->file[i], t);
            f[k].file = w->file[i];
            reel_name_own(naming, f[k].name, f[k].e->name);
        }
    qsort(f, (size_t)total, sizeof *f, by_name);
    for (k = 1; k < total; k++)
        if (by_name(&f[k - 1], &f[k]) == 0)
            return REEL_FAIL(REEL_EDATA, "%s: %s and %s are the same parameter, %s", reel_st_path(f[k].file),
                             f[k - 1].e->name, f[k].e->name, f[k].name);
    return REEL_OK;
}

struct reel_hf_tensor *reel_hf_find(struct reel_hf_tensor *f, int n, const char *name)
{
    struct reel_hf_tensor key = { .e = NULL };

    snprintf(key.name, sizeof key.name, "%s", name);
    return bsearch(&key, f, (size_t)n, sizeof key, by_name);
}

static int may_be_extra(const char *name)
{
    size_t n = strlen(name), k = strlen("_extra_state");

    return n >= k && strcmp(name + n - k, "_extra_state") == 0;
}

static void check_shape(struct complaint *c, const struct reel_param_def *d, const struct reel_st_entry *e)
{
    char both[256];

    if (e->nd == d->nd && memcmp(e->n, d->n, (size_t)d->nd * sizeof *d->n) == 0) return;
    snprintf(both, sizeof both, "%s, the model has %s", reel_sizes_text(e->n, e->nd).s, reel_sizes_text(d->n, d->nd).s);
    complain(c, "%s %s", d->name, both);
}

/* Missing, unexpected, mis-shaped: all of them in one message. */
reel_err reel_hf_fit(const struct reel_params_cfg *cfg, struct reel_hf_tensor *f, int n, const char *where, const char *assumed)
{
    struct complaint missing = { "", 0, 0 }, extra = { "", 0, 0 }, shape = { "", 0, 0 };
    int some = assumed && *assumed;

    for (int i = 0; i < cfg->n; i++) {
        struct reel_hf_tensor *hit = reel_hf_find(f, n, cfg->def[i].name);
        if (cfg->def[i].part != REEL_PARAM_OWN) continue; /* adapters are no part of the model's files */
        if (hit) hit->used = 1, check_shape(&shape, &cfg->def[i], hit->e);
        else if (!cfg->def[i].optional) complain(&missing, "%s%s", cfg->def[i].name, "");
    }
    for (int i = 0; i < n; i++)
        if (!f[i].used && !may_be_extra(f[i].name)) complain(&extra, "%s%s", f[i].e->name, "");
    if (!missing.n && !extra.n && !shape.n) return REEL_OK;
    return REEL_FAIL(REEL_EDATA, "%s: does not fit role %s:%s%.*d%s%s%s%.*d%s%s%s%.*d%s%s%s%s", where, cfg->role,
                     missing.n ? " missing " : "", missing.n > 0, missing.n, missing.n ? ": " : "", missing.text,
                     extra.n ? " unexpected " : "", extra.n > 0, extra.n, extra.n ? ": " : "", extra.text,
                     shape.n ? " mis-shaped " : "", shape.n > 0, shape.n, shape.n ? ": " : "", shape.text,
                     some ? "; its config.json leaves out sizes, so these were taken: " : "", some ? assumed : "");
}

static size_t largest_shard(const struct reel_params *ps, int n)
{
    size_t max = 1;

    for (int i = 0; i < n; i++) {
        size_t b = reel_bytes(reel_param_shard(ps, i).w);
        if (b > max) max = b;
    }
    return max;
}

static reel_err read_shards(struct reel_params *ps, struct reel_hf_tensor *f, int n, struct reel_stream *s)
{
    const struct reel_params_cfg *cfg = reel_params_cfg(ps);
    size_t cap = largest_shard(ps, cfg->n);
    float *buf = malloc(cap);
    reel_err e = REEL_OK;

    if (!buf) return REEL_FAIL(REEL_ENOMEM, "no memory for a shard of %zu bytes", cap);
    for (int i = 0; i < cfg->n && !e; i++) {
        struct reel_shard sh = reel_param_shard(ps, i);
        struct reel_hf_tensor *hit = reel_hf_find(f, n, cfg->def[i].name);
        if (!sh.rows || cfg->def[i].part != REEL_PARAM_OWN) continue;
        if (hit) e = reel_weights_read(hit->file, hit->e, sh.row0, sh.rows, sh.col0, sh.cols, buf);
        else memset(buf, 0, reel_bytes(sh.w));
        if (!e) reel_put(s, sh.w, buf);
    }
    free(buf);
    return e;
}

static reel_err load_files(const char *list, size_t bytes, const char *assumed, struct reel_params *ps, struct reel_stream *s)
{
    struct reel_weights w;
    struct reel_hf_tensor *f = NULL;
    int n = 0;
    reel_err e = reel_weights_open(&w, list, bytes);

    if (e) return e;
    e = reel_hf_index(&w, reel_params_cfg(ps)->naming, &f, &n);
    if (!e) e = reel_hf_fit(reel_params_cfg(ps), f, n, list, assumed);
    if (!e) e = read_shards(ps, f, n, s);
    free(f);
    reel_weights_close(&w);
    return e;
}

static reel_err list_here(const struct reel_hf_source *src, char **list, size_t *bytes)
{
    char dir[PATH_MAX];

    if (src->override_from) return reel_weights_list(src->override_from, list, bytes);
    REEL_TRY(reel_hf_component(src, dir, sizeof dir));
    return reel_weights_list(dir, list, bytes);
}

reel_err reel_hf_list(const struct reel_hf_source *src, void **list, size_t *bytes, struct reel_comm *c)
{
    *list = NULL;
    *bytes = 0;
    REEL_TRY(reel_agree(c, c->rank ? REEL_OK : list_here(src, (char **)list, bytes)));
    return reel_comm_bcast_blob(c, list, bytes, 0);
}

reel_err reel_hf_load(const struct reel_hf_source *src, struct reel_params *ps, struct reel_stream *s,
                      struct reel_comm *world)
{
    void *list;
    size_t bytes;
    reel_err e;

    REEL_TRY(reel_hf_list(src, &list, &bytes, world));
    e = load_files(list, bytes, src->assumed, ps, s);
    free(list);
    return reel_agree(world, e);
}
