#ifndef REEL_TESTS_CUDA_SIMT_HOST_H
#define REEL_TESTS_CUDA_SIMT_HOST_H

/* What kernels/cuda/simt.h is when g++ compiles a kernel: CUDA's language made of calls into the
 * executor (simt_exec.cc). Included by simt.h alone. The toolkit's own headers give the types, and
 * bf16 arithmetic on the host. What is missing here does not compile: that is the point. */

#include <math.h>
#include <string.h>
#include <tuple>
#include <type_traits>
#include <utility>

#undef __global__
#undef __device__
#undef __host__
#undef __constant__
#undef __shared__
#undef __launch_bounds__
#undef __grid_constant__
#define __global__ static
#define __device__
#define __host__
#define __constant__ static
#define __launch_bounds__(...)
#define __grid_constant__
/* shared arrays come from the executor's arena, which poisons and bounds them: a C static could be neither */
#define __shared__ __attribute__((error("use SHARED(type, name, [dims])"))) simt_use_SHARED_instead

namespace simt
{

/* Where in a kernel's source a call stands: the last argument, never given, of what may be reported. */
struct At {
    int line;
    const char *file;
};
/* not instrumented: the executor's own, or noted whole with the caller's line */
#define SIMT_UNSEEN __attribute__((no_sanitize("thread")))
#define SIMT_AT simt::At at = { __builtin_LINE(), __builtin_FILE() }

/* The CUDA thread that runs now. */
struct Thread {
    uint3 idx;
    int linear; /* place in the block, x fastest */
    int warp, lane;
};
extern Thread *cur;
extern uint3 block_idx;
extern dim3 block_dim, grid_dim;
extern uint64_t block_serial; /* of the block that runs now: no two blocks of a process share one */
extern void *dyn_shared;

/* A kernel with its arguments, captured when it was launched. */
struct Launch {
    const char *kernel;
    const void *fn;
    dim3 grid, block;
    size_t smem;  /* dynamic shared memory, bytes */
    size_t bytes; /* of this object: arguments are read from it */
    virtual void thread() = 0;
    virtual ~Launch() {}
};

template <class... P> struct LaunchOf : Launch {
    void (*kern)(P...);
    std::tuple<typename std::decay<P>::type...> args;
    template <class... A> LaunchOf(void (*k)(P...), A &&...a) : kern(k), args(static_cast<A &&>(a)...) {}
    void thread() override { std::apply(kern, args); }
};

/* Checks a launch against the limits of sm_80 and sm_90, then gives it to the runtime (takes it over). */
void enqueue(Launch *l, const void *fn, size_t arg_bytes, cudaStream_t stream);
cudaError_t allow_dyn_shared(const void *fn, size_t bytes);

template <class... P, class... A>
void launch(const char *name, void (*kern)(P...), dim3 grid, dim3 block, size_t smem, cudaStream_t stream,
            A &&...a)
{
    LaunchOf<P...> *l = new LaunchOf<P...>(kern, static_cast<A &&>(a)...);

    l->kernel = name;
    l->grid = grid;
    l->block = block;
    l->smem = smem;
    l->bytes = sizeof *l;
    enqueue(l, (const void *)kern, sizeof(std::tuple<P...>), stream);
}

/* A static shared array: placed at its first use in a block. */
struct SharedSlot {
    uint64_t serial;
    void *p;
};
void *place_shared(SharedSlot *slot, size_t bytes, size_t align, const char *name);
SIMT_UNSEEN inline void *shared(SharedSlot *slot, size_t bytes, size_t align, const char *name)
{
    return slot->serial == block_serial ? slot->p : place_shared(slot, bytes, align, name);
}

/* Barriers of a block. count 0: every thread. */
void barrier(int id, int count, At at);
enum Reduce { REDUCE_OR, REDUCE_AND, REDUCE_COUNT };
int barrier_reduce(Reduce op, int v, At at);

/* Warp collectives: every lane of the mask leaves a payload; the last to arrive does the work for all. */
typedef void (*WarpOp)(void **payload, uint32_t mask);
void collective(uint32_t mask, WarpOp op, void *payload, At at);

/* An access that the compiler's instrumentation does not show, or whose alignment matters. */
enum Access { LOAD, STORE, ATOMIC };
void note(const void *p, int bytes, Access kind, At at);

void cp_async(void *smem, const void *src, int bytes, At at);
void cp_async_commit();
void cp_async_wait(int last);

template <class T> struct Shuffle {
    T in, out;
    int from;
};
template <class T> void shuffle_op(void **payload, uint32_t mask)
{
    for (uint32_t rest = mask; rest; rest &= rest - 1) {
        Shuffle<T> *s = (Shuffle<T> *)payload[__builtin_ctz(rest)];

        if ((mask >> s->from) & 1)
            s->out = ((Shuffle<T> *)payload[s->from])->in;
        else
            memset((void *)&s->out, 0xFF, sizeof s->out); /* a lane that takes no part: undefined */
    }
}
template <class T> inline T shuffle(uint32_t mask, T v, int from, At at)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 2, "shuffles move 2, 4 or 8 bytes");
    Shuffle<T> s = { v, v, from };

    collective(mask, shuffle_op<T>, &s, at);
    return s.out;
}

