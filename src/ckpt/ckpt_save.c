/* Saving: who writes what is agreed once; then every rank's thread writes, rank 0's commits, and the training thread only looks. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/crc.h"
#include "base/file.h"
#include "ckpt/ckpt_priv.h"

/* ---- what saves of one set share ---- */

static reel_err take_items(struct reel_ckpt_job *j, const struct reel_ckpt_set *set)
{
    j->n_item = 0;
    for (int i = 0; i < set->n_t; i++) {
        const struct reel_ckpt_tensor *t = &set->t[i];
        struct ckpt_part part = { t->row0, t->rows, t->cols ? t->col0 : 0, t->cols ? t->cols : t->nd > 1 ? t->n[1] : 0 };
        int64_t off[REEL_MAXDIM];
        struct ckpt_item *it = &j->item[j->n_item];
        if (!j->plan.own[(size_t)j->world->rank * (size_t)set->n_t + (size_t)i]) continue;
        *it = (struct ckpt_item){ .type = reel_pt_type_of(t->dt), .nd = t->nd, .host = t->host };
        ckpt_chunk(t, &part, off, it->n);
        if (reel_pt_numel(it->n, it->nd) >= ((int64_t)1 << 32) / it->type->size)
            return REEL_FAIL(REEL_ECONFIG, "checkpoint: %s: a part of 4 GiB or more: shard it over more ranks", t->key);
        j->n_item++;
    }
    return REEL_OK;
}

static void job_free(struct reel_ckpt_job *j)
{
    if (!j) return;
    ckpt_plan_close(&j->plan);
    reel_pw_free(&j->objects);
    reel_pw_free(&j->meta);
    free(j->info);
    free(j->item);
    free(j->all);
    free(j->buf);
    free(j);
}

/* Keys, sizes and this rank's parts. */
static uint64_t parts_hash(const struct reel_ckpt_set *set)
{
    uint64_t h = ckpt_key_hash(set);

    for (int i = 0; i < set->n_t; i++) h = h * 0x100000001b3 ^ reel_crc32c(0, &set->t[i].row0, 4 * sizeof set->t[i].row0);
    return h;
}

