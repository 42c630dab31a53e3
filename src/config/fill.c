/* Any section of the tree into structs, by option tables. */
#include <stdlib.h>
#include <string.h>

#include "config/config_priv.h"

struct fill {
    struct reel_config *cfg;
    const char *path; /* of the section */
    const struct reel_part *parts;
    int n_parts;
};

void reel_note(const char **list, int *n, const char *text)
{
    if (*n < REEL_CFG_MAX_NOTES) list[(*n)++] = text;
}

static const struct reel_opt *find(const struct fill *f, const char *name, void **dst)
{
    for (int p = 0; p < f->n_parts; p++)
        for (const struct reel_opt *o = f->parts[p].opts; o && o->type != REEL_OPT_END; o++)
            if (strcmp(o->name, name) == 0) {
                *dst = (char *)f->parts[p].dst + o->offset;
                return o;
            }
    return NULL;
}

/* 1 if some option lies below `name.` */
static int is_section(const struct fill *f, const char *name)
{
    size_t len = strlen(name);

    for (int p = 0; p < f->n_parts; p++)
        for (const struct reel_opt *o = f->parts[p].opts; o && o->type != REEL_OPT_END; o++)
            if (strncmp(o->name, name, len) == 0 && o->name[len] == '.') return 1;
    return 0;
}

#define MAX_NAMES 128

/* the names that may stand at the level of `prefix` ("optimizer." or "") */
static int names_at(const struct fill *f, const char *prefix, const char **names)
{
    size_t len = strlen(prefix);
    int n = 0;

    for (int p = 0; p < f->n_parts; p++)
        for (const struct reel_opt *o = f->parts[p].opts; o && o->type != REEL_OPT_END; o++) {
            const char *s;
            int dup = 0;

            if (strncmp(o->name, prefix, len) != 0 || n == MAX_NAMES) continue;
            s = reel_pool_str(&f->cfg->pool, o->name + len, strcspn(o->name + len, "."));
            for (int i = 0; i < n; i++) dup |= !strcmp(names[i], s);
            if (!dup) names[n++] = s;
        }
    return n;
}

/* the full name of an option whose last part is `key`, elsewhere in the section */
static const char *elsewhere(const struct fill *f, const char *key)
{
    for (int p = 0; p < f->n_parts; p++)
        for (const struct reel_opt *o = f->parts[p].opts; o && o->type != REEL_OPT_END; o++) {
            const char *dot = strrchr(o->name, '.');

            if (!strcmp(dot ? dot + 1 : o->name, key)) return o->name;
        }
    return NULL;
}

static const char *hint(const struct fill *f, const char *prefix, const char *key)
{
    struct reel_pool *p = &f->cfg->pool;
    const char *names[MAX_NAMES] = { 0 }, *list = "", *other = elsewhere(f, key);
    int n = names_at(f, prefix, names), near = reel_nearest(key, names, n);

    if (other) return reel_pool_printf(p, "it belongs at %s.%s", f->path, other);
    if (near >= 0) return reel_pool_printf(p, "did you mean '%s'?", names[near]);
    for (int i = 0; i < n && strlen(list) < 300; i++)
        list = reel_pool_printf(p, "%s%s%s", list, i ? ", " : "", names[i]);
    return n ? reel_pool_printf(p, "known here: %s", list) : "no keys are known here";
}

static reel_err unknown(struct fill *f, const struct reel_node *section, int i, const char *prefix)
{
    const struct reel_key *k = &section->key[i];
    struct reel_node at = { .src = k->line ? section->item[i]->src : "command line", .line = k->line,
                            .col = k->col };
    const char *help = hint(f, prefix, k->name);
    char where[256];

    if (!f->cfg->lenient)
        return reel_fail_at(&at, reel_pool_printf(&f->cfg->pool, "%s.%s%s", f->path, prefix, k->name),
                            "unknown key; %s", help);
    reel_note(f->cfg->warning, &f->cfg->n_warnings,
              reel_pool_printf(&f->cfg->pool, "%s: %s.%s%s: unknown key, ignored; %s",
                               reel_node_where(&at, where, sizeof where), f->path, prefix, k->name, help));
    return REEL_OK;
}

