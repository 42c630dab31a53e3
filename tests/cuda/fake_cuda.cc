/* Calls of the runtime: devices, errors, memory, streams, events. */
#include "fake.h"

#undef warpSize /* a field of cudaDeviceProp */

#include <execinfo.h>
#include <mutex>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <unistd.h>

struct CUevent_st {
    fake::OpP op; /* its last record, or NULL */
    bool timing;
    std::shared_ptr<double> at;
};

namespace fake
{

static std::recursive_mutex lock;
static int depth; /* of the lock */
static cudaError_t last, sticky;
static thread_local int current;
static CUstream_st default_stream = { 0, 0, false, false, nullptr };

/* ---- faults ---- */

static const struct {
    cudaError_t value;
    const char *name, *words;
} errors[] = {
    { cudaSuccess, "cudaSuccess", "no error" },
    { cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument" },
    { cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory" },
    { cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error" },
    { cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument" },
    { cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy" },
    { cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
      "CUDA driver version is insufficient for CUDA runtime version" },
    { cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected" },
    { cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal" },
    { cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle" },
    { cudaErrorLaunchTimeout, "cudaErrorLaunchTimeout", "the launch timed out and was terminated" },
    { cudaErrorNotReady, "cudaErrorNotReady", "device not ready" },
    { cudaErrorECCUncorrectable, "cudaErrorECCUncorrectable", "uncorrectable ECC error encountered" },
    { cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered" },
    { cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure" },
    { cudaErrorUnknown, "cudaErrorUnknown", "unknown error" },
};

cudaError_t injected(const char *call)
{
    static const std::string spec = getenv("FAKE_FAIL") ? getenv("FAKE_FAIL") : "";
    static const size_t colon = spec.find(':');
    static long left = colon == std::string::npos ? 0 : atol(spec.c_str() + colon + 1);
    size_t second = colon == std::string::npos ? colon : spec.find(':', colon + 1);

    static const char *only = getenv("FAKE_RANK"), *me = getenv("PMI_RANK");

    if (!left || (only && me && strcmp(only, me)) || spec.compare(0, colon, call) || --left) return cudaSuccess;
    if (second == std::string::npos)
        return !strcmp(call, "cudaLaunchKernel") ? cudaErrorIllegalAddress : cudaErrorMemoryAllocation;
    for (auto &e : errors)
        if (!spec.compare(second + 1, std::string::npos, e.name)) return e.value;
    fail("FAKE_FAIL=%s: unknown error", spec.c_str());
}

static void at_end()
{
    int n;
    size_t bytes = unfreed(&n);

    lock.lock(); /* for good: the watching thread stops here */
    check_redzones("something");
    if (getenv("FAKE_REPORT"))
        fprintf(stderr, "cuda double: %zu operations, %zu never ran; %d allocations of %zu bytes not freed, peak %zu bytes\n",
                issued(), unfinished(), n, bytes, device_memory(0).peak);
}

static void start()
{
    static bool done;

    if (done) return;
    done = true;
    add_stream(&default_stream);
    launches_init();
    atexit(at_end);
}

Call::Call(const char *name)
{
    lock.lock();
    depth++;
    if (running && running->kind == HOST_FUNCTION && *name) fail("%s is called in a host function", name);
    start();
    error = sticky ? sticky : *name ? report(injected(name)) : cudaSuccess;
}

Call::~Call()
{
    if (--depth == 0) open_for_kernels(false);
    lock.unlock();
}

void unlock_for(int microseconds)
{
    int held = depth;

    open_for_kernels(false);
    depth = 0;
    for (int i = 0; i < held; i++) lock.unlock();
    if (microseconds) usleep((useconds_t)microseconds);
    else sched_yield();
    for (int i = 0; i < held; i++) lock.lock();
    depth = held;
}

cudaError_t report(cudaError_t e)
{
    if (e) last = e;
    return e;
}

void break_device(cudaError_t e) { sticky = last = e; }
cudaError_t broken() { return sticky; }

void backtrace_to_stderr()
{
    void *at[32];

    backtrace_symbols_fd(at, backtrace(at, 32), 2);
}

void fail(const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "cuda double: ");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n");
    fflush(stderr);
    backtrace_to_stderr();
    _exit(FAKE_EXIT);
}

/* ---- devices ---- */

size_t env_bytes(const char *name, size_t otherwise)
{
    const char *v = getenv(name);
    char *end;
    size_t n = v ? strtoull(v, &end, 10) : 0;

    if (!v) return otherwise;
    return n << (*end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0);
}

int devices()
{
    const char *v = getenv("FAKE_GPUS");

    return v ? atoi(v) : 8;
}

int device() { return current; }

Device &device_memory(int d)
{
    static std::vector<Device> all((size_t)(devices() > 0 ? devices() : 1), Device{ env_bytes("FAKE_MEM", (size_t)80 << 30), 0, 0 });

    return all[(size_t)d];
}

CUstream_st *stream_of(cudaStream_t s)
{
    if (!s || s == cudaStreamLegacy) return &default_stream;
    if (s->dead) fail("a destroyed stream is used");
    if (s->device != current)
        fail("stream %d of device %d is used while device %d is current: each thread calls cudaSetDevice", s->id, s->device, current);
    return s;
}

} // namespace fake
using namespace fake;

extern "C" {

cudaError_t cudaGetDeviceCount(int *n)
{
    const char *v = getenv("FAKE_GPUS");
    ENTER("cudaGetDeviceCount");

    *n = devices();
    if (v && !strcmp(v, "none")) return report(cudaErrorInsufficientDriver);
    return *n ? cudaSuccess : report(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int d)
{
    ENTER("cudaSetDevice");
    if (d < 0 || d >= devices()) return report(cudaErrorInvalidDevice);
    current = d;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *d)
{
    ENTER("cudaGetDevice");
    *d = current;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int d)
{
    const simt::Limits &l = simt::limits();
    ENTER("cudaGetDeviceProperties");

    if (d < 0 || d >= devices()) return report(cudaErrorInvalidDevice);
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "double of an %s", l.name);
    p->major = l.major;
    p->minor = l.minor;
    p->multiProcessorCount = l.multiprocessors;
    p->totalGlobalMem = device_memory(d).bytes;
    p->sharedMemPerBlock = 48 << 10;
    p->sharedMemPerBlockOptin = l.shared_optin;
    p->sharedMemPerMultiprocessor = l.shared_per_multiprocessor;
    p->warpSize = 32;
    p->maxThreadsPerBlock = 1024;
    p->maxThreadsPerMultiProcessor = 2048;
    p->regsPerBlock = p->regsPerMultiprocessor = 65536;
    p->pciBusID = d + 1;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *v, cudaDeviceAttr a, int d)
{
    cudaDeviceProp p;
    ENTER("cudaDeviceGetAttribute");

    if (cudaGetDeviceProperties(&p, d)) return cudaErrorInvalidDevice;
    switch (a) {
    case cudaDevAttrMultiProcessorCount: *v = p.multiProcessorCount; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor: *v = p.major; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor: *v = p.minor; return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *v = (int)p.sharedMemPerBlockOptin; return cudaSuccess;
    default: fail("cudaDeviceGetAttribute: attribute %d is not in the double", (int)a);
    }
}

cudaError_t cudaDeviceGetPCIBusId(char *out, int size, int d)
{
    const char *v = getenv("FAKE_PCI");
    ENTER("cudaDeviceGetPCIBusId");

    if (d < 0 || d >= devices()) return report(cudaErrorInvalidDevice);
    for (int i = 0; v && i < d; i++) v = strchr(v, ',') ? strchr(v, ',') + 1 : NULL;
    if (v) snprintf(out, (size_t)size, "%.*s", (int)strcspn(v, ","), v);
    else snprintf(out, (size_t)size, "0000:%02x:00.0", d + 1);
    return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    ENTER("cudaDeviceGetStreamPriorityRange");
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *total)
{
    ENTER("cudaMemGetInfo");
    *total = device_memory(current).bytes;
    *left = *total - device_memory(current).used;
    return cudaSuccess;
}

static cudaError_t version(const char *name, int *v)
{
    ENTER(name);
    *v = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *v) { return version("cudaRuntimeGetVersion", v); }
cudaError_t cudaDriverGetVersion(int *v) { return version("cudaDriverGetVersion", v); }

cudaError_t cudaGetLastError(void)
{
    Call c("");
    cudaError_t e = last;

    last = broken();
    return e;
}

cudaError_t cudaPeekAtLastError(void)
{
    Call c("");
    return last;
}

static size_t error_at(cudaError_t e)
{
    size_t i = sizeof errors / sizeof *errors - 1;

    while (i && errors[i].value != e) i--;
    return i || !e ? i : sizeof errors / sizeof *errors - 1;
}

const char *cudaGetErrorString(cudaError_t e) { return errors[error_at(e)].words; }
const char *cudaGetErrorName(cudaError_t e) { return errors[error_at(e)].name; }

/* ---- memory ---- */

cudaError_t cudaMalloc(void **p, size_t n)
{
    ENTER("cudaMalloc");
    *p = n ? device_alloc(n) : NULL;
    return *p || !n ? cudaSuccess : report(cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void *p)
{
    ENTER("cudaFree");
    if (!p) return cudaSuccess;
    wait_all();
    device_free(p);
    return broken();
}

cudaError_t cudaHostAlloc(void **p, size_t n, unsigned)
{
    ENTER("cudaHostAlloc");
    *p = pinned_alloc(n);
    return *p ? cudaSuccess : report(cudaErrorMemoryAllocation);
}

cudaError_t cudaMallocHost(void **p, size_t n) { return cudaHostAlloc(p, n, 0); }

cudaError_t cudaFreeHost(void *p)
{
    ENTER("cudaFreeHost");
    if (!p) return cudaSuccess;
    wait_all();
    pinned_free(p);
    return broken();
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *a, const void *p)
{
    ENTER("cudaPointerGetAttributes");
    memset(a, 0, sizeof *a);
    a->type = is_device(p) ? cudaMemoryTypeDevice : is_pinned(p) ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
    if (is_device(p)) a->device = find(p) ? find(p)->device : 0;
    a->devicePointer = is_device(p) ? const_cast<void *>(p) : NULL;
    a->hostPointer = is_device(p) ? NULL : const_cast<void *>(p);
    return cudaSuccess;
}

/* ---- streams ---- */

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int)
{
    ENTER("cudaStreamCreate");

    *s = new CUstream_st{ 0, current, (flags & cudaStreamNonBlocking) != 0, false, nullptr };
    add_stream(*s);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags) { return cudaStreamCreateWithPriority(s, flags, 0); }
cudaError_t cudaStreamCreate(cudaStream_t *s) { return cudaStreamCreateWithPriority(s, 0, 0); }

cudaError_t cudaStreamDestroy(cudaStream_t s) /* its work goes on */
{
    ENTER("cudaStreamDestroy");
    stream_of(s)->dead = true;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    ENTER("cudaStreamSynchronize");
    wait(stream_of(s)->last);
    return broken();
}

cudaError_t cudaStreamQuery(cudaStream_t s)
{
    ENTER("cudaStreamQuery");
    return poll(stream_of(s)->last) ? broken() : cudaErrorNotReady;
}

cudaError_t cudaDeviceSynchronize(void)
{
    ENTER("cudaDeviceSynchronize");
    wait_all();
    return broken();
}

cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t f, void *arg)
{
    ENTER("cudaLaunchHostFunc");
    enqueue({ stream_of(s) }, HOST_FUNCTION, "a host function", [=](Op &) {
        f(arg);
        return true;
    });
    return cudaSuccess;
}

/* ---- events ---- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags)
{
    ENTER("cudaEventCreate");
    *e = new CUevent_st{ nullptr, !(flags & cudaEventDisableTiming), nullptr };
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *e) { return cudaEventCreateWithFlags(e, 0); }

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    ENTER("cudaEventDestroy");
    delete e;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    ENTER("cudaEventRecord");
    std::shared_ptr<double> at = e->at = std::make_shared<double>(0);
    e->op = enqueue({ stream_of(s) }, LIBRARY, "an event", [=](Op &) {
        timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        *at = (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
        return true;
    });
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned)
{
    ENTER("cudaStreamWaitEvent");
    if (e->op) enqueue({ stream_of(s) }, LIBRARY, "a wait for an event", [](Op &) { return true; }, { e->op });
    return cudaSuccess; /* an event that was never recorded holds nobody up */
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    ENTER("cudaEventSynchronize");
    wait(e->op);
    return broken();
}

cudaError_t cudaEventQuery(cudaEvent_t e)
{
    ENTER("cudaEventQuery");
    return poll(e->op) ? broken() : cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b)
{
    ENTER("cudaEventElapsedTime");
    if (!a->op || !b->op || !a->timing || !b->timing) return report(cudaErrorInvalidResourceHandle);
    if (!a->op->done || !b->op->done) return report(cudaErrorNotReady);
    *ms = (float)((*b->at - *a->at) * 1e3);
    return cudaSuccess;
}

} /* extern "C" */
