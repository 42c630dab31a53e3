/* The memory that a plan says of the text encoder is what opening it takes: counted at every allocation (the linker's --wrap). */
#include <limits.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "comm/comm.h"
#include "encode/umt5_priv.h"
#include "golden.h"
#include "tap.h"

static atomic_llong held, most;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
int __real_posix_memalign(void **p, size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);
int __wrap_posix_memalign(void **p, size_t align, size_t n);

static void *count(void *p)
{
    long long now = held += (long long)malloc_usable_size(p);

    if (now > most) most = now;
    return p;
}

void *__wrap_malloc(size_t n) { return count(__real_malloc(n)); }
void *__wrap_calloc(size_t n, size_t size) { return count(__real_calloc(n, size)); }
int __wrap_posix_memalign(void **p, size_t align, size_t n)
{
    int e = __real_posix_memalign(p, align, n);

    if (!e) count(*p);
    return e;
}
void __wrap_free(void *p)
{
    held -= (long long)malloc_usable_size(p);
    __real_free(p);
}
void *__wrap_realloc(void *p, size_t n)
{
    held -= (long long)malloc_usable_size(p);
    return count(__real_realloc(p, n));
}

static struct reel_comm world;

/* A whole round of this rank's own tokens. */
static int encode(struct reel_umt5 *u)
{
    static int32_t id[REEL_UMT5_MOST];
    const int32_t *row[REEL_UMT5_ROUND / REEL_UMT5_MOST];
    int len[REEL_UMT5_ROUND / REEL_UMT5_MOST], n = REEL_UMT5_ROUND / REEL_UMT5_MOST;
    struct reel_text_rows out[REEL_UMT5_ROUND / REEL_UMT5_MOST] = { 0 };
    reel_err e;

    for (int i = 0; i < REEL_UMT5_MOST; i++) id[i] = i % (int)u->dims.vocab;
    for (int i = 0; i < n; i++) row[i] = id, len[i] = REEL_UMT5_MOST;
    e = reel_umt5_encode_ids(u, row, len, n, out);
    for (int i = 0; i < n; i++) free(out[i].rows);
    return e == REEL_OK;
}

static size_t room(const struct reel_arena *a) { return a->cap - a->peak; }

static void measure(struct reel_backend *be, const char *model, reel_dtype dt)
{
    struct reel_arena scratch = { .name = "scratch" };
    struct reel_stream plans, works;
    struct reel_encode_opts o = { .model = model, .dtype = (int)dt, .comm = &world };
    struct reel_umt5 *u = NULL;
    size_t planned = 0;
    long long before, took;
    int ok;

    reel_stream_init(&plans, be, 1, &scratch);
    reel_stream_init(&works, be, 0, NULL);
    o.s = &plans;
    ok = !reel_text_bytes(&o, world.size, &planned);
    o.s = &works;
    before = most = held;
    ok = ok && !reel_umt5_open(&u, &o);
    took = most - before;
    TAP_OK(ok && (double)took > 0.995 * (double)planned && (double)took < 1.015 * (double)planned,
           "%s on %d ranks: opening takes %lld bytes, %zu are planned", reel_dtype_name(dt), world.size, took, planned);
    if (!u) return;
    ok = encode(u);
    TAP_OK(ok && room(&u->shards) < 512 && room(&u->act) < 512 && room(&u->scratch) < 512 && room(&u->work) < 512,
           "... and prompts use it up: %zu of %zu bytes of scratch", u->scratch.peak, u->scratch.cap);
    reel_umt5_close(u);
    TAP_OK(held < before + (1 << 14), "... and it is given back");
}

int main(int argc, char **argv)
{
    struct reel_backend *be = NULL;
    char dir[PATH_MAX], pipeline[PATH_MAX] = "";
    int bad;

    if (reel_comm_start(&world, &argc, &argv)) return 1;
    tap_quiet = world.rank != 0;
    snprintf(dir, sizeof dir, "%s/tests/golden/umt5", getenv("REEL_SRC"));
    bad = golden_umt5_pipeline(&world, dir, pipeline);
    if (TAP_OK(!bad && !reel_backend_open(&be, "cpu", 1), "a folder and a backend")) {
        measure(be, pipeline, REEL_F32);
        measure(be, pipeline, REEL_BF16);
        reel_backend_close(be);
    }
    reel_comm_barrier(&world);
    if (world.rank == 0) reel_rmtree(pipeline);
    bad = tap_done();
    reel_comm_stop();
    return bad;
}
