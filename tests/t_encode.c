/* the built-in encoders behind reel_text and reel_codec: what src/media says, in pieces or at once */
#include <stdlib.h>
#include <string.h>

#include "encode/encode.h"
#include "media/clips.h"
#include "media/dct.h"
#include "media/text.h"
#include "tap.h"

enum { F = 13, H = 32, W = 48, T = 4, LATENT = 16 * T * (H / 8) * (W / 8), PICTURE = H * W * 3 };

static int same_rows(const struct reel_text_rows *r, const char *prompt)
{
    float want[REEL_TEXT_ROWS * REEL_TEXT_DIM];

    return r->n == reel_text_vectors(prompt, want) && (!r->n || !memcmp(r->rows, want, (size_t)r->n * REEL_TEXT_DIM * sizeof *want));
}

static void words(const struct reel_encode_opts *o)
{
    const char *prompt[] = { "a red square", "", "a blue disc moves left" };
    struct reel_text_rows out[3];
    struct reel_text *t;
    int n = o->comm->rank % 2 ? 0 : 3, good = 1; /* some ranks have no prompt */

    TAP_OK(!reel_text_open(&t, o) && reel_text_dim(t) == REEL_TEXT_DIM && reel_text_most(t) == REEL_TEXT_ROWS && !strcmp(reel_text_id(t), "reel-words"),
           "the built-in words open");
    TAP_OK(!reel_text_encode(t, prompt, n, out), "prompts are encoded, three of a rank or none");
    for (int i = 0; i < n; i++) good &= same_rows(&out[i], prompt[i]);
    TAP_OK(good && (!n || (!out[1].n && !out[1].rows)), "each prompt has the rows of its words, the empty one has none");
    for (int i = 0; i < n; i++) free(out[i].rows);
    reel_text_close(t);
}

/* @cut latent frames of each call, ending with 0 */
static int streams(struct reel_codec *c, const float *z, const uint8_t *want, const int *cut)
{
    float piece[LATENT];
    uint8_t *rgb = malloc((size_t)F * PICTURE);
    int at = 0, pix = 0, frame = (H / 8) * (W / 8), e = reel_codec_decode_begin(c, H / 8, W / 8);

    for (; *cut && !e; at += *cut++) {
        int n = reel_codec_pictures(c, *cut);
        for (int k = 0; k < 16; k++) memcpy(piece + k * *cut * frame, z + (k * T + at) * frame, (size_t)(*cut * frame) * sizeof *z);
        e = reel_codec_decode(c, rgb + (size_t)pix * PICTURE, piece, *cut);
        pix += n;
    }
    e = e || at != T || pix != F || memcmp(rgb, want, (size_t)F * PICTURE);
    free(rgb);
    return !e;
}

static void pictures(const struct reel_encode_opts *o)
{
    static uint8_t rgb[F * PICTURE], back[F * PICTURE];
    static float z[LATENT], want[LATENT];
    struct reel_clip clip = { 1, 0, 0, W, H, F };
    struct reel_codec *c;

    reel_clip_draw(&clip, rgb);
    reel_dct_encode(want, rgb, F, H, W);
    reel_dct_decode(back, want, T, H / 8, W / 8, 0);
    TAP_OK(!reel_codec_open(&c, o) && reel_codec_family(c) == &reel_family_dct && !strcmp(reel_codec_id(c), REEL_DCT_ID), "the built-in codec opens");
    TAP_OK(!reel_codec_encode(c, z, rgb, F, H, W) && !memcmp(z, want, sizeof z), "a clip is encoded");
    TAP_OK(streams(c, z, back, (const int[]){ T, 0 }), "and decoded at once");
    TAP_OK(streams(c, z, back, (const int[]){ 1, 1, 1, 1, 0 }), "or frame by frame, to the same pictures");
    TAP_OK(streams(c, z, back, (const int[]){ 1, 3, 0 }) && streams(c, z, back, (const int[]){ 2, 2, 0 }), "or in any pieces");
    TAP_OK(reel_codec_frames(F) == T && !reel_codec_frames(12), "frames are 4k+1");
    reel_codec_close(c);
}

static void missing(struct reel_comm *world)
{
    struct reel_encode_opts o = { .model = "/nowhere/wan", .comm = world };
    struct reel_text *t;
    struct reel_codec *c;

    TAP_OK(reel_text_open(&t, &o) == REEL_ECONFIG && !t && strstr(reel_errrec()->msg, "/nowhere/wan"), "a folder without a text encoder is refused: %s", reel_errrec()->msg);
    reel_err_clear();
    TAP_OK(reel_codec_open(&c, &o) == REEL_ECONFIG && !c && strstr(reel_errrec()->msg, "/nowhere/wan"), "and one without a VAE: %s", reel_errrec()->msg);
    reel_err_clear();
}

int main(int argc, char **argv)
{
    struct reel_comm world;
    struct reel_encode_opts builtin = { .comm = &world }, named = { .model = "builtin", .comm = &world };

    if (reel_comm_start(&world, &argc, &argv)) return 1;
    tap_quiet = world.rank != 0;
    words(&builtin);
    words(&named);
    pictures(&builtin);
    missing(&world);
    reel_comm_stop();
    return tap_done();
}
