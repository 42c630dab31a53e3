/* What a change of the configuration means for a run that is resumed: key by key. */
#include "config/config_priv.h"
#include "config/drift.h"
#include "tests/cfg.h"

static const char base[] =
    "models: {student: {_target_: wan, init_from: x}, teacher: {_target_: wan, init_from: t, trainable: false},\n"
    "         critic: {_target_: wan, init_from: x}}\n"
    "method: {_target_: dmd2, rollout_mode: simulate, dmd_denoising_steps: [1000, 500], fake_score_learning_rate: 1e-5,\n"
    "         fake_score_betas: [0, 0.999], fake_score_lr_scheduler: constant}\n"
    "training: {data: {data_path: d, train_batch_size: 2, num_latent_t: 2, num_height: 32, num_width: 32}, optimizer: {learning_rate: 1e-4},\n"
    "           distributed: {num_gpus: 4}, loop: {max_train_steps: 9}, checkpoint: {output_dir: o}}\n"
    "callbacks: {ema: {decay: 0.9}, validation: {pipeline_target: wan, dataset_file: p.json}}\n";

struct want { const char *over[6]; const char *key; enum reel_drift_kind kind; int n; };

#define FREE REEL_DRIFT_FREE
#define RESULTS REEL_DRIFT_RESULTS
#define FIXED REEL_DRIFT_FIXED
static const struct want wants[] = {
    { { NULL }, NULL, FREE, 0 },
    { { "--training.checkpoint.resume_from_checkpoint=latest", "--training.checkpoint.max_wall=3h" }, NULL, FREE, 0 },
    { { "--method._target_=fastvideo.train.methods.distribution_matching.dmd2.DMD2Method" }, NULL, FREE, 0 },
    { { "--training.checkpoint.checkpoints_total_limit=3" }, "training.checkpoint.checkpoints_total_limit", FREE, 1 },
    { { "--training.loop.max_train_steps=12" }, "training.loop.max_train_steps", FREE, 1 },
    { { "--models.student.init_from=y", "--training.model_path=x" }, "models.student.init_from", FREE, 1 },
    { { "--models.teacher.init_from=y" }, "models.teacher.init_from", RESULTS, 1 },
    { { "--models.critic._target_=wan_causal" }, "models.critic._target_", FIXED, 1 },
    { { "--models.student.lora.alpha=3" }, "models.student.lora.alpha", RESULTS, 1 },
    { { "--models.student.lora.rank=3" }, "models.student.lora.rank", FIXED, 2 }, /* and alpha, which follows */
    { { "--callbacks.validation.every_steps=7" }, "callbacks.validation.every_steps", FREE, 1 },
    { { "--callbacks.validation=null" }, "callbacks.validation", FREE, 1 },
    { { "--callbacks.ema=null" }, "callbacks.ema", RESULTS, 1 },
    { { "--callbacks.ema.decay=0.8" }, "callbacks.ema.decay", RESULTS, 1 },
    { { "--callbacks.grad_clip.max_grad_norm=1" }, "callbacks.grad_clip", RESULTS, 1 },
    { { "--method.real_score_guidance_scale=3" }, "method.real_score_guidance_scale", RESULTS, 1 },
    { { "--training.data.seed=5" }, "training.data.seed", RESULTS, 1 },
    { { "--training.data.train_batch_size=3" }, "training.data.train_batch_size x data-parallel groups", RESULTS, 2 },
    { { "--training.data.train_batch_size=3" }, "training.data.train_batch_size", RESULTS, 2 },
    { { "--training.distributed.num_gpus=8", "--training.data.train_batch_size=1" }, "training.data.train_batch_size", FREE, 3 },
    { { "--training.distributed.num_gpus=8", "--training.data.train_batch_size=1" }, "training.distributed.num_gpus", FREE, 3 },
    { { "--training.distributed.num_gpus=8" }, "training.data.train_batch_size x data-parallel groups", RESULTS, 3 },
    { { "--training.reproducibility=resume", "--training.distributed.tp_size=2", "--training.data.train_batch_size=4" },
      "training.distributed.tp_size", RESULTS, 4 },
    { { "--pipeline.vae_tiling=true" }, "pipeline.vae_tiling", FREE, 1 },
    { { "--pipeline.flow_shift=7" }, "pipeline.flow_shift", RESULTS, 1 },
};

