/* A linear layer with an adapter: against f64, central differences in A, B and x, frozen or not. */
#include <stdio.h>

#include "nn/nn.h"
#include "op_common.h"
#include "tap.h"

enum { B = 2, S = 45, K = 37, N = 29, R = 5, ROWS = B * S };

static struct ctx *c;
static struct reel_arena arena;

struct layer {
    struct reel_pass pass;
    struct reel_rows r;
    struct reel_lin l;
    reel_tensor x, y, dy, dx;
};

static struct layer layer_new(reel_dtype dt, double scale, int frozen)
{
    struct layer a = { .pass = { .s = &c->s, .a = &arena, .dt = dt }, .r = reel_rows_make(B, S, S) };

    a.x = t_rand(dt, REEL_DIMS(ROWS, K)), a.dy = t_rand(dt, REEL_DIMS(ROWS, N));
    a.y = t_new(dt, REEL_DIMS(ROWS, N)), a.dx = t_new(dt, REEL_DIMS(ROWS, K));
    a.l.w = t_rand(dt, REEL_DIMS(N, K)), a.l.b = t_rand(REEL_F32, REEL_DIMS(N));
    if (!frozen) a.l.dw = t_new(REEL_F32, REEL_DIMS(N, K)), a.l.db = t_new(REEL_F32, REEL_DIMS(N));
    a.l.lora = (struct reel_lora){ t_rand(dt, REEL_DIMS(R, K)), t_rand(dt, REEL_DIMS(N, R)), t_new(REEL_F32, REEL_DIMS(R, K)),
                                   t_new(REEL_F32, REEL_DIMS(N, R)), scale };
    return a;
}

static void forward(struct layer *a) { reel_lin_fwd(&a->pass, &a->l, a->y, a->x, a->r); }

static void backward(struct layer *a, int acc)
{
    reel_lin_bwd(&a->pass, &a->l, a->dx, acc, a->dy, a->x, a->r);
    reel_sync(&c->s);
}

static double at(reel_tensor t, int64_t row, int64_t col) { return t_get(t, row * t.n[1] + col); }

struct truth { double y[ROWS * N], dx[ROWS * K], da[R * K], db[N * R], dw[N * K]; };

/* W + scale B A */
static double whole(const struct reel_lin *l, int n, int k)
{
    double s = at(l->w, n, k);

    for (int q = 0; q < R; q++) s += l->lora.scale * at(l->lora.b, n, q) * at(l->lora.a, q, k);
    return s;
}

static struct truth *in_f64(const struct layer *a)
{
    struct truth *t = calloc(1, sizeof *t);
    static double w[N][K];

    for (int n = 0; n < N; n++)
        for (int k = 0; k < K; k++) w[n][k] = whole(&a->l, n, k);
    for (int m = 0; m < ROWS; m++)
        for (int n = 0; n < N; n++) {
            t->y[m * N + n] = t_get(a->l.b, n);
            for (int k = 0; k < K; k++) {
                t->y[m * N + n] += at(a->x, m, k) * w[n][k];
                t->dx[m * K + k] += at(a->dy, m, n) * w[n][k];
                t->dw[n * K + k] += at(a->dy, m, n) * at(a->x, m, k);
            }
        }
    for (int n = 0; n < N; n++) /* dA = scale B^T dW, dB = scale dW A^T */
        for (int k = 0; k < K; k++)
            for (int q = 0; q < R; q++) {
                t->da[q * K + k] += a->l.lora.scale * at(a->l.lora.b, n, q) * t->dw[n * K + k];
                t->db[n * R + q] += a->l.lora.scale * at(a->l.lora.a, q, k) * t->dw[n * K + k];
            }
    return t;
}

