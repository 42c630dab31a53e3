#ifndef REEL_TRAIN_GENERATE_PRIV_H
#define REEL_TRAIN_GENERATE_PRIV_H

/* Inside generate: one job of sampling (generate.c), its films and sheet (generate_out.c). */

#include <limits.h>

#include "encode/encode.h"
#include "media/benchmark.h"
#include "media/movie.h"
#include "train/generate.h"

#define REEL_GEN_REAL   REEL_NSAMPLER /* --sampler real */
#define REEL_GEN_SHEET  16 /* clips on the sheet */
#define REEL_GEN_SHOWN  4  /* frames of each */

/* A film that this rank decodes. */
struct reel_gen_film {
    int64_t i, local;  /* clip, and its place in the group */
    int pictures;      /* so far */
    struct reel_movie *movie; /* NULL: none is written */
    char path[PATH_MAX];
};

struct reel_gen {
    struct reel_run *r;
    const struct reel_config *cfg;
    const struct reel_generation *what;
    const struct reel_generate_flags *f;
    struct reel_comm *world;
    struct reel_sampling g;
    struct reel_encode_opts enc;
    struct reel_codec *codec;
    int sampler;             /* enum reel_sampler_kind or REEL_GEN_REAL */
    double fps;
    float sigma[REEL_GENERATE_MAX_STEPS + 1], t[REEL_GENERATE_MAX_STEPS];

    int64_t n, per_group;    /* clips asked for; of a group, padded to batches */
    int members, me;         /* ranks of a group, this one's place in it */
    int64_t shape[5];        /* of a batch [B,T,C,h,w] */
    size_t latent, picture;  /* elements of a clip's latents, bytes of a picture */
    int frames, height, width; /* of a film */
    struct reel_benchmark bench;
    char **caption;          /* [n] */
    struct reel_text_rows *text; /* [n+1] those that this group samples; the last is the negative prompt's */

    float *host;             /* a batch of latents or texts; frames of one clip as they come */
    float *raw;              /* [C,h,w]: one latent frame before decoding */
    uint8_t *rgb;            /* pictures of one latent frame */
    int shrink, sheet_h, sheet_w; /* pictures on the sheet are so many times smaller */
    uint8_t *sheet;          /* [REEL_GEN_SHEET][REEL_GEN_SHOWN][sheet_h][sheet_w][3] */
    float *z;                /* --clips: latents [C,T,h,w] of the group's clips; rank 0 at last: of all */
    uint8_t *all;            /* --clips: their pictures */
    struct reel_gen_film film; /* that is under way */
    reel_err held;           /* what failed inside the sampler */
    int64_t batch_at;        /* first clip of the batch under way, of the group's */
    double began, said;
};

int64_t reel_gen_clip(const struct reel_gen *j, int64_t local); /* the group's clip number `local`; padding repeats the last */
int reel_gen_owner(const struct reel_gen *j, int64_t i);        /* world rank that decodes clip i: members take turns */
int reel_gen_mine(const struct reel_gen *j, int64_t b);         /* whether that is this rank, for place b of the batch; not for padding */

/** reel_gen_probe - whether the results can be written where --out says. Local, on rank 0. REEL_EIO, REEL_ECONFIG. */
reel_err reel_gen_probe(const struct reel_gen *j);
/** reel_gen_plan - what the job takes, said by rank 0; `part` of the operations that were planned. Collective(world).
 * REEL_ECONFIG it does not fit; no codec. */
reel_err reel_gen_plan(struct reel_gen *j, struct reel_run *r, double part);

/** reel_gen_size_out - sizes of films and sheet, of the shape of a batch. Local. */
void reel_gen_size_out(struct reel_gen *j);
double reel_gen_out_bytes(const struct reel_gen *j); /* that reel_gen_open_out takes */
/** reel_gen_open_out - host memory for decoding. Local: the caller agrees. REEL_ENOMEM. */
reel_err reel_gen_open_out(struct reel_gen *j);
void reel_gen_close_out(struct reel_gen *j);

/** reel_gen_film_begin, _frame, _end - the film of the group's clip `local`; latents of its next frame, [C,h,w]. Local. */
reel_err reel_gen_film_begin(struct reel_gen *j, int64_t local);
reel_err reel_gen_film_frame(struct reel_gen *j, const float *z);
reel_err reel_gen_film_end(struct reel_gen *j);

/** reel_gen_publish - sheet, list of films, measures, by rank 0. Collective(world). */
reel_err reel_gen_publish(struct reel_gen *j);

#endif