static void one(const struct want *w)
{
    int n_over = 0, n, hit = 0;
    const struct reel_drift *d;
    struct reel_config *was = cfg_parse(base, "was", 0, NULL, 0), *is;

    while (w->over[n_over]) n_over++;
    is = cfg_parse(base, "is", n_over, w->over, 0);
    if (!was || !is) {
        TAP_OK(0, "%s: %s", w->over[0], reel_errrec()->msg);
        return;
    }
    n = reel_config_drift(was, is, &d);
    for (int i = 0; i < n; i++) hit += w->key && !strcmp(d[i].key, w->key) && d[i].kind == w->kind;
    if (!TAP_OK(n == w->n && hit == (w->key != NULL), "%s", w->over[0] ? w->over[0] : "nothing changed"))
        for (int i = 0; i < n; i++) printf("# %s: %s, %s: %d\n", d[i].key, d[i].was, d[i].is, (int)d[i].kind);
    reel_config_free(is);
    reel_config_free(was);
}

/* ---- every key there is ---- */

/* The column of tests/golden/configs/resume.txt. */
static const char *class_of(const struct reel_opt *o, int observes)
{
    if (o->flags & REEL_OPT_EACH) return "each";
    if (observes || o->flags & REEL_OPT_FREE) return "free";
    if (o->flags & REEL_OPT_FIXED) return "fixed";
    return o->flags & REEL_OPT_LAYOUT ? "layout" : o->flags & REEL_OPT_START ? "start" : "results";
}

/* A callback's section has its kind's name. */
static int section_observes(const char *path)
{
    const char *name = strrchr(path, '.');
    const struct reel_kind *k = name && !strncmp(path, "callbacks", 9) ? reel_kind_find(cfg_kinds.schema.callbacks, name + 1) : NULL;

    return k && k->observes;
}

/* Whoever adds a key decides here what another value does to a run that is resumed. */
static void listed(void)
{
    struct reel_section s[REEL_SECTIONS];
    size_t len;
    char *list = cfg_read("tests/golden/configs/resume.txt", &len), line[256];
    int n = reel_doc_sections(&cfg_kinds.schema, s), keys = 0, lines = 0, wrong = 0;

    for (char *c = list; *c; c++) lines += *c == '\n' && c[1] != '#' && c[1];
    for (int i = 0; i < n; i++)
        for (const struct reel_opt *o = s[i].opts; o && o->type != REEL_OPT_END; o++, keys++) {
            if (snprintf(line, sizeof line, "\n%.64s.%s %s\n", s[i].path, o->name, class_of(o, section_observes(s[i].path))) >= (int)sizeof line)
                abort();
            if (!strstr(list, line) && ++wrong) printf("# not in resume.txt: %s", line + 1);
        }
    TAP_OK(!wrong && keys == lines, "each of %d keys has one of %d lines that say what its change does to a resumed run", keys, lines);
    free(list);
}

/* Another value of the same type. */
static void poke(struct reel_config *c, const struct reel_opt *o, void *section)
{
    void *p = (char *)section + o->offset;
    static const char *const words[] = { "other" };

    switch (o->type) {
    case REEL_OPT_BOOL: *(int *)p = !*(int *)p; break;
    case REEL_OPT_ENUM: *(int *)p = *(int *)p == 0; break;
    case REEL_OPT_INT: *(int64_t *)p = *(int64_t *)p == REEL_INT_UNSET ? 1 : *(int64_t *)p + 1; break;
    case REEL_OPT_F64: case REEL_OPT_DURATION: *(double *)p = *(double *)p == 0.25 ? 0.5 : 0.25; break;
    case REEL_OPT_BETAS: *(double *)p = 0.25; break;
    case REEL_OPT_STR: *(const char **)p = words[0]; break;
    case REEL_OPT_STRS: *(struct reel_strs *)p = (struct reel_strs){ (const char **)words, 1 }; break;
    case REEL_OPT_INTS: ((struct reel_ints *)p)->n = 1, ((struct reel_ints *)p)->v = reel_pool_push(&c->pool, 8); break;
    case REEL_OPT_REPEATS:
        *(struct reel_repeats *)p = (struct reel_repeats){ reel_pool_push(&c->pool, sizeof(struct reel_repeat)), 1 };
        *((struct reel_repeats *)p)->v = (struct reel_repeat){ words[0], 1 };
        break;
    case REEL_OPT_RAW: *(const struct reel_node **)p = c->root; break;
    case REEL_OPT_END: break;
    }
}

enum { ANY = -1 };

