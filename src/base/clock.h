#ifndef REEL_BASE_CLOCK_H
#define REEL_BASE_CLOCK_H

/** reel_now - seconds of the monotonic clock, which nobody sets. Local. */
double reel_now(void);

#endif
