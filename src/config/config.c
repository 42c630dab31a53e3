/* Text to structs: parse, override, fill every section, resolve what depends on another key, check. */
#include "config/config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_priv.h"

const char *const reel_role_names[REEL_MAX_ROLE_NAMES + 1] = { "student", "teacher", "critic", NULL };

/* ---- registry names ---- */

static const char *trim(const char *s, size_t *len)
{
    s += strspn(s, " \t");
    *len = strlen(s);
    while (*len && (s[*len - 1] == ' ' || s[*len - 1] == '\t')) --*len;
    return s;
}

size_t reel_target_split(const char *target)
{
    const char *at = NULL;

    for (const char *s = strstr(target, ".so:"); s; s = strstr(s + 1, ".so:")) at = s;
    return at && at[4] ? (size_t)(at - target) + 3 : 0;
}

const struct reel_kind *reel_kind_find(const struct reel_kind *kinds, const char *name)
{
    size_t len;
    char one[160];

    name = trim(name, &len);
    for (const struct reel_kind *k = kinds; k->name; k++) {
        if (k->plugin && strlen(k->plugin) == len && !strncmp(k->plugin, name, len)) return k;
        if (k->plugin) continue;
        if (strlen(k->name) == len && !strncmp(k->name, name, len)) return k;
        for (const char *s = k->targets; reel_next_choice(&s, one, sizeof one);)
            if (strlen(one) == len && !strncmp(one, name, len)) return k;
    }
    return NULL;
}

enum { MAX_KIND_NAMES = 64 };

static const char *known(struct reel_config *cfg, const struct reel_kind *kinds)
{
    const char *list = "";

    for (const struct reel_kind *k = kinds; k->name; k++) {
        const char *also = k->plugin ? k->plugin : k->targets;

        list = reel_pool_printf(&cfg->pool, "%s%s%s", list, k == kinds ? "" : ", ", k->name);
        if (also) list = reel_pool_printf(&cfg->pool, "%s (%.*s)", list, (int)strcspn(also, "|"), also);
    }
    return reel_pool_printf(&cfg->pool, "%s, or a plugin ./FILE.so:NAME", list);
}

/* The registry name or `_target_` string that looks most like `name`, or NULL. */
static const char *nearest_kind(struct reel_config *cfg, const struct reel_kind *kinds, const char *name)
{
    const char *names[MAX_KIND_NAMES], *target;
    int n = 0, near;
    char one[160];

    for (const struct reel_kind *k = kinds; k->name; k++) {
        if (n < MAX_KIND_NAMES) names[n++] = k->plugin ? k->plugin : k->name;
        for (target = k->plugin ? NULL : k->targets; n < MAX_KIND_NAMES && reel_next_choice(&target, one, sizeof one);)
            names[n++] = reel_pool_printf(&cfg->pool, "%s", one);
    }
    near = reel_nearest(name, names, n);
    return near < 0 ? NULL : names[near];
}

/* The registry entry of a section's `_target_`, or of `fallback` when it has none. */
static reel_err resolve(struct reel_config *cfg, const struct reel_kind *kinds, const char *what,
                        const struct reel_node *section, const char *path, const char *fallback,
                        const struct reel_kind **out)
{
    const struct reel_node *t = section ? reel_node_get(section, "_target_", 8) : NULL;
    const char *name = fallback, *near;

    if (section && section->type != REEL_NODE_MAP)
        return reel_fail_at(section, path, "expected a mapping, got %s", reel_node_kind(section));
    if (t && t->type == REEL_NODE_STR && *t->text) name = t->text;
    else if (t && t->type != REEL_NODE_NULL)
        return reel_fail_at(t, path, "_target_: expected a string, got %s",
                            t->type == REEL_NODE_STR ? "an empty one" : reel_node_kind(t));
    if (!name) return reel_fail_at(section, path, "missing key '_target_': the %s", what);
    *out = reel_kind_find(kinds, name);
    if (*out) return REEL_OK;
    near = nearest_kind(cfg, kinds, name);
    return reel_fail_at(t ? t : section, path, "'%s' is not a %s of this program%s%s%s; known: %s", name, what,
                        near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "", known(cfg, kinds));
}

/* ---- sections ---- */

