/* Elements of mathematics and named draws, against libm in f64 and the golden draws. */
#include <inttypes.h>
#include <jansson.h>

#include "op.h"
#include "tensor/safetensors.h"

/* ---- scalar.h against f64, every 5000th float or so ---- */

static double ulps(float got, double want)
{
    float w = (float)want;
    double u = (double)(nextafterf(fabsf(w), INFINITY) - fabsf(w));
    return fabs((double)got - want) / u;
}

static double worst_ulps(float (*f)(float), double (*ref)(double), float lo, float hi)
{
    double worst = 0;

    for (uint32_t u = 0; u < 0xff800000u; u += 4999) {
        float x = reel_bits_f32(u);
        if (!(x >= lo && x <= hi)) continue;
        worst = fmax(worst, ulps(f(x), ref((double)x)));
    }
    return worst;
}

static float f_exp(float x) { return reel_expf(x); }
static float f_log(float x) { return reel_logf(x); }
static float f_tanh(float x) { return reel_tanhf(x); }
static float f_sin(float x) { return (float)reel_sincos64((double)x).s; }
static float f_cos(float x) { return (float)reel_sincos64((double)x).c; }
static float f_silu(float x) { return reel_silu(x); }
static float f_gelu(float x) { return reel_gelu(x); }
static double d_silu(double x) { return x / (1 + exp(-x)); }
static double d_gelu(double x) { return x / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

static void scalars(void)
{
    static const struct { const char *name; float (*f)(float); double (*ref)(double); float lo, hi; double tol; } t[] = {
        { "exp", f_exp, exp, -87, 88.7f, 1.1 }, { "log", f_log, log, 1.2e-38f, 3e38f, 0.51 },
        { "log near 1", f_log, log, 0.99f, 1.01f, 0.51 }, { "tanh", f_tanh, tanh, -40, 40, 5 },
        { "sin", f_sin, sin, -4000, 4000, 0.51 }, { "cos", f_cos, cos, -4000, 4000, 0.51 },
        { "silu", f_silu, d_silu, -80, 80, 3 }, { "gelu_tanh", f_gelu, d_gelu, -1, 20, 6 },
    };
    float inf = INFINITY;

    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        double e = worst_ulps(t[i].f, t[i].ref, t[i].lo, t[i].hi);
        TAP_OK(e <= t[i].tol, "%s within %.2f ulp on [%g, %g] (%.3f)", t[i].name, t[i].tol, (double)t[i].lo, (double)t[i].hi, e);
    }
    TAP_OK(reel_expf(inf) == inf && reel_expf(89) == inf && reel_expf(-inf) < 1e-44f && isnan(reel_expf(NAN)), "exp of infinities and NaN");
    TAP_OK(reel_expf(-95) > 0 && fabs((double)reel_expf(-95) / exp(-95.0) - 1) < 2e-4, "exp underflows gradually");
    TAP_OK(reel_tanhf(inf) == 1 && reel_tanhf(-inf) == -1 && isnan(reel_tanhf(NAN)), "tanh of infinities and NaN");
    TAP_OK(reel_gelu(3e38f) == 3e38f && reel_gelu(-3e38f) == 0 && isfinite(reel_gelu_d(3e38f)) && isnan(reel_gelu(NAN)) && isnan(reel_gelu_d(NAN)), "gelu far out");
    TAP_OK(isnan(reel_silu(NAN)) && isnan(reel_silu_d(NAN)), "silu of NaN");
}

static void bf16(void)
{
    int bad = 0;

    for (uint32_t u = 0; u < 0xffff0000u; u += 257) {
        float x = reel_bits_f32(u), y = reel_bf16_f32(reel_f32_bf16(x)), lo, hi;
        if (isnan(x)) {
            bad += !isnan(y);
            continue;
        }
        lo = reel_bits_f32(u & 0xffff0000u), hi = reel_bits_f32((u & 0xffff0000u) + 0x10000u);
        bad += !(y == lo || y == hi);
        if (!isfinite(hi)) continue;
        bad += fabs((double)y - (double)x) > fmin(fabs((double)lo - (double)x), fabs((double)hi - (double)x));
        bad += fabs((double)lo - (double)x) == fabs((double)hi - (double)x) && (reel_f32_bf16(x) & 1);
    }
    TAP_OK(!bad, "bf16: to nearest, ties to even, NaN stays NaN (%d wrong)", bad);
}

