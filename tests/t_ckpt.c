/* checkpoints of a run: written in one layout, read in any other, all or nothing, nothing half done.
 * With arguments a helper for scripts: MODE DIR. */
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/file.h"
#include "base/json.h"
#include "ckpt/ckpt.h"
#include "ckpt/dcp.h"
#include "tap.h"
#include "tensor/half.h"
#include "tensor/safetensors.h"

static struct reel_comm W;
static char tmp[PATH_MAX - 128];

static int everyone(int ok)
{
    int64_t bad = !ok;

    if (!ok) printf("# rank %d: %s\n", W.rank, reel_errrec()->msg);
    reel_comm_sum_i64(&W, &bad, 1);
    return bad == 0;
}

static int says(reel_err e, reel_err want, const char *part)
{
    int ok = e == want && strstr(reel_errrec()->msg, part);

    if (!ok) printf("# rank %d: %d %s\n", W.rank, (int)e, reel_errrec()->msg);
    reel_err_clear();
    return everyone(ok);
}

/* ---- a set whose content is a formula, cut in several ways ---- */

enum cut { ROWS, COLS, ROOT, COPIES, N_CUTS }; /* FSDP rows; columns; all on rank 0; the same everywhere */

static const struct { const char *key; reel_dtype dt; int nd; int64_t n[4]; } spec[] = {
    { "roles.student.transformer.blocks.0.to_q.weight", REEL_F32, 2, { 10, 7 } },
    { "roles.student.transformer.blocks.0.to_q.bias", REEL_F32, 1, { 7 } },
    { "roles.student.transformer.scale_shift_table", REEL_F32, 3, { 1, 2, 10 } },
    { "roles.student.transformer.patch_embedding.proj.weight", REEL_F32, 4, { 33, 4, 2, 2 } },
    { "roles.student.transformer.large", REEL_F32, 2, { 700, 611 } },
    { "optimizers.student.state.transformer.blocks.0.to_q.weight.step", REEL_F32, 0, { 0 } },
    { "half", REEL_BF16, 2, { 9, 5 } },
    { "counts", REEL_I64, 1, { 13 } },
    { "callbacks.validation.validation_rng", REEL_U8, 1, { 16 } },
};
enum { N_T = sizeof spec / sizeof spec[0] };

struct box { struct reel_ckpt_tensor t[N_T]; struct reel_ckpt_object o[8]; struct reel_ckpt_set set; };

static void cut_tensor(struct reel_ckpt_tensor *t, enum cut cut, int rank, int size)
{
    int64_t n0 = t->nd ? t->n[0] : 1, per = (n0 + size - 1) / size;

    t->row0 = 0, t->rows = n0;
    if (cut == ROOT && rank) t->rows = 0;
    if (cut == ROWS && t->nd) {
        t->row0 = per * rank < n0 ? per * rank : n0;
        t->rows = n0 - t->row0 < per ? n0 - t->row0 : per;
    }
    if (cut == COLS && t->nd > 1) {
        per = (t->n[1] + size - 1) / size;
        t->col0 = per * rank < t->n[1] ? per * rank : t->n[1];
        t->cols = t->n[1] - t->col0 < per ? t->n[1] - t->col0 : per;
        if (!t->cols) t->rows = 0;
    }
}

static int64_t count(const struct reel_ckpt_tensor *t)
{
    int64_t k = t->rows;

    for (int i = 1; i < t->nd; i++) k *= i == 1 && t->cols ? t->cols : t->n[i];
    return k;
}

/* Bytes of global element e of a tensor. */
static void element(const struct reel_ckpt_tensor *t, int64_t e, char *dst)
{
    uint32_t w = (reel_crc32(0, t->key, strlen(t->key)) + (uint32_t)e * 2654435761u) >> 8;
    float f = (float)w * 0x1p-24f;
    uint16_t h = reel_f32_bf16(f);
    int64_t i = (int64_t)w - 5;

    switch (t->dt) {
    case REEL_F32: memcpy(dst, &f, 4); break;
    case REEL_BF16: memcpy(dst, &h, 2); break;
    case REEL_I64: memcpy(dst, &i, 8); break;
    default: *dst = (char)w; break;
    }
}

