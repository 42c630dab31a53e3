/* Wan's VAE behind reel_codec: bytes to pictures, latents to channels and back. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "encode/vae_priv.h"

static reel_err open_folder(struct reel_vae *v, const struct reel_encode_opts *o)
{
    const struct reel_hf_source src = { .init_from = o->model, .component = "vae", .env = o->hf };
    char dir[PATH_MAX], config[PATH_MAX];

    if (v->dt != REEL_F32 && v->dt != REEL_BF16) return REEL_FAIL(REEL_ECONFIG, "the VAE computes in f32 or bf16, not in %s", reel_dtype_name(v->dt));
    if (v->tile < 0 || (v->tile && v->tile < 4)) return REEL_FAIL(REEL_ECONFIG, "tiles of %d latent pixels; a tile has at least 4, or 0: whole pictures", v->tile);
    REEL_TRY(reel_hf_component(&src, dir, sizeof dir));
    REEL_TRY(reel_join(config, sizeof config, dir, "config.json"));
    REEL_TRY(vae_config_read(&v->cfg, config));
    vae_build(&v->net[VAE_ENCODE], &v->net[VAE_DECODE], &v->cfg);
    v->family = reel_family_wan;
    v->family.channels = v->cfg.z;
    v->family.mean = v->cfg.mean;
    v->family.std = v->cfg.std;
    REEL_BUG_IF(!o->s, "a VAE needs a stream");
    v->s = *o->s;
    return o->s->planning ? vae_plan(v) : vae_load(v, dir);
}

reel_err reel_vae_open(struct reel_vae **out, const struct reel_encode_opts *o)
{
    struct reel_vae *v = calloc(1, sizeof *v);
    reel_err e;

    *out = NULL;
    if (!v) return REEL_FAIL(REEL_ENOMEM, "no memory for a VAE");
    v->dt = (reel_dtype)o->dtype;
    v->tile = o->tile;
    v->comm = o->comm;
    e = open_folder(v, o);
    if (e) return reel_vae_close(v), e;
    *out = v;
    return REEL_OK;
}

void reel_vae_close(struct reel_vae *v)
{
    if (!v) return;
    vae_film_end(v, &v->film[VAE_ENCODE]);
    vae_film_end(v, &v->film[VAE_DECODE]);
    if (v->weights.base) reel_arena_close(&v->weights, v->s.be);
    free(v);
}

const struct reel_family *reel_vae_family(const struct reel_vae *v) { return &v->family; }

const char *reel_vae_id(const struct reel_vae *v) { return v->id; }

size_t reel_vae_bytes(struct reel_vae *v, int h, int w)
{
    const size_t enc = vae_film_bytes(v, VAE_ENCODE, h, w), dec = vae_film_bytes(v, VAE_DECODE, h / v->family.down[1], w / v->family.down[2]);

    return v->weight_bytes + (enc > dec ? enc : dec);
}

/* ---- encoding ---- */

/* n bytes to [-1,1]: 2 (p/255) - 1, each operation rounded */
static void from_bytes(float *x, const uint8_t *rgb, int64_t n)
{
    for (int64_t i = 0; i < n; i++) x[i] = (float)rgb[i] / 255.0f * 2.0f - 1.0f;
}

reel_err reel_vae_encode(struct reel_vae *v, float *latent, const uint8_t *rgb, int frames, int h, int w)
{
    struct vae_film *f = &v->film[VAE_ENCODE];
    const int64_t picture = (int64_t)h * w * 3, plane = (int64_t)(h / v->family.down[1]) * (w / v->family.down[2]);
    const int z = v->cfg.z, chunks = (frames - 1) / VAE_GROUP + 1;

    REEL_TRY(vae_film_begin(v, VAE_ENCODE, h, w));
    for (int k = 0; k < chunks; k++) {
        const int t = k ? VAE_GROUP : 1;
        from_bytes(f->in, rgb, t * picture);
        rgb += t * picture;
        vae_film_chunk(v, f, t);
        for (int64_t c = 0; c < z; c++) /* the mean; log variances lie behind it */
            for (int64_t i = 0; i < plane; i++) latent[(c * chunks + k) * plane + i] = f->out[i * 2 * z + c];
    }
    return REEL_OK;
}

/* ---- decoding ---- */

reel_err reel_vae_decode_begin(struct reel_vae *v, int lat_h, int lat_w) { return vae_film_begin(v, VAE_DECODE, lat_h, lat_w); }

static uint8_t to_byte(float x) { return (uint8_t)fminf(fmaxf(floorf(127.5f * (x + 1.0f) + 0.5f), 0.0f), 255.0f); }

reel_err reel_vae_decode(struct reel_vae *v, uint8_t *rgb, const float *latent, int n)
{
    struct vae_film *f = &v->film[VAE_DECODE];
    const int64_t plane = (int64_t)f->h * f->w, picture = plane * v->family.down[1] * v->family.down[2] * 3;
    const int z = v->cfg.z;

    REEL_BUG_IF(!f->in, "no film is begun");
    for (int k = 0; k < n; k++) {
        for (int64_t c = 0; c < z; c++)
            for (int64_t i = 0; i < plane; i++) f->in[i * z + c] = latent[(c * n + k) * plane + i];
        const int64_t out = vae_film_chunk(v, f, 1) * picture;
        for (int64_t i = 0; i < out; i++) rgb[i] = to_byte(f->out[i]);
        rgb += out;
    }
    return REEL_OK;
}
