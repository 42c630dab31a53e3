/* Every method as a whole, on the smallest models: its loss against central differences, memory as planned, data sets
 * without latents or without a negative prompt, numbers that are not finite. */
#include <math.h>

#include "base/rng.h"
#include "data/demo_set.h"
#include "data/set.h"
#include "data_util.h"
#include "kernels/scalar.h"
#include "train/run.h"
#include "train/schema.h"

static struct reel_comm world;
static char test[32];

#define STUDENT "  student: {_target_: fastvideo.train.models.wan.%s, init_from: '%s/tests/tiny', init: random, flow_shift: 3.0%s}\n"
#define OTHERS                                                                                     \
    "  teacher: {_target_: fastvideo.train.models.wan.WanModel, init_from: '%1$s/tests/tiny', init: random, trainable: false}\n" \
    "  critic: {_target_: fastvideo.train.models.wan.WanModel, init_from: '%1$s/tests/tiny', init: random}\n"
#define FT "fastvideo.train.methods.fine_tuning."
#define DM "fastvideo.train.methods.distribution_matching."
#define CRITIC "real_score_guidance_scale: 3.5, fake_score_learning_rate: 1.0e-30, fake_score_betas: [0.0, 0.999], fake_score_lr_scheduler: constant"

/* The student's gradient is that of `loss`, or, without a name, of <student/score/grad, student/rollout/x0>/n, which is
 * what distribution matching descends: by differences if a clip comes from one evaluation alone. */
struct method { const char *name, *model, *extra, *method, *loss; int roles, frames; };
static const struct method methods[] = {
    { "sft", "WanModel", "", FT "FineTuneMethod", "finetune_loss", 1, 2 },
    { "dfsft", "WanModel", "", FT "DiffusionForcingSFTMethod, chunk_size: 2", "dfsft_loss", 1, 3 },
    { "dfsft, causal", "WanCausalModel", ", num_frames_per_block: 2", FT "DiffusionForcingSFTMethod, chunk_size: 2", "dfsft_loss", 1, 5 },
    { "tfsft", "WanCausalModel", ", num_frames_per_block: 2", FT "TeacherForcingSFTMethod, chunk_size: 2", "dfsft_loss", 1, 4 },
    { "dmd2, data_latent", "WanModel", "", DM "DMD2Method, rollout_mode: data_latent, dmd_denoising_steps: [1000, 750, 500], " CRITIC, NULL, 3, 2 },
    { "dmd2, simulate", "WanModel", "", DM "DMD2Method, rollout_mode: simulate, dmd_denoising_steps: [900], " CRITIC, NULL, 3, 3 },
    { "dmd2, simulate, parity", "WanModel", "", DM "DMD2Method, rollout_mode: simulate, dmd_denoising_steps: [900], parity: fastvideo, " CRITIC, NULL, 3, 3 },
    { "self_forcing", "WanCausalModel", ", num_frames_per_block: 3", DM "SelfForcingMethod, rollout_mode: simulate, dmd_denoising_steps: [900], " CRITIC, NULL, 3, 3 },
};
/* the same with more steps and blocks, for what is not a difference of one evaluation */
static const struct method long_ones[] = {
    { "sft", "WanModel", "", FT "FineTuneMethod", NULL, 1, 2 },
    { "dfsft", "WanCausalModel", ", num_frames_per_block: 2", FT "DiffusionForcingSFTMethod, chunk_size: 2", NULL, 1, 5 },
    { "tfsft", "WanCausalModel", ", num_frames_per_block: 2", FT "TeacherForcingSFTMethod, chunk_size: 2", NULL, 1, 5 },
    { "dmd2, data_latent", "WanModel", "", DM "DMD2Method, rollout_mode: data_latent, dmd_denoising_steps: [1000, 750, 500], " CRITIC, NULL, 3, 2 },
    { "dmd2, simulate", "WanModel", "", DM "DMD2Method, rollout_mode: simulate, dmd_denoising_steps: [1000, 750, 500], " CRITIC, NULL, 3, 3 },
    { "self_forcing", "WanCausalModel", ", num_frames_per_block: 2", DM "SelfForcingMethod, rollout_mode: simulate, chunk_size: 2, context_noise: 50, dmd_denoising_steps: [1000, 750, 500], " CRITIC, NULL, 3, 5 },
};
#define COUNT(a) (int)(sizeof(a) / sizeof *(a))

/* ---- a run ---- */

struct probe {
    struct reel_run run;
    struct reel_config *cfg;
    struct reel_all_kinds kinds;
    float *x0, *g;     /* noted in the step */
    int64_t n;
    float *grad[REEL_NROLE]; /* all shards of a role, in the order of the table */
    double total;            /* loss of the step */
};

