/* Adapter files into shards.
 * Source: peft utils/save_and_load.py 0.21 (names); diffusers loaders/lora_base.py 0.42 (header, prefixes). */
#include "ckpt/adapters.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "be/be.h"
#include "ckpt/names.h"
#include "tensor/weights.h"

/* ---- names ---- */

static const char *const prefixes[] = { "base_model.model.", "transformer.", "diffusion_model.", "model." };
static const struct { const char *tail, *own; } tails[] = {
    { ".lora_A.weight", ".lora_A" },         { ".lora_B.weight", ".lora_B" },
    { ".lora_A.default.weight", ".lora_A" }, { ".lora_B.default.weight", ".lora_B" },
    { ".lora_down.weight", ".lora_A" },      { ".lora_up.weight", ".lora_B" },
    { ".lora_A", ".lora_A" },                { ".lora_B", ".lora_B" },
    { ".alpha", ".alpha" },
};

/* <layer>.lora_A, .lora_B or .alpha with our name of the layer; 0: no such tensor. */
static int own_name(const struct reel_naming *naming, char out[REEL_NAME_MAX], const char *name)
{
    char plain[REEL_NAME_MAX];

    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (!strncmp(name, prefixes[i], strlen(prefixes[i]))) name += strlen(prefixes[i]);
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        size_t n = strlen(name), k = strlen(tails[i].tail);
        if (n <= k || strcmp(name + n - k, tails[i].tail) != 0) continue;
        snprintf(plain, sizeof plain, "%.*s%s", (int)(n - k), name, tails[i].own);
        reel_name_own(naming, out, plain);
        return 1;
    }
    return 0;
}

struct found { char name[REEL_NAME_MAX]; const struct reel_st_entry *e; struct reel_st *file; int used; };

struct files {
    struct reel_weights w;
    struct found *f; /* by name */
    int n;
    double alpha; /* of all layers; NAN: not said, the rank */
};

static int by_name(const void *a, const void *b) { return strcmp(((const struct found *)a)->name, ((const struct found *)b)->name); }

static reel_err index_names(struct files *x, const struct reel_naming *naming)
{
    int total = 0;

    for (int i = 0; i < x->w.n_files; i++) total += reel_st_count(x->w.file[i]);
    x->f = calloc((size_t)total + 1, sizeof *x->f);
    if (!x->f) return REEL_FAIL(REEL_ENOMEM, "no memory for the names of %d tensors", total);
    for (int i = 0; i < x->w.n_files; i++)
        for (int k = 0; k < reel_st_count(x->w.file[i]); k++) {
            struct found *f = &x->f[x->n++];
            f->e = reel_st_entry(x->w.file[i], k);
            f->file = x->w.file[i];
            if (!own_name(naming, f->name, f->e->name))
                return REEL_FAIL(REEL_EDATA, "%s: %s is no part of a low-rank adapter", reel_st_path(f->file), f->e->name);
        }
    qsort(x->f, (size_t)x->n, sizeof *x->f, by_name);
    for (int i = 1; i < x->n; i++)
        if (by_name(&x->f[i - 1], &x->f[i]) == 0)
            return REEL_FAIL(REEL_EDATA, "%s: %s and %s are the same matrix, %s", reel_st_path(x->f[i].file), x->f[i - 1].e->name,
                             x->f[i].e->name, x->f[i].name);
    return REEL_OK;
}

static struct found *find(const struct files *x, const char *name)
{
    struct found key = { .e = NULL };

    snprintf(key.name, sizeof key.name, "%s", name);
    return bsearch(&key, x->f, (size_t)x->n, sizeof key, by_name);
}

/* ---- scale ---- */

static int set(const json_t *v) { return v && !json_is_null(v) && !json_is_false(v) && !(json_is_object(v) && !json_object_size(v)); }

