#ifndef REEL_COMM_PULSE_H
#define REEL_COMM_PULSE_H

/* Work that takes every rank as long as it takes, and the wait for the last one, under the watchdog. In one collective a rank
 * that works for hours would look as one that has stopped. So those who are done wait in a chain of small ones, beats, in
 * which those at work take part in passing: each beat has the deadline, the work has none. */

#include "comm/comm.h"

/** reel_pulse_open - c gets a pulse, if it is under watch (watch.h); without one the calls below are nothing. Collective(c).
 * Errors: REEL_ENOMEM, agreed. */
reel_err reel_pulse_open(struct reel_comm *c);
void reel_pulse_close(struct reel_comm *c); /* Collective(c); none is fine */

/** reel_pulse - this rank moves: to be called between pieces of work that are small beside the deadline. A beat takes as many calls
 * as its reduction has turns, log2 of the ranks, and the others wait for it no longer than that. Cheap: most calls look at the clock
 * alone. c NULL is nothing. Local, on the thread that calls c's collectives. */
void reel_pulse(const struct reel_comm *c);

/** reel_pulse_rest - this rank has done its part: returns when all have. To be called before the collective in which
 * the others would wait for it. Collective(c). */
void reel_pulse_rest(struct reel_comm *c);

/** reel_pulse_beats - how many beats there have been. Local. */
int64_t reel_pulse_beats(const struct reel_comm *c);

#endif
