/* copies between host and device, through page-locked slots */
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/module.h"

enum { SMALL = 64 << 10, N_SMALL = 32, LARGE = 8 << 20, N_LARGE = 3 };

static reel_err ring_open(struct cuda_ring *r, size_t slot, int n)
{
    void *base = NULL;

    *r = (struct cuda_ring){ .slot = slot, .done = calloc((size_t)n, sizeof *r->done) };
    if (!r->done) return REEL_FAIL(REEL_ENOMEM, "no memory for staging");
    if (cudaHostAlloc(&base, slot * (size_t)n, cudaHostAllocDefault) != cudaSuccess) {
        cudaGetLastError();
        return REEL_FAIL(REEL_ENOMEM, "no page-locked host memory for staging (%zu MiB): is `ulimit -l` small?",
                         slot * (size_t)n >> 20);
    }
    r->base = base;
    for (; r->n < n; r->n++) REEL_CUDA(cudaEventCreateWithFlags(&r->done[r->n], cudaEventDisableTiming));
    return REEL_OK;
}

static void ring_close(struct cuda_ring *r)
{
    for (int i = 0; i < r->n; i++) REEL_CUDA(cudaEventDestroy(r->done[i]));
    if (r->base) REEL_CUDA(cudaFreeHost(r->base));
    free(r->done);
}

reel_err cuda_rings_open(struct reel_accel *d)
{
    REEL_TRY(ring_open(&d->small, SMALL, N_SMALL));
    REEL_TRY(ring_open(&d->large, LARGE, N_LARGE));
    return ring_open(&d->out, LARGE, N_LARGE);
}

void cuda_rings_close(struct reel_accel *d)
{
    ring_close(&d->small);
    ring_close(&d->large);
    ring_close(&d->out);
}

/* The next slot, free of its last copy. */
static int ring_next(struct reel_accel *d, struct cuda_ring *r)
{
    int i = r->next;

    cuda_wait(d, r->done[i]);
    r->next = (i + 1) % r->n;
    return i;
}

static char *slot_at(const struct cuda_ring *r, int i) { return r->base + r->slot * (size_t)i; }
static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Host memory that the device may read after the call returns only if it is page-locked and stays as it is, which
 * nobody promises: everything is staged. */
void cuda_put(struct reel_stream *s, void *dst, const void *host, size_t bytes)
{
    struct reel_accel *d = cuda_device(s);
    struct cuda_ring *r = bytes <= SMALL ? &d->small : &d->large;

    for (size_t at = 0, n; at < bytes; at += n) {
        int i = ring_next(d, r);
        n = least(bytes - at, r->slot);
        memcpy(slot_at(r, i), (const char *)host + at, n);
        REEL_CUDA(cudaMemcpyAsync((char *)dst + at, slot_at(r, i), n, cudaMemcpyHostToDevice, d->compute));
        REEL_CUDA(cudaEventRecord(r->done[i], d->compute));
    }
}

static void out_start(struct reel_accel *d, int i, const char *src, size_t n)
{
    REEL_CUDA(cudaMemcpyAsync(slot_at(&d->out, i), src, n, cudaMemcpyDeviceToHost, d->compute));
    REEL_CUDA(cudaEventRecord(d->out.done[i], d->compute));
}

/* One piece is on its way while the one before is copied out of its slot. */
void cuda_get(struct reel_stream *s, void *host, const void *src, size_t bytes)
{
    struct reel_accel *d = cuda_device(s);
    struct cuda_ring *r = &d->out;
    size_t began = 0, done = 0;

    for (int i = 0, k = 0; done < bytes; i++) {
        if (began < bytes) {
            size_t n = least(bytes - began, r->slot);
            out_start(d, i % r->n, (const char *)src + began, n);
            began += n;
            if (i == 0 && began < bytes) continue;
        }
        cuda_wait(d, r->done[k % r->n]);
        memcpy((char *)host + done, slot_at(r, k % r->n), least(bytes - done, r->slot));
        done += least(bytes - done, r->slot);
        k++;
    }
}

void cuda_get_start(struct reel_stream *s, void *host, const void *src, size_t bytes)
{
    REEL_CUDA(cudaMemcpyAsync(host, src, bytes, cudaMemcpyDeviceToHost, reel_cuda_stream(s)));
}

void cuda_copy(struct reel_stream *s, void *dst, const void *src, size_t bytes)
{
    REEL_CUDA(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, reel_cuda_stream(s)));
}

void reel_cuda_copy_2d(struct reel_stream *s, void *dst, int64_t dst_ld, const void *src, int64_t src_ld, int64_t width,
                       int64_t rows)
{
    REEL_CUDA(cudaMemcpy2DAsync(dst, (size_t)dst_ld, src, (size_t)src_ld, (size_t)width, (size_t)rows,
                                cudaMemcpyDeviceToDevice, reel_cuda_stream(s)));
}
