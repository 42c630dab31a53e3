/* pictures: PNG round trip, contact sheets; crop, resize, frame choice and grids are in the golden folder media */
#include "data_util.h"
#include "media/picture.h"

static void png(void)
{
    const char *path = scratch("t_media", "a.png");
    uint8_t rgb[5 * 7 * 3], black[3] = { 0 }, *back, *sheet;
    const uint8_t *pic[3] = { rgb, NULL, rgb };
    int H, W;
    reel_err e;

    for (int i = 0; i < 105; i++) rgb[i] = (uint8_t)(i * 37);
    e = reel_png_write(path, rgb, 5, 7);
    if (!e) e = reel_png_read(path, &back, &H, &W);
    TAP_OK(!e && H == 5 && W == 7 && !memcmp(rgb, back, sizeof rgb), "a PNG comes back %s", reel_errrec()->msg);
    e = reel_sheet_png(path, pic, 3, 2, 5, 7);
    if (!e) e = reel_png_read(path, &sheet, &H, &W);
    TAP_OK(!e && H == 2 * (5 * 19 + 2) + 2 && W == 2 * (7 * 19 + 2) + 2 && !memcmp(sheet, black, 3) && !memcmp(sheet + (2 * W + 2) * 3, rgb, 3) &&
               !memcmp(sheet + (2 * W + 2 + 19) * 3, rgb + 3, 3) && !memcmp(sheet + (2 * W + 2 + 7 * 19 + 2) * 3, black, 3),
           "a contact sheet enlarges small pictures and leaves gaps black");
    TAP_OK(reel_png_write("/nonexistent/x.png", rgb, 5, 7) == REEL_EIO, "%s", reel_errrec()->msg);
    reel_err_clear();
    TAP_OK(reel_png_read(golden("media/cases.json"), &back, &H, &W) == REEL_EIO, "%s", reel_errrec()->msg);
    free(sheet);
    reel_rmtree(scratch("t_media", ""));
}

int main(void)
{
    png();
    return tap_done();
}
