/* Checked fronts: element-wise operators, latents, sums. */
#include "base/exact.h"
#include "be/check.h"

/* y and x of one float type and count */
static int64_t check_pair(struct reel_stream *s, const char *op, reel_tensor y, reel_tensor x)
{
    int64_t n = reel_numel(x);

    check_float(op, "x", x);
    check(s, op, "x", x, x.dt, n);
    check(s, op, "y", y, x.dt, n);
    return n;
}

/* ---- element-wise ---- */

void reel_silu_fwd(struct reel_stream *s, reel_tensor y, reel_tensor x)
{
    int64_t n = check_pair(s, __func__, y, x);

    if (!s->planning) s->ops->silu_fwd(s, (int)x.dt, y.p, x.p, n);
}

void reel_silu_bwd(struct reel_stream *s, reel_tensor dx, reel_tensor dy, reel_tensor x)
{
    int64_t n = check_pair(s, __func__, dx, x);

    check(s, __func__, "dy", dy, x.dt, n);
    if (!s->planning) s->ops->silu_bwd(s, (int)x.dt, dx.p, dy.p, x.p, n);
}

void reel_gelu_fwd(struct reel_stream *s, reel_tensor y, reel_tensor x)
{
    int64_t n = check_pair(s, __func__, y, x);

    if (!s->planning) s->ops->gelu_fwd(s, (int)x.dt, y.p, x.p, n);
}

void reel_gelu_bwd(struct reel_stream *s, reel_tensor dx, reel_tensor dy, reel_tensor pre)
{
    int64_t n = check_pair(s, __func__, dx, pre);

    check(s, __func__, "dy", dy, pre.dt, n);
    if (!s->planning) s->ops->gelu_bwd(s, (int)pre.dt, dx.p, dy.p, pre.p, n);
}

void reel_geglu_fwd(struct reel_stream *s, reel_tensor y, reel_tensor x, reel_tensor z)
{
    int64_t n = check_pair(s, __func__, y, x);

    check(s, __func__, "z", z, x.dt, n);
    if (!s->planning) s->ops->geglu_fwd(s, (int)x.dt, y.p, x.p, z.p, n);
}

void reel_embed(struct reel_stream *s, reel_tensor y, reel_tensor table, reel_tensor id)
{
    int64_t d = check_last(__func__, "table", table), n = reel_numel(id);

    check_float(__func__, "table", table);
    check(s, __func__, "table", table, table.dt, reel_numel(table));
    check(s, __func__, "id", id, REEL_I32, n);
    check_rows(s, __func__, "y", y, table.dt, n, d);
    if (!s->planning && n) s->ops->embed(s, (int)table.dt, y.p, table.p, id.p, n, d);
}

void reel_fill(struct reel_stream *s, reel_tensor y, double value)
{
    REEL_BUG_IF(y.dt == REEL_F16, "reel_fill: f16 is a storage type of files only");
    check(s, __func__, "y", y, y.dt, reel_numel(y));
    if (!s->planning) s->ops->fill(s, (int)y.dt, y.p, value, reel_numel(y));
}

void reel_cast(struct reel_stream *s, reel_tensor dst, reel_tensor src)
{
    int64_t n = reel_numel(src);

    check_float(__func__, "dst", dst);
    REEL_BUG_IF(src.dt != REEL_F32 && src.dt != REEL_BF16 && !(src.dt == REEL_F16 && dst.dt == REEL_F32),
                "reel_cast: %s to %s; wanted f32 <-> bf16 or f16 -> f32", reel_dtype_name(src.dt), reel_dtype_name(dst.dt));
    check(s, __func__, "src", src, src.dt, n);
    check(s, __func__, "dst", dst, dst.dt, n);
    if (!s->planning) s->ops->cast(s, (int)dst.dt, dst.p, (int)src.dt, src.p, n);
}

void reel_add(struct reel_stream *s, reel_tensor y, reel_tensor x)
{
    int64_t n = check_pair(s, __func__, y, x);

    if (!s->planning) s->ops->add(s, (int)x.dt, y.p, x.p, n);
}

