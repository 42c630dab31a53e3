#include "train/save.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/file.h"
#include "ckpt/io.h"
#include "ckpt/tree.h"
#include "train/drift.h"
#include "train/found.h"
#include "train/init.h"
#include "train/lora.h"
#include "train/notes.h"

#define SAVED (REEL_TREE_WEIGHTS | REEL_TREE_OPTIM)

struct reel_saver {
    struct reel_tree tree;  /* what the job is writing */
    void *host[REEL_NROLE]; /* a role's shards between device and file, in r->save_mem */
    struct reel_io *io;     /* state of the method and of callbacks between them and the tree */
    struct reel_ckpt_job *pool, *job;
    char *config; /* the configuration as JSON */
    char *found;  /* what it came to mean here */
    long last;    /* step of the newest checkpoint of this run */
    struct reel_track *track;
    double began, longest; /* reel_now() of the save that is under way; seconds of the longest one */
};

/* Text that `write` produces; malloc'ed, NULL when memory is out. */
static char *text_of(void (*write)(const struct reel_run *r, FILE *f), const struct reel_run *r)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);

    if (!f) return NULL;
    write(r, f);
    return fclose(f) == 0 ? text : (free(text), NULL);
}

static void as_json(const struct reel_run *r, FILE *f) { reel_node_json(r->cfg->root, f); }
static void as_yaml(const struct reel_run *r, FILE *f) { reel_config_dump(r->cfg, r->flags.env, f); }

char *reel_config_json(const struct reel_run *r) { return text_of(as_json, r); }

reel_err reel_write_config(struct reel_run *r, char **yaml)
{
    char path[PATH_MAX];
    reel_err e = REEL_OK;

    *yaml = text_of(as_yaml, r);
    if (!*yaml) return REEL_FAIL(REEL_ENOMEM, "no memory for the resolved configuration");
    e = reel_join(path, sizeof path, r->cfg->training.checkpoint.output_dir, "config.yaml");
    if (e == REEL_OK) e = reel_file_write(path, *yaml, strlen(*yaml));
    if (e == REEL_OK) return REEL_OK;
    free(*yaml);
    return e;
}

/* REEL_TREE bits of what a checkpoint holds of a role. */
static unsigned parts(const struct reel_run *r, int role)
{
    if (!(r->roles & REEL_ROLE(role))) return 0;
    if (r->role[role].trainable) return SAVED;
    return r->cfg->training.checkpoint.save_frozen ? REEL_TREE_WEIGHTS : 0;
}

/* What a resume takes from it: frozen weights are those of init_from. */
static int comes_from(const struct reel_run *r, int role) { return parts(r, role) == SAVED; }

/* Whether an owner's state comes back; what does not is said once. */
static int comes_back(struct reel_run *r, const char *prefix, const char *dir)
{
    const char *lacks = "";
    enum reel_io_have have = reel_io_owner(r->saver->io, prefix, &lacks);

    if (have == REEL_IO_ALL) return 1;
    if (have == REEL_IO_NONE)
        reel_note_warning(r, "%s was made without %s, which starts anew", dir, prefix);
    else
        reel_note_warning(r, "%s: %s is missing or has another shape, so %s starts anew", dir, lacks, prefix);
    return 0;
}

/* One walk over the state of the method and of every callback; `dir` is where it came from. Local. */
static reel_err walk(struct reel_run *r, enum reel_io_way way, const char *dir)
{
    struct reel_io *io = r->saver->io;
    char prefix[128];

    reel_io_begin(io, way, &r->saver->tree, &r->s);
    if (r->method.ops->state && comes_back(r, "method", dir)) r->method.ops->state(&r->method, io);
    for (int i = 0; i < r->n_cb; i++) {
        if (!r->cb[i].ops->state) continue;
        snprintf(prefix, sizeof prefix, "callbacks.%s", r->cb[i].name);
        if (comes_back(r, prefix, dir)) r->cb[i].ops->state(&r->cb[i], io);
    }
    reel_sync(&r->s);
    return reel_io_end(io);
}

static struct reel_tree_optim optim_values(const struct reel_optim *o)
{
    return (struct reel_tree_optim){ .lr = reel_lr_at(&o->lr, o->k), .initial_lr = o->lr.lr0, .beta1 = o->beta1, .beta2 = o->beta2,
                                     .eps = o->eps, .weight_decay = o->weight_decay, .k = o->k };
}

