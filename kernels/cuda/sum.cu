/* Sums over the first dimension in the tree, the end of a product, and the exact sum of squares. */
#include "base/exact.h"
#include "kernels/cuda/product.h"
#include "kernels/cuda/rows.h"

struct row_by_row {
    const float *in;
    int64_t pieces, n;

    __device__ __forceinline__ struct row_by_row pick(int64_t, struct reel_range *r) const
    {
        *r = (struct reel_range){ 0, reel_pow2_up(pieces) };
        return *this;
    }
    __device__ __forceinline__ const float *at(int64_t i) const { return i < pieces ? in + i * n : NULL; }
};

void reel_cuda_tree_sum(struct reel_stream *s, float *out, const float *in, int64_t pieces, int64_t n, int acc)
{
    const struct row_by_row leaves = { in, pieces, n };
    const struct tree_out o = { { out, NULL }, n, 0, 1, 1, acc };

    tree_run(s, leaves, o, reel_pow2_up(pieces));
    REEL_CUDA_LAUNCHED();
}

template <int DT> __global__ void __launch_bounds__(ROW_THREADS) sum_end_kernel(const struct product_end e, int64_t steps, bool wide)
{
    const struct cols c = own_cols(e.n);
    float bias[8];

    if (e.bias) ld<REEL_F32>(bias, e.bias, c.i, c.n, wide);
    for (int64_t k = 0; k < steps; k++) {
        const int64_t row = step_row(steps, k), at = row * e.n + c.i;
        float x[8], y[8];

        if (row >= e.m) return;
        ld<REEL_F32>(x, e.x, at, c.n, wide);
        if (e.bias)
            for (int j = 0; j < 8; j++) x[j] += bias[j];
        if (e.pre) st<DT>(e.pre, at, c.n, x, wide);
        if (e.gelu)
            for (int j = 0; j < 8; j++) x[j] = reel_gelu(rounded<DT>(x[j])); /* of what pre holds */
        if (e.add) {
            ld<DT>(y, e.y, at, c.n, wide);
            for (int j = 0; j < 8; j++) x[j] += y[j];
        }
        st<DT>(e.y, at, c.n, x, wide);
    }
}

void product_end_run(const struct reel_stream *s, int dt, const struct product_end *e)
{
    const dim3 block = window_block(e->n);
    const bool wide = e->n % 8 == 0 && aligned16(e->y) && aligned16(e->pre) && aligned16(e->x) && aligned16(e->bias);

    if (e->m < 1) return;
    BY_DT(dt, LAUNCH((sum_end_kernel<DT>), dim3(row_blocks(e->m, block), (unsigned)row_windows(e->n)), block, 0, reel_cuda_stream(s),
                     *e, row_steps(e->m, block), wide));
}

void reel_cuda_sum_end(struct reel_stream *s, int dt, void *y, const float *x, const float *bias, int64_t m, int64_t n, int acc)
{
    const struct product_end e = { y, NULL, x, bias, m, n, 0, acc };

    product_end_run(s, dt, &e);
    REEL_CUDA_LAUNCHED();
}

/* ---- sum of squares: squares of f32 are exact in f64; a row is `lanes` threads of a warp, rows meet in integers ---- */

#define SUMSQ_THREADS 256

template <int DT>
__global__ void __launch_bounds__(SUMSQ_THREADS) sumsq_kernel(int64_t *out, const void *x, int64_t rows, int64_t n, int lanes, bool wide)
{
    SHARED(unsigned long long, limb, [REEL_EXACT_LIMBS]);
    constexpr int N = PER16<DT>;
    const int64_t each = gridDim.x * SUMSQ_THREADS / lanes, first = (blockIdx.x * SUMSQ_THREADS + threadIdx.x) / lanes;
    const int lane = (int)threadIdx.x % lanes;

    if (threadIdx.x < REEL_EXACT_LIMBS) limb[threadIdx.x] = 0;
    __syncthreads();
    for (int64_t k = 0; k < reel_ceil_div(rows, each); k++) { /* every lane of a warp takes part in the exchange */
        const int64_t row = first + k * each;
        double sum = 0;

        for (int64_t i = lane * N; i < n && row < rows; i += lanes * N) {
            float v[N];
            ld<DT>(v, x, row * n + i, (int)min(n - i, (int64_t)N), wide);
#pragma unroll
            for (int j = 0; j < N; j++) sum += (double)v[j] * (double)v[j];
        }
        for (int o = lanes / 2; o; o /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, o);
        if (lane == 0 && row < rows && sum != 0) {
            const struct reel_exact_term t = reel_exact_split(sum);
            for (int j = 0; j < 3; j++) atomicAdd(&limb[t.limb + j], (unsigned long long)t.part[j]);
        }
    }
    __syncthreads();
    if (threadIdx.x < REEL_EXACT_LIMBS && limb[threadIdx.x])
        atomicAdd((unsigned long long *)out + threadIdx.x, limb[threadIdx.x]);
}

void reel_cuda_sumsq(struct reel_stream *s, int64_t *out, int dt, const void *x, int64_t rows, int64_t n, double *tmp)
{
    const int64_t lanes = lesser(reel_pow2_up(reel_ceil_div(n, 8)), 32), rows_of_block = SUMSQ_THREADS / lanes;

    (void)tmp;
    if (rows < 1) return;
    BY_DT(dt, LAUNCH((sumsq_kernel<DT>), dim3((unsigned)lesser(reel_ceil_div(rows, rows_of_block), MAX_BLOCKS)), dim3(SUMSQ_THREADS), 0,
                     reel_cuda_stream(s), out, x, rows, n, (int)lanes, n % PER16<DT> == 0 && aligned16(x)));
    REEL_CUDA_LAUNCHED();
}
