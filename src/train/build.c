#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "be/ops.h"
#include "ckpt/ckpt.h"
#include "comm/watch.h"
#include "train/data.h"
#include "train/device.h"
#include "train/drift.h"
#include "train/init.h"
#include "train/lora.h"
#include "train/notes.h"
#include "train/preflight.h"
#include "train/report.h"
#include "train/restarts.h"
#include "train/run.h"
#include "train/save.h"
#include "train/trajectories.h"

#define HOST_ARENA_BYTES (4u << 20) /* host values of one micro-batch: sums ... */
#define HOST_FRAME_BYTES 64u        /* ... and what a frame of a sample adds: levels, losses */

static void mesh_dims(const struct reel_config *cfg, struct reel_mesh_dims *d)
{
    const struct reel_cfg_distributed *c = &cfg->training.distributed;

    *d = (struct reel_mesh_dims){ .world = (int)c->num_gpus, .replicate = (int)c->replicate, .shard = (int)c->shard,
                                  .sp = (int)c->sp_size, .tp = (int)c->tp_size };
}

/* Whether the tensor parallel ranks can share out a model, with the bits that are asked for. */
static reel_err check_tp(const struct reel_run *r, struct reel_model *m)
{
    const char *key = "training.distributed.tp_size";
    int tp = r->mesh.dims.tp, world = r->mesh.dims.world, layout = r->cfg->training.reproducibility == REEL_REPRO_LAYOUT;
    struct reel_list list;

    if (tp > 1 && !m->pieces)
        return reel_config_fail(r->cfg, key, "model %s of the %s knows no tensor parallelism; use 1", m->ops->name, m->role);
    if (m->heads % tp)
        return reel_config_fail(r->cfg, key, "the %d heads of the %s cannot be split over %d ranks; use one of %s", m->heads, m->role,
                                tp, reel_divisors(&list, m->heads, world));
    if (tp > 1 && layout && m->pieces % tp)
        return reel_config_fail(r->cfg, key, "sums over the %d heads and the hidden features of the %s are made of %d pieces, which cannot be "
                                "dealt out to %d ranks with the same bits; use one of %s, or training.reproducibility: resume",
                                m->heads, m->role, m->pieces, tp, reel_divisors(&list, m->pieces, world));
    return REEL_OK;
}

/* The model object of a role: its config.json parsed, its parameter table made. */
static reel_err make_role(struct reel_run *r, int i, const struct reel_cfg_role *c)
{
    struct reel_model *m = &r->role[i];
    char *json = NULL, where[PATH_MAX];

    m->role = reel_role_names[i];
    m->ops = c->kind->ops;
    m->s = &r->s;
    m->mem = &r->io;
    m->trainable = c->trainable;
    m->opts = (struct reel_model_opts){ .num_frames_per_block = c->num_frames_per_block,
                                        .local_attn_size = r->cfg->pipeline.dit.local_attn_size,
                                        .sink_size = r->cfg->pipeline.dit.sink_size,
                                        .sparse = reel_method_sparse(r->cfg, (enum reel_role)i),
                                        .parity = r->cfg->method.parity || r->cfg->training.model.parity };
    m->flow_shift = (float)c->flow_shift;
    m->one_run = r->cfg->training.reproducibility == REEL_REPRO_RESUME;
    m->checkpointing = c->checkpointing != REEL_CKPTING_NONE;
    m->compute = reel_compute_dtype(r->cfg, r->be);
    m->gscale = 1;
    REEL_TRY(reel_role_config(r, i, c, &json, where));
    m->priv = calloc(1, m->ops->priv_size);
    if (!m->priv) {
        free(json);
        return REEL_FAIL(REEL_ENOMEM, "no memory for the model of the %s", m->role);
    }
    reel_err e = m->ops->init(m, json, where);
    free(json);
    if (e == REEL_OK) reel_note_assumed(r, m, where);
    if (e == REEL_OK && r->mesh.dims.sp > 1 && !m->ops->shares)
        return reel_config_fail(r->cfg, "training.distributed.sp_size", "model %s of the %s knows no sequence parallelism; use 1",
                                m->ops->name, m->role);
    if (e == REEL_OK && r->mesh.dims.sp >= 2 << REEL_SP_HALVINGS && r->cfg->training.data.train_batch_size > 1 << REEL_SP_HALVINGS)
        return reel_config_fail(r->cfg, "training.data.train_batch_size", "%lld samples cannot be dealt to sp_size %d; %d or fewer can, "
                                "or an sp_size of 8 or less", (long long)r->cfg->training.data.train_batch_size, r->mesh.dims.sp,
                                1 << REEL_SP_HALVINGS);
    if (e == REEL_OK) e = check_tp(r, m);
    return e == REEL_OK ? reel_role_adapters(r, i, c) : e;
}

