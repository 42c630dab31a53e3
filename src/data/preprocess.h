#ifndef REEL_DATA_PREPROCESS_H
#define REEL_DATA_PREPROCESS_H

/* `reel preprocess`: films or built-in clips become a data set, in the built-in codec. */

#include "base/opt.h"
#include "comm/comm.h"

struct reel_preprocess_args { /* filled from reel_preprocess_opts; strings are the caller's */
    const char *output, *videos, *captions, *caption, *sheet;
    int64_t demo_clips, demo_seed, height, width, num_frames, seed;
    double train_fps, tolerance;
    int windows, temporal_sample, overwrite, quiet, dtype; /* dtype: 0 f32, 1 bf16 */
};

extern const struct reel_opt reel_preprocess_opts[]; /* flags of the command; ends with REEL_OPT_END */

/**
 * reel_preprocess - films (or clips) round-robin over the ranks; one clip in memory per rank
 * Collective(world). The set's bytes do not depend on the number of ranks. A film that cannot be used is
 * skipped, counted and named with its reason; rank 0 prints a summary and writes a contact sheet.
 * Errors: REEL_ECONFIG arguments, REEL_EIO, REEL_EDATA (no film is usable, captions unreadable).
 */
reel_err reel_preprocess(const struct reel_preprocess_args *a, struct reel_comm *world);

#endif
