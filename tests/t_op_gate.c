/* Gated residual and modulation table. */
#include "op.h"

struct gate {
    int64_t b, s, frames, d;
    reel_dtype dt;
    int gated;
    double *x, *u, *mod, *dy;
};

static double gate_y(const struct gate *a, int64_t i)
{
    int64_t row = i / a->d, m = row / a->s * a->frames + row % a->s / (a->s / a->frames);

    return a->x[i] + (a->gated ? a->mod[(m * 2 + 1) * a->d + i % a->d] : 1) * a->u[i];
}

static double gate_L(const void *ctx)
{
    const struct gate *a = ctx;
    double sum = 0;

    for (int64_t i = 0; i < a->b * a->s * a->d; i++) sum += gate_y(a, i) * a->dy[i];
    return sum;
}

static void gate_body(struct op *t, const void *ctx)
{
    const struct gate *a = ctx;
    int64_t rows = a->b * a->s, d = a->d, n = rows * d, nm = a->b * a->frames;
    struct reel_rows r = reel_rows_make(a->b, a->s, a->s / a->frames);
    double *ref = malloc((size_t)n * sizeof *ref), *mwas = op_rand(nm * 2 * d, 6, 1, REEL_F32);
    reel_tensor x = op_put(t, a->dt, a->x, REEL_DIMS(rows, d)), u = op_put(t, a->dt, a->u, REEL_DIMS(rows, d)), none = { 0 };
    reel_tensor dy = op_put(t, a->dt, a->dy, REEL_DIMS(rows, d)), y = op_put(t, a->dt, NULL, REEL_DIMS(rows, d)), du = op_put(t, a->dt, NULL, REEL_DIMS(rows, d));
    reel_tensor mod = a->gated ? op_put(t, REEL_F32, a->mod, REEL_DIMS(nm, 2, d)) : none;
    reel_tensor dmod = a->gated ? op_put(t, REEL_F32, mwas, REEL_DIMS(nm, 2, d)) : none;

    for (int64_t i = 0; i < n; i++) ref[i] = gate_y(a, i);
    reel_gate_fwd(&t->s, y, x, u, mod, 1, r);
    op_close_to(t, "y", y, ref, op_tol(a->dt, 1e-6));
    reel_gate_bwd(&t->s, du, dmod, dy, u, mod, 1, r);
    op_grad(t, "du", du, gate_L, a, a->u, n, NULL, op_tol(a->dt, 1e-5));
    if (a->gated) op_grad(t, "dmod", dmod, gate_L, a, a->mod, nm * 2 * d, mwas, 1e-5);
    reel_gate_fwd(&t->s, x, x, u, mod, 1, r); /* in place */
    op_close_to(t, "y in place of x", x, ref, op_tol(a->dt, 1e-6));
    free(ref), free(mwas);
}

struct mod {
    int64_t b, f, rows, d;
    int wide, pacc;
    double *table, *t, *de;
};

static double mod_e(const struct mod *a, int64_t i)
{
    int64_t w = a->rows * a->d, m = i / w;

    return a->table[i % w] + a->t[a->wide ? i : m * a->d + i % a->d];
}

static double mod_L(const void *ctx)
{
    const struct mod *a = ctx;
    double sum = 0;

    for (int64_t i = 0; i < a->b * a->f * a->rows * a->d; i++) sum += mod_e(a, i) * a->de[i];
    return sum;
}

