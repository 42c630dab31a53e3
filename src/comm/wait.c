/* nonblocking collectives: their end */
#include <sched.h>

#include "be/backend.h"
#include "comm/comm_priv.h"
#include "comm/watch.h"

static int all_done(struct reel_req *req)
{
    MPI_Status ignored[REEL_REQ_MAX];
    int done;

    MPI_Testall(req->n, req->r, &done, ignored);
    return done;
}

void reel_comm_wait(struct reel_comm *c, struct reel_req *req)
{
    int64_t was = reel_watch_enter(c);

    REEL_BUG_IF(req->n && reel_fault("comm_wait"), "injected fault in a collective on %s", c->name);
    if (req->n && req->s) req->s->be->dev->wait(req->s, req->ticket);
    else while (req->n && !all_done(req)) sched_yield();
    req->n = 0;
    req->s = NULL;
    reel_watch_leave(c, was);
}

void reel_comm_progress(struct reel_req *req)
{
    if (req->n && !req->s) all_done(req);
}
