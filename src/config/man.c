/* The man page, from the same tables. */
#include <stdlib.h>
#include <string.h>

#include "config/config_priv.h"
#include "config/doc.h"

/* Text as roff: a leading dot or quote is no request, a minus is a minus. */
static void roff(const char *s, FILE *f)
{
    if (*s == '.' || *s == '\'') fputs("\\&", f);
    for (; *s; s++) {
        if (*s == '\\') fputs("\\e", f);
        else if (*s == '-') fputs("\\-", f);
        else if (*s == '\n' && (s[1] == '.' || s[1] == '\'')) fputs("\n\\&", f);
        else fputc(*s, f);
    }
}

static void flags(const struct reel_opt *o, FILE *f)
{
    for (; o && o->type != REEL_OPT_END; o++) {
        char *facts = reel_doc_brief(o);
        const char *value = reel_doc_value(o);

        fputs(".TP\n.B ", f);
        roff("--", f);
        roff(o->name, f);
        if (*value) fputs(" \\fI", f), roff(value, f), fputs("\\fP", f);
        fputc('\n', f);
        roff(o->help, f);
        roff(facts, f);
        fputs(".\n", f);
        free(facts);
    }
}

/* The reference text is made of "path: help", "  key", "      help", "      facts" lines. */
static void keys(const struct reel_schema *schema, FILE *f)
{
    char *text = NULL, *rest;
    size_t n;
    FILE *m = open_memstream(&text, &n);
    int first = 0;

    REEL_BUG_IF(!m || reel_doc_reference(schema, NULL, m), "the reference does not print");
    fclose(m);
    for (char *s = strtok_r(text, "\n", &rest); s; s = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(s, "  ", 2) != 0) {
            fputs(".SS ", f);
            roff(s, f);
        } else if (strncmp(s, "      ", 6) != 0) {
            fputs(".TP\n.B ", f);
            roff(s + 2, f);
            first = 1;
        } else {
            if (!first) fputs(".br\n", f);
            roff(s + 6, f);
            first = 0;
        }
        fputc('\n', f);
    }
    free(text);
}

/* Which of the run's flags, listed once below, a command heeds. */
static void run_flags_of(const struct reel_cmd *c, FILE *f)
{
    const char *list = c->run_flags, *before = "";
    char one[64];

    if (!list) return;
    fputs(".PP\n", f);
    for (; *list != '*' && reel_next_choice(&list, one, sizeof one); before = ", ") {
        fprintf(f, "%s\\fB", before);
        roff("--", f);
        roff(one, f);
        fputs("\\fP", f);
    }
    fprintf(f, "%s and overrides: see below.\n", *list == '*' ? "The flags of a run" : "");
}

static void commands(const struct reel_cmd *const *cmds, FILE *f)
{
    for (; *cmds; cmds++) {
        const struct reel_cmd *c = *cmds;

        fprintf(f, ".SS reel %s%s%s%s\n", c->name, c->args ? " " : "", c->args ? c->args : "",
                !c->run_flags ? "" : c->config_optional ? " [\\-\\-config FILE]" : " \\-\\-config FILE");
        roff(c->help, f);
        fputs(".\n", f);
        if (c->examples) fputs(".PP\n.nf\n", f), roff(c->examples, f), fputs(".fi\n", f);
        flags(c->flags, f);
        run_flags_of(c, f);
    }
}

static void environment(FILE *f)
{
    for (int i = 0; i < REEL_ENV_N; i++) {
        fprintf(f, ".TP\n.B %s\n", reel_env_help[i].name);
        roff(reel_env_help[i].help, f);
        fputc('\n', f);
    }
}

static void ends(const struct reel_cmd *const *cmds, FILE *f)
{
    for (; *cmds; cmds++) {
        if (!(*cmds)->ends) continue;
        fprintf(f, ".TP\n.B reel %s\n", (*cmds)->name);
        roff((*cmds)->ends, f);
        fputs(".\n", f);
    }
}

void reel_doc_man(const struct reel_schema *schema, const struct reel_cmd *const *cmds,
                  const struct reel_opt *run_flags, const char *version, FILE *f)
{
    fprintf(f, ".TH REEL 1 \"\" \"reel %s\" \"User Commands\"\n", version);
    fputs(".SH NAME\nreel \\- train and distil video diffusion transformers with MPI\n"
          ".SH SYNOPSIS\n.B mpiexec \\-n\n.I N\n.B reel train \\-\\-config\n.I run.yaml\n"
          "[\\fIflags\\fP] [\\fB\\-\\-section.key\\fP \\fIvalue\\fP ...]\n.br\n.B reel\n.I command\n[\\fIflags\\fP]\n"
          ".SH DESCRIPTION\nOne YAML file says everything about a run; every rank is one MPI process. "
          "The keys are those of FastVideo's training files, which run unchanged, and some more. "
          "Without a command, flags mean\n.BR train .\n"
          ".SH COMMANDS\n", f);
    commands(cmds, f);
    fputs(".SH FLAGS OF A RUN\n", f);
    flags(run_flags, f);
    fputs(".TP\n.BR \\-\\-help \", \" \\-\\-help\\-config \" [\\fIsection\\fP], \" \\-\\-version\n"
          "Print and exit.\n"
          ".SH OVERRIDES\nAny key may be given as \\fB\\-\\-a.b.c\\fP \\fIvalue\\fP or \\fB\\-\\-a.b.c=\\fP\\fIvalue\\fP; "
          "the last one counts. The value is cast: true and false, none and null, integers, numbers "
          "(also 1e\\-5), lists in brackets; anything else is a string. Roles and callbacks may be named too: "
          "\\fB\\-\\-models.student.init_from\\fP \\fIX\\fP. \\fB\\-\\-callbacks.validation null\\fP takes a callback out.\n"
          ".SH CONFIGURATION\nThe file has the sections models, method, training, callbacks and pipeline. "
          "Null and an absent key mean the same: the default. An unknown key is an error that names its line, its column "
          "and the nearest key. A run that is resumed is compared with the configuration of its checkpoint: what is free on resume "
          "leaves results alone, what is fixed is refused, every other key that has changed is a warning with both values, in the log and in "
          "metrics.jsonl.\n", f);
    keys(schema, f);
    fputs(".SH ENVIRONMENT\n", f);
    environment(f);
    fputs(".SH EXIT STATUS\n0: done. 1: an error that all ranks agreed on; one of them printed it. "
          "70: a rank died and took the others with it. 75: a signal or the clock ended the command early, and a requeue goes on.\n"
          ".SH SIGNALS\nSIGUSR1 or SIGTERM to any rank ends some commands in order, with exit status 75; a second one kills. "
          "The end of a Slurm allocation (SLURM_JOB_END_TIME) and, in training, \\fB\\-\\-max\\-wall\\fP do the same in time. "
          "SIGUSR2 makes training save and go on.\n", f);
    ends(cmds, f);
    fputs(".SH EXAMPLES\n.nf\nreel train \\-\\-config configs/sft_demo.yaml \\-\\-dry\\-run\n"
          "mpiexec \\-n 4 reel train \\-\\-config run.yaml \\-\\-training.distributed.num_gpus 4 \\-\\-resume latest\n.fi\n"
          ".SH SEE ALSO\n.BR reel\\-plugin (7)\n", f);
}
