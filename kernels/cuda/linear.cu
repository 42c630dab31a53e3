/* y = x w^T and its two derivatives, of canonical pieces: a product for each run of tokens, each piece of the columns and
 * each piece of the sum, so that the shapes that cuBLASLt sees, and its bits with them, do not depend on the layout.
 * Partial sums are added in the tree of struct reel_cut and struct reel_rows: the right one of two neighbouring leaves by
 * the product itself (D += is one rounding), subtrees by kernels. */
#include "kernels/cuda/product.h"
#include "kernels/cuda/rows.h"

#define GROUP_BYTES (16 << 20) /* f32 results that wait for their end: they should stay in the L2 cache */

/* ---- runs of tokens ---- */

/* Rows that are made by one call: `runs` equal runs from row `row` on, without gaps. */
struct group {
    int64_t row, rows;
    int runs;
};

static int64_t used_runs(struct reel_rows r) { return r.s ? reel_ceil_div(r.s, reel_rows_run_tok(r)) : 0; }
static bool ragged(struct reel_rows r) { return r.s % reel_rows_run_tok(r) != 0; }

/* The group that begins at `row`: as many runs as `most` allows. */
static struct group group_at(struct reel_rows r, int64_t row, int64_t most)
{
    const int64_t tok = reel_rows_run_tok(r), in = row % r.s, left = r.s - in;
    int64_t runs = ragged(r) ? left / tok : (r.b * r.s - row) / tok;

    if (!runs) return (struct group){ row, left, 1 };
    runs = lesser(runs, most);
    return (struct group){ row, tok, (int)runs };
}

static int64_t group_most(struct reel_rows r, int64_t n)
{
    const int64_t most = GROUP_BYTES / (reel_rows_run_tok(r) * n * (int64_t)sizeof(float));

    return most < 1 ? 1 : most;
}

/* ---- y and dx ---- */

/* Rows [M,sum] of dt (t.dy), times t.w, give rows of `width`. Forward w is [width,sum], backward [sum,width]. */
struct feat {
    struct reel_terms t;
    int64_t sum, width;
    struct reel_rows r;
    struct reel_cut cut;
    int dt, backward;
};

static const char *at(const void *p, int dt, int64_t i) { return (const char *)p + i * bytes_of(dt); }

/* Term `t` of piece `p` of the sum, all pieces of the columns, of the rows of g into d[rows,width] of dtype `out`. */
static void term_run(struct reel_stream *s, const struct feat *f, struct group g, int t, int64_t p, int out, void *d, int add,
                     const float *bias)
{
    const int64_t sum = f->sum / f->cut.pieces, cols = f->width / f->cut.cols, next = f->backward ? cols : cols * f->sum;
    const bool by_runs = g.runs >= f->cut.cols;
    const struct product q = {
        .dt = f->dt, .out = out, .ta = !f->backward, .tb = 0,
        .m = cols, .n = g.rows, .k = sum,
        .lda = f->backward ? f->width : f->sum, .ldb = f->sum, .ldd = f->width,
        .batch = by_runs ? g.runs : f->cut.cols,
        .sa = by_runs ? 0 : next, .sb = by_runs ? g.rows * f->sum : 0, .sd = by_runs ? g.rows * f->width : cols, .sbias = by_runs ? 0 : cols,
        .add = add,
        .unit_a = (int)(f->backward ? cols : sum), .unit_b = (int)sum, .unit_d = (int)cols,
    };
    const char *w = at(f->t.w[t], f->dt, p * sum * (f->backward ? f->width : 1)), *x = at(f->t.dy[t], f->dt, g.row * f->sum + p * sum);

    for (int i = 0; i < (by_runs ? f->cut.cols : g.runs); i++) {
        const int64_t c = by_runs ? i * cols : 0, row = by_runs ? 0 : i * g.rows;
        product_run(s, &q, (void *)at(d, out, row * f->width + c), at(w, f->dt, by_runs ? i * next : 0), at(x, f->dt, row * f->sum),
                    bias ? bias + c : NULL);
    }
}

/* The whole piece: its terms in order. */
static void piece_run(struct reel_stream *s, const struct feat *f, struct group g, int64_t p, int out, void *d, int add, const float *bias)
{
    for (int t = 0; t < f->t.n; t++) term_run(s, f, g, t, p, out, d, add || t, bias);
}

/* The tree over pieces lo..lo+span-1 into d; right halves are made in more[0], more[1], ... */
static void pieces_run(struct reel_stream *s, const struct feat *f, struct group g, int64_t lo, int64_t span, float *d, float *more)
{
    const int64_t n = g.rows * g.runs * f->width;

    if (span == 1) {
        piece_run(s, f, g, lo, REEL_F32, d, 0, NULL);
        return;
    }
    pieces_run(s, f, g, lo, span / 2, d, more);
    if (span == 2 && f->t.n == 1) {
        piece_run(s, f, g, lo + 1, REEL_F32, d, 1, NULL);
        return;
    }
    pieces_run(s, f, g, lo + span / 2, span / 2, more, more + n);
    reel_cuda_add(s, REEL_F32, d, more, n);
}

