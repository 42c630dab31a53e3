#ifndef REEL_PREPROCESS_PREPROCESS_H
#define REEL_PREPROCESS_PREPROCESS_H

/* `reel preprocess`: films, built-in clips or prompts become a data set. */

#include "base/opt.h"
#include "comm/stop.h"
#include "encode/encode.h"

struct reel_preprocess_args { /* filled from reel_preprocess_opts; strings are the caller's */
    const char *output, *videos, *captions, *caption, *prompts, *tensors, *sheet, *model, *negative_prompt, *text_cache;
    int64_t demo_clips, demo_seed, seed, threads, tile;
    int64_t height, width, num_frames; /* REEL_INT_UNSET: what suits the encoders */
    double train_fps;                  /* NAN: the same */
    double watchdog_s;                 /* 0: off */
    double tolerance, speed_factor, aspect_tolerance, drop_short_ratio, training_cfg_rate;
    int windows, temporal_sample, overwrite, from_scratch, quiet;
    int dtype, encode_dtype; /* stored, computed in: 0 f32, 1 bf16 */
    int device;              /* enum reel_device */
};

extern const struct reel_opt reel_preprocess_opts[]; /* flags of the command; ends with REEL_OPT_END */

/**
 * reel_preprocess - films (or clips, or prompts) in turn over the ranks; one clip in memory per rank
 * Collective(enc->comm). The set's bytes depend neither on the number of ranks nor on how often the run was
 * killed: what is finished stays in `<output>.unfinished/` until the set is whole. A film that cannot be used is
 * skipped, counted and named with its reason; rank 0 prints a summary and writes a contact sheet.
 * @enc  the encoders; model, dtype and tile are those of `a`
 * @stop, @ended  who may end it between two pictures of a film, and whether that happened: what is finished is kept, the
 *                same call goes on; NULL: nobody. A rank that is asked alone waits for the others' round of films
 * Errors: REEL_ECONFIG arguments, or an unfinished run with others; REEL_EIO; REEL_EDATA (no film is usable,
 * captions unreadable).
 */
reel_err reel_preprocess(const struct reel_preprocess_args *a, const struct reel_encode_opts *enc, struct reel_stop *stop, int *ended);

#endif