/* Roles see the same latents and the same text. */
static reel_err same_input(const struct reel_run *r, int i)
{
    const struct reel_model *s = &r->role[REEL_STUDENT], *m = &r->role[i];
    const struct { const char *what; int student, mine; } v[] = {
        { "in_channels", s->channels, m->channels }, { "text_len", s->text_len, m->text_len },
        { "text_dim", s->text_dim, m->text_dim }, { "patch height", s->patch_h, m->patch_h },
        { "patch width", s->patch_w, m->patch_w },
    };
    char key[64];

    snprintf(key, sizeof key, "models.%s.init_from", m->role);
    for (size_t k = 0; k < sizeof v / sizeof *v; k++)
        if (v[k].mine != v[k].student)
            return reel_config_fail(r->cfg, key, "the model's %s is %d, the student's %d; they must be the same", v[k].what,
                                    v[k].mine, v[k].student);
    return REEL_OK;
}

/* The roles that the method uses; others have been warned about. */
static reel_err make_roles(struct reel_run *r)
{
    unsigned needed = r->cfg->method.kind->roles_needed;

    for (int i = 0; i < REEL_NROLE; i++) {
        const struct reel_cfg_role *c = reel_config_role(r->cfg, reel_role_names[i]);
        if (!c || !(needed & REEL_ROLE(i))) continue;
        r->roles |= REEL_ROLE(i);
        REEL_TRY(make_role(r, i, c));
        REEL_TRY(same_input(r, i)); /* the student is role 0 */
    }
    return REEL_OK;
}

static void make_optim(struct reel_run *r, enum reel_role role)
{
    struct reel_cfg_optimizer o = r->cfg->training.optimizer;

    if (r->method.ops->optimizer) r->method.ops->optimizer(&r->method, role, &o);
    r->optim[role] = (struct reel_optim){
        .model = &r->role[role],
        .lr = { .name = (enum reel_lr_name)o.lr_scheduler, .lr0 = o.learning_rate, .warmup = o.lr_warmup_steps,
                .horizon = r->cfg->training.loop.max_train_steps, .cycles = o.lr_num_cycles, .power = o.lr_power,
                .min_ratio = o.min_lr_ratio },
        .beta1 = o.betas[0], .beta2 = o.betas[1], .eps = 1e-8, .weight_decay = o.weight_decay,
    };
}

static void make_optims(struct reel_run *r)
{
    for (int i = 0; i < REEL_NROLE; i++)
        if (r->roles & REEL_ROLE(i) && r->role[i].trainable) make_optim(r, (enum reel_role)i);
}

/* Whether there are rows of a negative prompt; a plan without a data set assumes so. */
static int has_negative(const struct reel_run *r)
{
    int rows;

    return !r->set || reel_set_negative(r->set, &rows) != NULL;
}

static reel_err make_method(struct reel_run *r)
{
    struct reel_method *m = &r->method;

    m->ops = r->cfg->method.kind->ops;
    m->priv = r->cfg->method.priv;
    m->cfg = r->cfg;
    m->a = &r->step_mem;
    m->host = &r->host;
    m->s = &r->s;
    for (int i = 0; i < REEL_NROLE; i++)
        if (r->roles & REEL_ROLE(i)) m->role[i] = &r->role[i];
    if (has_negative(r)) /* init may ask; lay_out gives it memory */
        m->negative = reel_view(NULL, REEL_F32, REEL_DIMS(r->cfg->training.data.train_batch_size, m->role[REEL_STUDENT]->text_len,
                                                          m->role[REEL_STUDENT]->text_dim));
    if (!m->ops->step)
        return reel_config_fail(r->cfg, "method", "method %s is checked, but not trained in this version", m->ops->name);
    return m->ops->init ? m->ops->init(m) : REEL_OK;
}

