#ifndef REEL_DATA_PREPROCESS_PRIV_H
#define REEL_DATA_PREPROCESS_PRIV_H

#include "data/preprocess.h"

struct reel_films { /* what is to be read, the same on every rank */
    char *bytes;    /* the strings */
    struct reel_film { const char *path, *caption; } *v;
    int64_t n;
};

/** reel_films_open - the films and captions that the arguments name; rank 0 looks, all ranks learn. Collective(c).
 * REEL_ECONFIG nothing named, REEL_EIO, REEL_EDATA captions file. */
reel_err reel_films_open(struct reel_films *l, const struct reel_preprocess_args *a, struct reel_comm *c);
void reel_films_close(struct reel_films *l);

#endif