/* Visit the part: check == 0 fills, 1 counts differences. */
static int64_t visit(struct reel_ckpt_tensor *t, int check)
{
    size_t size = reel_dtype_size(t->dt);
    int64_t bad = 0, inner = 1, cols = t->nd > 1 ? t->cols ? t->cols : t->n[1] : 1, all = t->nd > 1 ? t->n[1] : 1, k = 0;
    char want[8];

    for (int i = 2; i < t->nd; i++) inner *= t->n[i];
    for (int64_t r = 0; r < t->rows; r++)
        for (int64_t c = 0; c < cols * inner; c++, k++) {
            char *p = (char *)t->host + (size_t)k * size;
            element(t, (t->row0 + r) * all * inner + t->col0 * inner + c, want);
            if (check) bad += memcmp(p, want, size) != 0;
            else memcpy(p, want, size);
        }
    return bad;
}

static void objects(struct reel_ckpt_object *o)
{
    struct reel_val n = reel_val_none();

    o[0] = (struct reel_ckpt_object){ .key = "optimizers.student.param_groups.transformer.blocks.0.to_q.weight.lr", .v = reel_val_float(2e-5) };
    o[1] = (struct reel_ckpt_object){ .key = "optimizers.student.param_groups.transformer.blocks.0.to_q.weight.betas",
                                      .v = reel_val_seq(REEL_VAL_TUPLE, reel_val_float(0.9), reel_val_float(0.999), 2) };
    o[2] = (struct reel_ckpt_object){ .key = "schedulers.student.scheduler.last_epoch", .v = reel_val_int(300) };
    o[3] = (struct reel_ckpt_object){ .key = "schedulers.student.scheduler.lr_lambdas", .v = reel_val_seq(REEL_VAL_LIST, n, n, 1) };
    o[4] = (struct reel_ckpt_object){ .key = "schedulers.student.scheduler._is_initial", .v = reel_val_bool(0) };
    o[5] = (struct reel_ckpt_object){ .key = "dataloader._shared_seed", .v = n };
    o[6] = (struct reel_ckpt_object){ .key = "reel.note", .v = reel_val_str("caf\xc3\xa9") };
    o[7] = (struct reel_ckpt_object){ .key = "reel.big", .v = reel_val_int(-((int64_t)1 << 40)) };
}

static void box_open(struct box *b, enum cut cut, int rank, int size)
{
    memset(b, 0, sizeof *b);
    for (int i = 0; i < N_T; i++) {
        struct reel_ckpt_tensor *t = &b->t[i];
        *t = (struct reel_ckpt_tensor){ .key = spec[i].key, .dt = spec[i].dt, .nd = spec[i].nd };
        memcpy(t->n, spec[i].n, sizeof spec[i].n);
        cut_tensor(t, cut, rank, size);
        t->host = calloc((size_t)count(t) + 1, 8);
    }
    objects(b->o);
    b->set = (struct reel_ckpt_set){ b->t, N_T, b->o, 8 };
}

static void box_fill(struct box *b)
{
    for (int i = 0; i < N_T; i++) visit(&b->t[i], 0);
}

static int box_good(struct box *b)
{
    struct reel_ckpt_object want[8];
    int64_t bad = 0;

    objects(want);
    for (int i = 0; i < N_T; i++) bad += visit(&b->t[i], 1);
    for (int i = 0; i < 8; i++)
        bad += memcmp(&b->o[i].v.u, &want[i].v.u, sizeof want[i].v.u) != 0 || b->o[i].v.kind != want[i].v.kind ||
               b->o[i].v.n != want[i].v.n || !b->o[i].found;
    return bad == 0;
}

