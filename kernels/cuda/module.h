#ifndef REEL_KERNELS_CUDA_MODULE_H
#define REEL_KERNELS_CUDA_MODULE_H

/* Host side of the CUDA module. */

#include "kernels/cuda/cuda.h"

extern const struct reel_backend_ops reel_cuda_ops;

#endif