void reel_copy_2d(struct reel_stream *s, reel_tensor dst, int64_t dst_col, reel_tensor src, int64_t src_col, int64_t width)
{
    int64_t dw = check_last(__func__, "dst", dst), sw = check_last(__func__, "src", src), rows = reel_numel(src) / sw;
    size_t size = reel_dtype_size(src.dt);

    REEL_BUG_IF(dst_col < 0 || src_col < 0 || width < 0 || dst_col + width > dw || src_col + width > sw,
                "%s: %lld columns from %lld of %lld to %lld of %lld", __func__, (long long)width, (long long)src_col,
                (long long)sw, (long long)dst_col, (long long)dw);
    check(s, __func__, "src", src, src.dt, rows * sw);
    check(s, __func__, "dst", dst, src.dt, rows * dw);
    if (!s->planning && rows && width)
        s->ops->copy_2d(s, (char *)dst.p + (size_t)dst_col * size, dw * (int64_t)size,
                        (const char *)src.p + (size_t)src_col * size, sw * (int64_t)size, width * (int64_t)size, rows);
}

void reel_scale(struct reel_stream *s, reel_tensor y, double a)
{
    check_float(__func__, "y", y);
    check(s, __func__, "y", y, y.dt, reel_numel(y));
    if (!s->planning) s->ops->scale(s, (int)y.dt, y.p, (float)a, reel_numel(y));
}

void reel_axpby(struct reel_stream *s, reel_tensor y, double a, reel_tensor x, double b)
{
    int64_t n = reel_numel(x);

    check(s, __func__, "x", x, REEL_F32, n);
    check(s, __func__, "y", y, REEL_F32, n);
    if (!s->planning) s->ops->axpby(s, y.p, (float)a, x.p, (float)b, n);
}

void reel_lerp_to(struct reel_stream *s, reel_tensor y, reel_tensor x, double w)
{
    int64_t n = reel_numel(x);

    check(s, __func__, "x", x, REEL_F32, n);
    check(s, __func__, "y", y, REEL_F32, n);
    if (!s->planning) s->ops->lerp(s, y.p, x.p, (float)w, n);
}

void reel_adamw(struct reel_stream *s, reel_tensor p, reel_tensor m, reel_tensor v, reel_tensor g,
                struct reel_adamw h)
{
    int64_t n = reel_numel(p);

    REEL_BUG_IF(!(h.step >= 1), "reel_adamw: step %g, the first update is 1", h.step);
    check(s, __func__, "p", p, REEL_F32, n);
    check(s, __func__, "m", m, REEL_F32, n);
    check(s, __func__, "v", v, REEL_F32, n);
    check(s, __func__, "g", g, REEL_F32, n);
    if (!s->planning) s->ops->adamw(s, p.p, m.p, v.p, g.p, n, h);
}

void reel_sinusoid(struct reel_stream *s, reel_tensor emb, reel_tensor t)
{
    int64_t n = reel_numel(t), freq = check_last(__func__, "emb", emb);

    REEL_BUG_IF(freq % 2, "reel_sinusoid: width %lld is odd", (long long)freq);
    check(s, __func__, "t", t, REEL_F32, n);
    check(s, __func__, "emb", emb, REEL_F32, n * freq);
    if (!s->planning) s->ops->sinusoid(s, emb.p, t.p, n, freq);
}

/* ---- patches and layouts of latents ---- */

static struct reel_grid check_grid(struct reel_stream *s, const char *op, reel_tensor tok, reel_tensor x, int ph, int pw)
{
    struct reel_grid g;
    char is[96];

    REEL_BUG_IF(x.nd != 5 || ph < 1 || pw < 1 || x.n[3] % ph || x.n[4] % pw,
                "%s: x is %s, wanted [B,T,C,H,W] with H a multiple of %d and W of %d", op, check_show(is, x), ph, pw);
    g = (struct reel_grid){ x.n[0], x.n[1], x.n[2], x.n[3], x.n[4], ph, pw };
    check_float(op, "tok", tok);
    check(s, op, "x", x, REEL_F32, reel_numel(x));
    check_rows(s, op, "tok", tok, tok.dt, g.b * g.t * (g.h / ph) * (g.w / pw), g.c * ph * pw);
    return g;
}

void reel_patch(struct reel_stream *s, reel_tensor tok, reel_tensor x, int ph, int pw)
{
    struct reel_grid g = check_grid(s, __func__, tok, x, ph, pw);

    if (!s->planning) s->ops->patch(s, (int)tok.dt, tok.p, x.p, g, REEL_PATCH_CHW);
}

