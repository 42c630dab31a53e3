#include "config/doc.h"

#include <stdlib.h>
#include <string.h>

#include "config/config_priv.h"

/* ---- what one option says ---- */

static const char *type_word(const struct reel_opt *o)
{
    switch (o->type) {
    case REEL_OPT_BOOL: return "true or false";
    case REEL_OPT_INT: return "integer";
    case REEL_OPT_F64: return "number";
    case REEL_OPT_STR: return "string";
    case REEL_OPT_BETAS: return "two numbers in [0, 1)";
    case REEL_OPT_INTS: return "list of integers";
    case REEL_OPT_STRS: return "string or list of strings";
    case REEL_OPT_REPEATS: return "path, list of paths, or {path: times}";
    case REEL_OPT_DURATION: return "duration: 3h50m, 90s, seconds";
    case REEL_OPT_RAW: return "any value";
    case REEL_OPT_ENUM:
    case REEL_OPT_END: break;
    }
    return "one of";
}

static void put_choices(const struct reel_opt *o, FILE *f)
{
    const char *s = o->choices;
    char one[256];

    for (int first = 1; reel_next_choice(&s, one, sizeof one); first = 0) {
        one[strcspn(one, ",")] = 0;
        fprintf(f, "%s%s", first ? " " : ", ", one);
    }
}

static void put_bounds(const struct reel_opt *o, FILE *f)
{
    if (!(o->min < o->max) || (o->min <= -1e15 && o->max >= 1e15) || o->type == REEL_OPT_BETAS) return;
    if (o->max >= 1e15) fprintf(f, ", at least %.10g", o->min);
    else fprintf(f, ", %.10g to %.10g", o->min, o->max);
}

static void put_default(const struct reel_opt *o, FILE *f)
{
    struct reel_config tmp = { 0 };
    _Alignas(16) char value[64] = { 0 };

    if (o->flags & REEL_OPT_NULLABLE) {
        fputs("null", f);
        return;
    }
    reel_opt_default(&tmp, o, value);
    reel_opt_write(o, value, f);
    reel_pool_free(&tmp.pool);
}

/* "integer, 0 to 65536, pixels; default 0" */
static void put_facts(const struct reel_opt *o, FILE *f)
{
    fputs(type_word(o), f);
    if (o->choices) {
        if (o->type != REEL_OPT_ENUM) fputs(" of", f);
        put_choices(o, f);
    }
    put_bounds(o, f);
    if (o->unit) fprintf(f, ", %s", o->unit);
    if (o->flags & REEL_OPT_REQUIRED) fputs("; required", f);
    else {
        fputs("; default ", f);
        put_default(o, f);
    }
    if (o->flags & REEL_OPT_LATER) fputs("; no effect in this version", f);
    if (o->flags & REEL_OPT_IDLE) fputs("; no effect", f);
    if (o->flags & REEL_OPT_FREE) fputs("; free on resume", f);
    if (o->flags & REEL_OPT_LAYOUT) fputs("; free on resume under reproducibility: layout", f);
    if (o->flags & REEL_OPT_START) fputs("; free on resume unless frozen or with adapters", f);
    if (o->flags & REEL_OPT_FIXED) fputs("; fixed on resume", f);
}

char *reel_doc_facts(const struct reel_opt *o)
{
    char *s = NULL;
    size_t n;
    FILE *m = open_memstream(&s, &n);

    REEL_BUG_IF(!m, "out of memory");
    put_facts(o, m);
    fclose(m);
    return s;
}

/* ---- sections ---- */

static int add(struct reel_section *s, int n, const char *prefix, const char *name, const char *help,
               const struct reel_opt *opts)
{
    REEL_BUG_IF(n == REEL_SECTIONS, "more sections than the reference holds");
    snprintf(s[n].path, sizeof s[n].path, "%s%s%s", prefix, *name ? "." : "", name);
    s[n].help = help;
    s[n].opts = opts;
    return n + 1;
}

int reel_doc_sections(const struct reel_schema *schema, struct reel_section s[REEL_SECTIONS])
{
    int n = add(s, 0, "models", "ROLE", "a role: student, and teacher and critic where the method needs them",
                reel_role_opts);

    n = add(s, n, "method", "", "keys of every method", reel_method_opts);
    for (const struct reel_kind *k = schema->methods; k->name; k++) n = add(s, n, "method", k->name, k->help, k->opts);
    n = add(s, n, "training", "", "the run", reel_training_opts);
    for (const struct reel_kind *k = schema->callbacks; k->name; k++)
        n = add(s, n, "callbacks", k->name, k->help, k->opts);
    return add(s, n, "pipeline", "", "the pipeline around the model; absent keys come from the preset that "
                                     "models.student.init_from names", reel_pipeline_opts);
}

