#include "ckpt/import.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "ckpt/ckpt_priv.h"
#include "ckpt/export_priv.h"
#include "ckpt/hf.h"
#include "ckpt/tree.h"

struct source {
    struct reel_weights w;
    struct reel_hf_tensor *t;
    int n;
};

static void close_source(struct source *s)
{
    free(s->t);
    reel_weights_close(&s->w);
}

/* Open files, by our names, which are those of the model. The caller closes it after an error too. */
static reel_err open_source(struct source *s, const struct reel_import *x, const char *list, size_t bytes)
{
    REEL_TRY(reel_weights_open(&s->w, list, bytes));
    REEL_TRY(reel_hf_index(&s->w, x->model->naming, &s->t, &s->n));
    REEL_TRY(reel_hf_fit(x->model, s->t, s->n, x->weights, x->assumed));
    for (int i = 0; i < s->n; i++)
        if (s->t[i].e->dt != REEL_F32 && s->t[i].e->dt != REEL_BF16 && s->t[i].e->dt != REEL_F16)
            return REEL_FAIL(REEL_EDATA, "%s: %s is %s; F32, BF16 or F16 was expected", reel_st_path(s->t[i].file), s->t[i].e->name,
                             s->t[i].e->dtype);
    return REEL_OK;
}

/* ---- a folder ---- */

struct folder {
    struct export_job job; /* first: the work gets its address */
    const struct reel_import *x;
    struct source *s;
};

static reel_err write_folder(struct export_job *j)
{
    struct folder *f = (struct folder *)j;

    j->t = calloc((size_t)f->s->n + 1, sizeof *j->t);
    if (!j->t) return REEL_FAIL(REEL_ENOMEM, "import: no memory");
    for (int i = 0; i < f->s->n; i++) {
        const struct reel_hf_tensor *h = &f->s->t[i];
        struct export_one *t = &j->t[j->n];
        if (!h->used) continue; /* _extra_state */
        *t = (struct export_one){ .nd = h->e->nd, .w = h->e, .from = h->file, .dt = f->x->dt == REEL_NDTYPE ? h->e->dt : f->x->dt };
        memcpy(t->n, h->e->n, (size_t)t->nd * sizeof *t->n);
        memcpy(t->name, h->name, sizeof t->name);
        j->n++;
    }
    return export_files(j, f->x->config);
}

reel_err reel_import_folder(const struct reel_import *x)
{
    struct reel_export out = { .out = x->out, .base = x->base, .dt = x->dt, .shard_bytes = x->shard_bytes };
    struct source s = { .t = NULL };
    struct folder f = { .job = { .x = &out }, .x = x, .s = &s };
    char *list;
    size_t bytes;
    reel_err e;

    REEL_TRY(reel_weights_list(x->weights, &list, &bytes));
    e = open_source(&s, x, list, bytes);
    if (!e) e = export_guard(&f.job, write_folder);
    free(list);
    free(f.job.t);
    close_source(&s);
    return e;
}

/* ---- a checkpoint ---- */

/* This rank's rows of every parameter. */
static struct reel_ckpt_tensor share(const struct reel_param_def *d, const struct reel_comm *world)
{
    struct reel_ckpt_tensor t = { .dt = REEL_F32, .nd = d->nd, .rows = 1 };
    int64_t each;

    memcpy(t.n, d->n, (size_t)d->nd * sizeof *d->n);
    if (!d->nd) return t;
    each = (d->n[0] + world->size - 1) / world->size;
    t.row0 = each * world->rank < d->n[0] ? each * world->rank : d->n[0];
    t.rows = t.row0 + each < d->n[0] ? each : d->n[0] - t.row0;
    return t;
}

static int64_t share_len(const struct reel_ckpt_tensor *t)
{
    int64_t n = t->rows;

    for (int i = 1; i < t->nd; i++) n *= t->n[i];
    return n;
}

/* Rows of the files into one buffer, and the tree over it. Optional parameters that the files lack are zero. */
static reel_err read_shares(const struct reel_import *x, struct source *s, const struct reel_comm *world, struct reel_tree *tree, float **buf)
{
    const struct reel_params_cfg *m = x->model;
    int64_t total = 0, at = 0;

    for (int i = 0; i < m->n; i++) {
        struct reel_ckpt_tensor t = share(&m->def[i], world);
        total += share_len(&t);
    }
    *buf = calloc((size_t)total + 1, sizeof **buf);
    if (!*buf) return REEL_FAIL(REEL_ENOMEM, "import: no memory for %lld weights; more ranks share them out", (long long)total);
    for (int i = 0; i < m->n; i++) {
        struct reel_ckpt_tensor t = share(&m->def[i], world);
        const struct reel_hf_tensor *h = reel_hf_find(s->t, s->n, m->def[i].name);
        char name[REEL_NAME_MAX];
        t.host = *buf + at;
        if (h && t.rows) REEL_TRY(reel_weights_read(h->file, h->e, t.row0, t.rows, 0, 0, t.host));
        reel_name_ckpt(m->naming, name, m->def[i].name);
        REEL_TRY(reel_tree_tensor(tree, &t, "roles.%s.transformer.%s", m->role, name));
        at += share_len(&t);
    }
    return REEL_OK;
}

static reel_err new_place(const struct reel_import *x, char *dir, char **list, size_t *bytes)
{
    char name[PATH_MAX];

    REEL_TRY(export_new(x->out, name, sizeof name));
    reel_parent(dir, name);
    REEL_TRY(reel_weights_list(x->weights, list, bytes));
    return reel_mkdirs(dir);
}

/* A failed save may have its name already, if not for good: the next import may take it. */
static reel_err save(const struct reel_import *x, const struct reel_ckpt_req *q, struct reel_comm *world)
{
    reel_err e = reel_ckpt_save(q, world);
    struct reel_errrec first = *reel_errrec();
    int rest;

    if (e && world->rank == 0) (void)!ckpt_remove(x->out, &rest);
    *reel_errrec() = first;
    return e;
}

reel_err reel_import_checkpoint(const struct reel_import *x, const char *meta, struct reel_comm *world)
{
    struct source s = { .t = NULL };
    struct reel_tree tree = { .cap_t = 0 };
    char dir[PATH_MAX] = "";
    void *list = NULL;
    float *buf = NULL;
    size_t bytes = 0;
    reel_err e = REEL_OK;

    if (world->rank == 0) e = new_place(x, dir, (char **)&list, &bytes);
    REEL_TRY(reel_agree(world, e));
    reel_comm_bcast(world, dir, sizeof dir, 0);
    REEL_TRY(reel_comm_bcast_blob(world, &list, &bytes, 0));
    e = open_source(&s, x, list, bytes);
    if (!e) e = read_shares(x, &s, world, &tree, &buf);
    e = reel_agree(world, e);
    if (!e)
        e = save(x, &(struct reel_ckpt_req){ .output_dir = dir, .step = reel_ckpt_step_in_name(x->out), .set = tree.set, .config_json = meta }, world);
    reel_tree_free(&tree);
    free(buf);
    free(list);
    close_source(&s);
    return e;
}
