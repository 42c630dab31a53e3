/* The samplers against their sums in f64, with networks that are formulas. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "be/ops.h"
#include "comm/comm.h"
#include "data/draws.h"
#include "device.h"
#include "models/sampler.h"
#include "nn/schedule.h"
#include "tap.h"

enum { B = 2, T = 5, C = 2, MOST = 50 };

/* what a streaming network has seen: the sum of its finished chunks' first elements */
struct reel_kv { double seen; int64_t frames, stores; };

/* v(x, t, text) = 0.5 x + t/1000 + text[0] + seen, made of operators */
static reel_tensor linear_net(struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in,
                              struct reel_kept **kept)
{
    reel_tensor v = { 0 };
    float t, c, x;

    (void)kept;
    reel_get(m->s, &t, reel_slice(in->t, 0, 1));
    if (in->store_only) {
        REEL_BUG_IF(t != 0 || in->frame0 != in->kv->frames, "a chunk is stored at t %g, frame %d", (double)t, (int)in->frame0);
        reel_get(m->s, &x, reel_view(in->x.p, REEL_F32, REEL_DIMS(1)));
        in->kv->seen += (double)x;
        in->kv->frames += in->x.n[1];
        in->kv->stores++;
        return v;
    }
    v = reel_new(a, REEL_F32, in->x.n, in->x.nd);
    reel_get(m->s, &c, reel_view(in->text.p, REEL_F32, REEL_DIMS(1)));
    reel_fill(m->s, v, (double)t / 1000 + (double)c + (in->kv ? in->kv->seen : 0));
    reel_axpby(m->s, v, 0.5, in->x, 1);
    return v;
}

static struct reel_kv *kv_open(struct reel_model *m, struct reel_arena *a, const int64_t shape[5])
{
    (void)m;
    reel_arena_push(a, (size_t)shape[1]);
    return calloc(1, sizeof(struct reel_kv));
}

static void kv_close(struct reel_model *m, struct reel_kv *kv)
{
    (void)m;
    free(kv);
}

struct rig {
    struct reel_backend *be;
    struct reel_stream s;
    struct reel_arena a, step, scratch;
    struct reel_model m;
    struct reel_sampling_io io;
    struct reel_sampler p;
    struct reel_draws *draws;
    struct reel_where where;
    float sigma[MOST + 1], eps[MOST][B][C][T];
    double sig[MOST + 1], want[B][T][C], c, u;
};

static void level_list(struct rig *r, int n)
{
    for (int i = 0; i <= n; i++) r->sig[i] = 3 * (double)(n - i) / n / (1 + 2 * (double)(n - i) / n);
    reel_even_sigmas(r->sigma, n, 3);
    r->p.steps = n;
    for (int k = 0; k < n; k++) {
        char name[32];
        snprintf(name, sizeof name, "noise/%d", k);
        reel_draw_normal_host(r->draws, &r->eps[k][0][0][0], (int64_t)C * T, name, r->where);
    }
}

static void each_euler(struct rig *r, int b, int t, int c)
{
    double x = (double)r->eps[0][b][c][t];

    for (int i = 0; i < r->p.steps; i++)
        x += (r->sig[i + 1] - r->sig[i]) * (0.5 * x + r->sig[i] + r->u + r->p.guidance * (r->c - r->u));
    r->want[b][t][c] = x;
}

static void each_fewstep(struct rig *r, int b, int t, int c, double seen)
{
    double x = (double)r->eps[0][b][c][t];

    for (int i = 0; i < r->p.steps; i++) {
        x -= r->sig[i] * (0.5 * x + r->sig[i] + r->c + seen);
        if (i + 1 < r->p.steps) x = (1 - r->sig[i + 1]) * x + r->sig[i + 1] * (double)r->eps[i + 1][b][c][t];
    }
    r->want[b][t][c] = x;
}

