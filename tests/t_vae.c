/* Wan's VAE: the same bits however a film is cut and whoever computes, tiles as diffusers blends them, memory that does not grow,
 * and what is said of folders that are none. The network itself: golden/wan-vae (t_golden_all). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "device.h"
#include "encode/vae_priv.h"
#include "tap.h"
#include "tensor/safetensors.h"

static char golden[4096], tmp[4096];

struct rig { struct reel_backend *be; struct reel_stream s; struct reel_encode_opts o; struct reel_codec *c; };

static reel_err rig_open(struct rig *r, const char *model, int threads, int dtype, int tile)
{
    memset(r, 0, sizeof *r);
    if (test_backend(&r->be, threads)) exit(1);
    reel_stream_init(&r->s, r->be, 0, NULL);
    r->o = (struct reel_encode_opts){ .model = model, .dtype = dtype, .s = &r->s, .tile = tile };
    return reel_codec_open(&r->c, &r->o);
}

static void rig_close(struct rig *r)
{
    reel_codec_close(r->c);
    reel_backend_close(r->be);
}

static uint8_t *film(int frames, int h, int w)
{
    const int64_t n = (int64_t)frames * h * w * 3;
    uint8_t *rgb = malloc((size_t)n);

    for (int64_t i = 0; i < n; i++) rgb[i] = (uint8_t)((i * 2654435761u) >> 13);
    return rgb;
}

enum { H = 16, W = 24, LH = 2, LW = 3, Z = 16 };

/* Latents [Z,T,..] of the first `frames` pictures; decoded in one call or frame by frame. */
static float *encode(struct rig *r, const uint8_t *rgb, int frames)
{
    float *z = malloc(sizeof *z * (size_t)(Z * reel_codec_frames(frames) * LH * LW));

    if (reel_codec_encode(r->c, z, rgb, frames, H, W)) exit(1);
    return z;
}

static uint8_t *decode(struct rig *r, const float *z, int t, int of, int each)
{
    uint8_t *rgb = malloc((size_t)(4 * t - 3) * H * W * 3), *at = rgb;
    float *some = malloc(sizeof *some * (size_t)(Z * each * LH * LW));

    if (reel_codec_decode_begin(r->c, LH, LW)) exit(1);
    for (int k = 0; k < t; k += each) {
        const int n = k + each < t ? each : t - k;
        for (int c = 0; c < Z; c++) memcpy(some + (size_t)(c * n * LH * LW), z + (size_t)((c * of + k) * LH * LW), sizeof *z * (size_t)(n * LH * LW));
        const size_t bytes = (size_t)reel_codec_pictures(r->c, n) * H * W * 3;
        if (reel_codec_decode(r->c, at, some, n)) exit(1);
        at += bytes;
    }
    free(some);
    return rgb;
}

static int same_prefix(const float *whole, int t, const float *part, int t1)
{
    for (int c = 0; c < Z; c++)
        if (memcmp(whole + (size_t)(c * t * LH * LW), part + (size_t)(c * t1 * LH * LW), sizeof *whole * (size_t)(t1 * LH * LW))) return 0;
    return 1;
}

/* The same bits: threads, films that end earlier, calls. */
static void bits(int dtype)
{
    const char *what = reel_dtype_name((reel_dtype)dtype);
    struct rig one, two;
    uint8_t *rgb = film(13, H, W), *a, *b;
    float *z, *z2, *z5;

    if (rig_open(&one, golden, 1, dtype, 0) || rig_open(&two, golden, 2, dtype, 0)) exit(1);
    z = encode(&one, rgb, 13), z2 = encode(&two, rgb, 13), z5 = encode(&one, rgb, 5);
    TAP_OK(!memcmp(z, z2, sizeof *z * Z * 4 * LH * LW), "%s: the same latents with one and two threads", what);
    TAP_OK(same_prefix(z, 4, z5, 2), "%s: a film's beginning alone gives the same latents", what);
    a = decode(&one, z, 4, 4, 4), b = decode(&two, z, 4, 4, 1);
    TAP_OK(!memcmp(a, b, 13 * H * W * 3), "%s: the same pictures with two threads, a latent frame a call", what);
    free(b);
    b = decode(&two, z, 2, 4, 2);
    TAP_OK(!memcmp(a, b, 5 * H * W * 3), "%s: the first latent frames alone give the same pictures", what);
    free(a), free(b), free(z), free(z2), free(z5), free(rgb);
    rig_close(&one), rig_close(&two);
}

