#ifndef REEL_MEDIA_BENCHMARK_H
#define REEL_MEDIA_BENCHMARK_H

/* The benchmark of generated clips: captions of held-out built-in clips, and how well clips made from them show what
 * they say and resemble real ones. Benchmarks of other numbers have other captions. All Local. */

#include "base/err.h"
#include "media/clips.h"

struct reel_benchmark {
    int number;      /* 0, 1, 2, ... */
    int64_t clips;
    int T, h, w;     /* of latents */
};

struct reel_score {
    double right[5]; /* share of clips with the captions' shape, colour, ground, direction, speed */
    double all, good; /* all five right; and at most 30 grey levels from the shape seen */
    double residual;  /* median, grey levels */
    double swd, patch; /* sliced Wasserstein distances to real clips of the same captions: whole latents, 2x2 patches */
};

/** reel_benchmark_what - what clip i is to show. */
struct reel_clip_what reel_benchmark_what(const struct reel_benchmark *b, int64_t i);

/** reel_benchmark_real - normalised latents of a real clip of caption i. Variant 1 is what clips are compared with,
 * variant 2 what a perfect model would make. REEL_ENOMEM. @z out [16,T,h,w] f32 */
reel_err reel_benchmark_real(const struct reel_benchmark *b, int64_t i, int variant, float *z);

/** reel_benchmark_score - REEL_ENOMEM.
 * @z in [clips,16,T,h,w] f32 normalised    @rgb in [clips,4T-3,8h,8w,3] u8: the same, decoded */
reel_err reel_benchmark_score(const struct reel_benchmark *b, const float *z, const uint8_t *rgb, struct reel_score *s);

#endif
