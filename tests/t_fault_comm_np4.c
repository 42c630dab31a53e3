/* a failure on one rank ends the run on all of them. Without arguments: inside one process group,
 * for every rank. With site:rank:nth: a program that fails there (tests/t_fault_comm.sh runs it). */
#include <mpi.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/comm.h"
#include "comm/pulse.h"
#include "comm/watch.h"
#include "tap.h"

/* What a program does: several collective steps, each of which may fail on one rank. */
static reel_err work(struct reel_comm *c)
{
    void *blob = NULL;
    size_t n = 0;
    char text[] = "config";

    for (int step = 0; step < 3; step++) {
        reel_err mine = reel_fault("work") ? REEL_FAIL(REEL_EIO, "step %d: disk full", step) : REEL_OK;

        reel_phase("work", step);
        REEL_TRY(reel_agree(c, mine));
    }
    if (c->rank == 0) blob = text, n = sizeof text;
    REEL_TRY(reel_comm_bcast_blob(c, &blob, &n, 0));
    if (c->rank) free(blob);
    return REEL_OK;
}

/* A rank dies, or is killed, while the others wait for it. */
static void collide(struct reel_comm *c)
{
    struct reel_req req = { .n = 0 };
    int x[64] = { 0 }, y[64];

    if (reel_fault("kill")) raise(SIGKILL);
    MPI_Ialltoall(x, 1, MPI_INT, y, 1, MPI_INT, c->mpi, &req.r[req.n++]);
    reel_comm_wait(c, &req);
    reel_comm_barrier(c);
}

/* Two wait for the others, of which one is at work for ever and rank 1 does nothing any more. */
static void stand_still(struct reel_comm *c)
{
    struct reel_watch *w;

    if (reel_watch_open(&w, c, 10, "a test's watch") || reel_pulse_open(c)) return;
    reel_phase_of("work on", c->rank, "a very long film");
    while (c->rank == 1) pause();
    while (c->rank == 2) reel_pulse(c), usleep(1000);
    reel_pulse_rest(c);
}

static int as_program(struct reel_comm *c, const char *fault)
{
    reel_err e;

    if (reel_fault_set(fault)) return 2;
    e = work(c);
    if (!strncmp(fault, "still", 5)) stand_still(c);
    if (!e) collide(c);
    if (e && c->rank == 0) reel_err_print(reel_errrec());
    reel_comm_stop();
    return e != REEL_OK;
}

static int everyone(struct reel_comm *c, int ok)
{
    int64_t bad = !ok;

    reel_comm_sum_i64(c, &bad, 1);
    return bad == 0;
}

static void each_rank_fails(struct reel_comm *c, const char *site, int first_rank, int nth, const char *says)
{
    for (int r = first_rank; r < c->size; r++) {
        char spec[64];
        const struct reel_errrec *rec = reel_errrec();
        reel_err e;

        snprintf(spec, sizeof spec, "%s:%d:%d", site, r, nth);
        reel_fault_set(spec);
        e = work(c);
        TAP_OK(everyone(c, e && rec->code == e && rec->rank == r && rec->n_failed == 1 && rec->n_ranks == c->size &&
                               strstr(rec->msg, says)),
               "%s: rank %d: %s (%d of %d)", spec, rec->rank, rec->msg, rec->n_failed, rec->n_ranks);
        reel_err_clear();
    }
}

int main(int argc, char **argv)
{
    struct reel_comm world;

    if (reel_comm_start(&world, &argc, &argv)) return 1;
    if (argc > 1) return as_program(&world, argv[1]);
    tap_quiet = world.rank != 0;
    reel_fault_set("none:0:1");
    TAP_OK(everyone(&world, work(&world) == REEL_OK), "no fault, no error");
    each_rank_fails(&world, "work", 0, 2, "step 1: disk full");
    each_rank_fails(&world, "comm_agree", 0, 1, "injected fault at comm_agree");
    each_rank_fails(&world, "comm_blob", 1, 1, "no memory for 7 bytes sent by rank 0 of world");
    reel_comm_stop();
    return tap_done();
}
