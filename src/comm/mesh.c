/* the mesh of ranks: rules, coordinates, communicators */
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "be/backend.h"
#include "be/place.h"
#include "comm/comm_priv.h"
#include "comm/watch.h"

static const struct {
    const char *name;
    size_t comm;
} axes[REEL_NAXIS] = {
    [REEL_AXIS_WORLD] = { "world", offsetof(struct reel_mesh, world) },
    [REEL_AXIS_HSDP] = { "hsdp", offsetof(struct reel_mesh, hsdp) },
    [REEL_AXIS_REPLICATE] = { "replicate", offsetof(struct reel_mesh, replicate) },
    [REEL_AXIS_SHARD] = { "shard", offsetof(struct reel_mesh, shard) },
    [REEL_AXIS_SP] = { "sp", offsetof(struct reel_mesh, sp) },
    [REEL_AXIS_TP] = { "tp", offsetof(struct reel_mesh, tp) },
};

const char *reel_axis_name(enum reel_axis a) { return axes[a].name; }

static struct reel_comm *axis_comm(struct reel_mesh *m, int a)
{
    return (struct reel_comm *)((char *)m + axes[a].comm);
}

/* ---- rules -------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void list_add(struct reel_list *l, const char *fmt, ...)
{
    char item[32];
    size_t at = strlen(l->s);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(item, sizeof item, fmt, ap);
    va_end(ap);
    if (l->full) return;
    l->full = at + strlen(item) + 8 > sizeof l->s;
    snprintf(l->s + at, sizeof l->s - at, "%s%s", l->n++ ? ", " : "", l->full ? "..." : item);
}

const char *reel_divisors(struct reel_list *l, int of_a, int of_b)
{
    *l = (struct reel_list){ .n = 0 };
    for (int k = 1; k <= of_a; k++)
        if (of_a % k == 0 && (!of_b || of_b % k == 0)) list_add(l, "%d", k);
    return l->s;
}

static const char *splits(struct reel_list *l, int hsdp)
{
    *l = (struct reel_list){ .n = 0 };
    for (int k = 1; k <= hsdp; k++)
        if (hsdp % k == 0) list_add(l, "%d x %d", k, hsdp / k);
    return l->s;
}

static reel_err check_positive(const char *key, int value)
{
    if (value >= 1) return REEL_OK;
    return REEL_FAIL(REEL_ECONFIG, "%s is %d: it must be 1 or more", key, value);
}

static reel_err check_product(const struct reel_mesh_dims *d)
{
    int64_t product = (int64_t)d->replicate * d->shard * d->tp;
    struct reel_list l;

    if (product == d->world) return REEL_OK;
    if (d->world % d->tp)
        return REEL_FAIL(REEL_ECONFIG, "tp_size %d does not divide the %d ranks of the job; tp_size %s would",
                         d->tp, d->world, reel_divisors(&l, d->world, 0));
    return REEL_FAIL(REEL_ECONFIG,
                     "hsdp_replicate_dim %d x hsdp_shard_dim %d x tp_size %d = %lld, but the job has %d rank%s; "
                     "with tp_size %d, replicate x shard of %s would work",
                     d->replicate, d->shard, d->tp, (long long)product, d->world, d->world == 1 ? "" : "s", d->tp,
                     splits(&l, d->world / d->tp));
}

static reel_err check_sp(const struct reel_mesh_dims *d)
{
    int hsdp = d->replicate * d->shard;
    struct reel_list l;

    if (hsdp % d->sp == 0) return REEL_OK;
    return REEL_FAIL(REEL_ECONFIG,
                     "sp_size %d does not divide hsdp_replicate_dim %d x hsdp_shard_dim %d = %d; sp_size %s would",
                     d->sp, d->replicate, d->shard, hsdp, reel_divisors(&l, hsdp, 0));
}

static reel_err check_heads(const struct reel_mesh_dims *d, int heads)
{
    struct reel_list l;

    if (heads == 0) return REEL_OK;
    if (heads % d->tp)
        return REEL_FAIL(REEL_ECONFIG, "the model's %d heads cannot be split over tp_size %d; tp_size %s would work",
                         heads, d->tp, reel_divisors(&l, heads, d->world));
    return REEL_OK;
}

reel_err reel_mesh_check(const struct reel_mesh_dims *d, int heads)
{
    REEL_TRY(check_positive("num_gpus", d->world));
    REEL_TRY(check_positive("hsdp_replicate_dim", d->replicate));
    REEL_TRY(check_positive("hsdp_shard_dim", d->shard));
    REEL_TRY(check_positive("sp_size", d->sp));
    REEL_TRY(check_positive("tp_size", d->tp));
    REEL_TRY(check_product(d));
    REEL_TRY(check_sp(d));
    return check_heads(d, heads);
}

/* ---- coordinates -------------------------------------------------------------------------- */

