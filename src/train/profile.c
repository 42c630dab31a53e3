#include "train/profile.h"

#include <time.h>

double reel_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void reel_profile_start(struct reel_profile *p)
{
    *p = (struct reel_profile){ 0 };
    p->start = p->mark = reel_now();
}

void reel_profile_lap(struct reel_profile *p, enum reel_prof_phase phase)
{
    double now = reel_now();

    p->seconds[phase] += now - p->mark;
    p->mark = now;
}
