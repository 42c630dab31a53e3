#include "train/trajectories.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "be/ops.h"
#include "media/family.h"
#include "train/data.h"
#include "train/init.h"
#include "train/report.h"
#include "train/restarts.h"

const struct reel_kd_opts *reel_trajectories_of(const struct reel_config *cfg)
{
    const struct reel_method_ops *m = cfg->method.kind->ops;

    return m->trajectories ? m->trajectories(cfg->method.priv) : NULL;
}

/* ---- recipes: what made a set, one "key value" a line ---------------------------------------- */

struct recipe { char text[REEL_SET_RECIPE]; size_t n; };

__attribute__((format(printf, 2, 3))) static void say(struct recipe *r, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(r->text + r->n, sizeof r->text - r->n, fmt, ap);
    va_end(ap);
    r->n = r->n + (size_t)n < sizeof r->text ? r->n + (size_t)n : sizeof r->text - 1;
}

/* What a configuration asks for. A size that it leaves to the data, and a teacher that it leaves out, are not compared. */
static void ask(struct recipe *r, const struct reel_config *cfg)
{
    const struct reel_kd_opts *o = reel_trajectories_of(cfg);
    const struct reel_cfg_role *teacher = reel_config_role(cfg, "teacher");
    const struct reel_cfg_data *d = &cfg->training.data;

    if (teacher) {
        const char *with = reel_role_override(teacher);
        say(r, "teacher %s%.512s%s%.512s\n", teacher->init == REEL_INIT_RANDOM ? "random " : "", teacher->init_from, with ? " with " : "",
            with ? with : "");
    }
    say(r, "teacher_inference_steps %" PRId64 "\n", o->teacher_inference_steps);
    say(r, "teacher_guidance_scale %.9g\n", o->teacher_guidance_scale);
    say(r, "flow_shift %.9g\nt_list", cfg->pipeline.flow_shift);
    for (int i = 0; i < o->t_list.n; i++) say(r, " %" PRId64, o->t_list.v[i]);
    say(r, "\nseed %" PRId64 "\n", d->seed);
    if (d->num_latent_t) say(r, "num_latent_t %" PRId64 "\n", d->num_latent_t);
    if (d->num_height) say(r, "num_height %" PRId64 "\n", d->num_height);
    if (d->num_width) say(r, "num_width %" PRId64 "\n", d->num_width);
}

/* The value of a key, its length in *n; NULL when the recipe has no such line. */
static const char *value_of(const char *recipe, const char *key, size_t key_len, size_t *n)
{
    for (const char *line = recipe; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        size_t len = strcspn(line, "\n");
        if (len <= key_len || line[key_len] != ' ' || strncmp(line, key, key_len) != 0) continue;
        *n = len - key_len - 1;
        return line + key_len + 1;
    }
    return NULL;
}

/* Every line of `want` must stand in `have`. Symmetric. */
static reel_err compare(const struct reel_config *cfg, const char *where, const char *have, const char *want)
{
    for (const char *line = want; *line; line += strcspn(line, "\n") + 1) {
        size_t key = strcspn(line, " "), n = strcspn(line, "\n") - key - 1, m = 0;
        const char *v = value_of(have, line, key, &m);
        if (v && m == n && !strncmp(v, line + key + 1, n)) continue;
        return reel_config_fail(cfg, "method.teacher_path_cache", "%s was made with %.*s %.*s, this run says %.*s: name another folder, "
                                "or remove this one and it is made again%s", where, (int)key, line, v ? (int)m : 7, v ? v : "unknown",
                                (int)n, line + key + 1, strncmp(line, "teacher ", 8) ? "" : "; without models.teacher it is taken as it is");
    }
    return REEL_OK;
}

static int64_t number_of(const char *recipe, const char *key)
{
    size_t n;
    const char *v = value_of(recipe, key, strlen(key), &n);

    return v ? strtoll(v, NULL, 10) : -1;
}

/* ---- making them --------------------------------------------------------------------------- */

