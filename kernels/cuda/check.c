/* CUDA's errors as the program's; waiting */
#include <sched.h>
#include <time.h>

#include "kernels/cuda/module.h"

void reel_cuda_check_(int error, const char *call, const char *file, int line)
{
    int device = -1;

    if (error == cudaSuccess) return;
    cudaGetDevice(&device);
    reel_die_(file, line, "CUDA device %d: %s: %s (%s)", device, call, cudaGetErrorString((cudaError_t)error),
              cudaGetErrorName((cudaError_t)error));
}

void reel_cuda_launched_(const struct reel_stream *s, const char *op, const char *file, int line)
{
    reel_cuda_check_((int)cudaGetLastError(), op, file, line);
    cuda_device(s)->last_op = op;
}

enum { SPIN = 2000, PAUSE_NS = 20000 };

int cuda_came(const struct reel_accel *d, cudaEvent_t e)
{
    cudaError_t now = cudaEventQuery(e);

    REEL_BUG_IF(now != cudaSuccess && now != cudaErrorNotReady, "CUDA device %d (%s): %s (%s); the last operator launched was %s",
                d->shown.device, d->bus, cudaGetErrorString(now), cudaGetErrorName(now), d->last_op ? d->last_op : "none");
    return now == cudaSuccess;
}

void cuda_wait(struct reel_accel *d, cudaEvent_t e)
{
    const struct timespec pause = { 0, PAUSE_NS };

    for (int64_t n = 1; !cuda_came(d, e); n++) {
        if (n % SPIN == 0) cuda_coll_look(d);
        if (n < SPIN) sched_yield();
        else nanosleep(&pause, NULL);
    }
    cuda_coll_moved(d);
}
