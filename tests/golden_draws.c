/* Golden kind draws: hashes, words, uniforms, integers, normals (host and backend), sample orders. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "be/ops.h"
#include "data/draws.h"
#include "device.h"
#include "golden.h"

struct draws_case {
    struct golden *g;
    struct reel_st *st;
    json_t *list;
    struct reel_backend *be;
    struct reel_stream s;
    struct reel_arena mem, scratch;
};

struct coords { const char *name; uint64_t seed; struct reel_where w; };

static struct coords coords(const json_t *j)
{
    struct reel_where w = { .step = (uint32_t)golden_get(j, "step", 0), .round = (uint32_t)golden_get(j, "a", 0),
                            .b0 = (int64_t)golden_get(j, "b", 0), .nb = 1 };

    w.b_global = w.b0 + 1;
    return (struct coords){ json_string_value(json_object_get(j, "name")), golden_u64(json_object_get(j, "seed")), w };
}

static void hashes(struct draws_case *c, const struct reel_st_entry *e)
{
    uint64_t *want = golden_bytes(c->st, e->name, NULL), *got = calloc((size_t)golden_count(e) + 1, sizeof *got);
    int told = 1;
    size_t i;
    json_t *j;

    json_array_foreach(c->list, i, j) {
        struct coords at = coords(j);
        if ((int64_t)i >= golden_count(e)) break;
        got[i] = reel_rng_key(at.seed, at.name);
        told &= got[i] == strtoull(json_string_value(json_object_get(j, "hash")), NULL, 16);
    }
    golden_equal(c->g, e->name, got, want, sizeof *got, golden_count(e));
    golden_true(c->g, "hash in draws.json", told);
    free(want), free(got);
}

static void words(struct draws_case *c, const struct coords *at, const struct reel_st_entry *e)
{
    int64_t n = golden_count(e);
    uint32_t *want = golden_bytes(c->st, e->name, NULL), *got = malloc((size_t)(n + 1) * sizeof *got);
    uint64_t key = reel_rng_key(at->seed, at->name);

    for (int64_t i = 0; i < n; i++)
        got[i] = reel_rng_word(key, at->w.step, at->w.round, (uint32_t)at->w.b0, (uint64_t)i);
    golden_equal(c->g, e->name, got, want, sizeof *got, n);
    free(want), free(got);
}

static void uniforms(struct draws_case *c, struct reel_draws *d, const struct coords *at, const struct reel_st_entry *e)
{
    float *want = golden_bytes(c->st, e->name, NULL), *got = malloc(e->bytes + 4);

    reel_draw_uniform(d, got, golden_count(e), at->name, at->w);
    golden_equal(c->g, e->name, got, want, sizeof *got, golden_count(e));
    free(want), free(got);
}

static void integers(struct draws_case *c, struct reel_draws *d, const struct coords *at, const struct reel_st_entry *e,
                     uint32_t below)
{
    int64_t *want = golden_bytes(c->st, e->name, NULL), *got = malloc(e->bytes + 8);

    reel_draw_range(d, got, golden_count(e), 0, (int64_t)below - 1, at->name, at->w);
    golden_equal(c->g, e->name, got, want, sizeof *got, golden_count(e));
    free(want), free(got);
}

static void normals(struct draws_case *c, struct reel_draws *d, const struct coords *at, const struct reel_st_entry *e)
{
    int64_t n = golden_count(e);
    double *want = golden_doubles(c->st, e->name, NULL), *wide = malloc((size_t)(n + 1) * sizeof *wide);
    float *host = malloc((size_t)(n + 1) * sizeof *host), *dev = malloc((size_t)(n + 1) * sizeof *dev);
    reel_tensor t = reel_view(c->mem.base, REEL_F32, REEL_DIMS(1, n));
    char name[96];

    reel_draw_normal_host(d, host, n, at->name, at->w);
    reel_draw_normal(d, &c->s, t, at->name, at->w);
    reel_get(&c->s, dev, t);
    for (int64_t i = 0; i < n; i++) wide[i] = (double)host[i];
    golden_near(c->g, e->name, wide, want, n, 1e-6);
    snprintf(name, sizeof name, "%s, backend and host", e->name);
    golden_equal(c->g, name, dev, host, sizeof *dev, n);
    free(want), free(wide), free(host), free(dev);
}

static void value(struct draws_case *c, const struct reel_st_entry *e, size_t i, const char *what)
{
    struct coords at = coords(json_array_get(c->list, i));
    struct reel_draws *d;
    unsigned long below;
    char *end;

    if (reel_draws_open(&d, at.seed, NULL, 0, NULL, c->g->world)) abort();
    if (!strcmp(what, "words")) words(c, &at, e);
    else if (!strcmp(what, "uniform")) uniforms(c, d, &at, e);
    else if (!strcmp(what, "normal")) normals(c, d, &at, e);
    else if (!strncmp(what, "below", 5) && (below = strtoul(what + 5, &end, 10)) && !*end) integers(c, d, &at, e, (uint32_t)below);
    else golden_true(c->g, e->name, 0);
    golden_true(c->g, "no draw failed", reel_draws_status(d) == REEL_OK && reel_draws_close(d, c->g->world) == REEL_OK);
}

/* order/<seed>/<N> [epochs, N] */
static void order(struct draws_case *c, const struct reel_st_entry *e, uint64_t seed, int64_t N)
{
    int64_t n = golden_count(e), *want = golden_bytes(c->st, e->name, NULL), *got = malloc(e->bytes + 8);

    for (int64_t i = 0; i < n; i++) got[i] = reel_order_sample(seed, (uint32_t)(i / N), N, i % N);
    golden_equal(c->g, e->name, got, want, sizeof *got, n);
    free(want), free(got);
}

static void dispatch(struct draws_case *c, const struct reel_st_entry *e)
{
    unsigned long long seed;
    long long N;
    size_t i;
    int at = 0;

    if (!strcmp(e->name, "hash")) hashes(c, e);
    else if (sscanf(e->name, "order/%llu/%lld", &seed, &N) == 2 && N > 0) order(c, e, seed, N);
    else if (sscanf(e->name, "%zu/%n", &i, &at) == 1 && at && i < json_array_size(c->list)) value(c, e, i, e->name + at);
    else golden_true(c->g, e->name, 0);
}

static reel_err open_case(struct draws_case *c, const char *dir)
{
    int64_t most = 1;

    c->list = golden_json(dir, "draws.json");
    if (!json_is_array(c->list)) return REEL_EDATA;
    REEL_TRY(golden_open(&c->st, dir, "draws.safetensors"));
    for (int i = 0; i < reel_st_count(c->st); i++)
        if (golden_count(reel_st_entry(c->st, i)) > most) most = golden_count(reel_st_entry(c->st, i));
    REEL_TRY(test_backend(&c->be, 1));
    REEL_TRY(reel_arena_open(&c->mem, c->be, "draws", (size_t)most * sizeof(float) + 256));
    REEL_TRY(reel_arena_open(&c->scratch, c->be, "scratch", 1 << 20));
    reel_stream_init(&c->s, c->be, 0, &c->scratch);
    return REEL_OK;
}

int golden_draws(struct golden *g, const char *dir)
{
    struct draws_case c = { .g = g };
    reel_err e = open_case(&c, dir);

    for (int i = 0; !e && i < reel_st_count(c.st); i++) dispatch(&c, reel_st_entry(c.st, i));
    reel_arena_close(&c.scratch, c.be);
    reel_arena_close(&c.mem, c.be);
    if (c.be) reel_backend_close(c.be);
    reel_st_close(c.st);
    json_decref(c.list);
    return e != REEL_OK;
}
