/* reel: trains and distils video diffusion transformers. The only exit(); everything that can fail
 * comes back here as a code that all ranks share. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "ckpt/ckpt.h"
#include "ckpt/export.h"
#include "data/set.h"
#include "report/report.h"
#include "train/commands.h"
#include "train/device.h"
#include "train/fit.h"
#include "train/generate.h"
#include "train/init.h"
#include "train/needs.h"
#include "train/plugin.h"
#include "train/report.h"
#include "train/run.h"
#include "train/schema.h"

struct program {
    struct reel_comm world;
    struct reel_env env;
    struct reel_all_kinds kinds;
    struct reel_cli cli;
    struct reel_config *cfg;
    char from[4096];   /* the checkpoint that is checked or exported */
    char target[4096]; /* of an exported role's model */
    int requeue;       /* the run ended early; the same command goes on */
};

static reel_err configure(struct program *p, const struct reel_config_src *src)
{
    const struct reel_schema *schema = reel_schema_init(&p->kinds);

    REEL_TRY(reel_config_read(src, &p->cfg));
    REEL_TRY(reel_plugins_load(&p->kinds, p->cfg, &p->world));
    REEL_TRY(reel_config_finish(p->cfg, schema));
    for (int i = 0; p->world.rank == 0 && i < p->cfg->n_warnings; i++) fprintf(stderr, "reel: warning: %s\n", p->cfg->warning[i]);
    return REEL_OK;
}

/* Rank 0 reads, everyone parses the same bytes. */
static reel_err load_config(struct program *p)
{
    struct reel_config_src src = { .name = p->cli.run.config, .overrides = p->cli.overrides,
                                   .n_overrides = p->cli.n_overrides, .lenient = p->cli.run.lenient };
    char *text = NULL;
    reel_err e = REEL_OK;

    if (!src.name) return REEL_FAIL(REEL_ECONFIG, "%s: --config FILE is missing", p->cli.cmd->name);
    if (p->world.rank == 0) e = reel_file_read(src.name, &text, &src.len);
    REEL_TRY(reel_agree(&p->world, e));
    e = reel_comm_bcast_blob(&p->world, (void **)&text, &src.len, 0);
    if (e == REEL_OK) {
        src.text = text ? text : "";
        e = configure(p, &src);
    }
    free(text);
    return e;
}

/* What the run would take, where the model's shape is at hand; everything else has been checked. */
static reel_err print_plan(struct program *p, const struct reel_plan_flags *f)
{
    reel_err e = reel_plan_print(p->cfg, f, &p->env, &p->world);

    if (e == REEL_OK) e = reel_trajectories_plan(p->cfg, &p->env, &p->world);
    if (e && !f) { /* a dry run judges the configuration, not what this machine has at hand */
        if (p->world.rank == 0) printf("no plan: %s\n", reel_errrec()->msg);
        reel_err_clear();
        e = REEL_OK;
    }
    return e;
}

static reel_err do_dry_run(struct program *p)
{
    if (p->world.rank == 0) printf("%s: the configuration is valid\n", p->cfg->name);
    if (reel_config_ready(p->cfg) != REEL_OK) { /* valid, but train would refuse it */
        if (p->world.rank == 0) printf("not yet in this version: %s\n", reel_errrec()->msg);
        reel_err_clear();
        return REEL_OK;
    }
    REEL_TRY(print_plan(p, NULL));
    reel_needs_print(p->cfg, &p->env, &p->world);
    return REEL_OK;
}

