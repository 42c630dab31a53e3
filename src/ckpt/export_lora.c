/* A checkpoint's adapters: as files that peft and diffusers load, or merged into the base.
 * Source: peft 0.21 LoraConfig, utils/save_and_load.py; diffusers 0.42 loaders/lora_base.py (header). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "ckpt/adapters.h"
#include "ckpt/export_priv.h"
#include "tensor/half.h"

#define A_TAIL ".lora_A"

static int is_a(const char *name)
{
    size_t n = strlen(name), k = strlen(A_TAIL);

    return n > k && !strcmp(name + n - k, A_TAIL);
}

static const struct export_one *first_a(const struct export_job *j)
{
    for (int i = 0; i < j->n; i++)
        if (is_a(j->t[i].name)) return &j->t[i];
    return NULL;
}

reel_err export_judge(const struct export_job *j)
{
    const struct reel_export *x = j->x;

    if (x->lora && x->merge) return REEL_FAIL(REEL_ECONFIG, "export: --lora or --merge: the adapters, or a model that has them merged");
    if (first_a(j) && !x->lora && !x->merge)
        return REEL_FAIL(REEL_ECONFIG, "%s holds adapters of the %s, not its weights: --lora writes them, --merge adds them to the base",
                         x->checkpoint, x->role);
    if (!first_a(j) && (x->lora || x->merge))
        return REEL_FAIL(REEL_ECONFIG, "%s holds no adapters of the %s, but its weights: leave out %s", x->checkpoint, x->role,
                         x->lora ? "--lora" : "--merge");
    return REEL_OK;
}

/* lora.alpha of the run, the rank where it says none. */
static reel_err find_alpha(const struct export_job *j, int64_t rank, double *alpha)
{
    char path[PATH_MAX];
    const json_t *v;
    json_t *js;

    *alpha = (double)rank;
    REEL_TRY(reel_join(path, sizeof path, j->x->checkpoint, "metadata.json"));
    REEL_TRY(reel_json_file(&js, path));
    v = json_object_get(json_object_get(json_object_get(json_object_get(json_object_get(js, "config"), "models"), j->x->role),
                                        "lora"), "alpha");
    if (json_is_number(v)) *alpha = json_number_value(v);
    json_decref(js);
    return REEL_OK;
}

/* ---- files of adapters ---- */

/* What LoraConfig takes; `prefix` is "" in PEFT's file, "transformer." in Diffusers' header. malloc'ed; NULL: no memory. */
static char *config_text(const struct export_job *j, const char *prefix, int64_t rank, double alpha)
{
    json_t *o = json_object(), *layers = json_array();
    char key[96], *text;

    for (int i = 0; i < j->n; i++)
        if (is_a(j->t[i].name))
            json_array_append_new(layers, json_stringn(j->t[i].name, strlen(j->t[i].name) - strlen(A_TAIL)));
#define PUT(name, value) snprintf(key, sizeof key, "%s" name, prefix), json_object_set_new(o, key, value)
    PUT("peft_type", json_string("LORA"));
    PUT("task_type", json_null());
    PUT("base_model_name_or_path", j->x->base ? json_string(j->x->base) : json_null());
    PUT("r", json_integer(rank));
    PUT("lora_alpha", alpha == floor(alpha) ? json_integer((json_int_t)alpha) : json_real(alpha));
    PUT("lora_dropout", json_real(0));
    PUT("bias", json_string("none"));
    PUT("fan_in_fan_out", json_false());
    PUT("inference_mode", json_true());
    PUT("init_lora_weights", json_true());
    PUT("use_rslora", json_false());
    PUT("use_dora", json_false());
    PUT("target_modules", layers);
#undef PUT
    text = json_dumps(o, JSON_INDENT(2) | JSON_SORT_KEYS);
    json_decref(o);
    return text;
}

static reel_err fill(void *ctx, int item, void *dst)
{
    struct export_job *j = ctx;
    const struct export_one *t = &j->t[item];
    int64_t n = reel_pt_numel(t->n, t->nd);
    float *f = malloc((size_t)n * sizeof *f + 1);
    reel_err e = f ? export_read(j, t, f) : REEL_FAIL(REEL_ENOMEM, "export: no memory for %s", t->name);

    for (int64_t i = 0; i < n && !e; i++)
        if (j->x->dt == REEL_F32) ((float *)dst)[i] = f[i];
        else ((uint16_t *)dst)[i] = reel_f32_bf16(f[i]);
    free(f);
    return e;
}

