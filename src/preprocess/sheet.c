/* The contact sheet. Pictures wait in the folder of what is finished, so that it is the same sheet however often the run
 * was killed: each rank keeps the first few samples it makes, in ascending order, and the first few of all are among them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "media/picture.h"
#include "preprocess/preprocess_priv.h"

enum { SHOWN = 4, PICTURES = 4 }; /* samples; pictures of each, originals and decoded */
#define PREFIX "shown-"

static reel_err decode(struct reel_prep *j)
{
    REEL_TRY(reel_codec_decode_begin(j->codec, j->d.height, j->d.width));
    return reel_codec_decode(j->codec, j->back, j->latent, j->d.frames);
}

reel_err reel_prep_show(struct reel_prep *j, int64_t key)
{
    char path[1200];
    uint8_t *all;
    reel_err e;

    if (!*j->sheet || j->shown == SHOWN) return REEL_OK;
    j->shown++;
    REEL_TRY(decode(j));
    all = malloc(2 * PICTURES * j->frame);
    if (!all) return REEL_FAIL(REEL_ENOMEM, "no memory for the contact sheet");
    for (int i = 0; i < PICTURES; i++) {
        size_t f = (size_t)(i * (j->F - 1) / (PICTURES - 1)) * j->frame;
        memcpy(all + (size_t)i * j->frame, j->rgb + f, j->frame);
        memcpy(all + (size_t)(PICTURES + i) * j->frame, j->back + f, j->frame);
    }
    snprintf(path, sizeof path, "%s/" PREFIX "%020" PRId64, j->dir, key);
    e = reel_file_write(path, all, 2 * PICTURES * j->frame);
    free(all);
    return e;
}

/* The first SHOWN of the sorted names. */
static reel_err read_shown(const struct reel_prep *j, char **names, size_t n, uint8_t **pictures, int *found)
{
    for (size_t i = 0; i < n && *found < SHOWN; i++) {
        char path[1400], *data;
        size_t bytes, len = strlen(names[i]);
        if (strncmp(names[i], PREFIX, strlen(PREFIX)) || len != strlen(PREFIX) + 20) continue;
        REEL_TRY(reel_join(path, sizeof path, j->dir, names[i]));
        REEL_TRY(reel_file_read(path, &data, &bytes));
        pictures[(*found)++] = (uint8_t *)data;
        if (bytes != 2 * PICTURES * j->frame) return REEL_FAIL(REEL_EIO, "%s: %zu bytes, not the pictures of a sample", path, bytes);
    }
    return REEL_OK;
}

reel_err reel_prep_sheet(const struct reel_prep *j)
{
    const uint8_t *pic[SHOWN * 2 * PICTURES];
    uint8_t *of[SHOWN] = { NULL };
    char **names;
    size_t n;
    int found = 0;
    reel_err e;

    REEL_TRY(reel_list_dir(j->dir, &names, &n));
    e = read_shown(j, names, n, of, &found);
    for (int i = 0; i < found * 2 * PICTURES; i++) pic[i] = of[i / (2 * PICTURES)] + (size_t)(i % (2 * PICTURES)) * j->frame;
    if (!e) e = reel_sheet_png(j->sheet, &(struct reel_sheet){ .pic = pic, .n = found * 2 * PICTURES, .cols = PICTURES, .H = j->H, .W = j->W });
    for (int i = 0; i < found; i++) free(of[i]);
    reel_list_free(names, n);
    return e;
}
