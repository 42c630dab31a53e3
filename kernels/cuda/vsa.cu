/* Sparse attention: which blocks of keys a block of queries chooses, and who chose a block. */
#include "kernels/cuda/attn_plain.h"

#define BLOCKS 256 /* thread blocks of the selection: so many lots of TR rows of keys are kept at a time */

/* Larger numbers have larger keys; the two zeros have one. */
__device__ __forceinline__ uint32_t key_of(float x)
{
    uint32_t u = __float_as_uint(x + 0.f);

    return u & 0x80000000u ? ~u : u | 0x80000000u;
}

__device__ __forceinline__ float rounded(float x, float) { return x; }
__device__ __forceinline__ float rounded(float x, __nv_bfloat16) { return f32(__float2bfloat16(x)); }

/* The largest number that at least k of the warp's n keys reach: the k-th largest, bit by bit. *above: how many are larger. */
__device__ __forceinline__ uint32_t kth_largest(const uint32_t *key, int n, int k, int *above)
{
    uint32_t kth = 0, larger = 0;

    for (uint32_t bit = 0x80000000u; bit; bit >>= 1) {
        uint32_t count = 0;
        for (int j = threadIdx.x & 31; j < n; j += 32) count += key[j] >= (kth | bit);
        if ((int)__reduce_add_sync(FULL, count) >= k) kth |= bit;
    }
    for (int j = threadIdx.x & 31; j < n; j += 32) larger += key[j] > kth;
    *above = (int)__reduce_add_sync(FULL, larger);
    return kth;
}

/* The keys above the k-th, then those equal to it by increasing index; written in increasing order. By a warp. */
__device__ __forceinline__ void select_row(int32_t *sel, const uint32_t *key, int n, int k)
{
    const uint32_t before = (1u << (threadIdx.x & 31)) - 1;
    int above, at = 0;
    uint32_t kth = kth_largest(key, n, k, &above);
    int equal = k - above; /* of them still to be taken */

    for (int j0 = 0; j0 < n; j0 += 32) {
        int j = j0 + (int)(threadIdx.x & 31);
        uint32_t x = j < n ? key[j] : 0, same = __ballot_sync(FULL, j < n && x == kth);
        bool take = j < n && (x > kth || (x == kth && __popc(same & before) < equal));
        uint32_t taken = __ballot_sync(FULL, take);
        if (take) sel[at + __popc(taken & before)] = j;
        at += __popc(taken);
        equal -= min(equal, __popc(same));
    }
}

/* Lots of TR blocks of queries of one head go by: their scores with all n blocks of keys, then their choices, a warp for
 * each. key: [gridDim][TR][n] */
template <class T>
__global__ void __launch_bounds__(256, 2) select_kernel(const __grid_constant__ struct attn a, int32_t *sel, float *scores,
                                                        uint32_t *key, int64_t lots)
{
    SHARED(struct plain_mem<64>, m);
    const int x = threadIdx.x & 15, y = threadIdx.x >> 4, n = a.sq, per_head = (n + TR - 1) / TR;

    key += (int64_t)blockIdx.x * TR * n;
    for (int64_t lot = blockIdx.x; lot < lots; lot += gridDim.x) {
        const int64_t bh = lot / per_head, head = bh / a.heads * n * a.ld + bh % a.heads * a.hd;
        const int i0 = (int)(lot % per_head) * TR;
        const struct source<T> q = { (const T *)a.q + head, i0, 0, min(TR, n - i0), 0 };
        for (int j0 = 0; j0 < n; j0 += STEP) {
            const struct source<T> k = { (const T *)a.k + head, j0, 0, min(STEP, n - j0), 0 };
            float s[4][2];
            plain_dots(s, m, q, k, a); /* its barriers also say that the lot before has been chosen from */
#pragma unroll
            for (int i = 0; i < 8; i++) {
                int r = y + i / 2 * 16, j = x + i % 2 * 16;
                if (r >= q.hi || j >= k.hi) continue;
                float v = rounded(s[i / 2][i % 2] * a.scale, T());
                key[(int64_t)r * n + j0 + j] = key_of(v);
                if (scores) scores[(bh * n + i0 + r) * n + j0 + j] = v;
            }
        }
        __syncthreads();
        for (int r = threadIdx.x / 32; r < q.hi; r += 8)
            select_row(sel + (bh * n + i0 + r) * a.topk, key + (int64_t)r * n, n, a.topk);
    }
}

