#ifndef REEL_CKPT_PICKLE_H
#define REEL_CKPT_PICKLE_H

/* Python pickles as data. The reader knows a white list of classes, each with the one use it may
 * have; it builds a tree of values and executes nothing. The writer emits protocol 2 without memo. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum reel_pv_kind {
    REEL_PV_NONE,
    REEL_PV_BOOL,
    REEL_PV_INT,
    REEL_PV_BIGINT, /* beyond 64 bits: str holds little-endian two's complement */
    REEL_PV_FLOAT,
    REEL_PV_STR,
    REEL_PV_BYTES,
    REEL_PV_TUPLE,
    REEL_PV_LIST,   /* and sets */
    REEL_PV_DICT,   /* seq: key, value, key, value ... in file order */
    REEL_PV_GLOBAL, /* a class used as a value */
    REEL_PV_OBJ,    /* an instance or a call that stays symbolic: args, state */
    REEL_PV_PERSID, /* persistent id: seq of its tuple */
};

struct reel_pv {
    unsigned char kind;
    unsigned char mark; /* walk state while checking for cycles */
    short cls;          /* GLOBAL, OBJ: row of the class table */
    union {
        int64_t i;
        double f;
        struct { char *p; size_t n; } str; /* NUL-terminated; n without the NUL */
        struct { struct reel_pv **v; size_t n, cap; } seq;
        struct { struct reel_pv *args, *state; } obj; /* state NULL: never BUILT */
    } u;
};

struct reel_pickle; /* owns every value */

/**
 * reel_pickle_load - parse one pickle (protocols 2 to 5). Local.
 * Limits: nesting 256; lengths are checked against the input before anything is allocated; memo
 * references must exist; a value that contains itself is refused.
 * Errors: REEL_EDATA with `where` and the byte offset; REEL_ENOMEM.
 */
reel_err reel_pickle_load(struct reel_pickle **out, const void *data, size_t bytes, const char *where);
void reel_pickle_free(struct reel_pickle *p);
const struct reel_pv *reel_pickle_root(const struct reel_pickle *p);

/** reel_pickle_calls - visit every call that stayed symbolic (tensors, arrays), wherever it stands;
 * stops at the first error and returns it. Local. */
reel_err reel_pickle_calls(const struct reel_pickle *p, reel_err (*visit)(void *ctx, const struct reel_pv *call),
                           void *ctx);

/** reel_pv_class - class name of a GLOBAL or OBJ ("Metadata", "float32"), "" for others. Local. */
const char *reel_pv_class(const struct reel_pv *v);

/** reel_pv_get - value of a string key in a DICT, or in the state of an OBJ; NULL if absent. Local. */
const struct reel_pv *reel_pv_get(const struct reel_pv *v, const char *key);

/** reel_pv_ints - a tuple or list of non-negative ints into n[max]; -1 if it is not one. Local. */
int reel_pv_ints(const struct reel_pv *v, int64_t *n, int max);

/* ---- writer: protocol 2, no memo, no frames. A byte buffer that remembers running out of memory. ---- */

struct reel_pw { char *p; size_t n, cap; int failed; };

void reel_pw_begin(struct reel_pw *w); /* PROTO 2 */
void reel_pw_end(struct reel_pw *w);   /* STOP */
void reel_pw_free(struct reel_pw *w);
void reel_pw_raw(struct reel_pw *w, const void *bytes, size_t n);
void reel_pw_op(struct reel_pw *w, char op);
void reel_pw_int(struct reel_pw *w, int64_t v);
void reel_pw_float(struct reel_pw *w, double v);
void reel_pw_strn(struct reel_pw *w, const char *s, size_t n); /* UTF-8 */
void reel_pw_str(struct reel_pw *w, const char *s);
void reel_pw_global(struct reel_pw *w, const char *module, const char *name);
void reel_pw_ints(struct reel_pw *w, const int64_t *n, int count); /* a tuple */
void reel_pw_tuple(struct reel_pw *w, int count); /* of the last `count` <= 3 values; more: MARK first, then 't' */

/* Opcodes written by name. */
enum {
    REEL_P_MARK = '(', REEL_P_TUPLE = 't', REEL_P_EMPTY_TUPLE = ')', REEL_P_EMPTY_LIST = ']', REEL_P_APPENDS = 'e',
    REEL_P_EMPTY_DICT = '}', REEL_P_SETITEMS = 'u', REEL_P_NONE = 'N', REEL_P_TRUE = '\x88', REEL_P_FALSE = '\x89',
    REEL_P_NEWOBJ = '\x81', REEL_P_BUILD = 'b', REEL_P_REDUCE = 'R', REEL_P_PERSID = 'Q',
};

#endif
