#ifndef REEL_DATA_SET_H
#define REEL_DATA_SET_H

/* A data set: latents, text vectors and what describes them, in one HDF5 file or a folder of them
 * (layout in src/data/README.md). A sample's bytes are contiguous, so a reader needs no HDF5 call
 * after the open: one pread per sample, checked against its CRC-32C. */

#include "base/err.h"
#include "comm/comm.h"
#include "tensor/tensor.h"

#define REEL_SET_CHANNELS 128  /* most latent channels a set may have */
#define REEL_SET_STATES   32   /* most states of a trajectory */
#define REEL_SET_RECIPE   4096 /* bytes of a recipe */

struct reel_set;

struct reel_set_info {
    char kind[16];                        /* "t2v", "text_only" (then the latent dimensions are 0), "trajectories" */
    int64_t n;                            /* samples, repeats counted */
    int n_files;
    int channels, frames, height, width;  /* of a stored latent [C,T,H,W] */
    int text_dim, text_rows, pad_to;      /* columns, rows of the longest text, rows it is padded to */
    reel_dtype dtype;                     /* REEL_F32 or REEL_BF16, as stored */
    float mean[REEL_SET_CHANNELS], std[REEL_SET_CHANNELS]; /* normalised = (raw - mean)/std */
    char family[64], vae[128], text_encoder[128], tokenizer[128], source[256];
    int pix_height, pix_width, pix_frames, down[3]; /* of the clips; pixels per latent in t, y, x */
    double fps;
    int64_t bytes;                        /* of all files */
    /* trajectories: a latent is `states` clips back to back in time, from noise to the clean one; else 0 */
    int states;
    float state_t[REEL_SET_STATES]; /* their timesteps in [0,1000], falling; 0 for the clean one */
    char recipe[REEL_SET_RECIPE];   /* what made them: lines "key value" */
};

struct reel_set_source { const char *path; int64_t repeat; };

/**
 * reel_set_open - open what `data_path` names: a file, a folder of .h5 files, or "a:2,b:1" with repeats
 * Collective(c): rank 0 reads the tables and broadcasts them, every rank opens the files.
 * Errors, the same on every rank: REEL_EIO missing (even on one rank), REEL_EDATA truncated, damaged,
 * not a set, or parts that do not fit together.
 */
reel_err reel_set_open(struct reel_set **set, const char *data_path, struct reel_comm *c);

/** reel_set_open_list - the same from a list; an entry with repeat <= 0 is left out. Collective(c). */
reel_err reel_set_open_list(struct reel_set **set, const struct reel_set_source *src, int n, struct reel_comm *c);
void reel_set_close(struct reel_set *set); /* NULL is fine */

const struct reel_set_info *reel_set_info(const struct reel_set *set);
/** reel_set_where - file of a sample and its index there, for messages. Local. */
const char *reel_set_where(const struct reel_set *set, int64_t index, int64_t *local);

/**
 * reel_set_read - one sample; its bytes are checked against the stored checksums
 * Local; no HDF5 and no allocation inside; one thread at a time (it uses the set's scratch memory).
 * @latent    out [C, n_frames, H, W] f32 raw, the first n_frames of T; NULL: not wanted
 * @text      out [rows, text_dim] f32, room for text_rows rows; NULL: not wanted
 * @rows      out rows of the text; may be NULL
 * Errors: REEL_EIO, REEL_EDATA (checksum; the message names file and sample).
 */
reel_err reel_set_read(struct reel_set *set, int64_t index, int n_frames, float *latent, float *text, int *rows);
/** reel_set_pad - a text of `rows` rows as a model takes it: out [most,dim], cut, or padded with zeros. Local. */
void reel_set_pad(float *out, int64_t most, int64_t dim, const float *text, int rows);
/** reel_set_sample_bytes - bytes on disk of one sample. Local. */
int64_t reel_set_sample_bytes(const struct reel_set *set, int64_t index);

/** reel_set_text_crc - CRC-32C over the checksums of all texts: equal for the same texts in the same order. Local. */
uint32_t reel_set_text_crc(const struct reel_set *set);
/** reel_set_crc - the same over all that a run reads: texts, negative and empty prompt, and, if wanted, latents and their
 * normalisation. Reads no sample. Local. */