/* Of the data set, where it says so. */
static double fps_of(const struct reel_run *r)
{
    double fps = r->set ? reel_set_info(r->set)->fps : 0;

    return fps > 0 && !r->cfg->method.parity ? fps : r->cfg->pipeline.preset->fps;
}

static int ends(void *ctx)
{
    struct reel_run *r = ctx;

    return reel_stop_near(&r->stop, r->world);
}

static reel_err make_callbacks(struct reel_run *r)
{
    r->n_cb = r->cfg->n_callbacks;
    r->cb = calloc((size_t)r->n_cb + 1, sizeof *r->cb);
    if (!r->cb) return REEL_FAIL(REEL_ENOMEM, "no memory for %d callbacks", r->n_cb);
    r->hf = reel_model_source(NULL, r->flags.env).env;
    r->cb_run = (struct reel_cb_run){ .world = r->world, .cb = r->cb, .n_cb = r->n_cb, .plan = r->flags.plan, .quiet = r->flags.quiet,
                                      .hf = &r->hf, .fps = fps_of(r), .ends = ends, .ctx = r };
    for (int i = 0; i < r->n_cb; i++) {
        const struct reel_cfg_callback *c = &r->cfg->callback[i];
        r->cb[i] = (struct reel_cb){ .ops = c->kind->ops, .name = c->name, .priv = c->priv,
                                     .method = &r->method, .mesh = &r->mesh, .run = &r->cb_run };
    }
    return reel_callbacks_init(r->cb, r->n_cb);
}

static int makes_latents(const struct reel_run *r)
{
    const struct reel_method *m = &r->method;

    return m->ops && m->ops->makes_latents && m->ops->makes_latents(m->priv); /* none when sampling */
}

/* One side of the latents: of the data set where there is one, else of the configuration. */
static reel_err latent_side(const struct reel_run *r, const char *key, int64_t pixels, int64_t have, int patch,
                            int64_t *out)
{
    if (pixels && have && pixels != 8 * have)
        return reel_config_fail(r->cfg, key, "%ld pixels, but the data set was made from %ld; 0 takes what is there",
                                (long)pixels, (long)(8 * have));
    *out = have ? have : pixels / 8;
    if (*out < 1) return reel_config_fail(r->cfg, key, "the size in pixels is needed where no data set gives it");
    if (*out % patch == 0) return REEL_OK;
    return reel_config_fail(r->cfg, key, "%ld latents (%ld pixels) are no multiple of the model's patch of %d",
                            (long)*out, (long)(8 * *out), patch);
}

/* Clips that a sample of the data set holds back to back. */
static int states_of(const struct reel_run *r)
{
    const struct reel_kd_opts *o = reel_trajectories_of(r->cfg);

    return o ? o->t_list.n : 1;
}

/* Shape of a local micro-batch: from the data set where there is one, else from the configuration. */
static reel_err batch_shape(struct reel_run *r, const struct reel_model *m, const struct reel_set_info *info)
{
    const struct reel_cfg_data *d = &r->cfg->training.data;
    int64_t *x = r->method.shape;

    if (makes_latents(r)) info = NULL; /* whatever latents the set may hold */
    x[0] = d->train_batch_size;
    x[1] = d->num_latent_t ? d->num_latent_t : info ? info->frames / (info->states ? info->states : 1) : 1;
    x[2] = m->channels;
    r->batch.b_global = x[0] * r->mesh.dp_size;
    REEL_TRY(latent_side(r, "training.data.num_height", d->num_height, info ? info->height : 0, m->patch_h, &x[3]));
    REEL_TRY(latent_side(r, "training.data.num_width", d->num_width, info ? info->width : 0, m->patch_w, &x[4]));
    if (x[1] <= REEL_RANDN_MOST / (x[2] * x[3] * x[4])) return REEL_OK;
    return reel_config_fail(r->cfg, "training.data.num_latent_t", "%ld x %ld x %ld x %ld latents; a film has at most 2^34 of them", (long)x[2],
                            (long)x[1], (long)x[3], (long)x[4]);
}

