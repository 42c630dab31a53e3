/* What must hold of a causal transformer whatever its numbers are. Streaming over clean context is teacher forcing;
 * streaming is the block-causal mask; gradients of a pass are the slopes of its loss with a constant cache;
 * recomputing, the order of backward passes, batching and splitting a batch over ranks change no bit. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/sampler.h"
#include "models/wan_priv.h"
#include "tap.h"
#include "wan_rig.h"

#define CONFIG(policy)                                                                                               \
    "{\"num_layers\": 2, \"num_attention_heads\": 2, \"attention_head_dim\": 16, \"ffn_dim\": 72, \"text_dim\": 12," \
    " \"freq_dim\": 32, \"text_len\": 20, \"rope_cache_policy\": \"" policy "\"}"
/* fewer text rows than the cache has room for */
enum { T = 7, H = 4, W = 6, C = 16, FRAME = C * H * W, N = T * FRAME, L = 12, TEXT = 12, M = L * TEXT, MAXB = 4 };

static struct reel_comm world;
/* samples of clips [B,T,C,H,W], the same in every test */
static float noisy[MAXB * N], clean[MAXB * N], cot[MAXB * N], text[MAXB * M], t_noisy[MAXB * T], t_clean[MAXB * T];

static void inputs(void)
{
    for (int i = 0; i < MAXB * N; i++) {
        noisy[i] = (float)(4 * rig_u(900, i));
        clean[i] = (float)(4 * rig_u(903, i));
        cot[i] = (float)rig_u(902, i);
    }
    for (int i = 0; i < MAXB * M; i++) text[i] = (float)(4 * rig_u(901, i));
    for (int i = 0; i < MAXB * T; i++) {
        t_noisy[i] = (float)(1000 * (rig_u(904, i) + 0.5));
        t_clean[i] = (float)(100 * (rig_u(905, i) + 0.5));
    }
}

static double weight(void *ctx, int i, int64_t k)
{
    return rig_fill_value(&((struct rig *)ctx)->m.def[i], i, k);
}

/* ---- a model and what is done with it, without and with memory ---- */

struct act {
    const char *policy;
    struct reel_model_opts opts; /* chunk, window, sink */
    int64_t b0, B;               /* samples of the inputs */
    int shard, sp;               /* over how many ranks; 0: one */
    reel_dtype dt;
    int checkpointing;
    void (*run)(struct rig *r, struct act *a);
    void (*then)(struct rig *r, struct act *a); /* after run, with memory alone */
    /* of rollouts */
    int64_t cap;      /* frames of the cache; 0: the clip (sampling: 0 what the window needs) */
    enum { IN_ORDER, REVERSED, AT_ONCE } order; /* of backward passes; AT_ONCE: each after its forward pass */
    int full_context; /* context passes go through the whole model */
    float *v, *dx, *dtext, *grad[T]; /* [B,T,...], [B,T,...], [chunks,B,L,TEXT]; per chunk all gradients */
    int64_t n_grad;
};

static void rehearse(struct rig *r, void *ctx)
{
    struct act *a = ctx;
    size_t mark = r->act.used;

    a->run(r, a);
    reel_arena_reset(&r->act, mark);
}

static void act(struct act *a)
{
    struct rig r;
    struct rig_plan plan = { &reel_model_wan_causal, a->opts, rehearse, a };
    struct rig_shape shape = { .B = a->B, .T = T, .H = H, .W = W, .L = L, .per_frame = 1 };
    const char *config = a->policy && !strcmp(a->policy, "relativistic") ? CONFIG("relativistic") : CONFIG("absolute");
    int n = a->shard ? a->shard : 1;

    REEL_BUG_IF(rig_open_plan(&r, &world, (struct reel_mesh_dims){ world.size, world.size / n, n, a->sp ? a->sp : 1, 1 }, config, a->dt,
                              a->checkpointing, shape, &plan) != REEL_OK, "%s", reel_errrec()->msg);
    rig_fill(&r, weight, &r);
    reel_put(&r.s, r.io.text, text + a->b0 * M);
    rehearse(&r, a);
    if (a->then) a->then(&r, a);
    rig_close(&r);
}

static struct act results(struct act a)
{
    a.v = calloc(MAXB * N, sizeof(float));
    a.dx = calloc(MAXB * N, sizeof(float));
    a.dtext = calloc(T * MAXB * M, sizeof(float));
    return a;
}

