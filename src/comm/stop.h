#ifndef REEL_COMM_STOP_H
#define REEL_COMM_STOP_H

/* Who ends a run before its last step: SIGUSR1 and SIGTERM (preemption, the end of the allocation) and the wall clock
 * ask for a checkpoint and an end, SIGUSR2 for a checkpoint alone. A wish is carried out after the running step, by
 * all ranks after the same one. A second SIGUSR1 or SIGTERM is not caught: the last whole checkpoint stays. */

#include "comm/comm.h"

enum { REEL_STOP_SAVE = 1, REEL_STOP_END = 2, REEL_STOP_WALL = 4 }; /* WALL: END is the clock's wish */

/* The code that the program then exits with, sysexits' "temporary failure": a job script asks for a requeue. */
#define REEL_EXIT_REQUEUE 75

struct reel_stop {
    double began;      /* reel_now() at the start */
    double limit;      /* seconds after it by which the run must have ended; 0: none */
    size_t save_bytes; /* what a rank writes in a save */
    double step, save; /* the longest step so far, without its save; what a save may take, 0: not known yet */
};

/**
 * reel_stop_open - catch the signals and set the clock, which stands still while the process is stopped: a batch system moves
 * the end of a job that it suspends, too. Local.
 * @max_wall  seconds from now; 0: none
 * @end_time  SLURM_JOB_END_TIME, seconds since 1970, or NULL; the earlier of the two counts
 */
void reel_stop_open(struct reel_stop *s, double max_wall, const char *end_time);

/**
 * reel_stop_poll - what this step ends with: REEL_STOP bits, the same on every rank. Collective(world).
 * @step, @save  seconds of this step without a save; of a save (reel_save_seconds)
 */
int reel_stop_poll(struct reel_stop *s, struct reel_comm *world, double step, double save);

/** reel_stop_near - 1: the next poll will say END, so long work between steps should give way. Nothing is forgotten.
 * Collective(world). */
int reel_stop_near(const struct reel_stop *s, struct reel_comm *world);

/** reel_stop_asked - 1: a signal has come to this rank, or its clock says so; the ranks have yet to agree. Local. */
int reel_stop_asked(const struct reel_stop *s);

#endif