/* `prefix` is "" in PEFT's file, "transformer." in Diffusers' header. */
static reel_err read_alpha(const json_t *j, const char *prefix, const char *where, double *alpha)
{
    static const char *const beyond[] = { "use_rslora", "use_dora", "alpha_pattern", "rank_pattern", "fan_in_fan_out",
                                          "layers_pattern", "modules_to_save" };
    char key[96];
    const json_t *v;

    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
        snprintf(key, sizeof key, "%s%s", prefix, beyond[i]);
        if (set(json_object_get(j, key)))
            return REEL_FAIL(REEL_EDATA, "%s: %s is set: one plain rank and alpha for all layers is what is read", where, key);
    }
    snprintf(key, sizeof key, "%slora_alpha", prefix);
    v = json_object_get(j, key);
    if (json_is_number(v)) *alpha = json_number_value(v);
    return REEL_OK;
}

static reel_err alpha_of_header(const struct reel_st *st, double *alpha)
{
    const char *text = reel_st_meta(st, "lora_adapter_metadata");
    json_t *j;
    reel_err e;

    if (!text) return REEL_OK;
    REEL_TRY(reel_json_parse(&j, text, strlen(text), reel_st_path(st)));
    e = read_alpha(j, "transformer.", reel_st_path(st), alpha);
    json_decref(j);
    return e;
}

/* Alpha of the layer whose A is `a`, over its rank. */
static reel_err check_scale(const struct files *x, const struct found *a, double scale)
{
    char name[REEL_NAME_MAX];
    const struct found *own;
    double rank = (double)a->e->n[0], alpha = isnan(x->alpha) ? rank : x->alpha;
    float f;

    snprintf(name, sizeof name, "%.*s.alpha", (int)(strlen(a->name) - strlen(".lora_A")), a->name);
    own = find(x, name);
    if (own) {
        REEL_TRY(reel_st_read_f32(own->file, own->e, 0, 1, &f));
        alpha = (double)f;
    }
    if (fabs(alpha / rank - scale) <= 1e-6 * fabs(scale)) return REEL_OK;
    return REEL_FAIL(REEL_EDATA, "%s: alpha %g and rank %g, a scale of %g, but the role's lora.alpha / lora.rank is %g: set lora.alpha to %g",
                     reel_st_path(a->file), alpha, rank, alpha / rank, scale, alpha);
}

/* ---- what does not fit, in one message ---- */

static reel_err check_all(struct files *x, const struct reel_params_cfg *cfg, double scale)
{
    int missing = 0, extra = 0, shape = 0;
    const char *m = "", *e = "", *s = "", *where = reel_st_path(x->w.file[0]);

    for (int i = 0; i < cfg->n; i++) {
        const struct reel_param_def *d = &cfg->def[i];
        struct found *f = d->part == REEL_PARAM_OWN ? NULL : find(x, d->name);
        if (d->part == REEL_PARAM_OWN) continue;
        if (!f) {
            if (!missing++) m = d->name;
            continue;
        }
        f->used = 1;
        if ((f->e->nd != 2 || f->e->n[0] != d->n[0] || f->e->n[1] != d->n[1]) && !shape++) s = d->name;
    }
    for (int i = 0; i < x->n; i++) {
        size_t k = strlen(x->f[i].name), t = strlen(".alpha");
        if (!x->f[i].used && (k < t || strcmp(x->f[i].name + k - t, ".alpha") != 0) && !extra++) e = x->f[i].name;
    }
    if (missing || extra || shape)
        return REEL_FAIL(REEL_EDATA, "%s: does not fit the adapters of the %s: %d missing%s%s, %d unexpected%s%s, %d of another rank or "
                         "width%s%s; see lora.rank and lora.target_modules", where, cfg->role, missing, missing ? ", e.g. " : "", m,
                         extra, extra ? ", e.g. " : "", e, shape, shape ? ", e.g. " : "", s);
    for (int i = 0; i < cfg->n; i++)
        if (cfg->def[i].part == REEL_PARAM_LORA_A) REEL_TRY(check_scale(x, find(x, cfg->def[i].name), scale));
    return REEL_OK;
}

