/* cuBLASLt: products with the epilogue that adds a bias. Bits depend on algorithm, shape and types, as the
 * library's do: who wants the same bits has to ask for the same product. */
#include "fake.h"

#include <cublasLt.h>
#include <string.h>

#include "fake_gemm.h"

using namespace fake;

/* What the opaque structs of the header hold; zeroed, then set by attributes. */
struct Desc {
    int compute, scale, op[2], epilogue;
    const void *bias;
    int64_t bias_stride;
    int bias_type;
};
struct Layout {
    int type, batch;
    uint64_t rows, cols;
    int64_t ld, stride;
};
struct Preference {
    uint64_t workspace;
    uint32_t reductions, align[4], set;
};
struct Algo {
    uint32_t magic, id;
    uint64_t workspace;
    uint32_t align[4];
    int types[3], op[2], epilogue;
};
static_assert(sizeof(Desc) <= sizeof(cublasLtMatmulDescOpaque_t) && sizeof(Layout) <= sizeof(cublasLtMatrixLayoutOpaque_t) &&
                  sizeof(Preference) <= sizeof(cublasLtMatmulPreferenceOpaque_t) && sizeof(Algo) <= sizeof(cublasLtMatmulAlgo_t),
              "the header's structs are too small");
enum { MAGIC = 0x16a190, NO_BIAS_TYPE = -1 };

template <class T> static T &in(const void *opaque) { return *(T *)const_cast<void *>(opaque); }

static size_t bytes_of(int type) { return type == CUDA_R_32F ? 4 : type == CUDA_R_16BF ? 2 : 0; }

static float to_float(uint16_t b)
{
    uint32_t u = (uint32_t)b << 16;
    float f;

    memcpy(&f, &u, sizeof f);
    return f;
}