static reel_err open_params(struct reel_run *r, int i)
{
    struct reel_model *m = &r->role[i];
    struct reel_params_cfg pc = { .role = m->role, .def = m->def, .n = m->n_def, .n_units = m->n_units,
                                  .compute = m->compute, .trainable = m->trainable, .naming = m->ops->naming };

    pc.pieces = m->one_run ? r->mesh.dims.tp : m->pieces;
    return reel_params_open(&m->ps, &pc, &r->mesh, &r->s, &r->mem[i].params, &r->mem[i].optim, &r->mem[i].work);
}

static void lay_out_batch(struct reel_run *r)
{
    const int64_t *x = r->method.shape;
    const int64_t stored[5] = { x[0], x[1] * states_of(r), x[2], x[3], x[4] };
    const struct reel_model *student = &r->role[REEL_STUDENT];

    r->batch.x0 = reel_view(NULL, REEL_F32, x, 5); /* a method that makes latents looks at the shape alone */
    if (!makes_latents(r)) {
        r->raw = reel_new(&r->io, REEL_F32, stored, 5);
        r->batch.x0 = reel_new(&r->io, REEL_F32, stored, 5);
    }
    r->batch.text = reel_new(&r->io, REEL_F32, REEL_DIMS(x[0], student->text_len, student->text_dim));
    if (r->method.negative.nd) r->method.negative = reel_new(&r->io, REEL_F32, r->method.negative.n, 3);
}

/* Every device object of the run, in arenas: the same code counts (base NULL) and takes memory. */
static reel_err lay_out(struct reel_run *r)
{
    const int64_t channels = r->method.shape[2];

    for (int i = 0; i < REEL_NROLE; i++)
        if (r->roles & REEL_ROLE(i)) REEL_TRY(open_params(r, i));
    lay_out_batch(r);
    r->mean = reel_new(&r->io, REEL_F32, REEL_DIMS(channels));
    r->istd = reel_new(&r->io, REEL_F32, REEL_DIMS(channels));
    r->probe = reel_new(&r->io, REEL_I64, REEL_DIMS(REEL_EXACT_LIMBS));
    if (r->method.ops->layout) REEL_TRY(r->method.ops->layout(&r->method, &r->io));
    return reel_callbacks_layout(r->cb, r->n_cb, &r->cb_mem);
}

/* One micro-batch of the real step on the planning stream: afterwards every arena knows its peak. */
static void rehearse(struct reel_run *r)
{
    struct reel_step st = { .step = 1, .rounds = 1 };

    r->method.ops->step(&r->method, &r->batch, &st);
    reel_arena_reset(&r->step_mem, 0);
    reel_callbacks_rehearse(r->cb, r->n_cb);
    reel_arena_reset(&r->host, 0);
}

int reel_run_arenas(struct reel_run *r, struct reel_arena *list[REEL_RUN_ARENAS])
{
    int n = 0;

    for (int i = 0; i < REEL_NROLE; i++) {
        if (!(r->roles & REEL_ROLE(i))) continue;
        list[n++] = &r->mem[i].params;
        list[n++] = &r->mem[i].optim;
        list[n++] = &r->mem[i].work;
    }
    list[n++] = &r->io;
    list[n++] = &r->cb_mem;
    list[n++] = &r->step_mem;
    list[n++] = &r->scratch;
    return n;
}

int reel_run_memory(struct reel_run *r, int on_host, struct reel_arena *list[REEL_RUN_ARENAS])
{
    int n = reel_run_arenas(r, list);

    if (on_host) list[n++] = &r->save_mem;
    return n;
}

static void name_arenas(struct reel_run *r)
{
    static const char *const names[REEL_NROLE][3] = {
        { "params.student", "optim.student", "work.student" },
        { "params.teacher", "optim.teacher", "work.teacher" },
        { "params.critic", "optim.critic", "work.critic" },
    };

    for (int i = 0; i < REEL_NROLE; i++) {
        r->mem[i].params.name = names[i][0];
        r->mem[i].optim.name = names[i][1];
        r->mem[i].work.name = names[i][2];
    }
    r->io.name = "batch";
    r->cb_mem.name = "callbacks";
    r->step_mem.name = "step";
    r->scratch.name = "scratch";
    r->host.name = "host";
    r->save_mem.name = "save";
}

