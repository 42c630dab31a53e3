/* the built-in clips, codec, text vectors, detector and distances against golden values */
#include <jansson.h>
#include <math.h>

#include "base/rng.h"
#include "data_util.h"
#include "media/clips.h"
#include "media/codec.h"
#include "media/measure.h"
#include "media/text.h"

static struct reel_st *st;
static char key_[64];
static const char *key(int n, const char *what)
{
    snprintf(key_, sizeof key_, "%d/%s", n, what);
    return key_;
}

static int get(const json_t *o, const char *name) { return (int)json_number_value(json_object_get(o, name)); }

static double farthest(const float *a, const float *b, size_t n)
{
    double d = 0;

    for (size_t i = 0; i < n; i++) d = fmax(d, fabs((double)a[i] - (double)b[i]));
    return d;
}

static void clip_case(int n, const json_t *j, uint8_t *rgb)
{
    struct reel_clip c = { (uint64_t)json_number_value(json_object_get(j, "seed")), get(j, "index"), get(j, "variant"), get(j, "width"),
                           get(j, "height"), get(j, "frames") };
    const json_t *a = json_object_get(j, "attributes");
    struct reel_clip_path p;
    struct reel_clip_what w;
    char caption[REEL_CLIP_CAPTION];
    uint8_t *want = tensor(st, key(n, "clip"), 1, NULL);
    uint32_t *words = tensor(st, key(n, "words"), 1, NULL);
    double *centre = tensor(st, key(n, "centres"), 1, NULL), xy[2];
    int bad = 0;

    if (c.seed == 9223372036854775808u) c.seed += 5; /* 2^63+5 is beyond the JSON reader */
    p = reel_clip_path(&c);
    w = reel_clip_what(c.seed, c.index);
    for (int i = 0; i < 12; i++)
        bad += words[i] != reel_rng_word(reel_rng_key(c.seed, "demo/clip"), 0, (uint32_t)c.variant, (uint32_t)c.index, (uint64_t)i);
    for (int f = 0; f < c.frames; f++) {
        reel_clip_centre(&c, &p, f, xy);
        bad += xy[0] != centre[2 * f] || xy[1] != centre[2 * f + 1];
    }
    bad += p.radius != json_number_value(json_object_get(j, "radius"));
    reel_clip_caption(w, caption);
    TAP_OK(!bad && !strcmp(caption, json_string_value(json_object_get(j, "caption"))) && w.shape == get(a, "shape") &&
               w.colour == get(a, "colour") && w.ground == get(a, "ground") && w.direction == get(a, "direction") && w.speed == get(a, "speed"),
           "%d: words, path and radius equal: %s", n, caption);
    reel_clip_draw(&c, rgb);
    TAP_OK(!memcmp(rgb, want, (size_t)c.frames * (size_t)c.height * (size_t)c.width * 3), "%d: every pixel equal", n);
    free(want), free(words), free(centre);
}

static void codec_case(int n, const uint8_t *rgb, int F, int H, int W, float *z, uint8_t *shown)
{
    int T = reel_codec_frames(F), h = H / 8, w = W / 8, off = 0, most = 0;
    size_t nz = (size_t)16 * (size_t)T * (size_t)h * (size_t)w, px = (size_t)F * (size_t)H * (size_t)W * 3;
    float *want = tensor(st, key(n, "latent"), 0, NULL), *norm = tensor(st, key(n, "normalised"), 0, NULL), *mine = malloc(nz * 4);
    uint8_t *decoded = tensor(st, key(n, "decoded"), 1, NULL);

    reel_codec_encode(z, rgb, F, H, W);
    for (size_t i = 0; i < nz; i++) mine[i] = (z[i] - reel_family_dct.mean[i / (nz / 16)]) / reel_family_dct.std[i / (nz / 16)];
    TAP_OK(farthest(z, want, nz) <= 1e-6 && farthest(mine, norm, nz) <= 1e-5, "%d: latents within %.1e, normalised %.1e", n,
           farthest(z, want, nz), farthest(mine, norm, nz));
    reel_codec_decode(shown, want, T, h, w);
    for (size_t i = 0; i < px; i++) {
        int d = abs((int)shown[i] - (int)decoded[i]);
        off += d > 0;
        if (d > most) most = d;
    }
    TAP_OK(most <= 1 && off < 4, "%d: decoded; %d of %zu values differ, by at most %d", n, off, px, most);
    memcpy(shown, decoded, px);
    free(want), free(norm), free(mine), free(decoded);
}

