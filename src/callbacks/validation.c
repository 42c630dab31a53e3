/* Validation: samples films from prompts, and measures a loss on held-out data.
 * Source: FastVideo fastvideo/train/callbacks/validation.py ValidationCallback @2f3d4074, which restarts one seed for every
 * prompt; here a film's noise is the draw validation/noise/k of its prompt's place. */
#include "callbacks/validation_priv.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "be/ops.h"
#include "callbacks/ema.h"
#include "track/track.h"

#define F(field) offsetof(struct reel_validation, field)
#define P        "fastvideo.pipelines.basic.wan."
static const struct reel_opt validation_opts[] = {
    { "pipeline_target", REEL_OPT_ENUM, F(pipeline), .example = "wan", .flags = REEL_OPT_REQUIRED,
      .choices = "wan," P "wan_pipeline.WanPipeline|wan_dmd," P "wan_dmd_pipeline.WanDMDPipeline|"
                 "wan_causal," P "wan_causal_pipeline.WanCausalPipeline|"
                 "wan_causal_dmd," P "wan_causal_dmd_pipeline.WanCausalDMDPipeline",
      .help = "sampler: many steps or few (dmd), whole clip or streaming (causal); or the FastVideo class path" },
    { "dataset_file", REEL_OPT_STR, F(dataset_file), .example = "prompts.json", .flags = REEL_OPT_REQUIRED,
      .help = "prompts: a .json list of strings, or {data: [{caption: ...}]}; .csv with a column caption; .txt, one a line" },
    { "every_steps", REEL_OPT_INT, F(every_steps), .dflt = 100, .min = -9e18, .max = 9e18, .unit = "steps",
      .help = "validate every so many steps; 0 or less: never" },
    { "run_at_start", REEL_OPT_BOOL, F(run_at_start), .dflt = 1, .help = "validate before the first step too" },
    { "sampling_steps", REEL_OPT_INTS, F(sampling_steps), .sdflt = "[40]", .min = 1, .max = REEL_VAL_STEPS,
      .help = "one whole validation per entry, with so many steps; few-step samplers have a list instead" },
    { "sampling_timesteps", REEL_OPT_INTS, F(sampling_timesteps), .min = 1, .max = 1000, .unit = "timesteps",
      .help = "few-step list, strictly decreasing; absent: that of the method, else of the pipeline" },
    { "scheduler", REEL_OPT_ENUM, F(scheduler), .choices = "unipc|unipc_diffusers|euler",
      .help = "rule and levels of many steps: FastVideo's UniPC, diffusers' levels for it, or flow-match Euler" },
    { "guidance_scale", REEL_OPT_F64, F(guidance_scale), .min = -1e6, .max = 1e6, .flags = REEL_OPT_NULLABLE,
      .help = "u + g (c - u), if above 1; null: the preset's, for causal samplers none. Few-step samplers have none" },
    { "negative_prompt", REEL_OPT_STR, F(negative_prompt), .help = "u of the guidance; null: the preset's, with built-in text vectors none" },
    { "num_frames", REEL_OPT_INT, F(num_frames), .min = 1, .max = 262144, .flags = REEL_OPT_NULLABLE,
      .unit = "pixel frames", .help = "4k+1; null: training.data's" },
    { "num_videos_per_prompt", REEL_OPT_INT, F(num_videos_per_prompt), .dflt = 1, .min = 1, .max = 4096,
      .help = "each with its own noise, side by side in one film" },
    { "rollout_mode", REEL_OPT_ENUM, F(rollout_mode), .choices = "by_pipeline|parallel|streaming",
      .flags = REEL_OPT_NULLABLE, .help = "absent: streaming for the causal samplers" },
    { "validation_loss", REEL_OPT_INT, F(validation_loss), .min = 0, .max = 9e18, .unit = "samples",
      .help = "flow-matching loss on the first so many samples of validation_data, with the same noise and timesteps each time; 0: none" },
    { "validation_data", REEL_OPT_STR, F(validation_data),
      .help = "data set of held-out samples for validation_loss: clips that training.data.data_path does not hold" },
    { "output_dir", REEL_OPT_STR, F(output_dir), .help = "null: training.checkpoint.output_dir" },
    { "use_validation_media_conditioning", REEL_OPT_BOOL, F(use_media), .dflt = 1,
      .help = "accepted; text-to-video takes no media" },
    { "overlay_actions", REEL_OPT_BOOL, F(overlay_actions), .help = "accepted; world models only" },
    { "keyboard_value_scale", REEL_OPT_F64, F(keyboard_value_scale), .dflt = 1.0,
      .help = "accepted; world models only" },
    { "offload_training_state", REEL_OPT_BOOL, F(offload_training_state), .flags = REEL_OPT_IDLE,
      .help = "training state stays where it is, and what sampling takes beside it is in the plan" },
    { "unload_pipeline_after_validation", REEL_OPT_BOOL, F(unload_pipeline), .help = "give the codec back each time" },
    { "attn_qat_infer", REEL_OPT_BOOL, F(attn_qat_infer), .help = "accepted; attention is not quantised" },
    { "text_encoder_cpu_offload", REEL_OPT_BOOL, F(text_encoder_cpu_offload), .help = "accepted; prompts are encoded once, at the start" },
    { "vae_cpu_offload", REEL_OPT_BOOL, F(vae_cpu_offload), .flags = REEL_OPT_IDLE, .help = "weights stay where the plan has them" },
    { "dit_cpu_offload", REEL_OPT_BOOL, F(dit_cpu_offload), .flags = REEL_OPT_IDLE, .help = "weights stay where the plan has them" },
    { "metrics", REEL_OPT_RAW, F(metrics), .flags = REEL_OPT_LATER, .help = "video metrics: true, a name, a list or a mapping" },
    { .type = REEL_OPT_END },
};