static void against_f64(reel_dtype dt, double scale, int frozen)
{
    struct layer a = layer_new(dt, scale, frozen);
    struct truth *t = in_f64(&a);
    double tol = dt == REEL_F32 ? 1e-5 : 5e-2, e[5];
    size_t mark = arena.used;

    forward(&a);
    backward(&a, 0);
    e[0] = t_error(a.y, t->y), e[1] = t_error(a.dx, t->dx), e[2] = t_error(a.l.lora.da, t->da);
    e[3] = t_error(a.l.lora.db, t->db), e[4] = frozen ? 0 : t_error(a.l.dw, t->dw);
    TAP_OK(e[0] < tol && e[1] < tol && e[2] < tol && e[3] < tol && e[4] < 1e-5 && arena.used == mark,
           "%s, scale %g, %s: y %.1e dx %.1e dA %.1e dB %.1e dW %.1e", reel_dtype_name(dt), scale,
           frozen ? "frozen" : "trained", e[0], e[1], e[2], e[3], e[4]);
    free(t);
}

/* dx may be x, and may be added to. */
static void in_place(void)
{
    struct layer a = layer_new(REEL_F32, 2, 1), b;
    reel_tensor dx, da, sum = t_rand(REEL_F32, REEL_DIMS(ROWS, K)), start = t_copy(sum);
    int bad = 0;

    backward(&a, 0);
    dx = t_copy(a.dx), da = t_copy(a.l.lora.da);
    b = a;
    b.dx = sum;
    backward(&b, 1);
    for (int64_t i = 0; i < ROWS * K; i++) bad += !(fabs(t_get(sum, i) - t_get(start, i) - t_get(dx, i)) < 1e-4);
    TAP_OK(!bad, "the gradient at x is added to");
    a.dx = a.x;
    backward(&a, 0);
    TAP_OK(t_same(a.dx, dx) && t_same(a.l.lora.da, da), "or takes the place of x");
}

/* y is linear in each of A, B and x: any step will do. */
static void differences(void)
{
    struct layer a = layer_new(REEL_F32, 0.5, 1);
    reel_tensor at_[3] = { a.l.lora.a, a.l.lora.b, a.x }, grad[3] = { a.l.lora.da, a.l.lora.db, a.dx };
    static const char *const name[] = { "A", "B", "x" };

    backward(&a, 0);
    for (int p = 0; p < 3; p++) {
        reel_tensor keep = t_copy(at_[p]), dir = t_rand(REEL_F32, keep.n, keep.nd);
        double num = 0, ana = 0;
        for (int64_t i = 0; i < reel_numel(dir); i++) ana += t_get(grad[p], i) * t_get(dir, i);
        for (int sign = 1; sign >= -1; sign -= 2) {
            for (int64_t i = 0; i < reel_numel(keep); i++) t_set(at_[p], i, t_get(keep, i) + sign * 0.5 * t_get(dir, i));
            forward(&a);
            for (int64_t i = 0; i < ROWS * N; i++) num += sign * t_get(a.y, i) * t_get(a.dy, i);
        }
        memcpy(at_[p].p, keep.p, reel_bytes(keep));
        TAP_OK(fabs(num - ana) < 2e-5 * (fabs(ana) + 1), "central difference in %s: %.7g, backward %.7g", name[p], num, ana);
    }
}

static void beginning(void)
{
    struct layer a = layer_new(REEL_F32, 2, 1);
    reel_tensor with;

    memset(a.l.lora.b.p, 0, reel_bytes(a.l.lora.b));
    forward(&a);
    with = t_copy(a.y);
    a.l.lora.a.nd = 0;
    forward(&a);
    TAP_OK(t_same(a.y, with), "with B = 0 the layer gives the bits of the one without an adapter");
}

int main(void)
{
    c = ctx_open(2, 64);
    if (reel_arena_open(&arena, c->be, "pass", 16 << 20)) return 1;
    for (int dt = REEL_F32; dt <= REEL_BF16; dt++)
        for (int k = 0; k < 4; k++) against_f64((reel_dtype)dt, k & 1 ? 1 : 2.5, k >> 1);
    in_place();
    differences();
    beginning();
    reel_arena_close(&arena, c->be);
    ctx_close(c);
    return tap_done();
}
