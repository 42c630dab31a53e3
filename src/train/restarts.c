#include "train/restarts.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "base/file.h"
#include "train/save.h"

enum { IN_VAIN = 3 };

/* How many of the last lines are this one. */
static int in_vain(const char *text, const char *want)
{
    int n = 0;
    size_t len = strlen(want);

    for (const char *line = text, *end; (end = strchr(line, '\n')); line = end + 1)
        n = (size_t)(end + 1 - line) == len && !strncmp(line, want, len) ? n + 1 : 0;
    return n;
}

/* "JOB STEP CONFIGURATION\n" */
static reel_err describe(const struct reel_run *r, const char *job, char *line, size_t size)
{
    char *text = reel_config_json(r);

    if (!text) return REEL_FAIL(REEL_ENOMEM, "no memory for the configuration's text");
    snprintf(line, size, "%s %ld %08x\n", job, r->from_step < 0 ? 0 : r->from_step, reel_crc32c(0, text, strlen(text)));
    free(text);
    return REEL_OK;
}

static reel_err append(const char *path, const char *text, const char *line)
{
    size_t size = (text ? strlen(text) : 0) + strlen(line) + 1;
    char *all = malloc(size);
    reel_err e;

    if (!all) return REEL_FAIL(REEL_ENOMEM, "no memory for %s", path);
    snprintf(all, size, "%s%s", text ? text : "", line);
    e = reel_file_write(path, all, size - 1);
    free(all);
    return e;
}

/* Rank 0's part. */
static reel_err check(const struct reel_run *r, const char *job, int restarted)
{
    char path[PATH_MAX], line[160], *text = NULL;
    size_t len = 0;
    int n;
    reel_err e;

    REEL_TRY(describe(r, job, line, sizeof line));
    REEL_TRY(reel_join(path, sizeof path, r->cfg->training.checkpoint.output_dir, "restarts.txt"));
    if (reel_file_read(path, &text, &len) != REEL_OK) reel_err_clear(); /* the first start */
    n = restarted && text ? in_vain(text, line) : 0;
    e = n < IN_VAIN ? append(path, text, line)
                    : REEL_FAIL(REEL_EDATA, "job %s was started %d times from step %ld and never reached another checkpoint: see its log for "
                                "why; to try again, change the configuration, remove %s or submit a new job", job, n,
                                r->from_step < 0 ? 0 : r->from_step, path);
    free(text);
    return e;
}

static int restarted(const struct reel_env *env)
{
    const char *count = env ? reel_env_get(env, REEL_ENV_SLURM_RESTART_COUNT) : NULL;

    return count && atoi(count) > 0;
}

reel_err reel_restarts_hold(int *lock, const char *dir, const char *key, const char *folder, const struct reel_config *cfg,
                            const struct reel_env *env)
{
    double patience = restarted(env) ? 60 : 0, half = cfg->training.watchdog_s / 2;
    char path[PATH_MAX], by[256];
    reel_err e;

    REEL_TRY(reel_mkdirs(dir));
    REEL_TRY(reel_join(path, sizeof path, dir, "lock"));
    e = reel_file_lock(path, half > 0 && half < patience ? half : patience, lock);
    if (e != REEL_ECONFIG) return e;
    snprintf(by, sizeof by, "%.255s", reel_errrec()->msg);
    reel_err_clear();
    return reel_config_fail(cfg, key, "another run is writing to %s: wait for its end, or choose another folder (%s)", folder, by);
}

reel_err reel_restarts_check(struct reel_run *r)
{
    const char *job = r->flags.env ? reel_env_get(r->flags.env, REEL_ENV_SLURM_JOB_ID) : NULL;

    if (!job || strlen(job) > 64 || !r->cfg->training.checkpoint.output_dir || r->flags.quiet) return REEL_OK;
    return reel_agree(r->world, r->world->rank ? REEL_OK : check(r, job, restarted(r->flags.env)));
}
