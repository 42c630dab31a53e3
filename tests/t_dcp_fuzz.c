/* Checkpoints of strangers, damaged at random: an error that names the file, or a value; never a crash, never memory that
 * a lie asks for. `t_dcp_fuzz [SEED [CASES]]`; tests/README.md says how it is run for long under the sanitizers. */
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "base/file.h"
#include "base/rng.h"
#include "ckpt/dcp.h"
#include "dcp_read.h"
#include "tap.h"

static const char *const layouts[] = { "malformed/a0_good", "fsdp_1x4/checkpoint-3/dcp", "tp_fsdp_2x2/checkpoint-3/dcp",
                                       "fsdp_1x2_filepertensor/checkpoint-3/dcp", "malformed/h1_zip64_descriptors", "malformed/h2_old_metadata" };
enum { LAYOUTS = sizeof layouts / sizeof *layouts, LARGEST = 1 << 22 };

static uint64_t seed, draws;

static uint32_t any(uint32_t below)
{
    draws++;
    return reel_philox((uint32_t)draws, (uint32_t)(draws >> 32), 0, 0, seed).w[0] % below;
}

struct bytes { char *p; size_t n; };

static void put(struct bytes *b, size_t at, const void *src, size_t n)
{
    if (at + n <= b->n) memcpy(b->p + at, src, n);
}

/* What a pickle is made of: opcodes, references to the memo, and lengths that lie. */
static void damage_op(struct bytes *b, size_t at)
{
    static const char ops[] = "\x80\x95\x94\x93\x92\x8f\x90\x81\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x96\x97(.0123BCGIJKMNQRSTX]abcdeghijlopqrstu})";
    static const char *const heads[] = { "X\xff\xff\xff\xff", "\x8c\xff", "h\1", "j\5\1\1", "r\1\1\1", "q\2", "\x8a\x09", "(", "\x94", "0" };

    if (any(2)) b->p[at] = ops[any(sizeof ops - 1)];
    else {
        const char *head = heads[any(sizeof heads / sizeof *heads)];
        put(b, at, head, strlen(head));
    }
}

/* A run of bytes from elsewhere in it: whole records, classes, states. */
static void splice(struct bytes *b, size_t at, size_t k)
{
    size_t from = any((uint32_t)b->n);

    if (from + k > b->n) k = b->n - from;
    memmove(b->p + at, b->p + from, at + k > b->n ? b->n - at : k);
}

/* One random change; the buffer has room for twice its bytes. */
static void damage(struct bytes *b)
{
    static const uint32_t word[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fffffff, 0x80000000, 0xffffffff, 0xffff };
    size_t at, k;

    if (!b->n) return;
    at = any((uint32_t)b->n);
    k = 1 + any(64);
    if (at + k > b->n) k = b->n - at;
    switch (any(12)) {
    case 0: case 1: b->p[at] = (char)(b->p[at] ^ 1 << any(8)); break;
    case 2: b->p[at] = (char)any(256); break;
    case 3: put(b, at, &word[any(sizeof word / sizeof *word)], 4); break;
    case 4: put(b, at, &(uint64_t){ (uint64_t)any(UINT32_MAX) << 32 | any(UINT32_MAX) }, 8); break;
    case 5: memmove(b->p + at, b->p + at + k, b->n - at - k), b->n -= k; break;
    case 6: memmove(b->p + at + k, b->p + at, b->n - at), b->n += k; break; /* twice */
    case 7: case 8: damage_op(b, at); break;
    case 9: splice(b, at, k); break;
    case 10: splice(b, at, 1 + any(1000)); break;
    default: b->n = any(16) ? b->n : at;
    }
}

static struct bytes copy_of(const char *p, size_t n)
{
    struct bytes b = { malloc(2 * n + 1024), n };

    if (!b.p) abort();
    memcpy(b.p, p, n);
    return b;
}

static const char *golden(const char *layout)
{
    static char p[4096];

    snprintf(p, sizeof p, "%s/tests/golden/dcp/%s", getenv("REEL_SRC"), layout);
    return p;
}

/* Everything a load would touch. */
static reel_err metadata_case(const char *layout)
{
    char path[4200], *good;
    struct reel_dcp *d = NULL;
    struct bytes b;
    size_t n;
    reel_err e;

    snprintf(path, sizeof path, "%s/.metadata", golden(layout));
    if (reel_file_read(path, &good, &n)) abort();
    b = copy_of(good, n);
    for (uint32_t i = 1 + any(3); i > 0; i--) damage(&b);
    e = reel_dcp_open_mem(&d, golden(layout), b.p, b.n);
    if (!e) e = dcp_read_all(d, LARGEST);
    reel_dcp_close(d);
    free(b.p);
    free(good);
    return e;
}

