#include "ckpt/hf.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* ---- the cache ---- */

static const char *variable(const struct reel_hf_env *env, const char *name)
{
    if (strcmp(name, "HOME") == 0) return env->home;
    if (strcmp(name, "HF_HOME") == 0) return env->hf_home;
    if (strcmp(name, "XDG_CACHE_HOME") == 0) return env->xdg_cache_home;
    return env->lookup ? env->lookup(name) : NULL;
}

/* "~" in front, $NAME and ${NAME} anywhere; a variable that is not set stays as it is written. */
static reel_err expand(const struct reel_hf_env *env, const char *s, char *dst, size_t size)
{
    size_t n = 0;

    if (s[0] == '~' && (s[1] == '/' || !s[1]) && env->home) {
        n = (size_t)snprintf(dst, size, "%s", env->home);
        s++;
    }
    while (*s && n < size) {
        size_t brace = s[0] == '$' && s[1] == '{', len = 0;
        char name[128];
        while (*s == '$' && (isalnum((unsigned char)s[1 + brace + len]) || s[1 + brace + len] == '_')) len++;
        size_t used = 1 + 2 * brace + len;
        const char *v = NULL;
        if (len && len < sizeof name && (!brace || s[2 + len] == '}')) {
            memcpy(name, s + 1 + brace, len);
            name[len] = 0;
            v = variable(env, name);
        }
        if (v) n += (size_t)snprintf(dst + n, size - n, "%s", v), s += used;
        else dst[n++] = *s++;
    }
    if (n >= size) return REEL_FAIL(REEL_ECONFIG, "the path of the Hugging Face cache is too long");
    dst[n] = 0;
    return REEL_OK;
}

reel_err reel_hf_cache_root(const struct reel_hf_env *env, char *dir, size_t size)
{
    const struct { const char *base, *below; } row[] = {
        { env->hf_hub_cache, "" },
        { env->huggingface_hub_cache, "" },
        { env->hf_home, "/hub" },
        { env->xdg_cache_home, "/huggingface/hub" },
        { env->home, "/.cache/huggingface/hub" },
    };
    char text[PATH_MAX];

    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        if (!row[i].base || !*row[i].base) continue;
        snprintf(text, sizeof text, "%s%s", row[i].base, row[i].below);
        return expand(env, text, dir, size);
    }
    return REEL_FAIL(REEL_ECONFIG, "no Hugging Face cache: none of HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HOME is set");
}

static int is_commit(const char *s)
{
    return strlen(s) == 40 && strspn(s, "0123456789abcdef") == 40;
}

/* refs/REVISION if there is such a file, else REVISION itself if it is a commit. */
static reel_err commit_of(const char *model, const char *rev, char commit[41])
{
    char path[PATH_MAX], *text;
    size_t n;

    if (snprintf(path, sizeof path, "%s/refs/%s", model, rev) >= (int)sizeof path || strstr(rev, ".."))
        return REEL_FAIL(REEL_ECONFIG, "%s: revision \"%s\" is not a name", model, rev);
    if (reel_is_file(path)) {
        REEL_TRY(reel_file_read(path, &text, &n));
        snprintf(commit, 41, "%.40s", text);
        free(text);
        if (!is_commit(commit)) return REEL_FAIL(REEL_EDATA, "%s: does not hold a commit", path);
        return REEL_OK;
    }
    if (!is_commit(rev)) return REEL_FAIL(REEL_ECONFIG, "%s: no revision \"%s\" in this cache", model, rev);
    snprintf(commit, 41, "%s", rev);
    return REEL_OK;
}

static int is_repository_id(const char *s)
{
    const char *slash = strchr(s, '/');

    return *s && *s != '/' && *s != '.' && *s != '~' && !strstr(s, "..") && (!slash || !strchr(slash + 1, '/')) &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./") == strlen(s);
}

static const char *said(const struct reel_hf_source *src) { return src->said ? src->said : "init_from"; }

