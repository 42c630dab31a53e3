/* The model of tests/plugins, built in: its output against the formulas in f64, every gradient against
 * central differences of those, per-sample and per-frame timesteps, bf16, shards. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/scalar.h"
#include "tap.h"
#include "wan_rig.h"

extern const struct reel_model_ops reel_model_patch_mlp;

static const char config[] = "{\"num_layers\": 2, \"width\": 12, \"hidden\": 20, \"in_channels\": 3, \"patch_size\": 2,"
                             " \"freq_dim\": 8, \"text_dim\": 5, \"text_len\": 4}";
enum { B = 2, T = 3, H = 4, W = 6, C = 3, L = 4, E = 5, D = 12, F = 20, Q = 8, P = 2, LAYERS = 2,
       PIX = C * P * P, FRAME = (H / P) * (W / P), S = T * FRAME, N = B * T * C * H * W, MAX_DEF = 64 };

static double *par[MAX_DEF]; /* f64 copies of the parameters, by table index */
static struct rig r;

/* ---- the formulas in f64 ---- */

static double *find(const char *name)
{
    for (int i = 0; i < r.m.n_def; i++)
        if (!strcmp(r.m.def[i].name, name)) return par[i];
    printf("Bail out! no parameter %s\n", name);
    exit(99);
}

static const double *named(int block, const char *part, const char *tail)
{
    char name[64];

    if (block < 0) snprintf(name, sizeof name, "%s%s", part, tail);
    else snprintf(name, sizeof name, "blocks.%d.%s%s", block, part, tail);
    return find(name);
}

