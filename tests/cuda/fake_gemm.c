/* Matrix products of the double, by the CPU backend's engine. */
#include "fake_gemm.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/gemm.h"

enum { TILE = 256 };

/* One sum over terms [k0, k1) of every element. */
static void piece(float *out, int64_t m, int64_t n, int64_t k0, int64_t k1, struct fake_mat a, struct fake_mat b)
{
    int64_t nseg = (k1 - k0 + REEL_KSEG - 1) / REEL_KSEG;
    struct reel_kseg *seg = calloc((size_t)nseg, sizeof *seg);
    struct reel_gemm g = { .a = { b.p, b.ld, b.kcontig, b.bf16 ? REEL_BF16 : REEL_F32 },
                           .b = { a.p, a.ld, a.kcontig, a.bf16 ? REEL_BF16 : REEL_F32 },
                           .plan = { seg, nseg, 0 },
                           .out = { .y = out, .ld = m, .dt = REEL_F32 } };
    float *mem = aligned_alloc(64, (reel_cpu_isa()->tile_mem(&g, TILE, TILE) * sizeof(float) + 63) / 64 * 64);

    for (int64_t i = 0; i < nseg; i++) {
        int64_t at = k0 + i * REEL_KSEG;
        seg[i] = (struct reel_kseg){ .k0 = at, .len = (int32_t)(k1 - at < REEL_KSEG ? k1 - at : REEL_KSEG), .first = !i, .last = i + 1 == nseg };
    }
    for (int64_t j = 0; j < n; j += TILE)
        for (int64_t i = 0; i < m; i += TILE)
            reel_cpu_isa()->tile(&g, j, j + TILE < n ? j + TILE : n, i, i + TILE < m ? i + TILE : m, mem);
    free(mem);
    free(seg);
}

void fake_gemm(float *out, int64_t m, int64_t n, int64_t k, struct fake_mat a, struct fake_mat b, int pieces)
{
    int64_t width = (k + pieces - 1) / pieces;
    float *more = pieces > 1 ? malloc((size_t)(m * n) * sizeof *more) : NULL;

    if (!k) memset(out, 0, (size_t)(m * n) * sizeof *out);
    for (int64_t k0 = 0; k0 < k; k0 += width) {
        piece(k0 ? more : out, m, n, k0, k0 + width < k ? k0 + width : k, a, b);
        for (int64_t i = 0; k0 && i < m * n; i++) out[i] += more[i];
    }
    free(more);
}
