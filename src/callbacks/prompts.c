#include "callbacks/prompts.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/file.h"
#include "base/json.h"

static reel_err add(struct reel_prompts *p, const char *path, const char *s, size_t n)
{
    char **more = (p->n & (p->n - 1)) == 0 ? realloc(p->text, (size_t)(p->n ? 2 * p->n : 1) * sizeof *more) : p->text;

    if (more) p->text = more;
    if (!more || !(p->text[p->n] = strndup(s, n))) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for the prompts", path);
    p->n++;
    return REEL_OK;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* A comma before a closing bracket becomes a space, so that places in messages stay right. */
static void forgive_commas(char *s, size_t n)
{
    char *comma = NULL;
    int in = 0;

    for (size_t i = 0; i < n; i++) {
        if (in) {
            if (s[i] == '\\') i++;
            else if (s[i] == '"') in = 0;
            continue;
        }
        if ((s[i] == ']' || s[i] == '}') && comma) *comma = ' ';
        if (!strchr(" \t\r\n", s[i])) comma = s[i] == ',' ? s + i : NULL;
        in = s[i] == '"';
    }
}

static reel_err from_list(struct reel_prompts *p, const char *path, const json_t *list)
{
    json_t *e;
    size_t i;

    json_array_foreach(list, i, e) {
        const json_t *c = json_is_object(e) ? json_object_get(e, "caption") : e;
        if (!json_is_string(c))
            return REEL_FAIL(REEL_EDATA, "%s: entry %zu is neither a prompt nor an object with a \"caption\"", path, i);
        if (strlen(json_string_value(c)) != json_string_length(c))
            return REEL_FAIL(REEL_EDATA, "%s: entry %zu has a NUL character in it", path, i);
        REEL_TRY(add(p, path, json_string_value(c), json_string_length(c)));
    }
    return REEL_OK;
}

static reel_err from_json(struct reel_prompts *p, const char *path, char *text, size_t n)
{
    const json_t *list;
    json_error_t why;
    json_t *root;
    reel_err e;

    forgive_commas(text, n);
    root = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (!root) return REEL_FAIL(REEL_EDATA, "%s:%d:%d: not valid JSON: %s", path, why.line, why.column, why.text);
    list = json_is_object(root) ? json_object_get(root, "data") : root;
    e = json_is_array(list) ? from_list(p, path, list)
                            : REEL_FAIL(REEL_EDATA, "%s: expected a list of prompts, or {\"data\": [{\"caption\": \"...\"}, ...]}", path);
    json_decref(root);
    return e;
}

/* ---- CSV ------------------------------------------------------------------------------------- */

static reel_err from_csv(struct reel_prompts *p, const char *path, char *text, size_t n)
{
    struct reel_csv_field f[REEL_CSV_COLUMNS];
    struct reel_csv c;
    int fields, line, column = 0;

    REEL_TRY(reel_csv_open(&c, text, n, path));
    REEL_TRY(reel_csv_record(&c, f, &fields, &line));
    if (!fields) return REEL_OK;
    while (column < fields && (f[column].n != 7 || memcmp(f[column].s, "caption", 7) != 0)) column++;
    if (column == fields) return REEL_FAIL(REEL_EDATA, "%s: the first line names no column \"caption\"", path);
    for (;;) {
        REEL_TRY(reel_csv_record(&c, f, &fields, &line));
        if (!fields) return REEL_OK;
        if (fields <= column) return REEL_FAIL(REEL_EDATA, "%s:%d: %d fields, but the caption is field %d", path, line, fields, column + 1);
        REEL_TRY(add(p, path, f[column].s, f[column].n));
    }
}

/* ---- lines ----------------------------------------------------------------------------------- */

static reel_err from_lines(struct reel_prompts *p, const char *path, char *text, size_t n)
{
    char *end = text + n, *s = text;

    REEL_TRY(reel_utf8_check(text, n, path));
    if (n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) s += 3;
    for (char *stop; s < end; s = stop + 1) {
        char *last;
        stop = memchr(s, '\n', (size_t)(end - s));
        if (!stop) stop = end;
        last = stop;
        while (last > s && strchr(" \t\r", last[-1])) last--;
        while (s < last && strchr(" \t", *s)) s++;
        if (memchr(s, 0, (size_t)(last - s))) return REEL_FAIL(REEL_EDATA, "%s: prompt %d has a NUL character in it", path, p->n);
        if (last > s) REEL_TRY(add(p, path, s, (size_t)(last - s)));
    }
    return REEL_OK;
}

/* ---- by name ----------------------------------------------------------------------------------- */

static reel_err refuse(struct reel_prompts *p, const char *path, char *text, size_t n)
{
    const char *read = reel_ends(path, ".parquet") ? "read_parquet" : "read_feather";

    (void)p, (void)text, (void)n;
    return REEL_FAIL(REEL_EDATA, "%s: prompts are read from .json and .csv; this makes one: python3 -c 'import pandas; "
                                 "pandas.%s(\"%s\")[[\"caption\"]].to_csv(\"prompts.csv\", index=False)'", path, read, path);
}

static const struct {
    const char *end;
    reel_err (*parse)(struct reel_prompts *p, const char *path, char *text, size_t n);
} forms[] = { { ".json", from_json }, { ".csv", from_csv }, { ".txt", from_lines }, { ".parquet", refuse }, { ".arrow", refuse } };

static int form_of(const char *path)
{
    int i = (int)(sizeof forms / sizeof *forms);

    while (i-- && !reel_ends(path, forms[i].end)) {}
    return i;
}

int reel_prompts_known(const char *path) { return form_of(path) >= 0; }

reel_err reel_prompts_parse(struct reel_prompts *p, const char *path, char *text, size_t bytes)
{
    int form = form_of(path);
    reel_err e;

    *p = (struct reel_prompts){ 0 };
    e = form < 0 ? REEL_FAIL(REEL_EDATA, "%s: the name must end in .json, .csv or .txt", path) : forms[form].parse(p, path, text, bytes);
    if (e == REEL_OK && !p->n) e = REEL_FAIL(REEL_EDATA, "%s: no prompt in it", path);
    if (e) reel_prompts_free(p);
    return e;
}

reel_err reel_prompts_read(struct reel_prompts *p, const char *path, struct reel_comm *world)
{
    char *text = NULL;
    size_t n = 0;
    reel_err e;

    *p = (struct reel_prompts){ 0 };
    REEL_TRY(reel_agree(world, world->rank ? REEL_OK : reel_file_read(path, &text, &n)));
    REEL_TRY(reel_comm_bcast_blob(world, (void **)&text, &n, 0));
    e = reel_prompts_parse(p, path, text, n);
    free(text);
    return reel_agree(world, e);
}

void reel_prompts_free(struct reel_prompts *p)
{
    for (int i = 0; i < p->n; i++) free(p->text[i]);
    free(p->text);
    *p = (struct reel_prompts){ 0 };
}
