#include "train/save.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "train/state.h"

struct reel_saver {
    struct reel_state state;
    struct reel_ckpt_job *job;
    char *config; /* the configuration as JSON */
    long last;    /* step of the newest checkpoint of this run */
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

reel_err reel_write_config(struct reel_run *r)
{
    char path[PATH_MAX], *text = text_of(as_yaml, r);
    reel_err e;

    if (!text) return REEL_FAIL(REEL_ENOMEM, "no memory for the resolved configuration");
    e = reel_join(path, sizeof path, r->cfg->training.checkpoint.output_dir, "config.yaml");
    if (e == REEL_OK) e = reel_file_write(path, text, strlen(text));
    free(text);
    return e;
}

/* Local. The list of tensors and, unless saves are synchronous on host memory, room for their copy. */
static reel_err open_saver(struct reel_run *r)
{
    int direct = r->cfg->training.checkpoint.save == REEL_SAVE_SYNC && !r->mem[REEL_STUDENT].params.on_device;

    r->saver = calloc(1, sizeof *r->saver);
    if (!r->saver) return REEL_FAIL(REEL_ENOMEM, "no memory to save");
    r->saver->config = text_of(as_json, r);
    if (!r->saver->config) return REEL_FAIL(REEL_ENOMEM, "no memory for the configuration's text");
    return reel_state_open(&r->saver->state, r, 0, direct);
}

static reel_err need_saver(struct reel_run *r)
{
    return r->saver ? REEL_OK : reel_agree(r->world, open_saver(r));
}

static reel_err save(struct reel_run *r, long step)
{
    const struct reel_cfg_checkpoint *c = &r->cfg->training.checkpoint;
    struct reel_saver *s;
    struct reel_ckpt_req req = { .output_dir = c->output_dir, .step = step, .keep = (int)c->keep };

    REEL_TRY(need_saver(r));
    s = r->saver;
    REEL_TRY(reel_ckpt_finish(&s->job)); /* the copy is in use until then */
    reel_state_collect(&s->state, r, step);
    REEL_TRY(reel_agree(r->world, s->state.failed ? REEL_FAIL(REEL_ENOMEM, "no memory for a checkpoint's objects") : REEL_OK));
    req.set = s->state.set;
    req.config_json = s->config;
    s->last = step;
    REEL_TRY(reel_ckpt_begin(&s->job, &req, r->world));
    return c->save == REEL_SAVE_SYNC ? reel_ckpt_finish(&s->job) : REEL_OK;
}

reel_err reel_save_due(struct reel_run *r, long step)
{
    const struct reel_cfg_checkpoint *c = &r->cfg->training.checkpoint;

    if (!c->output_dir || r->flags.quiet) return REEL_OK;
    if (c->every_steps > 0 && step % c->every_steps == 0) return save(r, step);
    return r->saver && r->saver->job ? reel_ckpt_poll(&r->saver->job) : REEL_OK;
}

reel_err reel_save_final(struct reel_run *r)
{
    if (!r->cfg->training.checkpoint.output_dir || r->flags.quiet) return REEL_OK;
    if (r->step > r->first && (!r->saver || r->saver->last != r->step)) REEL_TRY(save(r, r->step));
    return r->saver ? reel_ckpt_finish(&r->saver->job) : REEL_OK;
}

static reel_err load(struct reel_run *r, const char *dir)
{
    REEL_TRY(need_saver(r));
    REEL_TRY(reel_ckpt_load(dir, &r->saver->state.set, r->world));
    reel_state_spread(&r->saver->state, r);
    return REEL_OK;
}

reel_err reel_resume(struct reel_run *r)
{
    const struct reel_cfg_checkpoint *c = &r->cfg->training.checkpoint;
    char dir[PATH_MAX];
    long step;

    if (!c->resume_from_checkpoint) return REEL_OK;
    if (!c->output_dir && !strcasecmp(c->resume_from_checkpoint, "latest"))
        return reel_config_fail(r->cfg, "training.checkpoint.resume_from_checkpoint",
                                "latest means the newest below training.checkpoint.output_dir, which is not set");
    REEL_TRY(reel_ckpt_resolve(c->output_dir, c->resume_from_checkpoint, dir, sizeof dir, &step, r->world));
    if (step < 0) {
        if (r->world->rank == 0 && !r->flags.quiet)
            printf("reel: no checkpoint below %s yet: from scratch\n", c->output_dir);
        return REEL_OK;
    }
    REEL_TRY(load(r, dir));
    r->first = r->step = step;
    return REEL_OK;
}

reel_err reel_load_student(struct reel_run *r, const char *from)
{
    struct reel_state st;
    char dir[PATH_MAX];
    long step;
    reel_err e;

    REEL_TRY(reel_ckpt_resolve(r->cfg->training.checkpoint.output_dir, from, dir, sizeof dir, &step, r->world));
    if (step < 0)
        return REEL_FAIL(REEL_ECONFIG, "no checkpoint below %s", r->cfg->training.checkpoint.output_dir);
    e = reel_agree(r->world, reel_state_open(&st, r, 1, 0));
    if (e == REEL_OK) e = reel_ckpt_load(dir, &st.set, r->world);
    if (e == REEL_OK) reel_state_spread(&st, r);
    reel_state_close(&st);
    return e;
}

reel_err reel_save_close(struct reel_run *r)
{
    reel_err e;

    if (!r->saver) return REEL_OK;
    e = reel_ckpt_finish(&r->saver->job);
    reel_state_close(&r->saver->state);
    free(r->saver->config);
    free(r->saver);
    r->saver = NULL;
    return e;
}
