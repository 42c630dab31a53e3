#include "models/sampler.h"

#include "be/ops.h"

static void set_level(const struct reel_sampler *s, reel_tensor t, float sigma)
{
    reel_fill(s->model->s, t, (double)(1000.0f * sigma));
}

/* eps_k of whole clips, in the arena. */
static reel_tensor noise(const struct reel_sampler *s, const int64_t shape[5], int k)
{
    reel_tensor eps = reel_new(s->a, REEL_F32, shape, 5);

    s->noise(s->ctx, s->model->s, eps, k);
    return eps;
}

/* ---- whole clips --------------------------------------------------------------------------- */

static reel_tensor velocity(const struct reel_sampler *s, const struct reel_sampling_io *io, reel_tensor text)
{
    struct reel_model_in in = { .x = io->x, .t = io->t, .text = text, .sparsity = s->sparsity };

    return s->model->ops->fwd(s->model, s->a, &in, NULL);
}

static void euler_step(const struct reel_sampler *s, const struct reel_sampling_io *io, int i)
{
    reel_tensor c, u;

    c = velocity(s, io, io->text);
    if (s->guidance != 1) { /* c <- g c + (1-g) u */
        u = velocity(s, io, io->uncond);
        reel_axpby(s->model->s, c, 1 - s->guidance, u, s->guidance);
    }
    reel_axpby(s->model->s, io->x, (double)(s->sigma[i + 1] - s->sigma[i]), c, 1);
}

/* x <- (1-sigma) x + sigma eps */
static void renoise(const struct reel_sampler *s, reel_tensor x, reel_tensor eps, float sigma)
{
    reel_axpby(s->model->s, x, (double)sigma, eps, 1 - (double)sigma);
}

static void fewstep(const struct reel_sampler *s, const struct reel_sampling_io *io, int i)
{
    reel_axpby(s->model->s, io->x, -(double)s->sigma[i], velocity(s, io, io->text), 1);
    if (i + 1 < s->steps) renoise(s, io->x, noise(s, io->x.n, i + 1), s->sigma[i + 1]);
}

static void sample_clips(const struct reel_sampler *s, const struct reel_sampling_io *io,
                         void (*step)(const struct reel_sampler *, const struct reel_sampling_io *, int))
{
    for (int i = 0; i < s->steps; i++) {
        if (s->look) s->look(s->ctx, i, io->x);
        reel_arena_reset(s->a, 0);
        set_level(s, io->t, s->sigma[i]);
        step(s, io, i);
    }
    reel_arena_reset(s->a, 0);
    if (s->look) s->look(s->ctx, s->steps, io->x);
}

/* ---- streaming ----------------------------------------------------------------------------- */

/* One rollout. Clips are kept frame by frame: a chunk of frames is one run of memory. */
struct rollout {
    const struct reel_sampler *s;
    const struct reel_sampling_io *io;
    struct reel_kv *kv;
    reel_tensor clips; /* [T,B,CHW] */
    size_t mark;       /* of the arena: what lies below stays */
};

static reel_tensor frame_major(struct reel_arena *a, struct reel_stream *s, reel_tensor x)
{
    int64_t B = x.n[0], T = x.n[1], per = x.n[2] * x.n[3] * x.n[4];
    reel_tensor y = reel_new(a, REEL_F32, REEL_DIMS(1, T, B, per));

    reel_swap_tc(s, y, reel_reshape(x, REEL_DIMS(1, B, T, per)));
    return reel_reshape(y, REEL_DIMS(T, B, per));
}

/* frames [n,B,CHW] to clips x of n frames, and back */
static void to_clips(struct reel_stream *s, reel_tensor x, reel_tensor frames)
{
    int64_t n = frames.n[0], B = frames.n[1], per = frames.n[2];

    reel_swap_tc(s, reel_reshape(x, REEL_DIMS(1, B, n, per)), reel_reshape(frames, REEL_DIMS(1, n, B, per)));
}