static double silu(double x) { return x / (1 + exp(-x)); }
static double gelu(double x) { return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

/* y[n] = w x + b */
static void lin(double *y, int n, const double *x, int k, int block, const char *part)
{
    const double *w = named(block, part, ".weight"), *b = named(block, part, ".bias");

    for (int i = 0; i < n; i++) {
        y[i] = b[i];
        for (int j = 0; j < k; j++) y[i] += w[i * k + j] * x[j];
    }
}

static void norm(double *y, const double *x, const double *shift, const double *scale)
{
    double mean = 0, var = 0;

    for (int i = 0; i < D; i++) mean += x[i] / D;
    for (int i = 0; i < D; i++) var += (x[i] - mean) * (x[i] - mean) / D;
    for (int i = 0; i < D; i++) y[i] = (x[i] - mean) / sqrt(var + 1e-6) * (1 + scale[i]) + shift[i];
}

static void time_path(double t, double *temb, double *tproj)
{
    double emb[Q], h[D], a[D];

    for (int j = 0; j < Q / 2; j++) {
        double x = (double)((float)t * reel_freq(j, Q / 2));
        emb[j] = cos(x);
        emb[Q / 2 + j] = sin(x);
    }
    lin(h, D, emb, Q, -1, "time.fc1");
    for (int i = 0; i < D; i++) a[i] = silu(h[i]);
    lin(temb, D, a, D, -1, "time.fc2");
    for (int i = 0; i < D; i++) a[i] = silu(temb[i]);
    lin(tproj, 3 * D, a, D, -1, "time.proj");
}

static void text_path(const double *rows, double *y)
{
    double mean[E] = { 0 }, h[D];

    for (int i = 0; i < L; i++)
        for (int j = 0; j < E; j++) mean[j] += rows[i * E + j] / L;
    lin(h, D, mean, E, -1, "text.fc1");
    for (int i = 0; i < D; i++) h[i] = gelu(h[i]);
    lin(y, D, h, D, -1, "text.fc2");
}

static void block(double x[S][D], const double *text, double tproj[T][3 * D], int i)
{
    const double *table = named(i, "modulation", "");
    double g[D], q[3 * D];

    for (int j = 0; j < D; j++) g[j] = text[j];
    for (int s = 0; s < S; s++)
        for (int j = 0; j < D; j++) g[j] += x[s][j] / S;
    lin(q, 3 * D, g, D, i, "context");
    for (int s = 0; s < S; s++) {
        double e[3 * D], n[D], h[F], u[D];
        for (int j = 0; j < 3 * D; j++) e[j] = table[j] + tproj[s / FRAME][j] + q[j];
        norm(n, x[s], e, e + D);
        lin(h, F, n, D, i, "fc1");
        for (int j = 0; j < F; j++) h[j] = gelu(h[j]);
        lin(u, D, h, F, i, "fc2");
        for (int j = 0; j < D; j++) x[s][j] += e[2 * D + j] * u[j];
    }
}

/* place of (c, py, px) of token s in a sample [T,C,H,W] */
static int pixel(int s, int c, int py, int px)
{
    int t = s / FRAME, y = s % FRAME / (W / P) * P + py, x = s % (W / P) * P + px;

    return ((t * C + c) * H + y) * W + x;
}

static void sample(const double *in, const double *t, const double *rows, double *v)
{
    const double *table = named(-1, "head.table", "");
    double x[S][D], temb[T][D], tproj[T][3 * D], text[D];

    for (int f = 0; f < T; f++) time_path(t[f], temb[f], tproj[f]);
    text_path(rows, text);
    for (int s = 0; s < S; s++) {
        double pix[PIX];
        for (int k = 0; k < PIX; k++) pix[k] = in[pixel(s, k / (P * P), k / P % P, k % P)];
        lin(x[s], D, pix, PIX, -1, "embed");
    }
    for (int i = 0; i < LAYERS; i++) block(x, text, tproj, i);
    for (int s = 0; s < S; s++) {
        double shift[D], scale[D], n[D], y[PIX];
        for (int j = 0; j < D; j++) {
            shift[j] = table[j] + temb[s / FRAME][j];
            scale[j] = table[D + j] + temb[s / FRAME][j];
        }
        norm(n, x[s], shift, scale);
        lin(y, PIX, n, D, -1, "head");
        for (int k = 0; k < PIX; k++) v[pixel(s, k % C, k / C / P, k / C % P)] = y[k];
    }
}

/* ---- inputs, and sum(v dv) of them ---- */

static double in_x[N], in_t[B * T], in_text[B * L * E], dv[N], want[N];

static double value(void)
{
    double sum = 0;

    for (int b = 0; b < B; b++)
        sample(in_x + b * (N / B), in_t + b * T, in_text + b * L * E, want + b * (N / B));
    for (int i = 0; i < N; i++) sum += want[i] * dv[i];
    return sum;
}

/* the derivative of value() along one number */
static double slope(double *at)
{
    double keep = *at, h = 1e-5, up, down;

    *at = keep + h;
    up = value();
    *at = keep - h;
    down = value();
    *at = keep;
    return (up - down) / (2 * h);
}

static void fill_inputs(int per_frame)
{
    for (int i = 0; i < N; i++) in_x[i] = (double)(float)(4 * rig_u(1000, i)), dv[i] = (double)(float)rig_u(1001, i);
    for (int i = 0; i < B * L * E; i++) in_text[i] = (double)(float)(4 * rig_u(1002, i));
    for (int i = 0; i < B * T; i++) in_t[i] = (double)(float)(500 + 800 * rig_u(1003, per_frame ? i : i / T));
}

static double weight(void *ctx, int i, int64_t k)
{
    (void)ctx;
    return par[i][k];
}

/* The same weights on both sides: what f32 holds. */
static void fill_weights(void)
{
    for (int i = 0; i < r.m.n_def; i++) {
        const struct reel_param_def *d = &r.m.def[i];
        int64_t n = d->n[0] * (d->nd > 1 ? d->n[1] : 1);

        par[i] = malloc((size_t)n * sizeof *par[i]);
        for (int64_t k = 0; k < n; k++)
            par[i][k] = (double)(float)(d->nd > 1 ? rig_u(i, k) * 3 / sqrt((double)d->n[1]) : 0.2 * rig_u(i, k));
    }
    rig_fill(&r, weight, NULL);
}

static float *narrow(const double *x, int n, int step)
{
    float *y = malloc((size_t)n * sizeof *y);

    for (int i = 0; i < n; i++) y[i] = (float)x[i * step];
    return y;
}

/* ---- comparisons ---- */

static double distance(const float *got, const double *ref, int64_t n)
{
    double d = 0, s = 0;

    for (int64_t i = 0; i < n; i++) {
        d += pow((double)got[i] - ref[i], 2);
        s += ref[i] * ref[i];
    }
    return sqrt(d / (s > 0 ? s : 1));
}

/* The relative distance of a gradient from central differences at every element. */
static double against_slopes(const float *got, double *at, int64_t n)
{
    double *ref = malloc((size_t)n * sizeof *ref), d;

    for (int64_t k = 0; k < n; k++) ref[k] = slope(at + k);
    d = distance(got, ref, n);
    free(ref);
    return d;
}

static void all_gradients(const float *dx, const float *dtext)
{
    double worst = 0;

    for (int i = 0; i < r.m.n_def; i++) {
        int64_t n, first;
        float *g = rig_grad(&r, i, &n, &first);
        double d = against_slopes(g, par[i], n);

        if (d > worst) worst = d;
        if (d > 5e-6) printf("# %s: %.1e\n", r.m.def[i].name, d);
        free(g);
    }
    TAP_OK(worst < 5e-6, "gradients of all %d parameters, off by %.1e of each", r.m.n_def, worst);
    worst = against_slopes(dx, in_x, N);
    TAP_OK(worst < 5e-6, "gradient of the latents, off by %.1e", worst);
    worst = against_slopes(dtext, in_text, B * L * E);
    TAP_OK(worst < 5e-6, "gradient of the text, off by %.1e", worst);
}

static int open_rig(struct reel_comm *world, reel_dtype dt, int per_frame)
{
    struct rig_shape shape = { .B = B, .T = T, .H = H, .W = W, .L = L, .per_frame = per_frame };
    const struct rig_plan plan = { .ops = &reel_model_patch_mlp };
    reel_err e = rig_open_plan(&r, world, (struct reel_mesh_dims){ 1, 1, 1, 1, 1 }, config, dt, 0, shape, &plan);

    TAP_OK(e == REEL_OK, "the model opens%s%s", e ? ": " : "", e ? reel_errrec()->msg : "");
    if (e) return 0;
    fill_inputs(per_frame);
    fill_weights();
    return 1;
}

static void close_rig(void)
{
    for (int i = 0; i < r.m.n_def; i++) free(par[i]);
    rig_close(&r);
}

static void one_pass(struct reel_comm *world, reel_dtype dt, int per_frame)
{
    static float v[N], dx[N], dtext[B * L * E];
    double bound = dt == REEL_F32 ? 2e-6 : 2e-2, d;
    float *x, *t, *text, *g;

    if (!open_rig(world, dt, per_frame)) return;
    x = narrow(in_x, N, 1);
    t = narrow(in_t, per_frame ? B * T : B, per_frame ? 1 : T);
    text = narrow(in_text, B * L * E, 1);
    g = narrow(dv, N, 1);
    rig_step(&r, x, t, text, g, v, dx, dtext);
    value();
    d = distance(v, want, N);
    TAP_OK(d < bound, "%s, timesteps per %s: output off by %.1e", reel_dtype_name(dt), per_frame ? "frame" : "sample", d);
    if (dt == REEL_F32) all_gradients(dx, dtext);
    free(x);
    free(t);
    free(text);
    free(g);
    close_rig();
}

static void refused(const char *text, const char *words)
{
    struct patch { char priv[512]; } room = { { 0 } };
    struct reel_model m = { .ops = &reel_model_patch_mlp, .priv = &room };
    reel_err e = reel_model_patch_mlp.init(&m, text, "config.json");

    TAP_OK(e == REEL_ECONFIG && strstr(reel_errrec()->msg, words), "%s", reel_errrec()->msg);
    reel_err_clear();
}

int main(int argc, char **argv)
{
    struct reel_comm world;

    if (reel_comm_start(&world, &argc, &argv)) return 99;
    one_pass(&world, REEL_F32, 0);
    one_pass(&world, REEL_F32, 1);
    one_pass(&world, REEL_BF16, 1);
    refused("{\"num_layers\": 0}", "num_layers must be a positive integer, at most 64");
    refused("{", "config.json:1:");
    reel_comm_stop();
    return tap_done();
}
