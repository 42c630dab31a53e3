#include "train/restarts.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { IN_VAIN = 3 };

/* How many of the last lines "JOB STEP" are of this job and step. */
static int in_vain(const char *text, const char *job, long step)
{
    int n = 0;
    char want[128];
    size_t len = (size_t)snprintf(want, sizeof want, "%s %ld\n", job, step);

    for (const char *line = text, *end; (end = strchr(line, '\n')); line = end + 1)
        n = (size_t)(end + 1 - line) == len && !strncmp(line, want, len) ? n + 1 : 0;
    return n;
}

/* Rank 0's part. */
static reel_err check(const struct reel_run *r, const char *job, int restarted)
{
    char path[PATH_MAX], *text = NULL, *all;
    size_t len = 0;
    int n;
    reel_err e;

    REEL_TRY(reel_join(path, sizeof path, r->cfg->training.checkpoint.output_dir, "restarts.txt"));
    if (reel_file_read(path, &text, &len) != REEL_OK) reel_err_clear(); /* the first start */
    n = restarted && text ? in_vain(text, job, r->first) : 0;
    if (n >= IN_VAIN) {
        free(text);
        return REEL_FAIL(REEL_EDATA, "job %s was started %d times from step %ld and never reached another checkpoint: see its log for why; "
                                     "to try again, remove %s or submit a new job", job, n, r->first, path);
    }
    all = malloc(len + 128);
    e = all ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for %s", path);
    if (all) {
        snprintf(all, len + 128, "%s%s %ld\n", text ? text : "", job, r->first);
        e = reel_file_write(path, all, strlen(all));
    }
    free(all);
    free(text);
    return e;
}

reel_err reel_restarts_check(struct reel_run *r)
{
    const struct reel_env *env = r->flags.env;
    const char *job = env ? reel_env_get(env, REEL_ENV_SLURM_JOB_ID) : NULL;
    const char *count = job ? reel_env_get(env, REEL_ENV_SLURM_RESTART_COUNT) : NULL;
    int restarted = count && atoi(count) > 0;

    if (!job || strlen(job) > 64 || !r->cfg->training.checkpoint.output_dir || r->flags.quiet) return REEL_OK;
    return reel_agree(r->world, r->world->rank ? REEL_OK : check(r, job, restarted));
}
