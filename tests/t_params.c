/* parameters under tensor parallelism and HSDP, on several rank counts: gathered tensors are whole, gradient sums
 * have the bits of one serial tree in every replicate x shard split, memory falls with the shard size */
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "base/exact.h"
#include "base/rng.h"
#include "be/ops.h"
#include "device.h"
#include "nn/params.h"
#include "tap.h"

#define DEF(id, u, keep, ...) { .name = id, .nd = REEL_DIMS_N(__VA_ARGS__), .n = { __VA_ARGS__ }, .unit = u, .keep_f32 = keep }
#define REEL_DIMS_N(...) (int)(sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t))

/* Rows that do not divide, single rows, vectors, matrices large enough to travel alone. */
#define BLOCK(u, b) \
    DEF(b ".to_q.weight", u, 0, 2051, 41), DEF(b ".to_q.bias", u, 1, 7), DEF(b ".norm.weight", u, 1, 10), \
        DEF(b ".table", u, 1, 1, 6, 5), DEF(b ".small.weight", u, 0, 3, 11), DEF(b ".one", u, 0, 1)
static struct reel_param_def defs[] = {
    DEF("patch.weight", 0, 0, 10, 4, 1, 2, 2), BLOCK(1, "blocks.0"), DEF("head.weight", 0, 0, 300, 257),
    BLOCK(2, "blocks.1"), BLOCK(3, "blocks.2"), DEF("head.table", 0, 1, 1, 2, 5),
};
enum { N_DEF = sizeof defs / sizeof *defs, N_UNITS = 4 };

/* As adapters do: the root frozen, of each block the last large and one small parameter trained. */
static void freeze(int on)
{
    for (int i = 0; i < N_DEF; i++)
        defs[i].frozen = on && (!defs[i].unit || !(strstr(defs[i].name, ".to_q.") || strstr(defs[i].name, ".small.")));
}

/* As layers do: rows or columns of some over tp, evenly or not (2051 rows of 41, 257 columns). */
static void split_params(int on)
{
    for (int i = 0; i < N_DEF; i++) {
        enum reel_param_split s = REEL_SPLIT_NONE;
        if (strstr(defs[i].name, ".to_q.")) s = REEL_SPLIT_ROWS;
        if (strstr(defs[i].name, ".small.") || strstr(defs[i].name, "head.weight")) s = REEL_SPLIT_COLS;
        defs[i].split = on ? s : REEL_SPLIT_NONE;
    }
}

static struct reel_comm W;
static struct reel_backend *be;

static float value(const char *what, uint32_t rank, uint32_t round, int i, int64_t e)
{
    uint32_t w = reel_rng_word(reel_rng_key((uint64_t)i, what), rank, round, 0, (uint64_t)e);

    return ldexpf((float)(int32_t)w, (int)(w % 41) - 60);
}