/* Keys and values of this step are listed over the host's copy. Local. */
static reel_err list(struct reel_run *r, long step)
{
    struct reel_saver *s = r->saver;
    int workers = (int)r->cfg->training.data.dataloader_num_workers;

    reel_tree_rewind(&s->tree);
    for (int i = 0; i < REEL_NROLE; i++) {
        struct reel_tree_optim v = { 0 };
        if (comes_from(r, i)) v = optim_values(&r->optim[i]);
        if (parts(r, i)) REEL_TRY(reel_tree_role(&s->tree, r->role[i].ps, parts(r, i), s->host[i], &v));
    }
    REEL_TRY(walk(r, REEL_IO_SAVE, NULL));
    return reel_tree_dataloader(&s->tree, workers, step * r->cfg->training.loop.gradient_accumulation_steps);
}

/* The state of this step: shards copied to the host, keys and values listed. Local. */
static reel_err collect(struct reel_run *r, long step)
{
    for (int i = 0; i < REEL_NROLE; i++)
        if (parts(r, i)) reel_tree_get(r->role[i].ps, &r->s, parts(r, i), r->optim[i].k, r->saver->host[i]);
    return list(r, step);
}

/* ---- memory ---- */

int reel_save_wanted(const struct reel_run *r)
{
    const struct reel_cfg_checkpoint *c = &r->cfg->training.checkpoint;

    return (c->output_dir && !r->flags.quiet) || c->resume_from_checkpoint;
}

reel_err reel_save_plan(struct reel_run *r)
{
    struct reel_saver *s = r->saver = calloc(1, sizeof *s);

    if (!s) return REEL_FAIL(REEL_ENOMEM, "no memory to save");
    for (int i = 0; i < REEL_NROLE; i++)
        if (parts(r, i)) s->host[i] = reel_arena_push(&r->save_mem, reel_tree_bytes(r->role[i].ps, parts(r, i)));
    s->io = reel_io_open(&r->save_mem);
    return s->io ? walk(r, REEL_IO_SAVE, NULL) : REEL_FAIL(REEL_ENOMEM, "no memory to save");
}

static void drop(struct reel_saver *s)
{
    reel_ckpt_pool_close(s->pool);
    reel_tree_free(&s->tree);
    reel_io_close(s->io);
    free(s->config);
    free(s->found);
    free(s);
}

void reel_save_unplan(struct reel_run *r)
{
    if (r->saver) drop(r->saver);
    r->saver = NULL;
}

/* The host's copy, page-locked for a device; then the places in it. Local. */
static reel_err take_memory(struct reel_run *r)
{
    struct reel_arena *a = &r->save_mem;

    a->cap = a->peak, a->used = 0;
    a->base = reel_host_alloc(r->be, a->cap);
    if (!a->base) return REEL_FAIL(REEL_ENOMEM, "no memory for the host's copy of what is saved, %s", reel_bytes_text((double)a->cap).s);
    REEL_TRY(reel_save_plan(r));
    r->saver->config = reel_config_json(r);
    if (!r->saver->config) return REEL_FAIL(REEL_ENOMEM, "no memory for the configuration's text");
    return list(r, 0);
}

reel_err reel_save_open(struct reel_run *r)
{
    if (!reel_save_wanted(r)) return REEL_OK;
    reel_save_unplan(r);
    REEL_TRY(reel_agree(r->world, take_memory(r)));
    REEL_TRY(reel_found(r, &r->saver->found));
    return reel_ckpt_pool_open(&r->saver->pool, &r->saver->tree.set, r->world);
}

/* ---- saving ---- */

/* After a poll or a wait: has a save ended? */
static reel_err timed(struct reel_saver *s, reel_err e)
{
    double seconds = reel_now() - s->began;

    if (s->job || s->began <= 0) return e;
    if (seconds > s->longest) s->longest = seconds;
    if (e == REEL_OK) reel_track_note(s->track, s->last, "save", json_pack("{s:f}", "seconds", seconds));
    s->began = 0;
    return e;
}

static reel_err finish(struct reel_saver *s) { return timed(s, reel_ckpt_finish(&s->job)); }

static reel_err save(struct reel_run *r, long step)
{
    const struct reel_cfg_checkpoint *c = &r->cfg->training.checkpoint;
    struct reel_ckpt_req req = { .output_dir = c->output_dir, .step = step, .keep = (int)c->keep, .pool = r->saver->pool };

    REEL_TRY(finish(r->saver)); /* the copy is in use until then */
    r->saver->track = r->track;
    r->saver->began = reel_now();
    REEL_TRY(reel_agree(r->world, collect(r, step)));
    req.set = r->saver->tree.set;
    req.config_json = r->saver->config;
    req.found_json = r->saver->found;
    r->saver->last = step;
    REEL_TRY(reel_ckpt_begin(&r->saver->job, &req, r->world));
    return c->save == REEL_SAVE_SYNC ? finish(r->saver) : REEL_OK;
}

