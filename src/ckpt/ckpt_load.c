/* Loading: any layout into this one. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "ckpt/ckpt_priv.h"
#include "tensor/half.h"
#include "tensor/sizes.h"

/* ---- what does not fit, in one message ---- */

struct complaint { char text[600]; int n; };

static void complain(struct complaint *c, const char *key, const char *why)
{
    size_t at = strlen(c->text);

    if (c->n++ < 6) snprintf(c->text + at, sizeof c->text - at, "%s%s %s", c->n > 1 ? "; " : "", key, why);
}

static int convertible(const struct reel_pt_type *from, reel_dtype to)
{
    return from->dt == to || (to == REEL_F32 && (from->dt == REEL_BF16 || from->dt == REEL_F16 || from->dt == REEL_F64));
}

static void check_tensor(struct complaint *c, const struct reel_dcp *d, struct reel_ckpt_tensor *t)
{
    const struct reel_dcp_entry *e = reel_dcp_find(d, t->key);
    char why[256];

    t->found = e && e->type && e->nd == t->nd && memcmp(e->n, t->n, (size_t)t->nd * sizeof *t->n) == 0 &&
               convertible(e->type, t->dt);
    if (t->found || t->optional) return;
    if (!e) return complain(c, t->key, "is missing");
    if (!e->type) return complain(c, t->key, "is an object, a tensor was expected");
    snprintf(why, sizeof why, "is %s %s, %s %s was expected", e->type->name, reel_sizes_text(e->n, e->nd).s, reel_dtype_name(t->dt),
             reel_sizes_text(t->n, t->nd).s);
    complain(c, t->key, why);
}

static reel_err check_set(const char *dir, const struct reel_dcp *d, struct reel_ckpt_set *set)
{
    struct complaint c = { "", 0 };

    for (int i = 0; i < set->n_t; i++) check_tensor(&c, d, &set->t[i]);
    for (int i = 0; i < set->n_o; i++) {
        const struct reel_dcp_entry *e = reel_dcp_find(d, set->o[i].key);
        set->o[i].found = e && !e->type;
        if (!set->o[i].found && !set->o[i].optional) complain(&c, set->o[i].key, e ? "is a tensor, a value was expected" : "is missing");
    }
    if (!c.n) return REEL_OK;
    return REEL_FAIL(REEL_EDATA, "%s: %d keys do not fit this run: %s%s", dir, c.n, c.text, c.n > 6 ? "; ..." : "");
}

/* ---- reading ---- */

static void to_f32(float *dst, const char *src, int64_t n, reel_dtype from)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        double d;
        if (from == REEL_F64) memcpy(&d, src + 8 * i, 8), dst[i] = (float)d;
        else memcpy(&h, src + 2 * i, 2), dst[i] = from == REEL_BF16 ? reel_bf16_f32(h) : reel_f16_f32(h);
    }
}

static reel_err read_tensor(struct reel_dcp *d, const struct reel_ckpt_tensor *t)
{
    const struct reel_dcp_entry *e = reel_dcp_find(d, t->key);
    struct ckpt_part part = { t->row0, t->rows, t->cols ? t->col0 : 0, t->cols ? t->cols : t->nd > 1 ? t->n[1] : 0 };
    int64_t off[REEL_MAXDIM], n[REEL_MAXDIM], count;
    char *buf;
    reel_err err;

    if (!t->found || t->rows == 0) return REEL_OK;
    ckpt_chunk(t, &part, off, n);
    if (e->type->dt == t->dt) return reel_dcp_read(d, e, off, n, t->host);
    count = reel_pt_numel(n, t->nd);
    buf = malloc((size_t)count * (size_t)e->type->size + 1);
    if (!buf) return REEL_FAIL(REEL_ENOMEM, "%s: no memory to convert it", t->key);
    err = reel_dcp_read(d, e, off, n, buf);
    if (!err) to_f32(t->host, buf, count, e->type->dt);
    free(buf);
    return err;
}

static reel_err read_object(struct reel_dcp *d, struct reel_ckpt_object *o)
{
    struct reel_pt pt;
    reel_err e = reel_dcp_read_object(d, reel_dcp_find(d, o->key), &pt);

    if (!e) e = ckpt_get_val(&o->v, reel_pickle_root(pt.pkl), o->key);
    reel_pt_close(&pt);
    if (!e || !o->optional) return e;
    o->found = 0;
    reel_err_clear();
    return REEL_OK;
}

struct reading { struct reel_ckpt *k; struct reel_ckpt_set *set; };

/* This rank's parts, and on rank 0 the small values. */
static reel_err read_mine(void *ctx)
{
    const struct reading *r = ctx;

    for (int i = 0; i < r->set->n_t; i++) REEL_TRY(read_tensor(r->k->d, &r->set->t[i]));
    for (int i = 0; i < r->set->n_o && r->k->world->rank == 0; i++)
        if (r->set->o[i].found) REEL_TRY(read_object(r->k->d, &r->set->o[i]));
    return REEL_OK;
}