void reel_patch_bwd(struct reel_stream *s, reel_tensor dx, reel_tensor dtok, int ph, int pw)
{
    struct reel_grid g = check_grid(s, __func__, dtok, dx, ph, pw);

    if (!s->planning) s->ops->unpatch(s, (int)dtok.dt, dx.p, dtok.p, g, REEL_PATCH_CHW);
}

void reel_unpatch(struct reel_stream *s, reel_tensor x, reel_tensor y, int ph, int pw)
{
    struct reel_grid g = check_grid(s, __func__, y, x, ph, pw);

    if (!s->planning) s->ops->unpatch(s, (int)y.dt, x.p, y.p, g, REEL_PATCH_HWC);
}

void reel_unpatch_bwd(struct reel_stream *s, reel_tensor dy, reel_tensor dx, int ph, int pw)
{
    struct reel_grid g = check_grid(s, __func__, dy, dx, ph, pw);

    if (!s->planning) s->ops->patch(s, (int)dy.dt, dy.p, dx.p, g, REEL_PATCH_HWC);
}

void reel_swap_tc(struct reel_stream *s, reel_tensor y, reel_tensor x)
{
    char a[96], b[96];
    int64_t n = reel_numel(x), n1, n2, bt;

    REEL_BUG_IF(x.nd < 3 || y.nd != x.nd || y.n[0] != x.n[0] || y.n[1] != x.n[2] || y.n[2] != x.n[1],
                "%s: y is %s and x is %s, wanted dimensions 1 and 2 exchanged", __func__, check_show(a, y), check_show(b, x));
    bt = x.n[0], n1 = x.n[1], n2 = x.n[2];
    check(s, __func__, "x", x, REEL_F32, n);
    check(s, __func__, "y", y, REEL_F32, n);
    REEL_BUG_IF(!s->planning && y.p == x.p, "%s: y may not alias x", __func__);
    if (!s->planning && n) s->ops->swap_tc(s, y.p, x.p, bt, n1, n2, n / (bt * n1 * n2));
}

/* ---- noise and losses ---- */

void reel_randn(struct reel_stream *s, reel_tensor out, uint64_t key, uint32_t step, uint32_t round, uint32_t b0)
{
    int64_t n = reel_numel(out);

    check(s, __func__, "out", out, REEL_F32, n);
    REEL_BUG_IF(n && n / out.n[0] > REEL_RANDN_MOST, "reel_randn: %lld elements a sample; a counter holds 2^34", (long long)(n / out.n[0]));
    if (!s->planning && n)
        s->ops->randn(s, out.p, out.n[0], (struct reel_randn){ key, step, round, b0, .n1 = 1, .n2 = 1, .n = n / out.n[0] });
}

void reel_randn_frames(struct reel_stream *s, reel_tensor out, int64_t lo, int64_t T, uint64_t key, uint32_t step, uint32_t round, uint32_t b0)
{
    char is[96];
    int64_t n = reel_numel(out), hw;

    REEL_BUG_IF(out.nd != 5 || lo < 0 || lo + out.n[1] > T, "%s: out is %s for frames from %lld of %lld, wanted [nb,n,C,H,W]", __func__,
                check_show(is, out), (long long)lo, (long long)T);
    check(s, __func__, "out", out, REEL_F32, n);
    hw = out.n[3] * out.n[4];
    REEL_BUG_IF(T * out.n[2] * hw > REEL_RANDN_MOST, "%s: %lld elements a sample; a counter holds 2^34", __func__, (long long)(T * out.n[2] * hw));
    if (!s->planning && n)
        s->ops->randn(s, out.p, out.n[0], (struct reel_randn){ key, step, round, b0, .first = lo * hw, .n1 = out.n[1], .n2 = out.n[2],
                                                               .n = hw, .s1 = hw, .s2 = T * hw });
}