reel_err reel_save_due(struct reel_run *r, long step)
{
    const struct reel_cfg_checkpoint *c = &r->cfg->training.checkpoint;

    if (!c->output_dir || r->flags.quiet) return REEL_OK;
    if (c->every_steps > 0 && step % c->every_steps == 0) return save(r, step);
    return timed(r->saver, reel_ckpt_poll(&r->saver->job));
}

reel_err reel_save_now(struct reel_run *r)
{
    if (!r->cfg->training.checkpoint.output_dir || r->flags.quiet) return REEL_OK;
    return r->step > r->first && r->saver->last != r->step ? save(r, r->step) : REEL_OK;
}

const char *reel_save_found(const struct reel_run *r) { return r->saver->found; }

const char *reel_save_config(const struct reel_run *r) { return r->saver->config; }

double reel_save_seconds(const struct reel_run *r)
{
    const struct reel_saver *s = r->saver;
    double running = s && s->job ? reel_now() - s->began : 0, longest = s && s->longest > running ? s->longest : running;

    return s && s->job ? 2 * longest - running : longest;
}

reel_err reel_save_final(struct reel_run *r)
{
    REEL_TRY(reel_save_now(r));
    return r->saver ? finish(r->saver) : REEL_OK;
}

/* Bits of the roles of which the checkpoint has weights alone, as imported ones do. Symmetric. */
static unsigned without_moments(const struct reel_run *r, const struct reel_ckpt *k)
{
    char prefix[128];
    unsigned roles = 0;

    for (int i = 0; i < REEL_NROLE; i++) {
        snprintf(prefix, sizeof prefix, "optimizers.%s.", reel_role_names[i]);
        if (comes_from(r, i) && !reel_ckpt_has_below(k, prefix)) roles |= REEL_ROLE(i);
    }
    return roles;
}

/* What is asked of the checkpoint. Local. */
static reel_err ask(struct reel_run *r, const char *dir, unsigned fresh)
{
    struct reel_saver *s = r->saver;

    reel_tree_rewind(&s->tree);
    for (int i = 0; i < REEL_NROLE; i++)
        if (comes_from(r, i)) REEL_TRY(reel_tree_role(&s->tree, r->role[i].ps, fresh & REEL_ROLE(i) ? REEL_TREE_WEIGHTS : SAVED, s->host[i], NULL));
    return walk(r, REEL_IO_ASK, dir);
}

/* A role's shards from the host's copy to the device. Local. */
static void take_role(struct reel_run *r, int role, int fresh, const char *dir)
{
    struct reel_params *ps = r->role[role].ps;
    const char *name = r->role[role].role;
    void *host = r->saver->host[role];
    int uneven = 0;

    reel_tree_put(ps, &r->s, fresh ? REEL_TREE_WEIGHTS : SAVED, host);
    if (fresh) {
        reel_note_warning(r, "%s has no optimizer state of the %s: its moments and its schedule start anew", dir, name);
        return;
    }
    r->optim[role].k = reel_tree_k(ps, host, &uneven);
    if (uneven)
        reel_note_warning(r, "%s: the parameters of the %s have different step counts; the largest, %ld, is taken", dir, name, r->optim[role].k);
}

static reel_err load_from(struct reel_run *r, struct reel_ckpt *k, const char *dir)
{
    unsigned fresh = without_moments(r, k);

    REEL_TRY(reel_agree(r->world, ask(r, dir, fresh)));
    REEL_TRY(reel_ckpt_read(k, &r->saver->tree.set, 1));
    for (int i = 0; i < REEL_NROLE; i++)
        if (comes_from(r, i)) take_role(r, i, (fresh & REEL_ROLE(i)) != 0, dir);
    return reel_agree(r->world, walk(r, REEL_IO_TAKE, dir));
}

static reel_err load(struct reel_run *r, const char *dir)
{
    struct reel_ckpt *k;
    reel_err e;

    REEL_TRY(reel_ckpt_open(&k, dir, r->world));
    e = load_from(r, k, dir);
    reel_ckpt_close(k);
    return e;
}

reel_err reel_resume_find(struct reel_run *r)
{
    const struct reel_cfg_checkpoint *c = &r->cfg->training.checkpoint;

    r->from_step = -1;
    if (!c->resume_from_checkpoint) return REEL_OK;
    if (!c->output_dir && !strcasecmp(c->resume_from_checkpoint, "latest"))
        return reel_config_fail(r->cfg, "training.checkpoint.resume_from_checkpoint",
                                "latest means the newest below training.checkpoint.output_dir, which is not set");
    REEL_TRY(reel_ckpt_resolve(c->output_dir, c->resume_from_checkpoint, r->from, sizeof r->from, &r->from_step, r->world));
    if (r->from_step < 0 && r->world->rank == 0 && !r->flags.quiet)
        printf("reel: no checkpoint below %s yet: from scratch\n", c->output_dir);
    return REEL_OK;
}

