#include "comm/stop.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

#define SAVE_RATE 2e8 /* bytes a second that a rank writes, before that is known: a share of a slow parallel file system */

/* What signals leave for the next poll. A handler has no argument, so this alone is not in the run's struct. */
static volatile sig_atomic_t asked_end, asked_save;

static void on_end(int sig) { (void)sig; asked_end = 1; }
static void on_save(int sig) { (void)sig; asked_save = 1; }

static void catch(int sig, void (*handler)(int), int flags)
{
    struct sigaction a = { .sa_handler = handler, .sa_flags = SA_RESTART | flags };

    sigemptyset(&a.sa_mask);
    sigaction(sig, &a, NULL);
}

void reel_stop_open(struct reel_stop *s, double max_wall, const char *end_time)
{
    double left = end_time ? strtod(end_time, NULL) - (double)time(NULL) : 0;

    reel_clock_watch();
    *s = (struct reel_stop){ .began = reel_now(), .limit = max_wall };
    if (left > 0 && (s->limit <= 0 || left < s->limit)) s->limit = left;
    asked_end = asked_save = 0;
    catch(SIGUSR1, on_end, (int)SA_RESETHAND);
    catch(SIGTERM, on_end, (int)SA_RESETHAND);
    catch(SIGUSR2, on_save, 0);
    catch(SIGPIPE, SIG_IGN, 0); /* who reads the output may go; the run's log is in its folder */
}

/* Time for one more step and the save after it. Until a save has been timed, a tenth of the whole, at most a minute, or what
 * its bytes should take. */
static double margin(const struct reel_stop *s)
{
    double guess = s->limit < 600 ? s->limit / 10 : 60, bytes = (double)s->save_bytes / SAVE_RATE;

    return 2 * s->step + (s->save > 0 ? 1.5 * s->save : guess > bytes ? guess : bytes) + 1;
}

static int late(const struct reel_stop *s) { return s->limit > 0 && reel_now() - s->began + margin(s) > s->limit; }

/* Asked of rank 0 alone: one clock. */
static int wall(const struct reel_stop *s, const struct reel_comm *world) { return world->rank == 0 && late(s); }

int reel_stop_asked(const struct reel_stop *s) { return asked_end || late(s); }

int reel_stop_near(const struct reel_stop *s, struct reel_comm *world)
{
    int64_t asked = asked_end || wall(s, world);

    reel_comm_sum_i64(world, &asked, 1);
    return asked > 0;
}

int reel_stop_poll(struct reel_stop *s, struct reel_comm *world, double step, double save)
{
    int64_t v[3] = { asked_save, asked_end };

    if (step > s->step) s->step = step;
    s->save = save;
    if (v[0]) asked_save = 0;
    v[2] = wall(s, world);
    reel_comm_sum_i64(world, v, 3);
    return (v[0] ? REEL_STOP_SAVE : 0) | (v[1] || v[2] ? REEL_STOP_END : 0) | (v[2] ? REEL_STOP_WALL : 0);
}
