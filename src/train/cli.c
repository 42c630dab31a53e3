#include "train/cli.h"

#include <string.h>

#include "config/doc.h"

#define F(field) offsetof(struct reel_cli_run, field)
const struct reel_opt reel_run_flags[] = {
    { "config", REEL_OPT_STR, F(config), .unit = "FILE", .help = "the run as a YAML file; configs/example.yaml explains every key" },
    { "resume-from-checkpoint", REEL_OPT_STR, F(resume), .unit = "PATH|latest",
      .help = "go on from a checkpoint; latest: the newest below the output folder, or the beginning where there is none yet; absent: from the beginning" },
    { "resume", REEL_OPT_STR, F(resume), .unit = "PATH|latest", .help = "the same as --resume-from-checkpoint" },
    { "override-output-dir", REEL_OPT_STR, F(output_dir), .unit = "DIR", .help = "folder of checkpoints, logs and videos; absent: training.checkpoint.output_dir" },
    { "dry-run", REEL_OPT_BOOL, F(dry_run), .help = "check everything, touch no device, print the plan" },
    { "lenient", REEL_OPT_BOOL, F(lenient), .help = "unknown keys of the file are warnings, not errors" },
    { "replay", REEL_OPT_STR, F(replay), .unit = "FILE", .help = "take noise and other random draws from this file of --record instead of making them" },
    { "replay-strict", REEL_OPT_BOOL, F(replay_strict), .help = "a draw that the file of --replay lacks is an error" },
    { "record", REEL_OPT_STR, F(record), .unit = "FILE", .help = "write the random draws that the run used, as a safetensors file" },
    { "max-wall", REEL_OPT_STR, F(max_wall), .unit = "TIME",
      .help = "save and exit with 75, for a requeue, in time to have ended after 3h50m, 90s, ..." },
    { .type = REEL_OPT_END },
};
#undef F

struct parser {
    struct reel_cli *cli;
    const struct reel_cmd *const *cmds;
    int argc, i;
    char **argv;
};

/* '-' and '_' are one in the names of flags */
static int same_flag(const char *a, const char *b, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((a[i] == '_' ? '-' : a[i]) != (b[i] == '_' ? '-' : b[i])) return 0;
    return 1;
}

static const struct reel_opt *find_flag(const struct reel_opt *o, const char *name, size_t len)
{
    for (; o && o->type != REEL_OPT_END; o++)
        if (strlen(o->name) == len && same_flag(o->name, name, len)) return o;
    return NULL;
}

/* The command's part of the run's flags. */
static const struct reel_opt *find_run_flag(const struct reel_cmd *c, const char *name, size_t len)
{
    const struct reel_opt *o = find_flag(reel_run_flags, name, len);

    return o && reel_cmd_takes(c, o->name) ? o : NULL;
}

static int collect(const struct reel_opt *o, const struct reel_cmd *taker, const char **names, int n, int max)
{
    for (; o && o->type != REEL_OPT_END && n < max; o++)
        if (!taker || reel_cmd_takes(taker, o->name)) names[n++] = o->name;
    return n;
}

static reel_err unknown_flag(const struct parser *p, const char *name)
{
    const struct reel_cmd *c = p->cli->cmd;
    const char *names[96] = { "help", "help-config", "version" };
    int n = collect(c->flags, NULL, names, 3, 96), near;

    if (find_flag(reel_run_flags, name, strlen(name)))
        return REEL_FAIL(REEL_ECONFIG, "%s: --%s has no effect here; see reel %s --help", c->name, name, c->name);
    n = collect(reel_run_flags, c, names, n, 96);
    near = reel_nearest(name, names, n);
    if (near >= 0)
        return REEL_FAIL(REEL_ECONFIG, "%s: unknown flag --%s; did you mean --%s?", c->name, name, names[near]);
    return REEL_FAIL(REEL_ECONFIG, "%s: unknown flag --%s; see reel %s --help", c->name, name, c->name);
}

/* The value of a flag: what follows '=', or the next argument; booleans need none. */
static const char *take_value(struct parser *p, const char *eq, const struct reel_opt *o)
{
    if (eq) return eq + 1;
    if (o->type == REEL_OPT_BOOL) return "true";
    return p->i + 1 < p->argc ? p->argv[++p->i] : NULL;
}