static reel_err open_plan(struct reel_ckpt_job *j, const struct reel_ckpt_set *set)
{
    ckpt_plan_close(&j->plan);
    free(j->item);
    j->item = NULL;
    j->hash = parts_hash(set);
    REEL_TRY(ckpt_plan_open(&j->plan, set, j->world));
    j->item = calloc((size_t)set->n_t + 1, sizeof *j->item);
    return reel_agree(j->world, j->item ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for the list of tensors"));
}

static reel_err job_new(struct reel_ckpt_job **out, struct reel_comm *world)
{
    struct reel_ckpt_job *j = *out = calloc(1, sizeof *j);

    if (!j) return REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory");
    j->world = world;
    j->all = calloc((size_t)world->size, sizeof *j->all);
    j->buf = malloc(CKPT_SINK_BYTES);
    return j->all && j->buf ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for its buffers");
}

reel_err reel_ckpt_pool_open(struct reel_ckpt_job **pool, const struct reel_ckpt_set *set, struct reel_comm *world)
{
    reel_err e = reel_agree(world, job_new(pool, world));

    if (!e) e = open_plan(*pool, set);
    if (!e) e = reel_agree(world, take_items(*pool, set)); /* now, not at the first save */
    if (!e) return REEL_OK;
    job_free(*pool);
    *pool = NULL;
    return e;
}

void reel_ckpt_pool_close(struct reel_ckpt_job *pool) { job_free(pool); }

/* ---- begin ---- */

static reel_err make(const char *path)
{
    return mkdir(path, 0777) == 0 || errno == EEXIST ? REEL_OK : REEL_FAIL(REEL_EIO, "%s: cannot make the folder: %s", path, strerror(errno));
}

/* Synced when the save is committed, not in the step. */
static reel_err make_folder(const struct reel_ckpt_job *j)
{
    char dcp[PATH_MAX + 8];
    struct stat st;
    int rest;

    REEL_TRY(reel_mkdirs(j->req.output_dir));
    if (lstat(j->final, &st) == 0 && !reel_is_dir(j->final))
        return REEL_FAIL(REEL_EIO, "%s: exists and is not a folder: a checkpoint of that name cannot be saved", j->final);
    REEL_TRY(ckpt_remove(j->tmp, &rest)); /* of a save that failed */
    snprintf(dcp, sizeof dcp, "%s/dcp", j->tmp);
    REEL_TRY(make(j->tmp));
    return make(dcp);
}

static reel_err name_folders(struct reel_ckpt_job *j)
{
    if (snprintf(j->final, sizeof j->final, "%s/checkpoint-%ld", j->req.output_dir, j->req.step) >= PATH_MAX - 64)
        return REEL_FAIL(REEL_ECONFIG, "%s: path too long", j->req.output_dir);
    snprintf(j->tmp, sizeof j->tmp, "%.*s.tmp", PATH_MAX - 64, j->final);
    return REEL_OK;
}

static reel_err prepare(struct reel_ckpt_job *j)
{
    int64_t differs = j->hash != parts_hash(&j->req.set);
    reel_err e;

    reel_comm_sum_i64(j->world, &differs, 1);
    if (differs) REEL_TRY(open_plan(j, &j->req.set));
    e = name_folders(j);
    if (!e) e = take_items(j, &j->req.set);
    if (!e && j->world->rank == 0) e = make_folder(j);
    return reel_agree(j->world, e);
}

reel_err reel_ckpt_begin(struct reel_ckpt_job **job, const struct reel_ckpt_req *q, struct reel_comm *world)
{
    struct reel_ckpt_job *j = q->pool;
    reel_err e;

    *job = NULL;
    if (!j) REEL_TRY(reel_ckpt_pool_open(&j, &q->set, world));
    j->req = *q;
    e = prepare(j);
    if (e) {
        if (!q->pool) job_free(j);
        return e;
    }
    j->phase = CKPT_WRITING;
    j->err = REEL_OK;
    j->in_doubt = 0;
    j->wait = (struct ckpt_wait){ .what = j->tmp, .progress = &j->progress };
    atomic_store(&j->cancel, 0);
    atomic_store(&j->progress, 0);
    ckpt_task_start(&j->task, ckpt_write, j);
    *job = j;
    return REEL_OK;
}

/* ---- look, and go on to what comes next ---- */

static void next(struct reel_ckpt_job *j, enum ckpt_phase phase, reel_err (*root)(void *))
{
    j->phase = phase;
    if (j->world->rank == 0) ckpt_task_start(&j->task, root, j);
    else ckpt_task_none(&j->task);
}

/* Symmetric: every rank holds the same error. */
static void fail(struct reel_ckpt_job *j, reel_err e)
{
    j->err = e;
    j->rec = *reel_errrec();
    reel_err_clear();
    next(j, CKPT_DISCARDING, ckpt_discard);
}

static reel_err end(struct reel_ckpt_job **job)
{
    struct reel_ckpt_job *j = *job;
    reel_err e = j->err;

    if (e) *reel_errrec() = j->rec;
    *job = NULL;
    if (!j->req.pool) job_free(j);
    return e;
}

/* No rank is busy any more. */
static reel_err advance(struct reel_ckpt_job **job)
{
    struct reel_ckpt_job *j = *job;
    reel_err e = ckpt_task_end(&j->task);

    if (j->phase == CKPT_DISCARDING) return end(job);
    e = j->wait.failed ? reel_agree(j->world, e) : REEL_OK;
    if (e) return fail(j, e), REEL_OK;
    if (j->phase == CKPT_COMMITTING) return end(job);
    reel_comm_gather(j->world, &j->file, sizeof j->file, j->all, 0);
    next(j, CKPT_COMMITTING, ckpt_commit);
    return REEL_OK;
}

reel_err reel_ckpt_poll(struct reel_ckpt_job **job)
{
    struct reel_ckpt_job *j = *job;

    if (!j) return REEL_OK;
    if (ckpt_task_look(&j->task, j->world, &j->wait)) REEL_TRY(advance(job));
    else if (j->wait.failed) atomic_store(&j->cancel, 1);
    return *job && (j->wait.failed || j->err) ? reel_ckpt_finish(job) : REEL_OK; /* an error is told now */
}

reel_err reel_ckpt_finish(struct reel_ckpt_job **job)
{
    struct reel_ckpt_job *j = *job;
    unsigned us = 100;

    while (*job) {
        if (ckpt_task_look(&j->task, j->world, &j->wait)) {
            REEL_TRY(advance(job));
            us = 100;
        } else {
            if (j->wait.failed) atomic_store(&j->cancel, 1);
            ckpt_nap(&us);
        }
    }
    return REEL_OK;
}

reel_err reel_ckpt_save(const struct reel_ckpt_req *req, struct reel_comm *world)
{
    struct reel_ckpt_job *job;

    REEL_TRY(reel_ckpt_begin(&job, req, world));
    return reel_ckpt_finish(&job);
}