static void drop(struct act *a)
{
    free(a->v), free(a->dx), free(a->dtext);
    for (int i = 0; i < T; i++) free(a->grad[i]);
}

static int equal(const float *a, const float *b, int64_t n)
{
    int ok = 1;

    for (int64_t i = 0; i < n; i++) ok &= a[i] == b[i];
    return ok;
}

static double distance(const float *a, const float *b, int64_t n)
{
    double d = 0, e = 0;

    for (int64_t i = 0; i < n; i++) {
        d += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        e += (double)b[i] * (double)b[i];
    }
    return sqrt(d / e);
}

/* ---- passes ---- */

/* frames [f,f+n) of the act's samples of x [MAXB,T,row], on the device */
static reel_tensor put(struct rig *r, const struct act *a, const float *x, int64_t f, int64_t n, int64_t row)
{
    reel_tensor y = row == 1 ? reel_new(&r->act, REEL_F32, REEL_DIMS(a->B, n))
                             : reel_new(&r->act, REEL_F32, REEL_DIMS(a->B, n, C, H, W));
    float *host = malloc((size_t)(a->B * n * row) * sizeof *host);

    for (int64_t b = 0; b < a->B; b++)
        memcpy(host + b * n * row, x + ((a->b0 + b) * T + f) * row, (size_t)(n * row) * sizeof *host);
    reel_put(&r->s, y, host);
    free(host);
    return y;
}

/* and back, into x [B,T,row] */
static void get(struct rig *r, const struct act *a, float *x, reel_tensor y, int64_t f, int64_t n)
{
    float *host = calloc((size_t)(a->B * n * FRAME), sizeof *host);

    reel_get(&r->s, host, y);
    for (int64_t b = 0; b < a->B && !r->s.planning; b++)
        memcpy(x + (b * T + f) * FRAME, host + b * n * FRAME, (size_t)(n * FRAME) * sizeof *host);
    free(host);
}

static struct reel_model_in frames(struct rig *r, const struct act *a, const float *x, const float *t, int64_t f, int64_t n)
{
    return (struct reel_model_in){ .x = put(r, a, x, f, n, FRAME), .t = put(r, a, t, f, n, 1), .text = r->io.text, .frame0 = f };
}

static reel_tensor forward(struct rig *r, const struct reel_model_in *in, struct reel_kept **kept)
{
    return r->m.ops->fwd(&r->m, &r->act, in, kept);
}

static struct reel_kv *cache(struct rig *r, const struct act *a)
{
    return r->m.ops->kv_open(&r->m, &r->act, (int64_t[5]){ a->B, a->cap ? a->cap : T, C, H, W });
}