static void box_close(struct box *b)
{
    for (int i = 0; i < N_T; i++) free(b->t[i].host);
}

static reel_err save(const char *dir, long step, enum cut cut, int keep, struct reel_comm *c)
{
    struct box b;
    reel_err e;

    box_open(&b, cut, c->rank, c->size);
    box_fill(&b);
    e = reel_ckpt_save(&(struct reel_ckpt_req){ dir, step, b.set, "{\"training\": {\"seed\": 7}}", keep, NULL, NULL }, c);
    box_close(&b);
    return e;
}

static int loads(const char *dir, enum cut cut)
{
    struct box b;
    int ok;

    box_open(&b, cut, W.rank, W.size);
    for (int i = 0; i < 8; i++) b.o[i].v = reel_val_none();
    ok = !reel_ckpt_load(dir, &b.set, &W) && box_good(&b);
    box_close(&b);
    return everyone(ok);
}

static const char *in(const char *dir, const char *name)
{
    static char p[16][PATH_MAX];
    static int k;

    k = (k + 1) % 16;
    snprintf(p[k], sizeof p[k], "%s/%s/%s", tmp, dir, name);
    return p[k];
}

static void round_trips(void)
{
    static const char *const name[N_CUTS] = { "rows", "columns", "one rank", "replicas" };

    for (int a = 0; a < N_CUTS; a++) {
        int ok = everyone(!save(in("rt", ""), a, (enum cut)a, 0, &W));
        char dir[PATH_MAX];
        snprintf(dir, sizeof dir, "%s/checkpoint-%d", in("rt", ""), a);
        for (int b = 0; b < N_CUTS; b++) ok &= loads(dir, (enum cut)b);
        ok &= everyone(!reel_ckpt_check(dir, NULL, &W));
        TAP_OK(ok, "written as %s, read as rows, columns, one rank, replicas; checked", name[a]);
    }
}

/* Written by half of the ranks, twice; read by all. */
static void other_world(void)
{
    struct reel_mesh m;
    char dir[PATH_MAX], ck[PATH_MAX];
    struct reel_mesh_dims d = { W.size, 2, W.size / 2, 1, 1 };
    int ok;

    if (W.size < 2) return;
    if (reel_mesh_open(&m, &W, &d)) abort();
    snprintf(dir, sizeof dir, "%s/ow%d", tmp, m.replicate.rank);
    ok = everyone(!save(dir, 5, ROWS, 0, &m.shard));
    snprintf(ck, sizeof ck, "%s/ow1/checkpoint-5", tmp);
    TAP_OK(ok && loads(ck, ROWS) && loads(ck, COLS), "written by %d ranks, read by %d", W.size / 2, W.size);
    reel_mesh_close(&m);
}

/* Every replica group writes its own share: no rank writes everything. */
static void shares(void)
{
    struct reel_dcp *d;
    int64_t most = 0, all = 0;

    if (W.size < 2 || W.rank) return;
    if (reel_dcp_open(&d, in("rt", "checkpoint-3/dcp"))) abort();
    for (int r = 0; r < W.size; r++) {
        int64_t mine = 0;
        for (int i = 0; i < reel_dcp_count(d); i++)
            for (int k = 0; k < reel_dcp_entry(d, i)->n_chunks; k++) {
                const struct reel_dcp_chunk *c = &reel_dcp_entry(d, i)->chunk[k];
                if (reel_dcp_entry(d, i)->type && atoi(c->path + 2) == r) mine++;
            }
        all += mine;
        if (mine > most) most = mine;
    }
    TAP_OK(all == N_T && most < N_T, "replicated tensors are written once each, by several ranks");
    reel_dcp_close(d);
}

/* ---- which one is newest, what is kept ---- */

