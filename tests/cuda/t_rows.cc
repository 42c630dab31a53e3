/* Every operator of kernels/cuda but matrix products and attention, under the executor: against the CPU backend (the
 * same bits where the arithmetic is element-wise or the order of a sum is the same), the same bits in every order of
 * threads and blocks and for every alignment, and subtrees where rows are spread over holders. Built twice, as t_simt. */

#include <cmath>
#include <string>

#include "simt_rig.h"
#include "tests/tap.h"

extern "C" {
#include "base/exact.h"
#include "be/backend.h"
#include "be/ops.h"
#include "kernels/cuda/cuda.h"
}
#include "kernels/pieces.h"
#include "kernels/scalar.h"

/* ---- of the module and of the runtime, what these kernels need ---- */

static const struct reel_backend_ops cuda_ops = {
    "cuda",
#define REEL_OP(op, args)    reel_cuda_##op,
#define REEL_OP_MM(op, args) NULL,
#define REEL_TMP(op, args)   NULL,
#include "kernels/ops.def"
};

void reel_cuda_check_(int error, const char *call, const char *file, int line)
{
    if (error) reel_die_(file, line, "%s: %d", call, error);
}
void reel_cuda_launched_(const struct reel_stream *, const char *op, const char *, int)
{
    if (rig::failure) reel_die_(__FILE__, __LINE__, "%s: launch refused, %d", op, (int)rig::failure);
}
void reel_cuda_copy_2d(struct reel_stream *, void *, int64_t, const void *, int64_t, int64_t, int64_t) {}
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, cudaMemcpyKind, cudaStream_t)
{
    memcpy(dst, src, bytes);
    rig::defined(dst, bytes);
    return cudaSuccess;
}

/* ---- memory of both sides ---- */

struct mem {
    int dt;
    int64_t n;
    std::vector<unsigned char> start, cpu, first; /* before; after the CPU; after the first run of the kernels */
    unsigned char *dev;
    double tol; /* of the largest value; 0: the same bits; negative: not compared with the CPU */
    bool in, out;
};

static std::vector<mem> mems;

static float normal(uint64_t key, int64_t i) { return reel_normal(key, 3, 0, 0, (uint64_t)i); }

static void put(mem &m, int64_t i, double v)
{
    unsigned char *p = m.start.data();

    if (m.dt == REEL_F64) ((double *)p)[i] = v;
    else if (m.dt == REEL_F32) ((float *)p)[i] = (float)v;
    else if (m.dt == REEL_BF16) ((uint16_t *)p)[i] = reel_f32_bf16((float)v);
    else if (m.dt == REEL_F16) ((uint16_t *)p)[i] = (uint16_t)(i * 977);
    else ((int32_t *)p)[i] = (int32_t)v;
}

static double get(const mem &m, const unsigned char *p, int64_t i)
{
    if (m.dt == REEL_F64) return ((const double *)p)[i];
    if (m.dt == REEL_F32) return (double)((const float *)p)[i];
    if (m.dt == REEL_BF16) return (double)reel_bf16_f32(((const uint16_t *)p)[i]);
    return 0;
}

static int add_mem(int dt, int64_t n, double tol, bool is_in, bool is_out)
{
    mem m = {};

    m.dt = dt, m.n = n, m.tol = tol, m.in = is_in, m.out = is_out;
    m.start.assign((size_t)n * reel_dtype_size((reel_dtype)dt) + 1, 0xff);
    mems.push_back(m);
    return (int)mems.size() - 1;
}

static int in(int dt, int64_t n, double scale = 1, double mean = 0)
{
    int k = add_mem(dt, n, 0, true, false);

    for (int64_t i = 0; i < n; i++) put(mems[k], i, (double)normal((uint64_t)k + 1, i) * scale + mean);
    return k;
}
static int out(int dt, int64_t n, double tol) { return add_mem(dt, n, tol, false, true); }
static int inout(int dt, int64_t n, double tol, double scale = 1)
{
    int k = in(dt, n, scale);

    mems[k].out = true, mems[k].tol = tol;
    return k;
}
static int scratch(size_t bytes) { return add_mem(REEL_F32, (int64_t)(bytes + 3) / 4, -1, false, false); }
static int ints(const std::vector<int32_t> &v)
{
    int k = add_mem(REEL_I32, (int64_t)v.size(), 0, true, false);

    memcpy(mems[k].start.data(), v.data(), v.size() * 4);
    return k;
}

/* ---- runs ---- */

struct side {
    const struct reel_backend_ops *ops;
    struct reel_stream *s;
    bool cpu;
    void *operator()(int k) const { return k < 0 ? NULL : cpu ? mems[k].cpu.data() : mems[k].dev; }
    float *f(int k) const { return (float *)(*this)(k); }
};

static struct reel_stream cpu_stream, dev_stream;

/* Fresh device memory; `skew` elements off the alignment. */
static void place(int skew)
{
    rig::used = rig::RED;
    rig::allocations.clear();
    for (mem &m : mems) {
        size_t off = (size_t)skew * reel_dtype_size((reel_dtype)m.dt), bytes = m.start.size() - 1;

        m.dev = (unsigned char *)rig::alloc(off + bytes) + off;
        if (!m.in) continue;
        memcpy(m.dev, m.start.data(), bytes);
        rig::defined(m.dev, bytes);
    }
}

