#ifndef REEL_TESTS_CUDA_FAKE_H
#define REEL_TESTS_CUDA_FAKE_H

/* A test double of the CUDA runtime, of cuBLASLt and of NCCL, behind their real headers. Device memory is
 * host memory that the host may not touch, kernels run under the executor of simt.h, communication is MPI's.
 *
 * Whatever a stream is given is an operation, which waits for those that streams and events put before it and
 * runs when the mode says so. Environment:
 *   FAKE_MODE     eager: at once (default); lazy: only when the host waits for it; random:SEED: any legal order
 *   FAKE_GPUS     devices of the node (8); 0: none; none: no driver either
 *   FAKE_PCI      their bus ids, comma separated (0000:01:00.0, 0000:02:00.0, ...)
 *   FAKE_MEM      bytes of each, with K, M or G (80G)
 *   FAKE_FAIL     CALL:N[:ERROR] makes the N-th CALL fail; cudaLaunchKernel fails when it runs, for good; with
 *                 cudaErrorLaunchTimeout that kernel never ends
 *   FAKE_RANK     the one rank for which FAKE_FAIL is meant
 *   FAKE_TIMEOUT  seconds of waiting without progress after which the process ends with a list (120)
 *   FAKE_REPORT   print at exit what ran and what was not freed
 * A misuse ends the process with a message "cuda double: ...", a backtrace and FAKE_EXIT. */

#include <functional>
#include <memory>
#include <stdint.h>
#include <vector>

#include "simt_rt.h"

#define FAKE_EXIT 86

namespace fake
{

/* ---- operations (fake_op.cc) ---- */

enum { MAX_STREAMS = 64 };

/* For each stream, how many of its operations have happened. */
struct Clock {
    uint32_t t[MAX_STREAMS];
    void join(const Clock &o)
    {
        for (int i = 0; i < MAX_STREAMS; i++)
            if (o.t[i] > t[i]) t[i] = o.t[i];
    }
};

enum Kind { LIBRARY, KERNEL, HOST_FUNCTION };

struct Op {
    uint32_t id;
    int stream;
    uint32_t tick; /* its number in its stream */
    Clock clock;   /* what happened before it, itself included */
    const char *what;
    Kind kind;
    std::function<bool(Op &)> step; /* called until it returns true */
    std::vector<std::shared_ptr<Op>> after;
    std::vector<Op *> next;
    int waits; /* members of `after` that are not done */
    bool started, done;
};
typedef std::shared_ptr<Op> OpP;

/**
 * enqueue - an operation behind everything in the streams so far, and behind the operations `after`.
 * It runs now or at some later time that is legal. `what` must live forever.
 */
OpP enqueue(const std::vector<cudaStream_t> &streams, Kind kind, const char *what, std::function<bool(Op &)> step,
            const std::vector<OpP> &after = {});
/** wait - the host waits until op is done (NULL: is): then everything before it has happened for the host. */
void wait(const OpP &op);
/** poll - the host asks whether op is done; sooner or later it is. */
bool poll(const OpP &op);
void wait_all();
extern Op *running; /* the operation whose step runs, or NULL */
bool host_knows(int stream, uint32_t tick); /* the host has waited for that operation */
bool happens_before(uint32_t earlier, uint32_t later);
const char *op_what(uint32_t id);
int op_stream(uint32_t id);
void add_stream(cudaStream_t s);
size_t issued();
size_t unfinished();

/* ---- calls (fake_cuda.cc) ---- */

/* First line of every entry point: takes the lock, counts, injects faults, returns the error that sticks. */
struct Call {
    explicit Call(const char *name);
    ~Call();
    Call(const Call &) = delete;
    cudaError_t error;
};
#define ENTER(name)                                                                                                    \
    fake::Call call(name);                                                                                             \
    if (call.error) return call.error
cudaError_t injected(const char *call); /* does FAKE_FAIL name it, now? Then its error */
cudaError_t report(cudaError_t e);      /* e, kept for cudaGetLastError */
void break_device(cudaError_t e);       /* from now on every call returns e */
cudaError_t broken();                   /* that error, or success */
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void backtrace_to_stderr();
size_t env_bytes(const char *name, size_t otherwise);
struct Device {
    size_t bytes, used, peak;
};
int device();                       /* of the calling thread */
int devices();                      /* how many there are */
Device &device_memory(int d);
void unlock_for(int microseconds);  /* gives the lock away for a while, in a wait */

/* A stream as the runtime sees it; NULL is the default stream, which waits for all that are not non-blocking. */
CUstream_st *stream_of(cudaStream_t s);

/* ---- memory (fake_memory.cc) ---- */

struct Alloc : simt::Allocation {
    int device;
    Alloc(unsigned char *at, size_t n, int i, int d) : simt::Allocation{ at, n, true, i }, device(d) {}
};
/* 256-aligned, filled with 0xFF (NaN in every float type), end flush with a page that nobody may touch; the
 * addresses are never used again. NULL if the device has no room. */
void *device_alloc(size_t bytes);
void device_free(void *p);
const Alloc *find(const void *p); /* the allocation at or before p, live or not, or NULL */
bool is_device(const void *p);
/* The same bytes where the double itself may touch them. */
void *alias(const void *p);
/** range - [p, p+n) is device memory that op reads or writes: ends the process unless all of it is live. */
void range(const Op &op, const void *p, size_t n, bool write);
void open_for_kernels(bool yes);
void check_redzones(const char *after);
unsigned char *arena();
size_t arena_bytes();

void *pinned_alloc(size_t bytes);
void pinned_free(void *p);
bool is_pinned(const void *p);
/** in_flight - from now until the host has waited for op, a copy owns these pinned bytes. */
void in_flight(const OpP &op, const void *p, size_t n, bool copy_writes);
void release_in_flight(); /* what the host has waited for */
size_t unfreed(int *count);

/* ---- launches (fake_launch.cc) ---- */
void launches_init();

} // namespace fake

struct CUstream_st {
    int id, device;
    bool nonblocking, dead;
    fake::OpP last;
};

#endif