/* Can a product go where its result belongs, with nothing left to do? */
static bool direct(const struct feat *f, const struct product_end *e, int out)
{
    const bool last = f->t.n == 1 || (out == REEL_F32 && !e->add);

    return f->cut.pieces == 1 && last && !e->gelu && !e->pre && (!e->bias || out == REEL_F32);
}

static void feat_run(struct reel_stream *s, const struct feat *f, struct product_end e, float *tmp)
{
    const int out = f->cut.partial ? REEL_F32 : f->dt;
    const int64_t most = group_most(f->r, f->width);
    void *const y = e.y, *const pre = e.pre;

    for (int64_t row = 0; row < f->r.b * f->r.s;) {
        const struct group g = group_at(f->r, row, most);
        const int64_t rows = g.rows * g.runs, n = rows * f->width, off = row * f->width;
        float *sum = out == REEL_F32 && !e.add ? (float *)y + off : tmp, *more = sum == tmp ? tmp + n : tmp;

        e.y = (void *)at(y, out, off);
        e.pre = pre ? (void *)at(pre, out, off) : NULL;
        if (direct(f, &e, out)) piece_run(s, f, g, 0, out, e.y, e.add, e.bias);
        else {
            pieces_run(s, f, g, 0, f->cut.pieces, sum, more);
            e.x = sum;
            e.m = rows;
            if (e.bias || e.gelu || e.pre || sum == tmp) product_end_run(s, out, &e);
        }
        row += rows;
    }
}

/* f32 results of a group, and the right halves of its tree. */
static size_t feat_tmp(int terms, int64_t width, struct reel_rows r, struct reel_cut cut)
{
    const int64_t runs = lesser(group_most(r, width), r.b * used_runs(r));
    int64_t parts = 1;

    for (int p = cut.pieces; p > (terms == 1 ? 2 : 1); p /= 2) parts++;
    return (size_t)(parts * runs * reel_rows_run_tok(r) * width) * sizeof(float);
}

extern "C" void reel_cuda_linear_fwd(struct reel_stream *s, int dt, void *y, void *pre, const void *x, const void *w, const float *bias,
                                     int64_t m, int64_t n, int64_t k, struct reel_rows r, struct reel_cut cut, int epi, void *tmp)
{
    const struct feat f = { { 1, { x }, { w } }, k, n, r, cut, dt, 0 };
    const struct product_end e = { y, pre, NULL, bias, m, n, epi == REEL_EPI_GELU, epi == REEL_EPI_ADD };

    feat_run(s, &f, e, (float *)tmp);
    REEL_CUDA_LAUNCHED();
}

extern "C" size_t reel_cuda_linear_fwd_tmp(struct reel_stream *, int, int64_t, int64_t n, int64_t, struct reel_rows r, struct reel_cut cut)
{
    return feat_tmp(1, n, r, cut);
}

extern "C" void reel_cuda_linear_bwd_x(struct reel_stream *s, int dt, void *dx, struct reel_terms t, int64_t m, int64_t n, int64_t k,
                                       struct reel_rows r, struct reel_cut cut, int acc, void *tmp)
{
    const struct feat f = { t, n, k, r, cut, dt, 1 };
    const struct product_end e = { dx, NULL, NULL, NULL, m, k, 0, acc };

    feat_run(s, &f, e, (float *)tmp);
    REEL_CUDA_LAUNCHED();
}

extern "C" size_t reel_cuda_linear_bwd_x_tmp(struct reel_stream *, int, int terms, int64_t, int64_t, int64_t k, struct reel_rows r,
                                             struct reel_cut cut)
{
    return feat_tmp(terms, k, r, cut);
}

/* ---- dw and db ---- */

struct wgrad {
    const void *x, *dy;
    int64_t n, k;
    struct reel_rows r;
    struct reel_cut cut;
    int dt;
    int64_t runs2; /* runs of a sample, rounded up to a power of two */
};

