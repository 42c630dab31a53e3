#include "models/sampler.h"

#include <math.h>

#include "be/ops.h"
#include "nn/schedule.h"

/* Clips, or a chunk of their frames, on the way from noise to data. */
struct walk {
    const struct reel_sampler *s;
    const struct reel_sampling_io *io;
    reel_tensor x;
    reel_tensor old[2], last; /* unipc: the last two estimates of the data, the last corrected state */
    struct reel_kv *kv[2];    /* streaming: what text and uncond have seen */
    int64_t lo;               /* first frame of x: not 0 while streaming */
    size_t mark;              /* of the arena: what lies below stays */
};

typedef void rule_fn(struct walk *w, int i);

static reel_tensor pass(struct walk *w, int uncond, int store_only)
{
    struct reel_model *m = w->s->model;
    struct reel_model_in in = { .x = w->x, .t = w->io->t, .text = uncond ? w->io->uncond : w->io->text, .kv = w->kv[uncond],
                                .frame0 = w->lo, .store_only = store_only, .sparsity = w->kv[0] ? 0 : w->s->sparsity };

    return m->ops->fwd(m, w->s->a, &in, NULL);
}

static void set_t(struct walk *w, int i)
{
    const struct reel_sampler *s = w->s;

    reel_fill(s->model->s, w->io->t, (double)(s->t ? s->t[i] : 1000.0f * s->sigma[i]));
}

static reel_tensor velocity(struct walk *w, int i)
{
    const struct reel_sampler *s = w->s;
    reel_tensor c;

    set_t(w, i);
    c = pass(w, 0, 0);
    if (s->guidance != 1) reel_axpby(s->model->s, c, 1 - s->guidance, pass(w, 1, 0), s->guidance); /* c <- g c + (1-g) u */
    return c;
}

/* ---- rules: one step each ------------------------------------------------------------------- */

static void euler(struct walk *w, int i)
{
    const float *sigma = w->s->sigma;

    reel_axpby(w->s->model->s, w->x, (double)(sigma[i + 1] - sigma[i]), velocity(w, i), 1);
}

static void unipc_correct(struct walk *w, int i, reel_tensor m)
{
    struct reel_unipc_correct c = reel_unipc_correct(w->s->sigma, w->s->steps, i);
    struct reel_stream *s = w->s->model->s;

    reel_axpby(s, w->last, c.m1, w->old[(i - 1) & 1], c.last);
    if (i > 1) reel_axpby(s, w->last, c.m2, w->old[i & 1], 1);
    reel_axpby(s, w->last, c.m, m, 1);
}

static void unipc(struct walk *w, int i)
{
    struct reel_unipc_predict p = reel_unipc_predict(w->s->sigma, w->s->steps, i);
    struct reel_stream *s = w->s->model->s;
    reel_tensor m = velocity(w, i);

    reel_axpby(s, m, 1, w->x, -(double)w->s->sigma[i]); /* x0, of the state as it was predicted */
    if (i) unipc_correct(w, i, m);
    else reel_copy(s, w->last, w->x);
    reel_copy(s, w->old[i & 1], m);
    reel_copy(s, w->x, w->last);
    reel_axpby(s, w->x, p.m, m, p.x);
    if (i) reel_axpby(s, w->x, p.m1, w->old[(i - 1) & 1], 1);
}

/* eps_k of the frames under way */
static void noise(struct walk *w, reel_tensor eps, int k)
{
    const struct reel_sampler *s = w->s;

    s->noise(s->ctx, s->model->s, eps, w->lo, w->io->x.n[1], k);
}

static void fewstep(struct walk *w, int i)
{
    struct reel_stream *s = w->s->model->s;
    double now = (double)w->s->sigma[i], next = (double)w->s->sigma[i + 1], ratio = next / fmax(now, 1e-8);
    reel_tensor m = velocity(w, i), eps;

    if (i + 1 == w->s->steps) {
        reel_axpby(s, w->x, -now, m, 1);
    } else if (w->s->ode) { /* (1-next) x0 + next eps, eps = (x - (1-now) x0)/now */
        reel_axpby(s, m, 1, w->x, -now);
        reel_axpby(s, w->x, 1 - next - ratio * (1 - now), m, ratio);
    } else {
        reel_axpby(s, w->x, -now, m, 1);
        reel_arena_reset(w->s->a, w->mark);
        eps = reel_new(w->s->a, REEL_F32, w->x.n, 5);
        noise(w, eps, i + 1);
        reel_axpby(s, w->x, next, eps, 1 - next);
    }
}

static const struct { rule_fn *rule; int history, streams, guided; } kinds[REEL_NSAMPLER] = {
    [REEL_SAMPLER_EULER] = { .rule = euler, .guided = 1 },
    [REEL_SAMPLER_FEWSTEP] = { .rule = fewstep },
    [REEL_SAMPLER_STREAMING] = { .rule = fewstep, .streams = 1 },
    [REEL_SAMPLER_UNIPC] = { .rule = unipc, .history = 1, .guided = 1 },
    [REEL_SAMPLER_CAUSAL] = { .rule = unipc, .history = 1, .streams = 1, .guided = 1 },
};

