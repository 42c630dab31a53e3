/* crop, resize, frame choice and grid against golden files, bit by bit; PNG round trip */
#include <jansson.h>
#include <math.h>

#include "data_util.h"
#include "media/fit.h"
#include "media/picture.h"

static int get(const json_t *o, const char *name) { return (int)json_integer_value(json_object_get(o, name)); }

static struct reel_st *open_case(const char *name)
{
    struct reel_st *st;
    char file[128];

    snprintf(file, sizeof file, "media/%s.safetensors", name);
    if (reel_st_open(&st, golden(file))) exit(99);
    return st;
}

static void frames(const char *name, const json_t *crop)
{
    struct reel_st *st = open_case(name);
    const struct reel_st_entry *se, *de;
    uint8_t *src = tensor(st, "src", 1, &se), *want = tensor(st, "resized", 1, &de), *hwc, *got;
    float *scaled = tensor(st, "scaled", 0, NULL);
    int h = (int)se->n[2], w = (int)se->n[3], H = (int)de->n[2], W = (int)de->n[3], bad = 0;
    struct reel_crop c = reel_crop(h, w, H, W);
    struct reel_fit *f;

    TAP_OK(c.top == get(crop, "top") && c.left == get(crop, "left") && c.height == get(crop, "height") && c.width == get(crop, "width"),
           "%s: crop %dx%d at %d,%d", name, c.height, c.width, c.top, c.left);
    if (reel_fit_open(&f, h, w, H, W)) exit(99);
    hwc = malloc((size_t)(h * w * 3)), got = malloc((size_t)(H * W * 3));
    for (int t = 0; t < (int)se->n[0]; t++) {
        for (int i = 0; i < h * w * 3; i++) hwc[i] = src[(t * 3 + i % 3) * h * w + i / 3];
        reel_fit(f, got, hwc);
        for (int i = 0; i < H * W * 3; i++) {
            int at = (t * 3 + i % 3) * H * W + i / 3;
            bad += got[i] != want[at] || (float)got[i] / 255.0f * 2.0f - 1.0f != scaled[at];
        }
    }
    TAP_OK(!bad, "%s: every byte equal (%d differ)", name, bad);
    reel_fit_close(f);
    free(src), free(want), free(hwc), free(got), free(scaled);
    reel_st_close(st);
}

static void indices(const char *name, const json_t *j)
{
    double fps = json_number_value(json_object_get(j, "fps")), train = json_number_value(json_object_get(j, "train_fps"));
    const json_t *list = json_object_get(j, "indices");
    int64_t n = reel_frame_count(get(j, "num_frames"), fps, train);
    int bad = n != get(j, "available");

    for (size_t k = 0; k < json_array_size(list); k++)
        bad += reel_frame_index((int64_t)k, fps, train) != json_integer_value(json_array_get(list, k));
    TAP_OK(!bad && (int64_t)json_array_size(list) == (n < get(j, "wanted") ? n : get(j, "wanted")), "%s", name);
}

static void grid(const char *name)
{
    struct reel_st *st = open_case(name);
    const struct reel_st_entry *xe, *ge;
    float *x = tensor(st, "x", 0, &xe);
    uint8_t *want = tensor(st, "grid", 1, &ge), *got;
    int H, W;

    reel_grid_size((int)xe->n[0], (int)xe->n[2], (int)xe->n[3], &H, &W);
    got = malloc((size_t)(H * W * 3));
    reel_grid(got, x, (int)xe->n[0], (int)xe->n[1], (int)xe->n[2], (int)xe->n[3]);
    TAP_OK(H == (int)ge->n[0] && W == (int)ge->n[1] && !memcmp(got, want, (size_t)(H * W * 3)), "%s: %dx%d, every byte equal", name, H, W);
    free(x), free(want), free(got);
    reel_st_close(st);
}

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
    json_t *all = json_load_file(golden("media/cases.json"), 0, NULL), *j;
    size_t i;

    if (!all) return 1;
    json_array_foreach(json_object_get(all, "cases"), i, j) {
        const char *kind = json_string_value(json_object_get(j, "kind")), *name = json_string_value(json_object_get(j, "name"));
        if (!strcmp(kind, "frames")) frames(name, json_object_get(j, "crop"));
        if (!strcmp(kind, "indices")) indices(name, j);
        if (!strcmp(kind, "grid")) grid(name);
    }
    png();
    return tap_done();
}