/* The largest error, and the root of the mean square of all, over that of what is wanted. */
static void errors(const float *got, const float *want, int64_t n, double *worst, double *rms)
{
    double sum = 0;

    *worst = *rms = 0;
    for (int64_t i = 0; i < n; i++) {
        const double e = fabs((double)got[i] - (double)want[i]);
        if (!(e <= *worst)) *worst = e;
        *rms += e * e;
        sum += (double)want[i] * (double)want[i];
    }
    *worst /= sqrt(sum / (double)n);
    *rms = sqrt(*rms / sum);
}

/* bf16 is nearer to f32 than diffusers' is, whose errors of this film are 0.127, 0.0301 and 2.31 (AutoencoderKLWan 0.42, torch 2.15). */
static void narrow(void)
{
    struct rig a, b;
    uint8_t *rgb = film(5, H, W), *pa, *pb;
    float *za, *zb;
    double d = 0, worst, rms;

    if (rig_open(&a, golden, 2, REEL_F32, 0) || rig_open(&b, golden, 2, REEL_BF16, 0)) exit(1);
    za = encode(&a, rgb, 5), zb = encode(&b, rgb, 5);
    errors(zb, za, Z * 2 * LH * LW, &worst, &rms);
    TAP_OK(worst < 0.1 && rms < 0.0301, "latents in bf16 are near those in f32 (rms of the error %.3g of theirs, the largest %.3g)", rms, worst);
    pa = decode(&a, za, 2, 2, 1), pb = decode(&b, za, 2, 2, 1);
    for (int i = 0; i < 5 * H * W * 3; i++) d += fabs((double)pa[i] - (double)pb[i]) / (5 * H * W * 3);
    TAP_OK(d < 2.31, "pictures in bf16 are near those in f32 (mean %.2g of 255)", d);
    free(za), free(zb), free(pa), free(pb), free(rgb);
    rig_close(&a), rig_close(&b);
}

static void *tensor(struct reel_st *st, const char *name)
{
    const struct reel_st_entry *e = reel_st_find(st, name);
    void *p = e ? malloc(e->bytes) : NULL;

    if (!p || reel_st_read(st, e, 0, e->bytes, p)) exit(1);
    return p;
}

/* golden/wan-vae/tiles.safetensors: 5 pictures of 40 x 56 in tiles of 4 x 4 latents (tests/oracle/vae_tiles.py) */
static void tiles(void)
{
    char path[4200];
    struct reel_st *st;
    struct rig r;
    struct reel_vae *v;
    float *mean, *z, *out, *got = malloc(sizeof *got * 5 * 40 * 56 * 3);
    uint8_t *rgb, *pic = malloc(5 * 40 * 56 * 3);
    double e, rms;
    int off = 0;

    snprintf(path, sizeof path, "%s/tiles.safetensors", golden);
    if (reel_st_open(&st, path) || rig_open(&r, golden, 2, REEL_F32, 4)) exit(1);
    rgb = tensor(st, "rgb"), mean = tensor(st, "mean"), z = tensor(st, "z"), out = tensor(st, "out");
    TAP_OK(!reel_codec_encode(r.c, got, rgb, 5, 40, 56), "five pictures are encoded in six tiles");
    errors(got, mean, Z * 2 * 5 * 7, &e, &rms);
    TAP_OK(e < 2e-5, "the mean is that of diffusers' tiles within 2e-5 of rms (%.2g)", e);
    if (reel_codec_decode_begin(r.c, 5, 7) || reel_codec_decode(r.c, pic, z, 2)) exit(1);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 5 * 40 * 56; i++) off += abs((int)pic[i * 3 + c] - (int)floorf(127.5f * (out[c * 5 * 40 * 56 + i] + 1) + 0.5f)) > 1;
    TAP_OK(off == 0, "pictures are those of diffusers' tiles within 1 of 255 (%d are not)", off);
    rig_close(&r);

    /* the same in numbers */
    test_backend(&r.be, 2);
    reel_stream_init(&r.s, r.be, 0, NULL);
    r.o.s = &r.s;
    if (reel_vae_open(&v, &r.o) || vae_film_begin(v, VAE_DECODE, 5, 7)) exit(1);
    for (int k = 0, t = 0; k < 2; k++) {
        for (int c = 0; c < Z; c++)
            for (int i = 0; i < 35; i++) v->film[VAE_DECODE].in[i * Z + c] = z[(c * 2 + k) * 35 + i];
        const int n = vae_film_chunk(v, &v->film[VAE_DECODE], 1);
        for (int i = 0; i < n * 40 * 56; i++)
            for (int c = 0; c < 3; c++) got[(c * 5 + t) * 40 * 56 + i] = fminf(fmaxf(v->film[VAE_DECODE].out[i * 3 + c], -1), 1);
        t += n;
    }
    errors(got, out, 5 * 40 * 56 * 3, &e, &rms);
    TAP_OK(e < 6e-5, "... within 6e-5 of rms (%.2g)", e);
    reel_vae_close(v);
    reel_backend_close(r.be);
    free(rgb), free(mean), free(z), free(out), free(got), free(pic);
    reel_st_close(st);
}