static reel_err write_adapters(struct export_job *j, const char *file, const char *prefix, const struct reel_st_kv *meta, int n_meta)
{
    struct reel_st_item *it = calloc((size_t)j->n, sizeof *it);
    char (*name)[REEL_NAME_MAX + 64] = calloc((size_t)j->n, sizeof *name), path[PATH_MAX];
    reel_err e = it && name ? reel_join(path, sizeof path, j->tmp, file) : REEL_FAIL(REEL_ENOMEM, "export: no memory");

    for (int i = 0; i < j->n && !e; i++) {
        snprintf(name[i], sizeof name[i], "%s%s.weight", prefix, j->t[i].name);
        it[i] = (struct reel_st_item){ .name = name[i], .dt = j->x->dt, .nd = j->t[i].nd };
        memcpy(it[i].n, j->t[i].n, sizeof it[i].n);
    }
    if (!e) e = reel_st_write(path, it, j->n, meta, n_meta, fill, j);
    free(it);
    free(name);
    return e;
}

reel_err export_lora(struct export_job *j)
{
    int64_t rank = first_a(j)->n[0];
    char path[PATH_MAX], *peft, *header;
    double alpha;
    reel_err e;

    REEL_TRY(find_alpha(j, rank, &alpha));
    REEL_TRY(reel_join(path, sizeof path, j->tmp, "adapter_config.json"));
    peft = config_text(j, "", rank, alpha);
    header = config_text(j, "transformer.", rank, alpha);
    e = peft && header ? reel_file_write(path, peft, strlen(peft)) : REEL_FAIL(REEL_ENOMEM, "export: no memory");
    if (!e) e = write_adapters(j, "adapter_model.safetensors", "base_model.model.", NULL, 0);
    if (!e) {
        struct reel_st_kv meta[] = { { "format", "pt" }, { "lora_adapter_metadata", header } };
        e = write_adapters(j, "pytorch_lora_weights.safetensors", "transformer.", meta, 2);
    }
    free(peft);
    free(header);
    return e;
}

/* ---- merge ---- */

/* The adapter's matrices, if it has any, for a tensor of the base. */
static reel_err find_adapter(struct export_one *t, int n, struct export_one *w)
{
    size_t layer = strlen(w->name), k = strlen(".weight");
    struct export_one key = { .nd = 0 }, *a, *b;

    if (layer <= k || strcmp(w->name + layer - k, ".weight") != 0) return REEL_OK;
    snprintf(key.name, sizeof key.name, "%.*s.lora_A", (int)(layer - k), w->name);
    a = bsearch(&key, t, (size_t)n, sizeof *t, export_by_name);
    key.name[strlen(key.name) - 1] = 'B';
    b = bsearch(&key, t, (size_t)n, sizeof *t, export_by_name);
    if (!a && !b) return REEL_OK;
    if (!a || !b || w->nd != 2 || a->nd != 2 || b->nd != 2 || a->n[1] != w->n[1] || b->n[0] != w->n[0] || a->n[0] != b->n[1])
        return REEL_FAIL(REEL_EDATA, "export: the adapter of %s does not fit the base's weight", w->name);
    w->a = a->e;
    w->b = b->e;
    a->used = b->used = 1;
    return REEL_OK;
}

static reel_err list_base(struct export_job *j, struct export_one **out, int *total)
{
    char dir[PATH_MAX], *list;
    size_t bytes;
    int n = 0;
    reel_err e;

    if (j->x->weights) snprintf(dir, sizeof dir, "%s", j->x->weights);
    else REEL_TRY(reel_join(dir, sizeof dir, j->x->base, "transformer"));
    REEL_TRY(reel_weights_list(dir, &list, &bytes));
    e = reel_weights_open(&j->base, list, bytes);
    free(list);
    REEL_TRY(e);
    for (int f = 0; f < j->base.n_files; f++) n += reel_st_count(j->base.file[f]);
    *out = calloc((size_t)(n + j->n) + 1, sizeof **out);
    if (!*out) return REEL_FAIL(REEL_ENOMEM, "export: no memory");
    *total = n;
    return REEL_OK;
}

