/* the loader: who gets which sample, dropout, padding and order of axes, sharing in SP and TP groups,
 * reading ahead, replay, the reference loader's order, a read error on one rank */
#include <math.h>

#include "base/rng.h"
#include "data/loader.h"
#include "data/order.h"
#include "data_util.h"

static struct reel_comm world;
static char test[32];

enum { N = 13, C = 3, T = 5, H = 2, W = 4, D = 6, PER = C * T * H * W, L = 4, TAKE = 3, SEED = 21, ROUNDS = 2, BATCH = 2 };

static float value(int64_t i, int64_t j) { return (float)(i * 1000 + j); }
static int rows_of(int64_t i) { return (int)(i % 6); } /* up to 5: longer than L is cut */

static void make_set(const char *path)
{
    static const float mean[C] = { 1, 2, 3 }, std[C] = { 4, 5, 6 };
    float neg[2 * D];
    struct reel_set_desc d = { .kind = "t2v", .channels = C, .frames = T, .height = H, .width = W, .text_dim = D, .pad_to = L,
        .dtype = REEL_F32, .mean = mean, .std = std, .family = "test", .negative = neg, .negative_rows = 2, .have_negative = 1 };
    struct reel_set_writer *w;

    for (int i = 0; i < 2 * D; i++) neg[i] = (float)-i - 1;
    if (reel_set_create(&w, path, &d, &world)) exit(99);
    for (int64_t i = world.rank; i < N; i += world.size) {
        float x[PER], t[5 * D];
        struct reel_set_sample s = { .key = i, .latent = x, .text = t, .rows = rows_of(i) };
        for (int j = 0; j < PER; j++) x[j] = value(i, j);
        for (int j = 0; j < 5 * D; j++) t[j] = value(i, 500 + j);
        reel_set_add(w, &s);
    }
    if (reel_set_commit(w, REEL_OK, NULL)) exit(99);
}

static struct reel_loader_cfg config(void)
{
    return (struct reel_loader_cfg){ .seed = SEED, .batch = BATCH, .rounds = ROUNDS, .latents = 1, .num_latent_t = TAKE,
        .height = H, .width = W, .channels = C, .text_len = L, .text_dim = D };
}

/* The oracle: values of one sample as the batch must hold them. */
static int wrong(const struct reel_host_batch *b, int j, int64_t id, const float *instead, int instead_rows)
{
    int bad = b->id[j] != id;

    for (int t = 0; t < TAKE; t++)
        for (int c = 0; c < C; c++)
            for (int k = 0; k < H * W; k++)
                bad += b->x[((j * TAKE + t) * C + c) * H * W + k] != value(id, (c * T + t) * H * W + k);
    for (int r = 0; r < L; r++)
        for (int k = 0; k < D; k++) {
            float want = instead_rows < 0 ? (r < rows_of(id) ? value(id, 500 + r * D + k) : 0) : r < instead_rows ? instead[r * D + k] : 0;
            bad += b->text[(j * L + r) * D + k] != want;
        }
    return bad;
}

/* Position p of the run by the formulas of the specification. */
static int64_t sample_at(int64_t p, int64_t Bg)
{
    int64_t usable = N / Bg * Bg;

    return reel_order_sample(SEED, (uint32_t)(p / usable), N, p % usable);
}

static void order(struct reel_set *set, struct reel_mesh *mesh, int ahead)
{
    struct reel_loader_cfg cfg = config();
    int64_t Bg = BATCH * mesh->dp_size;
    struct reel_loader *l;
    int bad = 0, rows;
    const float *neg = reel_set_negative(set, &rows);
    uint64_t key = reel_rng_key(SEED, "data/cfg_dropout");
    int dropped = 0;

    cfg.cfg_rate = 0.4, cfg.dropout = REEL_DROP_NEGATIVE;
    if (reel_loader_open(&l, set, &cfg, NULL, mesh)) exit(99);
    if (ahead) reel_loader_prefetch(l, 1, 0);
    for (int k = 0; k < 20; k++) {
        long step = k / ROUNDS + 1;
        struct reel_host_batch b;
        if (reel_loader_take(l, step, k % ROUNDS, &b)) exit(99);
        if (ahead) reel_loader_prefetch(l, (k + 1) / ROUNDS + 1, (k + 1) % ROUNDS);
        for (int j = 0; j < BATCH; j++) {
            int64_t at = mesh->dp_rank * BATCH + j;
            int drop = reel_rng_uniform(reel_rng_word(key, (uint32_t)step, (uint32_t)(k % ROUNDS), (uint32_t)at, 0)) < 0.4f;
            bad += wrong(&b, j, sample_at(k * Bg + at, Bg), neg, drop ? rows : -1);
            dropped += drop;
        }
        if (ahead && reel_loader_status(l)) exit(99);
    }
    TAP_OK(!bad && dropped > 5 && dropped < 35, "sp %d tp %d dp %d, %s: 20 micro-batches over epochs (%d values differ, %d texts dropped)",
           mesh->dims.sp, mesh->dims.tp, mesh->dp_size, ahead ? "read ahead" : "read on demand", bad, dropped);
    reel_loader_close(l);
}

