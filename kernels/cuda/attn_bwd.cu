/* Attention backward, dense under any mask and sparse over chosen tiles. With P = softmax(c q k^T) and
 * dS = P (dout v^T - delta), delta = dout . o: dv = P^T dout, dk = dS^T q / sqrt(d), dq = dS k / sqrt(d).
 *
 * Two kernels, each sum in one thread block and in one order: one owns queries and their dq, one owns keys and their
 * dk and dv. Both form P and dS (seven products instead of five), and nobody adds to another's sums: the bits do not
 * depend on what else runs, and memory is O(S). What the weights are made of stays in registers. */
#include "kernels/cuda/attn_mma.h"
#include "kernels/cuda/attn_plain.h"

/* ---- per query: base-2 log of the sum, and delta ---- */

/* s + the products of the elements in a register */
__device__ __forceinline__ float dot_in(float, uint32_t u, uint32_t v, float s)
{
    return fmaf(__uint_as_float(u), __uint_as_float(v), s);
}
__device__ __forceinline__ float dot_in(bf16, uint32_t u, uint32_t v, float s)
{
    s = fmaf(__uint_as_float(u << 16), __uint_as_float(v << 16), s);
    return fmaf(__uint_as_float(u & 0xffff0000u), __uint_as_float(v & 0xffff0000u), s);
}

/* x . y over hd elements, by 16 lanes */
template <class T> __device__ __forceinline__ float row_dot(const T *x, const T *y, int hd)
{
    enum { VEC = 16 / sizeof(T) };
    int lane = threadIdx.x & 15;
    float s = 0;

    if (hd % 8 == 0)
        for (int d = lane * VEC; d < hd; d += 16 * VEC) {
            uint4 u = ld_vec<uint4>(x + d), v = ld_vec<uint4>(y + d);
            s = dot_in(T(), u.x, v.x, s), s = dot_in(T(), u.y, v.y, s);
            s = dot_in(T(), u.z, v.z, s), s = dot_in(T(), u.w, v.w, s);
        }
    else
        for (int d = lane; d < hd; d += 16) s = fmaf(f32(x[d]), f32(y[d]), s);
    for (int h = 8; h; h /= 2) s += __shfl_xor_sync(FULL, s, h);
    return s;
}

/* A slot per query, dense in their order, sparse TILE to a tile. Slots without a query get +infinity, which makes every
 * weight 0. */
template <class T> __global__ void stat_kernel(const __grid_constant__ struct attn a, float2 *stat, int64_t n)
{
    int64_t i = (int64_t)blockIdx.x * (blockDim.x / 16) + threadIdx.x / 16, bh = i / a.slots;
    int slot = (int)(i % a.slots), tile = slot / TILE, run = a.order ? 0 : slot / a.run_slots, hd = 0;
    int place = a.order ? a.start[tile] + slot % TILE : run * a.run_tok + slot % a.run_slots;
    int end = a.order ? a.start[tile + 1] : min((run + 1) * a.run_tok, a.sq);
    int64_t row = 0, at = 0;

    if (i < n && place < end) {
        row = token(a, place);
        at = (bh / a.heads * a.sq + row) * a.ld + bh % a.heads * a.hd;
        hd = a.hd;
    }
    float delta = row_dot((const T *)a.dout + at, (const T *)a.o + at, hd);
    if (i < n && (threadIdx.x & 15) == 0)
        st_vec(stat + i, hd ? make_float2(a.lse[bh * a.sq + row] * (float)LOG2E, delta) : make_float2(INFINITY, 0));
}

/* ---- on tensor cores ---- */

/* Where a tile's gradients get what the coarse branch adds: the tile's row over its size. */
template <class T> __device__ __forceinline__ const T *coarse_row(const void *x, const struct attn &a, const struct place &p)
{
    return x ? (const T *)x + p.in(a, a.n) + p.index * a.ld : NULL;
}

/* Of the thread block's own query row i */
__device__ __forceinline__ float2 query_stat(const struct attn &a, const struct place &p, const struct own &mine, int i)
{
    int slot = a.order ? p.index * TILE + i : slot_of(a, mine.first + i);

    return i < mine.n ? ld_vec<float2>(a.stat + p.bh * a.slots + slot) : make_float2(INFINITY, 0);
}

