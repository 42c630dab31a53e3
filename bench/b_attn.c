/* Attention forward and backward, 2 and 5 products counted.
 * usage: b_attn [threads [seconds per figure [largest S]]]; with one thread processor time is counted */
#include "bench/bench.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/pool.h"
#include "kernels/kernels.h"

static struct reel_stream stream;
static double min_s = 0.3;
static long largest = 8192;

static float *filled(int64_t n)
{
    float *p = aligned_alloc(64, (size_t)(n * 4 + 63) / 64 * 64);
    unsigned s = 1;

    for (int64_t i = 0; p && i < n; i++) p[i] = (float)((s = s * 1664525u + 1013904223u) >> 8) * 0x1p-23f - 1;
    if (!p) exit(1);
    return p;
}

/* Reads the same memory as bf16: any bits of small exponents do. */
static void shape(int dt, int64_t b, int64_t sq, int64_t sk, int heads, int64_t hd)
{
    int64_t nq = b * sq * heads * hd, nk = b * sk * heads * hd;
    float *q = filled(nq), *k = filled(nk), *v = filled(nk), *o = filled(nq), *g = filled(nq);
    float *dq = filled(nq), *dk = filled(nk), *dv = filled(nk), *lse = filled(b * heads * sq);
    size_t t1 = reel_cpu_attn_fwd_tmp(&stream, dt, b, sq, sk, heads, hd),
           t2 = reel_cpu_attn_bwd_tmp(&stream, dt, b, sq, sk, heads, hd);
    void *tmp = aligned_alloc(64, ((t1 > t2 ? t1 : t2) + 63) / 64 * 64);
    double product = 2e-9 * (double)b * heads * (double)sq * (double)sk * (double)hd, t, u;

    if (dt == REEL_BF16)
        for (float **p = (float *[]){ q, k, v, g, NULL }; *p; p++)
            for (int64_t i = 0; i < (p[0] == q || p[0] == g ? nq : nk); i++) ((uint16_t *)*p)[i] = (uint16_t)((i * 40503u % 0x3f80u) | (i & 1) << 15);
    BENCH_BEST(t, 2, min_s, reel_cpu_attn_fwd(&stream, dt, o, lse, q, k, v, b, sq, sk, heads, hd, (struct reel_mask){ 0 }, tmp));
    BENCH_BEST(u, 2, min_s, reel_cpu_attn_bwd(&stream, dt, dq, dk, dv, g, o, lse, q, k, v, b, sq, sk, heads, hd, (struct reel_mask){ 0 }, 0, sk, tmp));
    printf("%-4s batch %ld, %2d heads x %-3ld, S %5ld x %-5ld fwd %8.4f s %6.1f GFLOP/s   bwd %8.4f s %6.1f GFLOP/s\n",
           reel_dtype_name(dt), (long)b, heads, (long)hd, (long)sq, (long)sk, t, 2 * product / t, u, 5 * product / u);
    fflush(stdout);
    free(q), free(k), free(v), free(o), free(g), free(dq), free(dk), free(dv), free(lse), free(tmp);
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : reel_pool_cores(NULL);

    if (argc > 2) min_s = atof(argv[2]);
    if (argc > 3) largest = atol(argv[3]);
    if (threads == 1) bench_clock = CLOCK_PROCESS_CPUTIME_ID;
    stream.pool = reel_pool_open(threads);
    printf("%s, %s, %d thread(s)\n", bench_processor(), reel_cpu_isa()->name, threads);
    shape(REEL_F32, 1, 2048, 2048, 12, 128);
    if (largest >= 8192) shape(REEL_F32, 1, 8192, 8192, 12, 128);
    shape(REEL_BF16, 1, 2048, 2048, 12, 128);
    shape(REEL_F32, 1, 1950, 512, 12, 128);
    shape(REEL_F32, 1, 2048, 2048, 1, 128);
    shape(REEL_F32, 1, 2048, 2048, 24, 64);
    shape(REEL_F32, 32, 36, 36, 8, 16);
    reel_pool_close(stream.pool);
    return 0;
}