struct Vote {
    int pred;
    uint32_t ballot;
};
struct Sum {
    uint32_t in, out;
};
struct Mma {
    float *d;
    const uint32_t *a, *b;
};
struct LdMatrix {
    const void *row;
    uint32_t *r;
};
void sync_op(void **, uint32_t);
void vote_op(void **, uint32_t);
void sum_op(void **, uint32_t);
void mma_bf16_op(void **, uint32_t);
void ldmatrix_op(void **, uint32_t);
void ldmatrix_trans_op(void **, uint32_t);

} // namespace simt

/* ---- the language ---- */

#define LAUNCH(kernel, grid, block, smem, stream, ...)                                                       \
    simt::launch(#kernel, kernel, dim3(grid), dim3(block), (smem), (stream), ##__VA_ARGS__)
#define ALLOW_DYN_SHARED(kernel, bytes) simt::allow_dyn_shared((const void *)(kernel), (size_t)(bytes))
#define SHARED(T, name, ...)                                                                                 \
    typedef T name##_shared __VA_ARGS__;                                                                     \
    static simt::SharedSlot name##_slot;                                                                     \
    name##_shared &name = *static_cast<name##_shared *>(                                                     \
        simt::shared(&name##_slot, sizeof(name##_shared), alignof(name##_shared), #name))
#define DYN_SHARED(T, name) T *name = static_cast<T *>(simt::dyn_shared)

#define threadIdx (simt::cur->idx)
#define blockIdx (simt::block_idx)
#define blockDim (simt::block_dim)
#define gridDim (simt::grid_dim)
#define warpSize 32

inline void __syncthreads(SIMT_AT)
{
    simt::barrier(0, 0, at);
}
inline void bar_sync(int id, int threads, SIMT_AT)
{
    simt::barrier(id, threads, at);
}
inline int __syncthreads_or(int p, SIMT_AT)
{
    return simt::barrier_reduce(simt::REDUCE_OR, p, at);
}
inline int __syncthreads_and(int p, SIMT_AT)
{
    return simt::barrier_reduce(simt::REDUCE_AND, p, at);
}
inline int __syncthreads_count(int p, SIMT_AT)
{
    return simt::barrier_reduce(simt::REDUCE_COUNT, p, at);
}

inline void __syncwarp(uint32_t mask = 0xffffffffu, SIMT_AT)
{
    simt::collective(mask, simt::sync_op, nullptr, at);
}

/* a source outside of the lane's segment of w lanes: the lane's own value */
template <class T> inline T __shfl_sync(uint32_t mask, T v, int src, int w = 32, SIMT_AT)
{
    return simt::shuffle(mask, v, (simt::cur->lane & ~(w - 1)) | (src & (w - 1)), at);
}
template <class T> inline T __shfl_xor_sync(uint32_t mask, T v, int x, int w = 32, SIMT_AT)
{
    int lane = simt::cur->lane, src = lane ^ x;
    return simt::shuffle(mask, v, src >= (lane & ~(w - 1)) + w ? lane : src, at);
}
template <class T> inline T __shfl_down_sync(uint32_t mask, T v, int d, int w = 32, SIMT_AT)
{
    int lane = simt::cur->lane, src = lane + d;
    return simt::shuffle(mask, v, src >= (lane & ~(w - 1)) + w ? lane : src, at);
}
template <class T> inline T __shfl_up_sync(uint32_t mask, T v, int d, int w = 32, SIMT_AT)
{
    int lane = simt::cur->lane, src = lane - d;
    return simt::shuffle(mask, v, src < (lane & ~(w - 1)) ? lane : src, at);
}

inline uint32_t __ballot_sync(uint32_t mask, int p, SIMT_AT)
{
    simt::Vote v = { p, 0 };
    simt::collective(mask, simt::vote_op, &v, at);
    return v.ballot;
}
inline int __any_sync(uint32_t mask, int p, SIMT_AT)
{
    return __ballot_sync(mask, p, at) != 0;
}
inline int __all_sync(uint32_t mask, int p, SIMT_AT)
{
    return __ballot_sync(mask, !p, at) == 0;
}
inline uint32_t __reduce_add_sync(uint32_t mask, uint32_t x, SIMT_AT)
{
    simt::Sum s = { x, 0 };
    simt::collective(mask, simt::sum_op, &s, at);
    return s.out;
}

inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], SIMT_AT)
{
    simt::Mma m = { d, a, b };
    simt::collective(0xffffffffu, simt::mma_bf16_op, &m, at);
}
inline void ldmatrix_x4(uint32_t (&r)[4], const void *row, SIMT_AT)
{
    simt::LdMatrix m = { row, r };
    simt::note(row, 16, simt::LOAD, at);
    simt::collective(0xffffffffu, simt::ldmatrix_op, &m, at);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void *row, SIMT_AT)
{
    simt::LdMatrix m = { row, r };
    simt::note(row, 16, simt::LOAD, at);
    simt::collective(0xffffffffu, simt::ldmatrix_trans_op, &m, at);
}

