/* Attention forward, dense under any mask and sparse over chosen tiles: o = softmax(c q k^T) v block after
 * block of keys, with the running maximum and sum of each row (Milakov and Gimelshein 2018; Dao 2023). A
 * hidden key has the weight 0, and adding 0 changes no bit: a row's result does not know its neighbours. */
#include "kernels/cuda/attn_mma.h"
#include "kernels/cuda/attn_plain.h"

/* Largest score and sum of the exponentials of a row, of which four lanes hold a quarter each. */
struct softmax {
    float m, l;
};

__device__ __forceinline__ float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(FULL, x, 1));
    return fmaxf(x, __shfl_xor_sync(FULL, x, 2));
}

__device__ __forceinline__ float quad_sum(float x)
{
    x += __shfl_xor_sync(FULL, x, 1);
    return x + __shfl_xor_sync(FULL, x, 2);
}

/* The maximum that scores are counted from, and the factor for what was summed from the one before: 1 to the last bit
 * where it stays. A row that has seen no key yet has the maximum -infinity, and counts from 0. */
__device__ __forceinline__ float from(float m) { return m == -INFINITY ? 0 : m; }
__device__ __forceinline__ float fade(float before, float m, float c) { return exp2f(c * (before - from(m))); }

/* Half h of the accumulator's rows: scores become exponentials; returns the factor for what was summed before. */
__device__ __forceinline__ float exponentials(float (&s)[STEP / 8][4], int h, struct softmax &x, float c)
{
    float before = x.m;

#pragma unroll
    for (int n = 0; n < STEP / 8; n++) x.m = fmaxf(x.m, fmaxf(s[n][2 * h], s[n][2 * h + 1]));
    x.m = quad_max(x.m);
    float alpha = fade(before, x.m, c), cm = c * from(x.m);
    x.l *= alpha;
#pragma unroll
    for (int n = 0; n < STEP / 8; n++)
#pragma unroll
        for (int i = 2 * h; i < 2 * h + 2; i++) x.l += s[n][i] = exp2f(fmaf(c, s[n][i], -cm));
    return alpha;
}

/* Keys of score 0 and value 0 come last: they count in the sum and, where all scores are negative, as the
 * largest. Returns the factor that turns the output into one over the new sum. */
__device__ __forceinline__ float finish(const struct attn &a, int query, struct softmax &x)
{
    float zeros = a.mask.zeros && query < a.sq ? (float)reel_mask_row(a.mask, a.sk, query).zeros : 0, alpha = 1;

    if (zeros > 0) {
        float m = fmaxf(x.m, 0);
        alpha = fade(x.m, m, a.c);
        x.l = alpha * x.l + zeros * exp2f(-a.c * m);
        x.m = m;
    }
    return x.l == 0 ? 0 : alpha / x.l; /* 0: a list without keys */
}

/* o *= alpha, unless that is 1 for the whole warp: a row meets its maximum early, and times 1 changes no bit. */
template <int M, int N> __device__ __forceinline__ void rescale(float (&o)[M][N][4], const float (&alpha)[M][2])
{
    int fades = 0;

#pragma unroll
    for (int m = 0; m < M; m++) fades |= alpha[m][0] != 1 || alpha[m][1] != 1;
    if (!__any_sync(FULL, fades)) return;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) o[m][n][i] *= alpha[m][i >> 1];
}

/* Half h of the accumulator's rows, which is query `i`; keys from `first` on. */
__device__ __forceinline__ void add_rel(float (&s)[STEP / 8][4], int h, const struct attn &a, const struct place &p, int i, int first)
{
#pragma unroll
    for (int n = 0; n < STEP / 8; n++)
#pragma unroll
        for (int j = 0; j < 2; j++) s[n][2 * h + j] += rel_of(a, p, i, first + n * 8 + (int)(threadIdx.x & 3) * 2 + j);
}

/* 4 warps of 16 M queries each. One block of keys is on its way while the other is in use; the barrier at the top says
 * both that a block is there and that the one before it is no longer read. */
