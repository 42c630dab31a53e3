#include "ckpt/export.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "ckpt/export_priv.h"
#include "tensor/half.h"

#define STEM        "diffusion_pytorch_model"
#define SHARD_BYTES 5000000000LL /* what the field's tools take by default, decimal */

/* ---- which tensors ---- */

int export_by_name(const void *a, const void *b)
{
    return strcmp(((const struct export_one *)a)->name, ((const struct export_one *)b)->name);
}

/* FastVideo's averages of sharded runs are one rank's rows: other sizes than the weights of the same checkpoint. */
static reel_err is_whole(const struct export_job *j, const struct reel_dcp_entry *e, const char *name)
{
    char own[REEL_NAME_MAX], fv[REEL_NAME_MAX], key[384];
    const struct reel_dcp_entry *w;

    reel_name_own(j->x->naming, own, name);
    reel_name_ckpt(j->x->naming, fv, own);
    snprintf(key, sizeof key, "roles.%s.transformer.%s", j->x->role, fv);
    w = reel_dcp_find(j->d, key);
    if (w && w->nd == e->nd && memcmp(w->n, e->n, (size_t)e->nd * sizeof *e->n) == 0) return REEL_OK;
    return REEL_FAIL(REEL_EDATA, "%s: %s has another shape than the weight: not a whole average", j->x->checkpoint, e->key);
}

static reel_err choose(struct export_job *j)
{
    char prefix[256], owner[128];
    size_t k;
    int all = reel_dcp_count(j->d);

    snprintf(prefix, sizeof prefix, "roles.%s.transformer.", j->x->role);
    if (j->x->ema) {
        REEL_TRY(ckpt_average(j->d, j->x->checkpoint, j->x->role, owner, sizeof owner));
        snprintf(prefix, sizeof prefix, "%s.%s_ema.", owner, j->x->role);
    }
    k = strlen(prefix);
    j->t = calloc((size_t)all + 1, sizeof *j->t);
    if (!j->t) return REEL_FAIL(REEL_ENOMEM, "export: no memory");
    for (int i = 0; i < all; i++) {
        const struct reel_dcp_entry *e = reel_dcp_entry(j->d, i);
        if (!e->type || strncmp(e->key, prefix, k) != 0) continue;
        if (e->nd > REEL_MAXDIM || e->type->dt != REEL_F32)
            return REEL_FAIL(REEL_EDATA, "%s: %s is %s; f32 was expected", j->x->checkpoint, e->key, e->type->name);
        j->t[j->n] = (struct export_one){ .e = e, .nd = e->nd, .dt = j->x->dt };
        memcpy(j->t[j->n].n, e->n, sizeof j->t[j->n].n);
        reel_name_own(j->x->naming, j->t[j->n++].name, e->key + k);
        if (j->x->ema) REEL_TRY(is_whole(j, e, e->key + k));
    }
    if (!j->n)
        return REEL_FAIL(REEL_ECONFIG, "%s: no tensor %s*: the weights of a role that is not trained are no part of a checkpoint, they are "
                         "those of its init_from", j->x->checkpoint, prefix);
    qsort(j->t, (size_t)j->n, sizeof *j->t, export_by_name);
    return REEL_OK;
}

/* The base's weights, where it has some, must be the same parameters. */
static reel_err compare(const struct export_job *j, const struct reel_weights *w)
{
    int total = 0, missing = 0;
    const char *which = "";

    for (int f = 0; f < w->n_files; f++)
        for (int i = 0; i < reel_st_count(w->file[f]); i++, total++) {
            const struct reel_st_entry *b = reel_st_entry(w->file[f], i);
            struct export_one key = { .e = NULL }, *hit;
            reel_name_own(j->x->naming, key.name, b->name);
            hit = bsearch(&key, j->t, (size_t)j->n, sizeof key, export_by_name);
            if (!hit) missing++, which = b->name;
            else if (hit->nd != b->nd || memcmp(hit->n, b->n, (size_t)b->nd * sizeof *b->n) != 0)
                return REEL_FAIL(REEL_EDATA, "export: %s has another shape than in %s", hit->name, reel_st_path(w->file[f]));
        }
    if (missing)
        return REEL_FAIL(REEL_EDATA, "export: %d of the base's %d tensors are not in %s, e.g. %s", missing, total,
                         j->x->checkpoint, which);
    return REEL_OK;
}

static reel_err check_base(const struct export_job *j)
{
    struct reel_weights w;
    char dir[PATH_MAX], *list;
    size_t n;
    reel_err e;

    REEL_TRY(reel_join(dir, sizeof dir, j->x->base, "transformer"));
    if (reel_weights_list(dir, &list, &n)) return reel_err_clear(), REEL_OK; /* a config without weights */
    e = reel_weights_open(&w, list, n);
    free(list);
    if (e) return e;
    e = compare(j, &w);
    reel_weights_close(&w);
    return e;
}