static uint16_t to_bf16(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    if ((u & 0x7fffffff) > 0x7f800000) return 0x7fff;
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

static float load(const void *p, int type, int64_t i)
{
    return type == CUDA_R_32F ? ((const float *)p)[i] : to_float(((const uint16_t *)p)[i]);
}

static void store(void *p, int type, int64_t i, float x)
{
    if (type == CUDA_R_32F) ((float *)p)[i] = x;
    else ((uint16_t *)p)[i] = to_bf16(x);
}

/* A product, all that its operation needs to know. */
struct Product {
    Desc d;
    Layout l[4]; /* A, B, C, D */
    const void *p[4];
    float alpha, beta;
    Algo algo;
    void *workspace;
    int64_t m, n, k;
};

static bool depth(Product &q) /* m, n, k from the layouts; false if they do not fit */
{
    const Layout &a = q.l[0], &b = q.l[1], &c = q.l[2], &d = q.l[3];
    uint64_t am = q.d.op[0] ? a.cols : a.rows, ak = q.d.op[0] ? a.rows : a.cols;
    uint64_t bn = q.d.op[1] ? b.rows : b.cols, bk = q.d.op[1] ? b.cols : b.rows;

    q.m = (int64_t)d.rows;
    q.n = (int64_t)d.cols;
    q.k = (int64_t)ak;
    return am == d.rows && bn == d.cols && ak == bk && c.rows == d.rows && c.cols == d.cols && d.rows && d.cols && ak;
}

/* Types and epilogues of the documentation's table for CUBLAS_COMPUTE_32F: the bias has D's type. */
static bool supported(const Product &q)
{
    int a = q.l[0].type, d = q.l[3].type;
    bool types = a == q.l[1].type && q.l[2].type == d && (a == CUDA_R_32F ? d == CUDA_R_32F : d == CUDA_R_32F || d == CUDA_R_16BF);
    bool bias = q.d.epilogue == CUBLASLT_EPILOGUE_BIAS;

    return types && bytes_of(a) && q.d.compute == CUBLAS_COMPUTE_32F && q.d.scale == CUDA_R_32F &&
           (q.d.epilogue == CUBLASLT_EPILOGUE_DEFAULT || bias) && (!bias || q.d.bias_type == NO_BIAS_TYPE || q.d.bias_type == d);
}

static bool layouts_ok(const Product &q)
{
    for (int i = 0; i < 4; i++)
        if (q.l[i].ld < (int64_t)q.l[i].rows || q.l[i].batch != q.l[3].batch || q.l[i].batch < 1) return false;
    return true;
}

static Product product(cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                       cublasLtMatrixLayout_t e)
{
    Product q = {};

    q.d = in<Desc>(d);
    q.l[0] = in<Layout>(a), q.l[1] = in<Layout>(b), q.l[2] = in<Layout>(c), q.l[3] = in<Layout>(e);
    return q;
}

static uint32_t mix(std::initializer_list<int64_t> v)
{
    uint64_t h = 0x9e3779b97f4a7c15u;

    for (int64_t x : v) h = (h ^ (uint64_t)x) * 0xbf58476d1ce4e5b9u, h ^= h >> 31;
    return (uint32_t)h;
}

static size_t span(const Layout &l) { return ((size_t)(l.cols - 1) * (size_t)l.ld + l.rows) * bytes_of(l.type); }

static void touch(const Op &o, const Layout &l, const void *p, bool write)
{
    size_t row = l.rows * bytes_of(l.type), pitch = (size_t)l.ld * bytes_of(l.type);

    if (row == pitch) range(o, p, span(l), write);
    else
        for (uint64_t c = 0; c < l.cols; c++) range(o, (const char *)p + c * pitch, row, write);
}

static const void *at(const Product &q, int i, int batch)
{
    return (const char *)q.p[i] + (int64_t)batch * q.l[i].stride * (int64_t)bytes_of(q.l[i].type);
}

/* One product of a batch. */
static void compute(const Op &o, const Product &q, int batch)
{
    const Layout &a = q.l[0], &b = q.l[1], &c = q.l[2], &d = q.l[3];
    uint32_t h = mix({ q.algo.id, q.m, q.n, q.k, a.type, d.type, q.d.op[0], q.d.op[1], q.d.epilogue });
    int pieces = 1 + (int)(h % 5);
    std::vector<float> sum((size_t)(q.m * q.n));
    const char *bias = (const char *)q.d.bias + (int64_t)batch * q.d.bias_stride * (int64_t)bytes_of(d.type);

    touch(o, a, at(q, 0, batch), false);
    touch(o, b, at(q, 1, batch), false);
    if (q.beta != 0 && at(q, 2, batch) != at(q, 3, batch)) touch(o, c, at(q, 2, batch), false); /* D may be C, and nothing else */
    if (q.d.epilogue == CUBLASLT_EPILOGUE_BIAS) range(o, bias, (size_t)q.m * bytes_of(d.type), false);
    touch(o, d, at(q, 3, batch), true);
    fake_gemm(sum.data(), q.m, q.n, q.k, { alias(at(q, 0, batch)), a.ld, q.d.op[0], a.type != CUDA_R_32F },
              { alias(at(q, 1, batch)), b.ld, !q.d.op[1], b.type != CUDA_R_32F }, q.k < pieces ? 1 : pieces);
    const void *from = alias(at(q, 2, batch)), *add = alias(bias);
    void *to = alias(at(q, 3, batch));
    for (int64_t j = 0; j < q.n; j++)
        for (int64_t i = 0; i < q.m; i++) {
            float x = q.alpha * sum[(size_t)(j * q.m + i)];
            if (q.beta != 0) x += q.beta * load(from, c.type, j * c.ld + i);
            if (q.d.epilogue == CUBLASLT_EPILOGUE_BIAS) x += load(add, d.type, i);
            store(to, d.type, j * d.ld + i, x);
        }
}

static bool overlap(const Product &q, int i, int j)
{
    const char *pi = (const char *)q.p[i], *pj = (const char *)q.p[j];
    size_t ni = span(q.l[i]) + (size_t)(q.l[i].batch - 1) * (size_t)q.l[i].stride * bytes_of(q.l[i].type);
    size_t nj = span(q.l[j]) + (size_t)(q.l[j].batch - 1) * (size_t)q.l[j].stride * bytes_of(q.l[j].type);

    return pi < pj + nj && pj < pi + ni;
}

static bool fits_algo(const Product &q, size_t workspace)
{
    const Algo &g = q.algo;

    for (int i = 0; i < 4; i++)
        if ((uintptr_t)q.p[i] % g.align[i] || (i < 3 && g.types[i] != q.l[i].type)) return false;
    return g.magic == MAGIC && g.op[0] == q.d.op[0] && g.op[1] == q.d.op[1] && g.epilogue == q.d.epilogue &&
           workspace >= g.workspace && (!g.workspace || (uintptr_t)q.workspace % 256 == 0);
}

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t *h)
{
    Call call("cublasLtCreate");

    if (call.error) return CUBLAS_STATUS_NOT_INITIALIZED;
    *h = (cublasLtHandle_t) new int(device());
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t h)
{
    delete (int *)h;
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasLtGetStatusString(cublasStatus_t s)
{
    return s == CUBLAS_STATUS_SUCCESS           ? "CUBLAS_STATUS_SUCCESS"
           : s == CUBLAS_STATUS_INVALID_VALUE   ? "CUBLAS_STATUS_INVALID_VALUE"
           : s == CUBLAS_STATUS_NOT_SUPPORTED   ? "CUBLAS_STATUS_NOT_SUPPORTED"
           : s == CUBLAS_STATUS_NOT_INITIALIZED ? "CUBLAS_STATUS_NOT_INITIALIZED"
                                                : "CUBLAS_STATUS_EXECUTION_FAILED";
}

cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t d, size_t, cublasComputeType_t compute, cudaDataType_t scale)
{
    memset(d, 0, sizeof *d);
    in<Desc>(d) = Desc{ compute, scale, { 0, 0 }, CUBLASLT_EPILOGUE_DEFAULT, NULL, 0, NO_BIAS_TYPE };
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t a, const void *v, size_t n)
{
    Desc &q = in<Desc>(d);
    void *to = a == CUBLASLT_MATMUL_DESC_TRANSA              ? (void *)&q.op[0]
               : a == CUBLASLT_MATMUL_DESC_TRANSB            ? (void *)&q.op[1]
               : a == CUBLASLT_MATMUL_DESC_EPILOGUE          ? (void *)&q.epilogue
               : a == CUBLASLT_MATMUL_DESC_BIAS_POINTER      ? (void *)&q.bias
               : a == CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE ? (void *)&q.bias_stride
               : a == CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE    ? (void *)&q.bias_type
                                                             : NULL;
    size_t size = to == &q.bias || to == &q.bias_stride ? 8 : 4;

    if (!to) fail("cublasLtMatmulDescSetAttribute: attribute %d is not in the double", (int)a);
    if (n != size) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, v, n);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t l, size_t, cudaDataType type, uint64_t rows, uint64_t cols,
                                                 int64_t ld)
{
    memset(l, 0, sizeof *l);
    in<Layout>(l) = Layout{ type, 1, rows, cols, ld, 0 };
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l, cublasLtMatrixLayoutAttribute_t a, const void *v, size_t n)
{
    Layout &q = in<Layout>(l);

    if (a == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT && n == sizeof q.batch) memcpy(&q.batch, v, n);
    else if (a == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET && n == sizeof q.stride) memcpy(&q.stride, v, n);
    else fail("cublasLtMatrixLayoutSetAttribute: attribute %d of %zu bytes is not in the double", (int)a, n);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t p, size_t)
{
    memset(p, 0, sizeof *p);
    in<Preference>(p) = Preference{ 0, CUBLASLT_REDUCTION_SCHEME_MASK, { 256, 256, 256, 256 }, 1 };
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t a, const void *v,
                                                    size_t n)
{
    Preference &q = in<Preference>(p);
    int align = (int)a - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;

    if (a == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES && n == sizeof q.workspace) memcpy(&q.workspace, v, n);
    else if (a == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK && n == sizeof q.reductions) memcpy(&q.reductions, v, n);
    else if (align >= 0 && align < 4 && n == sizeof q.align[0]) memcpy(&q.align[align], v, n);
    else fail("cublasLtMatmulPreferenceSetAttribute: attribute %d of %zu bytes is not in the double", (int)a, n);
    return CUBLAS_STATUS_SUCCESS;
}

