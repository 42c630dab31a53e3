/* The causal transformer filled by rule, against numbers of the reference module run in float64: masks, teacher forcing,
 * the cache, FastVideo's zero keys; what configurations may say; its cost. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/wan_priv.h"
#include "tap.h"
#include "wan_rig.h"

/* 2 layers, 2 heads of 12 */
static const char config[] = "{\"num_layers\": 2, \"num_attention_heads\": 2, \"attention_head_dim\": 12,"
                             " \"ffn_dim\": 40, \"text_dim\": 8, \"sliding_window_num_frames\": 21}";
enum { T = 4, H = 4, W = 6, C = 16, HW = H * W, FRAME = C * HW, L = 512, ROWS = 5, TEXT = 8 };

static struct reel_comm world;
static int *sorted;
static float noisy[T * FRAME], clean[T * FRAME], text[L * TEXT]; /* [T,C,H,W] */
static const float t_frame[T] = { 1000, 1000, 250, 250 }, zero[T];

static double weight(void *ctx, int i, int64_t k)
{
    return rig_fill_value(&((struct rig *)ctx)->m.def[i], sorted[i], k);
}

static void latent(float *x, int64_t tensor)
{
    float file[T * FRAME];

    for (int i = 0; i < T * FRAME; i++) file[i] = (float)(4 * rig_u(tensor, i));
    rig_swap_tc(x, file, 1, C, T, HW);
}

static void near(const char *what, double got, double want, double tol)
{
    TAP_OK(fabs(got - want) <= tol, "%s: %.9g, off by %.1e", what, got, fabs(got - want));
}

static void start(struct rig *r, const struct reel_model_opts *opts, int frames, void (*scenario)(struct rig *, void *),
                  void *ctx)
{
    struct rig_shape shape = { .B = 1, .T = frames, .H = H, .W = W, .L = L, .per_frame = 1 };
    struct rig_plan plan = { &reel_model_wan_causal, *opts, scenario, ctx };

    REEL_BUG_IF(rig_open_plan(r, &world, (struct reel_mesh_dims){ 1, 1, 1, 1, 1 }, config, REEL_F32, 1, shape, &plan) !=
                    REEL_OK, "%s", reel_errrec()->msg);
    sorted = rig_sorted(&r->m);
    rig_fill(r, weight, r);
    scenario(r, ctx);
    free(sorted);
    rig_close(r);
}

/* ---- whole clips ---- */

struct numbers {
    const char *what;
    struct reel_model_opts opts;
    int frames, forced;
    double sum, squares, first[6], last[3]; /* in the order [C,T,H,W] */
};