static double error_of(const mem &m)
{
    double worst = 0, largest = 1e-300;

    for (int64_t i = 0; i < m.n; i++) {
        double a = get(m, m.dev, i), b = get(m, m.cpu.data(), i), e = fabs(a - b);
        if (a == b || (a != a && b != b)) e = 0;
        if (!(e <= worst)) worst = e == e ? e : HUGE_VAL;
        if (std::isfinite(b) && fabs(b) > largest) largest = fabs(b);
    }
    return worst / largest;
}

static const struct { simt::Order order; int seed, skew; } runs[] = {
    { simt::FORWARD, 0, 0 }, { simt::REVERSE, 0, 1 }, { simt::RANDOM, 1, 0 }, { simt::RANDOM, 2, 0 },
};

template <class F> static void run(const std::string &what, const F &call)
{
    int n = simt::checker.access ? 2 : 4, same = 1, errors = simt::errors();
    double worst = 0; /* error over tolerance */

    for (mem &m : mems) m.cpu = m.start;
    call(side{ &reel_cpu_ops_portable, &cpu_stream, true });
    for (int r = 0; r < n; r++) {
        place(runs[r].skew);
        simt::set_order(runs[r].order, (uint64_t)runs[r].seed);
        call(side{ &cuda_ops, &dev_stream, false });
        for (mem &m : mems) {
            size_t bytes = m.start.size() - 1;
            if (!m.out) continue;
            if (r == 0) {
                m.first.assign(m.dev, m.dev + bytes);
                if (m.tol == 0 && memcmp(m.dev, m.cpu.data(), bytes)) worst = HUGE_VAL;
                if (m.tol > 0) worst = fmax(worst, error_of(m) / m.tol);
            } else if (memcmp(m.dev, m.first.data(), bytes)) {
                same = 0;
            }
        }
    }
    TAP_OK(worst <= 1, "%s: as the CPU computes it (%.2g of what is allowed)", what.c_str(), worst);
    TAP_OK(same && simt::errors() == errors, "%s: the same bits in %d orders and alignments", what.c_str(), n);
    mems.clear();
}

static std::string name(const char *op, int dt, std::initializer_list<int64_t> n)
{
    std::string s = op;

    for (int64_t i : n) s += " " + std::to_string(i);
    return s + " " + reel_dtype_name((reel_dtype)dt);
}

static double tol_of(int dt, double f32) { return dt == REEL_BF16 ? 0.008 : f32; }

/* ---- element-wise ---- */

static void elementwise(int dt, int64_t n)
{
    struct reel_adamw h = { 1e-3, 0.9, 0.999, 1e-8, 0.01, 3, 0.5f };
    int x, y, z, g;

    x = in(dt, n, 3), y = out(dt, n, 0);
    run(name("silu_fwd", dt, { n }), [=](side p) { p.ops->silu_fwd(p.s, dt, p(y), p(x), n); });
    x = in(dt, n, 3), z = in(dt, n), y = out(dt, n, 0);
    run(name("silu_bwd", dt, { n }), [=](side p) { p.ops->silu_bwd(p.s, dt, p(y), p(z), p(x), n); });
    x = in(dt, n, 3), y = out(dt, n, 0);
    run(name("gelu_fwd", dt, { n }), [=](side p) { p.ops->gelu_fwd(p.s, dt, p(y), p(x), n); });
    x = in(dt, n, 3), z = inout(dt, n, 0);
    run(name("gelu_bwd in place", dt, { n }), [=](side p) { p.ops->gelu_bwd(p.s, dt, p(z), p(z), p(x), n); });
    x = in(dt, n), y = inout(dt, n, 0);
    run(name("add", dt, { n }), [=](side p) { p.ops->add(p.s, dt, p(y), p(x), n); });
    y = inout(dt, n, 0);
    run(name("scale", dt, { n }), [=](side p) { p.ops->scale(p.s, dt, p(y), 0.3f, n); });
    x = in(dt, n), y = out(dt, n, 0);
    run(name("cast to itself", dt, { n }), [=](side p) { p.ops->cast(p.s, dt, p(y), dt, p(x), n); });
    if (dt != REEL_F32) return;
    x = in(dt, n), y = out(REEL_BF16, n, 0);
    run(name("cast to bf16", dt, { n }), [=](side p) { p.ops->cast(p.s, REEL_BF16, p(y), dt, p(x), n); });
    x = in(REEL_BF16, n), y = out(dt, n, 0);
    run(name("cast from bf16", dt, { n }), [=](side p) { p.ops->cast(p.s, dt, p(y), REEL_BF16, p(x), n); });
    x = in(REEL_F16, n), y = out(dt, n, 1e-300);
    run(name("cast from f16", dt, { n }), [=](side p) { p.ops->cast(p.s, dt, p(y), REEL_F16, p(x), n); });
    x = in(dt, n), y = inout(dt, n, 0);
    run(name("axpby", dt, { n }), [=](side p) { p.ops->axpby(p.s, p.f(y), 0.7f, p.f(x), -1.3f, n); });
    x = in(dt, n), y = inout(dt, n, 0);
    run(name("lerp", dt, { n }), [=](side p) { p.ops->lerp(p.s, p.f(y), p.f(x), 0.1f, n); });
    x = inout(dt, n, 0), y = inout(dt, n, 0, 0.1), z = inout(dt, n, 0), g = in(dt, n);
    for (int64_t i = 0; i < n; i++) put(mems[z], i, fabs(get(mems[z], mems[z].start.data(), i)) * 0.01);
    run(name("adamw", dt, { n }), [=](side p) { p.ops->adamw(p.s, p.f(x), p.f(y), p.f(z), p.f(g), n, h); });
    x = in(dt, n, 300), y = out(dt, n * 6, 0);
    run(name("sinusoid", dt, { n, 6 }), [=](side p) { p.ops->sinusoid(p.s, p.f(y), p.f(x), n, 6); });
}

