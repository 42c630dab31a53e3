/* data sets: round trip in f32 and bf16, the same bytes on any number of ranks, repeats and folders,
 * damage and absence refused by name on every rank */
#include <fcntl.h>
#include <math.h>
#include <mpi.h>
#include <sys/stat.h>

#include "data/set.h"
#include "data_util.h"
#include "tensor/half.h"

static struct reel_comm world, self = { .mpi = MPI_COMM_SELF, .size = 1, .name = "self" };
static char test[32];
#define AT(name) scratch(test, name)

enum { N = 11, C = 3, T = 4, H = 2, W = 5, D = 6, PER = C * T * H * W };

static float value(int64_t i, int64_t j) { return (float)sin((double)(i * 977 + j) * 0.37) * 3; }
static int rows_of(int64_t i) { return (int)(i * 5 % 4); } /* 0..3: a text may be empty */

static struct reel_set_desc describe(reel_dtype dt)
{
    static const float mean[C] = { 0.5f, -1, 0 }, std[C] = { 2, 1, 0.25f };
    static float neg[2 * D];

    for (int i = 0; i < 2 * D; i++) neg[i] = value(100, i);
    return (struct reel_set_desc){ .kind = "t2v", .channels = C, .frames = T, .height = H, .width = W, .text_dim = D, .pad_to = 7,
        .dtype = dt, .mean = mean, .std = std, .family = "test", .pix_height = 16, .pix_width = 40, .pix_frames = 13,
        .down = { 4, 8, 8 }, .fps = 8, .negative = neg, .negative_rows = 2, .have_negative = 1, .have_empty = 1,
        .negative_prompt = "ugly" };
}

static reel_err write_set(const char *path, reel_dtype dt, struct reel_comm *c)
{
    struct reel_set_desc d = describe(dt);
    struct reel_set_writer *w;
    reel_err e = reel_set_create(&w, path, &d, c);

    if (e) return e;
    for (int64_t i = c->rank; i < N && !e; i += c->size) {
        float x[PER], t[4 * D];
        char caption[64];
        struct reel_set_sample s = { .key = 3 * i, .latent = x, .text = t, .rows = rows_of(i), .id = "id", .caption = caption,
                                     .file_name = i % 2 ? "long name.mp4" : "", .width = 40, .height = 16, .frames = 13, .fps = 29.97 };
        snprintf(caption, sizeof caption, "caption %.*s of %d", (int)i, "...........", (int)i);
        for (int j = 0; j < PER; j++) x[j] = value(i, j);
        for (int j = 0; j < rows_of(i) * D; j++) t[j] = value(i, 1000 + j);
        e = reel_set_add(w, &s);
    }
    return reel_set_commit(w, e, NULL);
}

static float stored(reel_dtype dt, float x) { return dt == REEL_F32 ? x : reel_bf16_f32(reel_f32_bf16(x)); }

static void round_trip(reel_dtype dt)
{
    const char *path = AT(dt == REEL_F32 ? "f32.h5" : "bf16.h5");
    struct reel_set *s = NULL;
    float x[PER], t[4 * D];
    int bad = 0, rows;
    reel_err e = write_set(path, dt, &world);
    const struct reel_set_info *f;

    TAP_OK(!e && !reel_set_open(&s, path, &world), "%s: written by %d ranks and opened %s", reel_dtype_name(dt), world.size, reel_errrec()->msg);
    f = reel_set_info(s);
    TAP_OK(f->n == N && f->channels == C && f->frames == T && f->height == H && f->width == W && f->text_dim == D &&
               f->text_rows == 3 && f->pad_to == 7 && f->dtype == dt && !strcmp(f->family, "test") && f->fps == 8,
           "%s: dimensions and names come back", reel_dtype_name(dt));
    TAP_OK(f->mean[1] == -1 && f->std[2] == 0.25f && reel_set_negative(s, &rows)[7] == value(100, 7) && rows == 2 &&
               reel_set_empty(s, &rows) && rows == 0,
           "%s: constants and prompts come back", reel_dtype_name(dt));
    for (int64_t i = 0; i < N; i++) {
        if (reel_set_read(s, i, T, x, t, &rows)) bad++;
        for (int j = 0; j < PER; j++) bad += x[j] != stored(dt, value(i, j));
        for (int j = 0; j < rows_of(i) * D; j++) bad += t[j] != stored(dt, value(i, 1000 + j));
        bad += rows != rows_of(i);
        if (reel_set_read(s, i, 2, x, NULL, NULL)) bad++;
        for (int j = 0; j < PER / 2; j++) bad += x[j] != stored(dt, value(i, j / (2 * H * W) * (T * H * W) + j % (2 * H * W)));
    }
    TAP_OK(!bad, "%s: every sample comes back, whole and cut to two frames (%d differ)", reel_dtype_name(dt), bad);
    reel_set_close(s);
}

