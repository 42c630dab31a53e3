#ifndef REEL_BASE_OPT_H
#define REEL_BASE_OPT_H

/* One option table per section drives parsing, types, bounds, defaults, --help, the example file,
 * the man page, the resolved dump and dotted overrides. */

#include <stddef.h>
#include <stdint.h>

enum reel_opt_type {
    REEL_OPT_END,
    REEL_OPT_BOOL,     /* int */
    REEL_OPT_INT,      /* int64_t */
    REEL_OPT_F64,      /* double */
    REEL_OPT_STR,      /* const char *, NULL when absent */
    REEL_OPT_ENUM,     /* int: index into choices */
    REEL_OPT_BETAS,    /* double[2]: list of two or "b1,b2" */
    REEL_OPT_INTS,     /* struct reel_ints */
    REEL_OPT_STRS,     /* struct reel_strs: a string or a list of strings */
    REEL_OPT_DURATION, /* double seconds: 3h50m, 90s, number */
    REEL_OPT_RAW,      /* any YAML value, accepted and carried as text in the dump (later sections) */
};

struct reel_ints { int64_t *v; int n; };
struct reel_strs { const char **v; int n; };

enum {
    REEL_OPT_REQUIRED = 1,
    REEL_OPT_NULLABLE = 2, /* null means absent: `dflt` */
    REEL_OPT_LATER = 4,    /* checked now, no effect yet: train says "not yet" if it is set */
};

struct reel_opt {
    const char *name; /* dotted below its section: "optimizer.learning_rate" */
    enum reel_opt_type type;
    size_t offset;    /* into the section's struct */
    double dflt;      /* numbers, bools, enum index */
    const char *sdflt; /* strings and lists, as YAML text */
    double min, max;  /* inclusive bounds when min < max */
    const char *choices; /* REEL_OPT_ENUM: "load|random" */
    unsigned flags;
    const char *unit; /* "pixels", "seconds", NULL */
    const char *help; /* one sentence */
};

#endif
