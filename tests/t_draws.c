/* named draws: replay, record, the order of latents; the reference loader's sample orders */
#include "base/rng.h"
#include "data/draws.h"
#include "data/order.h"
#include "data_util.h"
#include "kernels/scalar.h"

static struct reel_comm world;
static char test[32];
static struct reel_backend *be;
static struct reel_arena mem, extra;
static struct reel_stream s;

static void reference_orders(void)
{
    static const int64_t p10[] = { 4, 1, 7, 5, 3, 9, 0, 8, 6, 2 }, p5[] = { 0, 1, 3, 2, 4 },
        p23[] = { 6, 12, 2, 8, 13, 21, 4, 16, 18, 3, 19, 1, 22, 15, 14, 5, 20, 17, 7, 0, 9, 10, 11 };
    int64_t p[23];
    int ok;

    reel_order_randperm(0, 10, p), ok = !memcmp(p, p10, sizeof p10);
    reel_order_randperm(1234, 23, p), ok &= !memcmp(p, p23, sizeof p23);
    reel_order_randperm(8589934599u, 5, p), ok &= !memcmp(p, p5, sizeof p5);
    TAP_OK(ok, "randperm of three seeds (values of PyTorch 2)");
    TAP_OK(reel_order_random(0) == 0.8444218515250481 && reel_order_random(1) == 0.13436424411240122 &&
               reel_order_random(1234) == 0.9664535356921388 && reel_order_random(4294967301u) == 0.15727238718789782 &&
               reel_order_random(9223372036854775813u) == 0.3442386103531446,
           "random() of five seeds (values of Python 3)");
}

enum { B = 4, T = 3, C = 2, H = 2, W = 5, PER = T * C * H * W };

static struct reel_where mine(uint32_t step) /* this rank's share of four samples */
{
    return (struct reel_where){ .step = step, .b0 = world.rank * B / world.size, .nb = B / world.size, .b_global = B };
}

static void latent_order(void)
{
    struct reel_where w = mine(3);
    reel_tensor x = reel_view(mem.base, REEL_F32, REEL_DIMS(w.nb, T, C, H, W));
    float got[B * PER];
    uint64_t key = reel_rng_key(7, "prepare/noise");
    struct reel_draws *d;
    int bad = 0;

    if (reel_draws_open(&d, 7, NULL, 0, NULL, &world)) exit(99);
    reel_draw_normal(d, &s, x, "prepare/noise", w);
    reel_get(&s, got, x);
    for (int b = 0; b < w.nb; b++)
        for (int t = 0; t < T; t++)
            for (int c = 0; c < C; c++)
                for (int k = 0; k < H * W; k++)
                    bad += got[((b * T + t) * C + c) * H * W + k] !=
                           reel_normal(key, 3, 0, (uint32_t)(w.b0 + b), (uint64_t)((c * T + t) * H * W + k));
    TAP_OK(!bad, "a latent in model order [T,C,H,W] holds the draw of [C,T,H,W] (%d differ)", bad);
    reel_draws_close(d, &world);
}

struct seen { float x[B * PER], u[B], n[B * 3]; int64_t id[B], k[B * 2]; };

static void run(struct reel_draws *d, struct seen *v, float scale)
{
    struct reel_where w = mine(2);
    reel_tensor x = reel_view(mem.base, REEL_F32, REEL_DIMS(w.nb, T, C, H, W));

    memset(v, 0, sizeof *v);
    for (int i = 0; i < w.nb; i++) v->id[i] = (int64_t)((float)(w.b0 + i) * scale);
    reel_draw_given(d, v->id, 1, "data/sample", w);
    reel_draw_normal(d, &s, x, "prepare/noise", w);
    reel_get(&s, v->x, x);
    reel_draw_uniform(d, v->u, 1, "prepare/timestep", w);
    reel_draw_normal_host(d, v->n, 3, "odd", w);
    w.b0 = 0, w.nb = 1;
    reel_draw_range(d, v->k, 2, 20, 28, "student/rollout/step", w); /* the first sample's, for all */
}

