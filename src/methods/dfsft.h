#ifndef REEL_METHODS_DFSFT_H
#define REEL_METHODS_DFSFT_H

/* Keys of diffusion forcing, shared with its teacher-forced sibling. */

#include <stddef.h>

#include "methods/check.h"

struct reel_dfsft_opts {
    int64_t chunk_size; /* latent frames that share a noise level */
    double min_ratio, max_ratio;
    int attn_kind;
};

#define REEL_DFSFT_OPTS                                                                            \
    { "chunk_size", REEL_OPT_INT, offsetof(struct reel_dfsft_opts, chunk_size), .dflt = 3, .min = 1, .max = 65536, \
      .unit = "latent frames", .help = "frames that share a noise level; a causal model's frames per block" }, \
    { "min_timestep_ratio", REEL_OPT_F64, offsetof(struct reel_dfsft_opts, min_ratio), .dflt = 0.0, .min = 0, .max = 1, \
      .help = "lower end of the table indices drawn; index 0 is pure noise" },                     \
    { "max_timestep_ratio", REEL_OPT_F64, offsetof(struct reel_dfsft_opts, max_ratio), .dflt = 1.0, .min = 0, .max = 1, \
      .help = "upper end of the table indices drawn" },                                            \
    { "attn_kind", REEL_OPT_ENUM, offsetof(struct reel_dfsft_opts, attn_kind), .choices = REEL_ATTN_KIND_CHOICES, \
      .help = "accepted; causal attention is dense" }

#endif
