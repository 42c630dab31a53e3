#include "train/generate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "be/ops.h"
#include "data/demo_set.h"
#include "nn/schedule.h"
#include "train/generate_priv.h"
#include "train/init.h"
#include "train/report.h"
#include "train/save.h"

int64_t reel_gen_clip(const struct reel_gen *j, int64_t local)
{
    int64_t i = j->r->mesh.dp_rank * j->per_group + local;

    return i < j->n ? i : j->n - 1;
}

int reel_gen_owner(const struct reel_gen *j, int64_t i)
{
    return (int)(i / j->per_group) * j->members + (int)(i % j->per_group % j->g.batch % j->members);
}

int reel_gen_mine(const struct reel_gen *j, int64_t b)
{
    return b % j->members == j->me && j->r->mesh.dp_rank * j->per_group + j->batch_at + b < j->n;
}

/* ---- what is chosen where nothing is said ---------------------------------------------------- */

static int streams(const struct reel_config *cfg)
{
    const struct reel_cfg_role *c = reel_config_role(cfg, "student");

    return ((const struct reel_model_ops *)c->kind->ops)->kv_open != NULL;
}

/* Few steps where the model was distilled to them, chunks where it is causal. */
static int sampler_of(const struct reel_config *cfg, const struct reel_generate_flags *f)
{
    int few = cfg->pipeline.dmd_denoising_steps.n > 0 || ((const struct reel_method_ops *)cfg->method.kind->ops)->few_steps;

    if (f->sampler) return f->sampler - 1;
    if (streams(cfg)) return few ? REEL_SAMPLER_STREAMING : REEL_SAMPLER_CAUSAL;
    return few ? REEL_SAMPLER_FEWSTEP : REEL_SAMPLER_UNIPC;
}

static reel_err choose_sampler(struct reel_gen *j)
{
    const struct reel_generate_flags *f = j->f;
    struct reel_sampler *s = &j->g.sampler;
    int guided;

    j->sampler = sampler_of(j->cfg, f);
    if (j->sampler == REEL_GEN_REAL && !f->clips)
        return REEL_FAIL(REEL_ECONFIG, "generate: --sampler real shows held-out clips: add --clips 64");
    s->kind = j->sampler == REEL_GEN_REAL ? REEL_SAMPLER_FEWSTEP : (enum reel_sampler_kind)j->sampler;
    guided = reel_sampler_guided(s->kind);
    if (j->sampler != REEL_GEN_REAL && !guided && !isnan(f->guidance) && f->guidance != 1)
        return REEL_FAIL(REEL_ECONFIG, "generate: --guidance %g: few-step samplers are not guided", f->guidance);
    s->steps = f->steps != REEL_INT_UNSET ? (int)f->steps : guided ? 50 : 4;
    s->sigma = j->sigma;
    s->t = j->t;
    reel_sampler_levels(s->kind, j->sigma, j->t, s->steps, (float)j->cfg->pipeline.flow_shift);
    s->context_t = j->cfg->pipeline.context_noise;
    s->guidance = !isnan(f->guidance) ? f->guidance : guided && !reel_sampler_streams(s->kind) ? j->cfg->pipeline.preset->guidance_scale : 1;
    return REEL_OK;
}

/* Those of a list of timesteps. */
static void list_levels(struct reel_gen *j, const struct reel_sched *tab, const struct reel_ints *list, int warp)
{
    reel_few_steps(j->t, j->sigma, tab, list->v, list->n, warp);
    j->sigma[list->n] = 0;
    j->g.sampler.steps = list->n;
}

