/* films: exact pixels from a lossless codec, rotation, uneven frames, truncation and damage */
#include "data_util.h"
#include "film.h"
#include "media/video.h"

#define AT(name) scratch("t_video", name)
enum { W = 22, H = 14, N = 20 };

static int differ(const uint8_t *rgb, int f, int rotation)
{
    int bad = 0, w = rotation % 180 ? H : W;

    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            int ty = rotation == 0 ? y : rotation == 90 ? x : rotation == 180 ? H - 1 - y : W - 1 - x;
            int tx = rotation == 0 ? x : rotation == 90 ? H - 1 - y : rotation == 180 ? W - 1 - x : y;
            for (int c = 0; c < 3; c++) bad += rgb[(ty * w + tx) * 3 + c] != film_pixel(f, y, x, c);
        }
    return bad;
}

static void exact(const char *name, int rotation)
{
    struct film m = { AT(name), "png", W, H, N, 25, rotation, NULL };
    static const int pick[] = { 0, 0, 3, 4, 4, 11, 19 };
    const struct reel_video_info *f;
    struct reel_video *v;
    uint8_t rgb[W * H * 3];
    int bad = 0, e = film_write(&m);

    if (e || reel_video_open(&v, m.path)) {
        TAP_OK(0, "%s: %d %s", name, e, reel_errrec()->msg);
        reel_err_clear();
        return;
    }
    f = reel_video_info(v);
    TAP_OK(f->frames == N && f->fps == 25 && !f->variable && f->rotation == rotation && f->width == (rotation % 180 ? H : W) &&
               f->height == (rotation % 180 ? W : H) && f->duration == 0.8,
           "%s: %dx%d, %d frames at %g", name, f->width, f->height, (int)f->frames, f->fps);
    for (size_t i = 0; i < sizeof pick / sizeof *pick; i++)
        bad += reel_video_frame(v, pick[i], rgb) ? 1 : differ(rgb, pick[i], rotation);
    TAP_OK(!bad, "%s: rotated by %d, frames picked in order are exact (%d values differ) %s", name, rotation, bad, reel_errrec()->msg);
    TAP_OK(reel_video_count(v, 10) == 8 && reel_video_pick(v, 7, 10) == 17, "%s: eight pictures at 10 a second", name);
    reel_video_close(v);
}

static void uneven(void)
{
    static const int64_t ms[8] = { 0, 40, 80, 500, 540, 580, 1000, 1040 };
    struct film m = { AT("uneven.mkv"), "png", W, H, 8, 25, 0, ms };
    static const int64_t want[10] = { 0, 2, 2, 2, 2, 3, 5, 5, 5, 5 }; /* every 100 ms */
    struct reel_video *v;
    int bad = 0;

    if (film_write(&m) || reel_video_open(&v, m.path)) {
        TAP_OK(0, "uneven: %s", reel_errrec()->msg);
        return;
    }
    for (int k = 0; k < 10; k++) bad += reel_video_pick(v, k, 10) != want[k];
    TAP_OK(reel_video_info(v)->variable && !bad, "uneven frames: the one shown at the time (%d differ)", bad);
    reel_video_close(v);
}

static void refused(const char *path, reel_err want, const char *words)
{
    struct reel_video *v = NULL;
    reel_err e = reel_video_open(&v, path);

    TAP_OK(e == want && strstr(reel_errrec()->msg, words), "%s", reel_errrec()->msg);
    reel_err_clear();
    reel_video_close(v);
}

static void damaged(void)
{
    struct film m = { AT("good.avi"), "mpeg4", 64, 48, 40, 25, 0, NULL };
    struct reel_video *v;
    static uint8_t rgb[64 * 48 * 3];
    char *p;
    size_t n;
    reel_err e;

    if (film_write(&m) || reel_file_read(m.path, &p, &n)) exit(99);
    e = reel_video_open(&v, m.path);
    TAP_OK(!e && reel_video_info(v)->frames == 40 && !reel_video_frame(v, 39, rgb) && abs((int)rgb[0] - (int)rgb[1]) < 6, "mpeg4 in avi, frame 39");
    reel_video_close(v);
    for (size_t i = n / 2; i < n / 2 + 400 && i < n; i++) p[i] = (char)(i * 31); /* the middle overwritten */
    reel_file_write(AT("hurt.avi"), p, n);
    e = reel_video_open(&v, AT("hurt.avi"));
    for (int i = 0; i < 40 && !e; i++) e = reel_video_frame(v, i, rgb);
    TAP_OK(e == REEL_EDATA, "damage in the middle is noticed: %s", reel_errrec()->msg);
    reel_err_clear();
    if (v) reel_video_close(v);
    reel_file_write(AT("text.mp4"), "this is not a film", 18);
    refused(AT("text.mp4"), REEL_EDATA, "text.mp4: not a film");
    refused(AT("none.mp4"), REEL_EIO, "none.mp4: cannot open: No such file");
    reel_file_write(AT("empty.mp4"), "", 0);
    refused(AT("empty.mp4"), REEL_EDATA, "empty.mp4: not a film");
    free(p);
    if (reel_file_read(AT("r0.mov"), &p, &n)) exit(99); /* its table of contents is at the end */
    reel_file_write(AT("cut.mov"), p, n / 2);
    refused(AT("cut.mov"), REEL_EDATA, "cut.mov: ");
    free(p);
}

int main(void)
{
    exact("r0.mov", 0);
    exact("r90.mov", 90);
    exact("r180.mov", 180);
    exact("r270.mov", 270);
    exact("r0.mkv", 0);
    uneven();
    damaged();
    reel_rmtree(scratch("t_video", ""));
    return tap_done();
}
