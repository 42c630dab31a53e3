#ifndef REEL_KERNELS_CUDA_ROWS_H
#define REEL_KERNELS_CUDA_ROWS_H

/* Row-wise operators. A block is threadIdx.x = eight columns of a row, threadIdx.y = one of a few rows at a time;
 * how many rows follows from the width alone, so no sum depends on anything else. A row is read once and stays in
 * registers. */

#include "kernels/cuda/tree.h"

#define ROW_THREADS 768               /* of a block, at most: leaves a thread 85 registers */
#define MAX_WIDTH   (8 * ROW_THREADS) /* columns of a row that has sums over its columns */

static inline dim3 row_block(int64_t threads)
{
    unsigned x = (unsigned)(32 * reel_ceil_div(threads, 32)), y = ROW_THREADS / x;

    REEL_BUG_IF(threads > ROW_THREADS, "cuda: rows of %lld columns; at most %d", (long long)(8 * threads), MAX_WIDTH);
    return dim3(x, y > 16 ? 16 : y);
}

/* Rows without such sums may be cut into windows of columns, one a blockIdx.y. */
static inline int64_t row_windows(int64_t d) { return reel_ceil_div(reel_ceil_div(d, 8), ROW_THREADS); }
static inline dim3 window_block(int64_t d) { return row_block(reel_ceil_div(reel_ceil_div(d, 8), row_windows(d))); }

/* Columns of this thread: n from i on */
struct cols {
    int i, n;
};

__device__ __forceinline__ struct cols own_cols(int64_t d)
{
    const int i = 8 * (int)(blockIdx.y * blockDim.x + threadIdx.x), n = (int)d - i;

    return (struct cols){ i, n < 0 ? 0 : n > 8 ? 8 : n };
}

/* Rows of a block: `steps` times blockDim.y, side by side, so that neighbours share what they read besides. */
static inline int64_t row_steps(int64_t rows, dim3 block) { return reel_ceil_div(rows, (int64_t)block.y * MAX_BLOCKS); }
static inline unsigned row_blocks(int64_t rows, dim3 block) { return (unsigned)reel_ceil_div(rows, row_steps(rows, block) * block.y); }
__device__ __forceinline__ int64_t step_row(int64_t steps, int64_t k)
{
    return (blockIdx.x * steps + k) * blockDim.y + threadIdx.y;
}

/* Sums over the columns of a row: lanes by exchange, warps in order through shared memory. One barrier suffices since
 * two buffers take turns. Every thread of the block calls it. */
template <int K> struct row_sum {
    int turn;
    __device__ row_sum() : turn(0) {}
    __device__ __forceinline__ void operator()(float (&s)[K])
    {
        SHARED(float, part, [2][ROW_THREADS / 32][K]);
        const int warps = (int)blockDim.x / 32, first = (int)threadIdx.y * warps;

#pragma unroll
        for (int k = 0; k < K; k++)
            for (int o = 16; o; o /= 2) s[k] += __shfl_xor_sync(0xffffffffu, s[k], o);
        if (warps == 1) return;
        if (threadIdx.x % 32 == 0)
            for (int k = 0; k < K; k++) part[turn][first + threadIdx.x / 32][k] = s[k];
        __syncthreads();
#pragma unroll
        for (int k = 0; k < K; k++) {
            s[k] = part[turn][first][k];
            for (int w = 1; w < warps; w++) s[k] += part[turn][first + w][k];
        }
        turn ^= 1;
    }
};

/* ---- sums over rows: partial sums of the stretches of a piece, then the tree ---- */

struct sums {
    struct reel_pieces pc;
    int64_t nper, d; /* modulation rows of a sample; columns */
    float *tmp;      /* [slot][K][d], or NULL: no sums are wanted */
    bool wide;
};

/* Adds the rows' sums of a block in order and stores them: K vectors of d columns at part. */
template <int K> __device__ __forceinline__ void fold(float (&sum)[K][8], float *part, struct cols c, int64_t d, bool wide)
{
    DYN_SHARED(float, other); /* [8][rows - 1][threads]: neighbouring threads, neighbouring banks */
    const int rows = (int)blockDim.y, t = (int)blockDim.x;

#pragma unroll
    for (int k = 0; k < K; k++) {
        if (rows > 1) {
            __syncthreads();
            if (threadIdx.y > 0)
                for (int j = 0; j < 8; j++) other[(j * (rows - 1) + threadIdx.y - 1) * t + threadIdx.x] = sum[k][j];
            __syncthreads();
        }
        if (threadIdx.y == 0) {
            for (int r = 0; r < rows - 1; r++)
#pragma unroll
                for (int j = 0; j < 8; j++) sum[k][j] += other[(j * (rows - 1) + r) * t + threadIdx.x];
            st<REEL_F32>(part, k * d + c.i, c.n, sum[k], wide);
        }
    }
}

/* For each stretch of each piece: body.begin(b, first token), then body.row(row, token, columns, sum) for its rows,
 * blockDim.y at a time; without columns (n 0) where there is no row. */