static void fills(int64_t n)
{
    for (int dt : { REEL_F32, REEL_BF16, REEL_F64, REEL_I64, REEL_I32, REEL_U16, REEL_U8 }) {
        if (dt == REEL_U8 && simt::checker.access) continue; /* it sees races by pairs of bytes */
        for (double v : { 0.0, -0.0, 3.0 }) {
            int y = out(dt, n, 0);
            run(name("fill", dt, { n, (int64_t)v }), [=](side p) { p.ops->fill(p.s, dt, p(y), v, n); });
        }
    }
}

/* ---- rows ---- */

static size_t sums_bytes(struct reel_rows r, int64_t nper, int64_t k, int64_t d)
{
    struct reel_pieces p = reel_pieces_make(r);

    return (size_t)(r.b * reel_piece_slots(&p, nper) * k * d) * sizeof(float);
}

static struct reel_rows rows_of(int64_t b, int64_t s, int64_t frames)
{
    struct reel_rows r = reel_rows_make(b, s, s / frames);

    return r;
}

static void layernorm(int dt, int64_t b, int64_t s, int64_t frames, int64_t d, int acc)
{
    struct reel_rows r = rows_of(b, s, frames);
    int64_t m = b * s, nmod = b * frames, ld = 3 * d;
    int x, y, mean, rstd, mod, dy, dmod, tmp, dw, db;
    double eps = 1e-6;

    x = in(dt, m * d, 1.5, 0.5), mod = in(REEL_F32, nmod * ld, 0.5);
    y = out(dt, m * d, tol_of(dt, 2e-6)), mean = out(REEL_F32, m, 2e-6), rstd = out(REEL_F32, m, 2e-6);
    run(name("ln_mod_fwd", dt, { b, s, frames, d }), [=](side p) {
        p.ops->ln_mod_fwd(p.s, dt, p(y), p.f(mean), p.f(rstd), p(x), p.f(mod), nmod, ld, 2 * d, 0, d, r, eps);
    });
    x = in(dt, m * d, 1.5, 0.5), mod = in(REEL_F32, nmod * ld, 0.5), dy = inout(dt, m * d, tol_of(dt, 5e-6));
    mean = out(REEL_F32, m, 2e-6), rstd = out(REEL_F32, m, 2e-6), y = out(dt, m * d, -1);
    dmod = inout(REEL_F32, nmod * ld, 1e-5), tmp = scratch(sums_bytes(r, frames, 2, d));
    run(name("ln_mod_bwd in place", dt, { b, s, frames, d }), [=](side p) {
        p.ops->ln_mod_fwd(p.s, dt, p(y), p.f(mean), p.f(rstd), p(x), p.f(mod), nmod, ld, 2 * d, 0, d, r, eps);
        p.ops->ln_mod_bwd(p.s, dt, p(dy), 0, p.f(dmod), p(dy), p(x), p.f(mean), p.f(rstd), p.f(mod), nmod, ld, 2 * d, 0, d, r,
                          p.f(tmp));
    });
    for (int frozen = 0; frozen < 2; frozen++) {
        struct reel_rows one = rows_of(b, s, 1);
        x = in(dt, m * d, 1.5, 0.5), dy = in(dt, m * d), y = inout(dt, m * d, tol_of(dt, 5e-6)), mod = in(REEL_F32, 2 * d, 0.5);
        mean = out(REEL_F32, m, 2e-6), rstd = out(REEL_F32, m, 2e-6);
        dw = frozen ? -1 : inout(REEL_F32, d, 1e-5), db = frozen ? -1 : inout(REEL_F32, d, 1e-5);
        tmp = scratch(sums_bytes(one, 1, 2, d));
        int z = out(dt, m * d, tol_of(dt, 2e-6));
        run(name(frozen ? "ln_affine frozen" : "ln_affine", dt, { b, s, d }), [=](side p) {
            p.ops->ln_affine_fwd(p.s, dt, p(z), p.f(mean), p.f(rstd), p(x), p.f(mod), p.f(mod) + d, d, one, eps);
            p.ops->ln_affine_bwd(p.s, dt, p(y), acc, p.f(dw), p.f(db), p(dy), p(x), p.f(mean), p.f(rstd), p.f(mod), d, one, acc,
                                 p.f(tmp));
        });
    }
}

static void units(int dt, int64_t rows, int64_t d)
{
    for (int silu = 0; silu < 2; silu++) {
        int x = in(dt, rows * d, 2), w = in(REEL_F32, d), y = out(dt, rows * d, tol_of(dt, 2e-6));
        run(name("unit_fwd", dt, { rows, d, silu }), [=](side p) { p.ops->unit_fwd(p.s, dt, p(y), p(x), p.f(w), rows, d, silu); });
        x = inout(dt, rows * d, tol_of(dt, 2e-6)), w = in(REEL_F32, d);
        run(name("unit_fwd in place", dt, { rows, d, silu }), [=](side p) { p.ops->unit_fwd(p.s, dt, p(x), p(x), p.f(w), rows, d, silu); });
    }
}

