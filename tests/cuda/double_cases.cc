/* Programs on the double of CUDA, cuBLASLt and NCCL, right ones and wrong ones: double_cases NAME. What becomes of
 * each in each mode is in tests/t_double.sh. */
#include <cublasLt.h>
#include <nccl.h>
#include <math.h>
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vector>

#include "kernels/cuda/simt.h"

enum { N = 5000 }; /* floats: more than a page, not a multiple of one */

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        int e_ = (int)(call);                                                                                          \
        if (e_) {                                                                                                      \
            fprintf(stderr, "%s:%d: %s: %d\n", __FILE__, __LINE__, #call, e_);                                         \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

__global__ void twice(float *y, const float *x, int n)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);

    if (i < n) y[i] = 2 * x[i];
}

struct Rig {
    cudaStream_t a, b;
    cudaEvent_t done;
    float *x, *y, *z, *pin, *out; /* device: x, y, z; pinned: pin, out */

    Rig()
    {
        OK(cudaSetDevice(0));
        OK(cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking));
        OK(cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking));
        OK(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
        for (float **p : { &x, &y, &z }) OK(cudaMalloc((void **)p, N * sizeof(float)));
        for (float **p : { &pin, &out }) OK(cudaHostAlloc((void **)p, N * sizeof(float), 0));
        for (int i = 0; i < N; i++) pin[i] = (float)i;
    }
    ~Rig()
    {
        for (float *p : { x, y, z }) OK(cudaFree(p));
        for (float *p : { pin, out }) OK(cudaFreeHost(p));
        OK(cudaEventDestroy(done));
        OK(cudaStreamDestroy(a));
        OK(cudaStreamDestroy(b));
    }
    void kernel(cudaStream_t s, float *to, const float *from, int n = N)
    {
        LAUNCH(twice, dim3((unsigned)(n + 127) / 128), dim3(128), 0, s, to, from, n);
        OK(cudaGetLastError());
    }
};

/* A pipeline over two streams; `skip` leaves one of its waits out. out = 4 (i + round). */
enum Skip { NOTHING, EVENT, STREAM };
static void pipeline(Skip skip)
{
    Rig r;
    int bad = 0;

    for (int round = 0; round < 3; round++) {
        OK(cudaStreamSynchronize(r.a));
        for (int i = 0; i < N && round; i++) r.pin[i] = (float)(i + round);
        OK(cudaMemcpyAsync(r.x, r.pin, N * sizeof(float), cudaMemcpyHostToDevice, r.a));
        r.kernel(r.a, r.y, r.x);
        OK(cudaEventRecord(r.done, r.a));
        if (skip != EVENT) OK(cudaStreamWaitEvent(r.b, r.done, 0));
        r.kernel(r.b, r.z, r.y);
        OK(cudaMemcpyAsync(r.out, r.z, N * sizeof(float), cudaMemcpyDeviceToHost, r.b));
        if (skip != STREAM) OK(cudaStreamSynchronize(r.b));
        for (int i = 0; i < N; i++) bad += r.out[i] != 4.f * (float)(i + round);
        OK(cudaMemsetAsync(r.y, 0xff, N * sizeof(float), r.a));
    }
    OK(cudaStreamSynchronize(r.a));
    if (bad) {
        fprintf(stderr, "wrong numbers: %d\n", bad);
        exit(1);
    }
}

/* ---- programs that are wrong ---- */

static int host_reads(const float *p) { return (int)p[7]; }

static void host_dereference()
{
    Rig r;
    printf("%d\n", host_reads(r.x));
}

static void use_after_free()
{
    Rig r;
    float *p;

    OK(cudaMalloc((void **)&p, N * sizeof(float)));
    OK(cudaMemset(p, 0, N * sizeof(float)));
    OK(cudaFree(p));
    OK(cudaMemcpyAsync(r.x, p, N * sizeof(float), cudaMemcpyDeviceToDevice, r.a));
    OK(cudaStreamSynchronize(r.a));
}

static void kernel_after_free()
{
    Rig r;
    float *p;

    OK(cudaMalloc((void **)&p, N * sizeof(float)));
    OK(cudaFree(p));
    r.kernel(r.a, r.x, p);
    OK(cudaStreamSynchronize(r.a));
}

static void copy_out_of_bounds()
{
    Rig r;

    OK(cudaMemcpyAsync(r.x, r.pin, (N + 1) * sizeof(float), cudaMemcpyHostToDevice, r.a));
    OK(cudaStreamSynchronize(r.a));
}

