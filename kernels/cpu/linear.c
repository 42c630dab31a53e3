/* Matrix products of the CPU backend, row by row. */
#include "kernels/cpu/pool.h"
#include "kernels/cpu/lane.h"
#include "kernels/kernels.h"

struct mm {
    int dt, epi, acc;
    void *y, *pre;
    const void *x, *w;
    float *fy, *db;
    const float *bias;
    int64_t m, n, k;
};

static void fwd_row(void *arg, int64_t i, int worker)
{
    const struct mm *a = arg;

    (void)worker;
    for (int64_t j = 0; j < a->n; j++) {
        float s = 0;
        for (int64_t l = 0; l < a->k; l++) s += ld(a->dt, a->x, i * a->k + l) * ld(a->dt, a->w, j * a->k + l);
        if (a->bias) s += a->bias[j];
        if (a->pre) st(a->dt, a->pre, i * a->n + j, s);
        st(a->dt, a->y, i * a->n + j, a->epi == REEL_EPI_GELU ? reel_gelu(s) : s);
    }
}

static void bwd_x_row(void *arg, int64_t i, int worker)
{
    const struct mm *a = arg;

    (void)worker;
    for (int64_t l = 0; l < a->k; l++) {
        float s = 0;
        for (int64_t j = 0; j < a->n; j++) s += ld(a->dt, a->x, i * a->n + j) * ld(a->dt, a->w, j * a->k + l);
        st(a->dt, a->y, i * a->k + l, a->acc ? ld(a->dt, a->y, i * a->k + l) + s : s);
    }
}

static void bwd_w_row(void *arg, int64_t j, int worker)
{
    const struct mm *a = arg;
    float b = 0;

    (void)worker;
    for (int64_t l = 0; l < a->k; l++) {
        float s = 0;
        for (int64_t i = 0; i < a->m; i++) s += ld(a->dt, a->w, i * a->n + j) * ld(a->dt, a->x, i * a->k + l);
        a->fy[j * a->k + l] = a->acc ? a->fy[j * a->k + l] + s : s;
    }
    if (!a->db) return;
    for (int64_t i = 0; i < a->m; i++) b += ld(a->dt, a->w, i * a->n + j);
    a->db[j] = a->acc ? a->db[j] + b : b;
}

void reel_cpu_linear_fwd(struct reel_stream *s, int dt, void *y, void *pre, const void *x, const void *w,
                         const float *bias, int64_t m, int64_t n, int64_t k, struct reel_rows r, int epi, void *tmp)
{
    struct mm a = { .dt = dt, .epi = epi, .y = y, .pre = pre, .x = x, .w = w, .bias = bias, .m = m, .n = n, .k = k };

    (void)r, (void)tmp;
    reel_pool_run(s->pool, m, fwd_row, &a);
}

void reel_cpu_linear_bwd_x(struct reel_stream *s, int dt, void *dx, const void *dy, const void *w, int64_t m,
                           int64_t n, int64_t k, struct reel_rows r, int acc, void *tmp)
{
    struct mm a = { .dt = dt, .acc = acc, .y = dx, .x = dy, .w = w, .m = m, .n = n, .k = k };

    (void)r, (void)tmp;
    reel_pool_run(s->pool, m, bwd_x_row, &a);
}

void reel_cpu_linear_bwd_w(struct reel_stream *s, int dt, float *dw, float *db, const void *x, const void *dy,
                           int64_t m, int64_t n, int64_t k, struct reel_rows r, int acc, void *tmp)
{
    struct mm a = { .dt = dt, .acc = acc, .fy = dw, .db = db, .x = x, .w = dy, .m = m, .n = n, .k = k };

    (void)r, (void)tmp;
    reel_pool_run(s->pool, n, bwd_w_row, &a);
}

size_t reel_cpu_linear_fwd_tmp(struct reel_stream *s, int dt, int64_t m, int64_t n, int64_t k, struct reel_rows r)
{
    (void)s, (void)dt, (void)m, (void)n, (void)k, (void)r;
    return 0;
}

size_t reel_cpu_linear_bwd_x_tmp(struct reel_stream *s, int dt, int64_t m, int64_t n, int64_t k, struct reel_rows r)
{
    return reel_cpu_linear_fwd_tmp(s, dt, m, n, k, r);
}

size_t reel_cpu_linear_bwd_w_tmp(struct reel_stream *s, int dt, int64_t m, int64_t n, int64_t k, struct reel_rows r)
{
    return reel_cpu_linear_fwd_tmp(s, dt, m, n, k, r);
}