/* which: 1 norm, 2 rotation, 3 both */
static void rms_rope(int dt, int64_t b, int64_t s, int heads, int64_t hd, int which, int acc)
{
    struct reel_rows r = rows_of(b, s, 1);
    int64_t m = b * s, d = heads * hd;
    bool norm = which & 1, rope = which & 2;
    int x = in(dt, m * d, 1.5), w = norm ? in(REEL_F32, d, 0.3, 1) : -1, co = rope ? in(REEL_F32, s * hd / 2) : -1;
    int si = rope ? in(REEL_F32, s * hd / 2) : -1, dy = in(dt, m * d), y = out(dt, m * d, tol_of(dt, 4e-6));
    int rstd = norm ? out(REEL_F32, m, 4e-6) : -1, dx = out(dt, m * d, tol_of(dt, 4e-6));
    int dw = norm ? inout(REEL_F32, d, 1e-5) : -1, tmp = scratch(sums_bytes(r, 1, 1, d));

    run(name("rms_rope", dt, { b, s, heads, hd, which }), [=](side p) {
        p.ops->rms_rope_fwd(p.s, dt, p(y), p.f(rstd), p(x), p.f(w), p.f(co), p.f(si), heads, d, r, 1e-6, NULL, heads);
        p.ops->rms_rope_bwd(p.s, dt, p(dx), p.f(dw), p(dy), p(x), p.f(rstd), p.f(w), p.f(co), p.f(si), heads, d, r, acc, NULL,
                            heads, p.f(tmp));
    });
}

/* A rank with some of the heads: sums of each, exchanged, give the bits of all heads on one. */
static void rms_dots(int dt, int64_t b, int64_t s, int heads, int64_t hd, int parts)
{
    struct reel_rows r = rows_of(b, s, 1);
    int64_t m = b * s, d = heads * hd, own = d / parts;
    int held = heads / parts, same = 1;
    std::vector<int> px, pw, pdy, py, pdx, pdw;
    int x = in(dt, m * d, 1.5), w = in(REEL_F32, d, 0.3, 1), co = in(REEL_F32, s * hd / 2), si = in(REEL_F32, s * hd / 2);
    int dy = in(dt, m * d), y = out(dt, m * d, -1), rstd = out(REEL_F32, m, -1), dx = out(dt, m * d, -1), dw = out(REEL_F32, d, -1);
    int tmp = scratch(sums_bytes(r, 1, 1, d)), dots = out(REEL_F32, m * heads, -1), gots = out(REEL_F32, m * heads, -1);
    int made = out(REEL_F32, m * held, -1), stat = out(REEL_F32, m, -1);
    size_t size = reel_dtype_size((reel_dtype)dt);
    side p = { &cuda_ops, &dev_stream, false };

    for (int i = 0; i < parts; i++) {
        px.push_back(in(dt, m * own)), pw.push_back(in(REEL_F32, own)), pdy.push_back(in(dt, m * own));
        py.push_back(out(dt, m * own, -1)), pdx.push_back(out(dt, m * own, -1)), pdw.push_back(out(REEL_F32, own, -1));
        for (int64_t row = 0; row < m; row++) {
            memcpy(&mems[px[i]].start[row * own * size], &mems[x].start[(row * d + i * own) * size], own * size);
            memcpy(&mems[pdy[i]].start[row * own * size], &mems[dy].start[(row * d + i * own) * size], own * size);
        }
        memcpy(mems[pw[i]].start.data(), &mems[w].start[i * own * 4], own * 4);
    }
    place(0);
    rig::defined(p(dots), (size_t)m * heads * 4);
    rig::defined(p(gots), (size_t)m * heads * 4);
    p.ops->rms_rope_fwd(p.s, dt, p(y), p.f(rstd), p(x), p.f(w), p.f(co), p.f(si), heads, d, r, 1e-6, NULL, heads);
    p.ops->rms_rope_bwd(p.s, dt, p(dx), p.f(dw), p(dy), p(x), p.f(rstd), p.f(w), p.f(co), p.f(si), heads, d, r, 0, NULL, heads, p.f(tmp));
    for (int back = 0; back < 2; back++)
        for (int i = 0; i < parts; i++) {
            p.ops->rms_dots(p.s, dt, p.f(made), back ? p(pdy[i]) : NULL, p(px[i]), p.f(pw[i]), p.f(co), p.f(si), held, own, r);
            for (int64_t row = 0; row < m; row++)
                memcpy(p.f(back ? gots : dots) + row * heads + i * held, p.f(made) + row * held, (size_t)held * 4);
        }
    for (int i = 0; i < parts; i++) {
        p.ops->rms_rope_fwd(p.s, dt, p(py[i]), p.f(stat), p(px[i]), p.f(pw[i]), p.f(co), p.f(si), held, own, r, 1e-6, p.f(dots), heads);
        p.ops->rms_rope_bwd(p.s, dt, p(pdx[i]), p.f(pdw[i]), p(pdy[i]), p(px[i]), p.f(stat), p.f(pw[i]), p.f(co), p.f(si), held, own, r,
                            0, p.f(gots), heads, p.f(tmp));
        for (int64_t row = 0; row < m; row++) {
            same &= !memcmp(mems[py[i]].dev + row * own * size, mems[y].dev + (row * d + i * own) * size, own * size);
            same &= !memcmp(mems[pdx[i]].dev + row * own * size, mems[dx].dev + (row * d + i * own) * size, own * size);
        }
        same &= !memcmp(mems[pdw[i]].dev, mems[dw].dev + i * own * 4, own * 4) && !memcmp(mems[stat].dev, mems[rstd].dev, m * 4);
    }
    TAP_OK(same, "%s: heads over %d ranks, the bits of one", name("rms_rope", dt, { b, s, heads, hd }).c_str(), parts);
    mems.clear();
}

