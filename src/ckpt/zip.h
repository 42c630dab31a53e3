#ifndef REEL_CKPT_ZIP_H
#define REEL_CKPT_ZIP_H

/* Stored zip archives as torch.save makes them: one archive per blob, many blobs per file. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "ckpt/pickle.h"

/* A blob: bytes [at, at+len) of an open file. `what` (a key) and `path` stand in messages. */
struct reel_blob { int fd; const char *path, *what; uint64_t at, len; };

struct reel_zip_rec {
    char name[64];     /* without the archive's root folder: "data.pkl", "data/0" */
    uint64_t head;     /* local header, relative to the blob */
    uint64_t bytes;
    uint32_t crc;
};

#define REEL_ZIP_RECS 64

struct reel_zip {
    struct reel_blob b;
    int n;
    struct reel_zip_rec rec[REEL_ZIP_RECS];
    char root[64];
    uint64_t central; /* start of the directory: data end before it */
};

/**
 * reel_zip_open - read the directory at the end of a blob: one root folder, stored records only,
 * unique names, ZIP64 understood. Records of no interest (".data/serialization_id") are kept too;
 * more than REEL_ZIP_RECS is an error. Local. REEL_EIO, REEL_EDATA.
 */
reel_err reel_zip_open(struct reel_zip *z, const struct reel_blob *b);

const struct reel_zip_rec *reel_zip_find(const struct reel_zip *z, const char *name); /* or NULL */

/** reel_zip_data - check the local header of a record; *at = file offset of its data. Local. */
reel_err reel_zip_data(const struct reel_zip *z, const struct reel_zip_rec *r, uint64_t *at);

/** reel_zip_read - a whole small record into buf [r->bytes], CRC checked. Local. REEL_EDATA. */
reel_err reel_zip_read(const struct reel_zip *z, const struct reel_zip_rec *r, void *buf);

/** reel_zip_crc_error - the one message for data that do not have the recorded CRC. Local. */
reel_err reel_zip_crc_error(const struct reel_zip *z, const struct reel_zip_rec *r, uint32_t got);

/* ---- writer: real CRC and sizes in the local headers, no descriptors, no ZIP64 parts; record data
 * start at multiples of 64 from the archive's start. Records below 4 GiB. ---- */

/** reel_zip_put_head - append local header, name and padding for a record whose data follow; `pos` is
 * the writer's position relative to the archive start. Returns bytes appended. Local. */
size_t reel_zip_put_head(struct reel_pw *w, uint64_t pos, const char *name, uint32_t crc, uint64_t bytes);

struct reel_zip_put { const char *name; uint64_t head, bytes; uint32_t crc; };

/** reel_zip_put_tail - append the directory and end record. `pos` as above. Local. */
void reel_zip_put_tail(struct reel_pw *w, uint64_t pos, const struct reel_zip_put *rec, int n);

#endif