static reel_err set_flag(struct parser *p, const struct reel_opt *o, const char *value, void *dst)
{
    struct reel_config *store = &p->cli->store;
    struct reel_node text = { .type = REEL_NODE_STR, .src = "command line", .text = value }, *v = &text;
    const char *where = reel_pool_printf(&store->pool, "--%s", o->name);

    if (!value) return REEL_FAIL(REEL_ECONFIG, "%s: --%s needs a value", p->cli->cmd->name, o->name);
    if (!*value) /* a variable that a shell has not set must not become a run from scratch */
        return REEL_FAIL(REEL_ECONFIG, "%s: --%s is empty; give %s, or leave the flag out", p->cli->cmd->name, o->name, o->unit ? o->unit : "a value");
    if (o->type != REEL_OPT_STR && o->type != REEL_OPT_ENUM && o->type != REEL_OPT_DURATION)
        v = reel_node_cast(&store->pool, value);
    return reel_opt_set(store, o, v, where, (char *)dst + o->offset);
}

static void push(struct parser *p, const char *token)
{
    p->cli->overrides[p->cli->n_overrides++] = token;
}

/* --a.b=v, or --a.b v: the value may begin with dashes, as in the reference's parser */
static reel_err take_override(struct parser *p, const char *tok, const char *eq)
{
    push(p, tok);
    if (eq) return REEL_OK;
    if (p->i + 1 == p->argc)
        return REEL_FAIL(REEL_ECONFIG, "%s: missing value for override %s", p->cli->cmd->name, tok);
    push(p, p->argv[++p->i]);
    return REEL_OK;
}

static reel_err take_flag(struct parser *p, const char *tok)
{
    struct reel_cli *cli = p->cli;
    const char *name = tok + 2, *eq = strchr(tok, '=');
    size_t len = eq ? (size_t)(eq - name) : strlen(name);
    const struct reel_opt *o = find_flag(cli->cmd->flags, name, len);
    void *dst = cli->flags;

    if (!o) {
        o = find_run_flag(cli->cmd, name, len);
        dst = &cli->run;
    }
    if (o) return set_flag(p, o, take_value(p, eq, o), dst);
    if (cli->cmd->run_flags && memchr(name, '.', len)) return take_override(p, tok, eq);
    return unknown_flag(p, reel_pool_str(&cli->store.pool, name, len));
}

static int is_help(const char *s) { return !strcmp(s, "--help") || !strcmp(s, "-h"); }

static reel_err arguments(struct parser *p)
{
    struct reel_cli *cli = p->cli;
    int bare = 0;

    for (; p->i < p->argc; p->i++) {
        const char *tok = p->argv[p->i];

        if (!bare && is_help(tok)) {
            cli->wants = REEL_CLI_HELP;
            return REEL_OK;
        }
        if (!bare && !strcmp(tok, "--")) bare = 1;
        else if (!bare && !strncmp(tok, "--", 2)) REEL_TRY(take_flag(p, tok));
        else if (!bare && tok[0] == '-' && tok[1])
            return REEL_FAIL(REEL_ECONFIG, "%s: unknown flag %s; flags have two dashes", cli->cmd->name, tok);
        else cli->args[cli->n_args++] = tok;
    }
    return REEL_OK;
}

static reel_err judge(const struct reel_cli *cli)
{
    const struct reel_cmd *c = cli->cmd;

    if (cli->n_args > c->max_args)
        return REEL_FAIL(REEL_ECONFIG, "%s: unexpected argument '%s'", c->name, cli->args[c->max_args]);
    if (cli->n_args < c->min_args) return REEL_FAIL(REEL_ECONFIG, "%s: missing argument: %s", c->name, c->args);
    if (c->run_flags && !c->config_optional && !cli->run.config)
        return REEL_FAIL(REEL_ECONFIG, "%s: which run? --config FILE is missing", c->name);
    for (const struct reel_opt *o = c->flags; o && o->type != REEL_OPT_END; o++)
        if (o->flags & REEL_OPT_REQUIRED && !*(const char *const *)((const char *)cli->flags + o->offset))
            return REEL_FAIL(REEL_ECONFIG, "%s: missing --%s: %s", c->name, o->name, o->help);
    return REEL_OK;
}

