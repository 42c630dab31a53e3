#ifndef REEL_CKPT_IO_H
#define REEL_CKPT_IO_H

/* State of methods and callbacks in a checkpoint. One function of theirs names each value; saving reads
 * it, loading writes it, so that the two cannot disagree. Keys: method.<name>, callbacks.<key>.<name>. */

#include "base/arena.h"
#include "base/err.h"
#include "nn/params.h"
#include "tensor/tensor.h"

struct reel_io;
struct reel_tree;

/* ---- for state functions: name the same values in the same order whatever has been loaded so far ---- */

/** reel_io_i64, reel_io_f64 - n host values, equal on every rank. Local; an error is kept for the agreement. */
void reel_io_i64(struct reel_io *io, const char *name, int64_t *v, int n);
void reel_io_f64(struct reel_io *io, const char *name, double *v, int n);
/** reel_io_flag - one host value that is 0 or 1 (False or True in the file), equal on every rank. Local. */
void reel_io_flag(struct reel_io *io, const char *name, int *v);
/**
 * reel_io_rows - this rank's rows of a sharded device tensor. Local.
 * @n, @nd  global shape    @row0  first row held    @local  [rows, ...] f32; rows may be 0
 */
void reel_io_rows(struct reel_io *io, const char *name, const int64_t *n, int nd, int64_t row0, reel_tensor local);
/** reel_io_shadow - rows that lie like this rank's rows of parameter i, as <name>.<FastVideo's name of the
 * parameter>. A load also takes FastVideo's averages, whose names have wrapper parts in them. Local. */
void reel_io_shadow(struct reel_io *io, const char *name, const struct reel_params *ps, int i, reel_tensor local);
/** reel_io_loading - 1 if values are being written back. Local. */
int reel_io_loading(const struct reel_io *io);

/* ---- for who saves and loads: one walk over all owners to save, two to load, with the load between ---- */

enum reel_io_way {
    REEL_IO_SAVE, /* values into the tree */
    REEL_IO_ASK,  /* their places into the tree, all optional */
    REEL_IO_TAKE, /* what was loaded into these places back to where it belongs */
};

enum reel_io_have { REEL_IO_NONE, REEL_IO_SOME, REEL_IO_ALL };

/** reel_io_open - NULL: no memory. Local.
 * @a  host memory of the values; a walk takes the same places in it as the one before, above what was used when this is
 *     called. While it plans (base NULL), walks to save only count. NULL: malloc'ed. */
struct reel_io *reel_io_open(struct reel_arena *a);
void reel_io_close(struct reel_io *io);
/** reel_io_begin - start a walk. The tree's tensors stay valid until the next walk that is not a TAKE. Local. */
void reel_io_begin(struct reel_io *io, enum reel_io_way way, struct reel_tree *t, struct reel_stream *s);
/**
 * reel_io_owner - what follows is named below `prefix`. Local.
 * Returns, in a TAKE walk, how much of the owner's state the checkpoint had (call its state function only
 * for REEL_IO_ALL), and the first key that it lacked in *lacks unless NULL; REEL_IO_ALL in other walks.
 */
enum reel_io_have reel_io_owner(struct reel_io *io, const char *prefix, const char **lacks);
/** reel_io_end - the walk's first error. Local: the caller agrees. REEL_ENOMEM, REEL_EDATA. */
reel_err reel_io_end(struct reel_io *io);

#endif
