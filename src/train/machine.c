/* the rates of machines: known ones, files, and measuring this one */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "be/device.h"
#include "be/ops.h"
#include "train/estimate.h"

/* Cards by their data sheets (be/specs.c), times what is commonly reached: 0.65 of the peak in products, 0.75 (FlashAttention-3) and 0.6
 * (FlashAttention-2) of that in attention, 0.85 of memory, 0.8 of links. Networks are those of the DGX systems, one adapter per GPU: 400 and
 * 200 Gbit/s; eight GPUs a node. */
static const struct { const char *name, *card; double attention, network; } known[] = {
    { "h100", "H100", 0.75, 50e9 },
    { "a100", "A100-SXM4-80GB", 0.60, 25e9 },
};

static struct reel_machine of_card(int i)
{
    const struct reel_gpu_spec *c = reel_gpu_spec(known[i].card);
    struct reel_machine m = { .gemm_flops = 0.65 * c->flops, .attention_flops = known[i].attention * 0.65 * c->flops,
                              .memory_bytes = c->bytes, .memory_bandwidth = 0.85 * c->memory, .node_bandwidth = 0.8 * c->link,
                              .network_bandwidth = 0.8 * known[i].network, .latency_s = 20e-6, .ranks_per_node = 8, .card = 1 };

    snprintf(m.name, sizeof m.name, "%s", known[i].name);
    return m;
}

#define F(key, unit) { #key, unit, offsetof(struct reel_machine, key) }
static const struct { const char *key, *unit; size_t at; } fields[] = {
    F(gemm_flops, "1/s, matrix products of one rank"),
    F(attention_flops, "1/s"),
    F(memory_bytes, "of one rank"),
    F(memory_bandwidth, "bytes/s"),
    F(node_bandwidth, "bytes/s that a rank receives from its node"),
    F(network_bandwidth, "bytes/s that a rank receives from other nodes"),
    F(latency_s, "of one collective"),
    F(ranks_per_node, ""),
};
#undef F
enum { N_FIELDS = sizeof fields / sizeof *fields };

static double *field(struct reel_machine *m, int i) { return (double *)((char *)m + fields[i].at); }

/* ---- files ---- */

static reel_err read_line(struct reel_machine *m, const char *file, const char *line)
{
    char key[64];
    double v;

    if (*line == '#' || !*line) return REEL_OK;
    if (sscanf(line, "%63[^:]: %lf", key, &v) == 2)
        for (int i = 0; i < N_FIELDS; i++)
            if (!strcmp(key, fields[i].key) && v >= 0 && isfinite(v)) {
                *field(m, i) = v;
                return REEL_OK;
            }
    return REEL_FAIL(REEL_ECONFIG, "%s: \"%s\" is not a rate; lines are `%s: NUMBER` and the like, as `reel plan --measure FILE` writes them",
                     file, line, fields[0].key);
}

reel_err reel_machine_find(struct reel_machine *m, const char *name)
{
    char *text = NULL, *rest;
    size_t n;
    reel_err e;

    for (int i = 0; i < (int)(sizeof known / sizeof *known); i++)
        if (!strcmp(name, known[i].name)) {
            *m = of_card(i);
            return REEL_OK;
        }
    e = reel_file_read(name, &text, &n);
    if (e) reel_err_clear();
    if (e) return REEL_FAIL(REEL_ECONFIG, "no machine \"%s\"; h100, a100 and files of `reel plan --measure` are known", name);
    *m = (struct reel_machine){ .ranks_per_node = 1 };
    snprintf(m->name, sizeof m->name, "%s", name);
    rest = text;
    for (char *line = strtok_r(rest, "\n", &rest); line && e == REEL_OK; line = strtok_r(NULL, "\n", &rest)) e = read_line(m, name, line);
    free(text);
    if (e == REEL_OK && (m->gemm_flops <= 0 || m->attention_flops <= 0))
        e = REEL_FAIL(REEL_ECONFIG, "%s: without gemm_flops and attention_flops there is no time of a step", name);
    return e;
}