/* Leaf i of the tree over (sample, run); false if it is a hole. */
static bool leaf_run(struct reel_stream *s, const struct wgrad *g, int64_t i, float *dw, int add)
{
    const int64_t tok = reel_rows_run_tok(g->r), b = i / g->runs2, lo = i % g->runs2 * tok, len = lesser(tok, g->r.s - lo);
    const int64_t rows = g->n / g->cut.pieces, cols = g->k / g->cut.cols;
    const bool by_rows = g->cut.pieces >= g->cut.cols;
    const struct product q = {
        .dt = g->dt, .out = REEL_F32, .ta = 0, .tb = 1,
        .m = cols, .n = rows, .k = len,
        .lda = g->k, .ldb = g->n, .ldd = g->k,
        .batch = by_rows ? g->cut.pieces : g->cut.cols,
        .sa = by_rows ? 0 : cols, .sb = by_rows ? rows : 0, .sd = by_rows ? rows * g->k : cols, .sbias = 0,
        .add = add,
        .unit_a = (int)cols, .unit_b = (int)rows, .unit_d = (int)cols,
    };

    if (b >= g->r.b || i % g->runs2 >= g->r.runs || len < 1) return false;
    for (int j = 0; j < (by_rows ? g->cut.cols : g->cut.pieces); j++) {
        const int64_t c = by_rows ? j * cols : 0, n = by_rows ? 0 : j * rows, row = b * g->r.s + lo;
        product_run(s, &q, dw + n * g->k + c, at(g->x, g->dt, row * g->k + c), at(g->dy, g->dt, row * g->n + n), NULL);
    }
    return true;
}

/* The tree over leaves lo..lo+span-1 into dw, right halves in more[0], more[1], ...; false if all are holes. */
static bool leaves_run(struct reel_stream *s, const struct wgrad *g, int64_t lo, int64_t span, float *dw, float *more)
{
    const int64_t half = span / 2;

    if (span == 1) return leaf_run(s, g, lo, dw, 0);
    if (!leaves_run(s, g, lo, half, dw, more)) return leaves_run(s, g, lo + half, half, dw, more);
    if (half == 1) leaf_run(s, g, lo + 1, dw, 1);
    else if (leaves_run(s, g, lo + half, half, more, more + g->n * g->k)) reel_cuda_add(s, REEL_F32, dw, more, g->n * g->k);
    return true;
}

/* Column sums of dy. */
template <int DT> struct colsum {
    const void *dy;
    int64_t d;
    bool wide;

    __device__ struct cols columns() const { return own_cols(d); }
    __device__ void begin(int64_t, int64_t, struct cols) {}
    __device__ __forceinline__ void row(int64_t row, int64_t, struct cols c, float (&sum)[1][8])
    {
        float x[8];

        ld<DT>(x, dy, row * d + c.i, c.n, wide);
        for (int j = 0; j < 8; j++) sum[0][j] += x[j];
    }
};

static size_t whole(size_t floats) { return (floats + 63) / 64 * 64; }

static size_t colsum_floats(int64_t n, struct reel_rows r)
{
    const struct reel_pieces pc = reel_pieces_make(r);

    return whole((size_t)(r.b * reel_piece_slots(&pc, 1) * n));
}

static void colsum_run(struct reel_stream *s, int dt, float *db, const void *dy, int64_t n, struct reel_rows r, int acc, float *tmp)
{
    const struct sums sums = { reel_pieces_make(r), 1, n, tmp, n % 8 == 0 && aligned16(tmp) };

    BY_DT(dt, const colsum<DT> body = { dy, n, n % 8 == 0 && aligned16(dy) }; stretch_run<1>(s, body, sums, window_block(n), row_windows(n)));
    row_sums_run(s, sums, 1, 0, 0, acc, db, NULL);
}

/* Buffers of n*k for right halves, and one for the sum if it is to be added. */
static size_t halves(struct reel_rows r)
{
    const int64_t span = reel_pow2_up(r.runs) * reel_pow2_up(r.b);
    size_t n = 1;

    for (int64_t p = span; p > 2; p /= 2) n++;
    return n;
}

extern "C" void reel_cuda_linear_bwd_w(struct reel_stream *s, int dt, float *dw, float *db, const void *x, const void *dy, int64_t,
                                       int64_t n, int64_t k, struct reel_rows r, struct reel_cut cut, int acc, void *tmp)
{
    const struct wgrad g = { x, dy, n, k, r, cut, dt, reel_pow2_up(r.runs) };
    float *more = (float *)tmp + (db ? colsum_floats(n, r) : 0), *to = acc ? more : dw;

    if (acc) more += n * k;
    leaves_run(s, &g, 0, g.runs2 * reel_pow2_up(r.b), to, more);
    if (acc) reel_cuda_add(s, REEL_F32, dw, to, n * k);
    if (db) colsum_run(s, dt, db, dy, n, r, acc, (float *)tmp);
    REEL_CUDA_LAUNCHED();
}

extern "C" size_t reel_cuda_linear_bwd_w_tmp(struct reel_stream *, int, int64_t, int64_t n, int64_t k, struct reel_rows r, struct reel_cut)
{
    return (colsum_floats(n, r) + halves(r) * (size_t)(n * k)) * sizeof(float);
}
