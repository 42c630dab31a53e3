/* Pickles that are made to harm: refused with the byte where they go wrong, or read as what they say, in little time and memory. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ckpt/dcp.h"
#include "tap.h"

struct text { const char *s; size_t n; };
#define T(s) { s, sizeof(s) - 1 }

static const struct bad { const char *what; struct text pkl; const char *said; } bads[] = {
    { "nothing", T(""), "byte 0 of the pickle: ends early" },
    { "a stop alone", T("."), "byte 1 of the pickle: stack underflow" },
    { "no stop", T("\x80\x02N"), "byte 3 of the pickle: ends early" },
    { "two values", T("NN."), "stack not empty" },
    { "a mark that stays", T("N(."), "stack underflow" },
    { "protocol 6", T("\x80\x06N."), "byte 2 of the pickle: protocol above 5" },
    /* lengths */
    { "text of 4 GiB", T("X\xff\xff\xff\xffN."), "ends early" },
    { "text of 2^64-1 bytes", T("\x8d\xff\xff\xff\xff\xff\xff\xff\xffN."), "ends early" },
    { "bytes of 2^63", T("\x8e\0\0\0\0\0\0\0\x80N."), "ends early" },
    { "a number of 2 GiB", T("\x8b\0\0\0\x80N."), "ends early" },
    { "a frame of 2^64-1 bytes", T("\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xffN."), "a frame that ends behind the pickle" },
    { "a frame of one byte too many", T("\x80\x04\x95\x03\0\0\0\0\0\0\0N."), "a frame that ends behind the pickle" },
    { "a length that is cut", T("X\1\0"), "ends early" },
    { "a class name without an end", T("ctorch"), "ends early" },
    { "a class without a name", T("ctorch\nSize"), "ends early" },
    { "text that is not UTF-8", T("X\2\0\0\0\xc3(."), "text is not UTF-8" },
    { "text that ends in the middle of a character", T("X\1\0\0\0\xc3."), "text is not UTF-8" },
    /* buffers of protocol 5, and what only old protocols have */
    { "a bytearray", T("\x80\x05\x96\0\0\0\0\0\0\0\0."), "opcode 0x96 is refused" },
    { "the next buffer", T("\x80\x05\x97."), "byte 3 of the pickle: opcode 0x97 is refused" },
    { "a buffer made read-only", T("\x80\x05N\x98."), "opcode 0x98 is refused" },
    { "an instance", T("(ios\nsystem\n."), "opcode 0x69 is refused" },
    { "an object", T("(cos\nsystem\no."), "class os.system is refused" },
    { "a persistent id as a line", T("Pposix\n."), "opcode 0x50 is refused" },
    { "an extension", T("\x82\x01."), "opcode 0x82 is refused" },
    { "arguments by name", T("ctorch\nSize\n)}\x92."), "opcode 0x92 is refused" },
    { "a copy of the top", T("N2."), "opcode 0x32 is refused" },
    /* classes */
    { "a call", T("cposix\nsystem\n(X\2\0\0\0lstR."), "class posix.system is refused" },
    { "a call by names on the stack", T("\x8c\5posix\x8c\6system\x93."), "class posix.system is refused" },
    { "a module of the name's whole length", T("ctorch\0x\nSize\n."), "is refused" },
    { "a dotted name", T("\x80\x04\x8c\5torch\x8c\14Size.__new__\x93."), "class torch.Size.__new__ is refused" },
    { "a name that is a number", T("K\1K\1\x93."), "class name is not text" },
    { "a new object of what may be called only", T("ctorch\nSize\n)\x81."), "a class that may not be instantiated" },
    { "a call of what may be a value only", T("ctorch\nFloatStorage\n)R."), "a call that is refused" },
    { "a call of what may be instantiated only", T("ctorch.distributed.checkpoint.metadata\nMetadata\n)R."), "a call that is refused" },
    { "a call of a list", T("])R."), "a call that is refused" },
    { "getattr of another class", T("cbuiltins\ngetattr\nctorch\nfloat32\nX\7\0\0\0__doc__\x86R."), "getattr is refused" },
    { "getattr of another member", T("cbuiltins\ngetattr\nctorch.distributed.checkpoint.metadata\n_MEM_FORMAT_ENCODING\nX\7\0\0\0__doc__\x86R."),
      "getattr is refused" },
    { "a size that is none", T("ctorch\nSize\nJ\xff\xff\xff\xff\x85\x85R."), "torch.Size holds something that is not a size" },
    { "text beyond bytes", T("c_codecs\nencode\nX\3\0\0\0\xe2\x82\xacX\6\0\0\0latin1\x86R."), "a character above 255" },
    { "a state twice", T("ctorch.distributed.checkpoint.metadata\nMetadata\n)\x81}b}b."), "BUILD of something that is no new object" },
    { "a state for a number", T("K\1}b."), "BUILD of something that is no new object" },
    { "a persistent id that is text", T("X\1\0\0\0aQ."), "a persistent id that is no tuple" },
    /* the memo and containers */
    { "what was never stored", T("h\0."), "byte 2 of the pickle: memo reference that was never stored" },
    { "what was never stored, far away", T("j\xff\xff\xff\xff."), "memo reference that was never stored" },
    { "a place in the memo of 2^32-1", T("Nr\xff\xff\xff\xff."), "memo index beyond the length of the pickle" },
    { "a list in itself", T("]q\0h\0a."), "a value that contains itself" },
    { "a list in a tuple in itself", T("]q\0h\0\x85""a."), "a value that contains itself" },
    { "a dict that is its own value", T("}q\0K\1h\0s."), "a value that contains itself" },
    { "a state that holds its object", T("ctorch.distributed.checkpoint.metadata\nMetadata\n)\x81q\0}X\1\0\0\0ah\0sb."), "a value that contains itself" },
    { "a key without a value", T("}(K\1u."), "a key without a value" },
    { "items for a number", T("K\1(K\1e."), "items for something that is no list" },
    { "items below a mark", T("](K\1a."), "stack underflow" },
    { "a mark that never was", T("K\1t."), "no mark" },
};

