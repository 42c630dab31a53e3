/* Configuration as a whole: overrides, parity, lenient, presets, durations, what is not ready, command line. */
#include <math.h>

#include "tests/cfg.h"
#include "train/cli.h"
#include "train/commands.h"

static const char sft[] = "models: {student: {_target_: wan, init_from: x}}\n"
                          "method: {_target_: sft}\n"
                          "training: {data: {data_path: d}, optimizer: {learning_rate: 1e-4}}\n";

static struct reel_config *with(const char *text, int n, const char *const *over)
{
    struct reel_config *c = cfg_parse(text, "s", n, over, 0);

    if (!c) printf("# %s\n", reel_errrec()->msg);
    return c;
}
#define WITH(...) with(sft, (int)(sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *)), (const char *[]){ __VA_ARGS__ })

static void overrides(void)
{
    struct reel_config *c = WITH("--training.optimizer.learning_rate", "1e-5", "--training.data.seed=7",
                                 "--callbacks.ema.decay", "0.99", "--training.data.seed", "8",
                                 "--training.checkpoint.output_dir", "--odd", "--training.optimizer.betas=[0.5, 0.6]");

    if (!TAP_OK(c != NULL, "overrides parse")) return;
    TAP_OK(c->training.optimizer.learning_rate == 1e-5 && c->training.data.seed == 8, "number, last one wins");
    TAP_OK(c->n_callbacks == 1 && !strcmp(c->callback[0].name, "ema"), "an override may add a callback");
    TAP_OK(!strcmp(c->training.checkpoint.output_dir, "--odd"), "a value may begin with dashes");
    TAP_OK(c->training.optimizer.betas[1] == 0.6, "a list");
    reel_config_free(c);
    c = WITH("--callbacks.ema.decay=0.5", "--callbacks.ema=null");
    TAP_OK(c && c->n_callbacks == 0, "a callback is taken out from the command line");
    reel_config_free(c);
    c = WITH("--training.optimizer.betas=0.7,0.8", "--training.data.data_path=a:2,b,c:x:3,d:0");
    TAP_OK(c && c->training.optimizer.betas[0] == 0.7 && c->training.data.data_path.n == 3 &&
               c->training.data.data_path.v[0].times == 2 && c->training.data.data_path.v[1].times == 1 &&
               !strcmp(c->training.data.data_path.v[2].path, "c:x") && c->training.data.data_path.v[2].times == 3,
           "betas and data paths as text");
    reel_config_free(c);
}

static void layout(void)
{
    struct reel_config *c = WITH("--training.distributed.num_gpus=12", "--training.distributed.hsdp_replicate_dim=2",
                                 "--training.distributed.tp_size=3");

    TAP_OK(c && c->training.distributed.shard == 2 && c->training.distributed.sp_size == 1,
           "absent: shard = num_gpus / (replicate tp), sp = 1");
    reel_config_free(c);
    c = WITH("--training.data.num_frames=77");
    TAP_OK(c && c->training.data.num_latent_t == 20, "latent frames from pixel frames");
    reel_config_free(c);
    c = WITH("--training.data.num_latent_t=4");
    TAP_OK(c && c->training.data.num_frames == 13, "pixel frames from latent frames");
    reel_config_free(c);
}

/* zero means default under parity only; absent cycles and power are 0 there */
static void parity(void)
{
    struct reel_config *c = WITH("--training.optimizer.min_lr_ratio=0");

    TAP_OK(c && c->training.optimizer.min_lr_ratio == 0 && c->training.optimizer.lr_num_cycles == 1 &&
               c->training.optimizer.lr_power == 1, "a written zero counts");
    reel_config_free(c);
    c = WITH("--method.parity=fastvideo", "--training.optimizer.min_lr_ratio=0", "--training.model.logit_std=0",
             "--training.distributed.num_gpus=0");
    TAP_OK(c && c->training.optimizer.min_lr_ratio == 0.5 && c->training.optimizer.lr_num_cycles == 0 &&
               c->training.optimizer.lr_power == 0 && c->training.model.logit_std == 1 &&
               c->training.distributed.num_gpus == 1, "parity: zero means default, cycles and power 0");
    reel_config_free(c);
    c = WITH("--method.parity=fastvideo", "--training.optimizer.lr_power=2");
    TAP_OK(c && c->training.optimizer.lr_power == 2, "parity: a written power counts");
    reel_config_free(c);
}

