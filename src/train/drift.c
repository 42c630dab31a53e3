#include "train/drift.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "config/drift.h"
#include "train/notes.h"
#include "train/save.h"

/* ---- what a configuration does not say ---- */

/* What a callback that only observes reads is no part of the training. */
static enum reel_drift_kind kind_of(const struct reel_run *r, const char *key)
{
    char section[160];

    for (int i = 0; i < r->n_cb; i++) {
        snprintf(section, sizeof section, "callbacks.%s.", r->cb[i].name);
        if (r->cb[i].ops->observes && !strncmp(key, section, strlen(section))) return REEL_DRIFT_FREE;
    }
    return REEL_DRIFT_RESULTS;
}

/* A key that means what it meant leaves results alone, whatever it says; one that means another thing does not. `d` has room for each. */
static int add_found(const struct reel_run *r, struct reel_drift *d, int n, json_t *was, json_t *is)
{
    const char *key;
    json_t *v;

    json_object_foreach(is, key, v) {
        const char *a = json_string_value(json_object_get(was, key)), *b = json_string_value(v);
        int i = 0;
        while (i < n && strcmp(d[i].key, key) != 0) i++;
        if (!a) continue; /* an older checkpoint, or another program's */
        if (!strcmp(a, b) && i < n) d[i].kind = REEL_DRIFT_FREE;
        if (strcmp(a, b) != 0 && i == n) d[n++] = (struct reel_drift){ .key = key, .was = a, .is = b, .kind = kind_of(r, key) };
    }
    return n;
}

/* ---- the comparison ---- */

/* metadata.json's "config" as text, malloc'ed; NULL and no error when it holds none; and its "found", or NULL. Rank 0's part. */
static reel_err read_was(const char *dir, char **text, size_t *len, char path[PATH_MAX], json_t **found)
{
    json_t *js;

    REEL_TRY(reel_join(path, PATH_MAX, dir, "metadata.json"));
    if (!reel_is_file(path)) return REEL_OK;
    REEL_TRY(reel_json_file(&js, path));
    if (json_object_get(json_object_get(js, "config"), "method"))
        *text = json_dumps(json_object_get(js, "config"), JSON_INDENT(1) | JSON_SORT_KEYS);
    *len = *text ? strlen(*text) : 0;
    *found = json_incref(json_object_get(js, "found"));
    json_decref(js);
    return REEL_OK;
}

/* Every entry that forbids it, as "key was A, is B; ...". malloc'ed, NULL: none. */
static char *list_fixed(const struct reel_drift *d, int n)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    int any = 0;

    REEL_BUG_IF(!f, "out of memory");
    for (int i = 0; i < n; i++)
        if (d[i].kind == REEL_DRIFT_FIXED) fprintf(f, "%s%s was %s, is %s", any++ ? "; " : "", d[i].key, d[i].was, d[i].is);
    fclose(f);
    if (any) return text;
    free(text);
    return NULL;
}

static json_t *as_json(const struct reel_drift *d, int n)
{
    static const char *const name[] = { "free", "results", "fixed" };
    json_t *all = json_array();

    for (int i = 0; i < n; i++)
        json_array_append_new(all, json_pack("{s:o, s:o, s:o, s:s}", "key", reel_json_text(d[i].key), "was", reel_json_text(d[i].was), "is",
                                             reel_json_text(d[i].is), "changes", name[d[i].kind]));
    return all;
}

/* Rank 0's part: what reel_drift_log says. */
static reel_err keep(struct reel_run *r, const struct reel_drift *list, int n, json_t *found)
{
    json_t *is = json_loads(reel_save_found(r), 0, NULL);
    struct reel_drift *d = malloc(((size_t)n + json_object_size(is) + 1) * sizeof *d);

    if (!d || !is) return free(d), json_decref(is), REEL_FAIL(REEL_ENOMEM, "no memory for the list of changes");
    if (n) memcpy(d, list, (size_t)n * sizeof *d);
    n = add_found(r, d, n, found, is);
    if (n) r->drift = as_json(d, n);
    free(d);
    json_decref(is);
    return REEL_OK;
}

