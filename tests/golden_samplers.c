/* Golden kind schedulers, the samplers: every state of reel_sample against the reference classes, run with the network
 * v(x, t) = 0.6 x - 0.4 sin(2 x + t/500) + 0.1. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "be/ops.h"
#include "device.h"
#include "golden.h"
#include "models/sampler.h"
#include "nn/schedule.h"

enum { MOST = 64 };

struct rig {
    struct reel_backend *be;
    struct reel_stream s;
    struct reel_arena a, step, scratch;
    struct reel_model m;
    struct reel_sampler p;
    struct reel_sampling_io io;
    float sigma[MOST + 1], t[MOST];
    float *x, *fresh, *state, *host; /* start, noise of steps 1.., states 0..steps, a latent */
    int64_t n;                       /* elements */
};

static reel_tensor formula(struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in, struct reel_kept **kept)
{
    struct rig *r = m->priv;
    reel_tensor v = reel_new(a, REEL_F32, in->x.n, in->x.nd);
    float t;

    (void)kept;
    reel_get(m->s, &t, in->t);
    reel_get(m->s, r->host, in->x);
    for (int64_t i = 0; i < r->n; i++)
        r->host[i] = (float)(0.6 * (double)r->host[i] - 0.4 * sin(2 * (double)r->host[i] + (double)t / 500) + 0.1);
    reel_put(m->s, v, r->host);
    return v;
}

static void noise(void *ctx, struct reel_stream *s, reel_tensor eps, int64_t lo, int64_t T, int k)
{
    const struct rig *r = ctx;

    REEL_BUG_IF(lo || T != eps.n[1], "whole clips alone");
    reel_put(s, eps, k ? r->fresh + (k - 1) * r->n : r->x);
}

static void look(void *ctx, int i, reel_tensor x)
{
    struct rig *r = ctx;

    reel_get(r->m.s, r->state + i * r->n, x);
}

static void rig_open(struct rig *r, const struct reel_st *st)
{
    static const struct reel_model_ops ops = { .name = "formula", .fwd = formula };
    const struct reel_st_entry *e;
    int64_t shape[5] = { 1, 1, 1, 1, 0 };

    r->x = golden_bytes(st, "x", &e);
    if (!r->x || test_backend(&r->be, 1)) abort();
    shape[4] = r->n = golden_count(e);
    r->host = malloc((size_t)r->n * sizeof *r->host);
    r->state = malloc((size_t)(MOST + 1) * (size_t)r->n * sizeof *r->state);
    if (reel_arena_open(&r->a, r->be, "io", 1 << 16) || reel_arena_open(&r->step, r->be, "step", 1 << 16)) abort();
    if (reel_arena_open(&r->scratch, r->be, "scratch", 1 << 16) || !r->host || !r->state) abort();
    reel_stream_init(&r->s, r->be, 0, &r->scratch);
    r->m = (struct reel_model){ .ops = &ops, .s = &r->s, .priv = r, .text_len = 1, .text_dim = 1 };
    r->io = reel_sampling_io_make(&r->a, &r->m, shape);
    r->p = (struct reel_sampler){ .model = &r->m, .a = &r->step, .sigma = r->sigma, .t = r->t, .guidance = 1, .noise = noise,
                                  .look = look, .ctx = r };
}

static void rig_close(struct rig *r)
{
    reel_arena_close(&r->a, r->be);
    reel_arena_close(&r->step, r->be);
    reel_arena_close(&r->scratch, r->be);
    reel_backend_close(r->be);
    free(r->x), free(r->host), free(r->state), free(r->fresh);
}

/* n states from the first one on, as far as the file goes. */
static void compare(struct golden *g, const struct rig *r, const struct reel_st *st, const struct reel_st_entry *e, int64_t first,
                    int64_t n, double tol)
{
    float *want = golden_bytes(st, e->name, NULL);
    struct golden_diff d = { 0 };

    golden_diff(&d, r->state + first * r->n, want + (golden_count(e) / r->n - n) * r->n, n * r->n);
    golden_line(g, e->name, d.max_abs, d.max_abs, tol);
    free(want);
}

/* ---- samplers.safetensors: <kind>/shift<s>/n<N>/<what> ---- */