static reel_err from_cache(const struct reel_hf_source *src, const char *id, const char *rev, char *dir, size_t size)
{
    char root[PATH_MAX - 512], model[PATH_MAX], commit[41];
    const char *slash = strchr(id, '/');
    int owner = slash ? (int)(slash - id) : 0;

    REEL_TRY(reel_hf_cache_root(&src->env, root, sizeof root));
    if (snprintf(model, sizeof model, "%s/models--%.*s%s%s", root, owner, id, slash ? "--" : "",
                 slash ? slash + 1 : id) >= (int)sizeof model)
        return REEL_FAIL(REEL_ECONFIG, "%s: \"%s\" is too long", said(src), id);
    if (!reel_is_dir(model))
        return REEL_FAIL(REEL_ECONFIG, "%s: \"%s\" is neither a folder nor a model in the Hugging Face cache %s; "
                         "nothing is downloaded: fetch it first, or give the path of a Diffusers folder", said(src), id, root);
    REEL_TRY(commit_of(model, rev, commit));
    if (snprintf(dir, size, "%s/snapshots/%s", model, commit) >= (int)size)
        return REEL_FAIL(REEL_ECONFIG, "%s: \"%s\" is too long", said(src), id);
    if (!reel_is_dir(dir)) return REEL_FAIL(REEL_ECONFIG, "%s: \"%s\": the cache has no snapshot %s", said(src), id, dir);
    return REEL_OK;
}

reel_err reel_hf_resolve(const struct reel_hf_source *src, char *dir, size_t size)
{
    char id[512], *at;

    REEL_TRY(expand(&src->env, src->init_from, dir, size));
    if (reel_is_dir(dir)) return REEL_OK;
    if (snprintf(id, sizeof id, "%s", src->init_from) >= (int)sizeof id)
        return REEL_FAIL(REEL_ECONFIG, "%s: no folder %s", said(src), src->init_from);
    at = strchr(id, '@');
    if (at) *at++ = 0;
    if (!is_repository_id(id))
        return REEL_FAIL(REEL_ECONFIG, "%s: no folder %s, and it is not a repository id like owner/name", said(src),
                         src->init_from);
    return from_cache(src, id, at && *at ? at : "main", dir, size);
}

reel_err reel_hf_component(const struct reel_hf_source *src, char *dir, size_t size)
{
    const char *sub = src->component ? src->component : "transformer";
    char root[PATH_MAX], config[PATH_MAX];

    REEL_TRY(reel_hf_resolve(src, root, sizeof root));
    REEL_TRY(reel_join(dir, size, root, sub));
    if (reel_is_dir(dir)) return REEL_OK;
    REEL_TRY(reel_join(config, sizeof config, root, "config.json"));
    if (!reel_is_file(config))
        return REEL_FAIL(REEL_ECONFIG, "%s: %s has no %s folder (a partial snapshot, or not a Diffusers model)", said(src),
                         root, sub);
    snprintf(dir, size, "%s", root);
    return REEL_OK;
}

/* ---- config.json: rank 0 reads, all get the bytes ---- */

static reel_err read_config(const struct reel_hf_source *src, char *path, char **json, size_t *n)
{
    char dir[PATH_MAX];

    REEL_TRY(reel_hf_component(src, dir, sizeof dir));
    REEL_TRY(reel_join(path, PATH_MAX, dir, "config.json"));
    return reel_file_read(path, json, n);
}

reel_err reel_hf_read_config(const struct reel_hf_source *src, struct reel_comm *world, char **json, char *where)
{
    char path[PATH_MAX] = "";
    void *p = NULL;
    size_t n = 0;
    reel_err e = REEL_OK;

    *json = NULL;
    if (world->rank == 0) {
        e = read_config(src, path, (char **)&p, &n);
        n++; /* the NUL goes along */
    }
    REEL_TRY(reel_agree(world, e));
    REEL_TRY(reel_comm_bcast_blob(world, &p, &n, 0));
    reel_comm_bcast(world, path, sizeof path, 0);
    if (where) memcpy(where, path, sizeof path);
    *json = p;
    return REEL_OK;
}