/* ---- reference as plain text ---- */

static int below(const char *name, const char *prefix)
{
    size_t n = strlen(prefix);

    return !strncmp(name, prefix, n) && (!name[n] || name[n] == '.' || !n);
}

static int reference_section(const struct reel_section *s, const char *topic, FILE *f)
{
    size_t n = strlen(s->path);
    int whole = below(s->path, topic), shown = 0;
    const char *inside = below(topic, s->path) && topic[n] ? topic + n + 1 : NULL;

    if (!whole && !inside) return 0;
    for (const struct reel_opt *o = s->opts; o && o->type != REEL_OPT_END; o++) {
        char *text;

        if (!whole && !below(o->name, inside)) continue;
        if (!shown++) fprintf(f, "%s: %s\n", s->path, s->help);
        text = reel_doc_facts(o);
        fprintf(f, "  %s\n      %s\n      %s\n", o->name, o->help, text);
        free(text);
    }
    if (whole && !shown++) fprintf(f, "%s: %s\n  no keys of its own\n", s->path, s->help);
    return shown;
}

reel_err reel_doc_reference(const struct reel_schema *schema, const char *topic, FILE *f)
{
    struct reel_section s[REEL_SECTIONS];
    const char *names[REEL_SECTIONS];
    int n = reel_doc_sections(schema, s), shown = 0, near;

    for (int i = 0; i < n; i++) shown += reference_section(&s[i], topic ? topic : "", f);
    if (shown) return REEL_OK;
    for (int i = 0; i < n; i++) names[i] = s[i].path;
    near = reel_nearest(topic, names, n);
    return REEL_FAIL(REEL_ECONFIG, "no section '%s'%s%s%s", topic, near < 0 ? "" : "; did you mean ",
                     near < 0 ? "" : names[near], near < 0 ? "" : "?");
}

/* ---- usage ---- */

int reel_cmd_takes(const struct reel_cmd *cmd, const char *run_flag)
{
    const char *list = cmd->run_flags;
    char one[64];

    if (list && !strcmp(list, "*")) return 1;
    while (list && reel_next_choice(&list, one, sizeof one))
        if (!strcmp(one, run_flag)) return 1;
    return 0;
}

enum { HELP_COLUMN = 35, LINE = 110 };

/* Words from column `at` on; lines that follow begin at HELP_COLUMN. */
static int put_words(const char *s, int at, FILE *f)
{
    while (*s) {
        int space = *s == ' ', n = space + (int)strcspn(s + space, " ");
        if (at + n > LINE) at = fprintf(f, "\n%*s", HELP_COLUMN, "") - 1, s += space, n -= space;
        at += fprintf(f, "%.*s", n, s);
        s += n;
    }
    return at;
}

/* Choices that are few are the name of the value. */
static int named_by_choices(const struct reel_opt *o) { return o->type == REEL_OPT_ENUM && strlen(o->choices) <= 20; }

const char *reel_doc_value(const struct reel_opt *o)
{
    if (o->type == REEL_OPT_BOOL) return "";
    if (named_by_choices(o)) return o->choices;
    if (o->type == REEL_OPT_ENUM) return "NAME";
    return o->unit && !strchr(o->unit, ' ') ? o->unit : o->type == REEL_OPT_STR ? "TEXT" : "N";
}

/* " (0 to 1; default 0.5)": what the value's name does not say already. */
char *reel_doc_brief(const struct reel_opt *o)
{
    char *s = NULL;
    const char *before = " (";
    size_t n;
    FILE *f = open_memstream(&s, &n);

    REEL_BUG_IF(!f, "out of memory");
    if (o->type == REEL_OPT_ENUM && !named_by_choices(o)) fputs(before, f), fputs("one of", f), put_choices(o, f), before = "; ";
    if (o->min < o->max && o->max < 1e5 && o->type != REEL_OPT_BETAS) fprintf(f, "%s%.10g to %.10g", before, o->min, o->max), before = "; ";
    if (o->flags & REEL_OPT_REQUIRED) fprintf(f, "%srequired", before), before = "; ";
    else if (o->type != REEL_OPT_BOOL && !(o->flags & REEL_OPT_NULLABLE) && (o->type != REEL_OPT_STR || o->sdflt)) {
        fprintf(f, "%sdefault ", before), before = "; ";
        put_default(o, f);
    }
    if (before[0] == ';') fputc(')', f);
    fclose(f);
    return s;
}