template <int D, int M, bool REL> __global__ void __launch_bounds__(THREADS, 2) fwd_mma(const __grid_constant__ struct attn a)
{
    enum { ROWS = 64 * M, LD = width<D>::LD };
    DYN_SHARED(bf16, mem); /* queries [ROWS][LD], then [2 stages][keys, values][STEP][LD] */
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, row0 = warp * 16 * M;
    const struct place p(a);
    const struct own mine(a, p.index, ROWS);
    const bf16 *k = (const bf16 *)a.k + p.in(a, a.sk), *v = (const bf16 *)a.v + p.in(a, a.sk);
    bf16 *rows = mem + row0 * LD, *stage = mem + ROWS * LD;
    float o[M][D / 8][4];
    struct softmax x[M][2];
    struct key_walk walk(a, p, mine);
    struct block b, ahead;

    clear(o);
#pragma unroll
    for (int m = 0; m < M; m++) x[m][0].m = x[m][1].m = -INFINITY, x[m][0].l = x[m][1].l = 0;
    load_rows<D, ROWS>(mem, (const bf16 *)a.q + p.in(a, a.sq), a, mine.first, 0, mine.n);
    bool more = walk.step(b);
    if (more) load_pair<D>(stage, k, v, a, b);
    for (int turn = 0; more; turn ^= 1, b = ahead) {
        const bf16 *kb = stage + turn * 2 * STEP * LD, *vb = kb + STEP * LD;
        float s[M][STEP / 8][4], alpha[M][2];
        uint32_t w[M][STEP / 16][4];

        cp_async_wait<0>();
        __syncthreads();
        more = walk.step(ahead);
        if (more) load_pair<D>(stage + (turn ^ 1) * 2 * STEP * LD, k, v, a, ahead);
        scores<D, M>(s, rows, kb);
#pragma unroll
        for (int m = 0; m < M; m++) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                if (REL) add_rel(s[m], h, a, p, mine.first + row0 + m * 16 + (lane >> 2) + 8 * h, b.first);
                if (!b.all) hide(s[m], h, keys_seen(a, mine, row0 + m * 16 + (lane >> 2) + 8 * h, b), -INFINITY);
                alpha[m][h] = exponentials(s[m], h, x[m][h], a.c);
            }
            pack(w[m], s[m]);
        }
        rescale(o, alpha);
        weigh<D, M>(o, w, vb);
    }
    cp_async_commit(); /* the queries, where no block came */
    cp_async_wait<0>();
    __syncthreads();
#pragma unroll
    for (int m = 0; m < M; m++) {
        int r = row0 + m * 16, i = r + (lane >> 2);
        float mul[2];
#pragma unroll
        for (int h = 0; h < 2; h++, i += 8) {
            x[m][h].l = quad_sum(x[m][h].l);
            mul[h] = finish(a, mine.first + i, x[m][h]);
            if (!REL && i < mine.n && (lane & 3) == 0)
                a.lse[(int64_t)p.bh * a.sq + token(a, mine.first + i)] = x[m][h].m * a.scale + logf(x[m][h].l);
        }
        const struct result to = { (bf16 *)a.o + p.in(a, a.sq), mine.first + r, mine.n - r, NULL, 0 };
        store_rows<D>(rows + m * 16 * LD, o[m], mul[0], mul[1], a, to);
    }
}

/* The same without tensor cores: features [f0,f0+F) of the output. */
template <class T, int F, bool REL> __global__ void __launch_bounds__(256, 2) fwd_plain(const __grid_constant__ struct attn a)
{
    SHARED(struct plain_mem<F>, m);
    const int x = threadIdx.x & 15, y = threadIdx.x >> 4, f0 = blockIdx.y * F;
    const struct place p(a);
    const struct own mine(a, p.index, TR);
    const struct source<T> q = { (const T *)a.q + p.in(a, a.sq), mine.first, 0, mine.n, 0 };
    float o[4][F / 16] = {}, s[4][2], top[4], sum[4] = {};
    struct key_walk walk(a, p, mine);
    struct block b;

    for (int i = 0; i < 4; i++) top[i] = -INFINITY;
    while (walk.step(b)) {
        const struct source<T> k = { (const T *)a.k + p.in(a, a.sk), b.first, b.lo, b.hi, 0 };
        const struct source<T> v = { (const T *)a.v + p.in(a, a.sk), b.first, b.lo, b.hi, 0 };
        plain_dots(s, m, q, k, a);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int2 seen = keys_seen(a, mine, y + 16 * i, b);
            float before = top[i];
#pragma unroll
            for (int j = 0; j < 2; j++) {
                if (REL) s[i][j] += rel_of(a, p, mine.first + y + 16 * i, b.first + x + 16 * j);
                if (x + 16 * j < seen.x || x + 16 * j >= seen.y) s[i][j] = -INFINITY;
                top[i] = fmaxf(top[i], s[i][j]);
            }
            for (int h = 8; h; h /= 2) top[i] = fmaxf(top[i], __shfl_xor_sync(FULL, top[i], h));
            float alpha = fade(before, top[i], a.c), cm = a.c * from(top[i]);
            sum[i] *= alpha;
#pragma unroll
            for (int j = 0; j < 2; j++) sum[i] += s[i][j] = exp2f(fmaf(a.c, s[i][j], -cm));
#pragma unroll
            for (int f = 0; f < F / 16; f++) o[i][f] *= alpha;
        }
        plain_weigh(o, m, s, v, f0, a);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int r = y + 16 * i;
        struct softmax t = { top[i], sum[i] };
        for (int h = 8; h; h /= 2) t.l += __shfl_xor_sync(FULL, t.l, h);
        float mul = finish(a, mine.first + r, t);
        plain_store<T, F>((T *)a.o + p.in(a, a.sq), o[i], mul, i, mine, f0, NULL, a);
        if (!REL && x == 0 && r < mine.n && f0 == 0)
            a.lse[(int64_t)p.bh * a.sq + token(a, mine.first + r)] = t.m * a.scale + logf(t.l);
    }
}

