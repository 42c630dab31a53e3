/* Named draws on the host, the replay file that overrules them, the record file that keeps them. */
#include "data/draws_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/rng.h"
#include "comm/comm.h"
#include "kernels/scalar.h"

static int is_i64(enum reel_draw_kind k) { return k == REEL_DRAW_RANGE || k == REEL_DRAW_GIVEN; }
static size_t width(enum reel_draw_kind k) { return is_i64(k) ? sizeof(int64_t) : sizeof(float); }

void reel_draw_make_(uint64_t seed, struct reel_draw_type type, const char *name, uint32_t step, uint32_t round, int64_t b,
                     int64_t n, void *dst)
{
    uint64_t key = reel_rng_key(seed, name);

    for (int64_t e = 0; e < n; e += 4) {
        struct reel_philox4 p = reel_philox((uint32_t)(e / 4), (uint32_t)b, step, round, key);
        struct reel_pair x = reel_normal_pair(p.w[0], p.w[1]), y = reel_normal_pair(p.w[2], p.w[3]);
        float normal[4] = { x.a, x.b, y.a, y.b };
        for (int i = 0; i < 4 && e + i < n; i++) {
            if (type.kind == REEL_DRAW_NORMAL) ((float *)dst)[e + i] = normal[i];
            else if (type.kind == REEL_DRAW_UNIFORM) ((float *)dst)[e + i] = reel_rng_uniform(p.w[i]);
            else ((int64_t *)dst)[e + i] = type.low + reel_rng_below(p.w[i], (uint32_t)type.count);
        }
    }
}

/* ---- replay -------------------------------------------------------------------------------- */

void reel_draw_fail_(struct reel_draws *d, reel_err e)
{
    if (!d->health) d->health = e, d->rec = *reel_errrec();
    reel_err_clear();
}

reel_err reel_draws_status(struct reel_draws *d)
{
    if (d->health && reel_errrec()->code == REEL_OK) *reel_errrec() = d->rec;
    return d->health;
}

static reel_err fetch(struct reel_draws *d, const struct reel_st_entry *t, enum reel_draw_kind kind, void *dst, int64_t n,
                      struct reel_where w)
{
    size_t size = width(kind), have = t->nd ? (size_t)t->n[0] : 0;

    if (t->dt != (is_i64(kind) ? REEL_I64 : REEL_F32))
        return REEL_FAIL(REEL_EDATA, "%s: %s is %s; this draw is %s", reel_st_path(d->replay), t->name, t->dtype,
                         is_i64(kind) ? "I64" : "F32");
    if (have != (size_t)w.b_global || t->bytes != have * (size_t)n * size)
        return REEL_FAIL(REEL_EDATA, "%s: %s holds %llu values for %zu samples; the run draws %lld for each of %lld", reel_st_path(d->replay),
                         t->name, (unsigned long long)(t->bytes / size), have, (long long)n, (long long)w.b_global);
    return reel_st_read(d->replay, t, (uint64_t)w.b0 * (uint64_t)n * size, (size_t)(w.nb * n) * size, dst);
}

static void key_of(char key[160], const char *name, struct reel_where w)
{
    REEL_BUG_IF(snprintf(key, 160, "%s:%u:%u", name, w.step, w.round) >= 160, "draw name %s", name);
}

int reel_draw_find_(struct reel_draws *d, enum reel_draw_kind kind, void *dst, int64_t n, const char *name, struct reel_where w)
{
    const struct reel_st_entry *t;
    char key[160];
    reel_err e;

    REEL_BUG_IF(w.b0 < 0 || w.nb < 0 || w.b0 + w.nb > w.b_global, "%s: samples %lld+%lld of %lld", name, (long long)w.b0,
                (long long)w.nb, (long long)w.b_global);
    if (w.step >= 1 && w.step < d->first_step) d->first_step = w.step;
    if (!d->replay) return 0;
    key_of(key, name, w);
    t = reel_st_find(d->replay, key);
    if (!t && !d->strict) return 0;
    if (t) d->asked[t - reel_st_entry(d->replay, 0)]++;
    e = t ? fetch(d, t, kind, dst, n, w) : REEL_FAIL(REEL_EDATA, "%s: no tensor %s, and the replay is strict", reel_st_path(d->replay), key);
    if (!e) return 1;
    reel_draw_fail_(d, e);
    memset(dst, 0, (size_t)(w.nb * n) * width(kind));
    return -1;
}

/* ---- draws --------------------------------------------------------------------------------- */

