/* Which folders are checkpoints, whole ones, and which to resume. */
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "ckpt/ckpt_priv.h"

#define STEP_MOST 99999999999999999 /* 17 digits, as in names */

long reel_ckpt_step_in_name(const char *path)
{
    const char *name = strrchr(path, '/');
    size_t digits;

    name = name ? name + 1 : path;
    if (strncmp(name, "checkpoint-", 11) != 0) return -1;
    digits = strspn(name + 11, "0123456789");
    if (digits > 1 && name[11] == '0') return -1; /* "checkpoint-07" is no name that a run looks for */
    return digits && digits < 18 && !name[11 + digits] ? atol(name + 11) : -1;
}

static int by_step(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;

    return (x > y) - (x < y);
}

reel_err ckpt_list(const char *output_dir, long **step, int *n)
{
    char **names;
    size_t all;

    REEL_TRY(reel_list_dir(output_dir, &names, &all));
    *n = 0;
    *step = malloc((all + 1) * sizeof **step);
    for (size_t i = 0; *step && i < all; i++) {
        long s = reel_ckpt_step_in_name(names[i]);
        if (s >= 0) (*step)[(*n)++] = s;
    }
    reel_list_free(names, all);
    if (!*step) return REEL_FAIL(REEL_ENOMEM, "%s: no memory", output_dir);
    qsort(*step, (size_t)*n, sizeof **step, by_step);
    return REEL_OK;
}

int reel_ckpt_is_dir(const char *path)
{
    char p[PATH_MAX];
    int yes = snprintf(p, sizeof p, "%s/dcp", path) < (int)sizeof p && reel_is_dir(p);

    return yes || (snprintf(p, sizeof p, "%s/.metadata", path) < (int)sizeof p && reel_is_file(p));
}

/* ---- whole ones ---- */

/* A folder of another program: what .metadata names must be there. */
static reel_err check_foreign(const char *dir)
{
    struct reel_dcp *d;
    reel_err e;

    REEL_TRY(reel_dcp_open_of(&d, dir));
    e = reel_dcp_check_files(d);
    reel_dcp_close(d);
    return e;
}

static reel_err has_all(const struct ckpt_marker *m, const char *dir) { return m->files ? ckpt_marker_sizes(m, dir) : check_foreign(dir); }

reel_err ckpt_complete(const char *dir)
{
    struct ckpt_marker m;
    reel_err e;

    REEL_TRY(ckpt_marker_read(&m, dir));
    e = has_all(&m, dir);
    ckpt_marker_free(&m);
    return e;
}

/* ---- resume ---- */

reel_err ckpt_step_of(const char *dir, long *step)
{
    char path[PATH_MAX];
    json_t *js, *v;

    *step = reel_ckpt_step_in_name(dir);
    REEL_TRY(reel_join(path, sizeof path, dir, "metadata.json"));
    if (reel_is_file(path)) {
        REEL_TRY(reel_json_file(&js, path));
        v = json_object_get(js, "step");
        if (json_is_integer(v)) *step = (long)json_integer_value(v);
        json_decref(js);
    }
    if (*step > STEP_MOST) return REEL_FAIL(REEL_EDATA, "%s: metadata.json says step %ld, where no run comes to", dir, *step);
    if (*step < 0) return REEL_FAIL(REEL_EDATA, "%s: neither metadata.json nor its name says which step it is", dir);
    return REEL_OK;
}

/* Whether the run can go on from it: an incomplete one is passed over if that is asked, *step stays -1. One that is damaged or
 * cannot be looked at never is: that is not what a killed run leaves. A marker comes whole or not at all, so one that cannot be read is damaged too;
 * texts are read before anything else is. */
static reel_err judge(const char *dir, int pass_over, long *step)
{
    struct ckpt_marker m;
    reel_err e;

    *step = -1;
    REEL_TRY(ckpt_marker_read(&m, dir));
    e = has_all(&m, dir);
    if (e == REEL_EDATA && pass_over) {
        fprintf(stderr, "reel: skipping %s, which is incomplete: %s\n", dir, reel_errrec()->msg);
        reel_err_clear();
        e = REEL_OK;
    } else if (!e) {
        e = ckpt_marker_sums(&m, dir, 1, 0, 1);
        if (!e) e = ckpt_step_of(dir, step);
    }
    ckpt_marker_free(&m);
    return e;
}

static reel_err newest(const char *output_dir, char *dir, size_t size, long *step)
{
    struct stat st;
    long *all;
    int n, there;
    reel_err e = REEL_OK;

    *step = -1;
    REEL_TRY(reel_stat(output_dir, &st, &there));
    if (!there) return REEL_OK;
    REEL_TRY(ckpt_list(output_dir, &all, &n));
    while (n-- > 0 && *step < 0 && !e) {
        snprintf(dir, size, "%s/checkpoint-%ld", output_dir, all[n]);
        e = judge(dir, 1, step);
        if (!e && *step >= 0 && *step != all[n]) /* the newest by its name for ever, and no step would come after it */
            e = REEL_FAIL(REEL_ECONFIG, "%s is of step %ld, so it was renamed or copied: give it its name, or name it in resume_from_checkpoint", dir, *step);
    }
    free(all);
    return e;
}

void ckpt_strip(char *path)
{
    size_t n = strlen(path);

    while (n > 1 && path[n - 1] == '/') path[--n] = 0;
    if (n > 4 && strcmp(path + n - 4, "/dcp") == 0) path[n - 4] = 0;
}

