#ifndef REEL_CONFIG_DOC_H
#define REEL_CONFIG_DOC_H

/* What the option tables say, as text: usage, reference, example file, man page. All Local. */

#include <stdio.h>

#include "base/cmd.h"
#include "config/schema.h"

/** reel_cmd_takes - whether the command heeds a flag of a run, by name. Local. */
int reel_cmd_takes(const struct reel_cmd *cmd, const char *run_flag);

/** reel_doc_usage - --help: the program's when cmd is NULL, else the command's. */
void reel_doc_usage(const struct reel_cmd *const *cmds, const struct reel_cmd *cmd,
                    const struct reel_opt *run_flags, FILE *f);

/** reel_doc_reference - every key of a section ("training", "training.data", "method.dmd2",
 * "callbacks.ema"), NULL: of all. Errors: REEL_ECONFIG, no such section (names the nearest). */
reel_err reel_doc_reference(const struct reel_schema *schema, const char *topic, FILE *f);

/** reel_doc_example - configs/example.yaml: every key with its default, a comment above each. It is a
 * run that parses; alternatives to what it runs stand in it as comments. */
void reel_doc_example(const struct reel_schema *schema, FILE *f);

/** reel_doc_man - the man page reel(1), as roff. */
void reel_doc_man(const struct reel_schema *schema, const struct reel_cmd *const *cmds,
                  const struct reel_opt *run_flags, const char *version, FILE *f);

/** reel_doc_bash - completion for bash: commands, their flags, every key with its choices. */
void reel_doc_bash(const struct reel_schema *schema, const struct reel_cmd *const *cmds, const struct reel_opt *run_flags, FILE *f);

#endif