static void newest_is(const char *what, const char *dir, const char *arg, long want)
{
    char got[PATH_MAX];
    long step = -7;
    reel_err e = reel_ckpt_resolve(dir, arg, got, sizeof got, &step, &W);

    TAP_OK(everyone(!e && step == want), "%s: step %ld", what, step);
    reel_err_clear();
}

/* Flips a bit; a second time, back. */
static void flip(const char *path, int permille)
{
    FILE *f;
    int c;

    if (W.rank == 0) {
        f = fopen(path, "r+b");
        if (!f) abort();
        fseek(f, 0, SEEK_END);
        fseek(f, (ftell(f) - 1) / 1000 * permille, SEEK_SET);
        c = fgetc(f);
        fseek(f, -1, SEEK_CUR);
        fputc(c ^ 0x10, f);
        fclose(f);
    }
    reel_comm_barrier(&W);
}

/* One bit in the middle: the data of the largest tensor. */
static void damage(const char *path) { flip(path, 500); }

static void cut_short(const char *path)
{
    if (W.rank == 0 && truncate(path, 1000) != 0) abort();
    reel_comm_barrier(&W);
}

static void retention(void)
{
    const char *dir = in("keep", ".");
    char got[PATH_MAX];
    long step;

    newest_is("no folder yet", dir, "latest", -1);
    for (long s = 10; s <= 50; s += 10)
        if (save(dir, s, ROWS, 3, &W)) break;
    TAP_OK(everyone(!reel_is_dir(in("keep", "checkpoint-20")) && reel_is_dir(in("keep", "checkpoint-30")) &&
                    reel_is_dir(in("keep", "checkpoint-50"))),
           "the newest three are kept");
    TAP_OK(everyone(!save(dir, 50, COLS, 3, &W)) && loads(in("keep", "checkpoint-50"), ROWS) &&
               everyone(!reel_is_dir(in("keep", "checkpoint-50.tmp"))),
           "the same step is replaced");
    newest_is("latest", dir, " LATEST ", 50);
    newest_is("an output folder", dir, dir, 50);
    newest_is("a checkpoint", dir, in("keep", "checkpoint-30"), 30);
    newest_is("its dcp folder", dir, in("keep", "checkpoint-30/dcp/"), 30);
    cut_short(in("keep", "checkpoint-50/dcp/__0_0.distcp"));
    newest_is("a truncated one is skipped", dir, "latest", 40);
    TAP_OK(says(reel_ckpt_resolve(dir, in("keep", "checkpoint-50"), got, sizeof got, &step, &W), REEL_EDATA, "1000 bytes"),
           "and refused by name");
    if (W.rank == 0) unlink(in("keep", "checkpoint-40/commit.json")), unlink(in("keep", "checkpoint-40/dcp/.metadata"));
    if (W.rank == 0 && (reel_mkdirs(in("keep", "checkpoint-99/dcp")) || reel_mkdirs(in("keep", "checkpoint-77.tmp/dcp")))) abort();
    reel_comm_barrier(&W);
    newest_is("interrupted ones are skipped", dir, "latest", 30);
    TAP_OK(says(reel_ckpt_resolve(dir, "/nonexistent/c", got, sizeof got, &step, &W), REEL_ECONFIG, "no folder"),
           "a path that is not there");
    TAP_OK(everyone(!reel_ckpt_sweep(dir, &W) && !reel_is_dir(in("keep", "checkpoint-77.tmp")) && reel_is_dir(in("keep", "checkpoint-99"))),
           "what a killed run left is cleaned up, and nothing else");
    TAP_OK(everyone(!save(dir, 35, ROWS, 1, &W) && reel_is_dir(in("keep", "checkpoint-35")) && !reel_is_dir(in("keep", "checkpoint-30"))),
           "a checkpoint does not make room for those of a later step that was given up");
}

