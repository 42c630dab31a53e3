#ifndef REEL_COMM_WATCH_H
#define REEL_COMM_WATCH_H

/* The watchdog: a collective that does not end within its deadline ends the job, and the message names the ranks that did
 * not arrive, with their phase and step. A thread of every rank looks at a board in memory that the ranks of a node share
 * and that each writes alone, so nothing is asked of a rank that is stopped or stuck. */

#include "comm/comm.h"

struct reel_watch;

/**
 * reel_watch_open - put the ranks of `world` under watch: collectives of world and of communicators made from it later.
 * @knob  what the user sets the seconds with, for messages
 * Collective(world). seconds 0, or one rank: *w is NULL, nothing is watched. Without shared memory on some node nothing is
 * watched either, which rank 0 says.
 * Errors: REEL_ENOMEM, agreed: a thread cannot be started.
 */
reel_err reel_watch_open(struct reel_watch **w, struct reel_comm *world, double seconds, const char *knob);
void reel_watch_close(struct reel_watch *w, struct reel_comm *world); /* Collective(world); NULL is nothing */

/** reel_watch_enter - this rank begins to wait for others on c; what it waited for before (give it to leave). Local. */
int64_t reel_watch_enter(const struct reel_comm *c);
void reel_watch_leave(const struct reel_comm *c, int64_t before); /* Local */
/** reel_watch_moved - this rank works on what others wait for, so it is none that did not arrive until the deadline after
 * its last such call: pulse.h. Local. */
void reel_watch_moved(const struct reel_comm *c);
/** reel_watch_seconds - the deadline; NULL: 0, there is none. Local. */
double reel_watch_seconds(const struct reel_watch *w);
/** reel_watch_waited - seconds that this rank has waited for others so far; NULL: 0. Local. */
double reel_watch_waited(const struct reel_watch *w);

#endif