static void same_on_any_ranks(void)
{
    reel_err e = world.rank == 0 ? write_set(AT("one.h5"), REEL_BF16, &self) : REEL_OK;

    e = reel_agree(&world, e);
    TAP_OK(!e && (world.rank || same_files(AT("one.h5"), AT("bf16.h5"))), "%d ranks write the bytes that one rank writes", world.size);
    TAP_OK(access(AT("bf16.h5.tmp"), F_OK) && access(AT("bf16.h5.spool.0"), F_OK), "no temporary file is left");
}

static void repeats(void)
{
    char spec[3000];
    struct reel_set *s = NULL;
    int64_t local;
    reel_err e;

    snprintf(spec, sizeof spec, "%s:2, %s:1,%s:0", AT("bf16.h5"), AT("f32.h5"), AT("none.h5"));
    e = reel_set_open(&s, spec, &world);
    TAP_OK(!e && reel_set_info(s)->n == 3 * N && reel_set_info(s)->n_files == 2, "repeats: two copies and one %s", reel_errrec()->msg);
    TAP_OK(strstr(reel_set_where(s, N, &local), "bf16.h5") && local == 0 && strstr(reel_set_where(s, 3 * N - 1, &local), "f32.h5") &&
               local == N - 1,
           "files in the order of their names, copies side by side");
    reel_set_close(s);
    reel_mkdirs(AT("folder"));
    reel_comm_barrier(&world);
    if (world.rank == 0) e = link(AT("f32.h5"), AT("folder/b.h5")), e = link(AT("one.h5"), AT("folder/a.h5"));
    reel_comm_barrier(&world);
    e = reel_set_open(&s, AT("folder"), &world);
    TAP_OK(!e && reel_set_info(s)->n == 2 * N, "a folder of .h5 files is one set");
    reel_set_close(s);
}

/* The message of a failure, the same on every rank. */
static void refused(const char *what, reel_err e, reel_err want, const char *words)
{
    char mine[REEL_ERR_MSG], first[REEL_ERR_MSG];

    memcpy(mine, reel_errrec()->msg, sizeof mine);
    memcpy(first, mine, sizeof first);
    reel_comm_bcast(&world, first, sizeof first, 0);
    TAP_OK(e == want && strstr(mine, words) && !strcmp(mine, first), "%s: %s", what, mine);
    reel_err_clear();
}

static void copy_with(const char *to, int64_t flip, int64_t cut)
{
    char *p = NULL;
    size_t n = 0;

    if (world.rank == 0) {
        if (reel_file_read(AT("f32.h5"), &p, &n)) exit(99);
        if (flip >= 0) p[flip] ^= 1;
        if (reel_file_write(to, p, cut ? (size_t)cut : n)) exit(99);
        free(p);
    }
    reel_comm_barrier(&world);
}

static void damage(void)
{
    struct reel_set *s = NULL;
    float x[PER], t[4 * D];
    struct stat st;
    int64_t at = -1;
    char *p;
    size_t n;
    float probe = value(7, 3);
    reel_err e;

    refused("a missing file", reel_set_open(&s, AT("none.h5"), &world), REEL_EIO, "none.h5: cannot open the data set: No such file");
    refused("an empty name", reel_set_open(&s, "", &world), REEL_ECONFIG, "data_path is empty");
    if (stat(AT("f32.h5"), &st)) exit(99);
    copy_with(AT("cut.h5"), -1, st.st_size - 100);
    refused("a truncated file", reel_set_open(&s, AT("cut.h5"), &world), REEL_EDATA, "truncated");
    copy_with(AT("text.h5"), 0, 0);
    refused("another file", reel_set_open(&s, AT("text.h5"), &world), REEL_EDATA, "not an HDF5 file");
    if (reel_file_read(AT("f32.h5"), &p, &n)) exit(99);
    for (size_t i = 0; i + 4 <= n; i++)
        if (!memcmp(p + i, &probe, 4)) at = (int64_t)i;
    free(p);
    copy_with(AT("flip.h5"), at, 0);
    e = reel_set_open(&s, AT("flip.h5"), &world);
    TAP_OK(!e && !reel_set_read(s, 6, T, x, t, NULL), "a flipped bit elsewhere does not disturb sample 6");
    e = reel_set_read(s, 7, T, x, t, NULL);
    refused("a flipped bit", e, REEL_EDATA, "flip.h5: sample 7: the latents do not match their checksum");
    reel_set_close(s);
    refused("check of a damaged set", reel_set_check(AT("flip.h5"), &world), REEL_EDATA, "sample 7: the latents do not match");
    TAP_OK(!reel_set_check(AT("bf16.h5"), &world), "check of a good set: %s", reel_errrec()->msg);
    s = NULL;
    if (world.size > 1) {
        char spec[40];
        snprintf(spec, sizeof spec, "data_open:%d:1", world.size - 1);
        reel_fault_set(spec);
        refused("a file one rank cannot see", reel_set_open(&s, AT("f32.h5"), &world), REEL_EIO, "injected fault");
        reel_fault_set("none:0:1");
    }
}