static void replay(void)
{
    const char *path = strdup(scratch(test, "record.safetensors"));
    struct reel_draws *d;
    struct reel_st *st;
    const struct reel_st_entry *e;
    struct seen a, b, c;
    int64_t k[2 * B];
    int inside = 1;
    reel_err err = reel_draws_open(&d, 7, NULL, 0, path, &world);

    run(d, &a, 3);
    err = reel_draws_close(d, &world);
    TAP_OK(!err, "recorded on %d ranks %s", world.size, reel_errrec()->msg);
    err = reel_draws_open(&d, 8, path, 1, NULL, &world);
    run(d, &b, 0);
    TAP_OK(!err && !reel_draws_status(d) && !memcmp(&a, &b, sizeof a), "a recorded run replays to the same bits under another seed");
    TAP_OK(!reel_draws_close(d, &world), "every tensor was asked for %s", reel_errrec()->msg);
    reel_draws_open(&d, 8, NULL, 0, NULL, &world);
    run(d, &c, 3);
    TAP_OK(memcmp(&a, &c, sizeof a) != 0, "another seed draws other values");
    reel_draws_close(d, &world);
    if (reel_st_open(&st, path)) exit(99);
    e = reel_st_find(st, "prepare/noise:2:0");
    TAP_OK(reel_st_count(st) == 5 && e && e->nd == 5 && e->n[0] == B && e->n[1] == C && e->n[2] == T, "the file holds [B,C,T,H,W]");
    e = reel_st_find(st, "student/rollout/step:2:0");
    TAP_OK(e && e->nd == 2 && e->n[0] == B && e->n[1] == 2 && e->dt == REEL_I64, "rows nobody drew are filled in");
    for (int i = reel_st_read(st, e, 0, sizeof k, k); i < 2 * B; i++) inside &= k[i] >= 20 && k[i] <= 28;
    TAP_OK(inside, "with integers of the range that is drawn from");
    reel_st_close(st);
}

/* The draw of this rank's samples, `each` frames at a time: [nb,T,C,H,W]. */
static void by_frames(struct reel_draws *d, float *v, int each)
{
    struct reel_where w = mine(4);
    float part[B * PER];

    for (int lo = 0; lo < T; lo += each) {
        int n = each < T - lo ? each : T - lo, run = n * C * H * W;
        reel_tensor x = reel_view(mem.base, REEL_F32, REEL_DIMS(w.nb, n, C, H, W));
        reel_draw_frames(d, &s, x, lo, T, "validation/noise/1", w);
        reel_get(&s, part, x);
        for (int b = 0; b < w.nb; b++) memcpy(v + b * PER + lo * C * H * W, part + b * run, (size_t)run * sizeof *part);
    }
}

static void ranges(void)
{
    const char *path = strdup(scratch(test, "frames.safetensors"));
    struct reel_where w = mine(4);
    size_t bytes = (size_t)(w.nb * PER) * sizeof(float);
    float whole[B * PER], v[B * PER];
    struct reel_draws *d;
    int same = 1;

    if (reel_draws_open(&d, 7, NULL, 0, path, &world)) exit(99);
    for (int each = 1; each <= T; each++) by_frames(d, v, each), same &= each == 1 || !memcmp(v, whole, bytes), memcpy(whole, v, bytes);
    reel_draw_normal(d, &s, reel_view(mem.base, REEL_F32, REEL_DIMS(w.nb, T, C, H, W)), "validation/noise/1", w);
    reel_get(&s, v, reel_view(mem.base, REEL_F32, REEL_DIMS(w.nb, T, C, H, W)));
    TAP_OK(same && !memcmp(v, whole, bytes), "frames 1, 2 or %d at a time are those of the whole draw", T);
    reel_draws_close(d, &world);
    if (reel_draws_open(&d, 7, NULL, 0, path, &world)) exit(99);
    by_frames(d, v, 2);
    TAP_OK(!reel_draws_close(d, &world), "recorded by frames %s", reel_errrec()->msg);
    if (reel_draws_open(&d, 8, path, 1, NULL, &world)) exit(99);
    for (int each = 1; each <= T; each++) by_frames(d, v, each), same &= !memcmp(v, whole, bytes);
    TAP_OK(same && !reel_draws_status(d), "the record holds the whole draw and replays by frames");
    TAP_OK(!reel_draws_close(d, &world), "every tensor was asked for %s", reel_errrec()->msg);
}