uint32_t reel_set_crc(const struct reel_set *set, int latents);

/* Text vectors of the negative and of the empty prompt, [rows, text_dim] f32; NULL with rows 0: absent. */
const float *reel_set_negative(const struct reel_set *set, int *rows);
const float *reel_set_empty(const struct reel_set *set, int *rows);

/* ---- writing ------------------------------------------------------------------------------- */

struct reel_set_writer;

struct reel_set_desc {
    const char *kind; /* "t2v", "text_only", "trajectories" */
    int channels, frames, height, width, text_dim, pad_to;
    reel_dtype dtype;        /* stored: REEL_F32 or REEL_BF16 */
    const float *mean, *std; /* [channels] */
    const char *family, *vae, *text_encoder, *tokenizer, *source; /* NULL: "" */
    int pix_height, pix_width, pix_frames, down[3];
    double fps;
    const float *negative, *empty; /* [rows, text_dim] */
    int negative_rows, empty_rows;
    int have_negative, have_empty; /* a prompt of zero rows is a prompt too */
    const char *negative_prompt;
    int states; /* trajectories, as in struct reel_set_info; else 0 and NULL */
    const float *state_t;
    const char *recipe;
};

struct reel_set_sample {
    int64_t key;         /* place in the set: samples are stored in ascending key; unique over ranks */
    const float *latent; /* [C,T,H,W] raw */
    const float *text;   /* [rows, text_dim] */
    int rows;
    const char *id, *caption, *file_name; /* NULL: "" */
    int width, height, frames;            /* of the source */
    double fps, duration;                 /* of the source, seconds */
};

/** reel_set_create - start a set at `path`; samples are spooled beside it, one file a rank. Collective(c). */
reel_err reel_set_create(struct reel_set_writer **w, const char *path, const struct reel_set_desc *d,
                         struct reel_comm *c);
/* An item that was finished: its number, its samples, and the note it was closed with. */
typedef reel_err reel_set_found(void *ctx, int64_t item, int64_t samples, const char *note);
/**
 * reel_set_resume - reel_set_create with a spool that outlives the run: files in the folder `dir`, which the caller
 * removes after the commit
 * Collective(c). What a writer of the same description, on any number of ranks, has closed there (reel_set_done) and what
 * reads back as it was written is part of this set; anything behind that is cut off.
 * @found  called on the rank that took the item over
 */
reel_err reel_set_resume(struct reel_set_writer **w, const char *path, const struct reel_set_desc *d, const char *dir,
                         reel_set_found *found, void *ctx, struct reel_comm *c);
/** reel_set_done - the samples added since the last call are item `item`, and all of it; the note is for who resumes.
 * Local; errors as reel_set_add. */
reel_err reel_set_done(struct reel_set_writer *w, int64_t item, const char *note);
/** reel_set_add - append one sample. Local; an error is also kept for the commit. REEL_EIO, REEL_EDATA. */
reel_err reel_set_add(struct reel_set_writer *w, const struct reel_set_sample *s);
/**
 * reel_set_commit - exchange the counts, write `path`.tmp in parallel (disjoint hyperslabs), fsync, rename
 * Collective. Frees w in any case. The bytes do not depend on the number of ranks.
 * @mine  this rank's error so far (a caller's own failure abandons the set); @n out samples, may be NULL
 */
reel_err reel_set_commit(struct reel_set_writer *w, reel_err mine, int64_t *n);

/** reel_set_from_safetensors - a file with latents [N,C,T,H,W] (none: a set of texts), text [N,L,D], length [N] and perhaps
 * negative [1,L,D], caption and id [N,bytes] u8 becomes a set of the family "wan2.1". Collective(c). REEL_EIO, REEL_EDATA. */
reel_err reel_set_from_safetensors(const char *path, const char *out, struct reel_comm *c);

/** reel_set_check - read everything; prints one line on rank 0. Collective(c). REEL_EDATA if anything is damaged. */
reel_err reel_set_check(const char *data_path, struct reel_comm *c);

#endif
