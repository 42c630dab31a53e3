#ifndef REEL_BASE_CMD_H
#define REEL_BASE_CMD_H

/* One subcommand of the program. Its flags are an option table like any section's, so that values,
 * bounds, help texts and the man page come from one place. */

#include "base/opt.h"

struct reel_cmd {
    const char *name, *args; /* args: "SET|CHECKPOINT", for the usage line; NULL: none */
    const char *help;        /* one sentence */
    const char *examples;    /* whole lines, each behind two spaces; NULL: none */
    const char *ends;        /* what it does when it is asked to end early, and how to go on; NULL: a signal kills it */
    const struct reel_opt *flags; /* its own: --name VALUE, a boolean stands alone; NULL: none */
    size_t flags_size;       /* of the struct that they fill */
    const char *run_flags;   /* those of a run that have an effect here, "config|lenient", "*": all; with them dotted
                              * overrides. NULL: it takes no configuration */
    int config_optional;      /* it can do without --config */
    int min_args, max_args;  /* arguments without dashes */
};

#endif