struct maker {
    const struct reel_config *cfg;
    const struct reel_trajectories_flags *f;
    struct reel_comm *c;
    const char *dir;
    const struct reel_kd_opts *o;
    struct reel_kd_path path;
    struct reel_set *src;
    const struct reel_set_info *info;
    struct reel_run *r;
    struct reel_sampling g;
    struct recipe recipe; /* in full: beside what the configuration asks for, what it was made from */
    int lock;             /* rank 0: keeps others out of the folder, or -1 */
    int64_t per_file, parts;
    size_t clip;          /* elements of a state */
    float *states;        /* [B][states][T,C,H,W] normalised, of one batch */
    float *raw;           /* [C,states*T,H,W] of one sample */
    int64_t *index;       /* [B] samples of the batch */
    float *text, *padded; /* [text_rows, D] as read; [L, D] */
    int64_t done, todo;   /* samples of this run */
    struct reel_stop *stop; /* who may end it early, or NULL */
    int ended;            /* and has: the parts that are whole stay */
    int cut;              /* and parts that are not whole do not */
    double began, said;
};

struct wave { /* parts that are made at once: enough for every data-parallel group to have a sample */
    int64_t *part, n;
    struct reel_set_writer **w;
    int64_t items;
};

static const char *part_path(const struct maker *k, int64_t part, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/part-%05" PRId64 ".h5", k->dir, part);
    return path;
}

static int64_t part_len(const struct maker *k, int64_t part)
{
    int64_t left = k->info->n - part * k->per_file;

    return left < k->per_file ? left : k->per_file;
}

/* Constants of the latents: the source's own, or those of its family where the source holds texts alone. */
static reel_err constants(const struct maker *k, const float **mean, const float **std)
{
    static const struct reel_family *const all[] = { &reel_family_wan, &reel_family_dct };

    *mean = k->info->mean, *std = k->info->std;
    if (k->info->channels) return REEL_OK;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i]->name, k->info->family)) return *mean = all[i]->mean, *std = all[i]->std, REEL_OK;
    return REEL_FAIL(REEL_EDATA, "the texts belong to latents of the family \"%s\", whose constants are not known; use a set with latents",
                     k->info->family);
}

static reel_err describe(const struct maker *k, struct reel_set_desc *d)
{
    const struct reel_set_info *f = k->info;
    const int64_t *x = k->r->method.shape;

    *d = (struct reel_set_desc){ .kind = "trajectories", .channels = (int)x[2], .frames = (int)x[1] * k->path.states, .height = (int)x[3],
        .width = (int)x[4], .text_dim = f->text_dim, .pad_to = f->pad_to, .dtype = f->dtype, .family = f->family, .vae = f->vae,
        .text_encoder = f->text_encoder, .tokenizer = f->tokenizer, .source = f->source, .pix_height = (int)(8 * x[3]),
        .pix_width = (int)(8 * x[4]), .pix_frames = (int)(4 * x[1] - 3), .down = { 4, 8, 8 }, .fps = f->fps,
        .states = k->path.states, .state_t = k->path.t, .recipe = k->recipe.text };
    d->negative = reel_set_negative(k->src, &d->negative_rows);
    d->empty = reel_set_empty(k->src, &d->empty_rows);
    d->have_negative = d->negative != NULL;
    d->have_empty = d->empty != NULL;
    return constants(k, &d->mean, &d->std);
}

/* Sample i's text for row b of the batch, its rows in *rows; k->text keeps them as they were read. */
static reel_err put_text(struct maker *k, int64_t i, int64_t b, int *rows)
{
    reel_tensor to = reel_at(k->g.io.text, b);
    size_t dim = (size_t)to.n[1], n;

    REEL_TRY(reel_set_read(k->src, i, 0, NULL, k->text, rows));
    n = (size_t)(*rows < to.n[0] ? *rows : to.n[0]) * dim;
    memset(k->padded, 0, reel_bytes(to));
    if (n) memcpy(k->padded, k->text, n * sizeof *k->padded);
    reel_put(&k->r->s, to, k->padded);
    return REEL_OK;
}

