/* Golden kind media: crop and resize of frames, choice of frames, grids; every byte equal. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "media/fit.h"
#include "media/picture.h"

static int get(const json_t *o, const char *name) { return (int)golden_get(o, name, -1); }

static reel_err open_case(struct reel_st **st, const char *dir, const char *name)
{
    char file[256];

    snprintf(file, sizeof file, "%s.safetensors", name);
    return golden_open(st, dir, file);
}

static int is_frames(const struct reel_st_entry *e) { return e && e->dt == REEL_U8 && e->nd == 4 && e->n[1] == 3; }

/* Planes [T,3,h,w] of `src` through crop and resize, to planes [T,3,H,W]. */
static uint8_t *resize(const uint8_t *src, const struct reel_st_entry *se, int H, int W)
{
    int T = (int)se->n[0], h = (int)se->n[2], w = (int)se->n[3];
    uint8_t *in = malloc((size_t)(h * w * 3)), *out = malloc((size_t)(H * W * 3)), *all = malloc((size_t)(T * 3 * H * W));
    struct reel_fit *f;

    if (reel_fit_open(&f, h, w, H, W)) abort();
    for (int t = 0; t < T; t++) {
        for (int i = 0; i < h * w * 3; i++) in[i] = src[(t * 3 + i % 3) * h * w + i / 3];
        reel_fit(f, out, in);
        for (int i = 0; i < H * W * 3; i++) all[(t * 3 + i % 3) * H * W + i / 3] = out[i];
    }
    reel_fit_close(f);
    free(in), free(out);
    return all;
}

static void check_scaled(struct golden *g, struct reel_st *st, const char *name, const uint8_t *resized, int64_t n)
{
    const struct reel_st_entry *e;
    float *want = golden_bytes(st, "scaled", &e), *got = malloc((size_t)n * sizeof *got);

    for (int64_t i = 0; i < n; i++) got[i] = (float)resized[i] / 255.0f * 2.0f - 1.0f;
    if (want && e->dt == REEL_F32 && golden_count(e) == n) golden_equal(g, name, got, want, sizeof *got, n);
    else golden_true(g, name, 0);
    free(want), free(got);
}

static void check_frames(struct golden *g, struct reel_st *st, const char *name, const json_t *crop)
{
    const struct reel_st_entry *se, *de;
    uint8_t *src = golden_bytes(st, "src", &se), *want = golden_bytes(st, "resized", &de), *got;
    char line[128];
    struct reel_crop c;

    if (!is_frames(se) || !is_frames(de) || se->n[0] != de->n[0]) {
        golden_true(g, name, 0);
        free(src), free(want);
        return;
    }
    c = reel_crop((int)se->n[2], (int)se->n[3], (int)de->n[2], (int)de->n[3]);
    snprintf(line, sizeof line, "%s: crop", name);
    golden_true(g, line, c.top == get(crop, "top") && c.left == get(crop, "left") && c.height == get(crop, "height") && c.width == get(crop, "width"));
    got = resize(src, se, (int)de->n[2], (int)de->n[3]);
    snprintf(line, sizeof line, "%s: resized", name);
    golden_equal(g, line, got, want, 1, golden_count(de));
    snprintf(line, sizeof line, "%s: scaled", name);
    check_scaled(g, st, line, got, golden_count(de));
    free(src), free(want), free(got);
}

static void check_indices(struct golden *g, const char *name, const json_t *j)
{
    double fps = golden_get(j, "fps", (double)NAN), train = golden_get(j, "train_fps", (double)NAN);
    const json_t *list = json_object_get(j, "indices");
    int64_t n = reel_frame_count(get(j, "num_frames"), fps, train), wanted = get(j, "wanted");
    int ok = n == get(j, "available") && (n < wanted) == json_is_true(json_object_get(j, "short")) &&
             (int64_t)json_array_size(list) == (n < wanted ? n : wanted);

    for (size_t k = 0; k < json_array_size(list); k++)
        ok &= reel_frame_index((int64_t)k, fps, train) == json_integer_value(json_array_get(list, k));
    golden_true(g, name, ok);
}

static void check_grid(struct golden *g, struct reel_st *st, const char *name)
{
    const struct reel_st_entry *xe, *ge;
    float *x = golden_bytes(st, "x", &xe);
    uint8_t *want = golden_bytes(st, "grid", &ge), *got;
    int H, W;

    if (!x || !want || xe->dt != REEL_F32 || xe->nd != 4 || ge->dt != REEL_U8) {
        golden_true(g, name, 0);
        free(x), free(want);
        return;
    }
    reel_grid_size((int)xe->n[0], (int)xe->n[2], (int)xe->n[3], &H, &W);
    got = malloc((size_t)(H * W * 3));
    reel_grid(got, x, (int)xe->n[0], (int)xe->n[1], (int)xe->n[2], (int)xe->n[3]);
    if (golden_count(ge) == (int64_t)H * W * 3 && ge->n[0] == H) golden_equal(g, name, got, want, 1, golden_count(ge));
    else golden_true(g, name, 0);
    free(x), free(want), free(got);
}

static reel_err check_case(struct golden *g, const char *dir, const json_t *j)
{
    const char *kind = json_string_value(json_object_get(j, "kind")), *name = json_string_value(json_object_get(j, "name"));
    struct reel_st *st = NULL;

    if (!kind || !name) return golden_true(g, "a case has kind and name", 0), REEL_OK;
    if (!strcmp(kind, "indices")) return check_indices(g, name, j), REEL_OK;
    if (strcmp(kind, "frames") != 0 && strcmp(kind, "grid") != 0) return golden_true(g, name, 0), REEL_OK;
    REEL_TRY(open_case(&st, dir, name));
    if (!strcmp(kind, "frames")) check_frames(g, st, name, json_object_get(j, "crop"));
    else check_grid(g, st, name);
    reel_st_close(st);
    return REEL_OK;
}

int golden_media(struct golden *g, const char *dir)
{
    json_t *all = golden_json(dir, "cases.json"), *j;
    reel_err e = all ? REEL_OK : REEL_EDATA;
    size_t i;

    json_array_foreach(json_object_get(all, "cases"), i, j)
        if (!e) e = check_case(g, dir, j);
    json_decref(all);
    return e != REEL_OK;
}
