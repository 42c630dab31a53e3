/* The Euler sampler against its sum in f64, with a network that is a formula. */
#include <math.h>
#include <stdlib.h>

#include "be/ops.h"
#include "models/sampler.h"
#include "nn/schedule.h"
#include "tap.h"

/* v(x, t, text) = 0.5 x + t/1000 + text[0], made of operators */
static reel_tensor linear_net(struct reel_model *m, struct reel_arena *a, const struct reel_model_in *in,
                              struct reel_kept **kept)
{
    reel_tensor v = reel_new(a, REEL_F32, in->x.n, in->x.nd);
    float t, c;

    (void)kept;
    reel_get(m->s, &t, reel_slice(in->t, 0, 1));
    reel_get(m->s, &c, reel_view(in->text.p, REEL_F32, REEL_DIMS(1)));
    reel_fill(m->s, v, (double)t / 1000 + (double)c);
    reel_axpby(m->s, v, 0.5, in->x, 1);
    return v;
}

static double euler(double x, int n, double shift, double guidance, double c, double u)
{
    for (int i = 0; i < n; i++) {
        double a = (double)(n - i) / n, b = (double)(n - i - 1) / n;
        double s = shift * a / (1 + (shift - 1) * a), e = shift * b / (1 + (shift - 1) * b);
        double vc = 0.5 * x + s + c, vu = 0.5 * x + s + u;
        x += (e - s) * (vu + guidance * (vc - vu));
    }
    return x;
}

int main(void)
{
    static const struct reel_model_ops ops = { .name = "formula", .fwd = linear_net };
    struct reel_arena a = { 0 }, step = { 0 }, scratch = { 0 };
    struct reel_backend *be;
    struct reel_stream s;
    struct reel_model m = { .ops = &ops, .s = &s };
    float x0 = 0.75f, out, c = 0.3f, u = -0.2f;

    if (reel_backend_open(&be, "cpu", 1) != REEL_OK) return 1;
    if (reel_arena_open(&a, be, "a", 1 << 16) || reel_arena_open(&step, be, "step", 1 << 16)) return 1;
    reel_stream_init(&s, be, 0, &scratch);
    reel_tensor x = reel_new(&a, REEL_F32, REEL_DIMS(1, 1, 1, 1, 1)), t = reel_new(&a, REEL_F32, REEL_DIMS(1));
    reel_tensor tc = reel_new(&a, REEL_F32, REEL_DIMS(1, 1, 1)), tu = reel_new(&a, REEL_F32, REEL_DIMS(1, 1, 1));
    reel_put(&s, tc, &c);
    reel_put(&s, tu, &u);
    for (int n = 1; n <= 50; n = n * 3 + 1)
        for (int g = 1; g <= 3; g += 2) {
            struct reel_sampler p = { .model = &m, .a = &step, .steps = n, .guidance = g, .shift = 3 };
            double want = euler((double)x0, n, 3, g, (double)c, (double)u);
            reel_put(&s, x, &x0);
            reel_sample_euler(&p, x, t, tc, tu);
            reel_get(&s, &out, x);
            TAP_OK(fabs((double)out - want) < 2e-6, "%d steps, guidance %d: %.7f, want %.7f", n, g, (double)out, want);
        }
    reel_arena_close(&a, be);
    reel_arena_close(&step, be);
    reel_backend_close(be);
    return tap_done();
}