static void put_uncond(struct maker *k)
{
    int rows = 0;
    const float *v = reel_set_negative(k->src, &rows);
    reel_tensor all = k->g.io.uncond;
    size_t dim = (size_t)all.n[2], n = (size_t)(rows < all.n[1] ? rows : all.n[1]) * dim;

    memset(k->padded, 0, (size_t)all.n[1] * dim * sizeof *k->padded);
    if (v && n) memcpy(k->padded, v, n * sizeof *k->padded);
    for (int64_t b = 0; b < all.n[0]; b++) reel_put(&k->r->s, reel_at(all, b), k->padded);
}

/* The walk starts from noise of the sample, not of its place in a batch. */
static void draw_noise(void *ctx, struct reel_stream *s, reel_tensor eps, int64_t lo, int64_t T, int step)
{
    const struct maker *k = ctx;

    (void)step;
    if (s->planning) {
        reel_draw_frames(NULL, s, eps, lo, T, "kd/noise", (struct reel_where){ .nb = eps.n[0], .b_global = eps.n[0] });
        return;
    }
    for (int64_t b = 0; b < eps.n[0]; b++) {
        struct reel_where w = { .b0 = k->index[b], .nb = 1, .b_global = k->index[b] + 1 };
        reel_draw_frames(k->g.draws, s, reel_slice(eps, b, b + 1), lo, T, "kd/noise", w);
    }
}

static void keep_state(void *ctx, int step, reel_tensor x)
{
    struct maker *k = ctx;
    int state = 0;

    while (state < k->path.states && k->path.at[state] != step) state++;
    if (state == k->path.states || k->r->s.planning) return;
    for (int64_t b = 0; b < x.n[0]; b++)
        reel_get(&k->r->s, k->states + (size_t)(b * k->path.states + state) * k->clip, reel_at(x, b));
}

/* The deterministic flow ODE of the guided teacher, from noise to clean. Source: FastVideo
 * fastvideo/train/methods/knowledge_distillation/kd.py:_teacher_ode_rollout @2f3d4074, whose guidance is not applied and whose
 * timesteps are truncated to integers. */
static struct reel_sampler walker(struct maker *k)
{
    return (struct reel_sampler){ .kind = REEL_SAMPLER_EULER, .sigma = k->path.sigma, .steps = k->path.steps,
                                  .guidance = k->o->teacher_guidance_scale, .noise = draw_noise, .look = keep_state, .ctx = k };
}

/* States [states][T,C,H,W] of row b, normalised, as one raw latent [C,states*T,H,W]. */
static void to_raw(struct maker *k, int64_t b, const float *mean, const float *std)
{
    const int64_t *x = k->r->method.shape;
    int64_t frames = x[1] * k->path.states, hw = x[3] * x[4];
    const float *from = k->states + (size_t)(b * k->path.states) * k->clip;

    for (int64_t f = 0; f < frames; f++)
        for (int64_t c = 0; c < x[2]; c++)
            for (int64_t i = 0; i < hw; i++)
                k->raw[(c * frames + f) * hw + i] = from[(f * x[2] + c) * hw + i] * std[c] + mean[c];
}

static reel_err store(struct maker *k, struct reel_set_writer *w, int64_t i, int64_t b)
{
    const int64_t *x = k->r->method.shape;
    const float *mean, *std;
    char id[64];
    struct reel_set_sample s = { .key = i, .latent = k->raw, .text = k->text, .id = id, .width = (int)(8 * x[4]),
                                 .height = (int)(8 * x[3]), .frames = (int)(4 * x[1] - 3), .fps = k->info->fps };

    reel_fault_stall();
    if (reel_fault("trajectories")) return REEL_FAIL(REEL_EIO, "trajectory %" PRId64 ": injected fault", i);
    snprintf(id, sizeof id, "trajectory-%" PRId64, i);
    REEL_TRY(constants(k, &mean, &std));
    REEL_TRY(reel_set_read(k->src, i, 0, NULL, k->text, &s.rows));
    to_raw(k, b, mean, std);
    return reel_set_add(w, &s);
}