static float as_bf16(float x)
{
    uint32_t u;

    memcpy(&u, &x, 4);
    u = (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u;
    memcpy(&x, &u, 4);
    return x;
}

static int everyone(int ok)
{
    int64_t bad = !ok;

    reel_comm_sum_i64(&W, &bad, 1);
    return bad == 0;
}

/* ---- one role on one mesh ------------------------------------------------------------------- */

struct rig {
    struct reel_mesh mesh;
    struct reel_stream s;
    struct reel_arena scratch, params, optim, work;
    struct reel_params *ps;
    size_t planned[3];
};

static struct reel_params *plan(struct rig *r, const struct reel_params_cfg *cfg)
{
    struct reel_params *ps;

    r->params = (struct reel_arena){ .name = "params" };
    r->optim = (struct reel_arena){ .name = "optim" };
    r->work = (struct reel_arena){ .name = "work" };
    r->scratch = (struct reel_arena){ .name = "scratch" };
    reel_stream_init(&r->s, be, 1, &r->scratch);
    if (reel_params_open(&ps, cfg, &r->mesh, &r->s, &r->params, &r->optim, &r->work)) abort();
    r->planned[0] = r->params.used;
    r->planned[1] = r->optim.used;
    r->planned[2] = r->work.used;
    return ps;
}

static void rig_open(struct rig *r, int replicate, int shard, int tp, reel_dtype compute, int trainable)
{
    struct reel_mesh_dims d = { W.size, replicate, shard, 1, tp };
    struct reel_params_cfg cfg = { "student", defs, N_DEF, N_UNITS, compute, trainable, NULL, 1 };

    if (reel_mesh_open(&r->mesh, &W, &d)) abort();
    if (reel_mesh_attach(&r->mesh, be)) abort();
    reel_params_close(plan(r, &cfg));
    if (reel_arena_open(&r->scratch, be, "scratch", 1 << 20)) abort();
    if (reel_arena_open(&r->params, be, "params", r->planned[0])) abort();
    if (reel_arena_open(&r->optim, be, "optim", r->planned[1])) abort();
    if (reel_arena_open(&r->work, be, "work", r->planned[2])) abort();
    reel_stream_init(&r->s, be, 0, &r->scratch);
    if (reel_params_open(&r->ps, &cfg, &r->mesh, &r->s, &r->params, &r->optim, &r->work)) abort();
}

static void rig_close(struct rig *r)
{
    reel_params_close(r->ps);
    reel_arena_close(&r->work, be);
    reel_arena_close(&r->optim, be);
    reel_arena_close(&r->params, be);
    reel_arena_close(&r->scratch, be);
    reel_mesh_detach(&r->mesh, be);
    reel_mesh_close(&r->mesh);
}

static float *host(int64_t n) { return malloc((size_t)(n ? n : 1) * sizeof(float)); }

static void set_masters(struct rig *r)
{
    for (int i = 0; i < N_DEF; i++) {
        struct reel_shard sh = reel_param_shard(r->ps, i);
        int64_t n = reel_numel(sh.w);
        float *h = host(n);

        for (int64_t e = 0; e < n; e++) h[e] = value("w", 0, 0, i, reel_shard_element(r->ps, i, e));
        if (n) reel_put(&r->s, sh.w, h);
        free(h);
    }
}

/* The share of this tp rank of n, said again: ceilings of even shares, of groups of 8 where there are any. */
static void share(const struct rig *r, int64_t n, int64_t *at, int64_t *held)
{
    int64_t tp = r->mesh.tp.size, group = n % tp && n % 8 == 0 ? 8 : 1, k[2];

    for (int i = 0; i < 2; i++) k[i] = (int64_t)ceil((double)(r->mesh.tp.rank + i) * (double)(n / group) / (double)tp);
    *at = k[0] * group;
    *held = k[1] * group - *at;
}

/* Dimensions of this tp rank's part of parameter i, and the index in the whole of the part's element e. */
static int64_t whole_element(const struct rig *r, int i, int64_t dims[REEL_MAXDIM], int64_t e)
{
    int dim = defs[i].split == REEL_SPLIT_COLS;
    int64_t at = 0, row = 1, per;

    memcpy(dims, defs[i].n, sizeof defs[i].n);
    if (defs[i].split != REEL_SPLIT_NONE) share(r, defs[i].n[dim], &at, &dims[dim]);
    for (int k = 1; k < defs[i].nd; k++) row *= defs[i].n[k];
    if (!dim) return at * row + e;
    per = row / defs[i].n[1] * dims[1];
    return e / per * row + at * (row / defs[i].n[1]) + e % per;
}

/* Is the gathered parameter i the whole of this tp rank's part? */
static int whole(struct rig *r, int i, reel_dtype compute)
{
    reel_tensor t = reel_param(r->ps, i);
    int64_t n = reel_numel(t), bad = 0, dims[REEL_MAXDIM];
    int bf16 = compute == REEL_BF16 && !defs[i].keep_f32;
    uint16_t *half = malloc((size_t)n * 2);
    float *h = host(n);

    if (bf16) reel_get(&r->s, half, t);
    else reel_get(&r->s, h, t);
    for (int64_t e = 0; e < n; e++) {
        float want = value("w", 0, 0, i, whole_element(r, i, dims, e));
        uint32_t u = (uint32_t)half[e] << 16;

        if (bf16) memcpy(&h[e], &u, 4), want = as_bf16(want);
        bad += memcmp(&h[e], &want, 4) != 0;
    }
    free(half);
    free(h);
    whole_element(r, i, dims, 0);
    return bad == 0 && t.dt == (bf16 ? REEL_BF16 : REEL_F32) && t.nd == defs[i].nd &&
           memcmp(t.n, dims, (size_t)t.nd * sizeof *dims) == 0;
}

static int unit_whole(struct rig *r, int unit, reel_dtype compute)
{
    int ok = 1;

    for (int i = 0; i < N_DEF; i++)
        if (defs[i].unit == unit) ok &= whole(r, i, compute);
    return ok;
}

/* A forward and a backward sweep, one unit ahead; every parameter checked at every use. */
static void gathers(int replicate, int shard, int tp, reel_dtype compute)
{
    struct rig r;
    int ok = 1, back = 1;

    rig_open(&r, replicate, shard, tp, compute, 0);
    set_masters(&r);
    reel_params_need(r.ps, 0);
    reel_params_prefetch(r.ps, 1);
    for (int u = 1; u < N_UNITS; u++) {
        reel_params_need(r.ps, u);
        reel_params_prefetch(r.ps, u + 1);
        ok &= unit_whole(&r, u, compute);
        reel_params_release(r.ps, u);
    }
    for (int u = N_UNITS - 1; u >= 1; u--) {
        reel_params_need(r.ps, u);
        if (u > 1) reel_params_prefetch(r.ps, u - 1);
        reel_params_progress(r.ps);
        back &= unit_whole(&r, u, compute);
        reel_params_release(r.ps, u);
    }
    back &= unit_whole(&r, 0, compute);
    TAP_OK(everyone(ok && back), "%d x %d x %d, %s: every gathered parameter is whole, forward and backward", replicate,
           shard, tp, reel_dtype_name(compute));
    ok = r.params.used == r.planned[0] && r.optim.used == r.planned[1] && r.work.used == r.planned[2] && !r.planned[1];
    TAP_OK(everyone(ok), "the plan was exact: params %zu, work %zu bytes", r.planned[0], r.planned[2]);
    rig_close(&r);
}

/* ---- gradients ------------------------------------------------------------------------------ */

static float tree(const float *v, int n)
{
    float t[64];

    memcpy(t, v, (size_t)n * sizeof *v);
    for (; n > 1; n = (n + 1) / 2)
        for (int i = 0; i < (n + 1) / 2; i++) t[i] = 2 * i + 1 < n ? t[2 * i] + t[2 * i + 1] : t[2 * i];
    return t[0];
}

static void write_grads(struct rig *r, int unit, uint32_t round)
{
    for (int i = 0; i < N_DEF; i++) {
        int64_t n, dims[REEL_MAXDIM];
        float *h;

        if (defs[i].unit != unit || defs[i].frozen) continue;
        n = reel_numel(reel_param_grad(r->ps, i));
        h = host(n);
        for (int64_t e = 0; e < n; e++) h[e] = value("g", (uint32_t)r->mesh.hsdp.rank, round, i, whole_element(r, i, dims, e));
        reel_put(&r->s, reel_param_grad(r->ps, i), h);
        free(h);
    }
}

static void backward(struct rig *r, uint32_t round, int finish)
{
    reel_grads_begin(r->ps, 0);
    for (int u = N_UNITS - 1; u >= 1; u--) {
        reel_grads_begin(r->ps, u);
        write_grads(r, u, round);
        reel_grads_reduce(r->ps, u);
        reel_params_progress(r->ps);
    }
    write_grads(r, 0, round);
    reel_grads_reduce(r->ps, 0);
    if (finish) reel_grads_finish(r->ps);
}

/* Is the gradient shard the sum over rounds of the serial tree over all hsdp ranks, bit by bit? */
static int64_t wrong_sums(struct rig *r, int i, uint32_t rounds)
{
    struct reel_shard sh = reel_param_shard(r->ps, i);
    int64_t n = defs[i].frozen ? 0 : reel_numel(sh.g), bad = 0;
    float *h = host(n);

    if (defs[i].frozen) bad = sh.g.nd || sh.m.nd || sh.v.nd || !sh.w.nd;
    if (n) reel_get(&r->s, h, sh.g);
    for (int64_t e = 0; e < n; e++) {
        float want = 0, v[64];

        for (uint32_t round = 0; round < rounds; round++) {
            for (int k = 0; k < r->mesh.hsdp.size; k++)
                v[k] = value("g", (uint32_t)k, round, i, reel_shard_element(r->ps, i, e));
            want += tree(v, r->mesh.hsdp.size);
        }
        bad += memcmp(&h[e], &want, 4) != 0;
    }
    free(h);
    return bad;
}

static void sums(int replicate, int shard, int tp)
{
    struct rig r;
    int64_t bad = 0, left = 0;
    struct reel_shard sh;
    float first = 1;

    rig_open(&r, replicate, shard, tp, REEL_F32, 1);
    backward(&r, 9, 1); /* what zero() forgets */
    reel_grads_zero(r.ps);
    backward(&r, 0, 0); /* the second round begins while the first is on its way */
    backward(&r, 1, 1);
    for (int i = 0; i < N_DEF; i++) bad += wrong_sums(&r, i, 2);
    TAP_OK(everyone(bad == 0), "%d x %d x %d: two rounds of gradients%s have the bits of the serial tree", replicate, shard, tp,
           defs[0].frozen ? " of the trained parameters" : "");
    sh = reel_param_shard(r.ps, reel_param_find(r.ps, "blocks.0.to_q.weight"));
    reel_grads_zero(r.ps);
    if (sh.rows) reel_get(&r.s, &first, reel_slice(reel_reshape(sh.g, REEL_DIMS(reel_numel(sh.g))), 0, 1));
    left = sh.rows && first != 0;
    TAP_OK(everyone(!left), "and zero() forgets them");
    rig_close(&r);
}

/* ---- tensor parallel ranks ------------------------------------------------------------------ */

/* The sum of squares of all gradients, as a clip takes it, of gradients that do not depend on the rank. */
static double squares(int replicate, int shard, int tp, int pieces)
{
    int64_t limbs[REEL_EXACT_LIMBS] = { 0 };
    reel_tensor acc;
    struct reel_arena mem;
    struct rig r;

    rig_open(&r, replicate, shard, tp, REEL_F32, 1);
    reel_params_close(r.ps);
    r.params.used = r.optim.used = r.work.used = 0;
    if (reel_params_open(&r.ps, &(struct reel_params_cfg){ "student", defs, N_DEF, N_UNITS, REEL_F32, 1, NULL, pieces }, &r.mesh,
                         &r.s, &r.params, &r.optim, &r.work) ||
        reel_arena_open(&mem, be, "acc", sizeof limbs))
        abort();
    acc = reel_new(&mem, REEL_I64, REEL_DIMS(REEL_EXACT_LIMBS));
    reel_put(&r.s, acc, limbs);
    for (int i = 0; i < N_DEF; i++) {
        struct reel_shard sh = reel_param_shard(r.ps, i);
        int64_t n = reel_numel(sh.g);
        float *h = host(n);

        for (int64_t e = 0; e < n; e++) h[e] = value("q", 0, 0, i, reel_shard_element(r.ps, i, e));
        if (n) reel_put(&r.s, sh.g, h);
        free(h);
        reel_grad_squares(r.ps, i, acc);
    }
    reel_get(&r.s, limbs, acc);
    reel_comm_sum_i64(&r.mesh.shard, limbs, REEL_EXACT_LIMBS);
    reel_comm_sum_i64(&r.mesh.tp, limbs, REEL_EXACT_LIMBS);
    reel_arena_close(&mem, be);
    rig_close(&r);
    return reel_exact_value(limbs);
}

/* All splits of the world with tp tensor parallel ranks, rows and columns that divide or do not. */
static void splits(int tp)
{
    int hsdp = W.size / tp;
    double want, got;

    if (W.size % tp) return;
    for (int shard = 1; shard <= hsdp; shard++) {
        if (hsdp % shard) continue;
        gathers(hsdp / shard, shard, tp, REEL_F32);
        gathers(hsdp / shard, shard, tp, REEL_BF16);
        sums(hsdp / shard, shard, tp);
    }
    if (tp & (tp - 1)) return;
    for (int i = 0; i < N_DEF; i++)
        if (!strcmp(defs[i].name, "head.weight")) defs[i].n[1] = 256; /* equal pieces */
        else if (defs[i].split == REEL_SPLIT_COLS) defs[i].split = REEL_SPLIT_NONE;
    want = squares(W.size, 1, 1, 8);
    got = squares(1, hsdp, tp, 8);
    TAP_OK(everyone(!memcmp(&want, &got, 8) && want > 0), "%d x %d: the norm has the bits of one rank", hsdp, tp);
    for (int i = 0; i < N_DEF; i++)
        if (!strcmp(defs[i].name, "head.weight")) defs[i].n[1] = 257;
    split_params(1);
}

/* ---- memory and traffic --------------------------------------------------------------------- */

static int64_t unit_numel(int unit)
{
    int64_t n = 0;

    for (int i = 0; i < N_DEF; i++)
        if (defs[i].unit == unit) n += reel_numel(reel_view(NULL, REEL_F32, defs[i].n, defs[i].nd));
    return n;
}

/* What a table whose parameters are frozen for the most part takes, beside the whole one. */
static void savings(void)
{
    struct reel_params_cfg cfg = { "student", defs, N_DEF, N_UNITS, REEL_F32, 1, NULL, 1 };
    int64_t trained = 0, block = 0;
    size_t masters;
    struct rig r;

    reel_mesh_place(&r.mesh, &(struct reel_mesh_dims){ 4, 2, 2, 1, 1 }, 1);
    reel_params_close(plan(&r, &cfg));
    masters = r.planned[0];
    freeze(1);
    for (int i = 0; i < N_DEF; i++) {
        int64_t n = reel_numel(reel_view(NULL, REEL_F32, defs[i].n, defs[i].nd));
        trained += defs[i].frozen ? 0 : n;
        block += defs[i].frozen || defs[i].unit != 1 ? 0 : n;
    }
    reel_params_close(plan(&r, &cfg));
    TAP_OK(r.planned[0] == masters && (int64_t)r.planned[1] <= 3 * (4 * trained / 2 + 3 * 256 * N_DEF) &&
               (int64_t)r.planned[1] >= 3 * 4 * trained / 2,
           "frozen parameters: the masters, and %zu bytes of gradients and moments for %ld trained elements", r.planned[1],
           (long)trained);
    cfg.trainable = 0;
    {
        size_t work = r.planned[2];
        reel_params_close(plan(&r, &cfg));
        TAP_OK(work > r.planned[2] && (int64_t)(work - r.planned[2]) <= 4 * (2 * block + block + 3 * block / 2) + 20 * 256 * N_DEF,
               "and %zu bytes to reduce them", work - r.planned[2]);
    }
    freeze(0);
}

static void memory(void)
{
    struct reel_params_cfg cfg = { "student", defs, N_DEF, N_UNITS, REEL_F32, 1, NULL, 1 };
    struct rig r;
    int64_t total = 0, root = unit_numel(0), block = unit_numel(1);

    for (int u = 0; u < N_UNITS; u++) total += unit_numel(u);
    for (int shard = 1; shard <= 8; shard *= 2) {
        struct reel_mesh_dims d = { 8, 8 / shard, shard, 1, 1 };
        int64_t pad = 256 * N_DEF + 4 * 64 * 8 * N_UNITS + 4 * total / 2000 * shard; /* alignment, uneven rows */
        int64_t units = (shard > 1 ? 2 * (root + 2 * block) : root + 2 * block) + (shard > 1 ? root : 0) +
                        (shard < 8 ? 3 * root / shard : 0);

        reel_mesh_place(&r.mesh, &d, 3);
        reel_params_close(plan(&r, &cfg));
        TAP_OK((int64_t)r.planned[0] <= 4 * total / shard + pad && (int64_t)r.planned[1] <= 12 * total / shard + 3 * pad,
               "shard %d: %zu bytes of masters, %zu of gradients and moments, of %ld and %ld", shard, r.planned[0],
               r.planned[1], (long)(4 * total), (long)(12 * total));
        TAP_OK((int64_t)r.planned[2] <= 4 * units + 16 * pad, "shard %d: %zu bytes for gathered units and gradients (%ld + padding)",
               shard, r.planned[2], (long)(4 * units));
    }
    cfg.trainable = 0;
    reel_mesh_place(&r.mesh, &(struct reel_mesh_dims){ 1, 1, 1, 1, 1 }, 0);
    reel_params_close(plan(&r, &cfg));
    TAP_OK(r.planned[1] == 0 && r.planned[2] == 0, "a frozen f32 role on one rank: masters and nothing else");
}

/* Rows per rank as FSDP2 cuts them: ceil(n/size) each, the last ranks short or empty. */
static void rows(void)
{
    static const struct { const char *name; int rows[4]; } want[] = {
        { "patch.weight", { 3, 3, 3, 1 } },       { "blocks.0.to_q.bias", { 2, 2, 2, 1 } },
        { "blocks.0.table", { 1, 0, 0, 0 } },     { "blocks.1.small.weight", { 1, 1, 1, 0 } },
        { "head.weight", { 75, 75, 75, 75 } },    { "blocks.2.to_q.weight", { 513, 513, 513, 512 } },
        { "blocks.2.norm.weight", { 3, 3, 3, 1 } },
    };
    struct reel_params_cfg cfg = { "student", defs, N_DEF, N_UNITS, REEL_F32, 1, NULL, 1 };
    struct reel_mesh_dims d = { 8, 2, 4, 1, 1 };
    struct rig r;
    int ok = 1;

    for (int rank = 0; rank < 8; rank++) {
        struct reel_params *ps;

        reel_mesh_place(&r.mesh, &d, rank);
        ps = plan(&r, &cfg);
        for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
            struct reel_shard sh = reel_param_shard(ps, reel_param_find(ps, want[k].name));
            int64_t row0 = 0;

            for (int i = 0; i < rank % 4; i++) row0 += want[k].rows[i];
            ok &= sh.rows == want[k].rows[rank % 4] && sh.row0 == row0 && sh.w.n[0] == sh.rows && sh.m.n[0] == sh.rows;
        }
        reel_params_close(ps);
    }
    TAP_OK(ok, "rows of every rank of 2 x 4");
}

