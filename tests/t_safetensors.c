/* safetensors: reference files read and rewritten byte by byte; malformed files refused by name */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "tap.h"
#include "tensor/half.h"
#include "tensor/safetensors.h"

static char path_[4096];
static const char *src(const char *name)
{
    snprintf(path_, sizeof path_, "%s/tests/golden/%s", getenv("REEL_SRC"), name);
    return path_;
}

static const char *tmp(void) { return getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp"; }

/* Read every tensor, write them back, compare with the file's bytes. */
static void rewrite(const char *name, int n_meta)
{
    struct reel_st *st;
    reel_err e = reel_st_open(&st, src(name));
    int n = e ? 0 : reel_st_count(st), same;
    struct reel_st_item *it = calloc((size_t)n + 1, sizeof *it);
    char out[4096], *a = NULL, *b = NULL;
    struct reel_st_kv none = { 0 };
    size_t na, nb;

    TAP_OK(!e && n > 0, "%s opens: %d tensors", name, n);
    for (int i = 0; i < n; i++) {
        const struct reel_st_entry *t = reel_st_entry(st, n - 1 - i);
        char *p = malloc(t->bytes + 1);
        it[i] = (struct reel_st_item){ .name = t->name, .dt = t->dt, .nd = t->nd, .data = p };
        memcpy(it[i].n, t->n, sizeof it[i].n);
        e = e ? e : reel_st_read(st, t, 0, t->bytes, p);
    }
    snprintf(out, sizeof out, "%s/reel_t_st_XXXXXX", tmp());
    close(mkstemp(out));
    e = e ? e : reel_st_write(out, it, n, n_meta ? NULL : &none, n_meta, NULL, NULL);
    e = e ? e : reel_file_read(out, &a, &na);
    e = e ? e : reel_file_read(path_, &b, &nb);
    same = !e && na == nb && memcmp(a, b, na) == 0;
    TAP_OK(same, "%s written again is the same file (%s)", name, e ? reel_errrec()->msg : "bytes");
    for (int i = 0; i < n; i++) free((void *)it[i].data);
    reel_err_clear();
    unlink(out);
    free(a), free(b), free(it);
    reel_st_close(st);
}

static struct { char b[4096]; size_t n; } mem;

static void make(const char *json, size_t data)
{
    size_t h = strlen(json);

    memset(&mem, 0, sizeof mem);
    for (int i = 0; i < 8; i++) mem.b[i] = (char)(h >> 8 * i);
    memcpy(mem.b + 8, json, h);
    mem.n = 8 + h + data;
}

static void bad_bytes(const char *why, const char *part)
{
    struct reel_st *st;
    reel_err e = reel_st_open_mem(&st, mem.b, mem.n, "m.st");
    const char *msg = reel_errrec()->msg;

    TAP_OK(e == REEL_EDATA && !st && strstr(msg, "m.st") && strstr(msg, part), "refused: %s (%s)", why,
           e ? msg : "accepted");
    reel_st_close(st);
    reel_err_clear();
}

static void bad(const char *why, const char *part, const char *json, size_t data)
{
    make(json, data);
    bad_bytes(why, part);
}

#define T(name, dt, shape, lo, hi) \
    "\"" name "\":{\"dtype\":\"" dt "\",\"shape\":[" shape "],\"data_offsets\":[" #lo "," #hi "]}"

static void malformed(void)
{
    bad("overlap", "b: ", "{" T("a", "F32", "2", 0, 8) "," T("b", "F32", "2", 4, 12) "}", 12);
    bad("hole", "b: ", "{" T("a", "F32", "2", 0, 8) "," T("b", "F32", "1", 12, 16) "}", 16);
    bad("first does not begin at 0", "a: ", "{" T("a", "F32", "2", 4, 12) "}", 12);
    bad("bytes behind the last", "4 bytes", "{" T("a", "F32", "2", 0, 8) "}", 12);
    bad("truncated data", "a: ", "{" T("a", "F32", "2", 0, 8) "}", 4);
    bad("size does not match the shape", "a: ", "{" T("a", "F32", "3", 0, 8) "}", 8);
    bad("end before begin", "a: ", "{" T("a", "F32", "2", 8, 0) "}", 8);
    bad("negative offset", "a: ", "{" T("a", "F32", "2", -8, 0) "}", 8);
    bad("negative size", "a: ", "{" T("a", "F32", "-2", 0, 8) "}", 8);
    bad("shape that overflows", "a: ", "{" T("a", "F32", "4611686018427387904,4", 0, 0) "}", 0);
    bad("product that wraps to the right size", "overflow",
        "{" T("a", "U8", "4294967296,4294967296", 0, 0) "}", 0);
    bad("number beyond 64 bits", "JSON", "{" T("a", "U8", "99999999999999999999", 0, 0) "}", 0);
    bad("real as a size", "a: ", "{" T("a", "U8", "1.0", 0, 1) "}", 1);
    bad("duplicate name", "duplicate", "{" T("a", "U8", "1", 0, 1) "," T("a", "U8", "1", 1, 2) "}", 2);
    bad("unknown dtype", "F33", "{" T("a", "F33", "1", 0, 4) "}", 4);
    bad("half a byte", "whole", "{" T("a", "F4", "3", 0, 1) "}", 1);
    bad("no shape", "a: ", "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1);
    bad("three offsets", "a: ", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,1]}}", 1);
    bad("an entry that is no object", "a: ", "{\"a\":7}", 0);
    bad("metadata that is not text", "__metadata__", "{\"__metadata__\":{\"k\":1}}", 0);
    bad("an array", "{", "[]", 0);
    bad("space before the brace", "{", " {}", 0);
    bad("broken JSON", "m.st:1:", "{\"a\":", 0);
    bad("text behind the object", "m.st:1:", "{} x", 0);
    bad("empty header", "{", "", 0);
    make("{}", 0);
    mem.n = 7;
    bad_bytes("seven bytes", "too few");
    make("{}", 0);
    mem.n = 9;
    bad_bytes("truncated header", "header of 2 bytes");
    make("{}", 0);
    mem.b[7] = (char)0x80;
    bad_bytes("header length of 2^63", "header of");
}

