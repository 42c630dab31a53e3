/* parameters under HSDP: layout, shards, names */
#include "nn/params.h"

#include <stdlib.h>
#include <string.h>

#include "nn/params_priv.h"

enum {
    ALIGN = 64,              /* f32 elements: 256 bytes */
    PACK_BELOW = 8 * 1024,   /* elements of a chunk: below, a message's latency outweighs two copies */
};

static int64_t round_up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

reel_tensor reel_span(reel_tensor flat, int64_t at, int64_t n) { return reel_slice(flat, at, at + n); }

reel_tensor reel_param_view(const struct reel_params *ps, int i, void *p, reel_dtype dt)
{
    return reel_view(p, dt, ps->place[i].n, ps->cfg.def[i].nd);
}

/* ---- layout ------------------------------------------------------------------------------- */

int64_t reel_tp_part(int64_t n, int rank, int size, int64_t *at)
{
    int64_t group = n % size == 0 || n % 8 ? 1 : 8, groups = n / group;

    *at = (rank * groups + size - 1) / size * group;
    return ((rank + 1) * groups + size - 1) / size * group - *at;
}

/* This tp rank's part of a parameter. */
static void cut_param(struct reel_params *ps, int i)
{
    const struct reel_param_def *d = &ps->cfg.def[i];
    struct reel_place *p = &ps->place[i];
    const struct reel_comm *tp = &ps->mesh->tp;
    int dim = d->split == REEL_SPLIT_COLS;

    memcpy(p->n, d->n, sizeof p->n);
    if (d->split == REEL_SPLIT_NONE) return;
    REEL_BUG_IF(dim >= d->nd, "parameter %s of %d dimensions is split by columns", d->name, d->nd);
    p->n[dim] = reel_tp_part(d->n[dim], tp->rank, tp->size, &p->at);
    REEL_BUG_IF(p->n[dim] < 1, "parameter %s: %lld cannot be split over %d tensor parallel ranks", d->name,
                (long long)d->n[dim], tp->size);
}

static void place_param(struct reel_params *ps, int i)
{
    const struct reel_param_def *d = &ps->cfg.def[i];
    struct reel_place *p = &ps->place[i];
    int size = ps->mesh->shard.size;

    REEL_BUG_IF(d->nd < 1 || d->n[0] < 1 || d->unit < 0 || d->unit >= ps->cfg.n_units,
                "parameter %s: %d dimensions, unit %d of %d", d->name, d->nd, d->unit, ps->cfg.n_units);
    cut_param(ps, i);
    p->row = 1;
    for (int k = 1; k < d->nd; k++) p->row *= p->n[k];
    p->rows = (p->n[0] + size - 1) / size;
    p->chunk = p->rows * p->row;
    p->dt = d->keep_f32 ? REEL_F32 : ps->cfg.compute;
    p->direct = size == 1 && p->dt == REEL_F32;
    p->trained = ps->cfg.trainable && !d->frozen;
    p->packed = size > 1 && p->dt == REEL_F32 && p->chunk < PACK_BELOW;
}

/* A unit's parameters, or the trained ones, the packed ones first, otherwise in table order; returns the
 * place behind them in the order. */
static int *make_row(struct reel_params *ps, struct reel_row *row, int u, int trained, int *at)
{
    *row = (struct reel_row){ .i = at };
    for (int packed = 1; packed >= 0; packed--) {
        for (int i = 0; i < ps->cfg.n; i++)
            if (ps->cfg.def[i].unit == u && ps->place[i].packed == packed && (!trained || ps->place[i].trained)) *at++ = i;
        if (packed) row->n_packed = (int)(at - row->i);
    }
    row->n = (int)(at - row->i);
    REEL_BUG_IF(row->n - row->n_packed >= REEL_REQ_MAX, "unit %d has %d large parameters, at most %d", u,
                row->n - row->n_packed, REEL_REQ_MAX - 1);
    return at;
}

static void order_params(struct reel_params *ps)
{
    int *at = ps->order;

    for (int u = 0; u < ps->cfg.n_units; u++) at = make_row(ps, &ps->unit[u].all, u, 0, at);
    for (int u = 0; u < ps->cfg.n_units; u++) at = make_row(ps, &ps->unit[u].trained, u, 1, at);
}

