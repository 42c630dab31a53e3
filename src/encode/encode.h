#ifndef REEL_ENCODE_ENCODE_H
#define REEL_ENCODE_ENCODE_H

/* Words and pictures to the model's space and back: Wan's encoders, or the built-in ones without weights. */

#include <stddef.h>
#include <stdint.h>

#include "ckpt/hf.h"
#include "kernels/kernels.h"
#include "media/family.h"

#define REEL_TILE 32 /* side of a tile in latent pixels where tiles are asked for without a size: Wan's 256 pixels */

struct reel_encode_opts {
    const char *model; /* folder or repository with text_encoder/, tokenizer/, vae/; NULL or "builtin": no weights */
    int dtype;         /* reel_dtype of weights and products: REEL_F32, REEL_BF16 */
    struct reel_stream *s;  /* the built-in encoders use none; one that plans: the codec reads its config.json alone, to tell its bytes */
    struct reel_comm *comm; /* ranks that share the weights of the text encoder */
    int tile;               /* side of a tile in latent pixels; 0: whole pictures */
    struct reel_hf_env hf;  /* where repositories are */
    const char *cache;      /* folder where Wan's text rows are kept and looked up; NULL: none */
};

/** reel_encode_builtin - 1: `model` means the built-in encoders. Local. */
int reel_encode_builtin(const struct reel_encode_opts *o);

/**
 * reel_encode_folder - the encoders that go with a model: o->model (its init_from) and o->hf as they are if that folder has
 * vae/ and text_encoder/, else o->model becomes NULL if the built-in ones fit. Local: the caller agrees.
 * @channels, @text_dim  the model's. Errors: REEL_ECONFIG what is missing.
 */
reel_err reel_encode_folder(struct reel_encode_opts *o, int channels, int text_dim);

/* ---- words --------------------------------------------------------------------------------- */

struct reel_text;
struct reel_text_rows { int n; float *rows; }; /* [n,dim] f32 without padding, malloc'ed; NULL when n is 0 */

/** reel_text_open - Collective(o->comm). Errors: REEL_ECONFIG no such folder, REEL_EIO, REEL_EDATA, REEL_ENOMEM; agreed. */
reel_err reel_text_open(struct reel_text **t, const struct reel_encode_opts *o);
/** reel_text_bytes - memory of a rank from open to close where so many ranks share the weights, of which only config.json is
 * read; 0: built-in. o->s plans. Collective(o->comm). Errors: as reel_text_open's, agreed. */
reel_err reel_text_bytes(const struct reel_encode_opts *o, int ranks, size_t *bytes);
void reel_text_close(struct reel_text *t);            /* Collective(comm); NULL is fine */
int reel_text_dim(const struct reel_text *t);         /* columns */
int reel_text_most(const struct reel_text *t);        /* rows at most: what models are padded to */
const char *reel_text_id(const struct reel_text *t);  /* key of caches and text_encoder_id of sets: "reel-words", "umt5:<hash>" */
const char *reel_text_tokenizer(const struct reel_text *t); /* tokenizer_id of sets */

/**
 * reel_text_encode - the rows of n prompts. Collective(comm of the options): every rank brings its own, n may
 * differ and be 0. What a prompt becomes depends on the prompt alone.
 * @out  [n]; rows are the caller's to free, also those made before an error
 * Errors: REEL_ENOMEM, REEL_EDATA; agreed.
 */
reel_err reel_text_encode(struct reel_text *t, const char *const *prompt, int n, struct reel_text_rows *out);

/* ---- pictures ------------------------------------------------------------------------------ */

struct reel_codec;

/** reel_codec_open - Local; every rank gets the same, errors are agreed by the caller.
 * REEL_ECONFIG no such folder, REEL_EIO, REEL_EDATA, REEL_ENOMEM. */
reel_err reel_codec_open(struct reel_codec **c, const struct reel_encode_opts *o);
void reel_codec_close(struct reel_codec *c);                            /* NULL is fine */
const struct reel_family *reel_codec_family(const struct reel_codec *c); /* channels, constants, pixels per latent */
const char *reel_codec_id(const struct reel_codec *c);                  /* vae_id of sets */

/** reel_codec_frames - latent frames of `pix_frames` pictures, 0 if they are not 4k+1. Local. */
int reel_codec_frames(int pix_frames);

/** reel_codec_encode - pictures to the raw mean. Local.
 * @latent  out [C,T,h/8,w/8] f32    @rgb  in [frames,h,w,3]; frames 4k+1, h and w multiples of 8
 * Errors: REEL_ENOMEM, at the first call of a size only. */
reel_err reel_codec_encode(struct reel_codec *c, float *latent, const uint8_t *rgb, int frames, int h, int w);

/** reel_codec_decode_begin - a new film; what was before it is forgotten. Local. REEL_ENOMEM. */
reel_err reel_codec_decode_begin(struct reel_codec *c, int lat_h, int lat_w);
/** reel_codec_decode - the next n latent frames of the film; in pieces or at once gives the same pictures. Local.
 * @rgb  out [4n-3 at first, later 4n, 8h, 8w, 3]    @latent  in [C,n,h,w] f32 raw
 * Errors: as reel_codec_encode. */
reel_err reel_codec_decode(struct reel_codec *c, uint8_t *rgb, const float *latent, int n);
/** reel_codec_decode_frame - the next latent frame as models have it, normalised. Local.
 * @raw  scratch [C,h,w] f32   @z  in [C,h,w]   Otherwise reel_codec_decode. */
reel_err reel_codec_decode_frame(struct reel_codec *c, uint8_t *rgb, float *raw, const float *z);
/** reel_codec_pictures - pictures that the next n latent frames become. Local. */
int reel_codec_pictures(const struct reel_codec *c, int n);

/** reel_codec_bytes - memory that it takes with its weights to encode or to decode, whatever the length of the film. Local. */
size_t reel_codec_bytes(struct reel_codec *c, int h, int w);

#endif