/* The levels of few steps: as the method trains them, else as the pipeline lists them, else evenly spaced. */
static reel_err few_levels(struct reel_gen *j, struct reel_run *r)
{
    const struct reel_cfg_pipeline *p = &j->cfg->pipeline;
    struct reel_method m = { .ops = j->cfg->method.kind->ops, .priv = j->cfg->method.priv, .cfg = j->cfg, .a = &r->step_mem,
                             .host = &r->host, .s = &r->s, .negative = { .nd = 3 } };
    struct reel_few_steps few = { 0 };
    struct reel_sched tab;
    reel_err e = REEL_OK;

    for (int i = 0; i < REEL_NROLE; i++) m.role[i] = &r->role[REEL_STUDENT];
    if (m.ops->few_steps) {
        if (m.ops->init) e = m.ops->init(&m);
        if (e == REEL_OK) few = m.ops->few_steps(&m);
        j->g.sampler.ode = few.ode;
    }
    if (e == REEL_OK && few.n) {
        memcpy(j->t, few.t, (size_t)few.n * sizeof *j->t);
        memcpy(j->sigma, few.sigma, (size_t)few.n * sizeof *j->sigma);
        j->sigma[few.n] = 0;
        j->g.sampler.steps = few.n;
    } else if (e == REEL_OK && p->dmd_denoising_steps.n) {
        reel_sched_a(&tab, r->role[REEL_STUDENT].flow_shift);
        list_levels(j, &tab, &p->dmd_denoising_steps, streams(j->cfg) && p->warp_denoising_step);
    }
    if (m.ops->few_steps && m.ops->fini) m.ops->fini(&m);
    return e;
}

/* Symmetric. */
static reel_err choose_levels(struct reel_gen *j, struct reel_run *r)
{
    struct reel_sampler *s = &j->g.sampler;
    int few = !reel_sampler_guided(s->kind);
    float shift = few ? r->role[REEL_STUDENT].flow_shift : (float)j->cfg->pipeline.flow_shift;

    reel_sampler_levels(s->kind, j->sigma, j->t, s->steps, shift);
    return few && j->sampler != REEL_GEN_REAL && j->f->steps == REEL_INT_UNSET ? few_levels(j, r) : REEL_OK;
}

static reel_err size_job(struct reel_gen *j)
{
    const struct reel_cfg_data *d = &j->cfg->training.data;
    const struct reel_cfg_distributed *m = &j->cfg->training.distributed;
    int64_t most = j->f->batch != REEL_INT_UNSET ? j->f->batch : j->f->clips ? 16 : 1, groups = m->replicate * m->shard / m->sp_size;

    if (d->num_latent_t < 1 || d->num_height < 16 || d->num_width < 16)
        return reel_config_fail(j->cfg, "training.data.num_latent_t", "generate needs sizes: --frames, --height and --width, or "
                                                                      "num_latent_t, num_height and num_width");
    if (m->sp_size >= 2 << REEL_SP_HALVINGS && most > 1 << REEL_SP_HALVINGS) most = 1 << REEL_SP_HALVINGS; /* what so large a group can be dealt */
    j->n = j->f->clips ? j->f->clips : j->what->prompts.n;
    j->per_group = (j->n + groups - 1) / groups;
    j->g.batch = j->per_group < most ? j->per_group : most;
    j->per_group = (j->per_group + j->g.batch - 1) / j->g.batch * j->g.batch;
    j->members = (int)(m->sp_size * m->tp_size);
    return REEL_OK;
}

/* ---- words ----------------------------------------------------------------------------------- */

static reel_err make_captions(struct reel_gen *j)
{
    char line[REEL_CLIP_CAPTION];

    j->caption = calloc((size_t)j->n, sizeof *j->caption);
    for (int64_t i = 0; j->caption && i < j->n; i++) {
        if (j->f->clips) reel_clip_caption(reel_benchmark_what(&j->bench, i), line);
        j->caption[i] = strdup(j->f->clips ? line : j->what->prompts.text[i]);
        if (!j->caption[i]) break;
    }
    return j->caption && j->caption[j->n - 1] ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for %ld captions", (long)j->n);
}

/* Whether this rank's group samples clip i; the last one is also padding, and n is the negative prompt. */
static int wanted(const struct reel_gen *j, int64_t i) { return i >= j->n - 1 || i / j->per_group == j->r->mesh.dp_rank; }

/* Text i from the rank that encoded it to those that want it. Collective(world). */
static reel_err share_text(struct reel_gen *j, struct reel_text_rows *mine, int64_t i, int dim)
{
    int owner = (int)(i % j->world->size), me = j->world->rank == owner;
    struct reel_text_rows *t = &j->text[i];
    size_t bytes;
    reel_err e;

    if (me) *t = *mine, mine->rows = NULL;
    reel_comm_bcast(j->world, &t->n, sizeof t->n, owner);
    bytes = (size_t)t->n * (size_t)dim * sizeof *t->rows;
    if (!me && bytes) t->rows = malloc(bytes);
    e = reel_agree(j->world, bytes && !t->rows ? REEL_FAIL(REEL_ENOMEM, "no memory for the text of a prompt") : REEL_OK);
    if (e == REEL_OK && bytes) reel_comm_bcast(j->world, t->rows, bytes, owner);
    if (!wanted(j, i)) free(t->rows), t->rows = NULL;
    return e;
}

