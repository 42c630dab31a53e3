#include "encode/vae.h"

reel_err reel_vae_open(struct reel_vae **c, const struct reel_encode_opts *o)
{
    *c = NULL;
    return REEL_FAIL(REEL_ECONFIG, "%s: no Wan VAE yet", o->model);
}

void reel_vae_close(struct reel_vae *c) { (void)c; }

const struct reel_family *reel_vae_family(const struct reel_vae *c) { return (void)c, &reel_family_wan; }

const char *reel_vae_id(const struct reel_vae *c) { return (void)c, ""; }

reel_err reel_vae_encode(struct reel_vae *c, float *latent, const uint8_t *rgb, int frames, int h, int w)
{
    (void)c, (void)latent, (void)rgb, (void)frames, (void)h, (void)w;
    return REEL_FAIL(REEL_ECONFIG, "no Wan VAE yet");
}

reel_err reel_vae_decode_begin(struct reel_vae *c, int lat_h, int lat_w)
{
    (void)c, (void)lat_h, (void)lat_w;
    return REEL_FAIL(REEL_ECONFIG, "no Wan VAE yet");
}

reel_err reel_vae_decode(struct reel_vae *c, uint8_t *rgb, const float *latent, int n)
{
    (void)c, (void)rgb, (void)latent, (void)n;
    return REEL_FAIL(REEL_ECONFIG, "no Wan VAE yet");
}

size_t reel_vae_bytes(struct reel_vae *c, int frames, int h, int w) { return (void)c, (void)frames, (void)h, (void)w, 0; }
