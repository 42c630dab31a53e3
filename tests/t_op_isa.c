/* The register tiles of every instruction set this processor has, and those of sixteen lanes with
 * products of bf16 pairs in plain C, against f64: the code of AVX-512 is tested where AVX-512 is not. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define W 16
#define MR 8
#define NV 3
#define DOT2 1
#define VEC_PLAIN
#include "kernels/cpu/gemm_vec.h"
#include "kernels/cpu/gemm.inc"
#include "kernels/cpu/attn.inc"
#include "tap.h"

static const struct reel_cpu_isa lanes16 = REEL_ISA_TABLE("16 lanes in plain C");

/* Memory of no numbers. */
static void *mem(size_t floats)
{
    size_t bytes = (floats * 4 + 127) / 64 * 64;
    void *p = aligned_alloc(64, bytes);

    return memset(p, 0xff, bytes);
}

static double value(const void *p, int64_t i, int dt)
{
    return (double)get1(p, i, dt == REEL_BF16);
}

static void *uniform(int64_t n, int dt)
{
    static uint32_t seed = 7;
    void *p = mem((size_t)n);

    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        if (dt == REEL_BF16)
            ((uint16_t *)p)[i] = f2h((float)(seed >> 8) * 0x1p-23f - 1);
        else
            ((float *)p)[i] = (float)(seed >> 8) * 0x1p-23f - 1;
    }
    return p;
}

/* Three pieces of 37, 301 and 5 terms: (0+1)+2, a hole at 3. */
static const struct reel_kseg three_pieces[] = {
    { .k0 = 0, .len = 37, .first = 1, .last = 1, .dest = 0 },
    { .k0 = 37, .len = 256, .first = 1 },
    { .k0 = 293, .len = 45, .last = 1, .adds = 1, .dest = 1 },
    { .k0 = 338, .len = 5, .first = 1, .last = 1, .adds = 2, .dest = 2 },
};

static void product(const struct reel_cpu_isa *isa, int dt, int ka, int kb)
{
    enum { NI = 229, NJ = 131, K = 343 };
    struct reel_gemm g = {
        .a = { uniform(NI * K, dt), ka ? K : NI, ka, dt }, .b = { uniform(NJ * K, dt), kb ? K : NJ, kb, dt },
        .plan = { three_pieces, 4, 2 }, .out = { .y = mem(NI * NJ), .ld = NJ, .dt = REEL_F32 },
    };
    double worst = 0;

    isa->tile(&g, 0, 200, 0, NJ, mem(isa->tile_mem(&g, 200, NJ)));
    isa->tile(&g, 200, NI, 0, NJ, mem(isa->tile_mem(&g, NI - 200, NJ)));
    for (int64_t i = 0; i < NI; i++)
        for (int64_t j = 0; j < NJ; j++) {
            double s = 0, e;
            for (int64_t k = 0; k < K; k++)
                s += value(g.a.p, ka ? i * K + k : k * NI + i, dt) * value(g.b.p, kb ? j * K + k : k * NJ + j, dt);
            e = fabs(s - (double)((float *)g.out.y)[i * NJ + j]);
            if (!(e <= worst)) worst = isfinite(e) ? e : HUGE_VAL;
        }
    TAP_OK(worst < 1e-4, "%s: %s product, k %s in a, %s in b: error %.1e", isa->name, reel_dtype_name((reel_dtype)dt),
           ka ? "inner" : "outer", kb ? "inner" : "outer", worst);
}

