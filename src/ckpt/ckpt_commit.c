/* What rank 0 does with a checkpoint as a whole: commit it, make room, clean up after runs that were killed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "ckpt/ckpt_priv.h"

/* The disk space of old folders is not worth a stop. */
static void warn(reel_err e)
{
    if (!e) return;
    fprintf(stderr, "reel: warning: %s\n", reel_errrec()->msg);
    reel_err_clear();
}

static reel_err write_marker(const struct reel_ckpt_job *j)
{
    struct ckpt_marker m = { 0 };
    char name[64];
    reel_err e;

    ckpt_marker_add(&m, "metadata.json", &j->text[0]);
    ckpt_marker_add(&m, "dcp/.metadata", &j->text[1]);
    for (int r = 0; r < j->world->size; r++) {
        snprintf(name, sizeof name, "dcp/__%d_0.distcp", r);
        if (j->all[r].there) ckpt_marker_add(&m, name, &j->all[r]);
    }
    e = ckpt_marker_write(&m, j->tmp);
    ckpt_marker_free(&m);
    return e;
}

/* A file system that cannot exchange names: between the two renames the old one waits under a name that the next start
 * knows (ckpt_sweep). */
static reel_err replace(const struct reel_ckpt_job *j)
{
    char old[PATH_MAX + 16];
    reel_err e;

    snprintf(old, sizeof old, "%s.old.tmp", j->final);
    warn(ckpt_forget(old, j->final));
    REEL_TRY(reel_rename(j->final, old));
    e = reel_rename(j->tmp, j->final);
    if (e && !reel_is_dir(j->final)) (void)!rename(old, j->final);
    if (!e) warn(ckpt_forget(old, j->final));
    return e;
}

/* The new folder under its name; one that stood there (the same step, saved again) goes away. */
static reel_err publish(struct reel_ckpt_job *j)
{
    if (!reel_is_dir(j->final)) return reel_rename(j->tmp, j->final);
    if (renameat2(AT_FDCWD, j->tmp, AT_FDCWD, j->final, RENAME_EXCHANGE) != 0) return replace(j);
    j->in_doubt = 1;
    REEL_TRY(reel_fsync_dir(j->req.output_dir));
    j->in_doubt = 0;
    warn(ckpt_forget(j->tmp, j->final));
    return REEL_OK;
}

/* First under a name that no resume looks at, for good: half of it must not come back after a power cut. */
static reel_err retire(const char *path)
{
    char gone[PATH_MAX + 8];

    snprintf(gone, sizeof gone, "%s.tmp", path);
    REEL_TRY(ckpt_forget(gone, path));
    REEL_TRY(reel_rename(path, gone));
    return ckpt_forget(gone, path);
}

/* All but the newest `keep` complete ones go; the one just written counts first, whatever the numbers of others. */
static reel_err prune(const struct reel_ckpt_job *j)
{
    char path[PATH_MAX];
    long *step;
    int n, kept = 1;
    reel_err e = REEL_OK;

    if (j->req.keep <= 0) return REEL_OK;
    REEL_TRY(ckpt_list(j->req.output_dir, &step, &n));
    for (int i = n - 1; i >= 0 && !e; i--) {
        if (step[i] == j->req.step) continue;
        snprintf(path, sizeof path, "%.*s/checkpoint-%ld", PATH_MAX - 64, j->req.output_dir, step[i]);
        if (!reel_ckpt_is_dir(path)) continue; /* what somebody left in one that went */
        if (kept >= j->req.keep) {
            e = retire(path);
        } else {
            kept += ckpt_complete(path) == REEL_OK;
            reel_err_clear();
        }
    }
    free(step);
    return e;
}

reel_err ckpt_commit(void *ctx)
{
    struct reel_ckpt_job *j = ctx;
    char dcp[PATH_MAX + 8];

    REEL_TRY(write_marker(j));
    if (reel_fault("ckpt_commit")) return REEL_FAIL(REEL_EIO, "%s: cannot commit: injected fault", j->tmp);
    snprintf(dcp, sizeof dcp, "%s/dcp", j->tmp);
    REEL_TRY(reel_fsync_dir(dcp));
    REEL_TRY(reel_fsync_dir(j->tmp));
    REEL_TRY(publish(j));
    warn(prune(j)); /* the new checkpoint is safe */
    return REEL_OK;
}

reel_err ckpt_discard(void *ctx)
{
    const struct reel_ckpt_job *j = ctx;
    int rest;

    if (!j->in_doubt) (void)!ckpt_remove(j->tmp, &rest); /* best effort: a leftover .tmp is never resumed */
    return REEL_OK;
}

/* ---- after runs that were killed ---- */

/* "checkpoint-<digits>.tmp" is 1, "checkpoint-<digits>.old.tmp" 2, another name 0; *len: without these endings. */
static int leftover(const char *name, int *len)
{
    size_t digits;

    if (strncmp(name, "checkpoint-", 11) != 0) return 0;
    digits = strspn(name + 11, "0123456789");
    *len = 11 + (int)digits;
    return !digits ? 0 : strcmp(name + *len, ".tmp") == 0 ? 1 : strcmp(name + *len, ".old.tmp") == 0 ? 2 : 0;
}

/* One that was being replaced without an exchange, and whose successor has not come. */
static reel_err is_needed(const char *path, const char *final, int *yes)
{
    struct stat st;
    reel_err e;

    REEL_TRY(reel_stat(final, &st, yes));
    e = *yes ? REEL_EDATA : ckpt_complete(path);
    *yes = e == REEL_OK;
    if (e == REEL_EDATA) reel_err_clear(), e = REEL_OK;
    return e;
}

static reel_err sweep_one(const char *dir, const char *name)
{
    char path[PATH_MAX], final[PATH_MAX];
    int len, kind = leftover(name, &len), needed = 0;

    if (!kind) return REEL_OK;
    REEL_TRY(reel_join(path, sizeof path, dir, name));
    snprintf(final, sizeof final, "%.*s", (int)(strlen(path) - strlen(name)) + len, path);
    if (kind == 2) REEL_TRY(is_needed(path, final, &needed));
    if (needed) {
        REEL_TRY(reel_rename(path, final));
        fprintf(stderr, "reel: %s is back under its name: a run was killed while it replaced it\n", final);
        return REEL_OK;
    }
    REEL_TRY(reel_fsync_dir(dir)); /* names that the killed run had given are there for good: then others may go */
    REEL_TRY(ckpt_forget(path, final));
    fprintf(stderr, "reel: removed %s, which a run that was killed left behind\n", path);
    return REEL_OK;
}

/* Names in order: checkpoint-N.old.tmp is seen before checkpoint-N.tmp, and either alone decides. */
static reel_err sweep(void *ctx)
{
    const char *dir = ctx;
    char **names = NULL;
    size_t n = 0;

    if (!reel_is_dir(dir)) return REEL_OK;
    REEL_TRY(reel_list_dir(dir, &names, &n));
    for (size_t i = 0; i < n; i++) warn(sweep_one(dir, names[i]));
    reel_list_free(names, n);
    return REEL_OK;
}

reel_err reel_ckpt_sweep(const char *output_dir, struct reel_comm *world)
{
    struct ckpt_task t = { 0 };

    if (world->rank == 0) ckpt_task_start(&t, sweep, (void *)output_dir);
    else ckpt_task_none(&t);
    return ckpt_task_wait(&t, world);
}