static void context(struct rig *r, const struct act *a, struct reel_kv *kv, int64_t f, int64_t n)
{
    size_t mark = r->act.used;
    struct reel_model_in in = frames(r, a, clean, t_clean, f, n);

    in.kv = kv;
    in.store_only = !a->full_context;
    forward(r, &in, NULL);
    reel_arena_reset(&r->act, mark);
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- masks and streaming ---- */

static void whole(struct rig *r, struct act *a)
{
    struct reel_model_in in = frames(r, a, noisy, t_noisy, 0, T);

    get(r, a, a->v, forward(r, &in, NULL), 0, T);
}

static void forced(struct rig *r, struct act *a)
{
    struct reel_model_in in = frames(r, a, noisy, t_noisy, 0, T);

    in.clean = put(r, a, clean, 0, T, FRAME);
    in.clean_t = put(r, a, t_clean, 0, T, 1);
    get(r, a, a->v, forward(r, &in, NULL), 0, T);
}

/* chunk after chunk; with `then` clean context behind each */
static void stream_chunks(struct rig *r, struct act *a, int with_clean)
{
    struct reel_kv *kv = cache(r, a);

    for (int64_t f = 0; f < T; f += r->m.chunk) {
        int64_t n = least(r->m.chunk, T - f);
        struct reel_model_in in = frames(r, a, noisy, t_noisy, f, n);

        in.kv = kv;
        get(r, a, a->v, forward(r, &in, NULL), f, n);
        if (with_clean) context(r, a, kv, f, n);
    }
    r->m.ops->kv_close(&r->m, kv);
}

static void stream(struct rig *r, struct act *a) { stream_chunks(r, a, 0); }
static void stream_clean(struct rig *r, struct act *a) { stream_chunks(r, a, 1); }

static double between(struct act a, void (*one)(struct rig *, struct act *), void (*two)(struct rig *, struct act *))
{
    struct act x = results(a), y = results(a);
    double d;

    x.run = one;
    y.run = two;
    act(&x);
    act(&y);
    d = distance(x.v, y.v, a.B * N);
    drop(&x), drop(&y);
    return d;
}

static void masks(void)
{
    for (int64_t chunk = 1; chunk <= T; chunk += 2) {
        struct act a = { .opts = { chunk, -1, 0, 0, 0 }, .B = 2 };
        double d = between(a, forced, stream_clean);

        TAP_OK(d < 1e-6, "chunks of %ld: streaming over clean context is teacher forcing, off by %.1e", (long)chunk, d);
        d = between(a, whole, stream);
        TAP_OK(d < 1e-6, "chunks of %ld: streaming is the block-causal mask, off by %.1e", (long)chunk, d);
        a.opts.local_attn_size = chunk + 1;
        d = between(a, whole, stream);
        TAP_OK(d < 1e-6, "and with a window of %ld, off by %.1e", (long)chunk + 1, d);
        a.policy = "relativistic";
        d = between(a, whole, stream);
        TAP_OK(d < 1e-6, "and with relativistic positions, off by %.1e", d);
    }
}

/* ---- rollouts: per chunk a noisy pass without a gradient, one with, and a context pass ---- */

static void all_grads(struct rig *r, struct act *a, int chunk)
{
    a->n_grad = 0;
    for (int i = 0; i < r->m.n_def; i++) {
        int64_t n, first;
        float *g = rig_grad(r, i, &n, &first);

        a->grad[chunk] = realloc(a->grad[chunk], (size_t)(a->n_grad + n + 1) * sizeof *g);
        memcpy(a->grad[chunk] + a->n_grad, g, (size_t)n * sizeof *g);
        a->n_grad += n;
        free(g);
    }
}

struct open_pass { struct reel_kept *k; int64_t f, n; };

static void backward(struct rig *r, struct act *a, const struct open_pass *p, int chunk)
{
    size_t mark = r->act.used;
    reel_tensor dv = put(r, a, cot, p->f, p->n, FRAME), dx = reel_new(&r->act, REEL_F32, dv.n, 5);

    reel_grads_zero(r->m.ps);
    r->m.ops->bwd(&r->m, &r->act, p->k, dv, dx, r->io.dtext);
    reel_grads_finish(r->m.ps);
    get(r, a, a->dx, dx, p->f, p->n);
    if (!r->s.planning) {
        reel_get(&r->s, a->dtext + chunk * MAXB * M, r->io.dtext);
        all_grads(r, a, chunk);
    }
    reel_arena_reset(&r->act, mark);
}

static void exit_pass(struct rig *r, struct act *a, struct reel_kv *kv, struct open_pass *p)
{
    struct reel_model_in in = frames(r, a, noisy, t_noisy, p->f, p->n);

    in.kv = kv;
    get(r, a, a->v, forward(r, &in, &p->k), p->f, p->n);
}

static void denoise(struct rig *r, struct act *a, struct reel_kv *kv, const struct open_pass *p)
{
    size_t mark = r->act.used;
    struct reel_model_in in = frames(r, a, clean, t_noisy, p->f, p->n); /* anything else than the exit's */

    in.kv = kv;
    forward(r, &in, NULL);
    reel_arena_reset(&r->act, mark);
}

/* The first chunk takes what the others leave, and begins with its exit. */
static void rollout(struct rig *r, struct act *a)
{
    struct reel_kv *kv = cache(r, a);
    struct open_pass p[T] = { { 0 } };
    int n = 0;

    for (int64_t f = 0; f < T; f += p[n++].n) {
        p[n].f = f;
        p[n].n = f ? r->m.chunk : r->m.chunk + T % r->m.chunk;
        if (f) denoise(r, a, kv, &p[n]);
        exit_pass(r, a, kv, &p[n]);
        if (a->order == AT_ONCE) backward(r, a, &p[n], n);
        context(r, a, kv, f, p[n].n);
    }
    for (int i = 0; i < n && a->order == IN_ORDER; i++) backward(r, a, &p[i], i);
    while (n-- > 0 && a->order == REVERSED) backward(r, a, &p[n], n);
    r->m.ops->kv_close(&r->m, kv);
}

static int same(const struct act *a, const struct act *b, int chunks)
{
    int ok = equal(a->v, b->v, MAXB * N) && equal(a->dx, b->dx, MAXB * N) && equal(a->dtext, b->dtext, T * MAXB * M);

    for (int i = 0; i < chunks; i++) ok &= a->n_grad == b->n_grad && equal(a->grad[i], b->grad[i], a->n_grad);
    return ok;
}

enum { CHUNKS = 3 }; /* 3, 2 and 2 of 7 frames */

static const struct { const char *what, *policy; struct reel_model_opts opts; } kinds[] = {
    { "all frames", "absolute", RIG_OPTS(2, -1, 0, 0) },
    { "window of 4", "absolute", RIG_OPTS(2, 4, 0, 0) },
    { "window of 4, sink of 1", "absolute", RIG_OPTS(2, 4, 1, 0) },
    { "window of 4, sink of 1, relativistic", "relativistic", RIG_OPTS(2, 4, 1, 0) },
    { "window of 3, sink of 1 (the first chunk fills it)", "absolute", RIG_OPTS(2, 3, 1, 0) },
};

static struct act rolled(struct act a)
{
    a = results(a);
    if (!a.run) a.run = rollout;
    act(&a);
    return a;
}

static void compare(const struct act *want, struct act a, const char *what, const char *of)
{
    struct act got = rolled(a);

    TAP_OK(same(&got, want, CHUNKS), "%s, %s: %s", reel_dtype_name(a.dt), what, of);
    drop(&got);
}

static void rollouts(size_t k, reel_dtype dt)
{
    struct act a = { .policy = kinds[k].policy, .opts = kinds[k].opts, .B = 2, .dt = dt, .checkpointing = 1 };
    struct act want = rolled(a);
    const char *what = kinds[k].what;

    compare(&want, a, what, "a second run has the same bits");
    a.order = REVERSED;
    compare(&want, a, what, "backward passes may come in any order");
    a.order = AT_ONCE;
    compare(&want, a, what, "or each after its forward pass");
    a.checkpointing = 0;
    compare(&want, a, what, "recomputing activations changes no bit");
    a.order = IN_ORDER;
    compare(&want, a, what, "nor with all passes open");
    a.full_context = 1;
    compare(&want, a, what, "a pass for its keys and values leaves those of a whole pass");
    drop(&want);
}

/* Samples do not see each other; a batch's gradient is the sum of its samples'. */
static void batches(size_t k)
{
    struct act a = { .policy = kinds[k].policy, .opts = kinds[k].opts, .B = 2, .checkpointing = 1 };
    struct act two = rolled(a), one[2];
    int ok = 1, sum = 1;

    a.B = 1;
    for (int b = 0; b < 2; b++) {
        a.b0 = b;
        one[b] = rolled(a);
        ok &= equal(one[b].v, two.v + b * N, N) && equal(one[b].dx, two.dx + b * N, N);
        for (int c = 0; c < CHUNKS; c++) ok &= equal(one[b].dtext + c * MAXB * M, two.dtext + c * MAXB * M + b * M, M);
    }
    for (int c = 0; c < CHUNKS; c++)
        for (int64_t i = 0; i < two.n_grad; i++) sum &= one[0].grad[c][i] + one[1].grad[c][i] == two.grad[c][i];
    TAP_OK(ok, "%s: samples of a batch do not see each other", kinds[k].what);
    TAP_OK(sum, "%s: a batch's gradient is the sum of its samples', bit for bit", kinds[k].what);
    drop(&two), drop(&one[0]), drop(&one[1]);
}

/* Under parity a training rollout's window is the last frames: as without a sink. */
static void parity(void)
{
    struct act a = { .opts = RIG_OPTS(2, 4, 1, 1), .B = 1, .checkpointing = 1 }, b = a;
    struct act with = rolled(a), without;

    b.opts = (struct reel_model_opts)RIG_OPTS(2, 4, 0, 0);
    without = rolled(b);
    TAP_OK(same(&with, &without, CHUNKS), "parity: a cache of the clip has no sink");
    drop(&with), drop(&without);
    a.run = b.run = stream_clean; /* physical eviction keeps it, as in inference */
    a.cap = b.cap = 4;
    b.opts.sink_size = 1;
    with = rolled(a);
    without = rolled(b);
    TAP_OK(equal(with.v, without.v, N), "parity: a cache of the window has it");
    drop(&with), drop(&without);
}

/* ---- sampling ---- */

static void fresh_noise(void *ctx, struct reel_stream *s, reel_tensor eps, int64_t lo, int64_t all, int k)
{
    float *host = malloc(reel_bytes(eps));
    int64_t frame = eps.n[2] * eps.n[3] * eps.n[4], n = eps.n[1] * frame;

    (void)ctx;
    for (int64_t i = 0; i < eps.n[0] * n; i++) host[i] = (float)(4 * rig_u(910 + k, (i / n * all + lo) * frame + i % n));
    reel_put(s, eps, host);
    free(host);
}

static void sample(struct rig *r, struct act *a)
{
    static const float sigma[] = { 1, 0.7f, 0.3f, 0 };
    static struct reel_arena steps;
    struct reel_sampling_io io = { .x = put(r, a, noisy, 0, T, FRAME), .t = reel_new(&r->act, REEL_F32, REEL_DIMS(a->B)),
                                   .text = r->io.text };
    struct reel_sampler s = { .kind = REEL_SAMPLER_STREAMING, .model = &r->m, .a = &steps, .sigma = sigma, .steps = 3,
                              .guidance = 1, .noise = fresh_noise };

    if (r->s.planning) steps = (struct reel_arena){ .name = "steps" };
    else REEL_BUG_IF(reel_arena_open(&steps, r->be, "steps", steps.peak) != REEL_OK, "no memory");
    if (a->cap) r->m.window = -1; /* the sampler's cache holds the clip; the model sees no further than before */
    reel_sample(&s, &io);
    get(r, a, a->v, io.x, 0, T);
    if (!r->s.planning) reel_arena_close(&steps, r->be);
}

static void sampling(size_t k)
{
    struct act a = { .policy = kinds[k].policy, .opts = kinds[k].opts, .B = 2, .run = sample };
    struct act small = rolled(a), large;

    a.cap = T;
    large = rolled(a);
    TAP_OK(equal(small.v, large.v, 2 * N), "%s: a sampled clip does not depend on the cache's size", kinds[k].what);
    drop(&small), drop(&large);
}

/* ---- precision ---- */

/* See t_wan_props: 0.6 % of rounding noise expected, three times that allowed. */
static void narrow(void)
{
    static const struct { const char *what; void (*run)(struct rig *, struct act *); } run[] = {
        { "block-causal", whole }, { "teacher forcing", forced }, { "streaming", stream_clean },
    };
    struct act a = { .opts = RIG_OPTS(2, -1, 0, 0), .B = 2, .checkpointing = 1 }, wide, slim;

    for (size_t i = 0; i < sizeof run / sizeof *run; i++) {
        a.run = run[i].run;
        a.dt = REEL_F32;
        wide = rolled(a);
        a.dt = REEL_BF16;
        slim = rolled(a);
        TAP_OK(distance(slim.v, wide.v, 2 * N) < 0.02, "bf16, %s: output off by %.2g", run[i].what,
               distance(slim.v, wide.v, 2 * N));
        drop(&wide), drop(&slim);
    }
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct act b = { .policy = kinds[k].policy, .opts = kinds[k].opts, .B = 2 };
        double worst = 0;

        wide = rolled(b);
        b.dt = REEL_BF16;
        slim = rolled(b);
        for (int c = 0; c < CHUNKS; c++) worst = fmax(worst, distance(slim.grad[c], wide.grad[c], wide.n_grad));
        TAP_OK(distance(slim.v, wide.v, 2 * N) < 0.02 && distance(slim.dx, wide.dx, 2 * N) < 0.03 && worst < 0.03,
               "bf16, %s: output, gradients of latents and weights off by %.2g, %.2g, %.2g", kinds[k].what,
               distance(slim.v, wide.v, 2 * N), distance(slim.dx, wide.dx, 2 * N), worst);
        drop(&wide), drop(&slim);
    }
}