/* Scores become dS: rows are queries, with their stats st[2]. */
__device__ __forceinline__ void query_weights(float (&s)[STEP / 8][4], const float (&dp)[STEP / 8][4], const float2 (&st)[2],
                                              const struct attn &a)
{
#pragma unroll
    for (int n = 0; n < STEP / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            s[n][i] = exp2f(fmaf(a.c, s[n][i], -st[i >> 1].x)) * (dp[n][i] - st[i >> 1].y);
}

/* 4 warps of 16 queries each, kept in registers as operands; blocks of keys and values go by, as in the forward pass. */
template <int D> __global__ void __launch_bounds__(THREADS, 2) dq_mma(const __grid_constant__ struct attn a)
{
    enum { LD = width<D>::LD };
    DYN_SHARED(bf16, mem); /* [2 stages][keys, values][STEP][LD]; before and after them the block's own rows */
    const int lane = threadIdx.x & 31, row0 = (int)(threadIdx.x >> 5) * 16;
    const struct place p(a);
    const struct own mine(a, p.index, 64);
    const bf16 *k = (const bf16 *)a.k + p.in(a, a.sk), *v = (const bf16 *)a.v + p.in(a, a.sk);
    uint32_t q[D / 16][1][4], g[D / 16][1][4];
    float dq[1][D / 8][4];
    float2 st[2];
    struct key_walk walk(a, p, mine);
    struct block b, ahead;

    load_rows<D, 64>(mem, (const bf16 *)a.q + p.in(a, a.sq), a, mine.first, 0, mine.n);
    load_rows<D, 64>(mem + 64 * LD, (const bf16 *)a.dout + p.in(a, a.sq), a, mine.first, 0, mine.n);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
#pragma unroll
    for (int d = 0; d < D / 16; d++) {
        load_a<D>(q[d][0], mem + row0 * LD, d * 16);
        load_a<D>(g[d][0], mem + (64 + row0) * LD, d * 16);
    }
#pragma unroll
    for (int h = 0; h < 2; h++)
        st[h] = query_stat(a, p, mine, row0 + (lane >> 2) + 8 * h);
    clear(dq);
    __syncthreads();
    bool more = walk.step(b);
    if (more) load_pair<D>(mem, k, v, a, b);
    for (int turn = 0; more; turn ^= 1, b = ahead) {
        const bf16 *kb = mem + turn * 2 * STEP * LD, *vb = kb + STEP * LD;
        float s[1][STEP / 8][4], dp[1][STEP / 8][4];
        uint32_t w[1][STEP / 16][4];

        cp_async_wait<0>();
        __syncthreads();
        more = walk.step(ahead);
        if (more) load_pair<D>(mem + (turn ^ 1) * 2 * STEP * LD, k, v, a, ahead);
        clear(s), clear(dp);
#pragma unroll
        for (int d = 0; d < D / 16; d++) {
            dots<D, 1>(s, q[d], kb, d * 16);
            dots<D, 1>(dp, g[d], vb, d * 16);
        }
        query_weights(s[0], dp[0], st, a);
        if (!b.all)
#pragma unroll
            for (int h = 0; h < 2; h++) hide(s[0], h, keys_seen(a, mine, row0 + (lane >> 2) + 8 * h, b), 0.f);
        pack(w[0], s[0]);
        weigh<D, 1>(dq, w, kb);
    }
    __syncthreads();
    const struct result to = { (bf16 *)a.dq + p.in(a, a.sq), mine.first + row0, mine.n - row0,
                               coarse_row<bf16>(a.dqc, a, p), 1.f / mine.n };
    store_rows<D>(mem + row0 * LD, dq[0], a.scale, a.scale, a, to);
}

/* A block of queries, output gradients and stats into a stage. */
template <int D>
__device__ __forceinline__ void load_queries(bf16 *stage, float2 *st, const bf16 *q, const bf16 *g, const float2 *stat,
                                             const struct attn &a, const struct block &b)
{
    int i = (int)threadIdx.x * 2;

    if (i < STEP) cp_async16(st + i, stat + b.slot + i, true);
    load_pair<D>(stage, q, g, a, b);
}

/* Scores become P and dp becomes dS: rows are keys, columns queries with their stats. */
__device__ __forceinline__ void key_weights(float (&s)[STEP / 8][4], float (&dp)[STEP / 8][4], const float2 *stat, float c)
{
#pragma unroll
    for (int n = 0; n < STEP / 8; n++) {
        float4 two = ld_vec<float4>(stat + n * 8 + (threadIdx.x & 3) * 2);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            s[n][i] = exp2f(fmaf(c, s[n][i], -(i & 1 ? two.z : two.x)));
            dp[n][i] = s[n][i] * (dp[n][i] - (i & 1 ? two.w : two.y));
        }
    }
}