/* A convolution's rows gathered while they are packed give the bits of the matrix laid out; c: its channels. */
static void gathered(const struct reel_cpu_isa *isa, int dt, int c)
{
    const struct reel_conv g = { .t = 2, .h = 7, .w = 5, .c = c, .ot = 2, .oh = 14, .ow = 10, .n = 51, .past = 2, .kt = 3, .kh = 3, .kw = 3,
                                 .st = 1, .ss = 1, .pad = 1, .up = 1 };
    const int64_t k = reel_conv_k(g), ni = g.ot * g.oh * g.ow;
    const size_t size = dt == REEL_BF16 ? 2 : 4;
    const struct reel_gather from = { .g = g, .x = uniform(g.t * g.h * g.w * c, dt), .past = uniform(2 * g.h * g.w * c, dt),
                                      .zero = memset(mem((size_t)c), 0, (size_t)c * 4) };
    struct reel_kseg seg[8] = { { .k0 = 0 } };
    char *rows = mem((size_t)(ni * k)), *at = rows;
    struct reel_gemm a = { .a = { rows, k, 1, dt }, .b = { uniform(g.n * k, dt), k, 1, dt }, .plan = { seg, (k + 255) / 256, 0 },
                           .out = { .y = mem((size_t)(ni * g.n)), .ld = g.n, .dt = REEL_F32 } }, b = a;

    for (int64_t s = 0; s < a.plan.nseg; s++)
        seg[s] = (struct reel_kseg){ .k0 = s * 256, .len = (int32_t)(k - s * 256 < 256 ? k - s * 256 : 256), .first = s == 0, .last = s + 1 == a.plan.nseg };
    for (int64_t i = 0; i < ni; i++)
        for (int tap = 0; tap < 27; tap++, at += (size_t)c * size) {
            const int64_t f = i / 140 + tap / 9 - 2, r = i / 10 % 14 + tap / 3 % 3 - 1, q = i % 10 + tap % 3 - 1;
            const char *x = f < 0 ? from.past : from.x;
            if (r < 0 || q < 0 || r >= 14 || q >= 10) memset(at, 0, (size_t)c * size);
            else memcpy(at, x + (size_t)((((f & 1) * 7 + r / 2) * 5 + q / 2) * c) * size, (size_t)c * size);
        }
    b.from = &from;
    b.out.y = mem((size_t)(ni * g.n));
    isa->tile(&a, 0, ni, 0, g.n, mem(isa->tile_mem(&a, ni, g.n)));
    isa->tile(&b, 0, 133, 0, g.n, mem(isa->tile_mem(&b, 133, g.n)));
    isa->tile(&b, 133, ni, 0, g.n, mem(isa->tile_mem(&b, ni - 133, g.n)));
    TAP_OK(!memcmp(a.out.y, b.out.y, (size_t)(ni * g.n) * 4), "%s: %s convolution of %d channels, gathered as laid out", isa->name,
           reel_dtype_name((reel_dtype)dt), c);
}

enum { SQ = 203, SK = 257, HD = 20 };

/* Borders where no register tile of any set ends; the last one's gradients are those of rows 70..170. */
static const struct reel_mask masks[] = {
    { .see = REEL_SEE_ALL },
    { .see = REEL_SEE_CHUNKS, .chunk = 101, .window = 131, .zeros = 9 },
    { .see = REEL_SEE_CHUNKS, .chunk = 70, .window = 13 },
    { .see = REEL_SEE_TEACHER, .half = 128, .chunk = 37, .zeros = 3 },
    { .see = REEL_SEE_WINDOW, .sink = 5, .lo = 61, .hi = 219 },
};
static const char *const mask_name[] = { "full", "block-causal", "short windows", "teacher's halves", "cache" };
enum { MASKS = sizeof masks / sizeof *masks };

static struct reel_attn attention(const struct reel_cpu_isa *isa, int dt, void *const in[4], int mask)
{
    struct reel_attn a = { .q = in[0], .k = in[1], .v = in[2], .dout = in[3], .sq = SQ, .sk = SK, .ld = HD, .hd = HD, .dt = dt, .dkv_dt = dt,
                           .mask = masks[mask], .dk0 = mask == MASKS - 1 ? 70 : 0, .dkn = mask == MASKS - 1 ? 101 : SK };
    _Atomic int64_t done[3] = { 0 };
    struct reel_attn_turn t = { .acc = mem(3 * REEL_ATTN_QB * 24), .done = done, .tiles = 2, .width = mask ? 144 : 0 };
    int64_t k[4] = { 0, 144, 144, SK };
    float *delta = mem(SQ), *tmp = mem(isa->attn_bwd_mem(HD) + isa->attn_fwd_mem(HD, SQ));

    a.o = mem(SQ * HD), a.dq = mem(SQ * HD), a.dk = mem(SK * HD), a.dv = mem(SK * HD), a.lse = mem(SQ);
    isa->attn_fwd(&a, 0, 96, tmp);
    isa->attn_fwd(&a, 96, SQ, tmp);
    isa->attn_delta(&a, delta, 0, SQ);
    a.delta = delta;
    if (a.mask.see == REEL_SEE_WINDOW) t.width = 0, k[1] = a.mask.sink, k[2] = a.mask.lo, k[3] = a.mask.hi;
    for (; t.tile < t.tiles; t.tile++) isa->attn_bwd(&a, &t, k[2 * t.tile], k[2 * t.tile + 1], tmp);
    return a;
}

