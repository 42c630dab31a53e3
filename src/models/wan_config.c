/* transformer/config.json of a Wan transformer. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "models/wan_priv.h"

/* Bounds far beyond any model, so that no size derived from them overflows. */
#define WAN_MAX_LAYERS 4096
#define WAN_MAX_DIM    (1 << 20)
#define WAN_MAX_PATCH  64
#define WAN_MAX_FRAMES 65536

/* Integers, with what an absent key means (the 14B model's numbers). */
static const struct wan_int {
    const char *key;
    size_t at;
    int64_t dflt, max;
    int even;
    int shape; /* models differ in it: who leaves it out may have meant another */
} wan_ints[] = {
    { "num_layers", offsetof(struct wan_cfg, layers), 40, WAN_MAX_LAYERS, 0, 1 },
    { "num_attention_heads", offsetof(struct wan_cfg, heads), 40, WAN_MAX_DIM, 0, 1 },
    { "attention_head_dim", offsetof(struct wan_cfg, head_dim), 128, WAN_MAX_DIM, 1, 1 },
    { "ffn_dim", offsetof(struct wan_cfg, ffn), 13824, WAN_MAX_DIM, 0, 1 },
    { "in_channels", offsetof(struct wan_cfg, in_ch), 16, WAN_MAX_DIM, 0, 0 },
    { "out_channels", offsetof(struct wan_cfg, out_ch), 16, WAN_MAX_DIM, 0, 0 },
    { "text_dim", offsetof(struct wan_cfg, text_dim), 4096, WAN_MAX_DIM, 0, 0 },
    { "freq_dim", offsetof(struct wan_cfg, freq_dim), 256, WAN_MAX_DIM, 1, 0 },
    { "text_len", offsetof(struct wan_cfg, text_len), 512, WAN_MAX_DIM, 0, 0 },
};

static reel_err read_int(struct wan_cfg *c, const struct wan_int *f, const json_t *j, const char *where)
{
    const json_t *v = json_object_get(j, f->key);
    size_t n = strlen(c->assumed);
    int64_t x;

    REEL_TRY(reel_json_int(&x, j, f->key, 1, f->max, f->dflt, where));
    if (f->even && x % 2) return REEL_FAIL(REEL_ECONFIG, "%s: %s must be even, not %ld", where, f->key, (long)x);
    memcpy((char *)c + f->at, &x, sizeof x);
    if (f->shape && (!v || json_is_null(v))) snprintf(c->assumed + n, sizeof c->assumed - n, "%s%s %ld", n ? ", " : "", f->key, (long)x);
    return REEL_OK;
}

static reel_err read_ints(struct wan_cfg *c, const json_t *j, const char *where)
{
    *c->assumed = 0;
    for (size_t i = 0; i < sizeof wan_ints / sizeof *wan_ints; i++) REEL_TRY(read_int(c, &wan_ints[i], j, where));
    return REEL_OK;
}

static reel_err read_patch(struct wan_cfg *c, const json_t *j, const char *where)
{
    const json_t *v = json_object_get(j, "patch_size");

    c->ph = c->pw = 2;
    if (!v) return REEL_OK;
    c->ph = json_integer_value(json_array_get(v, 1));
    c->pw = json_integer_value(json_array_get(v, 2));
    if (json_array_size(v) != 3 || json_integer_value(json_array_get(v, 0)) != 1 || c->ph < 1 || c->pw < 1 ||
        c->ph > WAN_MAX_PATCH || c->pw > WAN_MAX_PATCH)
        return REEL_FAIL(REEL_ECONFIG, "%s: patch_size must be [1, height, width], as in [1, 2, 2]", where);
    return REEL_OK;
}

static reel_err read_eps(struct wan_cfg *c, const json_t *j, const char *where)
{
    const json_t *v = json_object_get(j, "eps");

    c->eps = v ? json_number_value(v) : 1e-6;
    if (!(c->eps > 0)) return REEL_FAIL(REEL_ECONFIG, "%s: eps must be a positive number, as in 1e-6", where);
    return REEL_OK;
}

/* What would make it another network than the one below. */
static reel_err refuse_variants(const json_t *j, const char *where)
{
    static const char *const image[] = { "added_kv_proj_dim", "image_dim", "pos_embed_seq_len" };
    const json_t *cls = json_object_get(j, "_class_name"), *norm = json_object_get(j, "qk_norm"),
                 *cross = json_object_get(j, "cross_attn_norm");

    if (cls && (!json_is_string(cls) || !strstr(json_string_value(cls), "WanTransformer3DModel")))
        return REEL_FAIL(REEL_ECONFIG, "%s: _class_name is %s: a WanTransformer3DModel is needed", where,
                         json_is_string(cls) ? json_string_value(cls) : "not a string");
    if (norm && (!json_is_string(norm) || strcmp(json_string_value(norm), "rms_norm_across_heads")))
        return REEL_FAIL(REEL_ECONFIG, "%s: qk_norm must be \"rms_norm_across_heads\"", where);
    if (cross && !json_is_true(cross))
        return REEL_FAIL(REEL_ECONFIG, "%s: cross_attn_norm must be true", where);
    for (size_t i = 0; i < sizeof image / sizeof *image; i++) {
        const json_t *v = json_object_get(j, image[i]);

        if (v && !json_is_null(v))
            return REEL_FAIL(REEL_ECONFIG, "%s: %s is set: image-to-video models are not supported, only "
                             "text-to-video (null)", where, image[i]);
    }
    if (json_is_true(json_object_get(j, "r_embedder")))
        return REEL_FAIL(REEL_ECONFIG, "%s: r_embedder (a second timestep) is not supported", where);
    return REEL_OK;
}

