#ifndef REEL_TRAIN_CLI_H
#define REEL_TRAIN_CLI_H

/* The command line: which command, its flags, the run's flags and the dotted overrides. */

#include <stdio.h>

#include "base/cmd.h"
#include "base/err.h"
#include "config/config.h"

/* Flags of a run; commands take those that have an effect there. */
struct reel_cli_run {
    const char *config;                  /* path of the YAML file */
    const char *resume;                  /* also in overrides: training.checkpoint.resume_from_checkpoint */
    const char *output_dir;              /* also in overrides: training.checkpoint.output_dir */
    const char *max_wall;                /* also in overrides: training.checkpoint.max_wall */
    const char *replay, *record;         /* files of named draws */
    int replay_strict, dry_run, lenient;
};

enum reel_cli_wants { REEL_CLI_RUN, REEL_CLI_HELP, REEL_CLI_HELP_CONFIG, REEL_CLI_VERSION };

struct reel_cli {
    enum reel_cli_wants wants; /* not REEL_CLI_RUN: print and exit 0, reel_cli_print does it */
    const struct reel_cmd *cmd; /* NULL with a general --help */
    struct reel_cli_run run;
    void *flags;               /* cmd->flags_size bytes, filled from cmd->flags */
    const char **args;         /* arguments without dashes */
    int n_args;
    const char **overrides;    /* for struct reel_config_src */
    int n_overrides;
    const char *topic;         /* of --help-config; NULL: everything */
    struct reel_config store;  /* owns the memory of all of the above */
};

extern const struct reel_opt reel_run_flags[];        /* struct reel_cli_run */
extern const struct reel_cmd *const reel_commands[];  /* NULL-terminated; the first is the default */

/**
 * reel_cli_parse - argv into *cli. Symmetric: a function of argv.
 * Without a command name, a first argument with dashes means the first command (train).
 * Errors: REEL_ECONFIG with one line: an unknown command or flag and the nearest name, a missing
 * value, a value out of bounds. Free with reel_cli_free in any case.
 */
reel_err reel_cli_parse(struct reel_cli *cli, const struct reel_cmd *const *cmds, int argc, char **argv);
void reel_cli_free(struct reel_cli *cli);

/** reel_cli_print - what --help, --help-config or --version asked for. Local. Errors: REEL_ECONFIG if
 * there is no such section. */
reel_err reel_cli_print(const struct reel_cli *cli, const struct reel_cmd *const *cmds,
                        const struct reel_schema *schema, FILE *f);

#endif