/* The output folder of a run, which has a log before it has a checkpoint. */
static int is_run(const char *dir)
{
    char log[PATH_MAX];

    return snprintf(log, sizeof log, "%s/tracker", dir) < (int)sizeof log && reel_is_dir(log);
}

/* Whether there is such a folder; a file system that does not say is an error. */
static reel_err folder(const char *path, int *there)
{
    struct stat st;

    REEL_TRY(reel_stat(path, &st, there));
    *there = *there && S_ISDIR(st.st_mode);
    return REEL_OK;
}

/* A folder with the name of a checkpoint that holds none. */
static reel_err incomplete(const char *dir)
{
    char dcp[PATH_MAX];
    reel_err e = reel_dcp_dir(dir, dcp, sizeof dcp);

    if (e == REEL_EIO) return e; /* it may hold one, and we may not look */
    reel_err_clear();
    return REEL_FAIL(REEL_ECONFIG, "%s is incomplete: no dcp/ in it", dir);
}

static reel_err resolve(const char *output_dir, const char *what, char *dir, size_t size, long *step)
{
    int there;

    while (isspace((unsigned char)*what)) what++;
    if (output_dir && strncasecmp(what, "latest", 6) == 0 && strspn(what + 6, " \t\n") == strlen(what + 6))
        return newest(output_dir, dir, size, step);
    if (snprintf(dir, size, "%s", what) >= (int)size) return REEL_FAIL(REEL_ECONFIG, "%s: path too long", what);
    ckpt_strip(dir);
    REEL_TRY(folder(dir, &there));
    if (!there) return REEL_FAIL(REEL_ECONFIG, "no folder %s, so no checkpoint to go on from", what);
    if (reel_ckpt_is_dir(dir)) return judge(dir, 0, step);
    if (reel_ckpt_step_in_name(dir) >= 0) return incomplete(dir);
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", dir);
    REEL_TRY(newest(parent, dir, size, step));
    if (*step >= 0) return REEL_OK;
    if (is_run(parent))
        return REEL_FAIL(REEL_ECONFIG, "%s is a run that holds no complete checkpoint yet: it saves checkpoint-N every "
                         "training_state_checkpointing_steps steps and when it ends; reel report %s says how far it is", what, what);
    return REEL_FAIL(REEL_ECONFIG, "%s is no checkpoint, and no complete one is in it", what);
}

reel_err reel_ckpt_resolve(const char *output_dir, const char *what, char *dir, size_t size, long *step,
                           struct reel_comm *world)
{
    int64_t s = -1;
    reel_err e = REEL_OK;

    if (world->rank == 0) e = resolve(output_dir, what, dir, size, step), s = *step;
    REEL_TRY(reel_agree(world, e));
    reel_comm_bcast(world, dir, size, 0);
    reel_comm_bcast(world, &s, sizeof s, 0);
    *step = (long)s;
    return REEL_OK;
}

/* Rank 0's part. */
static reel_err named(const char *path, char *dir, size_t size)
{
    long step;
    int there;

    if (snprintf(dir, size, "%s", path) >= (int)size) return REEL_FAIL(REEL_ECONFIG, "%s: path too long", path);
    ckpt_strip(dir);
    if (reel_ckpt_is_dir(dir)) return REEL_OK;
    REEL_TRY(folder(dir, &there));
    if (!there) return REEL_FAIL(REEL_ECONFIG, "%s: neither a checkpoint-N nor a folder that holds one", path);
    REEL_TRY(resolve(NULL, path, dir, size, &step));
    printf("reel: the newest checkpoint of %s: %s\n", path, dir);
    return REEL_OK;
}

reel_err reel_ckpt_named(const char *path, char *dir, size_t size, struct reel_comm *world)
{
    REEL_TRY(reel_agree(world, world->rank ? REEL_OK : named(path, dir, size)));
    reel_comm_bcast(world, dir, size, 0);
    return REEL_OK;
}

int reel_ckpt_of_run(const char *path)
{
    char **name, dir[PATH_MAX];
    size_t n;
    int any;

    if (snprintf(dir, sizeof dir, "%s", path) >= (int)sizeof dir || !reel_is_dir(dir)) return 0;
    ckpt_strip(dir);
    any = reel_ckpt_is_dir(dir) || reel_ckpt_step_in_name(dir) >= 0 || is_run(dir);
    if (any || reel_list_dir(dir, &name, &n)) return reel_err_clear(), any;
    for (size_t i = 0; i < n; i++) any |= reel_ckpt_step_in_name(name[i]) >= 0;
    reel_list_free(name, n);
    return any;
}

/* ---- what is in one ---- */

reel_err ckpt_average(const struct reel_dcp *d, const char *dir, const char *role, char *owner, size_t size)
{
    char part[128];
    size_t n = strlen("callbacks.");

    snprintf(part, sizeof part, ".%s_ema.", role);
    for (int i = 0; i < reel_dcp_count(d); i++) {
        const struct reel_dcp_entry *e = reel_dcp_entry(d, i);
        const char *at = strncmp(e->key, "callbacks.", n) == 0 && e->type ? strstr(e->key + n, part) : NULL;
        if (!at) continue;
        snprintf(owner, size, "%.*s", (int)(at - e->key), e->key);
        return REEL_OK;
    }
    return REEL_FAIL(REEL_ECONFIG, "%s holds no average of the %s: the run had no callback ema, which averages the student", dir, role);
}
