/* One training step of the Wan transformer in DIR/transformer: forward, backward, AdamW.
 *
 *   b_step DIR [f32|bf16] [threads] [steps] [T,H,W]
 *
 * The inputs are those of bench/step_torch.py by formula, so the first loss must be the same. Prints
 * medians in seconds, model FLOP/s over the machine's GEMM peak, the arenas and the peak memory; then as many steps with
 * training.reproducibility resume between as many with layout, and the ratio of their processor times. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "be/ops.h"
#include "ckpt/hf.h"
#include "optim/optim.h"
#include "train/profile.h"

extern const struct reel_model_ops reel_model_wan;

struct bench {
    struct reel_comm world;
    struct reel_mesh mesh;
    struct reel_backend *be;
    struct reel_stream s;
    struct reel_model m;
    struct reel_optim opt;
    struct reel_arena params, optim, work, step, io, scratch;
    reel_tensor x0, eps, noisy, dv, sum, text, t, sigma;
    int64_t shape[5];
    double loss;
};

static float fill(uint32_t n, uint32_t i)
{
    uint32_t z = i * 2654435761u + n * 2246822519u + 374761393u;

    z ^= z >> 15;
    z *= 2246822519u;
    z ^= z >> 13;
    z *= 3266489917u;
    z ^= z >> 16;
    return (float)((double)z / 4294967296.0 - 0.5);
}

static void put_filled(struct bench *b, reel_tensor dst, uint32_t n, int64_t count, float scale)
{
    int64_t all = reel_numel(dst);
    float *host = calloc((size_t)all, sizeof *host);

    for (int64_t i = 0; i < count; i++) host[i] = scale * fill(n, (uint32_t)i);
    reel_put(&b->s, dst, host);
    free(host);
}

/* [1,C,T,H,W] by formula, stored [1,T,C,H,W] */
static void put_latent(struct bench *b, reel_tensor dst, uint32_t n)
{
    const int64_t *d = b->shape;
    int64_t hw = d[3] * d[4];
    float *host = malloc(reel_bytes(dst));

    for (int64_t t = 0; t < d[1]; t++)
        for (int64_t c = 0; c < d[2]; c++)
            for (int64_t i = 0; i < hw; i++)
                host[(t * d[2] + c) * hw + i] = 4 * fill(n, (uint32_t)((c * d[1] + t) * hw + i));
    reel_put(&b->s, dst, host);
    free(host);
}

static void lay_out(struct bench *b)
{
    struct reel_params_cfg pc = { .role = "student", .def = b->m.def, .n = b->m.n_def, .n_units = b->m.n_units,
                                  .compute = b->m.compute, .trainable = 1, .naming = b->m.ops->naming,
                                  .pieces = reel_head_pieces(b->m.heads) };

    if (reel_params_open(&b->m.ps, &pc, &b->mesh, &b->s, &b->params, &b->optim, &b->work) != REEL_OK) exit(1);
    b->x0 = reel_new(&b->io, REEL_F32, b->shape, 5);
    b->eps = reel_new(&b->io, REEL_F32, b->shape, 5);
    b->noisy = reel_new(&b->io, REEL_F32, b->shape, 5);
    b->dv = reel_new(&b->io, REEL_F32, b->shape, 5);
    b->sum = reel_new(&b->io, REEL_F64, REEL_DIMS(1, b->shape[1]));
    b->text = reel_new(&b->io, REEL_F32, REEL_DIMS(1, b->m.text_len, b->m.text_dim));
    b->t = reel_new(&b->io, REEL_F32, REEL_DIMS(1));
    b->sigma = reel_new(&b->io, REEL_F32, REEL_DIMS(1));
}

static void step(struct bench *b, double lap[4])
{
    struct reel_model_in in = { .x = b->noisy, .t = b->t, .text = b->text };
    struct reel_kept *kept;
    reel_tensor none = { 0 }, v;
    double n = (double)reel_numel(b->x0), at = reel_now(), sum[64];

    reel_arena_reset(&b->step, 0);
    reel_grads_zero(b->m.ps);
    v = b->m.ops->fwd(&b->m, &b->step, &in, &kept);
    reel_flow_loss(&b->s, b->dv, b->sum, v, b->x0, b->eps, b->noisy, b->sigma, none, 1 / n, 0);
    reel_sync(&b->s);
    lap[0] = reel_now() - at;
    b->m.ops->bwd(&b->m, &b->step, kept, b->dv, none, none);
    reel_grads_finish(b->m.ps);
    reel_sync(&b->s);
    lap[1] = reel_now() - at - lap[0];
    reel_optim_step(&b->opt, &b->s);
    reel_sync(&b->s);
    lap[2] = reel_now() - at - lap[0] - lap[1];
    lap[3] = reel_now() - at;
    if (b->s.planning) return;
    reel_get(&b->s, sum, b->sum);
    b->loss = 0;
    for (int64_t i = 0; i < b->shape[1]; i++) b->loss += sum[i] / n;
}

static int order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Sums in canonical pieces, or as long as they come. */
static void reproducible(struct bench *b, int layout)
{
    struct reel_params_cfg *c = (struct reel_params_cfg *)(uintptr_t)reel_params_cfg(b->m.ps);

    b->m.one_run = !layout;
    c->pieces = layout ? reel_head_pieces(b->m.heads) : 1;
}