static reel_err load(struct reel_pickle **p, const void *data, size_t n)
{
    reel_err_clear();
    return reel_pickle_load(p, data, n, "x.pkl");
}

static void refused(const char *what, const void *data, size_t n, const char *said)
{
    struct reel_pickle *p = NULL;
    char *copy = malloc(n); /* of this length, so that the address sanitizer sees a read behind it */

    if (!copy && n) abort();
    if (n) memcpy(copy, data, n);
    reel_err e = load(&p, copy, n);
    TAP_OK(e == REEL_EDATA && strstr(reel_errrec()->msg, "x.pkl: byte ") && strstr(reel_errrec()->msg, said), "%s: %s", what, reel_errrec()->msg);
    reel_pickle_free(p);
    free(copy);
}

/* n times s */
static void times(struct reel_pw *w, int n, const char *s, size_t len)
{
    for (int i = 0; i < n; i++) reel_pw_raw(w, s, len);
}

static int within(const struct timespec *from, double s)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)(now.tv_sec - from->tv_sec) + 1e-9 * (double)(now.tv_nsec - from->tv_nsec) < s;
}

static void nesting(void)
{
    struct reel_pickle *p = NULL;
    struct reel_pw w = { 0 };

    reel_pw_op(&w, 'N');
    times(&w, 255, "\x85", 1);
    reel_pw_op(&w, '.');
    TAP_OK(!load(&p, w.p, w.n), "a tuple in 255 tuples");
    reel_pickle_free(p);
    w.n--;
    times(&w, 1000000, "\x85", 1);
    reel_pw_op(&w, '.');
    refused("in a million", w.p, w.n, "nested more than 256 deep");
    w.n = 0;
    times(&w, 1000000, "(", 1);
    refused("a million marks", w.p, w.n, "ends early");
    w.n = 0;
    times(&w, 1000000, "]", 1);
    times(&w, 999999, "a", 1);
    reel_pw_op(&w, '.');
    refused("lists in lists", w.p, w.n, "nested more than 256 deep");
    reel_pw_free(&w);
}