template <int D, int M, bool REL> static void launch_mma(cudaStream_t s, const struct attn &a, unsigned grid)
{
    size_t bytes = (64 * M + 4 * STEP) * width<D>::LD * sizeof(bf16);

    ALLOW_DYN_SHARED((fwd_mma<D, M, REL>), bytes);
    LAUNCH((fwd_mma<D, M, REL>), grid, THREADS, bytes, s, a);
}

template <class T, int F, bool REL> static void launch_plain(cudaStream_t s, const struct attn &a, unsigned grid)
{
    LAUNCH((fwd_plain<T, F, REL>), dim3(grid, (unsigned)attn_up(a.hd, F) / F), 256, 0, s, a);
}

/* `pairs` samples and heads of n blocks of rows: 64 rows, or 64 M on tensor cores. Two groups of 16 rows to a warp
 * share what is read of a key; tiles of sparse attention have no more than one for each. */
template <int M, bool REL> static void forward(cudaStream_t s, int dt, struct attn &a, int64_t pairs, int64_t n)
{
    int plain = dt == REEL_F32 || a.hd > 128;

    a.blocks = (int)(plain ? n : (n + M - 1) / M);
    unsigned grid = (unsigned)(pairs * a.blocks);
    if (dt == REEL_F32 && a.hd <= 64)
        launch_plain<float, 64, REL>(s, a, grid);
    else if (dt == REEL_F32)
        launch_plain<float, 128, REL>(s, a, grid);
    else if (plain)
        launch_plain<bf16, 128, REL>(s, a, grid);
    else if (a.hd <= 32)
        launch_mma<32, M, REL>(s, a, grid);
    else if (a.hd <= 64)
        launch_mma<64, M, REL>(s, a, grid);
    else
        launch_mma<128, M, REL>(s, a, grid);
}

extern "C" void reel_cuda_attn_fwd(struct reel_stream *s, int dt, void *o, float *lse, const void *q, const void *k,
                                   const void *v, int64_t b, int64_t sq, int64_t sk, int heads, int64_t hd,
                                   struct reel_mask mask, void *tmp)
{
    struct attn a = attn_call(sq, sk, heads, hd);

    a.q = q, a.k = k, a.v = v, a.o = o, a.lse = lse, a.mask = mask;
    reel_attn_look(reel_cuda_stream(s), &a, tmp);
    forward<2, false>(reel_cuda_stream(s), dt, a, b * heads, (sq + 63) / 64);
    REEL_CUDA_LAUNCHED();
}

extern "C" void reel_cuda_attn_rel_fwd(struct reel_stream *s, int dt, void *o, const void *q, const void *k, const void *v,
                                       const float *rel, int64_t most, int64_t n, int heads, int64_t hd, void *tmp)
{
    struct attn a = attn_call(n, n, heads, hd);

    a.q = q, a.k = k, a.v = v, a.o = o;
    a.rel = rel + most - 1, a.rel_ld = 2 * most - 1;
    a.scale = 1, a.c = (float)LOG2E;
    reel_attn_look(reel_cuda_stream(s), &a, tmp);
    forward<1, true>(reel_cuda_stream(s), dt, a, heads, (n + 63) / 64); /* two groups of rows spill at a width of 128 */
    REEL_CUDA_LAUNCHED();
}

extern "C" size_t reel_cuda_attn_rel_fwd_tmp(struct reel_stream *, int, int64_t n, int, int64_t)
{
    return reel_attn_sight_bytes(n);
}

extern "C" size_t reel_cuda_attn_fwd_tmp(struct reel_stream *, int, int64_t, int64_t sq, int64_t, int, int64_t)
{
    return reel_attn_sight_bytes(sq);
}

extern "C" void reel_cuda_vsa_fwd(struct reel_stream *s, int dt, void *o, float *lse, const void *q, const void *k,
                                  const void *v, const int32_t *sel, struct reel_tiles t, int64_t b, int heads, int64_t hd,
                                  int64_t topk, void *)
{
    struct attn a = attn_call(t.s, t.s, heads, hd);

    a.q = q, a.k = k, a.v = v, a.o = o, a.lse = lse;
    a.start = t.start, a.order = t.order, a.sel = sel, a.n = (int)t.n, a.topk = (int)topk;
    forward<1, false>(reel_cuda_stream(s), dt, a, b * heads, t.n);
    REEL_CUDA_LAUNCHED();
}

extern "C" size_t reel_cuda_vsa_fwd_tmp(struct reel_stream *, int, struct reel_tiles, int64_t, int, int64_t, int64_t)
{
    return 0;
}