static void bad_writes(void)
{
    struct reel_set_desc d = describe(REEL_F32);
    struct reel_set_writer *w;
    float x[PER] = { 0 };
    struct reel_set_sample s = { .key = 5, .latent = x, .id = "x" };
    reel_err e;

    refused("a folder that is not there", reel_set_create(&w, AT("no/where.h5"), &d, &world), REEL_EIO, "cannot create");
    reel_set_create(&w, AT("dup.h5"), &d, &world);
    e = reel_set_add(w, &s);
    s.key = world.rank == 0 ? 5 : 6 + world.rank;
    e = reel_set_add(w, &s);
    refused("a key twice", reel_set_commit(w, e, NULL), REEL_EDATA, "two samples have the key 5");
    reel_set_create(&w, AT("nan.h5"), &d, &world);
    x[17] = NAN;
    e = world.rank == world.size - 1 ? reel_set_add(w, &s) : REEL_OK;
    refused("a NaN", reel_set_commit(w, e, NULL), REEL_EDATA, "non-finite number at element 17");
    reel_set_create(&w, AT("empty.h5"), &d, &world);
    refused("nothing", reel_set_commit(w, REEL_OK, NULL), REEL_EDATA, "no sample to write");
    TAP_OK(access(AT("nan.h5"), F_OK) && access(AT("nan.h5.tmp"), F_OK), "a failed write leaves nothing");
}

static void imported(void)
{
    struct reel_st *st;
    struct reel_set *s = NULL;
    const struct reel_st_entry *le, *te;
    reel_err e = reel_st_open(&st, golden("data/layout-sft.safetensors"));
    float *lat = tensor(st, "latents", 0, &le), *text = tensor(st, "text", 0, &te), *x, *t;
    int64_t *len = tensor(st, "length", 1, NULL), per = le->n[1] * le->n[2] * le->n[3] * le->n[4], tper = te->n[1] * te->n[2];
    int bad = 0, rows;

    e = reel_set_from_safetensors(golden("data/layout-sft.safetensors"), AT("imported"), &world);
    TAP_OK(!e && !reel_set_open(&s, AT("imported"), &world) && reel_set_info(s)->n == le->n[0], "safetensors imported %s", reel_errrec()->msg);
    x = malloc((size_t)per * 4), t = malloc((size_t)tper * 4);
    for (int64_t i = 0; i < le->n[0]; i++) {
        bad += reel_set_read(s, i, (int)le->n[2], x, t, &rows) != REEL_OK || rows != len[i];
        bad += memcmp(x, lat + i * per, (size_t)per * 4) != 0 || memcmp(t, text + i * tper, (size_t)len[i] * (size_t)te->n[2] * 4) != 0;
    }
    TAP_OK(!bad && reel_set_info(s)->mean[0] == -0.7571f && reel_set_info(s)->std[15] == 1.9160f,
           "every imported sample is the tensor's, and the constants are Wan's");
    reel_set_close(s);
    reel_st_close(st);
    free(lat), free(text), free(len), free(x), free(t);
    refused("a file without latents", reel_set_from_safetensors(golden("draws/draws.safetensors"), AT("bad"), &world), REEL_EDATA,
            "no tensor \"latents\"");
}

int main(int argc, char **argv)
{
    if (reel_comm_start(&world, &argc, &argv)) return 1;
    tap_quiet = world.rank != 0;
    snprintf(test, sizeof test, "t_set_np%d", world.size);
    round_trip(REEL_F32);
    round_trip(REEL_BF16);
    same_on_any_ranks();
    repeats();
    damage();
    bad_writes();
    imported();
    reel_comm_barrier(&world);
    if (world.rank == 0) reel_rmtree(scratch(test, ""));
    reel_comm_stop();
    return tap_done();
}