static int64_t weights_of(const struct reel_model *m)
{
    int64_t n = 0;

    for (int i = 0; i < m->n_def; i++) n += reel_numel(reel_param_shard(m->ps, i).w);
    return n;
}

/* All shards of a role out of, or into, one array. */
static void move(struct probe *p, int role, float *all, int grad, int back)
{
    struct reel_model *m = &p->run.role[role];

    for (int i = 0; i < m->n_def; i++) {
        struct reel_shard s = reel_param_shard(m->ps, i);
        if (back) reel_put(&p->run.s, s.w, all);
        else reel_get(&p->run.s, all, grad ? s.g : s.w);
        all += reel_numel(s.w);
    }
}

static void on_note(void *ctx, const char *name, const struct reel_step *st, const struct reel_batch *b, reel_tensor t)
{
    struct probe *p = ctx;
    float **to = !strcmp(name, "student/rollout/x0") ? &p->x0 : !strcmp(name, "student/score/grad") ? &p->g : NULL;

    (void)st, (void)b;
    if (!to) return;
    p->n = reel_numel(t);
    *to = realloc(*to, (size_t)p->n * sizeof **to);
    reel_get(&p->run.s, *to, t);
}

static void on_grads(void *ctx, const struct reel_step *st)
{
    struct probe *p = ctx;

    for (int i = 0; i < REEL_NROLE; i++)
        if (st->trained & REEL_ROLE(i) && p->grad[i]) move(p, i, p->grad[i], 1, 0);
}

/* init: random leaves the last layer at zero, and roles alike: neither would test much. */
static void scramble(struct probe *p, int role)
{
    struct reel_model *m = &p->run.role[role];
    int64_t n = weights_of(m), at = 0;
    float *w = malloc((size_t)(n + 1) * sizeof *w);

    move(p, role, w, 0, 0);
    for (int i = 0; i < m->n_def; i++) {
        struct reel_shard s = reel_param_shard(m->ps, i);
        int64_t k = reel_numel(s.w), row = s.rows ? k / s.rows : 0;
        for (int64_t e = 0; e < k; e++)
            w[at++] += 0.4f / sqrtf((float)(m->def[i].nd > 1 ? row : 16)) *
                       reel_normal(reel_rng_key((uint64_t)role, m->def[i].name), 0, 0, 0, (uint64_t)(s.row0 * row + e));
    }
    move(p, role, w, 0, 1);
    free(w);
}

static reel_err open_run(struct probe *p, const struct method *m, const char *data, const char *more)
{
    static char text[8192];
    const char *src = getenv("REEL_SRC");
    int n = snprintf(text, sizeof text, "models:\n" STUDENT, m->model, src, m->extra);
    struct reel_config_src c = { .text = text, .name = m->name };

    if (m->roles == 3) n += snprintf(text + n, sizeof text - (size_t)n, OTHERS, src);
    n += snprintf(text + n, sizeof text - (size_t)n,
        "method: {_target_: %s}\ntraining:\n  distributed: {num_gpus: %d, hsdp_shard_dim: %d}\n  threads: 1\n"
        "  data: {data_path: '%s', train_batch_size: 2, seed: 3, num_latent_t: %d, num_height: 32, "
        "num_width: 32%s}\n  optimizer: {learning_rate: 1.0e-30, betas: [0.0, 0.999], weight_decay: 0.0}\n"
        "  loop: {max_train_steps: 1}\npipeline: {flow_shift: 5.0}\n",
        m->method, world.size, world.size, data, m->frames, more);
    c.len = (size_t)n;
    REEL_TRY(reel_config_parse(&c, reel_schema_init(&p->kinds), &p->cfg));
    REEL_TRY(reel_run_open(&p->run, p->cfg, &(struct reel_run_flags){ .quiet = 1 }, &world));
    p->run.method.note = on_note;
    p->run.method.note_ctx = p;
    p->run.on_grads = on_grads;
    p->run.on_grads_ctx = p;
    for (int i = 0; i < REEL_NROLE; i++)
        if (p->run.roles & REEL_ROLE(i)) scramble(p, i);
    reel_run_first(&p->run);
    return REEL_OK;
}

/* One step at the present weights: the rate leaves them as they are. */
static reel_err step(struct probe *p)
{
    struct reel_step st;

    REEL_TRY(reel_run_step(&p->run, 1, &st));
    p->total = st.metric[0].value;
    return REEL_OK;
}

static double metric(struct probe *p, const char *name)
{
    struct reel_step st;

    if (reel_run_step(&p->run, 1, &st)) exit(99);
    for (int i = 0; i < st.n_metric; i++)
        if (!strcmp(st.metric[i].name, name)) return st.metric[i].value;
    exit(99);
}