/* Weights become 0 where the query does not see the key; rows are `key` and key + 8. First as bits, because this many
 * ranges of keys do not fit into registers. */
__device__ __forceinline__ void hide_pairs(float (&s)[STEP / 8][4], float (&dp)[STEP / 8][4], int key, const struct block &b,
                                           const struct attn &a)
{
    uint32_t seen = 0;

#pragma unroll 1
    for (int i = 0; i < STEP / 2; i++) { /* bit 4n + i of s[n][i] */
        int query = b.first + i / 4 * 8 + (int)(threadIdx.x & 3) * 2 + (i & 1);
        seen |= (uint32_t)sees(a, query, key + (i & 2) * 4) << i;
    }
#pragma unroll
    for (int i = 0; i < STEP / 2; i++)
        if (!(seen >> i & 1)) s[i / 4][i % 4] = dp[i / 4][i % 4] = 0;
}

/* First element of dk or dv for key 0: its rows are those of the keys with gradients, of the run if they are partial. */
__device__ __forceinline__ int64_t gradient_at(const struct attn &a, const struct place &p)
{
    int64_t part = (int64_t)p.sample * a.runs + blockIdx.z;

    return (part * a.dkn - a.dk0) * a.ld + (int64_t)p.head * a.hd;
}

/* The warp's 16 rows of dk or dv times mul, in bf16 with the coarse branch's share, or partial in f32. */
template <int D>
__device__ __forceinline__ void store_gradient(bf16 *rows, const float (&x)[D / 8][4], void *dst, const void *coarse, float mul,
                                               const struct attn &a, const struct place &p, const struct own &mine, int row0)
{
    const int g = (int)(threadIdx.x & 31) / 4, t = (int)threadIdx.x & 3;
    const struct result to = { (bf16 *)dst + gradient_at(a, p), mine.first + row0, mine.n - row0,
                               coarse_row<bf16>(coarse, a, p), 1.f / mine.n };

    if (!a.partial) {
        store_rows<D>(rows, x, mul, mul, a, to);
        return;
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float *row = (float *)dst + gradient_at(a, p) + (to.first + g + 8 * h) * a.ld + 2 * t;
        if (g + 8 * h >= to.n) continue;
#pragma unroll
        for (int i = 0; i < D / 4; i++) /* column 8 (i / 2) + 2t + i % 2 */
            if (i / 2 * 8 + 2 * t + i % 2 < a.hd) row[i / 2 * 8 + i % 2] = x[i / 2][2 * h + i % 2] * mul;
    }
}

/* 4 warps of 16 keys each; blocks of queries and output gradients go by with their stats. K as operands in registers
 * beside dk and dv would be 20 registers too many. */