static void want(struct rig *r)
{
    double seen = 0;
    int chunk = (int)r->m.chunk, end = r->p.kind == REEL_SAMPLER_STREAMING ? T % chunk + chunk : T, begin = 0;

    for (int t = 0; t < T; t++) {
        if (t == end) seen += r->want[0][begin][0], begin = end, end += chunk;
        for (int b = 0; b < B; b++)
            for (int c = 0; c < C; c++)
                if (r->p.kind == REEL_SAMPLER_EULER) each_euler(r, b, t, c);
                else each_fewstep(r, b, t, c, seen);
    }
}

static void check(struct rig *r, const char *name, int n)
{
    float out[B][T][C];
    double worst = 0, scale = 1;

    level_list(r, n);
    want(r);
    reel_sample(&r->p, &r->io);
    reel_get(&r->s, out, r->io.x);
    for (int i = 0; i < B * T * C; i++) {
        double ref = (&r->want[0][0][0])[i];
        worst = fmax(worst, fabs((double)(&out[0][0][0])[i] - ref));
        scale = fmax(scale, fabs(ref));
    }
    TAP_OK(worst < 1e-6 * scale, "%s, %d steps, guidance %g, chunks of %d: off by %.1e", name, n, r->p.guidance,
           (int)r->m.chunk, worst);
}

static void noise(void *ctx, struct reel_stream *s, reel_tensor eps, int k)
{
    struct rig *r = ctx;
    char name[32];

    snprintf(name, sizeof name, "noise/%d", k);
    reel_draw_normal(r->draws, s, eps, name, r->where);
}

static int rig_open(struct rig *r, struct reel_comm *world)
{
    static const struct reel_model_ops ops = { .name = "formula", .fwd = linear_net, .kv_open = kv_open, .kv_close = kv_close };
    float c = 0.3f, u = -0.2f;

    if (test_backend(&r->be, 1) || reel_draws_open(&r->draws, 7, NULL, 0, NULL, world)) return 1;
    if (reel_arena_open(&r->a, r->be, "a", 1 << 16) || reel_arena_open(&r->step, r->be, "step", 1 << 16)) return 1;
    if (reel_arena_open(&r->scratch, r->be, "scratch", 1 << 16)) return 1;
    reel_stream_init(&r->s, r->be, 0, &r->scratch);
    r->where = (struct reel_where){ .b0 = 3, .nb = B, .b_global = 8 };
    r->c = (double)c, r->u = (double)u;
    r->m = (struct reel_model){ .ops = &ops, .s = &r->s, .chunk = 1 };
    r->io.x = reel_new(&r->a, REEL_F32, REEL_DIMS(B, T, C, 1, 1));
    r->io.t = reel_new(&r->a, REEL_F32, REEL_DIMS(B));
    r->io.text = reel_new(&r->a, REEL_F32, REEL_DIMS(B, 1, 1));
    r->io.uncond = reel_new(&r->a, REEL_F32, REEL_DIMS(B, 1, 1));
    reel_fill(&r->s, r->io.text, r->c);
    reel_fill(&r->s, r->io.uncond, r->u);
    r->p = (struct reel_sampler){ .model = &r->m, .a = &r->step, .sigma = r->sigma, .noise = noise, .ctx = r, .guidance = 1 };
    return 0;
}

static void checks(struct rig *r)
{
    for (int n = 1; n <= 40; n = n * 3 + 1)
        for (int g = 1; g <= 3; g += 2) {
            r->p.guidance = g;
            check(r, "euler", n);
        }
    r->p.guidance = 1;
    r->p.kind = REEL_SAMPLER_FEWSTEP;
    for (int n = 1; n <= 4; n++) check(r, "fewstep", n);
    r->p.kind = REEL_SAMPLER_STREAMING;
    for (r->m.chunk = 1; r->m.chunk <= T; r->m.chunk++) check(r, "streaming", 3);
}

int main(int argc, char **argv)
{
    static struct rig r;
    struct reel_comm world;

    if (reel_comm_start(&world, &argc, &argv) != REEL_OK || rig_open(&r, &world)) return 1;
    checks(&r);
    reel_draws_close(r.draws, &world);
    reel_arena_close(&r.a, r.be);
    reel_arena_close(&r.step, r.be);
    reel_arena_close(&r.scratch, r.be);
    reel_backend_close(r.be);
    reel_comm_stop();
    return tap_done();
}
