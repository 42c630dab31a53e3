/* Forward and backward of a Wan transformer on the ranks of mpiexec: sequence parallel against sharded alone.
 *
 *   mpiexec -n N b_sp [rounds] [T,H,W]
 *
 * Both layouts shard their parameters over all ranks; shard: a sample a rank, sp: one sample cut over all of them. Steps of the
 * two take turns. Prints the median seconds a sample of each, their ratio, and received bytes a sample against the least. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "tests/wan_rig.h"

#define HEADS  8
#define WIDTH  64
#define LAYERS 3
#define ROUNDS 64
enum { L = 64, TEXT = 32 };

static const char config[] = "{\"num_layers\": 3, \"num_attention_heads\": 8, \"attention_head_dim\": 64, \"ffn_dim\": 2048,"
                             " \"text_dim\": 32, \"freq_dim\": 64}";

static struct reel_comm world;

static double weight(void *ctx, int i, int64_t k)
{
    return rig_fill_value(&((struct rig *)ctx)->m.def[i], i, k);
}

static float *values(int64_t n, int64_t tensor)
{
    float *v = malloc((size_t)n * sizeof *v);

    for (int64_t i = 0; i < n; i++) v[i] = (float)(4 * rig_u(tensor, i));
    return v;
}

static int order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double step(struct rig *r, const float *x, const float *text, const float *cot)
{
    static const float t = 700;
    double began;

    reel_comm_barrier(&world);
    began = bench_now();
    rig_step(r, x, &t, text, cot, NULL, NULL, NULL);
    reel_comm_barrier(&world);
    return bench_now() - began;
}

int main(int argc, char **argv)
{
    struct rig_shape shape = { .B = 1, .T = 4, .H = 32, .W = 32, .L = L };
    struct rig r[2];
    double at[2][ROUNDS], bytes;
    int rounds;

    if (reel_comm_start(&world, &argc, &argv)) return 1;
    rounds = argc > 1 ? atoi(argv[1]) : 5;
    if (rounds > ROUNDS) rounds = ROUNDS;
    if (argc > 2 && sscanf(argv[2], "%" SCNd64 ",%" SCNd64 ",%" SCNd64, &shape.T, &shape.H, &shape.W) != 3) return 1;
    int64_t S = shape.T * shape.H / 2 * shape.W / 2, n = shape.T * 16 * shape.H * shape.W;
    float *x = values(n, 1), *text = values(L * TEXT, 2), *cot = values(n, 3);
    for (int i = 0; i < 2; i++) {
        struct reel_mesh_dims d = { world.size, 1, world.size, i ? world.size : 1, 1 };
        if (rig_open(&r[i], &world, d, config, REEL_F32, 0, shape) != REEL_OK) return 1;
        rig_fill(&r[i], weight, &r[i]);
        step(&r[i], x, text, cot);
    }
    memset(r[1].mesh.bytes, 0, sizeof r[1].mesh.bytes);
    for (int k = 0; k < rounds; k++)
        for (int i = 0; i < 2; i++) at[i][k] = step(&r[i], x, text, cot) / (i ? 1 : world.size);
    for (int i = 0; i < 2; i++) qsort(at[i], (size_t)rounds, sizeof **at, order);
    bytes = r[1].mesh.bytes[REEL_AXIS_SP][REEL_COLL_ALLTOALL] / rounds;
    if (world.rank == 0) {
        /* eight exchanges a block: q, k, v, o and their gradients; of a rank's tokens the heads of the others */
        double D = HEADS * WIDTH, P = world.size, least = LAYERS * 8 * (double)S / P * D / P * (P - 1) * 4;
        printf("%s, %d ranks, %ld tokens, width %d, %d blocks, f32\n", bench_processor(), world.size, (long)S, HEADS * WIDTH, LAYERS);
        printf("shard %d: %.4f s a sample; sp %d: %.4f s, %.2f times as long\n", world.size, at[0][rounds / 2], world.size,
               at[1][rounds / 2], at[1][rounds / 2] / at[0][rounds / 2]);
        printf("sp: %.3f MiB of exchanges received a sample, %.3f of the least\n", bytes / 1048576, bytes / least);
        printf("activations: shard %.1f MiB, sp %.1f MiB\n", (double)r[0].act.peak / 1048576, (double)r[1].act.peak / 1048576);
    }
    rig_close(&r[0]), rig_close(&r[1]);
    free(x), free(text), free(cot);
    reel_comm_stop();
    return 0;
}