/* ---- files: a tensor beyond the limit stands alone; otherwise a file is closed when the next would not fit ---- */

static int64_t bytes_of(const struct export_job *j, int i)
{
    return reel_pt_numel(j->t[i].n, j->t[i].nd) * (int64_t)reel_dtype_size(j->t[i].dt);
}

static void share_out(struct export_job *j)
{
    int64_t limit = j->x->shard_bytes ? j->x->shard_bytes : SHARD_BYTES, sum = 0;

    for (int i = 0; i < j->n; i++) {
        int64_t b = bytes_of(j, i);
        if (sum && sum + b > limit) j->n_files++, sum = 0;
        j->t[i].file = j->n_files;
        sum += b;
    }
    j->n_files++;
}

static void file_name(const struct export_job *j, int file, char *name, size_t size)
{
    if (j->n_files == 1) snprintf(name, size, STEM ".safetensors");
    else snprintf(name, size, STEM "-%05d-of-%05d.safetensors", file + 1, j->n_files);
}

static reel_err fill(void *ctx, int item, void *dst)
{
    struct export_job *j = ctx;
    const struct export_one *t = &j->t[j->first + item];
    int64_t n = reel_pt_numel(t->n, t->nd);
    float *f;
    reel_err err;

    if (t->dt == REEL_F32) return export_read(j, t, dst);
    f = malloc((size_t)n * sizeof *f + 1);
    if (!f) return REEL_FAIL(REEL_ENOMEM, "export: no memory for %s", t->name);
    err = export_read(j, t, f); /* which looks at every number; bf16 comes back as it was */
    if (!err && t->dt == REEL_F16) err = reel_st_read(t->from, t->w, 0, t->w->bytes, dst); /* never made, only kept */
    else if (!err)
        for (int64_t i = 0; i < n; i++) ((uint16_t *)dst)[i] = reel_f32_bf16(f[i]);
    free(f);
    return err;
}

static reel_err write_file(struct export_job *j, int file)
{
    struct reel_st_item *it;
    char name[64], path[PATH_MAX];
    int n = 0;
    reel_err e;

    while (j->t[j->first].file != file) j->first++;
    while (j->first + n < j->n && j->t[j->first + n].file == file) n++;
    it = calloc((size_t)n, sizeof *it);
    if (!it) return REEL_FAIL(REEL_ENOMEM, "export: no memory");
    for (int i = 0; i < n; i++) {
        const struct export_one *t = &j->t[j->first + i];
        it[i] = (struct reel_st_item){ .name = t->name, .dt = t->dt, .nd = t->nd };
        memcpy(it[i].n, t->n, sizeof it[i].n);
    }
    file_name(j, file, name, sizeof name);
    e = reel_join(path, sizeof path, j->dir, name);
    if (!e) e = reel_st_write(path, it, n, NULL, 0, fill, j);
    free(it);
    return e;
}

static reel_err write_index(const struct export_job *j)
{
    char path[PATH_MAX], name[64], *text = NULL;
    int64_t total = 0;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    reel_err e;

    if (!f) return REEL_FAIL(REEL_ENOMEM, "export: no memory");
    for (int i = 0; i < j->n; i++) total += bytes_of(j, i);
    fprintf(f, "{\n  \"metadata\": {\n    \"total_size\": %lld\n  },\n  \"weight_map\": {", (long long)total);
    for (int i = 0; i < j->n; i++) {
        file_name(j, j->t[i].file, name, sizeof name);
        fputs(i ? ",\n    " : "\n    ", f);
        reel_json_str(f, j->t[i].name);
        fprintf(f, ": \"%s\"", name);
    }
    fputs("\n  }\n}\n", f);
    fclose(f);
    e = reel_join(path, sizeof path, j->dir, STEM ".safetensors.index.json");
    if (!e) e = reel_file_write(path, text, n);
    free(text);
    return e;
}

/* ---- the rest of the pipeline ---- */

static reel_err copy_bytes(const char *from, const char *to)
{
    FILE *in = fopen(from, "rb"), *out = in ? fopen(to, "wb") : NULL;
    char *buf = malloc((size_t)1 << 20);
    int bad = !in || !out || !buf;
    size_t k;

    while (!bad && (k = fread(buf, 1, (size_t)1 << 20, in)) > 0) bad = fwrite(buf, 1, k, out) != k;
    if (in) bad |= ferror(in), fclose(in);
    if (out) bad |= fflush(out) != 0 || fsync(fileno(out)) != 0, bad |= fclose(out) != 0;
    free(buf);
    return bad ? REEL_FAIL(REEL_EIO, "cannot copy %s to %s: %s", from, to, strerror(errno)) : REEL_OK;
}

