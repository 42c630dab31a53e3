#ifndef REEL_METHODS_DFSFT_H
#define REEL_METHODS_DFSFT_H

/* Diffusion forcing, shared with its teacher-forced sibling. */

#include <stddef.h>

#include "methods/check.h"
#include "methods/method.h"
#include "nn/schedule.h"

struct reel_dfsft {
    int64_t chunk_size; /* latent frames that share a noise level */
    double min_ratio, max_ratio;
    int lo, hi; /* table indices that are drawn, both included */
    struct reel_sched table;
    double weight[REEL_SCHED_N]; /* of the loss, by index */
};

#define REEL_DFSFT_OPTS                                                                            \
    { "chunk_size", REEL_OPT_INT, offsetof(struct reel_dfsft, chunk_size), .dflt = 3, .min = 1, .max = 65536, \
      .unit = "latent frames", .help = "frames that share a noise level; a causal model's frames per block" }, \
    { "min_timestep_ratio", REEL_OPT_F64, offsetof(struct reel_dfsft, min_ratio), .dflt = 0.0, .min = 0, .max = 1, \
      .help = "lower end of the table indices drawn; index 0 is pure noise" },                     \
    { "max_timestep_ratio", REEL_OPT_F64, offsetof(struct reel_dfsft, max_ratio), .dflt = 1.0, .min = 0, .max = 1, \
      .help = "upper end of the table indices drawn" }

/** reel_dfsft_check - the rules of the keys above. Symmetric. */
reel_err reel_dfsft_check(const struct reel_config *cfg, const struct reel_dfsft *o);
/** reel_dfsft_init - table and weights; the chunk against the model's. Symmetric. */
reel_err reel_dfsft_init(struct reel_method *m);
/** reel_dfsft_step - one micro-batch; teacher: the student sees the clean clip too. Collective(hsdp). */
void reel_dfsft_step(struct reel_method *m, const struct reel_batch *b, struct reel_step *st, int teacher);

#endif
