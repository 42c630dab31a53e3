/* Summing a unit's gradient over replicate x shard, behind the backward pass of the next units.
 *
 *   shard stage   alltoall over shard: this rank gets its rows from every shard peer, sums them
 *   sum stage     alltoall over replicate: this rank gets one piece of that from every replica, sums
 *   spread stage  allgather over replicate: all pieces of the total; added to the gradient shard
 *
 * A unit moves one stage each time another unit enters, always at the same point of the program, so
 * every rank starts the same messages in the same order and nothing depends on arrival times.
 *
 * The tree runs over hsdp rank = replicate * size + shard. A shard group is an aligned run of it
 * when its size is a power of two: its sum is a subtree, one term. Otherwise the group's summands
 * travel to the replicas one by one (terms = size) and the whole tree is taken there. So they do where SP groups are no
 * power of two: in the tree there are holes behind each of them. */
#include "kernels/pieces.h"
#include "nn/params_priv.h"

static int is_pow2(int x) { return (x & (x - 1)) == 0; }

static reel_tensor zeroed(struct reel_params *ps, struct reel_arena *a, int64_t n)
{
    reel_tensor t = reel_new(a, REEL_F32, REEL_DIMS(n));

    if (n) reel_fill(ps->s, t, 0); /* padding between parameters is sent and summed: keep it finite */
    return t;
}

void reel_grads_layout(struct reel_params *ps, struct reel_arena *work)
{
    int size = ps->mesh->shard.size, replicas = ps->mesh->replicate.size;
    int64_t block = 0, full = ps->unit[0].full_n, shard = 0;

    for (int u = 0; u < ps->cfg.n_units; u++) {
        const struct reel_unit *x = &ps->unit[u];
        if (u && x->full_n > block) block = x->full_n;
        if (x->full_n > full) full = x->full_n;
        if (x->trained.len > shard) shard = x->trained.len;
    }
    for (int k = 0; k < REEL_SLOTS; k++) {
        int used = k == 0 || (k < ps->cfg.n_units && (k == 1 || size * replicas > 1));
        ps->grad[k].full = zeroed(ps, work, k == 0 ? ps->unit[0].full_n : used ? block : 0);
        ps->grad[k].unit = used ? -1 : REEL_SLOT_ABSENT; /* a lone rank reduces at once: one is enough */
    }
    ps->terms = is_pow2(size) && is_pow2(ps->mesh->sp.size) ? 1 : size;
    ps->received = zeroed(ps, work, size > 1 ? full : 0);
    ps->partial = zeroed(ps, work, size > 1 && replicas > 1 ? ps->terms * shard : 0);
    ps->peers = zeroed(ps, work, replicas > 1 ? ps->terms * shard : 0);
    ps->total = zeroed(ps, work, replicas > 1 ? shard : 0);
    ps->shard_stage.unit = ps->sum_stage.unit = ps->spread_stage.unit = -1;
}

static const struct reel_grad_slot *slot_of(const struct reel_params *ps, int unit)
{
    for (int k = 0; k < REEL_SLOTS; k++)
        if (ps->grad[k].unit == unit) return &ps->grad[k];
    return NULL;
}

static void slot_set(struct reel_params *ps, int unit, int new_unit, int reducing)
{
    int k = (int)(slot_of(ps, unit) - ps->grad);

    ps->grad[k].unit = new_unit;
    ps->grad[k].reducing = reducing;
}

static void slot_free(struct reel_params *ps, int unit) { slot_set(ps, unit, -1, 0); }

/* ---- the tree ---------------------------------------------------------------------------- */

/* A rank's place in the tree: SP groups begin where a power of two does. */
static int64_t place_of(const struct reel_params *ps, int64_t hsdp_rank)
{
    int64_t sp = ps->mesh->sp.size;

    return hsdp_rank / sp * reel_pow2_up(sp) + hsdp_rank % sp;
}

/* The sum of in's terms from the places [lo, lo+span), in one of their rows; nd 0: there is none. Terms are ranks in order. */
static reel_tensor subtree(struct reel_params *ps, reel_tensor in, int64_t *term, int64_t lo, int64_t span)
{
    reel_tensor a, b;

    if (*term == in.n[0] || place_of(ps, *term) >= lo + span) return (reel_tensor){ 0 };
    if (span == 1) return reel_at(in, (*term)++);
    a = subtree(ps, in, term, lo, span / 2);
    b = subtree(ps, in, term, lo + span / 2, span / 2);
    if (a.nd && b.nd) reel_add(ps->s, a, b);
    return a.nd ? a : b;
}

/* out (= or +=) the sum of in's rows, which are used up: of all ranks, or of a run of them that is a subtree. */
static void sum_terms(struct reel_params *ps, reel_tensor out, reel_tensor in, int acc)
{
    int64_t n = in.n[0], term = 0;
    reel_tensor sum;

    if (is_pow2(ps->mesh->sp.size)) {
        reel_tree_sum(ps->s, out, in, acc);
        return;
    }
    sum = subtree(ps, in, &term, 0, reel_pow2_up(place_of(ps, n - 1) + 1));
    if (acc) reel_add(ps->s, out, sum);
    else reel_copy(ps->s, out, sum);
}

