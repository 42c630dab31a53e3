/* one rank's error becomes everyone's */
#include <inttypes.h>

#include "comm/comm_priv.h"
#include "comm/watch.h"

/* The lowest rank with `flag` set, or c->size; *count gets how many, when there is one. */
static int lowest_with(struct reel_comm *c, int flag, int *count)
{
    int first = flag ? c->rank : c->size;
    int64_t was = reel_watch_enter(c);

    MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, c->mpi);
    if (first < c->size) {
        *count = flag != 0;
        MPI_Allreduce(MPI_IN_PLACE, count, 1, MPI_INT, MPI_SUM, c->mpi);
    }
    reel_watch_leave(c, was);
    return first;
}

static void send(struct reel_comm *c, void *p, size_t bytes, int from) /* not counted: no step moves it */
{
    int64_t was = reel_watch_enter(c);

    MPI_Bcast(p, (int)bytes, MPI_BYTE, from, c->mpi);
    reel_watch_leave(c, was);
}

reel_err reel_agree(struct reel_comm *c, reel_err mine)
{
    struct reel_errrec *r = reel_errrec();
    int first, failed = 0;

    if (!mine && reel_fault("comm_agree")) mine = REEL_FAIL(REEL_EIO, "injected fault at comm_agree");
    if (mine && !r->code) REEL_FAIL(mine, "error %d without a message", (int)mine);
    first = lowest_with(c, mine != REEL_OK, &failed);
    if (first == c->size) return REEL_OK;
    if (first == c->rank) {
        r->rank = reel_rank();
        r->n_failed = failed;
        r->n_ranks = c->size;
    }
    send(c, r, sizeof *r, first);
    return r->code;
}

reel_err reel_comm_same(struct reel_comm *c, const char *what, uint64_t hash)
{
    uint64_t root = hash;
    int first, differ = 0;

    send(c, &root, sizeof root, 0);
    first = lowest_with(c, root != hash, &differ);
    if (first == c->size) return REEL_OK;
    send(c, &hash, sizeof hash, first);
    return REEL_FAIL(REEL_ECONFIG,
                     "%s is not the same on every rank: %d of %d ranks differ from rank 0 (%s rank %d has "
                     "%016" PRIx64 ", rank 0 has %016" PRIx64 "); is every node reading the same files?",
                     what, differ, c->size, c->name, first, hash, root);
}