static void gates(int dt, int64_t b, int64_t s, int64_t frames, int64_t d)
{
    struct reel_rows r = rows_of(b, s, frames);
    int64_t m = b * s, nmod = b * frames, ld = 2 * d;
    int x, y, u, mod, dmod, tmp;

    for (int gated = 0; gated < 2; gated++) {
        x = in(dt, m * d), u = in(dt, m * d), mod = gated ? in(REEL_F32, nmod * ld) : -1, y = out(dt, m * d, 0);
        run(name("gate_fwd", dt, { b, s, frames, d, gated }),
            [=](side p) { p.ops->gate_fwd(p.s, dt, p(y), p(x), p(u), p.f(mod), nmod, ld, d, d, r); });
        x = in(dt, m * d), u = in(dt, m * d), mod = gated ? in(REEL_F32, nmod * ld) : -1, y = out(dt, m * d, 0);
        dmod = gated ? inout(REEL_F32, nmod * ld, 1e-5) : -1, tmp = scratch(sums_bytes(r, frames, 1, d));
        run(name("gate_bwd", dt, { b, s, frames, d, gated }), [=](side p) {
            p.ops->gate_bwd(p.s, dt, p(y), p.f(dmod), p(x), p(u), p.f(mod), nmod, ld, d, d, r, p.f(tmp));
        });
    }
}

static void modulation(int64_t b, int64_t f, int64_t rows, int64_t d, int wide)
{
    int64_t n = b * f * rows * d, nt = wide ? n : b * f * d;
    int table = in(REEL_F32, rows * d), t = in(REEL_F32, nt), e = out(REEL_F32, n, 0);

    run(name("mod_fwd", REEL_F32, { b, f, rows, d, wide }),
        [=](side p) { p.ops->mod_fwd(p.s, p.f(e), p.f(table), p.f(t), b * f, rows, d, wide); });
    for (int pacc = 0; pacc < 3; pacc++) {
        int de = in(REEL_F32, n), dt = inout(REEL_F32, nt, 0), dtable = pacc == 2 ? -1 : inout(REEL_F32, rows * d, 0);
        run(name("mod_bwd", REEL_F32, { b, f, rows, d, wide, pacc }),
            [=](side p) { p.ops->mod_bwd(p.s, p.f(dtable), pacc, p.f(dt), p.f(de), b, f, rows, d, wide); });
    }
}

/* ---- tiles: of a [T,H,W] grid, at most 2 x 3 x 2 so that the last ones differ ---- */

static void tiles(int dt, int64_t b, int T, int H, int W, int64_t d)
{
    std::vector<int32_t> start(1, 0), order;
    int64_t n, s = (int64_t)T * H * W, m = b * s;
    int x, y, g, c, dc, st, od;

    for (int t = 0; t < T; t += 2)
        for (int h = 0; h < H; h += 3)
            for (int w = 0; w < W; w += 2) {
                for (int i = t; i < t + 2 && i < T; i++)
                    for (int j = h; j < h + 3 && j < H; j++)
                        for (int k = w; k < w + 2 && k < W; k++) order.push_back((i * H + j) * W + k);
                start.push_back((int32_t)order.size());
            }
    n = (int64_t)start.size() - 1;
    auto index = [=](side p, int a, int o) { return (struct reel_tiles){ (int32_t *)p(a), (int32_t *)p(o), n, s }; };
    x = in(dt, m * d), y = out(dt, b * n * d, 0), st = ints(start), od = ints(order);
    run(name("tile_mean", dt, { b, s, n, d }), [=](side p) { p.ops->tile_mean(p.s, dt, p(y), p(x), index(p, st, od), b, d); });
    x = in(dt, m * d), g = in(dt, m * d), c = in(dt, b * n * d), y = out(dt, m * d, 0), st = ints(start), od = ints(order);
    run(name("tile_gate_fwd", dt, { b, s, n, d }),
        [=](side p) { p.ops->tile_gate_fwd(p.s, dt, p(y), p(g), p(c), p(x), index(p, st, od), b, d); });
    x = in(dt, m * d), g = inout(dt, m * d, 0), c = in(dt, b * n * d), dc = out(dt, b * n * d, 0), st = ints(start), od = ints(order);
    run(name("tile_gate_bwd in place", dt, { b, s, n, d }),
        [=](side p) { p.ops->tile_gate_bwd(p.s, dt, p(g), p(dc), p(x), p(g), p(c), index(p, st, od), b, d); });
}