static size_t held(const struct vae_film *f) { return f->scratch.cap + f->caches.cap + f->work.cap + f->host; }

/* Memory is planned, and a long film takes what a short one takes. */
static void memory(void)
{
    struct rig r;
    struct reel_vae *v, *p;
    struct reel_stream planning;
    struct vae_film *f;
    uint8_t *rgb = film(81, H, W);
    float *z = malloc(sizeof *z * Z * 21 * LH * LW), *in;
    void *caches;
    size_t used, planned, known;

    for (int tile = 0; tile <= 4; tile += 4) {
        const int h = tile ? 40 : H, w = tile ? 56 : W;
        uint8_t *big = film(5, h, w);
        float *y = malloc(sizeof *y * Z * 2 * (size_t)(h / 8 * (w / 8)));
        if (rig_open(&r, golden, 2, REEL_F32, tile) || reel_vae_open(&v, &r.o)) exit(1);
        planned = vae_film_bytes(v, VAE_ENCODE, h, w);
        f = &v->film[VAE_ENCODE];
        if (reel_vae_encode(v, y, big, 5, h, w)) exit(1);
        TAP_OK(f->caches.used == f->caches.cap && f->scratch.peak == f->scratch.cap && held(f) == planned,
               "%s: planned to the byte: %zu planned, %zu taken", tile ? "tiles" : "whole pictures", planned, held(f));
        known = reel_vae_bytes(v, h, w);
        if (reel_vae_decode_begin(v, h / 8, w / 8) || reel_vae_decode(v, big, y, 2)) exit(1);
        planned = held(&v->film[VAE_DECODE]);
        TAP_OK(known == v->weights.cap + (held(f) > planned ? held(f) : planned), "... which the codec tells with its weights: %zu, of encoding or decoding",
               known);
        reel_stream_init(&planning, r.be, 1, NULL);
        r.o.s = &planning;
        if (reel_vae_open(&p, &r.o)) exit(1);
        TAP_OK(reel_vae_bytes(p, h, w) == known && !p->weights.base, "... and a codec that only plans tells the same without weights");
        reel_vae_close(p);
        reel_vae_close(v);
        rig_close(&r);
        free(big), free(y);
    }
    if (rig_open(&r, golden, 2, REEL_F32, 0) || reel_vae_open(&v, &r.o)) exit(1);
    f = &v->film[VAE_ENCODE];
    if (reel_vae_encode(v, z, rgb, 5, H, W)) exit(1);
    in = f->in, caches = f->caches.base, used = f->caches.used;
    if (reel_vae_encode(v, z, rgb, 81, H, W)) exit(1);
    TAP_OK(in == f->in && caches == f->caches.base && used == f->caches.used, "81 pictures take what 5 took, and nothing is allocated again");
    f = &v->film[VAE_DECODE];
    if (reel_vae_decode_begin(v, LH, LW) || reel_vae_decode(v, rgb, z, 21)) exit(1);
    TAP_OK(f->caches.used == f->caches.cap, "so do 21 latent frames");
    reel_vae_close(v);
    rig_close(&r);
    free(rgb), free(z);
}

/* ---- folders ---- */

static void write_text(const char *dir, const char *text)
{
    char path[4300];

    snprintf(path, sizeof path, "%s/vae", dir);
    reel_mkdirs(path);
    snprintf(path, sizeof path, "%s/vae/config.json", dir);
    if (reel_file_write(path, text, strlen(text))) exit(1);
}