static void kernel_out_of_bounds()
{
    Rig r;

    OK(cudaMemset(r.x, 1, N * sizeof(float)));
    OK(cudaDeviceSynchronize()); /* the default stream's memset does not hold up r.a */
    r.kernel(r.a, r.y + 1, r.x); /* what is behind N floats is nobody's */
    OK(cudaStreamSynchronize(r.a));
}

static void kernel_far_out_of_bounds()
{
    Rig r;

    r.kernel(r.a, r.y + 64, r.x);
    OK(cudaStreamSynchronize(r.a));
}

static void pinned_reused()
{
    Rig r;

    OK(cudaMemcpyAsync(r.x, r.pin, N * sizeof(float), cudaMemcpyHostToDevice, r.a));
    for (int i = 0; i < N; i++) r.pin[i] = 0;
    OK(cudaStreamSynchronize(r.a));
}

static void pinned_read_early()
{
    Rig r;

    OK(cudaMemset(r.x, 0, N * sizeof(float)));
    OK(cudaMemcpyAsync(r.out, r.x, N * sizeof(float), cudaMemcpyDeviceToHost, r.a));
    printf("%d\n", host_reads(r.out));
}

static void wrong_direction()
{
    Rig r;
    OK(cudaMemcpyAsync(r.x, r.y, 8, cudaMemcpyHostToDevice, r.a));
}

static void stream_of_another_device()
{
    Rig r;
    OK(cudaSetDevice(1));
    OK(cudaMemsetAsync(r.x, 0, 8, r.a));
}

static void call_in_a_host_function()
{
    Rig r;
    OK(cudaLaunchHostFunc(r.a, [](void *p) { cudaMemset(p, 0, 8); }, r.x));
    OK(cudaStreamSynchronize(r.a));
}

static void stream_destroyed()
{
    Rig r;
    cudaStream_t s;

    OK(cudaStreamCreate(&s));
    OK(cudaStreamDestroy(s));
    OK(cudaMemsetAsync(r.x, 0, 8, s));
}

static void freed_twice()
{
    float *p;

    OK(cudaMalloc((void **)&p, 8));
    OK(cudaFree(p));
    OK(cudaFree(p));
}

/* ---- failing calls ---- */

static void sticks()
{
    Rig r;
    int worse = 0;

    LAUNCH(twice, dim3(1), dim3(32), 0, r.a, r.y, r.x, 32);
    worse += cudaStreamSynchronize(r.a) != cudaErrorIllegalAddress;
    worse += cudaStreamSynchronize(r.a) != cudaErrorIllegalAddress;
    worse += cudaGetLastError() != cudaErrorIllegalAddress || cudaGetLastError() != cudaErrorIllegalAddress;
    worse += cudaMemsetAsync(r.x, 0, 8, r.b) != cudaErrorIllegalAddress;
    if (!worse) fprintf(stderr, "an illegal address sticks\n");
    _exit(worse);
}

static void runs_out()
{
    float *p;
    int worse = 0;

    worse += cudaMalloc((void **)&p, 1 << 20) != cudaSuccess;
    worse += cudaMalloc((void **)&p, 1 << 20) != cudaErrorMemoryAllocation;
    worse += cudaGetLastError() != cudaErrorMemoryAllocation || cudaGetLastError() != cudaSuccess;
    worse += cudaMalloc((void **)&p, 1 << 10) != cudaSuccess;
    if (!worse) fprintf(stderr, "memory ran out, and there was some left\n");
    _exit(worse);
}

static void nth_call()
{
    float *p;
    int worse = 0;

    worse += cudaMalloc((void **)&p, 8) != cudaSuccess || cudaMalloc((void **)&p, 8) != cudaErrorMemoryAllocation;
    worse += cudaMalloc((void **)&p, 8) != cudaSuccess;
    if (!worse) fprintf(stderr, "the second of three failed\n");
    _exit(worse);
}

static void no_device()
{
    int n = -1;
    cudaError_t e = cudaGetDeviceCount(&n);

    fprintf(stderr, "%d devices: %s\n", n, cudaGetErrorString(e));
    _exit(e != cudaErrorNoDevice || n);
}

static void bus_ids()
{
    char id[32];

    OK(cudaDeviceGetPCIBusId(id, sizeof id, 1));
    fprintf(stderr, "device 1 is at %s\n", id);
    _exit(0);
}