static const struct reel_node *section(const struct reel_config *cfg, const char *name)
{
    const struct reel_node *n = reel_node_at(cfg->root, name);

    return n && n->type != REEL_NODE_NULL ? n : NULL;
}

static reel_err need_map(const struct reel_config *cfg, const char *name)
{
    const struct reel_node *n = reel_node_at(cfg->root, name);

    if (!n) return reel_fail_at(cfg->root, "", "missing section '%s'", name);
    if (n->type != REEL_NODE_MAP)
        return reel_fail_at(n, name, "expected a mapping, got %s", reel_node_kind(n));
    return REEL_OK;
}

static reel_err root_keys(struct reel_config *cfg)
{
    static const char *const names[] = { "models", "method", "training", "callbacks", "pipeline" };

    for (int i = 0; i < cfg->root->n; i++) {
        const struct reel_key *k = &cfg->root->key[i];
        struct reel_node at = { .src = k->line ? cfg->name : "command line", .line = k->line, .col = k->col };
        int found = 0, near;
        char where[256];

        for (int j = 0; j < 5; j++) found |= !strcmp(k->name, names[j]);
        if (found) continue;
        near = reel_nearest(k->name, names, 5);
        if (!cfg->lenient)
            return reel_fail_at(&at, k->name, "unknown section; %s",
                                near < 0 ? "known: models, method, training, callbacks, pipeline"
                                         : reel_pool_printf(&cfg->pool, "did you mean '%s'?", names[near]));
        reel_note(cfg->warning, &cfg->n_warnings,
                  reel_pool_printf(&cfg->pool, "%s: %s: unknown section, ignored",
                                   reel_node_where(&at, where, sizeof where), k->name));
    }
    return REEL_OK;
}

static int parity_given(const struct reel_config *cfg, const char *path)
{
    const struct reel_node *n = reel_node_at(cfg->root, path);

    return n && n->type == REEL_NODE_STR && reel_choice_index(REEL_PARITY_CHOICES, n->text) == REEL_PARITY_FASTVIDEO;
}

static reel_err fill_roles(struct reel_config *cfg)
{
    const struct reel_node *models = section(cfg, "models");

    if (models->n > REEL_CFG_MAX_ROLES)
        return reel_fail_at(models, "models", "%d roles; at most %d", models->n, REEL_CFG_MAX_ROLES);
    for (int i = 0; i < models->n; i++) {
        struct reel_cfg_role *r = &cfg->role[i];
        const char *path = reel_pool_printf(&cfg->pool, "models.%s", models->key[i].name);
        struct reel_part part = { reel_role_opts, r };

        if (!*models->key[i].name) return reel_fail_at(models, "models", "a role needs a name");
        REEL_TRY(resolve(cfg, cfg->schema->models, "model", models->item[i], path, NULL, &r->kind));
        REEL_TRY(reel_config_fill(cfg, models->item[i], path, &part, 1));
        r->name = models->key[i].name;
        r->node = models->item[i];
        cfg->n_roles++;
    }
    return REEL_OK;
}

static reel_err fill_method(struct reel_config *cfg)
{
    struct reel_cfg_method *m = &cfg->method;
    struct reel_part parts[2] = { { reel_method_opts, m } };

    m->node = section(cfg, "method");
    REEL_TRY(resolve(cfg, cfg->schema->methods, "method", m->node, "method", NULL, &m->kind));
    m->priv = reel_pool_push(&cfg->pool, m->kind->priv_size + 1);
    parts[1] = (struct reel_part){ m->kind->opts, m->priv };
    return reel_config_fill(cfg, m->node, "method", parts, 2);
}

/* `ema: null` in a file is refused, since it may mean "off" or "all defaults"; `--callbacks.ema null`
 * on the command line takes the callback out. */