/* The golden weights in folder dir, edited: `how` may drop (0), add (1), reshape (2) or zero (3) tensors. */
static void write_weights(const char *dir, int how)
{
    static const float extra[4];
    char path[4300];
    struct reel_st *st;
    struct reel_st_item *items;
    int n = 0;

    snprintf(path, sizeof path, "%s/vae/diffusion_pytorch_model.safetensors", golden);
    if (reel_st_open(&st, path)) exit(1);
    items = calloc((size_t)reel_st_count(st) + 1, sizeof *items);
    for (int i = 0; i < reel_st_count(st); i++) {
        const struct reel_st_entry *e = reel_st_entry(st, i);
        struct reel_st_item *t = &items[n];
        float *data;
        if (how == 0 && !strcmp(e->name, "decoder.conv_in.bias")) continue;
        *t = (struct reel_st_item){ .name = e->name, .dt = e->dt, .nd = e->nd };
        memcpy(t->n, e->n, (size_t)e->nd * sizeof *e->n);
        if (how == 2 && !strcmp(e->name, "decoder.norm_out.gamma")) t->nd = 1, t->n[0] = 5;
        data = malloc(e->bytes + 64);
        memset(data, 0, e->bytes + 64);
        if (how != 3 && reel_st_read(st, e, 0, e->bytes, data)) exit(1);
        if (how == 3 && !strcmp(e->name, "decoder.conv_out.bias")) data[0] = -2, data[1] = 0, data[2] = 0.5f;
        if (how == 3 && !strcmp(e->name, "quant_conv.bias")) data[0] = 0.25f, data[15] = -3, data[16] = 7;
        t->data = data;
        n++;
    }
    if (how == 1) items[n++] = (struct reel_st_item){ .name = "encoder.strange", .dt = REEL_F32, .nd = 1, .n = { 4 }, .data = extra };
    snprintf(path, sizeof path, "%s/vae/diffusion_pytorch_model.safetensors", dir);
    if (reel_st_write(path, items, n, NULL, 0, NULL, NULL)) exit(1);
    reel_st_close(st);
}

static void refused(const char *what, const char *dir, const char *words)
{
    struct rig r;
    const reel_err e = rig_open(&r, dir, 1, REEL_F32, 0);

    TAP_OK(e && strstr(reel_errrec()->msg, words), "%s: refused in so many words", what);
    if (!e || !strstr(reel_errrec()->msg, words)) printf("# %s\n# wanted: %s\n", e ? reel_errrec()->msg : "opened", words);
    reel_err_clear();
    rig_close(&r);
}

static void folders(void)
{
    static const struct { const char *what, *text, *words; } bad[] = {
        { "no JSON", "{ \"base_dim\": ", "config.json" },
        { "another class", "{ \"_class_name\": \"AutoencoderKL\" }", "_class_name is AutoencoderKL" },
        { "Wan2.2", "{ \"is_residual\": true }", "only that of Wan2.1" },
        { "patches", "{ \"patch_size\": 2 }", "only that of Wan2.1" },
        { "attention elsewhere", "{ \"attn_scales\": [1.0] }", "attn_scales must be empty" },
        { "another width of the decoder", "{ \"base_dim\": 4, \"decoder_base_dim\": 8 }", "decoder_base_dim" },
        { "no width", "{ \"base_dim\": 0 }", "base_dim must be a whole number from 1 to" },
        { "a word for a width", "{ \"base_dim\": \"96\" }", "base_dim must be a whole number" },
        { "an odd width", "{ \"base_dim\": 3, \"dim_mult\": [1, 1, 1, 1] }", "must be even" },
        { "three levels", "{ \"dim_mult\": [1, 2, 4] }", "dim_mult must be a list of 4" },
        { "a level of nothing", "{ \"dim_mult\": [1, 2, 4, 0] }", "dim_mult[3]" },
        { "all levels halve time", "{ \"temperal_downsample\": [true, true, true] }", "temperal_downsample must be true twice" },
        { "too few means", "{ \"latents_mean\": [0.5] }", "latents_mean must have a number for each" },
        { "a mean that is none", "{ \"z_dim\": 1, \"latents_mean\": [\"x\"], \"latents_std\": [1.0] }", "latents_mean[0] is no number" },
        { "a deviation of 0", "{ \"z_dim\": 1, \"latents_mean\": [0.0], \"latents_std\": [0.0] }", "latents_std[0] must be positive" },
        { "no means for 4 channels", "{ \"z_dim\": 4 }", "latents_mean is missing" },
        { "no weights", "{ \"base_dim\": 4 }", "no *.safetensors file" },
    };
    static const struct { const char *what, *words; } weights[] = {
        { "a tensor is missing", "1 are missing (decoder.conv_in.bias)" },
        { "a tensor too many", "1 others are there" },
        { "a tensor of another shape", "1 have another shape (decoder.norm_out.gamma [5])" },
    };
    char dir[4200];

    refused("no such folder", "/nonexistent/folder", "/nonexistent/folder");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(dir, sizeof dir, "%s/bad%zu", tmp, i);
        write_text(dir, bad[i].text);
        refused(bad[i].what, dir, bad[i].words);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(dir, sizeof dir, "%s/weights%d", tmp, i);
        write_text(dir, "{ \"base_dim\": 4 }");
        write_weights(dir, i);
        refused(weights[i].what, dir, weights[i].words);
    }
}

