/* preprocessing: built-in clips and films to a set, the same bytes on any number of ranks; captions in every
 * form; windows, short, damaged and missing films; real films where the system has some */
#include <math.h>
#include <mpi.h>
#include <zlib.h>

#include "data/demo_set.h"
#include "data_util.h"
#include "film.h"
#include "media/dct.h"
#include "media/fit.h"
#include "media/picture.h"
#include "media/text.h"
#include "preprocess/preprocess.h"
#include "train/cli.h"

static struct reel_comm world, self = { .mpi = MPI_COMM_SELF, .size = 1, .name = "self" };
static char test[32];
#define AT(name) scratch(test, name)

/* as the program does it: `reel preprocess --output ...` */
static reel_err command(struct reel_comm *c, int argc, char **argv)
{
    struct reel_encode_opts builtin = { .comm = c };
    struct reel_cli cli = { 0 };
    reel_err e = reel_cli_parse(&cli, reel_commands, argc, argv);

    if (!e) e = reel_preprocess(cli.flags, &builtin, NULL, NULL);
    reel_cli_free(&cli);
    return e;
}

static reel_err run(struct reel_comm *c, const char *output, int argc, const char **more)
{
    char *argv[42] = { (char *)"reel", (char *)"preprocess", (char *)"--output", (char *)output, (char *)"--quiet", (char *)"--overwrite" };

    for (int i = 0; i < argc; i++) argv[6 + i] = (char *)more[i];
    return command(c, 6 + argc, argv);
}
#define RUN(c, output, ...) run(c, output, (int)(sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *)), (const char *[]){ __VA_ARGS__ })

/* by all ranks, and by one: the bytes must not tell */
#define BOTH(name, ...) both(name, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *), (const char *[]){ __VA_ARGS__ })
static int64_t both(const char *name, size_t argc, const char **argv)
{
    const char *all = strdup(AT(name));
    char one[1100];
    struct reel_set *s;
    int64_t n = -1;
    reel_err e = run(&world, all, (int)argc, argv), e1 = REEL_OK;
    int same = 1;

    snprintf(one, sizeof one, "%s.one", all);
    if (!e && world.rank == 0) {
        e1 = run(&self, one, (int)argc, argv);
        same = !e1 && same_files(all, one);
    }
    e1 = reel_agree(&world, e1);
    if (!e && !e1 && !reel_set_open(&s, all, &world)) n = reel_set_info(s)->n, reel_set_close(s);
    TAP_OK(!e && !e1 && same, "%s: %d samples, the same bytes from %d ranks and from one %s", name, (int)n, world.size, reel_errrec()->msg);
    reel_err_clear();
    return n;
}

static void refused(reel_err e, reel_err want, const char *words)
{
    TAP_OK(e == want && strstr(reel_errrec()->msg, words), "%s", reel_errrec()->msg);
    reel_err_clear();
}

static void clips(void)
{
    const char *path = strdup(AT("demo.h5"));
    struct reel_demo_args d = { path, 3, 10, 48, 64, 5 };
    uint8_t *rgb = NULL;
    int H = 0, W = 0;

    reel_set_make_demo(&d, &world);
    TAP_OK(BOTH("clips.h5", "--demo-clips", "10", "--demo-seed=3", "--width", "64", "--num-frames", "5") == 10 &&
               (world.rank || same_files(path, AT("clips.h5"))), "built-in clips: the set that training makes itself");
    if (world.rank == 0) {
        TAP_OK(!reel_png_read(AT("clips.png"), &rgb, &H, &W) && H == 8 * (96 + 2) + 2 && W == 4 * (128 + 2) + 2, "contact sheet %dx%d", H, W);
        free(rgb);
    }
    TAP_OK(BOTH("bf16.h5", "--demo-clips", "3", "--dtype", "bf16", "--sheet", "none") == 3 && access(AT("bf16.png"), F_OK), "bf16, no sheet");
}

