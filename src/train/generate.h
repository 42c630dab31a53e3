#ifndef REEL_TRAIN_GENERATE_H
#define REEL_TRAIN_GENERATE_H

/* Pictures from a trained model: a sampler, the built-in text vectors and codec, a contact sheet, and how faithful the
 * clips are to the built-in captions. */

#include "train/run.h"

#define REEL_GENERATE_MAX_STEPS 1000

struct reel_generate_flags {
    const char *prompt;     /* one clip of this text */
    const char *checkpoint; /* checkpoint folder, output folder or "latest"; NULL: init_from's weights */
    int ema;                /* the checkpoint's average instead of its weights */
    const char *out;        /* PNG: clips as rows of frames */
    int64_t clips;          /* > 0: that many captions of held-out built-in clips, and measures of the result */
    int64_t benchmark;      /* which held-out captions and which noise: 0, 1, 2, ... */
    int64_t steps, batch;
    int sampler;     /* enum reel_sampler_kind, or one more: no model, real clips */
    double guidance; /* NAN: the sampler's habit */
};

/** reel_generate - sample, decode, write the sheet, print the measures. Collective(world).
 * Errors: REEL_ECONFIG (a model that the built-in codec does not fit, no prompt), REEL_EIO, REEL_EDATA. */
reel_err reel_generate(const struct reel_config *cfg, const struct reel_generate_flags *f, const struct reel_env *env,
                       struct reel_comm *world);

#endif