/* ---- shard stage -------------------------------------------------------------------------- */

/* The packed parameters' rows, sorted by the rank they go to. */
static void pack(struct reel_params *ps, const struct reel_unit *u, reel_tensor full)
{
    for (int k = 0; k < u->trained.n_packed; k++) {
        const struct reel_place *p = &ps->place[u->trained.i[k]];
        for (int r = 0; r < ps->mesh->shard.size; r++)
            reel_copy(ps->s, reel_span(full, r * u->trained.packed + p->grad_at, p->chunk),
                      reel_span(full, p->full_at + r * p->chunk, p->chunk));
    }
}

static void exchange(struct reel_params *ps, reel_tensor full, int64_t at, int64_t n)
{
    reel_comm_alltoall_start(&ps->mesh->shard, ps->s, reel_span(ps->received, at, n), reel_span(full, at, n),
                             &ps->shard_stage.req);
}

static void shard_start(struct reel_params *ps, int unit)
{
    const struct reel_unit *u = &ps->unit[unit];
    reel_tensor full = slot_of(ps, unit)->full;
    int size = ps->mesh->shard.size;

    ps->shard_stage.unit = unit;
    pack(ps, u, full);
    exchange(ps, full, 0, size * u->trained.packed);
    for (int k = u->trained.n_packed; k < u->trained.n; k++) {
        const struct reel_place *p = &ps->place[u->trained.i[k]];
        exchange(ps, full, p->full_at, size * p->chunk);
    }
}

static void sum_chunks(struct reel_params *ps, reel_tensor out, int64_t at, int64_t chunk, int64_t shard_at, int acc)
{
    int64_t size = ps->mesh->shard.size;
    reel_tensor in = reel_reshape(reel_span(ps->received, at, size * chunk), REEL_DIMS(size, chunk));

    if (chunk) sum_terms(ps, reel_span(out, shard_at, chunk), in, acc);
}

static void shard_sum(struct reel_params *ps, const struct reel_unit *u, reel_tensor out, int acc)
{
    sum_chunks(ps, out, 0, u->trained.packed, 0, acc);
    for (int k = u->trained.n_packed; k < u->trained.n; k++) {
        const struct reel_place *p = &ps->place[u->trained.i[k]];
        sum_chunks(ps, out, p->full_at, p->chunk, p->grad_at, acc);
    }
}

/* Summand t of the shard group, elements [at, at+chunk) of the shard, into partial[piece][term][]. */
static void place_term(struct reel_params *ps, reel_tensor src, int t, int64_t at, int64_t piece)
{
    int64_t end = at + src.n[0];

    for (int64_t r = at / piece; r * piece < end; r++) {
        int64_t lo = r * piece > at ? r * piece : at;
        int64_t hi = (r + 1) * piece < end ? (r + 1) * piece : end;
        reel_copy(ps->s, reel_span(ps->partial, (r * ps->terms + t) * piece + lo - r * piece, hi - lo),
                  reel_span(src, lo - at, hi - lo));
    }
}

static void place_terms(struct reel_params *ps, const struct reel_unit *u)
{
    int64_t piece = u->trained.len / ps->mesh->replicate.size;

    for (int t = 0; t < ps->terms; t++) {
        if (u->trained.packed) place_term(ps, reel_span(ps->received, t * u->trained.packed, u->trained.packed), t, 0, piece);
        for (int k = u->trained.n_packed; k < u->trained.n; k++) {
            const struct reel_place *p = &ps->place[u->trained.i[k]];
            place_term(ps, reel_span(ps->received, p->full_at + t * p->chunk, p->chunk), t, p->grad_at, piece);
        }
    }
}

/* ---- sum and spread stages ----------------------------------------------------------------- */

static void sum_start(struct reel_params *ps, int unit, reel_tensor partial)
{
    int64_t n = ps->terms * ps->unit[unit].trained.len;

    ps->sum_stage.unit = unit;
    reel_comm_alltoall_start(&ps->mesh->replicate, ps->s, reel_span(ps->peers, 0, n), reel_span(partial, 0, n),
                             &ps->sum_stage.req);
}

static void shard_end(struct reel_params *ps)
{
    int unit = ps->shard_stage.unit;
    struct reel_unit *u = &ps->unit[unit];

    reel_comm_wait(&ps->mesh->shard, &ps->shard_stage.req);
    ps->shard_stage.unit = -1;
    slot_free(ps, unit);
    if (ps->mesh->replicate.size == 1) {
        shard_sum(ps, u, u->g, 1);
        return;
    }
    if (ps->terms == 1) shard_sum(ps, u, ps->partial, 0);
    else place_terms(ps, u);
    sum_start(ps, unit, ps->partial);
}

