/* Checkpoints under torture (t_torture.sh). Runs with interpose.so preloaded, which arms at one of the calls that change files.
 *     torture kills DIR [S]    one rank: a child is killed, or its power cut, at every call of every scene, or an error there is followed
 *                              by another start and then by a power cut; what is left resumes
 *     torture errors DIR [S]   N ranks: an error at every call of every rank, once and from then on; all ranks say the same, what is
 *                              left resumes
 *     torture bits DIR SEED    one rank: a flipped bit at every byte of the small files, at samples of the others, is found and named
 * S: every S-th case only. A scene: folders as they were, then one thing that a run does. A checkpoint's content is a formula of step and version. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/file.h"
#include "ckpt/ckpt.h"
#include "tap.h"

static struct reel_comm W;
static void (*arm)(const char *dir, const char *act, long at);
static long (*count)(void);
static void (*cut)(void);

static int everyone(int ok)
{
    int64_t bad = !ok;

    reel_comm_sum_i64(&W, &bad, 1);
    return bad == 0;
}

/* ---- what is saved ---- */

enum { N_T = 4, MOST = 40 * 24 };

struct box { struct reel_ckpt_tensor t[N_T]; struct reel_ckpt_object o[2]; struct reel_ckpt_set set; float host[N_T][MOST]; };

static float value(long step, int version, int tensor, int64_t e)
{
    long key[4] = { step, version, tensor, (long)e };

    return (float)(reel_crc32c(0, key, sizeof key) >> 8);
}

/* A matrix by rows, one that all have, one on the last rank, one of a single row. */
static struct box *box(void)
{
    static struct box b;
    static const char *const key[N_T] = { "roles.student.transformer.w", "roles.student.transformer.copy", "optimizers.student.state.transformer.w.exp_avg",
                                          "optimizers.student.state.transformer.w.step" };

    memset(&b, 0, sizeof b);
    for (int i = 0; i < N_T; i++) b.t[i] = (struct reel_ckpt_tensor){ .key = key[i], .dt = REEL_F32, .nd = 2, .n = { 40, 24 }, .rows = 40, .host = b.host[i] };
    b.t[0].row0 = 40 * W.rank / W.size;
    b.t[0].rows = 40 * (W.rank + 1) / W.size - b.t[0].row0;
    if (W.rank != W.size - 1) b.t[2].rows = 0;
    b.t[3].n[0] = 1, b.t[3].rows = 1;
    b.o[0] = (struct reel_ckpt_object){ .key = "schedulers.student.scheduler.last_epoch", .v = reel_val_int(0) };
    b.o[1] = (struct reel_ckpt_object){ .key = "dataloader._num_yielded", .v = reel_val_int(0) };
    b.set = (struct reel_ckpt_set){ b.t, N_T, b.o, 2 };
    return &b;
}

/* Fills it, or counts what differs. */
static int64_t visit(struct box *b, long step, int version, int check)
{
    int64_t bad = 0;

    for (int i = 0; i < N_T; i++)
        for (int64_t k = 0; k < b->t[i].rows * 24; k++) {
            float want = value(step, version, i, b->t[i].row0 * 24 + k);
            if (check) bad += memcmp(&b->host[i][k], &want, sizeof want) != 0;
            else b->host[i][k] = want;
        }
    for (int i = 0; i < 2; i++) {
        int64_t want = step * 100 + version * 10 + i;
        if (check) bad += b->o[i].v.kind != REEL_VAL_INT || b->o[i].v.u.i[0] != want;
        else b->o[i].v = reel_val_int(want);
    }
    return bad;
}

static reel_err save(const char *dir, long step, int version, int keep)
{
    struct box *b = box();

    visit(b, step, version, 0);
    return reel_ckpt_save(&(struct reel_ckpt_req){ dir, step, b->set, "{\"training\": {\"seed\": 7}}", keep, NULL, NULL }, &W);
}

/* As a resume loads it. */
static reel_err load(const char *ck, struct reel_ckpt_set *set)
{
    struct reel_ckpt *k;
    reel_err e;

    REEL_TRY(reel_ckpt_open(&k, ck, &W));
    e = reel_ckpt_read(k, set, 1);
    reel_ckpt_close(k);
    return e;
}

