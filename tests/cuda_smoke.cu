/* Device code through the same rule and flags as every kernel: proves that nvcc and the headers of
 * the MPI stack live together. Never run: the machine that builds may have no GPU. */
#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

__global__ static void scale(float *x, float a, int n)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);

    if (i < n) x[i] *= a;
}

extern "C" int reel_cuda_smoke(float *x, float a, int n)
{
    scale<<<(n + 255) / 256, 256>>>(x, a, n);
    return cudaGetLastError() != cudaSuccess;
}
