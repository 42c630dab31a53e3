/* What is to be generated: prompts, and a configuration wherever it comes from. */
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "train/generate.h"
#include "train/init.h"

/* Rank 0's file on every rank; *text stays NULL where it is absent and may be. Collective(world). */
static reel_err read_shared(const char *path, int optional, char **text, size_t *n, struct reel_comm *world)
{
    int absent = world->rank == 0 && optional && !reel_is_file(path);

    *text = NULL, *n = 0;
    reel_comm_bcast(world, &absent, sizeof absent, 0);
    if (absent) return REEL_OK;
    REEL_TRY(reel_agree(world, world->rank ? REEL_OK : reel_file_read(path, text, n)));
    if (world->rank == 0) ++*n; /* the NUL behind the last byte travels too */
    REEL_TRY(reel_comm_bcast_blob(world, (void **)text, n, 0));
    --*n;
    return REEL_OK;
}

static reel_err one_prompt(struct reel_generation *g)
{
    g->prompts.text = malloc(sizeof *g->prompts.text);
    if (!g->prompts.text || !(g->prompts.text[0] = strdup(g->f->prompt))) return REEL_FAIL(REEL_ENOMEM, "no memory for the prompt");
    g->prompts.n = 1;
    return REEL_OK;
}

static reel_err judge(const struct reel_generate_flags *f)
{
    int asked = (f->prompt != NULL) + (f->prompts != NULL) + (f->clips > 0);

    if (!asked)
        return REEL_FAIL(REEL_ECONFIG, "generate: say what to show: --prompt \"a red circle moves slowly up on a white "
                                       "background\", --prompts FILE, or --clips 64 for captions of held-out clips");
    if (asked > 1) return REEL_FAIL(REEL_ECONFIG, "generate: --prompt, --prompts and --clips exclude each other");
    if (f->prompt) REEL_TRY(reel_utf8_check(f->prompt, strlen(f->prompt), "generate: --prompt"));
    if (f->negative) REEL_TRY(reel_utf8_check(f->negative, strlen(f->negative), "generate: --negative-prompt"));
    if (f->ema && !f->checkpoint)
        return REEL_FAIL(REEL_ECONFIG, "generate: --ema is an average that a checkpoint holds: say which, --checkpoint PATH|latest");
    if (f->frames != REEL_INT_UNSET && (f->frames - 1) % 4)
        return REEL_FAIL(REEL_ECONFIG, "generate: --frames %lld: films have 4k+1 frames, as 77 or 81", (long long)f->frames);
    return REEL_OK;
}

/* ---- overrides ----------------------------------------------------------------------------- */

struct overrides { struct reel_generation *g; struct reel_pool *pool; };

static void put(struct overrides *o, const char *key, const char *value)
{
    o->g->tokens[o->g->src.n_overrides++] = reel_pool_printf(o->pool, "--%s=%s", key, value);
}

static void put_int(struct overrides *o, const char *key, int64_t v)
{
    if (v != REEL_INT_UNSET) put(o, key, reel_pool_printf(o->pool, "%lld", (long long)v));
}

/* All ranks shard the weights; where there are fewer films than ranks, several share one. */
static void put_layout(struct overrides *o, const struct reel_comm *world)
{
    int64_t films = o->g->f->clips > 0 ? o->g->f->clips : o->g->prompts.n, sp = 1;

    while (world->size % sp || world->size / sp > films) sp++;
    put_int(o, "training.distributed.num_gpus", world->size);
    put_int(o, "training.distributed.hsdp_shard_dim", world->size);
    put_int(o, "training.distributed.hsdp_replicate_dim", 1);
    put_int(o, "training.distributed.tp_size", 1);
    put_int(o, "training.distributed.sp_size", sp);
}