static reel_err read_cfg_json(struct wan_cfg *c, const json_t *j, const char *where)
{
    if (!json_is_object(j)) return REEL_FAIL(REEL_ECONFIG, "%s: not a JSON object", where);
    REEL_TRY(refuse_variants(j, where));
    REEL_TRY(read_ints(c, j, where));
    REEL_TRY(read_patch(c, j, where));
    REEL_TRY(read_eps(c, j, where));
    if (c->heads * c->head_dim > WAN_MAX_DIM)
        return REEL_FAIL(REEL_ECONFIG, "%s: num_attention_heads %ld x attention_head_dim %ld is above %d", where,
                         (long)c->heads, (long)c->head_dim, WAN_MAX_DIM);
    if (c->in_ch != c->out_ch)
        return REEL_FAIL(REEL_ECONFIG, "%s: in_channels %ld and out_channels %ld differ: the network predicts the "
                         "velocity of its input", where, (long)c->in_ch, (long)c->out_ch);
    return REEL_OK;
}

static json_t *parse(const char *text, const char *where)
{
    json_error_t at;
    json_t *j = json_loads(text, JSON_REJECT_DUPLICATES, &at);

    if (!j) REEL_FAIL(REEL_ECONFIG, "%s:%d:%d: %s", where, at.line, at.column, at.text);
    return j;
}

reel_err reel_wan_cfg_read(struct wan_cfg *c, const char *text, const char *where)
{
    json_t *j = parse(text, where);
    reel_err e;

    if (!j) return REEL_ECONFIG;
    e = read_cfg_json(c, j, where);
    json_decref(j);
    return e;
}

/* ---- causal models ---- */

/* What the configuration says, else config.json, else dflt. */
static reel_err frames(int64_t *out, const json_t *j, const char *key, int64_t opt, int64_t dflt, int64_t min, const char *where)
{
    if (opt != REEL_INT_UNSET) *out = opt;
    else REEL_TRY(reel_json_int(out, j, key, dflt == -1 ? -1 : min, WAN_MAX_FRAMES, dflt, where));
    if ((*out >= min && *out <= WAN_MAX_FRAMES) || (*out == -1 && dflt == -1)) return REEL_OK;
    return REEL_FAIL(REEL_ECONFIG, "%s: %s must be a number of latent frames from %ld to %d%s", where, key, (long)min,
                     WAN_MAX_FRAMES, dflt == -1 ? ", or -1 for all" : "");
}

static reel_err read_policy(struct wan_cfg *c, const json_t *j, const char *where)
{
    const json_t *v = json_object_get(j, "rope_cache_policy");
    const char *policy = v && !json_is_null(v) ? json_string_value(v) : "absolute";

    c->relativistic = policy && !strcmp(policy, "relativistic") && c->window > 0;
    if (policy && (!strcmp(policy, "relativistic") || !strcmp(policy, "absolute"))) return REEL_OK;
    return REEL_FAIL(REEL_ECONFIG, "%s: rope_cache_policy must be \"absolute\" or \"relativistic\"", where);
}

static reel_err read_causal(struct wan_cfg *c, const json_t *j, const char *where, const struct reel_model_opts *o)
{
    REEL_TRY(frames(&c->chunk, j, "num_frames_per_block", o->num_frames_per_block, 3, 1, where));
    REEL_TRY(frames(&c->window, j, "local_attn_size", o->local_attn_size, -1, 1, where));
    REEL_TRY(frames(&c->sink, j, "sink_size", o->sink_size, 0, 0, where));
    REEL_TRY(read_policy(c, j, where));
    if (c->window < 0 || c->window >= c->sink + c->chunk) return REEL_OK;
    return REEL_FAIL(REEL_ECONFIG, "%s: a local_attn_size of %ld latent frames does not hold a chunk of %ld "
                     "(num_frames_per_block) and a sink of %ld (sink_size): %ld are needed, or -1 for all", where,
                     (long)c->window, (long)c->chunk, (long)c->sink, (long)(c->sink + c->chunk));
}

reel_err reel_wan_cfg_read_causal(struct wan_cfg *c, const char *text, const char *where, const struct reel_model_opts *o)
{
    json_t *j = parse(text, where);
    reel_err e;

    if (!j) return REEL_ECONFIG;
    e = read_causal(c, j, where, o);
    json_decref(j);
    return e;
}