static void parity(struct reel_set *set, struct reel_mesh *mesh)
{
    struct reel_loader_cfg cfg = config();
    int G = mesh->dp_size;
    int64_t perm[N], per_group = N / BATCH / G;
    struct reel_loader *l;
    int bad = 0;

    cfg.parity = 1, cfg.cfg_rate = 0.4;
    reel_order_randperm(SEED, N, perm);
    if (reel_loader_open(&l, set, &cfg, NULL, mesh)) exit(99);
    TAP_OK(reel_loader_batches(l) == per_group, "parity: %d batches an epoch, the rest is dropped", (int)per_group);
    for (int64_t k = 0; k < 2 * per_group; k++) {
        struct reel_host_batch b;
        if (reel_loader_take(l, k / ROUNDS + 1, (int)(k % ROUNDS), &b)) exit(99);
        for (int j = 0; j < BATCH; j++) {
            int64_t id = perm[mesh->dp_rank + G * (k % per_group * BATCH + j)];
            bad += wrong(&b, j, id, NULL, reel_order_random(SEED ^ (uint64_t)id) < 0.4 ? 0 : -1);
        }
    }
    TAP_OK(!bad, "parity: the same order every epoch, the same texts dropped");
    reel_loader_close(l);
}

static void replayed(struct reel_set *set, struct reel_mesh *mesh)
{
    int64_t Bg = BATCH * mesh->dp_size, ids[64], bad_ids[64];
    float u[64];
    struct reel_st_item it[2] = { { .name = "data/sample:1:0", .dt = REEL_I64, .nd = 1, .n = { Bg }, .data = ids },
                                  { .name = "data/cfg_dropout:1:0", .dt = REEL_F32, .nd = 1, .n = { Bg }, .data = u } };
    struct reel_loader_cfg cfg = config();
    const char *path = strdup(scratch(test, "replay.safetensors"));
    struct reel_draws *d;
    struct reel_loader *l;
    struct reel_host_batch b;
    int bad = 0;
    reel_err e;

    for (int i = 0; i < Bg; i++) ids[i] = (7 * i + 3) % N, u[i] = i % 2 ? 0.05f : 0.9f, bad_ids[i] = N + i;
    if (world.rank == 0 && reel_st_write(path, it, 2, NULL, 0, NULL, NULL)) exit(99);
    reel_comm_barrier(&world);
    cfg.cfg_rate = 0.1;
    if (reel_draws_open(&d, SEED, path, 0, NULL, &world) || reel_loader_open(&l, set, &cfg, d, mesh)) exit(99);
    if (reel_loader_take(l, 1, 0, &b)) exit(99);
    for (int j = 0; j < BATCH; j++) bad += wrong(&b, j, ids[mesh->dp_rank * BATCH + j], NULL, (mesh->dp_rank * BATCH + j) % 2 ? 0 : -1);
    reel_loader_close(l);
    TAP_OK(!bad && !reel_draws_close(d, &world), "a replay file overrules samples and dropout %s", reel_errrec()->msg);
    it[0].data = bad_ids;
    if (world.rank == 0 && reel_st_write(path, it, 1, NULL, 0, NULL, NULL)) exit(99);
    reel_comm_barrier(&world);
    if (reel_draws_open(&d, SEED, path, 0, NULL, &world) || reel_loader_open(&l, set, &cfg, d, mesh)) exit(99);
    e = reel_agree(&world, reel_loader_take(l, 1, 0, &b));
    TAP_OK(e == REEL_EDATA && strstr(reel_errrec()->msg, "asks for sample 13; the set has 13"), "%s", reel_errrec()->msg);
    reel_err_clear();
    reel_loader_close(l);
    reel_draws_close(d, &world);
}