static reel_err do_train(struct program *p)
{
    struct reel_run_flags flags = { .replay = p->cli.run.replay, .record = p->cli.run.record,
                                    .replay_strict = p->cli.run.replay_strict, .env = &p->env };
    struct reel_run *r;
    reel_err e;

    REEL_TRY(load_config(p));
    if (p->cli.run.dry_run) return do_dry_run(p);
    REEL_TRY(reel_config_ready(p->cfg));
    r = calloc(1, sizeof *r);
    REEL_TRY(reel_agree(&p->world, r ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for a run")));
    e = reel_run_open(r, p->cfg, &flags, &p->world);
    if (e == REEL_OK && r->stopped) { /* before there was anything to run */
        p->requeue = 1;
        free(r);
        return REEL_OK;
    }
    if (e == REEL_OK) e = reel_run_loop(r);
    p->requeue = e == REEL_OK && r->stopped;
    if (e) reel_run_fail(r);
    else e = reel_run_close(r);
    free(r);
    return e;
}

static reel_err measure(struct program *p, const struct reel_plan_flags *f)
{
    const struct reel_cfg_training *t = &p->cfg->training;
    struct reel_backend *be;
    struct reel_seat seat;
    reel_err e;

    REEL_TRY(reel_device_open(&seat, &be, &(struct reel_device_opts){ (enum reel_device)t->device, (int)t->threads, (enum reel_binding)t->bind, 0, &p->env },
                              &p->world));
    e = reel_machine_measure(be, reel_compute_dtype(p->cfg, be), &p->world, f->measure);
    reel_device_close(&seat, be);
    return e;
}

static reel_err do_plan(struct program *p)
{
    const struct reel_plan_flags *f = p->cli.flags;

    REEL_TRY(load_config(p));
    return f->measure ? measure(p, f) : print_plan(p, f);
}

static reel_err do_generate(struct program *p)
{
    struct reel_generation g;
    reel_err e = reel_generation_read(&g, &p->cli, &p->env, &p->world);

    if (e == REEL_OK) e = configure(p, &g.src);
    if (e == REEL_OK) e = reel_generate(p->cfg, &g, &p->env, &p->world);
    reel_generation_free(&g);
    return e;
}

static reel_err do_trajectories(struct program *p)
{
    struct reel_stop stop;

    REEL_TRY(load_config(p));
    reel_stop_open(&stop, 0, reel_env_get(&p->env, REEL_ENV_SLURM_JOB_END_TIME));
    return reel_trajectories_make(p->cfg, p->cli.flags, &p->env, &p->world, &stop, &p->requeue);
}

static reel_err do_check(struct program *p)
{
    const char *path = p->cli.args[0];
    int of_run = reel_ckpt_of_run(path);

    reel_comm_bcast(&p->world, &of_run, sizeof of_run, 0);
    if (!of_run) return reel_set_check(path, &p->world);
    REEL_TRY(reel_ckpt_named(path, p->from, sizeof p->from, &p->world));
    return reel_ckpt_check(p->from, stdout, &p->world);
}

static reel_err do_preprocess(struct program *p)
{
    const struct reel_preprocess_args *a = p->cli.flags;
    struct reel_arena scratch = { .name = "scratch" };
    struct reel_stream s = { 0 };
    struct reel_backend *be;
    struct reel_seat seat;
    struct reel_encode_opts enc = { .model = a->model, .dtype = a->encode_dtype ? REEL_BF16 : REEL_F32, .s = &s, .comm = &p->world,
                                    .tile = (int)a->tile, .cache = a->text_cache, .hf = reel_model_source(NULL, &p->env).env };
    struct reel_stop stop, *may_end = a->tensors ? NULL : &stop; /* an import has nothing to keep */
    reel_err e;

    if (may_end) reel_stop_open(may_end, 0, reel_env_get(&p->env, REEL_ENV_SLURM_JOB_END_TIME));
    if (reel_encode_builtin(&enc)) return reel_preprocess(a, &enc, may_end, &p->requeue);
    REEL_TRY(reel_device_open(&seat, &be, &(struct reel_device_opts){ (enum reel_device)a->device, (int)a->threads, REEL_BINDING_NEVER, a->quiet, &p->env }, &p->world));
    reel_stream_init(&s, be, 0, &scratch);
    e = reel_preprocess(a, &enc, may_end, &p->requeue);
    reel_device_close(&seat, be);
    return e;
}

/* What the role's model says that other programs call its parameters. Collective. */
static reel_err find_naming(struct program *p, const struct reel_naming **out)
{
    const struct reel_export_flags *f = p->cli.flags;
    enum reel_plugin_kind kind = REEL_KIND_MODEL;
    const struct reel_kind *k;
    reel_err e = REEL_OK;

    REEL_TRY(reel_ckpt_named(p->cli.args[0], p->from, sizeof p->from, &p->world));
    if (p->world.rank == 0) e = reel_export_key(p->from, f->role, "_target_", p->target, sizeof p->target);
    REEL_TRY(reel_agree(&p->world, e));
    reel_comm_bcast(&p->world, p->target, sizeof p->target, 0);
    reel_schema_init(&p->kinds);
    if (reel_target_split(p->target)) REEL_TRY(reel_plugin_find(&p->kinds, p->target, &p->world, &kind, &k));
    else k = reel_kind_find(p->kinds.models, p->target);
    if (!k || kind != REEL_KIND_MODEL)
        return REEL_FAIL(REEL_ECONFIG, "export: %s: '%s' is not a model of this program", p->from, p->target);
    *out = ((const struct reel_model_ops *)k->ops)->naming;
    return REEL_OK;
}

/* Rank 0 works: tensors stream through one buffer. */
static reel_err export_checkpoint(struct program *p, const struct reel_naming *naming)
{
    const struct reel_export_flags *f = p->cli.flags;
    char from[4096], base[4096], weights[4096];
    struct reel_hf_source src;
    struct reel_export x = { .checkpoint = p->from, .out = p->cli.args[1], .role = f->role, .base = f->base,
                             .naming = naming, .ema = f->ema, .lora = f->lora, .merge = f->merge, .dt = f->dtype ? REEL_BF16 : REEL_F32,
                             .shard_bytes = f->shard_bytes };

    if (!x.base) {
        REEL_TRY(reel_export_key(x.checkpoint, x.role, "init_from", from, sizeof from));
        x.base = from;
        if (!reel_export_key(x.checkpoint, x.role, "transformer_override_safetensor", weights, sizeof weights)) x.weights = weights;
        reel_err_clear(); /* most runs have none */
    }
    src = reel_model_source(x.base, &p->env);
    src.said = f->base ? "--base" : "export: init_from of the run (--base DIR names another)";
    if (!x.lora) {
        REEL_TRY(reel_hf_resolve(&src, base, sizeof base));
        x.base = base;
    }
    REEL_TRY(reel_export(&x));
    printf("%s: %s%s%s of %s, ready for %sinit_from\n", x.out, x.role, x.ema ? "'s average" : "",
           x.lora ? " adapters" : x.merge ? ", merged," : "", x.checkpoint, x.lora ? "lora." : "");
    return REEL_OK;
}

static reel_err do_export(struct program *p)
{
    const struct reel_naming *naming = NULL;

    REEL_TRY(find_naming(p, &naming));
    return reel_agree(&p->world, p->world.rank ? REEL_OK : export_checkpoint(p, naming));
}

static reel_err do_report(struct program *p)
{
    const struct reel_report_flags *f = p->cli.flags;

    return reel_agree(&p->world, p->world.rank ? REEL_OK : reel_report(p->cli.args[0], f->html, stdout));
}

static reel_err do_import(struct program *p)
{
    reel_schema_init(&p->kinds);
    return reel_import(p->cli.flags, p->cli.args[0], p->cli.args[1], p->kinds.models, &p->env, &p->world);
}

static const struct {
    const char *name;
    reel_err (*run)(struct program *p);
    int answers; /* what it prints is its result, and no log */
} commands[] = {
    { "train", do_train, 0 }, { "plan", do_plan, 1 }, { "preprocess", do_preprocess, 0 },
    { "trajectories", do_trajectories, 0 }, { "generate", do_generate, 0 }, { "check", do_check, 1 },
    { "export", do_export, 0 }, { "import", do_import, 0 }, { "report", do_report, 1 },
};

/* --help-config takes the target of a plugin, too. */
static reel_err print_help(struct program *p)
{
    const struct reel_schema *schema = reel_schema_init(&p->kinds);
    static const char *const section[] = { [REEL_KIND_MODEL] = "models", [REEL_KIND_METHOD] = "method.",
                                           [REEL_KIND_CALLBACK] = "callbacks." };
    enum reel_plugin_kind kind;
    const struct reel_kind *k;
    char topic[128];

    if (p->cli.topic && reel_target_split(p->cli.topic)) {
        REEL_TRY(reel_plugin_find(&p->kinds, p->cli.topic, &p->world, &kind, &k));
        snprintf(topic, sizeof topic, "%s%s", section[kind], kind == REEL_KIND_MODEL ? "" : k->name);
        p->cli.topic = topic; /* roles of all models have the same keys */
    }
    return reel_agree(&p->world, p->world.rank ? REEL_OK : reel_cli_print(&p->cli, reel_commands, schema, stdout));
}

/* An answer that a full disk cut short is an error. Collective. */
static reel_err answered(struct program *p, reel_err e)
{
    if (e == REEL_OK && (fflush(stdout) || ferror(stdout))) e = REEL_FAIL(REEL_EIO, "standard output: cannot write all of it (disk full?)");
    return reel_agree(&p->world, e);
}

static reel_err check_launch(struct program *p)
{
    static const struct { enum reel_env_name tasks, rank; const char *launcher, *cure; } known[] = {
        { REEL_ENV_SLURM_STEP_NUM_TASKS, REEL_ENV_SLURM_PROCID, "the Slurm step has", "start with `srun --mpi=pmi2`" },
        { REEL_ENV_OMPI_COMM_WORLD_SIZE, REEL_ENV_OMPI_COMM_WORLD_RANK, "Open MPI has started", "reel is built with MPICH: start with its mpiexec (mpiexec.mpich)" },
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        REEL_TRY(reel_comm_check_launch(&p->world, reel_env_get(&p->env, known[i].tasks), reel_env_get(&p->env, known[i].rank), known[i].launcher,
                                        known[i].cure));
    return REEL_OK;
}

static reel_err run(struct program *p, int argc, char **argv)
{
    reel_env_read(&p->env);
    REEL_TRY(check_launch(p));
    REEL_TRY(reel_fault_set(reel_env_get(&p->env, REEL_ENV_REEL_FAULT)));
    REEL_TRY(reel_cli_parse(&p->cli, reel_commands, argc, argv));
    if (p->cli.wants != REEL_CLI_RUN) return answered(p, print_help(p));
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, p->cli.cmd->name) != 0) continue;
        return commands[i].answers ? answered(p, commands[i].run(p)) : commands[i].run(p);
    }
    return REEL_FAIL(REEL_ECONFIG, "%s: no such command", p->cli.cmd->name);
}

/* Standard streams that the caller closed would be the first files to be opened, and messages would go there. */
static void keep_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0) open("/dev/null", fd ? O_WRONLY : O_RDONLY); /* gets the lowest free number: fd */
}

int main(int argc, char **argv)
{
    static struct program p;
    reel_err e;

    keep_streams();
    if (reel_comm_start(&p.world, &argc, &argv) != REEL_OK) return 1;
    e = run(&p, argc, argv);
    if (e && p.world.rank == 0) reel_err_print(reel_errrec());
    reel_config_free(p.cfg);
    reel_cli_free(&p.cli);
    fflush(NULL);
    reel_comm_stop();
    if (p.world.rank >= p.world.size) return 0; /* check_launch: a launcher that ends all at the first bad exit lets the first task speak */
    return e ? 1 : p.requeue ? REEL_EXIT_REQUEUE : 0;
}
