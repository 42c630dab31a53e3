/* Preloaded into a program (LD_PRELOAD): counts its calls that change files of checkpoints below one folder, and at the k-th of
 * them lets something happen. A program that is armed by its environment:
 *     INTERPOSE_DIR   output folder, absolute     INTERPOSE_RANK   the rank that is meant (PMI_RANK); absent: every one
 *     INTERPOSE_ACT   what happens                INTERPOSE_AT     k, from 1
 *     INTERPOSE_PIDS  file that every rank adds its process to, for "all"
 *     INTERPOSE_LAZY  nothing is synced in earnest: only "power" would see it
 *     INTERPOSE_WHOLE every file below the folder counts, not checkpoints alone
 *     INTERPOSE_SUM   file that gets the number of calls at the end, and what the k-th does: grows, names or ends
 * or calls interpose_arm. Acts:
 *     kill     SIGKILL before the call; in the middle of it for a write
 *     all      the same for every process of INTERPOSE_PIDS
 *     power    kill, and what was not synced is gone: data are cut to half, names are undone
 *     slow     the call takes INTERPOSE_S seconds, else 5
 *     stuck    the call never returns
 *     short    a write that takes half of its bytes
 *     ENOSPC, EIO, EDQUOT, EINVAL   the call fails and does nothing; close closes, and like fsync it loses half of the data
 *     unseen   from the k-th look (stat) at anything there on, ESTALE
 *     swap:EINVAL  every exchange of names fails, whatever k
 * and with "+": from then on. After a short write "+" means ENOSPC, ENOSPC+ and EDQUOT+ spare removing and renaming, EIO+ nothing. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

void interpose_arm(const char *dir, const char *act, long at);
long interpose_count(void);
void interpose_cut(void); /* the power, now */

enum { FDS = 1024, FILES = 256, JOURNAL = 1024 };
enum act { PASS, KILL, ALL, POWER, SLOW, STUCK, SHORT, UNSEEN, FAIL };
enum op { GROWS, NAMES, ENDS }; /* needs space; renames or removes; closes */
enum entry_kind { MADE, RENAMED, SWAPPED };

static struct {
    char dir[PATH_MAX], pids[PATH_MAX];
    enum act act;
    int err, sticky, no_swap, lazy, whole;
    unsigned slow_s;
    long at;
    atomic_long n;
    pthread_mutex_t lock;
    char *fd[FDS];
    struct { char *path; int dirty; } file[FILES];
    struct entry { enum entry_kind kind; char *a, *b, *parent; } journal[JOURNAL];
    int n_journal;
    const char *struck; /* the kind of call that was the k-th */
} I = { .lock = PTHREAD_MUTEX_INITIALIZER };

#define REAL(type, name, args) ((type(*) args)real(name))
static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static const struct { const char *name; int err; } errors[] = { { "ENOSPC", ENOSPC }, { "EIO", EIO }, { "EDQUOT", EDQUOT }, { "EINVAL", EINVAL } };

void interpose_arm(const char *dir, const char *act, long at)
{
    static const char *const names[] = { [PASS] = "count", [KILL] = "kill",   [ALL] = "all",     [POWER] = "power",
                                         [SLOW] = "slow",  [STUCK] = "stuck", [SHORT] = "short", [UNSEEN] = "unseen" };
    size_t len;

    pthread_mutex_lock(&I.lock);
    snprintf(I.dir, sizeof I.dir, "%s", dir);
    I.no_swap = !strncmp(act, "swap:", 5);
    if (I.no_swap) act = strchr(act + 5, ':') ? strchr(act + 5, ':') + 1 : "count";
    len = strlen(act);
    I.sticky = len && act[len - 1] == '+';
    len -= (size_t)I.sticky;
    I.act = PASS;
    for (int i = PASS; i <= UNSEEN; i++)
        if (strlen(names[i]) == len && !strncmp(act, names[i], len)) I.act = (enum act)i;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (strlen(errors[i].name) == len && !strncmp(act, errors[i].name, len)) I.act = FAIL, I.err = errors[i].err;
    I.at = at;
    I.n_journal = 0;
    memset(I.file, 0, sizeof I.file);
    atomic_store(&I.n, 0);
    pthread_mutex_unlock(&I.lock);
}