/* A planned step counts the bytes that the real one moves. */
static void traffic(void)
{
    struct reel_params_cfg cfg = { "student", defs, N_DEF, N_UNITS, REEL_F32, 1, NULL, 1 };
    struct rig r, p;
    struct reel_params *ps;
    int replicas = W.size % 2 ? 1 : 2;

    rig_open(&r, replicas, W.size / replicas, 1, REEL_F32, 1);
    reel_mesh_place(&p.mesh, &r.mesh.dims, W.rank);
    ps = plan(&p, &cfg);
    for (int u = 0; u < N_UNITS; u++) {
        struct reel_params *both[2] = { ps, r.ps };
        for (int k = 0; k < 2; k++) {
            reel_params_need(both[k], u);
            reel_grads_begin(both[k], u);
            reel_grads_reduce(both[k], u);
            reel_params_release(both[k], u);
        }
    }
    reel_grads_finish(ps);
    reel_grads_finish(r.ps);
    TAP_OK(everyone(memcmp(p.mesh.bytes, r.mesh.bytes, sizeof p.mesh.bytes) == 0 &&
                    (W.size == 1 || r.mesh.bytes[REEL_AXIS_REPLICATE][REEL_COLL_ALLTOALL] +
                                            r.mesh.bytes[REEL_AXIS_SHARD][REEL_COLL_ALLTOALL] > 0)),
           "a planned step counts what the real one moves");
    reel_params_close(ps);
    rig_close(&r);
}

