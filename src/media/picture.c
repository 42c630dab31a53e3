#include "media/picture.h"

#include <limits.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "media/letters.h"

reel_err reel_png_write(const char *path, const uint8_t *rgb, int height, int width)
{
    png_image im = { .version = PNG_IMAGE_VERSION, .width = (png_uint_32)width, .height = (png_uint_32)height, .format = PNG_FORMAT_RGB };
    char tmp[PATH_MAX];
    reel_err e;

    if (snprintf(tmp, sizeof tmp, "%s.tmp", path) >= (int)sizeof tmp) return REEL_FAIL(REEL_EIO, "%s: path too long", path);
    e = png_image_write_to_file(&im, tmp, 0, rgb, 0, NULL) ? reel_publish(tmp, path)
                                                           : REEL_FAIL(REEL_EIO, "%s: cannot write the picture: %s", path, im.message);
    if (e) unlink(tmp);
    return e;
}

reel_err reel_png_read(const char *path, uint8_t **rgb, int *height, int *width)
{
    png_image im = { .version = PNG_IMAGE_VERSION };
    png_color black = { 0, 0, 0 };

    *rgb = NULL;
    if (!png_image_begin_read_from_file(&im, path)) return REEL_FAIL(REEL_EIO, "%s: %s", path, im.message);
    im.format = PNG_FORMAT_RGB;
    *rgb = malloc(PNG_IMAGE_SIZE(im));
    if (!*rgb || !png_image_finish_read(&im, &black, *rgb, 0, NULL)) {
        reel_err e = *rgb ? REEL_FAIL(REEL_EDATA, "%s: %s", path, im.message) : REEL_FAIL(REEL_ENOMEM, "%s: no memory", path);
        png_image_free(&im);
        free(*rgb);
        *rgb = NULL;
        return e;
    }
    *height = (int)im.height, *width = (int)im.width;
    return REEL_OK;
}

enum { PAD = 2, COLUMNS = 6, SHOWN = 96, LINES = 3 };

void reel_grid_size(int B, int H, int W, int *height, int *width)
{
    int cols = B < COLUMNS ? B : COLUMNS, rows = (B + cols - 1) / cols;

    *height = B == 1 ? H : rows * (H + PAD) + PAD;
    *width = B == 1 ? W : cols * (W + PAD) + PAD;
}

void reel_grid(uint8_t *dst, const float *x, int B, int C, int H, int W)
{
    int height, width, cols = B < COLUMNS ? B : COLUMNS, pad = B == 1 ? 0 : PAD;

    reel_grid_size(B, H, W, &height, &width);
    memset(dst, 0, (size_t)height * (size_t)width * 3);
    for (int b = 0; b < B; b++)
        for (int y = 0; y < H; y++)
            for (int i = 0; i < W; i++)
                for (int c = 0; c < 3; c++) {
                    size_t at = (size_t)(b / cols * (H + pad) + pad + y) * (size_t)width + (size_t)(b % cols * (W + pad) + pad + i);
                    float v = x[((b * C + (C == 1 ? 0 : c)) * H + y) * W + i] * 255.0f;
                    dst[at * 3 + (size_t)c] = !(v > 0) ? 0 : v > 255 ? 255 : (uint8_t)v;
                }
}

static void place(uint8_t *dst, int width, const uint8_t *pic, int top, int left, int H, int W, int k)
{
    for (int y = 0; y < H * k; y++)
        for (int x = 0; x < W * k; x++)
            memcpy(dst + ((size_t)(top + y) * (size_t)width + (size_t)(left + x)) * 3, pic + ((size_t)(y / k) * (size_t)W + (size_t)(x / k)) * 3, 3);
}

void reel_grid_rgb(uint8_t *dst, const uint8_t *const *pic, int B, int H, int W)
{
    int height, width, cols = B < COLUMNS ? B : COLUMNS, pad = B == 1 ? 0 : PAD;

    reel_grid_size(B, H, W, &height, &width);
    memset(dst, 0, (size_t)height * (size_t)width * 3);
    for (int b = 0; b < B; b++) place(dst, width, pic[b], b / cols * (H + pad) + pad, b % cols * (W + pad) + pad, H, W, 1);
}

/* How captions are laid out below the pictures of a row. */
struct strip { int scale, cols, lines, height, width; /* of letters; of the strip in pixels, of one caption */ };

static struct strip strip_of(const struct reel_sheet *s, int W)
{
    struct strip t = { .width = s->per * (W + PAD) };

    if (!s->caption) return t;
    t.scale = 1 + t.width / 900;
    t.cols = t.width / (REEL_LETTER_WIDTH * t.scale) - 1;
    for (int i = 0; i < s->n / s->per; i++) {
        int lines = s->caption[i] ? reel_letters_lines(s->caption[i], t.cols) : 0;
        if (lines > t.lines) t.lines = lines < LINES ? lines : LINES;
    }
    t.height = t.lines ? t.lines * REEL_LETTER_HEIGHT * t.scale + PAD : 0;
    return t;
}

reel_err reel_sheet_png(const char *path, const struct reel_sheet *s)
{
    int k = s->H < SHOWN ? (SHOWN + s->H / 2) / s->H : 1, rows = (s->n + s->cols - 1) / s->cols, H = s->H * k, W = s->W * k;
    struct strip t = strip_of(s, W);
    int height = rows * (H + PAD + t.height) + PAD, width = s->cols * (W + PAD) + PAD;
    uint8_t *dst = calloc((size_t)height * (size_t)width, 3);
    reel_err e;

    if (!dst) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for %d x %d pixels", path, height, width);
    for (int i = 0; i < s->n; i++) {
        int top = i / s->cols * (H + PAD + t.height) + PAD, left = i % s->cols * (W + PAD) + PAD;
        if (s->pic[i]) place(dst, width, s->pic[i], top, left, s->H, s->W, k);
        if (t.lines && i % s->per == 0 && s->caption[i / s->per])
            reel_letters_draw(dst, width, top + H + PAD, left, t.scale, s->caption[i / s->per], t.cols, t.lines);
    }
    e = reel_png_write(path, dst, height, width);
    free(dst);
    return e;
}