/* Position p of a wave as (sample, writer); positions beyond the end repeat the last one and are not stored. */
static int64_t item(const struct maker *k, const struct wave *v, int64_t p, int64_t *writer)
{
    if (p >= v->items) p = v->items - 1;
    for (*writer = 0; p >= part_len(k, v->part[*writer]); ++*writer) p -= part_len(k, v->part[*writer]);
    return v->part[*writer] * k->per_file + p;
}

/* One batch of every group: positions p0 + group*B ... */
static reel_err walk_batch(struct maker *k, const struct wave *v, int64_t p0)
{
    struct reel_run *r = k->r;
    int64_t B = k->g.batch, at = p0 + r->mesh.dp_rank * B, writer;
    int writes = r->mesh.sp.rank == 0 && r->mesh.tp.rank == 0, rows;
    reel_err e = REEL_OK;

    for (int64_t b = 0; b < B; b++) {
        k->index[b] = item(k, v, at + b, &writer);
        if (!e) e = put_text(k, k->index[b], b, &rows);
    }
    REEL_TRY(reel_agree(k->c, e));
    reel_sample(&k->g.sampler, &k->g.io);
    for (int64_t b = 0; b < B && at + b < v->items && writes && !e; b++) {
        item(k, v, at + b, &writer);
        e = store(k, v->w[writer], k->index[b], b);
    }
    return reel_agree(k->c, e);
}

static void progress(struct maker *k)
{
    double now = reel_now(), s = now - k->began;
    int tty = isatty(STDERR_FILENO);
    char eta[32];

    if (k->c->rank || k->f->quiet || (k->done < k->todo && now - k->said < (tty ? 0.5 : 10))) return;
    k->said = now;
    reel_report_hms(eta, sizeof eta, s / (double)k->done * (double)(k->todo - k->done));
    fprintf(stderr, "%strajectories: %" PRId64 " of %" PRId64 ", %.2f samples/s, ETA %s%s", tty ? "\r" : "", k->done, k->todo,
            (double)k->done / s, eta, tty && k->done < k->todo ? "   " : "\n");
}

static reel_err fill_wave(struct maker *k, const struct wave *v)
{
    int64_t stride = k->g.batch * k->r->mesh.dp_size;

    for (int64_t p = 0; p < v->items; p += stride) {
        REEL_TRY(walk_batch(k, v, p));
        k->done += stride < v->items - p ? stride : v->items - p;
        progress(k);
        k->ended = k->stop && k->done < k->todo && reel_stop_near(k->stop, k->c);
        k->cut = k->ended && p + stride < v->items;
        if (k->cut) return REEL_FAIL(REEL_EIO, "a signal or the wall clock ends this run"); /* for the parts that are not whole */
    }
    return REEL_OK;
}

static reel_err make_wave(struct maker *k, struct wave *v)
{
    struct reel_set_desc d;
    char path[PATH_MAX];
    int64_t opened = 0;
    reel_err e = describe(k, &d);

    v->items = 0;
    for (int64_t i = 0; i < v->n; i++) v->items += part_len(k, v->part[i]);
    for (; opened < v->n && !e; opened += !e) e = reel_set_create(&v->w[opened], part_path(k, v->part[opened], path), &d, k->c);
    if (!e) e = fill_wave(k, v);
    for (int64_t i = 0; i < opened; i++) {
        reel_err one = reel_set_commit(v->w[i], e, NULL);
        if (!e) e = one;
    }
    return e;
}

/* ---- what is there already ------------------------------------------------------------------ */

/* A part that is there must be whole and of this recipe. Collective. */
static reel_err judge_part(struct maker *k, int64_t part)
{
    char path[PATH_MAX];
    struct reel_set *s;
    reel_err e = reel_set_open(&s, part_path(k, part, path), k->c);

    if (e) return e;
    e = compare(k->cfg, path, reel_set_info(s)->recipe, k->recipe.text);
    if (!e && reel_set_info(s)->n != part_len(k, part))
        e = reel_config_fail(k->cfg, "method.teacher_path_cache", "%s holds %" PRId64 " samples where %" PRId64 " belong: it was begun with "
                             "another --samples-per-file; remove the folder, or say the same", path, reel_set_info(s)->n, part_len(k, part));
    reel_set_close(s);
    return e;
}