static void strictness(void)
{
    struct box b;
    char c0[PATH_MAX];

    snprintf(c0, sizeof c0, "%s", in("rt", "checkpoint-0"));
    box_open(&b, ROWS, W.rank, W.size);
    b.t[1].key = "no.such.key";
    b.t[3].n[1] = 5;
    TAP_OK(says(reel_ckpt_load(c0, &b.set, &W), REEL_EDATA,
                "2 keys do not fit this run: no.such.key is missing; roles.student.transformer.patch_embedding.proj.weight "
                "is float32 [33,4,2,2], f32 [33,5,2,2] was expected"),
           "missing keys and wrong shapes in one message");
    b.t[1].optional = b.t[3].optional = 1;
    TAP_OK(everyone(!reel_ckpt_load(c0, &b.set, &W) && !b.t[1].found && !b.t[3].found && b.t[0].found), "unless they are optional");
    b.t[6].dt = REEL_F32; /* bf16 in the file */
    TAP_OK(everyone(!reel_ckpt_load(c0, &b.set, &W) && (b.t[6].rows == 0 || *(float *)b.t[6].host > 0)), "bf16 is widened");
    box_close(&b);
    damage(in("rt", "checkpoint-0/dcp/__0_0.distcp"));
    TAP_OK(says(reel_ckpt_check(c0, NULL, &W), REEL_EDATA, "damaged"), "a flipped bit is found by check");
    box_open(&b, COPIES, W.rank, W.size);
    TAP_OK(says(reel_ckpt_load(c0, &b.set, &W), REEL_EDATA, "__0_0.distcp"), "and by load");
    box_close(&b);
}

/* ---- every byte, once ---- */

/* The first n_t tensors and n_o values, as a resume reads them. */
static reel_err resumed(const char *dir, enum cut cut, int n_t, int n_o)
{
    struct reel_ckpt *k;
    struct box b;
    reel_err e;

    box_open(&b, cut, W.rank, W.size);
    b.set.n_t = n_t, b.set.n_o = n_o;
    e = reel_ckpt_open(&k, dir, &W);
    if (!e) e = reel_ckpt_read(k, &b.set, 1);
    if (!e && n_t == N_T && n_o == 8 && !box_good(&b)) e = REEL_FAIL(REEL_EDATA, "it is not what was written");
    reel_ckpt_close(k);
    box_close(&b);
    return reel_agree(&W, e);
}

/* Bytes that this process has read, from caches too. */
static int64_t bytes_read(void)
{
    FILE *f = fopen("/proc/self/io", "r");
    long long v = 0;

    if (!f || fscanf(f, "rchar: %lld", &v) != 1) abort();
    fclose(f);
    return v;
}