static void make_films(void) /* on rank 0 */
{
    struct film m = { .codec = "png", .w = 40, .h = 30, .fps = 16 };
    const char *json = "[{\"path\": \"a.mov\", \"cap\": \"a red square\"}, {\"path\": \"b.mov\", \"cap\": [\"one\", \"two\"]},"
                       " {\"path\": \"short.mov\", \"cap\": \"short\"}, {\"path\": \"none.mov\", \"cap\": \"x\"},"
                       " {\"path\": \"c.mov\", \"cap\": \"\"}, {\"path\": \"text.mov\", \"cap\": \"x\"}]";
    const char *lines = "videos/a.mov\ta red square\r\n\nvideos/b.mov\ttwo words\n";

    reel_mkdirs(AT("films/videos"));
    m.path = AT("films/videos/a.mov"), m.frames = 33;
    if (film_write(&m)) exit(99);
    m.path = AT("films/videos/b.mov"), m.frames = 60, m.rotation = 90;
    if (film_write(&m)) exit(99);
    m.path = AT("films/videos/c.mov"), m.frames = 12;
    if (film_write(&m)) exit(99);
    m.path = AT("films/videos/short.mov"), m.frames = 8;
    if (film_write(&m)) exit(99);
    reel_file_write(AT("films/videos/text.mov"), "no film", 7);
    reel_file_write(AT("films/videos2caption.json"), json, strlen(json));
    reel_file_write(AT("films/captions.txt"), lines, strlen(lines));
}

/* sample 0 of the first film, picture by picture */
static void first_film_exact(const char *path)
{
    enum { H = 16, W = 16, F = 5 };
    struct reel_fit *fit;
    struct reel_set *s;
    uint8_t src[30 * 40 * 3], clip[F * H * W * 3];
    float want[16 * 2 * 4], got[16 * 2 * 4], text[768], words[768];
    int rows;

    if (reel_fit_open(&fit, 30, 40, H, W) || reel_set_open(&s, path, &world)) exit(99);
    for (int k = 0; k < F; k++) {
        for (int i = 0; i < 30 * 40 * 3; i++) src[i] = film_pixel(2 * k, i / 120, i / 3 % 40, i % 3);
        reel_fit(fit, clip + k * H * W * 3, src);
    }
    reel_dct_encode(want, clip, F, H, W);
    TAP_OK(!reel_set_read(s, 0, 2, got, text, &rows) && !memcmp(want, got, sizeof want), "a film's first clip is exact: frames 0 2 4 6 8, cropped, resized, encoded");
    TAP_OK(rows == reel_text_vectors("a red square", words) && !memcmp(text, words, (size_t)rows * 256), "with its caption");
    reel_fit_close(fit);
    reel_set_close(s);
}

static void films(void)
{
    const char *dir = strdup(AT("films")), *list = strdup(AT("films/captions.txt"));

    if (world.rank == 0) make_films();
    reel_comm_barrier(&world);
#define SIZE "--height=16", "--width=16", "--num-frames=5"
    TAP_OK(BOTH("json.h5", "--videos", dir, SIZE) == 2, "videos2caption.json: two of six; short, missing, uncaptioned, garbage are skipped");
    first_film_exact(AT("json.h5"));
    TAP_OK(BOTH("lines.h5", "--videos", dir, "--captions", list, SIZE, "--windows") == 3 + 6, "windows: three and six whole clips");
    first_film_exact(AT("lines.h5"));
    TAP_OK(BOTH("one.h5", "--videos", dir, "--caption", "moving stripes", SIZE, "--temporal-sample") == 3, "a folder with one caption, a random place");
    TAP_OK(BOTH("all.h5", "--videos", dir, "--caption", "x", SIZE, "--train-fps", "0", "--tolerance", "3") == 2, "every frame; films beyond three clips left out");
    refused(RUN(&world, AT("x.h5"), "--videos", dir, "--captions", dir, SIZE), REEL_EIO, "films");
    refused(RUN(&world, AT("x.h5"), "--videos", AT("films/videos/text.mov"), "--caption", "x", SIZE), REEL_EDATA, "no film is usable");
    refused(RUN(&world, AT("x.h5"), "--videos", AT("films/videos"), SIZE), REEL_ECONFIG, "captions are needed");
    refused(RUN(&world, AT("x.h5"), "--height", "17"), REEL_ECONFIG, "multiples of 8");
    refused(RUN(&world, AT("x.h5"), "--heigth", "16"), REEL_ECONFIG, "heigth");
    refused(RUN(&world, AT("x.h5"), "--height", "many"), REEL_ECONFIG, "many");
    refused(RUN(&world, AT("x.h5"), "--dtype", "f16"), REEL_ECONFIG, "f16");
    refused(RUN(&world, AT("x.h5"), "--demo-clips", "2", "--caption", "a dog"), REEL_ECONFIG, "captions of their own");
    refused(RUN(&world, AT("x.h5"), "--demo-clips", "2", "--negative-prompt", "bad \xff"), REEL_EDATA, "--negative-prompt");
    TAP_OK(access(AT("x.h5"), F_OK) && access(AT("x.h5.tmp"), F_OK), "a refused run leaves nothing");
    {
        char *argv[] = { (char *)"reel", (char *)"preprocess", (char *)"--output", (char *)AT("json.h5"), (char *)"--demo-clips", (char *)"1", NULL };
        refused(command(&world, 6, argv), REEL_ECONFIG, "exists; --overwrite replaces it");
    }
}