static reel_err fill_callback(struct reel_config *cfg, const char *name, const struct reel_node *n)
{
    struct reel_cfg_callback *c = &cfg->callback[cfg->n_callbacks];
    const char *path = reel_pool_printf(&cfg->pool, "callbacks.%s", name);
    struct reel_part parts[2] = { { reel_callback_opts, c } };

    if (n->type == REEL_NODE_NULL && !n->line) return REEL_OK;
    if (n->type == REEL_NODE_NULL)
        return reel_fail_at(n, path, "null is no callback; write '%s: {}' for its defaults, or remove it", name);
    if (cfg->n_callbacks == REEL_CFG_MAX_CALLBACKS)
        return reel_fail_at(n, path, "more than %d callbacks", REEL_CFG_MAX_CALLBACKS);
    REEL_TRY(resolve(cfg, cfg->schema->callbacks, "callback", n, path, name, &c->kind));
    c->priv = reel_pool_push(&cfg->pool, c->kind->priv_size + 1);
    parts[1] = (struct reel_part){ c->kind->opts, c->priv };
    REEL_TRY(reel_config_fill(cfg, n, path, parts, 2));
    c->name = name;
    c->node = n;
    cfg->n_callbacks++;
    return REEL_OK;
}

static reel_err fill_callbacks(struct reel_config *cfg)
{
    const struct reel_node *n = section(cfg, "callbacks");

    if (!n) return REEL_OK;
    if (n->type != REEL_NODE_MAP)
        return reel_fail_at(n, "callbacks", "expected a mapping, got %s", reel_node_kind(n));
    for (int i = 0; i < n->n; i++) REEL_TRY(fill_callback(cfg, n->key[i].name, n->item[i]));
    return REEL_OK;
}

static reel_err fill_pipeline(struct reel_config *cfg)
{
    const struct reel_node *n = section(cfg, "pipeline");
    struct reel_part part = { reel_pipeline_opts, &cfg->pipeline };

    if (n && n->type == REEL_NODE_STR)
        return reel_fail_at(n, "pipeline", "a path to a JSON file is not read; write its keys here "
                                           "(JSON is YAML, it may be pasted as it is)");
    return reel_config_fill(cfg, n, "pipeline", &part, 1);
}

/* ---- what depends on another key ---- */

static void resolve_layout(struct reel_cfg_distributed *d)
{
    if (d->shard != REEL_INT_UNSET) return;
    d->shard = d->num_gpus / (d->replicate * d->tp_size);
    if (d->shard < 1) d->shard = 1; /* the check names the numbers */
}

static void resolve_training(struct reel_config *cfg)
{
    struct reel_cfg_training *t = &cfg->training;
    const struct reel_cfg_role *student = reel_config_role(cfg, "student");

    resolve_layout(&t->distributed);
    if (cfg->parity && !reel_config_given(cfg, "training.optimizer.lr_num_cycles")) t->optimizer.lr_num_cycles = 0;
    if (cfg->parity && !reel_config_given(cfg, "training.optimizer.lr_power")) t->optimizer.lr_power = 0;
    if (!t->data.num_latent_t && t->data.num_frames) t->data.num_latent_t = (t->data.num_frames - 1) / 4 + 1;
    if (!t->data.num_frames && t->data.num_latent_t) t->data.num_frames = (t->data.num_latent_t - 1) * 4 + 1;
    if (!t->model_path && student) t->model_path = student->init_from;
}

int reel_role_index(const char *name)
{
    for (int i = 0; reel_role_names[i]; i++)
        if (!strcmp(reel_role_names[i], name)) return i;
    return -1;
}

int reel_kind_uses(const struct reel_kind *method, const char *role)
{
    int i = reel_role_index(role);

    return i >= 0 && (method->roles_needed | method->roles_optional) >> i & 1;
}

/* A role that the method does not use is no error: files are passed from method to method. */
static void note_unused(struct reel_config *cfg, const struct reel_cfg_role *r)
{
    char where[256];

    if (reel_kind_uses(cfg->method.kind, r->name)) return;
    reel_note(cfg->warning, &cfg->n_warnings,
              reel_pool_printf(&cfg->pool, "%s: models.%s: the method %s does not use this role",
                               reel_node_where(r->node, where, sizeof where), r->name, cfg->method.kind->name));
}

/* Causal models know no sparse attention; the reference ignores the wish silently. */
static void note_dense(struct reel_config *cfg, const struct reel_cfg_role *r)
{
    int student = !strcmp(r->name, "student") && cfg->method.attn_kind == REEL_ATTN_KIND_VSA;
    char where[256];

    if (!r->kind->causal || (!student && r->attention_backend != REEL_ATTN_VSA)) return;
    reel_note(cfg->warning, &cfg->n_warnings,
              reel_pool_printf(&cfg->pool, "%s: models.%s: %s has dense attention only: sparse attention has no effect on it",
                               reel_node_where(r->node, where, sizeof where), r->name, r->kind->name));
}

