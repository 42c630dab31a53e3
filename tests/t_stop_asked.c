/* What ends a run: the clock with the time of a step and of a save, the end of an allocation, signals. No time passes here. */
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "tap.h"
#include "comm/stop.h"

static struct reel_comm world = { .size = 1, .name = "world" };

/* A poll after a step of `step` seconds, when a save takes `save`; `max_wall` seconds were given a moment ago. */
static int asked(double max_wall, size_t save_bytes, double step, double save)
{
    struct reel_stop s;

    reel_stop_open(&s, max_wall, NULL);
    s.save_bytes = save_bytes;
    return reel_stop_poll(&s, &world, step, save);
}

static void clock_looks_ahead(void)
{
    struct reel_stop s;
    char end[32];

    TAP_OK(asked(0, 0, 1e6, 1e6) == 0, "no limit, no end");
    TAP_OK(asked(1000, 0, 10, 0) == 0, "there is time for two steps and a minute");
    TAP_OK(asked(1000, 0, 470, 0) == (REEL_STOP_END | REEL_STOP_WALL), "not for two long steps and a minute");
    TAP_OK(asked(1000, 0, 10, 600) == 0, "for a save that took 600 s");
    TAP_OK(asked(1000, 0, 10, 700) == (REEL_STOP_END | REEL_STOP_WALL), "not for half as much again of 700 s");
    TAP_OK(asked(1000, (size_t)100e9, 10, 0) == 0, "for 100 GB that were never written before");
    TAP_OK(asked(1000, (size_t)250e9, 10, 0) == (REEL_STOP_END | REEL_STOP_WALL), "not for 250 GB");
    TAP_OK(asked(1000, (size_t)250e9, 10, 20) == 0, "but once it is known that they take 20 s");
    snprintf(end, sizeof end, "%lld", (long long)time(NULL) + 500);
    reel_stop_open(&s, 1000, end);
    TAP_OK(reel_stop_poll(&s, &world, 10, 600) & REEL_STOP_WALL, "an allocation that ends earlier counts");
    reel_stop_open(&s, 1000, "1");
    TAP_OK(reel_stop_poll(&s, &world, 10, 0) == 0, "one that ended long ago is not this one's");
}

static int is_default(int sig)
{
    struct sigaction a;

    sigaction(sig, NULL, &a);
    return a.sa_handler == SIG_DFL;
}

static void signals_are_kept(void)
{
    struct reel_stop s;

    reel_stop_open(&s, 0, NULL);
    raise(SIGPIPE);
    TAP_OK(reel_stop_poll(&s, &world, 1, 0) == 0, "a closed pipe asks for nothing");
    raise(SIGUSR2);
    raise(SIGUSR2);
    TAP_OK(reel_stop_near(&s, &world) == 0 && reel_stop_poll(&s, &world, 1, 0) == REEL_STOP_SAVE, "SIGUSR2 asks for a save");
    TAP_OK(reel_stop_poll(&s, &world, 1, 0) == 0, "once");
    raise(SIGUSR1);
    TAP_OK(reel_stop_near(&s, &world) == 1 && reel_stop_poll(&s, &world, 1, 0) == REEL_STOP_END, "SIGUSR1 asks for the end");
    TAP_OK(is_default(SIGUSR1) && !is_default(SIGTERM), "a second one is not caught; SIGTERM, which Slurm sends later, still is");
    raise(SIGTERM);
    TAP_OK(reel_stop_poll(&s, &world, 1, 0) == REEL_STOP_END && is_default(SIGTERM), "nothing is forgotten");
}

int main(void)
{
    clock_looks_ahead();
    signals_are_kept();
    return tap_done();
}