static int pow2_down(int n)
{
    int p = 1;

    while (2 * p <= n) p *= 2;
    return p;
}

void reel_mesh_place(struct reel_mesh *m, const struct reel_mesh_dims *d, int rank)
{
    int h = rank / d->tp; /* rank along the HSDP axes */

    *m = (struct reel_mesh){ .dims = *d };
    m->world = (struct reel_comm){ .rank = rank, .size = d->world };
    m->hsdp = (struct reel_comm){ .rank = h, .size = d->replicate * d->shard };
    m->replicate = (struct reel_comm){ .rank = h / d->shard, .size = d->replicate };
    m->shard = (struct reel_comm){ .rank = h % d->shard, .size = d->shard };
    m->sp = (struct reel_comm){ .rank = h % d->sp, .size = d->sp };
    m->tp = (struct reel_comm){ .rank = rank % d->tp, .size = d->tp };
    m->dp_rank = h / d->sp;
    m->dp_size = m->hsdp.size / d->sp;
    for (int i = 0; i < REEL_SP_HALVINGS; i++) {
        int whole = pow2_down(d->sp), size = whole >= 2 << i && m->sp.rank < whole ? whole / (2 << i) : 1;
        m->sp_part[i] = (struct reel_comm){ .rank = m->sp.rank % size, .size = size, .name = "sp", .mpi = MPI_COMM_NULL,
                                            .bytes = m->bytes[REEL_AXIS_SP] };
    }
    for (int a = 0; a < REEL_NAXIS; a++) {
        struct reel_comm *c = axis_comm(m, a);
        c->name = axes[a].name;
        c->mpi = MPI_COMM_NULL;
        c->bytes = m->bytes[a];
    }
}

static void split(struct reel_mesh *m, struct reel_comm *c, int color)
{
    int64_t was = reel_watch_enter(&m->world);
    int rank, size;

    MPI_Comm_split(m->world.mpi, color, c->rank, &c->mpi);
    reel_watch_leave(&m->world, was);
    MPI_Comm_set_name(c->mpi, c->name);
    MPI_Comm_rank(c->mpi, &rank);
    MPI_Comm_size(c->mpi, &size);
    REEL_BUG_IF(rank != c->rank || size != c->size, "%s: rank %d of %d, expected %d of %d", c->name, rank, size,
                c->rank, c->size);
}

reel_err reel_mesh_open(struct reel_mesh *m, const struct reel_comm *world, const struct reel_mesh_dims *d)
{
    int t;

    if (d->world != world->size)
        return REEL_FAIL(REEL_ECONFIG, "the mesh wants %d ranks, the job has %d", d->world, world->size);
    reel_mesh_place(m, d, world->rank);
    m->world.mpi = world->mpi;
    for (int a = 0; a < REEL_NAXIS; a++) axis_comm(m, a)->watch = world->watch;
    for (int i = 0; i < REEL_SP_HALVINGS; i++) m->sp_part[i].watch = world->watch;
    t = m->tp.rank;
    split(m, &m->hsdp, t);
    split(m, &m->replicate, m->shard.rank * d->tp + t);
    split(m, &m->shard, m->replicate.rank * d->tp + t);
    split(m, &m->sp, m->dp_rank * d->tp + t);
    split(m, &m->tp, m->hsdp.rank);
    for (int i = 0; i < REEL_SP_HALVINGS && pow2_down(d->sp) > 2 << i; i++) /* ranks beyond are groups of one */
        split(m, &m->sp_part[i], (m->hsdp.rank - m->sp_part[i].rank) * d->tp + t);
    return REEL_OK;
}

void reel_mesh_close(struct reel_mesh *m)
{
    for (int a = REEL_AXIS_WORLD + 1; a < REEL_NAXIS; a++)
        if (axis_comm(m, a)->mpi != MPI_COMM_NULL) MPI_Comm_free(&axis_comm(m, a)->mpi);
    for (int i = 0; i < REEL_SP_HALVINGS; i++)
        if (m->sp_part[i].mpi != MPI_COMM_NULL) MPI_Comm_free(&m->sp_part[i].mpi);
}

struct reel_comm *reel_mesh_sp(struct reel_mesh *m, int parts)
{
    int i = 0;

    if (parts == 1) return &m->sp;
    while (i < REEL_SP_HALVINGS && 2 << i != parts) i++;
    REEL_BUG_IF(i == REEL_SP_HALVINGS || m->dims.sp < parts, "an SP group of %d in %d parts", m->dims.sp, parts);
    return &m->sp_part[i];
}

