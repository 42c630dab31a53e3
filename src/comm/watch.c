/* the watchdog of collectives */
#include "comm/watch.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"
#include "comm/comm_priv.h"

#define GRACE 1.25 /* times the deadline: when a node speaks up whose own ranks have all arrived */

/* One rank's line of the board. Only its owner writes. */
struct seat {
    int rank;                /* in the world */
    _Atomic int64_t beat;    /* when the owner's watcher last looked, ns: that of a stopped process stays */
    _Atomic int64_t since;   /* when the owner began to wait, ns; 0: it does not wait */
    _Atomic int64_t moves;   /* how often the owner has said that it works */
    char in[16];             /* for which communicator */
    struct reel_doing doing; /* its phase and step */
};

/* What this rank's watcher saw of a seat: its beat and its moves, and when they changed. */
struct seen {
    int64_t beat, at, moves, moved;
};

struct reel_watch {
    struct board {
        _Atomic int spoken; /* one rank of a node reports */
        struct seat seat[];
    } *board;
    struct seat *mine;
    struct seen *seen;
    int64_t awake;         /* ns that this process was not stopped itself: a job that is suspended, then goes on, has not waited */
    int64_t since, from;   /* the wait under watch, and when in awake time it began */
    int n, world; /* ranks of this node, of the job */
    double began, waited; /* reel_now() when the running wait began; seconds of those before */
    double seconds;
    const char *knob;
    char node[64];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int end;
};

/* One clock for all processes of a node. */
static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static double since_s(int64_t then, int64_t now) { return 1e-9 * (double)(now - then); }

int64_t reel_watch_enter(const struct reel_comm *c)
{
    struct reel_watch *w = c->watch;
    int64_t before;

    if (!w) return 0;
    before = atomic_load_explicit(&w->mine->since, memory_order_relaxed);
    if (before) return before; /* part of a larger one */
    snprintf(w->mine->in, sizeof w->mine->in, "%s", c->name);
    w->began = reel_now();
    atomic_store(&w->mine->since, now_ns());
    return 0;
}

void reel_watch_leave(const struct reel_comm *c, int64_t before)
{
    struct reel_watch *w = c->watch;

    if (!w) return;
    if (!before) w->waited += reel_now() - w->began;
    atomic_store(&w->mine->since, before);
}

void reel_watch_moved(const struct reel_comm *c)
{
    if (c->watch) atomic_fetch_add(&c->watch->mine->moves, 1);
}

double reel_watch_seconds(const struct reel_watch *w) { return w ? w->seconds : 0; }

double reel_watch_waited(const struct reel_watch *w) { return w ? w->waited : 0; }

/* ---- the report ---- */

static double period(const struct reel_watch *w)
{
    return w->seconds < 4 ? w->seconds / 4 : 1;
}

/* The owner's watcher has not looked for some time, this one has. */
static int silent(const struct reel_watch *w, int i)
{
    return since_s(w->seen[i].at, w->awake) > (w->seconds < 20 ? w->seconds / 2 : 10);
}

/* It is at work, and says so now and then. */
static int works(const struct reel_watch *w, int i)
{
    return !w->board->seat[i].since && w->seen[i].moves && since_s(w->seen[i].moved, w->awake) <= w->seconds;
}

static int absent(const struct reel_watch *w, int i) { return silent(w, i) || (!w->board->seat[i].since && !works(w, i)); }

/* How many ranks of the node are so. */
static int count(const struct reel_watch *w, int (*so)(const struct reel_watch *w, int i))
{
    int n = 0;

    for (int i = 0; i < w->n; i++) n += so(w, i);
    return n;
}

static void say_absent(const struct reel_watch *w, int64_t now)
{
    char doing[REEL_DOING_TEXT];

    for (int i = 0; i < w->n; i++) {
        const struct seat *s = &w->board->seat[i];
        if (!absent(w, i)) continue;
        fprintf(stderr, "reel: rank %d on %s did not arrive: in %s", s->rank, w->node, reel_doing_text(&s->doing, doing));
        if (silent(w, i)) fprintf(stderr, ", and its process does not respond for %.0f s (stopped?)", since_s(s->beat, now));
        fputc('\n', stderr);
    }
}

/* Everyone here waits: who is missing runs on another node, or the ranks wait for different things. */
static void say_present(const struct reel_watch *w, int64_t now)
{
    char doing[REEL_DOING_TEXT];

    fprintf(stderr, "reel: all ranks on %s wait%s:\n", w->node, w->n < w->world ? "; who is missing runs on another node" : ", for different collectives");
    for (int i = 0; i < w->n; i++) {
        const struct seat *s = &w->board->seat[i];
        fprintf(stderr, "reel: rank %d on %s waits in %s for %s, for %.0f s\n", s->rank, w->node, reel_doing_text(&s->doing, doing), s->in,
                since_s(s->since, now));
    }
}

static void end_job(const struct reel_watch *w)
{
    reel_die_("watchdog", 0, "a collective on %s did not end within %s = %g s", w->mine->in, w->knob, w->seconds);
}

/* Awake time goes on by what passed since the last look, or, after a stop of this process, by what would have passed. Returns
 * by how much. */
static int64_t go_on(struct reel_watch *w, int64_t now)
{
    int64_t passed = now - w->mine->beat, most = (int64_t)(2e9 * period(w));

    if (passed > most) passed = most;
    w->awake += passed;
    atomic_store(&w->mine->beat, now);
    for (int i = 0; i < w->n; i++) {
        const struct seat *s = &w->board->seat[i];
        struct seen *v = &w->seen[i];
        int64_t beat = s->beat, moves = s->moves;
        if (beat != v->beat) v->beat = beat, v->at = w->awake;
        if (moves != v->moves) v->moves = moves, v->moved = w->awake;
    }
    return passed;
}

