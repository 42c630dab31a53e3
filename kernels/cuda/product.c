/* matrix products by cuBLASLt: descriptions, and the algorithm of each shape */
#include "kernels/cuda/product.h"

#include <cublasLt.h>
#include <stdlib.h>
#include <string.h>

/* What an algorithm is chosen by. No padding: it is compared and hashed as bytes. */
struct key {
    int64_t m, n, k;
    int32_t dt, out, ta, tb, bias, align[3];
};

struct reel_cuda_products {
    struct {
        struct key key;
        int known;
        cublasLtMatmulAlgo_t algo;
    } slot[1024]; /* by hash; a shape may drive another out */
};

struct reel_cuda_products *reel_cuda_products_open(void) { return calloc(1, sizeof(struct reel_cuda_products)); }
void reel_cuda_products_close(struct reel_cuda_products *t) { free(t); }

static void lt(cublasStatus_t e, const char *call, const struct product *p)
{
    REEL_BUG_IF(e != CUBLAS_STATUS_SUCCESS, "%s: status %d for %lld x %lld x %lld, %d of them, %s to %s", call, (int)e, (long long)p->m,
                (long long)p->n, (long long)p->k, p->batch, reel_dtype_name((reel_dtype)p->dt), reel_dtype_name((reel_dtype)p->out));
}

/* The call's descriptions: no memory of theirs outlives it. */
struct described {
    cublasLtMatmulDescOpaque_t op;
    cublasLtMatrixLayoutOpaque_t a, b, d;
};

static cudaDataType_t type(int dt) { return dt == REEL_BF16 ? CUDA_R_16BF : CUDA_R_32F; }

static void layout(cublasLtMatrixLayoutOpaque_t *l, int dt, int64_t rows, int64_t cols, int64_t ld, int batch, int64_t stride,
                   const struct product *p)
{
    int32_t count = batch;

    lt(cublasLtMatrixLayoutInit(l, type(dt), (uint64_t)rows, (uint64_t)cols, ld), "cublasLtMatrixLayoutInit", p);
    lt(cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count), "BATCH_COUNT", p);
    lt(cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride), "BATCH_OFFSET", p);
}

static void set(struct described *q, cublasLtMatmulDescAttributes_t what, const void *v, size_t size, const struct product *p)
{
    lt(cublasLtMatmulDescSetAttribute(&q->op, what, v, size), "cublasLtMatmulDescSetAttribute", p);
}

static void describe(struct described *q, const struct product *p, int batch, const void *bias)
{
    const int32_t ta = p->ta ? CUBLAS_OP_T : CUBLAS_OP_N, tb = p->tb ? CUBLAS_OP_T : CUBLAS_OP_N, with = CUBLASLT_EPILOGUE_BIAS;

    lt(cublasLtMatmulDescInit(&q->op, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescInit", p);
    set(q, CUBLASLT_MATMUL_DESC_TRANSA, &ta, sizeof ta, p);
    set(q, CUBLASLT_MATMUL_DESC_TRANSB, &tb, sizeof tb, p);
    if (bias) {
        set(q, CUBLASLT_MATMUL_DESC_EPILOGUE, &with, sizeof with, p);
        set(q, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias, p);
        set(q, CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, &p->sbias, sizeof p->sbias, p);
    }
    layout(&q->a, p->dt, p->ta ? p->k : p->m, p->ta ? p->m : p->k, p->lda, batch, p->sa, p);
    layout(&q->b, p->dt, p->tb ? p->n : p->k, p->tb ? p->k : p->n, p->ldb, batch, p->sb, p);
    layout(&q->d, p->out, p->m, p->n, p->ldd, batch, p->sd, p);
}

/* ---- algorithms ---- */

/* Bytes, up to 16, that every multiple of `unit` elements is aligned to. */
static int align(int unit, int dt)
{
    int bytes = unit * (int)bytes_of(dt);

    return bytes % 16 ? bytes & -bytes : 16;
}

static void prefer(cublasLtMatmulPreferenceOpaque_t *f, const struct key *k, size_t workspace, const struct product *p)
{
    const uint32_t whole = CUBLASLT_REDUCTION_SCHEME_NONE;
    const uint64_t most = workspace;

    lt(cublasLtMatmulPreferenceInit(f), "cublasLtMatmulPreferenceInit", p);
    lt(cublasLtMatmulPreferenceSetAttribute(f, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most), "MAX_WORKSPACE", p);
    lt(cublasLtMatmulPreferenceSetAttribute(f, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &whole, sizeof whole), "REDUCTION_SCHEME", p);
    for (int i = 0; i < 4; i++) {
        const uint32_t bytes = (uint32_t)k->align[i < 2 ? i : 2]; /* A, B, C = D */
        lt(cublasLtMatmulPreferenceSetAttribute(f, (cublasLtMatmulPreferenceAttributes_t)(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES + i),
                                                &bytes, sizeof bytes), "MIN_ALIGNMENT", p);
    }
}

static void choose(const struct reel_cuda *c, const struct product *p, const struct key *k, const void *bias, cublasLtMatmulAlgo_t *algo)
{
    cublasLtMatmulPreferenceOpaque_t f;
    cublasLtMatmulHeuristicResult_t r[8];
    struct described q;
    int got = 0, i = 0;

    describe(&q, p, 2, bias); /* one that can be batched */
    prefer(&f, k, c->workspace_bytes, p);
    lt(cublasLtMatmulAlgoGetHeuristic(c->lt, &q.op, &q.a, &q.b, &q.d, &q.d, &f, 8, r, &got), "cublasLtMatmulAlgoGetHeuristic", p);
    while (i < got && r[i].state != CUBLAS_STATUS_SUCCESS) i++;
    lt(i < got ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED, "cublasLtMatmulAlgoGetHeuristic", p);
    *algo = r[i].algo;
}

static uint64_t hash(const struct key *k)
{
    const unsigned char *b = (const unsigned char *)k;
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < sizeof *k; i++) h = (h ^ b[i]) * 0x100000001b3u;
    return h ^ h >> 32;
}

static const cublasLtMatmulAlgo_t *algorithm(const struct reel_cuda *c, const struct product *p, const void *bias)
{
    const struct key k = { p->m, p->n, p->k, p->dt, p->out, p->ta, p->tb, bias != NULL,
                           { align(p->unit_a, p->dt), align(p->unit_b, p->dt), align(p->unit_d, p->out) } };
    size_t i = hash(&k) % (sizeof c->products->slot / sizeof *c->products->slot);

    if (!c->products->slot[i].known || memcmp(&c->products->slot[i].key, &k, sizeof k)) {
        choose(c, p, &k, bias, &c->products->slot[i].algo);
        c->products->slot[i].key = k;
        c->products->slot[i].known = 1;
    }
    return &c->products->slot[i].algo;
}

void product_run(struct reel_stream *s, const struct product *p, void *d, const void *a, const void *b, const void *bias)
{
    const struct reel_cuda *c = reel_cuda(s);
    const float one = 1, beta = p->add ? 1 : 0;
    struct described q;

    describe(&q, p, p->batch, bias);
    lt(cublasLtMatmul(c->lt, &q.op, &one, a, &q.a, b, &q.b, &beta, d, &q.d, d, &q.d, algorithm(c, p, bias), c->workspace,
                      c->workspace_bytes, reel_cuda_stream(s)), "cublasLtMatmul", p);
}
