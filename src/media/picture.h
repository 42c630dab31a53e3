#ifndef REEL_MEDIA_PICTURE_H
#define REEL_MEDIA_PICTURE_H

/* Pictures for people: PNG files, grids of validation videos, contact sheets. */

#include <stdint.h>

#include "base/err.h"

/** reel_png_write - through `path`.tmp and rename. Local. REEL_EIO, REEL_ENOMEM. @rgb in [height,width,3] u8 */
reel_err reel_png_write(const char *path, const uint8_t *rgb, int height, int width);
/** reel_png_read - 8-bit RGB of any PNG; *rgb is malloc'ed. Local. REEL_EIO, REEL_EDATA. */
reel_err reel_png_read(const char *path, uint8_t **rgb, int *height, int *width);

/** reel_grid_size - one picture stays as it is; else min(6,B) columns, 2 pixels around every cell. Local. */
void reel_grid_size(int B, int H, int W, int *height, int *width);
/** reel_grid - pictures side by side as validation shows them; x*255 is truncated. Local.
 * @dst out [height,width,3] u8 of reel_grid_size   @x in [B,C,H,W] f32 in [0,1], C 1 or 3 */
void reel_grid(uint8_t *dst, const float *x, int B, int C, int H, int W);

/** reel_grid_rgb - the same of B pictures of bytes, pic[b] [H,W,3] u8. Local. */
void reel_grid_rgb(uint8_t *dst, const uint8_t *const *pic, int B, int H, int W);

/**
 * reel_sheet_png - a contact sheet: n pictures, `cols` a row, 2 black pixels around each, small ones enlarged
 * to about 96 pixels. Local. REEL_EIO, REEL_ENOMEM. @pic in n pointers to [H,W,3] u8; NULL: left black
 */
reel_err reel_sheet_png(const char *path, const uint8_t *const *pic, int n, int cols, int H, int W);

#endif
