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

struct reel_sheet {
    const uint8_t *const *pic; /* n pictures [H,W,3] u8, NULL: left black */
    int n, cols, H, W;         /* cols a row */
    const char *const *caption; /* one under every `per` pictures of a row, per divides cols; NULL: none */
    int per;
};
/** reel_sheet_png - a contact sheet: 2 black pixels around each picture, small ones enlarged to about 96 pixels, captions
 * in at most three lines. Local. REEL_EIO, REEL_ENOMEM. */
reel_err reel_sheet_png(const char *path, const struct reel_sheet *s);

#endif
