#ifndef REEL_REPORT_PRIV_H
#define REEL_REPORT_PRIV_H

/* Inside report: the run as it was read, and who shows it. */

#include <jansson.h>

#include "report/report.h"

/* A number over the steps, in at most BUCKETS neighbourhoods of `width` records each. */
enum { BUCKETS = 2048 };
struct bucket {
    long first, last, lo_step; /* steps */
    double lo, hi, sum, tail;  /* of its finite values; tail: the last one */
    long n, bad;               /* finite values, others */
};
struct series {
    char *name;
    struct bucket *b;
    int n;
    long width;
    double total; /* sum over all records, also of steps that were done again */
};
/* What is true of the whole series; count 0: it has no finite value. */
struct extent {
    long count, bad, first_step, last_step, lo_step;
    double first, last, lo, hi, mean;
};
reel_err series_add(struct series *s, long step, double v);
void series_cut(struct series *s, long step); /* forget this step and later ones: they are done again */
struct extent series_extent(const struct series *s);
double series_median(const struct series *s); /* of the bucket means, each counted with its records; NAN: NULL, or none is finite */
void series_free(struct series *s);

/* One start of the run: it ends where the next one begins. */
struct start {
    json_t *note, *plan, *ranks, *end; /* as the run wrote them; NULL: it did not */
    char *resumed;                     /* the checkpoint that it went on from, or NULL */
    double time, last_time;            /* unix seconds of its first and last line */
    long first, last, steps;           /* step that it began after, last one done; records of steps */
    long saves, save_step;
    double save_s, save_longest;
};
struct event {
    double time;
    long step;
    char *kind, *text;
    long times, newest; /* the same again: how often in all, the step of the last */
};
enum { EVENTS = 400 };
/* How often a rank was the one that the others waited for, and how long they did, on the mean. */
struct blame {
    long steps;
    double lost; /* seconds */
};

struct run {
    char where[4096], name[4096]; /* the JSONL file; the folder of the run, or that file */
    char *yaml;        /* the newest resolved configuration, or NULL */
    struct series *series;
    int n_series;
    struct start *start;
    int n_start;
    struct event event[EVENTS]; /* the first half of them and the newest: see n_event */
    long n_event; /* that differ */
    struct blame *rank, ranks; /* of each rank of the newest start; of all of them, and how many steps told */
    int n_rank;
    double rank_s, rank_data_s; /* seconds of these steps; how long the mean rank waited for the data of another */
    long lines, torn; /* whole lines; lines that are no record */
    int running;      /* a process holds the run's lock */
    double now;       /* unix seconds of this report */
};

reel_err run_read(struct run *r, const char *where);
void run_free(struct run *r);
const struct series *run_series(const struct run *r, const char *name); /* NULL: there is none */
const struct series *run_loss(const struct run *r); /* total_loss, else the first of its group; NULL: there is none */
const struct start *run_last(const struct run *r);
int run_goes_on(const struct run *r, int i); /* start i did not end: a process is at it */
/* The i-th event that was kept, in the order of the file; NULL behind the last one. */
const struct event *run_event(const struct run *r, int i);

/* What both views say in the same words; the text goes into buf. */
const char *say_end(const struct run *r, int i, char *buf, size_t size);   /* how start i ended */
const char *say_layout(const struct start *s, char *buf, size_t size);     /* ranks and mesh */
const char *say_time(double t, char *buf, size_t size);                    /* "2026-11-27 11:29:24" */
const char *say_span(double s, char *buf, size_t size);                    /* "1:02:03", "0.35 s" */
const char *say_times(const struct event *e, char *buf, size_t size);      /* " (3 times, the last at step 9)", "" for one */
const char *say_number(double v, char *buf, size_t size);                  /* four digits */
double phase_seconds(const struct run *r);                                 /* of all time/ series; 0: none */
/* What slows the run or makes it worse, as sentences; returns their number. */
enum { HINTS = 8, HINT_TEXT = 256 };
int find_hints(const struct run *r, char hint[HINTS][HINT_TEXT]);

/* What a value is measured in, from the largest unit to the smallest. */
struct unit {
    double scale; /* times a number of the log */
    const char *name;
};
extern const struct unit unit_s[], unit_gib[], unit_flops[], unit_percent[];
const struct unit *fit_unit(const struct unit *of, double v); /* the first in which v is 1 or more; else the last */
const char *say_in(const struct unit *of, double v, char *buf, size_t size); /* "3.77 MiB" */

/* Which series are drawn together. */
struct group {
    const char *title, *per, *prefix; /* names that begin with the prefix, or end with it if it begins with '_' */
    const struct unit *unit;          /* NULL: none */
    int may_log; /* values of very different sizes on a logarithmic axis */
};
extern const struct group groups[];
int in_group(const struct group *g, const char *name);
int is_detail(const char *name); /* norms of single modules and the like: in the table, in no plot */
/* Which rank the others wait for, and what that costs; "": one rank, or an older log. */
const char *say_ranks(const struct run *r, char *buf, size_t size);
const char *say_config(const struct run *r, char *buf, size_t size); /* what of the configuration was given and matters most; "": not noted */
const char *say_memory(const struct run *r, char *buf, size_t size); /* "" : not logged */

void print_text(const struct run *r, FILE *f);
void print_html(const struct run *r, FILE *f);
void html_text(FILE *f, const char *s); /* escaped */

enum { LINES = 10 }; /* colours of the page */
struct plot {
    const char *title, *unit, *per;
    const struct series *series[LINES];
    double scale;
    int n, may_log;
};
void plot_svg(FILE *f, const struct plot *p, const struct run *r);

#endif
