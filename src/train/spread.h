#ifndef REEL_TRAIN_SPREAD_H
#define REEL_TRAIN_SPREAD_H

/* What differs between ranks: largest and mean, and which rank is the largest. No collective of its own: every rank writes
 * into its slot of a vector that is zero elsewhere, and the step's one reduction, a sum, gathers them. */

#include <stdint.h>

struct reel_run;

enum reel_spread_kind {
    REEL_SPREAD_WORK,   /* us from one reduction to the next that were not spent waiting for other ranks */
    REEL_SPREAD_DATA,   /* us of them that were spent waiting for the batch */
    REEL_SPREAD_ARENAS, /* bytes of all arenas that were ever in use */
    REEL_SPREAD_HOST,   /* bytes of the host's memory at most */
    REEL_SPREAD_STOPPED, /* us of them in which the process was stopped; in none of the other times */
    REEL_NSPREAD
};

/* In the units of the log: seconds, GiB. */
struct reel_spread {
    double mean, max;
    int rank; /* of the world, the lowest one that has max */
};

/** reel_spread_slots - how many numbers the ranks of this run fill: REEL_NSPREAD each. Local. */
int reel_spread_slots(const struct reel_run *r);
/** reel_spread_put - this rank's numbers into its slot of v[reel_spread_slots], zeros into the others. Local. */
void reel_spread_put(struct reel_run *r, int64_t *v);
/** reel_spread_take - r->spread from the sum over all ranks of what they put. Local. */
void reel_spread_take(struct reel_run *r, const int64_t *v);

#endif