/* Offsets of a row's parameters in a rank's vector; the vector is cut into equal pieces for the replicas. */
static void place_row(struct reel_params *ps, struct reel_row *row, int trained)
{
    int64_t at = 0;

    for (int k = 0; k < row->n; k++) {
        struct reel_place *p = &ps->place[row->i[k]];
        if (trained) p->grad_at = at;
        else p->shard_at = at;
        at += round_up(p->chunk, ALIGN);
        if (p->packed) row->packed = at;
    }
    row->len = round_up(at, (int64_t)ALIGN * ps->mesh->replicate.size);
}

/* With one shard the full gradient and the shard's have the same layout, so that a unit's gradient
 * is added, or sent to the replicas, as one vector. */
static void layout_unit(struct reel_params *ps, struct reel_unit *u)
{
    int size = ps->mesh->shard.size;
    int64_t full, bytes;

    place_row(ps, &u->all, 0);
    place_row(ps, &u->trained, 1);
    bytes = size * u->all.packed * 4; /* both blocks begin with the packed messages */
    for (int k = 0; k < u->all.n; k++) {
        struct reel_place *p = &ps->place[u->all.i[k]];
        if (p->direct) continue;
        p->gather_at = (size_t)bytes;
        bytes += round_up(size * p->chunk * (int64_t)reel_dtype_size(p->dt), 4 * ALIGN);
    }
    u->gather_bytes = (size_t)bytes;
    full = size * u->trained.packed;
    for (int k = 0; k < u->trained.n; k++) {
        struct reel_place *p = &ps->place[u->trained.i[k]];
        p->full_at = full;
        full += round_up(size * p->chunk, ALIGN);
    }
    u->full_n = size == 1 ? u->trained.len : full;
}

static reel_tensor zeros(struct reel_params *ps, struct reel_arena *a, int64_t n)
{
    reel_tensor t = reel_new(a, REEL_F32, REEL_DIMS(n));

    if (n) reel_fill(ps->s, t, 0);
    return t;
}

static void layout_shards(struct reel_params *ps, struct reel_arena *params, struct reel_arena *optim)
{
    for (int u = 0; u < ps->cfg.n_units; u++) ps->unit[u].w = zeros(ps, params, ps->unit[u].all.len);
    if (!ps->cfg.trainable) return;
    for (int u = 0; u < ps->cfg.n_units; u++) {
        struct reel_unit *x = &ps->unit[u];
        x->g = zeros(ps, optim, x->trained.len);
        x->m = zeros(ps, optim, x->trained.len);
        x->v = zeros(ps, optim, x->trained.len);
    }
}

static void layout_gather(struct reel_params *ps, struct reel_arena *work)
{
    int64_t block = 0;

    for (int u = 1; u < ps->cfg.n_units; u++) block = max64(block, (int64_t)ps->unit[u].gather_bytes);
    for (int k = 0; k < REEL_SLOTS; k++) {
        int64_t bytes = k == 0 ? (int64_t)ps->unit[0].gather_bytes : k < ps->cfg.n_units ? block : 0;
        ps->gather[k].mem = reel_new(work, REEL_U8, REEL_DIMS(bytes));
        ps->gather[k].unit = -1;
    }
}

static struct reel_params *allocate(const struct reel_params_cfg *cfg)
{
    struct reel_params *ps = calloc(1, sizeof *ps);

    if (!ps) return NULL;
    ps->cfg = *cfg;
    ps->place = calloc((size_t)cfg->n, sizeof *ps->place);
    ps->order = calloc(2 * (size_t)cfg->n, sizeof *ps->order);
    ps->unit = calloc((size_t)cfg->n_units, sizeof *ps->unit);
    if (ps->place && ps->order && ps->unit) return ps;
    reel_params_close(ps);
    return NULL;
}

reel_err reel_params_open(struct reel_params **out, const struct reel_params_cfg *cfg, struct reel_mesh *mesh,
                          struct reel_stream *s, struct reel_arena *params, struct reel_arena *optim,
                          struct reel_arena *work)
{
    struct reel_params *ps;

    REEL_BUG_IF(cfg->n < 1 || cfg->n_units < 1, "role %s: %d parameters in %d units", cfg->role, cfg->n, cfg->n_units);
    ps = allocate(cfg);
    if (!ps) return REEL_FAIL(REEL_ENOMEM, "no memory for the table of %d parameters of %s", cfg->n, cfg->role);
    ps->mesh = mesh;
    ps->s = s;
    for (int i = 0; i < cfg->n; i++) place_param(ps, i);
    order_params(ps);
    for (int u = 0; u < cfg->n_units; u++) layout_unit(ps, &ps->unit[u]);
    layout_shards(ps, params, optim);
    layout_gather(ps, work);
    if (cfg->trainable) reel_grads_layout(ps, work);
    *out = ps;
    return REEL_OK;
}