static reel_tensor pass(const struct rollout *r, reel_tensor x, int64_t lo, float sigma, int store_only)
{
    struct reel_model *m = r->s->model;
    struct reel_model_in in = { .x = x, .t = r->io->t, .text = r->io->text, .kv = r->kv, .frame0 = lo,
                                .store_only = store_only };

    set_level(r->s, r->io->t, sigma);
    return m->ops->fwd(m, r->s->a, &in, NULL);
}

static void sample_chunk(const struct rollout *r, int64_t lo, int64_t hi)
{
    const struct reel_sampler *s = r->s;
    const int64_t *d = r->io->x.n;
    reel_tensor frames = reel_slice(r->clips, lo, hi), v, eps;
    reel_tensor x = reel_new(s->a, REEL_F32, REEL_DIMS(d[0], hi - lo, d[2], d[3], d[4]));
    size_t mark = s->a->used;

    to_clips(s->model->s, x, frames);
    for (int i = 0; i < s->steps; i++) {
        reel_arena_reset(s->a, mark);
        v = pass(r, x, lo, s->sigma[i], 0);
        reel_axpby(s->model->s, x, -(double)s->sigma[i], v, 1);
        if (i + 1 == s->steps) break;
        reel_arena_reset(s->a, mark);
        eps = reel_new(s->a, REEL_F32, x.n, 5);
        to_clips(s->model->s, eps, reel_slice(frame_major(s->a, s->model->s, noise(s, d, i + 1)), lo, hi));
        renoise(s, x, eps, s->sigma[i + 1]);
    }
    reel_arena_reset(s->a, mark);
    if (hi < d[1]) pass(r, x, lo, 0, 1); /* nobody reads the cache after the last chunk */
    reel_swap_tc(s->model->s, reel_reshape(frames, REEL_DIMS(1, hi - lo, d[0], frames.n[2])),
                 reel_reshape(x, REEL_DIMS(1, d[0], hi - lo, frames.n[2])));
}

/* Frames that the cache holds: what a window looks back on, and a chunk whole. */
static int64_t cached_frames(int64_t T, int64_t window, int64_t first)
{
    int64_t n = window > first ? window : first;

    return window > 0 && n < T ? n : T;
}

static void sample_stream(const struct reel_sampler *s, const struct reel_sampling_io *io)
{
    struct rollout r = { .s = s, .io = io };
    const int64_t *d = io->x.n;
    int64_t T = d[1], c = s->model->chunk, first = T < c ? T : T % c + c;
    int64_t shape[5] = { d[0], cached_frames(T, s->model->window, first), d[2], d[3], d[4] };

    REEL_BUG_IF(!s->model->ops->kv_open || c < 1, "%s cannot stream", s->model->ops->name);
    reel_arena_reset(s->a, 0);
    r.kv = s->model->ops->kv_open(s->model, s->a, shape);
    r.clips = frame_major(s->a, s->model->s, io->x);
    r.mark = s->a->used;
    for (int64_t lo = 0, hi = first; lo < T; lo = hi, hi += c) {
        reel_arena_reset(s->a, r.mark);
        sample_chunk(&r, lo, hi);
    }
    to_clips(s->model->s, io->x, r.clips);
    s->model->ops->kv_close(s->model, r.kv);
    reel_arena_reset(s->a, 0);
}

void reel_sample(const struct reel_sampler *s, const struct reel_sampling_io *io)
{
    REEL_BUG_IF(s->steps < 1, "%d sampling steps", s->steps);
    REEL_BUG_IF(s->guidance != 1 && s->kind != REEL_SAMPLER_EULER, "guidance %g: only euler has it", s->guidance);
    s->noise(s->ctx, s->model->s, io->x, 0);
    switch (s->kind) {
    case REEL_SAMPLER_EULER: sample_clips(s, io, euler_step); break;
    case REEL_SAMPLER_FEWSTEP: sample_clips(s, io, fewstep); break;
    case REEL_SAMPLER_STREAMING: sample_stream(s, io); break;
    }
}
