/* Golden kind hf-layout: a Diffusers pipeline folder and a Hugging Face cache with two revisions: which
 * folder is found, and what the transformer in it computes. Parameters are sharded over all ranks. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "ckpt/hf.h"
#include "golden.h"
#include "wan_rig.h"

#define TOL 2e-6 /* of the largest element */

struct hf_case { struct golden *g; const char *dir; struct reel_st *probe; char hub[PATH_MAX], tmp[PATH_MAX]; };

/* ---- the cache ---- */

/* A version control that lost its links leaves files that hold the link's text: if `path` is one, the
 * file that it means. */
static int lost_link(const char *path, char *target)
{
    char text[PATH_MAX], at[2 * PATH_MAX];
    const char *slash = strrchr(path, '/');
    FILE *f;
    size_t n;

    if (!reel_is_file(path) || !(f = fopen(path, "rb"))) return 0;
    n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    if (strncmp(text, "../", 3) != 0 || strlen(text) != n) return 0;
    snprintf(at, sizeof at, "%.*s/%s", (int)(slash - path), path, text);
    return realpath(at, target) != NULL;
}

/* The tree `from` again below `to`, with links instead of files; returns how many were lost links. */
static int link_tree(const char *from, const char *to)
{
    DIR *d = opendir(from);
    struct dirent *e;
    int lost = 0;

    if (reel_mkdirs(to)) return 0;
    while (d && (e = readdir(d))) {
        char a[PATH_MAX], b[PATH_MAX], target[PATH_MAX];
        if (e->d_name[0] == '.' || reel_join(a, sizeof a, from, e->d_name) || reel_join(b, sizeof b, to, e->d_name)) continue;
        if (reel_is_dir(a)) {
            lost += link_tree(a, b);
        } else {
            int is_lost = lost_link(a, target);
            if ((is_lost || realpath(a, target)) && symlink(target, b) == 0) lost += is_lost;
        }
    }
    if (d) closedir(d);
    return lost;
}

/* The folder's cache, or a copy with its links made again. Collective(world). */
static reel_err find_hub(struct hf_case *c)
{
    const char *t = getenv("TMPDIR");
    char hub[PATH_MAX];

    REEL_TRY(reel_join(hub, sizeof hub, c->dir, "hub"));
    if (c->g->world->rank == 0) {
        snprintf(c->tmp, sizeof c->tmp, "%s/golden.XXXXXX", t ? t : "/tmp");
        if (!mkdtemp(c->tmp) || reel_join(c->hub, sizeof c->hub, c->tmp, "hub") || link_tree(hub, c->hub) == 0)
            snprintf(c->hub, sizeof c->hub, "%s", hub);
        else
            printf("# the cache's links are files with their text here; a copy with links is used\n");
    }
    reel_comm_bcast(c->g->world, c->hub, sizeof c->hub, 0);
    return REEL_OK;
}

/* ---- one source ---- */

static float *tensor(struct hf_case *c, const char *name, const struct reel_st_entry **e)
{
    *e = reel_st_find(c->probe, name);
    return *e && (*e)->dt == REEL_F32 ? golden_bytes(c->probe, name, e) : NULL;
}

/* Forward pass of an open and loaded rig on the probe. */
static void compare(struct hf_case *c, struct rig *r, const char *what, const char *out)
{
    const struct reel_st_entry *e;
    float *x = tensor(c, "x", &e), *t = tensor(c, "t", &e), *text = tensor(c, "text", &e), *want = tensor(c, out, &e), *y, *v;
    int64_t n = golden_count(e), B = e->n[0], C = e->n[1], T = e->n[2], hw = e->n[3] * e->n[4];
    struct golden_diff d = { 0 };
    char name[400];

    y = malloc((size_t)n * sizeof *y), v = malloc((size_t)n * sizeof *v);
    rig_swap_tc(y, x, B, C, T, hw);
    rig_forward(r, y, t, text, v, NULL);
    rig_swap_tc(y, want, B, C, T, hw);
    golden_diff(&d, v, y, n);
    snprintf(name, sizeof name, "%s of %s", out, what);
    golden_check_max(c->g, name, d, TOL);
    free(x), free(t), free(text), free(want), free(y), free(v);
}