static reel_err open_host(struct reel_run *r)
{
    r->host.cap = HOST_ARENA_BYTES + HOST_FRAME_BYTES * (size_t)(r->method.shape[0] * r->method.shape[1]) +
                  sizeof(int64_t) * (size_t)reel_spread_slots(r);
    r->host.base = malloc(r->host.cap);
    return r->host.base ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for %zu bytes of host values", r->host.cap);
}

/* Everything that needs no memory, no weights and no data; ends with every arena's peak known. */
static reel_err plan(struct reel_run *r, const struct reel_set_info *info)
{
    reel_stream_init(&r->s, r->be, 1, &r->scratch);
    name_arenas(r);
    REEL_TRY(make_roles(r));
    REEL_TRY(make_method(r));
    make_optims(r);
    REEL_TRY(make_callbacks(r));
    REEL_TRY(batch_shape(r, &r->role[REEL_STUDENT], info));
    REEL_TRY(open_host(r));
    REEL_TRY(lay_out(r));
    rehearse(r);
    return reel_save_wanted(r) ? reel_save_plan(r) : REEL_OK;
}

/* The first rank of the mesh, without communicators. */
static reel_err open_plan(struct reel_run *r, const struct reel_config *cfg, const struct reel_env *env, struct reel_comm *world)
{
    struct reel_mesh_dims d;

    *r = (struct reel_run){ .cfg = cfg, .flags = { .plan = 1, .env = env }, .world = world, .lock = -1 };
    mesh_dims(cfg, &d);
    REEL_TRY(reel_mesh_check(&d, 0));
    reel_mesh_place(&r->mesh, &d, 0);
    return reel_device_plan(&r->be, (enum reel_device)cfg->training.device, env);
}

reel_err reel_run_plan(struct reel_run *r, const struct reel_config *cfg, const struct reel_env *env,
                       struct reel_comm *world)
{
    REEL_TRY(open_plan(r, cfg, env, world));
    return plan(r, NULL);
}

/* Give every planned arena its memory. Local: the caller agrees. */
static reel_err take_memory(struct reel_run *r)
{
    struct reel_arena *a[REEL_RUN_ARENAS];
    int n = reel_run_arenas(r, a);

    for (int i = 0; i < n; i++) {
        const char *name = a[i]->name;
        size_t cap = a[i]->peak;
        if (cap == 0) continue;
        REEL_TRY(reel_arena_open(a[i], r->be, name, cap));
    }
    return REEL_OK;
}

static void put_constants(struct reel_run *r, const struct reel_set_info *info)
{
    float istd[REEL_SET_CHANNELS] = { 0 };

    for (int c = 0; c < info->channels; c++) istd[c] = 1.0f / info->std[c]; /* none in a set of texts */
    reel_put(&r->s, r->mean, info->mean);
    reel_put(&r->s, r->istd, istd);
}

/* The negative prompt for every sample, padded with zeros or cut as texts are. Local: the caller agrees. */
static reel_err put_negative(struct reel_run *r)
{
    reel_tensor t = r->method.negative;
    int rows;
    const float *text = reel_set_negative(r->set, &rows);
    float *padded;

    if (!t.nd) return REEL_OK;
    padded = malloc((size_t)(t.n[1] * t.n[2]) * sizeof *padded);
    if (!padded) return REEL_FAIL(REEL_ENOMEM, "no memory for the negative prompt");
    reel_set_pad(padded, t.n[1], t.n[2], text, rows);
    for (int64_t b = 0; b < t.n[0]; b++) reel_put(&r->s, reel_at(t, b), padded);
    free(padded);
    return REEL_OK;
}

/* The second pass: the same objects on real memory. */
static reel_err materialise(struct reel_run *r, const struct reel_set_info *info)
{
    REEL_TRY(reel_agree(r->world, take_memory(r)));
    for (int i = 0; i < REEL_NROLE; i++) reel_params_close(r->role[i].ps), r->role[i].ps = NULL;
    reel_stream_init(&r->s, r->be, 0, &r->scratch);
    REEL_TRY(reel_agree(r->world, lay_out(r)));
    put_constants(r, info);
    REEL_TRY(reel_agree(r->world, put_negative(r)));
    for (int i = 0; i < REEL_NROLE; i++)
        if (r->roles & REEL_ROLE(i)) REEL_TRY(reel_role_weights(r, i));
    return REEL_OK;
}