/* @c: the command whose part of the run's flags `o` are; NULL: all of them */
static void usage_flags(const struct reel_opt *o, const struct reel_cmd *c, FILE *f)
{
    for (; o && o->type != REEL_OPT_END; o++) {
        const char *value = reel_doc_value(o);
        char *facts;
        int at;

        if (c && !reel_cmd_takes(c, o->name)) continue;
        at = fprintf(f, "  --%s%s%s", o->name, *value ? " " : "", value);
        if (at > HELP_COLUMN - 2) fputc('\n', f), at = 0;
        fprintf(f, "%*s", HELP_COLUMN - at, "");
        facts = reel_doc_brief(o);
        put_words(facts, put_words(o->help, HELP_COLUMN, f), f);
        fputc('\n', f);
        free(facts);
    }
}

static void usage_cmd(const struct reel_cmd *c, const struct reel_opt *run_flags, FILE *f)
{
    fprintf(f, "usage: reel %s%s%s%s%s\n\n%s\n", c->name, !c->run_flags ? "" : c->config_optional ? " [--config FILE]" : " --config FILE",
            c->args ? " " : "", c->args ? c->args : "",
            c->run_flags ? " [flags] [--section.key value ...]" : c->flags ? " [flags]" : "", c->help);
    if (c->examples) fprintf(f, "\nexamples:\n%s", c->examples);
    if (c->flags || c->run_flags) fputs("\nflags:\n", f);
    if (c->run_flags && !c->config_optional) usage_flags(run_flags, c, f);
    usage_flags(c->flags, NULL, f);
    if (c->config_optional) usage_flags(run_flags, c, f);
    if (c->run_flags)
        fputs("\nEvery key of the YAML file is a flag, too, and wins over the file: --training.optimizer.learning_rate 1e-5\n"
              "The keys: reel --help-config, or a part of them, e.g. reel --help-config training.data\n", f);
    if (c->ends)
        fprintf(f, "\nSIGUSR1, SIGTERM or the end of a Slurm allocation: %s.\n"
                "Exit codes: 0 done, 1 an error, 70 a rank died, 75 ended early as above.\n", c->ends);
}

void reel_doc_usage(const struct reel_cmd *const *cmds, const struct reel_cmd *cmd,
                    const struct reel_opt *run_flags, FILE *f)
{
    if (cmd) {
        usage_cmd(cmd, run_flags, f);
        return;
    }
    fputs("reel trains and distils video diffusion transformers. A rank is an MPI process: start several with mpiexec or srun --mpi=pmi2.\n"
          "\nusage: reel COMMAND [flags]\n\ncommands:\n", f);
    for (; *cmds; cmds++) fprintf(f, "  %-13s %s\n", (*cmds)->name, (*cmds)->help);
    fputs("\nto begin:\n"
          "  reel train --config configs/sft_demo.yaml\n"
          "  mpiexec -n 2 reel train --config configs/sft_demo.yaml --training.distributed.num_gpus 2 --training.distributed.hsdp_shard_dim 2 \\\n"
          "    --training.data.train_batch_size 16\n"
          "\nmore:\n"
          "  reel COMMAND --help            examples and flags of a command\n"
          "  reel --help-config [SECTION]   every key of a configuration, e.g. training.data, or of a plugin, ./x.so:x\n"
          "  reel --version                 which version\n"
          "  man reel                       all of this, exit codes and environment variables\n", f);
}

/* ---- example file ---- */

struct writer {
    FILE *f;
    const char *lead; /* "" or "# ": live or commented out */
};

static void line(const struct writer *w, int col, const char *text)
{
    fprintf(w->f, "%s%*s%s\n", w->lead, col, "", text);
}

static void example_opt(const struct writer *w, const struct reel_opt *o, int col)
{
    const char *dot = strrchr(o->name, '.');
    char *text = reel_doc_facts(o);

    /* one comment line where it fits, else the facts below the sentence */
    if (strlen(o->help) + strlen(text) + (size_t)col < 110)
        fprintf(w->f, "%s%*s# %s (%s)\n", w->lead, col, "", o->help, text);
    else fprintf(w->f, "%s%*s# %s\n%s%*s#   (%s)\n", w->lead, col, "", o->help, w->lead, col, "", text);
    fprintf(w->f, "%s%*s%s: ", w->lead, col, "", dot ? dot + 1 : o->name);
    if (o->example) fputs(o->example, w->f);
    else put_default(o, w->f);
    fputc('\n', w->f);
    free(text);
}

static void example_opts(const struct writer *w, const struct reel_opt *opts, int col)
{
    const char *last = "";

    for (const struct reel_opt *o = opts; o && o->type != REEL_OPT_END; o++) {
        int at = col;
        const char *dot;

        for (const char *s = o->name; (dot = strchr(s, '.')); s = dot + 1, at += 2)
            if (strncmp(last, o->name, (size_t)(dot - o->name) + 1) != 0)
                fprintf(w->f, "%s%*s%.*s:\n", w->lead, at, "", (int)(dot - s), s);
        example_opt(w, o, at);
        last = o->name;
    }
}

