/* config.json of a VAE, and the network that it describes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "encode/vae_priv.h"

/* ---- config.json ---- */

static reel_err whole(int *out, const json_t *o, const char *key, int dflt, int most, const char *path)
{
    int64_t v = dflt;
    reel_err e = reel_json_int(&v, o, key, 1, most, dflt, path);

    *out = (int)v;
    return e;
}

/* An array of n; absent: NULL is left in *out. */
static reel_err array(const json_t **out, const json_t *o, const char *key, size_t n, const char *path)
{
    const json_t *v = json_object_get(o, key);

    *out = NULL;
    if (!v || json_is_null(v)) return REEL_OK;
    if (!json_is_array(v) || json_array_size(v) != n)
        return REEL_FAIL(REEL_EDATA, "%s: %s must be a list of %zu, for this program decodes 4 x 8 x 8 pixels a latent", path, key, n);
    *out = v;
    return REEL_OK;
}

static reel_err numbers(float *out, const json_t *o, const char *key, int n, const float *dflt, const char *path)
{
    const json_t *v = json_object_get(o, key), *x;
    size_t i;

    if (!v || json_is_null(v)) {
        if (n != reel_family_wan.channels) return REEL_FAIL(REEL_EDATA, "%s: %s is missing; it has a number for each of %d channels", path, key, n);
        memcpy(out, dflt, (size_t)n * sizeof *out);
        return REEL_OK;
    }
    if (!json_is_array(v) || json_array_size(v) != (size_t)n)
        return REEL_FAIL(REEL_EDATA, "%s: %s must have a number for each of z_dim %d channels", path, key, n);
    json_array_foreach(v, i, x) {
        if (!json_is_number(x) || !isfinite((float)json_number_value(x))) return REEL_FAIL(REEL_EDATA, "%s: %s[%zu] is no number", path, key, i);
        out[i] = (float)json_number_value(x);
    }
    return REEL_OK;
}

/* Other networks under the same class name. */
static reel_err refuse(const json_t *o, const char *path)
{
    const json_t *scales = json_object_get(o, "attn_scales"), *patch = json_object_get(o, "patch_size"),
                 *dec = json_object_get(o, "decoder_base_dim"), *in = json_object_get(o, "in_channels"), *out = json_object_get(o, "out_channels");
    const char *kind = json_string_value(json_object_get(o, "_class_name"));

    if (kind && strcmp(kind, "AutoencoderKLWan")) return REEL_FAIL(REEL_ECONFIG, "%s: _class_name is %s; only AutoencoderKLWan is known", path, kind);
    if (json_is_true(json_object_get(o, "is_residual")) || (patch && !json_is_null(patch)))
        return REEL_FAIL(REEL_ECONFIG, "%s: is_residual or patch_size is set: that is the VAE of Wan2.2; only that of Wan2.1 is known", path);
    if (json_is_array(scales) && json_array_size(scales))
        return REEL_FAIL(REEL_ECONFIG, "%s: attn_scales must be empty: attention outside the middle block is not known", path);
    if (dec && !json_is_null(dec) && !json_equal(dec, json_object_get(o, "base_dim")))
        return REEL_FAIL(REEL_ECONFIG, "%s: decoder_base_dim must be null or equal to base_dim", path);
    if ((in && json_integer_value(in) != 3) || (out && json_integer_value(out) != 3))
        return REEL_FAIL(REEL_ECONFIG, "%s: in_channels and out_channels must be 3", path);
    return REEL_OK;
}

static reel_err levels(struct vae_config *c, const json_t *o, const char *path)
{
    const json_t *mult, *time;
    int halved = 0;

    REEL_TRY(array(&mult, o, "dim_mult", VAE_LEVELS, path));
    REEL_TRY(array(&time, o, "temperal_downsample", VAE_LEVELS - 1, path));
    for (int i = 0; i < VAE_LEVELS; i++) {
        const json_int_t m = mult ? json_integer_value(json_array_get(mult, (size_t)i)) : i < 2 ? i + 1 : 4;
        if (m < 1 || m * c->base > VAE_MOST)
            return REEL_FAIL(REEL_EDATA, "%s: dim_mult[%d] times base_dim %d must lie between 1 and %d", path, i, c->base, VAE_MOST);
        c->mult[i] = (int)m;
    }
    for (int i = 0; i < VAE_LEVELS - 1; i++) halved += c->time[i] = time ? json_is_true(json_array_get(time, (size_t)i)) : i > 0;
    for (int i = 1; i < VAE_LEVELS; i++)
        if (c->mult[i] * c->base % 2) return REEL_FAIL(REEL_EDATA, "%s: base_dim %d times dim_mult[%d] must be even", path, c->base, i);
    if (halved != 2) return REEL_FAIL(REEL_EDATA, "%s: temperal_downsample must be true twice, for this program decodes 4 x 8 x 8 pixels a latent", path);
    return REEL_OK;
}

static reel_err read_object(struct vae_config *c, const json_t *o, const char *path)
{
    REEL_TRY(refuse(o, path));
    REEL_TRY(whole(&c->base, o, "base_dim", 96, VAE_MOST, path));
    REEL_TRY(whole(&c->z, o, "z_dim", 16, VAE_MOST / 2, path));
    REEL_TRY(whole(&c->blocks, o, "num_res_blocks", 2, 16, path));
    REEL_TRY(levels(c, o, path));
    REEL_TRY(numbers(c->mean, o, "latents_mean", c->z, reel_family_wan.mean, path));
    REEL_TRY(numbers(c->std, o, "latents_std", c->z, reel_family_wan.std, path));
    for (int i = 0; i < c->z; i++)
        if (!(c->std[i] > 0)) return REEL_FAIL(REEL_EDATA, "%s: latents_std[%d] must be positive", path, i);
    return REEL_OK;
}

