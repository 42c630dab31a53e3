/* Matrix products against the processor's peak and OpenBLAS.
 * usage: b_gemm [threads [seconds per figure]]; with one thread processor time is counted */
#include <cblas.h>

#include "be/cores.h"
#include "be/ops.h"
#include "bench/bench.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/pool.h"
#include "kernels/kernels.h"

static struct reel_stream stream;
static double min_s = 0.3;

static void peak_task(void *arg, int64_t task, int worker)
{
    (void)task, (void)worker;
    *(double *)arg = reel_cpu_isa()->peak(20000000);
}

static double peak_gflops(int threads)
{
    double flops[64], t;
    struct reel_pool *p = reel_pool_open(threads);

    reel_cores_pin(p);
    BENCH_BEST(t, 3, min_s, reel_pool_run(p, threads, peak_task, flops));
    reel_pool_close(p);
    return flops[0] * threads / t * 1e-9;
}

static float *filled(int64_t n)
{
    float *p = aligned_alloc(64, (size_t)(n * 4 + 63) / 64 * 64);
    unsigned s = 1;

    for (int64_t i = 0; p && i < n; i++) p[i] = (float)((s = s * 1664525u + 1013904223u) >> 8) * 0x1p-24f - 0.5f;
    if (!p) exit(1);
    return p;
}

static void *as_bf16(const float *x, int64_t n)
{
    uint16_t *p = aligned_alloc(64, (size_t)(n * 2 + 63) / 64 * 64);

    for (int64_t i = 0; p && i < n; i++) {
        uint32_t u;
        memcpy(&u, &x[i], 4);
        p[i] = (uint16_t)(u >> 16);
    }
    if (!p) exit(1);
    return p;
}

static void shape(int64_t b, int64_t s, int64_t k, int64_t n, int threads, double peak)
{
    int64_t m = b * s;
    struct reel_rows r = reel_rows_make(b, s, s);
    struct reel_cut cut = { 8, 0, 1 };
    float *x = filled(m * k), *w = filled(n * k), *y = filled(m * n), *bias = filled(n), *pre = filled(m * n);
    float *dx = filled(m * k), *dw = filled(n * k), *db = filled(n);
    void *hx = as_bf16(x, m * k), *hw = as_bf16(w, n * k), *hy = as_bf16(y, m * n), *hdx = as_bf16(x, m * k);
    size_t bytes = 0, t1 = reel_cpu_linear_fwd_tmp(&stream, 0, m, n, k, r, cut),
           t2 = reel_cpu_linear_bwd_x_tmp(&stream, 0, 1, m, n, k, r, cut), t3 = reel_cpu_linear_bwd_w_tmp(&stream, 0, m, n, k, r, REEL_UNCUT);
    double t, gf = 2e-9 * (double)m * (double)n * (double)k;
    void *tmp;

    bytes = t1 > t2 ? t1 : t2;
    bytes = bytes > t3 ? bytes : t3;
    tmp = aligned_alloc(64, (bytes + 63) / 64 * 64);
    printf("%4ld x %-5ld %5ld -> %-5ld", (long)b, (long)s, (long)k, (long)n);
    openblas_set_num_threads(threads);
    BENCH_BEST(t, 2, min_s, cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1, x, (int)k, w, (int)k, 0, y, (int)n));
    printf("  blas %6.1f", gf / t);
#define SHOW(name, ...)                                              \
    BENCH_BEST(t, 2, min_s, __VA_ARGS__);                            \
    printf(" | " name " %6.1f (%3.0f%%)", gf / t, 100 * gf / t / peak)
    SHOW("fwd", reel_cpu_linear_fwd(&stream, REEL_F32, y, NULL, x, w, bias, m, n, k, r, REEL_UNCUT, 0, tmp));
    SHOW("/8", reel_cpu_linear_fwd(&stream, REEL_F32, y, NULL, x, w, bias, m, n, k, r, cut, 0, tmp));
    SHOW("+gelu", reel_cpu_linear_fwd(&stream, REEL_F32, y, pre, x, w, bias, m, n, k, r, REEL_UNCUT, 1, tmp));
    SHOW("dx", reel_cpu_linear_bwd_x(&stream, REEL_F32, dx, (struct reel_terms){ 1, { y }, { w } }, m, n, k, r, REEL_UNCUT, 0, tmp));
    SHOW("/8", reel_cpu_linear_bwd_x(&stream, REEL_F32, dx, (struct reel_terms){ 1, { y }, { w } }, m, n, k, r, cut, 0, tmp));
    SHOW("dw,db", reel_cpu_linear_bwd_w(&stream, REEL_F32, dw, db, x, y, m, n, k, r, REEL_UNCUT, 0, tmp));
    SHOW("bf16 fwd", reel_cpu_linear_fwd(&stream, REEL_BF16, hy, NULL, hx, hw, bias, m, n, k, r, REEL_UNCUT, 0, tmp));
    SHOW("/8", reel_cpu_linear_fwd(&stream, REEL_BF16, hy, NULL, hx, hw, bias, m, n, k, r, cut, 0, tmp));
    SHOW("dx", reel_cpu_linear_bwd_x(&stream, REEL_BF16, hdx, (struct reel_terms){ 1, { hy }, { hw } }, m, n, k, r, REEL_UNCUT, 0, tmp));
    SHOW("/8", reel_cpu_linear_bwd_x(&stream, REEL_BF16, hdx, (struct reel_terms){ 1, { hy }, { hw } }, m, n, k, r, cut, 0, tmp));
    SHOW("dw", reel_cpu_linear_bwd_w(&stream, REEL_BF16, dw, NULL, hx, hy, m, n, k, r, REEL_UNCUT, 0, tmp));
    printf("\n");
    fflush(stdout);
    free(x), free(w), free(y), free(bias), free(pre), free(dx), free(dw), free(db), free(tmp);
    free(hx), free(hw), free(hy), free(hdx);
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : reel_cores_here();
    double peak;

    if (argc > 2) min_s = atof(argv[2]);
    if (threads == 1) bench_clock = CLOCK_PROCESS_CPUTIME_ID;
    peak = peak_gflops(threads);
    stream.pool = reel_pool_open(threads);
    reel_cores_pin(stream.pool);
    printf("%s, %s, %d thread(s); FMA peak %.0f GFLOP/s; all figures GFLOP/s (percent of peak)\n", bench_processor(),
           reel_cpu_isa()->name, threads, peak);
    printf("blas is %s, same product as fwd; /8: the product before it with its sum in 8 canonical pieces\n", openblas_get_config());
    shape(1, 1950, 1536, 1536, threads, peak);
    shape(1, 1950, 1536, 8960, threads, peak);
    shape(1, 1950, 8960, 1536, threads, peak);
    shape(32, 36, 128, 128, threads, peak);
    shape(32, 36, 128, 512, threads, peak);
    shape(32, 36, 512, 128, threads, peak);
    reel_pool_close(stream.pool);
    return 0;
}
