/* Completion for bash, from the same tables. */
#include <string.h>

#include "config/config_priv.h"
#include "config/doc.h"

static const char head[] =
    "# bash completion for reel, made from its option tables\n"
    "# shellcheck disable=SC2221,SC2222 # methods share keys\n"
    "_reel()\n"
    "{\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd=train words i\n"
    "    COMPREPLY=()\n"
    "    # '=' is a word of its own\n"
    "    if [ \"$cur\" = = ]; then cur=\n"
    "    elif [ \"$prev\" = = ] && [ \"$COMP_CWORD\" -gt 2 ]; then prev=${COMP_WORDS[COMP_CWORD-2]}\n"
    "    fi\n";
static const char tail[] =
    "    if [ \"$words\" = @files ]; then\n"
    "        type compopt > /dev/null 2>&1 && compopt -o filenames 2> /dev/null\n"
    "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
    "        return\n"
    "    fi\n"
    "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
    "}\n"
    "complete -F _reel reel\n";

static int takes_value(const struct reel_opt *o) { return o->type != REEL_OPT_BOOL; }

/* What may follow a flag or a key: words, @files, or nothing that could be guessed. */
static void values(const struct reel_opt *o, FILE *f)
{
    const char *s = o->choices;
    char one[256];

    if (o->type == REEL_OPT_STR || o->type == REEL_OPT_REPEATS) fputs("@files", f);
    if (o->type == REEL_OPT_BOOL) fputs("true false", f);
    for (int first = 1; (o->type == REEL_OPT_ENUM || o->type == REEL_OPT_STRS) && s && reel_next_choice(&s, one, sizeof one); first = 0) {
        one[strcspn(one, ",")] = 0;
        fprintf(f, "%s%s", first ? "" : " ", one);
    }
}

static void flag_values(const struct reel_opt *o, const char *cmd, const struct reel_cmd *part, FILE *f)
{
    for (; o && o->type != REEL_OPT_END; o++) {
        if (!takes_value(o) || (part && !reel_cmd_takes(part, o->name))) continue;
        fprintf(f, "    '%s --%s') words='", cmd, o->name);
        values(o, f);
        fputs("' ;;\n", f);
    }
}

static void flag_names(const struct reel_opt *o, const struct reel_cmd *part, FILE *f)
{
    for (; o && o->type != REEL_OPT_END; o++)
        if (!part || reel_cmd_takes(part, o->name)) fprintf(f, " --%s", o->name);
}

static void put_path(const char *section, const char *role, const struct reel_opt *o, FILE *f)
{
    fprintf(f, "--%s%s%s.%s", section, *role ? "." : "", role, o->name);
}

static void key_name(const char *section, const char *role, const struct reel_opt *o, FILE *f)
{
    fputc(' ', f);
    put_path(section, role, o, f);
}

static void key_values(const char *section, const char *role, const struct reel_opt *o, FILE *f)
{
    fputs("    *' ", f);
    put_path(section, role, o, f);
    fputs("') words='", f);
    values(o, f);
    fputs("' ;;\n", f);
}

/* Every key of a section by its dotted path: keys of a role for every role, of a method below `method`. */
static void section_keys(const struct reel_section *s, void (*each)(const char *section, const char *role, const struct reel_opt *o, FILE *f),
                         FILE *f)
{
    for (const struct reel_opt *o = s->opts; o && o->type != REEL_OPT_END; o++) {
        int role = !strncmp(s->path, "models.", 7);

        for (int k = 0; role && k < REEL_MAX_ROLE_NAMES; k++) each("models", reel_role_names[k], o, f);
        if (!role) each(!strncmp(s->path, "method.", 7) ? "method" : s->path, "", o, f);
    }
}

static void each_key(const struct reel_schema *schema, void (*each)(const char *section, const char *role, const struct reel_opt *o, FILE *f),
                     FILE *f)
{
    struct reel_section s[REEL_SECTIONS];
    int n = reel_doc_sections(schema, s);

    for (int i = 0; i < n; i++) section_keys(&s[i], each, f);
}

static void words_of_commands(const struct reel_cmd *const *cmds, const struct reel_opt *run_flags, FILE *f)
{
    for (const struct reel_cmd *const *c = cmds; *c; c++) {
        fprintf(f, "        %s) words='", (*c)->name);
        flag_names((*c)->flags, NULL, f);
        if ((*c)->run_flags) flag_names(run_flags, *c, f);
        fprintf(f, " --help'%s ;;\n", (*c)->run_flags ? "; case $cur in --*.*) words=$keys ;; esac" : "");
    }
}

void reel_doc_bash(const struct reel_schema *schema, const struct reel_cmd *const *cmds, const struct reel_opt *run_flags, FILE *f)
{
    fputs(head, f);
    fputs("    local commands='", f);
    for (const struct reel_cmd *const *c = cmds; *c; c++) fprintf(f, "%s ", (*c)->name);
    fputs("help'\n    local keys='", f);
    each_key(schema, key_name, f);
    fputs("'\n    for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "        case \" $commands \" in *\" ${COMP_WORDS[i]} \"*) cmd=${COMP_WORDS[i]}; break ;; esac\n"
          "        case ${COMP_WORDS[i]} in -*) break ;; esac\n"
          "    done\n"
          "    case \"$cmd $prev\" in\n", f);
    for (const struct reel_cmd *const *c = cmds; *c; c++) {
        flag_values((*c)->flags, (*c)->name, NULL, f);
        if ((*c)->run_flags) flag_values(run_flags, (*c)->name, *c, f);
    }
    each_key(schema, key_values, f);
    fputs("    *)\n        case $cmd in\n", f);
    words_of_commands(cmds, run_flags, f);
    fputs("        help) words=$commands ;;\n"
          "        esac\n"
          "        case $cur in\n"
          "        -*) [ \"$COMP_CWORD\" -eq 1 ] && words+=' --version --help-config' ;;\n"
          "        *) if [ \"$COMP_CWORD\" -eq 1 ]; then words=$commands; elif [ \"$cmd\" != help ]; then words=@files; fi ;;\n"
          "        esac ;;\n"
          "    esac\n", f);
    fputs(tail, f);
}
