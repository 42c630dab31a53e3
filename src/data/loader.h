#ifndef REEL_DATA_LOADER_H
#define REEL_DATA_LOADER_H

/* Micro-batches of a run. Which samples a step takes is a function of (seed, step, round) alone;
 * the first rank of each SP (x TP) group reads its group's samples in a thread, one micro-batch
 * ahead, and the group shares them at take(). */

#include "comm/comm.h"
#include "data/draws.h"
#include "data/set.h"

struct reel_loader;

enum reel_dropout { REEL_DROP_ZERO, REEL_DROP_EMPTY, REEL_DROP_NEGATIVE }; /* what a dropped text becomes */

struct reel_loader_cfg {
    uint64_t seed;
    int batch;        /* samples per data-parallel group and round */
    int rounds;       /* accumulation rounds per step, >= 1 */
    int latents;      /* 0: the method makes its own latents (x is NULL) */
    int num_latent_t; /* frames taken of each sample */
    int states;       /* of a trajectory, the clean clip counted; 0: clips */
    int height, width, channels; /* latent sizes that the run expects; 0: any */
    int text_len, text_dim;      /* rows the text is padded or cut to; columns expected, 0: any */
    double cfg_rate;  /* probability that a text is dropped */
    enum reel_dropout dropout;
    int parity;       /* 1: order and dropout of the reference loader */
};

struct reel_host_batch { /* valid until the next take() */
    const float *x;    /* [batch, T, C, H, W] f32 raw latents; NULL without latents */
    const float *text; /* [batch, text_len, text_dim] f32, zero beyond the prompt, dropout applied */
    const int64_t *id; /* [batch] index in the set */
    const float *mean, *std; /* [C] of the set */
};

struct reel_loader_stats { double bytes, read_s, wait_s; int64_t samples; };

/**
 * reel_loader_open - judge the run against the set, allocate two host buffers, start the reading thread
 * The set and draws (NULL: generator only) are kept by reference. Collective(world).
 * Errors: REEL_ECONFIG (dimensions, too few samples for one global micro-batch), REEL_ENOMEM.
 */
reel_err reel_loader_open(struct reel_loader **l, struct reel_set *set, const struct reel_loader_cfg *cfg,
                          struct reel_draws *draws, struct reel_mesh *mesh);
void reel_loader_close(struct reel_loader *l); /* NULL is fine */

/** reel_loader_prefetch - start reading round `round` (from 0) of step `step` (from 1). Local; returns at once.
 * At most one beyond the batch in use, and none past the last step of the run. Makes the draws
 * data/sample and data/cfg_dropout. */
void reel_loader_prefetch(struct reel_loader *l, long step, int round);

/** reel_loader_status - waits for the reading and returns its error, with the thread's record. Local.
 * Agree on it (it can ride on the step's reduction) before take(). */
reel_err reel_loader_status(struct reel_loader *l);

/**
 * reel_loader_take - the batch of (step, round), read now if it was not prefetched
 * Collective(sp, tp): the group's reader broadcasts. An error is the same in the whole group.
 */
reel_err reel_loader_take(struct reel_loader *l, long step, int round, struct reel_host_batch *out);

struct reel_loader_stats reel_loader_stats(struct reel_loader *l); /* of this rank since the last call. Local. */
int64_t reel_loader_batches(const struct reel_loader *l); /* micro-batches per epoch. Local. */
size_t reel_loader_host_bytes(const struct reel_loader *l); /* host memory held. Local. */

/** reel_loader_samples - indices of this group's samples at (step, round), without draws. Local. @id out [batch] */
void reel_loader_samples(const struct reel_loader *l, long step, int round, int64_t *id);

#endif
