#include "train/import.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "ckpt/ckpt.h"
#include "ckpt/import.h"
#include "models/model.h"
#include "train/init.h"

/* What is imported, the same on every rank. */
struct what {
    char weights[PATH_MAX], base[PATH_MAX]; /* base: "" or the pipeline whose other components come along */
    char where[PATH_MAX];                   /* of config.json, for messages */
    void *config;                           /* its text */
    size_t config_bytes;
};

/* The authors' config.json in Diffusers' words: the same network. */
static json_t *translated(json_t *j)
{
    static const struct { const char *theirs, *ours; } same[] = {
        { "num_heads", "num_attention_heads" }, { "num_layers", "num_layers" }, { "ffn_dim", "ffn_dim" }, { "in_dim", "in_channels" },
        { "out_dim", "out_channels" }, { "freq_dim", "freq_dim" }, { "text_dim", "text_dim" }, { "text_len", "text_len" }, { "eps", "eps" },
        { "patch_size", "patch_size" },
    };
    json_t *out = json_pack("{s:s, s:s, s:b, s:[i,i,i]}", "_class_name", "WanTransformer3DModel", "qk_norm", "rms_norm_across_heads",
                            "cross_attn_norm", 1, "patch_size", 1, 2, 2);
    json_int_t dim = json_integer_value(json_object_get(j, "dim")), heads = json_integer_value(json_object_get(j, "num_heads"));

    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (json_object_get(j, same[i].theirs)) json_object_set(out, same[i].ours, json_object_get(j, same[i].theirs));
    if (heads > 0) json_object_set_new(out, "attention_head_dim", json_integer(dim / heads));
    return out;
}

/* config.json as Diffusers writes it. */
static reel_err take_config(struct what *w, const char *text, size_t n)
{
    json_t *j, *ours;
    const char *type;

    REEL_TRY(reel_json_parse(&j, text, n, w->where));
    type = json_string_value(json_object_get(j, "model_type"));
    if (!json_object_get(j, "dim") || json_object_get(j, "attention_head_dim")) {
        w->config = strdup(text);
    } else if (type && strcmp(type, "t2v") != 0) {
        reel_err e = REEL_FAIL(REEL_ECONFIG, "%s: model_type is %s: text-to-video models, t2v, are supported", w->where, type);
        json_decref(j);
        return e;
    } else {
        ours = translated(j);
        w->config = json_dumps(ours, JSON_INDENT(2));
        json_decref(ours);
    }
    json_decref(j);
    if (!w->config) return REEL_FAIL(REEL_ENOMEM, "no memory for %s", w->where);
    w->config_bytes = strlen(w->config) + 1;
    return REEL_OK;
}

static reel_err read_config(struct what *w, const char *dir)
{
    char *text;
    size_t n;
    reel_err e;

    REEL_TRY(reel_join(w->where, sizeof w->where, dir, "config.json"));
    REEL_TRY(reel_file_read(w->where, &text, &n));
    e = take_config(w, text, n);
    free(text);
    return e;
}

/* The component folder of `root`, where config.json is; "" if there is none. */
static reel_err find_component(const char *root, char *dir, size_t size)
{
    char config[PATH_MAX];

    REEL_TRY(reel_join(dir, size, root, "transformer"));
    if (reel_is_dir(dir)) return REEL_OK;
    snprintf(dir, size, "%s", root);
    REEL_TRY(reel_join(config, sizeof config, root, "config.json"));
    if (!reel_is_file(config)) *dir = 0;
    return REEL_OK;
}

/* config.json and other components from --base. */
static reel_err use_base(struct what *w, const char *base, const struct reel_env *env)
{
    struct reel_hf_source src = reel_model_source(base, env);
    const char *text = reel_arch_config(base);
    char dir[PATH_MAX];

    src.said = "import: --base";
    if (reel_hf_resolve(&src, w->base, sizeof w->base) == REEL_OK) {
        REEL_TRY(find_component(w->base, dir, sizeof dir));
        if (*dir) return read_config(w, dir);
        return REEL_FAIL(REEL_ECONFIG, "import: --base %s has no config.json", w->base);
    }
    if (!text) return REEL_ECONFIG;
    reel_err_clear();
    w->base[0] = 0;
    snprintf(w->where, sizeof w->where, "the built-in config.json of %s", base);
    return take_config(w, text, strlen(text));
}

/* Rank 0 looks. */
static reel_err look(struct what *w, const struct reel_import_flags *f, const char *from, const struct reel_env *env)
{
    struct reel_hf_source src = reel_model_source(from, env);
    char root[PATH_MAX], dir[PATH_MAX] = "";

    src.said = "import";
    if (reel_is_file(from)) snprintf(w->weights, sizeof w->weights, "%s", from);
    else {
        REEL_TRY(reel_hf_resolve(&src, root, sizeof root));
        REEL_TRY(find_component(root, dir, sizeof dir));
        snprintf(w->weights, sizeof w->weights, "%s", *dir ? dir : root);
        snprintf(w->base, sizeof w->base, "%s", strcmp(dir, root) ? root : "");
    }
    if (f->base) return use_base(w, f->base, env);
    if (*dir) return read_config(w, dir);
    if (reel_ckpt_of_run(from)) return REEL_FAIL(REEL_ECONFIG, "import: %s is a run or a checkpoint of one: reel export makes a Diffusers folder of it", from);
    return REEL_FAIL(REEL_ECONFIG, "import: %s has no config.json that says which model this is: give --base, a Diffusers folder or a repository id "
                     "as Wan-AI/Wan2.1-T2V-1.3B-Diffusers", from);
}