/* How often a key is found, with two values, as a kind of change. */
static int found_as(struct reel_config *was, const struct reel_config *is, const char *key, int kind)
{
    const struct reel_drift *d;
    int n = reel_config_drift(was, is, &d), hits = 0;

    for (int i = 0; i < n; i++) hits += !strcmp(d[i].key, key) && (kind == ANY || (int)d[i].kind == kind) && strcmp(d[i].was, d[i].is) != 0;
    return hits;
}

/* Each key of a section changed alone: found once, with two values, as its class says. @is: the section in `is`, of `size` bytes */
static void changed(struct reel_config *was, struct reel_config *is, const char *path, const struct reel_opt *opts, void *section, size_t size,
                    int observes)
{
    int free_layout = is->training.reproducibility == REEL_REPRO_LAYOUT, keys = 0, wrong = 0;
    char key[160];
    void *kept = malloc(size);

    if (!kept) abort();
    memcpy(kept, section, size);
    for (const struct reel_opt *o = opts; o && o->type != REEL_OPT_END; o++) {
        const char *c = class_of(o, observes);
        int kind = !strcmp(c, "fixed") ? REEL_DRIFT_FIXED : !strcmp(c, "each") ? ANY : REEL_DRIFT_RESULTS;
        if (!strcmp(o->name, "_target_")) continue; /* by what it names: see above */
        if (!strcmp(c, "free") || !strcmp(c, "start") || (!strcmp(c, "layout") && free_layout)) kind = REEL_DRIFT_FREE;
        if (!strcmp(o->name, "data.train_batch_size")) kind = REEL_DRIFT_RESULTS; /* the samples of a step change with it */
        snprintf(key, sizeof key, "%s.%s", path, o->name);
        poke(is, o, section);
        if (found_as(was, is, key, kind) != (kind != ANY) && ++wrong) printf("# %s: not found as %s\n", key, c);
        memcpy(section, kept, size);
        keys++;
    }
    TAP_OK(!wrong, "%d keys of %s changed one by one%s", keys, path, free_layout ? "" : ", without equal bits in every layout");
    free(kept);
}

static void *defaults(struct reel_config *c, const struct reel_kind *k)
{
    void *priv = reel_pool_push(&c->pool, k->priv_size + 16);

    memset(priv, 0, k->priv_size + 16);
    for (const struct reel_opt *o = k->opts; o && o->type != REEL_OPT_END; o++) reel_opt_default(c, o, (char *)priv + o->offset);
    return priv;
}

static void each_method(struct reel_config *was, struct reel_config *is)
{
    for (const struct reel_kind *k = cfg_kinds.schema.methods; k->name; k++) {
        was->method.kind = is->method.kind = k;
        was->method.priv = defaults(was, k);
        is->method.priv = defaults(is, k);
        changed(was, is, "method", k->opts, is->method.priv, k->priv_size, 0);
    }
}

static void each_callback(struct reel_config *was, struct reel_config *is)
{
    char path[96];

    for (const struct reel_kind *k = cfg_kinds.schema.callbacks; k->name; k++) {
        struct reel_cfg_callback *a = &was->callback[0], *b = &is->callback[0];
        *a = (struct reel_cfg_callback){ .name = "x", .kind = k, .priv = defaults(was, k) };
        *b = (struct reel_cfg_callback){ .name = "x", .kind = k, .priv = defaults(is, k) };
        snprintf(path, sizeof path, "callbacks.%s", b->name);
        changed(was, is, path, k->opts, b->priv, k->priv_size, k->observes);
    }
}

static void every_key(const char *over)
{
    struct reel_config *was = cfg_parse(base, "was", over != NULL, &over, 0), *is = cfg_parse(base, "is", over != NULL, &over, 0);
    struct reel_cfg_role *student;

    if (!was || !is) abort();
    student = (struct reel_cfg_role *)reel_config_role(is, "student");
    changed(was, is, "models.student", reel_role_opts, student, sizeof *student, 0);
    changed(was, is, "training", reel_training_opts, &is->training, sizeof is->training, 0);
    changed(was, is, "pipeline", reel_pipeline_opts, &is->pipeline, sizeof is->pipeline, 0);
    changed(was, is, "method", reel_method_opts, &is->method, sizeof is->method, 0);
    each_method(was, is);
    each_callback(was, is);
    reel_config_free(is);
    reel_config_free(was);
}

int main(void)
{
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) one(&wants[i]);
    listed();
    every_key(NULL);
    every_key("--training.reproducibility=resume");
    return tap_done();
}