static void target_comment(const struct writer *w, const struct reel_kind *k, int col)
{
    const char *s = k->targets;
    char one[160];

    while (reel_next_choice(&s, one, sizeof one)) fprintf(w->f, "%s%*s# also accepted: %s\n", w->lead, col, "", one);
}

static void example_models(const struct reel_schema *schema, const struct writer *w)
{
    fputs("# The roles. teacher (trainable: false) and critic have the same keys; a method says which it needs.\n"
          "models:\n  student:\n", w->f);
    for (const struct reel_kind *k = schema->models; k->name; k++) {
        fprintf(w->f, "    # %s: %s\n", k->name, k->help);
        target_comment(w, k, 4);
    }
    line(w, 4, "# model: a registry name, a class path, or a plugin FILE.so:NAME (string; required)");
    fprintf(w->f, "    _target_: %s\n", schema->models->name);
    example_opts(w, reel_role_opts + 1, 4);
}

static void example_methods(const struct reel_schema *schema, const struct writer *w)
{
    fputs("\nmethod:\n", w->f);
    for (const struct reel_kind *k = schema->methods; k->name; k++) {
        struct writer here = { w->f, k == schema->methods ? "" : "# " };

        if (k != schema->methods) fputs("\n# method:\n", w->f);
        fprintf(w->f, "%s  # %s: %s\n", here.lead, k->name, k->help);
        target_comment(&here, k, 2);
        line(&here, 2, "# method: a registry name, a class path, or a plugin FILE.so:NAME (string; required)");
        fprintf(w->f, "%s  _target_: %s\n", here.lead, k->name);
        if (k == schema->methods) example_opts(&here, reel_method_opts + 1, 2);
        example_opts(&here, k->opts, 2);
    }
}

static int has_required(const struct reel_opt *o)
{
    for (; o && o->type != REEL_OPT_END; o++)
        if (o->flags & REEL_OPT_REQUIRED) return 1;
    return 0;
}

static void example_callbacks(const struct reel_schema *schema, const struct writer *w)
{
    fputs("\n# Each acts in this order. An entry's name says its kind; with _target_ the name is free.\ncallbacks:\n", w->f);
    for (const struct reel_kind *k = schema->callbacks; k->name; k++) {
        struct writer here = { w->f, has_required(k->opts) ? "# " : "" };

        fprintf(w->f, "%s  # %s\n", here.lead, k->help);
        target_comment(&here, k, 2);
        fprintf(w->f, "%s  %s:\n", here.lead, k->name);
        line(&here, 4, "# callback: a registry name, a class path, or a plugin FILE.so:NAME; without it the entry's name says which (string)");
        fprintf(w->f, "%s    _target_: %s\n", here.lead, k->name);
        example_opts(&here, k->opts, 4);
    }
}

/* Keys whose default depends on another key stand as comments: writing the default would fix it. */
static void example_pipeline(const struct writer *w)
{
    fputs("\n# Absent keys come from the preset that models.student.init_from names:\n", w->f);
    for (const struct reel_preset *p = reel_presets; p->name; p++)
        fprintf(w->f, "#   %s (%s): flow_shift %g, guidance_scale %g, %d fps%s%s%s\n", p->name, p->ids, p->flow_shift,
                p->guidance_scale, p->fps, p->dmd_denoising_steps ? ", dmd_denoising_steps " : "",
                p->dmd_denoising_steps ? p->dmd_denoising_steps : "", p->is_causal ? ", is_causal" : "");
    fputs("pipeline:\n", w->f);
    for (const struct reel_opt *o = reel_pipeline_opts; o->type != REEL_OPT_END; o++) {
        struct reel_opt one[2] = { *o, { .type = REEL_OPT_END } };
        int preset = !strcmp(o->name, "dmd_denoising_steps") || !strcmp(o->name, "is_causal");
        struct writer here = { w->f, preset ? "# " : "" };

        if (!strchr(o->name, '.')) example_opts(&here, one, 2);
        else {
            example_opts(w, o, 2); /* dit_config.*: the rest of the table, in one mapping */
            break;
        }
    }
}

void reel_doc_example(const struct reel_schema *schema, FILE *f)
{
    struct writer w = { f, "" };

    fputs("# Every key of a run with its default (or an example where there is none), written by the program from its\n"
          "# option tables. Null and an absent key mean the same: the default. Method and callbacks that this run does\n"
          "# not use stand as comments. The same keys may be given on the command line: --training.data.seed 7\n\n", f);
    example_models(schema, &w);
    example_methods(schema, &w);
    fputs("\ntraining:\n", f);
    example_opts(&w, reel_training_opts, 2);
    example_callbacks(schema, &w);
    example_pipeline(&w);
}