template <int D> __global__ void __launch_bounds__(THREADS, 2) dkdv_mma(const __grid_constant__ struct attn a)
{
    enum { LD = width<D>::LD, STAGE = 2 * STEP * LD };
    DYN_SHARED(bf16, mem); /* [keys, values][64][LD], [2 stages][queries, gradients][STEP][LD], [2 stages][STEP] stats */
    const int row0 = (int)(threadIdx.x >> 5) * 16;
    const struct place p(a);
    const struct own mine(a, p.index);
    const bf16 *q = (const bf16 *)a.q + p.in(a, a.sq), *g = (const bf16 *)a.dout + p.in(a, a.sq);
    const float2 *stat = a.stat + p.bh * a.slots;
    bf16 *kr = mem + row0 * LD, *vr = kr + 64 * LD, *stage = mem + 128 * LD;
    float2 *st = (float2 *)(stage + 2 * STAGE);
    float dk[1][D / 8][4], dv[1][D / 8][4];
    struct query_walk walk(a, p, mine);
    struct block b, ahead;

    load_rows<D, 64>(mem, (const bf16 *)a.k + p.in(a, a.sk), a, mine.first, 0, mine.n, 1);
    load_rows<D, 64>(mem + 64 * LD, (const bf16 *)a.v + p.in(a, a.sk), a, mine.first, 0, mine.n, 1);
    clear(dk), clear(dv);
    bool more = walk.step(b);
    if (more) load_queries<D>(stage, st, q, g, stat, a, b);
    for (int turn = 0; more; turn ^= 1, b = ahead) {
        const bf16 *qb = stage + turn * STAGE, *gb = qb + STEP * LD;
        float s[1][STEP / 8][4], dp[1][STEP / 8][4];
        uint32_t w[1][STEP / 16][4];

        cp_async_wait<0>();
        __syncthreads();
        more = walk.step(ahead);
        if (more) load_queries<D>(stage + (turn ^ 1) * STAGE, st + (turn ^ 1) * STEP, q, g, stat, a, ahead);
        scores<D, 1>(s, kr, qb);
        scores<D, 1>(dp, vr, gb);
        key_weights(s[0], dp[0], st + turn * STEP, a.c);
        if (!b.all) hide_pairs(s[0], dp[0], mine.first + row0 + (int)(threadIdx.x & 31) / 4, b, a);
        pack(w[0], s[0]);
        weigh<D, 1>(dv, w, gb);
        pack(w[0], dp[0]);
        weigh<D, 1>(dk, w, qb);
    }
    cp_async_commit(); /* the keys and values, where no block came */
    cp_async_wait<0>();
    __syncthreads();
    store_gradient<D>(vr, dv[0], a.dv, a.dvc, 1, a, p, mine, row0);
    store_gradient<D>(kr, dk[0], a.dk, a.dkc, a.scale, a, p, mine, row0);
}

/* ---- without them: features [f0,f0+F) of the gradients ---- */

template <class T, int F> __global__ void __launch_bounds__(256, 2) dq_plain(const __grid_constant__ struct attn a)
{
    SHARED(struct plain_mem<F>, m);
    const int x = threadIdx.x & 15, y = threadIdx.x >> 4, f0 = blockIdx.y * F;
    const struct place p(a);
    const struct own mine(a, p.index, TR);
    const struct source<T> q = { (const T *)a.q + p.in(a, a.sq), mine.first, 0, mine.n, 0 };
    const struct source<T> g = { (const T *)a.dout + p.in(a, a.sq), mine.first, 0, mine.n, 0 };
    float dq[4][F / 16] = {}, s[4][2], dp[4][2];
    struct key_walk walk(a, p, mine);
    struct block b;

    while (walk.step(b)) {
        const struct source<T> k = { (const T *)a.k + p.in(a, a.sk), b.first, b.lo, b.hi, 0 };
        const struct source<T> v = { (const T *)a.v + p.in(a, a.sk), b.first, b.lo, b.hi, 0 };
        plain_dots(s, m, q, k, a);
        plain_dots(dp, m, g, v, a);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int r = y + 16 * i;
            int2 seen = keys_seen(a, mine, r, b);
            float2 st = query_stat(a, p, mine, r);
#pragma unroll
            for (int j = 0; j < 2; j++) {
                s[i][j] = exp2f(fmaf(a.c, s[i][j], -st.x)) * (dp[i][j] - st.y);
                if (x + 16 * j < seen.x || x + 16 * j >= seen.y) s[i][j] = 0;
            }
        }
        plain_weigh(dq, m, s, k, f0, a);
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
        plain_store<T, F>((T *)a.dq + p.in(a, a.sq), dq[i], a.scale, i, mine, f0, coarse_row<T>(a.dqc, a, p), a);
}

