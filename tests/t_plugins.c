/* The method and the callback of tests/plugins, built in: the gradients of the adversarial losses against
 * central differences of the metrics along them, the update ratio against weights looked at. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "be/ops.h"
#include "kernels/scalar.h"
#include "tap.h"
#include "train/run.h"
#include "train/schema.h"

extern const struct reel_model_ops reel_model_patch_mlp;
extern const struct reel_method_ops reel_method_adversarial;
extern const struct reel_callback_ops reel_callback_update_ratio;

static const char text[] =
    "models:\n"
    "  student: {_target_: in:patch_mlp, init_from: DIR, init: random, flow_shift: 3.0}\n"
    "  critic: {_target_: in:patch_mlp, init_from: DIR, init: random}\n"
    "method: {_target_: in:adversarial, critic_learning_rate: 2.0e-3, weight: 0.7, ramp: 0}\n"
    "training:\n"
    "  data: {data_path: SET, demo_clips: 8, train_batch_size: 2, seed: 3, num_latent_t: 2, num_height: 32, num_width: 32}\n"
    "  optimizer: {learning_rate: 1.0e-3}\n"
    "  loop: {max_train_steps: 4}\n"
    "callbacks:\n"
    "  ratio: {_target_: in:update_ratio, beta: 0.75}\n";

static struct reel_all_kinds kinds;
static struct reel_run r;

static reel_err configure(struct reel_config **cfg)
{
    static char dir[4096], set[4096];
    const char *over[] = { "--models.student.init_from", dir, "--models.critic.init_from", dir, "--training.data.data_path", set };
    struct reel_config_src src = { .text = text, .len = sizeof text - 1, .name = "text", .overrides = over, .n_overrides = 6 };

    snprintf(dir, sizeof dir, "%s/tests/plugins/patch_mlp", getenv("REEL_SRC"));
    snprintf(set, sizeof set, "%s/data.h5", getenv("TMPDIR"));
    reel_schema_init(&kinds);
    reel_schema_add(&kinds, REEL_KIND_MODEL, &reel_model_patch_mlp, "in:patch_mlp");
    reel_schema_add(&kinds, REEL_KIND_METHOD, &reel_method_adversarial, "in:adversarial");
    reel_schema_add(&kinds, REEL_KIND_CALLBACK, &reel_callback_update_ratio, "in:update_ratio");
    return reel_config_parse(&src, &kinds.schema, cfg);
}

/* ---- weights and gradients of a role as one vector; one rank holds all of it ---- */

static int64_t count(const struct reel_model *m)
{
    int64_t n = 0;

    for (int i = 0; i < m->n_def; i++) n += reel_numel(reel_param_shard(m->ps, i).w);
    return n;
}

static float *get(struct reel_model *m, int grad)
{
    float *v = malloc((size_t)count(m) * sizeof *v), *at = v;

    for (int i = 0; i < m->n_def; i++) {
        struct reel_shard s = reel_param_shard(m->ps, i);
        reel_get(&r.s, at, grad ? s.g : s.w);
        at += reel_numel(s.w);
    }
    return v;
}

static void put(struct reel_model *m, const float *v)
{
    for (int i = 0; i < m->n_def; i++) {
        struct reel_shard s = reel_param_shard(m->ps, i);
        reel_put(&r.s, s.w, v);
        v += reel_numel(s.w);
    }
    reel_sync(&r.s);
}

/* No weight is zero, so that every gradient is of some size. */
static void stir(struct reel_model *m, uint64_t key)
{
    float *w = get(m, 0);

    for (int64_t i = 0; i < count(m); i++) w[i] += 0.1f * reel_normal(key, 0, 0, 0, (uint64_t)i);
    put(m, w);
    free(w);
}

static double length(const float *v, const float *from, int64_t n)
{
    double s = 0;

    for (int64_t i = 0; i < n; i++) s += pow((double)v[i] - (from ? (double)from[i] : 0), 2);
    return sqrt(s);
}

/* ---- the method's losses ---- */

static double metric(const struct reel_step *st, const char *name)
{
    for (int i = 0; i < st->n_metric; i++)
        if (!strcmp(st->metric[i].name, name)) return st->metric[i].scale * reel_exact_value(st->metric[i].sum);
    return (double)NAN;
}

/* One micro-batch of a step: the loss that the trained role lowers. */
static double loss(long step, unsigned *trained)
{
    struct reel_step st = { .step = step, .rounds = 1 };

    for (int i = 0; i < REEL_NROLE; i++)
        if (r.roles & REEL_ROLE(i)) reel_grads_zero(r.role[i].ps);
    reel_arena_reset(&r.step_mem, 0);
    reel_arena_reset(&r.host, 0);
    r.method.ops->step(&r.method, &r.batch, &st);
    for (int i = 0; i < REEL_NROLE; i++)
        if (r.roles & REEL_ROLE(i)) reel_grads_finish(r.role[i].ps);
    *trained = st.trained;
    if (st.trained == REEL_ROLE(REEL_CRITIC)) return metric(&st, "critic_loss");
    return metric(&st, "finetune_loss") + 0.7 * metric(&st, "adversarial_loss");
}

