/* State of methods and callbacks: a visitor over the checkpoint's key tree. */
#include "ckpt/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "be/be.h"
#include "ckpt/names.h"
#include "ckpt/tree.h"

#define KEY_MAX 320

/* One value: where it lies in the tree, and its second place there, or -1. */
struct entry { int object, at, alias; };

struct owner { char prefix[128]; int lo, hi; };

struct block { void *p; size_t bytes; };

struct reel_io {
    enum reel_io_way way;
    struct reel_tree *tree;
    struct reel_stream *s;
    reel_err err;
    struct owner *owner; /* cur: the one whose values follow */
    int n_owner, cap_owner, cur;
    struct entry *entry; /* next: the one that a TAKE walk comes to */
    int n_entry, cap_entry, next;
    struct reel_arena *a; /* host memory of the values, above `mark`; NULL: of blocks */
    size_t mark;
    struct block *block; /* kept from walk to walk */
    int n_block, cap_block, used;
};

struct reel_io *reel_io_open(struct reel_arena *a)
{
    struct reel_io *io = calloc(1, sizeof *io);

    if (io && a) io->a = a, io->mark = a->used;
    return io;
}

void reel_io_close(struct reel_io *io)
{
    if (!io) return;
    for (int i = 0; i < io->n_block; i++) free(io->block[i].p);
    free(io->block);
    free(io->entry);
    free(io->owner);
    free(io);
}

int reel_io_loading(const struct reel_io *io) { return io->way == REEL_IO_TAKE; }

/* ---- memory ---- */

static void fail(struct reel_io *io, reel_err e)
{
    if (!io->err) io->err = e;
}

