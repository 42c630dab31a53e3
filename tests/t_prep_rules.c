/* preprocessing: captions in every form, the reference's rules for films, sets of prompts, the prompts of guidance;
 * interrupted runs, continued by other numbers of ranks; other options refused */
#include <mpi.h>
#include <sys/stat.h>

#include "base/rng.h"
#include "data/set.h"
#include "data_util.h"
#include "film.h"
#include "media/dct.h"
#include "media/fit.h"
#include "media/text.h"
#include "preprocess/preprocess.h"
#include "train/cli.h"

static struct reel_comm world, self = { .mpi = MPI_COMM_SELF, .size = 1, .name = "self" };
static char test[32];
#define AT(name) scratch(test, name)
#define DIR_(name) strdup(AT(name))
enum { H = 16, W = 16, F = 5, T = 2, LATENT = 16 * T * 4 };

static reel_err run(struct reel_comm *c, const char *output, int argc, const char **more)
{
    char *argv[42] = { (char *)"reel", (char *)"preprocess", (char *)"--output", (char *)output, (char *)"--quiet", (char *)"--overwrite",
                       (char *)"--height=16", (char *)"--width=16", (char *)"--num-frames=5" };
    struct reel_encode_opts builtin = { .comm = c };
    struct reel_cli cli = { 0 };
    reel_err e;

    for (int i = 0; i < argc; i++) argv[9 + i] = (char *)more[i];
    e = reel_cli_parse(&cli, reel_commands, 9 + argc, argv);
    if (!e) e = reel_preprocess(cli.flags, &builtin, NULL, NULL);
    reel_cli_free(&cli);
    return e;
}
#define ARGS(...) (int)(sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *)), (const char *[]){ __VA_ARGS__ }
#define RUN(c, output, ...) run(c, output, ARGS(__VA_ARGS__))

static struct reel_set *open_or_die(const char *path)
{
    struct reel_set *s;

    if (reel_set_open(&s, path, &world)) {
        fprintf(stderr, "%s\n", reel_errrec()->msg);
        exit(99);
    }
    return s;
}

static struct reel_set *made_(const char *name, int argc, const char **argv)
{
    char path[1024];

    snprintf(path, sizeof path, "%s", AT(name));
    if (run(&world, path, argc, argv)) {
        fprintf(stderr, "%s: %s\n", name, reel_errrec()->msg);
        exit(99);
    }
    return open_or_die(path);
}
#define MADE(name, ...) made_(name, ARGS(__VA_ARGS__))

static void refused(reel_err e, reel_err want, const char *words)
{
    TAP_OK(e == want && strstr(reel_errrec()->msg, words), "%s", reel_errrec()->msg);
    reel_err_clear();
}

static void put(const char *name, const char *text) /* rank 0's file, for all */
{
    if (world.rank == 0 && reel_file_write(AT(name), text, strlen(text))) exit(99);
    reel_comm_barrier(&world);
}

static void film(const char *name, int frames, int h, int w)
{
    struct film m = { .path = AT(name), .codec = "png", .w = w, .h = h, .fps = 16, .frames = frames };

    if (world.rank == 0 && film_write(&m)) exit(99);
    reel_comm_barrier(&world);
}

static void make_films(void)
{
    static const char *const names[] = { "f/videos/a.mov", "f/videos/b.mov", "f/videos/c.mov" };

    if (world.rank == 0) reel_mkdirs(AT("f/videos"));
    for (int i = 0; i < 3; i++) film(names[i], 20 + 10 * i, 30, 40);
    film("f/videos/short.mov", 6, 30, 40); /* three pictures at 8 a second */
    film("f/videos/wide.mov", 20, 16, 80);
    put("f/videos/a.txt", "  a red square\n");
    put("f/videos/b.txt", "two\nwords\n");
    put("f/tab.txt", "a.mov\ta red square\nb.mov\ttwo words\n");
    put("f/x.csv", "\xef\xbb\xbfid,Path,caption\r\n1,a.mov,a red square\r\n2,\"b.mov\",\"two \"\"words\"\"\"\r\n");
    put("f/x.jsonl", "{\"path\": \"a.mov\", \"cap\": \"a red square\"}\n\n{\"path\": \"b.mov\", \"cap\": [\"two words\"]}\n");
}

