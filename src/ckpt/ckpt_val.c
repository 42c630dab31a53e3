/* Small values as archives and back. */
#include <stdio.h>
#include <string.h>

#include "ckpt/ckpt_priv.h"

struct reel_val reel_val_none(void) { return (struct reel_val){ .kind = REEL_VAL_NONE }; }
struct reel_val reel_val_bool(int v) { return (struct reel_val){ .kind = REEL_VAL_BOOL, .u.i = { v != 0 } }; }
struct reel_val reel_val_int(int64_t v) { return (struct reel_val){ .kind = REEL_VAL_INT, .u.i = { v } }; }
struct reel_val reel_val_float(double v) { return (struct reel_val){ .kind = REEL_VAL_FLOAT, .u.f = { v } }; }

struct reel_val reel_val_str(const char *s)
{
    struct reel_val v = { .kind = REEL_VAL_STR };

    snprintf(v.u.s, sizeof v.u.s, "%s", s);
    return v;
}

struct reel_val reel_val_seq(enum reel_val_kind kind, struct reel_val v0, struct reel_val v1, int n)
{
    struct reel_val v = { .kind = kind, .item = v0.kind, .n = n };

    v.u.i[0] = v0.u.i[0];
    v.u.i[1] = v1.u.i[0];
    return v;
}

static void put_scalar(struct reel_pw *w, const struct reel_val *v, enum reel_val_kind kind, int i)
{
    switch (kind) {
    case REEL_VAL_BOOL: return reel_pw_op(w, v->u.i[i] ? REEL_P_TRUE : REEL_P_FALSE);
    case REEL_VAL_INT: return reel_pw_int(w, v->u.i[i]);
    case REEL_VAL_FLOAT: return reel_pw_float(w, v->u.f[i]);
    case REEL_VAL_STR: return reel_pw_str(w, v->u.s);
    default: return reel_pw_op(w, REEL_P_NONE);
    }
}

static void put_seq(struct reel_pw *w, const struct reel_val *v)
{
    int list = v->kind == REEL_VAL_LIST;

    if (list) reel_pw_op(w, REEL_P_EMPTY_LIST);
    if (v->n == 0) return list ? (void)0 : reel_pw_op(w, REEL_P_EMPTY_TUPLE);
    reel_pw_op(w, REEL_P_MARK);
    for (int i = 0; i < v->n; i++) put_scalar(w, v, v->item, i);
    reel_pw_op(w, list ? REEL_P_APPENDS : REEL_P_TUPLE);
}

void ckpt_put_val(struct reel_pw *w, const struct reel_val *v)
{
    struct reel_pw pkl = { 0 };

    reel_pw_begin(&pkl);
    if (v->kind == REEL_VAL_LIST || v->kind == REEL_VAL_TUPLE) put_seq(&pkl, v);
    else put_scalar(&pkl, v, v->kind, 0);
    reel_pw_end(&pkl);
    w->failed |= pkl.failed;
    reel_pt_put_object(w, pkl.p, pkl.n);
    reel_pw_free(&pkl);
}

static int get_scalar(struct reel_val *v, enum reel_val_kind *kind, const struct reel_pv *p, int i)
{
    switch (p->kind) {
    case REEL_PV_NONE: return *kind = REEL_VAL_NONE, 1;
    case REEL_PV_BOOL: return *kind = REEL_VAL_BOOL, v->u.i[i] = p->u.i, 1;
    case REEL_PV_INT: return *kind = REEL_VAL_INT, v->u.i[i] = p->u.i, 1;
    case REEL_PV_FLOAT: return *kind = REEL_VAL_FLOAT, v->u.f[i] = p->u.f, 1;
    default: return 0;
    }
}

static int get_seq(struct reel_val *v, const struct reel_pv *p)
{
    enum reel_val_kind kind;

    if (p->u.seq.n > REEL_VAL_ITEMS) return 0;
    v->n = (int)p->u.seq.n;
    for (int i = 0; i < v->n; i++) {
        if (!get_scalar(v, &kind, p->u.seq.v[i], i) || (i && kind != v->item)) return 0;
        v->item = kind;
    }
    return 1;
}

reel_err ckpt_get_val(struct reel_val *v, const struct reel_pv *p, const char *key)
{
    int ok;

    *v = (struct reel_val){ .kind = REEL_VAL_NONE };
    if (p->kind == REEL_PV_STR) {
        ok = p->u.str.n < sizeof v->u.s;
        if (ok) *v = reel_val_str(p->u.str.p);
    } else if (p->kind == REEL_PV_LIST || p->kind == REEL_PV_TUPLE) {
        v->kind = p->kind == REEL_PV_LIST ? REEL_VAL_LIST : REEL_VAL_TUPLE;
        ok = get_seq(v, p);
    } else {
        ok = get_scalar(v, &v->kind, p, 0);
    }
    return ok ? REEL_OK : REEL_FAIL(REEL_EDATA, "%s: a number, text or short list was expected", key);
}
