/* Who meets whom, made once per call: what each query and each STEP queries see under a mask. */
#include "kernels/cuda/attn.h"

/* A warp per STEP queries. */
__global__ void look_kernel(const __grid_constant__ struct attn a, int4 *sight, struct hull *hull)
{
    int unit = (int)(blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32), lane = (int)(threadIdx.x & 31), i = unit * STEP + lane;

    if (unit * STEP >= a.sq) return;
    struct reel_keys k = reel_mask_row(a.mask, a.sk, min(i, a.sq - 1)); /* lanes past the end see what the last query sees */
    if (i < a.sq) st_vec(sight + i, make_int4((int)k.lo[0], (int)k.hi[0], (int)k.lo[1], (int)k.hi[1]));
#pragma unroll
    for (int r = 0; r < 2; r++) {
        struct hull h = { (int)k.lo[r], (int)k.hi[r], (int)k.lo[r], (int)k.hi[r] };
        if (h.lo >= h.hi) h.lo = a.sk, h.hi = 0;
        for (int x = 16; x; x /= 2) {
            h.lo = min(h.lo, __shfl_xor_sync(FULL, h.lo, x));
            h.hi = max(h.hi, __shfl_xor_sync(FULL, h.hi, x));
            h.all_lo = max(h.all_lo, __shfl_xor_sync(FULL, h.all_lo, x));
            h.all_hi = min(h.all_hi, __shfl_xor_sync(FULL, h.all_hi, x));
        }
        if (lane == 0) st_vec(hull + 2 * unit + r, h);
    }
}

static int64_t units(int64_t sq)
{
    return attn_up(sq, STEP) / STEP;
}

size_t reel_attn_sight_bytes(int64_t sq)
{
    return (size_t)sq * sizeof(int4) + (size_t)(2 * units(sq)) * sizeof(struct hull);
}

void reel_attn_look(cudaStream_t s, struct attn *a, void *tmp)
{
    int4 *sight = (int4 *)tmp;
    struct hull *hull = (struct hull *)(sight + a->sq);

    if (a->sq) LAUNCH(look_kernel, (unsigned)((units(a->sq) + 3) / 4), 128, 0, s, *a, sight, hull);
    a->sight = sight;
    a->hull = hull;
}