static void put_flags(struct overrides *o)
{
    const struct reel_generate_flags *f = o->g->f;
    char shift[40];

    put_int(o, "training.data.num_height", f->height);
    put_int(o, "training.data.num_width", f->width);
    put_int(o, "training.data.num_frames", f->frames);
    if (f->frames != REEL_INT_UNSET) put_int(o, "training.data.num_latent_t", (f->frames - 1) / 4 + 1);
    if (f->model) {
        put(o, "models.student.init_from", f->model);
        put(o, "models.student.init", "load");
    }
    if (!isnan(f->shift)) {
        snprintf(shift, sizeof shift, "%.17g", f->shift);
        put(o, "pipeline.flow_shift", shift);
        put(o, "models.student.flow_shift", shift);
    }
}

enum { MOST_OVERRIDES = 16 }; /* of the two functions above */

static reel_err make_overrides(struct reel_generation *g, struct reel_cli *cli, const struct reel_comm *world)
{
    struct overrides o = { g, &cli->store.pool };

    g->tokens = malloc(((size_t)cli->n_overrides + MOST_OVERRIDES) * sizeof *g->tokens);
    if (!g->tokens) return REEL_FAIL(REEL_ENOMEM, "no memory for the configuration");
    g->src.overrides = g->tokens;
    if (!cli->run.config) put_layout(&o, world);
    for (int i = 0; i < cli->n_overrides; i++) g->tokens[g->src.n_overrides++] = cli->overrides[i];
    put_flags(&o);
    return REEL_OK;
}

/* ---- a run's own configuration ------------------------------------------------------------- */

/* config.yaml of the output folder that a checkpoint lies in. Collective(world). */
static reel_err read_run(struct reel_generation *g, struct reel_pool *pool, struct reel_comm *world)
{
    const char *from = g->f->checkpoint;
    int gone;
    static const char *const places[] = { "%s/config.yaml", "%s/../config.yaml" };

    if (!strcmp(from, "latest"))
        return REEL_FAIL(REEL_ECONFIG, "generate: the latest of which run? --config FILE, or --checkpoint with its output folder");
    for (int i = 0; i < 2 && !g->text; i++) {
        g->src.name = i ? reel_pool_printf(pool, places[1], from) : reel_pool_printf(pool, places[0], from);
        REEL_TRY(read_shared(g->src.name, 1, &g->text, &g->src.len, world));
    }
    gone = world->rank == 0 && !reel_is_dir(from) && !reel_is_file(from);
    reel_comm_bcast(world, &gone, sizeof gone, 0);
    if (gone) return REEL_FAIL(REEL_ECONFIG, "generate: --checkpoint %s: there is no such checkpoint or output folder", from);
    return g->text ? REEL_OK
                   : REEL_FAIL(REEL_ECONFIG, "generate: no config.yaml of a run in or above %s; say --config FILE", from);
}

/* ---- a folder alone ------------------------------------------------------------------------ */

/* The JSON object of a component's file; NULL: there is none. Collective(world). */
static reel_err read_json(const char *model, const char *component, json_t **out, const struct reel_env *env, struct reel_comm *world)
{
    struct reel_hf_source src = reel_model_source(model, env);
    char *text, where[PATH_MAX];
    reel_err e;

    *out = NULL;
    src.component = component;
    e = reel_hf_read_config(&src, world, &text, where);
    if (e == REEL_OK) *out = json_loads(text, 0, NULL);
    if (e == REEL_OK) free(text);
    return e;
}

/* The shift that the folder's own scheduler has; NAN: it does not say. */
static reel_err scheduler_shift(const char *model, double *shift, const struct reel_env *env, struct reel_comm *world)
{
    struct reel_hf_source src = reel_model_source(model, env);
    char dir[PATH_MAX] = "", path[PATH_MAX + 40], *text;
    const json_t *v;
    json_t *j;
    size_t n;

    *shift = (double)NAN;
    REEL_TRY(reel_agree(world, world->rank ? REEL_OK : reel_hf_resolve(&src, dir, sizeof dir)));
    snprintf(path, sizeof path, "%s/scheduler/scheduler_config.json", dir);
    REEL_TRY(read_shared(path, 1, &text, &n, world));
    j = text ? json_loadb(text, n, 0, NULL) : NULL;
    v = json_object_get(j, "flow_shift");
    if (json_is_number(v) && json_number_value(v) > 0) *shift = json_number_value(v);
    json_decref(j);
    free(text);
    return REEL_OK;
}

