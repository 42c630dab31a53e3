/* Removing checkpoints, and nothing else: what somebody put into such a folder stays. */
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "ckpt/ckpt_priv.h"

/* Files of a checkpoint, and those that a write had not renamed yet; rng_state is FastVideo's. */
static int is_ours(const char *name)
{
    static const char *const ours[] = { CKPT_MARKER, CKPT_MARKER ".tmp", "metadata.json", "metadata.json.tmp", ".metadata", ".metadata.tmp",
                                        "__*_*.distcp", "rng_state*.pt" };

    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (fnmatch(ours[i], name, FNM_PERIOD) == 0) return 1;
    return 0;
}

/* Held open by somebody, on NFS: gone when that ends. */
static int is_ghost(const char *name) { return strncmp(name, ".nfs", 4) == 0; }

static int is_folder(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static reel_err failed(const char *path) { return REEL_FAIL(REEL_EIO, "%s: cannot remove: %s", path, strerror(errno)); }

static reel_err clear(const char *dir, int level, int *rest);

static reel_err clear_one(const char *dir, const char *name, int level, int *rest)
{
    char path[PATH_MAX];

    REEL_TRY(reel_join(path, sizeof path, dir, name));
    if (is_folder(path)) return level == 0 && strcmp(name, "dcp") == 0 ? clear(path, 1, rest) : (++*rest, REEL_OK);
    if (!is_ours(name)) *rest += !is_ghost(name);
    else if (unlink(path) != 0) return failed(path);
    return REEL_OK;
}

static reel_err clear(const char *dir, int level, int *rest)
{
    int before = *rest;
    char **names;
    size_t n;
    reel_err e = REEL_OK;

    REEL_TRY(reel_list_dir(dir, &names, &n));
    for (size_t i = 0; i < n && !e; i++) e = clear_one(dir, names[i], level, rest);
    reel_list_free(names, n);
    return e || *rest > before ? e : rmdir(dir) == 0 ? REEL_OK : failed(dir);
}

reel_err ckpt_remove(const char *dir, int *rest)
{
    struct stat st;

    *rest = 0;
    if (lstat(dir, &st) != 0) return errno == ENOENT ? REEL_OK : failed(dir);
    if (S_ISDIR(st.st_mode)) return clear(dir, 0, rest);
    return S_ISLNK(st.st_mode) && unlink(dir) == 0 ? REEL_OK : failed(dir);
}

/* What is left of `dir`, one by one into `home`. */
static reel_err take_home(const char *dir, const char *home)
{
    char **names, from[PATH_MAX], to[PATH_MAX];
    size_t n;
    reel_err e = REEL_OK;

    if (!reel_is_dir(home)) return reel_rename(dir, home);
    REEL_TRY(reel_list_dir(dir, &names, &n));
    for (size_t i = 0; i < n && !e; i++) {
        e = reel_join(from, sizeof from, dir, names[i]);
        if (!e) e = reel_join(to, sizeof to, home, names[i]);
        if (!e) e = reel_rename(from, to);
    }
    reel_list_free(names, n);
    return e ? e : rmdir(dir) == 0 ? REEL_OK : failed(dir);
}

reel_err ckpt_forget(const char *dir, const char *home)
{
    int rest;

    REEL_TRY(ckpt_remove(dir, &rest));
    if (!rest) return REEL_OK;
    REEL_TRY(take_home(dir, home));
    fprintf(stderr, "reel: %s: what is not a checkpoint's stays there\n", home);
    return REEL_OK;
}