static int64_t bytes_of(const char *dir)
{
    char **name;
    struct stat st;
    size_t n;
    int64_t sum = 0;

    if (reel_list_dir(dir, &name, &n)) abort();
    for (size_t i = 0; i < n; i++) {
        char path[2 * PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", dir, name[i]);
        sum += stat(path, &st) == 0 ? st.st_size : 0;
    }
    reel_list_free(name, n);
    return sum;
}

/* The marker as programs before version 3 wrote it. */
static void age_marker(const char *dir)
{
    char path[2 * PATH_MAX], *data, crc[16];
    const char *name;
    json_t *top, *files, *v;
    size_t n;

    snprintf(path, sizeof path, "%s/commit.json", dir);
    if (W.rank == 0) {
        if (reel_json_file(&top, path)) abort();
        files = json_object_get(top, "files");
        json_object_foreach(files, name, v) {
            char file[2 * PATH_MAX];
            snprintf(file, sizeof file, "%s/%s", dir, name);
            if (reel_file_read(file, &data, &n)) abort();
            snprintf(crc, sizeof crc, "%08x", reel_crc32c(0, data, n));
            json_object_del(v, "crc32");
            json_object_set_new(v, "crc32c", json_string(crc));
            free(data);
        }
        data = json_dumps(files, JSON_COMPACT | JSON_SORT_KEYS);
        snprintf(crc, sizeof crc, "%08x", reel_crc32c(0, data, strlen(data)));
        free(data);
        json_object_del(top, "crc32");
        json_object_set_new(top, "crc32c", json_string(crc));
        json_object_set_new(top, "version", json_integer(2));
        if (json_dump_file(top, path, 0)) abort();
        json_decref(top);
    }
    reel_comm_barrier(&W);
}

/* Bits of every rank's file, whichever part of the keys is asked for. */
static int all_found(const char *dir)
{
    int bad = 0, n = 0;

    for (int r = 0; r < W.size; r++)
        for (int at = 1; at < 1000; at += 77, n++) {
            char path[2 * PATH_MAX], name[64];
            snprintf(name, sizeof name, "__%d_0.distcp", r);
            snprintf(path, sizeof path, "%s/dcp/%s", dir, name);
            flip(path, at);
            bad += !says(resumed(dir, (enum cut)(n % N_CUTS), n % (N_T + 1), n % 3 * 4), REEL_EDATA, name);
            flip(path, at);
        }
    return bad == 0;
}

static void whole(void)
{
    char dir[PATH_MAX];
    int64_t was, seen, all, ok = 1;

    snprintf(dir, sizeof dir, "%s", in("whole", "checkpoint-7"));
    if (save(in("whole", "."), 7, ROWS, 0, &W)) abort();
    all = bytes_of(in("whole", "checkpoint-7/dcp"));
    reel_comm_barrier(&W);
    was = bytes_read();
    ok = everyone(!resumed(dir, ROWS, N_T, 8));
    seen = bytes_read() - was;
    reel_comm_sum_i64(&W, &seen, 1);
    TAP_OK(ok && seen < all * 5 / 4, "a resume in the same layout reads %.2f times the bytes of the files, all ranks together", (double)seen / (double)all);
    for (int c = 0; c < N_CUTS; c++)
        for (int n = 0; n <= N_T; n += 3) ok &= everyone(!resumed(dir, (enum cut)c, n, n < N_T ? n : 8));
    TAP_OK(ok, "other layouts and parts of the keys agree with the marker too");
    TAP_OK(all_found(dir), "a flipped bit is found and its file named, also in what is not asked for");
    age_marker(dir);
    TAP_OK(everyone(!resumed(dir, COLS, N_T, 8) && !reel_ckpt_check(dir, NULL, &W)) && all_found(dir), "and with a marker of version 2");
}

/* ---- what others do in the folder of a run ---- */

static void guests(void)
{
    const char *dir = in("guests", "."), *away = in("guests", "elsewhere"), *link = in("guests", "checkpoint-10"), *last = in("guests", "last");
    char got[PATH_MAX];
    long step;

    if (save(dir, 10, ROWS, 0, &W) || save(dir, 20, ROWS, 0, &W)) abort();
    if (W.rank == 0 && (rename(link, away) || symlink("elsewhere", link) || symlink("checkpoint-20", last))) abort();
    reel_comm_barrier(&W);
    newest_is("a link to a checkpoint", dir, last, 20);
    TAP_OK(everyone(!save(dir, 30, ROWS, 2, &W)) && everyone(access(link, F_OK) != 0) && loads(away, ROWS), "retention removes a link, not what it points to");
    if (W.rank == 0 && rename(away, in("guests", "checkpoint-90"))) abort();
    reel_comm_barrier(&W);
    TAP_OK(says(reel_ckpt_resolve(dir, "latest", got, sizeof got, &step, &W), REEL_ECONFIG, "checkpoint-90 is of step 10"), "one with the name of another step is no latest");
    newest_is("it can be named", dir, in("guests", "checkpoint-90"), 10);
    if (W.rank == 0 && reel_file_write(in("guests", "checkpoint-40"), "", 0)) abort();
    reel_comm_barrier(&W);
    TAP_OK(says(save(dir, 40, ROWS, 2, &W), REEL_EIO, "checkpoint-40: exists and is not a folder"), "a name that a file has is said before anything is written");
}

/* ---- failures ---- */

static void failure(const char *what, const char *fault, const char *part)
{
    char spec_[64];
    const char *dir = in("fault", ".");
    reel_err e;

    snprintf(spec_, sizeof spec_, "%s:%d:1", fault, strcmp(fault, "ckpt_commit") ? W.size - 1 : 0);
    if (reel_fault_set(spec_)) abort();
    e = save(dir, 20, ROWS, 1, &W);
    TAP_OK(says(e, REEL_EIO, part) && everyone(!reel_is_dir(in("fault", "checkpoint-20.tmp")) &&
                                                !reel_is_dir(in("fault", "checkpoint-20"))) &&
               loads(in("fault", "checkpoint-10"), ROWS),
           "%s: same error everywhere, nothing left, the old one stays", what);
}

static void asynchronous(void)
{
    struct reel_ckpt_job *job, *pool;
    struct box b;
    reel_err e;

    box_open(&b, ROWS, W.rank, W.size);
    box_fill(&b);
    e = reel_ckpt_begin(&job, &(struct reel_ckpt_req){ in("async", "."), 1, b.set, NULL, 0, NULL, NULL }, &W);
    while (!e && job) usleep(200), e = reel_ckpt_poll(&job);
    TAP_OK(everyone(!e && !job) && loads(in("async", "checkpoint-1"), COLS), "asynchronous, finished by polling");
    e = reel_ckpt_finish(&job);
    TAP_OK(everyone(!e), "finishing nothing is nothing");
    e = reel_ckpt_pool_open(&pool, &b.set, &W);
    for (long step = 2; step < 5 && !e; step++) {
        e = reel_ckpt_begin(&job, &(struct reel_ckpt_req){ in("async", "."), step, b.set, NULL, 2, pool, NULL }, &W);
        if (!e) e = reel_ckpt_finish(&job);
    }
    TAP_OK(everyone(!e && !reel_is_dir(in("async", "checkpoint-2"))) && loads(in("async", "checkpoint-3"), COLS) && loads(in("async", "checkpoint-4"), ROWS),
           "three saves with one plan");
    reel_ckpt_pool_close(pool);
    b.t[0].n[0] = b.t[0].rows = (int64_t)1 << 20, b.t[0].n[1] = 1024, b.t[0].row0 = 0; /* one rank's 4 GiB, never touched */
    TAP_OK(says(reel_ckpt_pool_open(&pool, &b.set, &W), REEL_ECONFIG, "4 GiB or more") && !pool, "what an archive cannot hold is refused before the first step");
    box_close(&b);
}

/* ---- another program's checkpoint, read and written again ---- */

static void resave(void)
{
    char dir[PATH_MAX];
    struct reel_dcp *d, *d2;
    struct reel_ckpt_set set = { 0 };
    int bad = 0, n;

    snprintf(dir, sizeof dir, "%s/tests/golden/dcp/fsdp_1x4/checkpoint-3", getenv("REEL_SRC"));
    if (reel_dcp_open(&d, "/nonexistent")) reel_err_clear();
    snprintf(dir + strlen(dir), sizeof dir - strlen(dir), "/dcp");
    if (reel_dcp_open(&d, dir)) abort();
    n = reel_dcp_count(d);
    set.t = calloc((size_t)n, sizeof *set.t);
    for (int i = 0; i < n; i++) {
        const struct reel_dcp_entry *e = reel_dcp_entry(d, i);
        if (!e->type) continue;
        struct reel_ckpt_tensor *t = &set.t[set.n_t++];
        *t = (struct reel_ckpt_tensor){ .key = e->key, .dt = e->type->dt, .nd = e->nd };
        memcpy(t->n, e->n, sizeof t->n);
        cut_tensor(t, ROWS, W.rank, W.size);
        t->host = calloc((size_t)count(t) + 1, 8);
    }
    if (reel_ckpt_load(dir, &set, &W)) bad++;
    if (reel_ckpt_save(&(struct reel_ckpt_req){ in("resave", "."), 3, set, NULL, 0, NULL, NULL }, &W)) bad++;
    TAP_OK(everyone(!bad && set.n_t > 70), "%d tensors of a FastVideo checkpoint loaded and saved", set.n_t);
    if (reel_dcp_open(&d2, in("resave", "checkpoint-3/dcp"))) abort();
    for (int i = 0; i < set.n_t; i++) {
        const struct reel_dcp_entry *a = reel_dcp_find(d, set.t[i].key), *b = reel_dcp_find(d2, set.t[i].key);
        size_t bytes = (size_t)reel_pt_numel(a->n, a->nd) * (size_t)a->type->size;
        int64_t zero[8] = { 0 };
        char *x = malloc(bytes + 1), *y = malloc(bytes + 1);
        bad += !b || reel_dcp_read(d, a, zero, a->n, x) || reel_dcp_read(d2, b, zero, b->n, y) || memcmp(x, y, bytes) != 0;
        free(x), free(y), free(set.t[i].host);
    }
    TAP_OK(everyone(!bad), "and the copy is equal");
    reel_dcp_close(d), reel_dcp_close(d2);
    free(set.t);
}

static void test(void)
{
    round_trips();
    other_world();
    shares();
    strictness();
    whole();
    retention();
    guests();
    TAP_OK(everyone(!save(in("fault", "."), 10, ROWS, 0, &W)), "a checkpoint to lose");
    failure("a rank that cannot write", "ckpt_write", "__");
    failure("no commit", "ckpt_commit", "commit");
    asynchronous();
    resave();
}

/* ---- helper modes ---- */

static int helper(const char *mode, const char *dir)
{
    struct box b;
    struct reel_ckpt_job *job;
    char got[PATH_MAX];
    long step = -1;
    reel_err e = REEL_OK;

    if (strcmp(mode, "write") == 0) e = save(dir, 3, ROWS, 0, &W);
    if (strcmp(mode, "kill") == 0) {
        box_open(&b, ROWS, W.rank, W.size);
        box_fill(&b);
        e = reel_ckpt_begin(&job, &(struct reel_ckpt_req){ dir, 9, b.set, NULL, 0, NULL, NULL }, &W);
        if (W.rank == W.size - 1) raise(SIGKILL);
        if (!e) e = reel_ckpt_finish(&job);
    }
    if (strcmp(mode, "sweep") == 0) e = reel_ckpt_sweep(dir, &W);
    if (strcmp(mode, "latest") == 0) e = reel_ckpt_resolve(dir, "latest", got, sizeof got, &step, &W);
    if (strcmp(mode, "check") == 0) e = reel_ckpt_check(dir, stdout, &W);
    if (e && W.rank == 0) reel_err_print(reel_errrec());
    if (strcmp(mode, "latest") == 0 && W.rank == 0) printf("latest %ld\n", step);
    return e != REEL_OK;
}

int main(int argc, char **argv)
{
    int bad;

    if (reel_comm_start(&W, &argc, &argv)) return 1;
    tap_quiet = W.rank != 0;
    if (argc == 3) {
        bad = helper(argv[1], argv[2]);
        reel_comm_stop();
        return bad;
    }
    if (W.rank == 0) {
        snprintf(tmp, sizeof tmp, "%s/reel_t_ckpt_XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
        if (!mkdtemp(tmp)) return 1;
    }
    reel_comm_bcast(&W, tmp, sizeof tmp, 0);
    test();
    reel_comm_barrier(&W);
    if (W.rank == 0) (void)!reel_rmtree(tmp);
    reel_comm_stop();
    return tap_done();
}
