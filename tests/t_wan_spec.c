/* A transformer filled by rule, against numbers of the reference module run in float64; the parameter
 * tables of the released models; their cost; what a configuration may not say. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "wan_rig.h"

/* 2 layers, 2 heads of 12; loss = mean((out - target)^2), so its gradient is 2 (out - target)/n */
static const char config[] = "{\"num_layers\": 2, \"num_attention_heads\": 2, \"attention_head_dim\": 12,"
                             " \"ffn_dim\": 40, \"text_dim\": 8, \"unknown\": [1]}";
enum { T = 4, H = 4, W = 6, C = 16, N = T * C * H * W, L = 512, ROWS = 5, TEXT = 8 };

static const struct { const char *name; double norm, first; } gradients[] = {
    { "blocks.0.attn1.norm_k.weight", 0.007455329, 0.0009776733 },
    { "blocks.0.attn1.norm_q.weight", 0.007187952, -0.0004574385 },
    { "blocks.0.attn1.to_k.bias", 0.003483573, -0.0007304531 },
    { "blocks.0.attn1.to_k.weight", 0.04072266, -0.0004873764 },
    { "blocks.0.attn1.to_out.0.bias", 0.04201545, 4.810453e-06 },
    { "blocks.0.attn1.to_out.0.weight", 0.06375174, -9.863842e-07 },
    { "blocks.0.attn1.to_q.bias", 0.01093676, -0.001893037 },
    { "blocks.0.attn1.to_q.weight", 0.03859127, 2.487164e-05 },
    { "blocks.0.attn1.to_v.bias", 0.03586028, -0.002993824 },
    { "blocks.0.attn1.to_v.weight", 0.05684179, -0.0009766383 },
    { "blocks.0.attn2.norm_k.weight", 0.001269659, -0.0001273836 },
    { "blocks.0.attn2.norm_q.weight", 0.00126303, -0.0001322499 },
    { "blocks.0.attn2.to_k.bias", 0.009311777, -0.002461409 },
    { "blocks.0.attn2.to_k.weight", 0.005445777, 5.254673e-05 },
    { "blocks.0.attn2.to_out.0.bias", 0.1270039, 0.01172764 },
    { "blocks.0.attn2.to_out.0.weight", 0.05150298, 0.0001370289 },
    { "blocks.0.attn2.to_q.bias", 0.001457193, -0.0001763686 },
    { "blocks.0.attn2.to_q.weight", 0.00557561, -0.0004009458 },
    { "blocks.0.attn2.to_v.bias", 0.1118888, 0.02270508 },
    { "blocks.0.attn2.to_v.weight", 0.04143493, -0.0004262875 },
    { "blocks.0.ffn.net.0.proj.bias", 0.01320017, 0.0009920131 },
    { "blocks.0.ffn.net.0.proj.weight", 0.04597155, 0.000331853 },
    { "blocks.0.ffn.net.2.bias", 0.02411875, -0.0006195633 },
    { "blocks.0.ffn.net.2.weight", 0.05840948, 0.0002030659 },
    { "blocks.0.norm2.bias", 0.000995155, 0.0002767344 },
    { "blocks.0.norm2.weight", 0.0007607799, 0.0001555931 },
    { "blocks.0.scale_shift_table", 0.05117091, 0.004362093 },
    { "condition_embedder.text_embedder.linear_1.bias", 0.06796055, -0.01456448 },
    { "condition_embedder.text_embedder.linear_1.weight", 0.004947269, 0.0003172287 },
    { "condition_embedder.text_embedder.linear_2.bias", 0.1368958, 0.006677422 },
    { "condition_embedder.text_embedder.linear_2.weight", 0.02095927, -0.0002893496 },
    { "condition_embedder.time_embedder.linear_1.bias", 0.1773953, 0.00970416 },
    { "condition_embedder.time_embedder.linear_1.weight", 2.006999, 0.002545422 },
    { "condition_embedder.time_embedder.linear_2.bias", 0.4115987, 0.09248903 },
    { "condition_embedder.time_embedder.linear_2.weight", 0.6363861, -0.009532696 },
    { "condition_embedder.time_proj.bias", 0.08845235, 0.0009263362 },
    { "condition_embedder.time_proj.weight", 0.05858341, 4.714189e-05 },
    { "patch_embedding.bias", 0.1238965, 0.01510443 },
    { "patch_embedding.weight", 0.7139963, 0.002488264 },
    { "proj_out.bias", 0.111151, 0.01794324 },
    { "proj_out.weight", 0.5202721, -0.0119495 },
    { "scale_shift_table", 0.3648697, 0.01757136 },
};