static void draw(struct reel_draws *d, struct reel_draw_type type, void *out, int64_t n, const char *name, struct reel_where w)
{
    size_t row = (size_t)n * width(type.kind);

    if (!d) { /* a planning run: only the sizes matter */
        memset(out, 0, (size_t)w.nb * row);
        return;
    }
    if (!reel_draw_find_(d, type.kind, out, n, name, w))
        for (int64_t i = 0; i < w.nb; i++)
            reel_draw_make_(d->seed, type, name, w.step, w.round, w.b0 + i, n, (char *)out + (size_t)i * row);
    reel_draw_keep_(d, type, out, &n, n > 1, name, w);
}

void reel_draw_normal_host(struct reel_draws *d, float *out, int64_t n, const char *name, struct reel_where w)
{
    draw(d, (struct reel_draw_type){ .kind = REEL_DRAW_NORMAL }, out, n, name, w);
}

void reel_draw_uniform(struct reel_draws *d, float *out, int64_t n, const char *name, struct reel_where w)
{
    draw(d, (struct reel_draw_type){ .kind = REEL_DRAW_UNIFORM }, out, n, name, w);
}

void reel_draw_range(struct reel_draws *d, int64_t *out, int64_t n, int64_t lo, int64_t hi, const char *name, struct reel_where w)
{
    REEL_BUG_IF(hi < lo || hi - lo >= UINT32_MAX, "%s: integers %lld..%lld", name, (long long)lo, (long long)hi);
    draw(d, (struct reel_draw_type){ .kind = REEL_DRAW_RANGE, .low = lo, .count = hi - lo + 1 }, out, n, name, w);
    for (int64_t i = 0; i < w.nb * n; i++) {
        if (d && (out[i] < lo || out[i] > hi))
            reel_draw_fail_(d, REEL_FAIL(REEL_EDATA, "replay: %s:%u:%u holds %lld; it must be in %lld..%lld", name, w.step, w.round,
                                         (long long)out[i], (long long)lo, (long long)hi));
        if (out[i] < lo || out[i] > hi) out[i] = lo;
    }
}

void reel_draw_given(struct reel_draws *d, int64_t *inout, int64_t n, const char *name, struct reel_where w)
{
    reel_draw_find_(d, REEL_DRAW_GIVEN, inout, n, name, w);
    reel_draw_keep_(d, (struct reel_draw_type){ .kind = REEL_DRAW_GIVEN }, inout, &n, n > 1, name, w);
}

/* ---- record -------------------------------------------------------------------------------- */

static struct reel_drawn *same_draw(struct reel_draws *d, const char *key, struct reel_where w)
{
    for (int i = d->n_used - 1; i >= 0; i--) /* a repeated draw is a recent one */
        if (!strcmp(d->used[i].key, key) && d->used[i].b0 == w.b0 && d->used[i].nb == w.nb) return &d->used[i];
    return NULL;
}

static struct reel_drawn *new_draw(struct reel_draws *d)
{
    if (d->n_used == d->room) {
        int room = d->room ? 2 * d->room : 64;
        void *p = realloc(d->used, (size_t)room * sizeof *d->used);
        if (!p) return NULL;
        d->used = p;
        d->room = room;
    }
    return memset(&d->used[d->n_used++], 0, sizeof *d->used);
}

void reel_draw_keep_(struct reel_draws *d, struct reel_draw_type type, const void *v, const int64_t *dim, int nd,
                     const char *name, struct reel_where w)
{
    struct reel_drawn u = { .type = type, .step = w.step, .round = w.round, .b0 = w.b0, .nb = w.nb,
                            .b_global = w.b_global, .n = 1, .nd = nd }, *at;
    size_t bytes;

    if (!d->record || d->health) return;
    for (int i = 0; i < nd; i++) u.n *= u.dim[i] = dim[i];
    snprintf(u.name, sizeof u.name, "%s", name);
    key_of(u.key, name, w);
    if (same_draw(d, u.key, w)) return;
    bytes = (size_t)(u.nb * u.n) * width(type.kind);
    u.data = malloc(bytes + 1);
    at = u.data ? new_draw(d) : NULL;
    if (!at) {
        free(u.data);
        reel_draw_fail_(d, REEL_FAIL(REEL_ENOMEM, "no memory to record %s", u.key));
        return;
    }
    memcpy(u.data, v, bytes);
    *at = u;
}