/* Another shape, batch, alignment or workspace may mean another algorithm. */
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t e, cublasLtMatmulPreference_t p, int wanted,
                                              cublasLtMatmulHeuristicResult_t *r, int *got)
{
    Call call("cublasLtMatmulAlgoGetHeuristic");
    Product q = product(d, a, b, c, e);
    const Preference &pref = in<Preference>(p);

    *got = 0;
    if (call.error) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (wanted < 1 || !pref.set || !depth(q) || !layouts_ok(q)) return CUBLAS_STATUS_INVALID_VALUE;
    if (!supported(q)) return CUBLAS_STATUS_NOT_SUPPORTED;
    Algo g = { MAGIC, mix({ q.m, q.n, q.k, q.l[3].batch, pref.align[0], pref.align[1], (int64_t)pref.reductions }) % 11, 0, {},
               { q.l[0].type, q.l[1].type, q.l[2].type }, { q.d.op[0], q.d.op[1] }, q.d.epilogue };
    memcpy(g.align, pref.align, sizeof g.align);
    if (g.id % 2 && pref.workspace >= 1 << 20) g.workspace = 1 << 20;
    memset(r, 0, sizeof *r);
    memcpy(&r->algo, &g, sizeof g);
    r->workspaceSize = g.workspace;
    r->state = CUBLAS_STATUS_SUCCESS;
    *got = 1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t h, cublasLtMatmulDesc_t d, const void *alpha, const void *A, cublasLtMatrixLayout_t a,
                              const void *B, cublasLtMatrixLayout_t b, const void *beta, const void *C, cublasLtMatrixLayout_t c, void *D,
                              cublasLtMatrixLayout_t e, const cublasLtMatmulAlgo_t *algo, void *workspace, size_t size, cudaStream_t s)
{
    Call call("cublasLtMatmul");
    Product q = product(d, a, b, c, e);
    CUstream_st *stream = stream_of(s);

    if (call.error) return CUBLAS_STATUS_EXECUTION_FAILED;
    if (!h || *(int *)h != device()) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (!algo) fail("cublasLtMatmul without an algorithm: the library would choose, and bits with it");
    q.p[0] = A, q.p[1] = B, q.p[2] = C, q.p[3] = D;
    q.alpha = *(const float *)alpha;
    q.beta = *(const float *)beta;
    q.algo = in<Algo>(algo);
    q.workspace = workspace;
    if (!depth(q) || !layouts_ok(q) || !fits_algo(q, size)) return CUBLAS_STATUS_INVALID_VALUE;
    if (!supported(q)) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (overlap(q, 3, 0) || overlap(q, 3, 1)) fail("cublasLtMatmul: D overlaps %s", overlap(q, 3, 0) ? "A" : "B");
    if (q.beta != 0 && overlap(q, 2, 3) && (C != D || q.l[2].ld != q.l[3].ld)) fail("cublasLtMatmul: C overlaps D");
    enqueue({ stream }, LIBRARY, "a matrix product", [=](Op &o) {
        if (q.algo.workspace) {
            range(o, q.workspace, q.algo.workspace, true);
            memset(alias(q.workspace), 0xa5, q.algo.workspace);
        }
        for (int i = 0; i < q.l[3].batch; i++) compute(o, q, i);
        return true;
    });
    return CUBLAS_STATUS_SUCCESS;
}

} /* extern "C" */