/* The latents of a film of film_pixel frames at[0..F). */
static int is_of(struct reel_set *s, int64_t i, const int *at, int h, int w)
{
    static uint8_t src[30 * 80 * 3], clip[F * H * W * 3];
    float want[LATENT], got[LATENT];
    struct reel_fit *fit;

    if (reel_fit_open(&fit, h, w, H, W)) exit(99);
    for (int k = 0; k < F; k++) {
        for (int p = 0; p < h * w * 3; p++) src[p] = film_pixel(at[k], p / (3 * w), p / 3 % w, p % 3);
        reel_fit(fit, clip + k * H * W * 3, src);
    }
    reel_dct_encode(want, clip, F, H, W);
    reel_fit_close(fit);
    return !reel_set_read(s, i, T, got, NULL, NULL) && !memcmp(want, got, sizeof want);
}

static int rows_of(struct reel_set *s, int64_t i)
{
    float text[REEL_TEXT_ROWS * REEL_TEXT_DIM];
    int rows = -1;

    return reel_set_read(s, i, T, NULL, text, &rows) ? -1 : rows;
}

static void captions(void)
{
    const char *dir = DIR_("f/videos"), *up = DIR_("f");
    struct reel_set *s = MADE("tab.h5", "--videos", up, "--captions", DIR_("f/tab.txt"));
    uint32_t want = reel_set_text_crc(s);
    static const char *const lists[] = { "f/x.csv", "f/x.jsonl", NULL };

    TAP_OK(reel_set_info(s)->n == 2 && rows_of(s, 0) == 3 && rows_of(s, 1) == 2, "lines of path<TAB>caption");
    reel_set_close(s);
    for (int i = 0; lists[i]; i++) {
        s = MADE("list.h5", "--videos", up, "--captions", DIR_(lists[i]));
        TAP_OK(reel_set_info(s)->n == 2 && reel_set_text_crc(s) == want, "the same from %s", lists[i]);
        reel_set_close(s);
    }
    s = MADE("txt.h5", "--videos", dir);
    TAP_OK(reel_set_info(s)->n == 2 && reel_set_text_crc(s) == want, "and from a .txt beside each film; films without one are left out");
    reel_set_close(s);
    put("f/bad.csv", "name,caption\na.mov,x\n");
    refused(RUN(&world, AT("x.h5"), "--captions", DIR_("f/bad.csv")), REEL_EDATA, "no column \"path\"");
    put("f/bad.csv", "path,caption\na.mov,x\nb.mov\n");
    refused(RUN(&world, AT("x.h5"), "--captions", DIR_("f/bad.csv")), REEL_EDATA, "bad.csv:3: 1 fields, but the caption is field 2");
    put("f/bad.csv", "path,caption\na.mov,\"x\nb.mov,y\n");
    refused(RUN(&world, AT("x.h5"), "--captions", DIR_("f/bad.csv")), REEL_EDATA, "bad.csv:2: a quoted field does not end");
    put("f/bad.jsonl", "{\"path\": \"a.mov\", \"cap\": \"x\"}\n{\"path\"\n");
    refused(RUN(&world, AT("x.h5"), "--captions", DIR_("f/bad.jsonl")), REEL_EDATA, "bad.jsonl:2");
    put("f/bad.json", "[{\"path\": \"a.mov\", \"cap\": 3}]");
    refused(RUN(&world, AT("x.h5"), "--captions", DIR_("f/bad.json")), REEL_EDATA, "entry 0 lacks \"cap\"");
}

