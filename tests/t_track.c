/* track: bytes against vectors that tensorboard and wandb read, crash and resume, bad input.
 * `t_track DIR` instead writes one of everything into DIR, for tests/t_track_readers.sh. */
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/crc.h"
#include "base/file.h"
#include "tap.h"
#include "track/track_priv.h"

/* 2 x 1 pixels, red and green */
static const char png_hex[] =
    "89504e470d0a1a0a0000000d49484452000000020000000108020000007b40e8dd0000000f49444154789c63f8cf"
    "c0c0f09f010007ff01ff017f89a70000000049454e44ae426082";

/* 1 x 1 pixel */
static const char gif_hex[] = "47494638396101000100800000ff0000ffffff2c00000000010001000002024401003b";

static size_t unhex(const char *hex, unsigned char *out)
{
    size_t n = 0;
    unsigned v;

    for (; *hex; hex += 2, n++) {
        while (*hex == ' ') hex++;
        if (sscanf(hex, "%2x", &v) != 1) break;
        out[n] = (unsigned char)v;
    }
    return n;
}

static int same(const struct track_buf *b, const char *hex)
{
    unsigned char want[2048];
    size_t n = unhex(hex, want);

    return b->n == n && !memcmp(b->p, want, n);
}

static int json_is(double v, const char *want)
{
    struct track_buf b = { 0 };
    int ok;

    track_json_number(&b, v);
    ok = b.n == strlen(want) && !memcmp(b.p, want, b.n);
    if (!ok) printf("# %.17g gives %.*s\n", v, (int)b.n, (char *)b.p);
    track_buf_free(&b);
    return ok;
}

static void numbers(void)
{
    struct track_buf b = { 0 };

    TAP_OK(json_is(0, "0.0") && json_is(0.1, "0.1") && json_is(1700000001, "1700000001.0") &&
               json_is(2e-5, "2e-05") && json_is(100, "100.0") && json_is(-0.375, "-0.375") &&
               json_is(1e16, "1e+16") && json_is(1e15, "1000000000000000.0") &&
               json_is(0.0001, "0.0001") && json_is(1.0 / 3, "0.3333333333333333") &&
               json_is(5e-324, "5e-324"),
           "a number has the fewest digits that read back");
    TAP_OK(json_is((double)NAN, "NaN") && json_is(-(double)INFINITY, "-Infinity"),
           "non-finite numbers are bare words");
    track_json_string(&b, "a\"\\\n\x01\xc3\xa4");
    TAP_OK(b.n == 17 && !memcmp(b.p, "\"a\\\"\\\\\\n\\u0001\xc3\xa4\"", b.n),
           "strings are escaped");
    b.n = 0;
    track_pb_int(&b, 1, -1);
    track_pb_int(&b, 2, 0);
    track_pb_int(&b, 16, 300);
    TAP_OK(same(&b, "08ffffffffffffffffff01 8001ac02"), "varints: negative, default, two-byte tag");
    track_buf_free(&b);
}

static int sha_is(const char *s, size_t n, const char *want)
{
    char hex[65];

    track_sha256_hex(s, n, hex);
    return !strcmp(hex, want);
}

