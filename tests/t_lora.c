/* Adapters in a whole transformer: which layers get one, gradients against differences, what stays
 * frozen, the merged model, recomputed activations. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/lora.h"
#include "tap.h"
#include "wan_rig.h"

static const char config[] = "{\"num_layers\": 2, \"num_attention_heads\": 2, \"attention_head_dim\": 16,"
                             " \"ffn_dim\": 72, \"text_dim\": 12, \"freq_dim\": 32}";
enum { B = 2, T = 3, H = 8, W = 12, C = 16, N = B * T * C * H * W, L = 20, M = B * L * 12, RANK = 3 };
#define SCALE 1.5

static struct reel_comm world;
static float x[N], text[M], cot[N], t[B] = { 833.25f, 41.875f };

static int wants(const void *ctx, const char *layer)
{
    for (const char *const *part = ctx; *part; part++)
        if (strstr(layer, *part)) return !strstr(layer, "embedder");
    return 0;
}
static const char *const everything[] = { "to_q", "to_k", "to_v", "to_out", "to_gate_compress", "ffn", "proj_out", "embedder", NULL };

/* Every model that takes adapters. */
static const struct kind { const char *name; const struct reel_model_ops *ops; struct reel_model_opts opts; int layers; } kinds[] = {
    { "wan", &reel_model_wan, RIG_OPTS(0, 0, 0, 0), 21 },
    { "wan, sparse attention", &reel_model_wan, { .sparse = 1 }, 23 },
    { "wan_causal", &reel_model_wan_causal, RIG_OPTS(1, -1, 0, 0), 21 },
};
static const struct kind *kind = kinds;

/* Base weights by the rule of the tests; adapters with a B that is not zero. */
static double weight(void *ctx, int i, int64_t k)
{
    const struct reel_param_def *d = &((struct rig *)ctx)->m.def[i];

    return d->part == REEL_PARAM_OWN ? rig_fill_value(d, i, k) : rig_u(i, k) * (d->part == REEL_PARAM_LORA_A ? 0.5 : 0.3);
}

static void start(struct rig *r, int adapters, int checkpointing, reel_dtype dt)
{
    struct rig_shape shape = { .B = B, .T = T, .H = H, .W = W, .L = L };
    struct rig_plan plan = { .ops = kind->ops, .opts = kind->opts };

    if (adapters) plan.opts.lora = (struct reel_lora_opts){ RANK, SCALE, wants, everything };
    REEL_BUG_IF(rig_open_plan(r, &world, (struct reel_mesh_dims){ 1, 1, 1, 1, 1 }, config, dt, checkpointing, shape, &plan) != REEL_OK,
                "%s", reel_errrec()->msg);
    rig_fill(r, weight, r);
}

static void table(void)
{
    struct rig r;
    int n = 0, good = 1;

    start(&r, 1, 0, REEL_F32);
    for (int i = 0; i < r.m.n_def; i++) {
        const struct reel_param_def *d = &r.m.def[i];
        if (d->part == REEL_PARAM_OWN) {
            good &= d->frozen && !reel_param_shard(r.m.ps, i).g.nd;
            continue;
        }
        n++;
        good &= !d->frozen && reel_param_shard(r.m.ps, i).g.nd == 2 && (d->n[0] == RANK || d->n[1] == RANK);
    }
    TAP_OK(good && n == 2 * kind->layers, "%s: two matrices beside each of %d layers, everything else frozen (%d)", kind->name,
           kind->layers, n);
    TAP_OK(!strcmp(r.m.def[r.m.def[reel_param_find(r.m.ps, "blocks.1.attn2.to_out.0.weight")].adapter].name,
                   "blocks.1.attn2.to_out.0.lora_A"),
           "their names");
    TAP_OK(reel_param_shard(r.m.ps, reel_param_find(r.m.ps, "proj_out.lora_B")).rows == 4 * C, "the root's layers too");
    rig_close(&r);
}

static double loss(struct rig *r, float *v)
{
    size_t mark = r->act.used;
    double s = 0;

    rig_forward(r, x, t, text, v, NULL);
    reel_arena_reset(&r->act, mark);
    for (int i = 0; i < N; i++) s += (double)v[i] * (double)cot[i];
    return s;
}

static void put(struct rig *r, int i, const float *w)
{
    reel_put(&r->s, reel_param_shard(r->m.ps, i).w, w);
    reel_sync(&r->s);
}