static void metadata(void)
{
    struct reel_set *s;
    char *skipped = NULL;
    size_t n;

    put("f/meta.json", "[{\"path\": \"a.mov\", \"cap\": \"x\", \"fps\": 24, \"num_frames\": 20, \"resolution\": {\"width\": 40, \"height\": 30}, \"duration\": 0.8},"
                       " {\"path\": \"b.mov\", \"cap\": \"x\", \"fps\": null}, {\"path\": \"c.mov\", \"cap\": \"x\", \"num_frames\": 8},"
                       " {\"path\": \"a.mov\", \"cap\": \"x\", \"fps\": 0}, {\"path\": \"a.mov\", \"cap\": \"x\", \"resolution\": {\"width\": 40, \"height\": -1}},"
                       " {\"path\": \"a.mov\", \"cap\": null}, {\"path\": \"a.mov\", \"cap\": \"x\", \"num_frames\": 1000}]");
    s = MADE("meta.h5", "--videos", DIR_("f"), "--captions", DIR_("f/meta.json"), "--windows");
    TAP_OK(reel_set_info(s)->n == 1 + 3 + 2, "%d clips of films whose list says fps and length, or leaves them to the film", (int)reel_set_info(s)->n);
    TAP_OK(is_of(s, 0, (const int[]){ 0, 3, 6, 9, 12 }, 30, 40), "24 a second by the list: frames 0 3 6 9 12");
    TAP_OK(is_of(s, 1, (const int[]){ 0, 2, 4, 6, 8 }, 30, 40) && is_of(s, 2, (const int[]){ 10, 12, 14, 16, 18 }, 30, 40), "16 by the film: 0 2 4 6 8, 10 12 14 16 18");
    reel_set_close(s);
    if (world.rank) return;
    if (reel_file_read(AT("meta.skipped.txt"), &skipped, &n)) exit(99);
    TAP_OK(strstr(skipped, "with odd metadata\t") && strstr(skipped, "its fps in the list") && strstr(skipped, "its resolution in the list") &&
               strstr(skipped, "without a caption\t") && strstr(skipped, "short\t") && strstr(skipped, "c.mov: 4 pictures") && strstr(skipped, "damaged\t"),
           "a list beside the set says which films are not in it, and why");
    free(skipped);
}

static void rules(void)
{
    const char *dir = DIR_("f/videos"), *one = "--caption=x";
    struct reel_set *s;
    int kept, empty = 0, want = 0;

    s = MADE("keep.h5", "--videos", DIR_("f/videos/short.mov"), one, "--drop-short-ratio", "0");
    TAP_OK(reel_set_info(s)->n == 1 && is_of(s, 0, (const int[]){ 0, 2, 4, 4, 4 }, 30, 40), "a short film that is kept stands still at its end");
    reel_set_close(s);
    put("f/many.txt", "short.mov\t1\nshort.mov\t2\nshort.mov\t3\nshort.mov\t4\nshort.mov\t5\nshort.mov\t6\nshort.mov\t7\nshort.mov\t8\na.mov\t9\n");
    s = MADE("some.h5", "--videos", DIR_("f"), "--captions", DIR_("f/many.txt"), "--drop-short-ratio", "0.5", "--seed", "5");
    for (int i = 0; i < 8; i++) want += reel_rng_word(reel_rng_key(5, "preprocess/drop_short"), 0, 0, (uint32_t)i, 0) >= 0x80000000u;
    kept = (int)reel_set_info(s)->n - 1;
    TAP_OK(kept == want && kept > 0 && kept < 8, "with a ratio of one half some are kept: %d of 8", kept);
    reel_set_close(s);
    s = MADE("cfg.h5", "--videos", DIR_("f"), "--captions", DIR_("f/many.txt"), "--drop-short-ratio=0", "--training-cfg-rate", "0.5");
    for (int i = 0; i < 9; i++) empty += rows_of(s, i) == 0;
    TAP_OK(reel_set_info(s)->n == 9 && empty > 0 && empty < 9, "half of the captions are stored as the empty one: %d of 9", empty);
    reel_set_close(s);
    s = MADE("long.h5", "--videos", dir, one, "--tolerance=3", "--drop-short-ratio=0");
    TAP_OK(reel_set_info(s)->n == 4, "films of 1.9 s and more are longer than three clips: b, c stay, %d of 5 with c out", (int)reel_set_info(s)->n);
    reel_set_close(s);
    s = MADE("slow.h5", "--videos", dir, one, "--tolerance=3", "--speed-factor=2", "--drop-short-ratio=0");
    TAP_OK(reel_set_info(s)->n == 5, "but not of clips that last twice as long");
    reel_set_close(s);
    s = MADE("shape.h5", "--videos", dir, one, "--aspect-tolerance=1.5");
    TAP_OK(reel_set_info(s)->n == 3, "a film of 80 x 16 is too wide for a square clip");
    reel_set_close(s);
}

