/* Sparse attention by every instruction set that this processor has: vsa.c once more, with a choice. t_op_vsa tests
 * the processor's own against f64; the others are compared with plain C, and AVX2 with AVX-512 bit for bit. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define reel_cpu_isa(...)       chosen_isa(__VA_ARGS__)
#define reel_cpu_vsa_select     chosen_select
#define reel_cpu_vsa_select_tmp chosen_select_tmp
#define reel_cpu_vsa_fwd        chosen_fwd
#define reel_cpu_vsa_fwd_tmp    chosen_fwd_tmp
#define reel_cpu_vsa_bwd        chosen_bwd
#define reel_cpu_vsa_bwd_tmp    chosen_bwd_tmp
#include "kernels/cpu/vsa.c"
#undef reel_cpu_isa

#include "tap.h"

void reel_tiles_fill(int32_t *start, int32_t *order, const int64_t grid[3]); /* nn/nn.h, which has another reel_attn */

static const struct reel_cpu_isa *chosen;

const struct reel_cpu_isa *chosen_isa(void)
{
    return chosen;
}

enum { T = 5, H = 6, WIDE = 9, S = T * H * WIDE, N = 2 * 2 * 3, HEADS = 2, HD = 20, D = HEADS * HD, TOPK = 5, OUT = 4 };

static void *mem(size_t bytes)
{
    return aligned_alloc(64, (bytes + 127) / 64 * 64);
}

static float *uniform(int64_t n)
{
    static uint32_t seed = 5;
    float *p = mem((size_t)n * sizeof *p);

    for (int64_t i = 0; i < n; i++) p[i] = (float)((seed = seed * 1664525u + 1013904223u) >> 8) * 0x1p-23f - 1;
    return p;
}

struct result { float *x[OUT], *lse; int32_t *sel; }; /* o, dq, dk, dv */

static struct result run(struct reel_stream *s, const struct reel_cpu_isa *isa, float *const in[6], struct reel_tiles t)
{
    struct result r = { .lse = mem(HEADS * S * 4), .sel = mem(HEADS * N * TOPK * 4) };
    size_t bytes;
    void *tmp;

    chosen = isa;
    for (int i = 0; i < OUT; i++) r.x[i] = mem(S * D * 4);
    bytes = chosen_select_tmp(s, REEL_F32, 1, N, HEADS, HD) + chosen_fwd_tmp(s, REEL_F32, t, 1, HEADS, HD, TOPK) +
            chosen_bwd_tmp(s, REEL_F32, t, 1, HEADS, HD, TOPK);
    tmp = mem(bytes);
    chosen_select(s, REEL_F32, r.sel, NULL, in[4], in[5], 1, N, HEADS, HD, TOPK, tmp);
    chosen_fwd(s, REEL_F32, r.x[0], r.lse, in[0], in[1], in[2], r.sel, t, 1, HEADS, HD, TOPK, tmp);
    chosen_bwd(s, REEL_F32, r.x[1], r.x[2], r.x[3], in[3], r.x[0], r.lse, in[0], in[1], in[2], r.sel, in[4], in[5], in[4], t, 1,
               HEADS, HD, TOPK, tmp);
    free(tmp);
    return r;
}

static double apart(const float *x, const float *y, int64_t n)
{
    double worst = 0, rms = 0;

    for (int64_t i = 0; i < n; i++) {
        double e = fabs((double)x[i] - (double)y[i]);
        if (!(e <= worst)) worst = isfinite(e) ? e : HUGE_VAL;
        rms += (double)y[i] * (double)y[i];
    }
    return worst / sqrt(rms / (double)n);
}

int main(void)
{
    struct { const char *name; const struct reel_cpu_isa *isa; } set[4] = { { "portable", &reel_isa_portable } };
    int n = 1;
    int32_t start[N + 1], order[S];
    struct reel_stream s = { .pool = reel_pool_open(2) };
    float *in[6] = { uniform(S * D), uniform(S * D), uniform(S * D), uniform(S * D), uniform(N * D), uniform(N * D) };
    struct result r[4];

#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) set[n].name = "avx2", set[n++].isa = &reel_isa_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        set[n].name = "avx512", set[n++].isa = &reel_isa_avx512;
#endif
    reel_tiles_fill(start, order, (int64_t[]){ T, H, WIDE });
    for (int i = 0; i < n; i++) {
        r[i] = run(&s, set[i].isa, in, (struct reel_tiles){ start, order, N, S });
        TAP_OK(!memcmp(r[i].sel, r[0].sel, HEADS * N * TOPK * 4), "%s chooses the same blocks", set[i].name);
        for (int k = 0; k < OUT; k++) {
            double e = apart(r[i].x[k], r[0].x[k], S * D);
            TAP_OK(e < 1e-5, "%s: %s as in plain C: %.1e", set[i].name, (const char *[]){ "o", "dq", "dk", "dv" }[k], e);
        }
    }
    for (int k = 0; k < OUT && n == 3; k++)
        TAP_OK(!memcmp(r[1].x[k], r[2].x[k], S * D * 4), "avx2 and avx512 have the same bits of %s", (const char *[]){ "o", "dq", "dk", "dv" }[k]);
    reel_pool_close(s.pool);
    return tap_done();
}
