#include "train/profile.h"

#include "comm/watch.h"

void reel_profile_start(struct reel_profile *p, const struct reel_watch *watch)
{
    *p = (struct reel_profile){ .watch = watch, .waited = reel_watch_waited(watch) };
    p->start = p->mark = reel_now();
}

void reel_profile_lap(struct reel_profile *p, enum reel_prof_phase phase)
{
    double now = reel_now(), waited = reel_watch_waited(p->watch), mine = now - p->mark - (waited - p->waited);

    p->seconds[phase] += mine > 0 ? mine : 0;
    p->seconds[REEL_PROF_WAIT] += waited - p->waited;
    p->mark = now;
    p->waited = waited;
}

double reel_profile_work(const struct reel_profile *p)
{
    double sum = 0;

    for (int i = 0; i < REEL_NPROF; i++) sum += i == REEL_PROF_WAIT ? 0 : p->seconds[i];
    return sum;
}
