/* Knowledge distillation: where the teacher's walk is written down, what is refused, the gradient against central
 * differences of the loss. */
#include <math.h>

#include "methods/kd.h"
#include "tests/cfg.h"
#include "train/run.h"
#include "train/trajectories.h"

static struct reel_comm world;
static char *yaml;

static struct reel_config *with(int n, const char *const *over)
{
    return cfg_parse(yaml, "kd", n, over, 0);
}

static void points(void)
{
    const char *over[] = { "--method.teacher_inference_steps", "48" };
    static const int at[] = { 0, 12, 24, 36, 48 };
    static const float t[] = { 1000, 937.5f, 833.333333f, 625, 0 };
    struct reel_config *cfg = with(2, over);
    struct reel_kd_path p;
    int bad = 0;

    if (!cfg || reel_kd_path_init(&p, cfg, cfg->method.priv)) exit(99);
    for (int k = 0; k < 5; k++) bad += p.at[k] != at[k] || fabsf(p.t[k] - t[k]) > 1e-4f;
    TAP_OK(p.steps == 48 && p.states == 5 && !bad, "the defaults are the states that Self-Forcing starts from: 1000, 937.5, 833.33, 625");
    for (int i = 0; i < 48; i++) { /* sh(5; 1 - i/48) */
        double u = 1 - i / 48.0;
        bad += fabs(5 * u / (1 + 4 * u) - (double)p.sigma[i]) > 2e-7;
    }
    TAP_OK(!bad && p.sigma[48] == 0, "levels are table B of 48 points, then 0");
    reel_config_free(cfg);
}

static void refusals(void)
{
    static const struct { const char *over[4]; int n; const char *message; } t[] = {
        { { "--method.t_list", "[999, 500]" }, 2, "command line: method.t_list: ends with 500; the last entry is the clean clip, 0" },
        { { "--method.t_list", "[0]" }, 2, "command line: method.t_list: 1 entries; 2 to 32 are possible" },
        { { "--method.t_list", "[500, 500, 0]" }, 2, "command line: method.t_list: 500 after 500: the list must be strictly decreasing" },
        { { "--method.t_list", "[999, 998, 0]" }, 2, "command line: method.t_list: 999 and 998 are both nearest to the same of the teacher's 8 steps" },
        { { "--method.student_sample_steps", "3" }, 2, "command line: method.student_sample_steps: 3, but t_list has 4 entries before the 0" },
        { { "--method.teacher_path_cache", "null" }, 2, "kd:6:3: method: missing key 'teacher_path_cache'" },
        { { "--models.teacher.trainable", "true" }, 2, "command line: models.teacher.trainable: the method kd keeps the teacher frozen" },
        { { "--training.data.preprocessed_data_type", "text_only", "--training.data.num_height", "0" }, 4, "command line: training.data.num_height" },
        { { "--models.critic._target_", "wan", "--models.critic.init_from", "x" }, 4, NULL },
    };

    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct reel_config *cfg = with(t[i].n, t[i].over);
        const char *want = t[i].message, *msg = reel_errrec()->msg;

        TAP_OK(want ? !cfg && !strncmp(msg, want, strlen(want)) : cfg && cfg->n_warnings == 1, "%s", cfg ? cfg->warning[0] : msg);
        reel_config_free(cfg);
    }
}

/* ---- dL/dw by central differences of the reported loss ------------------------------------- */

struct probe { struct reel_run *r; float *g, *w; int64_t n; };

/* Every value of the student's shard: gradients or weights, out of or into one vector. */
static void each(struct probe *p, float *v, int grad, int put)
{
    struct reel_model *m = &p->r->role[REEL_STUDENT];
    int64_t at = 0;

    for (int i = 0; i < m->n_def; i++) {
        struct reel_shard s = reel_param_shard(m->ps, i);
        if (v && put) reel_put(&p->r->s, s.w, v + at);
        else if (v) reel_get(&p->r->s, v + at, grad ? s.g : s.w);
        at += reel_numel(s.w);
    }
    reel_sync(&p->r->s);
    p->n = at;
}