static reel_err write_file(struct reel_machine *m, struct reel_backend *be, reel_dtype dt, const char *file)
{
    char text[2048];
    int n = snprintf(text, sizeof text, "# rates of one rank, measured: %s, %s\n", reel_backend_describe(be), reel_dtype_name(dt));

    for (int i = 0; i < N_FIELDS; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s: %.4g%s%s\n", fields[i].key, *field(m, i), *fields[i].unit ? " # " : "", fields[i].unit);
    return reel_file_write(file, text, (size_t)n);
}

/* ---- measuring ---- */

enum { SIDE = 768, TOKENS = 1024, HEADS = 4, HEAD = 128, STREAM = 8 << 20, MESSAGE = 1 << 20 }; /* elements */

struct rig {
    struct reel_stream s;
    struct reel_arena a, scratch;
    struct reel_comm *c;
    reel_dtype dt; /* of matrices */
};

typedef void (*work_fn)(struct rig *g);

static void products(struct rig *g)
{
    reel_tensor none = { 0 }, x = reel_new(&g->a, g->dt, REEL_DIMS(SIDE, SIDE)), w = reel_new(&g->a, g->dt, REEL_DIMS(SIDE, SIDE));

    reel_linear_fwd(&g->s, reel_new(&g->a, g->dt, REEL_DIMS(SIDE, SIDE)), none, x, w, none, reel_rows_make(1, SIDE, SIDE), REEL_UNCUT,
                    REEL_EPI_NONE);
}

static void attention(struct rig *g)
{
    reel_tensor q = reel_new(&g->a, g->dt, REEL_DIMS(1, TOKENS, HEADS * HEAD)), o = reel_new(&g->a, g->dt, REEL_DIMS(1, TOKENS, HEADS * HEAD));

    reel_attn_fwd(&g->s, o, reel_new(&g->a, REEL_F32, REEL_DIMS(1, HEADS, TOKENS)), q, q, q, HEADS, (struct reel_mask){ 0 });
}

static void traffic(struct rig *g)
{
    reel_axpby(&g->s, reel_new(&g->a, REEL_F32, REEL_DIMS(STREAM)), 1, reel_new(&g->a, REEL_F32, REEL_DIMS(STREAM)), 1);
}

static void exchange(struct rig *g)
{
    struct reel_req req = { .n = 0 };
    reel_tensor x = reel_new(&g->a, REEL_F32, REEL_DIMS(g->c->size, MESSAGE)), y = reel_new(&g->a, REEL_F32, REEL_DIMS(g->c->size, MESSAGE));

    reel_comm_alltoall_start(g->c, &g->s, y, x, &req);
    reel_comm_wait(g->c, &req);
}

/* Seconds of the fastest of a few; every rank works at the same time. Collective(c). */
static double fastest(struct rig *g, work_fn work)
{
    double best = HUGE_VAL;

    for (int i = 0; i < 5; i++) {
        double t;
        reel_arena_reset(&g->a, 0);
        reel_comm_barrier(g->c);
        t = reel_now();
        work(g);
        reel_sync(&g->s);
        best = fmin(best, reel_now() - t);
    }
    return best;
}

static double latency(struct rig *g)
{
    double t = reel_now(), v = 1;

    for (int i = 0; i < 50; i++) reel_comm_sum(g->c, &v, 1);
    return g->c->size > 1 ? (reel_now() - t) / 50 : 0;
}

/* Sizes the arenas of what will be timed, then takes them; filled with ones, which are as fast as anything. Local. */
static reel_err open_rig(struct rig *g, struct reel_backend *be, const work_fn *work, int n)
{
    reel_stream_init(&g->s, be, 1, &g->scratch);
    for (int i = 0; i < n; i++) {
        reel_arena_reset(&g->a, 0);
        work[i](g);
    }
    REEL_TRY(reel_arena_open(&g->a, be, "measure", g->a.peak));
    REEL_TRY(reel_arena_open(&g->scratch, be, "measure scratch", g->scratch.peak + 1));
    reel_stream_init(&g->s, be, 0, &g->scratch);
    reel_fill(&g->s, reel_new(&g->a, REEL_F32, REEL_DIMS((int64_t)(g->a.cap / 4))), 1);
    return REEL_OK;
}

static void close_rig(struct rig *g, struct reel_backend *be)
{
    if (g->a.base) reel_arena_close(&g->a, be);
    if (g->scratch.base) reel_arena_close(&g->scratch, be);
}

static double gemm_rate(struct rig *g) { return 2.0 * SIDE * SIDE * SIDE / fastest(g, products); }

double reel_machine_gemm(struct reel_backend *be, struct reel_comm *world)
{
    static const work_fn work[] = { products };
    struct rig g = { .c = world, .dt = REEL_F32 };
    double rate = reel_agree(world, open_rig(&g, be, work, 1)) == REEL_OK ? gemm_rate(&g) : (double)NAN;

    reel_err_clear();
    close_rig(&g, be);
    return rate;
}

static double attention_rate(struct rig *g) { return 4.0 * TOKENS * TOKENS * HEADS * HEAD / fastest(g, attention); }

static double received(const struct reel_comm *c, double seconds)
{
    return c->size > 1 ? 4.0 * MESSAGE * (c->size - 1) / seconds : 0;
}

static void measure(struct rig *g, struct reel_machine *m, struct reel_comm *world, struct reel_comm *node)
{
    g->c = world;
    m->gemm_flops = gemm_rate(g);
    m->attention_flops = attention_rate(g);
    m->memory_bandwidth = 12.0 * STREAM / fastest(g, traffic);
    m->network_bandwidth = node->size < world->size ? received(world, fastest(g, exchange)) : 0;
    m->latency_s = latency(g);
    g->c = node;
    m->node_bandwidth = received(node, fastest(g, exchange));
    m->ranks_per_node = node->size;
}

/* Everyone keeps pace with the slowest. */
static void slowest(struct reel_machine *m, struct reel_comm *world)
{
    for (int i = 0; i < N_FIELDS; i++) {
        double min, avg, max, *v = field(m, i);
        reel_comm_minavgmax(world, v, 1, &min, &avg, &max);
        *v = fields[i].at == offsetof(struct reel_machine, latency_s) || fields[i].at == offsetof(struct reel_machine, ranks_per_node) ? max : min;
    }
}

void reel_machine_compute(struct reel_machine *m, struct reel_backend *be, reel_dtype dt, struct reel_comm *world)
{
    static const work_fn work[] = { products, attention };
    struct rig g = { .c = world, .dt = dt };

    *m = (struct reel_machine){ .name = "here" };
    if (reel_agree(world, open_rig(&g, be, work, 2)) == REEL_OK) {
        m->gemm_flops = gemm_rate(&g);
        m->attention_flops = attention_rate(&g);
        slowest(m, world);
    }
    reel_err_clear();
    close_rig(&g, be);
}

/* Communicators that move the backend's memory, for the time of a measurement. */
static reel_err measure_attached(struct rig *g, struct reel_machine *m, struct reel_backend *be, struct reel_comm *world)
{
    struct reel_comm node;
    reel_err e;

    reel_comm_node(&node, world);
    e = reel_comm_attach(world, be, world);
    if (e == REEL_OK) e = reel_comm_attach(&node, be, world);
    if (e == REEL_OK) measure(g, m, world, &node);
    reel_comm_detach(&node, be);
    reel_comm_detach(world, be);
    reel_comm_close(&node);
    return e;
}

reel_err reel_machine_measure(struct reel_backend *be, reel_dtype dt, struct reel_comm *world, const char *file)
{
    static const work_fn work[] = { products, attention, traffic, exchange };
    struct reel_machine m = { .name = "here" };
    struct rig g = { .c = world, .dt = dt };
    reel_err e = reel_agree(world, open_rig(&g, be, work, 4));

    if (e == REEL_OK) e = measure_attached(&g, &m, be, world);
    if (e == REEL_OK) {
        slowest(&m, world);
        e = reel_agree(world, world->rank ? REEL_OK : write_file(&m, be, dt, file));
    }
    close_rig(&g, be);
    return e;
}
