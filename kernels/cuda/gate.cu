/* Gated residual y = x + gate*u, and the modulation table e = table + t. */
#include "kernels/cuda/rows.h"

struct gate {
    void *y;           /* y forward, du backward */
    const void *x, *u; /* backward: x is dy */
    const float *gate; /* first row's, or NULL: 1 */
    int64_t nper, ld, d;
    struct reel_rows r;
    bool wide;
};

template <int DT> __global__ void __launch_bounds__(ROW_THREADS) gate_fwd_kernel(const struct gate a, int64_t steps)
{
    const struct cols c = own_cols(a.d);
    const int64_t rows = a.r.b * a.r.s;
    int64_t have = -1; /* the modulation row in g */
    float g[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };

    for (int64_t k = 0; k < steps; k++) {
        const int64_t row = step_row(steps, k), at = row * a.d + c.i;
        float x[8], u[8];

        if (row >= rows) return;
        if (a.gate) {
            const int64_t b = (unsigned)row / (unsigned)a.r.s, m = reel_mod_at(&a.r, a.nper, a.ld, b, row - b * a.r.s);
            if (m != have) ld<REEL_F32>(g, a.gate, m + c.i, c.n, a.wide);
            have = m;
        }
        ld<DT>(x, a.x, at, c.n, a.wide);
        ld<DT>(u, a.u, at, c.n, a.wide);
#pragma unroll
        for (int j = 0; j < 8; j++) x[j] += g[j] * u[j];
        st<DT>(a.y, at, c.n, x, a.wide);
    }
}

void reel_cuda_gate_fwd(struct reel_stream *s, int dt, void *y, const void *x, const void *u, const float *mod, int64_t nmod,
                        int64_t ld, int64_t gate, int64_t d, struct reel_rows r)
{
    const dim3 block = window_block(d);
    const int64_t rows = r.b * r.s;
    struct gate a = {};

    if (rows < 1) return;
    REEL_BUG_IF(rows > UINT32_MAX, "cuda: %lld rows", (long long)rows);
    a.y = y, a.x = x, a.u = u, a.gate = mod ? mod + gate : NULL, a.nper = mod ? nmod / r.b : 1, a.ld = ld, a.d = d, a.r = r;
    a.wide = d % 8 == 0 && ld % 4 == 0 && aligned16(y) && aligned16(x) && aligned16(u) && aligned16(a.gate);
    BY_DT(dt, LAUNCH((gate_fwd_kernel<DT>), dim3(row_blocks(rows, block), (unsigned)row_windows(d)), block, 0,
                     reel_cuda_stream(s), a, row_steps(rows, block)));
    REEL_CUDA_LAUNCHED();
}

/* du = gate*dy; the sum of dy*u */
template <int DT> struct gate_bwd {
    struct gate a;
    float g[8];

    gate_bwd(const struct gate &args) : a(args) {}
    __device__ struct cols columns() const { return own_cols(a.d); }
    __device__ __forceinline__ void begin(int64_t b, int64_t tok, struct cols c)
    {
        ld<REEL_F32>(g, a.gate, reel_mod_at(&a.r, a.nper, a.ld, b, tok) + c.i, c.n, a.wide);
    }
    __device__ __forceinline__ void row(int64_t row, int64_t, struct cols c, float (&sum)[1][8])
    {
        const int64_t at = row * a.d + c.i;
        float dy[8], u[8];

        ld<DT>(dy, a.x, at, c.n, a.wide);
        ld<DT>(u, a.u, at, c.n, a.wide);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            sum[0][j] += dy[j] * u[j];
            dy[j] *= g[j];
        }
        st<DT>(a.y, at, c.n, dy, a.wide);
    }
};

void reel_cuda_gate_bwd(struct reel_stream *s, int dt, void *du, float *dmod, const void *dy, const void *u, const float *mod,
                        int64_t nmod, int64_t ld, int64_t gate, int64_t d, struct reel_rows r, float *tmp)
{
    struct gate a = {};

    if (!mod) {
        if (du != dy) reel_cuda_cast(s, dt, du, dt, dy, r.b * r.s * d);
        return;
    }
    a.y = du, a.x = dy, a.u = u, a.gate = mod + gate, a.nper = nmod / r.b, a.ld = ld, a.d = d, a.r = r;
    const struct sums sums = { reel_pieces_make(r), a.nper, d, tmp, d % 8 == 0 && aligned16(tmp) };
    a.wide = sums.wide && ld % 4 == 0 && aligned16(du) && aligned16(dy) && aligned16(u) && aligned16(a.gate);
    BY_DT(dt, stretch_run<1>(s, gate_bwd<DT>(a), sums, window_block(d), row_windows(d)));
    row_sums_run(s, sums, 1, 1, ld, 1, dmod + gate, NULL);
    REEL_CUDA_LAUNCHED();
}