/* Version of a whole checkpoint, or -1. */
static int version_of(const char *ck, long step)
{
    struct box *b = box();

    if (load(ck, &b->set)) return -1;
    for (int v = 0; v < 2; v++)
        if (everyone(visit(b, step, v, 1) == 0)) return v;
    return -1;
}

/* ---- scenes ---- */

static reel_err act_first(const char *dir) { return save(dir, 30, 0, 0); }
static reel_err act_next(const char *dir) { return save(dir, 30, 0, 2); } /* removes the oldest */
static reel_err act_only(const char *dir) { return save(dir, 30, 0, 1); } /* removes all others */
static reel_err act_again(const char *dir) { return save(dir, 20, 1, 2); }
static reel_err act_start(const char *dir) { return reel_ckpt_sweep(dir, &W); }

static const struct scene {
    const char *name;
    reel_err (*act)(const char *dir);
    int earlier;    /* checkpoints 10 and 20 are there */
    int leftovers;  /* of killed runs; 20 only under the name that a replacement gave it */
    int no_swap;
    long before, after; /* newest, if nothing or everything of it happened; -1: none */
} scenes[] = {
    { "first save", act_first, 0, 0, 0, -1, 30 },
    { "save and retention", act_next, 1, 0, 0, 20, 30 },
    { "save, and no other is kept", act_only, 1, 0, 0, 20, 30 },
    { "same step again", act_again, 1, 0, 0, 20, 20 },
    { "same step again, no exchange of names", act_again, 1, 0, 1, 20, 20 },
    { "start after a crash", act_start, 1, 1, 0, 20, 20 },
};
enum { SCENES = sizeof scenes / sizeof *scenes };

static reel_err leave(const char *dir)
{
    char a[2 * PATH_MAX], b[2 * PATH_MAX];

    snprintf(a, sizeof a, "%s/checkpoint-20", dir), snprintf(b, sizeof b, "%s/checkpoint-20.old.tmp", dir);
    if (rename(a, b) != 0) return REEL_FAIL(REEL_EIO, "rename");
    snprintf(a, sizeof a, "%s/checkpoint-20.tmp/dcp", dir);
    REEL_TRY(reel_mkdirs(a));
    snprintf(a, sizeof a, "%s/checkpoint-5.tmp/dcp", dir);
    REEL_TRY(reel_mkdirs(a));
    snprintf(a, sizeof a, "%s/checkpoint-5.tmp/dcp/__0_0.distcp", dir);
    return reel_file_write(a, "half", 4);
}

/* A user's own file in the folder of a checkpoint. */
static reel_err put_note(const char *dir, long step)
{
    char path[2 * PATH_MAX];

    snprintf(path, sizeof path, "%s/checkpoint-%ld/notes.txt", dir, step);
    return reel_file_write(path, "mine", 4);
}

static int has_note(const char *dir, long step)
{
    char path[2 * PATH_MAX];

    snprintf(path, sizeof path, "%s/checkpoint-%ld/notes.txt", dir, step);
    return reel_is_file(path);
}

static const char *copy_from, *copy_to; /* of the walk below */

static int copy_one(const char *path, const struct stat *st, int kind, struct FTW *f)
{
    char to[2 * PATH_MAX], *data;
    size_t n;
    int fd;

    (void)st, (void)f;
    snprintf(to, sizeof to, "%s%s", copy_to, path + strlen(copy_from));
    if (kind == FTW_D) return mkdir(to, 0777) != 0 && errno != EEXIST;
    if (reel_file_read(path, &data, &n)) return 1;
    fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n) return 1;
    close(fd);
    free(data);
    return 0;
}

/* A template is made once and copied. */
static void set_up(const char *dir, const struct scene *s)
{
    char from[PATH_MAX + 8];
    reel_err e = REEL_OK;

    snprintf(from, sizeof from, "%s.from%d%d", dir, s->earlier, s->leftovers);
    if (!everyone(reel_is_dir(from))) {
        if (W.rank == 0) e = reel_mkdirs(from);
        e = reel_agree(&W, e);
        if (!e && s->earlier) e = save(from, 10, 0, 0);
        if (!e && s->earlier) e = save(from, 20, 0, 0);
        for (long k = 10; k <= 20 && !e && s->earlier && W.rank == 0; k += 10) e = put_note(from, k);
        if (!e && s->leftovers && W.rank == 0) e = leave(from);
        if (reel_agree(&W, e)) reel_err_print(reel_errrec()), abort();
    }
    copy_from = from, copy_to = dir;
    if (W.rank == 0 && (reel_rmtree(dir) || nftw(from, copy_one, 16, FTW_PHYS) != 0)) abort();
    reel_comm_barrier(&W);
}

