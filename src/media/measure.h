#ifndef REEL_MEDIA_MEASURE_H
#define REEL_MEDIA_MEASURE_H

/* How good generated clips are: an analytic detector of what the built-in captions say, and sliced
 * Wasserstein distances of normalised latents. All in f64. */

#include "base/err.h"
#include "media/clips.h"

struct reel_seen {
    struct reel_clip_what what; /* direction and shape may be -1: none */
    double residual; /* rms difference in grey levels to the detected shape at the detected places */
};

/** reel_detect - what a clip shows. Local. REEL_ENOMEM. @rgb in [frames,height,width,3] u8 */
reel_err reel_detect(const uint8_t *rgb, int frames, int height, int width, struct reel_seen *seen);

/** reel_direction - direction b of the projections, of unit length. Local. @out out [dim] */
void reel_direction(double *out, int dim, int b);

/**
 * reel_swd - root of the mean over 512 directions and ranks of the squared difference of sorted projections
 * Local. REEL_ENOMEM.
 * @a, @b  in [n, dim] f32
 */
reel_err reel_swd(const float *a, const float *b, int64_t n, int dim, double *out);

/** reel_patches - the 2x2 patches of latents, element order c, y, x. Local.
 * @out out [n*T*(h/2)*(w/2), C*4]   @z in [n,C,T,h,w] */
void reel_patches(float *out, const float *z, int64_t n, int C, int T, int h, int w);

#endif