/* ---- Philox, FNV ---- */

static int words_are(struct reel_philox4 p, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    return p.w[0] == a && p.w[1] == b && p.w[2] == c && p.w[3] == d;
}

static void generator(void)
{
    TAP_OK(words_are(reel_philox(0, 0, 0, 0, 0), 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8), "Philox of zeros");
    TAP_OK(words_are(reel_philox(~0u, ~0u, ~0u, ~0u, ~(uint64_t)0), 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd), "Philox of ones");
    TAP_OK(words_are(reel_philox(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, (uint64_t)0x299f31d0 << 32 | 0xa4093822), 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1), "Philox of pi");
    TAP_OK(reel_rng_key(0, "prepare/noise") == 0x8abf465c8eb0c375u && reel_rng_key(1234, "prepare/noise") == 0xb6085107a1349c9fu, "keys");
}

/* ---- the golden draws ---- */

static const char *golden(const char *file)
{
    static char path[4096];
    const char *src = getenv("REEL_SRC");

    snprintf(path, sizeof path, "%s/tests/golden/draws/%s", src ? src : ".", file);
    return path;
}

static void *tensor_of(const struct reel_st *st, int i, const char *what, size_t bytes)
{
    char name[64];
    const struct reel_st_entry *e;
    void *p = malloc(bytes);

    snprintf(name, sizeof name, "%d/%s", i, what);
    e = reel_st_find(st, name);
    if (!e || e->bytes < bytes || reel_st_read(st, e, 0, bytes, p)) {
        reel_err_print(reel_errrec());
        exit(1);
    }
    return p;
}

struct draw { uint64_t key; uint32_t step, a, b; double *want; };

static void randn_body(struct op *t, const void *ctx)
{
    const struct draw *d = ctx;
    reel_tensor x = op_put(t, REEL_F32, NULL, REEL_DIMS(1, 7, 11, 13)), two = op_put(t, REEL_F32, NULL, REEL_DIMS(2, 9001));
    double *y, *z, worst = 0;

    reel_randn(&t->s, x, d->key, d->step, d->a, d->b);
    y = op_get(t, x);
    for (int i = 0; i < 1001; i++) worst = fmax(worst, isnan(y[i]) ? 1e9 : fabs(y[i] - d->want[i]));
    if (t->check) TAP_OK(worst <= 2.5e-7, "%s: 1001 normals within 2.5e-7 (%.2g)", t->what, worst);
    if (d->b == 0) { /* samples of a batch are the draws of their own positions */
        reel_randn(&t->s, two, d->key, d->step, d->a, d->b);
        z = op_get(t, two);
        if (t->check) TAP_OK(!memcmp(y, z, 1001 * sizeof *y) && z[9001] == (double)reel_normal(d->key, d->step, d->a, d->b + 1, 0) && z[18001] == (double)reel_normal(d->key, d->step, d->a, d->b + 1, 9000), "%s: a batch and longer draws", t->what);
        free(z);
    }
    free(y);
}

/* Frames of a draw, whatever the cut does to pairs and Philox calls, are the whole draw's. */
static void frames_body(struct op *t, const void *ctx)
{
    const int64_t *n = ctx, nb = n[0], T = n[1], C = n[2], H = n[3], W = n[4], frame = C * H * W;
    uint64_t key = reel_rng_key(7, "validation/noise/1");
    int64_t most = 0, wrong = 0;

    for (int64_t lo = 0; lo < T; lo++)
        for (int64_t hi = lo + 1; hi <= T; hi++, most++) {
            reel_tensor x = op_put(t, REEL_F32, NULL, REEL_DIMS(nb, hi - lo, C, H, W));
            double *y;
            reel_randn_frames(&t->s, x, lo, T, key, 3, 1, 5);
            y = op_get(t, x);
            for (int64_t i = 0; i < reel_numel(x); i++) {
                int64_t hw = i % (H * W), c = i / (H * W) % C, f = lo + i / frame % (hi - lo), b = i / frame / (hi - lo);
                wrong += y[i] != (double)reel_normal(key, 3, 1, (uint32_t)(5 + b), (uint64_t)((c * T + f) * H * W + hw));
            }
            free(y);
            reel_arena_reset(&t->a, 0);
        }
    if (t->check) TAP_OK(!wrong, "%s: %d ranges of frames are the whole draw's (%d values differ)", t->what, (int)most, (int)wrong);
}

