#ifndef REEL_DATA_SET_PRIV_H
#define REEL_DATA_SET_PRIV_H

#include "data/set.h"

#define REEL_SET_FORMAT  "reel-latents"
#define REEL_SET_VERSION 1
#define REEL_SET_ALIGN   4096      /* datasets from 64 KiB on begin at a page */
#define REEL_SET_BIG     65536
#define REEL_SET_MAX_FDS 512       /* beyond that many files they are opened per read */

enum { REEL_CRC_LATENT, REEL_CRC_TEXT, REEL_CRC_META, REEL_NCRC };

/* One file of a set. Everything but the descriptor comes from rank 0. */
struct reel_set_part {
    char path[1024];
    struct reel_set_info info; /* of this file alone */
    int64_t repeat, first;     /* copies, global index of the first sample */
    uint64_t latent_at, text_at, file_bytes; /* byte addresses in the file */
    int64_t *offset;           /* [n+1] text rows before sample i */
    uint32_t (*crc)[REEL_NCRC]; /* [n] */
    float *negative, *empty;
    int negative_rows, empty_rows;
    int fd;
};

struct reel_set {
    struct reel_set_info info;
    struct reel_set_part *part;
    int n_parts;
    unsigned char *raw; /* bytes of one sample's latent or text as stored */
};

/** reel_set_load_ - tables of one file, through HDF5. Local. */
reel_err reel_set_load_(struct reel_set_part *p, const char *path);
void reel_set_part_free_(struct reel_set_part *p);

/* bytes of one latent, of one text row, as stored */
size_t reel_set_latent_bytes_(const struct reel_set_info *f);
size_t reel_set_row_bytes_(const struct reel_set_info *f);
/** reel_set_raw_ - read the stored bytes and verify them; dst has room for the larger of both. Local. */
reel_err reel_set_raw_(struct reel_set_part *p, int64_t i, int which, void *dst);

#endif