long interpose_count(void) { return atomic_load(&I.n); }

__attribute__((constructor)) static void start(void)
{
    const char *dir = getenv("INTERPOSE_DIR"), *act = getenv("INTERPOSE_ACT"), *at = getenv("INTERPOSE_AT"), *rank = getenv("INTERPOSE_RANK"),
               *mine = getenv("PMI_RANK"), *pids = getenv("INTERPOSE_PIDS");
    char line[32];

    I.lazy = getenv("INTERPOSE_LAZY") != NULL;
    I.slow_s = getenv("INTERPOSE_S") ? (unsigned)atoi(getenv("INTERPOSE_S")) : 5;
    I.whole = getenv("INTERPOSE_WHOLE") != NULL;
    if (!dir || !mine) return;
    if (pids) {
        int fd = open(pids, O_WRONLY | O_CREAT | O_APPEND, 0666);
        snprintf(I.pids, sizeof I.pids, "%s", pids);
        if (write(fd, line, (size_t)snprintf(line, sizeof line, "%d\n", (int)getpid())) < 0) abort();
        close(fd);
    }
    if (!rank || !strcmp(rank, mine)) interpose_arm(dir, act ? act : "count", at ? atol(at) : 0);
}

__attribute__((destructor)) static void sum_up(void)
{
    const char *path = *I.dir ? getenv("INTERPOSE_SUM") : NULL;
    FILE *f = path ? fopen(path, "w") : NULL;

    if (f) fprintf(f, "%ld %s\n", interpose_count(), I.struck ? I.struck : "none"), fclose(f);
}

/* ---- what counts ---- */

static int counts(const char *path)
{
    size_t n = strlen(I.dir);

    return n && !strncmp(path, I.dir, n) && (!path[n] || (I.whole ? path[n] == '/' : !strncmp(path + n, "/checkpoint-", 12)));
}

static const char *path_of(int fd) { return fd >= 0 && fd < FDS ? I.fd[fd] : NULL; }

/* ---- what had reached the disk ---- */

static char *parent_of(const char *path)
{
    char *p = strdup(path), *slash = strrchr(p, '/');

    if (slash) *slash = 0;
    return p;
}

static void note(enum entry_kind kind, const char *a, const char *b)
{
    pthread_mutex_lock(&I.lock);
    if (I.n_journal < JOURNAL) I.journal[I.n_journal++] = (struct entry){ kind, strdup(a), b ? strdup(b) : NULL, parent_of(a) };
    pthread_mutex_unlock(&I.lock);
}

static void dirty(const char *path, int is)
{
    pthread_mutex_lock(&I.lock);
    for (int i = 0; i < FILES; i++) {
        if (!I.file[i].path) I.file[i].path = strdup(path);
        if (strcmp(I.file[i].path, path) != 0) continue;
        I.file[i].dirty = is;
        break;
    }
    pthread_mutex_unlock(&I.lock);
}

/* A path at or below a, as one at or below b. */
static char *follow(char *path, const char *a, const char *b)
{
    size_t n = strlen(a);
    char to[2 * PATH_MAX];

    if (!path || strncmp(path, a, n) != 0 || (path[n] && path[n] != '/')) return path;
    snprintf(to, sizeof to, "%s%s", b, path + n);
    return strdup(to);
}

/* Files below a follow it to b. */
static void moved(const char *a, const char *b)
{
    pthread_mutex_lock(&I.lock);
    for (int i = 0; i < FILES && I.file[i].path; i++) I.file[i].path = follow(I.file[i].path, a, b);
    pthread_mutex_unlock(&I.lock);
}

/* A folder has its new name for good: what was done in it before is undone there. */
static void settle(const struct entry *move, int n)
{
    for (int i = 0; i < n; i++) {
        struct entry *e = &I.journal[i];
        char **path[] = { &e->a, &e->b, &e->parent };
        for (int k = 0; k < 3; k++) {
            char *was = *path[k];
            *path[k] = follow(was, move->a, move->b);
            if (move->kind == SWAPPED && *path[k] == was) *path[k] = follow(was, move->b, move->a);
        }
    }
}

