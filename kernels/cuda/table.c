/* the module's table of operators */
#include "kernels/cuda/module.h"

const struct reel_backend_ops reel_cuda_ops = {
    .name = "cuda",
#define REEL_OP(op, args)  .op = reel_cuda_##op,
#define REEL_TMP(op, args) .op##_tmp = reel_cuda_##op##_tmp,
#include "kernels/ops.def"
};
