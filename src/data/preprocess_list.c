/* Which films with which captions: a captions file, or a folder with one caption for all. */
#include <dirent.h>
#include <jansson.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/file.h"
#include "base/rng.h"
#include "data/preprocess_priv.h"

struct text { char *p; size_t n, room; int64_t films; }; /* path NUL caption NUL ... */

static reel_err put(struct text *t, const char *s)
{
    size_t n = strlen(s) + 1;

    if (t->n + n > t->room) {
        size_t room = 2 * (t->room + n);
        char *p = realloc(t->p, room);
        if (!p) return REEL_FAIL(REEL_ENOMEM, "no memory for the list of films");
        t->p = p;
        t->room = room;
    }
    memcpy(t->p + t->n, s, n);
    t->n += n;
    return REEL_OK;
}

static reel_err put_film(struct text *t, const char *path, const char *caption)
{
    t->films++;
    REEL_TRY(put(t, path));
    return put(t, caption);
}

/* A captions file's path, below the folder that it is about. */
static reel_err put_below(struct text *t, const char *folder, const char *path, const char *caption)
{
    char full[2048], videos[2048];

    if (path[0] == '/') return put_film(t, path, caption);
    REEL_TRY(reel_join(full, sizeof full, folder, path));
    if (!reel_is_file(full) && snprintf(videos, sizeof videos, "%s/videos/%s", folder, path) < (int)sizeof videos && reel_is_file(videos))
        return put_film(t, videos, caption);
    return put_film(t, full, caption);
}

static int is_film(const char *name)
{
    static const char *const ends[] = { "mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "ts", "m2ts", "mts", "vob",
                                        "flv", "wmv", "asf", "gif", "ogv", "y4m", "3gp", "mxf", "nut" };
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot && i < sizeof ends / sizeof *ends; i++)
        if (!strcasecmp(dot + 1, ends[i])) return name[0] != '.';
    return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static reel_err from_folder(struct text *t, const char *folder, const char *caption, int depth)
{
    struct dirent **e = NULL;
    int n = scandir(folder, &e, NULL, by_name); /* bytewise order, whatever the locale */
    reel_err err = n < 0 ? REEL_FAIL(REEL_EIO, "%s: cannot list the folder: %m", folder) : REEL_OK;

    for (int i = 0; i < n; i++) {
        char full[2048];
        const char *name = e[i]->d_name;
        if (!err && name[0] != '.') {
            err = reel_join(full, sizeof full, folder, name);
            if (!err && reel_is_dir(full)) err = depth < 16 ? from_folder(t, full, caption, depth + 1) : REEL_OK;
            else if (!err && is_film(name)) err = put_film(t, full, caption);
        }
        free(e[i]);
    }
    free(e);
    return err;
}

/* One of several captions by a named draw of the film's number. */
static const char *caption_of(const json_t *cap, int64_t seed, int64_t index)
{
    size_t n = json_array_size(cap);

    if (json_is_string(cap)) return json_string_value(cap);
    if (!n) return NULL;
    return json_string_value(json_array_get(cap, (size_t)reel_rng_below(
        reel_rng_word(reel_rng_key((uint64_t)seed, "preprocess/caption"), 0, 0, (uint32_t)index, 0), (uint32_t)n)));
}

static reel_err from_json(struct text *t, const char *file, const char *folder, int64_t seed)
{
    json_error_t why;
    json_t *list = json_load_file(file, 0, &why), *e;
    reel_err err = REEL_OK;
    size_t i;

    if (!list) return REEL_FAIL(REEL_EDATA, "%s:%d:%d: %s", file, why.line, why.column, why.text);
    if (!json_is_array(list)) err = REEL_FAIL(REEL_EDATA, "%s: expected a list of {\"path\": ..., \"cap\": ...}", file);
    json_array_foreach(list, i, e) {
        const char *path = json_string_value(json_object_get(e, "path")), *cap = caption_of(json_object_get(e, "cap"), seed, (int64_t)i);
        if (err) break;
        if (!path || !cap) err = REEL_FAIL(REEL_EDATA, "%s: entry %zu lacks \"%s\" (a string%s)", file, i, path ? "cap" : "path",
                                           path ? " or a list of strings" : "");
        else err = put_below(t, folder, path, cap);
    }
    json_decref(list);
    return err;
}