static void texts(void)
{
    struct reel_set *s;
    float v[REEL_TEXT_ROWS * REEL_TEXT_DIM];
    const float *negative;
    int rows = -1, n = reel_text_vectors("blurred and ugly", v);

    put("f/prompts.txt", "a red square\r\n\n   \n a blue disc moves \n");
    s = MADE("prompts.h5", "--prompts", DIR_("f/prompts.txt"), "--negative-prompt", "blurred and ugly");
    TAP_OK(!strcmp(reel_set_info(s)->kind, "text_only") && reel_set_info(s)->n == 2 && rows_of(s, 0) == 3 && rows_of(s, 1) == 4, "a set of two prompts");
    negative = reel_set_negative(s, &rows);
    TAP_OK(negative && rows == n && !memcmp(negative, v, (size_t)n * REEL_TEXT_DIM * sizeof *v) && reel_set_empty(s, &rows) && rows == 0,
           "with the negative and the empty prompt");
    reel_set_close(s);
    TAP_OK(!reel_set_check(AT("prompts.h5"), &world), "check passes");
    refused(RUN(&world, AT("x.h5"), "--prompts", DIR_("f/prompts.txt"), "--caption", "x"), REEL_ECONFIG, "--prompts makes a set of texts alone");
    put("f/none.txt", "\n  \n");
    refused(RUN(&world, AT("x.h5"), "--prompts", DIR_("f/none.txt")), REEL_EDATA, "no prompt found");
}

/* ---- interrupted ---------------------------------------------------------------------------- */

static const char *list;
#define CUT_ARGS "--videos", DIR_("f"), "--captions", list, "--windows", "--negative-prompt", "dull"

/* Three quarters into the file: the first clip stays readable. */
static void damage(const char *name)
{
    static const char zero[64];
    struct stat st;
    FILE *f = world.rank ? NULL : fopen(AT(name), "r+");

    if (!world.rank && (!f || fstat(fileno(f), &st))) exit(99);
    if (f) {
        fseek(f, st.st_size * 3 / 4, SEEK_SET);
        fwrite(zero, 1, sizeof zero, f);
        fclose(f);
    }
    reel_comm_barrier(&world);
}

static void many_films(void)
{
    char text[4096] = "";
    int n = 0;

    for (int i = 0; i < 24; i++) n += snprintf(text + n, sizeof text - (size_t)n, "%s\tcaption %d\n", i % 5 == 3 ? "none.mov" : i % 5 == 4 ? "cut.mov" : i % 2 ? "b.mov" : "c.mov", i);
    put("f/cutlist.txt", text);
    list = DIR_("f/cutlist.txt");
    film("f/videos/cut.mov", 40, 30, 40);
    damage("f/videos/cut.mov");
}

static int exists(const char *name) { return !access(AT(name), F_OK); }

static int same(const char *a, const char *b) { return world.rank || same_files(AT(a), AT(b)); }

/* A fault of one rank at its nth item ends the run as a kill does: what is in the journals stays. */
static int cut(struct reel_comm *c, const char *fault)
{
    reel_err e;

    reel_fault_set(fault);
    e = RUN(c, AT("cut.h5"), CUT_ARGS);
    reel_fault_set("none:0:1");
    e = e == REEL_EIO && strstr(reel_errrec()->msg, "injected");
    reel_err_clear();
    return e;
}