static void share_objects(struct reel_ckpt_set *set, struct reel_comm *world)
{
    for (int i = 0; i < set->n_o; i++) {
        reel_comm_bcast(world, &set->o[i].v, sizeof set->o[i].v, 0);
        reel_comm_bcast(world, &set->o[i].found, sizeof set->o[i].found, 0);
    }
}

/* ---- open ---- */

static reel_err read_texts(struct reel_ckpt *k, char *dcp, size_t size, void **meta, size_t *bytes, void **marker, size_t *marker_bytes)
{
    char path[PATH_MAX];

    REEL_TRY(ckpt_marker_read(&k->m, k->dir));
    if (k->m.files) REEL_TRY(ckpt_marker_sizes(&k->m, k->dir));
    REEL_TRY(ckpt_marker_sums(&k->m, k->dir, 1, 0, 1));
    REEL_TRY(reel_dcp_dir(k->dir, dcp, size));
    REEL_TRY(reel_join(path, sizeof path, dcp, ".metadata"));
    REEL_TRY(reel_file_read(path, (char **)meta, bytes));
    if (!k->m.files) return REEL_OK;
    *marker = json_dumps(k->m.files, JSON_COMPACT);
    if (!*marker) return REEL_FAIL(REEL_ENOMEM, "%s: no memory for its marker", k->dir);
    *marker_bytes = strlen(*marker);
    return REEL_OK;
}

/* What rank 0 has read, on every rank. */
static reel_err parse(struct reel_ckpt *k, const char *dcp, const void *meta, size_t bytes, const void *marker, size_t marker_bytes)
{
    if (marker_bytes && !k->m.files) REEL_TRY(reel_json_parse(&k->m.files, marker, marker_bytes, CKPT_MARKER));
    REEL_TRY(reel_dcp_open_mem(&k->d, dcp, meta, bytes));
    return k->m.files || k->world->rank ? REEL_OK : reel_dcp_check_files(k->d);
}

static reel_err open_all(struct reel_ckpt *k)
{
    void *meta = NULL, *marker = NULL;
    size_t bytes = 0, marker_bytes = 0;
    char dcp[PATH_MAX] = "";
    reel_err e = REEL_OK;

    if (k->world->rank == 0) e = read_texts(k, dcp, sizeof dcp, &meta, &bytes, &marker, &marker_bytes);
    e = reel_agree(k->world, e);
    if (!e) {
        reel_comm_bcast(k->world, dcp, sizeof dcp, 0);
        reel_comm_bcast(k->world, &k->m.version, sizeof k->m.version, 0);
        e = reel_comm_bcast_blob(k->world, &meta, &bytes, 0);
    }
    if (!e) e = reel_comm_bcast_blob(k->world, &marker, &marker_bytes, 0);
    if (!e) e = reel_agree(k->world, parse(k, dcp, meta, bytes, marker, marker_bytes));
    free(meta), free(marker);
    return e;
}

reel_err reel_ckpt_open(struct reel_ckpt **out, const char *dir, struct reel_comm *world)
{
    struct reel_ckpt *k = *out = calloc(1, sizeof *k);
    reel_err e = reel_agree(world, k ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "%s: no memory to load it", dir));

    if (!e) {
        k->world = world;
        snprintf(k->dir, sizeof k->dir, "%s", dir);
        e = open_all(k);
    }
    if (!e) return REEL_OK;
    reel_ckpt_close(k);
    *out = NULL;
    return e;
}

void reel_ckpt_close(struct reel_ckpt *k)
{
    if (!k) return;
    reel_dcp_close(k->d);
    ckpt_marker_free(&k->m);
    free(k);
}

int reel_ckpt_has_below(const struct reel_ckpt *k, const char *prefix)
{
    for (int i = 0; i < reel_dcp_count(k->d); i++)
        if (!strncmp(reel_dcp_entry(k->d, i)->key, prefix, strlen(prefix))) return 1;
    return 0;
}

reel_err reel_ckpt_average(const struct reel_ckpt *k, const char *role, char *owner, size_t size)
{
    return ckpt_average(k->d, k->dir, role, owner, size);
}

/* ---- read ---- */

reel_err reel_ckpt_read(struct reel_ckpt *k, struct reel_ckpt_set *set, int whole)
{
    struct reading r = { k, set };
    struct ckpt_task t = { 0 };

    if (whole) REEL_TRY(ckpt_want_whole(k));
    REEL_TRY(reel_agree(k->world, check_set(k->dir, k->d, set)));
    ckpt_task_start(&t, read_mine, &r);
    REEL_TRY(ckpt_task_wait(&t, k->world));
    share_objects(set, k->world);
    return whole ? ckpt_verify_rest(k) : REEL_OK;
}

reel_err reel_ckpt_load(const char *dir, struct reel_ckpt_set *set, struct reel_comm *world)
{
    struct reel_ckpt *k;
    reel_err e;

    REEL_TRY(reel_ckpt_open(&k, dir, world));
    e = reel_ckpt_read(k, set, 0);
    reel_ckpt_close(k);
    return e;
}