static int *sorted;
static struct rig r;

static double weight(void *ctx, int i, int64_t k)
{
    (void)ctx;
    return rig_fill_value(&r.m.def[i], sorted[i], k);
}

/* expected values at places of an intermediate */
static const struct { int block; const char *name; int at; double want; } places[] = {
    { -1, "temb", 0, 0.0970735 }, { -1, "temb", 1, -0.1769860 }, { -1, "temb", 2, 0.2070523 },
    { -1, "temb", 3, 0.1322798 }, { -1, "tproj", 0, 0.2071779 }, { -1, "tproj", 1, 0.0374740 },
    { -1, "tproj", 2, 0.0044230 }, { -1, "tproj", 120, -0.1326747 }, { -1, "tproj", 121, -0.0295290 },
    { -1, "tproj", 122, -0.0171550 }, { -1, "tokens", 0, -0.7104052 }, { -1, "tokens", 1, -1.6632331 },
    { -1, "tokens", 2, 0.1800868 }, { -1, "tokens", 3, -2.0634889 }, { -1, "tokens", 7 * 24, 0.4394538 },
    { -1, "tokens", 7 * 24 + 1, -0.8393138 }, { -1, "tokens", 7 * 24 + 2, 0.0835606 },
    { -1, "tokens", 7 * 24 + 3, -0.0284623 }, { 0, "block_out", 0, -0.7666727 }, { 0, "block_out", 1, -1.7419685 },
    { 0, "block_out", 2, 0.2748580 }, { 0, "block_out", 3, -2.1263745 },
};
static int seen;

static void probe(void *ctx, const char *phase, int block, const char *name, reel_tensor x)
{
    float *got = malloc(reel_bytes(x));

    (void)ctx;
    reel_get(&r.s, got, x);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (strcmp(phase, "act") || places[i].block != block || strcmp(places[i].name, name)) continue;
        seen++;
        TAP_OK(fabs((double)got[places[i].at] - places[i].want) < 2e-6, "%s[%d] %.7f, error %.1e", name,
               places[i].at, places[i].want, (double)got[places[i].at] - places[i].want);
    }
    free(got);
}

static double norm_of(const float *p, int64_t n)
{
    double s = 0;

    for (int64_t i = 0; i < n; i++) s += (double)p[i] * (double)p[i];
    return sqrt(s);
}

static void near(const char *what, double got, double want, double bound)
{
    TAP_OK(fabs(got - want) <= bound, "%s: %.8g, wanted %.8g", what, got, want);
}

/* a tensor 4u, [C,T,H,W] -> [T,C,H,W] */
static void latent(float *dst, int64_t no)
{
    float src[N];

    for (int i = 0; i < N; i++) src[i] = (float)(4 * rig_u(no, i));
    rig_swap_tc(dst, src, 1, C, T, H * W);
}

static void outputs(const float *v)
{
    float o[N];
    double sum = 0;

    rig_swap_tc(o, v, 1, T, C, H * W);
    for (int i = 0; i < N; i++) sum += (double)o[i];
    near("sum of the output", sum, -39.90545, 2e-4);
    near("its sum of squares", pow(norm_of(o, N), 2), 1260.34201, 2e-3);
    near("first", (double)o[0], 1.6614847, 2e-6);
    near("sixth", (double)o[5], -1.8330393, 2e-6);
    near("last", (double)o[N - 1], 1.7304562, 2e-6);
}

static void all_gradients(void)
{
    double total = 0;

    for (int i = 0; i < r.m.n_def; i++) {
        int64_t n, first;
        float *g = rig_grad(&r, i, &n, &first);

        total += pow(norm_of(g, n), 2);
        for (size_t k = 0; k < sizeof gradients / sizeof *gradients; k++)
            if (!strcmp(gradients[k].name, r.m.def[i].name))
                TAP_OK(fabs(norm_of(g, n) - gradients[k].norm) < 5e-5 * gradients[k].norm &&
                           fabs((double)g[0] - gradients[k].first) < 5e-5 * gradients[k].norm,
                       "gradient of %s: norm off by %.1e of it, first by %.1e", gradients[k].name,
                       fabs(norm_of(g, n) / gradients[k].norm - 1),
                       fabs((double)g[0] - gradients[k].first) / gradients[k].norm);
        free(g);
    }
    near("norm over all parameters", sqrt(total), 2.3900231, 5e-6);
}