template <int K, class Body> __global__ void __launch_bounds__(ROW_THREADS) stretch_kernel(Body body, struct sums a)
{
    const struct reel_pieces &pc = a.pc;
    const int64_t per = pc.r.runs * pc.blocks;
    const struct cols c = body.columns();

    for (int64_t task = blockIdx.x; task < pc.r.b * per; task += gridDim.x) {
        const int64_t b = task / per, piece = task % per, run = piece / pc.blocks, block = piece % pc.blocks;
        const struct reel_range all = reel_piece_tokens(&pc, run, block);

        for (int64_t lo = all.lo; lo < all.hi;) {
            const int64_t f = a.nper > 1 ? (pc.r.tok0 + lo) / pc.r.per_mod : 0;
            const struct reel_range t = reel_piece_under(&pc, a.nper, run, block, f);
            float sum[K][8] = {};

            body.begin(b, t.lo, c);
            for (int64_t k = t.lo; k < t.hi; k += blockDim.y) {
                const int64_t tok = k + threadIdx.y;
                body.row(b * pc.r.s + tok, tok, (struct cols){ c.i, tok < t.hi ? c.n : 0 }, sum);
            }
            if (a.tmp) fold(sum, a.tmp + (b * reel_piece_slots(&pc, a.nper) + piece + f) * K * a.d, c, a.d, a.wide);
            lo = t.hi;
        }
    }
}

template <int K, class Body>
static void stretch_run(const struct reel_stream *s, const Body &body, const struct sums &a, dim3 block, int64_t windows = 1)
{
    int64_t pieces = reel_pieces_count(&a.pc);

    if (pieces < 1) return;
    LAUNCH((stretch_kernel<K, Body>), dim3((unsigned)lesser(pieces, 4 * MAX_BLOCKS), (unsigned)windows), block,
           (block.y - 1) * block.x * 8 * sizeof(float), reel_cuda_stream(s), body, a);
}

/* The partial sums as leaves: of one modulation row (each: a job per row and vector), or of all rows. */
struct row_leaves {
    struct sums a;
    int k, each;
    int64_t b, f;
    const float *x;

    __device__ __forceinline__ struct row_leaves pick(int64_t job, struct reel_range *r) const
    {
        const struct reel_pieces &pc = a.pc;
        const int64_t m = job / k;
        const struct row_leaves of = { a, k, each, m / a.nper, m % a.nper, a.tmp + job % k * a.d };

        *r = (struct reel_range){ 0, pc.runs2 * pc.blocks2 * (each ? 1 : reel_pow2_up(pc.r.b)) };
        if (a.nper > 1) *r = of.hull(*r);
        return of;
    }

    /* The smallest subtree that holds all of frame f: what lies beyond are holes. */
    __device__ __forceinline__ struct reel_range hull(struct reel_range r) const
    {
        const struct reel_rows &q = a.pc.r;
        const int64_t lo = max(f * q.per_mod - q.tok0, (int64_t)0), hi = min((f + 1) * q.per_mod - q.tok0, q.s) - 1;

        if (lo > hi) return (struct reel_range){ 0, 1 };
        const int64_t i = index(lo), j = index(hi);
        for (int64_t span = 1; span < r.hi; span *= 2)
            if (i / span == j / span) return (struct reel_range){ i / span * span, i / span * span + span };
        return r;
    }

    __device__ __forceinline__ int64_t index(int64_t tok) const
    {
        return tok / a.pc.run_tok * a.pc.blocks2 + tok % a.pc.run_tok / REEL_BLOCK;
    }

    __device__ __forceinline__ const float *at(int64_t i) const
    {
        const struct reel_pieces &pc = a.pc;
        const unsigned u = (unsigned)i, blocks2 = (unsigned)pc.blocks2, runs2 = (unsigned)pc.runs2; /* powers of two */
        const int64_t block = u & (blocks2 - 1), run = u / blocks2 & (runs2 - 1), sample = each ? b : u / blocks2 / runs2;
        struct reel_range t;

        if (run >= pc.r.runs || block >= pc.blocks || sample >= pc.r.b) return NULL;
        t = reel_piece_under(&pc, a.nper, run, block, f);
        if (t.lo >= t.hi) return NULL;
        return x + (sample * reel_piece_slots(&pc, a.nper) + run * pc.blocks + block + f) * k * a.d;
    }
};

/* out[i] of every modulation row, ld apart (each), or over all rows: += or =. */
static inline void row_sums_run(const struct reel_stream *s, const struct sums &a, int k, int each, int64_t ld, int acc, float *out0,
                                float *out1)
{
    struct row_leaves leaves = { a, k, each, 0, 0, NULL };
    struct tree_out o = { { out0, out1 }, a.d, ld, (each ? a.pc.r.b * a.nper : 1) * k, k, acc };

    tree_run(s, leaves, o, a.pc.runs2 * a.pc.blocks2 * (each ? 1 : reel_pow2_up(a.pc.r.b)));
}

#endif
