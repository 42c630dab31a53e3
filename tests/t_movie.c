/* films that we write: pictures, rate and texts come back, the same bytes twice, the part can be read while it grows */
#include <math.h>
#include <signal.h>
#include <sys/resource.h>

#include "data_util.h"
#include "media/movie.h"
#include "media/video.h"

#define AT(name) scratch("t_movie", name)

/* Smooth in space and time, as films are: chroma is stored at half the resolution. */
static uint8_t level(int f, int y, int x, int c)
{
    return (uint8_t)lround(128 + 100 * sin(0.09 * x + 0.05 * y * (c + 1) + 0.2 * f + 2.0 * c));
}

static void picture(uint8_t *rgb, int f, int h, int w)
{
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < 3; c++) rgb[((size_t)y * (size_t)w + (size_t)x) * 3 + (size_t)c] = level(f, y, x, c);
}

static reel_err film(const struct reel_movie_opts *o, int frames)
{
    uint8_t *rgb = malloc((size_t)o->width * (size_t)o->height * 3);
    struct reel_movie *m;
    reel_err e = reel_movie_open(&m, o);

    for (int f = 0; f < frames && !e; f++) {
        picture(rgb, f, o->height, o->width);
        e = reel_movie_frame(m, rgb);
    }
    free(rgb);
    if (e) reel_movie_drop(&m);
    return e ? e : reel_movie_close(&m);
}

/* Root of the mean square error of all pictures, 255 is white; negative: it does not read. */
static double error_of(const char *path, int frames, int h, int w, double fps)
{
    const struct reel_video_info *f;
    struct reel_video *v;
    uint8_t *rgb;
    double sum = 0;
    int W = w + w % 2, H = h + h % 2;

    if (reel_video_open(&v, path)) return -1;
    f = reel_video_info(v);
    if (f->frames != frames || f->width != W || f->height != H || fabs(f->fps - fps) > 1e-3 * fps || f->variable || f->rotation) return -2;
    rgb = malloc((size_t)W * (size_t)H * 3);
    for (int i = 0; i < frames; i++) {
        if (reel_video_frame(v, i, rgb)) return -3;
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++)
                for (int c = 0; c < 3; c++) {
                    double d = rgb[(y * W + x) * 3 + c] - level(i, y < h ? y : h - 1, x < w ? x : w - 1, c);
                    sum += d * d;
                }
    }
    free(rgb);
    reel_video_close(v);
    return sqrt(sum / ((double)frames * W * H * 3));
}

static void comes_back(const char *encoder, int frames, int h, int w, double fps)
{
    struct reel_movie_opts o = { AT("back.mp4"), w, h, fps, NULL, NULL, encoder };
    reel_err e = film(&o, frames);
    double rms = e ? -9 : error_of(o.path, frames, h, w, fps);

    TAP_OK(rms >= 0 && rms < 4, "%s: %d pictures of %d x %d at %g: error %.2f of 255 %s", encoder ? encoder : "libx264", frames, w, h, fps, rms,
           reel_errrec()->msg);
    reel_err_clear();
}

static size_t find(const char *p, size_t n, const char *what)
{
    char *at = memmem(p, n, what, strlen(what));

    return at ? (size_t)(at - p) : n;
}

static void same_bytes(void)
{
    struct reel_movie_opts o = { AT("a.mp4"), 64, 48, 16, "a red circle \"moves\"; slowly = up\nunder \xc3\xbc", "seed 1", NULL };
    char *a, *b;
    size_t n, k;

    if (film(&o, 12)) exit(99);
    o.path = AT("b.mp4");
    if (film(&o, 12) || reel_file_read(AT("a.mp4"), &a, &n) || reel_file_read(AT("b.mp4"), &b, &k)) exit(99);
    TAP_OK(n == k && !memcmp(a, b, n), "the same pictures are the same %zu bytes", n);
    TAP_OK(find(a, n, "moov") < find(a, n, "mdat") && find(a, n, "moof") == n, "one piece, its index in front");
    TAP_OK(find(a, n, o.caption) < n && find(a, n, "seed 1") < n, "caption and comment are in it");
    TAP_OK(access(AT("a.mp4.part"), F_OK) && access(AT("a.mp4.tmp"), F_OK), "no part is left");
    free(a), free(b);
}

/* Another pair of eyes. */
static void ffprobe(void)
{
    static const char want[] = "codec_name=h264\nwidth=64\nheight=48\npix_fmt=yuv420p\ncolor_space=smpte170m\navg_frame_rate=16/1\nnb_read_frames=12\n"
                               "duration=0.750000\nTAG:comment=seed 1\n";
    char cmd[1200], got[1024] = "";
    FILE *f;

    if (system("command -v ffprobe >/dev/null")) {
        TAP_OK(1, "# SKIP ffprobe is not installed");
        return;
    }
    snprintf(cmd, sizeof cmd,
             "ffprobe -v error -count_frames -show_entries stream=codec_name,width,height,pix_fmt,avg_frame_rate,nb_read_frames,color_space:"
             "format=duration:format_tags=comment -of default=nw=1 '%s' 2>&1", AT("a.mp4"));
    f = popen(cmd, "r");
    if (!f) exit(99);
    got[fread(got, 1, sizeof got - 1, f)] = 0;
    pclose(f);
    TAP_OK(!strcmp(got, want), "ffprobe reads it as we do%s", strcmp(got, want) ? "; it says:" : "");
    if (strcmp(got, want)) fputs(got, stderr);
}