/* ---- slopes ---- */

/* A loss of the weights: sum of v * cot over the frames of one pass. `again` runs it without a gradient. */
struct loss {
    struct rig *r;
    struct act *a;
    struct reel_kv *kv; /* its context was written with the weights as they were; NULL: teacher forcing */
    int64_t f, n;
};

static double loss_of(struct loss *l)
{
    struct rig *r = l->r;
    size_t mark = r->act.used;
    struct reel_model_in in = frames(r, l->a, noisy, t_noisy, l->f, l->n);
    float *v = malloc(N * sizeof *v);
    double sum = 0;

    in.kv = l->kv;
    if (l->kv) l->kv->text_rows = 0; /* the text's keys depend on the weights */
    else in.clean = put(r, l->a, clean, 0, T, FRAME);
    reel_get(&r->s, v, forward(r, &in, NULL));
    for (int64_t i = 0; i < l->n * FRAME; i++) sum += (double)v[i] * (double)cot[l->f * FRAME + i];
    free(v);
    reel_arena_reset(&r->act, mark);
    return sum;
}

/* fourth-order central difference along p */
static double slope(struct loss *l, reel_tensor w, const float *at, const float *p, double h)
{
    static const double step[4] = { 1, -1, 2, -2 }, share[4] = { 8, -8, -1, 1 };
    int64_t n = reel_numel(w);
    float *moved = malloc((size_t)n * sizeof *moved);
    double d = 0;

    for (int k = 0; k < 4; k++) {
        for (int64_t i = 0; i < n; i++) moved[i] = (float)((double)at[i] + step[k] * h * (double)p[i]);
        reel_put(&l->r->s, w, moved);
        d += share[k] * loss_of(l);
    }
    reel_put(&l->r->s, w, at);
    free(moved);
    return d / (12 * h);
}