static void frames(void)
{
    static const int64_t n[][5] = { { 2, 5, 3, 1, 1 }, { 1, 4, 2, 1, 3 }, { 2, 3, 2, 3, 7 }, { 3, 3, 4, 8, 8 }, { 1, 3, 2, 37, 29 }, { 1, 3, 2, 60, 104 } };

    for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
        char what[64];
        snprintf(what, sizeof what, "frames of %d x %d", (int)n[i][3], (int)n[i][4]);
        op_all(what, frames_body, n[i]);
    }
}

static void one_draw(const struct reel_st *st, int i, json_t *entry)
{
    struct draw d = { reel_rng_key((uint64_t)strtoull(json_string_value(json_object_get(entry, "seed")), NULL, 10), json_string_value(json_object_get(entry, "name"))),
                      (uint32_t)json_integer_value(json_object_get(entry, "step")), (uint32_t)json_integer_value(json_object_get(entry, "a")),
                      (uint32_t)json_integer_value(json_object_get(entry, "b")), tensor_of(st, i, "normal", 1001 * 8) };
    uint32_t *words = tensor_of(st, i, "words", 13 * 4);
    float *uniform = tensor_of(st, i, "uniform", 13 * 4);
    int64_t *b4 = tensor_of(st, i, "below4", 13 * 8), *b1000 = tensor_of(st, i, "below1000", 13 * 8);
    int bad = 0;
    char what[32];

    for (uint32_t e = 0; e < 13; e++) {
        uint32_t w = reel_rng_word(d.key, d.step, d.a, d.b, e);
        bad += w != words[e] || reel_rng_uniform(w) != uniform[e] || reel_rng_below(w, 4) != b4[e] || reel_rng_below(w, 1000) != b1000[e];
    }
    TAP_OK(!bad && d.key == strtoull(json_string_value(json_object_get(entry, "hash")), NULL, 16), "golden draw %d: key, words, uniforms, integers", i);
    snprintf(what, sizeof what, "golden draw %d", i);
    op_all(what, randn_body, &d);
    free(d.want), free(words), free(uniform), free(b4), free(b1000);
}

/* Seeds exceed JSON's signed integers: numbers behind "seed" become strings first. */
static json_t *load(const char *path)
{
    char text[8192], quoted[8192];
    size_t n = 0, o = 0;
    FILE *f = fopen(path, "r");

    if (f) n = fread(text, 1, sizeof text - 1, f), fclose(f);
    text[n] = 0;
    for (char *p = text; *p && o + 2 < sizeof quoted;) {
        if (strncmp(p, "\"seed\": ", 8)) {
            quoted[o++] = *p++;
            continue;
        }
        o += (size_t)snprintf(quoted + o, sizeof quoted - o, "\"seed\": \"%.*s\"", (int)strspn(p + 8, "0123456789"), p + 8);
        p += 8 + strspn(p + 8, "0123456789");
    }
    quoted[o] = 0;
    return json_loads(quoted, 0, NULL);
}

int main(void)
{
    struct reel_st *st;
    json_t *list = load(golden("draws.json")), *entry;
    size_t i;

    scalars();
    bf16();
    generator();
    frames();
    if (!list || reel_st_open(&st, golden("draws.safetensors"))) {
        printf("Bail out! no golden draws: REEL_SRC is the source tree's top\n");
        return 1;
    }
    json_array_foreach(list, i, entry) one_draw(st, (int)i, entry);
    reel_st_close(st);
    json_decref(list);
    return tap_done();
}
