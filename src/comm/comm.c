/* start, stop, and what happens when MPI itself fails */
#include "comm/comm.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "comm/comm_priv.h"
#include "comm/watch.h"

enum { END_S = 120, TICK_S = 5 }; /* for every rank to come to MPI_Finalize; how they are counted */

static void abort_job(int exit_code)
{
    int up = 0, down = 0;

    MPI_Initialized(&up);
    MPI_Finalized(&down);
    if (up && !down) MPI_Abort(MPI_COMM_WORLD, exit_code);
}

/* The one error handler, set on world and inherited by every communicator made from it. */
static void on_mpi_error(MPI_Comm *comm, int *code, ...)
{
    char what[MPI_MAX_ERROR_STRING] = "", where[MPI_MAX_OBJECT_NAME] = "";
    int n;

    MPI_Error_string(*code, what, &n);
    MPI_Comm_get_name(*comm, where, &n);
    reel_die_("MPI", *code, "MPI error on communicator %s: %s", where, what);
}

reel_err reel_comm_start(struct reel_comm *world, int *argc, char ***argv)
{
    MPI_Errhandler eh;
    int level;

    reel_yield_init();
    MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &level);
    reel_die_hook = abort_job;
    MPI_Comm_create_errhandler(on_mpi_error, &eh);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, eh);
    MPI_Comm_set_errhandler(MPI_COMM_SELF, eh);
    MPI_Errhandler_free(&eh);

    *world = (struct reel_comm){ .mpi = MPI_COMM_WORLD, .name = "world" };
    MPI_Comm_rank(world->mpi, &world->rank);
    MPI_Comm_size(world->mpi, &world->size);
    reel_set_rank(world->rank, world->size);
    if (level < MPI_THREAD_SERIALIZED)
        return REEL_FAIL(REEL_ECONFIG, "the MPI library serves one thread only (level %d); reel needs "
                                       "MPI_THREAD_SERIALIZED: use an MPICH built with --enable-threads=multiple",
                         level);
    return REEL_OK;
}

void reel_comm_node(struct reel_comm *node, struct reel_comm *c)
{
    int64_t was = reel_watch_enter(c);

    *node = (struct reel_comm){ .name = "node" };
    MPI_Comm_split_type(c->mpi, MPI_COMM_TYPE_SHARED, c->rank, MPI_INFO_NULL, &node->mpi);
    reel_watch_leave(c, was);
    MPI_Comm_rank(node->mpi, &node->rank);
    MPI_Comm_size(node->mpi, &node->size);
}

void reel_comm_close(struct reel_comm *c) { MPI_Comm_free(&c->mpi); }

static volatile sig_atomic_t ticks_left; /* a handler has no argument */

/* A rank that does not come to the end is no reason for the others to stay. Counted in ticks: a process that was stopped meets
 * one of them when it goes on. */
static void on_alarm(int sig)
{
    static const char why[] = "reel: not every rank came to the end of the program in two minutes\n";

    (void)sig;
    if (--ticks_left > 0) {
        alarm(TICK_S);
        return;
    }
    if (write(STDERR_FILENO, why, sizeof why - 1)) _exit(70);
    _exit(70);
}

void reel_comm_stop(void)
{
    reel_phase("stop", -1);
    ticks_left = END_S / TICK_S + (reel_rank() < 2 ? reel_rank() : 2); /* one speaks, then the launcher ends the others */
    signal(SIGALRM, on_alarm);
    alarm(TICK_S);
    MPI_Finalize();
    alarm(0);
    reel_die_hook = NULL;
}

reel_err reel_comm_check_launch(struct reel_comm *world, const char *tasks, const char *rank, const char *launcher, const char *cure)
{
    long n = tasks ? strtol(tasks, NULL, 10) : 0;

    if (world->size > 1 || n <= 1) return REEL_OK;
    world->rank = rank ? (int)strtol(rank, NULL, 10) : 0;
    return REEL_FAIL(REEL_ECONFIG, "%s %ld tasks but MPI sees a world of one rank: the launcher and MPI do not speak the same protocol; %s",
                     launcher, n, cure);
}
