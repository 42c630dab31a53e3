#ifndef REEL_BASE_BYTES_H
#define REEL_BASE_BYTES_H

struct reel_bytes_text { char s[24]; };

/** reel_bytes_text - "2.6 MiB": KiB, MiB or GiB, whichever leaves a number to read. Local. By value: reel_bytes_text(n).s is an argument of printf. */
struct reel_bytes_text reel_bytes_text(double bytes);

#endif