static const char *act_of(const struct scene *s, const char *act)
{
    static char text[64];

    snprintf(text, sizeof text, "%s%s", s->no_swap ? "swap:EINVAL:" : "", act);
    return text;
}

/* ---- what is left ---- */

static char why[1200];

static int no_leftovers(const char *dir)
{
    char **names;
    size_t n, bad = 0;

    if (!reel_is_dir(dir)) return 1;
    if (reel_list_dir(dir, &names, &n)) return 0;
    for (size_t i = 0; i < n; i++) bad += strstr(names[i], ".tmp") != NULL;
    reel_list_free(names, n);
    return bad == 0;
}

/* The next start: cleans up, resumes from something whole that is as new as it must be, saves again. */
static int resumes(const char *dir, const struct scene *s, int done)
{
    char ck[PATH_MAX];
    long step = -2;
    int v = 0;

    reel_err_clear();
    snprintf(why, sizeof why, "cannot start");
    if (reel_ckpt_sweep(dir, &W) || reel_ckpt_resolve(dir, "latest", ck, sizeof ck, &step, &W)) return snprintf(why, sizeof why, "%s", reel_errrec()->msg), 0;
    if (step >= 0) v = version_of(ck, step);
    snprintf(why, sizeof why, "step %ld version %d: %s", step, v, reel_errrec()->msg);
    if (v < 0 || (step != s->before && step != s->after) || (done && step != s->after) || (done && s->act == act_again && v != 1)) return 0;
    if (!everyone(W.rank || no_leftovers(dir))) return snprintf(why, sizeof why, "temporary folders are left"), 0;
    if (s->earlier && !everyone(W.rank || (has_note(dir, 10) && has_note(dir, 20)))) return snprintf(why, sizeof why, "a user's file is gone"), 0;
    if (save(dir, 40, 0, 2)) return snprintf(why, sizeof why, "the next save: %s", reel_errrec()->msg), 0;
    return !reel_ckpt_resolve(dir, "latest", ck, sizeof ck, &step, &W) && step == 40 && version_of(ck, 40) == 0;
}

/* Lines about leftovers, thousands of them, go nowhere; a copy of stderr. */
static int hush(void)
{
    int null = open("/dev/null", O_WRONLY), err = dup(2);

    fflush(stderr);
    dup2(null, 2);
    close(null);
    return err;
}

/* ---- one rank: killed at every call ---- */

/* 1: it came to its end; which for "power" shows in the number of calls alone. */
static int child(const char *dir, const struct scene *s, const char *act, long at)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        arm(dir, act_of(s, act), at);
        int failed = s->act(dir) != REEL_OK, eio = !strncmp(act, "EIO", 3);
        if (eio) (void)!reel_ckpt_sweep(dir, &W); /* the next start finds the folders as the kernel knows them, not the disk */
        if (eio || (!failed && !strcmp(act, "power"))) cut(); /* what it said is done stays done */
        _exit(failed);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) abort();
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* What a library would do, then reel_publish. */
static reel_err by_library(const char *path)
{
    char tmp[2 * PATH_MAX];
    int fd;

    snprintf(tmp, sizeof tmp, "%s.part", path);
    fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || write(fd, "all of it", 9) != 9 || close(fd)) abort();
    return reel_publish(tmp, path);
}

static reel_err at_once(const char *path) { return reel_file_write(path, "all of it", 9); }

