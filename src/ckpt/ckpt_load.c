/* Loading: any layout into this one. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "ckpt/ckpt_priv.h"
#include "tensor/half.h"

/* ---- what does not fit, in one message ---- */

struct complaint { char text[600]; int n; };

static void complain(struct complaint *c, const char *key, const char *why)
{
    size_t at = strlen(c->text);

    if (c->n++ < 6) snprintf(c->text + at, sizeof c->text - at, "%s%s %s", c->n > 1 ? "; " : "", key, why);
}

static void sizes(char *s, size_t room, const int64_t *n, int nd)
{
    size_t at = (size_t)snprintf(s, room, "[");

    for (int i = 0; i < nd && at < room; i++)
        at += (size_t)snprintf(s + at, room - at, "%s%lld", i ? "," : "", (long long)n[i]);
    if (at < room) snprintf(s + at, room - at, "]");
}

static int convertible(const struct reel_pt_type *from, reel_dtype to)
{
    return from->dt == to || (to == REEL_F32 && (from->dt == REEL_BF16 || from->dt == REEL_F16 || from->dt == REEL_F64));
}

static void check_tensor(struct complaint *c, const struct reel_dcp *d, struct reel_ckpt_tensor *t)
{
    const struct reel_dcp_entry *e = reel_dcp_find(d, t->key);
    char have[80], want[80], why[200];

    t->found = e && e->type && e->nd == t->nd && memcmp(e->n, t->n, (size_t)t->nd * sizeof *t->n) == 0 &&
               convertible(e->type, t->dt);
    if (t->found || t->optional) return;
    if (!e) return complain(c, t->key, "is missing");
    if (!e->type) return complain(c, t->key, "is an object, a tensor was expected");
    sizes(have, sizeof have, e->n, e->nd);
    sizes(want, sizeof want, t->n, t->nd);
    snprintf(why, sizeof why, "is %s %s, %s %s was expected", e->type->name, have, reel_dtype_name(t->dt), want);
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

/* Rank 0 reads the small values for all. */
static reel_err read_objects(struct reel_dcp *d, struct reel_ckpt_set *set, struct reel_comm *world)
{
    reel_err e = REEL_OK;

    for (int i = 0; i < set->n_o && !e && world->rank == 0; i++)
        if (set->o[i].found) e = read_object(d, &set->o[i]);
    REEL_TRY(reel_agree(world, e));
    for (int i = 0; i < set->n_o; i++) {
        reel_comm_bcast(world, &set->o[i].v, sizeof set->o[i].v, 0);
        reel_comm_bcast(world, &set->o[i].found, sizeof set->o[i].found, 0);
    }
    return REEL_OK;
}

static reel_err read_metadata(const char *dir, char *dcp, size_t size, void **meta, size_t *bytes)
{
    char path[PATH_MAX];

    REEL_TRY(ckpt_complete(dir));
    REEL_TRY(ckpt_dcp_dir(dir, dcp, size));
    REEL_TRY(reel_join(path, sizeof path, dcp, ".metadata"));
    return reel_file_read(path, (char **)meta, bytes);
}

reel_err reel_ckpt_load(const char *dir, struct reel_ckpt_set *set, struct reel_comm *world)
{
    struct reel_dcp *d = NULL;
    char dcp[PATH_MAX] = "";
    void *meta = NULL;
    size_t bytes = 0;
    reel_err e = REEL_OK;

    if (world->rank == 0) e = read_metadata(dir, dcp, sizeof dcp, &meta, &bytes);
    REEL_TRY(reel_agree(world, e));
    reel_comm_bcast(world, dcp, sizeof dcp, 0);
    REEL_TRY(reel_comm_bcast_blob(world, &meta, &bytes, 0));
    e = reel_dcp_open_mem(&d, dcp, meta, bytes);
    free(meta);
    if (!e) e = check_set(dir, d, set);
    for (int i = 0; i < set->n_t && !e; i++) e = read_tensor(d, &set->t[i]);
    e = reel_agree(world, e);
    if (!e) e = read_objects(d, set, world);
    reel_dcp_close(d);
    return e;
}

int reel_ckpt_has_below(const char *dir, const char *prefix)
{
    struct reel_dcp *d;
    char dcp[PATH_MAX];
    int has = -1;

    if (!ckpt_dcp_dir(dir, dcp, sizeof dcp) && !reel_dcp_open(&d, dcp)) {
        has = 0;
        for (int i = 0; i < reel_dcp_count(d) && !has; i++) has = !strncmp(reel_dcp_entry(d, i)->key, prefix, strlen(prefix));
        reel_dcp_close(d);
    }
    reel_err_clear();
    return has;
}