static int streams(const struct reel_validation *v) { return v->pipeline == REEL_VAL_CAUSAL || v->pipeline == REEL_VAL_CAUSAL_DMD; }
static int few(const struct reel_validation *v) { return v->pipeline == REEL_VAL_WAN_DMD || v->pipeline == REEL_VAL_CAUSAL_DMD; }

static reel_err fail(const struct reel_config *cfg, const char *section, const char *key, const char *what)
{
    char path[192];

    snprintf(path, sizeof path, "%s.%s", section, key);
    return reel_config_fail(cfg, path, "%s", what);
}

static reel_err validation_check(const struct reel_config *cfg, const void *priv, const char *at)
{
    const struct reel_validation *v = priv;

    if (v->rollout_mode && streams(v) != (v->rollout_mode == REEL_VAL_STREAMING))
        return fail(cfg, at, "rollout_mode", streams(v) ? "parallel contradicts pipeline_target, which streams"
                                                        : "streaming contradicts pipeline_target, which samples whole clips");
    if (!reel_prompts_known(v->dataset_file))
        return fail(cfg, at, "dataset_file", "the prompt file must end in .json, .csv or .txt");
    for (int i = 1; i < v->sampling_timesteps.n; i++)
        if (v->sampling_timesteps.v[i] >= v->sampling_timesteps.v[i - 1])
            return fail(cfg, at, "sampling_timesteps", "the list must be strictly decreasing");
    if (v->num_frames != REEL_INT_UNSET && (v->num_frames - 1) % 4)
        return fail(cfg, at, "num_frames", "pixel frames must be 4k+1, e.g. 77 or 81");
    if (v->scheduler == REEL_VAL_EULER && v->pipeline == REEL_VAL_CAUSAL)
        return fail(cfg, at, "scheduler", "euler samples whole clips; the causal sampler is UniPC");
    if (v->validation_loss > 0 && !v->validation_data)
        return fail(cfg, at, "validation_loss", "on which data? validation_data names a set of held-out samples");
    if (!v->output_dir && !cfg->training.checkpoint.output_dir && v->every_steps > 0)
        return fail(cfg, at, "output_dir", "videos need a folder: set it here or training.checkpoint.output_dir");
    return REEL_OK;
}

static reel_err judge(const struct reel_cb *c, const char *key, const char *what)
{
    char at[128];

    snprintf(at, sizeof at, "callbacks.%s", c->name);
    return fail(c->method->cfg, at, key, what);
}

static int runs(const struct reel_validation *v) { return v->every_steps > 0; }

/* The i-th entry of sampling_steps; an empty list is the default. */
static int64_t steps_of(const struct reel_validation *v, int i) { return v->sampling_steps.n ? v->sampling_steps.v[i] : 40; }

/* ---- levels ---------------------------------------------------------------------------------- */

/* The list as written, mapped through a table. */
static void map_list(struct reel_val_film *f, const struct reel_sched *tab, const struct reel_ints *l, int warp)
{
    reel_few_steps(f->t, f->sigma, tab, l->v, l->n, warp);
    f->sigma[l->n] = 0;
    f->sampler.steps = l->n;
}

