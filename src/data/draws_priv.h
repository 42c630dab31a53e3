#ifndef REEL_DATA_DRAWS_PRIV_H
#define REEL_DATA_DRAWS_PRIV_H

#include "base/err.h"
#include "data/draws.h"
#include "tensor/safetensors.h"

enum reel_draw_kind { REEL_DRAW_NORMAL, REEL_DRAW_UNIFORM, REEL_DRAW_RANGE, REEL_DRAW_GIVEN };
struct reel_draw_type {
    enum reel_draw_kind kind;
    int64_t low, count; /* RANGE: the integers low .. low + count - 1 */
};

/* One draw that was used: the rows of this rank, packed for the record file. */
struct reel_drawn {
    char key[160], name[128];
    struct reel_draw_type type;
    uint32_t step, round;
    int64_t b0, nb, b_global, n;
    int nd;
    int64_t dim[4]; /* of one sample; nd 0: a scalar per sample */
    void *data;     /* [nb*n] f32 or i64 */
};

struct reel_draws {
    uint64_t seed;
    void *bytes; /* the replay file */
    struct reel_st *replay;
    int64_t *asked; /* [tensors of the replay file] */
    int strict;
    int64_t first_step; /* smallest step >= 1 drawn so far, or INT64_MAX */
    char *record;       /* path or NULL */
    struct reel_drawn *used;
    int n_used, room;
    float *host; /* staging of replayed and recorded device draws; grows */
    size_t host_room;
    reel_err health;
    struct reel_errrec rec;
};

/** reel_draw_find_ - the replay's values of samples b0.. into dst [nb*n] in the file's order. Local.
 * Returns 1 if they came from the file, 0 if the generator is to make them, -1 on an error (dst zeroed). */
int reel_draw_find_(struct reel_draws *d, enum reel_draw_kind kind, void *dst, int64_t n, const char *name, struct reel_where w);

/** reel_draw_keep_ - remember values for the record file, if there is one. Local.
 * @dim  nd dimensions of one sample, product n */
void reel_draw_keep_(struct reel_draws *d, struct reel_draw_type type, const void *v, const int64_t *dim, int nd,
                     const char *name, struct reel_where w);
void reel_draw_fail_(struct reel_draws *d, reel_err e);

/** reel_draw_make_ - the generator's n elements of sample b into dst (f32 or i64 by type). Local. */
void reel_draw_make_(uint64_t seed, struct reel_draw_type type, const char *name, uint32_t step, uint32_t round, int64_t b,
                     int64_t n, void *dst);

#endif