static char *text_of(struct reel_config *cfg, const struct reel_opt *o, const void *v)
{
    char *s = NULL, *kept;
    size_t n = 0;
    FILE *m = open_memstream(&s, &n);

    REEL_BUG_IF(!m, "out of memory");
    reel_opt_write(o, v, m);
    fclose(m);
    kept = reel_pool_str(&cfg->pool, s, n);
    free(s);
    return kept;
}

/* A key without an effect, or without one yet, is remembered if its value differs from the default. */
static void note_idle(struct fill *f, const struct reel_opt *o, const struct reel_node *v, const void *dst)
{
    struct reel_config *cfg = f->cfg;
    _Alignas(16) char dflt[64];
    char where[256];
    const char *key;

    if (!(o->flags & (REEL_OPT_LATER | REEL_OPT_IDLE))) return;
    reel_opt_default(cfg, o, dflt);
    if (!strcmp(text_of(cfg, o, dflt), text_of(cfg, o, dst))) return;
    key = reel_pool_printf(&cfg->pool, "%s: %s.%s", reel_node_where(v, where, sizeof where), f->path, o->name);
    if (o->flags & REEL_OPT_LATER) reel_note(cfg->later, &cfg->n_later, key);
    else reel_note(cfg->warning, &cfg->n_warnings, reel_pool_printf(&cfg->pool, "%s has no effect: %s", key, o->help));
}

static reel_err walk(struct fill *f, const struct reel_node *section, const char *prefix)
{
    for (int i = 0; i < section->n; i++) {
        const struct reel_node *v = section->item[i];
        const char *name = reel_pool_printf(&f->cfg->pool, "%s%s", prefix, section->key[i].name);
        const char *where = reel_pool_printf(&f->cfg->pool, "%s.%s", f->path, name);
        int dotted = strchr(section->key[i].name, '.') != NULL;
        void *dst;
        const struct reel_opt *o = dotted ? NULL : find(f, name, &dst);

        if (o) {
            REEL_TRY(reel_opt_set(f->cfg, o, v, where, dst));
            note_idle(f, o, v, dst);
        } else if (dotted || !is_section(f, name)) REEL_TRY(unknown(f, section, i, prefix));
        else if (v->type == REEL_NODE_MAP)
            REEL_TRY(walk(f, v, reel_pool_printf(&f->cfg->pool, "%s.", name)));
        else if (v->type != REEL_NODE_NULL)
            return reel_fail_at(v, where, "expected a mapping, got %s", reel_node_kind(v));
    }
    return REEL_OK;
}

static reel_err required(struct fill *f, const struct reel_node *section)
{
    for (int p = 0; p < f->n_parts; p++)
        for (const struct reel_opt *o = f->parts[p].opts; o && o->type != REEL_OPT_END; o++) {
            const struct reel_node *v;

            if (!(o->flags & REEL_OPT_REQUIRED)) continue;
            v = section ? reel_node_at(section, o->name) : NULL;
            if (v && v->type != REEL_NODE_NULL && !(v->type == REEL_NODE_STR && !*v->text)) continue;
            return reel_fail_at(section ? section : f->cfg->root, f->path, "missing key '%s': %s", o->name,
                                o->help);
        }
    return REEL_OK;
}

reel_err reel_config_fill(struct reel_config *cfg, const struct reel_node *section, const char *path,
                          const struct reel_part *parts, int n_parts)
{
    struct fill f = { .cfg = cfg, .path = path, .parts = parts, .n_parts = n_parts };

    for (int p = 0; p < n_parts; p++)
        for (const struct reel_opt *o = parts[p].opts; o && o->type != REEL_OPT_END; o++)
            reel_opt_default(cfg, o, (char *)parts[p].dst + o->offset);
    if (section && section->type != REEL_NODE_NULL) {
        if (section->type != REEL_NODE_MAP)
            return reel_fail_at(section, path, "expected a mapping, got %s", reel_node_kind(section));
        REEL_TRY(walk(&f, section, ""));
    }
    return required(&f, section);
}