static const struct numbers clips[] = {
    { "block-causal", RIG_OPTS(2, -1, 0, 0), 4, 0, -57.810978, 1600.439437,
      { 1.2408477, 0.4633252, 0.7284992, 0.6178339, -0.6784058, -1.8269308 }, { -0.5141135, 1.1881847, 0.8620162 } },
    { "teacher forcing", RIG_OPTS(2, -1, 0, 0), 4, 1, -56.913123, 1591.897762,
      { 1.2408477, 0.4633252, 0.7284992, 0.6178339, -0.6784058, -1.8269308 }, { -0.5172055, 1.0987360, 0.8758385 } },
    { "short last chunk", RIG_OPTS(2, -1, 0, 0), 3, 0, -34.214698778, 1286.812759645,
      { 1.2408477, 0.4633252, 0.7284992, 0.6178339, -0.6784058, -1.8269308 }, { 0.36407429, 0.33125674, 1.55570171 } },
    { "short last chunk, teacher forcing", RIG_OPTS(2, -1, 0, 0), 3, 1, -34.346135662, 1285.333773292,
      { 1.2408477, 0.4633252, 0.7284992, 0.6178339, -0.6784058, -1.8269308 }, { 0.4440664, 0.20906802, 1.5705544 } },
    { "short last chunk, window", RIG_OPTS(2, 2, 0, 0), 3, 0, -34.325997737, 1286.315875291,
      { 1.2408477, 0.4633252, 0.7284992, 0.6178339, -0.6784058, -1.8269308 }, { 0.35144834, 0.2947031, 1.53160428 } },
    { "parity, short last chunk", RIG_OPTS(2, -1, 0, 1), 3, 0, -34.210386244, 1286.552983404,
      { 1.2408477, 0.4633252, 0.7284992, 0.6178339, -0.6784058, -1.8269308 }, { 0.3674885, 0.31922107, 1.57241037 } },
    { "parity, short last chunk, teacher forcing", RIG_OPTS(2, -1, 0, 1), 3, 1, -34.362343290, 1285.484638143,
      { 1.2408477, 0.4633252, 0.7284992, 0.6178339, -0.6784058, -1.8269308 }, { 0.44104502, 0.22026798, 1.58274834 } },
    { "parity, short last chunk, window", RIG_OPTS(2, 2, 0, 1), 3, 0, -33.690959849, 1287.672029036,
      { 1.2408477, 0.4633252, 0.7284992, 0.6178339, -0.6784058, -1.8269308 }, { 0.3636492, 0.33637591, 1.55195994 } },
};

/* v [frames,C,H,W] */
static void check_numbers(const struct numbers *w, const float *v)
{
    int64_t n = w->frames * FRAME;
    float *o = malloc((size_t)n * sizeof *o);
    double sum = 0, squares = 0, off = 0;

    rig_swap_tc(o, v, 1, w->frames, C, HW);
    for (int64_t i = 0; i < n; i++) sum += (double)o[i], squares += (double)o[i] * (double)o[i];
    for (int i = 0; i < 6; i++) off = fmax(off, fabs((double)o[i] - w->first[i]));
    for (int i = 0; i < 3; i++) off = fmax(off, fabs((double)o[n - 3 + i] - w->last[i]));
    near(w->what, sum, w->sum, 2e-5);
    near("its sum of squares", squares, w->squares, 5e-4);
    TAP_OK(off < 2e-6, "its ends, off by %.1e", off);
    free(o);
}

static void whole_clip(struct rig *r, void *ctx)
{
    const struct numbers *w = ctx;
    size_t mark = r->act.used;
    float v[T * FRAME];

    if (w->forced) {
        r->in.clean = reel_new(&r->act, REEL_F32, r->io.x.n, 5);
        reel_put(&r->s, r->in.clean, clean);
    }
    rig_forward(r, noisy, t_frame, text, v, NULL);
    if (!r->s.planning) check_numbers(w, v);
    reel_arena_reset(&r->act, mark);
}

/* The same timestep for all frames of a sample, given once. */
static void one_timestep(struct rig *r, void *ctx)
{
    size_t mark = r->act.used;
    float t[T] = { 500, 500, 500, 500 }, v[2][T * FRAME];

    (void)ctx;
    r->in.clean = reel_new(&r->act, REEL_F32, r->io.x.n, 5);
    reel_put(&r->s, r->in.clean, clean);
    for (int k = 0; k < 4; k++) { /* without and with a clean half, per frame and per sample */
        struct reel_model_in keep = r->in;
        reel_tensor per_frame = r->io.t;

        if (k < 2) r->in.clean = (reel_tensor){ 0 };
        if (k % 2) r->io.t = reel_new(&r->act, REEL_F32, REEL_DIMS(1));
        rig_forward(r, noisy, t, text, v[k % 2], NULL);
        r->io.t = per_frame;
        r->in = keep;
        if (k % 2 && !r->s.planning)
            TAP_OK(!memcmp(v[0], v[1], sizeof v[0]), "one timestep a sample is that of all frames, %s", k < 2 ? "mask" : "forced");
    }
    reel_arena_reset(&r->act, mark);
}