static reel_err read_shards(const struct files *x, struct reel_params *ps, struct reel_stream *s)
{
    const struct reel_params_cfg *cfg = reel_params_cfg(ps);

    for (int i = 0; i < cfg->n; i++) {
        struct reel_shard sh = reel_param_shard(ps, i);
        const struct found *f = cfg->def[i].part != REEL_PARAM_OWN && sh.rows ? find(x, cfg->def[i].name) : NULL;
        float *buf;
        reel_err e;
        if (!f) continue;
        buf = malloc(reel_bytes(sh.w));
        if (!buf) return REEL_FAIL(REEL_ENOMEM, "no memory for %s", f->name);
        e = reel_weights_read(f->file, f->e, sh.row0, sh.rows, sh.col0, sh.cols, buf);
        if (!e) reel_put(s, sh.w, buf);
        free(buf);
        REEL_TRY(e);
    }
    return REEL_OK;
}

/* ---- files ---- */

/* The folder's file by its usual name, else whatever it holds. */
static reel_err list_files(const char *from, char **list, size_t *bytes, double *alpha)
{
    static const char *const usual[] = { "adapter_model.safetensors", "pytorch_lora_weights.safetensors" };
    char path[PATH_MAX];
    json_t *j;
    reel_err e;

    if (!reel_is_dir(from)) return reel_weights_list(from, list, bytes);
    REEL_TRY(reel_join(path, sizeof path, from, "adapter_config.json"));
    if (reel_is_file(path)) {
        REEL_TRY(reel_json_file(&j, path));
        e = read_alpha(j, "", path, alpha);
        json_decref(j);
        REEL_TRY(e);
    }
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        REEL_TRY(reel_join(path, sizeof path, from, usual[i]));
        if (reel_is_file(path)) return reel_weights_list(path, list, bytes);
    }
    return reel_weights_list(from, list, bytes);
}

static reel_err load(struct files *x, double scale, struct reel_params *ps, struct reel_stream *s)
{
    REEL_TRY(index_names(x, reel_params_cfg(ps)->naming));
    for (int i = 0; i < x->w.n_files && isnan(x->alpha); i++) REEL_TRY(alpha_of_header(x->w.file[i], &x->alpha));
    REEL_TRY(check_all(x, reel_params_cfg(ps), scale));
    return read_shards(x, ps, s);
}

reel_err reel_adapters_load(const char *from, double scale, struct reel_params *ps, struct reel_stream *s,
                            struct reel_comm *world)
{
    struct files x = { .alpha = (double)NAN };
    void *list = NULL;
    size_t bytes = 0;
    reel_err e = REEL_OK;

    if (world->rank == 0) e = list_files(from, (char **)&list, &bytes, &x.alpha);
    REEL_TRY(reel_agree(world, e));
    reel_comm_bcast(world, &x.alpha, sizeof x.alpha, 0);
    REEL_TRY(reel_comm_bcast_blob(world, &list, &bytes, 0));
    e = reel_weights_open(&x.w, list, bytes);
    free(list);
    if (!e) {
        e = load(&x, scale, ps, s);
        reel_weights_close(&x.w);
    }
    free(x.f);
    return reel_agree(world, e);
}

#define MERGE_COLS 64

void reel_adapter_merge(float *w, const float *a, const float *b, int64_t n, int64_t k, int64_t r, double scale)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j0 = 0; j0 < k; j0 += MERGE_COLS) {
            double sum[MERGE_COLS] = { 0 };
            int64_t m = k - j0 < MERGE_COLS ? k - j0 : MERGE_COLS;
            for (int64_t q = 0; q < r; q++)
                for (int64_t j = 0; j < m; j++) sum[j] += (double)b[i * r + q] * (double)a[q * k + j0 + j];
            for (int64_t j = 0; j < m; j++) w[i * k + j0 + j] = (float)((double)w[i * k + j0 + j] + scale * sum[j]);
        }
}
