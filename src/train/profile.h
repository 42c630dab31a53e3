#ifndef REEL_TRAIN_PROFILE_H
#define REEL_TRAIN_PROFILE_H

/* Where the time of a run goes: seconds per phase of this rank, reduced over ranks at the end. */

enum reel_prof_phase {
    REEL_PROF_DATA,     /* waiting for the batch */
    REEL_PROF_COMPUTE,  /* forward and backward, with the gathers inside */
    REEL_PROF_REDUCE,   /* waiting for gradients */
    REEL_PROF_CALLBACK, /* clipping, EMA */
    REEL_PROF_OPTIM,
    REEL_PROF_SAVE,
    REEL_PROF_VALIDATE, /* what callbacks do between steps */
    REEL_PROF_OTHER, /* log, agreement */
    REEL_NPROF
};

struct reel_profile {
    double seconds[REEL_NPROF];
    double mark; /* when the running phase began */
    double start, flops;
    long steps;
};

double reel_now(void); /* seconds of a monotonic clock */
void reel_profile_start(struct reel_profile *p);
/** reel_profile_lap - the time since the last lap belongs to `phase`. Local. */
void reel_profile_lap(struct reel_profile *p, enum reel_prof_phase phase);

#endif
