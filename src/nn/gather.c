/* gathering a unit over the shard group, one unit ahead of its use */
#include "nn/params_priv.h"

static struct reel_gather_slot *slot_of(struct reel_params *ps, int unit)
{
    for (int k = 0; k < REEL_SLOTS; k++)
        if (ps->gather[k].unit == unit) return &ps->gather[k];
    return NULL;
}

static void check_unit(const struct reel_params *ps, int unit, const char *what)
{
    REEL_BUG_IF(unit < 0 || unit >= ps->cfg.n_units, "%s: %s of unit %d, there are %d", ps->cfg.role, what, unit,
                ps->cfg.n_units);
}

static void *slot_at(const struct reel_gather_slot *g, size_t at)
{
    return g->mem.p ? (char *)g->mem.p + at : NULL;
}

/* All ranks' packed parameters: [size * all.packed], one chunk a rank. */
static reel_tensor packed_area(const struct reel_params *ps, const struct reel_gather_slot *g)
{
    return reel_view(slot_at(g, 0), REEL_F32, REEL_DIMS(ps->mesh->shard.size * ps->unit[g->unit].all.packed));
}

/* Parameter i as gathered, padding included, flat. */
static reel_tensor gathered(const struct reel_params *ps, const struct reel_gather_slot *g, int i)
{
    const struct reel_place *p = &ps->place[i];

    return reel_view(slot_at(g, p->gather_at), p->dt, REEL_DIMS(ps->mesh->shard.size * p->chunk));
}

static void start_packed(struct reel_params *ps, struct reel_gather_slot *g)
{
    const struct reel_unit *u = &ps->unit[g->unit];
    reel_tensor all = packed_area(ps, g);

    if (!u->all.packed) return;
    reel_copy(ps->s, reel_span(all, ps->mesh->shard.rank * u->all.packed, u->all.packed),
              reel_span(u->w, 0, u->all.packed));
    reel_comm_allgather_start(&ps->mesh->shard, ps->s, all, &g->req);
}

static void start_large(struct reel_params *ps, struct reel_gather_slot *g, int i)
{
    const struct reel_place *p = &ps->place[i];
    reel_tensor full = gathered(ps, g, i);
    reel_tensor own = reel_span(full, ps->mesh->shard.rank * p->chunk, p->chunk);
    reel_tensor w = reel_span(ps->unit[g->unit].w, p->shard_at, p->chunk);

    if (p->dt == REEL_F32) reel_copy(ps->s, own, w);
    else reel_cast(ps->s, own, w);
    reel_comm_allgather_start(&ps->mesh->shard, ps->s, full, &g->req);
}

static void gather_start(struct reel_params *ps, struct reel_gather_slot *g, int unit)
{
    const struct reel_unit *u = &ps->unit[unit];

    g->unit = unit;
    g->state = REEL_SLOT_FLYING;
    start_packed(ps, g);
    for (int k = u->all.n_packed; k < u->all.n; k++)
        if (!ps->place[u->all.i[k]].direct) start_large(ps, g, u->all.i[k]);
}

/* Chunks arrive rank by rank; a parameter wants its own rows of all ranks together. */
static void spread_packed(struct reel_params *ps, struct reel_gather_slot *g)
{
    const struct reel_unit *u = &ps->unit[g->unit];

    for (int k = 0; k < u->all.n_packed; k++) {
        const struct reel_place *p = &ps->place[u->all.i[k]];
        reel_tensor full = gathered(ps, g, u->all.i[k]);
        for (int r = 0; r < ps->mesh->shard.size; r++)
            reel_copy(ps->s, reel_span(full, r * p->chunk, p->chunk),
                      reel_span(packed_area(ps, g), r * u->all.packed + p->shard_at, p->chunk));
    }
}

void reel_params_prefetch(struct reel_params *ps, int unit)
{
    int in_slot[REEL_SLOTS], k;

    if (unit < 0 || unit >= ps->cfg.n_units || slot_of(ps, unit)) return;
    for (k = 0; k < REEL_SLOTS; k++) in_slot[k] = ps->gather[k].unit;
    k = reel_slot_pick(unit, in_slot);
    REEL_BUG_IF(k < 0, "%s: gather of unit %d while units %d and %d are held: release one first", ps->cfg.role, unit,
                in_slot[1], in_slot[2]);
    gather_start(ps, &ps->gather[k], unit);
}

void reel_params_need(struct reel_params *ps, int unit)
{
    struct reel_gather_slot *g;

    check_unit(ps, unit, "need");
    reel_params_prefetch(ps, unit);
    g = slot_of(ps, unit);
    if (g->state == REEL_SLOT_HELD) return;
    reel_comm_wait(&ps->mesh->shard, &g->req);
    spread_packed(ps, g);
    g->state = REEL_SLOT_HELD;
}

void reel_params_release(struct reel_params *ps, int unit)
{
    struct reel_gather_slot *g;

    check_unit(ps, unit, "release");
    g = slot_of(ps, unit);
    REEL_BUG_IF(!g || g->state != REEL_SLOT_HELD, "%s: release of unit %d, which is not held", ps->cfg.role, unit);
    g->unit = -1;
    g->state = REEL_SLOT_FREE;
}

reel_tensor reel_param(const struct reel_params *ps, int i)
{
    const struct reel_place *p = &ps->place[i];
    int unit = ps->cfg.def[i].unit, k = 0;

    while (k < REEL_SLOTS && !(ps->gather[k].unit == unit && ps->gather[k].state == REEL_SLOT_HELD)) k++;
    REEL_BUG_IF(k == REEL_SLOTS, "%s: %s used while unit %d is not held", ps->cfg.role, ps->cfg.def[i].name, unit);
    if (p->direct) return reel_param_view(ps, i, reel_span(ps->unit[unit].w, p->shard_at, p->chunk).p, REEL_F32);
    return reel_param_view(ps, i, slot_at(&ps->gather[k], p->gather_at), p->dt);
}

void reel_params_progress(struct reel_params *ps)
{
    for (int k = 0; k < REEL_SLOTS; k++) reel_comm_progress(&ps->gather[k].req);
    reel_comm_progress(&ps->shard_stage.req);
    reel_comm_progress(&ps->sum_stage.req);
    reel_comm_progress(&ps->spread_stage.req);
}
