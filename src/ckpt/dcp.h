#ifndef REEL_CKPT_DCP_H
#define REEL_CKPT_DCP_H

/* PyTorch distributed checkpoints: `.metadata` (a pickle: which chunk of which tensor lies where)
 * and files that are concatenated torch.save archives. Everything here is Local. */

#include "ckpt/pickle.h"
#include "ckpt/pt.h"

struct reel_dcp_chunk {
    int64_t off[REEL_PT_MAXDIM], n[REEL_PT_MAXDIM];
    const char *path; /* relative to the folder */
    uint64_t at, len; /* the blob in that file */
    uint32_t crc;     /* CRC-32 of the blob, once reel_dcp_read has read it for sums */
    int read;
};

struct reel_dcp_entry {
    const char *key;
    const struct reel_pt_type *type; /* NULL: an object (one chunk of no dimensions) */
    int nd;
    int64_t n[REEL_PT_MAXDIM]; /* global sizes */
    struct reel_dcp_chunk *chunk;
    int n_chunks;
};

struct reel_dcp; /* an open folder */

/** reel_dcp_open - read `dir`/.metadata and check it: chunks inside their tensor, not overlapping,
 * filling it, each with its storage entry; paths inside the folder. REEL_EIO, REEL_EDATA, REEL_ENOMEM. */
reel_err reel_dcp_open(struct reel_dcp **d, const char *dir);

/** reel_dcp_dir - the folder of a checkpoint that holds .metadata: its dcp/, or itself. Local. REEL_EDATA: neither; REEL_EIO. */
reel_err reel_dcp_dir(const char *checkpoint, char *dcp, size_t size);
/** reel_dcp_open_of - reel_dcp_open of that folder. */
reel_err reel_dcp_open_of(struct reel_dcp **d, const char *checkpoint);

/** reel_dcp_open_mem - the same from the bytes of .metadata (rank 0 read them). */
reel_err reel_dcp_open_mem(struct reel_dcp **d, const char *dir, const void *meta, size_t bytes);
void reel_dcp_close(struct reel_dcp *d);

int reel_dcp_count(const struct reel_dcp *d);
const struct reel_dcp_entry *reel_dcp_entry(const struct reel_dcp *d, int i); /* sorted by key */
const struct reel_dcp_entry *reel_dcp_find(const struct reel_dcp *d, const char *key); /* or NULL */

/** reel_dcp_read - a block of a tensor from whatever chunks hold it; type and sizes of every archive
 * touched and the CRC of its data are checked. REEL_EIO, REEL_EDATA, REEL_ENOMEM.
 * @off, @n  block, inside the tensor       @dst  out, row-major, elements of e->type */
reel_err reel_dcp_read(struct reel_dcp *d, const struct reel_dcp_entry *e, const int64_t *off, const int64_t *n,
                       void *dst);

/** reel_dcp_want_sums - from now on reel_dcp_read and reel_dcp_verify sum every tensor's blob that they read. */
void reel_dcp_want_sums(struct reel_dcp *d);

/** reel_dcp_read_object - open an object's archive; its value is the root of pt->pkl. Caller: reel_pt_close. */
reel_err reel_dcp_read_object(struct reel_dcp *d, const struct reel_dcp_entry *e, struct reel_pt *pt);

/** reel_dcp_verify - every blob: archive, CRCs, agreement with the metadata. */
reel_err reel_dcp_verify(struct reel_dcp *d, const struct reel_dcp_entry *e);

/** reel_dcp_check_files - every file named is there and long enough (nothing is read). */
reel_err reel_dcp_check_files(const struct reel_dcp *d);

/**
 * reel_dcp_put_metadata - append the bytes of .metadata.
 * @e     n entries with their chunks
 * @save_id  36 characters, a UUID
 */
void reel_dcp_put_metadata(struct reel_pw *w, const struct reel_dcp_entry *e, int n, const char *save_id);

/** reel_dcp_path_parts - how the key tree nests: lengths of the dotted parts of `key`, at most `max`. */
int reel_dcp_path_parts(const char *key, int *len, int max);

#endif