static void keep_grads(void *ctx, const struct reel_step *st)
{
    struct probe *p = ctx;

    (void)st;
    if (p->g) each(p, p->g, 1, 0);
}

static double loss_at(struct probe *p, const float *w, const float *dir, double h)
{
    struct reel_step st;
    float *v = malloc((size_t)p->n * sizeof *v);

    for (int64_t i = 0; i < p->n; i++) v[i] = (float)((double)w[i] + h * (double)dir[i]);
    each(p, v, 0, 1);
    free(v);
    if (reel_run_step(p->r, 1, &st)) {
        reel_err_print(reel_errrec());
        exit(99);
    }
    for (int i = 0; i < st.n_metric; i++)
        if (!strcmp(st.metric[i].name, "kd_loss")) return st.metric[i].value;
    return (double)NAN;
}

/* A golden folder's first step on its own weights. */
static void central(const char *folder)
{
    char path[4200], set[4200], tmp[4][4300];
    const char *over[] = { "--training.loop.max_train_steps=1", "--training.checkpoint.output_dir=null", "--training.data.training_cfg_rate=0",
                           tmp[0], tmp[1], tmp[2], tmp[3] };
    struct reel_run_flags flags = { .quiet = 1 };
    struct reel_run *r = calloc(1, sizeof *r);
    struct probe p = { .r = r };
    struct reel_config *cfg;
    double slope, dot = 0, h = 0.002;
    float *dir;
    size_t len;
    char *text;

    snprintf(path, sizeof path, "tests/golden/%s/config.yaml", folder);
    text = cfg_read(path, &len);
    snprintf(path, sizeof path, "%s", cfg_path("tests/golden/"));
    snprintf(set, sizeof set, "%s/%s.h5", getenv("TMPDIR"), folder);
    snprintf(tmp[0], sizeof tmp[0], "--training.data.data_path=%s", set);
    snprintf(tmp[1], sizeof tmp[1], "--method.teacher_path_cache=%s/%s", getenv("TMPDIR"), folder);
    snprintf(tmp[2], sizeof tmp[2], "--models.student.init_from=%s%s/student", path, folder);
    snprintf(tmp[3], sizeof tmp[3], "--models.teacher.init_from=%s%s/teacher", path, folder);
    cfg = cfg_parse(text, folder, 7, over, 0);
    snprintf(tmp[0], sizeof tmp[0], "%s%s/data.safetensors", path, folder);
    if (!cfg || reel_set_from_safetensors(tmp[0], set, &world) || reel_run_open(r, cfg, &flags, &world)) {
        reel_err_print(reel_errrec());
        exit(99);
    }
    each(&p, NULL, 0, 0);
    p.w = malloc((size_t)p.n * sizeof *p.w), p.g = malloc((size_t)p.n * sizeof *p.g), dir = calloc((size_t)p.n, sizeof *dir);
    each(&p, p.w, 0, 0);
    r->on_grads = keep_grads, r->on_grads_ctx = &p;
    reel_run_first(r);
    loss_at(&p, p.w, dir, 0);
    r->on_grads = NULL;
    for (int64_t i = 0; i < p.n; i++) dot += (double)p.g[i] * (double)p.g[i];
    for (int64_t i = 0; i < p.n; i++) dir[i] = (float)((double)p.g[i] / sqrt(dot));
    slope = (loss_at(&p, p.w, dir, h) - loss_at(&p, p.w, dir, -h)) / (2 * h);
    TAP_OK(dot > 0 && fabs(slope / sqrt(dot) - 1) < 1e-3, "%s: along the gradient the loss rises by %.7g, its norm is %.7g", folder, slope, sqrt(dot));
    dot = 0, h = 1e-4;
    for (int64_t i = 0; i < p.n; i++) dir[i] = (float)sin(0.7 * (double)i * (double)(i % 13)), dot += (double)p.g[i] * (double)dir[i];
    slope = (loss_at(&p, p.w, dir, h) - loss_at(&p, p.w, dir, -h)) / (2 * h);
    TAP_OK(fabs(slope / dot - 1) < 1e-2, "%s: along another direction by %.6g, by the gradient %.6g", folder, slope, dot);
    if (reel_run_close(r)) exit(99);
    free(p.w), free(p.g), free(dir), free(r), free(text);
    reel_config_free(cfg);
}