/* ---- misuse dies ---------------------------------------------------------------------------- */

static jmp_buf escape;
static void on_die(int code) { longjmp(escape, code); }

static void overfetch(struct reel_params *ps)
{
    reel_params_prefetch(ps, 1);
    reel_params_prefetch(ps, 2);
    reel_params_prefetch(ps, 3);
}
static void use_early(struct reel_params *ps) { reel_param(ps, reel_param_find(ps, "blocks.0.to_q.bias")); }
static void release_twice(struct reel_params *ps)
{
    reel_params_need(ps, 1);
    reel_params_release(ps, 1);
    reel_params_release(ps, 1);
}
static void reduce_early(struct reel_params *ps) { reel_grads_reduce(ps, 1); }
static void begin_twice(struct reel_params *ps)
{
    reel_grads_begin(ps, 1);
    reel_grads_begin(ps, 1);
}
static void unreduced(struct reel_params *ps)
{
    reel_grads_begin(ps, 0);
    reel_grads_finish(ps);
}
static void no_such_name(struct reel_params *ps) { reel_param_find(ps, "blocks.9.to_q.bias"); }

/* Does f reach reel_die_? The hook jumps out of it. */
static int dies(void (*f)(struct reel_params *), struct reel_params *ps)
{
    void (*volatile hook)(int) = reel_die_hook;
    volatile int died = 1;

    reel_die_hook = on_die;
    if (!setjmp(escape)) {
        f(ps);
        died = 0;
    }
    reel_die_hook = hook;
    return died;
}