void reel_normalize(struct reel_stream *s, reel_tensor y, reel_tensor x, reel_tensor mean, reel_tensor istd)
{
    char is[96];
    int64_t n = reel_numel(x);

    REEL_BUG_IF(x.nd != 5, "%s: x is %s, wanted [B,T,C,H,W]", __func__, check_show(is, x));
    check(s, __func__, "x", x, REEL_F32, n);
    check(s, __func__, "y", y, REEL_F32, n);
    check(s, __func__, "mean", mean, REEL_F32, x.n[2]);
    check(s, __func__, "istd", istd, REEL_F32, x.n[2]);
    if (!s->planning) s->ops->normalize(s, y.p, x.p, mean.p, istd.p, x.n[0] * x.n[1], x.n[2], x.n[3] * x.n[4]);
}

/* sigma [B] or [B,T] for x [B,T,...]: how many there are */
static int64_t check_sigma(struct reel_stream *s, const char *op, reel_tensor sigma, reel_tensor x)
{
    char a[96], b[96];
    int64_t n = reel_numel(sigma);

    REEL_BUG_IF(x.nd < 2 || (n != x.n[0] && n != x.n[0] * x.n[1]), "%s: sigma is %s for %s, wanted [B] or [B,T]", op,
                check_show(a, sigma), check_show(b, x));
    check(s, op, "sigma", sigma, REEL_F32, n);
    return n;
}

void reel_noise_mix(struct reel_stream *s, reel_tensor xt, reel_tensor x0, reel_tensor eps, reel_tensor sigma)
{
    int64_t n = reel_numel(x0), ns = check_sigma(s, __func__, sigma, x0);

    check(s, __func__, "x0", x0, REEL_F32, n);
    check(s, __func__, "eps", eps, REEL_F32, n);
    check(s, __func__, "xt", xt, REEL_F32, n);
    if (!s->planning && n) s->ops->noise_mix(s, xt.p, x0.p, eps.p, sigma.p, ns, n / ns);
}

void reel_flow_loss(struct reel_stream *s, reel_tensor dv, reel_tensor sum, reel_tensor v, reel_tensor x0,
                    reel_tensor eps, reel_tensor xt, reel_tensor sigma, reel_tensor w, double cot, int precond)
{
    int64_t n = reel_numel(v), frames = v.n[0] * v.n[1], ns = 1;
    char is[96];

    REEL_BUG_IF(v.nd < 2 || !n, "%s: v is %s, wanted [B,T,...]", __func__, check_show(is, v));
    check(s, __func__, "v", v, REEL_F32, n);
    check(s, __func__, "x0", x0, REEL_F32, n);
    check_opt(s, __func__, "dv", dv, REEL_F32, n);
    check(s, __func__, "sum", sum, REEL_F64, frames);
    check_opt(s, __func__, "w", w, REEL_F32, frames);
    check(s, __func__, precond ? "xt" : "eps", precond ? xt : eps, REEL_F32, n);
    if (precond) ns = check_sigma(s, __func__, sigma, v);
    if (s->planning) return;
    s->ops->flow_loss(s, dv.nd ? dv.p : NULL, sum.p, v.p, x0.p, precond ? NULL : eps.p, precond ? xt.p : NULL,
                      precond ? sigma.p : NULL, w.nd ? w.p : NULL, frames, frames / ns, n / frames, cot, precond);
}

/* ---- few-step distillation ---- */

void reel_x0_fwd(struct reel_stream *s, reel_tensor x0, reel_tensor x, reel_tensor v, reel_tensor sigma)
{
    int64_t n = reel_numel(x), ns = check_sigma(s, __func__, sigma, x);

    check(s, __func__, "x", x, REEL_F32, n);
    check(s, __func__, "v", v, REEL_F32, n);
    check(s, __func__, "x0", x0, REEL_F32, n);
    if (!s->planning && n) s->ops->x0_fwd(s, x0.p, x.p, v.p, sigma.p, ns, n / ns);
}

void reel_x0_bwd(struct reel_stream *s, reel_tensor dv, reel_tensor dx0, reel_tensor sigma, double scale)
{
    int64_t n = reel_numel(dx0), ns = check_sigma(s, __func__, sigma, dx0);

    check(s, __func__, "dx0", dx0, REEL_F32, n);
    check(s, __func__, "dv", dv, REEL_F32, n);
    if (!s->planning && n) s->ops->x0_bwd(s, dv.p, dx0.p, sigma.p, ns, n / ns, scale);
}

