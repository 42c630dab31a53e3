/* Sequence and tensor parallel ranks compute what one rank computes, bit for bit: outputs, gradients of inputs and of every
 * parameter, for any group size, number of samples, length of the sequence and number of heads, in both precisions. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "wan_rig.h"

#define CONFIG(heads)                                                                                          \
    "{\"num_layers\": 2, \"num_attention_heads\": " #heads ", \"attention_head_dim\": 16, \"ffn_dim\": 72, "   \
    "\"text_dim\": 12, \"freq_dim\": 32}"
enum { C = 16, L = 37, TEXT = 12, MAXB = 8, MAXN = 6 * C * 12 * 14 };

static struct reel_comm world, alone;
static float x[MAXB * MAXN], clean[MAXB * MAXN], cot[MAXB * MAXN], text[MAXB * L * TEXT], times[MAXB * 6];

struct sp_case {
    const char *what, *config;
    int sp, replicate, shard, tp; /* ranks: replicate x shard x tp */
    int64_t B, T, H, W;       /* B of an SP group */
    reel_dtype dt;
    int checkpointing, per_frame;
    const struct reel_model_ops *ops;
    struct reel_model_opts opts;
    double sparsity;
    int teacher;
};

struct result { float *v, *dx, *dtext, **grad; };

static void inputs(void)
{
    for (int i = 0; i < MAXB * MAXN; i++) {
        x[i] = (float)(4 * rig_u(900, i));
        clean[i] = (float)(4 * rig_u(903, i));
        cot[i] = (float)rig_u(902, i);
    }
    for (int i = 0; i < MAXB * L * TEXT; i++) text[i] = (float)(4 * rig_u(901, i));
    for (int i = 0; i < MAXB * 6; i++) times[i] = (float)(1000 * (rig_u(904, i) + 0.5));
}

static double weight(void *ctx, int i, int64_t k)
{
    return rig_fill_value(&((struct rig *)ctx)->m.def[i], i, k);
}

static reel_tensor clean_tensor(struct rig *r, const struct sp_case *a)
{
    return a->teacher ? reel_new(&r->act, REEL_F32, r->io.x.n, 5) : (reel_tensor){ 0 };
}

static void rehearse(struct rig *r, void *ctx)
{
    const struct sp_case *a = ctx;
    struct reel_model_in in = { .x = r->io.x, .t = r->io.t, .text = r->io.text, .clean = clean_tensor(r, a), .sparsity = a->sparsity };
    struct reel_kept *k;

    r->m.ops->fwd(&r->m, &r->act, &in, &k);
    r->m.ops->bwd(&r->m, &r->act, k, r->io.dv, r->io.dx, r->io.dtext);
}

/* Samples b0.. of the inputs on a mesh; outputs of these samples, gradients of this rank's shards. */
static void run(const struct sp_case *a, struct reel_comm *comm, struct reel_mesh_dims d, int64_t B, int64_t b0,
                struct result *o, struct rig *r)
{
    int64_t n = a->T * C * a->H * a->W;
    struct rig_shape shape = { .B = B, .T = a->T, .H = a->H, .W = a->W, .L = L, .per_frame = a->per_frame };
    struct rig_plan plan = { a->ops ? a->ops : &reel_model_wan, a->opts, rehearse, (void *)(uintptr_t)a };

    REEL_BUG_IF(rig_open_plan(r, comm, d, a->config, a->dt, a->checkpointing, shape, &plan) != REEL_OK, "%s", reel_errrec()->msg);
    rig_fill(r, weight, r);
    r->in.sparsity = a->sparsity;
    r->in.clean = clean_tensor(r, a);
    if (a->teacher) reel_put(&r->s, r->in.clean, clean + b0 * n);
    o->v = calloc((size_t)(B * n), 4), o->dx = calloc((size_t)(B * n), 4), o->dtext = calloc((size_t)(B * L * TEXT), 4);
    o->grad = calloc((size_t)r->m.n_def, sizeof *o->grad);
    rig_step(r, x + b0 * n, times + b0 * (a->per_frame ? a->T : 1), text + b0 * L * TEXT, cot + b0 * n, o->v, o->dx, o->dtext);
}

static void drop(struct result *o, int n)
{
    for (int i = 0; i < n; i++) free(o->grad[i]);
    free(o->grad), free(o->v), free(o->dx), free(o->dtext);
}

static int64_t differ(const float *p, const float *q, int64_t n)
{
    int64_t d = 0;

    for (int64_t i = 0; i < n; i++) d += memcmp(p + i, q + i, sizeof *p) != 0;
    return d;
}

