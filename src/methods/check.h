#ifndef REEL_METHODS_CHECK_H
#define REEL_METHODS_CHECK_H

/* Rules that several methods share. Symmetric, REEL_ECONFIG with the key's place. */

#include "config/config.h"
#include "models/model.h"

/** reel_check_rate - the student's learning rate is above 0. */
reel_err reel_check_rate(const struct reel_config *cfg);
/** reel_check_ratios - 0 <= min <= max <= 1 for method.min/max_timestep_ratio. */
reel_err reel_check_ratios(const struct reel_config *cfg, double min, double max);
/** reel_check_chunk - method.chunk_size against the student's num_frames_per_block, if that is given. */
reel_err reel_check_chunk(const struct reel_config *cfg, int64_t chunk_size);
/** reel_check_blocks - method.chunk_size against the blocks of a causal student, as its config.json has them. */
reel_err reel_check_blocks(const struct reel_config *cfg, const struct reel_model *student, int64_t chunk_size);
/** reel_check_latents - text_only data only for methods that simulate; those need the latents' size. */
reel_err reel_check_latents(const struct reel_config *cfg, int simulates);
/** reel_check_causal - the student is a causal model. */
reel_err reel_check_causal(const struct reel_config *cfg, const char *why);

#endif