/* As FastVideo's pipelines do: the pipeline's list before ours; whole clips with a table of shift 8 and never warped. */
static reel_err few_as_fastvideo(struct reel_cb *c)
{
    struct reel_validation *v = c->priv;
    const struct reel_cfg_pipeline *p = &c->method->cfg->pipeline;
    const struct reel_ints *l = p->dmd_denoising_steps.n ? &p->dmd_denoising_steps : &v->sampling_timesteps;
    struct reel_few_steps own = { 0 };
    struct reel_sched tab;

    if (!l->n) return judge(c, "sampling_timesteps", "a few-step sampler needs a list here or in pipeline.dmd_denoising_steps");
    if (c->method->ops->few_steps) own = c->method->ops->few_steps(c->method);
    reel_sched_a(&tab, streams(v) ? (float)p->flow_shift : 8.0f);
    map_list(&v->film, streams(v) && own.table ? own.table : &tab, l, streams(v) && p->warp_denoising_step);
    return REEL_OK;
}

/* The levels that the student is trained at, or this list mapped as the method maps its own. */
static reel_err few_levels(struct reel_cb *c)
{
    struct reel_validation *v = c->priv;
    const struct reel_method *m = c->method;
    struct reel_few_steps own = { 0 };
    const struct reel_ints *l = &v->sampling_timesteps;
    struct reel_sched tab;
    int warp = streams(v) && m->cfg->pipeline.warp_denoising_step;

    if (m->cfg->method.parity) return few_as_fastvideo(c);
    if (m->ops->few_steps) own = m->ops->few_steps(m);
    v->film.sampler.ode = own.ode;
    if (!l->n && own.n) {
        memcpy(v->film.t, own.t, (size_t)own.n * sizeof *own.t);
        memcpy(v->film.sigma, own.sigma, (size_t)own.n * sizeof *own.sigma);
        v->film.sigma[own.n] = 0;
        v->film.sampler.steps = own.n;
        return REEL_OK;
    }
    if (!l->n) l = &m->cfg->pipeline.dmd_denoising_steps;
    if (!l->n)
        return judge(c, "sampling_timesteps", "a few-step sampler needs a list here or in pipeline.dmd_denoising_steps: the method has none");
    reel_sched_a(&tab, m->role[REEL_STUDENT]->flow_shift);
    map_list(&v->film, own.table ? own.table : &tab, l, own.table ? own.warp : warp);
    return REEL_OK;
}

reel_err reel_val_levels(struct reel_cb *c, int64_t steps)
{
    struct reel_validation *v = c->priv;
    float shift = (float)c->method->cfg->pipeline.flow_shift;

    if (few(v)) return few_levels(c);
    v->film.sampler.steps = (int)steps;
    switch (v->scheduler) {
    case REEL_VAL_UNIPC: reel_sched_unipc(v->film.sigma, v->film.t, (int)steps, shift); break;
    case REEL_VAL_UNIPC_DIFFUSERS: reel_sched_unipc_diffusers(v->film.sigma, v->film.t, (int)steps, shift); break;
    case REEL_VAL_EULER: reel_sched_euler(v->film.sigma, v->film.t, (int)steps, shift); break;
    }
    return REEL_OK;
}

/* ---- the callback ---------------------------------------------------------------------------- */

static double guidance(const struct reel_cb *c)
{
    const struct reel_validation *v = c->priv;
    const struct reel_config *cfg = c->method->cfg;
    double g = isnan(v->guidance_scale) ? cfg->pipeline.preset->guidance_scale : v->guidance_scale;

    if (few(v) || (streams(v) && (cfg->method.parity || isnan(v->guidance_scale)))) return 1;
    return g > 1 ? g : 1;
}

static enum reel_sampler_kind kind(const struct reel_validation *v)
{
    if (few(v)) return streams(v) ? REEL_SAMPLER_STREAMING : REEL_SAMPLER_FEWSTEP;
    if (streams(v)) return REEL_SAMPLER_CAUSAL;
    return v->scheduler == REEL_VAL_EULER ? REEL_SAMPLER_EULER : REEL_SAMPLER_UNIPC;
}

/* A plan does without a file that is not there. Collective(world). */
static reel_err read_prompts(struct reel_cb *c)
{
    struct reel_validation *v = c->priv;
    struct reel_comm *world = c->run->world;
    int absent = world->rank == 0 && c->run->plan && !reel_is_file(v->dataset_file);

    reel_comm_bcast(world, &absent, sizeof absent, 0);
    return absent ? REEL_OK : reel_prompts_read(&v->prompts, v->dataset_file, world);
}

/* Groups get equal, consecutive runs of prompts, batches of them as large as in training; what is past the last is padding. */
static void share_prompts(struct reel_cb *c)
{
    struct reel_validation *v = c->priv;
    int64_t groups = c->mesh->dp_size, most = c->method->cfg->training.data.train_batch_size;

    v->n = v->prompts.n ? v->prompts.n : most * groups;
    v->per_group = (v->n + groups - 1) / groups;
    v->batch = v->per_group < most ? v->per_group : most;
    v->per_group = (v->per_group + v->batch - 1) / v->batch * v->batch;
}

