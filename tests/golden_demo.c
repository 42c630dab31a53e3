/* Golden kind demo: the built-in clips, codec, text vectors, detector and distances. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "golden.h"
#include "media/clips.h"
#include "media/dct.h"
#include "media/measure.h"
#include "media/text.h"

struct demo_case { struct golden *g; struct reel_st *st; int n; const json_t *j; struct reel_clip clip; char key[64]; };

static const char *key(struct demo_case *c, const char *what)
{
    snprintf(c->key, sizeof c->key, "%d/%s", c->n, what);
    return c->key;
}

static int get(const json_t *o, const char *name) { return (int)golden_get(o, name, -2); }

/* A tensor of this case with as many elements as there must be; NULL is counted as a failure. */
static void *want(struct demo_case *c, const char *what, const char *dtype, int64_t n)
{
    const struct reel_st_entry *e;
    void *p = golden_bytes(c->st, key(c, what), &e);

    if (p && !strcmp(e->dtype, dtype) && (n < 0 || golden_count(e) == n)) return p;
    free(p);
    golden_true(c->g, c->key, 0);
    return NULL;
}

static int64_t pixels(const struct reel_clip *c) { return (int64_t)c->frames * c->height * c->width * 3; }
static int64_t latents(const struct reel_clip *c)
{
    return (int64_t)REEL_DCT_CHANNELS * reel_dct_frames(c->frames) * (c->height / 8) * (c->width / 8);
}

static void near32(struct demo_case *c, const char *name, const float *got, const float *ref, int64_t n, double tol)
{
    struct golden_diff d = { 0 };

    golden_diff(&d, got, ref, n);
    golden_line(c->g, name, d.max_abs, d.max_abs, tol);
}

/* ---- clips ---- */

static int same_what(const struct reel_clip_what *w, const json_t *j)
{
    return w->shape == get(j, "shape") && w->colour == get(j, "colour") && w->ground == get(j, "ground") &&
           w->direction == get(j, "direction") && w->speed == get(j, "speed");
}

static void check_path(struct demo_case *c)
{
    struct reel_clip_path p = reel_clip_path(&c->clip);
    double *centre = want(c, "centres", "F64", 2 * c->clip.frames), *xy = calloc((size_t)c->clip.frames * 2, sizeof *xy);
    double radius = golden_get(c->j, "radius", (double)NAN);

    for (int f = 0; f < c->clip.frames; f++) reel_clip_centre(&c->clip, &p, f, xy + 2 * f);
    if (centre) golden_equal(c->g, key(c, "centres"), xy, centre, sizeof *xy, 2 * c->clip.frames);
    golden_equal(c->g, key(c, "radius"), &p.radius, &radius, sizeof radius, 1);
    free(centre), free(xy);
}

static void check_words(struct demo_case *c)
{
    const struct reel_st_entry *e = reel_st_find(c->st, key(c, "words"));
    int64_t n = e ? golden_count(e) : 0;
    uint32_t *words = want(c, "words", "U32", -1), *got = calloc((size_t)n + 1, sizeof *got);

    for (int64_t i = 0; i < n; i++)
        got[i] = reel_rng_word(reel_rng_key(c->clip.seed, "demo/clip"), 0, (uint32_t)c->clip.variant, (uint32_t)c->clip.index, (uint64_t)i);
    if (words) golden_equal(c->g, key(c, "words"), got, words, sizeof *got, n);
    free(words), free(got);
}

static void check_clip(struct demo_case *c, uint8_t *rgb)
{
    struct reel_clip_what w = reel_clip_what(c->clip.seed, c->clip.index);
    char caption[REEL_CLIP_CAPTION];
    uint8_t *clip = want(c, "clip", "U8", pixels(&c->clip));

    reel_clip_caption(w, caption);
    golden_true(c->g, key(c, "caption"), !strcmp(caption, json_string_value(json_object_get(c->j, "caption"))));
    golden_true(c->g, key(c, "attributes"), same_what(&w, json_object_get(c->j, "attributes")));
    reel_clip_draw(&c->clip, rgb);
    if (clip) golden_equal(c->g, key(c, "clip"), rgb, clip, 1, pixels(&c->clip));
    free(clip);
}

/* ---- codec, text, detector ---- */

/* Decoded pixels: equal but for one grey level where a value falls on a half, which is rare. */
static void check_decoded(struct demo_case *c, const float *z, const uint8_t *decoded)
{
    const struct reel_clip *k = &c->clip;
    uint8_t *shown = malloc((size_t)pixels(k));
    int64_t off = 0;
    int most = 0;

    reel_dct_decode(shown, z, reel_dct_frames(k->frames), k->height / 8, k->width / 8, 0);
    for (int64_t i = 0; i < pixels(k); i++) {
        int d = abs((int)shown[i] - (int)decoded[i]);
        off += d > 0;
        if (d > most) most = d;
    }
    golden_line(c->g, key(c, "decoded"), most, (double)off / (double)pixels(k), most <= 1 ? 1e-3 : 0);
    free(shown);
}

static void check_codec(struct demo_case *c, const uint8_t *rgb)
{
    const struct reel_clip *k = &c->clip;
    int64_t n = latents(k), per = n / REEL_DCT_CHANNELS;
    float *z = malloc((size_t)n * sizeof *z), *latent = want(c, "latent", "F32", n), *norm = want(c, "normalised", "F32", n);
    uint8_t *decoded = want(c, "decoded", "U8", pixels(k));

    reel_dct_encode(z, rgb, k->frames, k->height, k->width);
    if (latent) near32(c, key(c, "latent"), z, latent, n, 1e-6);
    for (int64_t i = 0; i < n; i++) z[i] = (z[i] - reel_family_dct.mean[i / per]) / reel_family_dct.std[i / per];
    if (norm) near32(c, key(c, "normalised"), z, norm, n, 1e-5); /* a latent's 1e-6 over the least deviation */
    if (latent && decoded) check_decoded(c, latent, decoded);
    free(z), free(latent), free(norm), free(decoded);
}

