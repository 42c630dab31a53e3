#ifndef REEL_TESTS_GOLDEN_H
#define REEL_TESTS_GOLDEN_H

/* The golden runner: `golden DIR... [--section.key value ...]`. A folder's file `kind` names the
 * function below that reads it; each compares tensors and reports one line per tensor or series. */

#include <stdint.h>

#include "comm/comm.h"

struct golden {
    struct reel_comm *world;
    int passed, failed;
    uint64_t hash;           /* FNV-1a 64 over losses and final weights, as bytes */
    const char *const *arg;  /* overrides of the command line */
    int n_arg;
    int generate;            /* draws from the generator even where the folder has them */
};

struct golden_diff { double max_abs, diff2, want2, max_want; }; /* reducible over ranks */

/** golden_diff - add the differences of n elements. Local. */
void golden_diff(struct golden_diff *d, const float *got, const float *want, int64_t n);
/** golden_line - print a line and count it; rel is what is compared with tol. */
int golden_line(struct golden *g, const char *name, double max_abs, double rel, double tol);
void golden_hash(struct golden *g, const void *p, size_t bytes);
/** golden_json_number - number at a path like "loss" "each" of a JSON file, or dflt. Local. */
double golden_json_number(const char *path, const char *a, const char *b, const char *c, double dflt);

typedef int golden_fn(struct golden *g, const char *dir); /* 0: ran; else could not */
golden_fn golden_method, golden_wan_dit, golden_wan_dit_filled, golden_draws, golden_schedules, golden_schedulers,
    golden_adamw, golden_hf_layout, golden_media, golden_demo, golden_dcp;

#endif