typedef void levels_fn(float *sigma, float *t, int n, float shift);
static const struct sampler_kind { const char *name; enum reel_sampler_kind kind; levels_fn *levels; } kinds[] = {
    { "unipc_fastvideo", REEL_SAMPLER_UNIPC, reel_sched_unipc },
    { "unipc_diffusers", REEL_SAMPLER_UNIPC, reel_sched_unipc_diffusers },
    { "euler_fastvideo", REEL_SAMPLER_EULER, reel_sched_euler },
    { "euler_diffusers", REEL_SAMPLER_EULER, reel_sched_euler },
};

static void check_levels(struct golden *g, const struct reel_st *st, const struct reel_st_entry *e, const float *got, int n)
{
    double *want = golden_doubles(st, e->name, NULL), wide[MOST + 1];

    for (int i = 0; i < n; i++) wide[i] = (double)got[i];
    golden_true(g, e->name, golden_count(e) == n && !memcmp(wide, want, (size_t)n * sizeof *wide));
    free(want);
}

int golden_sampler(struct golden *g, const struct reel_st *st, const struct reel_st_entry *e)
{
    char kind[32], shift[16], what[16];
    struct rig r = { 0 };
    size_t k = 0;
    int n;

    if (sscanf(e->name, "%31[a-z_]/shift%15[0-9.]/n%d/%15s", kind, shift, &n, what) != 4 || n < 1 || n > MOST) return 0;
    while (k < sizeof kinds / sizeof *kinds && strcmp(kinds[k].name, kind) != 0) k++;
    if (k == sizeof kinds / sizeof *kinds) return 0;
    kinds[k].levels(r.sigma, r.t, n, strtof(shift, NULL));
    if (!strcmp(what, "sigma")) return check_levels(g, st, e, r.sigma, n + 1), 1;
    if (!strcmp(what, "timestep")) return check_levels(g, st, e, r.t, n), 1;
    if (strcmp(what, "state") != 0) return 0;
    rig_open(&r, st);
    r.p.kind = kinds[k].kind;
    r.p.steps = n;
    reel_sample(&r.p, &r.io);
    if (golden_count(e) == (n + 1) * r.n) compare(g, &r, st, e, 0, n + 1, 2e-6);
    else golden_true(g, e->name, 0);
    rig_close(&r);
    return 1;
}

/* ---- few_step.safetensors: case<j>/<table>/<sde|ode>/<what> ---- */

static float *sibling(const struct reel_st *st, const struct reel_st_entry *e, const char *what, const struct reel_st_entry **s)
{
    char key[128];

    snprintf(key, sizeof key, "%.*s%s", (int)(strrchr(e->name, '/') - e->name) + 1, e->name, what);
    return golden_bytes(st, key, s);
}

int golden_few_step(struct golden *g, const struct reel_st *st, const struct reel_st_entry *e)
{
    const char *what = strrchr(e->name, '/');
    const struct reel_st_entry *te;
    struct rig r = { 0 };
    float *t, *sigma;
    char key[16];
    int last = what && !strcmp(what, "/x0"), j, n; /* the last of these is the result, after all states */

    if (!what || sscanf(e->name, "case%d/", &j) != 1 || (!last && strcmp(what, "/state") != 0)) return 0;
    t = sibling(st, e, "timestep", &te);
    sigma = sibling(st, e, "sigma", NULL);
    snprintf(key, sizeof key, "noise%d", j);
    r.fresh = golden_bytes(st, key, NULL);
    if (!t || !sigma || !r.fresh || (n = (int)golden_count(te)) > MOST) return 0;
    memcpy(r.t, t, (size_t)n * sizeof *t);
    memcpy(r.sigma, sigma, (size_t)n * sizeof *t);
    rig_open(&r, st);
    r.p.kind = REEL_SAMPLER_FEWSTEP;
    r.p.steps = n;
    r.p.ode = strstr(e->name, "/ode/") != NULL;
    reel_sample(&r.p, &r.io);
    if (golden_count(e) == n * r.n) compare(g, &r, st, e, last ? n : 0, last ? 1 : n, 1e-6);
    else golden_true(g, e->name, 0);
    rig_close(&r);
    free(t), free(sigma);
    return 1;
}