/* What the method reads: the teacher's trajectories, or the data set. */
static reel_err open_set(struct reel_run *r)
{
    const struct reel_kd_opts *o = reel_trajectories_of(r->cfg);

    if (!o) return reel_open_data(&r->set, r->cfg, r->flags.quiet, r->world);
    return reel_set_open_list(&r->set, &(struct reel_set_source){ o->teacher_path_cache, 1 }, 1, r->world);
}

static reel_err open_loader(struct reel_run *r)
{
    const struct reel_cfg_data *d = &r->cfg->training.data;
    const int64_t *x = r->method.shape;
    struct reel_loader_cfg c = {
        .seed = (uint64_t)d->seed,
        .batch = (int)x[0],
        .rounds = (int)r->cfg->training.loop.gradient_accumulation_steps,
        .latents = !makes_latents(r),
        .num_latent_t = (int)x[1] * states_of(r),
        .states = states_of(r) > 1 ? states_of(r) : 0,
        .height = (int)x[3],
        .width = (int)x[4],
        .channels = (int)x[2],
        .text_len = r->role[REEL_STUDENT].text_len,
        .text_dim = r->role[REEL_STUDENT].text_dim,
        .cfg_rate = d->training_cfg_rate,
        .dropout = (enum reel_dropout)d->cfg_dropout,
        .parity = d->parity,
    };

    REEL_TRY(reel_draws_open(&r->draws, c.seed, r->flags.replay, r->flags.replay_strict, r->flags.record, r->world));
    r->method.draws = r->draws;
    return reel_loader_open(&r->loader, r->set, &c, r->draws, &r->mesh);
}

static reel_err open_mesh(struct reel_run *r)
{
    struct reel_mesh_dims d;

    mesh_dims(r->cfg, &d);
    REEL_TRY(reel_mesh_check(&d, 0));
    if (d.world != r->world->size)
        return reel_config_fail(r->cfg, "training.distributed.num_gpus",
                                "%d ranks are configured and %d are running; start %d ranks, or set num_gpus to %d "
                                "and replicate x shard x tp to match",
                                d.world, r->world->size, d.world, r->world->size);
    REEL_TRY(reel_watch_open(&r->watch, r->world, r->cfg->training.watchdog_s, "training.watchdog_s"));
    return reel_mesh_open(&r->mesh, r->world, &d);
}

static reel_err open_backend(struct reel_run *r)
{
    const struct reel_cfg_training *t = &r->cfg->training;

    REEL_TRY(reel_device_open(&r->seat, &r->be, &(struct reel_device_opts){ (enum reel_device)t->device, (int)t->threads, (enum reel_binding)t->bind,
                                                                            r->flags.quiet, r->flags.env }, r->world));
    return reel_mesh_attach(&r->mesh, r->be);
}

static reel_err hold_output(struct reel_run *r, const char *out)
{
    char dir[PATH_MAX];

    REEL_TRY(reel_join(dir, sizeof dir, out, "tracker"));
    return reel_restarts_hold(&r->lock, dir, "training.checkpoint.output_dir", out, r->cfg, r->flags.env);
}

/* The output folder is this run's alone, before anything in it is read or removed; and this start is not one in vain. */
static reel_err open_output(struct reel_run *r)
{
    const char *out = r->flags.quiet ? NULL : r->cfg->training.checkpoint.output_dir;

    if (out) {
        REEL_TRY(reel_agree(r->world, r->world->rank ? REEL_OK : hold_output(r, out)));
        REEL_TRY(reel_ckpt_sweep(out, r->world));
    }
    REEL_TRY(reel_resume_find(r));
    return reel_restarts_check(r);
}

static reel_err open_track(struct reel_run *r)
{
    const struct reel_cfg_training *t = &r->cfg->training;
    char dir[PATH_MAX], *yaml;
    struct reel_track_opts o = { .dir = dir, .trackers = t->tracker.trackers, .project = t->tracker.project_name,
                                 .entity = t->tracker.entity, .run_name = t->tracker.run_name,
                                 .goes_on = t->checkpoint.resume_from_checkpoint != NULL };
    reel_err e;

    if (r->world->rank || r->flags.quiet || !t->checkpoint.output_dir) return REEL_OK;
    REEL_TRY(reel_join(dir, sizeof dir, t->checkpoint.output_dir, "tracker"));
    REEL_TRY(reel_write_config(r, &yaml));
    o.config_json = reel_save_config(r);
    e = reel_track_open(&r->track, &o);
    if (e == REEL_OK) e = reel_track_text(r->track, 0, "run.yaml", yaml);
    free(yaml);
    if (e == REEL_OK) reel_note_start(r, o.config_json);
    return e;
}