static void check_text(struct demo_case *c)
{
    float v[REEL_TEXT_ROWS * REEL_TEXT_DIM];
    int rows = reel_text_vectors(json_string_value(json_object_get(c->j, "caption")), v);
    float *text = want(c, "text", "F32", (int64_t)rows * REEL_TEXT_DIM);

    if (text) near32(c, key(c, "text"), v, text, (int64_t)rows * REEL_TEXT_DIM, 1e-6);
    free(text);
}

static void check_detector(struct demo_case *c)
{
    const json_t *d = json_object_get(c->j, "detected");
    uint8_t *decoded = want(c, "decoded", "U8", pixels(&c->clip));
    double residual = golden_get(d, "residual", (double)NAN);
    struct reel_seen s;

    if (!decoded) return;
    golden_true(c->g, key(c, "detected"), !reel_detect(decoded, c->clip.frames, c->clip.height, c->clip.width, &s) && same_what(&s.what, d));
    golden_near_rel(c->g, key(c, "residual"), &s.residual, &residual, 1, 1e-5);
    free(decoded);
}

static void check_case(struct golden *g, struct reel_st *st, int n, const json_t *j)
{
    struct demo_case c = { .g = g, .st = st, .n = n, .j = j };
    uint8_t *rgb;

    c.clip = (struct reel_clip){ golden_u64(json_object_get(j, "seed")), (int64_t)golden_get(j, "index", 0), get(j, "variant"),
                                 get(j, "width"), get(j, "height"), get(j, "frames") };
    if (c.clip.width < 8 || c.clip.height < 8 || !reel_dct_frames(c.clip.frames)) {
        golden_true(g, key(&c, "sizes"), 0);
        return;
    }
    rgb = malloc((size_t)pixels(&c.clip));
    check_path(&c);
    check_words(&c);
    check_clip(&c, rgb);
    check_codec(&c, rgb);
    check_text(&c);
    check_detector(&c);
    free(rgb);
}

/* ---- distances ---- */

static void check_direction(struct golden *g, struct reel_st *st, const struct reel_st_entry *e, int b)
{
    int n = (int)golden_count(e);
    double *ref = golden_doubles(st, e->name, NULL), *got = malloc((size_t)(n + 1) * sizeof *got);

    reel_direction(got, n, b);
    golden_near(g, e->name, got, ref, n, 1e-14);
    free(ref), free(got);
}

/* Held-out clips 0..n-1 of seed 1, 48 x 48 x 13, variant 2 against variant 1. */
static void check_distances(struct golden *g, const json_t *j, int n)
{
    struct reel_clip c = { .seed = 1, .width = 48, .height = 48, .frames = 13 };
    int dim = (int)latents(&c), T = reel_dct_frames(c.frames), h = c.height / 8, w = c.width / 8, per = dim / REEL_DCT_CHANNELS;
    size_t all = 2 * (size_t)n * (size_t)dim;
    float *z = malloc(all * sizeof *z), *p = malloc(all * sizeof *p);
    uint8_t *rgb = malloc((size_t)pixels(&c));
    double got[2] = { (double)NAN, (double)NAN }, ref[2] = { golden_get(j, "swd", (double)NAN), golden_get(j, "swd_patch", (double)NAN) };

    for (int i = 0; i < 2 * n; i++) {
        c.index = REEL_CLIP_HELD_OUT + i % n, c.variant = i < n ? 2 : 1;
        reel_clip_draw(&c, rgb);
        reel_dct_encode(z + i * dim, rgb, c.frames, c.height, c.width);
        for (int k = 0; k < dim; k++)
            z[i * dim + k] = (float)(((double)z[i * dim + k] - (double)reel_family_dct.mean[k / per]) / (double)reel_family_dct.std[k / per]);
    }
    reel_patches(p, z, 2 * n, REEL_DCT_CHANNELS, T, h, w);
    if (reel_swd(z, z + n * dim, n, dim, &got[0]) || reel_swd(p, p + n * dim, (int64_t)n * T * (h / 2) * (w / 2), REEL_DCT_CHANNELS * 4, &got[1]))
        reel_err_clear();
    golden_near_rel(g, "swd", &got[0], &ref[0], 1, 1e-5);
    golden_near_rel(g, "swd_patch", &got[1], &ref[1], 1, 1e-5);
    free(z), free(p), free(rgb);
}

int golden_demo(struct golden *g, const char *dir)
{
    json_t *all = golden_json(dir, "demo.json"), *j;
    struct reel_st *st = NULL;
    reel_err e = golden_open(&st, dir, "demo.safetensors");
    float empty[REEL_TEXT_ROWS * REEL_TEXT_DIM];
    const char *name;
    size_t i;
    int n;

    if (!all || e) {
        reel_st_close(st);
        json_decref(all);
        return 1;
    }
    json_array_foreach(json_object_get(all, "cases"), i, j) check_case(g, st, (int)i, j);
    for (int k = 0; k < reel_st_count(st); k++)
        if (sscanf(reel_st_entry(st, k)->name, "swd/direction%d", &n) == 1) check_direction(g, st, reel_st_entry(st, k), n);
    json_object_foreach(all, name, j)
        if (sscanf(name, "distances_%d_clips", &n) == 1 && n > 0) check_distances(g, j, n);
    if ((j = json_object_get(all, "empty_text_rows"))) golden_true(g, "rows of an empty text", reel_text_vectors("", empty) == json_integer_value(j));
    reel_st_close(st);
    json_decref(all);
    return 0;
}
