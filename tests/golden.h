#ifndef REEL_TESTS_GOLDEN_H
#define REEL_TESTS_GOLDEN_H

/* The golden runner: `golden DIR... [--section.key value ...]`. A folder's file `kind` names the
 * function below that reads it; each compares tensors and reports one line per tensor or series.
 * Names, counts and sizes come from the folder: a tensor that no check knows counts as a failure. */

#include <jansson.h>
#include <limits.h>
#include <stdint.h>

#include "comm/comm.h"
#include "config/env.h"
#include "tensor/safetensors.h"

struct golden {
    struct reel_comm *world;
    int passed, failed;
    uint64_t hash;           /* FNV-1a 64 over losses and final weights, as bytes */
    const char *const *arg;  /* overrides of the command line */
    int n_arg;
    const struct reel_env *env;
    int generate;            /* draws from the generator even where the folder has them */
    int quiet;               /* print failures alone, as comments of a test */
    char later[16][96];      /* what golden_later has named */
    int n_later;
};

struct golden_diff { double max_abs, diff2, want2, max_want; }; /* reducible over ranks */

/** golden_diff - add the differences of n elements. Local. */
void golden_diff(struct golden_diff *d, const float *got, const float *want, int64_t n);
void golden_diff64(struct golden_diff *d, const float *got, const double *want, int64_t n);
/** golden_check_l2 - a tensor of which each rank compared its part: ||difference|| / ||want||.
 * Collective(world). */
int golden_check_l2(struct golden *g, const char *name, struct golden_diff local, double bound);
/** golden_check_max - the same, the largest difference relative to the largest element. Collective(world). */
int golden_check_max(struct golden *g, const char *name, struct golden_diff local, double bound);

/** golden_line - print a line and count it; rel is what is compared with tol. Local, like all below. */
int golden_line(struct golden *g, const char *name, double max_abs, double rel, double tol);
/** golden_true - a line for something that holds or does not. */
int golden_true(struct golden *g, const char *name, int ok);
/** golden_equal - n elements of `size` bytes, bit for bit. */
int golden_equal(struct golden *g, const char *name, const void *got, const void *want, size_t size, int64_t n);
/** golden_near - the largest absolute difference of n numbers. */
int golden_near(struct golden *g, const char *name, const double *got, const double *want, int64_t n, double tol);
/** golden_near_rel - the largest difference relative to the element (absolute where it is 0). */
int golden_near_rel(struct golden *g, const char *name, const double *got, const double *want, int64_t n, double tol);
/** golden_later - say once, without counting, that a part of the folder is not in this version. */
void golden_later(struct golden *g, const char *what);
void golden_hash(struct golden *g, const void *p, size_t bytes);

/** golden_open - a safetensors file of a folder; failing is printed. */
reel_err golden_open(struct reel_st **st, const char *dir, const char *file);
int64_t golden_count(const struct reel_st_entry *e); /* elements */
/** golden_bytes - a whole tensor as it is in the file; NULL if absent. @e out, may be NULL. Caller: free. */
void *golden_bytes(const struct reel_st *st, const char *name, const struct reel_st_entry **e);
/** golden_doubles - a whole tensor of any number type, widened. */
double *golden_doubles(const struct reel_st *st, const char *name, const struct reel_st_entry **e);

/** golden_json - a JSON file of a folder; integers of 19 digits and more come as strings, since they may
 * be beyond the reader's range. NULL (printed) if it cannot be read. Caller: json_decref. */
json_t *golden_json(const char *dir, const char *file);
uint64_t golden_u64(const json_t *v); /* of either form */
double golden_get(const json_t *object, const char *key, double dflt);
/** golden_json_number - number at a path like "loss" "each" of a JSON file, or dflt. */
double golden_json_number(const char *path, const char *a, const char *b, const char *c, double dflt);

/** golden_sampler, golden_few_step - one tensor of golden/schedulers' samplers and few_step files, against the samplers
 * with the folder's formula for a network. 0: no such tensor. */
int golden_sampler(struct golden *g, const struct reel_st *st, const struct reel_st_entry *e);
int golden_few_step(struct golden *g, const struct reel_st *st, const struct reel_st_entry *e);

/** golden_umt5_tokenizers - the part of golden/umt5 that needs no encoder: three lines. */
void golden_umt5_tokenizers(struct golden *g, const char *dir);
/** golden_umt5_pipeline - a pipeline's folder made of golden/umt5's parts, links in a new temporary folder; not 0: it could
 * not be made. Collective(world). @to  out, the same everywhere; to be removed by rank 0 */
int golden_umt5_pipeline(struct reel_comm *world, const char *dir, char to[PATH_MAX]);

#define GOLDEN_LATER 2 /* what a kind's function returns for a folder that is for a later version */

typedef int golden_fn(struct golden *g, const char *dir); /* 0: ran; GOLDEN_LATER; else could not */
golden_fn golden_method, golden_wan_dit, golden_wan_dit_filled, golden_wan_causal, golden_draws, golden_schedules, golden_schedulers,
    golden_adamw, golden_hf_layout, golden_media, golden_demo, golden_dcp, golden_vsa, golden_lora, golden_umt5,
    golden_wan_vae;

#endif