static void slope_along_gradient(long step, enum reel_role role)
{
    struct reel_model *m = &r.role[role];
    int64_t n = count(m);
    unsigned trained;
    double l = loss(step, &trained), h = 2e-3, up, down, size, off;
    float *g = get(m, 1), *w = get(m, 0), *moved = malloc((size_t)n * sizeof *moved);

    TAP_OK(trained == REEL_ROLE(role) && isfinite(l), "step %ld trains the %s alone, loss %.4f", step, reel_role_names[role], l);
    size = length(g, NULL, n);
    for (int64_t i = 0; i < n; i++) moved[i] = w[i] + (float)(h * (double)g[i] / size);
    put(m, moved);
    up = loss(step, &trained);
    for (int64_t i = 0; i < n; i++) moved[i] = w[i] - (float)(h * (double)g[i] / size);
    put(m, moved);
    down = loss(step, &trained);
    put(m, w);
    off = fabs((up - down) / (2 * h) / size - 1);
    TAP_OK(off < 1e-3, "the %s's gradient of length %.4f, off by %.1e", reel_role_names[role], size, off);
    free(g);
    free(w);
    free(moved);
}

static void losses(void)
{
    reel_fill(&r.s, r.batch.x0, 0);
    reel_draw_normal(r.draws, &r.s, r.batch.x0, "test/latents", (struct reel_where){ .nb = 2, .b_global = 2 });
    reel_fill(&r.s, r.batch.text, 0.5);
    stir(&r.role[REEL_STUDENT], 1);
    stir(&r.role[REEL_CRITIC], 2);
    slope_along_gradient(1, REEL_CRITIC);
    slope_along_gradient(2, REEL_STUDENT);
}

/* ---- whole steps ---- */

static double scalar(const struct reel_step *st, const char *name)
{
    for (int i = 0; i < st->n_scalar; i++)
        if (!strcmp(st->scalar[i].name, name)) return st->scalar[i].value;
    return (double)NAN;
}

static void steps(void)
{
    static const enum reel_role order[] = { REEL_CRITIC, REEL_STUDENT, REEL_CRITIC, REEL_STUDENT };
    double average[REEL_NROLE] = { 0 }, rate[REEL_NROLE] = { [REEL_STUDENT] = 1e-3, [REEL_CRITIC] = 2e-3 };
    int seen[REEL_NROLE] = { 0 };
    struct reel_step st;

    reel_run_first(&r);
    for (long i = 1; i <= 4; i++) {
        enum reel_role role = order[i - 1];
        struct reel_model *m = &r.role[role];
        float *before = get(m, 0), *after;
        double want, largest = 0;
        char name[64];

        if (reel_run_step(&r, i, &st)) {
            TAP_OK(0, "step %ld: %s", i, reel_errrec()->msg);
            return;
        }
        after = get(m, 0);
        want = length(after, before, count(m)) / length(after, NULL, count(m));
        average[role] = seen[role]++ ? 0.75 * average[role] + 0.25 * want : want;
        snprintf(name, sizeof name, "update_ratio/%s", reel_role_names[role]);
        TAP_OK(fabs(scalar(&st, name) / want - 1) < 1e-9, "step %ld: %s %.6g", i, name, want);
        strcat(name, "/average");
        TAP_OK(fabs(scalar(&st, name) / average[role] - 1) < 1e-9, "step %ld: its average %.6g", i, average[role]);
        for (int64_t k = 0; seen[role] == 1 && k < count(m); k++) largest = fmax(largest, fabs((double)after[k] - (double)before[k]));
        if (seen[role] == 1) /* AdamW's first update is the rate itself, but for decay */
            TAP_OK(fabs(largest / rate[role] - 1) < 0.05, "the %s's own learning rate: largest change %.2e", reel_role_names[role], largest);
        free(before);
        free(after);
    }
}

int main(int argc, char **argv)
{
    struct reel_run_flags flags = { .quiet = 1 };
    struct reel_config *cfg = NULL;
    struct reel_comm world;
    reel_err e;

    if (reel_comm_start(&world, &argc, &argv)) return 99;
    e = configure(&cfg);
    if (e == REEL_OK) e = reel_run_open(&r, cfg, &flags, &world);
    TAP_OK(e == REEL_OK, "the run opens%s%s", e ? ": " : "", e ? reel_errrec()->msg : "");
    if (e == REEL_OK) {
        losses();
        steps();
        TAP_OK(reel_run_close(&r) == REEL_OK, "and closes");
    }
    reel_config_free(cfg);
    reel_comm_stop();
    return tap_done();
}