static void synced(const char *dir)
{
    int n = 0;

    pthread_mutex_lock(&I.lock);
    for (int i = 0; i < I.n_journal; i++) {
        struct entry e = I.journal[i];
        if (strcmp(e.parent, dir) != 0) I.journal[n++] = e;
        else if (e.kind != MADE) settle(&e, n);
    }
    I.n_journal = n;
    pthread_mutex_unlock(&I.lock);
}

static void unmake(const char *path)
{
    DIR *d = opendir(path);
    char below[2 * PATH_MAX];

    for (struct dirent *f; d && (f = readdir(d));) {
        if (!strcmp(f->d_name, ".") || !strcmp(f->d_name, "..")) continue;
        snprintf(below, sizeof below, "%s/%s", path, f->d_name);
        unmake(below);
    }
    if (d) closedir(d);
    REAL(int, "remove", (const char *))(path);
}

/* What a device that fails keeps of a file. */
static void halve(const char *path)
{
    struct stat st;

    if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) (void)!REAL(int, "truncate", (const char *, off_t))(path, st.st_size / 2);
}

static void lose(void)
{
    pthread_mutex_lock(&I.lock); /* for good */
    for (int i = 0; i < FILES && I.file[i].path; i++)
        if (I.file[i].dirty) halve(I.file[i].path);
    for (int i = I.n_journal; i--;) {
        const struct entry *e = &I.journal[i];
        if (e->kind == MADE) unmake(e->a);
        if (e->kind == RENAMED) REAL(int, "rename", (const char *, const char *))(e->b, e->a);
        if (e->kind == SWAPPED) REAL(int, "renameat2", (int, const char *, int, const char *, unsigned))(AT_FDCWD, e->a, AT_FDCWD, e->b, RENAME_EXCHANGE);
    }
}

/* ---- what happens ---- */

static void die(enum act act)
{
    FILE *f = act == ALL ? fopen(I.pids, "r") : NULL;
    int pid;

    if (act == POWER) lose();
    while (f && fscanf(f, "%d", &pid) == 1)
        if (pid != getpid()) kill(pid, SIGKILL);
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

void interpose_cut(void) { die(POWER); }

/* One more call: what becomes of it. */
static enum act turn(enum op op)
{
    static const char *const kinds[] = { [GROWS] = "grows", [NAMES] = "names", [ENDS] = "ends" };
    long n;

    if (I.act == UNSEEN) return PASS;
    n = atomic_fetch_add(&I.n, 1) + 1;
    if (I.at && n == I.at) I.struck = kinds[op];
    if (I.at && I.act == SLOW && (n == I.at || (I.sticky && n > I.at))) return sleep(I.slow_s), PASS;
    if (I.at && n == I.at && I.act == STUCK) for (;;) pause();
    if (I.at && n == I.at) return I.act;
    if (!I.at || n < I.at || !I.sticky) return PASS;
    if (I.act == SHORT) I.err = ENOSPC;
    return I.err == EIO || op == GROWS ? FAIL : PASS;
}

/* A call that does all or nothing: 1 if it fails. */
static int fails(enum op op)
{
    enum act a = turn(op);

    if (a == KILL || a == ALL || a == POWER) die(a);
    if (a == FAIL) errno = I.err;
    return a == FAIL;
}

/* ---- the calls ---- */

static int opened(const char *path, int flags, mode_t mode)
{
    int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...))real("open");
    int writes = flags & (O_WRONLY | O_RDWR | O_CREAT | O_DIRECTORY), fd, is_new;

    if (!writes || !counts(path)) return next(path, flags, mode);
    if (fails(GROWS)) return -1;
    is_new = flags & O_CREAT && access(path, F_OK) != 0;
    fd = next(path, flags, mode);
    if (fd < 0 || fd >= FDS) return fd;
    free(I.fd[fd]);
    I.fd[fd] = strdup(path);
    if (is_new) note(MADE, path, NULL);
    return fd;
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;

    va_start(ap, flags);
    mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return opened(path, flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open"))); /* off_t has 64 bits in both */

enum { APPEND = -1 };

static ssize_t pass_on(int fd, const void *p, size_t n, off_t at)
{
    if (at == APPEND) return REAL(ssize_t, "write", (int, const void *, size_t))(fd, p, n);
    return REAL(ssize_t, "pwrite", (int, const void *, size_t, off_t))(fd, p, n, at);
}

static ssize_t write_at(int fd, const void *p, size_t n, off_t at)
{
    enum act a;

    if (!path_of(fd)) return pass_on(fd, p, n, at);
    a = turn(GROWS);
    if (a == FAIL) return errno = I.err, -1;
    dirty(path_of(fd), 1);
    if (a == SHORT) return pass_on(fd, p, (n + 1) / 2, at);
    if (a == PASS) return pass_on(fd, p, n, at);
    (void)!pass_on(fd, p, n / 2, at);
    die(a);
    return -1;
}

ssize_t write(int fd, const void *p, size_t n) { return write_at(fd, p, n, APPEND); }
ssize_t pwrite(int fd, const void *p, size_t n, off_t at) { return write_at(fd, p, n, at); }
ssize_t pwrite64(int fd, const void *p, size_t n, off_t at) __attribute__((alias("pwrite")));

static int sync_as(const char *name, int fd)
{
    const char *path = path_of(fd);
    struct stat st;
    int e;

    if (path && fails(GROWS)) return halve(path), errno = I.err, -1;
    e = path && I.lazy ? 0 : REAL(int, name, (int))(fd);
    if (!path || e) return e;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) synced(path);
    else dirty(path, 0);
    return e;
}

