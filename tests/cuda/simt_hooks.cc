/* What the compiler calls from a checked kernel. -fsanitize=thread: before every load and store.
 * -fsanitize=alignment,bounds,shift: where a check of its own failed. Their libraries are not linked. */

#include "simt_check.h"

#define HOOK(name, bytes, kind)                                                                              \
    void __tsan_##name(void *p)                                                                              \
    {                                                                                                        \
        if (simt::in_kernel)                                                                                 \
            simt::check_access((uintptr_t)__builtin_return_address(0), p, bytes, simt::kind);                \
    }
#define HOOKS(n)                                                                                             \
    HOOK(read##n, n, LOAD)                                                                                   \
    HOOK(write##n, n, STORE)                                                                                 \
    HOOK(unaligned_read##n, n, LOAD)                                                                         \
    HOOK(unaligned_write##n, n, STORE)                                                                       \
    HOOK(volatile_read##n, n, LOAD)                                                                          \
    HOOK(volatile_write##n, n, STORE)

static void check_range(uintptr_t site, const char *p, long bytes, simt::Access kind)
{
    for (long i = 0; simt::in_kernel && i < bytes;) {
        int n = bytes - i >= 4 && (uintptr_t)(p + i) % 4 == 0 ? 4 : 1;

        simt::check_access(site, p + i, n, kind);
        i += n;
    }
}

extern "C" {
void __tsan_init();
void __tsan_func_entry(void *);
void __tsan_func_exit();
void __tsan_read_range(void *p, long bytes);
void __tsan_write_range(void *p, long bytes);
void __tsan_vptr_update(void **, void *);
void __tsan_vptr_read(void **);

void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}
void __tsan_read_range(void *p, long bytes)
{
    check_range((uintptr_t)__builtin_return_address(0), (const char *)p, bytes, simt::LOAD);
}
void __tsan_write_range(void *p, long bytes)
{
    check_range((uintptr_t)__builtin_return_address(0), (const char *)p, bytes, simt::STORE);
}
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
}

/* ---- GCC's descriptions of what failed, as far as they are used ---- */

struct SourceLine {
    const char *file;
    uint32_t line, column;
};
struct TypeName {
    uint16_t kind, info;
    char name[1];
};
struct TypeMismatch {
    SourceLine at;
    const TypeName *type;
    unsigned char log_alignment, check;
};
struct OutOfBounds {
    SourceLine at;
    const TypeName *array, *index;
};

static simt::Site site(const SourceLine &l)
{
    return simt::site_at(simt::At{ (int)l.line, l.file });
}

extern "C" {
void __ubsan_handle_type_mismatch_v1(const TypeMismatch *d, uintptr_t p);
void __ubsan_handle_out_of_bounds(const OutOfBounds *d, uintptr_t index);
void __ubsan_handle_shift_out_of_bounds(const OutOfBounds *d, uintptr_t value, uintptr_t by);

void __ubsan_handle_type_mismatch_v1(const TypeMismatch *d, uintptr_t p)
{
    if (simt::in_kernel && p)
        REPORT(site(d->at), simt::ALIGNMENT, "MISALIGNED pointer, to a type of %d bytes",
               1 << d->log_alignment);
}
void __ubsan_handle_out_of_bounds(const OutOfBounds *d, uintptr_t index)
{
    if (simt::in_kernel)
        REPORT(site(d->at), simt::BOUNDS, "OUT OF BOUNDS index %td of %s", (ptrdiff_t)index, d->array->name);
}
void __ubsan_handle_shift_out_of_bounds(const OutOfBounds *d, uintptr_t, uintptr_t by)
{
    if (simt::in_kernel)
        REPORT(site(d->at), simt::ARITHMETIC, "SHIFT of %s by %td", d->array->name, (ptrdiff_t)by);
}
}
