#ifndef REEL_MEDIA_DCT_H
#define REEL_MEDIA_DCT_H

/* The built-in codec: 16 of the 768 coefficients of an orthonormal DCT over 4 frames x 8 x 8 pixels x
 * 3 colours, with the geometry of Wan's VAE. No weights; it decodes back to soft pictures. */

#include <stddef.h>
#include <stdint.h>

#include "media/family.h"

#define REEL_DCT_CHANNELS 16
#define REEL_DCT_ID       "dct-4x8x8" /* vae_id of sets */

/** reel_dct_frames - latent frames of 4k+1 pixel frames, or 0 if they are not such a number; height
 * and width must be multiples of 8. Local. */
int reel_dct_frames(int pix_frames);

/** reel_dct_encode - u8 pictures -> raw latents, sums in f64. Local.
 * @latent  out [16, T, height/8, width/8] f32, T = (frames-1)/4 + 1
 * @rgb     in  [frames, height, width, 3] u8; frame 0 counts as four equal frames */
void reel_dct_encode(float *latent, const uint8_t *rgb, int frames, int height, int width);

/** reel_dct_decode - the transpose, of T latent frames of which the first has number t0; frame 0 is the mean over
 * time of its block. A film in pieces is the film at once. Local.
 * @rgb  out [4T-3 if t0 = 0, else 4T, 8h, 8w, 3] u8     @latent  in [16, T, h, w] f32 raw */
void reel_dct_decode(uint8_t *rgb, const float *latent, int T, int h, int w, int t0);

#endif