/* Links in a cache are followed: the export stands alone. */
static reel_err link_or_copy(const char *from, const char *to)
{
    char real[PATH_MAX];

    if (!realpath(from, real)) return REEL_FAIL(REEL_EIO, "%s: %s", from, strerror(errno));
    return link(real, to) == 0 ? REEL_OK : copy_bytes(real, to);
}

/* The texts of a pipeline that its loaders parse; one that is damaged would be passed on. */
static reel_err check_text(const char *dir, const char *name)
{
    char path[PATH_MAX];
    json_t *j;

    REEL_TRY(reel_join(path, sizeof path, dir, name));
    if (!reel_is_file(path)) return REEL_OK;
    REEL_TRY(reel_json_file(&j, path));
    json_decref(j);
    return REEL_OK;
}

static reel_err check_texts(const char *base)
{
    char **name, dir[PATH_MAX];
    size_t n;
    reel_err e = check_text(base, "model_index.json");

    if (e) return e;
    REEL_TRY(reel_list_dir(base, &name, &n));
    for (size_t i = 0; i < n && !e; i++) {
        e = reel_join(dir, sizeof dir, base, name[i]);
        if (e || !reel_is_dir(dir)) continue;
        e = check_text(dir, "config.json");
        if (!e) e = check_text(dir, "scheduler_config.json");
    }
    reel_list_free(name, n);
    return e;
}

/* Files of a folder, and with `deep` its subfolders but "transformer", which is ours. */
static reel_err copy_folder(const char *from, const char *to, int deep)
{
    char **name, a[PATH_MAX], b[PATH_MAX];
    size_t n;
    reel_err e;

    REEL_TRY(reel_mkdirs(to));
    REEL_TRY(reel_list_dir(from, &name, &n));
    e = REEL_OK;
    for (size_t i = 0; i < n && !e; i++) {
        if (deep && strcmp(name[i], "transformer") == 0) continue;
        e = reel_join(a, sizeof a, from, name[i]);
        if (!e) e = reel_join(b, sizeof b, to, name[i]);
        if (e) break;
        if (reel_is_dir(a)) e = deep ? copy_folder(a, b, 0) : REEL_OK;
        else if (reel_is_file(a)) e = link_or_copy(a, b);
    }
    reel_list_free(name, n);
    return e ? e : reel_fsync_dir(to);
}

/* Whether the base has components beside its transformer. */
static int is_pipeline(const struct reel_export *x)
{
    char index[PATH_MAX];

    return x->base && snprintf(index, sizeof index, "%s/model_index.json", x->base) < (int)sizeof index && reel_is_file(index);
}

/* config.json of the base, looked for before anything is written. */
static reel_err find_config(const struct reel_export *x, char *path, size_t size)
{
    REEL_TRY(reel_join(path, size, x->base, "transformer/config.json"));
    if (reel_is_file(path)) return REEL_OK;
    REEL_TRY(reel_join(path, size, x->base, "config.json"));
    if (reel_is_file(path)) return REEL_OK;
    return REEL_FAIL(REEL_ECONFIG, "export: %s, which the %s started from, has no transformer/config.json: give --base DIR",
                     x->base, x->role);
}

reel_err export_files(struct export_job *j, const char *config)
{
    char to[PATH_MAX];

    share_out(j);
    REEL_TRY(reel_mkdirs(j->dir));
    for (int f = 0; f < j->n_files; f++) REEL_TRY(write_file(j, f));
    if (j->n_files > 1) REEL_TRY(write_index(j));
    REEL_TRY(reel_join(to, sizeof to, j->dir, "config.json"));
    REEL_TRY(reel_file_write(to, config, strlen(config)));
    REEL_TRY(reel_fsync_dir(j->dir));
    return is_pipeline(j->x) ? copy_folder(j->x->base, j->tmp, 1) : reel_fsync_dir(j->tmp);
}

static reel_err run(struct export_job *j)
{
    char path[PATH_MAX], *config;
    size_t n;
    reel_err e;

    if (!j->x->lora) REEL_TRY(find_config(j->x, path, sizeof path));
    REEL_TRY(ckpt_complete(j->x->checkpoint));
    REEL_TRY(reel_dcp_open_of(&j->d, j->x->checkpoint));
    REEL_TRY(choose(j));
    REEL_TRY(export_judge(j));
    if (j->x->lora) return export_lora(j);
    REEL_TRY(j->x->merge ? export_merge(j) : check_base(j));
    REEL_TRY(reel_file_read(path, &config, &n));
    e = export_files(j, config);
    free(config);
    return e;
}