int fsync(int fd) { return sync_as("fsync", fd); }
int fdatasync(int fd) { return sync_as("fdatasync", fd); }

int close(int fd)
{
    int bad = path_of(fd) && fails(ENDS), why = errno, e;

    if (path_of(fd)) {
        if (bad) halve(path_of(fd));
        free(I.fd[fd]);
        I.fd[fd] = NULL;
    }
    e = REAL(int, "close", (int))(fd);
    return bad ? errno = why, -1 : e;
}

int ftruncate(int fd, off_t n)
{
    if (path_of(fd) && fails(GROWS)) return -1;
    return REAL(int, "ftruncate", (int, off_t))(fd, n);
}

int ftruncate64(int fd, off_t n) __attribute__((alias("ftruncate")));

int link(const char *a, const char *b)
{
    if (counts(b) && fails(GROWS)) return -1;
    return REAL(int, "link", (const char *, const char *))(a, b);
}

int mkdir(const char *path, mode_t mode)
{
    int e;

    if (counts(path) && fails(GROWS)) return -1;
    e = REAL(int, "mkdir", (const char *, mode_t))(path, mode);
    if (e == 0 && counts(path)) note(MADE, path, NULL);
    return e;
}

int rename(const char *a, const char *b)
{
    int e;

    if (counts(a) && fails(NAMES)) return -1;
    e = REAL(int, "rename", (const char *, const char *))(a, b);
    if (e || !counts(a)) return e;
    moved(a, b);
    note(RENAMED, a, b);
    return e;
}

int renameat2(int da, const char *a, int db, const char *b, unsigned flags)
{
    int e;

    if (counts(a) && fails(NAMES)) return -1;
    if (I.no_swap) return errno = EINVAL, -1;
    e = REAL(int, "renameat2", (int, const char *, int, const char *, unsigned))(da, a, db, b, flags);
    if (e == 0 && counts(a)) {
        char other[] = "/dev/null/swap";
        moved(a, other), moved(b, a), moved(other, b);
        note(SWAPPED, a, b);
    }
    return e;
}

int stat(const char *path, struct stat *st)
{
    if (I.act == UNSEEN && counts(path) && atomic_fetch_add(&I.n, 1) + 1 >= I.at) return errno = ESTALE, -1;
    return REAL(int, "stat", (const char *, struct stat *))(path, st);
}

#define REMOVES(name)                                                                                                  \
    int name(const char *path)                                                                                        \
    {                                                                                                                 \
        if (counts(path) && fails(NAMES)) return -1;                                                                  \
        return REAL(int, #name, (const char *))(path);                                                                \
    }
REMOVES(unlink)
REMOVES(rmdir)
REMOVES(remove)