/* ---- products ---- */

/* y[n][m] = x[n][k] w[m][k]^T by an algorithm chosen for `batch`, of rows from r0 on */
static void product(float *y, const float *x, const float *w, int m, int n, int k, size_t room, cudaStream_t s, int chosen_n)
{
    cublasLtHandle_t h;
    cublasLtMatmulDescOpaque_t d;
    cublasLtMatrixLayoutOpaque_t a, b, c;
    cublasLtMatmulPreferenceOpaque_t p;
    cublasLtMatmulHeuristicResult_t r;
    cublasOperation_t t = CUBLAS_OP_T;
    float one = 1, zero = 0, *ws;
    int got;

    OK(cublasLtCreate(&h));
    OK(cudaMalloc((void **)&ws, 1 << 20));
    OK(cublasLtMatmulDescInit(&d, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    OK(cublasLtMatmulDescSetAttribute(&d, CUBLASLT_MATMUL_DESC_TRANSA, &t, sizeof t));
    OK(cublasLtMatrixLayoutInit(&a, CUDA_R_32F, (uint64_t)k, (uint64_t)m, k));
    OK(cublasLtMatmulPreferenceInit(&p));
    OK(cublasLtMatmulPreferenceSetAttribute(&p, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room, sizeof room));
    for (int align = CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES; align <= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES; align++) {
        uint32_t bytes = 4;
        OK(cublasLtMatmulPreferenceSetAttribute(&p, (cublasLtMatmulPreferenceAttributes_t)align, &bytes, sizeof bytes));
    }
    OK(cublasLtMatrixLayoutInit(&b, CUDA_R_32F, (uint64_t)k, (uint64_t)chosen_n, k));
    OK(cublasLtMatrixLayoutInit(&c, CUDA_R_32F, (uint64_t)m, (uint64_t)chosen_n, m));
    OK(cublasLtMatmulAlgoGetHeuristic(h, &d, &a, &b, &c, &c, &p, 1, &r, &got));
    OK(cublasLtMatrixLayoutInit(&b, CUDA_R_32F, (uint64_t)k, (uint64_t)n, k));
    OK(cublasLtMatrixLayoutInit(&c, CUDA_R_32F, (uint64_t)m, (uint64_t)n, m));
    OK(cublasLtMatmul(h, &d, &one, w, &a, x, &b, &zero, y, &c, y, &c, &r.algo, ws, 1 << 20, s));
    OK(cudaStreamSynchronize(s));
    OK(cudaFree(ws));
    OK(cublasLtDestroy(h));
}

/* 40 rows as one product, and as two of 20: close, but not the same bits */
static void shapes()
{
    enum { M = 24, R = 40, K = 100 };
    Rig r;
    std::vector<float> one(R * M), two(R * M);
    double worst = 0;
    int same = 0;

    for (int i = 0; i < N; i++) r.pin[i] = (float)(i * 7919 % 1000) * 1e-3f - .5f;
    OK(cudaMemcpy(r.x, r.pin, N * sizeof(float), cudaMemcpyHostToDevice));
    product(r.y, r.x, r.x + 1, M, R, K, 1 << 20, r.a, R);
    OK(cudaMemcpy(one.data(), r.y, sizeof(float) * R * M, cudaMemcpyDeviceToHost));
    for (int h = 0; h < 2; h++) product(r.z + h * R / 2 * M, r.x + h * R / 2 * K, r.x + 1, M, R / 2, K, 1 << 20, r.a, R / 2);
    OK(cudaMemcpy(two.data(), r.z, sizeof(float) * R * M, cudaMemcpyDeviceToHost));
    for (int j = 0; j < R; j++)
        for (int i = 0; i < M; i++) {
            double want = 0;
            for (int k = 0; k < K; k++) want += (double)r.pin[j * K + k] * (double)r.pin[1 + i * K + k];
            worst = fmax(worst, fmax(fabs(want - (double)one[(size_t)(j * M + i)]), fabs(want - (double)two[(size_t)(j * M + i)])));
            same += one[(size_t)(j * M + i)] == two[(size_t)(j * M + i)];
        }
    if (worst > 1e-5) {
        fprintf(stderr, "off by %g\n", worst);
        _exit(1);
    }
    fprintf(stderr, "another shape has other bits: %s\n", same < R * M ? "yes" : "no");
}

static void misaligned_product()
{
    Rig r;
    OK(cudaMemset(r.x, 0, N * sizeof(float)));
    product((float *)((char *)r.y + 2), r.x, r.x, 8, 8, 8, 0, r.a, 8);
}

/* ---- communication (ranks of mpiexec) ---- */

static ncclComm_t join(int *rank, int *size)
{
    ncclUniqueId id;
    ncclComm_t c;

    MPI_Comm_rank(MPI_COMM_WORLD, rank);
    MPI_Comm_size(MPI_COMM_WORLD, size);
    OK(cudaSetDevice(*rank));
    if (*rank == *size - 1) OK(ncclGetUniqueId(&id));
    MPI_Bcast(&id, sizeof id, MPI_BYTE, *size - 1, MPI_COMM_WORLD);
    OK(ncclCommInitRank(&c, *size, id, *rank));
    return c;
}

struct Ring { /* ranks, and device memory: mine[N], all[size*N] */
    int rank, size;
    ncclComm_t c;
    cudaStream_t s, other;
    cudaEvent_t made;
    float *mine, *all;

    Ring()
    {
        int level;

        MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &level);
        c = join(&rank, &size);
        OK(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
        OK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
        OK(cudaEventCreateWithFlags(&made, cudaEventDisableTiming));
        OK(cudaMalloc((void **)&mine, N * sizeof(float)));
        OK(cudaMalloc((void **)&all, (size_t)size * N * sizeof(float)));
        std::vector<float> v(N);
        for (int i = 0; i < N; i++) v[(size_t)i] = (float)(rank + 1) * (float)i;
        OK(cudaMemcpy(mine, v.data(), N * sizeof(float), cudaMemcpyHostToDevice));
    }
    ~Ring()
    {
        OK(cudaFree(mine));
        OK(cudaFree(all));
        OK(ncclCommDestroy(c));
        MPI_Finalize();
    }
    std::vector<float> get(const float *p, int n)
    {
        std::vector<float> v((size_t)n);
        OK(cudaMemcpyAsync(v.data(), p, (size_t)n * sizeof(float), cudaMemcpyDeviceToHost, s));
        return v;
    }
    void gather() { OK(ncclAllGather(mine, all, N, ncclFloat32, c, s)); }
    void expect(bool right, const char *what)
    {
        if (right) return;
        fprintf(stderr, "rank %d: wrong numbers: %s\n", rank, what);
        _exit(1); /* the launcher ends the others; MPI_Abort may cost what it has not read yet */
    }
};

static void collectives()
{
    Ring r;
    int bad = 0;
    float part;
    ncclComm_t odd;

    r.gather();
    auto v = r.get(r.all, r.size * N);
    for (int i = 0; i < r.size * N; i++) bad += v[(size_t)i] != (float)(i / N + 1) * (float)(i % N);
    OK(ncclAllGather(r.all + r.rank * N, r.all, N, ncclFloat32, r.c, r.s)); /* in place */
    v = r.get(r.all, r.size * N);
    for (int i = 0; i < r.size * N; i++) bad += v[(size_t)i] != (float)(i / N + 1) * (float)(i % N);
    r.expect(!bad, "allgather");
    OK(ncclReduceScatter(r.all, r.mine, N, ncclFloat32, ncclSum, r.c, r.s));
    part = r.get(r.mine, N)[3];
    r.expect(part == 3.f * (float)(r.size * (r.rank + 1)), "reduce-scatter");
    OK(ncclAllReduce(r.mine, r.mine, N, ncclFloat32, ncclSum, r.c, r.s));
    part = r.get(r.mine, N)[1];
    r.expect(part == (float)(r.size * r.size * (r.size + 1) / 2), "allreduce in place");
    OK(ncclBroadcast(r.all, r.mine, N, ncclFloat32, r.size - 1, r.c, r.s));
    r.expect(r.get(r.mine, N)[7] == 7.f, "broadcast");
    OK(ncclGroupStart()); /* alltoall: to each its number */
    for (int i = 0; i < r.size; i++) {
        OK(ncclSend(r.all + i * N + 1, 1, ncclFloat32, i, r.c, r.s));
        OK(ncclRecv(r.mine + i, 1, ncclFloat32, i, r.c, r.s));
    }
    OK(ncclGroupEnd());
    for (int i = 0; i < r.size; i++) bad += r.get(r.mine, r.size)[(size_t)i] != (float)(r.rank + 1);
    r.expect(!bad, "alltoall");
    OK(ncclCommSplit(r.c, r.rank % 2, r.rank, &odd, NULL));
    OK(ncclAllReduce(r.mine, r.all, 1, ncclFloat32, ncclSum, odd, r.s));
    r.expect(r.get(r.all, 1)[0] > 0, "split");
    OK(ncclCommDestroy(odd));
}

/* The host blocks in MPI while a collective is under way: the device goes on. */
static void blocked_host()
{
    Ring r;

    r.gather();
    if (r.rank) OK(cudaStreamSynchronize(r.s));
    MPI_Barrier(MPI_COMM_WORLD);
    r.expect(r.get(r.all, 2)[1] == 1.f, "allgather");
}

static void another_collective()
{
    Ring r;

    if (r.rank == 1) OK(ncclReduceScatter(r.all, r.mine, N / r.size, ncclFloat32, ncclSum, r.c, r.s));
    else r.gather();
    OK(cudaStreamSynchronize(r.s));
}

static void another_count()
{
    Ring r;

    OK(ncclAllGather(r.mine, r.all, (size_t)(N - r.rank), ncclFloat32, r.c, r.s));
    OK(cudaStreamSynchronize(r.s));
}

static void another_length()
{
    Ring r;

    if (r.rank) OK(ncclRecv(r.mine, 7, ncclFloat32, 0, r.c, r.s));
    else OK(ncclSend(r.mine, 8, ncclFloat32, 1, r.c, r.s));
    OK(cudaStreamSynchronize(r.s));
}

static void nobody_answers()
{
    Ring r;

    if (r.rank) OK(ncclRecv(r.mine, 7, ncclFloat32, 0, r.c, r.s));
    OK(cudaStreamSynchronize(r.s));
    MPI_Barrier(MPI_COMM_WORLD);
}

/* The other stream writes to what the collective fills; `wait`: in order. Else rank 0 has written before the collective can be done:
 * rank 1 does not begin with it. */
static void across_streams(bool wait)
{
    Ring r;

    if (!wait && r.rank) MPI_Recv(NULL, 0, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    r.gather();
    OK(cudaEventRecord(r.made, r.s));
    if (wait) OK(cudaStreamWaitEvent(r.other, r.made, 0));
    OK(cudaMemsetAsync(r.all, 0, N * sizeof(float), r.other));
    OK(cudaStreamSynchronize(r.other));
    if (!wait && !r.rank) MPI_Send(NULL, 0, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
    OK(cudaStreamSynchronize(r.s));
    r.expect(r.get(r.all, 2)[1] == 0.f, "the memset came last");
}

/* ---- */

static const struct {
    const char *name;
    void (*run)();
} cases[] = {
    { "right", [] { pipeline(NOTHING); } },
    { "no-event", [] { pipeline(EVENT); } },
    { "no-stream-wait", [] { pipeline(STREAM); } },
    { "host-dereference", host_dereference },
    { "copy-after-free", use_after_free },
    { "kernel-after-free", kernel_after_free },
    { "copy-out-of-bounds", copy_out_of_bounds },
    { "kernel-out-of-bounds", kernel_out_of_bounds },
    { "kernel-far-out-of-bounds", kernel_far_out_of_bounds },
    { "pinned-reused", pinned_reused },
    { "pinned-read-early", pinned_read_early },
    { "wrong-direction", wrong_direction },
    { "stream-of-another-device", stream_of_another_device },
    { "call-in-a-host-function", call_in_a_host_function },
    { "stream-destroyed", stream_destroyed },
    { "freed-twice", freed_twice },
    { "sticks", sticks },
    { "runs-out", runs_out },
    { "nth-call", nth_call },
    { "no-device", no_device },
    { "bus-ids", bus_ids },
    { "shapes", shapes },
    { "misaligned-product", misaligned_product },
    { "collectives", collectives },
    { "blocked-host", blocked_host },
    { "another-collective", another_collective },
    { "another-count", another_count },
    { "another-length", another_length },
    { "nobody-answers", nobody_answers },
    { "streams-in-order", [] { across_streams(true); } },
    { "streams-unordered", [] { across_streams(false); } },
};

int main(int argc, char **argv)
{
    for (auto &c : cases)
        if (argc == 2 && !strcmp(argv[1], c.name)) {
            c.run();
            return 0;
        }
    fprintf(stderr, "usage: double_cases NAME\n");
    return 2;
}