static void close_run(struct probe *p)
{
    reel_run_close(&p->run);
    reel_config_free(p->cfg);
    for (int i = 0; i < REEL_NROLE; i++) free(p->grad[i]);
    free(p->x0), free(p->g);
}

/* ---- gradients ---- */

static const float *target; /* g at the weights where the gradient was taken */

static double loss_at(struct probe *p, const char *name)
{
    double sum = 0;

    if (name) return metric(p, name);
    if (step(p)) reel_err_print(reel_errrec()), exit(99);
    for (int64_t i = 0; i < p->n; i++) sum += (double)target[i] * (double)p->x0[i];
    return sum / (double)p->n;
}

/* (L(w + h d) - L(w - h d))/2h */
static double difference(struct probe *p, int role, const char *name, const float *w, const float *d, double h)
{
    int64_t n = weights_of(&p->run.role[role]);
    float *at = malloc((size_t)n * sizeof *at);
    double l[2];

    for (int k = 0; k < 2; k++) {
        for (int64_t i = 0; i < n; i++) at[i] = w[i] + (float)(k ? -h : h) * d[i];
        move(p, role, at, 0, 1);
        l[k] = loss_at(p, name);
    }
    free(at);
    return (l[0] - l[1]) / (2 * h);
}

/* Slopes of the loss along directions that hold every third element of the gradient, and a little of anything, against
 * their products with the gradient. Two differences, so that the cubic term goes: what is left is the rounding of f32. */
static double worst_slope(struct probe *p, int role, const char *name, const float *g)
{
    int64_t n = weights_of(&p->run.role[role]);
    float *w = malloc((size_t)n * sizeof *w);
    double worst = 0;

    move(p, role, w, 0, 0);
    for (int third = 0; third < 3; third++) {
        double want = 0, have, norm = 0, h = 2e-3;
        float *d = calloc((size_t)n, sizeof *d);
        for (int64_t i = third; i < n; i += 3) norm += (double)g[i] * (double)g[i];
        norm = sqrt(norm);
        for (int64_t i = 0; i < n; i++)
            d[i] = (i % 3 == third ? (float)((double)g[i] / norm) : 0) + 0.1f / sqrtf((float)n) * reel_normal(5, 0, 0, 0, (uint64_t)i);
        for (int64_t i = 0; i < n; i++) want += (double)g[i] * (double)d[i];
        have = (4 * difference(p, role, name, w, d, h) - difference(p, role, name, w, d, 2 * h)) / 3;
        worst = fmax(worst, fabs(have - want) / fabs(want));
        free(d);
    }
    move(p, role, w, 0, 1);
    free(w);
    return worst;
}

static void check_role(struct probe *p, const struct method *m, int role, const char *loss)
{
    float *keep = NULL;
    double worst;

    float *grad = p->grad[role] = malloc((size_t)weights_of(&p->run.role[role]) * sizeof *grad);
    if (step(p)) reel_err_print(reel_errrec()), exit(99);
    p->grad[role] = NULL; /* later steps have other ones */
    if (!loss) {
        keep = malloc((size_t)p->n * sizeof *keep);
        memcpy(keep, p->g, (size_t)p->n * sizeof *keep);
    }
    target = keep;
    worst = worst_slope(p, role, loss, grad);
    TAP_OK(worst < 1e-4, "%s: slopes of the %s's loss against its gradient, %.1e", m->name, p->run.role[role].role, worst);
    free(grad);
    free(keep);
}

static void gradients(const struct method *m)
{
    struct probe p = { 0 };

    if (open_run(&p, m, scratch(test, "data.h5"), "")) {
        TAP_OK(0, "%s: %s", m->name, reel_errrec()->msg);
        return;
    }
    check_role(&p, m, REEL_STUDENT, m->loss);
    if (m->roles == 3) check_role(&p, m, REEL_CRITIC, "fake_score_loss");
    close_run(&p);
}

/* ---- memory ---- */

static void memory(const struct method *m, const char *more)
{
    struct probe p = { 0 };
    struct reel_arena *a[REEL_RUN_ARENAS];
    int n, same = 1;
    reel_err e = open_run(&p, m, scratch(test, "data.h5"), more);

    if (!e) e = step(&p);
    n = e ? 0 : reel_run_arenas(&p.run, a);
    for (int i = 0; i < n; i++) {
        size_t peak = a[i]->peak;
        if (peak == a[i]->cap) continue;
        same = 0;
        if (!tap_quiet) printf("# %s: %zu bytes of %zu planned\n", a[i]->name, peak, a[i]->cap);
    }
    TAP_OK(!e && same, "%s%s: every arena's peak is what was planned %s", m->name, more, reel_errrec()->msg);
    close_run(&p);
}

