/* pictures: PNG round trip, contact sheets; crop, resize, frame choice and grids are in the golden folder media */
#include "data_util.h"
#include "media/letters.h"
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
    e = reel_sheet_png(path, &(struct reel_sheet){ .pic = pic, .n = 3, .cols = 2, .H = 5, .W = 7 });
    if (!e) e = reel_png_read(path, &sheet, &H, &W);
    TAP_OK(!e && H == 2 * (5 * 19 + 2) + 2 && W == 2 * (7 * 19 + 2) + 2 && !memcmp(sheet, black, 3) && !memcmp(sheet + (2 * W + 2) * 3, rgb, 3) &&
               !memcmp(sheet + (2 * W + 2 + 19) * 3, rgb + 3, 3) && !memcmp(sheet + (2 * W + 2 + 7 * 19 + 2) * 3, black, 3),
           "a contact sheet enlarges small pictures and leaves gaps black");
    TAP_OK(reel_png_write("/nonexistent/x.png", rgb, 5, 7) == REEL_EIO, "%s", reel_errrec()->msg);
    reel_err_clear();
    TAP_OK(reel_png_read(golden("media/cases.json"), &back, &H, &W) == REEL_EIO, "%s", reel_errrec()->msg);
    free(sheet);
    e = reel_sheet_png(path, &(struct reel_sheet){ pic, 2, 2, 5, 7, (const char *const[]){ "one caption for both, which takes two lines here, not one" }, 2 });
    if (!e) e = reel_png_read(path, &sheet, &H, &W);
    TAP_OK(!e && H == 5 * 19 + 4 + 2 * 9 + 2 && W == 2 * (7 * 19 + 2) + 2, "a strip below the pictures has room for the lines of the caption");
    free(sheet);
    reel_rmtree(scratch("t_media", ""));
}

/* A text on a small picture, as rows of '#' and '.', compared with what it should look like. */
static int looks(const char *text, int cols, int lines, const char *want)
{
    uint8_t rgb[40 * 30 * 3] = { 0 };
    char got[40 * 31] = "";
    int w = cols * 6, n = 0;

    reel_letters_draw(rgb, w, 0, 0, 1, text, cols, lines);
    for (int y = 0; y < 9 * lines - 2; y++, got[n++] = '\n')
        for (int x = 0; x < w; x++) got[n++] = rgb[(y * w + x) * 3] == 255 && rgb[(y * w + x) * 3 + 2] == 255 ? '#' : '.';
    got[n] = 0;
    if (strcmp(got, want)) printf("# %s\n", got);
    return !strcmp(got, want);
}

static void letters(void)
{
    TAP_OK(looks("aZ", 2, 1, "......#####.\n..........#.\n.###.....#..\n....#...#...\n.####..#....\n#...#.#.....\n.####.#####.\n"), "letters");
    TAP_OK(looks("\xc3\xa4", 1, 1, "#####.\n#...#.\n#...#.\n#...#.\n#...#.\n#...#.\n#####.\n"), "what is not ASCII is one box");
    TAP_OK(looks("abcdefg", 4, 1,
                 "........................\n........................\n.###....................\n....#...................\n"
                 ".####...................\n#...#..##....##....##...\n.####..##....##....##...\n"), "what does not fit ends in dots");
    TAP_OK(reel_letters_lines("", 10) == 0 && reel_letters_lines("ab cd ef", 5) == 2 && reel_letters_lines("ab cd ef", 4) == 3 &&
               reel_letters_lines("abcdefgh", 3) == 3 && reel_letters_lines("ab cd", 5) == 1 && reel_letters_lines("\xc3\xa4\xc3\xb6\xc3\xbc", 3) == 1,
           "lines are broken between words, long words anywhere");
}

int main(void)
{
    png();
    letters();
    return tap_done();
}
