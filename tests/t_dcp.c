/* PyTorch checkpoints: checksums, keys, an RNG file; whole checkpoints are in the golden folder dcp */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/crc.h"
#include "base/file.h"
#include "ckpt/dcp.h"
#include "dcp_read.h"
#include "tap.h"

static const char *golden(const char *a, const char *b)
{
    static char p[4096];

    snprintf(p, sizeof p, "%s/tests/golden/dcp/%s%s", getenv("REEL_SRC"), a, b);
    return p;
}

/* ---- RNG files: other classes, protocol 2 bytes ---- */

static void rng_file(void)
{
    const char *path = golden("fsdp_1x4", "/checkpoint-3/rng_state_rank1.pt");
    FILE *f = fopen(path, "rb");
    struct reel_blob b = { .fd = f ? fileno(f) : -1, .path = path, .what = "rng" };
    struct reel_pt pt = { .pkl = NULL };
    struct reel_pt_tensor t;
    uint64_t seed[2] = { 0 };

    if (f) fseek(f, 0, SEEK_END), b.len = (uint64_t)ftell(f);
    TAP_OK(f && !reel_pt_open(&pt, &b), "an RNG file opens %s", reel_errrec()->msg);
    TAP_OK(!reel_pt_tensor_of(&pt, reel_pv_get(reel_pickle_root(pt.pkl), "gen_cuda"), &t) && t.numel == 16 &&
               !reel_pt_data(&pt, &t, seed) && seed[0] == 1001 && seed[1] == 16,
           "its generator state is read");
    reel_pt_close(&pt);
    if (f) fclose(f);
    reel_err_clear();
}

static void crc(void)
{
    static unsigned char b[4096];
    int bad = 0;

    for (size_t i = 0; i < sizeof b; i++) b[i] = (unsigned char)(i * i * 7 + (i >> 3));
    for (size_t n = 0; n < 2500; n++)
        for (size_t at = 0; at < 3; at++) {
            bad += reel_crc32(0, b + at, n) != crc32(0, b + at, (unsigned)n);
            bad += reel_crc32_table(0, b + at, n) != crc32(0, b + at, (unsigned)n);
            bad += reel_crc32c(0, b + at, n) != reel_crc32c_table(0, b + at, n);
            bad += reel_crc32c(reel_crc32c(0, b, at), b + at, n) != reel_crc32c(0, b, at + n);
            bad += reel_crc32_join(reel_crc32(0, b, at), reel_crc32(0, b + at, n), n) != reel_crc32(0, b, at + n);
        }
    for (int k = 20; k < 44; k++) bad += reel_crc32_join(1, 2, (1ull << k) + 12345) != crc32_combine(1, 2, (1l << k) + 12345);
    TAP_OK(bad == 0, "crc32 as in zlib, crc32c two ways, in pieces, joined");
    TAP_OK(reel_crc32c(0, "123456789", 9) == 0xe3069283 && reel_crc32(0, "123456789", 9) == 0xcbf43926,
           "check values of both");
}

static void cuts(void)
{
    static const struct { const char *key; int n, len[5]; } want[] = {
        { "roles.student.transformer.blocks.0.to_q.weight", 2, { 25, 20 } },
        { "optimizers.student.state.transformer.a.step", 2, { 18, 24 } },
        { "schedulers.student.scheduler.last_epoch", 3, { 18, 9, 10 } },
        { "callbacks.ema.student_ema.blocks.0.x", 4, { 9, 3, 11, 10 } },
        { "callbacks.ema.ema_started", 3, { 9, 3, 11 } },
        { "callbacks.validation.validation_rng", 3, { 9, 10, 14 } },
        { "dataloader._snapshot._snapshot_step", 3, { 10, 9, 14 } },
        { "plain", 1, { 5 } },
    };
    int bad = 0, len[16];

    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        bad += reel_dcp_path_parts(want[i].key, len, 16) != want[i].n || memcmp(len, want[i].len, (size_t)want[i].n * 4) != 0;
    TAP_OK(bad == 0, "keys are cut into the nested paths of the training state");
}

/* ---- damage ---- */

/* One byte changed, or the end cut off, anywhere: an error or a value, never a crash. */
static void mutate(char *p, size_t *n, uint32_t i)
{
    size_t at = i * 2654435761u % *n;

    if (i % 8 == 7) *n = at;
    else p[at] = (char)(i % 8 == 6 ? 0xff : p[at] ^ (1 << i % 8));
}

static void mutations(void)
{
    char dir[1024], file[2048], *good, *bad, *shard;
    size_t n, m, k;
    struct reel_dcp *d;
    int refused = 0, all = 0;

    snprintf(dir, sizeof dir, "%s/reel_t_dcp_XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(dir) || reel_file_read(golden("malformed/a0_good/.metadata", ""), &good, &n)) abort();
    if (reel_file_read(golden("malformed/a0_good/__1_0.distcp", ""), &shard, &m)) abort();
    snprintf(file, sizeof file, "%s/__1_0.distcp", dir);
    bad = malloc(n > m ? n : m);
    for (uint32_t i = 0; i < 4000; i++, all++) { /* .metadata, beside good files */
        memcpy(bad, good, k = n);
        mutate(bad, &k, i);
        reel_err e = reel_dcp_open_mem(&d, golden("malformed/a0_good", ""), bad, k);
        refused += (e ? e : dcp_read_all(d, INT64_MAX)) != REEL_OK;
        reel_dcp_close(d);
        reel_err_clear();
    }
    for (uint32_t i = 0; i < 1500; i++, all++) { /* a shard, beside a good .metadata */
        struct reel_blob b = { .path = file, .what = "mutation" };
        struct reel_pt pt = { .pkl = NULL };
        memcpy(bad, shard, k = m);
        mutate(bad, &k, i);
        FILE *f = fopen(file, "w+b");
        if (!f || fwrite(bad, 1, k, f) != k || fflush(f)) abort();
        b.fd = fileno(f), b.len = k < 718 ? k : 718; /* its first archive */
        refused += reel_pt_open(&pt, &b) || reel_pt_verify(&pt);
        reel_pt_close(&pt);
        reel_err_clear();
        fclose(f);
    }
    TAP_OK(refused > all / 3, "%d of %d mutations refused, none crashes", refused, all);
    (void)!reel_rmtree(dir);
    free(good), free(shard), free(bad);
}

int main(void)
{
    crc();
    cuts();
    rng_file();
    mutations();
    return tap_done();
}