static void misuse(void)
{
    static const struct { void (*f)(struct reel_params *); const char *what; } bugs[] = {
        { overfetch, "a third block gathered" },  { use_early, "a parameter used before need()" },
        { release_twice, "a release too many" },  { reduce_early, "reduce() before begin()" },
        { begin_twice, "begin() twice" },         { unreduced, "finish() with a unit begun and not reduced" },
        { no_such_name, "a name the table lacks" },
    };

    for (size_t k = 0; k < sizeof bugs / sizeof *bugs; k++) {
        struct rig r;

        rig_open(&r, 1, 1, 1, REEL_F32, 1);
        TAP_OK(dies(bugs[k].f, r.ps), "a bug dies: %s", bugs[k].what);
        rig_close(&r);
    }
}

int main(int argc, char **argv)
{
    if (reel_comm_start(&W, &argc, &argv) || test_backend(&be, 1)) return 1;
    tap_quiet = W.rank != 0;
    for (int shard = 1; shard <= W.size; shard++) {
        if (W.size % shard) continue;
        gathers(W.size / shard, shard, 1, REEL_F32);
        gathers(W.size / shard, shard, 1, REEL_BF16);
        sums(W.size / shard, shard, 1);
        freeze(1);
        gathers(W.size / shard, shard, 1, REEL_F32);
        sums(W.size / shard, shard, 1);
        freeze(0);
    }
    split_params(1);
    for (int tp = 2; tp <= W.size && tp <= 7; tp++) splits(tp); /* the bias has 7 elements */
    split_params(0);
    traffic();
    if (W.size == 1) rows(), memory(), savings(), misuse();
    reel_backend_close(be);
    reel_comm_stop();
    return tap_done();
}
