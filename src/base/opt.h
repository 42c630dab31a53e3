#ifndef REEL_BASE_OPT_H
#define REEL_BASE_OPT_H

/* One option table per section drives parsing, types, bounds, defaults, --help, the example file,
 * the man page, the resolved dump and dotted overrides. Command-line flags use the same table. */

#include <stddef.h>
#include <stdint.h>

enum reel_opt_type {
    REEL_OPT_END,
    REEL_OPT_BOOL,     /* int */
    REEL_OPT_INT,      /* int64_t; REEL_INT_UNSET when null */
    REEL_OPT_F64,      /* double; NAN when null */
    REEL_OPT_STR,      /* const char *, NULL when absent or empty */
    REEL_OPT_ENUM,     /* int: index into choices */
    REEL_OPT_BETAS,    /* double[2]: list of two or "b1,b2" */
    REEL_OPT_INTS,     /* struct reel_ints */
    REEL_OPT_STRS,     /* struct reel_strs: a string or a list of strings */
    REEL_OPT_REPEATS,  /* struct reel_repeats: path, list of paths, {path: times} or "a:2,b:1" */
    REEL_OPT_DURATION, /* double seconds: 3h50m, 90s, 1:30:00, number; 0 when absent */
    REEL_OPT_RAW,      /* const struct reel_node *: any YAML value, kept as it is; NULL when absent */
};

#define REEL_INT_UNSET INT64_MIN

struct reel_ints { int64_t *v; int n; };
struct reel_strs { const char **v; int n; };
struct reel_repeats { struct reel_repeat { const char *path; int64_t times; } *v; int n; };

enum {
    REEL_OPT_REQUIRED = 1,
    REEL_OPT_NULLABLE = 2, /* numbers: absent and null are "unset" (REEL_INT_UNSET, NAN), not `dflt` */
    REEL_OPT_LATER = 4,    /* checked now, no effect yet: train says "not yet" if it is set */
    REEL_OPT_ZERO = 8,     /* under parity a zero or empty value means the default */

    /* What another value does to a run that is resumed. None of them: it changes results. */
    REEL_OPT_FREE = 16,    /* nothing */
    REEL_OPT_FIXED = 32,   /* the checkpoint does not fit any more */
    REEL_OPT_LAYOUT = 64,  /* nothing where results are the same bits in every layout */
    REEL_OPT_START = 128,  /* nothing for a role whose weights all come from the checkpoint */
    REEL_OPT_EACH = 256,   /* belongs to one start of the program; not compared */

    REEL_OPT_IDLE = 512,   /* taken and without effect: another value than the default is a warning, which `help` explains */
};

/* Null and an absent key mean the same: the default. */
struct reel_opt {
    const char *name; /* dotted below its section: "optimizer.learning_rate"; a section stays together */
    enum reel_opt_type type;
    size_t offset;    /* into the section's struct */
    double dflt;      /* numbers, bools, enum index */
    const char *sdflt; /* strings and lists, as YAML text */
    double min, max;  /* inclusive bounds when min < max; of every element in lists */
    const char *choices; /* ENUM, STRS: "load|random"; aliases behind a comma: "simulate,sim|data" */
    unsigned flags;
    const char *unit; /* "pixels", "seconds", NULL */
    const char *example; /* YAML text for the example file where the default would not run */
    const char *help; /* one sentence */
};

#endif