/* As in t_wan_props: in units of 0.2 % of the gradient and of what the loss is known to. The direction is the
 * gradient's own and a random one in equal parts. */
static double slope_error(struct loss *l, int i, const float *g)
{
    reel_tensor w = reel_param_shard(l->r->m.ps, i).w;
    int64_t n = reel_numel(w);
    float *at = malloc((size_t)n * sizeof *at), *p = malloc((size_t)n * sizeof *p);
    double norm = 0, along = 0, len = 0, h, e;

    reel_get(&l->r->s, at, w);
    for (int64_t k = 0; k < n; k++) norm += (double)g[k] * (double)g[k], len += (double)at[k] * (double)at[k];
    norm = sqrt(norm);
    for (int64_t k = 0; k < n; k++) {
        p[k] = (float)((double)g[k] / norm + rig_u(77, k) * sqrt(12.0 / (double)n));
        along += (double)g[k] * (double)p[k];
    }
    h = fmin(4e-3 / norm, 0.1 * sqrt(len));
    e = fabs(slope(l, w, at, p, h) - along) / (2e-3 * norm + 4e-6 / h);
    free(at), free(p);
    return e;
}

static void check_slopes(struct rig *r, struct act *a, struct loss *l, const char *what)
{
    const float *g = a->grad[0];
    double worst = 0;

    for (int i = 0; i < r->m.n_def; i++) {
        worst = fmax(worst, slope_error(l, i, g));
        g += reel_numel(reel_param_shard(r->m.ps, i).w);
    }
    TAP_OK(worst < 1, "%s: gradients of %d parameters are slopes, %.2f of the bound", what, r->m.n_def, worst);
}