static void same(const struct sp_case *a)
{
    struct reel_mesh_dims d = { world.size, a->replicate, a->shard, a->sp, a->tp }, lone = { 1, 1, 1, 1, 1 };
    int64_t groups = world.size / a->sp / a->tp, n = a->T * C * a->H * a->W, b0 = world.rank / a->tp / a->sp * a->B;
    struct result want, got;
    struct rig r, s;
    double bad[5] = { 0 };
    const char *first = "";

    run(a, &alone, lone, groups * a->B, 0, &want, &r);
    run(a, &world, d, a->B, b0, &got, &s);
    bad[0] = (double)differ(got.v, want.v + b0 * n, a->B * n);
    bad[1] = (double)differ(got.dx, want.dx + b0 * n, a->B * n);
    bad[2] = (double)differ(got.dtext, want.dtext + b0 * L * TEXT, a->B * L * TEXT);
    bad[4] = s.act.peak != s.act.cap || s.scratch.peak != s.scratch.cap || s.work.peak != s.work.cap;
    for (int i = 0; i < r.m.n_def; i++) {
        int64_t whole, part, at, wrong = 0;
        want.grad[i] = rig_grad(&r, i, &whole, &at);
        got.grad[i] = rig_grad(&s, i, &part, &at);
        for (int64_t e = 0; e < part; e++) wrong += differ(&got.grad[i][e], &want.grad[i][reel_shard_element(s.m.ps, i, e)], 1);
        if (wrong && !*first) first = r.m.def[i].name;
        bad[3] += (double)wrong;
    }
    if (*first) printf("# rank %d: first of the wrong gradients: %s\n", world.rank, first);
    reel_comm_sum(&world, bad, 5);
    TAP_OK(bad[0] + bad[1] + bad[2] + bad[3] + bad[4] == 0,
           "sp %d, tp %d of %d ranks, %s: %.0f elements of v differ, %.0f of dx, %.0f of dtext, %.0f of gradients; %.0f ranks took more than planned",
           a->sp, a->tp, world.size, a->what, bad[0], bad[1], bad[2], bad[3], bad[4]);
    drop(&want, r.m.n_def), drop(&got, s.m.n_def);
    rig_close(&r), rig_close(&s);
}

static int every_layer(const void *ctx, const char *layer)
{
    (void)ctx, (void)layer;
    return 1;
}

#define SHAPE(b, t, h, w) .B = b, .T = t, .H = h, .W = w
#define SPARSE            .opts = { .sparse = 1 }, .sparsity = 0.6
#define ADAPTERS          .opts = { .lora = { .rank = 3, .scale = 0.5, .wants = every_layer } }
#define CAUSAL(chunk, window) \
    .per_frame = 1, .ops = &reel_model_wan_causal, .opts = { .num_frames_per_block = chunk, .local_attn_size = window }

/* Whether the canonical pieces of a configuration's heads can be dealt out to tp ranks. */
static int divides(int tp, const char *config)
{
    int heads = atoi(strstr(config, "num_attention_heads\": ") + 22);

    return (heads & -heads) % tp == 0;
}

/* Three samples are one group's: a tree over two groups of three is none over six samples. */
static void cases(int sp, int tp, int replicate, int shard)
{
#define ON .sp = sp, .replicate = replicate, .shard = shard, .tp = tp
    const struct sp_case list[] = {
        { "even", CONFIG(4), ON, SHAPE(1, 4, 8, 8) },
        { "uneven, 3 heads", CONFIG(3), ON, SHAPE(1, 3, 10, 14), .checkpointing = 1 },
        { "bf16", CONFIG(4), ON, SHAPE(1, 3, 6, 14), .dt = REEL_BF16 },
        { "timesteps of frames", CONFIG(2), ON, SHAPE(1, 5, 6, 10), .per_frame = 1 },
        { "a short clip", CONFIG(2), ON, SHAPE(1, 1, 4, 6) },
        { "two samples", CONFIG(2), ON, SHAPE(2, 3, 6, 8), .dt = REEL_BF16, .checkpointing = 1 },
        { "three samples", CONFIG(2), ON, SHAPE(3, 2, 6, 8), .per_frame = 1 },
        { "sparse", CONFIG(3), ON, SHAPE(1, 5, 12, 14), SPARSE },
        { "sparse, recomputed, bf16", CONFIG(2), ON, SHAPE(1, 5, 8, 12), SPARSE, .dt = REEL_BF16, .checkpointing = 1 },
        { "chunks", CONFIG(3), ON, SHAPE(1, 6, 4, 10), CAUSAL(2, -1) },
        { "chunks in a window, recomputed", CONFIG(2), ON, SHAPE(1, 5, 6, 6), CAUSAL(2, 3), .checkpointing = 1 },
        { "teacher forcing", CONFIG(2), ON, SHAPE(1, 5, 4, 10), CAUSAL(2, -1), .teacher = 1 },
        { "adapters", CONFIG(4), ON, SHAPE(1, 3, 6, 10), ADAPTERS },
        { "adapters, bf16", CONFIG(2), ON, SHAPE(2, 2, 6, 8), ADAPTERS, .dt = REEL_BF16, .checkpointing = 1 },
        { "teacher forcing, two samples", CONFIG(3), ON, SHAPE(2, 3, 4, 10), CAUSAL(3, -1), .teacher = 1, .dt = REEL_BF16 },
    };

    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (world.size / sp / tp * list[i].B <= MAXB && (list[i].B != 3 || sp * tp == world.size) && divides(tp, list[i].config))
            same(&list[i]);
}

int main(int argc, char **argv)
{
    int bad;

    if (reel_comm_start(&world, &argc, &argv)) return 1;
    alone = (struct reel_comm){ .mpi = (int)MPI_COMM_SELF, .size = 1, .name = "self" };
    tap_quiet = world.rank != 0;
    inputs();
    cases(world.size, 1, 1, world.size);
    if (world.size == 2) cases(1, 2, 1, 1);
    if (world.size == 4) cases(2, 1, 2, 2), cases(1, 4, 1, 1), cases(1, 2, 1, 2), cases(2, 2, 1, 2);
    if (world.size == 6) cases(3, 1, 1, 6), cases(2, 1, 2, 3), cases(3, 2, 1, 3);
    bad = tap_done();
    reel_comm_stop();
    return bad;
}
