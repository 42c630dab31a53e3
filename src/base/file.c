#define _GNU_SOURCE
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define IO_MAX ((size_t)1 << 30) /* one system call moves at most this much */

reel_err reel_pread(int fd, void *dst, size_t bytes, uint64_t at, const char *path)
{
    size_t done = 0;

    while (done < bytes) {
        size_t want = bytes - done < IO_MAX ? bytes - done : IO_MAX;
        ssize_t k = pread(fd, (char *)dst + done, want, (off_t)(at + done));
        if (k < 0 && errno == EINTR) continue;
        if (k < 0)
            return REEL_FAIL(REEL_EIO, "%s: cannot read at byte %llu: %s", path,
                             (unsigned long long)(at + done), strerror(errno));
        if (k == 0)
            return REEL_FAIL(REEL_EIO, "%s: ends at byte %llu, %zu bytes at %llu were expected", path,
                             (unsigned long long)(at + done), bytes, (unsigned long long)at);
        done += (size_t)k;
    }
    return REEL_OK;
}

reel_err reel_write(int fd, const void *src, size_t bytes, const char *path)
{
    size_t done = 0;

    while (done < bytes) {
        size_t want = bytes - done < IO_MAX ? bytes - done : IO_MAX;
        ssize_t k = write(fd, (const char *)src + done, want);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return REEL_FAIL(REEL_EIO, "%s: cannot write: %s", path, strerror(errno));
        done += (size_t)k;
    }
    return REEL_OK;
}

reel_err reel_file_read(const char *path, char **data, size_t *bytes)
{
    struct stat st;
    reel_err e;
    int fd;

    *data = NULL;
    *bytes = 0;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) return REEL_FAIL(REEL_EIO, "%s: not a regular file", path); /* to open a pipe can take for ever */
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return REEL_FAIL(REEL_EIO, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0) {
        close(fd);
        return REEL_FAIL(REEL_EIO, "%s: %s", path, strerror(errno));
    }
    *data = malloc((size_t)st.st_size + 1);
    if (!*data) {
        close(fd);
        return REEL_FAIL(REEL_ENOMEM, "%s: no memory for its %lld bytes", path, (long long)st.st_size);
    }
    e = reel_pread(fd, *data, (size_t)st.st_size, 0, path);
    close(fd);
    if (e) {
        free(*data);
        *data = NULL;
        return e;
    }
    (*data)[st.st_size] = 0;
    *bytes = (size_t)st.st_size;
    return REEL_OK;
}

static reel_err write_synced(const char *path, const void *data, size_t bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    reel_err e;

    if (fd < 0) return REEL_FAIL(REEL_EIO, "%s: cannot create: %s", path, strerror(errno));
    e = reel_write(fd, data, bytes, path);
    if (!e && fsync(fd) != 0) e = REEL_FAIL(REEL_EIO, "%s: fsync: %s", path, strerror(errno));
    if (close(fd) != 0 && !e) e = REEL_FAIL(REEL_EIO, "%s: close: %s", path, strerror(errno));
    return e;
}

reel_err reel_file_write(const char *path, const void *data, size_t bytes)
{
    char tmp[PATH_MAX];
    reel_err e;

    if (snprintf(tmp, sizeof tmp, "%s.tmp", path) >= (int)sizeof tmp)
        return REEL_FAIL(REEL_EIO, "%s: path too long", path);
    e = write_synced(tmp, data, bytes);
    if (!e) e = reel_rename(tmp, path);
    if (e) unlink(tmp);
    return e;
}

