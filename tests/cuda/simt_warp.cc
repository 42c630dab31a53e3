/* What warp collectives compute, once all lanes are there. Layouts: PTX ISA, restated in kernels/cuda/simt.h. */

#include "simt_rt.h"

namespace simt
{

void sync_op(void **, uint32_t) {}

void vote_op(void **payload, uint32_t mask)
{
    uint32_t ballot = 0;

    for (uint32_t rest = mask; rest; rest &= rest - 1) {
        int l = __builtin_ctz(rest);

        if (((Vote *)payload[l])->pred) ballot |= 1u << l;
    }
    for (uint32_t rest = mask; rest; rest &= rest - 1)
        ((Vote *)payload[__builtin_ctz(rest)])->ballot = ballot;
}

void sum_op(void **payload, uint32_t mask)
{
    uint32_t sum = 0;

    for (uint32_t rest = mask; rest; rest &= rest - 1) sum += ((Sum *)payload[__builtin_ctz(rest)])->in;
    for (uint32_t rest = mask; rest; rest &= rest - 1) ((Sum *)payload[__builtin_ctz(rest)])->out = sum;
}

static float low(uint32_t u)
{
    return __uint_as_float(u << 16);
}
static float high(uint32_t u)
{
    return __uint_as_float(u & 0xffff0000u);
}

static bool whole_warp(uint32_t mask, const char *what)
{
    if (mask != ~0u) error(NULL, 0, "%s needs all 32 lanes, mask %08x", what, mask);
    return mask == ~0u;
}

typedef float Row8 __attribute__((vector_size(32)));
struct Tile {
    float a[16][16];
    Row8 b[16], d[16];
};

static void gather_bf16(Tile *t, void **payload)
{
    for (int l = 0; l < 32; l++) {
        const Mma *m = (const Mma *)payload[l];
        int g = l >> 2, c = (l & 3) * 2;

        for (int r = 0; r < 4; r++) {
            float *a = &t->a[g + 8 * (r & 1)][c + 8 * (r >> 1)];
            a[0] = low(m->a[r]);
            a[1] = high(m->a[r]);
        }
        for (int r = 0; r < 2; r++) {
            t->b[c + 8 * r][g] = low(m->b[r]);
            t->b[c + 8 * r + 1][g] = high(m->b[r]);
        }
        for (int i = 0; i < 4; i++) t->d[g + 8 * (i >> 1)][c + (i & 1)] = m->d[i];
    }
}

/* Products of bf16 are exact in f32; hardware adds them with its own truncation, here they are added in order. */
void mma_bf16_op(void **payload, uint32_t mask)
{
    Tile t;

    if (!whole_warp(mask, "mma")) return;
    gather_bf16(&t, payload);
    for (int i = 0; i < 16; i += 4) {
        Row8 d0 = t.d[i], d1 = t.d[i + 1], d2 = t.d[i + 2], d3 = t.d[i + 3];

        for (int k = 0; k < 16; k++) {
            d0 += t.a[i][k] * t.b[k];
            d1 += t.a[i + 1][k] * t.b[k];
            d2 += t.a[i + 2][k] * t.b[k];
            d3 += t.a[i + 3][k] * t.b[k];
        }
        t.d[i] = d0;
        t.d[i + 1] = d1;
        t.d[i + 2] = d2;
        t.d[i + 3] = d3;
    }
    for (int l = 0; l < 32; l++)
        for (int i = 0; i < 4; i++)
            ((Mma *)payload[l])->d[i] = t.d[(l >> 2) + 8 * (i >> 1)][(l & 3) * 2 + (i & 1)];
}

template <bool TRANS> static void ldmatrix(void **payload, uint32_t mask)
{
    uint16_t m[4][8][8];

    if (!whole_warp(mask, "ldmatrix")) return;
    for (int l = 0; l < 32; l++) memcpy(m[l >> 3][l & 7], ((LdMatrix *)payload[l])->row, 16);
    for (int l = 0; l < 32; l++) {
        int g = l >> 2, c = (l & 3) * 2;
        uint32_t *r = ((LdMatrix *)payload[l])->r;

        for (int j = 0; j < 4; j++)
            r[j] = TRANS ? m[j][c][g] | (uint32_t)m[j][c + 1][g] << 16
                         : m[j][g][c] | (uint32_t)m[j][g][c + 1] << 16;
    }
}
void ldmatrix_op(void **payload, uint32_t mask)
{
    ldmatrix<false>(payload, mask);
}
void ldmatrix_trans_op(void **payload, uint32_t mask)
{
    ldmatrix<true>(payload, mask);
}

} // namespace simt