/* ---- latents and distillation ---- */

static void patches(int dt, struct reel_grid g)
{
    int64_t n = g.b * g.t * g.c * g.h * g.w;

    for (int order : { REEL_PATCH_CHW, REEL_PATCH_HWC }) {
        int x = in(REEL_F32, n), tok = out(dt, n, 0);
        run(name("patch", dt, { g.t, g.c, g.h, g.w, order }), [=](side p) { p.ops->patch(p.s, dt, p(tok), p.f(x), g, order); });
        tok = in(dt, n), x = out(REEL_F32, n, 0);
        run(name("unpatch", dt, { g.t, g.c, g.h, g.w, order }), [=](side p) { p.ops->unpatch(p.s, dt, p.f(x), p(tok), g, order); });
    }
}

static void latents(int64_t b, int64_t t, int64_t inner)
{
    int64_t n = b * t * inner;
    int x, y, z, u, sg, w, sum, q;

    x = in(REEL_F32, n), y = out(REEL_F32, n, 0);
    run(name("swap_tc", REEL_F32, { b, t, inner }), [=](side p) { p.ops->swap_tc(p.s, p.f(y), p.f(x), 1, b, t, inner); });
    y = out(REEL_F32, n, 0);
    run(name("randn", REEL_F32, { b, t * inner }),
        [=](side p) { p.ops->randn(p.s, p.f(y), b, { 0x123456789abcdefull, 5, 2, 7, 0, 1, 1, t * inner, 0, 0 }); });
    y = out(REEL_F32, n, 0);
    run(name("randn of frames", REEL_F32, { b, t, inner }), /* 2.. of t + 5, of b channels */
        [=](side p) { p.ops->randn(p.s, p.f(y), 1, { 0x123456789abcdefull, 5, 2, 7, 2 * inner, t, b, inner, inner, (t + 5) * inner }); });
    x = in(REEL_F32, n), q = in(REEL_F32, t), w = in(REEL_F32, t), y = out(REEL_F32, n, 0);
    run(name("normalize", REEL_F32, { b, t, inner }),
        [=](side p) { p.ops->normalize(p.s, p.f(y), p.f(x), p.f(q), p.f(w), b, t, inner); });
    x = in(REEL_F32, n), z = in(REEL_F32, n), sg = in(REEL_F32, b, 0.2, 0.5), y = out(REEL_F32, n, 0);
    run(name("noise_mix", REEL_F32, { b, t * inner }),
        [=](side p) { p.ops->noise_mix(p.s, p.f(y), p.f(x), p.f(z), p.f(sg), b, t * inner); });
    x = in(REEL_F32, n), z = in(REEL_F32, n), sg = in(REEL_F32, b * t, 0.2, 0.5), y = out(REEL_F32, n, 0);
    run(name("x0_fwd", REEL_F32, { b, t, inner }), [=](side p) { p.ops->x0_fwd(p.s, p.f(y), p.f(x), p.f(z), p.f(sg), b * t, inner); });
    x = inout(REEL_F32, n, 0), sg = in(REEL_F32, b * t, 0.2, 0.5);
    run(name("x0_bwd in place", REEL_F32, { b, t, inner }),
        [=](side p) { p.ops->x0_bwd(p.s, p.f(x), p.f(x), p.f(sg), b * t, inner, 0.37); });
    x = in(REEL_F32, n), z = inout(REEL_F32, n, 0), sg = in(REEL_F32, b, 0.2, 0.5), q = in(REEL_F32, b, 0.2, 0.5);
    run(name("ode_step in place", REEL_F32, { b, t * inner }),
        [=](side p) { p.ops->ode_step(p.s, p.f(z), p.f(z), p.f(x), p.f(sg), p.f(q), b, t * inner); });
    for (int k = 0; k < 4; k++) {
        int precond = k & 1, weighted = k & 2;
        x = in(REEL_F32, n), y = in(REEL_F32, n), z = in(REEL_F32, n), sg = in(REEL_F32, b, 0.2, 0.5);
        w = weighted ? in(REEL_F32, b * t) : -1, u = k == 3 ? -1 : out(REEL_F32, n, 0), sum = out(REEL_F64, b * t, 1e-14);
        run(name("flow_loss", REEL_F32, { b, t, inner, precond, weighted }), [=](side p) {
            p.ops->flow_loss(p.s, p.f(u), (double *)p(sum), p.f(x), p.f(y), precond ? NULL : p.f(z), precond ? p.f(z) : NULL,
                             p.f(sg), p.f(w), b * t, t, inner, 0.125, precond);
        });
    }
    x = in(REEL_F32, n), y = inout(REEL_F32, n, 0), z = in(REEL_F32, n), sum = out(REEL_F64, b * t, 1e-14);
    run(name("guide in place", REEL_F32, { b, t, inner }),
        [=](side p) { p.ops->guide(p.s, p.f(y), (double *)p(sum), p.f(x), p.f(y), p.f(z), b * t, inner, 3.5); });
    for (int num = 0; num < 2; num++) {
        x = in(REEL_F32, n), z = in(REEL_F32, n), sg = in(REEL_F32, b, 0.2, 0.5), u = out(REEL_F32, n, 0), sum = out(REEL_F64, b * t, 1e-14);
        if (num) put(mems[x], 0, NAN), put(mems[x], n / 2, INFINITY);
        run(name("dmd_grad", REEL_F32, { b, t, inner, num }), [=](side p) {
            p.ops->dmd_grad(p.s, p.f(u), (double *)p(sum), p.f(x), p.f(z), p.f(sg), b * t, t, inner, num);
        });
    }
}