reel_err vae_config_read(struct vae_config *c, const char *path)
{
    json_t *o;
    reel_err e;

    REEL_TRY(reel_json_file(&o, path));
    e = read_object(c, o, path);
    json_decref(o);
    return e;
}

/* ---- the network ---- */

static struct vae_step *step(struct vae_net *net, enum vae_kind kind, const char *name)
{
    struct vae_step *s = &net->step[net->n++];

    REEL_BUG_IF(net->n > VAE_STEPS, "%d steps", net->n);
    s->kind = kind;
    snprintf(s->name, sizeof s->name, "%s", name);
    return s;
}

/* The tensor of a step */
static void name_of(char out[80], const struct vae_step *s, const char *name)
{
    char step_name[sizeof s->name];

    memcpy(step_name, s->name, sizeof step_name);
    snprintf(out, 80, "%s%s", step_name, name);
}

static void norm(struct vae_step *s, int i, const char *name, int d)
{
    name_of(s->norm[i].name, s, name);
    s->norm[i].d = d;
}

static void conv(struct vae_net *net, struct vae_step *s, int i, const char *name, int n, int c, int kt, int k)
{
    struct vae_conv *v = &s->conv[i];

    *v = (struct vae_conv){ .n = n, .c = c, .kt = kt, .kh = k, .kw = k };
    name_of(v->name, s, name);
    if (kt > 1) v->cache = net->caches++;
    REEL_BUG_IF(net->caches > VAE_CACHES, "%d caches", net->caches);
}

static void whole_conv(struct vae_net *net, const char *name, int n, int c, int k)
{
    conv(net, step(net, VAE_CONV, name), 0, "", n, c, k, k);
}

static void res(struct vae_net *net, const char *name, int in, int out)
{
    struct vae_step *s = step(net, VAE_RES, name);

    norm(s, 0, ".norm1.gamma", in);
    conv(net, s, 0, ".conv1", out, in, 3, 3);
    norm(s, 1, ".norm2.gamma", out);
    conv(net, s, 1, ".conv2", out, out, 3, 3);
    if (in != out) conv(net, s, 2, ".conv_shortcut", out, in, 1, 1);
}

static void middle(struct vae_net *net, const char *side, int c)
{
    struct vae_step *s;
    char name[64];

    snprintf(name, sizeof name, "%s.mid_block.resnets.0", side);
    res(net, name, c, c);
    snprintf(name, sizeof name, "%s.mid_block.attentions.0", side);
    s = step(net, VAE_ATTN, name);
    norm(s, 0, ".norm.gamma", c);
    conv(net, s, 0, ".to_qkv", 3 * c, c, 1, 1);
    conv(net, s, 1, ".proj", c, c, 1, 1);
    snprintf(name, sizeof name, "%s.mid_block.resnets.1", side);
    res(net, name, c, c);
}

static void head(struct vae_net *net, const char *side, int n, int c)
{
    struct vae_step *s = step(net, VAE_HEAD, side);

    norm(s, 0, ".norm_out.gamma", c);
    conv(net, s, 0, ".conv_out", n, c, 3, 3);
}

static void build_encoder(struct vae_net *net, const struct vae_config *c)
{
    int in = c->base, at = 0;
    char name[64];

    whole_conv(net, "encoder.conv_in", in, 3, 3);
    for (int l = 0; l < VAE_LEVELS; l++) {
        const int out = c->base * c->mult[l];
        for (int b = 0; b < c->blocks; b++, in = out) {
            snprintf(name, sizeof name, "encoder.down_blocks.%d", at++);
            res(net, name, in, out);
        }
        if (l == VAE_LEVELS - 1) break;
        snprintf(name, sizeof name, "encoder.down_blocks.%d", at++);
        struct vae_step *s = step(net, VAE_DOWN, name);
        conv(net, s, 0, ".resample.1", out, out, 1, 3);
        if (c->time[l]) conv(net, s, 1, ".time_conv", out, out, 3, 1);
    }
    middle(net, "encoder", in);
    head(net, "encoder", 2 * c->z, in);
    whole_conv(net, "quant_conv", 2 * c->z, 2 * c->z, 1);
}

static void build_decoder(struct vae_net *net, const struct vae_config *c)
{
    int in = c->base * c->mult[VAE_LEVELS - 1];
    char name[64];

    whole_conv(net, "post_quant_conv", c->z, c->z, 1);
    whole_conv(net, "decoder.conv_in", in, c->z, 3);
    middle(net, "decoder", in);
    for (int l = VAE_LEVELS - 1, i = 0; l >= 0; l--, i++) {
        const int out = c->base * c->mult[l];
        for (int b = 0; b <= c->blocks; b++, in = out) {
            snprintf(name, sizeof name, "decoder.up_blocks.%d.resnets.%d", i, b);
            res(net, name, in, out);
        }
        if (!l) break;
        snprintf(name, sizeof name, "decoder.up_blocks.%d.upsamplers.0", i);
        struct vae_step *s = step(net, VAE_UP, name);
        in = out / 2;
        conv(net, s, 0, ".resample.1", in, out, 1, 3);
        if (c->time[l - 1]) conv(net, s, 1, ".time_conv", 2 * out, out, 3, 1);
    }
    head(net, "decoder", 3, in);
}

void vae_build(struct vae_net *enc, struct vae_net *dec, const struct vae_config *c)
{
    memset(enc, 0, sizeof *enc);
    memset(dec, 0, sizeof *dec);
    build_encoder(enc, c);
    build_decoder(dec, c);
}