static void golden_numbers(struct reel_comm *world)
{
    static float x[N], target[N], v[N], dv[N], dx[N], text[L * TEXT], dtext[L * TEXT], t = 937.5f;
    struct rig_shape shape = { .B = 1, .T = T, .H = H, .W = W, .L = L };
    struct reel_kept *kept;
    double loss = 0;

    if (rig_open(&r, world, (struct reel_mesh_dims){ 1, 1, 1, 1, 1 }, config, REEL_F32, 1, shape)) return;
    sorted = rig_sorted(&r.m);
    rig_fill(&r, weight, NULL);
    r.m.probe = probe;
    latent(x, 1000);
    latent(target, 1005);
    for (int i = 0; i < ROWS * TEXT; i++) text[i] = (float)(4 * rig_u(1001, i));
    rig_forward(&r, x, &t, text, v, &kept);
    outputs(v);
    for (int i = 0; i < N; i++) {
        double d = (double)v[i] - (double)target[i];

        loss += d * d / N;
        dv[i] = (float)(2 * d / N);
    }
    near("loss", loss, 2.1722503, 1e-6);
    rig_backward(&r, kept, dv, dx, dtext);
    TAP_OK(seen == (int)(sizeof places / sizeof *places), "every intermediate was seen");
    all_gradients();
    near("gradient of x, norm", norm_of(dx, N), 0.06449104, 1e-7);
    near("gradient of x, first", (double)dx[0], -0.0025838514, 1e-8);
    near("gradient of the text, norm", norm_of(dtext, L * TEXT), 0.002667928, 2e-8);
    near("and of its padding", norm_of(dtext + ROWS * TEXT, (L - ROWS) * TEXT), 0.002428617, 2e-8);
    free(sorted);
    rig_close(&r);
}

/* ---- tables and cost ---- */

static struct reel_model model_of(const char *json, reel_err *e)
{
    struct reel_model m = { .ops = &reel_model_wan, .role = "student" };

    m.priv = calloc(1, m.ops->priv_size);
    *e = m.ops->init(&m, json, "config.json");
    return m;
}

static void model_free(struct reel_model *m)
{
    m->ops->fini(m);
    free(m->priv);
}

static void table(const char *json, int tensors, int64_t params, const char *what)
{
    reel_err e;
    struct reel_model m = model_of(json, &e);
    int64_t n = 0;
    int bad = 0;

    for (int i = 0; i < m.n_def; i++) {
        int64_t k = 1;

        for (int d = 0; d < m.def[i].nd; d++) k *= m.def[i].n[d];
        n += k;
        bad += m.def[i].nd == 1 && !m.def[i].keep_f32;
        bad += i && m.def[i].unit < m.def[i - 1].unit;
    }
    TAP_OK(!e && m.n_def == tensors && n == params, "%s: %d tensors, %ld parameters", what, m.n_def, (long)n);
    TAP_OK(!bad, "%s: units in order, vectors kept in f32", what);
    model_free(&m);
}

static const char small[] = "{\"num_layers\": 30, \"num_attention_heads\": 12, \"ffn_dim\": 8960}";

static void cost(void)
{
    reel_err e;
    struct reel_model m = model_of(small, &e), l = model_of("{}", &e);

    TAP_OK(fabs(m.ops->flops(&m, 1, 21, 60, 104) / 2.830e14 - 1) < 1e-3, "1.3B, 32760 tokens");
    TAP_OK(fabs(m.ops->flops(&m, 2, 21, 90, 160) / 2.5e15 - 1) < 2e-3, "1.3B, twice 75600 tokens");
    TAP_OK(fabs(l.ops->flops(&l, 1, 21, 60, 104) / 1.678e15 - 1) < 1e-3, "14B, 32760 tokens");
    model_free(&m);
    model_free(&l);
}