static int64_t lots_of(int64_t b, int64_t n, int heads)
{
    return b * heads * (attn_up(n, TR) / TR);
}

extern "C" void reel_cuda_vsa_select(struct reel_stream *s, int dt, int32_t *sel, float *scores, const void *q,
                                     const void *k, int64_t b, int64_t n, int heads, int64_t hd, int64_t topk, void *tmp)
{
    struct attn a = attn_call(n, n, heads, hd);
    int64_t lots = lots_of(b, n, heads);
    unsigned grid = (unsigned)min(lots, (int64_t)BLOCKS);

    a.q = q, a.k = k, a.topk = (int)topk;
    if (dt == REEL_F32)
        LAUNCH(select_kernel<float>, grid, 256, 0, reel_cuda_stream(s), a, sel, scores, (uint32_t *)tmp, lots);
    else
        LAUNCH(select_kernel<__nv_bfloat16>, grid, 256, 0, reel_cuda_stream(s), a, sel, scores, (uint32_t *)tmp, lots);
    REEL_CUDA_LAUNCHED();
}

extern "C" size_t reel_cuda_vsa_select_tmp(struct reel_stream *, int, int64_t b, int64_t n, int heads, int64_t)
{
    return (size_t)(min(lots_of(b, n, heads), (int64_t)BLOCKS) * TR * n) * sizeof(uint32_t);
}

/* ---- who chose a block of keys ---- */

/* A warp per 32 blocks of queries and 32 of keys: a lane finds what its query block chose among them, then the 32 x 32 bits
 * are turned round. */
__global__ void chose_kernel(const __grid_constant__ struct attn a, uint32_t *chose, int64_t warps)
{
    const int words = (a.n + 31) / 32, lane = threadIdx.x & 31;
    const int64_t w = (int64_t)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, bh = w / words / words;
    const int iw = (int)(w / words % words), j0 = (int)(w % words) * 32, i = iw * 32 + lane;
    uint32_t bits = 0, mine = 0;

    if (w >= warps) return;
    if (i < a.n) {
        const uint32_t *list = (const uint32_t *)a.sel + (bh * a.n + i) * a.topk; /* -1 is larger than all others */
        int lo = 0, hi = a.topk;
        while (lo < hi) {
            int mid = (lo + hi) / 2;
            if (list[mid] < (uint32_t)j0)
                lo = mid + 1;
            else
                hi = mid;
        }
        for (; lo < a.topk && list[lo] < (uint32_t)j0 + 32; lo++) bits |= 1u << (list[lo] - j0);
    }
#pragma unroll
    for (int j = 0; j < 32; j++) {
        uint32_t turned = __ballot_sync(FULL, bits >> j & 1);
        if (lane == j) mine = turned;
    }
    if (j0 + lane < a.n) chose[(bh * a.n + j0 + lane) * words + iw] = mine;
}

size_t reel_attn_chose_bytes(int64_t pairs, int64_t n)
{
    return (size_t)(pairs * n * (attn_up(n, 32) / 32)) * sizeof(uint32_t);
}

void reel_attn_chose(cudaStream_t s, struct attn *a, int64_t pairs, void *tmp)
{
    int64_t words = attn_up(a->n, 32) / 32, warps = pairs * words * words;

    LAUNCH(chose_kernel, (unsigned)((warps + 3) / 4), 128, 0, s, *a, (uint32_t *)tmp, warps);
    a->chose = (const uint32_t *)tmp;
}