void reel_parent(char *dir, const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash) snprintf(dir, PATH_MAX, ".");
    else snprintf(dir, PATH_MAX, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

reel_err reel_rename(const char *from, const char *to)
{
    char dir[PATH_MAX];

    if (rename(from, to) != 0) return REEL_FAIL(REEL_EIO, "%s: cannot rename to %s: %s", from, to, strerror(errno));
    reel_parent(dir, to);
    return reel_fsync_dir(dir);
}

reel_err reel_publish(const char *tmp, const char *path)
{
    int fd = open(tmp, O_WRONLY | O_CLOEXEC), bad = fd < 0 || fsync(fd) != 0, why = errno;

    if (fd >= 0 && close(fd) != 0 && !bad) bad = 1, why = errno;
    return bad ? REEL_FAIL(REEL_EIO, "%s: cannot sync: %s", tmp, strerror(why)) : reel_rename(tmp, path);
}

reel_err reel_file_probe(const char *path)
{
    char tmp[PATH_MAX];
    int fd;

    if (reel_is_dir(path)) return REEL_FAIL(REEL_EIO, "%s: is a folder; name a file to write", path);
    if (snprintf(tmp, sizeof tmp, "%s.tmp", path) >= (int)sizeof tmp)
        return REEL_FAIL(REEL_EIO, "%s: path too long", path);
    fd = open(tmp, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return REEL_FAIL(REEL_EIO, "%s: cannot write there: %s", path, strerror(errno));
    close(fd);
    unlink(tmp);
    return REEL_OK;
}

static int held(int fd) { return flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK; }

/* Who holds a lock: its file's one line. */
static void holder(int fd, char *who, size_t size)
{
    ssize_t n = pread(fd, who, size - 1, 0);

    who[n > 0 ? n : 0] = 0;
    who[strcspn(who, "\n")] = 0;
    if (!*who) snprintf(who, size, "another process");
}

/* For those who come later; a lock without a name is a lock all the same. */
static void sign(int fd)
{
    char host[65] = "", line[128];
    int n;

    gethostname(host, sizeof host - 1);
    n = snprintf(line, sizeof line, "process %ld on %s\n", (long)getpid(), host);
    if (ftruncate(fd, 0) || pwrite(fd, line, (size_t)n, 0) != n) errno = 0;
}

reel_err reel_file_lock(const char *path, double patience_s, int *fd)
{
    const struct timespec pause = { 0, 100 * 1000 * 1000 };
    double until = reel_now() + patience_s;
    char who[128];

    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*fd < 0) return REEL_FAIL(REEL_EIO, "%s: cannot open: %s", path, strerror(errno));
    for (int said = 0; held(*fd); said = 1) {
        holder(*fd, who, sizeof who);
        if (reel_now() >= until) {
            close(*fd);
            *fd = -1;
            return REEL_FAIL(REEL_ECONFIG, "%s: held by %s", path, who);
        }
        if (!said) fprintf(stderr, "reel: %s is held by %s: waiting up to %.0f s for its end\n", path, who, patience_s);
        nanosleep(&pause, NULL);
    }
    sign(*fd);
    return REEL_OK;
}

reel_err reel_stat(const char *path, struct stat *st, int *there)
{
    *there = stat(path, st) == 0;
    if (*there || errno == ENOENT || errno == ENOTDIR) return REEL_OK;
    return REEL_FAIL(REEL_EIO, "%s: cannot be looked at: %s", path, strerror(errno));
}

static reel_err make_one(const char *path)
{
    char parent[PATH_MAX];

    if (mkdir(path, 0777) != 0) return errno == EEXIST ? REEL_OK : REEL_FAIL(REEL_EIO, "%s: cannot make the folder: %s", path, strerror(errno));
    reel_parent(parent, path);
    return reel_fsync_dir(parent);
}

reel_err reel_mkdirs(const char *path)
{
    char p[PATH_MAX];

    if (snprintf(p, sizeof p, "%s", path) >= (int)sizeof p)
        return REEL_FAIL(REEL_EIO, "%s: path too long", path);
    for (char *s = p + 1;; s++) {
        char c = *s;
        if (c && c != '/') continue;
        *s = 0;
        REEL_TRY(make_one(p));
        if (!c) break;
        *s = c;
    }
    return reel_is_dir(path) ? REEL_OK : REEL_FAIL(REEL_EIO, "%s: exists and is not a folder", path);
}

static int rm_one(const char *path, const struct stat *st, int kind, struct FTW *f)
{
    (void)st;
    (void)kind;
    (void)f;
    return remove(path);
}

reel_err reel_rmtree(const char *path)
{
    struct stat st;

    if (lstat(path, &st) != 0 && errno == ENOENT) return REEL_OK;
    if (nftw(path, rm_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        return REEL_FAIL(REEL_EIO, "%s: cannot remove: %s", path, strerror(errno));
    return REEL_OK;
}

reel_err reel_fsync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int bad;

    if (fd < 0 && errno == EACCES) return REEL_OK; /* one may write into it, not read it */
    if (fd < 0) return REEL_FAIL(REEL_EIO, "%s: cannot open: %s", path, strerror(errno));
    /* some file systems cannot sync a folder, and each says so in its own words */
    bad = fsync(fd) != 0 && errno != EINVAL && errno != EBADF && errno != ENOTSUP && errno != ENOSYS ? errno : 0;
    close(fd);
    return bad ? REEL_FAIL(REEL_EIO, "%s: fsync: %s", path, strerror(bad)) : REEL_OK;
}

void reel_list_free(char **names, size_t n)
{
    while (n) free(names[--n]);
    free(names);
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int append(char ***names, size_t *n, const char *name)
{
    char **v = *n & (*n - 1) ? *names : realloc(*names, (*n ? 2 * *n : 1) * sizeof *v); /* doubles at powers of two */

    if (!v) return 0;
    *names = v;
    v[*n] = strdup(name);
    return v[*n] ? (++*n, 1) : 0;
}

reel_err reel_list_dir(const char *path, char ***names, size_t *n)
{
    DIR *d = opendir(path);
    int ok = 1;

    *names = NULL;
    *n = 0;
    if (!d) return REEL_FAIL(REEL_EIO, "%s: cannot list: %s", path, strerror(errno));
    for (struct dirent *f; ok && (f = readdir(d));)
        if (strcmp(f->d_name, ".") != 0 && strcmp(f->d_name, "..") != 0) ok = append(names, n, f->d_name);
    closedir(d);
    if (ok) return *n ? qsort(*names, *n, sizeof **names, by_text) : (void)0, REEL_OK;
    reel_list_free(*names, *n);
    *names = NULL;
    return REEL_FAIL(REEL_ENOMEM, "%s: no memory for its names", path);
}

int reel_ends(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && !strcmp(s + n - m, end);
}

int reel_is_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int reel_is_file(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

reel_err reel_join(char *dst, size_t size, const char *a, const char *b)
{
    int n = snprintf(dst, size, "%s/%s", a, b);

    return n < 0 || (size_t)n >= size ? REEL_FAIL(REEL_EIO, "%s/%s: path too long", a, b) : REEL_OK;
}