/* The pickle of an archive, changed, under a CRC-32 that is right again: the parser sees it. */
static void damage_pickle(struct bytes *b, uint64_t at, uint64_t n)
{
    uint32_t old = reel_crc32(0, b->p + at, n), new;
    struct bytes pkl = copy_of(b->p + at, n);

    for (uint32_t i = 1 + any(3); i > 0; i--) damage(&pkl);
    memcpy(b->p + at, pkl.p, pkl.n < n ? pkl.n : n); /* its place stays as long as it was */
    new = reel_crc32(0, b->p + at, n);
    for (size_t i = 0; i + 4 <= b->n; i++)
        if (!memcmp(b->p + i, &old, 4)) memcpy(b->p + i, &new, 4);
    free(pkl.p);
}

/* The elements, too, if it says that it is a tensor. */
static reel_err elements(const struct reel_pt *pt)
{
    const struct reel_pv *root = reel_pickle_root(pt->pkl);
    struct reel_pt_tensor t;
    void *p;
    reel_err e;

    if (root->kind != REEL_PV_OBJ || strncmp(reel_pv_class(root), "_rebuild_tensor_v", 17) != 0) return REEL_OK;
    REEL_TRY(reel_pt_tensor_of(pt, root, &t));
    if (t.numel > LARGEST) return REEL_OK; /* strides of 0 */
    p = malloc((size_t)t.numel * (size_t)t.type->size + 1);
    e = reel_pt_data(pt, &t, p);
    free(p);
    return e;
}

static reel_err open_archive(struct reel_blob *b)
{
    struct reel_pt pt = { .pkl = NULL };
    reel_err e = reel_pt_open(&pt, b);

    if (!e) e = reel_pt_verify(&pt);
    if (!e) e = elements(&pt);
    reel_pt_close(&pt);
    return e;
}

/* Any archive of a folder: its bytes, and where its pickle is. */
static struct bytes choose_archive(const char *layout, uint64_t *at, uint64_t *len)
{
    struct reel_dcp *d;
    const struct reel_dcp_entry *t;
    const struct reel_dcp_chunk *c;
    char path[4200], *all;
    struct reel_pt pt;
    struct reel_blob blob = { .what = "archive" };
    struct bytes b;
    size_t n;
    FILE *f;

    if (reel_dcp_open(&d, golden(layout))) abort();
    t = reel_dcp_entry(d, (int)any((uint32_t)reel_dcp_count(d)));
    c = &t->chunk[any((uint32_t)t->n_chunks)];
    snprintf(path, sizeof path, "%s/%s", golden(layout), c->path);
    if (reel_file_read(path, &all, &n) || !(f = fopen(path, "rb"))) abort();
    blob.fd = fileno(f), blob.path = path, blob.at = c->at, blob.len = c->len;
    b = copy_of(all + c->at, c->len);
    if (reel_pt_open(&pt, &blob)) abort();
    const struct reel_zip_rec *r = reel_zip_find(&pt.z, "data.pkl");
    if (reel_zip_data(&pt.z, r, at)) abort();
    *at -= c->at;
    *len = r->bytes;
    reel_pt_close(&pt);
    fclose(f);
    free(all);
    reel_dcp_close(d);
    return b;
}

static reel_err archive_case(const char *layout, const char *file)
{
    struct reel_blob blob = { .path = file, .what = "archive" };
    uint64_t at, len;
    struct bytes b = choose_archive(layout, &at, &len);
    FILE *f = fopen(file, "w+b");
    reel_err e;

    if (any(3)) damage_pickle(&b, at, len);
    else for (uint32_t i = 1 + any(3); i > 0; i--) damage(&b);
    if (!f || fwrite(b.p, 1, b.n, f) != b.n || fflush(f)) abort();
    blob.fd = fileno(f), blob.len = b.n;
    e = open_archive(&blob);
    fclose(f);
    free(b.p);
    return e;
}

int main(int argc, char **argv)
{
    char dir[1024], file[1100];
    int refused = 0, mute = 0, cases = argc > 2 ? atoi(argv[2]) : 1200;

    seed = reel_rng_key(argc > 1 ? strtoull(argv[1], NULL, 10) : 1, "fuzz");
    snprintf(dir, sizeof dir, "%s/reel_fuzz_XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(dir)) abort();
    snprintf(file, sizeof file, "%s/archive", dir);
    for (int i = 0; i < cases; i++) {
        const char *layout = layouts[any(LAYOUTS)];
        int meta = any(3) == 0;
        reel_err e = meta ? metadata_case(layout) : archive_case(layout, file);
        const char *msg = reel_errrec()->msg;
        refused += e != REEL_OK;
        if (e && !strstr(msg, meta ? layout : file) && mute++ < 5) printf("# case %d names no file: %s\n", i, msg);
        reel_err_clear();
    }
    TAP_OK(refused > cases / 4, "%d of %d damaged checkpoints refused, none crashes", refused, cases);
    TAP_OK(mute == 0, "every message names its file");
    (void)!reel_rmtree(dir);
    return tap_done();
}