static reel_err from_lines(struct text *t, const char *file, const char *folder)
{
    char *all, *line, *rest;
    size_t n;
    reel_err err = reel_file_read(file, &all, &n);
    int number = 0;

    if (err) return err;
    for (rest = all; !err && (line = strsep(&rest, "\n"));) {
        char *tab = strchr(line, '\t'), *end = line + strlen(line);
        number++;
        if (end > line && end[-1] == '\r') end[-1] = 0;
        if (!*line) continue;
        if (!tab) err = REEL_FAIL(REEL_EDATA, "%s:%d: expected path<TAB>caption", file, number);
        else {
            *tab = 0;
            err = put_below(t, folder, line, tab + 1);
        }
    }
    free(all);
    return err;
}

static reel_err from_captions(struct text *t, const char *file, const char *videos, int64_t seed)
{
    char copy[2048], folder[2048];
    size_t n = strlen(file);

    snprintf(copy, sizeof copy, "%s", file);
    snprintf(folder, sizeof folder, "%s", videos ? videos : dirname(copy));
    if (n > 5 && !strcmp(file + n - 5, ".json")) return from_json(t, file, folder, seed);
    return from_lines(t, file, folder);
}

static reel_err look(struct text *t, const struct reel_preprocess_args *a) /* rank 0 */
{
    char merged[2048];

    if (a->captions) {
        if (a->caption) return REEL_FAIL(REEL_ECONFIG, "--captions and --caption exclude each other");
        REEL_TRY(from_captions(t, a->captions, a->videos, a->seed));
    } else if (!a->videos) {
        return REEL_FAIL(REEL_ECONFIG, "nothing to preprocess: --videos with --captions or --caption, or --demo-clips");
    } else if (a->caption && !*a->caption) {
        return REEL_FAIL(REEL_ECONFIG, "--caption is empty");
    } else if (a->caption) {
        if (reel_is_dir(a->videos)) REEL_TRY(from_folder(t, a->videos, a->caption, 0));
        else REEL_TRY(put_film(t, a->videos, a->caption));
    } else if (snprintf(merged, sizeof merged, "%s/videos2caption.json", a->videos) < (int)sizeof merged && reel_is_file(merged)) {
        REEL_TRY(from_captions(t, merged, a->videos, a->seed));
    } else
        return REEL_FAIL(REEL_ECONFIG, "%s: captions are needed: --captions FILE (videos2caption.json or lines of path<TAB>caption), or "
                         "--caption TEXT for all", a->videos);
    return t->films ? REEL_OK : REEL_FAIL(REEL_EDATA, "%s: no film found", a->captions ? a->captions : a->videos);
}

static reel_err index_strings(struct reel_films *l, size_t bytes)
{
    const char *p = l->bytes;
    int64_t strings = 0;

    for (size_t i = 0; i < bytes; i++) strings += !l->bytes[i];
    l->n = strings / 2;
    l->v = malloc((size_t)l->n * sizeof *l->v);
    if (!l->v) return REEL_FAIL(REEL_ENOMEM, "no memory for a list of %lld films", (long long)l->n);
    for (int64_t i = 0; i < l->n; i++) {
        l->v[i].path = p, p += strlen(p) + 1;
        l->v[i].caption = p, p += strlen(p) + 1;
    }
    return REEL_OK;
}

reel_err reel_films_open(struct reel_films *l, const struct reel_preprocess_args *a, struct reel_comm *c)
{
    struct text t = { 0 };
    void *blob;
    size_t bytes;
    reel_err e = reel_agree(c, c->rank == 0 ? look(&t, a) : REEL_OK);

    *l = (struct reel_films){ 0 };
    blob = t.p, bytes = t.n;
    if (!e) e = reel_comm_bcast_blob(c, &blob, &bytes, 0);
    l->bytes = blob;
    if (!e) e = reel_agree(c, index_strings(l, bytes));
    if (e) reel_films_close(l);
    return e;
}

void reel_films_close(struct reel_films *l)
{
    free(l->bytes), free(l->v);
    *l = (struct reel_films){ 0 };
}
