#include "tensor/weights.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

static const char *const stems[] = { "diffusion_pytorch_model", "model" };

struct names { char **v; int n, cap; };

static int add(struct names *s, const char *name)
{
    if (s->n == s->cap) {
        int cap = s->cap ? 2 * s->cap : 16;
        char **v = realloc(s->v, (size_t)cap * sizeof *v);
        if (!v) return 0;
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n] = strdup(name);
    return s->v[s->n] ? (s->n++, 1) : 0;
}

static void clear(struct names *s)
{
    for (int i = 0; i < s->n; i++) free(s->v[i]);
    free(s->v);
    *s = (struct names){ 0 };
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Files the index names, once each. Not all there: an empty set, for an export left it behind. */
static reel_err from_index(struct names *s, const char *dir, const char *index)
{
    json_t *js, *map, *v;
    const char *k;
    char path[PATH_MAX];
    reel_err e = REEL_OK;
    int there = 1;

    REEL_TRY(reel_json_file(&js, index));
    map = json_object_get(js, "weight_map");
    if (!json_is_object(map)) e = REEL_FAIL(REEL_EDATA, "%s: no weight_map", index);
    json_object_foreach(map, k, v)
    {
        const char *f = json_string_value(v);
        int known = 0;
        if (e) break;
        if (!f || strchr(f, '/')) e = REEL_FAIL(REEL_EDATA, "%s: %s: its file is not a plain name", index, k);
        for (int i = 0; !e && i < s->n && !known; i++) known = strcmp(s->v[i], f) == 0;
        if (e || known) continue;
        e = reel_join(path, sizeof path, dir, f);
        there &= !e && reel_is_file(path);
        if (!e && !add(s, f)) e = REEL_FAIL(REEL_ENOMEM, "%s: no memory", index);
    }
    if (e || !there) clear(s);
    json_decref(js);
    return e;
}

static reel_err from_folder(struct names *s, const char *dir)
{
    char **name;
    size_t n;
    int ok = 1;

    REEL_TRY(reel_list_dir(dir, &name, &n));
    for (size_t i = 0; i < n && ok; i++) {
        if (!reel_ends(name[i], ".safetensors") || name[i][0] == '.') continue;
        ok = add(s, name[i]);
    }
    reel_list_free(name, n);
    return ok ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "%s: no memory", dir);
}

static reel_err collect(struct names *s, const char *dir)
{
    char index[PATH_MAX];

    for (size_t i = 0; i < sizeof stems / sizeof stems[0] && !s->n; i++) {
        if (snprintf(index, sizeof index, "%s/%s.safetensors.index.json", dir, stems[i]) >= (int)sizeof index)
            return REEL_FAIL(REEL_EIO, "%s: path too long", dir);
        if (reel_is_file(index)) REEL_TRY(from_index(s, dir, index));
    }
    if (!s->n) REEL_TRY(from_folder(s, dir));
    if (!s->n) return REEL_FAIL(REEL_EIO, "%s: no *.safetensors file in this folder", dir);
    qsort(s->v, (size_t)s->n, sizeof *s->v, by_text);
    return REEL_OK;
}

static reel_err put_list(const struct names *s, const char *dir, char **list, size_t *bytes)
{
    FILE *f = open_memstream(list, bytes);

    if (!f) return REEL_FAIL(REEL_ENOMEM, "%s: no memory", dir);
    for (int i = 0; i < s->n; i++) fprintf(f, "%s/%s%c", dir, s->v[i], 0);
    return fclose(f) == 0 ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "%s: no memory", dir);
}

reel_err reel_weights_list(const char *where, char **list, size_t *bytes)
{
    struct names s = { 0 };
    reel_err e;

    *list = NULL;
    if (reel_is_file(where)) {
        *bytes = strlen(where) + 1;
        *list = strdup(where);
        return *list ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "%s: no memory", where);
    }
    if (!reel_is_dir(where)) return REEL_FAIL(REEL_EIO, "%s: neither a file nor a folder", where);
    e = collect(&s, where);
    if (!e) e = put_list(&s, where, list, bytes);
    clear(&s);
    return e;
}

static reel_err check_unique(const struct reel_weights *w, int last)
{
    for (int i = 0; i < reel_st_count(w->file[last]); i++) {
        const char *name = reel_st_entry(w->file[last], i)->name;
        for (int k = 0; k < last; k++)
            if (reel_st_find(w->file[k], name))
                return REEL_FAIL(REEL_EDATA, "%s: in two files, %s and %s: remove the one that is not meant", name,
                                 reel_st_path(w->file[k]), reel_st_path(w->file[last]));
    }
    return REEL_OK;
}

reel_err reel_weights_open(struct reel_weights *w, const char *list, size_t bytes)
{
    reel_err e = REEL_OK;
    int n = 0;

    *w = (struct reel_weights){ 0 };
    for (const char *p = list; p < list + bytes; p += strlen(p) + 1) n++;
    w->file = calloc((size_t)n + 1, sizeof(struct reel_st *));
    if (!w->file) return REEL_FAIL(REEL_ENOMEM, "%s: no memory", list);
    for (const char *p = list; p < list + bytes && !e; p += strlen(p) + 1) {
        e = reel_st_open(&w->file[w->n_files], p);
        if (!e) e = check_unique(w, w->n_files++);
    }
    if (e) reel_weights_close(w);
    return e;
}

void reel_weights_close(struct reel_weights *w)
{
    for (int i = 0; i < w->n_files; i++) reel_st_close(w->file[i]);
    free(w->file);
    *w = (struct reel_weights){ 0 };
}

const struct reel_st_entry *reel_weights_find(const struct reel_weights *w, const char *name, struct reel_st **file)
{
    for (int i = 0; i < w->n_files; i++) {
        const struct reel_st_entry *e = reel_st_find(w->file[i], name);
        if (e) return *file = w->file[i], e;
    }
    return NULL;
}

reel_err reel_weights_read(const struct reel_st *st, const struct reel_st_entry *e, int64_t row0, int64_t rows, int64_t col0, int64_t cols,
                           float *dst)
{
    int64_t width = e->nd < 2 ? 1 : cols ? cols : e->n[1];

    for (int k = 2; k < e->nd; k++) width *= e->n[k];
    REEL_TRY(reel_st_read_box_f32(st, e, row0, rows, col0, cols, dst));
    for (int64_t i = 0; i < rows * width; i++)
        if (!isfinite(dst[i]))
            return REEL_FAIL(REEL_EDATA, "%s: %s: a weight of row %lld is %g: the file is damaged, or its training had gone wrong",
                             reel_st_path(st), e->name, (long long)(row0 + i / width), (double)dst[i]);
    return REEL_OK;
}
