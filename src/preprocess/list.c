/* Which films with which captions: a captions file, captions beside the films, or one caption for all. */
#include <dirent.h>
#include <inttypes.h>
#include <jansson.h>
#include <libgen.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/csv.h"
#include "base/err.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "comm/pulse.h"
#include "preprocess/preprocess_priv.h"

struct text { char *p; size_t n, room; int64_t films; const struct reel_comm *c; }; /* path NUL caption NUL facts NUL ... */

static reel_err read_text(const char *path, char **text, size_t *bytes)
{
    reel_err e;

    REEL_TRY(reel_file_read(path, text, bytes));
    e = reel_utf8_check(*text, *bytes, path);
    if (e) free(*text);
    return e;
}

struct facts { double fps; int64_t frames; const char *odd; }; /* what the list says of a film; 0, NULL: nothing */

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

static reel_err put_film(struct text *t, const char *path, const char *caption, const struct facts *f)
{
    char facts[64] = "";

    if (f && !f->odd && (f->fps > 0 || f->frames)) snprintf(facts, sizeof facts, "%.17g %" PRId64, f->fps, f->frames);
    t->films++;
    reel_pulse(t->c);
    REEL_TRY(put(t, path));
    REEL_TRY(put(t, caption));
    if (!f || !f->odd) return put(t, facts);
    REEL_TRY(put(t, "!"));
    t->n--; /* one string: a mark, then why */
    return put(t, f->odd);
}

/* A captions file's path, below the folder that it is about or that folder's videos/. */
static reel_err put_below(struct text *t, const char *folder, const char *path, const char *caption, const struct facts *f)
{
    char full[2048], videos[2048];

    if (path[0] == '/') return put_film(t, path, caption, f);
    REEL_TRY(reel_join(full, sizeof full, folder, path));
    if (!reel_is_file(full) && snprintf(videos, sizeof videos, "%s/videos/%s", folder, path) < (int)sizeof videos && reel_is_file(videos))
        return put_film(t, videos, caption, f);
    return put_film(t, full, caption, f);
}