/* ---- data sets ---- */

static void make_texts(const char *path, int negative)
{
    float text[3 * 64], none[64] = { 0 };
    struct reel_set_desc d = { .kind = "text_only", .text_dim = 64, .pad_to = 12, .dtype = REEL_F32, .family = "test", .negative = none,
                               .negative_rows = 1, .have_negative = negative };
    struct reel_set_writer *w;

    if (reel_set_create(&w, path, &d, &world)) exit(99);
    for (int64_t i = world.rank; i < 8; i += world.size) {
        struct reel_set_sample s = { .key = i, .text = text, .rows = 3 };
        for (int k = 0; k < 3 * 64; k++) text[k] = reel_normal(9, 0, 0, (uint32_t)i, (uint64_t)k);
        reel_set_add(w, &s);
    }
    if (reel_set_commit(w, REEL_OK, NULL)) exit(99);
}

static void refused(const struct method *m, const char *data, const char *more, const char *why)
{
    struct probe p = { 0 };
    reel_err e = open_run(&p, m, data, more);

    TAP_OK(e == REEL_ECONFIG && strstr(reel_errrec()->msg, why), "%s: %s", m->name, reel_errrec()->msg);
    reel_err_clear();
    close_run(&p);
}

static void texts(const struct method *m)
{
    const char *with = strdup(scratch(test, "texts.h5")), *without = strdup(scratch(test, "bare.h5"));
    struct probe p = { 0 };
    struct method zero = *m;
    char keys[512];
    reel_err e;

    make_texts(with, 1);
    make_texts(without, 0);
    e = open_run(&p, m, with, ", preprocessed_data_type: text_only");
    if (!e) e = step(&p);
    TAP_OK(!e && isfinite(p.total) && !p.run.batch.x0.p, "%s: trains on texts alone (%.4f) %s", m->name, p.total, reel_errrec()->msg);
    close_run(&p);
    refused(m, without, ", preprocessed_data_type: text_only", "the data set holds none; use keep or zero");
    snprintf(keys, sizeof keys, "%s, cfg_uncond: {text: zero}", m->method);
    zero.method = keys;
    p = (struct probe){ 0 };
    e = open_run(&p, &zero, without, ", preprocessed_data_type: text_only");
    if (!e) e = step(&p);
    TAP_OK(!e && isfinite(p.total), "%s: zero needs no negative prompt %s", m->name, reel_errrec()->msg);
    close_run(&p);
}

/* ---- numbers that are not finite ---- */

static void broken_teacher(const struct method *m, int hidden)
{
    struct probe p = { 0 };
    reel_err e = open_run(&p, m, scratch(test, "data.h5"), "");

    if (!e) {
        struct reel_shard s = reel_param_shard(p.run.role[REEL_TEACHER].ps, 0);
        if (s.rows) reel_fill(&p.run.s, s.w, (double)NAN);
        e = step(&p);
    }
    if (hidden) TAP_OK(!e && isfinite(p.total), "%s: a NaN of the teacher counts as 0 %s", m->name, reel_errrec()->msg);
    else TAP_OK(e == REEL_ENUMERIC && strstr(reel_errrec()->msg, "weight of patch_embedding.weight of the teacher"), "%s: a NaN of the teacher: %s", m->name, reel_errrec()->msg);
    reel_err_clear();
    close_run(&p);
}

int main(int argc, char **argv)
{
    if (reel_comm_start(&world, &argc, &argv) != REEL_OK) return 99;
    snprintf(test, sizeof test, "t_method_%d", world.size);
    tap_quiet = world.rank != 0;
    if (reel_set_make_demo(&(struct reel_demo_args){ .path = scratch(test, "data.h5"), .seed = 1, .clips = 8, .height = 32, .width = 32, .frames = 17 }, &world))
        return 99;
    for (int i = 0; i < COUNT(methods) && world.size == 1; i++) gradients(&methods[i]);
    for (int i = 0; i < COUNT(long_ones); i++) memory(&long_ones[i], "");
    refused(&methods[0], (make_texts(scratch(test, "texts.h5"), 1), scratch(test, "texts.h5")), "", "text only");
    texts(&methods[5]);
    texts(&methods[7]);
    broken_teacher(&methods[5], 0);
    broken_teacher(&methods[6], 1);
    reel_comm_barrier(&world);
    if (world.rank == 0) reel_rmtree(scratch(test, ""));
    reel_comm_stop();
    return tap_done();
}