static void grows(void)
{
    struct reel_movie_opts o = { AT("grow.mp4"), 64, 48, 16, "c", NULL, NULL };
    uint8_t rgb[64 * 48 * 3];
    struct reel_movie *m;
    int bad = 0;

    if (reel_movie_open(&m, &o)) exit(99);
    for (int f = 0; f < 25; f++) {
        picture(rgb, f, 48, 64);
        if (reel_movie_frame(m, rgb)) exit(99);
        if (f % 8) continue;
        bad += reel_movie_flush(m) || error_of(AT("grow.mp4.part"), f + 1, 48, 64, 16) < 0;
        bad += !access(AT("grow.mp4"), F_OK);
    }
    TAP_OK(!bad, "what was flushed can be watched before the end %s", reel_errrec()->msg);
    TAP_OK(!reel_movie_close(&m) && !m && error_of(AT("grow.mp4"), 25, 48, 64, 16) < 4, "25 pictures in four fragments are one film");
    if (reel_movie_open(&m, &o) || reel_movie_frame(m, rgb)) exit(99);
    reel_movie_drop(&m);
    TAP_OK(!m && access(AT("grow.mp4.part"), F_OK) && error_of(AT("grow.mp4"), 25, 48, 64, 16) < 4, "one that is dropped leaves the old film");
    reel_err_clear();
}

/* Wide and long: 300 pixels become 150, of 100 pictures every third is left. */
static void gif(void)
{
    struct reel_movie_opts o = { AT("wide.mp4"), 300, 40, 20, NULL, NULL, NULL };
    uint8_t rgb[150 * 20 * 3];
    struct reel_video *v;
    double sum = 0;
    void *p = NULL;
    size_t n;

    if (film(&o, 100) || reel_movie_gif(o.path, &p, &n) || reel_file_write(AT("wide.gif"), p, n) || reel_video_open(&v, AT("wide.gif"))) {
        TAP_OK(0, "a GIF: %s", reel_errrec()->msg);
        return;
    }
    TAP_OK(reel_video_info(v)->width == 150 && reel_video_info(v)->height == 20 && reel_video_info(v)->frames == 34 &&
               fabs(reel_video_info(v)->duration - 5) < 0.2, "a GIF of %d pictures, %g s", (int)reel_video_info(v)->frames, reel_video_info(v)->duration);
    for (int i = 0; i < 34; i += 11) {
        if (reel_video_frame(v, i, rgb)) exit(99);
        for (int y = 0; y < 20; y++)
            for (int x = 0; x < 150 * 3; x++) {
                double d = (double)rgb[y * 450 + x] - level(3 * i, 2 * y, x / 3 * 2, x % 3);
                sum += d * d / (4 * 20 * 450);
            }
    }
    TAP_OK(sqrt(sum) < 40, "of few colours: error %.1f of 255", sqrt(sum));
    reel_video_close(v);
    free(p);
    TAP_OK(reel_movie_gif(AT("none.mp4"), &p, &n) == REEL_EIO && !p, "%s", reel_errrec()->msg);
    reel_err_clear();
}

static void refused(struct reel_movie_opts o, int frames, reel_err want, const char *words)
{
    reel_err e = film(&o, frames);

    TAP_OK(e == want && strstr(reel_errrec()->msg, words), "%s", reel_errrec()->msg);
    reel_err_clear();
}

static void full_disk(void)
{
    struct reel_movie_opts o = { AT("full.mp4"), 256, 256, 16, NULL, NULL, NULL };
    struct rlimit old, limit;

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    limit = (struct rlimit){ 20000, old.rlim_max };
    setrlimit(RLIMIT_FSIZE, &limit);
    reel_err e = film(&o, 40);
    setrlimit(RLIMIT_FSIZE, &old);
    TAP_OK(e == REEL_EIO && strstr(reel_errrec()->msg, "full.mp4: cannot write: File too large") && access(AT("full.mp4"), F_OK) &&
               access(AT("full.mp4.part"), F_OK) && access(AT("full.mp4.tmp"), F_OK),
           "%s, and nothing is left", reel_errrec()->msg);
    reel_err_clear();
}

int main(void)
{
    TAP_OK(!strcmp(reel_movie_encoder(), "libx264") && !reel_movie_warning(), "films are H.264");
    comes_back(NULL, 1, 64, 64, 16);
    comes_back(NULL, 81, 96, 160, 16);
    comes_back(NULL, 9, 47, 63, 24000 / 1001.0);
    comes_back(NULL, 7, 1, 1, 1);
    comes_back("mpeg4", 9, 64, 96, 8);
    same_bytes();
    ffprobe();
    grows();
    refused((struct reel_movie_opts){ AT("x.mp4"), 64, 64, 16, NULL, NULL, "h266" }, 1, REEL_ECONFIG, "x.mp4: libav has no encoder h266 here");
    refused((struct reel_movie_opts){ AT("x.mp4"), 64, 64, 0, NULL, NULL, NULL }, 1, REEL_ECONFIG, "x.mp4: a film of 64 x 64 pixels at 0 pictures");
    refused((struct reel_movie_opts){ AT("no/x.mp4"), 64, 64, 16, NULL, NULL, NULL }, 1, REEL_EIO, "no/x.mp4: cannot write: No such file");
    refused((struct reel_movie_opts){ AT(""), 64, 64, 16, NULL, NULL, NULL }, 1, REEL_EIO, "is a folder; name a file");
    refused((struct reel_movie_opts){ AT("x.mp4"), 64, 64, 16, NULL, NULL, NULL }, 0, REEL_EDATA, "x.mp4: a film without pictures");
    gif();
    full_disk();
    reel_rmtree(scratch("t_movie", ""));
    return tap_done();
}