static void hashes(void)
{
    char a[119];

    memset(a, 'a', sizeof a);
    TAP_OK(reel_crc32c(0, "123456789", 9) == 0xe3069283u && reel_crc32c(0, "", 0) == 0,
           "crc32c check values");
    TAP_OK(sha_is("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") &&
               sha_is("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") &&
               sha_is(a, 55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318") &&
               sha_is(a, 56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a") &&
               sha_is(a, 64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb") &&
               sha_is(a, 119, "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb"),
           "sha256 around the block boundaries");
}

static void events(void)
{
    static const char *const names[] = { "train_loss", "grad_norm" };
    struct track_buf e = { 0 }, out = { 0 };
    unsigned char png[128];
    struct track_png pic = {
        .p = png, .n = unhex(png_hex, png), .width = 2, .height = 1, .colours = 3
    };

    track_tb_version(&e, 1700000000.0);
    track_tb_record(&out, &e);
    TAP_OK(
        same(&out,
             "1800000000000000a37f4b22 0900000040fc54d9411a0d627261696e2e4576656e743a32 eced8f9d"),
        "event file: version record");
    e.n = out.n = 0;
    track_tb_text(&e, &(struct track_at){ 0, 1700000000.5 }, "config", "lr: 2e-05\n");
    track_tb_record(&out, &e);
    TAP_OK(same(&out, "3500000000000000d6c55de6 "
                      "0900002040fc54d9412a2a0a280a06636f6e6669674a080a060a0474657874421408071204"
                      "12020801420a6c723a2032652d30350a 9b1a66da"),
           "event file: text record");
    e.n = out.n = 0;
    track_tb_scalars(&e, &(struct track_at){ 1, 1700000001.0 }, names, (double[]){ 0.5, 1.25 }, 2);
    track_tb_record(&out, &e);
    TAP_OK(same(&out, "3200000000000000241956ec "
                      "0900004040fc54d94110012a250a110a0a747261696e5f6c6f7373150000003f0a100a0967"
                      "7261645f6e6f726d150000a03f 91d63b13"),
           "event file: two scalars");
    e.n = out.n = 0;
    track_tb_image(&e, &(struct track_at){ 2, 1700000002.0 }, "sample", &pic);
    track_tb_record(&out, &e);
    TAP_OK(same(&out, "6900000000000000360b3c6e "
                      "0900008040fc54d94110022a5c0a5a0a0673616d706c6522500801100218032248"
                      "89504e470d0a1a0a0000000d49484452000000020000000108020000007b40e8dd0000000f49"
                      "444154789c63f8cfc0c0f0"
                      "9f010007ff01ff017f89a70000000049454e44ae426082 f7dbc7b8"),
           "event file: picture");
    track_buf_free(&e);
    track_buf_free(&out);
}

static void wb_free(struct track_wb *w)
{
    track_buf_free(&w->rec);
    track_buf_free(&w->out);
    track_buf_free(&w->row);
    track_buf_free(&w->last);
}

static void wandb_log(void)
{
    struct track_wb w = { .id = "abcd1234", .start_s = 1700000000.0, .first_s = 1700000000.0 };
    struct reel_track_opts o = { .project = "tiny",
                                 .run_name = "run a",
                                 .config_json = "{\"lr\": 0.5}" };
    struct track_at at = { 1, 1700000001.0 };

    track_wb_header(&w);
    track_wb_run(&w, &o, NULL, NULL);
    track_wb_number(&w, &at, "loss", 0.5);
    track_wb_row(&w);
    w.last.n = 0; /* no summary in the vector */
    track_wb_exit(&w, 0, w.start_s);
    TAP_OK(
        same(&w.out,
             "3a572642e1be00"
             "87888a72 2400 01 "
             "0801aa01120a100a06302e33312e301206302e37302e30c20c0a0a086162636431323334"
             "f9352580 4200 01 "
             "08028a01300a0861626364313233341a0474696e79220c0a0a0a026c72820103302e35420572756e2061"
             "8a01080880e2cfaa061000c20c0a0a086162636431323334"
             "ed6a84b2 5f00 01 "
             "0803124e0a0c12046c6f7373820103302e350a1b120a5f74696d657374616d7082010c31373030303030"
             "3030312e300a1012085f72756e74696d65820103312e300a0b12055f737465708201013112020801c20c0"
             "a0a086162636431"
             "323334"
             "19a5cb83 1200 01 0804920100c20c0a0a086162636431323334"),
        "wandb log: header, run, row, exit");
    wb_free(&w);
}

/* Undo the framing: every chunk's checksum, order of types, zeros at block ends. Returns records, or -1. */
static int unframe(const unsigned char *p, size_t n, size_t lengths[], int max)
{
    int records = 0, inside = 0;

    for (size_t at = 7; at < n;) {
        size_t left = 32768 - at % 32768, len;

        if (left < 7) {
            at += left;
            continue;
        }
        len = p[at + 4] | (size_t)p[at + 5] << 8;
        int type = p[at + 6];

        if (at + 7 + len > n || len > left - 7 || records == max) return -1;
        if (crc32(0, p + at + 6, (uInt)len + 1) !=
            (p[at] | p[at + 1] << 8 | p[at + 2] << 16 | (uLong)p[at + 3] << 24))
            return -1;
        if (inside != (type == 3 || type == 4)) return -1;
        lengths[records] = (inside ? lengths[records] : 0) + len;
        inside = type == 2 || type == 3;
        records += !inside;
        at += 7 + len;
    }
    return inside ? -1 : records;
}

/* Records of every length around one block's end, also with exactly 7 and fewer than 7 bytes left. */
static void wandb_blocks(void)
{
    struct track_wb w = { .id = "abcd1234" };
    size_t lengths[64], want[64];
    int n = 0, ok;
    char *fill = calloc(1, 100000);

    track_wb_header(&w);
    n = unframe(w.out.p, w.out.n, want, 64);
    for (int i = 0; i < 40; i++) {
        size_t left = 32768 - (size_t)(w.at % 32768), bytes = i % 3 == 2   ? 70000
                                                              : left > 200 ? left - 60 - (size_t)i
                                                                           : 500;
        size_t rec = track_wb_begin(&w, 4);

        track_pb_bytes(&w.rec, 3, fill, bytes);
        track_wb_end(&w, rec);
        want[n++] = w.rec.n;
    }
    ok = unframe(w.out.p, w.out.n, lengths, 64) == n && w.at == w.out.n &&
         !memcmp(want, lengths, (size_t)n * sizeof *want);
    TAP_OK(ok, "wandb log: %d records over %zu bytes keep their blocks", n, w.out.n);
    free(fill);
    wb_free(&w);
}

static int count_files(const char *dir, const char *needle)
{
    DIR *d = opendir(dir);
    int n = 0;

    for (struct dirent *e; d && (e = readdir(d));) n += strstr(e->d_name, needle) != NULL;
    if (d) closedir(d);
    return n;
}

/* Starts of the W&B run that was tracked last. */
static int fragments(const char *wandb)
{
    char path[640], id[9] = "none", *text;
    size_t n;

    snprintf(path, sizeof path, "%s/id", wandb);
    if (reel_file_read(path, &text, &n)) return -1;
    if (n > 8) memcpy(id, text, 8);
    free(text);
    return count_files(wandb, id);
}

/* Lines that are JSON objects, or -1 if one is not; the last one's number `key`. */
static int json_lines(const char *path, const char *key, double *last)
{
    FILE *f = fopen(path, "r");
    char line[4096];
    int n = 0;

    while (f && fgets(line, sizeof line, f)) {
        json_t *o = json_loads(line, 0, NULL);

        if (!json_is_object(o)) n = -1000;
        if (json_is_number(json_object_get(o, key)))
            *last = json_number_value(json_object_get(o, key));
        json_decref(o);
        n++;
    }
    if (f) fclose(f);
    return n;
}

/* The line of the films: {"videos": {"val/clips": [{path, caption}, {path}]}} */
static int videos_line(const char *path)
{
    FILE *f = fopen(path, "r");
    char line[4096];
    int ok = 0;

    while (f && fgets(line, sizeof line, f)) {
        json_t *o = json_loads(line, 0, NULL), *v = json_object_get(json_object_get(o, "videos"), "val/clips");
        const char *caption = json_string_value(json_object_get(json_array_get(v, 0), "caption"));

        ok |= json_array_size(v) == 2 && caption && !strcmp(caption, "a \"red\" circle") && !json_object_get(json_array_get(v, 1), "caption") &&
              json_is_string(json_object_get(json_array_get(v, 1), "path"));
        json_decref(o);
    }
    if (f) fclose(f);
    return ok;
}

static reel_err write_run(const char *dir, const char *all, long step0, long step1)
{
    static const char *const names[] = { "train_loss", "lr" };
    const char *v[] = { "tensorboard", all };
    struct reel_track_opts o = { .dir = dir,
                                 .trackers = { v, 2 },
                                 .project = "tiny",
                                 .run_name = "run a",
                                 .goes_on = step0 > 1,
                                 .config_json = "{\"model\": {\"layers\": 2}, \"lr\": 1e-05}" };
    unsigned char png[128], gif[64];
    size_t n = unhex(png_hex, png);
    char video[512], other[512];
    struct reel_track_film film[2] = { { video, "a \"red\" circle", gif, unhex(gif_hex, gif) }, { other, NULL, NULL, 0 } };
    struct reel_track *t;

    snprintf(video, sizeof video, "%s.mp4", dir);
    snprintf(other, sizeof other, "%s_other.mp4", dir);
    REEL_TRY(reel_file_write(video, "not really a video", 18));
    REEL_TRY(reel_file_write(other, "nor this", 8));
    REEL_TRY(reel_track_open(&t, &o));
    REEL_TRY(reel_track_text(t, 0, "config", "model:\n  layers: 2\n"));
    reel_track_note(t, 0, "start", json_pack("{s:s}", "host", "a \"b\""));
    for (long s = step0; s <= step1; s++) {
        REEL_TRY(reel_track_scalars(t, s, names,
                                    (double[]){ 1.0 / (double)s, s == 3 ? (double)NAN : 1e-5 }, 2));
        if (s == step1) REEL_TRY(reel_track_image(t, s, "val/sample 0", png, n));
        if (s == step1) REEL_TRY(reel_track_videos(t, s, "val/clips", film, 2));
    }
    return reel_track_close(t, 0);
}

/* What sorts last in dir/name of those that begin so. */
static void last_name(char *out, size_t size, const char *dir, const char *name, const char *begins)
{
    char path[600], **names;
    size_t n;

    *out = 0;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (reel_list_dir(path, &names, &n)) return;
    for (size_t i = 0; i < n; i++)
        if (!strncmp(names[i], begins, strlen(begins))) snprintf(out, size, "%s", names[i]);
    reel_list_free(names, n);
}

/* A start by a clock that was ahead, then one by ours. */
static void after_skew(const char *dir)
{
    char path[700], events[300], offline[300];

    snprintf(path, sizeof path, "%s/tensorboard/events.out.tfevents.4102444800.other.1.0", dir);
    reel_file_write(path, "", 0);
    snprintf(path, sizeof path, "%s/wandb/offline-run-20991231_235959-aaaaaaaa", dir);
    reel_mkdirs(path);
    TAP_OK(write_run(dir, "wandb", 5, 5) == REEL_OK, "a start after one whose clock was ahead");
    last_name(events, sizeof events, dir, "tensorboard", "events.");
    last_name(offline, sizeof offline, dir, "wandb", "offline-run-");
    TAP_OK(!strncmp(events, "events.out.tfevents.4102444801.", 31) && !strncmp(offline, "offline-run-21000101_000000-", 28),
           "its names come after the other's: %s, %s", events, offline);
}

static void runs(const char *tmp)
{
    char dir[400], path[600];
    double loss = 0;
    FILE *f;

    snprintf(dir, sizeof dir, "%s/new/tracker", tmp);
    snprintf(path, sizeof path, "%s/new", tmp);
    reel_mkdirs(path);
    snprintf(path, sizeof path, "%s/metrics.jsonl", dir);
    TAP_OK(write_run(dir, "wandb", 1, 4) == REEL_OK, "a run with all trackers");
    TAP_OK(json_lines(path, "train_loss", &loss) == 8 && loss == 0.25,
           "metrics.jsonl: every line is an object");
    f = fopen(path, "a");
    fputs("{\"step\": 5, \"tim", f);
    fclose(f);
    TAP_OK(write_run(dir, "wandb", 3, 5) == REEL_OK &&
               json_lines(path, "train_loss", &loss) == 15 && loss == 0.2,
           "resumed after a crash: appended, the cut line is gone");
    TAP_OK(videos_line(path), "metrics.jsonl: films with paths and captions");
    snprintf(path, sizeof path, "%s/wandb", dir);
    TAP_OK(count_files(path, "offline-run-") == 2, "a wandb folder for each start, also within a second");
    TAP_OK(fragments(path) == 2, "a start that goes on is a fragment of the first one's run");
    after_skew(dir);
    TAP_OK(write_run(dir, "wandb", 1, 1) == REEL_OK && count_files(path, "offline-run-") == 5 && fragments(path) == 1, "a start from scratch is a run");
    snprintf(path, sizeof path, "%s/media", dir);
    TAP_OK(count_files(path, "val_sample_0_") == 3, "pictures beside the lines");
}

/* A disk that ends in the middle of a record (here: a limit on the size of files). */
static void full_disk(const char *tmp)
{
    struct track_file f = { .fd = -1 };
    struct track_buf b = { 0 };
    struct rlimit old, limit;
    struct stat st;
    char path[500];

    snprintf(path, sizeof path, "%s/full", tmp);
    track_put(&b, "record", 6);
    track_file_open(&f, path);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    limit = (struct rlimit){ 10, old.rlim_max };
    setrlimit(RLIMIT_FSIZE, &limit);
    reel_err first = track_file_append(&f, &b), second = track_file_append(&f, &b);
    setrlimit(RLIMIT_FSIZE, &old);
    TAP_OK(!first && second == REEL_EIO &&
               strstr(reel_errrec()->msg, "full: cannot append 6 bytes"),
           "a full disk is an error with its file: %s", reel_errrec()->msg);
    st.st_size = -1;
    stat(path, &st);
    TAP_OK(st.st_size == 6, "half a record is taken back: %ld bytes", (long)st.st_size);
    track_file_close(&f);
    track_buf_free(&b);
    reel_err_clear();
}

static void refusals(const char *tmp)
{
    const char *v[] = { "tensorbored" };
    struct reel_track_opts o = { .dir = tmp, .trackers = { v, 1 } };
    struct reel_track *t = (struct reel_track *)&o;
    char dir[500];

    TAP_OK(reel_track_open(&t, &o) == REEL_ECONFIG && !t &&
               strstr(reel_errrec()->msg, "'tensorbored' is not one of jsonl|"),
           "an unknown tracker: %s", reel_errrec()->msg);
    reel_err_clear();
    snprintf(dir, sizeof dir, "%s/plain", tmp);
    reel_file_write(dir, "", 0);
    strcat(dir, "/below");
    o.dir = dir;
    v[0] = "none";
    TAP_OK(reel_track_open(&t, &o) == REEL_EIO && !t, "a folder that cannot be made: %s",
           reel_errrec()->msg);
    reel_err_clear();
    snprintf(dir, sizeof dir, "%s/%0380d", tmp, 0);
    TAP_OK(reel_track_open(&t, &o) == REEL_EIO && !t && strstr(reel_errrec()->msg, "too long: trackers take at most 360 bytes"), "a path too long");
    reel_err_clear();
    snprintf(dir, sizeof dir, "%s/none", tmp);
    TAP_OK(reel_track_open(&t, &o) == REEL_OK &&
               reel_track_image(t, 1, "x", "GIF89a", 6) == REEL_EDATA,
           "no PNG: %s", reel_errrec()->msg);
    reel_err_clear();
    TAP_OK(reel_track_videos(t, 1, "x", &(struct reel_track_film){ "x.mp4", NULL, "\x89PNG\r\n\x1a\n 12345", 14 }, 1) == REEL_EDATA,
           "no GIF: %s", reel_errrec()->msg);
    reel_err_clear();
    reel_track_note(t, 1, "end", NULL);
    TAP_OK(reel_track_scalars(t, 1, NULL, NULL, 0) == REEL_ENOMEM, "a note that could not be made: %s", reel_errrec()->msg);
    reel_err_clear();
    TAP_OK(reel_track_close(t, 0) == REEL_ENOMEM && count_files(dir, "metrics.jsonl") == 1 &&
               count_files(dir, "tensorboard") == 0,
           "none: metrics.jsonl alone");
    TAP_OK(reel_track_scalars(NULL, 1, NULL, NULL, 0) == REEL_OK &&
               reel_track_image(NULL, 1, "x", "", 0) == REEL_OK &&
               reel_track_videos(NULL, 1, "x", NULL, 0) == REEL_OK &&
               reel_track_close(NULL, 0) == REEL_OK,
           "a rank without a tracker does nothing");
}

int main(int argc, char **argv)
{
    const char *tmp = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";

    if (argc > 1) return write_run(argv[1], "wandb", 1, 4) != REEL_OK;
    numbers();
    hashes();
    events();
    wandb_log();
    wandb_blocks();
    runs(tmp);
    full_disk(tmp);
    refusals(tmp);
    return tap_done();
}