/* Numbers of the parts that are to be made, ascending; NULL with *n 0: none. Collective. */
static reel_err missing_parts(struct maker *k, int64_t **out, int64_t *n)
{
    unsigned char *there = calloc(1, (size_t)k->parts);
    char path[PATH_MAX];
    reel_err e = REEL_OK;

    *n = 0;
    *out = malloc((size_t)k->parts * sizeof **out);
    e = reel_agree(k->c, there && *out ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for %" PRId64 " parts", k->parts));
    for (int64_t i = 0; i < k->parts && !e && k->c->rank == 0; i++) there[i] = (unsigned char)reel_is_file(part_path(k, i, path));
    if (!e) reel_comm_bcast(k->c, there, (size_t)k->parts, 0);
    for (int64_t i = 0; i < k->parts && !e; i++) {
        if (there[i]) e = judge_part(k, i);
        else (*out)[(*n)++] = i, k->todo += part_len(k, i);
    }
    free(there);
    return e;
}

/* What a killed run left behind: its files end in .tmp or .spool.RANK. Rank 0, under the lock. */
static reel_err clean(const struct maker *k)
{
    char **names, path[PATH_MAX];
    size_t n;

    REEL_TRY(reel_list_dir(k->dir, &names, &n));
    for (size_t i = 0; i < n; i++) {
        if (!strstr(names[i], ".h5.tmp") && !strstr(names[i], ".h5.spool.")) continue;
        if (reel_join(path, sizeof path, k->dir, names[i]) == REEL_OK) unlink(path);
    }
    reel_list_free(names, n);
    return REEL_OK;
}

/* Rank 0: the folder, kept for this run. */
static reel_err take_folder(struct maker *k, const struct reel_env *env)
{
    REEL_TRY(reel_restarts_hold(&k->lock, k->dir, "method.teacher_path_cache", k->dir, k->cfg, env));
    return clean(k);
}

/* ---- the whole ----------------------------------------------------------------------------- */

static reel_err judge(struct maker *k) /* Symmetric */
{
    int rows;

    if (!reel_config_role(k->cfg, "teacher"))
        return reel_config_fail(k->cfg, "models", "the trajectories in %s are not there or not complete, and no teacher is configured to make "
                                "them: add the role 'teacher', or name a complete folder", k->dir);
    REEL_TRY(reel_kd_path_init(&k->path, k->cfg, k->o));
    if (k->info->states)
        return reel_config_fail(k->cfg, "training.data.data_path", "holds trajectories; the teacher starts from clips or texts");
    if (k->o->teacher_guidance_scale != 1 && !reel_set_negative(k->src, &rows))
        return reel_config_fail(k->cfg, "method.teacher_guidance_scale", "%g needs the negative prompt, which the data set does not hold; "
                                "1 does without", k->o->teacher_guidance_scale);
    return REEL_OK;
}

static reel_err fits_text(const struct maker *k)
{
    const struct reel_model *m = &k->r->role[REEL_TEACHER];

    if (k->info->text_dim == m->text_dim) return REEL_OK;
    return REEL_FAIL(REEL_ECONFIG, "the teacher takes texts of %d columns (text_dim), the data set has %d", m->text_dim, k->info->text_dim);
}

static void complete_recipe(struct maker *k)
{
    const int64_t *x = k->r->method.shape;
    const struct reel_cfg_data *d = &k->cfg->training.data;

    ask(&k->recipe, k->cfg);
    if (!d->num_latent_t) say(&k->recipe, "num_latent_t %" PRId64 "\n", x[1]);
    if (!d->num_height) say(&k->recipe, "num_height %" PRId64 "\n", 8 * x[3]);
    if (!d->num_width) say(&k->recipe, "num_width %" PRId64 "\n", 8 * x[4]);
    say(&k->recipe, "compute_dtype %s\n", reel_dtype_name(k->r->role[REEL_TEACHER].compute));
    say(&k->recipe, "samples %" PRId64 "\ntexts %08" PRIx32 "\n", k->info->n, reel_set_text_crc(k->src));
}

static reel_err allocate(struct maker *k)
{
    const int64_t *x = k->r->method.shape;
    size_t B = (size_t)k->g.batch, S = (size_t)k->path.states, dim = (size_t)k->info->text_dim;

    k->clip = (size_t)(x[1] * x[2] * x[3] * x[4]);
    k->states = malloc(B * S * k->clip * sizeof *k->states);
    k->raw = malloc(S * k->clip * sizeof *k->raw);
    k->text = malloc(((size_t)k->info->text_rows * dim + 1) * sizeof *k->text);
    k->padded = malloc((size_t)k->g.io.text.n[1] * dim * sizeof *k->padded);
    k->index = malloc(B * sizeof *k->index);
    if (k->states && k->raw && k->text && k->padded && k->index) return REEL_OK;
    return REEL_FAIL(REEL_ENOMEM, "no host memory for the states of %zu trajectories", B);
}

static reel_err make_parts(struct maker *k)
{
    int64_t *part = NULL, n = 0, width = (k->r->mesh.dp_size + k->per_file - 1) / k->per_file;
    struct wave v = { .w = calloc((size_t)width, sizeof *v.w) };
    reel_err e = reel_agree(k->c, v.w ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for %" PRId64 " writers", width));

    if (!e) e = missing_parts(k, &part, &n);
    if (!e && k->c->rank == 0 && !k->f->quiet && n)
        printf("reel: trajectories: %" PRId64 " of %" PRId64 " samples to make, %d states of %d steps, in %s\n", k->todo, k->info->n,
               k->path.states, k->path.steps, k->dir);
    k->began = k->said = reel_now();
    for (int64_t at = 0; at < n && !e && !k->ended; at += v.n) {
        v.part = part + at;
        v.n = n - at < width ? n - at : width;
        e = make_wave(k, &v);
    }
    free(part);
    free(v.w);
    if (k->cut) reel_err_clear();
    return k->cut ? REEL_OK : e;
}

static void say_ended(const struct maker *k)
{
    if (k->c->rank == 0)
        fprintf(stderr, "reel: a signal or the wall clock ends this run after %" PRId64 " of %" PRId64 " trajectories; whole parts "
                        "stay in %s, and exit code %d asks for a requeue\n", k->done, k->todo, k->dir, REEL_EXIT_REQUEUE);
}

static int64_t batch_of(const struct maker *k) /* no larger than a part gives to every group */
{
    int64_t B = k->cfg->training.data.train_batch_size, per = k->per_file < k->info->n ? k->per_file : k->info->n;

    return B < per ? B : per;
}

static reel_err make_all(struct maker *k, const struct reel_env *env)
{
    REEL_TRY(reel_open_data(&k->src, k->cfg, k->f->quiet, k->c));
    k->info = reel_set_info(k->src);
    REEL_TRY(judge(k));
    k->per_file = k->f->samples_per_file;
    k->parts = (k->info->n + k->per_file - 1) / k->per_file;
    /* what sampling rehearses takes as much memory as the walk: two calls in one arena */
    k->g = (struct reel_sampling){ .role = REEL_TEACHER, .info = k->info, .batch = batch_of(k), .sampler = walker(k),
                                   .seed = (uint64_t)k->cfg->training.data.seed };
    REEL_TRY(reel_agree(k->c, k->c->rank ? REEL_OK : take_folder(k, env)));
    REEL_TRY(reel_run_open_sampling(k->r, k->cfg, &k->g, env, k->c));
    REEL_TRY(fits_text(k));
    complete_recipe(k);
    REEL_TRY(reel_agree(k->c, allocate(k)));
    put_uncond(k);
    REEL_TRY(make_parts(k));
    if (k->ended) say_ended(k);
    return reel_run_close(k->r);
}

static reel_err refuse_method(const struct reel_config *cfg)
{
    const struct reel_method_ops *const *m = reel_methods;

    while (*m && !(*m)->trajectories) m++;
    return reel_config_fail(cfg, "method", "%s reads no trajectories%s%s%s", cfg->method.kind->name, *m ? "; " : "",
                            *m ? (*m)->name : "", *m ? " does" : "");
}

reel_err reel_trajectories_make(const struct reel_config *cfg, const struct reel_trajectories_flags *f,
                                const struct reel_env *env, struct reel_comm *world, struct reel_stop *stop, int *ended)
{
    struct maker *k = calloc(1, sizeof *k);
    reel_err e = k && (k->r = calloc(1, sizeof *k->r)) ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for a run");

    e = reel_agree(world, e);
    if (!e && !reel_trajectories_of(cfg))
        e = refuse_method(cfg);
    if (!e) {
        k->cfg = cfg, k->f = f, k->c = world, k->lock = -1, k->o = reel_trajectories_of(cfg), k->stop = stop;
        k->dir = f->output ? f->output : k->o->teacher_path_cache;
        e = make_all(k, env);
        if (ended) *ended = k->ended;
        reel_set_close(k->src);
        if (k->lock >= 0) close(k->lock);
        free(k->states), free(k->raw), free(k->text), free(k->padded), free(k->index);
    }
    if (k) free(k->r);
    free(k);
    return e;
}

reel_err reel_trajectories_plan(const struct reel_config *cfg, const struct reel_env *env, struct reel_comm *world)
{
    struct reel_run r;
    struct maker k = { .r = &r, .o = reel_trajectories_of(cfg) };
    reel_err e;

    if (!k.o || !reel_config_role(cfg, "teacher")) return REEL_OK;
    REEL_TRY(reel_kd_path_init(&k.path, cfg, k.o));
    k.g = (struct reel_sampling){ .role = REEL_TEACHER, .batch = cfg->training.data.train_batch_size, .sampler = walker(&k) };
    e = reel_run_plan_sampling(&r, cfg, &k.g, env, world);
    if (e == REEL_OK && world->rank == 0) {
        printf("before it, the teacher's trajectories:\n");
        reel_report_plan(&r, !reel_backend_on_device(r.be));
    }
    return e;
}

/* Whether the folder holds any part. Rank 0's view on every rank. */
static int any_part(const char *dir, struct reel_comm *c)
{
    char **names;
    size_t n = 0;
    int any = 0;

    if (c->rank == 0 && reel_is_dir(dir) && reel_list_dir(dir, &names, &n) == REEL_OK) {
        for (size_t i = 0; i < n; i++) any |= strlen(names[i]) > 3 && !strcmp(names[i] + strlen(names[i]) - 3, ".h5");
        reel_list_free(names, n);
    }
    reel_comm_bcast(c, &any, sizeof any, 0);
    return any;
}

/* Parts that are there: of this configuration, and *complete. Collective. */
static reel_err look(const struct reel_config *cfg, const char *dir, struct reel_comm *c, int *complete)
{
    struct recipe want = { .n = 0 };
    struct reel_set *s;
    reel_err e;

    REEL_TRY(reel_set_open_list(&s, &(struct reel_set_source){ dir, 1 }, 1, c));
    ask(&want, cfg);
    if (reel_set_info(s)->states) e = compare(cfg, dir, reel_set_info(s)->recipe, want.text);
    else e = reel_config_fail(cfg, "method.teacher_path_cache", "%s holds clips, not trajectories; clips are training.data.data_path", dir);
    *complete = reel_set_info(s)->n == number_of(reel_set_info(s)->recipe, "samples");
    reel_set_close(s);
    return e;
}

reel_err reel_trajectories_ensure(const struct reel_config *cfg, const struct reel_run_flags *flags, struct reel_comm *world,
                                  struct reel_stop *stop, int *ended)
{
    const struct reel_kd_opts *o = reel_trajectories_of(cfg);
    struct reel_trajectories_flags f = { .samples_per_file = REEL_PART_SAMPLES, .quiet = flags->quiet };
    int complete = 0;

    *ended = 0;
    if (!o) return REEL_OK;
    if (any_part(o->teacher_path_cache, world)) REEL_TRY(look(cfg, o->teacher_path_cache, world, &complete));
    return complete ? REEL_OK : reel_trajectories_make(cfg, &f, flags->env, world, stop, ended);
}