static reel_err forward(struct hf_case *c, const struct reel_hf_source *src, const char *what, const char *out)
{
    const struct reel_st_entry *x = reel_st_find(c->probe, "x"), *text = reel_st_find(c->probe, "text"),
                               *t = reel_st_find(c->probe, "t"), *o = reel_st_find(c->probe, out);
    int size = c->g->world->size;
    struct rig r;
    struct rig_shape h;
    char *config;
    reel_err e;

    if (!x || !text || !t || !o || x->nd != 5 || o->nd != 5 || text->nd != 3)
        return REEL_FAIL(REEL_EDATA, "probe.safetensors: needs x, t, text and %s", out);
    h = (struct rig_shape){ x->n[0], x->n[2], x->n[3], x->n[4], text->n[1], t->nd == 2 };
    REEL_TRY(reel_hf_read_config(src, c->g->world, &config, NULL));
    e = rig_open(&r, c->g->world, (struct reel_mesh_dims){ size, 1, size, 1, 1 }, config, REEL_F32, 0, h);
    free(config);
    REEL_TRY(e);
    e = reel_hf_load(src, r.m.ps, &r.s, c->g->world);
    if (!e) compare(c, &r, what, out);
    rig_close(&r);
    return e;
}

/* Components that the snapshot has are found, others refused. */
static void components(struct hf_case *c, struct reel_hf_source src, const char *snapshot, const char *what)
{
    char pipeline[PATH_MAX], have[PATH_MAX], name[400], dir[PATH_MAX];
    struct dirent **list;
    int n;

    if (reel_join(pipeline, sizeof pipeline, c->dir, "pipeline")) return;
    n = scandir(pipeline, &list, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        src.component = list[i]->d_name;
        if (src.component[0] != '.' && !reel_join(have, sizeof have, pipeline, src.component) && reel_is_dir(have) &&
            !reel_join(have, sizeof have, snapshot, src.component)) {
            int found = !reel_hf_component(&src, dir, sizeof dir);
            reel_err_clear();
            snprintf(name, sizeof name, "%s: %s %s", what, src.component, reel_is_dir(have) ? "is found" : "is missing");
            golden_true(c->g, name, found == reel_is_dir(have));
        }
        free(list[i]);
    }
    if (n >= 0) free(list);
}

/* One way to name a snapshot: the folder must be the commit's. */
static reel_err source(struct hf_case *c, struct reel_hf_env env, const char *init_from, const char *commit, const char *out)
{
    struct reel_hf_source src = { .init_from = init_from, .env = env };
    char dir[PATH_MAX], name[400];
    const char *last;

    REEL_TRY(reel_hf_resolve(&src, dir, sizeof dir));
    last = strrchr(dir, '/');
    snprintf(name, sizeof name, "%s resolves", init_from);
    golden_true(c->g, name, !commit || (last && !strcmp(last + 1, commit)));
    if (commit) components(c, src, dir, init_from);
    return out ? forward(c, &src, init_from, out) : REEL_OK;
}

static reel_err sources(struct hf_case *c, const json_t *cache)
{
    struct reel_hf_env hub = { .hf_hub_cache = c->hub }, home = { .hf_home = c->dir };
    const char *repo = json_string_value(json_object_get(cache, "repo")), *rev;
    char at[PATH_MAX], out[96];
    json_t *commit;

    if (!repo) return REEL_FAIL(REEL_EDATA, "cache.json: needs repo");
    REEL_TRY(reel_join(at, sizeof at, c->dir, "pipeline"));
    REEL_TRY(source(c, hub, at, NULL, "out_main"));
    REEL_TRY(source(c, hub, repo, json_string_value(json_object_get(cache, "main")), "out_main"));
    json_object_foreach((json_t *)cache, rev, commit) {
        if (!strcmp(rev, "repo")) continue;
        snprintf(out, sizeof out, "out_%s", rev);
        snprintf(at, sizeof at, "%s@%s", repo, rev);
        REEL_TRY(source(c, hub, at, json_string_value(commit), out));
        REEL_TRY(source(c, home, at, json_string_value(commit), NULL)); /* $HF_HOME/hub */
        snprintf(at, sizeof at, "%s@%s", repo, json_string_value(commit));
        REEL_TRY(source(c, hub, at, json_string_value(commit), NULL));
    }
    return REEL_OK;
}

int golden_hf_layout(struct golden *g, const char *dir)
{
    struct hf_case c = { .g = g, .dir = dir };
    json_t *cache = golden_json(dir, "cache.json");
    reel_err e = golden_open(&c.probe, dir, "probe.safetensors");

    if (!cache) e = REEL_EDATA;
    if (!e) e = find_hub(&c);
    if (!e) e = sources(&c, cache);
    if (e && g->world->rank == 0) reel_err_print(reel_errrec());
    reel_err_clear();
    reel_comm_barrier(g->world);
    if (g->world->rank == 0 && c.tmp[0]) (void)!reel_rmtree(c.tmp);
    reel_st_close(c.probe);
    json_decref(cache);
    return e != REEL_OK;
}