static double apart(const void *x, const void *y, int64_t n, int dt)
{
    double worst = 0, rms = 0;

    for (int64_t i = 0; i < n; i++) {
        double e = fabs(value(x, i, dt) - value(y, i, dt));
        if (!(e <= worst)) worst = isfinite(e) ? e : HUGE_VAL;
        rms += value(y, i, dt) * value(y, i, dt);
    }
    return worst / sqrt(rms / (double)n);
}

/* The chosen set is tested against f64 by t_op_attn; the others against it. */
static void same_attention(const struct reel_cpu_isa *isa, int dt, int mask)
{
    void *in[4] = { uniform(SQ * HD, dt), uniform(SK * HD, dt), uniform(SK * HD, dt), uniform(SQ * HD, dt) };
    struct reel_attn x = attention(isa, dt, in, mask), y = attention(reel_cpu_isa(), dt, in, mask);
    double o = apart(x.o, y.o, SQ * HD, dt), q = apart(x.dq, y.dq, SQ * HD, dt),
           k = apart(x.dk, y.dk, x.dkn * HD, dt), v = apart(x.dv, y.dv, x.dkn * HD, dt), tol = dt == REEL_F32 ? 1e-5 : 4e-2;

    TAP_OK(o < tol && q < tol && k < tol && v < tol, "%s: %s attention, %s, as by %s: o %.1e dq %.1e dk %.1e dv %.1e",
           isa->name, reel_dtype_name((reel_dtype)dt), mask_name[mask], reel_cpu_isa()->name, o, q, k, v);
}

/* They differ in lanes, register tiles and nothing else: neither fuses products and sums, or both do. */
static void any_lanes(const struct reel_cpu_isa *one, const struct reel_cpu_isa *two)
{
    void *in[4] = { uniform(SQ * HD, REEL_F32), uniform(SK * HD, REEL_F32), uniform(SK * HD, REEL_F32),
                    uniform(SQ * HD, REEL_F32) };
    struct reel_gemm g = {
        .a = { in[0], 343, 1, REEL_F32 }, .b = { in[1], 11, 0, REEL_F32 }, .plan = { three_pieces, 4, 2 },
        .out = { .ld = 11, .dt = REEL_F32, .gelu = 1 },
    };
    void *c[2] = { mem(121), mem(121) };

    for (int m = 0; m < MASKS; m++) {
        struct reel_attn x = attention(one, REEL_F32, in, m), y = attention(two, REEL_F32, in, m);
        TAP_OK(!memcmp(x.o, y.o, SQ * HD * 4) && !memcmp(x.lse, y.lse, SQ * 4) && !memcmp(x.dq, y.dq, SQ * HD * 4) &&
                   !memcmp(x.dk, y.dk, SK * HD * 4) && !memcmp(x.dv, y.dv, SK * HD * 4),
               "attention, %s, has the same bits with %s and %s", mask_name[m], one->name, two->name);
    }
    for (int i = 0; i < 2; i++) {
        const struct reel_cpu_isa *isa = i ? two : one;
        g.out.y = c[i];
        isa->tile(&g, 0, 11, 0, 11, mem(isa->tile_mem(&g, 11, 11)));
    }
    TAP_OK(!memcmp(c[0], c[1], 121 * 4), "so have products");
}

int main(void)
{
    const struct reel_cpu_isa *all[] = { &lanes16, &reel_isa_portable, reel_cpu_isa(), NULL, NULL, NULL };
    int n = 3;

#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) all[n++] = &reel_isa_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        all[n++] = &reel_isa_avx512;
#endif
    for (int i = 0; i < n; i++)
        for (int dt = REEL_F32; dt <= REEL_BF16; dt++) {
            for (int layout = 0; layout < 4; layout++) product(all[i], dt, layout & 1, layout >> 1);
            for (int c = 3; c <= 18; c += 5) gathered(all[i], dt, c);
            for (int m = 0; m < MASKS; m++) same_attention(all[i], dt, m);
        }
    any_lanes(&lanes16, &reel_isa_portable);
    if (n == 5) any_lanes(all[3], all[4]);
    return tap_done() || !(peak(1) > 0);
}