static void durations(void)
{
    static const struct { const char *text; double s; } d[] = {
        { "3h50m", 13800 }, { "90s", 90 }, { "90", 90 }, { "1.5h", 5400 }, { "1d2h", 93600 }, { "3:50:00", 13800 }, { "2min", 120 },
    };
    char over[64];
    const char *o[2] = { over, "--training.checkpoint.output_dir=o" };

    for (size_t i = 0; i < sizeof d / sizeof *d; i++) {
        struct reel_config *c;

        snprintf(over, sizeof over, "--training.checkpoint.max_wall=%s", d[i].text);
        c = with(sft, 2, o);
        TAP_OK(c && c->training.checkpoint.max_wall == d[i].s, "%s is %g seconds", d[i].text, d[i].s);
        reel_config_free(c);
    }
    for (size_t i = 0; i < 4; i++) {
        struct reel_config *c;

        snprintf(over, sizeof over, "--training.checkpoint.max_wall=%s", ((const char *[]){ "3x", "h", "-5", "3h-1m" })[i]);
        c = cfg_parse(sft, "s", 2, o, 0);
        TAP_OK(!c, "no duration: %s", reel_errrec()->msg);
        reel_config_free(c);
    }
}

static void presets(void)
{
    static const struct { const char *init_from, *preset; double shift; } p[] = {
        { "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "wan-t2v-480p", 3 },
        { "/data/models/wan2.1-t2v-14b-diffusers/", "wan-t2v-720p", 5 },
        { "FastVideo/FastWan2.1-T2V-1.3B-Diffusers", "fastwan-t2v-480p", 8 },
        { "./SFWan2.1-T2V-1.3B-Diffusers", "self-forcing-wan-t2v", 5 },
        { "configs/wan-demo", "wan-t2v-480p", 3 },
    };
    char over[128];
    const char *o = over;

    for (size_t i = 0; i < sizeof p / sizeof *p; i++) {
        struct reel_config *c;

        snprintf(over, sizeof over, "--models.student.init_from=%s", p[i].init_from);
        c = with(sft, 1, &o);
        TAP_OK(c && !strcmp(c->pipeline.preset->name, p[i].preset) && c->pipeline.flow_shift == p[i].shift,
               "%s is %s", p[i].init_from, p[i].preset);
        reel_config_free(c);
    }
}

static void lenient(void)
{
    const char *o[] = { "--training.loop.stepz=1", "--nonsense=3" };
    struct reel_config *c = cfg_parse(sft, "s", 2, o, 1);

    TAP_OK(c && c->n_warnings == 2, "lenient: two warnings");
    if (c) TAP_OK(strstr(c->warning[1], "training.loop.stepz: unknown key, ignored") != NULL, "%s", c->warning[1]);
    reel_config_free(c);
    c = WITH("--models.ema._target_=wan", "--models.ema.init_from=x");
    TAP_OK(c && c->n_warnings == 1, "a role that nobody uses: %s", c ? c->warning[0] : "");
    reel_config_free(c);
    c = WITH("--callbacks.validation._target_=validation", "--callbacks.validation.pipeline_target=wan", "--callbacks.validation.dataset_file=p.json",
             "--callbacks.validation.offload_training_state=true", "--callbacks.validation.vae_cpu_offload=false", "--training.checkpoint.output_dir=o");
    TAP_OK(c && c->n_warnings == 1 && strstr(c->warning[0], "callbacks.validation.offload_training_state has no effect: training state stays"),
           "a wish that nothing fulfils: %s", c && c->n_warnings ? c->warning[0] : "");
    reel_config_free(c);
    o[0] = "--training.loop.max_train_steps=x";
    c = cfg_parse(sft, "s", 1, o, 1);
    TAP_OK(!c, "lenient does not forgive a wrong value: %s", reel_errrec()->msg);
    reel_config_free(c);
}

static void ready(void)
{
    struct reel_config *c = WITH("--training.data.seed=1");

    reel_err_clear();
    TAP_OK(c && !reel_config_ready(c), "SFT is ready");
    reel_config_free(c);
    c = WITH("--pipeline.ti2v_task=true", "--models.student.lora.enable=false");
    TAP_OK(c && c->n_later == 1 && reel_config_ready(c) == REEL_ECONFIG, "checked and not done yet: %s", reel_errrec()->msg);
    reel_config_free(c);
    reel_err_clear();
    c = WITH("--method._target_=dfsft", "--training.vsa.sparsity=0.0");
    TAP_OK(c && c->n_later == 0, "a default value is not a request");
    reel_config_free(c);
}

/* no time in the test: only that nothing but the text is needed */
static void environment(void)
{
    struct reel_env env = { { 0 } };
    char *s = NULL;
    size_t n;
    FILE *f = open_memstream(&s, &n);
    struct reel_config *c = WITH("--training.data.seed=1");

    env.v[REEL_ENV_REEL_FAULT] = "a:1:2\nb: 3";
    reel_config_dump(c, &env, f);
    fclose(f);
    TAP_OK(strstr(s, "# environment: REEL_FAULT=a:1:2 b: 3\n") != NULL, "the environment stands in the dump, on one line");
    reel_config_free(c);
    c = cfg_parse(s, "dump", 0, NULL, 0);
    TAP_OK(c != NULL, "and does not disturb it");
    reel_config_free(c);
    free(s);
    setenv("REEL_FAULT", "x:0:1", 1);
    reel_env_read(&env);
    TAP_OK(!strcmp(reel_env_get(&env, REEL_ENV_REEL_FAULT), "x:0:1"), "a variable is read");
}

/* ---- command line ---- */

struct line { const char *argv[12]; const char *message; };

static int count(const struct line *l)
{
    int n = 0;

    while (n < 12 && l->argv[n]) n++;
    return n;
}

static reel_err cli(struct reel_cli *c, const struct line *l)
{
    reel_err_clear();
    return reel_cli_parse(c, reel_commands, count(l), (char **)l->argv);
}

static const struct line bad_lines[] = {
    { { "reel", "trian" }, "unknown command 'trian'; did you mean train?" },
    { { "reel", "zzzzzzzz" }, "unknown command 'zzzzzzzz'; see reel --help" },
    { { "reel", "train" }, "train: which run? --config FILE is missing" },
    { { "reel", "train", "--confg", "x" }, "train: unknown flag --confg; did you mean --config?" },
    { { "reel", "--config" }, "train: --config needs a value" },
    { { "reel", "--config", "x", "--resume", "" }, "train: --resume is empty; give PATH|latest, or leave the flag out" },
    { { "reel", "--config", "x", "--max-wall=" }, "train: --max-wall is empty; give TIME, or leave the flag out" },
    { { "reel", "plan", "--config", "x", "--resume", "latest" }, "plan: --resume has no effect here; see reel plan --help" },
    { { "reel", "generate", "--config", "x", "--dry-run" }, "generate: --dry-run has no effect here" },
    { { "reel", "check", "--config", "x" }, "check: --config has no effect here" },
    { { "reel", "train", "--config", "x", "y" }, "train: unexpected argument 'y'" },
    { { "reel", "train", "--config", "x", "--a.b" }, "train: missing value for override --a.b" },
    { { "reel", "train", "-c", "x" }, "train: unknown flag -c; flags have two dashes" },
    { { "reel", "check" }, "check: missing argument: SET|CHECKPOINT" },
    { { "reel", "check", "--a.b", "1", "x" }, "check: unknown flag --a.b" },
    { { "reel", "preprocess", "--videos", "v" }, "preprocess: missing --output" },
    { { "reel", "preprocess", "--videos", "v", "--output", "o", "--height", "tall" },
      "command line: --height: expected an integer, got a string: tall" },
    { { "reel", "preprocess", "--videos", "v", "--output", "o", "--height=5" }, "command line: --height: 5 is out of bounds: 16 to" },
    { { "reel", "train", "--config", "x", "--dry-run=perhaps" }, "command line: --dry-run: expected true or false" },
};

static void command_line(void)
{
    struct reel_cli c;
    struct reel_config *cfg;
    const struct reel_preprocess_args *a;
    const struct line full = { { "reel", "--config", "a.yaml", "--training.data.seed", "5", "--resume", "latest", "--dry-run",
                                 "--max-wall=1h", "--override-output-dir", "out" }, NULL };
    const struct line pre = { { "reel", "preprocess", "--videos", "none", "--output=o", "--train-fps", "12", "--num_frames", "17", "--windows" }, NULL };

    TAP_OK(!cli(&c, &full) && !strcmp(c.cmd->name, "train") && !strcmp(c.run.config, "a.yaml") && c.run.dry_run,
           "train is the command when none is named");
    cfg = cfg_parse(sft, "s", c.n_overrides, c.overrides, 0);
    TAP_OK(cfg && cfg->training.data.seed == 5 && !strcmp(cfg->training.checkpoint.resume_from_checkpoint, "latest") &&
               cfg->training.checkpoint.max_wall == 3600 && !strcmp(cfg->training.checkpoint.output_dir, "out"),
           "the run's flags become keys");
    reel_config_free(cfg);
    reel_cli_free(&c);
    TAP_OK(!cli(&c, &pre), "flags of a command of its own");
    a = c.flags;
    TAP_OK(!strcmp(a->videos, "none") && a->train_fps == 12 && a->num_frames == 17 && a->windows && a->demo_seed == 1 &&
               a->width == REEL_INT_UNSET,
           "given, with _ for -, as a switch, default, absent, and text as it is");
    reel_cli_free(&c);
    for (size_t i = 0; i < sizeof bad_lines / sizeof *bad_lines; i++) {
        reel_err e = cli(&c, &bad_lines[i]);

        TAP_OK(e == REEL_ECONFIG && !strncmp(reel_errrec()->msg, bad_lines[i].message, strlen(bad_lines[i].message)),
               "%s", e ? reel_errrec()->msg : "accepted");
        reel_cli_free(&c);
    }
}

static void help(void)
{
    static const struct { struct line l; const char *contains, *lacks; } t[] = {
        { { { "reel" }, NULL }, "commands:", NULL },
        { { { "reel", "--help" }, NULL }, "preprocess", NULL },
        { { { "reel", "train", "--help" }, NULL }, "--resume-from-checkpoint PATH|latest", NULL },
        { { { "reel", "plan", "--help" }, NULL }, "--config FILE", "--resume" },
        { { { "reel", "generate", "--help" }, NULL }, "--override-output-dir DIR", "--replay" },
        { { { "reel", "train", "--help" }, NULL }, "75 ended early", NULL },
        { { { "reel", "preprocess", "--help" }, NULL }, "SIGUSR1, SIGTERM or the end of a Slurm allocation: keeps what is encoded", NULL },
        { { { "reel", "help", "check" }, NULL }, "SET|CHECKPOINT", "SIGUSR1" },
        { { { "reel", "help", "check" }, NULL }, "SET|CHECKPOINT", "--config" },
        { { { "reel", "--version" }, NULL }, "reel ", NULL },
        { { { "reel", "--help-config", "training.vsa" }, NULL }, "vsa.sparsity", NULL },
    };

    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct reel_cli c;
        char *s = NULL;
        size_t n;
        FILE *f = open_memstream(&s, &n);
        reel_err e = cli(&c, &t[i].l);

        if (!e) e = reel_cli_print(&c, reel_commands, &cfg_kinds.schema, f);
        fclose(f);
        TAP_OK(!e && c.wants != REEL_CLI_RUN && strstr(s, t[i].contains) && !(t[i].lacks && strstr(s, t[i].lacks)), "help %zu", i);
        reel_cli_free(&c);
        free(s);
    }
}

int main(void)
{
    reel_schema_init(&cfg_kinds);
    overrides();
    layout();
    parity();
    durations();
    presets();
    lenient();
    ready();
    environment();
    command_line();
    help();
    return tap_done();
}