/* Rank r encodes texts r, r + size, ... of the prompts and the negative one; whoever samples gets them. Collective(world). */
static reel_err encode_mine(struct reel_gen *j, struct reel_text *t, const char **prompt, struct reel_text_rows *mine)
{
    const char *negative = j->f->negative ? j->f->negative : reel_encode_builtin(&j->enc) ? "" : j->cfg->pipeline.preset->negative_prompt;
    int k = 0;

    for (int64_t i = j->world->rank; i <= j->n; i += j->world->size) prompt[k++] = i < j->n ? j->caption[i] : negative;
    REEL_TRY(reel_text_encode(t, prompt, k, mine));
    for (int64_t i = 0; i <= j->n; i++) REEL_TRY(share_text(j, &mine[i / j->world->size], i, reel_text_dim(t)));
    return REEL_OK;
}

static reel_err encode_texts(struct reel_gen *j)
{
    size_t most = (size_t)j->n / (size_t)j->world->size + 1;
    const char **prompt = calloc(most, sizeof *prompt);
    struct reel_text_rows *mine = calloc(most, sizeof *mine);
    struct reel_text *t = NULL;
    reel_err e;

    j->text = calloc((size_t)j->n + 1, sizeof *j->text);
    e = reel_agree(j->world, prompt && mine && j->text ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for the texts"));
    if (e == REEL_OK) e = reel_text_open(&t, &j->enc);
    if (e == REEL_OK) e = encode_mine(j, t, prompt, mine);
    for (size_t k = 0; mine && k < most; k++) free(mine[k].rows);
    free(prompt);
    free(mine);
    reel_text_close(t);
    return e;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* The encoders that the model is fit for, and all texts: before the weights of the model take their memory. Collective(world). */
static reel_err planned(void *ctx, struct reel_run *r)
{
    const struct reel_model *m = &r->role[REEL_STUDENT];
    struct reel_gen *j = ctx;
    struct reel_stream s = { 0 };
    struct reel_arena scratch = { .name = "scratch" };
    int steps = j->g.sampler.steps; /* that were planned */

    memcpy(j->shape, r->method.shape, sizeof j->shape);
    reel_gen_size_out(j);
    j->bench = (struct reel_benchmark){ (int)j->f->benchmark, j->n, (int)j->shape[1], (int)j->shape[3], (int)j->shape[4] };
    j->me = r->mesh.sp.rank * r->mesh.dims.tp + r->mesh.tp.rank;
    reel_stream_init(&s, r->be, 0, &scratch);
    j->enc = (struct reel_encode_opts){ .model = reel_config_role(j->cfg, "student")->init_from, .dtype = m->compute, .s = &s,
                                        .comm = j->world, .tile = j->cfg->pipeline.vae_tiling ? REEL_TILE : 0,
                                        .hf = reel_model_source(NULL, r->flags.env).env };
    REEL_TRY(reel_agree(j->world, reel_encode_folder(&j->enc, m->channels, m->text_dim)));
    j->fps = !isnan(j->f->fps) ? j->f->fps : reel_encode_builtin(&j->enc) ? REEL_DEMO_FPS : j->cfg->pipeline.preset->fps;
    if (reel_encode_builtin(&j->enc) && isnan(j->f->guidance) && j->g.sampler.guidance != 1) j->g.sampler.guidance = 2; /* no preset's model */
    REEL_TRY(reel_agree(j->world, choose_levels(j, r)));
    REEL_TRY(reel_gen_plan(j, r, (double)j->g.sampler.steps / steps));
    REEL_TRY(reel_agree(j->world, make_captions(j)));
    return encode_texts(j);
}

/* Texts of the batch at `at` on the device, padded with zeros or cut as in training. */
static void put_texts(struct reel_gen *j, reel_tensor dst, int64_t at, int negative)
{
    for (int64_t b = 0; b < dst.n[0]; b++) {
        const struct reel_text_rows *t = &j->text[negative ? j->n : reel_gen_clip(j, at + b)];
        reel_set_pad(j->host + b * dst.n[1] * dst.n[2], dst.n[1], dst.n[2], t->rows, t->n);
    }
    reel_put(&j->r->s, dst, j->host);
}

/* ---- progress -------------------------------------------------------------------------------- */

/* `part` of the batch under way is done. */
static void progress(struct reel_gen *j, double part)
{
    double all = (double)(j->per_group / j->g.batch), done = ((double)(j->batch_at / j->g.batch) + part) / all, now = reel_now();
    int tty = isatty(STDERR_FILENO);
    char eta[32] = "?";

    if (j->world->rank || (!tty && now - j->said < 10 && done < 1)) return;
    j->said = now;
    if (done > 0) reel_report_hms(eta, sizeof eta, (now - j->began) * (1 - done) / done);
    fprintf(stderr, "%sgenerate: %3.0f%%  film %ld of %ld%s  ETA %s%s", tty ? "\r" : "", 100 * done,
            (long)((done < 1 ? j->batch_at : j->per_group - 1) + 1), (long)j->per_group, j->r->mesh.dp_size > 1 ? " a group" : "", eta,
            tty && done < 1 ? "   " : "\n");
}

/* ---- sampling -------------------------------------------------------------------------------- */

static void noise(void *ctx, struct reel_stream *s, reel_tensor eps, int64_t lo, int64_t T, int k)
{
    struct reel_gen *j = ctx;
    char name[32];

    snprintf(name, sizeof name, "validation/noise/%d", k);
    reel_draw_frames(j->g.draws, s, eps, lo, T, name, j->g.where);
}

static void look(void *ctx, int i, reel_tensor x)
{
    struct reel_gen *j = ctx;

    (void)x;
    if (!j->r->s.planning && i) progress(j, 0.98 * i / j->g.sampler.steps); /* decoding is the rest */
}

/* The next n frames [n,C,h,w] of this rank's film, if it has one. Ranks agree after each of them: a slow decoder must not
 * look like a lost rank. Collective(world). */
static reel_err show_frames(struct reel_gen *j, int mine, const float *z, int64_t n)
{
    size_t frame = (size_t)(j->shape[2] * j->shape[3] * j->shape[4]);

    for (int64_t k = 0; k < n; k++) REEL_TRY(reel_agree(j->world, mine ? reel_gen_film_frame(j, z + (size_t)k * frame) : REEL_OK));
    return REEL_OK;
}

/* A chunk of one film is finished: its pictures are in the file before the next one is sampled. All groups are at the
 * same chunk. */
static void chunk(void *ctx, int64_t lo, reel_tensor x)
{
    struct reel_gen *j = ctx;
    struct reel_stream *s = &j->r->s;
    int mine = reel_gen_mine(j, 0);
    reel_err e = REEL_OK;

    if (s->planning || j->g.batch > 1 || j->held) return;
    if (mine) reel_get(s, j->host, x);
    if (mine && lo == 0) e = reel_gen_film_begin(j, j->batch_at);
    j->held = reel_agree(j->world, e);
    if (!j->held) j->held = show_frames(j, mine, j->host, x.n[1]);
    if (lo + x.n[1] < j->shape[1]) progress(j, (double)(lo + x.n[1]) / (double)j->shape[1]);
}

/* Members of a group take its films in turns. Collective(world). */
static reel_err show_batch(struct reel_gen *j)
{
    reel_get(&j->r->s, j->host, j->g.io.x);
    for (int64_t turn = 0; turn < j->g.batch; turn += j->members) {
        int64_t b = turn + j->me;
        int mine = b < j->g.batch && reel_gen_mine(j, b);
        REEL_TRY(reel_agree(j->world, mine ? reel_gen_film_begin(j, j->batch_at + b) : REEL_OK));
        REEL_TRY(show_frames(j, mine, j->host + (size_t)b * j->latent, j->shape[1]));
        REEL_TRY(reel_agree(j->world, mine ? reel_gen_film_end(j) : REEL_OK));
    }
    return REEL_OK;
}

/* Not sampled at all: other clips of the same captions, what a perfect model would make. */
static reel_err take_real(struct reel_gen *j)
{
    size_t area = (size_t)(j->shape[3] * j->shape[4]), C = (size_t)j->shape[2], T = (size_t)j->shape[1];

    for (int64_t b = 0; b < j->g.batch; b++) {
        float *z = j->raw, *x = j->host + (size_t)b * j->latent;
        REEL_TRY(reel_benchmark_real(&j->bench, reel_gen_clip(j, j->batch_at + b), 2, z));
        for (size_t t = 0; t < T; t++)
            for (size_t c = 0; c < C; c++) memcpy(x + (t * C + c) * area, z + (c * T + t) * area, area * sizeof *x);
    }
    reel_put(&j->r->s, j->g.io.x, j->host);
    return REEL_OK;
}

/* Collective(world). */
static reel_err make_batch(struct reel_gen *j)
{
    int64_t i0 = j->r->mesh.dp_rank * j->per_group + j->batch_at, B = j->g.batch;
    int streamed = 0;

    j->g.where = (struct reel_where){ .b0 = i0, .nb = B, .b_global = i0 + B };
    if (j->sampler == REEL_GEN_REAL) {
        REEL_TRY(reel_agree(j->world, take_real(j)));
    } else {
        put_texts(j, j->g.io.text, j->batch_at, 0);
        put_texts(j, j->g.io.uncond, j->batch_at, 1);
        reel_sample(&j->g.sampler, &j->g.io);
        streamed = B == 1 && reel_sampler_streams(j->g.sampler.kind);
    }
    if (j->held) return j->held;
    if (!streamed) return show_batch(j);
    return reel_agree(j->world, reel_gen_mine(j, 0) ? reel_gen_film_end(j) : REEL_OK);
}

static reel_err run(struct reel_gen *j)
{
    reel_err e;

    j->enc.s = &j->r->s;
    REEL_TRY(reel_agree(j->world, reel_codec_open(&j->codec, &j->enc)));
    e = reel_gen_open_out(j);
    if (e == REEL_OK) e = reel_codec_decode_begin(j->codec, (int)j->shape[3], (int)j->shape[4]); /* its memory is taken before the work, not after it */
    REEL_TRY(reel_agree(j->world, e));
    j->began = j->said = reel_now();
    for (j->batch_at = 0; j->batch_at < j->per_group; j->batch_at += j->g.batch) {
        REEL_TRY(make_batch(j));
        progress(j, 1);
    }
    return reel_gen_publish(j);
}

static void close_job(struct reel_gen *j)
{
    reel_gen_close_out(j);
    for (int64_t i = 0; j->text && i <= j->n; i++) free(j->text[i].rows);
    for (int64_t i = 0; j->caption && i < j->n; i++) free(j->caption[i]);
    free(j->text), free(j->caption), free(j->r), free(j);
}

static reel_err prepare(struct reel_gen *j)
{
    const struct reel_generate_flags *f = j->f;

    REEL_TRY(choose_sampler(j));
    REEL_TRY(size_job(j));
    j->g.checkpoint = f->checkpoint;
    j->g.ema = f->ema;
    j->g.seed = (uint64_t)(f->clips ? f->benchmark : f->seed);
    j->g.planned = planned;
    j->g.planned_ctx = j;
    j->g.sampler.noise = noise;
    j->g.sampler.look = look;
    j->g.sampler.chunk = chunk;
    j->g.sampler.ctx = j;
    return reel_agree(j->world, j->world->rank ? REEL_OK : reel_gen_probe(j));
}

reel_err reel_generate(const struct reel_config *cfg, const struct reel_generation *g, const struct reel_env *env, struct reel_comm *world)
{
    struct reel_gen *j = calloc(1, sizeof *j);
    reel_err e;

    if (j) j->r = calloc(1, sizeof *j->r);
    REEL_TRY(reel_agree(world, j && j->r ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory to generate")));
    j->cfg = cfg, j->what = g, j->f = g->f, j->world = world;
    e = prepare(j);
    if (e == REEL_OK) e = reel_run_open_sampling(j->r, cfg, &j->g, env, world);
    if (e == REEL_OK) e = run(j);
    reel_codec_close(j->codec); /* its memory is the backend's, which the run closes */
    if (e == REEL_OK) e = reel_run_close(j->r);
    close_job(j);
    return e;
}