/* ---- modulation table ---- */

/* rows of e: of modulation row m, row k of the table; wide: t has a row for each, else one for all k */
struct mod {
    float *e;
    const float *table, *t;
    int64_t nmod, rows, d;
    int wide;
    bool vec;
};

__global__ void __launch_bounds__(ROW_THREADS) mod_fwd_kernel(const struct mod a, int64_t steps)
{
    const struct cols c = own_cols(a.d);

    for (int64_t n = 0; n < steps; n++) {
        const int64_t row = step_row(steps, n);
        float x[8], t[8];

        if (row >= a.nmod * a.rows) return;
        ld<REEL_F32>(x, a.table, row % a.rows * a.d + c.i, c.n, a.vec);
        ld<REEL_F32>(t, a.t, (a.wide ? row : row / a.rows) * a.d + c.i, c.n, a.vec);
#pragma unroll
        for (int j = 0; j < 8; j++) x[j] += t[j];
        st<REEL_F32>(a.e, row * a.d + c.i, c.n, x, a.vec);
    }
}

void reel_cuda_mod_fwd(struct reel_stream *s, float *e, const float *table, const float *t, int64_t nmod, int64_t rows,
                       int64_t d, int wide)
{
    const dim3 block = window_block(d);
    const struct mod a = { e, table, t, nmod, rows, d, wide, d % 8 == 0 && aligned16(e) && aligned16(table) && aligned16(t) };

    if (nmod * rows < 1) return;
    LAUNCH(mod_fwd_kernel, dim3(row_blocks(nmod * rows, block), (unsigned)row_windows(d)), block, 0, reel_cuda_stream(s), a,
           row_steps(nmod * rows, block));
    REEL_CUDA_LAUNCHED();
}

/* Frames of samples as leaves; a sample's frames first, so that each sample is a subtree. */
struct frame_leaves {
    const float *de;
    int64_t b, f, f2, d; /* f2: frames rounded up to a power of two */

    __device__ __forceinline__ struct frame_leaves pick(int64_t, struct reel_range *r) const
    {
        *r = (struct reel_range){ 0, f2 * reel_pow2_up(b) };
        return *this;
    }
    __device__ __forceinline__ const float *at(int64_t i) const
    {
        const int64_t sample = (unsigned)i / (unsigned)f2, frame = (unsigned)i % (unsigned)f2;

        return sample < b && frame < f ? de + (sample * f + frame) * d : NULL;
    }
};

/* dt of a modulation row: += de of its row of the table, or of all rows in order */
__global__ void __launch_bounds__(ROW_THREADS) mod_bwd_t_kernel(float *dt, const float *de, int64_t n, int64_t rows, int64_t d)
{
    const struct cols c = own_cols(d);
    const int64_t m = (int64_t)blockIdx.x * blockDim.y + threadIdx.y;

    if (m >= n) return;
    for (int j = 0; j < c.n; j++) {
        float x = dt[m * d + c.i + j];
        for (int64_t k = 0; k < rows; k++) x += de[(m * rows + k) * d + c.i + j];
        dt[m * d + c.i + j] = x;
    }
}

void reel_cuda_mod_bwd(struct reel_stream *s, float *dtable, int pacc, float *dt, const float *de, int64_t b, int64_t f,
                       int64_t rows, int64_t d, int wide)
{
    const struct frame_leaves leaves = { de, b, f, reel_pow2_up(f), rows * d };
    const struct tree_out o = { { dtable, NULL }, rows * d, 0, 1, 1, pacc };
    const dim3 block = window_block(d);
    const int64_t n = b * f * (wide ? rows : 1);

    if (n < 1) return;
    if (dtable) tree_run(s, leaves, o, leaves.f2 * reel_pow2_up(b));
    LAUNCH(mod_bwd_t_kernel, dim3((unsigned)reel_ceil_div(n, block.y), (unsigned)row_windows(d)), block, 0, reel_cuda_stream(s), dt, de,
           n, wide ? 1 : rows, d);
    REEL_CUDA_LAUNCHED();
}
