/* What must hold of a transformer whatever its numbers are: recomputing activations, batching, frames
 * of one timestep and interleaved passes change no bit; gradients are the slopes of the loss; bf16 stays
 * near f32; what planning counted is what a pass takes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "wan_rig.h"

static const char config[] = "{\"num_layers\": 2, \"num_attention_heads\": 2, \"attention_head_dim\": 16,"
                             " \"ffn_dim\": 72, \"text_dim\": 12, \"freq_dim\": 32}";
enum { T = 3, H = 8, W = 12, C = 16, N = T * C * H * W, L = 20, TEXT = 12, M = L * TEXT }; /* of one sample */
#define MAXB 2

static struct reel_comm world;

/* Inputs of up to MAXB samples, the same in every test. */
static float x[MAXB * N], text[MAXB * M], cot[MAXB * N], t_sample[MAXB] = { 833.25f, 41.875f }, t_frame[MAXB * T];

static void inputs(void)
{
    for (int i = 0; i < MAXB * N; i++) x[i] = (float)(4 * rig_u(900, i)), cot[i] = (float)rig_u(902, i);
    for (int i = 0; i < MAXB * M; i++) text[i] = (float)(4 * rig_u(901, i));
    for (int i = 0; i < MAXB * T; i++) t_frame[i] = t_sample[i / T];
}

static double weight(void *ctx, int i, int64_t k)
{
    return rig_fill_value(&((struct rig *)ctx)->m.def[i], i, k);
}

static void start(struct rig *r, int B, reel_dtype dt, int checkpointing, int per_frame)
{
    struct rig_shape shape = { .B = B, .T = T, .H = H, .W = W, .L = L, .per_frame = per_frame };

    REEL_BUG_IF(rig_open(r, &world, (struct reel_mesh_dims){ 1, 1, 1, 1, 1 }, config, dt, checkpointing, shape) != REEL_OK,
                "%s", reel_errrec()->msg);
    rig_fill(r, weight, r);
}

/* ---- a pass and all that comes out of it ---- */

struct result {
    float v[MAXB * N], dx[MAXB * N], dtext[MAXB * M];
    float *grad;
    int64_t n;
};

static void all_grads(struct rig *r, struct result *o)
{
    free(o->grad);
    o->grad = NULL;
    o->n = 0;
    for (int i = 0; i < r->m.n_def; i++) {
        int64_t n, first;
        float *g = rig_grad(r, i, &n, &first);

        o->grad = realloc(o->grad, (size_t)(o->n + n) * sizeof *g);
        memcpy(o->grad + o->n, g, (size_t)n * sizeof *g);
        o->n += n;
        free(g);
    }
}

/* samples b0.. of the inputs */
static void pass(struct rig *r, struct result *o, int b0)
{
    const float *t = r->shape.per_frame ? t_frame + b0 * T : t_sample + b0;

    rig_step(r, x + b0 * N, t, text + b0 * M, cot + b0 * N, o->v, o->dx, o->dtext);
    all_grads(r, o);
}

static int equal(const float *a, const float *b, int64_t n) { return !memcmp(a, b, (size_t)n * sizeof *a); }