static void forced_slopes(struct rig *r, struct act *a)
{
    struct reel_model_in in = frames(r, a, noisy, t_noisy, 0, T);
    struct open_pass p = { .n = T };
    struct loss l = { r, a, NULL, 0, T };

    in.clean = put(r, a, clean, 0, T, FRAME);
    forward(r, &in, &p.k);
    backward(r, a, &p, 0);
    forward(r, &in, NULL);
    if (!r->s.planning) check_slopes(r, a, &l, "teacher forcing");
}

/* the last two frames after five of context */
static void exit_slopes(struct rig *r, struct act *a)
{
    struct reel_kv *kv = cache(r, a);
    struct open_pass p = { .f = 5, .n = 2 };
    struct loss l = { r, a, kv, 5, 2 };
    char what[96];

    context(r, a, kv, 0, 3);
    context(r, a, kv, 3, 2);
    exit_pass(r, a, kv, &p);
    backward(r, a, &p, 0);
    kv->text_rows = 0;
    denoise(r, a, kv, &p);
    snprintf(what, sizeof what, "streaming, %s%s", a->policy, a->opts.local_attn_size > 0 ? ", window and sink" : "");
    if (!r->s.planning) check_slopes(r, a, &l, what);
    r->m.ops->kv_close(&r->m, kv);
}