template <class T, int F> __global__ void __launch_bounds__(256, 2) dkdv_plain(const __grid_constant__ struct attn a)
{
    SHARED(struct plain_mem<F>, m);
    const int x = threadIdx.x & 15, y = threadIdx.x >> 4, f0 = blockIdx.y * F;
    const struct place p(a);
    const struct own mine(a, p.index);
    const struct source<T> k = { (const T *)a.k + p.in(a, a.sk), mine.first, 0, mine.n, 1 };
    const struct source<T> v = { (const T *)a.v + p.in(a, a.sk), mine.first, 0, mine.n, 1 };
    const int64_t at = gradient_at(a, p);
    float dk[4][F / 16] = {}, dv[4][F / 16] = {}, s[4][2], dp[4][2];
    struct query_walk walk(a, p, mine);
    struct block b;

    while (walk.step(b)) {
        const struct source<T> q = { (const T *)a.q + p.in(a, a.sq), b.first, 0, b.hi, 0 };
        const struct source<T> g = { (const T *)a.dout + p.in(a, a.sq), b.first, 0, b.hi, 0 };
        plain_dots(s, m, k, q, a);
        plain_dots(dp, m, v, g, a);
#pragma unroll
        for (int j = 0; j < 2; j++) {
            float2 st = ld_vec<float2>(a.stat + p.bh * a.slots + b.slot + x + 16 * j);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                s[i][j] = exp2f(fmaf(a.c, s[i][j], -st.x));
                dp[i][j] = s[i][j] * (dp[i][j] - st.y);
                if (!b.all && !sees(a, b.first + x + 16 * j, mine.first + y + 16 * i)) s[i][j] = dp[i][j] = 0;
            }
        }
        plain_weigh(dv, m, s, g, f0, a);
        plain_weigh(dk, m, dp, q, f0, a);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (a.partial) {
            plain_store<float, F>((float *)a.dv + at, dv[i], 1, i, mine, f0, NULL, a);
            plain_store<float, F>((float *)a.dk + at, dk[i], a.scale, i, mine, f0, NULL, a);
        } else {
            plain_store<T, F>((T *)a.dv + at, dv[i], 1, i, mine, f0, coarse_row<T>(a.dvc, a, p), a);
            plain_store<T, F>((T *)a.dk + at, dk[i], a.scale, i, mine, f0, coarse_row<T>(a.dkc, a, p), a);
        }
    }
}

/* ---- host side ---- */

/* Blocks of 64 queries and of 64 keys with gradients, or tiles. */
struct grids {
    int64_t pairs, nq, nk; /* pairs: samples times heads */
};

static dim3 grid_of(struct attn &a, int64_t pairs, int64_t n, unsigned slices, int runs)
{
    a.blocks = (int)n;
    return dim3((unsigned)(pairs * n), slices, (unsigned)runs);
}

template <int D> static void launch_mma(cudaStream_t s, struct attn &a, const struct grids &n)
{
    size_t stages = 4 * STEP * width<D>::LD * sizeof(bf16), all = 2 * stages + 2 * STEP * sizeof(float2);
    dim3 q = grid_of(a, n.pairs, n.nq, 1, 1);

    ALLOW_DYN_SHARED(dq_mma<D>, stages);
    ALLOW_DYN_SHARED(dkdv_mma<D>, all);
    if (n.nq) LAUNCH(dq_mma<D>, q, THREADS, stages, s, a);
    dim3 k = grid_of(a, n.pairs, n.nk, 1, a.runs);
    if (n.nk) LAUNCH(dkdv_mma<D>, k, THREADS, all, s, a);
}

template <class T, int F> static void launch_plain(cudaStream_t s, struct attn &a, const struct grids &n)
{
    unsigned slices = (unsigned)attn_up(a.hd, F) / F;
    dim3 q = grid_of(a, n.pairs, n.nq, slices, 1);

    if (n.nq) LAUNCH((dq_plain<T, F>), q, 256, 0, s, a);
    dim3 k = grid_of(a, n.pairs, n.nk, slices, a.runs);
    if (n.nk) LAUNCH((dkdv_plain<T, F>), k, 256, 0, s, a);
}

static void backward(cudaStream_t s, int dt, struct attn &a, float2 *stat, const struct grids &n)
{
    int64_t slots = n.pairs * a.slots;
    unsigned grid = (unsigned)((slots + 15) / 16);

    if (slots && dt == REEL_F32)
        LAUNCH(stat_kernel<float>, grid, 256, 0, s, a, stat, slots);
    else if (slots)
        LAUNCH(stat_kernel<bf16>, grid, 256, 0, s, a, stat, slots);
    a.stat = stat;
    if (dt == REEL_F32 && a.hd <= 64)
        launch_plain<float, 64>(s, a, n);
    else if (dt == REEL_F32)
        launch_plain<float, 128>(s, a, n);
    else if (a.hd <= 32)
        launch_mma<32>(s, a, n);
    else if (a.hd <= 64)
        launch_mma<64>(s, a, n);
    else if (a.hd <= 128)
        launch_mma<128>(s, a, n);
    else
        launch_plain<bf16, 64>(s, a, n);
}