inline void cp_async16(void *smem, const void *src, bool pred, SIMT_AT)
{
    simt::cp_async(smem, src, pred ? 16 : 0, at);
}
inline void cp_async_commit()
{
    simt::cp_async_commit();
}
template <int N> inline void cp_async_wait()
{
    simt::cp_async_wait(N);
}

template <class V> SIMT_UNSEEN inline V ld_vec(const void *p, SIMT_AT)
{
    V v;
    simt::note(p, sizeof v, simt::LOAD, at);
    memcpy((void *)&v, p, sizeof v);
    return v;
}
template <class V> SIMT_UNSEEN inline void st_vec(void *p, V v, SIMT_AT)
{
    simt::note(p, sizeof v, simt::STORE, at);
    memcpy(p, (const void *)&v, sizeof v);
}

template <class V> SIMT_UNSEEN inline void stg_vec(void *p, V v, SIMT_AT) { st_vec(p, v, at); }

/* Integers only: a sum of floats in the order of arrival would differ from run to run. */
#define SIMT_ATOMIC(name, T, ...)                                                                            \
    SIMT_UNSEEN __attribute__((noinline)) static inline T name(T *p, T v, SIMT_AT)                           \
    {                                                                                                        \
        T old = *p;                                                                                          \
        simt::note(p, sizeof *p, simt::ATOMIC, at);                                                          \
        *p = __VA_ARGS__;                                                                                    \
        return old;                                                                                          \
    }
#define SIMT_ATOMICS(T)                                                                                      \
    SIMT_ATOMIC(atomicAdd, T, old + v)                                                                       \
    SIMT_ATOMIC(atomicMax, T, old > v ? old : v)                                                             \
    SIMT_ATOMIC(atomicMin, T, old < v ? old : v)                                                             \
    SIMT_ATOMIC(atomicOr, T, old | v)                                                                        \
    SIMT_ATOMIC(atomicExch, T, v)
SIMT_ATOMICS(int)
SIMT_ATOMICS(unsigned)
SIMT_ATOMICS(unsigned long long)

/* ---- functions that the toolkit's headers give to nvcc alone ---- */

template <class T> inline T __ldg(const T *p)
{
    return *p;
}
template <class T> inline T __ldcs(const T *p)
{
    return *p;
}
template <class T> inline void __stcs(T *p, T v)
{
    *p = v;
}
inline void __threadfence() {}
inline void __threadfence_block() {}
inline float __expf(float x)
{
    return expf(x);
}
inline float __logf(float x)
{
    return logf(x);
}
inline float rsqrtf(float x)
{
    return 1.0f / sqrtf(x);
}
inline float __frcp_rn(float x)
{
    return 1.0f / x;
}
inline float __fsqrt_rn(float x)
{
    return sqrtf(x);
}
inline float __fdividef(float a, float b)
{
    return a / b;
}
inline float __fdiv_rn(float a, float b)
{
    return a / b;
}
inline float __fadd_rn(float a, float b)
{
    return a + b;
}
inline float __fmul_rn(float a, float b)
{
    return a * b;
}
inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}
inline int __float_as_int(float f)
{
    int i;
    memcpy(&i, &f, sizeof i);
    return i;
}
inline uint32_t __float_as_uint(float f)
{
    return (uint32_t)__float_as_int(f);
}
inline float __int_as_float(int i)
{
    float f;
    memcpy(&f, &i, sizeof f);
    return f;
}
inline float __uint_as_float(uint32_t i)
{
    return __int_as_float((int)i);
}
inline int __popc(uint32_t x)
{
    return __builtin_popcount(x);
}
inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
inline int __clz(int x)
{
    return x ? __builtin_clz((unsigned)x) : 32;
}
inline uint32_t __umulhi(uint32_t a, uint32_t b)
{
    return (uint32_t)(((uint64_t)a * b) >> 32);
}
template <class A, class B> inline typename std::common_type<A, B>::type min(A a, B b)
{
    return a < b ? a : b;
}
template <class A, class B> inline typename std::common_type<A, B>::type max(A a, B b)
{
    return a < b ? b : a;
}
inline __nv_bfloat16 __hfma(__nv_bfloat16 a, __nv_bfloat16 b, __nv_bfloat16 c)
{
    return __float2bfloat16(fmaf(__bfloat162float(a), __bfloat162float(b), __bfloat162float(c)));
}

#endif