struct reel_where reel_val_where(const struct reel_cb *c, int64_t per_group, int64_t at, int64_t batch, int64_t n)
{
    int64_t first = c->mesh->dp_rank * per_group + at, left = first < n ? n - first : 0;

    return (struct reel_where){ .b0 = first, .nb = left < batch ? left : batch, .b_global = n };
}

static const char *negative_prompt(const struct reel_cb *c)
{
    const struct reel_validation *v = c->priv;

    if (v->negative_prompt) return v->negative_prompt;
    return reel_encode_builtin(&v->encoders) ? "" : c->method->cfg->pipeline.preset->negative_prompt;
}

/* The group's prompts and the negative one, once for the whole run. Collective(world). */
static reel_err encode(struct reel_cb *c)
{
    struct reel_validation *v = c->priv;
    int64_t first = c->mesh->dp_rank * v->per_group;
    const char **p = malloc((size_t)(v->per_group + 1) * sizeof *p);
    struct reel_text_rows *rows = calloc((size_t)(v->per_group + 1), sizeof *rows);
    struct reel_text *t = NULL;
    reel_err e = reel_agree(c->run->world, p && rows ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for the prompts"));

    if (e == REEL_OK) e = reel_text_open(&t, &v->encoders);
    for (int64_t i = 0; e == REEL_OK && i < v->per_group; i++) p[i] = v->prompts.text[(first + i) % v->n];
    if (e == REEL_OK) p[v->per_group] = negative_prompt(c);
    if (e == REEL_OK) e = reel_text_encode(t, p, (int)v->per_group + 1, rows);
    if (e == REEL_OK) snprintf(v->text_id, sizeof v->text_id, "%s", reel_text_id(t));
    reel_text_close(t);
    free(p);
    v->text = rows;
    if (rows) v->negative = rows[v->per_group];
    return e;
}

/* Which encoders fit the student. Local. */
static reel_err choose_encoders(struct reel_cb *c, int planning)
{
    struct reel_validation *v = c->priv;
    const struct reel_model *m = c->method->role[REEL_STUDENT];

    reel_stream_init(&v->stream, m->s->be, planning, &v->scratch);
    v->encoders = (struct reel_encode_opts){ .model = reel_config_role(c->method->cfg, "student")->init_from, .hf = *c->run->hf,
                                             .dtype = m->compute, .tile = c->method->cfg->pipeline.vae_tiling ? REEL_TILE : 0,
                                             .s = &v->stream, .comm = c->run->world };
    return reel_encode_folder(&v->encoders, m->channels, m->text_dim);
}

/* A plan asks the encoders for their memory, without their weights; where they are not at hand the plan does without and
 * says so. Collective(world). */
static reel_err plan_encoders(struct reel_cb *c)
{
    struct reel_validation *v = c->priv;
    const char *what = "a codec";
    reel_err e = reel_agree(c->run->world, choose_encoders(c, 1));

    c->beside_lacks = NULL;
    c->before = 0;
    if (!e) e = reel_agree(c->run->world, reel_val_films_codec(c));
    if (!e) what = "a text encoder", e = reel_text_bytes(&v->encoders, c->mesh->dims.world, &c->before);
    if (!e) return REEL_OK;
    snprintf(v->lacks, sizeof v->lacks, "%s: %s", what, reel_errrec()->msg);
    c->beside_lacks = v->lacks;
    reel_err_clear();
    return REEL_OK;
}

/* Before training takes its memory, since the text encoder may be larger than the model. Collective(world). */
static reel_err open_encoders(struct reel_cb *c)
{
    struct reel_validation *v = c->priv;
    reel_err e = choose_encoders(c, 0);

    if (e == REEL_OK && c->run->world->rank == 0)
        e = reel_mkdirs(v->output_dir ? v->output_dir : c->method->cfg->training.checkpoint.output_dir);
    REEL_TRY(reel_agree(c->run->world, e));
    REEL_TRY(encode(c));
    REEL_TRY(reel_agree(c->run->world, reel_val_films_codec(c)));
    snprintf(v->codec_id, sizeof v->codec_id, "%s", reel_codec_id(v->film.codec));
    c->reads[0].what = "text_encoder", c->reads[0].is = v->text_id;
    c->reads[1].what = "vae", c->reads[1].is = v->codec_id;
    return REEL_OK;
}

static reel_err validation_init(struct reel_cb *c)
{
    struct reel_validation *v = c->priv;
    const struct reel_model *m = c->method->role[REEL_STUDENT];

    if (!runs(v)) return REEL_OK;
    if (streams(v) && (!m->ops->kv_open || m->chunk < 1))
        return judge(c, "pipeline_target", "it streams, which needs a causal student");
    v->film.sampler = (struct reel_sampler){ .kind = kind(v), .sigma = v->film.sigma, .t = v->film.t, .guidance = guidance(c),
                                             .context_t = c->method->cfg->pipeline.context_noise };
    if (c->method->cfg->method.parity) v->film.sampler.context_t = trunc(v->film.sampler.context_t);
    REEL_TRY(read_prompts(c));
    share_prompts(c);
    REEL_TRY(reel_val_levels(c, steps_of(v, 0)));
    return c->run->plan ? plan_encoders(c) : open_encoders(c);
}

static reel_err validation_layout(struct reel_cb *c, struct reel_arena *a)
{
    struct reel_validation *v = c->priv;

    if (!runs(v)) return REEL_OK;
    reel_val_films_layout(c, a);
    if (v->validation_loss > 0) reel_held_out_layout(c, a);
    return REEL_OK;
}

static void validation_rehearse(struct reel_cb *c)
{
    struct reel_validation *v = c->priv;
    struct reel_cb *ema = reel_ema_of(c->run->cb, c->run->n_cb);

    if (!runs(v)) return;
    if (ema) reel_ema_swap(ema, c->method->a);
    reel_val_films_plan(c);
    if (v->validation_loss > 0) reel_held_out_plan(c);
}

static reel_err validation_prepare(struct reel_cb *c)
{
    struct reel_validation *v = c->priv;

    if (!runs(v)) return REEL_OK;
    REEL_TRY(reel_agree(c->run->world, reel_val_films_open(c)));
    return v->validation_loss > 0 ? reel_held_out_open(c) : REEL_OK;
}

static reel_err run_films(struct reel_cb *c, long step)
{
    struct reel_validation *v = c->priv;
    int n = few(v) || !v->sampling_steps.n ? 1 : v->sampling_steps.n; /* a few-step list has one length */

    for (int i = 0, whole = 1; i < n && whole; i++) {
        REEL_TRY(reel_val_levels(c, steps_of(v, i)));
        REEL_TRY(reel_val_films_run(c, step, &whole));
    }
    return REEL_OK;
}

static reel_err run_loss(struct reel_cb *c, long step)
{
    char name[96];
    const char *names = name;
    double loss;

    REEL_TRY(reel_held_out_run(c, step, &loss));
    snprintf(name, sizeof name, "%s/loss", c->name);
    if (c->run->world->rank == 0 && !c->run->quiet) printf("reel: %s at step %ld: loss %.6f\n", c->name, step, loss);
    return reel_agree(c->run->world, reel_track_scalars(c->run->track, step, &names, &loss, 1));
}

static reel_err validation_after_step(struct reel_cb *c, long step)
{
    struct reel_validation *v = c->priv;
    struct reel_cb *ema = reel_ema_of(c->run->cb, c->run->n_cb);
    int swapped;
    reel_err e;

    if (!runs(v) || step % v->every_steps || (step == 0 && !v->run_at_start)) return REEL_OK;
    reel_phase("validation", step);
    swapped = ema && reel_ema_swap(ema, c->method->a);
    e = run_films(c, step);
    if (e == REEL_OK && v->validation_loss > 0) e = run_loss(c, step);
    if (swapped) reel_ema_swap(ema, c->method->a);
    return e;
}

static void validation_fini(struct reel_cb *c)
{
    struct reel_validation *v = c->priv;

    reel_val_films_close(c);
    reel_held_out_close(c);
    for (int64_t i = 0; v->text && i <= v->per_group; i++) free(v->text[i].rows);
    free(v->text);
    v->text = NULL;
    reel_prompts_free(&v->prompts);
}

const struct reel_callback_ops reel_callback_validation = {
    .name = "validation",
    .help = "samples videos from prompts and measures a loss on held-out data",
    .targets = "fastvideo.train.callbacks.validation.ValidationCallback|"
               "fastvideo.train.callbacks.ValidationCallback",
    .opts = validation_opts,
    .priv_size = sizeof(struct reel_validation),
    .observes = 1,
    .check = validation_check,
    .init = validation_init,
    .layout = validation_layout,
    .rehearse = validation_rehearse,
    .prepare = validation_prepare,
    .after_step = validation_after_step,
    .fini = validation_fini,
};

REEL_EXPORT(REEL_KIND_CALLBACK, validation);
