#ifndef REEL_TESTS_DEVICE_H
#define REEL_TESTS_DEVICE_H

/* Where tests compute: on the CPU, or with REEL_TEST_DEVICE=cuda on the GPU that REEL_CUDA_MODULE, or the module
 * beside the program, drives. On a node of several ranks, rank i takes device i. */

#include <stdlib.h>
#include <string.h>

#include "be/backend.h"
#include "be/device.h"

__attribute__((unused)) static int test_on_cuda(void)
{
    const char *d = getenv("REEL_TEST_DEVICE");

    return d && !strcmp(d, "cuda");
}

/* The backend that a test is to use; `threads` are the CPU's. */
__attribute__((unused)) static reel_err test_backend(struct reel_backend **be, int threads)
{
    const struct reel_module *m;

    if (!test_on_cuda()) return reel_backend_open(be, "cpu", threads);
    REEL_TRY(reel_module_open(&m, getenv("REEL_CUDA_MODULE")));
    return reel_backend_open_device(be, m, reel_rank());
}

/* A copy of the tensor's memory for the host; the caller frees it. */
__attribute__((unused)) static void *test_host(struct reel_stream *s, reel_tensor t)
{
    void *host = malloc(reel_bytes(t) + 1);

    reel_get(s, host, t);
    return host;
}

#endif