static void starts(void)
{
    reel_err e;
    struct reel_model m = model_of("{\"num_layers\": 1, \"num_attention_heads\": 4, \"attention_head_dim\": 32,"
                                   " \"ffn_dim\": 512, \"text_dim\": 64, \"text_len\": 12}", &e);
    static const struct { const char *name; enum reel_init init; double scale; uint32_t ones; } want[] = {
        { "patch_embedding.weight", REEL_INIT_NORMAL, 0.125, 0 },
        { "condition_embedder.time_embedder.linear_1.weight", REEL_INIT_NORMAL, 0.0625, 0 },
        { "scale_shift_table", REEL_INIT_NORMAL, 0.088388347648318447, 0 },
        { "proj_out.weight", REEL_INIT_ZERO, -1, 0 },
        { "blocks.0.scale_shift_table", REEL_INIT_NORMAL, 0.088388347648318447, 1u << 2 | 1u << 5 },
        { "blocks.0.attn1.norm_q.weight", REEL_INIT_ONE, -1, 0 },
        { "blocks.0.attn2.to_k.bias", REEL_INIT_ZERO, -1, 0 },
        { "blocks.0.ffn.net.2.weight", REEL_INIT_NORMAL, 0.044194173824159223, 0 },
    };
    int ok = 0;

    for (size_t k = 0; k < sizeof want / sizeof *want; k++)
        for (int i = 0; i < m.n_def; i++)
            ok += !strcmp(m.def[i].name, want[k].name) && m.def[i].init == want[k].init &&
                  m.def[i].init_ones == want[k].ones &&
                  (want[k].scale < 0 || m.def[i].init_scale == (float)want[k].scale);
    TAP_OK(ok == (int)(sizeof want / sizeof *want), "initial values, %d of 8", ok);
    TAP_OK(!*m.assumed, "a config.json that says all");
    TAP_OK(m.text_len == 12 && m.text_dim == 64 && m.channels == 16 && m.heads == 4 && m.n_units == 2, "facts of a model");
    model_free(&m);
}

static void assumptions(void)
{
    reel_err e;
    struct reel_model m = model_of("{\"num_layers\": 1, \"ffn_dim\": null}", &e);

    TAP_OK(!e && !strcmp(m.assumed, "num_attention_heads 40, attention_head_dim 128, ffn_dim 13824 (Wan 14B)"), "and one that leaves out sizes: %s",
           m.assumed);
    model_free(&m);
}

static void refusals(void)
{
    static const struct { const char *json, *said; } bad[] = {
        { "{\"num_layers\": 0}", "num_layers must be a whole number from 1 to 4096" },
        { "{\"attention_head_dim\": 33}", "attention_head_dim must be even, not 33" },
        { "{\"num_layers\": 2.5}", "num_layers must be a whole number" },
        { "{\"qk_norm\": \"rms_norm\"}", "qk_norm must be \"rms_norm_across_heads\"" },
        { "{\"cross_attn_norm\": false}", "cross_attn_norm must be true" },
        { "{\"image_dim\": 1280}", "image_dim is set" },
        { "{\"patch_size\": [2, 2, 2]}", "patch_size must be [1, height, width]" },
        { "{\"eps\": 0}", "eps must be a positive number" },
        { "{\"out_channels\": 32}", "in_channels 16 and out_channels 32 differ" },
        { "{\"_class_name\": \"FluxTransformer2DModel\"}", "a WanTransformer3DModel is needed" },
        { "{\"num_layers\": 2,}", "config.json:1:" },
        { "[]", "not a JSON object" },
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        reel_err e;
        struct reel_model m = model_of(bad[i].json, &e);

        TAP_OK(e == REEL_ECONFIG && strstr(reel_errrec()->msg, bad[i].said), "%s: %s", bad[i].json, reel_errrec()->msg);
        reel_err_clear();
        model_free(&m);
    }
}

int main(int argc, char **argv)
{
    struct reel_comm world;
    int bad;

    if (reel_comm_start(&world, &argc, &argv)) return 1;
    golden_numbers(&world);
    table(small, 825, 1418996800, "1.3B");
    table("{}", 1095, 14288491584, "14B");
    cost();
    starts();
    assumptions();
    refusals();
    bad = tap_done();
    reel_comm_stop();
    return bad;
}