/* ---- the cache ---- */

static void stream_numbers(struct rig *r, void *ctx)
{
    static const struct numbers want = { "second chunk, streaming", RIG_OPTS(2, -1, 0, 0), 2, 0, -37.970131, 602.996688,
        { -0.0348614, -1.1863417, 1.3485158, 0.5115584, 0.8460555, 1.7303660 }, { -0.5172055, 1.0987360, 0.8758385 } };
    static const double cached[4] = { 0.9534692, 0.3327644, -0.6422818, -0.3586850 };
    size_t mark = r->act.used;
    struct reel_kv *kv = r->m.ops->kv_open(&r->m, &r->act, (int64_t[5]){ 1, 4, C, H, W });
    float v[2 * FRAME], *k;
    double off = 0;

    (void)ctx;
    r->in = (struct reel_model_in){ .kv = kv, .store_only = 1 };
    rig_forward(r, clean, zero, text, NULL, NULL);
    r->in = (struct reel_model_in){ .kv = kv, .frame0 = 2 };
    rig_forward(r, noisy + 2 * FRAME, t_frame + 2, text, v, NULL);
    if (!r->s.planning) {
        check_numbers(&want, v);
        k = malloc(reel_bytes(kv->layer[0].k));
        reel_get(&r->s, k, kv->layer[0].k);
        for (int i = 0; i < 4; i++) off = fmax(off, fabs((double)k[12 * 24 + i] - cached[i]));
        TAP_OK(off < 1e-6, "key of token 12 in the cache, off by %.1e", off);
        TAP_OK(kv->end * kv->frame == 24 && !kv->rolled, "24 tokens have passed");
        free(k);
    }
    r->m.ops->kv_close(&r->m, kv);
    reel_arena_reset(&r->act, mark);
}

/* ---- configuration and cost ---- */

static const struct reel_model_opts unset = RIG_OPTS(REEL_INT_UNSET, REEL_INT_UNSET, REEL_INT_UNSET, 0);

static struct reel_model model_of(const char *json, struct reel_model_opts opts, reel_err *e)
{
    struct reel_model m = { .ops = &reel_model_wan_causal, .role = "student", .opts = opts };

    m.priv = calloc(1, m.ops->priv_size);
    *e = m.ops->init(&m, json, "config.json");
    return m;
}

static void model_free(struct reel_model *m)
{
    m->ops->fini(m);
    free(m->priv);
}

static void settings(void)
{
    reel_err e;
    struct reel_model m = model_of("{}", unset, &e);
    struct wan *w = m.priv;

    TAP_OK(!e && m.chunk == 3 && m.window == -1 && w->c.sink == 0 && !w->c.relativistic, "chunks of 3, no window by default");
    TAP_OK(m.n_def == 1095, "the parameters of the bidirectional model");
    model_free(&m);
    m = model_of("{\"num_frames_per_block\": 2, \"local_attn_size\": 7, \"sink_size\": 1, \"rope_cache_policy\": \"relativistic\"}",
                 unset, &e);
    w = m.priv;
    TAP_OK(!e && m.chunk == 2 && m.window == 7 && w->c.sink == 1 && w->c.relativistic, "config.json's own");
    model_free(&m);
    m = model_of("{\"num_frames_per_block\": 2, \"local_attn_size\": 7, \"sink_size\": 1}", (struct reel_model_opts)RIG_OPTS(5, -1, 3, 0), &e);
    w = m.priv;
    TAP_OK(!e && m.chunk == 5 && m.window == -1 && w->c.sink == 3, "the run's configuration comes first");
    model_free(&m);
}