/* Along one random direction of a parameter, against the backward pass. */
static double slope_error(struct rig *r, int i, float *v)
{
    reel_tensor w = reel_param_shard(r->m.ps, i).w;
    int64_t n = reel_numel(w), gn, first;
    float *g = rig_grad(r, i, &gn, &first), *keep = malloc((size_t)n * 4), *moved = malloc((size_t)n * 4);
    double ana = 0, num = 0, norm = 0;
    const double h = 2e-3;

    reel_get(&r->s, keep, w);
    for (int64_t k = 0; k < n; k++) ana += (double)g[k] * rig_u(500 + i, k), norm += (double)g[k] * (double)g[k];
    for (int sign = 1; sign >= -1; sign -= 2) {
        for (int64_t k = 0; k < n; k++) moved[k] = (float)((double)keep[k] + sign * h * rig_u(500 + i, k));
        put(r, i, moved);
        num += sign * loss(r, v);
    }
    put(r, i, keep);
    free(g), free(keep), free(moved);
    return fabs(num / (2 * h) - ana) / (fabs(ana) + sqrt(norm));
}

static void differences(void)
{
    static float v[N];
    double worst = 0;
    int n = 0;
    struct rig r;

    start(&r, 1, 0, REEL_F32);
    rig_step(&r, x, t, text, cot, v, NULL, NULL);
    for (int i = 0; i < r.m.n_def; i++) {
        if (r.m.def[i].part == REEL_PARAM_OWN) continue;
        double e = slope_error(&r, i, v);
        worst = fmax(worst, e), n++;
        if (!(e < 5e-3)) printf("# %s: %.2e\n", r.m.def[i].name, e);
    }
    TAP_OK(worst < 5e-3, "%s: gradients of %d adapter matrices are the slopes of the loss (%.1e)", kind->name, n, worst);
    rig_close(&r);
}

/* The model with W + scale B A in the place of W. */
static void merged(void)
{
    static float v[N], w[N], dx[N], dxm[N];
    double d = 0, e = 0, dd = 0, ee = 0;
    struct rig r, m;

    start(&r, 1, 0, REEL_F32);
    start(&m, 0, 0, REEL_F32);
    for (int i = 0; i < m.m.n_def; i++) {
        reel_tensor s = reel_param_shard(m.m.ps, i).w;
        int a = r.m.def[i].adapter;
        int64_t K = a ? s.n[1] : 0;
        float *host = malloc(reel_bytes(s));
        reel_get(&m.s, host, reel_param_shard(r.m.ps, i).w);
        for (int64_t k = 0; a && k < reel_numel(s); k++)
            for (int q = 0; q < RANK; q++)
                host[k] += (float)(SCALE * weight(&r, a + 1, k / K * RANK + q) * weight(&r, a, q * K + k % K));
        put(&m, i, host);
        free(host);
    }
    rig_step(&r, x, t, text, cot, v, dx, NULL);
    rig_step(&m, x, t, text, cot, w, dxm, NULL);
    for (int i = 0; i < N; i++) {
        d += pow((double)v[i] - (double)w[i], 2), e += pow((double)w[i], 2);
        dd += pow((double)dx[i] - (double)dxm[i], 2), ee += pow((double)dxm[i], 2);
    }
    TAP_OK(sqrt(d / e) < 2e-6 && sqrt(dd / ee) < 1e-5, "%s: the merged model gives the same velocity (%.1e) and gradient at x (%.1e)", kind->name,
           sqrt(d / e), sqrt(dd / ee));
    TAP_OK(r.optim.cap < m.optim.cap / 4 && r.work.cap < m.work.cap, "and takes %zu bytes of gradients and moments, not %zu",
           r.optim.cap, m.optim.cap);
    rig_close(&r);
    rig_close(&m);
}

static void bits(reel_dtype dt)
{
    static float v[N], w[N];
    int64_t n, first;
    int same = 1;
    struct rig r, k;

    start(&r, 1, 0, dt);
    start(&k, 1, 1, dt);
    rig_step(&r, x, t, text, cot, v, NULL, NULL);
    rig_step(&k, x, t, text, cot, w, NULL, NULL);
    for (int i = 0; i < r.m.n_def; i++) {
        float *g = rig_grad(&r, i, &n, &first), *h = rig_grad(&k, i, &n, &first);
        same &= !memcmp(g, h, (size_t)n * sizeof *g);
        free(g), free(h);
    }
    TAP_OK(same && !memcmp(v, w, sizeof v), "%s, %s: recomputing activations changes no bit", kind->name, reel_dtype_name(dt));
    TAP_OK(r.act.peak == r.act.cap && r.scratch.peak == r.scratch.cap, "%s, %s: a pass takes what planning counted", kind->name, reel_dtype_name(dt));
    rig_close(&r);
    rig_close(&k);
}

int main(int argc, char **argv)
{
    if (reel_comm_start(&world, &argc, &argv)) return 1;
    for (int i = 0; i < N; i++) x[i] = (float)(4 * rig_u(900, i)), cot[i] = (float)rig_u(902, i);
    for (int i = 0; i < M; i++) text[i] = (float)(4 * rig_u(901, i));
    for (; kind < kinds + sizeof kinds / sizeof *kinds; kind++) {
        table();
        differences();
        merged();
        bits(REEL_F32);
        bits(REEL_BF16);
    }
    reel_comm_stop();
    return tap_done();
}