/* The run's flags that stand for a key become its last override. */
static void flags_to_overrides(struct parser *p)
{
    const struct reel_cli_run *r = &p->cli->run;
    const struct { const char *key, *value; } map[] = {
        { "resume_from_checkpoint", r->resume }, { "output_dir", r->output_dir }, { "max_wall", r->max_wall },
    };

    for (size_t i = 0; i < sizeof map / sizeof *map; i++)
        if (map[i].value)
            push(p, reel_pool_printf(&p->cli->store.pool, "--training.checkpoint.%s=%s", map[i].key, map[i].value));
}

static reel_err find_command(struct parser *p)
{
    const char *name = p->argv[p->i], *names[32];
    int n = 0, near;

    if (!strncmp(name, "--", 2)) {
        p->cli->cmd = p->cmds[0];
        return REEL_OK;
    }
    for (; p->cmds[n] && n < 32; n++) {
        names[n] = p->cmds[n]->name;
        if (strcmp(name, names[n]) != 0) continue;
        p->cli->cmd = p->cmds[n];
        p->i++;
        return REEL_OK;
    }
    near = reel_nearest(name, names, n);
    if (near >= 0) return REEL_FAIL(REEL_ECONFIG, "unknown command '%s'; did you mean %s?", name, names[near]);
    return REEL_FAIL(REEL_ECONFIG, "unknown command '%s'; see reel --help", name);
}

/* reel, reel --help, reel help [command], reel --version, reel --help-config [section] */
static int wants_text(struct parser *p)
{
    struct reel_cli *cli = p->cli;
    const char *first = p->argc > 1 ? p->argv[1] : "--help", *second = p->argc > 2 ? p->argv[2] : NULL;

    if (is_help(first) || !strcmp(first, "help")) {
        cli->wants = REEL_CLI_HELP;
        for (int i = 0; second && p->cmds[i]; i++)
            if (!strcmp(second, p->cmds[i]->name)) cli->cmd = p->cmds[i];
        return 1;
    }
    if (!strcmp(first, "--version")) cli->wants = REEL_CLI_VERSION;
    if (!strncmp(first, "--help-config", 13) && (!first[13] || first[13] == '=')) {
        cli->wants = REEL_CLI_HELP_CONFIG;
        cli->topic = first[13] ? first + 14 : second;
    }
    return cli->wants != REEL_CLI_RUN;
}

reel_err reel_cli_parse(struct reel_cli *cli, const struct reel_cmd *const *cmds, int argc, char **argv)
{
    struct parser p = { .cli = cli, .cmds = cmds, .argc = argc, .i = 1, .argv = argv };

    *cli = (struct reel_cli){ .wants = REEL_CLI_RUN };
    if (wants_text(&p)) return REEL_OK;
    REEL_TRY(find_command(&p));
    cli->args = reel_pool_push(&cli->store.pool, (size_t)argc * sizeof *cli->args);
    cli->overrides = reel_pool_push(&cli->store.pool, ((size_t)argc + 3) * sizeof *cli->overrides);
    cli->flags = reel_pool_push(&cli->store.pool, cli->cmd->flags_size + 1);
    for (const struct reel_opt *o = cli->cmd->flags; o && o->type != REEL_OPT_END; o++)
        reel_opt_default(&cli->store, o, (char *)cli->flags + o->offset);
    REEL_TRY(arguments(&p));
    if (cli->wants != REEL_CLI_RUN) return REEL_OK;
    flags_to_overrides(&p);
    return judge(cli);
}

void reel_cli_free(struct reel_cli *cli) { reel_pool_free(&cli->store.pool); }

reel_err reel_cli_print(const struct reel_cli *cli, const struct reel_cmd *const *cmds,
                        const struct reel_schema *schema, FILE *f)
{
    if (cli->wants == REEL_CLI_VERSION) fprintf(f, "%s\n", PACKAGE_STRING);
    if (cli->wants == REEL_CLI_HELP) reel_doc_usage(cmds, cli->cmd, reel_run_flags, f);
    if (cli->wants == REEL_CLI_HELP_CONFIG) return reel_doc_reference(schema, cli->topic, f);
    return REEL_OK;
}
