/* Every word of kernels/cuda/simt.h does under the executor what CUDA says, in every order of threads and blocks,
 * and the checker has nothing to say about it. Built twice, as t_simt is. */

#include "simt_clean.h"
#include "simt_rig.h"
#include "tests/tap.h"

static const char *order_name; /* of the schedule under test */

static float *device(size_t n, float fill)
{
    float *p = (float *)rig::alloc(n * sizeof *p);

    for (size_t i = 0; i < n; i++) p[i] = fill;
    rig::defined(p, n * sizeof *p);
    return p;
}

static void check_number(void)
{
    float *out = device(12 * 198, 0);
    int bad = 0;

    clean_number(out);
    for (int i = 0; i < 12 * 198; i++) bad += out[i] != (float)(1 + i % 198 + 1000 * (i / 198));
    TAP_OK(!bad, "%s: every thread of a grid of 12 blocks of 198, once", order_name);
}

static void check_shuffle(void)
{
    float *out = device(224, -1);
    int bad = 0;

    clean_shuffle(out);
    for (int l = 0; l < 32; l++) {
        int want[] = { 5,
                       l / 8 * 8 + (l + 1) % 8,
                       l ^ 16,
                       l ^ 3,
                       l < 2 ? l : l - 2,
                       l % 16 + 3 > 15 ? l : l + 3,
                       l < 16 ? l ^ 1 : l ^ 2 };

        for (int k = 0; k < 7; k++) bad += out[32 * k + l] != (float)want[k];
    }
    TAP_OK(!bad, "%s: shuffles by index, xor, up and down, in segments and half warps", order_name);
}

static void check_vote(void)
{
    float *out = device(640, -1);
    int bad = 0;

    clean_vote(out);
    for (int t = 0; t < 70; t++) {
        int w = t / 32, sum[] = { 496, 1520, 64 + 65 + 66 + 67 + 68 + 69 }, thirds[] = { 11, 11, 2 };

        bad += out[t] != (float)thirds[w];
        bad += out[128 + t] != (float)((w == 2) + 2 * (w > 0));
        bad += out[256 + t] != (float)sum[w];
        bad += out[384 + t] != 35 + 100;
        bad += out[512 + t] != 1;
    }
    TAP_OK(!bad, "%s: votes and sums of warps, one of them partial; barriers that reduce", order_name);
}

static void check_barriers(void)
{
    float *tree = device(257, 0), *rows = device(384, -1);
    int bad = 0;

    for (int i = 0; i < 256; i++) tree[i] = (float)i;
    clean_tree(tree);
    TAP_OK(tree[256] == 32640, "%s: a tree of sums through shared memory", order_name);
    clean_hand_over(rows);
    for (int i = 0; i < 384; i++) bad += rows[i] != (float)(i / 64 * 100 + 63 - i % 64);
    TAP_OK(!bad, "%s: named barriers hand rows from two warps to two others", order_name);
}

static void check_atomics(void)
{
    int *n = (int *)device(2, 0);

    clean_count(n, (unsigned *)n + 1);
    TAP_OK(n[0] == 960 && n[1] == 479, "%s: atomic sums and maxima of 480 threads", order_name);
}

static uint32_t seed;

static uint16_t random_bf16(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint16_t)(0x3f80 - 0x100 + (seed >> 24)) | (uint16_t)(seed >> 8 & 0x8000);
}

static double as_double(uint16_t u)
{
    uint32_t w = (uint32_t)u << 16;
    float f;

    memcpy(&f, &w, sizeof f);
    return (double)f;
}

static uint16_t *device_bf16(int n)
{
    uint16_t *p = (uint16_t *)rig::alloc((size_t)n * 2);

    for (int i = 0; i < n; i++) p[i] = random_bf16();
    rig::defined(p, (size_t)n * 2);
    return p;
}

/* On tails in every direction. The bits of c are the same under every schedule. */
static void check_multiply(int b_kn)
{
    static uint32_t first[2];
    const int m = 39, n = 24, k = 72;

    seed = 7;
    uint16_t *a = device_bf16(m * k), *b = device_bf16(n * k);
    float *c = device(39 * 24, -1);
    double worst = 0;
    uint32_t sum = 0, u;

    clean_multiply(a, b, c, m, n, k, b_kn);
    for (int i = 0; i < m * n; i++) {
        double want = 0, e;

        for (int j = 0; j < k; j++)
            want += as_double(a[i / n * k + j]) * as_double(b_kn ? b[j * n + i % n] : b[i % n * k + j]);
        e = fabs((double)c[i] - want);
        if (!(e <= worst)) worst = e;
        memcpy(&u, &c[i], sizeof u);
        sum = sum * 31 + u;
    }
    TAP_OK(worst < 1e-4, "%s: cp.async, ldmatrix%s and mma multiply: error %.1e", order_name,
           b_kn ? ".trans" : "", worst);
    if (!first[b_kn]) first[b_kn] = sum;
    TAP_OK(sum == first[b_kn], "%s: the same bits", order_name);
}

static void check_loops(void)
{
    uint64_t before = simt::switches;

    check_number();
    TAP_OK(simt::switches - before <= 12 * 7 * 2,
           "%s: a kernel without barriers is a loop, %d switches for 84 warps", order_name,
           (int)(simt::switches - before));
}

int main(void)
{
    static const struct {
        const char *name;
        simt::Order order;
        uint64_t seed;
    } schedules[] = { { "forward", simt::FORWARD, 0 },
                      { "reverse", simt::REVERSE, 0 },
                      { "random 1", simt::RANDOM, 1 },
                      { "random 2", simt::RANDOM, 2 },
                      { "random 3", simt::RANDOM, 3 } };

    rig::open();
    for (const auto &s : schedules) {
        order_name = s.name;
        simt::set_order(s.order, s.seed);
        check_loops();
        check_shuffle();
        check_vote();
        check_barriers();
        check_atomics();
        check_multiply(0);
        check_multiply(1);
        TAP_OK(!simt::errors(), "%s: nothing to report", order_name);
    }
    return tap_done();
}