int reel_sampler_streams(enum reel_sampler_kind kind) { return kinds[kind].streams; }
int reel_sampler_guided(enum reel_sampler_kind kind) { return kinds[kind].guided; }

void reel_sampler_levels(enum reel_sampler_kind kind, float *sigma, float *t, int n, float shift)
{
    if (kinds[kind].history) {
        reel_sched_unipc(sigma, t, n, shift);
        return;
    }
    reel_even_sigmas(sigma, n, shift);
    for (int i = 0; i < n; i++) t[i] = 1000.0f * sigma[i];
}

/* ---- whole clips, and chunk by chunk --------------------------------------------------------- */

/* All steps of w->x; the arena's mark is left behind the history. */
static void denoise(struct walk *w)
{
    const struct reel_sampler *s = w->s;
    int looks = s->look && !w->kv[0];

    for (int k = 0; k < 3 && kinds[s->kind].history; k++)
        *(k < 2 ? &w->old[k] : &w->last) = reel_new(s->a, REEL_F32, w->x.n, 5);
    w->mark = s->a->used;
    for (int i = 0; i < s->steps; i++) {
        if (looks) s->look(s->ctx, i, w->x);
        kinds[s->kind].rule(w, i);
        reel_arena_reset(s->a, w->mark);
    }
    if (looks) s->look(s->ctx, s->steps, w->x);
}

static void sample_chunk(struct walk *w, int64_t lo, int64_t hi)
{
    const struct reel_sampler *s = w->s;
    const int64_t *d = w->io->x.n;

    w->lo = lo;
    w->x = reel_new(s->a, REEL_F32, REEL_DIMS(d[0], hi - lo, d[2], d[3], d[4]));
    noise(w, w->x, 0);
    denoise(w);
    reel_fill(s->model->s, w->io->t, s->context_t);
    for (int u = 0; u < 2 && hi < d[1]; u++) { /* nobody reads the cache after the last chunk */
        if (w->kv[u]) pass(w, u, 1);
        reel_arena_reset(s->a, w->mark);
    }
    if (s->chunk) s->chunk(s->ctx, lo, w->x);
    for (int64_t b = 0; b < d[0]; b++) reel_copy(s->model->s, reel_slice(reel_at(w->io->x, b), lo, hi), reel_at(w->x, b));
}

/* Frames that the cache holds: what a window looks back on, and a chunk whole. */
static int64_t cached_frames(int64_t T, int64_t window, int64_t first)
{
    int64_t n = window > first ? window : first;

    return window > 0 && n < T ? n : T;
}

static void sample_stream(struct walk *w)
{
    const struct reel_sampler *s = w->s;
    const int64_t *d = w->io->x.n;
    int64_t T = d[1], c = s->model->chunk, first = T < c ? T : T % c + c;
    int64_t shape[5] = { d[0], cached_frames(T, s->model->window, first), d[2], d[3], d[4] };
    size_t mark;

    REEL_BUG_IF(!s->model->ops->kv_open || c < 1, "%s cannot stream", s->model->ops->name);
    for (int u = 0; u <= (s->guidance != 1); u++) w->kv[u] = s->model->ops->kv_open(s->model, s->a, shape);
    mark = s->a->used;
    for (int64_t lo = 0, hi = first; lo < T; lo = hi, hi += c) {
        reel_arena_reset(s->a, mark);
        sample_chunk(w, lo, hi);
    }
    for (int u = 0; u < 2; u++)
        if (w->kv[u]) s->model->ops->kv_close(s->model, w->kv[u]);
}

void reel_sample(const struct reel_sampler *s, const struct reel_sampling_io *io)
{
    struct walk w = { .s = s, .io = io, .x = io->x };

    REEL_BUG_IF(s->steps < 1, "%d sampling steps", s->steps);
    REEL_BUG_IF(s->guidance != 1 && !kinds[s->kind].guided, "guidance %g of a few-step sampler", s->guidance);
    reel_arena_reset(s->a, 0);
    if (kinds[s->kind].streams) {
        sample_stream(&w);
    } else {
        noise(&w, w.x, 0);
        denoise(&w);
    }
    reel_arena_reset(s->a, 0);
}

struct reel_sampling_io reel_sampling_io_make(struct reel_arena *a, const struct reel_model *m, const int64_t shape[5])
{
    const int64_t text[3] = { shape[0], m->text_len, m->text_dim };

    return (struct reel_sampling_io){ .x = reel_new(a, REEL_F32, shape, 5), .t = reel_new(a, REEL_F32, REEL_DIMS(shape[0])),
                                      .text = reel_new(a, REEL_F32, text, 3), .uncond = reel_new(a, REEL_F32, text, 3) };
}
