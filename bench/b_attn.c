/* Attention forward and backward, 2 and 5 products counted, of the pairs that the mask lets through.
 * usage: b_attn [threads [seconds per figure [largest S]]]; with one thread processor time is counted */
#include "be/cores.h"
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

/* Pairs of a query and a key from k0 on that it sees. */
static double pairs_seen(struct reel_mask m, int64_t sq, int64_t sk, int64_t k0)
{
    double n = 0;

    for (int64_t i = 0; i < sq; i++) {
        struct reel_keys r = reel_mask_row(m, sk, i);
        for (int p = 0; p < 2; p++)
            if (r.hi[p] > k0) n += (double)(r.hi[p] - (r.lo[p] > k0 ? r.lo[p] : k0));
    }
    return n;
}

/* Reads the same memory as bf16: any bits of small exponents do. In a cache only the newest sq keys have gradients. */
static void masked(int dt, int64_t b, int64_t sq, int64_t sk, int heads, int64_t hd, struct reel_mask mask, const char *note)
{
    int64_t dk0 = mask.see == REEL_SEE_WINDOW ? sk - sq : 0;
    int64_t nq = b * sq * heads * hd, nk = b * sk * heads * hd;
    float *q = filled(nq), *k = filled(nk), *v = filled(nk), *o = filled(nq), *g = filled(nq);
    float *dq = filled(nq), *dk = filled(nk), *dv = filled(nk), *lse = filled(b * heads * sq);
    size_t t1 = reel_cpu_attn_fwd_tmp(&stream, dt, b, sq, sk, heads, hd),
           t2 = reel_cpu_attn_bwd_tmp(&stream, dt, b, sq, sk, heads, hd, 0);
    void *tmp = aligned_alloc(64, ((t1 > t2 ? t1 : t2) + 63) / 64 * 64);
    double product = 2e-9 * (double)(b * heads * hd), all = product * pairs_seen(mask, sq, sk, 0), t, u;
    double wanted = product * pairs_seen(mask, sq, sk, dk0);

    if (dt == REEL_BF16)
        for (float **p = (float *[]){ q, k, v, g, NULL }; *p; p++)
            for (int64_t i = 0; i < (p[0] == q || p[0] == g ? nq : nk); i++) ((uint16_t *)*p)[i] = (uint16_t)((i * 40503u % 0x3f80u) | (i & 1) << 15);
    BENCH_BEST(t, 2, min_s, reel_cpu_attn_fwd(&stream, dt, o, lse, q, k, v, b, sq, sk, heads, hd, mask, tmp));
    BENCH_BEST(u, 2, min_s, reel_cpu_attn_bwd(&stream, dt, dq, dk, dv, g, o, lse, q, k, v, b, sq, sk, heads, hd, mask, dk0, sk - dk0, 0, tmp));
    printf("%-4s batch %ld, %2d heads x %-3ld, S %5ld x %-5ld %sfwd %8.4f s %6.1f GFLOP/s   bwd %8.4f s %6.1f GFLOP/s\n",
           reel_dtype_name(dt), (long)b, heads, (long)hd, (long)sq, (long)sk, note, t, 2 * all / t, u, (3 * all + 2 * wanted) / u);
    fflush(stdout);
    free(q), free(k), free(v), free(o), free(g), free(dq), free(dk), free(dv), free(lse), free(tmp);
}

static void shape(int dt, int64_t b, int64_t sq, int64_t sk, int heads, int64_t hd)
{
    masked(dt, b, sq, sk, heads, hd, (struct reel_mask){ 0 }, "");
}

/* Seven chunks of three frames, and what training and streaming make of them. */
static void masks(int dt)
{
    masked(dt, 1, 2100, 2100, 12, 128, (struct reel_mask){ .see = REEL_SEE_CHUNKS, .chunk = 300 }, "chunks of 300 ");
    masked(dt, 1, 2100, 2100, 12, 128, (struct reel_mask){ .see = REEL_SEE_CHUNKS, .chunk = 300, .window = 700 },
           "chunks of 300, window 700 ");
    masked(dt, 1, 2100, 2100, 12, 128, (struct reel_mask){ .see = REEL_SEE_TEACHER, .chunk = 150, .half = 1050 },
           "clean and noisy, chunks of 150 ");
    masked(dt, 1, 300, 2100, 12, 128, (struct reel_mask){ .see = REEL_SEE_WINDOW, .hi = 2100 }, "cache, own gradients ");
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : reel_cores_here();

    if (argc > 2) min_s = atof(argv[2]);
    if (argc > 3) largest = atol(argv[3]);
    if (threads == 1) bench_clock = CLOCK_PROCESS_CPUTIME_ID;
    stream.pool = reel_pool_open(threads);
    reel_cores_pin(stream.pool);
    printf("%s, %s, %d thread(s)\n", bench_processor(), reel_cpu_isa()->name, threads);
    shape(REEL_F32, 1, 2048, 2048, 12, 128);
    if (largest >= 8192) shape(REEL_F32, 1, 8192, 8192, 12, 128);
    masks(REEL_F32);
    shape(REEL_BF16, 1, 2048, 2048, 12, 128);
    shape(REEL_F32, 1, 1950, 512, 12, 128);
    shape(REEL_F32, 1, 2048, 2048, 1, 128);
    shape(REEL_F32, 1, 2048, 2048, 24, 64);
    shape(REEL_F32, 32, 36, 36, 8, 16);
    reel_pool_close(stream.pool);
    return 0;
}
