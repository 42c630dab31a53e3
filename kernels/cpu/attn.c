/* Attention of the CPU backend, one query (forward, dq) or key (dk, dv) at a time. */
#include "kernels/cpu/pool.h"
#include "kernels/cpu/lane.h"
#include "kernels/kernels.h"

struct at {
    int dt, heads;
    void *o, *dq, *dk, *dv;
    float *lse;
    const void *q, *k, *v, *dout, *oo;
    const float *clse;
    int64_t sq, sk, hd;
    float scale;
};

static float dot(const struct at *a, const void *x, int64_t i, const void *y, int64_t j)
{
    float s = 0;
    for (int64_t c = 0; c < a->hd; c++) s += ld(a->dt, x, i + c) * ld(a->dt, y, j + c);
    return s;
}

/* offset of row t of head h of sample b; s rows per sample */
static int64_t row_at(const struct at *a, int64_t b, int64_t s, int64_t t, int64_t h)
{
    return ((b * s + t) * a->heads + h) * a->hd;
}

static void fwd_query(void *arg, int64_t t, int worker)
{
    const struct at *a = arg;
    int64_t i = t % a->sq, h = t / a->sq % a->heads, b = t / a->sq / a->heads, qi = row_at(a, b, a->sq, i, h);
    float max = -INFINITY, sum = 0;

    (void)worker;
    for (int64_t j = 0; j < a->sk; j++) {
        float x = a->scale * dot(a, a->q, qi, a->k, row_at(a, b, a->sk, j, h));
        max = x > max ? x : max;
    }
    for (int64_t j = 0; j < a->sk; j++)
        sum += reel_expf(a->scale * dot(a, a->q, qi, a->k, row_at(a, b, a->sk, j, h)) - max);
    a->lse[t] = max + reel_logf(sum);
    for (int64_t c = 0; c < a->hd; c++) {
        float o = 0;
        for (int64_t j = 0; j < a->sk; j++) {
            int64_t kj = row_at(a, b, a->sk, j, h);
            o += reel_expf(a->scale * dot(a, a->q, qi, a->k, kj) - a->lse[t]) * ld(a->dt, a->v, kj + c);
        }
        st(a->dt, a->o, qi + c, o);
    }
}

static float p_of(const struct at *a, int64_t qi, int64_t kj, float lse)
{
    return reel_expf(a->scale * dot(a, a->q, qi, a->k, kj) - lse);
}

static void bwd_query(void *arg, int64_t t, int worker)
{
    const struct at *a = arg;
    int64_t i = t % a->sq, h = t / a->sq % a->heads, b = t / a->sq / a->heads, qi = row_at(a, b, a->sq, i, h);
    float delta = dot(a, a->dout, qi, a->oo, qi);

    (void)worker;
    for (int64_t c = 0; c < a->hd; c++) {
        float s = 0;
        for (int64_t j = 0; j < a->sk; j++) {
            int64_t kj = row_at(a, b, a->sk, j, h);
            s += p_of(a, qi, kj, a->clse[t]) * (dot(a, a->dout, qi, a->v, kj) - delta) * ld(a->dt, a->k, kj + c);
        }
        st(a->dt, a->dq, qi + c, a->scale * s);
    }
}

static void bwd_key(void *arg, int64_t t, int worker)
{
    const struct at *a = arg;
    int64_t j = t % a->sk, h = t / a->sk % a->heads, b = t / a->sk / a->heads, kj = row_at(a, b, a->sk, j, h);

    (void)worker;
    for (int64_t c = 0; c < a->hd; c++) {
        float sk = 0, sv = 0;
        for (int64_t i = 0; i < a->sq; i++) {
            int64_t qi = row_at(a, b, a->sq, i, h);
            float p = p_of(a, qi, kj, a->clse[(b * a->heads + h) * a->sq + i]);
            sv += p * ld(a->dt, a->dout, qi + c);
            sk += p * (dot(a, a->dout, qi, a->v, kj) - dot(a, a->dout, qi, a->oo, qi)) * ld(a->dt, a->q, qi + c);
        }
        st(a->dt, a->dk, kj + c, a->scale * sk);
        st(a->dt, a->dv, kj + c, sv);
    }
}

void reel_cpu_attn_fwd(struct reel_stream *s, int dt, void *o, float *lse, const void *q, const void *k,
                       const void *v, int64_t b, int64_t sq, int64_t sk, int heads, int64_t hd, void *tmp)
{
    struct at a = { .dt = dt, .heads = heads, .o = o, .lse = lse, .q = q, .k = k, .v = v, .sq = sq, .sk = sk,
                    .hd = hd, .scale = 1.0f / sqrtf((float)hd) };

    (void)tmp;
    reel_pool_run(s->pool, b * heads * sq, fwd_query, &a);
}

void reel_cpu_attn_bwd(struct reel_stream *s, int dt, void *dq, void *dk, void *dv, const void *dout,
                       const void *o, const float *lse, const void *q, const void *k, const void *v,
                       int64_t b, int64_t sq, int64_t sk, int heads, int64_t hd, void *tmp)
{
    struct at a = { .dt = dt, .heads = heads, .dq = dq, .dk = dk, .dv = dv, .dout = dout, .oo = o, .clse = lse,
                    .q = q, .k = k, .v = v, .sq = sq, .sk = sk, .hd = hd, .scale = 1.0f / sqrtf((float)hd) };

    (void)tmp;
    reel_pool_run(s->pool, b * heads * sq, bwd_query, &a);
    reel_pool_run(s->pool, b * heads * sk, bwd_key, &a);
}

size_t reel_cpu_attn_fwd_tmp(struct reel_stream *s, int dt, int64_t b, int64_t sq, int64_t sk, int heads, int64_t hd)
{
    (void)s, (void)dt, (void)b, (void)sq, (void)sk, (void)heads, (void)hd;
    return 0;
}

size_t reel_cpu_attn_bwd_tmp(struct reel_stream *s, int dt, int64_t b, int64_t sq, int64_t sk, int heads, int64_t hd)
{
    return reel_cpu_attn_fwd_tmp(s, dt, b, sq, sk, heads, hd);
}