/* Room for element n of a growing array; 0 if there is none. */
static int room(struct reel_io *io, void **v, int n, int *cap, size_t size)
{
    int c = *cap ? 2 * *cap : 16;
    void *p;

    if (n < *cap) return 1;
    p = realloc(*v, (size_t)c * size);
    if (!p) {
        fail(io, REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for the state of methods and callbacks"));
        return 0;
    }
    *v = p;
    *cap = c;
    return 1;
}

/* Host memory that outlives the walk; the k-th value of every walk gets the k-th block. NULL without an error: only counted. */
static void *block(struct reel_io *io, size_t bytes)
{
    void *v = io->block;
    struct block *b;

    if (io->a) return reel_arena_push(io->a, bytes + 1);
    if (!room(io, &v, io->used, &io->cap_block, sizeof *io->block)) return NULL;
    io->block = v;
    if (io->used == io->n_block) io->block[io->n_block++] = (struct block){ NULL, 0 };
    b = &io->block[io->used++];
    if (b->p && b->bytes >= bytes) return b->p;
    free(b->p);
    *b = (struct block){ malloc(bytes + 1), bytes };
    if (!b->p) fail(io, REEL_FAIL(REEL_ENOMEM, "checkpoint: no memory for %zu bytes of state", bytes));
    return b->p;
}

/* ---- the walk ---- */

void reel_io_begin(struct reel_io *io, enum reel_io_way way, struct reel_tree *t, struct reel_stream *s)
{
    io->way = way;
    io->tree = t;
    io->s = s;
    io->err = REEL_OK;
    io->cur = -1;
    io->next = 0;
    if (way == REEL_IO_TAKE) return;
    io->n_owner = io->n_entry = io->used = 0;
    if (io->a) reel_arena_reset(io->a, io->mark);
}

static int found_at(const struct reel_io *io, int object, int at)
{
    return at >= 0 && (object ? io->tree->set.o[at].found : io->tree->set.t[at].found);
}

static int found(const struct reel_io *io, const struct entry *e)
{
    return found_at(io, e->object, e->at) || found_at(io, e->object, e->alias);
}

static enum reel_io_have have(const struct reel_io *io, const struct owner *o, const char **lacks)
{
    int n = 0;

    for (int i = o->lo; i < o->hi; i++) {
        const struct entry *e = &io->entry[i];
        if (found(io, e)) n++;
        else if (lacks && i - o->lo == n) *lacks = e->object ? io->tree->set.o[e->at].key : io->tree->set.t[e->at].key;
    }
    return n == o->hi - o->lo ? REEL_IO_ALL : n ? REEL_IO_SOME : REEL_IO_NONE;
}

enum reel_io_have reel_io_owner(struct reel_io *io, const char *prefix, const char **lacks)
{
    void *v = io->owner;

    if (io->way == REEL_IO_TAKE) {
        const struct owner *o = &io->owner[++io->cur];
        REEL_BUG_IF(io->cur >= io->n_owner || strcmp(o->prefix, prefix) != 0, "%s: was not asked for", prefix);
        io->next = o->lo;
        return have(io, o, lacks);
    }
    if (!room(io, &v, io->n_owner, &io->cap_owner, sizeof *io->owner)) return REEL_IO_ALL;
    io->owner = v;
    io->cur = io->n_owner++;
    io->owner[io->cur] = (struct owner){ .lo = io->n_entry, .hi = io->n_entry };
    snprintf(io->owner[io->cur].prefix, sizeof io->owner[io->cur].prefix, "%s", prefix);
    return REEL_IO_ALL;
}

reel_err reel_io_end(struct reel_io *io) { return io->err; }

/* A TAKE walk's next value, which the ASK walk listed at the same place. */
static const struct entry *take(struct reel_io *io, const char *name, int object)
{
    const struct owner *o = &io->owner[io->cur];
    const struct entry *e = &io->entry[io->next++];

    REEL_BUG_IF(io->next > o->hi || e->object != object, "%s.%s: was not asked for", o->prefix, name);
    return e;
}

static void list(struct reel_io *io, struct entry e)
{
    void *v = io->entry;

    if (!room(io, &v, io->n_entry, &io->cap_entry, sizeof *io->entry)) return;
    io->entry = v;
    io->entry[io->n_entry++] = e;
    io->owner[io->cur].hi = io->n_entry;
}

/* ---- values ---- */

static void put_object(struct reel_io *io, const char *name, struct reel_val v)
{
    struct entry e = { 1, io->tree->set.n_o, -1 };

    if (io->err) return;
    fail(io, reel_tree_object(io->tree, v, io->way == REEL_IO_ASK, "%s.%s", io->owner[io->cur].prefix, name));
    if (!io->err) list(io, e);
}

static int add_tensor(struct reel_io *io, const char *name, const struct reel_ckpt_tensor *x)
{
    int at = io->tree->set.n_t;

    fail(io, reel_tree_tensor(io->tree, x, "%s.%s", io->owner[io->cur].prefix, name));
    return at;
}

static void put_tensor(struct reel_io *io, const char *name, const char *alias, struct reel_ckpt_tensor x)
{
    struct entry e = { 0, -1, -1 };

    if (io->err) return;
    x.optional = io->way == REEL_IO_ASK;
    e.at = add_tensor(io, name, &x);
    if (alias && x.optional) e.alias = add_tensor(io, alias, &x);
    if (!io->err) list(io, e);
}

/* n host values of 8 bytes: one is an object, more are a tensor. */
static void values(struct reel_io *io, const char *name, void *v, int n, reel_dtype dt, struct reel_val one)
{
    struct reel_ckpt_tensor x = { .dt = dt, .nd = 1, .n = { n }, .rows = n };

    REEL_BUG_IF(n < 1, "%s.%s: %d values", io->owner[io->cur].prefix, name, n);
    if (io->err) return;
    if (io->way == REEL_IO_TAKE) {
        memcpy(v, io->tree->set.t[take(io, name, 0)->at].host, (size_t)n * 8);
    } else if (n == 1) {
        put_object(io, name, one);
    } else if ((x.host = block(io, (size_t)n * 8))) {
        memcpy(x.host, v, (size_t)n * 8);
        put_tensor(io, name, NULL, x);
    }
}

static const struct reel_val *take_object(struct reel_io *io, const char *name)
{
    return &io->tree->set.o[take(io, name, 1)->at].v;
}

static void mismatch(struct reel_io *io, const char *name, const char *want)
{
    fail(io, REEL_FAIL(REEL_EDATA, "checkpoint: %s.%s is not %s", io->owner[io->cur].prefix, name, want));
}

void reel_io_i64(struct reel_io *io, const char *name, int64_t *v, int n)
{
    const struct reel_val *o;

    if (io->way != REEL_IO_TAKE || n != 1) return values(io, name, v, n, REEL_I64, reel_val_int(*v));
    o = take_object(io, name);
    if (o->kind == REEL_VAL_INT) *v = o->u.i[0];
    else mismatch(io, name, "an integer");
}

void reel_io_f64(struct reel_io *io, const char *name, double *v, int n)
{
    const struct reel_val *o;

    if (io->way != REEL_IO_TAKE || n != 1) return values(io, name, v, n, REEL_F64, reel_val_float(*v));
    o = take_object(io, name);
    if (o->kind == REEL_VAL_FLOAT) *v = o->u.f[0];
    else if (o->kind == REEL_VAL_INT) *v = (double)o->u.i[0];
    else mismatch(io, name, "a number");
}

void reel_io_flag(struct reel_io *io, const char *name, int *v)
{
    const struct reel_val *o;

    if (io->way != REEL_IO_TAKE) return put_object(io, name, reel_val_bool(*v));
    o = take_object(io, name);
    if (o->kind == REEL_VAL_BOOL || o->kind == REEL_VAL_INT) *v = o->u.i[0] != 0;
    else mismatch(io, name, "True or False");
}

/* ---- device tensors ---- */

static void take_rows(struct reel_io *io, const char *name, reel_tensor local)
{
    const struct entry *e = take(io, name, 0);

    if (local.n[0]) reel_put(io->s, local, io->tree->set.t[e->at].host); /* the alias has the same host memory */
}

/* x: the global dimensions, and which part of them `local` is. */
static void rows(struct reel_io *io, const char *name, const char *alias, struct reel_ckpt_tensor x, reel_tensor local)
{
    int nd = x.nd;

    REEL_BUG_IF(nd < 1 || nd > REEL_MAXDIM || local.nd != nd || local.dt != REEL_F32, "%s.%s: %d dimensions of %s",
                io->owner[io->cur].prefix, name, local.nd, reel_dtype_name(local.dt));
    if (io->err) return;
    if (io->way == REEL_IO_TAKE) return take_rows(io, name, local);
    x.host = block(io, reel_bytes(local));
    if (!x.host) return;
    if (io->way == REEL_IO_SAVE && x.rows) reel_get(io->s, x.host, local);
    put_tensor(io, name, alias, x);
}

void reel_io_rows(struct reel_io *io, const char *name, const int64_t *n, int nd, int64_t row0, reel_tensor local)
{
    struct reel_ckpt_tensor x = { .dt = REEL_F32, .nd = nd, .row0 = row0, .rows = local.n[0] };

    memcpy(x.n, n, (size_t)(nd > 0 && nd <= REEL_MAXDIM ? nd : 0) * sizeof *n);
    rows(io, name, NULL, x, local);
}

void reel_io_shadow(struct reel_io *io, const char *name, const struct reel_params *ps, int i, reel_tensor local)
{
    const struct reel_param_def *d = &reel_params_cfg(ps)->def[i];
    struct reel_shard sh = reel_param_shard(ps, i);
    struct reel_ckpt_tensor x = { .dt = REEL_F32, .nd = d->nd, .row0 = sh.row0, .rows = local.n[0], .col0 = sh.col0,
                                  .cols = sh.cols };
    char fv[REEL_NAME_MAX], wrapped[REEL_NAME_MAX], key[KEY_MAX], alias[KEY_MAX];

    reel_name_ckpt(reel_params_cfg(ps)->naming, fv, d->name);
    snprintf(key, sizeof key, "%s.%s", name, fv);
    reel_name_wrapped(wrapped, fv);
    snprintf(alias, sizeof alias, "%s.%s", name, wrapped);
    memcpy(x.n, d->n, sizeof x.n);
    rows(io, key, strcmp(fv, wrapped) ? alias : NULL, x, local);
}