static double processor_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void compare(struct bench *b, int steps)
{
    double best[2] = { 1e300, 1e300 }, lap[4];

    for (int i = 0; i < 2 * steps; i++) {
        double t = processor_s();
        reproducible(b, i % 2);
        step(b, lap);
        t = processor_s() - t;
        if (t < best[i % 2]) best[i % 2] = t;
    }
    printf("processor time of a step, the best of %d: layout %.3f s, resume %.3f s, ratio %.3f\n", steps, best[1], best[0], best[1] / best[0]);
}

static void setup(struct bench *b, const char *dir)
{
    struct reel_arena *a[] = { &b->params, &b->optim, &b->work, &b->step, &b->io, &b->scratch };
    static const char *const name[] = { "params", "optim", "work", "step", "batch", "scratch" };
    struct reel_hf_source src = { .init_from = dir };
    char *json;
    double lap[4];
    float level = 750, sigma = 0.75f;

    for (int i = 0; i < 6; i++) a[i]->name = name[i];
    reel_stream_init(&b->s, b->be, 1, &b->scratch);
    if (reel_hf_read_config(&src, &b->world, &json, NULL) != REEL_OK) exit(1);
    b->m.ops = &reel_model_wan;
    b->m.role = "student";
    b->m.s = &b->s;
    b->m.mem = &b->io;
    b->m.trainable = 1;
    b->m.gscale = 1;
    b->m.priv = calloc(1, b->m.ops->priv_size);
    if (b->m.ops->init(&b->m, json, dir) != REEL_OK) exit(1);
    b->shape[2] = b->m.channels;
    b->opt = (struct reel_optim){ .model = &b->m, .lr = { .lr0 = 1e-5, .horizon = 100 }, .beta1 = 0.9, .beta2 = 0.999,
                                  .eps = 1e-8, .weight_decay = 0.01 };
    lay_out(b);
    for (int k = 1; k >= 0; k--) {
        reproducible(b, !k);
        step(b, lap);
    }
    for (int i = 0; i < 6; i++)
        if (a[i]->peak && reel_arena_open(a[i], b->be, name[i], a[i]->peak) != REEL_OK) exit(1);
    reel_params_close(b->m.ps);
    reel_stream_init(&b->s, b->be, 0, &b->scratch);
    lay_out(b);
    if (reel_hf_load(&src, b->m.ps, &b->s, &b->world) != REEL_OK) exit(1);
    put_latent(b, b->x0, 1);
    put_latent(b, b->eps, 2);
    put_filled(b, b->text, 3, 64 * b->m.text_dim, 4);
    reel_put(&b->s, b->t, &level);
    reel_put(&b->s, b->sigma, &sigma);
    reel_noise_mix(&b->s, b->noisy, b->x0, b->eps, b->sigma);
    b->opt.k = 0;
}

int main(int argc, char **argv)
{
    static struct bench b;
    int bf16 = argc > 2 && !strcmp(argv[2], "bf16"), threads = argc > 3 ? atoi(argv[3]) : 0;
    int steps = argc > 4 ? atoi(argv[4]) : 3;
    double lap[4], col[4][100], first = 0;
    long T = 3, H = 52, W = 50;
    struct rusage ru;

    if (argc < 2 || steps < 1 || steps > 100) return fprintf(stderr, "usage: b_step DIR [f32|bf16] [threads] [steps] [T,H,W]\n"), 2;
    if (argc > 5 && sscanf(argv[5], "%ld,%ld,%ld", &T, &H, &W) != 3) return 2;
    if (reel_comm_start(&b.world, &argc, &argv) != REEL_OK) return 1;
    memcpy(b.shape, (int64_t[]){ 1, T, 16, H, W }, sizeof b.shape);
    b.m.compute = bf16 ? REEL_BF16 : REEL_F32;
    if (reel_mesh_open(&b.mesh, &b.world, &(struct reel_mesh_dims){ 1, 1, 1, 1, 1 }) != REEL_OK) return 1;
    if (reel_backend_open(&b.be, "cpu", threads) != REEL_OK) return 1;
    reel_backend_pin(b.be);
    setup(&b, argv[1]);
    b.s.flops = 0;
    for (int i = 0; i < steps; i++) {
        step(&b, lap);
        if (i == 0) first = b.loss;
        for (int k = 0; k < 4; k++) col[k][i] = lap[k];
    }
    for (int k = 0; k < 4; k++) qsort(col[k] + (steps > 1), (size_t)(steps - (steps > 1)), sizeof(double), order);
    for (int k = 0; k < 4; k++) lap[k] = col[k][(steps > 1) + (steps - (steps > 1)) / 2];
    getrusage(RUSAGE_SELF, &ru);
    printf("reel %s %s fwd %.3f bwd %.3f adamw %.3f step %.3f s  loss %.6f  peak %.2f GiB  %.1f GFLOP/s\n",
           reel_backend_describe(b.be), bf16 ? "bf16" : "f32", lap[0], lap[1], lap[2], lap[3], first,
           (double)ru.ru_maxrss / 1048576, b.s.flops / steps / (lap[0] + lap[1]) * 1e-9);
    compare(&b, steps);
    reel_comm_stop();
    return 0;
}
