/* Calls of the runtime: copies and memsets. */
#include "fake.h"

#include <algorithm>
#include <string.h>

using namespace fake;

/* `rows` rows of w bytes, dp and sp apart */
struct Copy {
    char *d;
    const char *s;
    size_t w, rows, dp, sp;
    size_t d_span() const { return rows ? (rows - 1) * dp + w : 0; }
    size_t s_span() const { return rows ? (rows - 1) * sp + w : 0; }
};

static void move(const Copy &c)
{
    char *d = (char *)alias(c.d);
    const char *s = (const char *)alias(c.s);

    for (size_t i = 0; i < c.rows; i++) memmove(d + i * c.dp, s + i * c.sp, c.w);
}

static void touch(const Op &o, const void *p, size_t w, size_t rows, size_t pitch, bool write)
{
    if (pitch == w) range(o, p, w * rows, write);
    else
        for (size_t i = 0; i < rows; i++) range(o, (const char *)p + i * pitch, w, write);
}

static uint64_t hash(uint64_t h, const unsigned char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * 0x100000001b3u;
    return h;
}

/* Of the bytes on pages that [p, p+n) does not fill: the other pages are protected. */
static uint64_t hash_of_edges(const void *p, size_t n)
{
    const unsigned char *b = (const unsigned char *)alias(p);
    const size_t page = 4096, head = std::min(n, (page - (uintptr_t)p % page) % page);
    const size_t tail = std::min(n - head, ((uintptr_t)p + n) % page);

    return hash(hash(0xcbf29ce484222325u, b, head), b + n - tail, tail);
}

/* From pageable memory a copy is taken before the call returns; pinned memory is read when the copy runs,
 * and has to be what it was. */
static void to_device(const Copy &c, cudaStream_t stream)
{
    const char *what = is_pinned(c.s) ? "a copy from pinned memory" : "a copy to the device";

    if (!is_pinned(c.s)) {
        auto kept = std::make_shared<std::vector<char>>(c.s, c.s + c.s_span());
        enqueue({ stream }, LIBRARY, what, [=](Op &o) {
            Copy k = c;
            k.s = kept->data();
            touch(o, c.d, c.w, c.rows, c.dp, true);
            move(k);
            return true;
        });
        return;
    }
    uint64_t was = hash_of_edges(c.s, c.s_span());
    OpP op = enqueue({ stream }, LIBRARY, what, [=](Op &o) {
        if (hash_of_edges(c.s, c.s_span()) != was)
            fail("pinned memory %p was written to before a copy from it on stream %d had run", (const void *)c.s, o.stream);
        touch(o, c.d, c.w, c.rows, c.dp, true);
        move(c);
        return true;
    });
    in_flight(op, c.s, c.s_span(), false);
}

/* Pageable memory is filled before the call returns; pinned memory holds nothing useful until the copy has run. */
static void to_host(const Copy &c, cudaStream_t stream)
{
    bool pinned = is_pinned(c.d);

    for (size_t i = 0; i < c.rows; i++) memset((char *)alias(c.d) + i * c.dp, 0xee, c.w);
    OpP op = enqueue({ stream }, LIBRARY, pinned ? "a copy to pinned memory" : "a copy to the host", [=](Op &o) {
        touch(o, c.s, c.w, c.rows, c.sp, false);
        move(c);
        return true;
    });
    if (pinned) in_flight(op, c.d, c.d_span(), true);
    else wait(op);
}

static void on_device(const Copy &c, cudaStream_t stream)
{
    enqueue({ stream }, LIBRARY, "a copy on the device", [=](Op &o) {
        touch(o, c.s, c.w, c.rows, c.sp, false);
        touch(o, c.d, c.w, c.rows, c.dp, true);
        move(c);
        return true;
    });
}

static cudaError_t copy(const char *name, const Copy &c, cudaMemcpyKind kind, cudaStream_t s, bool wait_for_it)
{
    static const char *const words[] = { "host to host", "host to device", "device to host", "device to device", "default" };
    Call call(name);
    bool dd = is_device(c.d), sd = is_device(c.s);
    cudaMemcpyKind is = dd ? (sd ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice)
                           : (sd ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost);
    CUstream_st *stream = stream_of(s);

    if (call.error) return call.error;
    if (c.w > c.dp || c.w > c.sp) return report(cudaErrorInvalidValue);
    if (!c.w || !c.rows) return cudaSuccess;
    if (kind != cudaMemcpyDefault && kind != is) fail("%s: said to be %s, but the pointers are %s", name, words[kind], words[is]);
    if (is == cudaMemcpyHostToHost) fail("%s: from host to host", name);
    if (is == cudaMemcpyHostToDevice) to_device(c, stream);
    else if (is == cudaMemcpyDeviceToHost) to_host(c, stream);
    else on_device(c, stream);
    if (wait_for_it) wait(stream->last);
    return broken();
}

extern "C" {

cudaError_t cudaMemcpyAsync(void *d, const void *s, size_t n, cudaMemcpyKind kind, cudaStream_t stream)
{
    return copy("cudaMemcpyAsync", Copy{ (char *)d, (const char *)s, n, 1, n, n }, kind, stream, false);
}

cudaError_t cudaMemcpy(void *d, const void *s, size_t n, cudaMemcpyKind kind)
{
    return copy("cudaMemcpy", Copy{ (char *)d, (const char *)s, n, 1, n, n }, kind, NULL, true);
}

cudaError_t cudaMemcpy2DAsync(void *d, size_t dp, const void *s, size_t sp, size_t w, size_t h, cudaMemcpyKind kind,
                              cudaStream_t stream)
{
    return copy("cudaMemcpy2DAsync", Copy{ (char *)d, (const char *)s, w, h, dp, sp }, kind, stream, false);
}

cudaError_t cudaMemsetAsync(void *p, int v, size_t n, cudaStream_t s)
{
    ENTER("cudaMemsetAsync");
    CUstream_st *stream = stream_of(s);

    if (!n) return cudaSuccess;
    enqueue({ stream }, LIBRARY, "a memset", [=](Op &o) {
        range(o, p, n, true);
        memset(alias(p), v, n);
        return true;
    });
    return cudaSuccess;
}

cudaError_t cudaMemset(void *p, int v, size_t n)
{
    return cudaMemsetAsync(p, v, n, NULL);
}

} /* extern "C" */
