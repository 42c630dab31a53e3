/* CUDA's errors as the program's */
#include "kernels/cuda/cuda.h"

void reel_cuda_check_(int error, const char *call, const char *file, int line)
{
    int device = -1;

    if (error == cudaSuccess) return;
    cudaGetDevice(&device);
    reel_die_(file, line, "CUDA device %d: %s: %s (%s)", device, call, cudaGetErrorString((cudaError_t)error),
              cudaGetErrorName((cudaError_t)error));
}

void reel_cuda_launched_(const char *op, const char *file, int line)
{
    reel_cuda_check_((int)cudaGetLastError(), op, file, line);
}