void reel_params_close(struct reel_params *ps)
{
    if (!ps) return;
    free(ps->place);
    free(ps->order);
    free(ps->unit);
    free(ps);
}

/* ---- shards and names --------------------------------------------------------------------- */

/* Rows of parameter i in a unit's vector, where they begin at `at`. */
static reel_tensor shard_rows(const struct reel_params *ps, int i, reel_tensor unit, int64_t at, int64_t rows)
{
    reel_tensor t = reel_param_view(ps, i, reel_span(unit, at, ps->place[i].chunk).p, REEL_F32);

    t.n[0] = rows;
    return t;
}

struct reel_shard reel_param_shard(const struct reel_params *ps, int i)
{
    const struct reel_unit *u = &ps->unit[ps->cfg.def[i].unit];
    const struct reel_place *p = &ps->place[i];
    enum reel_param_split split = ps->cfg.def[i].split;
    int64_t n = p->n[0], rows = p->rows;
    struct reel_shard sh = { 0 };

    sh.row0 = ps->mesh->shard.rank * rows;
    if (sh.row0 > n) sh.row0 = n;
    sh.rows = n - sh.row0 < rows ? n - sh.row0 : rows;
    if (split == REEL_SPLIT_ROWS) sh.row0 += p->at;
    if (split == REEL_SPLIT_COLS) sh.col0 = p->at, sh.cols = p->n[1];
    sh.w = shard_rows(ps, i, u->w, p->shard_at, sh.rows);
    if (!p->trained) return sh;
    sh.g = shard_rows(ps, i, u->g, p->grad_at, sh.rows);
    sh.m = shard_rows(ps, i, u->m, p->grad_at, sh.rows);
    sh.v = shard_rows(ps, i, u->v, p->grad_at, sh.rows);
    return sh;
}

int64_t reel_shard_element(const struct reel_params *ps, int i, int64_t e)
{
    const struct reel_param_def *d = &ps->cfg.def[i];
    const struct reel_place *p = &ps->place[i];
    struct reel_shard sh = reel_param_shard(ps, i);
    int64_t inner = sh.cols ? p->row / sh.cols : 0;

    if (!sh.cols) return sh.row0 * p->row + e;
    return ((sh.row0 + e / p->row) * d->n[1] + sh.col0) * inner + e % p->row;
}

int64_t reel_shard_run(const struct reel_params *ps, int i)
{
    const struct reel_place *p = &ps->place[i];

    return ps->cfg.def[i].split == REEL_SPLIT_COLS ? p->row : p->chunk;
}

int reel_head_pieces(int heads)
{
    int p = 8;

    while (p > 1 && heads % p) p /= 2;
    return p;
}

int reel_params_pieces(const struct reel_params *ps)
{
    int all = ps->cfg.pieces, size = ps->mesh->tp.size;

    return all && all % size == 0 ? all / size : 1;
}

void reel_grad_squares(const struct reel_params *ps, int i, reel_tensor acc)
{
    enum reel_param_split split = ps->cfg.def[i].split;
    int64_t held = split == REEL_SPLIT_COLS ? reel_params_pieces(ps) : 1;
    struct reel_shard sh = reel_param_shard(ps, i);

    if (!sh.rows || !sh.g.nd || (split == REEL_SPLIT_NONE && ps->mesh->tp.rank > 0)) return;
    reel_sumsq(ps->s, acc, reel_reshape(sh.g, REEL_DIMS(sh.rows * held, ps->place[i].row / held)));
}

const struct reel_params_cfg *reel_params_cfg(const struct reel_params *ps) { return &ps->cfg; }

struct reel_mesh *reel_params_mesh(const struct reel_params *ps) { return ps->mesh; }

int reel_param_find(const struct reel_params *ps, const char *name)
{
    int i = 0;

    while (i < ps->cfg.n && strcmp(ps->cfg.def[i].name, name) != 0) i++;
    REEL_BUG_IF(i == ps->cfg.n, "role %s has no parameter %s", ps->cfg.role, name);
    return i;
}

int reel_slot_pick(int unit, const int in_slot[REEL_SLOTS])
{
    if (unit == 0) return in_slot[0] < 0 ? 0 : -1;
    for (int k = 1; k < REEL_SLOTS; k++)
        if (in_slot[k] < 0) return k;
    return -1;
}
