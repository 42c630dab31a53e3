#ifndef REEL_ENCODE_VAE_H
#define REEL_ENCODE_VAE_H

/* Wan's VAE behind reel_codec; the functions mean what those of encode.h mean. */
#include "encode/encode.h"

struct reel_vae;
reel_err reel_vae_open(struct reel_vae **c, const struct reel_encode_opts *o);
void reel_vae_close(struct reel_vae *c);
const struct reel_family *reel_vae_family(const struct reel_vae *c);
const char *reel_vae_id(const struct reel_vae *c);
reel_err reel_vae_encode(struct reel_vae *c, float *latent, const uint8_t *rgb, int frames, int h, int w);
reel_err reel_vae_decode_begin(struct reel_vae *c, int lat_h, int lat_w);
reel_err reel_vae_decode(struct reel_vae *c, uint8_t *rgb, const float *latent, int n);
size_t reel_vae_bytes(struct reel_vae *c, int h, int w);

#endif