static void legal(void)
{
    struct reel_st *st;
    const struct reel_st_entry *e;
    float x;

    make("{" T("b\\u00e9\\\"", "F32", "", 0, 4) "," T("zero", "F32", "0,3", 4, 4) "," T("i", "I8", "3", 4, 7)
         ",\"__metadata__\":{\"k\":\"v\"}}   ", 7);
    memcpy(mem.b + mem.n - 7, &(float){ 2.5f }, 4);
    TAP_OK(reel_st_open_mem(&st, mem.b, mem.n, "m.st") == REEL_OK, "scalars, empty shapes, escapes, trailing spaces");
    e = reel_st_find(st, "b\xc3\xa9\"");
    TAP_OK(e && reel_st_read_f32(st, e, 0, 1, &x) == REEL_OK && fabsf(x - 2.5f) == 0, "an escaped name is found and read");
    TAP_OK(reel_st_find(st, "zero")->n[1] == 3 && !reel_st_find(st, "none"), "an empty tensor is there");
    TAP_OK(reel_st_find(st, "i")->dt == REEL_NDTYPE, "a type without arithmetic is listed");
    TAP_OK(reel_st_read_f32(st, reel_st_find(st, "i"), 0, 3, NULL) == REEL_EDATA && strstr(reel_errrec()->msg, "i: dtype I8"),
           "and refused as numbers");
    reel_err_clear();
    TAP_OK(!strcmp(reel_st_meta(st, "k"), "v") && !reel_st_meta(st, "j"), "metadata");
    reel_st_close(st);
}

static void halves(void)
{
    int bad16 = 0;
    struct reel_st *st;
    float got[4];

    for (uint32_t h = 0; h < 65536; h++) {
        float f = reel_bf16_f32((uint16_t)h);
        if (!isnan(f)) bad16 += reel_f32_bf16(f) != h;
        int ex = (int)(h >> 10 & 31), m = (int)(h & 1023);
        double want = ex == 31 ? (m ? (double)NAN : (double)INFINITY) : ldexp(ex ? 1024 + m : m, (ex ? ex : 1) - 25);
        float g = reel_f16_f32((uint16_t)h);
        if (h & 0x8000) want = -want;
        bad16 += isnan(want) ? !isnan(g) : (double)g > want || (double)g < want || !!signbit(g) != (int)(h >> 15 & 1);
    }
    TAP_OK(bad16 == 0, "all 16-bit floats widen exactly and bf16 comes back");
    TAP_OK(reel_f32_bf16(1.00390625f) == 0x3f80 && reel_f32_bf16(1.01171875f) == 0x3f82, "ties go to even");
    make("{" T("w", "BF16", "3,2", 0, 12) "}", 12);
    for (int i = 0; i < 6; i++) memcpy(mem.b + mem.n - 12 + 2 * i, &(uint16_t){ reel_f32_bf16((float)i - 2.5f) }, 2);
    (void)!reel_st_open_mem(&st, mem.b, mem.n, "m.st");
    TAP_OK(reel_st_read_f32(st, reel_st_find(st, "w"), 1, 2, got) == REEL_OK &&
               fabsf(got[0] + 0.5f) + fabsf(got[1] - 0.5f) + fabsf(got[2] - 1.5f) + fabsf(got[3] - 2.5f) == 0,
           "rows of a bf16 tensor");
    reel_st_close(st);
}

static reel_err fill_fail(void *ctx, int item, void *dst)
{
    (void)ctx, (void)item, (void)dst;
    return REEL_FAIL(REEL_EIO, "source is gone");
}

static void writer_errors(void)
{
    struct reel_st_item it[2] = { { .name = "a", .dt = REEL_F32, .nd = 1, .n = { 1 } },
                                  { .name = "a", .dt = REEL_F32, .nd = 1, .n = { 1 } } };
    char p[4096], part[4096 + 4];

    snprintf(p, sizeof p, "%s/reel_t_st_none", tmp());
    snprintf(part, sizeof part, "%s.tmp", p);
    TAP_OK(reel_st_write(p, it, 2, NULL, 0, fill_fail, NULL) == REEL_EDATA, "two items of one name");
    reel_err_clear();
    TAP_OK(reel_st_write(p, it, 1, NULL, 0, fill_fail, NULL) == REEL_EIO && access(p, F_OK) != 0 &&
               access(part, F_OK) != 0,
           "a failing source leaves no file");
    reel_err_clear();
    TAP_OK(reel_st_write("/nonexistent/x", it, 1, NULL, 0, fill_fail, NULL) == REEL_EIO, "a folder that is not there");
    reel_err_clear();
}

int main(void)
{
    rewrite("dcp/truth.safetensors", 0);
    rewrite("hf-layout/pipeline/transformer/diffusion_pytorch_model.safetensors", 1);
    malformed();
    legal();
    halves();
    writer_errors();
    return tap_done();
}