static void refusals(void)
{
    static const struct { const char *json, *said; struct reel_model_opts opts; } bad[] = {
        { "{\"num_frames_per_block\": 0}", "num_frames_per_block must be a whole number from 1 to 65536",
          RIG_OPTS(REEL_INT_UNSET, REEL_INT_UNSET, REEL_INT_UNSET, 0) },
        { "{\"num_frames_per_block\": 1.5}", "num_frames_per_block must be", RIG_OPTS(REEL_INT_UNSET, -1, 0, 0) },
        { "{\"local_attn_size\": 0}", "local_attn_size must be a number of latent frames from 1 to 65536, or -1 for all",
          RIG_OPTS(2, REEL_INT_UNSET, 0, 0) },
        { "{\"sink_size\": -1}", "sink_size must be a whole number from 0 to 65536", RIG_OPTS(2, 4, REEL_INT_UNSET, 0) },
        { "{}", "a local_attn_size of 4 latent frames does not hold a chunk of 3 (num_frames_per_block) and a sink of 2 "
          "(sink_size): 5 are needed, or -1 for all", RIG_OPTS(3, 4, 2, 0) },
        { "{\"rope_cache_policy\": \"relative\"}", "rope_cache_policy must be \"absolute\" or \"relativistic\"", RIG_OPTS(2, -1, 0, 0) },
        { "{\"rope_cache_policy\": 3}", "rope_cache_policy must be", RIG_OPTS(2, -1, 0, 0) },
        { "{\"qk_norm\": \"rms_norm\"}", "qk_norm must be", RIG_OPTS(2, -1, 0, 0) },
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        reel_err e;
        struct reel_model m = model_of(bad[i].json, bad[i].opts, &e);

        TAP_OK(e == REEL_ECONFIG && strstr(reel_errrec()->msg, bad[i].said), "%s: %s", bad[i].json, reel_errrec()->msg);
        reel_err_clear();
        model_free(&m);
    }
}

static const char small[] = "{\"num_layers\": 30, \"num_attention_heads\": 12, \"ffn_dim\": 8960}";

/* 21 frames of 1560 tokens in 7 chunks show 4/7 of S^2 pairs; with a window of 6 frames (3 + 6*6)/(7*21). */
static void cost(void)
{
    reel_err e;
    struct reel_model all = model_of(small, (struct reel_model_opts)RIG_OPTS(21, -1, 0, 0), &e);
    struct reel_model m = model_of(small, (struct reel_model_opts)RIG_OPTS(3, -1, 0, 0), &e);
    struct reel_model w = model_of(small, (struct reel_model_opts)RIG_OPTS(3, 6, 0, 0), &e);
    double S = 32760, D = 1536, pair = 4 * D * 30, full = all.ops->flops(&all, 1, 21, 60, 104);

    TAP_OK(fabs(full / 2.830e14 - 1) < 1e-3, "one chunk costs what a bidirectional pass does");
    near("pairs of 7 chunks", (full - m.ops->flops(&m, 1, 21, 60, 104)) / pair / (S * S), 3.0 / 7, 1e-9);
    near("pairs of a window of two chunks", (full - w.ops->flops(&w, 1, 21, 60, 104)) / pair / (S * S), 36.0 / 49, 1e-9);
    model_free(&all);
    model_free(&m);
    model_free(&w);
}

int main(int argc, char **argv)
{
    static const struct reel_model_opts plain = RIG_OPTS(2, -1, 0, 0);
    struct rig r;
    int bad;

    if (reel_comm_start(&world, &argc, &argv)) return 1;
    latent(noisy, 1000);
    latent(clean, 1002);
    for (int i = 0; i < ROWS * TEXT; i++) text[i] = (float)(4 * rig_u(1001, i));
    for (size_t i = 0; i < sizeof clips / sizeof *clips; i++) {
        struct numbers w = clips[i];
        start(&r, &w.opts, w.frames, whole_clip, &w);
    }
    start(&r, &plain, T, one_timestep, NULL);
    start(&r, &plain, 2, stream_numbers, NULL);
    settings();
    refusals();
    cost();
    bad = tap_done();
    reel_comm_stop();
    return bad;
}