static reel_err take_base(struct export_job *j, struct export_one *t)
{
    for (int f = 0; f < j->base.n_files; f++)
        for (int i = 0; i < reel_st_count(j->base.file[f]); i++, t++) {
            const struct reel_st_entry *w = reel_st_entry(j->base.file[f], i);
            if (w->nd > REEL_MAXDIM)
                return REEL_FAIL(REEL_EDATA, "%s: %s has %d dimensions", reel_st_path(j->base.file[f]), w->name, w->nd);
            *t = (struct export_one){ .nd = w->nd, .dt = j->x->dt, .w = w, .from = j->base.file[f] };
            memcpy(t->n, w->n, sizeof t->n);
            reel_name_own(j->x->naming, t->name, w->name);
            REEL_TRY(find_adapter(j->t, j->n, t));
        }
    return REEL_OK;
}

/* Adapters of layers that start at zero where the base lacks them: the gates of sparse attention. */
static reel_err add_absent(struct export_job *j, struct export_one *t, int *n)
{
    for (int i = 0; i < j->n; i++) {
        struct export_one *a = &j->t[i], *w = &t[*n];
        if (a->used || !is_a(a->name) || !strstr(a->name, "to_gate_compress") || i + 1 == j->n) continue;
        *w = (struct export_one){ .nd = 2, .dt = j->x->dt, .n = { a[1].n[0], a->n[1] } }; /* B stands behind A */
        snprintf(w->name, sizeof w->name, "%.*s.weight", (int)(strlen(a->name) - strlen(A_TAIL)), a->name);
        REEL_TRY(find_adapter(j->t, j->n, w));
        ++*n;
    }
    for (int i = 0; i < j->n; i++)
        if (!j->t[i].used)
            return REEL_FAIL(REEL_EDATA, "export: the base has no layer for the adapter matrix %s; is it another model?", j->t[i].name);
    return REEL_OK;
}

reel_err export_merge(struct export_job *j)
{
    struct export_one *t = NULL;
    double alpha;
    int n;
    reel_err e;

    REEL_TRY(find_alpha(j, first_a(j)->n[0], &alpha));
    j->scale = alpha / (double)first_a(j)->n[0];
    e = list_base(j, &t, &n);
    if (!e) e = take_base(j, t);
    if (!e) e = add_absent(j, t, &n);
    if (e) return free(t), e;
    qsort(t, (size_t)n, sizeof *t, export_by_name);
    free(j->t);
    j->t = t;
    j->n = n;
    return REEL_OK;
}

/* Adds scale B A to a weight in memory. */
static reel_err merge_one(struct export_job *j, const struct export_one *t, float *w)
{
    int64_t zero[REEL_PT_MAXDIM] = { 0 }, r = t->a->n[0];
    float *a = malloc((size_t)(r * t->n[1]) * sizeof *a), *b = malloc((size_t)(r * t->n[0]) * sizeof *b);
    reel_err e = a && b ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "export: no memory for the adapter of %s", t->name);

    if (!e) e = reel_dcp_read(j->d, t->a, zero, t->a->n, a);
    if (!e) e = reel_dcp_read(j->d, t->b, zero, t->b->n, b);
    if (!e) reel_adapter_merge(w, a, b, t->n[0], t->n[1], r, j->scale);
    free(a);
    free(b);
    return e;
}

reel_err export_read(struct export_job *j, const struct export_one *t, float *f)
{
    int64_t zero[REEL_PT_MAXDIM] = { 0 };

    if (t->e) return reel_dcp_read(j->d, t->e, zero, t->e->n, f);
    if (t->w) REEL_TRY(reel_weights_read(t->from, t->w, 0, t->nd ? t->n[0] : 1, 0, 0, f));
    else memset(f, 0, (size_t)reel_pt_numel(t->n, t->nd) * sizeof *f);
    return t->a ? merge_one(j, t, f) : REEL_OK;
}
