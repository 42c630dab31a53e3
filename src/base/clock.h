#ifndef REEL_BASE_CLOCK_H
#define REEL_BASE_CLOCK_H

/* The program's one clock. A batch system suspends jobs (SIGSTOP, a frozen cgroup) for minutes or hours, in which they neither work nor
 * hang, and which it does not count against their time limit: this clock stands still then. */

/** reel_now - seconds of the monotonic clock, which nobody sets, without those in which this process was stopped (as far as
 * reel_clock_watch has been called). Any thread; Local. */
double reel_now(void);

/** reel_clock_watch - from now on stops of two seconds and more are noticed; before, they are time like any other. Once is enough. Local. */
void reel_clock_watch(void);

/** reel_clock_stopped - seconds in which this process was stopped so far. Local. */
double reel_clock_stopped(void);

#endif