/* One tensor of the record file: all ranks' rows of one key; rows nobody drew come from the generator. */
static reel_err whole(const struct reel_draws *d, const struct reel_drawn *v, int n, void **out)
{
    const struct reel_drawn *u = &v[0];
    size_t row = (size_t)u->n * width(u->type.kind);
    char *have = calloc(1, (size_t)u->b_global), *p = malloc((size_t)u->b_global * row + 1);

    *out = p;
    if (!have || !p) return free(have), REEL_FAIL(REEL_ENOMEM, "no memory to record %s", u->key);
    for (int i = 0; i < n; i++) {
        if (v[i].n != u->n || v[i].b_global != u->b_global || v[i].type.kind != u->type.kind)
            return free(have), REEL_FAIL(REEL_EDATA, "record: %s was drawn in two shapes", u->key);
        memcpy(p + (size_t)v[i].b0 * row, v[i].data, (size_t)v[i].nb * row);
        memset(have + v[i].b0, 1, (size_t)v[i].nb);
    }
    for (int64_t b = 0; b < u->b_global; b++)
        if (!have[b] && u->type.kind == REEL_DRAW_GIVEN) memset(p + (size_t)b * row, 0, row);
        else if (!have[b]) reel_draw_make_(d->seed, u->type, u->name, u->step, u->round, b, u->n, p + (size_t)b * row);
    free(have);
    return REEL_OK;
}

static int by_key(const void *a, const void *b)
{
    const struct reel_drawn *x = a, *y = b;
    int k = strcmp(x->key, y->key);

    return k ? k : (x->b0 > y->b0) - (x->b0 < y->b0);
}

static reel_err write_record(struct reel_draws *d)
{
    struct reel_st_item *items = calloc((size_t)d->n_used + 1, sizeof *items);
    reel_err e = items ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for the record file");
    int n = 0;

    if (d->n_used) qsort(d->used, (size_t)d->n_used, sizeof *d->used, by_key);
    for (int i = 0, j; i < d->n_used && !e; i = j) {
        struct reel_drawn *u = &d->used[i];
        for (j = i + 1; j < d->n_used && !strcmp(d->used[j].key, u->key);) j++;
        items[n] = (struct reel_st_item){ .name = u->key, .dt = is_i64(u->type.kind) ? REEL_I64 : REEL_F32, .nd = 1 + u->nd, .n = { u->b_global } };
        memcpy(items[n].n + 1, u->dim, (size_t)u->nd * sizeof *u->dim);
        e = whole(d, u, j - i, (void **)&items[n++].data);
    }
    if (!e) e = reel_st_write(d->record, items, n, NULL, 0, NULL, NULL);
    for (int i = 0; i < n; i++) free((void *)items[i].data);
    free(items);
    return e;
}

static size_t drawn_bytes(const struct reel_drawn *u) { return (size_t)(u->nb * u->n) * width(u->type.kind); }

/* A rank's draws as bytes, and back. */
static reel_err pack(const struct reel_draws *d, void **blob, size_t *bytes)
{
    char *p;

    *bytes = sizeof(int);
    for (int i = 0; i < d->n_used; i++) *bytes += sizeof *d->used + drawn_bytes(&d->used[i]);
    *blob = p = malloc(*bytes);
    if (!p) return REEL_FAIL(REEL_ENOMEM, "no memory to collect the recorded draws");
    p = mempcpy(p, &d->n_used, sizeof d->n_used);
    for (int i = 0; i < d->n_used; i++) {
        p = mempcpy(p, &d->used[i], sizeof *d->used);
        p = mempcpy(p, d->used[i].data, drawn_bytes(&d->used[i]));
    }
    return REEL_OK;
}

static reel_err unpack(struct reel_draws *d, const char *p)
{
    int n;

    memcpy(&n, p, sizeof n);
    p += sizeof n;
    for (int i = 0; i < n; i++) {
        struct reel_drawn u, *at;
        struct reel_where w;
        memcpy(&u, p, sizeof u);
        p += sizeof u;
        w = (struct reel_where){ .b0 = u.b0, .nb = u.nb };
        if (!same_draw(d, u.key, w)) {
            void *data = malloc(drawn_bytes(&u) + 1);
            if (!data || !(at = new_draw(d))) return free(data), REEL_FAIL(REEL_ENOMEM, "no memory to collect the recorded draws");
            memcpy(data, p, drawn_bytes(&u));
            *at = u;
            at->data = data;
        }
        p += drawn_bytes(&u);
    }
    return REEL_OK;
}

