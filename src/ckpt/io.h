#ifndef REEL_CKPT_IO_H
#define REEL_CKPT_IO_H

/* State of methods and callbacks in a checkpoint. One function of theirs names each value; saving reads
 * it, loading writes it, so that the two cannot disagree. Keys: method.<name>, callbacks.<key>.<name>. */

#include "base/err.h"
#include "tensor/tensor.h"

struct reel_io;

/** reel_io_i64, reel_io_f64 - n host values, equal on every rank. Local; an error is kept for the agreement. */
void reel_io_i64(struct reel_io *io, const char *name, int64_t *v, int n);
void reel_io_f64(struct reel_io *io, const char *name, double *v, int n);
/**
 * reel_io_rows - this rank's rows of a sharded device tensor
 * @n, @nd  global shape    @row0  first row held    @local  [rows, ...] f32; rows may be 0
 */
void reel_io_rows(struct reel_io *io, const char *name, const int64_t *n, int nd, int64_t row0, reel_tensor local);
/** reel_io_loading - 1 if values are being written back. Local. */
int reel_io_loading(const struct reel_io *io);

#endif
