#include "data/demo_set.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "media/clips.h"
#include "media/dct.h"
#include "media/text.h"

reel_err reel_parent_folders(const char *path, struct reel_comm *c)
{
    char dir[1024];
    reel_err e = REEL_OK;

    if (snprintf(dir, sizeof dir, "%s", path) >= (int)sizeof dir) e = REEL_FAIL(REEL_EIO, "%s: the name is too long", path);
    if (!e && c->rank == 0) e = reel_mkdirs(dirname(dir));
    return reel_agree(c, e);
}

reel_err reel_clip_desc(struct reel_set_desc *d, const struct reel_family *f, int height, int width, int frames, double fps, reel_dtype dtype)
{
    if (height < 16 || width < 16 || height % f->down[1] || width % f->down[2])
        return REEL_FAIL(REEL_ECONFIG, "clips of %d x %d pixels: height and width must be multiples of %d, at least 16", height, width, f->down[1]);
    if (!reel_dct_frames(frames))
        return REEL_FAIL(REEL_ECONFIG, "clips of %d frames: must be 4k+1; %d and %d are", frames, frames < 1 ? 1 : (frames - 1) / 4 * 4 + 1,
                         frames < 1 ? 5 : (frames - 1) / 4 * 4 + 5);
    *d = (struct reel_set_desc){ .kind = "t2v", .channels = f->channels, .frames = reel_dct_frames(frames), .height = height / f->down[1],
        .width = width / f->down[2], .dtype = dtype, .mean = f->mean, .std = f->std, .family = f->name, .pix_height = height,
        .pix_width = width, .pix_frames = frames, .fps = fps, .have_negative = 1, .have_empty = 1 };
    memcpy(d->down, f->down, sizeof d->down);
    return REEL_OK;
}

static reel_err add_clip(struct reel_set_writer *w, const struct reel_demo_args *a, int64_t i, uint8_t *rgb, float *latent)
{
    struct reel_clip clip = { a->seed, i, 0, a->width, a->height, a->frames };
    char id[48], caption[REEL_CLIP_CAPTION];
    float text[REEL_TEXT_ROWS * REEL_TEXT_DIM];
    struct reel_set_sample s = { .key = i, .latent = latent, .text = text, .id = id, .caption = caption, .width = a->width,
                                 .height = a->height, .frames = a->frames, .fps = REEL_DEMO_FPS, .duration = a->frames / REEL_DEMO_FPS };

    snprintf(id, sizeof id, "clip-%llu-%lld", (unsigned long long)a->seed, (long long)i);
    reel_clip_draw(&clip, rgb);
    reel_dct_encode(latent, rgb, a->frames, a->height, a->width);
    reel_clip_caption(reel_clip_what(a->seed, i), caption);
    s.rows = reel_text_vectors(caption, text);
    return reel_set_add(w, &s);
}

reel_err reel_set_make_demo(const struct reel_demo_args *a, struct reel_comm *c)
{
    struct reel_set_desc d;
    struct reel_set_writer *w;
    char source[64];
    uint8_t *rgb;
    float *latent;
    reel_err e;

    REEL_TRY(reel_clip_desc(&d, &reel_family_dct, a->height, a->width, a->frames, REEL_DEMO_FPS, REEL_F32));
    d.text_dim = REEL_TEXT_DIM, d.pad_to = REEL_TEXT_ROWS;
    d.vae = REEL_DCT_ID, d.text_encoder = REEL_TEXT_ID, d.tokenizer = REEL_TEXT_TOKENIZER;
    if (a->clips < 1 || a->clips > REEL_CLIP_HELD_OUT)
        return REEL_FAIL(REEL_ECONFIG, "%lld built-in clips: 1 to %d are possible", (long long)a->clips, REEL_CLIP_HELD_OUT);
    snprintf(source, sizeof source, "built-in clips, seed %llu", (unsigned long long)a->seed);
    d.source = source;
    REEL_TRY(reel_parent_folders(a->path, c));
    REEL_TRY(reel_set_create(&w, a->path, &d, c));
    rgb = malloc((size_t)a->frames * (size_t)a->height * (size_t)a->width * 3);
    latent = malloc((size_t)d.channels * (size_t)d.frames * (size_t)d.height * (size_t)d.width * sizeof *latent);
    e = rgb && latent ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for one clip");
    for (int64_t i = c->rank; i < a->clips && !e; i += c->size) e = add_clip(w, a, i, rgb, latent);
    e = reel_set_commit(w, e, NULL);
    free(rgb), free(latent);
    return e;
}