static int class_has(const json_t *j, const char *part)
{
    const char *cls = json_string_value(json_object_get(j, "_class_name"));

    return cls && strstr(cls, part);
}

static int is_causal(const struct reel_generate_flags *f, const json_t *transformer)
{
    int kind = f->sampler - 1;

    return (kind >= 0 && kind < REEL_NSAMPLER && reel_sampler_streams((enum reel_sampler_kind)kind)) || class_has(transformer, "Causal") ||
           json_object_get(transformer, "num_frames_per_block") || reel_preset_find(f->model)->is_causal;
}

/* Sizes are those that models of these encoders are known for. */
static char *folder_text(const struct reel_generate_flags *f, int causal, int wan, double shift)
{
    json_t *student = json_pack("{s:s, s:s}", "_target_", causal ? "wan_causal" : "wan", "init_from", f->model);
    json_t *data = json_pack("{s:s, s:i, s:i, s:i, s:i}", "data_path", "none", "num_height", wan ? 480 : 48, "num_width", wan ? 832 : 48, "num_frames",
                             wan ? 81 : 13, "num_latent_t", wan ? 21 : 4);
    json_t *root = json_pack("{s:{s:o}, s:{s:s}, s:{s:o, s:{s:f}}, s:{}}", "models", "student", student, "method", "_target_", "sft",
                             "training", "data", data, "optimizer", "learning_rate", 1.0, "pipeline");
    char *text;

    if (!isnan(shift)) {
        json_object_set_new(json_object_get(root, "pipeline"), "flow_shift", json_real(shift));
        json_object_set_new(student, "flow_shift", json_real(shift));
    }
    text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    return text;
}

/* A configuration for a Diffusers folder with nothing beside it. JSON is YAML. Collective(world). */
static reel_err make_run(struct reel_generation *g, const struct reel_env *env, struct reel_comm *world)
{
    const char *model = g->f->model;
    json_t *transformer, *vae;
    double shift = (double)NAN;
    reel_err e;

    REEL_TRY(read_json(model, NULL, &transformer, env, world));
    e = read_json(model, "vae", &vae, env, world);
    if (e == REEL_ECONFIG) reel_err_clear(), e = REEL_OK;
    if (e == REEL_OK && reel_preset_find(model) == &reel_presets[0]) e = scheduler_shift(model, &shift, env, world);
    if (e == REEL_OK) {
        g->text = folder_text(g->f, is_causal(g->f, transformer), class_has(vae, "Autoencoder"), shift);
        g->src.name = "configuration for --model";
        g->src.len = g->text ? strlen(g->text) : 0;
        e = reel_agree(world, g->text ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for the configuration"));
    }
    json_decref(transformer);
    json_decref(vae);
    return e;
}

reel_err reel_generation_read(struct reel_generation *g, struct reel_cli *cli, const struct reel_env *env, struct reel_comm *world)
{
    *g = (struct reel_generation){ .f = cli->flags };
    g->src.lenient = cli->run.lenient;
    g->src.name = cli->run.config;
    REEL_TRY(judge(g->f));
    if (g->f->prompts) REEL_TRY(reel_prompts_read(&g->prompts, g->f->prompts, world));
    if (g->f->prompt) REEL_TRY(reel_agree(world, one_prompt(g)));
    if (cli->run.config) REEL_TRY(read_shared(cli->run.config, 0, &g->text, &g->src.len, world));
    else if (g->f->checkpoint) REEL_TRY(read_run(g, &cli->store.pool, world));
    else if (g->f->model) REEL_TRY(make_run(g, env, world));
    else return REEL_FAIL(REEL_ECONFIG, "generate: by which model? --checkpoint of a run, --model FOLDER|REPOSITORY, or --config FILE");
    g->src.text = g->text;
    return reel_agree(world, make_overrides(g, cli, world));
}

void reel_generation_free(struct reel_generation *g)
{
    reel_prompts_free(&g->prompts);
    free(g->text);
    free(g->tokens);
}
