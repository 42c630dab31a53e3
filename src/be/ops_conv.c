/* Checked fronts of what works on pictures: convolutions, and the norm over channels. */
#include "be/check.h"

/* y, x, w and what moves between them, as one geometry */
static struct reel_conv check_conv(struct reel_stream *s, const char *op, reel_tensor y, reel_tensor x, reel_tensor past, reel_tensor w,
                                   struct reel_conv_how how)
{
    char a[96], b[96], c[96];
    struct reel_conv g;
    int64_t before;

    REEL_BUG_IF(y.nd != 4 || x.nd != 4 || w.nd != 5 || w.n[0] != y.n[3] || w.n[4] != x.n[3],
                "%s: y is %s, x is %s, w is %s; wanted [T,H,W,N], [T,H,W,C] and [N,kt,kh,kw,C]", op, check_show(a, y), check_show(b, x),
                check_show(c, w));
    before = (y.n[0] - 1) * how.st + w.n[1] - x.n[0];
    REEL_BUG_IF(how.st < 1 || how.ss < 1 || how.pad < 0 || before < 0 || before >= w.n[1] || (past.nd && past.n[0] != before),
                "%s: %lld frames out of %lld with %lld before them", op, (long long)y.n[0], (long long)x.n[0], (long long)before);
    REEL_BUG_IF(y.n[1] * how.ss > x.n[1] << how.up || y.n[2] * how.ss > x.n[2] << how.up, "%s: y is %s, which is too large for x %s", op,
                check_show(a, y), check_show(b, x));
    g = (struct reel_conv){ .t = x.n[0], .h = x.n[1], .w = x.n[2], .c = x.n[3], .ot = y.n[0], .oh = y.n[1], .ow = y.n[2], .n = y.n[3],
                            .past = (int)before, .kt = (int)w.n[1], .kh = (int)w.n[2], .kw = (int)w.n[3], .st = how.st, .ss = how.ss,
                            .pad = how.pad, .up = how.up != 0 };
    check_float(op, "x", x);
    check(s, op, "x", x, x.dt, reel_numel(x));
    check(s, op, "y", y, x.dt, reel_numel(y));
    check(s, op, "w", w, x.dt, reel_numel(w));
    check_opt(s, op, "past", past, x.dt, before * g.h * g.w * g.c);
    return g;
}

void reel_conv_fwd(struct reel_stream *s, reel_tensor y, reel_tensor x, reel_tensor past, reel_tensor w, reel_tensor bias,
                   struct reel_conv_how how)
{
    struct reel_conv g = check_conv(s, __func__, y, x, past, w, how);
    size_t mark;
    void *tmp;

    check(s, __func__, "bias", bias, REEL_F32, g.n);
    s->flops += 2.0 * (double)reel_numel(y) * (double)reel_conv_k(g);
    tmp = check_tmp(s, __func__, s->ops->conv_fwd_tmp(s, (int)x.dt, g), &mark);
    if (!s->planning && reel_numel(y)) s->ops->conv_fwd(s, (int)x.dt, y.p, x.p, past.nd ? past.p : NULL, w.p, bias.p, g, how.acc, tmp);
    check_tmp_end(s, mark);
}

void reel_unit_fwd(struct reel_stream *s, reel_tensor y, reel_tensor x, reel_tensor w, int silu)
{
    int64_t d = check_last(__func__, "x", x), rows = reel_numel(x) / d;

    check_float(__func__, "x", x);
    check_rows(s, __func__, "x", x, x.dt, rows, d);
    check_rows(s, __func__, "y", y, x.dt, rows, d);
    check(s, __func__, "w", w, REEL_F32, d);
    if (!s->planning && rows) s->ops->unit_fwd(s, (int)x.dt, y.p, x.p, w.p, rows, d, silu);
}