/* A file that was said to be there is there, whole, after the power was cut. */
static void published(const char *dir)
{
    static reel_err (*const ways[])(const char *) = { at_once, by_library };
    char folder[2 * PATH_MAX], path[3 * PATH_MAX], *data;
    size_t n;
    int bad = 0;

    snprintf(folder, sizeof folder, "%s/checkpoint-films", dir);
    snprintf(path, sizeof path, "%s/new/film.mp4", folder);
    for (int i = 0; i < 2; i++) {
        pid_t pid;
        int status;
        if (reel_rmtree(folder) || reel_mkdirs(folder)) abort();
        pid = fork();
        if (pid == 0) {
            char *slash = strrchr(path, '/');
            arm(dir, "power", 1000);
            *slash = 0;
            if (reel_mkdirs(path)) abort();
            *slash = '/';
            if (ways[i](path)) abort();
            cut();
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid) abort();
        bad += reel_file_read(path, &data, &n) || n != 9;
        free(data);
    }
    TAP_OK(!bad, "a file that was published, and its folder, outlast a power cut: %s", bad ? reel_errrec()->msg : "two ways");
    reel_err_clear();
}

static long calls(const char *dir, const struct scene *s)
{
    long n;
    reel_err e;

    set_up(dir, s);
    arm(dir, act_of(s, "count"), 0);
    e = s->act(dir);
    n = count();
    arm("", "count", 0);
    return e ? 0 : n;
}

static void kills(const char *dir, long every)
{
    static const char *const acts[] = { "kill", "power", "EIO", "EIO+" },
                      *const what[] = { "killed", "power is cut", "an error, a start, then power is cut", "errors, a start, then power is cut" };
    long all = 0, met = 0;
    int err = hush();

    published(dir);
    for (int i = 0; i < SCENES; i++) {
        const struct scene *s = &scenes[i];
        long n = calls(dir, s);
        for (int a = 0; a < 4; a++) {
            int bad = n == 0;
            for (long k = 1; k <= n + 1; k++) {
                int end;
                if (met++ % every) continue;
                set_up(dir, s);
                end = child(dir, s, acts[a], k);
                all += !end;
                if (end == (k > n && a == 0) && resumes(dir, s, k > n && a < 2)) continue;
                if (!bad++) printf("# %s at call %ld of %ld: %s\n", acts[a], k, n, why);
            }
            TAP_OK(!bad, "%s: %s at %s of %ld calls: the next start resumes", s->name, what[a], every > 1 ? "a sample" : "each", n);
        }
    }
    dup2(err, 2);
    printf("# %ld kills\n", all);
}

/* ---- N ranks: errors at every call of each ---- */

/* Every rank has the same code and the same words. */
static int alike(reel_err e)
{
    int64_t first[2] = { (int64_t)e, e ? reel_crc32c(0, reel_errrec()->msg, strlen(reel_errrec()->msg)) : 0 }, mine[2] = { first[0], first[1] };

    reel_comm_bcast(&W, first, sizeof first, 0);
    return everyone(memcmp(first, mine, sizeof mine) == 0);
}

static int survives(const char *dir, const struct scene *s, const char *act, int rank, long k)
{
    static const struct { const char *act; int err; } errs[] = { { "ENOSPC", ENOSPC }, { "EIO", EIO }, { "EDQUOT", EDQUOT } };
    char msg[REEL_ERR_MSG];
    reel_err e;
    int same, named = 0;

    set_up(dir, s);
    reel_err_clear();
    arm(W.rank == rank ? dir : "", act_of(s, act), k);
    e = s->act(dir);
    snprintf(msg, sizeof msg, "%s", e ? reel_errrec()->msg : "");
    same = alike(e);
    arm("", "count", 0);
    reel_err_clear();
    if (!same) return snprintf(why, sizeof why, "ranks disagree: %s", msg), 0;
    for (size_t i = 0; i < sizeof errs / sizeof *errs; i++) named |= !strncmp(act, errs[i].act, strlen(errs[i].act)) && strstr(msg, strerror(errs[i].err));
    named |= !strcmp(act, "short+") && strstr(msg, strerror(ENOSPC));
    if (e && (!named || !strstr(msg, dir))) return snprintf(why, sizeof why, "does not say what and where: %s", msg), 0;
    return resumes(dir, s, !e && s->act != act_start);
}