/* The same verdict on every rank: all have the same two configurations. */
static reel_err judge(struct reel_run *r, const char *dir, struct reel_config *was, json_t *found)
{
    const struct reel_drift *d;
    int n = reel_config_drift(was, r->cfg, &d);
    char *fixed = list_fixed(d, n);
    reel_err e = REEL_OK;

    if (fixed)
        e = REEL_FAIL(REEL_ECONFIG, "%s cannot be resumed with this configuration: %s; a new run starts from its weights with reel export and "
                      "models.<role>.init_from", dir, fixed);
    free(fixed);
    return e ? e : reel_agree(r->world, r->world->rank ? REEL_OK : keep(r, d, n, found));
}

static reel_err compare(struct reel_run *r, const char *dir, struct reel_config_src *src, json_t *found)
{
    struct reel_config *was = NULL;
    reel_err e = REEL_OK;

    if (src->len == 0) {
        if (r->world->rank == 0) fprintf(stderr, "reel: warning: %s has no configuration to compare this run's with\n", dir);
    } else if (reel_config_was(src, r->cfg->schema, &was) == REEL_OK) {
        e = judge(r, dir, was, found);
    } else {
        if (r->world->rank == 0) fprintf(stderr, "reel: warning: the configuration of %s cannot be compared: %s\n", dir, reel_errrec()->msg);
        reel_err_clear();
    }
    reel_config_free(was);
    return e;
}

reel_err reel_drift_judge(struct reel_run *r, const char *dir)
{
    struct reel_config_src src = { .text = NULL };
    char *text = NULL, path[PATH_MAX] = "";
    json_t *found = NULL;
    reel_err e = REEL_OK;

    if (r->world->rank == 0) e = read_was(dir, &text, &src.len, path, &found);
    e = reel_agree(r->world, e);
    if (e == REEL_OK) {
        reel_comm_bcast(r->world, path, sizeof path, 0);
        e = reel_comm_bcast_blob(r->world, (void **)&text, &src.len, 0);
    }
    src.text = text;
    src.name = path;
    if (e == REEL_OK) e = compare(r, dir, &src, found);
    json_decref(found);
    free(text);
    return e;
}

/* The next entry of a kind, from *i on; 0: none. */
static int next_of(const json_t *all, size_t *i, const char *kind, const char **key, const char **was, const char **is)
{
    for (; *i < json_array_size(all); ++*i) {
        json_t *d = json_array_get(all, *i);
        const char *changes = json_string_value(json_object_get(d, "changes"));
        *key = json_string_value(json_object_get(d, "key"));
        *was = json_string_value(json_object_get(d, "was"));
        *is = json_string_value(json_object_get(d, "is"));
        if (changes && !strcmp(changes, kind)) return ++*i, 1;
    }
    return 0;
}

/* One line for all that leaves results alone, one warning for each key that changes them. */
static void tell(struct reel_run *r)
{
    const char *key, *was, *is, *lead = "reel: resumed with changes that leave results alone: ";
    size_t i = 0;

    while (!r->flags.quiet && next_of(r->drift, &i, "free", &key, &was, &is)) {
        printf("%s%s was %s, is %s", lead, key, was, is);
        lead = "; ";
    }
    if (*lead == ';') putchar('\n');
    for (i = 0; next_of(r->drift, &i, "results", &key, &was, &is);)
        reel_note_warning(r, "resumed with another %s: it was %s, is %s; from here on results differ from those of the run that was saved",
                          key, was, is);
}

reel_err reel_drift_log(struct reel_run *r)
{
    char *text;
    reel_err e;

    if (!r->drift) return REEL_OK;
    text = json_dumps(r->drift, 0);
    e = text ? reel_track_text(r->track, r->first, "config_drift", text) : REEL_FAIL(REEL_ENOMEM, "no memory for the list of changes");
    tell(r);
    free(text);
    json_decref(r->drift);
    r->drift = NULL;
    return e;
}
