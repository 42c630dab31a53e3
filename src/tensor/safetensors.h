#ifndef REEL_TENSOR_SAFETENSORS_H
#define REEL_TENSOR_SAFETENSORS_H

/* safetensors: u64 little-endian header length, JSON header, data without gaps. The reader is
 * strict: offsets start at 0, touch, and end at the end of the file; sizes agree with shapes;
 * names are unique. Messages name the file and the tensor. See src/tensor/README.md. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tensor/tensor.h"

#define REEL_ST_MAXDIM 8

struct reel_st; /* an open file or a buffer */

struct reel_st_entry {
    const char *name, *dtype; /* dtype as in the file: "F32", "BF16", ... */
    reel_dtype dt;            /* REEL_NDTYPE: a type the program has no arithmetic for */
    int nd;
    int64_t n[REEL_ST_MAXDIM];
    uint64_t at, bytes; /* offset in the file (not in the data part), length */
};

/** reel_st_open - read and check the header; tensor data stays on disk. Local. REEL_EIO, REEL_EDATA. */
reel_err reel_st_open(struct reel_st **st, const char *path);

/** reel_st_open_mem - the same over `bytes` of a whole file in memory, which the caller keeps
 * until close; `where` names it in messages. Local. REEL_EDATA. */
reel_err reel_st_open_mem(struct reel_st **st, const void *mem, size_t bytes, const char *where);
void reel_st_close(struct reel_st *st); /* NULL is fine */

int reel_st_count(const struct reel_st *st);
const struct reel_st_entry *reel_st_entry(const struct reel_st *st, int i); /* in data order */
const struct reel_st_entry *reel_st_find(const struct reel_st *st, const char *name); /* or NULL */
const char *reel_st_meta(const struct reel_st *st, const char *key); /* of __metadata__, or NULL */
const char *reel_st_path(const struct reel_st *st);

/** reel_st_read - raw bytes [from, from+bytes) of a tensor. Local. REEL_EIO. */
reel_err reel_st_read(const struct reel_st *st, const struct reel_st_entry *e, uint64_t from, size_t bytes,
                      void *dst);

/** reel_st_read_f32 - rows [row0, row0+rows) of dim 0 (a 0-dim tensor has one row), widened to f32.
 * Local. REEL_EIO; REEL_EDATA unless F32, BF16 or F16.
 * @dst  out [rows, ...] f32 host memory */
reel_err reel_st_read_f32(const struct reel_st *st, const struct reel_st_entry *e, int64_t row0, int64_t rows,
                          float *dst);

/** reel_st_read_box_f32 - the same, of each row the columns [col0, col0+cols) of dim 1 alone; cols 0: all of them.
 * Local. REEL_ENOMEM besides. */
reel_err reel_st_read_box_f32(const struct reel_st *st, const struct reel_st_entry *e, int64_t row0, int64_t rows,
                              int64_t col0, int64_t cols, float *dst);

struct reel_st_item {
    const char *name;
    reel_dtype dt;
    int nd;
    int64_t n[REEL_MAXDIM];
    const void *data; /* NULL: `fill` provides it */
};
struct reel_st_kv { const char *key, *value; };

/**
 * reel_st_write - a whole file, in the reference writer's order (wide types first, then by name),
 * header padded to 8 bytes, through `path`.tmp, fsync and rename. Local. REEL_EIO, REEL_ENOMEM;
 * REEL_EDATA on a duplicate or reserved name.
 * @meta  n_meta pairs of __metadata__; NULL: {"format":"pt"}; n_meta 0: none
 * @fill  called once per item whose data is NULL, in file order: dst [reel_bytes of the item]; may be NULL
 */
reel_err reel_st_write(const char *path, const struct reel_st_item *items, int n, const struct reel_st_kv *meta,
                       int n_meta, reel_err (*fill)(void *ctx, int item, void *dst), void *ctx);

#endif