static void errors(const char *dir, long every)
{
    static const char *const acts[] = { "ENOSPC", "EIO", "EDQUOT", "short", "ENOSPC+", "EIO+", "EDQUOT+", "short+" };
    long all = 0, met = 0;
    int err = hush();

    for (int i = 0; i < SCENES; i++) {
        const struct scene *s = &scenes[i];
        int64_t n[64] = { 0 }, sum = 0;
        int bad = 0;
        n[W.rank] = calls(dir, s);
        reel_comm_sum_i64(&W, n, W.size);
        for (int r = 0; r < W.size; r++) {
            sum += n[r];
            for (size_t a = 0; a < sizeof acts / sizeof *acts; a++)
                for (long k = 1; k <= n[r]; k++)
                    if (met++ % every == 0 && ++all && !survives(dir, s, acts[a], r, k) && !bad++ && !W.rank)
                        printf("# %s at call %ld of %ld of rank %d: %s\n", acts[a], k, (long)n[r], r, why);
        }
        TAP_OK(!bad && sum, "%s: %zu kinds of error at %s of %ld calls of %d rank%s: one message, the next start resumes", s->name,
               sizeof acts / sizeof *acts, every > 1 ? "a sample" : "each", (long)sum, W.size, W.size > 1 ? "s" : "");
    }
    dup2(err, 2);
    if (!W.rank) printf("# %ld errors\n", all);
}

/* ---- one rank: flipped bits ---- */

static int found(const char *dir, const char *path, long at, int bit)
{
    char ck[PATH_MAX], c;
    struct box *b = box();
    long step;
    int fd = open(path, O_RDWR), ok;
    const char *name = strrchr(path, '/') + 1;

    if (fd < 0 || pread(fd, &c, 1, at) != 1) abort();
    c ^= (char)(1 << bit);
    if (pwrite(fd, &c, 1, at) != 1) abort();
    reel_err_clear();
    b->set.n_t = (int)(at % (N_T + 1)), b->set.n_o = (int)(at % 3); /* what is not asked for is no less whole */
    ok = reel_ckpt_resolve(dir, "latest", ck, sizeof ck, &step, &W) || (step == 30 && load(ck, &b->set));
    ok = ok && strstr(reel_errrec()->msg, name);
    if (!ok) snprintf(why, sizeof why, "byte %ld bit %d: %s", at, bit, reel_errrec()->msg);
    reel_err_clear();
    c ^= (char)(1 << bit);
    if (pwrite(fd, &c, 1, at) != 1) abort();
    close(fd);
    return ok;
}

static void bits(const char *dir, unsigned seed)
{
    static const char *const files[] = { "commit.json", "metadata.json", "dcp/.metadata", "dcp/__0_0.distcp" };
    long all = 0;

    srand(seed);
    if (save(dir, 30, 0, 0)) abort();
    for (int i = 0; i < 4; i++) {
        char path[PATH_MAX];
        struct stat st;
        long n = 0, bad = 0, stride;
        snprintf(path, sizeof path, "%s/checkpoint-30/%s", dir, files[i]);
        if (stat(path, &st) != 0) abort();
        stride = 1 + st.st_size / 1500;
        for (long at = 0; at < st.st_size; at += stride, n++) {
            long p = at + rand() % stride;
            if (p < st.st_size && !found(dir, path, p, rand() % 8) && !bad++) printf("# %s: %s\n", files[i], why);
        }
        all += n;
        TAP_OK(!bad && n, "%s: each of %ld flipped bits (%ld bytes) is found before training starts, and the file is named", files[i], n, (long)st.st_size);
    }
    printf("# %ld bits\n", all);
}

int main(int argc, char **argv)
{
    long number;

    if (reel_comm_start(&W, &argc, &argv)) return 1;
    tap_quiet = W.rank != 0;
    *(void **)&arm = dlsym(RTLD_DEFAULT, "interpose_arm");
    *(void **)&cut = dlsym(RTLD_DEFAULT, "interpose_cut");
    *(void **)&count = dlsym(RTLD_DEFAULT, "interpose_count");
    if (!arm || !count || !cut || argc < 3) return fprintf(stderr, "usage: LD_PRELOAD=interpose.so torture kills|errors DIR [S] | bits DIR SEED\n"), 2;
    number = argc > 3 ? atol(argv[3]) : 1;
    if (!strcmp(argv[1], "kills")) kills(argv[2], number);
    else if (!strcmp(argv[1], "errors")) errors(argv[2], number);
    else bits(argv[2], (unsigned)number);
    reel_comm_stop();
    return tap_done();
}
