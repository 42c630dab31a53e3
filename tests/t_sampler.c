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

/* what a streaming network has seen with one text: the sum of its finished chunks' first elements */
struct reel_kv { double seen; int64_t frames, stores; };
static const float context_t = 3;

/* v(x, t, text) = 0.5 x + t/1000 + text[0] + seen, made of operators */
static reel_tensor linear_net(struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in,
                              struct reel_kept **kept)
{
    reel_tensor v = { 0 };
    float t, c, x;

    (void)kept;
    reel_get(m->s, &t, reel_slice(in->t, 0, 1));
    if (in->store_only) {
        REEL_BUG_IF(t != context_t || in->frame0 != in->kv->frames, "a chunk is stored at t %g, frame %d", (double)t, (int)in->frame0);
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
    double sig[MOST + 1], want[B][T][C], c, u, got[B][T][C]; /* got: by chunks, from the hook */
    int looks, chunks;
    int64_t drawn; /* normals that the backend was asked for */
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
    double x = (double)r->eps[0][b][c][t], x0 = 0, eps;

    for (int i = 0; i < r->p.steps; i++) {
        x0 = x - r->sig[i] * (0.5 * x + r->sig[i] + r->c + seen);
        if (i + 1 == r->p.steps) break;
        eps = r->p.ode ? (x - (1 - r->sig[i]) * x0) / r->sig[i] : (double)r->eps[i + 1][b][c][t];
        x = (1 - r->sig[i + 1]) * x0 + r->sig[i + 1] * eps;
    }
    r->want[b][t][c] = x0;
}

static double lam(double sigma) { return log(fmax(1 - sigma, 1e-12)) - log(fmax(sigma, 1e-12)); }

/* The residual form of the paper, with a linear solve instead of closed factors. */
static void each_unipc(struct rig *r, int b, int t, int c, double seen)
{
    const double *s = r->sig;
    int n = r->p.steps;
    double x = (double)r->eps[0][b][c][t], m[MOST], last = 0;

    for (int i = 0; i < n; i++) {
        double v = 0.5 * x + s[i] + r->u + seen + r->p.guidance * (r->c - r->u), h, e;
        m[i] = x - s[i] * v;
        if (i) {
            int p = i - 1 ? 2 : 1; /* order of step i - 1, which is never the last */
            double d = m[i] - m[i - 1], D1 = 0, rk = 0, rho1 = 0, rho2 = 0.5, b1, b2;
            h = lam(s[i]) - lam(s[i - 1]), e = expm1(-h);
            if (p == 2) {
                rk = (lam(s[i - 2]) - lam(s[i - 1])) / h;
                D1 = (m[i - 2] - m[i - 1]) / rk;
                b1 = (e / -h - 1) / e, b2 = 2 * ((e / -h - 1) / -h - 0.5) / e;
                rho1 = (b1 - b2) / (1 - rk), rho2 = b1 - rho1;
            }
            x = s[i] / s[i - 1] * last - (1 - s[i]) * e * (m[i - 1] + rho1 * D1 + rho2 * d);
        }
        last = x;
        h = lam(s[i + 1]) - lam(s[i]), e = expm1(-h);
        x = s[i + 1] / s[i] * x - (1 - s[i + 1]) * e * m[i];
        if (i && i < n - 1) x -= (1 - s[i + 1]) * e * 0.5 * (m[i - 1] - m[i]) / ((lam(s[i - 1]) - lam(s[i])) / h);
    }
    r->want[b][t][c] = x;
}

static void want(struct rig *r)
{
    double seen = 0;
    int chunk = (int)r->m.chunk, end = reel_sampler_streams(r->p.kind) ? T % chunk + chunk : T, begin = 0;

    for (int t = 0; t < T; t++) {
        if (t == end) seen += r->want[0][begin][0], begin = end, end += chunk;
        for (int b = 0; b < B; b++)
            for (int c = 0; c < C; c++)
                switch (r->p.kind) {
                case REEL_SAMPLER_EULER: each_euler(r, b, t, c); break;
                case REEL_SAMPLER_UNIPC:
                case REEL_SAMPLER_CAUSAL: each_unipc(r, b, t, c, seen); break;
                default: each_fewstep(r, b, t, c, seen); break;
                }
    }
}

/* Frames as they are finished. */
static void chunk(void *ctx, int64_t lo, reel_tensor x)
{
    struct rig *r = ctx;
    float part[B * T * C];
    int n = (int)x.n[1];

    reel_get(&r->s, part, x);
    for (int b = 0; b < B; b++)
        for (int i = 0; i < n * C; i++) r->got[b][lo + i / C][i % C] = (double)part[b * n * C + i];
    r->chunks++;
}

static void look(void *ctx, int i, reel_tensor x)
{
    struct rig *r = ctx;

    (void)x;
    r->looks += i == r->looks;
}

static void check(struct rig *r, const char *name, int n)
{
    float out[B][T][C];
    double worst = 0, scale = 1;
    int draws = (r->p.kind == REEL_SAMPLER_FEWSTEP || r->p.kind == REEL_SAMPLER_STREAMING) && !r->p.ode ? n : 1;
    int streams = reel_sampler_streams(r->p.kind), chunks = r->m.chunk > T ? 1 : T / (int)r->m.chunk, same = 1;

    level_list(r, n);
    want(r);
    r->looks = r->chunks = 0;
    r->drawn = 0;
    reel_sample(&r->p, &r->io);
    reel_get(&r->s, out, r->io.x);
    for (int i = 0; i < B * T * C; i++) {
        double ref = (&r->want[0][0][0])[i];
        worst = fmax(worst, fabs((double)(&out[0][0][0])[i] - ref));
        scale = fmax(scale, fabs(ref));
        same &= !streams || (double)(&out[0][0][0])[i] == (&r->got[0][0][0])[i];
    }
    TAP_OK(worst < 1e-6 * scale && same && r->looks == (streams ? 0 : n + 1) && r->chunks == (streams ? chunks : 0),
           "%s, %d steps, guidance %g, chunks of %d: off by %.1e; hooks", name, n, r->p.guidance, (int)r->m.chunk, worst);
    TAP_OK(r->drawn == B * T * C * draws, "%s, %d steps, chunks of %d: every normal is made once (%d)", name, n, (int)r->m.chunk, (int)r->drawn);
}

static struct rig *counting;
static void (*uncounted)(struct reel_stream *s, float *out, int64_t nb, struct reel_randn r);

static void counted_randn(struct reel_stream *s, float *out, int64_t nb, struct reel_randn r)
{
    counting->drawn += nb * r.n1 * r.n2 * r.n;
    uncounted(s, out, nb, r);
}

static void noise(void *ctx, struct reel_stream *s, reel_tensor eps, int64_t lo, int64_t frames, int k)
{
    struct rig *r = ctx;
    char name[32];

    snprintf(name, sizeof name, "noise/%d", k);
    reel_draw_frames(r->draws, s, eps, lo, frames, name, r->where);
}

static int rig_open(struct rig *r, struct reel_comm *world)
{
    static const struct reel_model_ops ops = { .name = "formula", .fwd = linear_net, .kv_open = kv_open, .kv_close = kv_close };
    float c = 0.3f, u = -0.2f;

    if (test_backend(&r->be, 1) || reel_draws_open(&r->draws, 7, NULL, 0, NULL, world)) return 1;
    if (reel_arena_open(&r->a, r->be, "a", 1 << 16) || reel_arena_open(&r->step, r->be, "step", 1 << 16)) return 1;
    if (reel_arena_open(&r->scratch, r->be, "scratch", 1 << 16)) return 1;
    reel_stream_init(&r->s, r->be, 0, &r->scratch);
    counting = r, uncounted = r->be->ops.randn, r->be->ops.randn = counted_randn;
    r->where = (struct reel_where){ .b0 = 3, .nb = B, .b_global = 8 };
    r->c = (double)c, r->u = (double)u;
    r->m = (struct reel_model){ .ops = &ops, .s = &r->s, .chunk = 1 };
    r->io.x = reel_new(&r->a, REEL_F32, REEL_DIMS(B, T, C, 1, 1));
    r->io.t = reel_new(&r->a, REEL_F32, REEL_DIMS(B));
    r->io.text = reel_new(&r->a, REEL_F32, REEL_DIMS(B, 1, 1));
    r->io.uncond = reel_new(&r->a, REEL_F32, REEL_DIMS(B, 1, 1));
    reel_fill(&r->s, r->io.text, r->c);
    reel_fill(&r->s, r->io.uncond, r->u);
    r->p = (struct reel_sampler){ .model = &r->m, .a = &r->step, .sigma = r->sigma, .noise = noise, .look = look, .chunk = chunk, .ctx = r,
                                  .guidance = 1, .context_t = (double)context_t };
    return 0;
}

static void checks(struct rig *r)
{
    for (int n = 1; n <= 40; n = n * 3 + 1)
        for (int g = 1; g <= 3; g += 2) {
            r->p.guidance = g;
            r->p.kind = REEL_SAMPLER_EULER;
            check(r, "euler", n);
            r->p.kind = REEL_SAMPLER_UNIPC;
            check(r, "unipc", n);
        }
    r->p.kind = REEL_SAMPLER_CAUSAL;
    for (r->m.chunk = 1; r->m.chunk <= T + 1; r->m.chunk++)
        for (int g = 1; g <= 3; g += 2) {
            r->p.guidance = g;
            check(r, "causal", 5);
        }
    r->p.guidance = 1;
    for (r->p.ode = 0; r->p.ode < 2; r->p.ode++) {
        const char *how = r->p.ode ? ", ode" : "";
        char name[32];
        r->m.chunk = 1;
        r->p.kind = REEL_SAMPLER_FEWSTEP;
        snprintf(name, sizeof name, "fewstep%s", how);
        for (int n = 1; n <= 4; n++) check(r, name, n);
        r->p.kind = REEL_SAMPLER_STREAMING;
        snprintf(name, sizeof name, "streaming%s", how);
        for (; r->m.chunk <= T; r->m.chunk++) check(r, name, 3);
    }
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
