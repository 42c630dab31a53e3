/* The resolved configuration as YAML that parses back to itself. */
#include <string.h>

#include "config/config_priv.h"

static void indent(FILE *f, int n) { fprintf(f, "%*s", n, ""); }

/* Opens the mappings that `name` needs and `last` has not opened: a.b.c after a.x opens b. */
static int open_maps(FILE *f, const char *last, const char *name, int col)
{
    const char *dot;

    for (const char *s = name; (dot = strchr(s, '.')); s = dot + 1) {
        if (strncmp(last, name, (size_t)(dot - name) + 1) != 0) {
            indent(f, col);
            fprintf(f, "%.*s:\n", (int)(dot - s), s);
        }
        col += 2;
    }
    return col;
}

static void dump_opts(FILE *f, const struct reel_opt *opts, const void *src, int col)
{
    const char *last = "";

    for (const struct reel_opt *o = opts; o && o->type != REEL_OPT_END; o++) {
        const char *dot = strrchr(o->name, '.');
        const void *v = (const char *)src + o->offset;

        if (!strcmp(o->name, "_target_") && !*(const char *const *)v) continue;
        indent(f, open_maps(f, last, o->name, col));
        fprintf(f, "%s: ", dot ? dot + 1 : o->name);
        reel_opt_write(o, v, f);
        fputc('\n', f);
        last = o->name;
    }
}

static void dump_name(FILE *f, const char *name)
{
    indent(f, 2);
    reel_yaml_quote(name, f);
    fputs(":\n", f);
}

static void dump_callbacks(const struct reel_config *cfg, FILE *f)
{
    if (!cfg->n_callbacks) return;
    fputs("callbacks:\n", f);
    for (int i = 0; i < cfg->n_callbacks; i++) {
        const struct reel_cfg_callback *c = &cfg->callback[i];
        struct reel_cfg_callback named = *c;

        if (!named.target) named.target = c->kind->name; /* never an empty mapping */
        dump_name(f, c->name);
        dump_opts(f, reel_callback_opts, &named, 4);
        dump_opts(f, c->kind->opts, c->priv, 4);
    }
}

/* Which bytes a run was made with: a target alone names a file that may have changed since. */
static void dump_plugins(const struct reel_kind *k, FILE *f)
{
    for (; k->name; k++)
        if (k->plugin) fprintf(f, "# plugin %s: its file has FNV-1a %016llx\n", k->plugin, (unsigned long long)k->hash);
}

void reel_config_dump(const struct reel_config *cfg, const struct reel_env *env, FILE *f)
{
    fprintf(f, "# resolved from %s: every key with the value that counts\n", cfg->name);
    dump_plugins(cfg->schema->models, f);
    dump_plugins(cfg->schema->methods, f);
    dump_plugins(cfg->schema->callbacks, f);
    fputs("models:\n", f);
    for (int i = 0; i < cfg->n_roles; i++) {
        dump_name(f, cfg->role[i].name);
        dump_opts(f, reel_role_opts, &cfg->role[i], 4);
    }
    fputs("method:\n", f);
    dump_opts(f, reel_method_opts, &cfg->method, 2);
    dump_opts(f, cfg->method.kind->opts, cfg->method.priv, 2);
    fputs("training:\n", f);
    dump_opts(f, reel_training_opts, &cfg->training, 2);
    dump_callbacks(cfg, f);
    fputs("pipeline:\n", f);
    dump_opts(f, reel_pipeline_opts, &cfg->pipeline, 2);
    if (env) reel_env_dump(env, f);
}