/* Alone, on rank 0 */
static int cut_alone(const char *fault)
{
    int good = world.rank ? 1 : cut(&self, fault);

    reel_comm_barrier(&world);
    return good;
}

static void change(const char *name, long at, const char *with) /* at < 0: append */
{
    FILE *f = world.rank ? NULL : fopen(AT(name), "r+");

    if (!world.rank && !f) exit(99);
    if (f) {
        fseek(f, at < 0 ? 0 : at, at < 0 ? SEEK_END : SEEK_SET);
        fputs(with, f);
        fclose(f);
    }
    reel_comm_barrier(&world);
}

static void interrupted(void)
{
    char last[32];
    struct reel_set *s;
    int rows;

    many_films();
    snprintf(last, sizeof last, "preprocess:%d:2", world.size - 1);
    s = MADE("whole.h5", CUT_ARGS);
    TAP_OK(reel_set_info(s)->n > 24, "a run that nobody disturbs: %d clips", (int)reel_set_info(s)->n);
    TAP_OK(reel_set_negative(s, &rows) && rows == 1 && !exists("whole.h5.unfinished"), "nothing is left of its journals");
    reel_set_close(s);
    TAP_OK(cut(&world, last) && exists("cut.h5.unfinished/part-00000") && !exists("cut.h5"), "cut short on %d ranks: journals, no set", world.size);
    TAP_OK(cut_alone("preprocess:0:4"), "again on one");
    TAP_OK(cut(&world, "preprocess:0:3"), "and again on %d", world.size);
    change("cut.h5.unfinished/part-00000", -1, "half a sample");
    change("cut.h5.unfinished/part-00000", 3000, "a flipped bit or two");
    refused(RUN(&world, AT("cut.h5"), CUT_ARGS, "--seed=43"), REEL_ECONFIG, "--seed was 42, now 43");
    refused(RUN(&world, AT("cut.h5"), CUT_ARGS, "--train-fps=4"), REEL_ECONFIG, "--train-fps was 8.0, now 4.0");
    change("f/cutlist.txt", -1, "a.mov\tone more\n");
    refused(RUN(&world, AT("cut.h5"), CUT_ARGS), REEL_ECONFIG, "list of films and captions was 24");
    many_films();
    TAP_OK(!RUN(&world, AT("cut.h5"), CUT_ARGS, "--sheet", DIR_("cut.png")), "the rest, in spite of a torn and a damaged journal %s", reel_errrec()->msg);
    TAP_OK(same("whole.h5", "cut.h5"), "the set is that of the undisturbed run");
    TAP_OK(same("whole.skipped.txt", "cut.skipped.txt"), "what was skipped is the same");
    TAP_OK(same("whole.png", "cut.png"), "and so is the contact sheet");
    TAP_OK(world.rank || !exists("cut.h5.unfinished"), "nothing is left"); /* rank 0 cleans up, last of all */
    TAP_OK(cut_alone("preprocess:0:9"), "cut short on one rank");
    TAP_OK(!RUN(&world, AT("cut.h5"), CUT_ARGS) && same("whole.h5", "cut.h5"), "finished on %d: the same set", world.size);
    TAP_OK(cut(&world, "preprocess:0:2") && !RUN(&world, AT("cut.h5"), CUT_ARGS, "--seed=43", "--from-scratch"), "--from-scratch forgets what other options made");
}

int main(int argc, char **argv)
{
    if (reel_comm_start(&world, &argc, &argv)) return 1;
    tap_quiet = world.rank != 0;
    snprintf(test, sizeof test, "t_prep_rules_np%d", world.size);
    if (world.rank == 0) reel_rmtree(scratch(test, ""));
    reel_comm_barrier(&world);
    make_films();
    captions();
    metadata();
    rules();
    texts();
    interrupted();
    reel_comm_barrier(&world);
    if (world.rank == 0 && !tap_failed) reel_rmtree(scratch(test, ""));
    reel_comm_stop();
    return tap_done();
}
