/* Kernels with one planted bug each, in the line marked `planted`. All of them mean to reverse 256 floats: x[256 + t] =
 * x[255 - t], in one block of 256 threads. The table of t_simt.cc says what must be said about each. */

#include "kernels/cuda/simt.h"
#include "simt_bugs.h"

#define KERNEL(name) __global__ void name(float *x, __attribute__((unused)) const float *host)

/* ---- races ---- */

KERNEL(race_shared)
{
    SHARED(float, s, [256]);
    int t = (int)threadIdx.x;

    s[t] = x[t];
    x[256 + t] = s[255 - t]; // planted: race_shared
}

KERNEL(race_overwrite)
{
    SHARED(float, s, [256]);
    int t = (int)threadIdx.x;

    s[t] = 0;
    __syncthreads();
    float zero = s[255 - t];
    s[t] = x[t]; // planted: race_overwrite
    __syncthreads();
    x[256 + t] = s[255 - t] + zero;
}

KERNEL(race_warp)
{
    SHARED(float, s, [256]);
    int t = (int)threadIdx.x;

    s[t] = x[t];
    x[256 + (t ^ 31)] = s[t ^ 31]; // planted: race_warp
}

KERNEL(race_named_barrier)
{
    SHARED(float, s, [256]);
    int t = (int)threadIdx.x;

    s[t] = x[t];
    bar_sync(1 + t / 128, 128); /* each half waits for itself alone */
    x[256 + t] = s[255 - t];    // planted: race_named_barrier
}

KERNEL(race_blocks)
{
    int t = (int)threadIdx.x;

    x[256 + t] = x[255 - t]; // planted: race_blocks
}

KERNEL(race_update)
{
    int t = (int)threadIdx.x;

    x[256 + t] = x[255 - t];
    if (t < 2) x[256] += 0.0f * (float)t; // planted: race_update
}

KERNEL(race_streams)
{
    int t = (int)threadIdx.x;

    x[256 + t] = x[255 - t]; // planted: race_streams
}

/* ---- asynchronous copies ---- */

KERNEL(no_wait)
{
    SHARED(float4, s, [64]);
    int t = (int)threadIdx.x;

    if (t < 64) cp_async16(&s[t], x + t * 4, true);
    cp_async_commit();
    __syncthreads();
    x[256 + t] = ((float *)s)[255 - t]; // planted: no_wait
}

KERNEL(wait_without_barrier)
{
    SHARED(float4, s, [64]);
    int t = (int)threadIdx.x;

    if (t < 64) cp_async16(&s[t], x + t * 4, true);
    cp_async_commit();
    cp_async_wait<0>();
    x[256 + t] = ((float *)s)[255 - t]; // planted: wait_without_barrier
}

/* ---- bounds, contents, alignment, spaces ---- */

KERNEL(read_past_shared)
{
    SHARED(float, s, [256]);
    int t = (int)threadIdx.x;

    s[t] = x[t];
    __syncthreads();
    float v = *(s + (t == 0 ? 256 : 255 - t)); // planted: read_past_shared
    x[256 + t] = s[255 - t] + (float)(v > 1e30f);
}

KERNEL(write_past_shared)
{
    SHARED(float, s, [256]);
    int t = (int)threadIdx.x;

    s[t] = x[t];
    if (t == 255) *(s + t + 1) = 0; // planted: write_past_shared
    __syncthreads();
    x[256 + t] = s[255 - t];
}

KERNEL(wrong_row)
{
    SHARED(float, s, [8][32]);
    int t = (int)threadIdx.x;

    s[t / 32][t % 32] = x[t];
    __syncthreads();
    x[256 + t] = s[0][255 - t]; // planted: wrong_row
}

KERNEL(read_past_device)
{
    int t = (int)threadIdx.x;
    float v = x[t == 0 ? 512 : 255 - t]; // planted: read_past_device

    x[256 + t] = x[255 - t] + (float)(v > 1e30f);
}

KERNEL(write_past_device)
{
    int t = (int)threadIdx.x;

    x[256 + t] = x[255 - t];
    if (t == 0) x[512] = 1; // planted: write_past_device
}

KERNEL(read_freed)
{
    int t = (int)threadIdx.x;

    x[256 + t] = x[255 - t]; // planted: read_freed
}

KERNEL(uninitialised_shared)
{
    SHARED(float, s, [256]);
    int t = (int)threadIdx.x;

    if (t) s[t] = x[t];
    __syncthreads();
    float v = s[255 - t]; // planted: uninitialised_shared
    x[256 + t] = t == 255 ? x[0] + (float)(v > 1e30f) : v;
}

KERNEL(uninitialised_device)
{
    int t = (int)threadIdx.x;
    float v = x[256 + t]; // planted: uninitialised_device

    x[256 + t] = x[255 - t] + (float)(v > 1e30f); /* poison is NaN: the sum hides it */
}

KERNEL(misaligned_vector)
{
    int t = (int)threadIdx.x;
    float4 v = ld_vec<float4>(x + (t & 63) * 4 - (t == 7)); // planted: misaligned_vector

    x[256 + t] = x[255 - t] + 0 * v.x;
}

KERNEL(misaligned_pointer)
{
    int t = (int)threadIdx.x;
    float4 v = *(const float4 *)(x + (t & 63) * 4 - (t == 7)); // planted: misaligned_pointer

    x[256 + t] = x[255 - t] + 0 * v.x;
}

