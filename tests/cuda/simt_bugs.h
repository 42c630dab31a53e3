#ifndef REEL_TESTS_CUDA_SIMT_BUGS_H
#define REEL_TESTS_CUDA_SIMT_BUGS_H

#include <cuda_runtime_api.h>

/* Launches a kernel of simt_bugs.cu by name on x[512]; -1: no such kernel. */
int bug_launch(const char *name, float *x, const float *host, cudaStream_t stream);

#endif