/* Queries in runs of run_tok (0: one run), each with whole steps of slots, so that a step of them is copied in one piece. */
static void cut_queries(struct attn &a, int64_t run_tok)
{
    a.run_tok = run_tok ? (int)run_tok : max(a.sq, 1);
    a.runs = run_tok ? (int)(attn_up(a.sq, run_tok) / run_tok) : 1;
    a.run_slots = (int)attn_up(a.run_tok, STEP);
    a.slots = (int64_t)a.runs * a.run_slots;
    a.partial = run_tok > 0;
}

static size_t stat_bytes(int64_t pairs, int64_t slots)
{
    return (size_t)(pairs * slots) * sizeof(float2);
}

extern "C" void reel_cuda_attn_bwd(struct reel_stream *s, int dt, void *dq, void *dk, void *dv, const void *dout,
                                   const void *o, const float *lse, const void *q, const void *k, const void *v,
                                   int64_t b, int64_t sq, int64_t sk, int heads, int64_t hd, struct reel_mask mask,
                                   int64_t dk0, int64_t g, int64_t run_tok, void *tmp)
{
    struct attn a = attn_call(sq, sk, heads, hd);

    a.q = q, a.k = k, a.v = v, a.dout = dout, a.o = (void *)o, a.lse = (float *)lse, a.dq = dq, a.dk = dk, a.dv = dv;
    a.mask = mask, a.dk0 = (int)dk0, a.dkn = (int)g;
    cut_queries(a, run_tok);
    reel_attn_look(reel_cuda_stream(s), &a, (char *)tmp + stat_bytes(b * heads, a.slots));
    backward(reel_cuda_stream(s), dt, a, (float2 *)tmp, { b * heads, (sq + 63) / 64, (g + 63) / 64 });
    REEL_CUDA_LAUNCHED();
}

extern "C" size_t reel_cuda_attn_bwd_tmp(struct reel_stream *, int, int64_t b, int64_t sq, int64_t sk, int heads, int64_t hd,
                                         int64_t run_tok)
{
    struct attn a = attn_call(sq, sk, heads, hd);

    cut_queries(a, run_tok);
    return stat_bytes(b * heads, a.slots) + reel_attn_sight_bytes(sq);
}

extern "C" void reel_cuda_vsa_bwd(struct reel_stream *s, int dt, void *dq, void *dk, void *dv, const void *dout,
                                  const void *o, const float *lse, const void *q, const void *k, const void *v,
                                  const int32_t *sel, const void *dqc, const void *dkc, const void *dvc,
                                  struct reel_tiles t, int64_t b, int heads, int64_t hd, int64_t topk, void *tmp)
{
    struct attn a = attn_call(t.s, t.s, heads, hd);

    a.q = q, a.k = k, a.v = v, a.dout = dout, a.o = (void *)o, a.lse = (float *)lse, a.dq = dq, a.dk = dk, a.dv = dv;
    a.start = t.start, a.order = t.order, a.sel = sel, a.dqc = dqc, a.dkc = dkc, a.dvc = dvc;
    a.n = (int)t.n, a.topk = (int)topk, a.dkn = (int)t.s, a.slots = t.n * TILE;
    reel_attn_chose(reel_cuda_stream(s), &a, b * heads, (char *)tmp + stat_bytes(b * heads, a.slots));
    backward(reel_cuda_stream(s), dt, a, (float2 *)tmp, { b * heads, t.n, t.n });
    REEL_CUDA_LAUNCHED();
}

extern "C" size_t reel_cuda_vsa_bwd_tmp(struct reel_stream *, int, struct reel_tiles t, int64_t b, int heads, int64_t, int64_t)
{
    return stat_bytes(b * heads, t.n * TILE) + reel_attn_chose_bytes(b * heads, t.n);
}