reel_err reel_run_open(struct reel_run *r, const struct reel_config *cfg, const struct reel_run_flags *flags,
                       struct reel_comm *world)
{
    const struct reel_set_info *info;
    int ended;

    *r = (struct reel_run){ .cfg = cfg, .flags = *flags, .world = world, .lock = -1, .last = cfg->training.loop.max_train_steps };
    reel_stop_open(&r->stop, cfg->training.checkpoint.max_wall, flags->env ? reel_env_get(flags->env, REEL_ENV_SLURM_JOB_END_TIME) : NULL);
    REEL_TRY(reel_trajectories_ensure(cfg, flags, world, &r->stop, &ended));
    if (ended) r->stopped = REEL_STOP_END;
    if (ended) return REEL_OK;
    REEL_TRY(open_mesh(r));
    REEL_TRY(open_output(r));
    REEL_TRY(open_backend(r));
    REEL_TRY(reel_preflight(r));
    REEL_TRY(open_set(r));
    info = reel_set_info(r->set);
    REEL_TRY(reel_agree(world, plan(r, info)));
    REEL_TRY(open_loader(r));
    REEL_TRY(materialise(r, info));
    REEL_TRY(reel_save_open(r));
    REEL_TRY(reel_agree(world, open_track(r)));
    r->cb_run.track = r->track;
    REEL_TRY(reel_resume(r));
    REEL_TRY(reel_agree(world, reel_drift_log(r)));
    if (r->method.ops->prepare) REEL_TRY(r->method.ops->prepare(&r->method));
    REEL_TRY(reel_callbacks_prepare(r->cb, r->n_cb));
    reel_report_start(r);
    reel_note_plan(r);
    return REEL_OK;
}

/* ---- sampling ------------------------------------------------------------------------------ */

static reel_err make_frozen(struct reel_run *r, enum reel_role role)
{
    struct reel_cfg_role c = *reel_config_role(r->cfg, reel_role_names[role]);

    c.trainable = 0;
    c.checkpointing = REEL_CKPTING_NONE;
    REEL_TRY(make_role(r, role, &c));
    r->roles = REEL_ROLE(role);
    return REEL_OK;
}

static reel_err lay_out_sampling(struct reel_run *r, struct reel_sampling *g)
{
    const int64_t *x = r->method.shape;
    struct reel_model *m = &r->role[g->role];

    REEL_TRY(open_params(r, (int)g->role));
    g->io = reel_sampling_io_make(&r->io, m, x);
    return REEL_OK;
}

static reel_err can_sample(struct reel_run *r, const struct reel_sampling *g)
{
    const struct reel_model *m = &r->role[g->role];

    if (!reel_sampler_streams(g->sampler.kind) || m->ops->kv_open) return REEL_OK;
    return reel_config_fail(r->cfg, "models", "%s makes whole clips; streaming needs a causal model", m->ops->name);
}

static void sampling_noise(void *ctx, struct reel_stream *s, reel_tensor eps, int64_t lo, int64_t T, int k)
{
    struct reel_sampling *g = ctx;
    char name[32];

    snprintf(name, sizeof name, "validation/noise/%d", k);
    reel_draw_frames(g->draws, s, eps, lo, T, name, g->where);
}

/* Everything that sampling pushes, counted: the first noise, then the sampler itself. */
static void rehearse_sampling(struct reel_run *r, struct reel_sampling *g)
{
    g->sampler.model = &r->role[g->role];
    g->sampler.a = &r->step_mem;
    g->sampler.sparsity = reel_method_target_sparsity(r->cfg, (enum reel_role)g->role);
    if (!g->sampler.noise) g->sampler.noise = sampling_noise, g->sampler.ctx = g;
    g->where = (struct reel_where){ .nb = g->batch, .b_global = g->batch };
    reel_sample(&g->sampler, &g->io);
}