static int unpack(const char *from, const char *to)
{
    gzFile in = gzopen(from, "rb");
    FILE *out = in ? fopen(to, "wb") : NULL;
    char buf[65536];
    int n;

    while (out && (n = gzread(in, buf, sizeof buf)) > 0) fwrite(buf, 1, (size_t)n, out);
    if (out) fclose(out);
    if (in) gzclose(in);
    return out != NULL;
}

static double psnr(const uint8_t *a, const uint8_t *b, size_t n)
{
    double s = 0;

    for (size_t i = 0; i < n; i++) s += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return 10 * log10(255.0 * 255.0 * (double)n / s);
}

/* The package opencv-doc has films: Xvid and MPEG-4 in AVI, H.264 in MP4. */
static void real(void)
{
    static const char dir[] = "/usr/share/doc/opencv-doc/examples/data", box[] = "/usr/share/doc/opencv-doc/opencv4/html/box.mp4.gz";
    char lines[256];
    const char *list = strdup(AT("real.txt")), *mp4 = strdup(AT("box.mp4"));
    struct reel_set *s;
    static float z[16 * 5 * 36 * 48], text[768];
    int n;

    if (access(dir, F_OK)) {
        TAP_OK(1, "no real films on this system # SKIP opencv-doc is not installed");
        return;
    }
    n = snprintf(lines, sizeof lines, "vtest.avi\tpeople walk through a court\nMegamind.avi\ta cartoon face\n");
    if (world.rank == 0) reel_file_write(list, lines, (size_t)n);
    reel_comm_barrier(&world);
    n = (int)BOTH("real.h5", "--videos", dir, "--captions", list, "--height", "288", "--width", "384", "--num-frames", "17", "--train-fps", "10");
    TAP_OK(n == 2, "vtest.avi and Megamind.avi");
    if (!reel_set_open(&s, AT("real.h5"), &world)) {
        double worst = 0;
        for (int i = 0; i < n && !reel_set_read(s, i, 5, z, text, NULL); i++)
            for (int k = 0; k < 5 * 36 * 48; k++) worst = fmax(worst, fabs((double)z[k]));
        TAP_OK(worst > 0.5 && worst < 2, "block means span the colours, up to %.2f", worst);
        reel_set_close(s);
    }
    if (world.rank == 0 && world.size == 1) { /* half above, half below: the decoded is like the original */
        uint8_t *rgb = NULL, *a, *b;
        int H, W;
        double p = 0;
        if (!reel_png_read(AT("real.png"), &rgb, &H, &W)) {
            a = rgb + (size_t)2 * (size_t)W * 3, b = a + (size_t)290 * (size_t)W * 3;
            p = psnr(a, b, (size_t)288 * (size_t)W * 3);
        }
        TAP_OK(p > 22, "contact sheet: the decoded row is %.1f dB from the original above it", p);
        free(rgb);
    }
    if (world.rank == 0) unpack(box, mp4);
    reel_comm_barrier(&world);
    if (access(box, F_OK)) return;
    TAP_OK(BOTH("box.h5", "--videos", mp4, "--caption", "a box", "--windows", "--train-fps", "5", "--height", "48", "--width", "64") == 5, "box.mp4: five clips");
}

int main(int argc, char **argv)
{
    if (reel_comm_start(&world, &argc, &argv)) return 1;
    tap_quiet = world.rank != 0;
    snprintf(test, sizeof test, "t_preprocess_np%d", world.size);
    clips();
    films();
    real();
    reel_comm_barrier(&world);
    if (world.rank == 0 && !tap_failed) reel_rmtree(scratch(test, ""));
    reel_comm_stop();
    return tap_done();
}
