#ifndef REEL_TENSOR_TENSOR_H
#define REEL_TENSOR_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

typedef enum {
    REEL_F32,
    REEL_BF16,
    REEL_F16,
    REEL_F64,
    REEL_I64,
    REEL_I32,
    REEL_U16,
    REEL_U8,
    REEL_NDTYPE
} reel_dtype;

size_t reel_dtype_size(reel_dtype dt);      /* bytes of one element */
const char *reel_dtype_name(reel_dtype dt); /* "f32", "bf16", ... */

#define REEL_MAXDIM 5

/* A contiguous row-major view, passed by value; never owns. p == NULL: a planning view. */
typedef struct reel_tensor {
    void *p;
    reel_dtype dt;
    int nd;
    int64_t n[REEL_MAXDIM];
} reel_tensor;

#define REEL_DIMS(...) ((const int64_t[]){ __VA_ARGS__ }), \
    (int)(sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t))

/** reel_view - a view of memory at p. Local. */
reel_tensor reel_view(void *p, reel_dtype dt, const int64_t *n, int nd);
/** reel_new - a view of fresh arena memory (uninitialised); p is NULL while planning. Local. */
reel_tensor reel_new(struct reel_arena *a, reel_dtype dt, const int64_t *n, int nd);
int64_t reel_numel(reel_tensor t);
size_t reel_bytes(reel_tensor t);
/** reel_at - sub-view t[i] of the first dimension (one dimension fewer). Local. */
reel_tensor reel_at(reel_tensor t, int64_t i);
/** reel_slice - rows [lo,hi) of the first dimension. Local. */
reel_tensor reel_slice(reel_tensor t, int64_t lo, int64_t hi);
/** reel_reshape - the same elements under other dimensions; a count mismatch is a bug. Local. */
reel_tensor reel_reshape(reel_tensor t, const int64_t *n, int nd);

/* Example: reel_tensor q = reel_new(a, REEL_F32, REEL_DIMS(B, S, D)); */

/* How a parameter starts under `init: random` (spec: weights normal/sqrt(fan-in) ...). */
enum reel_init {
    REEL_INIT_ZERO,
    REEL_INIT_ONE,
    REEL_INIT_NORMAL,  /* normal * init_scale, plus 1 in the rows of init_ones */
    REEL_INIT_UNIFORM, /* uniform in [-init_scale, init_scale) */
};

/* One line of a model's parameter table: drives layout, init, checkpoint keys, loading. */
struct reel_param_def {
    char name[112]; /* Diffusers name; draw "init/<name>"; checkpoint keys derive from it */
    int nd;
    int64_t n[REEL_MAXDIM];
    int unit;           /* HSDP unit: 0 = the root unit, 1.. = blocks in order */
    int keep_f32;       /* gathered in f32 whatever the compute dtype (vectors, tables, time path) */
    enum reel_init init;
    float init_scale;
    uint32_t init_ones; /* bit r: row r, of vectors along the last dimension */
    int optional; /* files may lack it: then it starts at zero */
    int frozen;  /* not trained even in a trainable role: no gradient, no moments, not in checkpoints */
    int adapter; /* A, then B of a low-rank adapter follow at this index of the table; 0: none */
    /* how tensor parallel ranks share it: each holds all of it, some rows (dim 0), or some columns (dim 1) */
    enum reel_param_split { REEL_SPLIT_NONE, REEL_SPLIT_ROWS, REEL_SPLIT_COLS } split;
    enum reel_param_part { REEL_PARAM_OWN, REEL_PARAM_LORA_A, REEL_PARAM_LORA_B } part; /* of the model, or of an adapter */
};

#endif
