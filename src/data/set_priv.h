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

/* ---- writing ---- */

enum { REEL_SET_STRINGS = 3 }; /* id, caption, file_name */

struct reel_record { /* what is kept in memory of a spooled sample */
    int64_t key, at; /* at: where its bytes begin in the spool: latent, text, strings */
    int32_t rows, width, height, frames, len[REEL_SET_STRINGS], spool;
    double fps, duration;
    uint32_t crc[REEL_NCRC], zero; /* zero: no gap in a struct that is written as it is */
};
struct reel_spool { char path[1064]; int fd; };

struct reel_set_writer {
    struct reel_set_info f;
    struct reel_comm *c;
    char path[1024], tmp[1040];
    struct reel_spool *spool; /* [0] takes new samples */
    int n_spools, kept;       /* kept: the files are not ours to remove */
    int64_t spooled;          /* bytes of the first */
    struct reel_record *r;
    int64_t n, room;
    int32_t unclosed;         /* samples since the last item */
    int max_len[REEL_SET_STRINGS];
    void *raw; /* grows to the largest piece of a sample */
    size_t raw_room;
    float *negative, *empty;
    int negative_rows, empty_rows;
    char *negative_prompt;
    reel_err health;
};

reel_err reel_set_need_(struct reel_set_writer *w, size_t bytes); /* room in w->raw. Local. REEL_ENOMEM */
void reel_set_writer_free_(struct reel_set_writer *w);

/** reel_set_load_ - tables of one file, through HDF5. Local. */
reel_err reel_set_load_(struct reel_set_part *p, const char *path);
void reel_set_part_free_(struct reel_set_part *p);

/* bytes of one latent, of one text row, as stored */
size_t reel_set_latent_bytes_(const struct reel_set_info *f);
size_t reel_set_row_bytes_(const struct reel_set_info *f);
/** reel_set_raw_ - read the stored bytes and verify them; dst has room for the larger of both. Local. */
reel_err reel_set_raw_(struct reel_set_part *p, int64_t i, int which, void *dst);

#endif