static void failures(void)
{
    const char *path = strdup(scratch(test, "record.safetensors"));
    struct reel_draws *d;
    float u[2 * B];
    int64_t k[2 * B];
    reel_err e;

    e = reel_draws_open(&d, 7, path, 1, NULL, &world);
    reel_draw_uniform(d, u, 1, "prepare/timestep", mine(9));
    TAP_OK(!e && reel_draws_status(d) == REEL_EDATA && strstr(reel_errrec()->msg, "no tensor prepare/timestep:9:0") && u[0] == 0,
           "strict: %s", reel_errrec()->msg);
    reel_draws_close(d, &world), reel_err_clear();
    reel_draws_open(&d, 7, path, 0, NULL, &world);
    reel_draw_uniform(d, u, 2, "prepare/timestep", mine(2));
    TAP_OK(reel_draws_status(d) == REEL_EDATA && strstr(reel_errrec()->msg, "the run draws 2 for each of 4"), "shape: %s", reel_errrec()->msg);
    reel_draws_close(d, &world), reel_err_clear();
    reel_draws_open(&d, 7, path, 0, NULL, &world);
    reel_draw_range(d, k, 1, 0, 8, "prepare/timestep", mine(2));
    TAP_OK(reel_draws_status(d) == REEL_EDATA && strstr(reel_errrec()->msg, "is F32; this draw is I64"), "type: %s", reel_errrec()->msg);
    reel_draws_close(d, &world), reel_err_clear();
    reel_draws_open(&d, 7, path, 0, NULL, &world);
    reel_draw_range(d, k, 2, 21, 40, "student/rollout/step", (struct reel_where){ .step = 2, .nb = B, .b_global = B });
    reel_draw_range(d, k, 2, 0, 8, "student/rollout/step", (struct reel_where){ .step = 2, .nb = B, .b_global = B });
    TAP_OK(reel_draws_status(d) == REEL_EDATA && strstr(reel_errrec()->msg, "it must be in "), "range: %s", reel_errrec()->msg);
    reel_draws_close(d, &world), reel_err_clear();
    reel_draws_open(&d, 7, path, 0, NULL, &world);
    reel_draw_uniform(d, u, 1, "prepare/timestep", mine(2));
    e = reel_draws_close(d, &world);
    TAP_OK(e == REEL_EDATA && strstr(reel_errrec()->msg, "4 tensors belong to no draw of this run"), "left over: %s", reel_errrec()->msg);
    reel_err_clear();
    e = reel_draws_open(&d, 7, scratch(test, "none"), 0, NULL, &world);
    TAP_OK(e == REEL_EIO && strstr(reel_errrec()->msg, "none"), "missing: %s", reel_errrec()->msg);
    reel_err_clear();
}

int main(int argc, char **argv)
{
    if (reel_comm_start(&world, &argc, &argv)) return 1;
    tap_quiet = world.rank != 0;
    snprintf(test, sizeof test, "t_draws_np%d", world.size);
    if (reel_backend_open(&be, "cpu", 1) || reel_arena_open(&mem, be, "mem", 1 << 20) || reel_arena_open(&extra, be, "scratch", 1 << 20)) return 1;
    reel_stream_init(&s, be, 0, &extra);
    if (world.size == 1) reference_orders();
    latent_order();
    replay();
    ranges();
    failures();
    reel_comm_barrier(&world);
    if (world.rank == 0) reel_rmtree(scratch(test, ""));
    reel_comm_stop();
    return tap_done();
}