/* ---- a source of texts alone ---------------------------------------------------------------- */

static reel_err texts(const char *path, const char *family)
{
    struct reel_set_desc d = { .kind = "text_only", .text_dim = 24, .pad_to = 24, .dtype = REEL_BF16, .family = family };
    struct reel_set_writer *w;
    reel_err e = reel_set_create(&w, path, &d, &world);

    for (int64_t i = 0; i < 5 && !e; i++) {
        float v[3 * 24];
        struct reel_set_sample s = { .key = i, .text = v, .rows = (int)(i % 4) };
        for (int j = 0; j < 3 * 24; j++) v[j] = (float)sin((double)(i * 31 + j));
        e = reel_set_add(w, &s);
    }
    return e ? e : reel_set_commit(w, e, NULL);
}

/* Walks for a set of texts; the message of a failure, or NULL and the set in *out. */
static const char *walk_texts(const char *family, const char *guidance, struct reel_set **out)
{
    char set[4200], cache[4200], tmp[3][4300];
    const char *over[] = { tmp[0], tmp[1], tmp[2], guidance, "--training.data.preprocessed_data_type=text_only", "--training.data.train_batch_size=2" };
    struct reel_trajectories_flags f = { .output = cache, .samples_per_file = 2, .quiet = 1 };
    size_t len;
    char *text = cfg_read("tests/golden/kd/config.yaml", &len);
    struct reel_config *cfg;
    reel_err e;

    snprintf(set, sizeof set, "%s/texts-%s.h5", getenv("TMPDIR"), family);
    snprintf(cache, sizeof cache, "%s/walks-%s", getenv("TMPDIR"), family);
    snprintf(tmp[0], sizeof tmp[0], "--training.data.data_path=%s", set);
    snprintf(tmp[1], sizeof tmp[1], "--models.student.init_from=%s/student", cfg_path("tests/golden/kd"));
    snprintf(tmp[2], sizeof tmp[2], "--models.teacher.init_from=%s/teacher", cfg_path("tests/golden/kd"));
    cfg = cfg_parse(text, "texts", 6, over, 0);
    if (!cfg || texts(set, family)) {
        reel_err_print(reel_errrec());
        exit(99);
    }
    e = reel_trajectories_make(cfg, &f, NULL, &world, NULL, NULL);
    if (!e) e = reel_set_open(out, cache, &world);
    reel_config_free(cfg);
    free(text);
    return e ? reel_errrec()->msg : NULL;
}

static void from_texts(void)
{
    const struct reel_set_info *f;
    struct reel_set *s = NULL;
    const char *msg = walk_texts("reel-dct", "--method.teacher_guidance_scale=1", &s);

    f = s ? reel_set_info(s) : NULL;
    TAP_OK(f && f->n == 5 && f->n_files == 3 && f->states == 4 && f->channels == 16 && f->frames == 12 && f->dtype == REEL_BF16 && f->std[1] == 0.2f,
           "texts alone are enough: noise makes the latents, the family their constants%s%s", msg ? ": " : "", msg ? msg : "");
    reel_set_close(s);
    reel_err_clear();
    msg = walk_texts("reel-dct", "--method.teacher_guidance_scale=2", &s);
    TAP_OK(msg && strstr(msg, "method.teacher_guidance_scale: 2 needs the negative prompt"), "%s", msg ? msg : "accepted");
    reel_err_clear();
    msg = walk_texts("strange", "--method.teacher_guidance_scale=1", &s);
    TAP_OK(msg && strstr(msg, "family \"strange\", whose constants are not known"), "%s", msg ? msg : "accepted");
    reel_err_clear();
}

int main(int argc, char **argv)
{
    size_t len;

    if (reel_comm_start(&world, &argc, &argv) != REEL_OK) return 99;
    yaml = cfg_read("tests/tiny_kd.yaml", &len);
    points();
    refusals();
    from_texts();
    central("kd");
    central("kd-causal");
    free(yaml);
    reel_comm_stop();
    return tap_done();
}