/* White space at the ends goes, line ends become blanks. */
static void tidy(char *s)
{
    size_t n = strlen(s), lead = strspn(s, " \t\r\n");

    memmove(s, s + lead, n - lead + 1);
    for (n -= lead; n && strchr(" \t\r\n", s[n - 1]);) s[--n] = 0;
    for (; *s; s++)
        if (*s == '\n' || *s == '\r') *s = ' ';
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

/* With the caption that stands in a .txt of the film's name; *found counts those. */
static reel_err put_with_text(struct text *t, const char *path, int64_t *found)
{
    static const struct facts none = { .odd = "no caption: there is no .txt of that name beside it" };
    char name[2048], *caption;
    const char *dot = strrchr(path, '.');
    size_t n;
    reel_err e;

    if (snprintf(name, sizeof name, "%.*s.txt", (int)(dot - path), path) >= (int)sizeof name || !reel_is_file(name))
        return put_film(t, path, "", &none);
    ++*found;
    REEL_TRY(read_text(name, &caption, &n));
    tidy(caption);
    e = put_film(t, path, caption, NULL);
    free(caption);
    return e;
}

/* @caption of every film, or NULL: from its .txt */
static reel_err from_folder(struct text *t, const char *folder, const char *caption, int64_t *found, int depth)
{
    struct dirent **e = NULL;
    int n = scandir(folder, &e, NULL, by_name); /* bytewise order, whatever the locale */
    reel_err err = n < 0 ? REEL_FAIL(REEL_EIO, "%s: cannot list the folder: %m", folder) : REEL_OK;

    for (int i = 0; i < n; i++) {
        char full[2048];
        const char *name = e[i]->d_name;
        if (!err && name[0] != '.') {
            err = reel_join(full, sizeof full, folder, name);
            if (!err && reel_is_dir(full)) err = depth < 16 ? from_folder(t, full, caption, found, depth + 1) : REEL_OK;
            else if (!err && is_film(name)) err = caption ? put_film(t, full, caption, NULL) : put_with_text(t, full, found);
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

/* A number of an entry: absent or null is 0, anything but a positive number is odd. */
static double number(const json_t *o, const char *key, int *odd)
{
    const json_t *v = json_object_get(o, key);

    if (!v || json_is_null(v)) return 0;
    if (!json_is_number(v) || !(json_number_value(v) > 0)) return *odd = 1, 0;
    return json_number_value(v);
}

static struct facts facts_of(const json_t *e)
{
    const json_t *size = json_object_get(e, "resolution");
    int fps = 0, frames = 0, shape = size && !json_is_null(size) && !json_is_object(size);
    struct facts f = { .fps = number(e, "fps", &fps), .frames = (int64_t)fmin(number(e, "num_frames", &frames), 1e15) };

    (void)number(size, "width", &shape), (void)number(size, "height", &shape);
    if (fps) f.odd = "its fps in the list is no positive number";
    else if (frames) f.odd = "its num_frames in the list is no positive number";
    else if (shape) f.odd = "its resolution in the list is not {\"width\": ..., \"height\": ...} of positive numbers";
    return f;
}

/* An entry may have no caption, which is a reason to skip its film; one that is no text is an error. */
static const char *no_caption(const json_t *e)
{
    const json_t *cap = json_object_get(e, "cap");

    return !cap || json_is_null(cap) || (json_is_array(cap) && !json_array_size(cap)) ? "" : NULL;
}

/* @where  file and place of the entry, for messages */
static reel_err put_entry(struct text *t, const json_t *e, const char *where, const char *folder, int64_t seed)
{
    const char *path = json_string_value(json_object_get(e, "path")), *cap = caption_of(json_object_get(e, "cap"), seed, t->films);
    struct facts f = facts_of(e);

    if (!cap) cap = no_caption(e);
    if (!path || !cap) return REEL_FAIL(REEL_EDATA, "%s lacks \"%s\" (a string%s)", where, path ? "cap" : "path", path ? " or a list of strings" : "");
    return put_below(t, folder, path, cap, &f);
}

static reel_err from_json(struct text *t, const char *file, const char *folder, int64_t seed)
{
    json_error_t why;
    json_t *list = json_load_file(file, 0, &why), *e;
    char where[2200];
    reel_err err = REEL_OK;
    size_t i;

    if (!list) return REEL_FAIL(REEL_EDATA, "%s:%d:%d: %s", file, why.line, why.column, why.text);
    if (!json_is_array(list)) err = REEL_FAIL(REEL_EDATA, "%s: expected a list of {\"path\": ..., \"cap\": ...}", file);
    json_array_foreach(list, i, e) {
        if (err) break;
        snprintf(where, sizeof where, "%s: entry %zu", file, i);
        err = put_entry(t, e, where, folder, seed);
    }
    json_decref(list);
    return err;
}

static reel_err json_line(struct text *t, char *line, const char *where, const char *folder, int64_t seed)
{
    json_error_t why;
    json_t *e = json_loads(line, 0, &why);
    reel_err err;

    if (!e) return REEL_FAIL(REEL_EDATA, "%s:%d: %s", where, why.column, why.text);
    err = put_entry(t, e, where, folder, seed);
    json_decref(e);
    return err;
}

static reel_err tab_line(struct text *t, char *line, const char *where, const char *folder, int64_t seed)
{
    char *tab = strchr(line, '\t');

    (void)seed;
    if (!tab) return REEL_FAIL(REEL_EDATA, "%s: expected path<TAB>caption", where);
    *tab = 0;
    return put_below(t, folder, line, tab + 1, NULL);
}

static reel_err prompt_line(struct text *t, char *line, const char *where, const char *folder, int64_t seed)
{
    (void)where, (void)folder, (void)seed;
    tidy(line);
    return *line ? put_film(t, "", line, NULL) : REEL_OK;
}

typedef reel_err per_line(struct text *t, char *line, const char *where, const char *folder, int64_t seed);

static reel_err from_lines(struct text *t, const char *file, const char *folder, int64_t seed, per_line *take)
{
    char *all, *line, *rest, where[2200];
    size_t n;
    reel_err err = read_text(file, &all, &n);
    int number = 0;

    if (err) return err;
    for (rest = all; !err && (line = strsep(&rest, "\n"));) {
        char *end = line + strlen(line);
        number++;
        if (end > line && end[-1] == '\r') end[-1] = 0;
        snprintf(where, sizeof where, "%s:%d", file, number);
        if (*line) err = take(t, line, where, folder, seed);
    }
    free(all);
    return err;
}

/* Place of the first of `names` in a head, in any case; -1: none. */
static int csv_column(const struct reel_csv_field *head, int n, const char *const *names)
{
    for (; *names; names++)
        for (int i = 0; i < n; i++)
            if (head[i].n == strlen(*names) && !strncasecmp(head[i].s, *names, head[i].n)) return i;
    return -1;
}

static reel_err csv_films(struct text *t, struct reel_csv *c, const char *folder)
{
    static const char *const paths[] = { "path", "video", "video_path", "file_name", "file", NULL };
    static const char *const captions[] = { "caption", "cap", "text", "prompt", NULL };
    struct reel_csv_field f[REEL_CSV_COLUMNS];
    int n, line, path, cap;

    REEL_TRY(reel_csv_record(c, f, &n, &line));
    path = csv_column(f, n, paths), cap = csv_column(f, n, captions);
    if (path < 0 || cap < 0) return REEL_FAIL(REEL_EDATA, "%s: the first line names no column \"%s\"", c->path, path < 0 ? "path" : "caption");
    for (;;) {
        REEL_TRY(reel_csv_record(c, f, &n, &line));
        if (!n) return REEL_OK;
        if (n <= path || n <= cap)
            return REEL_FAIL(REEL_EDATA, "%s:%d: %d fields, but the %s is field %d", c->path, line, n, n <= path ? "path" : "caption",
                             (n <= path ? path : cap) + 1);
        f[path].s[f[path].n] = f[cap].s[f[cap].n] = 0; /* of the comma, the line end or the file's end */
        REEL_TRY(put_below(t, folder, f[path].s, f[cap].s, NULL));
    }
}

static reel_err from_csv(struct text *t, const char *file, const char *folder)
{
    struct reel_csv c;
    char *all;
    size_t bytes;
    reel_err e;

    REEL_TRY(reel_file_read(file, &all, &bytes));
    e = reel_csv_open(&c, all, bytes, file);
    if (!e) e = csv_films(t, &c, folder);
    free(all);
    return e;
}

static int ends(const char *s, const char *with)
{
    size_t n = strlen(s), m = strlen(with);

    return n > m && !strcasecmp(s + n - m, with);
}

static reel_err from_captions(struct text *t, const char *file, const char *videos, int64_t seed)
{
    char copy[2048], folder[2048];

    snprintf(copy, sizeof copy, "%s", file);
    snprintf(folder, sizeof folder, "%s", videos ? videos : dirname(copy));
    if (ends(file, ".json")) return from_json(t, file, folder, seed);
    if (ends(file, ".csv")) return from_csv(t, file, folder);
    return from_lines(t, file, folder, seed, ends(file, ".jsonl") ? json_line : tab_line);
}

/* No captions are named: the folder has them, or each film has its own. */
static reel_err from_merged(struct text *t, const struct reel_preprocess_args *a)
{
    char merged[2048];
    int64_t found = 0;

    if (snprintf(merged, sizeof merged, "%s/videos2caption.json", a->videos) < (int)sizeof merged && reel_is_file(merged))
        return from_captions(t, merged, a->videos, a->seed);
    if (reel_is_dir(a->videos)) REEL_TRY(from_folder(t, a->videos, NULL, &found, 0));
    else if (is_film(a->videos)) REEL_TRY(put_with_text(t, a->videos, &found));
    if (found) return REEL_OK;
    return REEL_FAIL(REEL_ECONFIG, "%s: captions are needed: --captions FILE (videos2caption.json, .jsonl, .csv, or lines of path<TAB>caption), "
                     "a .txt beside each film, or --caption TEXT for all", a->videos);
}

static reel_err look(struct text *t, const struct reel_preprocess_args *a) /* rank 0 */
{
    const char *what = a->prompts ? a->prompts : a->captions ? a->captions : a->videos;

    if (a->captions && a->caption) return REEL_FAIL(REEL_ECONFIG, "--captions and --caption exclude each other");
    if (!what) return REEL_FAIL(REEL_ECONFIG, "nothing to preprocess: --videos with --captions or --caption, --prompts, or --demo-clips");
    if (a->caption) REEL_TRY(reel_utf8_check(a->caption, strlen(a->caption), "--caption"));
    if (a->caption && !*a->caption) return REEL_FAIL(REEL_ECONFIG, "--caption is empty");
    if (a->prompts) REEL_TRY(from_lines(t, a->prompts, "", a->seed, prompt_line));
    else if (a->captions) REEL_TRY(from_captions(t, a->captions, a->videos, a->seed));
    else if (!a->caption) REEL_TRY(from_merged(t, a));
    else if (reel_is_dir(a->videos)) REEL_TRY(from_folder(t, a->videos, a->caption, NULL, 0));
    else REEL_TRY(put_film(t, a->videos, a->caption, NULL));
    return t->films ? REEL_OK : REEL_FAIL(REEL_EDATA, "%s: no %s found", what, a->prompts ? "prompt" : "film");
}

static reel_err index_strings(struct reel_films *l, size_t bytes)
{
    const char *p = l->bytes;
    int64_t strings = 0;

    for (size_t i = 0; i < bytes; i++) strings += !l->bytes[i];
    l->n = strings / 3;
    l->n_bytes = bytes;
    l->v = calloc((size_t)l->n, sizeof *l->v);
    if (!l->v) return REEL_FAIL(REEL_ENOMEM, "no memory for a list of %lld films", (long long)l->n);
    for (int64_t i = 0; i < l->n; i++) {
        l->v[i].path = p, p += strlen(p) + 1;
        l->v[i].caption = p, p += strlen(p) + 1;
        if (*p == '!') l->v[i].odd = p + 1;
        else if (*p) sscanf(p, "%lf %" SCNd64, &l->v[i].fps, &l->v[i].frames);
        p += strlen(p) + 1;
    }
    return REEL_OK;
}

reel_err reel_films_open(struct reel_films *l, const struct reel_preprocess_args *a, struct reel_comm *c)
{
    struct text t = { .c = c };
    void *blob;
    size_t bytes;
    reel_err e = c->rank == 0 ? look(&t, a) : REEL_OK;

    reel_pulse_rest(c);
    e = reel_agree(c, e);
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
