#include "media/picture.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

reel_err reel_png_write(const char *path, const uint8_t *rgb, int height, int width)
{
    png_image im = { .version = PNG_IMAGE_VERSION, .width = (png_uint_32)width, .height = (png_uint_32)height, .format = PNG_FORMAT_RGB };
    char tmp[1040];

    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    if (!png_image_write_to_file(&im, tmp, 0, rgb, 0, NULL)) {
        unlink(tmp);
        return REEL_FAIL(REEL_EIO, "%s: cannot write the picture: %s", path, im.message);
    }
    if (rename(tmp, path)) return REEL_FAIL(REEL_EIO, "%s: cannot rename: %m", tmp);
    return REEL_OK;
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

enum { PAD = 2, COLUMNS = 6, SHOWN = 96 };

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

reel_err reel_sheet_png(const char *path, const uint8_t *const *pic, int n, int cols, int H, int W)
{
    int k = H < SHOWN ? (SHOWN + H / 2) / H : 1, rows = (n + cols - 1) / cols;
    int height = rows * (H * k + PAD) + PAD, width = cols * (W * k + PAD) + PAD;
    uint8_t *dst = calloc((size_t)height * (size_t)width, 3);
    reel_err e;

    if (!dst) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for %d x %d pixels", path, height, width);
    for (int i = 0; i < n; i++)
        if (pic[i]) place(dst, width, pic[i], i / cols * (H * k + PAD) + PAD, i % cols * (W * k + PAD) + PAD, H, W, k);
    e = reel_png_write(path, dst, height, width);
    free(dst);
    return e;
}