static int equal_results(const struct result *a, const struct result *b, int B)
{
    return equal(a->v, b->v, B * N) && equal(a->dx, b->dx, B * N) && equal(a->dtext, b->dtext, B * M) &&
           equal(a->grad, b->grad, a->n);
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

static struct result plain, other, single[MAXB];

/* ---- properties ---- */

static void checkpointing(reel_dtype dt)
{
    struct rig r;

    start(&r, MAXB, dt, 0, 0);
    pass(&r, &other, 0);
    TAP_OK(r.act.peak == r.act.cap && r.mem.peak == r.mem.cap && r.scratch.peak == r.scratch.cap,
           "%s: a pass takes what planning counted, %zu bytes", reel_dtype_name(dt), r.act.cap);
    rig_close(&r);
    start(&r, MAXB, dt, 1, 0);
    pass(&r, &plain, 0);
    TAP_OK(equal_results(&plain, &other, MAXB), "%s: recomputing activations changes no bit", reel_dtype_name(dt));
    pass(&r, &other, 0);
    TAP_OK(equal_results(&plain, &other, MAXB), "%s: a second run has the same bits", reel_dtype_name(dt));
    rig_forward(&r, x, t_sample, text, other.v, NULL);
    TAP_OK(equal(plain.v, other.v, MAXB * N), "%s: so has a forward pass that keeps nothing", reel_dtype_name(dt));
    rig_close(&r);
}

/* plain holds the f32 run over both samples */
static void batches(void)
{
    struct rig r;
    float *sum;
    int ok = 1;

    start(&r, 1, REEL_F32, 1, 0);
    for (int b = 0; b < MAXB; b++) {
        pass(&r, &single[b], b);
        ok &= equal(single[b].v, plain.v + b * N, N) && equal(single[b].dx, plain.dx + b * N, N) &&
              equal(single[b].dtext, plain.dtext + b * M, M);
    }
    TAP_OK(ok, "samples of a batch do not see each other");
    sum = malloc((size_t)plain.n * sizeof *sum);
    for (int64_t i = 0; i < plain.n; i++) sum[i] = single[0].grad[i] + single[1].grad[i];
    TAP_OK(equal(sum, plain.grad, plain.n), "a batch's gradient is the sum of its samples', bit for bit");
    free(sum);
    rig_close(&r);
}

static void interleaved(void)
{
    struct rig r;
    struct reel_kept *k[2];
    float *v = malloc(sizeof plain.v);
    size_t more;

    start(&r, 1, REEL_F32, 1, 0);
    more = r.act.cap; /* two passes at once were not planned: room for them */
    reel_arena_close(&r.act, r.be);
    REEL_BUG_IF(reel_arena_open(&r.act, r.be, "acts", 4 * more) != REEL_OK, "no memory");
    r.io.dv = reel_new(&r.act, REEL_F32, r.io.dv.n, 5);
    reel_grads_zero(r.m.ps);
    for (int b = 0; b < 2; b++) { /* inputs must stay: each pass has its own */
        r.io.x = reel_new(&r.act, REEL_F32, r.io.x.n, 5);
        r.io.t = reel_new(&r.act, REEL_F32, r.io.t.n, 1);
        r.io.text = reel_new(&r.act, REEL_F32, r.io.text.n, 3);
        rig_forward(&r, x + b * N, t_sample + b, text + b * M, v, &k[b]);
    }
    rig_backward(&r, k[0], cot, NULL, NULL);
    rig_backward(&r, k[1], cot + N, NULL, NULL);
    all_grads(&r, &other);
    TAP_OK(equal(other.grad, plain.grad, plain.n), "two passes may be open at once");
    free(v);
    rig_close(&r);
}

static void frames(void)
{
    struct rig r;

    start(&r, MAXB, REEL_F32, 1, 1);
    pass(&r, &other, 0);
    TAP_OK(equal(other.v, plain.v, MAXB * N), "equal timesteps of all frames: the per-sample output, bit for bit");
    TAP_OK(equal(other.dx, plain.dx, MAXB * N), "and the same gradient of the latents");
    TAP_OK(distance(other.grad, plain.grad, plain.n) < 1e-6, "gradients differ by their order of sums, %.1e",
           distance(other.grad, plain.grad, plain.n));
    rig_close(&r);
}

/* A block rounds its stream and a dozen intermediates to 8 bits: 2^-9/sqrt(3) = 1.1e-3 each, about 30
 * of them in sequence, added as noise: 0.6% expected in v; the backward pass doubles the path. Three
 * times that is allowed. */
static void narrow(void)
{
    struct rig r;

    start(&r, MAXB, REEL_BF16, 1, 0);
    pass(&r, &other, 0);
    TAP_OK(distance(other.v, plain.v, MAXB * N) < 0.02, "bf16: output off by %.2g", distance(other.v, plain.v, MAXB * N));
    TAP_OK(distance(other.dx, plain.dx, MAXB * N) < 0.03, "bf16: gradient of the latents off by %.2g",
           distance(other.dx, plain.dx, MAXB * N));
    TAP_OK(distance(other.grad, plain.grad, plain.n) < 0.03, "bf16: gradients off by %.2g",
           distance(other.grad, plain.grad, plain.n));
    rig_close(&r);
}

/* ---- slopes ---- */

struct slope {
    struct rig *r;
    float *w, *p; /* the parameter, the direction (unit length) */
    int64_t n;
    reel_tensor view;
};

static double loss_at(struct slope *s, double h)
{
    float *w = malloc((size_t)s->n * sizeof *w);
    double loss = 0;

    for (int64_t i = 0; i < s->n; i++) w[i] = (float)((double)s->w[i] + h * (double)s->p[i]);
    reel_put(&s->r->s, s->view, w);
    rig_forward(s->r, x, t_sample, text, other.v, NULL);
    reel_arena_reset(&s->r->act, s->r->act.used - ((reel_bytes(s->r->io.v) + 255) & ~(size_t)255));
    for (int64_t i = 0; i < N; i++) loss += (double)other.v[i] * (double)cot[i];
    free(w);
    return loss;
}

/* fourth-order central difference */
static double slope(struct slope *s, double h)
{
    return (8 * (loss_at(s, h) - loss_at(s, -h)) - (loss_at(s, 2 * h) - loss_at(s, -2 * h))) / (12 * h);
}

/* Error in units of what is allowed: 0.2% of the gradient, and what the loss is known to (a sum of N f32
 * terms near 1: a few 1e-6) over h. h moves the loss by 4e-3, but the weight by a tenth of its length at most. */
static double slope_error(struct slope *s, const float *g, double norm)
{
    double along = 0, len = 0, h;

    for (int64_t i = 0; i < s->n; i++) {
        along += (double)g[i] * (double)s->p[i];
        len += (double)s->w[i] * (double)s->w[i];
    }
    h = fmin(4e-3 / norm, 0.1 * sqrt(len));
    return fabs(slope(s, h) - along) / (2e-3 * norm + 4e-6 / h);
}

static void directions(struct slope *s, const float *g, double norm, const char *name)
{
    double e[2];

    for (int64_t i = 0; i < s->n; i++) s->p[i] = (float)((double)g[i] / norm);
    e[0] = slope_error(s, g, norm);
    for (int64_t i = 0; i < s->n; i++) s->p[i] = (float)(rig_u(77, i) * sqrt(12.0 / (double)s->n));
    e[1] = slope_error(s, g, norm);
    TAP_OK(e[0] < 1 && e[1] < 1, "slope along the gradient and another direction: %s, %.2f, %.2f of the bound", name,
           e[0], e[1]);
}

static void slopes(void)
{
    struct rig r;

    start(&r, 1, REEL_F32, 1, 0);
    pass(&r, &single[0], 0);
    for (int i = 0; i < r.m.n_def; i++) {
        struct reel_shard sh = reel_param_shard(r.m.ps, i);
        struct slope s = { .r = &r, .view = sh.w, .n = reel_numel(sh.w) };
        int64_t n, first;
        float *g = rig_grad(&r, i, &n, &first);
        double norm = 0;

        s.w = malloc((size_t)n * sizeof *s.w);
        s.p = malloc((size_t)n * sizeof *s.p);
        reel_get(&r.s, s.w, sh.w);
        for (int64_t k = 0; k < n; k++) norm += (double)g[k] * (double)g[k];
        directions(&s, g, sqrt(norm), r.m.def[i].name);
        reel_put(&r.s, sh.w, s.w);
        free(g), free(s.w), free(s.p);
    }
    rig_close(&r);
}

int main(int argc, char **argv)
{
    int bad;

    if (reel_comm_start(&world, &argc, &argv)) return 1;
    inputs();
    checkpointing(REEL_BF16);
    checkpointing(REEL_F32);
    batches();
    interleaved();
    frames();
    narrow();
    slopes();
    free(plain.grad), free(other.grad), free(single[0].grad), free(single[1].grad);
    bad = tap_done();
    reel_comm_stop();
    return bad;
}
