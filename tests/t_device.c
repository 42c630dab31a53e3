/* A backend's memory and collectives as everything above sees them: copies keep the stream's order whatever the
 * host does meanwhile, collectives start after what was queued and are waited for. Sizes lie around those of
 * staging slots. Runs on any number of ranks and on any backend (device.h). */
#include <stdio.h>

#include "be/ops.h"
#include "comm/comm.h"
#include "device.h"
#include "tap.h"

static struct reel_comm W;
static struct reel_backend *be;
static struct reel_mesh mesh;
static struct reel_arena mem, scratch;
static struct reel_stream s;

static reel_tensor bytes_of(size_t n) { return reel_new(&mem, REEL_U8, REEL_DIMS((int64_t)n)); }

static void fill(unsigned char *p, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++) p[i] = (unsigned char)((seed = seed * 1664525u + 1013904223u) >> 24);
}

static void wipe(reel_tensor t)
{
    void *zero = calloc(1, reel_bytes(t));

    reel_put(&s, t, zero);
    free(zero);
}

static int everyone(int ok)
{
    int64_t bad = !ok;

    reel_comm_sum_i64(&W, &bad, 1);
    return bad == 0;
}

static void round_trips(void)
{
    static const size_t size[] = { 1, 255, 65536, 65537, (8 << 20) - 1, 8 << 20, (24 << 20) + 5, 0 };
    size_t max = (24 << 20) + 5;
    unsigned char *a = malloc(max), *b = malloc(max), *c = reel_host_alloc(be, max);
    int same = 1;

    for (size_t i = 0; size[i]; i++) {
        size_t mark = mem.used;
        reel_tensor x = bytes_of(size[i]), y = bytes_of(size[i]);
        fill(a, size[i], (unsigned)i);
        memcpy(b, a, size[i]);
        reel_put(&s, x, b);
        memset(b, 0, size[i]); /* put is done with it */
        reel_copy(&s, y, x);
        wipe(x);
        reel_get(&s, b, y);
        same &= !memcmp(a, b, size[i]);
        reel_get_start(&s, c, y);
        reel_sync(&s);
        same &= !memcmp(a, c, size[i]);
        reel_arena_reset(&mem, mark);
    }
    TAP_OK(everyone(same), "puts, copies and gets of 1 byte to 24 MiB");
    free(a), free(b);
    reel_host_free(be, c);
}

/* More puts in a row than there are slots, each from the same host memory. */
static void many_puts(void)
{
    enum { N = 200 };
    reel_tensor x = reel_new(&mem, REEL_I64, REEL_DIMS(N));
    int64_t v, out[N];
    int same = 1;

    for (v = 0; v < N; v++) reel_put(&s, reel_slice(x, v, v + 1), &v);
    v = -1;
    reel_get(&s, out, x);
    for (int i = 0; i < N; i++) same &= out[i] == i;
    TAP_OK(everyone(same), "%d puts from one variable", (int)N);
}

static void planes(void)
{
    enum { ROWS = 5, WIDTH = 12, LD = 20, AT = 3 };
    unsigned char a[ROWS * LD], out[ROWS * WIDTH];
    reel_tensor x = reel_new(&mem, REEL_U8, REEL_DIMS(ROWS, LD)), y = reel_new(&mem, REEL_U8, REEL_DIMS(ROWS, WIDTH));
    int same = 1;

    fill(a, sizeof a, 7);
    reel_put(&s, x, a);
    reel_copy_2d(&s, y, 0, x, AT, WIDTH);
    reel_get(&s, out, y);
    for (int r = 0; r < ROWS; r++) same &= !memcmp(out + r * WIDTH, a + r * LD + AT, WIDTH);
    TAP_OK(everyone(same), "rows out of wider rows");
}

/* Values that say who made them, for whom, when. */
static int32_t mark_of(int from, int to, int turn) { return from * 1000003 + to * 1009 + turn; }

static void put_marks(reel_tensor t, int from, int turn)
{
    int64_t chunk = reel_numel(t) / W.size;
    int32_t *v = malloc(reel_bytes(t));

    for (int64_t i = 0; i < reel_numel(t); i++) v[i] = mark_of(from, (int)(i / chunk), turn);
    reel_put(&s, t, v);
    free(v);
}

static int is_marked(reel_tensor t, int gathered, int turn)
{
    int64_t chunk = reel_numel(t) / W.size;
    int32_t *v = test_host(&s, t);
    int ok = 1;

    for (int64_t i = 0; i < reel_numel(t); i++) {
        int r = (int)(i / chunk);
        ok &= v[i] == mark_of(r, gathered ? r : W.rank, turn);
    }
    free(v);
    return ok;
}

/* Buffers are written again as soon as they are waited for; two collectives are under way at once. */
static void collectives(int64_t chunk)
{
    enum { TURNS = 100 };
    reel_tensor full = reel_new(&mem, REEL_I32, REEL_DIMS(W.size * chunk)), src = reel_new(&mem, REEL_I32, REEL_DIMS(W.size * chunk));
    reel_tensor dst = reel_new(&mem, REEL_I32, REEL_DIMS(W.size * chunk)), kept = reel_new(&mem, REEL_I32, REEL_DIMS(W.size * chunk));
    int same = 1;

    for (int k = 0; k < TURNS; k++) {
        struct reel_req a = { .n = 0 }, b = { .n = 0 };
        put_marks(full, W.rank, k);
        put_marks(src, W.rank, k);
        reel_comm_allgather_start(&mesh.shard, &s, full, &a);
        reel_comm_alltoall_start(&mesh.shard, &s, dst, src, &b);
        reel_comm_progress(&a);
        reel_comm_wait(&mesh.shard, &b);
        reel_copy(&s, kept, dst);
        wipe(dst);
        wipe(src);
        reel_comm_wait(&mesh.shard, &a);
        if (k % 33) continue; /* mostly without the host's waiting */
        same &= is_marked(full, 1, k) && is_marked(kept, 0, k);
    }
    TAP_OK(everyone(same), "%d all-gathers and all-to-alls of %lld numbers a rank", (int)TURNS, (long long)chunk);
}

static void no_memory(void)
{
    struct reel_arena a;
    reel_err e = reel_arena_open(&a, be, "params.student", (size_t)1 << 50);

    TAP_OK(everyone(e == REEL_ENOMEM && strstr(reel_errrec()->msg, "params.student")), "an arena too large: %s", reel_errrec()->msg);
    reel_err_clear();
}

int main(int argc, char **argv)
{
    struct reel_mesh_dims d = { .replicate = 1, .sp = 1, .tp = 1 };

    if (reel_comm_start(&W, &argc, &argv)) return 1;
    d.world = d.shard = W.size;
    if (reel_mesh_open(&mesh, &W, &d) || test_backend(&be, 1) || reel_mesh_attach(&mesh, be) ||
        reel_arena_open(&mem, be, "mem", (size_t)64 << 20) || reel_arena_open(&scratch, be, "scratch", 1 << 20)) {
        reel_err_print(reel_errrec());
        return 1;
    }
    tap_quiet = W.rank != 0;
    reel_stream_init(&s, be, 0, &scratch);
    round_trips();
    many_puts();
    planes();
    collectives(1);
    collectives(3000);
    no_memory();
    reel_arena_close(&mem, be);
    reel_arena_close(&scratch, be);
    reel_mesh_detach(&mesh, be);
    reel_backend_close(be);
    reel_mesh_close(&mesh);
    reel_comm_stop();
    return tap_done();
}