void reel_ode_step(struct reel_stream *s, reel_tensor y, reel_tensor z, reel_tensor x0, reel_tensor sigma,
                   reel_tensor next)
{
    int64_t n = reel_numel(z), ns = check_sigma(s, __func__, sigma, z);

    check(s, __func__, "z", z, REEL_F32, n);
    check(s, __func__, "x0", x0, REEL_F32, n);
    check(s, __func__, "y", y, REEL_F32, n);
    check(s, __func__, "next", next, REEL_F32, ns);
    if (!s->planning && n) s->ops->ode_step(s, y.p, z.p, x0.p, sigma.p, next.p, ns, n / ns);
}

/* x [B,T,...] and sum [B,T]: how many frames */
static int64_t check_frames(struct reel_stream *s, const char *op, reel_tensor sum, reel_tensor x)
{
    char is[96];

    REEL_BUG_IF(x.nd < 2 || !reel_numel(x), "%s: a latent is %s, wanted [B,T,...]", op, check_show(is, x));
    check(s, op, "sum", sum, REEL_F64, x.n[0] * x.n[1]);
    return x.n[0] * x.n[1];
}

void reel_guide(struct reel_stream *s, reel_tensor real, reel_tensor sum, reel_tensor x, reel_tensor cond,
                reel_tensor uncond, double scale)
{
    int64_t n = reel_numel(x), frames = check_frames(s, __func__, sum, x);

    check(s, __func__, "x", x, REEL_F32, n);
    check(s, __func__, "cond", cond, REEL_F32, n);
    check(s, __func__, "uncond", uncond, REEL_F32, n);
    check(s, __func__, "real", real, REEL_F32, n);
    if (!s->planning) s->ops->guide(s, real.p, sum.p, x.p, cond.p, uncond.p, frames, n / frames, scale);
}

void reel_dmd_grad(struct reel_stream *s, reel_tensor g, reel_tensor sum, reel_tensor fake, reel_tensor real,
                   reel_tensor m, int to_num)
{
    int64_t n = reel_numel(fake), frames = check_frames(s, __func__, sum, fake);

    check(s, __func__, "fake", fake, REEL_F32, n);
    check(s, __func__, "real", real, REEL_F32, n);
    check(s, __func__, "g", g, REEL_F32, n);
    check(s, __func__, "m", m, REEL_F32, fake.n[0]);
    if (!s->planning) s->ops->dmd_grad(s, g.p, sum.p, fake.p, real.p, m.p, frames, fake.n[1], n / frames, to_num);
}

/* ---- sums ---- */

void reel_tree_sum(struct reel_stream *s, reel_tensor out, reel_tensor in, int acc)
{
    int64_t n = reel_numel(out);
    char is[96];

    REEL_BUG_IF(in.nd < 1 || in.n[0] < 1, "%s: in is %s, wanted [P,n]", __func__, check_show(is, in));
    check(s, __func__, "in", in, REEL_F32, in.n[0] * n);
    check(s, __func__, "out", out, REEL_F32, n);
    if (!s->planning) s->ops->tree_sum(s, out.p, in.p, in.n[0], n, acc);
}

void reel_sum_end(struct reel_stream *s, reel_tensor y, reel_tensor x, reel_tensor bias, int acc)
{
    int64_t n = check_last(__func__, "x", x), m = reel_numel(x) / n;

    check_float(__func__, "y", y);
    check(s, __func__, "x", x, REEL_F32, m * n);
    check_rows(s, __func__, "y", y, y.dt, m, n);
    check_opt(s, __func__, "bias", bias, REEL_F32, n);
    if (!s->planning && m) s->ops->sum_end(s, (int)y.dt, y.p, x.p, bias.nd ? bias.p : NULL, m, n, acc);
}

void reel_sumsq(struct reel_stream *s, reel_tensor out, reel_tensor x)
{
    int64_t n = reel_numel(x), rows = x.nd ? x.n[0] : 0;
    size_t mark;
    double *tmp;

    check_float(__func__, "x", x);
    check(s, __func__, "x", x, x.dt, n);
    check(s, __func__, "out", out, REEL_I64, REEL_EXACT_LIMBS);
    tmp = check_tmp(s, __func__, (size_t)rows * sizeof(double), &mark);
    if (!s->planning && n) s->ops->sumsq(s, out.p, (int)x.dt, x.p, rows, n / rows, tmp);
    check_tmp_end(s, mark);
}