static void mod_body(struct op *t, const void *ctx)
{
    const struct mod *a = ctx;
    int64_t nm = a->b * a->f, w = a->rows * a->d, n = nm * w, nt = a->wide ? n : nm * a->d;
    double *ref = malloc((size_t)n * sizeof *ref), *was = op_rand(w, 6, 1, REEL_F32), *twas = op_rand(nt, 8, 1, REEL_F32);
    reel_tensor e = op_put(t, REEL_F32, NULL, REEL_DIMS(nm, a->rows, a->d)), table = op_put(t, REEL_F32, a->table, REEL_DIMS(1, a->rows, a->d));
    reel_tensor tt = op_put(t, REEL_F32, a->t, REEL_DIMS(nm, nt / nm)), dt = op_put(t, REEL_F32, twas, REEL_DIMS(nm, nt / nm));
    reel_tensor de = op_put(t, REEL_F32, a->de, REEL_DIMS(a->b, a->f, a->rows, a->d)), dtable = op_put(t, REEL_F32, a->pacc ? was : NULL, REEL_DIMS(a->rows, a->d));

    for (int64_t i = 0; i < n; i++) ref[i] = mod_e(a, i);
    reel_mod_fwd(&t->s, e, table, tt);
    op_close_to(t, "e", e, ref, 1e-6);
    reel_mod_bwd(&t->s, dtable, a->pacc, dt, de);
    op_grad(t, "dtable", dtable, mod_L, a, a->table, w, a->pacc ? was : NULL, 1e-5);
    op_grad(t, "dt", dt, mod_L, a, a->t, nt, twas, 1e-5);
    dt = op_put(t, REEL_F32, twas, dt.n, dt.nd);
    reel_mod_bwd(&t->s, (reel_tensor){ 0 }, 0, dt, de);
    op_grad(t, "dt of a frozen table", dt, mod_L, a, a->t, nt, twas, 1e-5);
    free(ref), free(was), free(twas);
}

int main(void)
{
    static const struct gate gates[] = {
        { .b = 1, .s = 1, .frames = 1, .d = 1, .dt = REEL_F32, .gated = 1 },
        { .b = 2, .s = 70, .frames = 5, .d = 37, .dt = REEL_F32, .gated = 1 },
        { .b = 1, .s = 300, .frames = 1, .d = 64, .dt = REEL_F32, .gated = 1 },
        { .b = 3, .s = 9, .frames = 9, .d = 20, .dt = REEL_BF16, .gated = 1 },
        { .b = 2, .s = 33, .frames = 1, .d = 50, .dt = REEL_F32 },
        { .b = 2, .s = 33, .frames = 1, .d = 50, .dt = REEL_BF16 },
    };
    static const struct mod mods[] = {
        { .b = 1, .f = 1, .rows = 6, .d = 24, .wide = 1 },
        { .b = 3, .f = 5, .rows = 6, .d = 33, .wide = 1, .pacc = 1 },
        { .b = 2, .f = 3, .rows = 2, .d = 100, .wide = 0 },
    };

    for (size_t i = 0; i < sizeof gates / sizeof *gates; i++) {
        struct gate a = gates[i];
        int64_t n = a.b * a.s * a.d;
        char what[96];
        a.x = op_rand(n, 1, 1, a.dt), a.u = op_rand(n, 2, 1, a.dt), a.dy = op_rand(n, 3, 1, a.dt);
        a.mod = op_rand(a.b * a.frames * 2 * a.d, 4, 1, REEL_F32);
        snprintf(what, sizeof what, "gate %lldx%lldx%lld, %lld frames%s, %s", (long long)a.b, (long long)a.s, (long long)a.d, (long long)a.frames, a.gated ? "" : ", gate 1", reel_dtype_name(a.dt));
        op_all(what, gate_body, &a);
        free(a.x), free(a.u), free(a.dy), free(a.mod);
    }
    for (size_t i = 0; i < sizeof mods / sizeof *mods; i++) {
        struct mod a = mods[i];
        int64_t n = a.b * a.f * a.rows * a.d;
        char what[96];
        a.table = op_rand(a.rows * a.d, 1, 1, REEL_F32), a.t = op_rand(n, 2, 1, REEL_F32), a.de = op_rand(n, 3, 1, REEL_F32);
        snprintf(what, sizeof what, "mod %lldx%lldx%lldx%lld%s", (long long)a.b, (long long)a.f, (long long)a.rows, (long long)a.d, a.wide ? "" : ", one row for all");
        op_all(what, mod_body, &a);
        free(a.table), free(a.t), free(a.de);
    }
    return tap_done();
}