static void refused(struct reel_set *set, struct reel_mesh *mesh, struct reel_loader_cfg cfg, const char *words)
{
    struct reel_loader *l;
    reel_err e = reel_loader_open(&l, set, &cfg, NULL, mesh);

    TAP_OK(e == REEL_ECONFIG && !l && strstr(reel_errrec()->msg, words), "%s", reel_errrec()->msg);
    reel_err_clear();
}

static void judged(struct reel_set *set, struct reel_mesh *mesh)
{
    struct reel_loader_cfg c = config();

    c.num_latent_t = 6, refused(set, mesh, c, "num_latent_t is 6; the data set has 5 latent frames");
    c = config(), c.height = 60, refused(set, mesh, c, "num_height: the run needs latent height (pixels/8) 60, the data set has 2");
    c = config(), c.text_dim = 4096, refused(set, mesh, c, "text_dim");
    c = config(), c.batch = 100, refused(set, mesh, c, "the data set has 13 samples, but one micro-batch");
    c = config(), c.cfg_rate = 0.1, c.dropout = REEL_DROP_EMPTY, refused(set, mesh, c, "does not hold the empty prompt");
}

/* The last data-parallel group's reader fails at its third sample: everyone learns its words. */
static void fault(struct reel_set *set, struct reel_mesh *mesh)
{
    struct reel_loader_cfg cfg = config();
    int reader = world.size - mesh->dims.sp * mesh->dims.tp;
    char spec[40];
    struct reel_loader *l;
    struct reel_host_batch b;
    reel_err e;

    snprintf(spec, sizeof spec, "data_read:%d:3", reader);
    reel_fault_set(spec);
    if (reel_loader_open(&l, set, &cfg, NULL, mesh)) exit(99);
    reel_loader_prefetch(l, 1, 0);
    TAP_OK(!reel_agree(&world, reel_loader_status(l)) && !reel_loader_take(l, 1, 0, &b), "the first batch is good");
    reel_loader_prefetch(l, 1, 1);
    e = reel_agree(&world, reel_loader_status(l));
    TAP_OK(e == REEL_EIO && strstr(reel_errrec()->msg, "injected fault") && reel_errrec()->rank == reader, "rank %d: %s",
           reel_errrec()->rank, reel_errrec()->msg);
    reel_err_clear();
    e = reel_agree(&world, reel_loader_take(l, 1, 1, &b));
    TAP_OK(e == REEL_EIO && strstr(reel_errrec()->msg, "injected fault"), "taken unseen it is an error too");
    reel_err_clear();
    reel_fault_set("none:0:1");
    reel_loader_close(l);
}

int main(int argc, char **argv)
{
    static const int layout[][2] = { { 1, 1 }, { 2, 1 }, { 1, 2 }, { 2, 2 }, { 4, 1 } }; /* sp, tp */
    struct reel_set *set;
    const char *path;

    if (reel_comm_start(&world, &argc, &argv)) return 1;
    tap_quiet = world.rank != 0;
    snprintf(test, sizeof test, "t_loader_np%d", world.size);
    path = strdup(scratch(test, "set.h5"));
    make_set(path);
    if (reel_set_open(&set, path, &world)) return 1;
    for (int i = 0; i < 5; i++) {
        struct reel_mesh mesh;
        int sp = layout[i][0], tp = layout[i][1];
        struct reel_mesh_dims d = { .world = world.size, .replicate = 1, .shard = world.size / tp, .sp = sp, .tp = tp };
        if (world.size % (sp * tp)) continue;
        if (reel_mesh_open(&mesh, &world, &d)) return 1;
        order(set, &mesh, 0);
        order(set, &mesh, 1);
        parity(set, &mesh);
        replayed(set, &mesh);
        fault(set, &mesh);
        if (i == 0) judged(set, &mesh);
        reel_mesh_close(&mesh);
    }
    reel_set_close(set);
    reel_comm_barrier(&world);
    if (world.rank == 0) reel_rmtree(scratch(test, ""));
    reel_comm_stop();
    return tap_done();
}