static reel_err share_what(struct what *w, struct reel_comm *world)
{
    reel_comm_bcast(world, w->weights, sizeof w->weights, 0);
    reel_comm_bcast(world, w->base, sizeof w->base, 0);
    reel_comm_bcast(world, w->where, sizeof w->where, 0);
    return reel_comm_bcast_blob(world, &w->config, &w->config_bytes, 0);
}

/* What a checkpoint says of where it came from: enough for an export. malloc'ed. */
static char *origin(const struct reel_import_flags *f, const struct reel_kind *k, const char *from)
{
    json_t *j = json_pack("{s:{s:{s:s, s:s}}}", "models", f->role, "_target_", k->name, "init_from", f->base ? f->base : from);
    char *text = j ? json_dumps(j, JSON_INDENT(2)) : NULL;

    json_decref(j);
    return text;
}

static reel_err convert(const struct what *w, const struct reel_import_flags *f, const struct reel_kind *k, struct reel_model *m,
                        const char *from, const char *out, struct reel_comm *world)
{
    struct reel_params_cfg table = { .role = f->role, .def = m->def, .n = m->n_def, .naming = m->ops->naming };
    struct reel_import x = { .weights = w->weights, .config = w->config, .base = *w->base ? w->base : NULL, .model = &table, .assumed = m->assumed, .out = out,
                             .dt = f->dtype == 0 ? REEL_NDTYPE : f->dtype == 1 ? REEL_F32 : REEL_BF16, .shard_bytes = f->shard_bytes };
    char *meta;
    reel_err e;

    if (reel_ckpt_step_in_name(out) < 0) return reel_agree(world, world->rank ? REEL_OK : reel_import_folder(&x));
    meta = origin(f, k, from);
    e = reel_agree(world, meta ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "import: no memory"));
    if (e == REEL_OK) e = reel_import_checkpoint(&x, meta, world);
    free(meta);
    return e;
}

static reel_err with_model(const struct what *w, const struct reel_import_flags *f, const struct reel_kind *k, const char *from,
                           const char *out, struct reel_comm *world)
{
    struct reel_model m = { .ops = k->ops, .role = f->role };
    reel_err e;

    m.priv = calloc(1, m.ops->priv_size + 1);
    e = reel_agree(world, m.priv ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "import: no memory for the model's table"));
    if (e == REEL_OK) e = m.ops->init(&m, w->config, w->where);
    if (e == REEL_OK) e = convert(w, f, k, &m, from, out, world);
    if (m.ops->fini && m.priv) m.ops->fini(&m);
    free(m.def);
    free(m.priv);
    return e;
}

/* Where to write, without slashes at its end, and whether that is a checkpoint's name. Symmetric. */
static reel_err judge(const struct reel_import_flags *f, const char *out, char *to, size_t size)
{
    const char *name;
    size_t n = strlen(out);

    while (n > 1 && out[n - 1] == '/') n--;
    if (n >= size) return REEL_FAIL(REEL_ECONFIG, "import: %s: too long a path", out);
    memcpy(to, out, n);
    to[n] = 0;
    name = strrchr(to, '/') ? strrchr(to, '/') + 1 : to;
    if (reel_role_index(f->role) < 0) return REEL_FAIL(REEL_ECONFIG, "import: --role %s: a run's roles are student, teacher and critic", f->role);
    if (reel_ckpt_step_in_name(to) >= 0 && f->dtype == 2)
        return REEL_FAIL(REEL_ECONFIG, "import: a checkpoint holds f32 weights, which keep every bit of others; leave --dtype out");
    if (reel_ckpt_step_in_name(to) >= 0 || strncmp(name, "checkpoint-", 11) != 0) return REEL_OK;
    return REEL_FAIL(REEL_ECONFIG, "import: %s: what begins with checkpoint- must end in a step, as in checkpoint-0 or checkpoint-1000", to);
}

reel_err reel_import(const struct reel_import_flags *f, const char *from, const char *out, const struct reel_kind *models,
                     const struct reel_env *env, struct reel_comm *world)
{
    const struct reel_kind *k = reel_kind_find(models, f->model);
    char to[PATH_MAX];
    struct what *w;
    reel_err e;

    if (!k) return REEL_FAIL(REEL_ECONFIG, "import: --model %s is not a model of this program", f->model);
    REEL_TRY(judge(f, out, to, sizeof to));
    w = calloc(1, sizeof *w);
    REEL_TRY(reel_agree(world, w ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "import: no memory")));
    e = reel_agree(world, world->rank ? REEL_OK : look(w, f, from, env));
    if (e == REEL_OK) e = share_what(w, world);
    if (e == REEL_OK) e = with_model(w, f, k, from, to, world);
    if (e == REEL_OK && world->rank == 0)
        printf("%s: the weights of %s, %s\n", to, w->weights,
               reel_ckpt_step_in_name(to) < 0 ? "ready for init_from" : "ready for --resume-from-checkpoint and reel export");
    free(w->config);
    free(w);
    return e;
}