/* 2^60 values, if they were written out. */
static void laughs(void)
{
    struct reel_pickle *p = NULL;
    struct reel_pw w = { 0 };
    struct timespec from;
    char get[] = "]q\0(h\0h\0e0";
    static const char setup[] = "q\0000X\6\0\0\0latin1q\1""0c_codecs\nencode\nq\2""0";

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    reel_pw_raw(&w, "]q\0000", 4);
    for (char i = 1; i <= 60; i++) {
        get[2] = i, get[5] = get[7] = (char)(i - 1);
        reel_pw_raw(&w, get, sizeof get - 1);
    }
    reel_pw_raw(&w, "h\x3c.", 3);
    TAP_OK(!load(&p, w.p, w.n) && reel_pickle_root(p)->u.seq.n == 2 && within(&from, 5), "lists of lists that share everything %s", reel_errrec()->msg);
    reel_pickle_free(p);
    w.n = 0;
    reel_pw_raw(&w, "X\0\0\x10\0", 5); /* a text of a megabyte, which each call copies */
    times(&w, 1 << 20, "a", 1);
    reel_pw_raw(&w, setup, sizeof setup - 1);
    times(&w, 100000, "h\2h\0h\1\x86R0", 9);
    reel_pw_raw(&w, "N.", 2);
    refused("a hundred gigabytes of copies", w.p, w.n, "values larger than a pickle of this length can hold");
    reel_pw_free(&w);
}

static void duplicate_keys(void)
{
    static const char twice[] = "}(X\1\0\0\0aK\1X\1\0\0\0aK\2u.", nul[] = "}X\3\0\0\0a\0bK\1s.";
    struct reel_pickle *p = NULL;
    const struct reel_pv *v;

    if (load(&p, twice, sizeof twice - 1)) abort();
    v = reel_pv_get(reel_pickle_root(p), "a");
    TAP_OK(v && v->u.i == 2, "of a key twice the last counts, as in Python");
    reel_pickle_free(p);
    if (load(&p, nul, sizeof nul - 1)) abort();
    TAP_OK(!reel_pv_get(reel_pickle_root(p), "a"), "and a key that goes on behind a NUL is another");
    reel_pickle_free(p);
}

/* ---- metadata: tensors of many chunks ---- */

/* .metadata of a tensor [rows,cols] in `n` chunks, all of one file. */
static reel_err open_chunks(int64_t rows, int64_t cols, int n, void (*place)(struct reel_dcp_chunk *c, int i))
{
    struct reel_dcp_entry e = { .key = "roles.student.transformer.x", .type = reel_pt_type_of(REEL_F32), .nd = 2, .n = { rows, cols }, .n_chunks = n };
    struct reel_pw w = { 0 };
    struct reel_dcp *d;
    reel_err err;

    e.chunk = calloc((size_t)n, sizeof *e.chunk);
    if (!e.chunk) abort();
    for (int i = 0; i < n; i++) {
        e.chunk[i].path = "__0_0.distcp";
        e.chunk[i].at = 1000 * (uint64_t)i, e.chunk[i].len = 1000;
        place(&e.chunk[i], i);
    }
    reel_dcp_put_metadata(&w, &e, 1, "x");
    reel_err_clear();
    err = reel_dcp_open_mem(&d, "here", w.p, w.n);
    reel_dcp_close(d);
    reel_pw_free(&w);
    free(e.chunk);
    return err;
}

static void in_grid(struct reel_dcp_chunk *c, int i) { c->off[0] = i / 64, c->off[1] = i % 64, c->n[0] = c->n[1] = 1; }
static void in_columns(struct reel_dcp_chunk *c, int i) { c->off[1] = i, c->n[0] = c->n[1] = 1; }
static void empty(struct reel_dcp_chunk *c, int i) { c->off[0] = i, c->n[0] = 20000 - i, c->n[1] = 0; }

static void chunks(void)
{
    struct timespec from;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    TAP_OK(!open_chunks(64, 64, 4096, in_grid), "a grid of 64 x 64 chunks %s", reel_errrec()->msg);
    TAP_OK(!open_chunks(20000, 0, 20000, empty), "20000 empty chunks in each other %s", reel_errrec()->msg);
    TAP_OK(open_chunks(1, 50000, 50000, in_columns) && strstr(reel_errrec()->msg, "more chunks side by side"), "50000 columns: %s", reel_errrec()->msg);
    TAP_OK(within(&from, 20), "none takes long");
}

int main(void)
{
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) refused(bads[i].what, bads[i].pkl.s, bads[i].pkl.n, bads[i].said);
    nesting();
    laughs();
    duplicate_keys();
    chunks();
    return tap_done();
}