static void sum_end(struct reel_params *ps)
{
    int unit = ps->sum_stage.unit, replicas = ps->mesh->replicate.size;
    int64_t n = ps->unit[unit].trained.len, piece = n / replicas, terms = replicas * ps->terms;
    reel_tensor in = reel_reshape(reel_span(ps->peers, 0, terms * piece), REEL_DIMS(terms, piece));

    reel_comm_wait(&ps->mesh->replicate, &ps->sum_stage.req);
    ps->sum_stage.unit = -1;
    if (ps->mesh->shard.size == 1) slot_free(ps, unit);
    sum_terms(ps, reel_span(ps->total, ps->mesh->replicate.rank * piece, piece), in, 0);
    ps->spread_stage.unit = unit;
    reel_comm_allgather_start(&ps->mesh->replicate, ps->s, reel_span(ps->total, 0, n), &ps->spread_stage.req);
}

static void spread_end(struct reel_params *ps)
{
    struct reel_unit *u = &ps->unit[ps->spread_stage.unit];

    reel_comm_wait(&ps->mesh->replicate, &ps->spread_stage.req);
    ps->spread_stage.unit = -1;
    reel_add(ps->s, u->g, reel_span(ps->total, 0, u->trained.len));
}

/* Move every unit on by one stage, the furthest first: each stage's buffer is free when it fills. */
static void advance(struct reel_params *ps)
{
    if (ps->spread_stage.unit >= 0) spread_end(ps);
    if (ps->sum_stage.unit >= 0) sum_end(ps);
    if (ps->shard_stage.unit >= 0) shard_end(ps);
}

static int in_flight(const struct reel_params *ps)
{
    return ps->spread_stage.unit >= 0 || ps->sum_stage.unit >= 0 || ps->shard_stage.unit >= 0;
}

/* ---- what a model calls -------------------------------------------------------------------- */

/* A free slot for `unit`, or -1 while it, or every slot it may take, is on its way. */
static int free_slot(const struct reel_params *ps, int unit)
{
    int in_slot[REEL_SLOTS];

    for (int k = 0; k < REEL_SLOTS; k++) in_slot[k] = ps->grad[k].unit;
    return slot_of(ps, unit) ? -1 : reel_slot_pick(unit, in_slot);
}

void reel_grads_begin(struct reel_params *ps, int unit)
{
    const struct reel_grad_slot *g;
    int k;

    REEL_BUG_IF(!ps->cfg.trainable || unit < 0 || unit >= ps->cfg.n_units, "%s: gradients of unit %d of %d%s",
                ps->cfg.role, unit, ps->cfg.n_units, ps->cfg.trainable ? "" : ", but the role is frozen");
    g = slot_of(ps, unit);
    REEL_BUG_IF(g && !g->reducing, "%s: gradients of unit %d begun twice", ps->cfg.role, unit);
    while ((k = free_slot(ps, unit)) < 0 && in_flight(ps)) advance(ps); /* the next round catches up */
    REEL_BUG_IF(k < 0, "%s: gradients of unit %d begun before those of unit %d were reduced", ps->cfg.role, unit,
                ps->grad[1].unit);
    ps->grad[k].unit = unit;
}

reel_tensor reel_param_grad(const struct reel_params *ps, int i)
{
    const struct reel_place *p = &ps->place[i];
    const struct reel_grad_slot *g = slot_of(ps, ps->cfg.def[i].unit);

    REEL_BUG_IF(!g || g->reducing, "%s: gradient of %s used outside begin .. reduce", ps->cfg.role,
                ps->cfg.def[i].name);
    if (!p->trained) return (reel_tensor){ 0 };
    return reel_param_view(ps, i, reel_span(g->full, p->full_at, p->chunk).p, REEL_F32);
}

void reel_grads_reduce(struct reel_params *ps, int unit)
{
    const struct reel_grad_slot *g = slot_of(ps, unit);
    struct reel_unit *u = &ps->unit[unit];

    REEL_BUG_IF(!g || g->reducing, "%s: reduction of unit %d, which has not begun", ps->cfg.role, unit);
    advance(ps);
    slot_set(ps, unit, unit, 1);
    if (u->trained.n == 0) {
        slot_free(ps, unit);
    } else if (ps->mesh->shard.size > 1) {
        shard_start(ps, unit);
    } else if (ps->mesh->replicate.size > 1) {
        sum_start(ps, unit, g->full);
    } else {
        reel_add(ps->s, u->g, reel_span(g->full, 0, u->trained.len));
        slot_free(ps, unit);
    }
}

void reel_grads_finish(struct reel_params *ps)
{
    while (in_flight(ps)) advance(ps);
    for (int k = 0; k < REEL_SLOTS; k++)
        REEL_BUG_IF(ps->grad[k].unit >= 0 && ps->grad[k].unit != REEL_SLOT_ABSENT,
                    "%s: gradients of unit %d were never reduced", ps->cfg.role, ps->grad[k].unit);
}

void reel_grads_zero(struct reel_params *ps)
{
    REEL_BUG_IF(in_flight(ps), "%s: gradients forgotten during their reduction", ps->cfg.role);
    for (int u = 0; u < ps->cfg.n_units; u++)
        if (ps->unit[u].trained.len) reel_fill(ps->s, ps->unit[u].g, 0);
}
