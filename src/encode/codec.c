/* Latents: a fixed block transform, or Wan's VAE. */
#include <stdlib.h>

#include "encode/encode.h"
#include "encode/vae.h"
#include "media/dct.h"

struct reel_codec {
    struct reel_vae *vae; /* NULL: the block transform */
    int h, w, done;       /* of the film that is decoded: latent size, latent frames so far */
};

reel_err reel_codec_open(struct reel_codec **out, const struct reel_encode_opts *o)
{
    struct reel_codec *c = calloc(1, sizeof *c);
    reel_err e = c ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for a codec");

    *out = NULL;
    if (!e && !reel_encode_builtin(o)) e = reel_vae_open(&c->vae, o);
    if (e) return free(c), e;
    *out = c;
    return REEL_OK;
}

void reel_codec_close(struct reel_codec *c)
{
    if (c && c->vae) reel_vae_close(c->vae);
    free(c);
}

const struct reel_family *reel_codec_family(const struct reel_codec *c) { return c->vae ? reel_vae_family(c->vae) : &reel_family_dct; }

const char *reel_codec_id(const struct reel_codec *c) { return c->vae ? reel_vae_id(c->vae) : REEL_DCT_ID; }

int reel_codec_frames(int pix_frames) { return reel_dct_frames(pix_frames); }

reel_err reel_codec_encode(struct reel_codec *c, float *latent, const uint8_t *rgb, int frames, int h, int w)
{
    REEL_BUG_IF(!reel_codec_frames(frames) || h % 8 || w % 8 || h < 8 || w < 8, "%d pictures of %d x %d", frames, h, w);
    if (c->vae) return reel_vae_encode(c->vae, latent, rgb, frames, h, w);
    reel_dct_encode(latent, rgb, frames, h, w);
    return REEL_OK;
}

reel_err reel_codec_decode_begin(struct reel_codec *c, int lat_h, int lat_w)
{
    REEL_BUG_IF(lat_h < 1 || lat_w < 1, "latents of %d x %d", lat_h, lat_w);
    c->h = lat_h, c->w = lat_w, c->done = 0;
    return c->vae ? reel_vae_decode_begin(c->vae, lat_h, lat_w) : REEL_OK;
}

int reel_codec_pictures(const struct reel_codec *c, int n) { return 4 * n - (c->done || !n ? 0 : 3); }

reel_err reel_codec_decode(struct reel_codec *c, uint8_t *rgb, const float *latent, int n)
{
    REEL_BUG_IF(!c->h || n < 0, "%d latent frames, a film of %d x %d is begun", n, c->h, c->w);
    if (c->vae) REEL_TRY(reel_vae_decode(c->vae, rgb, latent, n));
    else reel_dct_decode(rgb, latent, n, c->h, c->w, c->done);
    c->done += n;
    return REEL_OK;
}

reel_err reel_codec_decode_frame(struct reel_codec *c, uint8_t *rgb, float *raw, const float *z)
{
    const struct reel_family *k = reel_codec_family(c);
    size_t area = (size_t)c->h * (size_t)c->w;

    for (size_t i = 0; i < (size_t)k->channels * area; i++) raw[i] = z[i] * k->std[i / area] + k->mean[i / area];
    return reel_codec_decode(c, rgb, raw, 1);
}

size_t reel_codec_bytes(struct reel_codec *c, int h, int w) { return c->vae ? reel_vae_bytes(c->vae, h, w) : 0; }