/* ---- sums ---- */

static void tree_sums(int64_t pieces, int64_t n, int acc)
{
    int x = in(REEL_F32, pieces * n), y = inout(REEL_F32, n, 0);

    run(name("tree_sum", REEL_F32, { pieces, n, acc }), [=](side p) { p.ops->tree_sum(p.s, p.f(y), p.f(x), pieces, n, acc); });
}

static void sum_ends(int dt, int64_t m, int64_t n)
{
    for (int k = 0; k < 4; k++) {
        int x = in(REEL_F32, m * n), bias = k & 1 ? in(REEL_F32, n) : -1, y = inout(dt, m * n, 0);
        run(name("sum_end", dt, { m, n, k }), [=](side p) { p.ops->sum_end(p.s, dt, p(y), p.f(x), p.f(bias), m, n, k & 2); });
    }
}

static void sumsqs(int dt, int64_t rows, int64_t n, double scale, double odd)
{
    int x = in(dt, rows * n, scale), y = add_mem(REEL_I64, REEL_EXACT_LIMBS, -1, true, true), tmp = scratch((size_t)rows * 8);
    double want = 0, got;

    memset(mems[y].start.data(), 0, REEL_EXACT_LIMBS * 8);
    if (odd != 0) put(mems[x], rows * n / 2, odd);
    for (int64_t i = 0; i < rows * n; i++) want += pow(get(mems[x], mems[x].start.data(), i), 2);
    auto call = [=](side p) { p.ops->sumsq(p.s, (int64_t *)p(y), dt, p(x), rows, n, (double *)p(tmp)); };
    place(0);
    call(side{ &cuda_ops, &dev_stream, false });
    got = reel_exact_value((int64_t *)mems[y].dev);
    TAP_OK(fabs(got - want) <= 1e-13 * want || (!std::isfinite(want) && got != got), "%s: sum of squares %g, exactly %g",
           name("sumsq", dt, { rows, n }).c_str(), got, want);
    run(name("sumsq", dt, { rows, n }), call);
}

/* ---- holders of runs and of samples have subtrees ---- */

enum { DMOD, DW };

/* Parameter sums of all backwards over the rows r of x, dy [b,s,d], which begin at token r.tok0 */
static std::vector<float> row_sums(int which, int dt, struct reel_rows r, int64_t frames, int64_t d, int x, int dy, int64_t row0)
{
    int64_t m = r.b * r.s, nmod = r.b * frames, ld = 3 * d, size = (int64_t)reel_dtype_size((reel_dtype)dt);
    size_t keep = mems.size();
    int heads = d % 2 ? 1 : 2;
    int mod = in(REEL_F32, nmod * ld, 0.5), stat = in(REEL_F32, m, 0.1, 1), sums = inout(REEL_F32, nmod * ld + 3 * d, -1);
    int dx = out(dt, m * d, -1), tmp = scratch(sums_bytes(r, frames, 2, d));
    std::vector<float> v((size_t)(which == DMOD ? nmod * ld : 3 * d));
    side p = { &cuda_ops, &dev_stream, false };

    for (int64_t i = 0; i < m; i++) put(mems[stat], i, 1 + (double)normal(77, row0 + i) * 0.1);
    for (int64_t i = 0; i < nmod * ld; i++) put(mems[mod], i, (double)normal(78, i % ld) * 0.5);
    memset(mems[sums].start.data(), 0, mems[sums].start.size());
    place(0);
    const char *px = (char *)p(x) + row0 * d * size, *pdy = (char *)p(dy) + row0 * d * size;
    float *out = p.f(sums), *w = out + nmod * ld;
    if (m) {
        p.ops->ln_mod_bwd(p.s, dt, p(dx), 0, out, pdy, px, p.f(stat), p.f(stat), p.f(mod), nmod, ld, 2 * d, 0, d, r, p.f(tmp));
        p.ops->gate_bwd(p.s, dt, p(dx), out, pdy, px, p.f(mod), nmod, ld, d, d, r, p.f(tmp));
        p.ops->ln_affine_bwd(p.s, dt, p(dx), 0, w, w + d, pdy, px, p.f(stat), p.f(stat), p.f(mod), d, r, 0, p.f(tmp));
        p.ops->rms_rope_bwd(p.s, dt, p(dx), w + 2 * d, pdy, px, p.f(stat), p.f(mod), NULL, NULL, heads, d, r, 0, NULL, heads, p.f(tmp));
    }
    memcpy(v.data(), which == DMOD ? out : w, v.size() * 4);
    mems.resize(keep);
    return v;
}

static std::vector<float> combine(std::vector<std::vector<float>> v)
{
    for (; v.size() > 1; v.resize(v.size() / 2))
        for (size_t i = 0; i < v.size() / 2; i++) {
            std::vector<float> a = v[2 * i];
            for (size_t j = 0; j < a.size(); j++) a[j] += v[2 * i + 1][j];
            v[i] = a;
        }
    return v[0];
}