static void slopes(void)
{
    struct act a = { .policy = "absolute", .opts = RIG_OPTS(2, -1, 0, 0), .B = 1, .checkpointing = 1, .run = forced_slopes };
    struct act done = rolled(a);

    drop(&done);
    a.run = exit_slopes;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        a.policy = kinds[k].policy;
        a.opts = kinds[k].opts;
        a.checkpointing = k % 2 == 0;
        done = rolled(a);
        drop(&done);
    }
}

/* ---- ranks ---- */

/* A rank's share of four samples against all four on rank 0 (the others' cotangents are zero): the same tree of sums. */
static void ranks(size_t k)
{
    int64_t each = MAXB / world.size;
    struct act a = { .policy = kinds[k].policy, .opts = kinds[k].opts, .B = each, .b0 = world.rank * each,
                     .shard = world.size, .checkpointing = 1 };
    struct act split = rolled(a), all;
    float *keep = malloc(sizeof cot);
    double ok = 1, sum[2];

    memcpy(keep, cot, sizeof cot);
    if (world.rank) memset(cot, 0, sizeof cot);
    a.b0 = 0;
    a.B = MAXB;
    all = rolled(a);
    memcpy(cot, keep, sizeof cot);
    for (int c = 0; c < CHUNKS; c++) ok *= equal(split.grad[c], all.grad[c], all.n_grad);
    ok *= equal(split.v, all.v + world.rank * each * N, each * N);
    sum[0] = ok;
    reel_comm_sum(&world, sum, 1);
    TAP_OK(sum[0] == world.size, "%s: %d ranks have the bits of one", kinds[k].what, world.size);
    drop(&split), drop(&all);
    free(keep);
}

/* One clip that all ranks share against the clip on rank 0: passes with and without a gradient, keys alone, sampling. */
static void shared(size_t k, int64_t B, reel_dtype dt)
{
    struct act a = { .policy = kinds[k].policy, .opts = kinds[k].opts, .B = B, .shard = world.size, .sp = world.size, .dt = dt,
                     .checkpointing = k % 2 == 0, .full_context = B > 1 };
    struct act split = rolled(a), all, sampled[2];
    float *keep = malloc(sizeof cot);
    double ok = 1;

    memcpy(keep, cot, sizeof cot);
    if (world.rank) memset(cot, 0, sizeof cot);
    a.sp = 0;
    all = rolled(a);
    memcpy(cot, keep, sizeof cot);
    for (int c = 0; c < CHUNKS; c++) ok *= equal(split.grad[c], all.grad[c], all.n_grad);
    ok *= equal(split.v, all.v, B * N) && (world.rank || equal(split.dx, all.dx, B * N));
    a.run = sample;
    sampled[0] = rolled(a);
    a.sp = world.size;
    sampled[1] = rolled(a);
    ok *= equal(sampled[0].v, sampled[1].v, B * N);
    reel_comm_sum(&world, &ok, 1);
    TAP_OK(ok == world.size, "%s, %s, %ld samples: %d sequence parallel ranks have the bits of one", reel_dtype_name(dt), kinds[k].what,
           (long)B, world.size);
    drop(&split), drop(&all), drop(&sampled[0]), drop(&sampled[1]);
    free(keep);
}

int main(int argc, char **argv)
{
    size_t n = sizeof kinds / sizeof *kinds;
    int bad;

    if (reel_comm_start(&world, &argc, &argv)) return 1;
    tap_quiet = world.rank != 0;
    inputs();
    for (size_t k = 0; k < n && world.size > 1; k++) {
        ranks(k);
        shared(k, 1, k % 2 ? REEL_BF16 : REEL_F32);
        shared(k, 2, REEL_F32);
    }
    if (world.size == 1) {
        masks();
        for (size_t k = 0; k < n; k++) {
            rollouts(k, REEL_F32);
            rollouts(k, REEL_BF16);
            batches(k);
            sampling(k);
        }
        parity();
        narrow();
        slopes();
    }
    bad = tap_done();
    reel_comm_stop();
    return bad;
}