static void resolve_roles(struct reel_config *cfg)
{
    for (int i = 0; i < cfg->n_roles; i++) {
        struct reel_cfg_role *r = &cfg->role[i];

        if (!reel_node_given(r->node, "enable_gradient_checkpointing_type"))
            r->checkpointing = cfg->training.model.checkpointing;
        if (!r->trainable) r->checkpointing = REEL_CKPTING_NONE;
        note_unused(cfg, r);
        note_dense(cfg, r);
        if (isnan(r->lora.alpha) && r->lora.rank != REEL_INT_UNSET) r->lora.alpha = (double)r->lora.rank;
    }
}

static void resolve_pipeline(struct reel_config *cfg)
{
    struct reel_cfg_pipeline *p = &cfg->pipeline;
    const struct reel_cfg_role *student = reel_config_role(cfg, "student");
    const struct reel_opt steps = { "dmd_denoising_steps", REEL_OPT_INTS, 0,
                                    .sdflt = reel_preset_find(student ? student->init_from : NULL)->dmd_denoising_steps };

    p->preset = reel_preset_find(student ? student->init_from : NULL);
    if (isnan(p->flow_shift)) p->flow_shift = p->preset->flow_shift;
    if (!reel_config_given(cfg, "pipeline.is_causal")) p->is_causal = p->preset->is_causal;
    if (!reel_config_given(cfg, "pipeline.dmd_denoising_steps"))
        reel_opt_default(cfg, &steps, &p->dmd_denoising_steps);
}

/* ---- the whole ---- */

static reel_err overrides(struct reel_config *cfg, const struct reel_config_src *src)
{
    for (int i = 0; i < src->n_overrides; i++) {
        const char *tok = src->overrides[i], *eq, *key;

        if (strncmp(tok, "--", 2) != 0 || !tok[2])
            return REEL_FAIL(REEL_ECONFIG, "command line: expected --dotted.key, got '%s'", tok);
        eq = strchr(tok, '=');
        key = eq ? reel_pool_str(&cfg->pool, tok + 2, (size_t)(eq - tok - 2)) : tok + 2;
        if (!eq && i + 1 == src->n_overrides)
            return REEL_FAIL(REEL_ECONFIG, "command line: missing value for override %s", tok);
        REEL_TRY(reel_node_override(&cfg->pool, cfg->root, key, eq ? eq + 1 : src->overrides[++i]));
    }
    return REEL_OK;
}

static reel_err read_tree(struct reel_config *cfg, const struct reel_config_src *src)
{
    REEL_TRY(reel_yaml_parse(&cfg->pool, src->text, src->len, src->name, &cfg->root));
    if (cfg->root->type != REEL_NODE_MAP)
        return reel_fail_at(cfg->root, "", "expected a mapping at the top, got %s", reel_node_kind(cfg->root));
    return overrides(cfg, src);
}

reel_err reel_config_read(const struct reel_config_src *src, struct reel_config **out)
{
    struct reel_config *cfg = calloc(1, sizeof *cfg);
    reel_err e;

    *out = NULL;
    REEL_BUG_IF(!cfg, "out of memory: the configuration");
    cfg->name = reel_pool_str(&cfg->pool, src->name, strlen(src->name));
    cfg->lenient = src->lenient;
    e = read_tree(cfg, src);
    if (e) reel_config_free(cfg);
    else *out = cfg;
    return e;
}

reel_err reel_config_finish(struct reel_config *cfg, const struct reel_schema *schema)
{
    struct reel_part training = { reel_training_opts, &cfg->training };

    cfg->schema = schema;
    REEL_TRY(root_keys(cfg));
    REEL_TRY(need_map(cfg, "models"));
    REEL_TRY(need_map(cfg, "method"));
    REEL_TRY(need_map(cfg, "training"));
    cfg->parity = parity_given(cfg, "method.parity") || parity_given(cfg, "training.data.parity") ||
                  parity_given(cfg, "training.model.parity");
    REEL_TRY(fill_roles(cfg));
    REEL_TRY(fill_method(cfg));
    REEL_TRY(fill_callbacks(cfg));
    REEL_TRY(fill_pipeline(cfg));
    REEL_TRY(reel_config_fill(cfg, section(cfg, "training"), "training", &training, 1));
    resolve_training(cfg);
    resolve_roles(cfg);
    resolve_pipeline(cfg);
    return reel_config_check(cfg);
}