/* Rank 0 collects one rank after the other. A debugging aid: memory is that of all draws. */
static reel_err collect(struct reel_draws *d, struct reel_comm *c)
{
    for (int r = 1; r < c->size; r++) {
        void *blob = NULL;
        size_t bytes = 0;
        reel_err e = reel_agree(c, c->rank == r ? pack(d, &blob, &bytes) : REEL_OK);
        if (!e) e = reel_comm_bcast_blob(c, &blob, &bytes, r);
        if (!e) e = reel_agree(c, c->rank == 0 ? unpack(d, blob) : REEL_OK);
        free(blob);
        if (e) return e;
    }
    return reel_agree(c, c->rank == 0 ? write_record(d) : REEL_OK);
}

/* ---- open, close --------------------------------------------------------------------------- */

static reel_err replay_parse(struct reel_draws *d, const char *path, size_t bytes)
{
    REEL_TRY(reel_st_open_mem(&d->replay, d->bytes, bytes, path));
    d->asked = calloc((size_t)reel_st_count(d->replay) + 1, sizeof *d->asked);
    if (!d->asked) return REEL_FAIL(REEL_ENOMEM, "%s: no memory", path);
    for (int i = 0; i < reel_st_count(d->replay); i++) {
        const struct reel_st_entry *t = reel_st_entry(d->replay, i);
        if (t->dt != REEL_F32 && t->dt != REEL_I64)
            return REEL_FAIL(REEL_EDATA, "%s: %s is %s; draws are F32 or I64", path, t->name, t->dtype);
    }
    return REEL_OK;
}

static reel_err replay_open(struct reel_draws *d, const char *path, struct reel_comm *c)
{
    size_t bytes = 0;
    reel_err e = reel_agree(c, c->rank == 0 ? reel_file_read(path, (char **)&d->bytes, &bytes) : REEL_OK);

    if (!e) e = reel_comm_bcast_blob(c, &d->bytes, &bytes, 0);
    if (!e) e = reel_agree(c, replay_parse(d, path, bytes));
    return e;
}

static void draws_free(struct reel_draws *d)
{
    if (!d) return;
    for (int i = 0; i < d->n_used; i++) free(d->used[i].data);
    reel_st_close(d->replay);
    free(d->bytes), free(d->asked), free(d->used), free(d->record), free(d->host), free(d);
}

reel_err reel_draws_open(struct reel_draws **out, uint64_t seed, const char *replay, int strict, const char *record,
                         struct reel_comm *world)
{
    struct reel_draws *d = calloc(1, sizeof *d);
    reel_err e = REEL_OK;

    if (d) d->seed = seed, d->strict = strict, d->first_step = INT64_MAX;
    if (!d || (record && !(d->record = strdup(record)))) e = REEL_FAIL(REEL_ENOMEM, "no memory for the draws");
    if (!e && record && world->rank == 0) e = reel_file_probe(record); /* not after the run */
    e = reel_agree(world, e);
    if (!e && replay) e = replay_open(d, replay, world);
    if (e) draws_free(d);
    *out = e ? NULL : d;
    return e;
}

/* "<name>:<step>:<round>"; step 0 (before training) counts as always reached */
static int excused(const char *key, int64_t first_step)
{
    const char *round = strrchr(key, ':'), *step = round;

    if (strstr(key, "/rollout/noise/")) return 1;
    while (step && step > key && step[-1] != ':') step--;
    return step && atoll(step) >= 1 && atoll(step) < first_step;
}

static reel_err all_asked(struct reel_draws *d, struct reel_comm *c)
{
    int n = d->replay ? reel_st_count(d->replay) : 0, unasked = 0;
    const char *first = NULL;
    double step = d->first_step == INT64_MAX ? 1e18 : (double)d->first_step, lo, avg, hi;

    if (!d->replay) return REEL_OK;
    reel_comm_sum_i64(c, d->asked, n);
    reel_comm_minavgmax(c, &step, 1, &lo, &avg, &hi);
    for (int i = 0; i < n; i++) {
        const char *key = reel_st_entry(d->replay, i)->name;
        if (d->asked[i] || excused(key, (int64_t)lo)) continue;
        if (!unasked++) first = key;
    }
    return unasked ? REEL_FAIL(REEL_EDATA, "%s: %d tensors belong to no draw of this run, the first is %s (name, step or round wrong?)",
                               reel_st_path(d->replay), unasked, first) : REEL_OK;
}

reel_err reel_draws_close(struct reel_draws *d, struct reel_comm *world)
{
    int recording;
    reel_err e;

    if (!d) return REEL_OK;
    recording = d->record != NULL;
    e = reel_agree(world, reel_draws_status(d));
    if (!e && recording) e = collect(d, world);
    if (!e) e = reel_agree(world, all_asked(d, world));
    draws_free(d);
    return e;
}
