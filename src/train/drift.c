#include "train/drift.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "config/drift.h"
#include "train/notes.h"

/* "config" of metadata.json as text, malloc'ed; NULL and no error when it holds none. Rank 0's part. */
static reel_err read_was(const char *dir, char **text, size_t *len, char path[PATH_MAX])
{
    json_t *js;

    REEL_TRY(reel_join(path, PATH_MAX, dir, "metadata.json"));
    if (!reel_is_file(path)) return REEL_OK;
    REEL_TRY(reel_json_file(&js, path));
    if (json_object_get(json_object_get(js, "config"), "method"))
        *text = json_dumps(json_object_get(js, "config"), JSON_INDENT(1) | JSON_SORT_KEYS);
    *len = *text ? strlen(*text) : 0;
    json_decref(js);
    return REEL_OK;
}

/* Every entry of one kind, as "key was A, is B; ...". malloc'ed, NULL: none. */
static char *list_of(const struct reel_drift *d, int n, enum reel_drift_kind kind)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    int any = 0;

    REEL_BUG_IF(!f, "out of memory");
    for (int i = 0; i < n; i++)
        if (d[i].kind == kind) fprintf(f, "%s%s was %s, is %s", any++ ? "; " : "", d[i].key, d[i].was, d[i].is);
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

static void tell(struct reel_run *r, const struct reel_drift *d, int n)
{
    char *quiet = list_of(d, n, REEL_DRIFT_FREE);

    if (quiet && !r->flags.quiet) printf("reel: resumed with changes that leave results alone: %s\n", quiet);
    free(quiet);
    if (n) r->drift = as_json(d, n);
}

/* The same verdict on every rank: all have the same two configurations. */
static reel_err judge(struct reel_run *r, const char *dir, struct reel_config *was)
{
    const struct reel_drift *d;
    int n = reel_config_drift(was, r->cfg, &d);
    char *fixed = list_of(d, n, REEL_DRIFT_FIXED);
    reel_err e = REEL_OK;

    if (fixed)
        e = REEL_FAIL(REEL_ECONFIG, "%s cannot be resumed with this configuration: %s; a new run starts from its weights with reel export and "
                      "models.<role>.init_from", dir, fixed);
    free(fixed);
    if (e == REEL_OK && r->world->rank == 0) tell(r, d, n);
    return e;
}

reel_err reel_drift_judge(struct reel_run *r, const char *dir)
{
    struct reel_config_src src = { .text = NULL };
    struct reel_config *was = NULL;
    char *text = NULL, path[PATH_MAX] = "";
    reel_err e = REEL_OK;

    if (r->world->rank == 0) e = read_was(dir, &text, &src.len, path);
    REEL_TRY(reel_agree(r->world, e));
    reel_comm_bcast(r->world, path, sizeof path, 0);
    REEL_TRY(reel_comm_bcast_blob(r->world, (void **)&text, &src.len, 0));
    if (src.len == 0) {
        if (r->world->rank == 0) fprintf(stderr, "reel: warning: %s has no configuration to compare this run's with\n", dir);
        free(text);
        return REEL_OK;
    }
    src.text = text;
    src.name = path;
    if (reel_config_was(&src, r->cfg->schema, &was) == REEL_OK) e = judge(r, dir, was);
    else {
        if (r->world->rank == 0) fprintf(stderr, "reel: warning: the configuration of %s cannot be compared: %s\n", dir, reel_errrec()->msg);
        reel_err_clear();
    }
    reel_config_free(was);
    free(text);
    return e;
}

/* One warning for each key that changes results. */
static void warn(struct reel_run *r)
{
    const char *key, *was, *is, *changes;
    json_t *d;
    size_t i;

    json_array_foreach(r->drift, i, d)
        if (!json_unpack(d, "{s:s, s:s, s:s, s:s}", "key", &key, "was", &was, "is", &is, "changes", &changes) && !strcmp(changes, "results"))
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
    warn(r);
    free(text);
    json_decref(r->drift);
    r->drift = NULL;
    return e;
}
