#ifndef REEL_CKPT_PT_H
#define REEL_CKPT_PT_H

/* torch.save archives: data.pkl says what there is, data/N are the storages. */

#include "ckpt/pickle.h"
#include "ckpt/zip.h"
#include "tensor/tensor.h"

#define REEL_PT_MAXDIM 8

/* One line per element type, whether or not the program computes with it. */
struct reel_pt_type {
    const char *name;    /* torch.<name> */
    const char *storage; /* torch.<storage>; NULL: only through UntypedStorage */
    int size;            /* bytes */
    reel_dtype dt;       /* REEL_NDTYPE: bytes only */
};
const struct reel_pt_type *reel_pt_type_named(const char *name); /* or NULL. Local. */
const struct reel_pt_type *reel_pt_type_of(reel_dtype dt);       /* never NULL. Local. */

/** reel_pt_numel - product of sizes; -1 if it overflows 62 bits. Local. */
int64_t reel_pt_numel(const int64_t *n, int nd);

struct reel_pt {
    struct reel_zip z;
    struct reel_pickle *pkl;
};

/** reel_pt_open - directory, version and byte order, data.pkl (CRC checked, parsed). Local. REEL_EIO, REEL_EDATA. */
reel_err reel_pt_open(struct reel_pt *pt, const struct reel_blob *b);
void reel_pt_close(struct reel_pt *pt);

struct reel_pt_tensor {
    const struct reel_pt_type *type;
    int nd;
    int64_t n[REEL_PT_MAXDIM], stride[REEL_PT_MAXDIM], off; /* elements */
    int64_t numel, stored; /* elements of the tensor, of its storage */
    const struct reel_zip_rec *rec;
};

/** reel_pt_tensor_of - describe a tensor value; bounds against its storage are checked. Local. REEL_EDATA. */
reel_err reel_pt_tensor_of(const struct reel_pt *pt, const struct reel_pv *v, struct reel_pt_tensor *t);

/** reel_pt_data - the elements in row-major order; the storage's CRC is checked. Local. REEL_EIO, REEL_EDATA, REEL_ENOMEM.
 * @dst  out  numel * type->size bytes */
reel_err reel_pt_data(const struct reel_pt *pt, const struct reel_pt_tensor *t, void *dst);

/** reel_pt_sum - CRC-32 of the whole archive. The data of `known` have been found to have its CRC; the rest is read. Local. REEL_EIO. */
reel_err reel_pt_sum(const struct reel_pt *pt, const struct reel_zip_rec *known, uint32_t *crc);

/** reel_pt_verify - read every record of an archive that is open, and check its CRC. Local. REEL_EIO, REEL_EDATA, REEL_ENOMEM. */
reel_err reel_pt_verify(const struct reel_pt *pt);

/** reel_pt_put_tensor - append what stands before the data of a one-tensor archive; then come the data
 * (row-major, little-endian), then reel_pt_put_tail at position `pos` of the archive. Lengths depend
 * on type and sizes alone. Local.
 * @crc  of the data
 * @rec  out, handed on to the tail */
void reel_pt_put_tensor(struct reel_pw *w, const struct reel_pt_type *type, const int64_t *n, int nd, uint32_t crc,
                        struct reel_zip_put rec[4]);
void reel_pt_put_tail(struct reel_pw *w, uint64_t pos, struct reel_zip_put rec[4]);

/** reel_pt_put_object - append a whole archive of a value without tensors.
 * @pkl  the finished pickle */
void reel_pt_put_object(struct reel_pw *w, const void *pkl, size_t bytes);

#endif