reel_err reel_resume(struct reel_run *r)
{
    if (r->from_step < 0) return REEL_OK;
    REEL_TRY(reel_drift_judge(r, r->from));
    REEL_TRY(load(r, r->from));
    r->first = r->step = r->from_step;
    reel_track_note(r->track, r->step, "resume", json_pack("{s:o}", "from", reel_json_text(r->from)));
    return REEL_OK;
}

/* The student's weights alone into its shards. Collective(world). */
static reel_err load_weights(struct reel_run *r, const char *dir, void *host)
{
    struct reel_params *ps = r->role[REEL_STUDENT].ps;
    struct reel_tree tree = { 0 };
    reel_err e = host ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for the student's weights");

    if (e == REEL_OK) e = reel_tree_role(&tree, ps, REEL_TREE_WEIGHTS, host, NULL);
    e = reel_agree(r->world, e);
    if (e == REEL_OK) e = reel_ckpt_load(dir, &tree.set, r->world);
    if (e == REEL_OK) reel_tree_put(ps, &r->s, REEL_TREE_WEIGHTS, host);
    reel_tree_free(&tree);
    return e;
}

static void name_average(struct reel_run *r, struct reel_io *io)
{
    struct reel_params *ps = r->role[REEL_STUDENT].ps;

    for (int i = 0; i < reel_params_cfg(ps)->n; i++)
        if (!reel_params_cfg(ps)->def[i].frozen) reel_io_shadow(io, "student_ema", ps, i, reel_param_shard(ps, i).w);
}

/* The student's average into its shards. Collective(world). */
static reel_err take_average(struct reel_run *r, struct reel_ckpt *k, const char *dir, struct reel_io *io)
{
    struct reel_tree tree = { 0 };
    const char *lacks = "";
    char owner[128];
    reel_err e;

    REEL_TRY(reel_ckpt_average(k, "student", owner, sizeof owner));
    reel_io_begin(io, REEL_IO_ASK, &tree, &r->s);
    reel_io_owner(io, owner, NULL);
    name_average(r, io);
    e = reel_agree(r->world, reel_io_end(io));
    if (e == REEL_OK) e = reel_ckpt_read(k, &tree.set, 0);
    if (e == REEL_OK) {
        reel_io_begin(io, REEL_IO_TAKE, &tree, &r->s);
        if (reel_io_owner(io, owner, &lacks) == REEL_IO_ALL) name_average(r, io);
        else e = REEL_FAIL(REEL_EDATA, "%s: %s is missing or has another shape: not a whole average of this model", dir, lacks);
        reel_sync(&r->s);
    }
    reel_tree_free(&tree);
    return e;
}

static reel_err load_average(struct reel_run *r, const char *dir)
{
    struct reel_io *io = reel_io_open(NULL);
    struct reel_ckpt *k = NULL;
    reel_err e = reel_agree(r->world, io ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for the student's average"));

    if (e == REEL_OK) e = reel_ckpt_open(&k, dir, r->world);
    if (e == REEL_OK) e = take_average(r, k, dir, io);
    reel_ckpt_close(k);
    reel_io_close(io);
    return e;
}

reel_err reel_load_student(struct reel_run *r, const char *from, int ema)
{
    const char *out = r->cfg->training.checkpoint.output_dir;
    char dir[PATH_MAX];
    long step;
    void *host;
    reel_err e;

    REEL_TRY(reel_ckpt_resolve(out, from, dir, sizeof dir, &step, r->world));
    if (step < 0) return REEL_FAIL(REEL_ECONFIG, "no checkpoint below %s", out);
    if (r->world->rank == 0) printf("reel: the student's %s of %s\n", ema ? "average" : "weights", dir);
    if (reel_adapters_count(&r->role[REEL_STUDENT])) REEL_TRY(reel_role_weights(r, REEL_STUDENT)); /* checkpoints leave the base out */
    if (ema) return load_average(r, dir);
    host = malloc(reel_tree_bytes(r->role[REEL_STUDENT].ps, REEL_TREE_WEIGHTS) + 1);
    e = load_weights(r, dir, host);
    free(host);
    return e;
}

reel_err reel_save_close(struct reel_run *r)
{
    reel_err e;

    if (!r->saver) return REEL_OK;
    e = reel_ckpt_finish(&r->saver->job);
    reel_save_unplan(r);
    reel_host_free(r->be, r->save_mem.base);
    r->save_mem.base = NULL;
    return e;
}
