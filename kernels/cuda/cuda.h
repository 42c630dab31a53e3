#ifndef REEL_KERNELS_CUDA_H
#define REEL_KERNELS_CUDA_H

/* Inside of the CUDA module: what its kernels (.cu) and its host side (.c) share. The module is a shared
 * object of its own that the program opens when a run wants a GPU: only it links CUDA's libraries. */

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "base/err.h"
#include "kernels/kernels.h"

/* One entry point per operator of ops.def, with its arguments: reel_cuda_add, reel_cuda_linear_fwd_tmp, ...
 * Each works on reel_cuda_stream(s) and returns at once; nothing of it may wait for the device or
 * allocate. `_tmp` is asked on planning streams too, where no device need exist. */
#define REEL_OP(op, args)  void reel_cuda_##op args;
#define REEL_TMP(op, args) size_t reel_cuda_##op##_tmp args;
#include "kernels/ops.def"

/* What an operator may know of the device; reel_stream.dev points to it, NULL while planning. */
struct reel_cuda {
    int device;                 /* CUDA's index among the visible ones */
    int sms;                    /* streaming multiprocessors */
    int cc;                     /* compute capability, 10 * major + minor */
    size_t smem_optin;          /* bytes of shared memory that a block may ask for */
    struct cublasLtContext *lt; /* cublasLtHandle_t */
    void *workspace;            /* device memory for cuBLASLt on the compute stream */
    size_t workspace_bytes;
    struct reel_cuda_products *products; /* the algorithms that products were given: product.c */
    struct reel_accel *owner;  /* module.h */
};

static inline cudaStream_t reel_cuda_stream(const struct reel_stream *s) { return (cudaStream_t)s->queue; }
static inline int64_t bytes_of(int dt) { return dt == REEL_BF16 ? 2 : 4; } /* an element of an operator's `dt` */
static inline const struct reel_cuda *reel_cuda(const struct reel_stream *s) { return (const struct reel_cuda *)s->dev; }

/* An error of CUDA is a fault: the rank dies with the call, the device and CUDA's own words. */
#define REEL_CUDA(call) reel_cuda_check_((int)(call), #call, __FILE__, __LINE__)
/* Last line of every operator that launches on its stream `s`: a launch that was refused dies under the operator's
 * name, and a fault that shows later is said to come after it. */
#define REEL_CUDA_LAUNCHED() reel_cuda_launched_(s, __func__, __FILE__, __LINE__)

/* Local; NULL if there is no memory. */
struct reel_cuda_products *reel_cuda_products_open(void);
void reel_cuda_products_close(struct reel_cuda_products *t);

void reel_cuda_check_(int error, const char *call, const char *file, int line);
void reel_cuda_launched_(const struct reel_stream *s, const char *op, const char *file, int line);

#ifdef __cplusplus
}
#endif
#endif