/* Seconds of awake time that this rank has waited, of which the last `passed` ns are new. */
static double waited(struct reel_watch *w, int64_t now, int64_t passed)
{
    int64_t since = atomic_load(&w->mine->since);

    if (!since) return 0;
    if (since != w->since) w->since = since, w->from = w->awake - (now - since < passed ? now - since : passed);
    return since_s(w->from, w->awake);
}

static void look(struct reel_watch *w)
{
    int64_t now = now_ns();
    double s = waited(w, now, go_on(w, now));
    int missing, none = 0;

    if (s <= w->seconds) return;
    missing = count(w, absent);
    if (!missing && (count(w, works) || s <= GRACE * w->seconds + 2)) return; /* another node may know who it is */
    if (!atomic_compare_exchange_strong(&w->board->spoken, &none, 1)) return;
    signal(SIGALRM, SIG_DFL); /* MPI, or whoever reads the messages, may be stuck too: then this ends the process, the launcher the others */
    alarm(10);
    if (missing)
        say_absent(w, now);
    else
        say_present(w, now);
    end_job(w);
}

static void *watcher(void *arg)
{
    struct reel_watch *w = arg;
    struct timespec t;

    pthread_mutex_lock(&w->lock);
    while (!w->end) {
        int64_t at;
        look(w);
        clock_gettime(CLOCK_MONOTONIC, &t);
        at = (int64_t)t.tv_nsec + (int64_t)(period(w) * 1e9);
        t.tv_sec += at / 1000000000, t.tv_nsec = at % 1000000000;
        pthread_cond_timedwait(&w->wake, &w->lock, &t);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- start and end ---- */

/* One segment for the node, gone when its last rank is. NULL where the system has none. Collective(node). */
static struct board *share(struct reel_comm *node, size_t bytes)
{
    int id = node->rank ? -1 : shmget(IPC_PRIVATE, bytes, IPC_CREAT | 0600), have;
    void *p;

    MPI_Bcast(&id, 1, MPI_INT, 0, node->mpi);
    p = id >= 0 ? shmat(id, NULL, 0) : (void *)-1;
    have = p != (void *)-1;
    MPI_Allreduce(MPI_IN_PLACE, &have, 1, MPI_INT, MPI_MIN, node->mpi);
    if (node->rank == 0 && id >= 0) shmctl(id, IPC_RMID, NULL);
    if (have) return p;
    if (p != (void *)-1) shmdt(p);
    return NULL;
}

static void sit(struct reel_watch *w, struct reel_comm *world, const struct reel_comm *node)
{
    w->n = node->size, w->world = world->size;
    w->mine = &w->board->seat[node->rank];
    w->mine->rank = world->rank;
    atomic_store(&w->mine->beat, now_ns());
    gethostname(w->node, sizeof w->node - 1);
    reel_phase_show(&w->mine->doing);
}

/* Not by the time of day, which is set now and then. */
static void wake_by_monotonic_clock(struct reel_watch *w)
{
    pthread_condattr_t a;

    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &a);
    pthread_condattr_destroy(&a);
}

static reel_err start(struct reel_watch *w)
{
    int e = reel_thread_start(&w->thread, watcher, w);

    return e ? REEL_FAIL(REEL_ENOMEM, "cannot start the watchdog's thread: %s", strerror(e)) : REEL_OK;
}

static reel_err make(struct reel_watch **out, int ranks, double seconds, const char *knob)
{
    struct reel_watch *w = calloc(1, sizeof *w);
    struct seen *seen = calloc((size_t)ranks, sizeof *seen);

    *out = w;
    if (w && seen) {
        *w = (struct reel_watch){ .seconds = seconds, .knob = knob, .seen = seen, .lock = PTHREAD_MUTEX_INITIALIZER };
        return REEL_OK;
    }
    free(w), free(seen);
    return REEL_FAIL(REEL_ENOMEM, "no memory for the watchdog");
}

static void drop(struct reel_watch *w)
{
    if (!w) return;
    reel_phase_show(NULL);
    if (w->board) shmdt(w->board);
    free(w->seen);
    free(w);
}

reel_err reel_watch_open(struct reel_watch **out, struct reel_comm *world, double seconds, const char *knob)
{
    struct reel_watch *w;
    struct reel_comm node;
    int64_t lack;
    reel_err e;

    *out = NULL;
    if (seconds <= 0 || world->size == 1) return REEL_OK;
    REEL_TRY(reel_agree(world, make(&w, world->size, seconds, knob)));
    wake_by_monotonic_clock(w);
    reel_comm_node(&node, world);
    w->board = share(&node, sizeof *w->board + (size_t)node.size * sizeof(struct seat));
    if (w->board) sit(w, world, &node);
    reel_comm_close(&node);
    lack = !w->board;
    reel_comm_sum_i64(world, &lack, 1);
    if (lack) {
        if (world->rank == 0) fprintf(stderr, "reel: no watchdog: %lld ranks have no shared memory with their node\n", (long long)lack);
        drop(w);
        return REEL_OK;
    }
    reel_comm_barrier(world); /* every seat is taken before anyone looks */
    e = start(w);
    if (reel_agree(world, e) == REEL_OK) {
        *out = world->watch = w;
        return REEL_OK;
    }
    if (e == REEL_OK) reel_watch_close(w, world);
    else drop(w);
    return reel_errrec()->code;
}

void reel_watch_close(struct reel_watch *w, struct reel_comm *world)
{
    if (!w) return;
    world->watch = NULL;
    pthread_mutex_lock(&w->lock);
    w->end = 1;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    drop(w);
}
