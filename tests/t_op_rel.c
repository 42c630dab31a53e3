/* A text encoder's operators: embedding rows, gelu-and-multiply, attention with relative positions. */
#include "op.h"

struct rel {
    reel_dtype dt;
    int64_t n, most, heads, hd;
    double *q, *k, *v, *rel, *o; /* o: what f64 makes of them */
};

/* One query and head. */
static void ref_row(const struct rel *a, int64_t h, int64_t i)
{
    int64_t d = a->heads * a->hd, w = 2 * a->most - 1;
    double *p = calloc((size_t)a->n, sizeof *p), m = -(double)INFINITY, l = 0;

    for (int64_t j = 0; j < a->n; j++) {
        p[j] = a->rel[h * w + a->most - 1 + i - j];
        for (int64_t c = 0; c < a->hd; c++) p[j] += a->q[i * d + h * a->hd + c] * a->k[j * d + h * a->hd + c];
        m = fmax(m, p[j]);
    }
    for (int64_t j = 0; j < a->n; j++) l += p[j] = exp(p[j] - m);
    for (int64_t c = 0; c < a->hd; c++) a->o[i * d + h * a->hd + c] = 0;
    for (int64_t j = 0; j < a->n; j++)
        for (int64_t c = 0; c < a->hd; c++) a->o[i * d + h * a->hd + c] += p[j] / l * a->v[j * d + h * a->hd + c];
    free(p);
}

static void rel_body(struct op *t, const void *ctx)
{
    const struct rel *a = ctx;
    int64_t d = a->heads * a->hd, w = 2 * a->most - 1;
    reel_tensor q = op_put(t, a->dt, a->q, REEL_DIMS(a->n, d)), k = op_put(t, a->dt, a->k, REEL_DIMS(a->n, d));
    reel_tensor v = op_put(t, a->dt, a->v, REEL_DIMS(a->n, d)), o = op_put(t, a->dt, NULL, REEL_DIMS(a->n, d));
    reel_tensor rel = op_put(t, REEL_F32, a->rel, REEL_DIMS(a->heads, w)), tight, o2 = op_put(t, a->dt, NULL, REEL_DIMS(a->n, d));
    double *near = malloc((size_t)(a->heads * (2 * a->n - 1)) * sizeof *near), *got;

    reel_attn_rel_fwd(&t->s, o, q, k, v, rel);
    op_close_to(t, "attention", o, a->o, op_tol(a->dt, 3e-6));
    for (int64_t h = 0; h < a->heads; h++)
        memcpy(near + h * (2 * a->n - 1), a->rel + h * w + a->most - a->n, (size_t)(2 * a->n - 1) * sizeof *near);
    tight = op_put(t, REEL_F32, near, REEL_DIMS(a->heads, 2 * a->n - 1));
    reel_attn_rel_fwd(&t->s, o2, q, k, v, tight);
    got = op_get(t, o);
    op_close_to(t, "a table of these rows alone", o2, got, 0);
    free(got), free(near);
}

static void attention(reel_dtype dt, int64_t n, int64_t most, int64_t heads, int64_t hd)
{
    struct rel a = { dt, n, most, heads, hd, NULL, NULL, NULL, NULL, NULL };
    int64_t e = n * heads * hd;
    char what[80];

    a.q = op_rand(e, 1, 0.4, dt), a.k = op_rand(e, 2, 0.5, dt), a.v = op_rand(e, 3, 1, dt);
    a.rel = op_rand(heads * (2 * most - 1), 4, 2, REEL_F32), a.o = op_rand(e, 5, 1, dt);
    for (int64_t h = 0; h < heads; h++)
        for (int64_t i = 0; i < n; i++) ref_row(&a, h, i);
    snprintf(what, sizeof what, "%s n %ld of %ld, %ld heads x %ld", reel_dtype_name(dt), (long)n, (long)most, (long)heads, (long)hd);
    op_all(what, rel_body, &a);
    free(a.q), free(a.k), free(a.v), free(a.rel), free(a.o);
}

struct rows { reel_dtype dt; int64_t v, n, d; double *table, *x, *z; };

static void rows_body(struct op *t, const void *ctx)
{
    const struct rows *a = ctx;
    int32_t *id = malloc((size_t)a->n * sizeof *id);
    double *ref = malloc((size_t)(a->n * a->d) * sizeof *ref);
    reel_tensor table = op_put(t, a->dt, a->table, REEL_DIMS(a->v, a->d)), y = op_put(t, a->dt, NULL, REEL_DIMS(a->n, a->d));
    reel_tensor x = op_put(t, a->dt, a->x, REEL_DIMS(a->n, a->d)), z = op_put(t, a->dt, a->z, REEL_DIMS(a->n, a->d));
    reel_tensor ids = reel_new(&t->a, REEL_I32, REEL_DIMS(a->n));

    for (int64_t i = 0; i < a->n; i++) {
        id[i] = (int32_t)((i * 7 + a->v - 1) % a->v);
        memcpy(ref + i * a->d, a->table + id[i] * a->d, (size_t)a->d * sizeof *ref);
    }
    reel_put(&t->s, ids, id);
    reel_embed(&t->s, y, table, ids);
    op_close_to(t, "embedding rows", y, ref, 0);
    for (int64_t i = 0; i < a->n * a->d; i++)
        ref[i] = 0.5 * a->x[i] * (1 + tanh(sqrt(2 / M_PI) * (a->x[i] + 0.044715 * a->x[i] * a->x[i] * a->x[i]))) * a->z[i];
    reel_geglu_fwd(&t->s, y, x, z);
    op_close_to(t, "gelu times", y, ref, op_tol(a->dt, 1e-6));
    reel_geglu_fwd(&t->s, x, x, z);
    op_close_to(t, "gelu times, in place", x, ref, op_tol(a->dt, 1e-6));
    free(id), free(ref);
}

static void rows(reel_dtype dt, int64_t v, int64_t n, int64_t d)
{
    struct rows a = { dt, v, n, d, op_rand(v * d, 1, 1, dt), op_rand(n * d, 2, 2, dt), op_rand(n * d, 3, 1, dt) };
    char what[80];

    snprintf(what, sizeof what, "%s %ld rows of %ld x %ld", reel_dtype_name(dt), (long)n, (long)v, (long)d);
    op_all(what, rows_body, &a);
    free(a.table), free(a.x), free(a.z);
}

int main(void)
{
    for (int i = 0; i < 2; i++) {
        reel_dtype dt = i ? REEL_BF16 : REEL_F32;
        rows(dt, 50, 100, 16), rows(dt, 3, 7, 33), rows(dt, 900, 40, 4096);
        attention(dt, 200, 200, 3, 12), attention(dt, 77, 512, 2, 64), attention(dt, 1, 4, 1, 8);
        attention(dt, 300, 310, 2, 64), attention(dt, 33, 40, 2, 80), attention(dt, 20, 64, 1, 130);
    }
    return tap_done();
}