/* A VAE of zeros but for the last biases: what comes out is known. */
static void constants(void)
{
    char dir[4200];
    struct rig r;
    uint8_t *rgb = film(5, H, W), *pic;
    float *z;
    int ok = 1;

    snprintf(dir, sizeof dir, "%s/zeros", tmp);
    write_text(dir, "{ \"base_dim\": 4 }");
    write_weights(dir, 3);
    if (rig_open(&r, dir, 1, REEL_F32, 0)) exit(1);
    z = encode(&r, rgb, 5);
    for (int c = 0; c < Z; c++)
        for (int i = 0; i < 2 * LH * LW; i++) ok &= z[c * 2 * LH * LW + i] == (c == 0 ? 0.25f : c == 15 ? -3.0f : 0.0f);
    TAP_OK(ok, "weights of zero: the mean is the bias of its channels");
    pic = decode(&r, z, 2, 2, 2);
    ok = 1;
    for (int i = 0; i < 5 * H * W; i++) ok &= pic[3 * i] == 0 && pic[3 * i + 1] == 128 && pic[3 * i + 2] == 191;
    TAP_OK(ok, "... and -2, 0, 0.5 become the bytes 0, 128, 191");
    free(z), free(pic), free(rgb);
    rig_close(&r);
}

/* Another VAE: one residual block a level, widths all alike; its id tells it apart. */
static void another(void)
{
    char dir[4200];
    struct rig a, b;
    uint8_t *rgb = film(5, H, W), *pic;
    float *z;

    snprintf(dir, sizeof dir, "%s/../hf-layout/pipeline", golden);
    if (rig_open(&a, golden, 1, REEL_F32, 0) || rig_open(&b, dir, 1, REEL_F32, 0)) {
        printf("# %s\n", reel_errrec()->msg);
        exit(1);
    }
    TAP_OK(!strncmp(reel_codec_id(a.c), "wan-vae:", 8) && strcmp(reel_codec_id(a.c), reel_codec_id(b.c)) != 0, "ids: %s, %s", reel_codec_id(a.c),
           reel_codec_id(b.c));
    TAP_OK(reel_codec_family(b.c)->channels == Z && reel_codec_family(b.c)->std[15] == 1.916f, "channels and constants are those of config.json");
    z = encode(&b, rgb, 5);
    pic = decode(&b, z, 2, 2, 1);
    int finite = 1, alike = 0;
    for (int i = 0; i < Z * 2 * LH * LW; i++) finite &= isfinite(z[i]) != 0;
    for (int i = 0; i < 5 * H * W * 3; i++) alike += pic[i] == pic[0];
    TAP_OK(finite && alike < 5 * H * W, "a VAE of other depth and widths encodes and decodes");
    free(z), free(pic), free(rgb);
    rig_close(&a), rig_close(&b);
}

int main(void)
{
    snprintf(golden, sizeof golden, "%s/tests/golden/wan-vae", getenv("REEL_SRC") ? getenv("REEL_SRC") : "..");
    snprintf(tmp, sizeof tmp, "%s/vae", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    bits(REEL_F32);
    bits(REEL_BF16);
    narrow();
    tiles();
    memory();
    constants();
    another();
    folders();
    return tap_done();
}