static reel_err plan_sampling(struct reel_run *r, struct reel_sampling *g)
{
    reel_stream_init(&r->s, r->be, 1, &r->scratch);
    name_arenas(r);
    REEL_TRY(make_frozen(r, g->role));
    REEL_TRY(can_sample(r, g));
    REEL_TRY(batch_shape(r, &r->role[g->role], g->info));
    r->method.shape[0] = g->batch;
    REEL_TRY(lay_out_sampling(r, g));
    rehearse_sampling(r, g);
    return REEL_OK;
}

reel_err reel_run_plan_sampling(struct reel_run *r, const struct reel_config *cfg, struct reel_sampling *g,
                                const struct reel_env *env, struct reel_comm *world)
{
    REEL_TRY(open_plan(r, cfg, env, world));
    return plan_sampling(r, g);
}

reel_err reel_run_open_sampling(struct reel_run *r, const struct reel_config *cfg, struct reel_sampling *g,
                                const struct reel_env *env, struct reel_comm *world)
{
    *r = (struct reel_run){ .cfg = cfg, .flags = { .quiet = 1, .env = env }, .world = world, .lock = -1 };
    REEL_TRY(open_mesh(r));
    REEL_TRY(open_backend(r));
    REEL_TRY(plan_sampling(r, g));
    if (g->planned) REEL_TRY(g->planned(g->planned_ctx, r));
    REEL_TRY(reel_agree(world, take_memory(r)));
    reel_params_close(r->role[g->role].ps);
    reel_stream_init(&r->s, r->be, 0, &r->scratch);
    REEL_TRY(reel_agree(world, lay_out_sampling(r, g)));
    REEL_TRY(reel_draws_open(&r->draws, g->seed, NULL, 0, NULL, world));
    g->draws = r->draws;
    return g->checkpoint ? reel_load_student(r, g->checkpoint, g->ema) : reel_role_weights(r, (int)g->role);
}

static void close_roles(struct reel_run *r)
{
    for (int i = 0; i < REEL_NROLE; i++) {
        if (!(r->roles & REEL_ROLE(i))) continue;
        reel_params_close(r->role[i].ps);
        if (r->role[i].priv && r->role[i].ops->fini) r->role[i].ops->fini(&r->role[i]);
        free(r->role[i].priv);
        free(r->role[i].def);
    }
}

/* What making the objects took. */
static void close_objects(struct reel_run *r)
{
    if (r->cb) reel_callbacks_fini(r->cb, r->n_cb);
    free(r->cb);
    if (r->method.ops && r->method.ops->fini) r->method.ops->fini(&r->method);
    close_roles(r);
}

void reel_run_unplan(struct reel_run *r)
{
    reel_save_unplan(r);
    close_objects(r);
    free(r->host.base);
    reel_backend_close(r->be);
}

/* The trackers end; what they could not write is this rank's error. */
static reel_err close_track(struct reel_run *r, reel_err e)
{
    struct reel_track *t = r->track;

    reel_note_end(r, e);
    r->track = NULL;
    return reel_track_close(t, e ? 1 : r->stopped ? REEL_EXIT_REQUEUE : 0);
}

void reel_run_fail(struct reel_run *r)
{
    struct reel_errrec why = *reel_errrec();

    reel_save_close(r);
    *reel_errrec() = why;
    close_track(r, why.code);
    *reel_errrec() = why;
}

reel_err reel_run_close(struct reel_run *r)
{
    struct reel_arena *a[REEL_RUN_ARENAS];
    reel_err e = reel_save_close(r), d = REEL_OK, t = close_track(r, e);
    int n = reel_run_arenas(r, a);

    if (r->lock >= 0) close(r->lock);
    reel_loader_close(r->loader);
    if (r->draws) d = reel_draws_close(r->draws, r->world);
    reel_set_close(r->set);
    close_objects(r);
    for (int i = 0; i < n; i++)
        if (a[i]->base) reel_arena_close(a[i], r->be);
    free(r->host.base);
    reel_mesh_detach(&r->mesh, r->be);
    reel_device_close(&r->seat, r->be);
    reel_mesh_close(&r->mesh);
    if (e == REEL_OK) e = d;
    if (e == REEL_OK) e = reel_agree(r->world, t);
    reel_watch_close(r->watch, r->world);
    return e;
}
