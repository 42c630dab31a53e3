#ifndef REEL_MEDIA_FAMILY_H
#define REEL_MEDIA_FAMILY_H

/* Kinds of latents: geometry and the fixed constants of normalised = (raw - mean)/std. */
struct reel_family {
    const char *name;
    int channels, down[3]; /* pixels per latent in t, y, x; frames are down[0]*k + 1 */
    const float *mean, *std; /* [channels] */
};

extern const struct reel_family reel_family_wan; /* "wan2.1": the VAE of Wan2.1 */
extern const struct reel_family reel_family_dct; /* "reel-dct": the built-in codec (media/dct.h) */

#endif