reel_err reel_config_parse(const struct reel_config_src *src, const struct reel_schema *schema,
                           struct reel_config **out)
{
    reel_err e = reel_config_read(src, out);

    if (e == REEL_OK) e = reel_config_finish(*out, schema);
    if (e == REEL_OK) return REEL_OK;
    reel_config_free(*out);
    *out = NULL;
    return e;
}

/* ---- plugins ---- */

static int add_plugin(struct reel_config *cfg, enum reel_plugin_kind kind, const struct reel_node *section,
                      const char *key, struct reel_cfg_plugin *list, int n)
{
    const struct reel_node *t = reel_node_get(section, "_target_", 8);
    size_t len, path;
    const char *s;

    if (!t || t->type != REEL_NODE_STR || n == REEL_CFG_MAX_PLUGINS) return n;
    s = trim(t->text, &len);
    s = reel_pool_str(&cfg->pool, s, len);
    path = reel_target_split(s);
    if (!path) return n;
    list[n] = (struct reel_cfg_plugin){ .kind = kind, .target = s, .path = reel_pool_str(&cfg->pool, s, path),
                                        .name = s + path + 1, .key = key, .node = t };
    return n + 1;
}

static int add_plugins(struct reel_config *cfg, enum reel_plugin_kind kind, const char *name,
                       struct reel_cfg_plugin *list, int n)
{
    const struct reel_node *all = section(cfg, name);

    for (int i = 0; all && all->type == REEL_NODE_MAP && i < all->n; i++)
        n = add_plugin(cfg, kind, all->item[i], reel_pool_printf(&cfg->pool, "%s.%s", name, all->key[i].name), list, n);
    return n;
}

int reel_config_plugins(struct reel_config *cfg, struct reel_cfg_plugin list[REEL_CFG_MAX_PLUGINS])
{
    int n = add_plugins(cfg, REEL_KIND_MODEL, "models", list, 0);

    n = add_plugin(cfg, REEL_KIND_METHOD, section(cfg, "method"), "method", list, n);
    return add_plugins(cfg, REEL_KIND_CALLBACK, "callbacks", list, n);
}

void reel_config_free(struct reel_config *cfg)
{
    if (!cfg) return;
    reel_pool_free(&cfg->pool);
    free(cfg);
}

const struct reel_cfg_role *reel_config_role(const struct reel_config *cfg, const char *name)
{
    for (int i = 0; i < cfg->n_roles; i++)
        if (!strcmp(cfg->role[i].name, name)) return &cfg->role[i];
    return NULL;
}

const struct reel_cfg_callback *reel_config_callback(const struct reel_config *cfg, const char *kind)
{
    for (int i = 0; i < cfg->n_callbacks; i++)
        if (!strcmp(cfg->callback[i].kind->name, kind)) return &cfg->callback[i];
    return NULL;
}

int reel_config_given(const struct reel_config *cfg, const char *key)
{
    return reel_node_given(cfg->root, key);
}

reel_err reel_config_fail(const struct reel_config *cfg, const char *key, const char *fmt, ...)
{
    const struct reel_node *at = cfg->root, *next;
    char where[256];
    va_list ap;
    reel_err e;

    for (const char *k = key; *k; k += strcspn(k, "."), k += *k == '.') {
        next = reel_node_get(at, k, strcspn(k, "."));
        if (!next) break;
        at = next;
    }
    va_start(ap, fmt);
    e = reel_vfail_at(reel_node_where(at, where, sizeof where), key, fmt, ap);
    va_end(ap);
    return e;
}

reel_err reel_config_ready(const struct reel_config *cfg)
{
    if (cfg->n_later) return REEL_FAIL(REEL_ECONFIG, "%s: not in this version yet", cfg->later[0]);
    return REEL_OK;
}
