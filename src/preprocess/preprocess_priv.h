#ifndef REEL_PREPROCESS_PREPROCESS_PRIV_H
#define REEL_PREPROCESS_PREPROCESS_PRIV_H

#include "data/set.h"
#include "preprocess/preprocess.h"

struct reel_film {
    const char *path, *caption; /* a prompt: path is "" */
    const char *odd;            /* why it cannot be used, known from the list; NULL: nothing is */
    double fps;                 /* said by the list; 0: the film itself says it, as the next */
    int64_t frames;
};
struct reel_films { /* what is to be read, the same on every rank */
    char *bytes;    /* the strings */
    size_t n_bytes;
    struct reel_film *v;
    int64_t n;
};

enum reel_skip { REEL_SKIP_CAPTION, REEL_SKIP_MISSING, REEL_SKIP_DAMAGED, REEL_SKIP_METADATA, REEL_SKIP_SHORT, REEL_SKIP_LONG,
                 REEL_SKIP_SHAPE, REEL_NSKIP };

#define REEL_PREP_CLOSED ((int64_t)1 << 40)
#define REEL_PREP_MORE   "+" /* note of samples that are not the last of their item; else "" or "kind reason" */

struct reel_prep { /* a run */
    struct reel_preprocess_args a; /* with every default filled in */
    struct reel_comm *c;
    struct reel_text *text;
    struct reel_codec *codec; /* NULL: prompts alone */
    struct reel_set_desc d;
    struct reel_set_writer *w;
    struct reel_films films;
    char dir[1100], base[1100], sheet[1100]; /* OUTPUT.unfinished; output without .h5; "": no sheet */
    int lock;                   /* held by rank 0 */
    int H, W, F;
    size_t frame;               /* bytes of one picture of a clip */
    uint8_t *rgb, *back;        /* [F,H,W,3]: the clip, and what its latents decode to */
    float *latent;
    char *skips;                /* of this rank: lines "item kind reason" */
    size_t skips_n, skips_room;
    int64_t items, finished;    /* in all, and before this run began */
    int64_t *done;              /* [items] samples of an item, + REEL_PREP_CLOSED when there are no more */
    int64_t samples, skipped[REEL_NSKIP]; /* after reel_prep_tell */
    int useless;                /* after reel_prep_tell: there is no sample at all */
    int shown;                  /* samples of this rank that the sheet may want */
    double began, said;
    struct reel_stop *stop;     /* who may end it early, or NULL */
    double asked;               /* when it was last asked */
    int left, ended;            /* this rank leaves work for the next run; all ranks know that one does */
};

/** reel_films_open - the films and captions that the arguments name; rank 0 looks, all ranks learn. Collective(c).
 * REEL_ECONFIG nothing named, REEL_EIO, REEL_EDATA captions file. */
reel_err reel_films_open(struct reel_films *l, const struct reel_preprocess_args *a, struct reel_comm *c);
void reel_films_close(struct reel_films *l);

/** reel_film_caption - the text that film i is learnt with: the list's, or "" as --training-cfg-rate says. Local. */
const char *reel_film_caption(const struct reel_prep *j, int64_t i);

/** reel_film_clips - item i becomes samples, or a reason to skip it. Local. REEL_ENOMEM, REEL_EIO of the spool. */
reel_err reel_film_clips(struct reel_prep *j, int64_t i, const struct reel_text_rows *text);

/** reel_prep_sample - the clip in j->rgb becomes a sample; `s` says where from. Local. */
reel_err reel_prep_sample(struct reel_prep *j, struct reel_set_sample *s, const struct reel_text_rows *text);

/** reel_prep_ends - asked where work is left: this rank has been told to end. Local. */
int reel_prep_ends(struct reel_prep *j);

/** reel_prep_skip - remember why. Local. REEL_ENOMEM. */
reel_err reel_prep_skip(struct reel_prep *j, int64_t item, enum reel_skip kind, const char *why);
/** reel_prep_tell - count samples and reasons, print the first and list all of them beside the set. Collective(j->c).
 * REEL_EDATA there is no sample. */
reel_err reel_prep_tell(struct reel_prep *j);
/** reel_prep_reasons - "3 skipped: 1 short, 2 damaged". Local. */
const char *reel_prep_reasons(const struct reel_prep *j, char *buf, size_t room);

/** reel_prep_hold - the folder of what is finished: made, or that of a run with the same options. Collective(j->c).
 * REEL_ECONFIG other options: which; another run is at it. */
reel_err reel_prep_hold(struct reel_prep *j);

/** reel_prep_show - keep pictures of the sample for the contact sheet. Local. */
reel_err reel_prep_show(struct reel_prep *j, int64_t key);
/** reel_prep_sheet - the first samples, originals above what the latents decode to. Local, on rank 0. */
reel_err reel_prep_sheet(const struct reel_prep *j);

#endif
