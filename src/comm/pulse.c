/* beats: one small reduction after the other, of which there is always one under way */
#include "comm/pulse.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "comm/comm_priv.h"
#include "comm/watch.h"

enum { MOST_OFTEN = 16 }; /* beats in a deadline; at most one a second */

struct reel_pulse {
    MPI_Comm mpi; /* of its own: a beat crosses other collectives */
    MPI_Request beat;
    int64_t mine, at_work; /* whether this rank works; how many do, after a beat */
    int64_t beats;
    double every, last;    /* seconds between two looks; when it last looked */
};

static void post(struct reel_pulse *p, int at_work)
{
    p->mine = at_work;
    MPI_Iallreduce(&p->mine, &p->at_work, 1, MPI_INT64_T, MPI_SUM, p->mpi, &p->beat);
}

static int over(struct reel_pulse *p)
{
    int done;

    MPI_Test(&p->beat, &done, MPI_STATUS_IGNORE);
    p->beats += done;
    return done;
}

reel_err reel_pulse_open(struct reel_comm *c)
{
    struct reel_pulse *p;
    double every = reel_watch_seconds(c->watch) / MOST_OFTEN;

    if (!c->watch) return REEL_OK;
    p = calloc(1, sizeof *p);
    REEL_TRY(reel_agree(c, p ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for a pulse")));
    p->every = every < 1 ? every : 1;
    MPI_Comm_dup(c->mpi, &p->mpi);
    post(p, 1);
    c->pulse = p;
    return REEL_OK;
}

void reel_pulse(const struct reel_comm *c)
{
    struct reel_pulse *p = c ? c->pulse : NULL;
    double now;

    if (!p) return;
    now = reel_now();
    if (now - p->last < p->every) return;
    p->last = now;
    reel_watch_moved(c);
    if (over(p)) post(p, 1);
}

/* A core that nothing is done on is left to those at work. */
static void one_beat(const struct reel_comm *c)
{
    int64_t was = reel_watch_enter(c);

    while (!over(c->pulse)) nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
    reel_watch_leave(c, was);
}

/* No beat is under way afterwards. */
static void rest(const struct reel_comm *c)
{
    struct reel_pulse *p = c->pulse;

    for (one_beat(c); p->at_work; one_beat(c)) post(p, 0);
}

void reel_pulse_rest(struct reel_comm *c)
{
    if (!c->pulse) return;
    rest(c);
    post(c->pulse, 1);
}

int64_t reel_pulse_beats(const struct reel_comm *c) { return c->pulse ? c->pulse->beats : 0; }

void reel_pulse_close(struct reel_comm *c)
{
    if (!c->pulse) return;
    rest(c);
    MPI_Comm_free(&c->pulse->mpi);
    free(c->pulse);
    c->pulse = NULL;
}
