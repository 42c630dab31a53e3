#ifndef REEL_TRAIN_PROFILE_H
#define REEL_TRAIN_PROFILE_H

/* Where the time of a run goes: seconds per phase of this rank. What a phase waited for other ranks counts as
 * REEL_PROF_WAIT alone, if a watchdog sees it. Without a GPU; on one the phases say when the host gave work out. */

#include "base/clock.h"

struct reel_watch;

enum reel_prof_phase {
    REEL_PROF_DATA,     /* waiting for the batch */
    REEL_PROF_FORWARD,  /* and all else that a method does */
    REEL_PROF_BACKWARD, /* with forward passes that checkpointing does again */
    REEL_PROF_WAIT,     /* for other ranks, in collectives */
    REEL_PROF_CALLBACK, /* clipping, EMA */
    REEL_PROF_OPTIM,
    REEL_PROF_SAVE,
    REEL_PROF_VALIDATE, /* what callbacks do between steps */
    REEL_PROF_OTHER, /* log, agreement */
    REEL_NPROF
};

struct reel_profile {
    double seconds[REEL_NPROF];
    double logged[REEL_NPROF], logged_flops; /* what the records of earlier steps have told of seconds and flops */
    double reduced_work, reduced_data, reduced_stopped; /* what earlier reductions have told of seconds: see train/spread.h */
    double mark; /* when the running phase began ... */
    double waited; /* ... and reel_watch_waited() then */
    const struct reel_watch *watch;
    double start, flops;
    long steps;
};

void reel_profile_start(struct reel_profile *p, const struct reel_watch *watch);
/** reel_profile_lap - the time since the last lap belongs to `phase`. Local. */
void reel_profile_lap(struct reel_profile *p, enum reel_prof_phase phase);
/** reel_profile_work - seconds of all phases but waiting for other ranks. Local. */
double reel_profile_work(const struct reel_profile *p);

#endif