reel_err export_new(const char *out, char *name, size_t size)
{
    struct stat st;
    size_t n = strlen(out);

    while (n > 1 && out[n - 1] == '/') n--;
    if (n == 0) return REEL_FAIL(REEL_ECONFIG, "the name of the folder to make is empty");
    if (n >= size) return REEL_FAIL(REEL_ECONFIG, "%s: too long a path", out);
    memcpy(name, out, n);
    name[n] = 0;
    return lstat(name, &st) ? REEL_OK : REEL_FAIL(REEL_ECONFIG, "%s exists: give a new folder", name);
}

/* A folder within `dir` would go when that goes, or be copied into itself. */
static reel_err is_outside(const char *out, const char *dir)
{
    char at[PATH_MAX], up[PATH_MAX], real[PATH_MAX], top[PATH_MAX];
    size_t n;

    if (!realpath(dir, top)) return REEL_OK; /* who reads it will say so */
    reel_parent(at, out);
    while (!realpath(at, real)) { /* folders on the way may be missing too; "." and "/" are not */
        reel_parent(up, at);
        memcpy(at, up, sizeof at);
    }
    n = strlen(top);
    if (strncmp(real, top, n) != 0 || (n > 1 && real[n] && real[n] != '/')) return REEL_OK;
    return REEL_FAIL(REEL_ECONFIG, "%s lies in %s, which it is made of: give a folder elsewhere", out, dir);
}

/* <out>.tmp, empty: what an export that was killed had made there goes. */
static reel_err make_tmp(struct export_job *j, const char *out)
{
    struct stat st;

    if (snprintf(j->tmp, sizeof j->tmp, "%s.tmp", out) >= (int)sizeof j->tmp) return REEL_FAIL(REEL_ECONFIG, "%s: too long a path", out);
    if (lstat(j->tmp, &st) == 0) {
        fprintf(stderr, "reel: removing %s, left by an export that did not end\n", j->tmp);
        REEL_TRY(reel_rmtree(j->tmp));
    }
    REEL_TRY(reel_join(j->dir, sizeof j->dir, j->tmp, "transformer"));
    return reel_mkdirs(j->tmp);
}

/* A name that did not last is given back: the next export may take it. */
static reel_err publish(const struct export_job *j, const char *out)
{
    reel_err e = reel_rename(j->tmp, out);
    struct stat st;

    if (e && lstat(j->tmp, &st) != 0) (void)!rename(out, j->tmp);
    return e;
}

reel_err export_guard(struct export_job *j, reel_err (*work)(struct export_job *j))
{
    char out[PATH_MAX];
    reel_err e;

    REEL_TRY(export_new(j->x->out, out, sizeof out));
    if (j->x->checkpoint) REEL_TRY(is_outside(out, j->x->checkpoint));
    if (is_pipeline(j->x)) {
        REEL_TRY(is_outside(out, j->x->base));
        REEL_TRY(check_texts(j->x->base));
    }
    e = make_tmp(j, out);
    if (!e) e = work(j);
    if (!e) e = publish(j, out);
    if (e) {
        struct reel_errrec first = *reel_errrec();
        (void)!reel_rmtree(j->tmp);
        *reel_errrec() = first;
    }
    return e;
}

reel_err reel_export(const struct reel_export *x)
{
    struct reel_export full = *x;
    struct export_job j = { .x = &full };
    reel_err e;

    if (!full.role) full.role = "student";
    e = export_guard(&j, run);
    reel_dcp_close(j.d);
    reel_weights_close(&j.base);
    free(j.t);
    return e;
}

/* "student, critic": the roles of a configuration. */
static void role_names(const json_t *models, char *list, size_t size)
{
    const char *name;
    json_t *v;
    size_t n = 0;

    *list = 0;
    json_object_foreach((json_t *)models, name, v)
        if (n < size) n += (size_t)snprintf(list + n, size - n, "%s%s", n ? ", " : "", name);
}

reel_err reel_export_key(const char *checkpoint, const char *role, const char *key, char *value, size_t size)
{
    char path[PATH_MAX], roles[256];
    const json_t *models, *v;
    json_t *js;
    reel_err e = REEL_OK;

    if (!role) role = "student";
    REEL_TRY(reel_join(path, sizeof path, checkpoint, "metadata.json"));
    REEL_TRY(reel_json_file(&js, path));
    models = json_object_get(json_object_get(js, "config"), "models");
    v = json_object_get(json_object_get(models, role), key);
    role_names(models, roles, sizeof roles);
    if (json_is_string(v)) snprintf(value, size, "%s", json_string_value(v));
    else if (json_object_get(models, role)) e = REEL_FAIL(REEL_EDATA, "%s: no models.%s.%s, which says what the role's model is", path, role, key);
    else e = REEL_FAIL(REEL_ECONFIG, "%s: no role %s in the configuration%s%s", path, role, *roles ? ", but " : "", roles);
    json_decref(js);
    return e;
}
