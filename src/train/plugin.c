#include "train/plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/abi.h"
#include "base/file.h"
#include "callbacks/callback.h"
#include "methods/method.h"

static const struct { const char *word; uint64_t ops_size; } kinds[] = {
    [REEL_KIND_MODEL] = { "model", sizeof(struct reel_model_ops) },
    [REEL_KIND_METHOD] = { "method", sizeof(struct reel_method_ops) },
    [REEL_KIND_CALLBACK] = { "callback", sizeof(struct reel_callback_ops) },
};

__attribute__((format(printf, 2, 3))) static reel_err fail(const struct reel_cfg_plugin *p, const char *fmt, ...)
{
    char what[REEL_ERR_MSG], where[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    if (!p->node) return REEL_FAIL(REEL_EPLUGIN, "plugin %s: %s", p->path, what);
    return REEL_FAIL(REEL_EPLUGIN, "%s: %s: plugin %s: %s", reel_node_where(p->node, where, sizeof where), p->key,
                     p->path, what);
}

/* FNV-1a, 64 bits, of the file's length and bytes. */
static reel_err fingerprint(const struct reel_cfg_plugin *p, uint64_t *hash)
{
    char *bytes, why[REEL_ERR_MSG];
    size_t n;

    if (reel_file_read(p->path, &bytes, &n) != REEL_OK) {
        size_t named = strlen(p->path) + 2; /* the message begins with the path */

        snprintf(why, sizeof why, "%s", reel_errrec()->msg + named);
        reel_err_clear();
        return fail(p, "%s", why);
    }
    *hash = n;
    for (size_t i = 0; i < n; i++) *hash = (*hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
    free(bytes);
    return REEL_OK;
}

/* Nothing of the file has run yet when this returns. Collective(world). */
static reel_err same_everywhere(const struct reel_cfg_plugin *p, struct reel_comm *world, uint64_t *hash)
{
    uint64_t mine = 0, root;
    reel_err e = fingerprint(p, &mine);

    REEL_TRY(reel_agree(world, e));
    root = mine;
    reel_comm_bcast(world, &root, sizeof root, 0);
    *hash = root;
    if (mine != root) e = fail(p, "this rank's file is not the one of rank 0; copy one file to all nodes");
    return reel_agree(world, e);
}

/* dlopen searches the system's folders for a name without a slash. */
static reel_err open_object(const struct reel_cfg_plugin *p, void **handle)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s%s", strchr(p->path, '/') ? "" : "./", p->path);
    *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return *handle ? REEL_OK : fail(p, "cannot be loaded: %s", dlerror());
}

/* A symbol of the program in place of the plugin's own of that name: without hidden visibility it goes first. */
static int belongs_to(const void *ops, const struct reel_plugin *d)
{
    Dl_info a, b;

    return dladdr(ops, &a) && dladdr(d, &b) && a.dli_fbase == b.dli_fbase;
}

/* p->kind 0: any. */
static reel_err judge(const struct reel_cfg_plugin *p, const struct reel_plugin *d)
{
    if (!d)
        return fail(p, "exports no '%s': its file ends with REEL_EXPORT(REEL_KIND_..., %s) and is built with "
                       "-DREEL_AS_PLUGIN", p->name, p->name);
    if (d->abi != REEL_ABI)
        return fail(p, "was built with the headers of another reel (ABI %08x, this one has %08x): rebuild it", d->abi,
                    REEL_ABI);
    if (d->kind < REEL_KIND_MODEL || d->kind > REEL_KIND_CALLBACK)
        return fail(p, "'%s' is of an unknown kind %u", p->name, d->kind);
    if (p->kind && d->kind != p->kind)
        return fail(p, "'%s' is a %s, and a %s is wanted here", p->name, kinds[d->kind].word, kinds[p->kind].word);
    if (d->ops_size != kinds[d->kind].ops_size)
        return fail(p, "its ops have %llu bytes, not %llu: rebuild it", (unsigned long long)d->ops_size,
                    (unsigned long long)kinds[d->kind].ops_size);
    if (!belongs_to(d->ops, d))
        return fail(p, "the ops of '%s' are this program's own, not the plugin's: build it with -fvisibility=hidden, as "
                       "pkg-config --cflags reel says", p->name);
    return REEL_OK;
}

/* A model without a forward pass, a method without a step; a callback may do nothing. */
static int works(int kind, const void *ops)
{
    if (kind == REEL_KIND_MODEL) return ((const struct reel_model_ops *)ops)->fwd != NULL;
    if (kind == REEL_KIND_METHOD) return ((const struct reel_method_ops *)ops)->step != NULL;
    return 1;
}

static reel_err add(struct reel_all_kinds *all, const struct reel_cfg_plugin *p, const void *ops, uint64_t hash)
{
    struct reel_kind *k = reel_schema_add(all, p->kind, ops, p->target);

    if (!k) return fail(p, "more plugins than %d", REEL_MAX_KINDS);
    k->hash = hash;
    if (!k->name || !k->help || !works(p->kind, ops)) return fail(p, "'%s' is incomplete: it has no name, help or work", p->name);
    return REEL_OK;
}

static reel_err open_plugin(struct reel_all_kinds *all, struct reel_cfg_plugin *p, uint64_t hash)
{
    char symbol[512];
    const struct reel_plugin *d;
    void *handle;

    REEL_TRY(open_object(p, &handle));
    snprintf(symbol, sizeof symbol, REEL_PLUGIN_SYMBOL("%s"), p->name);
    d = dlsym(handle, symbol);
    REEL_TRY(judge(p, d));
    p->kind = d->kind;
    return add(all, p, d->ops, hash);
}

/* Collective(world). */
static reel_err load(struct reel_all_kinds *all, struct reel_cfg_plugin *p, struct reel_comm *world)
{
    uint64_t hash = 0;

    REEL_TRY(same_everywhere(p, world, &hash));
    return reel_agree(world, open_plugin(all, p, hash));
}

static const struct reel_kind *loaded(const struct reel_all_kinds *all, const struct reel_cfg_plugin *p)
{
    const struct reel_kind *const list[] = { [REEL_KIND_MODEL] = all->models, [REEL_KIND_METHOD] = all->methods,
                                             [REEL_KIND_CALLBACK] = all->callbacks };

    return reel_kind_find(list[p->kind], p->target);
}

reel_err reel_plugins_load(struct reel_all_kinds *all, struct reel_config *cfg, struct reel_comm *world)
{
    struct reel_cfg_plugin list[REEL_CFG_MAX_PLUGINS];
    int n = reel_config_plugins(cfg, list);

    for (int i = 0; i < n; i++)
        if (!loaded(all, &list[i])) REEL_TRY(load(all, &list[i], world));
    return REEL_OK;
}

reel_err reel_plugin_find(struct reel_all_kinds *all, const char *target, struct reel_comm *world,
                          enum reel_plugin_kind *kind, const struct reel_kind **found)
{
    size_t n = reel_target_split(target);
    char path[PATH_MAX];
    struct reel_cfg_plugin p = { .target = target, .path = path, .name = target + n + 1 };

    snprintf(path, sizeof path, "%.*s", (int)n, target);
    REEL_TRY(load(all, &p, world));
    *kind = p.kind;
    *found = loaded(all, &p);
    return REEL_OK;
}