KERNEL(host_pointer)
{
    int t = (int)threadIdx.x;
    float v = host[t]; // planted: host_pointer

    x[256 + t] = x[255 - t] + 0 * v;
}

/* ---- waiting for what does not come ---- */

KERNEL(divergent_barrier)
{
    SHARED(float, s, [256]);
    int t = (int)threadIdx.x;

    s[t] = x[t];
    if (t < 128)
        __syncthreads();
    else
        __syncthreads(); // planted: divergent_barrier
    x[256 + t] = s[255 - t];
}

KERNEL(barrier_not_reached)
{
    SHARED(float, s, [256]);
    int t = (int)threadIdx.x;

    s[t] = x[t];
    if (t < 200) __syncthreads(); // planted: barrier_not_reached
    x[256 + t] = s[255 - t];
}

KERNEL(shuffle_in_branch)
{
    int t = (int)threadIdx.x;
    float v = x[255 - t];

    if (t % 32 < 16) v = __shfl_xor_sync(0xffffffffu, v, 0); // planted: shuffle_in_branch
    x[256 + t] = v;
}

KERNEL(shuffle_with_exited)
{
    int t = (int)threadIdx.x;
    float v = x[255 - t];

    x[256 + t] = v;
    if (t % 32 == 0) return;
    x[256 + t] = __shfl_down_sync(0xffffffffu, v, 0); // planted: shuffle_with_exited
}

KERNEL(spins)
{
    int t = (int)threadIdx.x;

    while (((volatile float *)x)[0] != -7.0f) continue; // planted: spins
    x[256 + t] = x[255 - t];
}

/* ---- wrong lanes: seen in the result alone ---- */

KERNEL(wrong_shuffle_lane)
{
    int t = (int)threadIdx.x;
    float v = __shfl_sync(0xffffffffu, x[255 - t], t == 3 ? 4 : t % 32);

    x[256 + t] = v;
}

/* The identity times the 16 x 8 matrix of a warp's 128 values, a's registers 1 and 2 exchanged. */
KERNEL(wrong_mma_lane)
{
    int t = (int)threadIdx.x, lane = t % 32, g = lane / 4, c = lane % 4 * 2;
    uint32_t one = g == c ? pack_bf16(1, 0) : g == c + 1 ? pack_bf16(0, 1) : 0;
    uint32_t a[4] = { one, 0, 0, one }, b[2];
    float d[4] = { 0, 0, 0, 0 };
    uint32_t wrong[4] = { a[0], a[3], a[2], a[1] };

    if (t >= 64) return;
    const float *from = x + 255 - t / 32 * 128; /* element (k, n) is from[-(k * 8 + n)] */
    for (int r = 0; r < 2; r++)
        b[r] = pack_bf16(from[-((c + 8 * r) * 8 + g)], from[-((c + 8 * r + 1) * 8 + g)]);
    mma_m16n8k16_bf16(d, host ? wrong : a, b);
    for (int i = 0; i < 4; i++) x[256 + t / 32 * 128 + (g + 8 * (i / 2)) * 8 + c + i % 2] = d[i];
}

/* ---- none, and launches that are not ---- */

KERNEL(correct)
{
    SHARED(float, s, [256]);
    int t = (int)threadIdx.x;

    s[t] = x[t];
    __syncthreads();
    x[256 + t] = s[255 - t];
}

struct Entry {
    const char *name;
    void (*kernel)(float *, const float *);
    unsigned blocks, threads;
    size_t smem;
};
#define ENTRY(kernel, ...)                                                                                   \
    {                                                                                                        \
#kernel, kernel, __VA_ARGS__                                                                         \
    }
#define PLAIN(kernel) ENTRY(kernel, 1, 256, 0)
static const Entry entries[] = {
    PLAIN(correct),
    PLAIN(race_shared),
    PLAIN(race_overwrite),
    PLAIN(race_warp),
    PLAIN(race_named_barrier),
    ENTRY(race_blocks, 2, 256, 0),
    PLAIN(race_update),
    PLAIN(race_streams),
    PLAIN(no_wait),
    PLAIN(wait_without_barrier),
    PLAIN(read_past_shared),
    PLAIN(write_past_shared),
    PLAIN(wrong_row),
    PLAIN(read_past_device),
    PLAIN(write_past_device),
    PLAIN(read_freed),
    PLAIN(uninitialised_shared),
    PLAIN(uninitialised_device),
    PLAIN(misaligned_vector),
    PLAIN(misaligned_pointer),
    PLAIN(host_pointer),
    PLAIN(divergent_barrier),
    PLAIN(barrier_not_reached),
    PLAIN(shuffle_in_branch),
    PLAIN(shuffle_with_exited),
    PLAIN(spins),
    PLAIN(wrong_shuffle_lane),
    PLAIN(wrong_mma_lane),
    { "too_many_threads", correct, 1, 1025, 0 },
    { "too_much_shared", correct, 1, 256, 48 * 1024 + 1 },
    { "no_blocks", correct, 0, 256, 0 },
};

int bug_launch(const char *name, float *x, const float *host, cudaStream_t stream)
{
    for (const Entry &e : entries) {
        if (strcmp(e.name, name)) continue;
        simt::launch(e.name, e.kernel, dim3(e.blocks), dim3(e.threads), e.smem, stream, x, host);
        return 0;
    }
    return -1;
}