/* ---- devices ------------------------------------------------------------------------------ */

/* Axes whose collectives move backend memory, in the order in which every rank opens them. */
static const enum reel_axis moving[] = { REEL_AXIS_TP, REEL_AXIS_SP, REEL_AXIS_SHARD, REEL_AXIS_REPLICATE };
enum { N_MOVING = sizeof moving / sizeof *moving };

reel_err reel_comm_attach(struct reel_comm *c, struct reel_backend *be, struct reel_comm *world)
{
    unsigned char id[REEL_COLL_ID_BYTES] = { 0 };
    reel_err e = be->dev && c->rank == 0 && c->size > 1 ? be->dev->coll_id(id) : REEL_OK;

    if (!be->dev) return REEL_OK;
    REEL_TRY(reel_agree(world, e)); /* every communicator takes this turn, whatever its size here */
    if (c->size > 1) {
        const struct reel_coll_seat seat = { c->rank, c->size, c->name, c, reel_watch_enter, reel_watch_leave };
        int64_t was = reel_watch_enter(c);
        MPI_Bcast(id, (int)sizeof id, MPI_BYTE, 0, c->mpi); /* not counted: no step moves it */
        e = be->dev->coll_open(be->device, &c->coll, id, &seat);
        reel_watch_leave(c, was);
    }
    return reel_agree(world, e);
}

void reel_comm_detach(struct reel_comm *c, struct reel_backend *be)
{
    int64_t was;

    if (!c->coll) return;
    was = reel_watch_enter(c);
    be->dev->coll_close(be->device, c->coll);
    c->coll = NULL;
    reel_watch_leave(c, was);
}

reel_err reel_mesh_attach(struct reel_mesh *m, struct reel_backend *be)
{
    for (int i = 0; i < N_MOVING; i++) REEL_TRY(reel_comm_attach(axis_comm(m, moving[i]), be, &m->world));
    for (int i = 0; i < REEL_SP_HALVINGS; i++) REEL_TRY(reel_comm_attach(&m->sp_part[i], be, &m->world));
    return REEL_OK;
}

void reel_mesh_detach(struct reel_mesh *m, struct reel_backend *be)
{
    for (int i = 0; i < REEL_SP_HALVINGS; i++) reel_comm_detach(&m->sp_part[i], be);
    for (int i = 0; i < N_MOVING; i++) reel_comm_detach(axis_comm(m, moving[i]), be);
}

/* ---- reports ------------------------------------------------------------------------------ */

enum { HEAD_ROWS = 16, TAIL_ROWS = 4 };

static void print_host(const struct reel_host *h, FILE *f)
{
    fprintf(f, "  %s, processors %s, NUMA %s, %s, %d thread%s%s%s", h->node, h->cores, h->numa, h->bound, h->threads,
            h->threads == 1 ? "" : "s", *h->gpu ? ", GPU " : "", h->gpu);
}

void reel_mesh_print(const struct reel_mesh_dims *d, const struct reel_host *host, FILE *f)
{
    struct reel_mesh m;

    fprintf(f, "mesh: %d ranks = replicate %d x shard %d x tp %d; sp %d, %d data-parallel groups\n", d->world,
            d->replicate, d->shard, d->tp, d->sp, d->replicate * d->shard / d->sp);
    fprintf(f, "%8s %10s %7s %5s %5s %5s%s\n", "rank", "replicate", "shard", "dp", "sp", "tp", host ? "  where it runs" : "");
    for (int r = 0; r < d->world; r++) {
        if (r == HEAD_ROWS && d->world > HEAD_ROWS + TAIL_ROWS) {
            fprintf(f, "%8s\n", "...");
            r = d->world - TAIL_ROWS;
        }
        reel_mesh_place(&m, d, r);
        fprintf(f, "%8d %10d %7d %5d %5d %5d", r, m.replicate.rank, m.shard.rank, m.dp_rank, m.sp.rank, m.tp.rank);
        if (host) print_host(&host[r], f);
        fputc('\n', f);
    }
}

void reel_mesh_print_traffic(const struct reel_mesh *m, FILE *f)
{
    for (int a = 0; a < REEL_NAXIS; a++)
        for (int k = 0; k < REEL_NCOLL; k++)
            if (m->bytes[a][k] > 0)
                fprintf(f, "%10s %-10s %12.3f MiB received\n", axes[a].name, reel_coll_name((enum reel_coll)k),
                        m->bytes[a][k] / (1024.0 * 1024.0));
}
