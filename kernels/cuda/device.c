/* opening a GPU, its memory, the module's table */
#include <cublasLt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/abi.h"
#include "kernels/cuda/module.h"

enum { WORKSPACE = 32 << 20 }; /* what cuBLASLt's documentation asks for on Hopper */

static const struct reel_backend_ops cuda_ops = {
    .name = "cuda",
#define REEL_OP(op, args)  .op = reel_cuda_##op,
#define REEL_TMP(op, args) .op##_tmp = reel_cuda_##op##_tmp,
#include "kernels/ops.def"
};

static int count(char *why, size_t size)
{
    int n = 0;
    cudaError_t e = cudaGetDeviceCount(&n);

    if (e == cudaSuccess && n > 0) return n < REEL_DEVICE_MAX ? n : REEL_DEVICE_MAX;
    cudaGetLastError();
    if (e == cudaErrorInsufficientDriver)
        snprintf(why, size, "no driver answers, or one that is older than CUDA %d.%d", CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    else if (e == cudaErrorNoDevice || e == cudaSuccess) snprintf(why, size, "the driver shows no device; CUDA_VISIBLE_DEVICES?");
    else snprintf(why, size, "%s (%s)", cudaGetErrorString(e), cudaGetErrorName(e));
    return 0;
}

static reel_err info(int i, struct reel_device_info *out)
{
    struct cudaDeviceProp p;
    cudaError_t e = cudaGetDeviceProperties(&p, i);

    if (e == cudaSuccess) e = cudaDeviceGetPCIBusId(out->bus, (int)sizeof out->bus, i);
    if (e != cudaSuccess) return REEL_FAIL(REEL_ECONFIG, "CUDA device %d: %s", i, cudaGetErrorString(e));
    snprintf(out->name, sizeof out->name, "%.75s", p.name);
    out->bytes = p.totalGlobalMem;
    return REEL_OK;
}

void cuda_drain(struct reel_accel *d)
{
    REEL_CUDA(cudaEventRecord(d->synced, d->comm));
    REEL_CUDA(cudaStreamWaitEvent(d->compute, d->synced, 0));
    REEL_CUDA(cudaEventRecord(d->synced, d->compute));
    cuda_wait(d, d->synced);
}

static void close_device(struct reel_accel *d)
{
    if (!d) return;
    REEL_BUG_IF(d->coll, "CUDA device %d closed with communicators open", d->shown.device);
    if (d->compute) cuda_drain(d);
    cuda_rings_close(d);
    if (d->shown.workspace) REEL_CUDA(cudaFree(d->shown.workspace));
    if (d->shown.lt) cublasLtDestroy(d->shown.lt);
    reel_cuda_products_close(d->shown.products);
    for (int i = 0; i < CUDA_TICKETS; i++) {
        if (d->ticket[i].began) REEL_CUDA(cudaEventDestroy(d->ticket[i].began));
        if (d->ticket[i].done) REEL_CUDA(cudaEventDestroy(d->ticket[i].done));
    }
    if (d->synced) REEL_CUDA(cudaEventDestroy(d->synced));
    if (d->compute) REEL_CUDA(cudaStreamDestroy(d->compute));
    if (d->comm) REEL_CUDA(cudaStreamDestroy(d->comm));
    free(d);
}

static reel_err describe(struct reel_accel *d, int i)
{
    struct cudaDeviceProp p;
    struct reel_device_info shown;
    cudaError_t e = cudaSetDevice(i);

    if (e == cudaSuccess) e = cudaGetDeviceProperties(&p, i);
    if (e != cudaSuccess)
        return REEL_FAIL(REEL_ECONFIG, "CUDA device %d: %s (%s); is another process using it exclusively?", i, cudaGetErrorString(e),
                         cudaGetErrorName(e));
    REEL_TRY(info(i, &shown));
    memcpy(d->name, shown.name, sizeof d->name);
    memcpy(d->bus, shown.bus, sizeof d->bus);
    d->shown = (struct reel_cuda){ .device = i, .sms = p.multiProcessorCount, .cc = 10 * p.major + p.minor,
                                   .smem_optin = p.sharedMemPerBlockOptin, .workspace_bytes = WORKSPACE, .owner = d };
    if (d->shown.cc < 80)
        return REEL_FAIL(REEL_ECONFIG, "CUDA device %d is a %s of compute capability %d.%d; 8.0 (A100) or newer is needed", i, d->name,
                         p.major, p.minor);
    return REEL_OK;
}

/* Collectives go first where both queues have work: someone else waits for them. */
static void open_queues(struct reel_accel *d)
{
    int least, greatest;

    REEL_CUDA(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    REEL_CUDA(cudaStreamCreateWithPriority(&d->compute, cudaStreamNonBlocking, least));
    REEL_CUDA(cudaStreamCreateWithPriority(&d->comm, cudaStreamNonBlocking, greatest));
    REEL_CUDA(cudaEventCreateWithFlags(&d->synced, cudaEventDisableTiming));
    for (int i = 0; i < CUDA_TICKETS; i++) {
        REEL_CUDA(cudaEventCreateWithFlags(&d->ticket[i].began, cudaEventDisableTiming));
        REEL_CUDA(cudaEventCreateWithFlags(&d->ticket[i].done, cudaEventDisableTiming));
    }
}

static reel_err device_alloc(struct reel_accel *d, void **p, size_t bytes, const char *what)
{
    size_t left = 0, total = 0;

    if (!reel_fault("cuda_alloc") && cudaMalloc(p, bytes) == cudaSuccess) return REEL_OK;
    *p = NULL;
    cudaGetLastError();
    cudaMemGetInfo(&left, &total);
    return REEL_FAIL(REEL_ENOMEM, "%s: no %.2f GiB on CUDA device %d (%s, %s): %.2f of %.2f GiB are free", what,
                     (double)bytes / (1 << 30), d->shown.device, d->name, d->bus, (double)left / (1 << 30),
                     (double)total / (1 << 30));
}

static reel_err open_parts(struct reel_accel *d, int i)
{
    cublasStatus_t lt;

    REEL_TRY(describe(d, i));
    open_queues(d);
    REEL_TRY(cuda_rings_open(d));
    lt = cublasLtCreate(&d->shown.lt);
    if (lt != CUBLAS_STATUS_SUCCESS) return REEL_FAIL(REEL_ENOMEM, "cuBLASLt does not start on CUDA device %d: status %d", i, (int)lt);
    d->shown.products = reel_cuda_products_open();
    if (!d->shown.products) return REEL_FAIL(REEL_ENOMEM, "no memory for a CUDA device");
    return device_alloc(d, &d->shown.workspace, WORKSPACE, "cuBLASLt's workspace");
}

static reel_err open_device(struct reel_accel **out, int i)
{
    struct reel_accel *d = calloc(1, sizeof *d);
    reel_err e = d ? open_parts(d, i) : REEL_FAIL(REEL_ENOMEM, "no memory for a CUDA device");

    if (e) close_device(d);
    *out = e ? NULL : d;
    return e;
}

static void attach(struct reel_accel *d, struct reel_stream *s)
{
    s->dev = &d->shown;
    s->queue = d->compute;
}

/* cudaFree and cudaFreeHost wait too, but for ever and unseen. */
static void device_free(struct reel_accel *d, void *p)
{
    cuda_drain(d);
    REEL_CUDA(cudaFree(p));
}

static void *host_alloc(struct reel_accel *d, size_t bytes)
{
    void *p = NULL;

    (void)d;
    if (cudaHostAlloc(&p, bytes, cudaHostAllocDefault) == cudaSuccess) return p;
    cudaGetLastError();
    return NULL;
}

static void host_free(struct reel_accel *d, void *p)
{
    cuda_drain(d);
    REEL_CUDA(cudaFreeHost(p));
}

static void sync_device(struct reel_stream *s) { cuda_drain(cuda_device(s)); }

static const struct reel_device_ops cuda_device_ops = {
    .count = count,
    .info = info,
    .open = open_device,
    .close = close_device,
    .attach = attach,
    .alloc = device_alloc,
    .free = device_free,
    .host_alloc = host_alloc,
    .host_free = host_free,
    .put = cuda_put,
    .get = cuda_get,
    .get_start = cuda_get_start,
    .copy = cuda_copy,
    .sync = sync_device,
    .coll_id = cuda_coll_id,
    .coll_open = cuda_coll_open,
    .coll_close = cuda_coll_close,
    .allgather = cuda_allgather,
    .alltoall = cuda_alltoall,
    .wait = cuda_ticket_wait,
};

extern const struct reel_module reel_module;
const struct reel_module reel_module = {
    .version = PACKAGE_VERSION,
    .abi = REEL_ABI,
    .ops_size = sizeof cuda_ops,
    .device_size = sizeof cuda_device_ops,
    .ops = &cuda_ops,
    .device = &cuda_device_ops,
};