static void text_case(int n, const char *caption)
{
    const struct reel_st_entry *e;
    float *want = tensor(st, key(n, "text"), 0, &e), v[REEL_TEXT_ROWS * REEL_TEXT_DIM];
    int rows = reel_text_vectors(caption, v);

    TAP_OK(rows == (int)e->n[0] && farthest(v, want, (size_t)(rows * 64)) <= 1e-6, "%d: text vectors within %.1e", n,
           farthest(v, want, (size_t)(rows * 64)));
    free(want);
}

static void detector_case(int n, const json_t *j, const uint8_t *shown)
{
    const json_t *d = json_object_get(j, "detected");
    double residual = json_number_value(json_object_get(d, "residual"));
    struct reel_seen s;
    reel_err e = reel_detect(shown, get(j, "frames"), get(j, "height"), get(j, "width"), &s);

    TAP_OK(!e && s.what.shape == get(d, "shape") && s.what.colour == get(d, "colour") && s.what.ground == get(d, "ground") &&
               s.what.direction == get(d, "direction") && s.what.speed == get(d, "speed") && fabs(s.residual - residual) <= 1e-5 * residual,
           "%d: detected, residual %.6f (%.6f)", n, s.residual, residual);
}

static void distances(const json_t *j)
{
    enum { DIM = 2304, PER = 13 * 48 * 48 * 3 };
    float *z = malloc(8 * DIM * sizeof *z), *p = malloc(8 * DIM * sizeof *p);
    uint8_t *rgb = malloc(PER);
    double *want = tensor(st, "swd/direction0", 1, NULL), *d = malloc(DIM * sizeof *d), worst = 0, a, b;
    double wa = json_number_value(json_object_get(j, "swd")), wb = json_number_value(json_object_get(j, "swd_patch"));

    reel_direction(d, DIM, 0);
    for (int i = 0; i < DIM; i++) worst = fmax(worst, fabs(d[i] - want[i]));
    TAP_OK(worst < 1e-14, "direction 0 within %.1e", worst);
    for (int i = 0; i < 8; i++) { /* variant 2, then variant 1 */
        struct reel_clip c = { 1, REEL_CLIP_HELD_OUT + i % 4, i < 4 ? 2 : 1, 48, 48, 13 };
        reel_clip_draw(&c, rgb);
        reel_codec_encode(z + i * DIM, rgb, 13, 48, 48);
        for (int k = 0; k < DIM; k++)
            z[i * DIM + k] = (float)(((double)z[i * DIM + k] - (double)reel_family_dct.mean[k / 144]) / (double)reel_family_dct.std[k / 144]);
    }
    reel_patches(p, z, 8, 16, 4, 6, 6);
    if (reel_swd(z, z + 4 * DIM, 4, DIM, &a) || reel_swd(p, p + 4 * DIM, 4 * 36, 64, &b)) exit(99);
    TAP_OK(fabs(a - wa) <= 1e-5 * wa && fabs(b - wb) <= 1e-5 * wb,
           "distances %.7f (%.7f) and %.7f (%.7f)", a, wa, b, wb);
    free(z), free(p), free(rgb), free(want), free(d);
}

static void edges(void)
{
    float a[REEL_TEXT_ROWS * REEL_TEXT_DIM], b[REEL_TEXT_ROWS * REEL_TEXT_DIM];
    int n = reel_text_vectors("A Red-circle,  MOVES!", a), m = reel_text_vectors("a red circle moves", b);

    TAP_OK(n == 4 && m == 4 && !memcmp(a, b, 4 * 64 * 4), "case and punctuation do not count");
    TAP_OK(reel_text_vectors("", a) == 0 && reel_text_vectors(" .,;! \xc3\xa9 ", a) == 0, "no word, no row");
    TAP_OK(reel_text_vectors("1 2 3 4 5 6 7 8 9 10 11 12 13 14", a) == 12, "at most twelve rows");
    TAP_OK(reel_codec_frames(13) == 4 && reel_codec_frames(1) == 1 && !reel_codec_frames(12) && !reel_codec_frames(0), "frames are 4k+1");
}

int main(void)
{
    json_t *all = json_load_file(golden("demo/demo.json"), JSON_DECODE_INT_AS_REAL, NULL), *list = json_object_get(all, "cases"), *j;
    uint8_t *rgb = malloc(1 << 22), *shown = malloc(1 << 22);
    float *z = malloc(1 << 22);
    size_t n;

    if (!all || reel_st_open(&st, golden("demo/demo.safetensors"))) return 1;
    json_array_foreach(list, n, j) {
        clip_case((int)n, j, rgb);
        codec_case((int)n, rgb, get(j, "frames"), get(j, "height"), get(j, "width"), z, shown);
        text_case((int)n, json_string_value(json_object_get(j, "caption")));
        detector_case((int)n, j, shown);
    }
    distances(json_object_get(all, "distances_4_clips"));
    edges();
    return tap_done();
}