static bool equal(const std::vector<float> &a, const std::vector<float> &b)
{
    bool same = a.size() == b.size();

    for (size_t i = 0; same && i < a.size(); i++) same = a[i] == b[i]; /* a hole may be 0 or -0 */
    return same;
}

static void holders(int dt, int64_t s, int64_t frames, int64_t d)
{
    struct reel_rows whole = rows_of(1, s, frames), four = rows_of(4, s, frames);
    int x = in(dt, 4 * s * d), dy = in(dt, 4 * s * d);

    for (int which : { DMOD, DW })
        for (int n = 2; n <= 8; n *= 2) {
            std::vector<std::vector<float>> part;
            std::vector<float> one = row_sums(which, dt, whole, frames, d, x, dy, 0);
            for (int i = 0; i < n; i++) {
                struct reel_rows r = reel_rows_part(1, s, s / frames, i, n);
                part.push_back(row_sums(which, dt, r, frames, d, x, dy, r.tok0));
            }
            TAP_OK(equal(combine(part), one), "%s: %s of %d holders of runs, added in the tree, are one holder's",
                   name("rows", dt, { s, frames, d }).c_str(), which == DMOD ? "dmod" : "dw, db", n);
        }
    std::vector<float> all = row_sums(DW, dt, four, frames, d, x, dy, 0);
    for (int n = 2; n <= 4; n *= 2) {
        std::vector<std::vector<float>> part;
        for (int i = 0; i < n; i++) part.push_back(row_sums(DW, dt, rows_of(4 / n, s, frames), frames, d, x, dy, i * (4 / n) * s));
        TAP_OK(equal(combine(part), all), "%s: dw, db of %d holders of samples, added in the tree, are one holder's",
               name("rows", dt, { s, frames, d }).c_str(), n);
    }
    mems.clear();
}

int main(void)
{
    struct reel_backend *be;
    bool small = simt::checker.access != NULL; /* the checker is slow: fewer shapes */

    rig::open();
    simt::abort_on_error(false);
    if (reel_backend_open_isa(&be, "cpu", 1, "portable")) return 99;
    reel_stream_init(&cpu_stream, be, 0, NULL);
    for (int dt : { REEL_F32, REEL_BF16 }) {
        for (int64_t n : { 1, 7, 1027, 4096 }) elementwise(dt, n);
        layernorm(dt, 1, 1, 1, 1, 0), layernorm(dt, 2, 66, 3, 48, 1), layernorm(dt, 3, 70, 5, 129, 0), layernorm(dt, 1, 300, 300, 16, 1), layernorm(dt, 1, 67, 1, 270, 0);
        if (!small) layernorm(dt, 2, 130, 2, 1536, 0), layernorm(dt, 1, 9, 1, 5120, 1);
        units(dt, 70, 48), units(dt, 9, 5), units(dt, 3, 384);
        for (int which = 1; which <= 3; which++) {
            rms_rope(dt, 2, 67, 3, 16, which, 1), rms_rope(dt, 1, 5, 1, 2, which, 0), rms_rope(dt, 1, 70, 5, 12, which, 0);
            rms_rope(dt, 1, 3, 2, 512, which, 0), rms_rope(dt, 1, 3, 1, 1000, which, 1), rms_rope(dt, 1, 2, 40, 2, which, 0);
            if (!small) rms_rope(dt, 1, 65, 12, 128, which, 0), rms_rope(dt, 1, 3, 40, 128, which, 0);
        }
        rms_dots(dt, 1, 17, 12, 16, 4), rms_dots(dt, 2, 5, 8, 12, 8), rms_dots(dt, 1, 3, 4, 600, 2);
        gates(dt, 2, 66, 3, 48), gates(dt, 1, 70, 7, 129), gates(dt, 1, 5, 1, 1), gates(dt, 1, 3, 1, 6200);
        tiles(dt, 2, 3, 4, 5, 48), tiles(dt, 1, 2, 3, 2, 13);
        patches(dt, (struct reel_grid){ 2, 3, 4, 4, 6, 2, 2 }), patches(dt, (struct reel_grid){ 1, 1, 3, 5, 7, 1, 1 });
        sum_ends(dt, 5, 48), sum_ends(dt, 3, 13), sum_ends(dt, 70, 128), sum_ends(dt, 2, 6200);
        sumsqs(dt, 9, 1, 1, 0), sumsqs(dt, 5, 300, 1e18, 0), sumsqs(dt, 70, 13, 1e-25, 0), sumsqs(dt, 3, 64, 1, INFINITY);
        holders(dt, 70, 5, 24), holders(dt, 600, 3, 40), holders(dt, 40, 40, 7);
    }
    for (int64_t n : { 1, 5, 100, 4099 }) fills(n);
    modulation(1, 1, 6, 24, 1), modulation(3, 5, 6, 7, 1), modulation(2, 3, 2, 40, 0), modulation(1, 3, 1, 6200, 0);
    latents(1, 1, 1), latents(2, 3, 36), latents(3, 2, 1029), latents(1, 2, 4100);
    for (int64_t n : { 1, 33, 700 })
        for (int64_t pieces : { 1, 2, 3, 8, 13, 70 }) tree_sums(pieces, n, pieces & 1);
    tree_sums(1025, 5, 1);
    tree_sums(70, 300, 0); /* in the checked build a block of eight groups takes columns twice */
    reel_backend_close(be);
    return tap_done();
}
