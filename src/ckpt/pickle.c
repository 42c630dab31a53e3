#include "ckpt/pickle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 256
#define BYTES_PER_BYTE 128 /* of memory for input: an opcode makes one value and its place in a list at most, if nothing is copied often */
#define BLOCK     ((size_t)1 << 16)

struct block { struct block *next; size_t used, cap; };

struct reel_pickle {
    struct block *mem;
    size_t taken;
    const struct reel_pv *root;
    /* parse state */
    const unsigned char *d;
    size_t n, at;
    const char *where;
    reel_err err;
    struct reel_pv **stack;
    size_t ns, cap_s;
    size_t *mark;
    size_t nm, cap_m;
    struct reel_pv **memo;
    size_t n_memo, cap_memo;
    struct call { struct call *next; const struct reel_pv *v; } *calls;
};

#define BAD(p, ...) ((p)->err ? (void)0 : (void)bad_((p), __VA_ARGS__))
static void bad_(struct reel_pickle *p, const char *what)
{
    p->err = REEL_FAIL(REEL_EDATA, "%s: byte %zu of the pickle: %s", p->where, p->at, what);
}

static void no_memory(struct reel_pickle *p)
{
    if (!p->err) p->err = REEL_FAIL(REEL_ENOMEM, "%s: no memory for the pickle", p->where);
}

/* ---- memory: blocks freed together ---- */

static void *take_mem(struct reel_pickle *p, size_t bytes)
{
    struct block *b = p->mem;

    bytes = (bytes + 15) & ~(size_t)15;
    p->taken += bytes;
    if (p->taken / BYTES_PER_BYTE > p->n + 4096) return BAD(p, "values larger than a pickle of this length can hold"), NULL;
    if (!b || b->cap - b->used < bytes) {
        size_t cap = bytes > BLOCK ? bytes : BLOCK;
        b = malloc(sizeof *b + 16 + cap);
        if (!b) return no_memory(p), NULL;
        *b = (struct block){ p->mem, 0, cap };
        p->mem = b;
    }
    b->used += bytes;
    return (char *)(b + 1) + (b->used - bytes);
}

static struct reel_pv *value(struct reel_pickle *p, int kind)
{
    struct reel_pv *v = take_mem(p, sizeof *v);

    if (v) *v = (struct reel_pv){ .kind = (unsigned char)kind, .cls = -1 };
    return v;
}

static void push(struct reel_pickle *p, struct reel_pv *v)
{
    if (!v || p->err) return;
    if (p->ns == p->cap_s) {
        size_t cap = p->cap_s ? 2 * p->cap_s : 64;
        struct reel_pv **s = realloc(p->stack, cap * sizeof *s);
        if (!s) return no_memory(p);
        p->stack = s;
        p->cap_s = cap;
    }
    p->stack[p->ns++] = v;
}

/* Bottom of what the current MARK level may pop. */
static size_t floor_of(const struct reel_pickle *p) { return p->nm ? p->mark[p->nm - 1] : 0; }

static struct reel_pv *pop(struct reel_pickle *p)
{
    if (p->err) return NULL;
    if (p->ns <= floor_of(p)) return BAD(p, "stack underflow"), NULL;
    return p->stack[--p->ns];
}

static struct reel_pv *top(struct reel_pickle *p)
{
    if (p->err) return NULL;
    if (p->ns <= floor_of(p)) return BAD(p, "stack underflow"), NULL;
    return p->stack[p->ns - 1];
}

static void push_mark(struct reel_pickle *p)
{
    if (p->nm == p->cap_m) {
        size_t cap = p->cap_m ? 2 * p->cap_m : 64, *m = realloc(p->mark, cap * sizeof *m);
        if (!m) return no_memory(p);
        p->mark = m;
        p->cap_m = cap;
    }
    p->mark[p->nm++] = p->ns;
}

/* Items above the last mark stay in the stack array, from the returned index; *n of them. */
static size_t pop_mark(struct reel_pickle *p, size_t *n)
{
    size_t at;

    *n = 0;
    if (!p->nm) return BAD(p, "no mark"), 0;
    at = p->mark[--p->nm];
    *n = p->ns - at;
    p->ns = at;
    return at;
}

/* ---- input ---- */

static const unsigned char *take(struct reel_pickle *p, uint64_t n)
{
    const unsigned char *s = p->d + p->at;

    if (p->err) return NULL;
    if (n > p->n - p->at) return BAD(p, "ends early"), NULL;
    p->at += n;
    return s;
}

static uint64_t take_uint(struct reel_pickle *p, int bytes)
{
    const unsigned char *s = take(p, (uint64_t)bytes);
    uint64_t v = 0;

    for (int i = bytes - 1; s && i >= 0; i--) v = v << 8 | s[i];
    return v;
}

static struct reel_pv *text(struct reel_pickle *p, int kind, const void *s, size_t n)
{
    struct reel_pv *v = value(p, kind);
    char *c = v ? take_mem(p, n + 1) : NULL;

    if (!c) return NULL;
    memcpy(c, s, n);
    c[n] = 0;
    v->u.str.p = c;
    v->u.str.n = n;
    return v;
}

static int utf8_ok(const unsigned char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        int more = s[i] < 0x80 ? 0 : s[i] >> 5 == 6 ? 1 : s[i] >> 4 == 14 ? 2 : s[i] >> 3 == 30 ? 3 : -1;
        if (more < 0 || i + (size_t)more >= n) return 0;
        for (int k = 1; k <= more; k++)
            if (s[i + (size_t)k] >> 6 != 2) return 0;
        i += (size_t)more + 1;
    }
    return 1;
}

static void push_text(struct reel_pickle *p, int kind, int length_bytes)
{
    uint64_t n = take_uint(p, length_bytes);
    const unsigned char *s = take(p, n);

    if (!s) return;
    if (kind == REEL_PV_STR && !utf8_ok(s, n)) return BAD(p, "text is not UTF-8");
    push(p, text(p, kind, s, n));
}

static void push_int(struct reel_pickle *p, int64_t i, int kind)
{
    struct reel_pv *v = value(p, kind);

    if (v) v->u.i = i;
    push(p, v);
}

/* LONG1, LONG4: little-endian two's complement of any length. */
static void push_long(struct reel_pickle *p, int length_bytes)
{
    uint64_t n = take_uint(p, length_bytes), u = 0;
    const unsigned char *s = take(p, n);

    if (!s) return;
    if (n > 8) return push(p, text(p, REEL_PV_BIGINT, s, n));
    if (n && s[n - 1] & 0x80) u = ~(uint64_t)0;
    for (size_t i = n; i-- > 0;) u = u << 8 | s[i];
    push_int(p, (int64_t)u, REEL_PV_INT);
}

static void push_float(struct reel_pickle *p)
{
    const unsigned char *s = take(p, 8);
    struct reel_pv *v = s ? value(p, REEL_PV_FLOAT) : NULL;
    uint64_t u = 0;

    if (!v) return;
    for (int i = 0; i < 8; i++) u = u << 8 | s[i];
    memcpy(&v->u.f, &u, 8);
    push(p, v);
}

/* ---- the white list ---- */

enum use { VALUE = 1, NEW = 2, CALL = 4 };
typedef void (*call_fn)(struct reel_pickle *p, int cls, struct reel_pv *args);

static void call_size(struct reel_pickle *p, int cls, struct reel_pv *args);
static void call_first(struct reel_pickle *p, int cls, struct reel_pv *args);
static void call_memory_format(struct reel_pickle *p, int cls, struct reel_pv *args);
static void call_getattr(struct reel_pickle *p, int cls, struct reel_pv *args);
static void call_dict(struct reel_pickle *p, int cls, struct reel_pv *args);
static void call_list(struct reel_pickle *p, int cls, struct reel_pv *args);
static void call_encode(struct reel_pickle *p, int cls, struct reel_pv *args);
static void call_symbolic(struct reel_pickle *p, int cls, struct reel_pv *args);

#define META    "torch.distributed.checkpoint.metadata"
#define FILES   "torch.distributed.checkpoint.filesystem"
#define OLDMETA "torch.distributed._shard.sharded_tensor.metadata" /* torch <= 2.2 */

static const struct cls { const char *module, *name; int use; call_fn call; } classes[] = {
    { META, "Metadata", NEW, NULL },
    { META, "TensorStorageMetadata", NEW, NULL },
    { META, "ChunkStorageMetadata", NEW, NULL },
    { META, "BytesStorageMetadata", NEW, NULL },
    { META, "TensorProperties", NEW, NULL },
    { META, "MetadataIndex", NEW, NULL },
    { META, "StorageMeta", NEW, NULL },
    { FILES, "_StorageInfo", NEW, NULL },
    { OLDMETA, "TensorProperties", NEW, NULL },
    { META, "_MEM_FORMAT_ENCODING", VALUE | CALL, call_memory_format },
    { OLDMETA, "MEM_FORMAT_ENCODING", VALUE | CALL, call_memory_format },
    { OLDMETA, "_MEM_FORMAT_ENCODING", VALUE | CALL, call_memory_format },
    { "torch", "Size", CALL, call_size },
    { "torch", "device", CALL, call_first },
    { "torch.serialization", "_get_layout", CALL, call_first },
    { "torch._utils", "_rebuild_tensor_v2", CALL, call_symbolic },
    { "torch._utils", "_rebuild_tensor_v3", CALL, call_symbolic },
    { "pathlib", "PosixPath", CALL, call_first },
    { "pathlib._local", "PosixPath", CALL, call_first },
    { "collections", "OrderedDict", CALL, call_dict },
    { "collections", "defaultdict", CALL, call_dict },
    { "builtins", "getattr", CALL, call_getattr },
    { "__builtin__", "getattr", CALL, call_getattr },
    { "builtins", "set", CALL, call_list },
    { "__builtin__", "set", CALL, call_list },
    { "builtins", "bytearray", CALL, call_first },
    { "__builtin__", "bytearray", CALL, call_first },
    { "builtins", "dict", VALUE, NULL },
    { "__builtin__", "dict", VALUE, NULL },
    { "_codecs", "encode", CALL, call_encode },
    { "numpy", "dtype", CALL, call_symbolic },
    { "numpy", "ndarray", VALUE, NULL },
    { "numpy.core.multiarray", "_reconstruct", CALL, call_symbolic },
    { "numpy._core.multiarray", "_reconstruct", CALL, call_symbolic },
    { "numpy.core.multiarray", "scalar", CALL, call_symbolic },
    { "numpy._core.multiarray", "scalar", CALL, call_symbolic },
    { "torch.storage", "UntypedStorage", VALUE, NULL },
    { "torch", "DoubleStorage", VALUE, NULL },
    { "torch", "FloatStorage", VALUE, NULL },
    { "torch", "HalfStorage", VALUE, NULL },
    { "torch", "BFloat16Storage", VALUE, NULL },
    { "torch", "LongStorage", VALUE, NULL },
    { "torch", "IntStorage", VALUE, NULL },
    { "torch", "ShortStorage", VALUE, NULL },
    { "torch", "CharStorage", VALUE, NULL },
    { "torch", "ByteStorage", VALUE, NULL },
    { "torch", "BoolStorage", VALUE, NULL },
    { "torch", "ComplexFloatStorage", VALUE, NULL },
    { "torch", "ComplexDoubleStorage", VALUE, NULL },
    { "torch", "float64", VALUE, NULL },
    { "torch", "float32", VALUE, NULL },
    { "torch", "float16", VALUE, NULL },
    { "torch", "bfloat16", VALUE, NULL },
    { "torch", "int64", VALUE, NULL },
    { "torch", "int32", VALUE, NULL },
    { "torch", "int16", VALUE, NULL },
    { "torch", "int8", VALUE, NULL },
    { "torch", "uint8", VALUE, NULL },
    { "torch", "uint16", VALUE, NULL },
    { "torch", "uint32", VALUE, NULL },
    { "torch", "uint64", VALUE, NULL },
    { "torch", "bool", VALUE, NULL },
    { "torch", "complex64", VALUE, NULL },
    { "torch", "complex128", VALUE, NULL },
    { "torch", "float8_e4m3fn", VALUE, NULL },
    { "torch", "float8_e5m2", VALUE, NULL },
    { "torch", "float8_e4m3fnuz", VALUE, NULL },
    { "torch", "float8_e5m2fnuz", VALUE, NULL },
    { "torch", "float8_e8m0fnu", VALUE, NULL },
};
#define N_CLASSES ((int)(sizeof classes / sizeof classes[0]))

static void push_global(struct reel_pickle *p, const char *module, size_t nm, const char *name, size_t nn)
{
    for (int i = 0; i < N_CLASSES; i++) {
        if (strlen(classes[i].module) != nm || memcmp(classes[i].module, module, nm) != 0) continue;
        if (strlen(classes[i].name) != nn || memcmp(classes[i].name, name, nn) != 0) continue;
        struct reel_pv *v = value(p, REEL_PV_GLOBAL);
        if (v) v->cls = (short)i;
        return push(p, v);
    }
    if (!p->err)
        p->err = REEL_FAIL(REEL_EDATA, "%s: byte %zu of the pickle: class %.*s.%.*s is refused: only the classes of "
                           "checkpoints are known, and nothing is executed", p->where, p->at,
                           (int)(nm < 80 ? nm : 80), module, (int)(nn < 80 ? nn : 80), name);
}

static const unsigned char *line(struct reel_pickle *p, size_t *n)
{
    const unsigned char *s = p->d + p->at, *e = p->err ? NULL : memchr(s, '\n', p->n - p->at);

    if (!e) return BAD(p, "ends early"), NULL;
    *n = (size_t)(e - s);
    p->at += *n + 1;
    return s;
}

static void op_global(struct reel_pickle *p)
{
    size_t nm, nn;
    const unsigned char *m = line(p, &nm), *c = m ? line(p, &nn) : NULL;

    if (c) push_global(p, (const char *)m, nm, (const char *)c, nn);
}

static void op_stack_global(struct reel_pickle *p)
{
    struct reel_pv *name = pop(p), *mod = name ? pop(p) : NULL;

    if (!mod) return;
    if (mod->kind != REEL_PV_STR || name->kind != REEL_PV_STR) return BAD(p, "class name is not text");
    push_global(p, mod->u.str.p, mod->u.str.n, name->u.str.p, name->u.str.n);
}

/* ---- calls ---- */

static struct reel_pv *arg(struct reel_pv *args, size_t i) { return i < args->u.seq.n ? args->u.seq.v[i] : NULL; }

static void call_size(struct reel_pickle *p, int cls, struct reel_pv *args)
{
    struct reel_pv *t = arg(args, 0);

    (void)cls;
    if (!t || args->u.seq.n != 1 || (t->kind != REEL_PV_TUPLE && t->kind != REEL_PV_LIST))
        return BAD(p, "torch.Size without a tuple");
    for (size_t i = 0; i < t->u.seq.n; i++)
        if (t->u.seq.v[i]->kind != REEL_PV_INT || t->u.seq.v[i]->u.i < 0)
            return BAD(p, "torch.Size holds something that is not a size");
    push(p, t);
}

/* The call is a label around its first argument. */
static void call_first(struct reel_pickle *p, int cls, struct reel_pv *args)
{
    struct reel_pv *v = arg(args, 0);

    (void)cls;
    push(p, v ? v : value(p, REEL_PV_NONE));
}

static void call_memory_format(struct reel_pickle *p, int cls, struct reel_pv *args)
{
    struct reel_pv *v = arg(args, 0);

    (void)cls;
    if (!v || v->kind != REEL_PV_INT || v->u.i < 0 || v->u.i > 2) return BAD(p, "unknown memory format");
    push(p, v);
}

static void call_getattr(struct reel_pickle *p, int cls, struct reel_pv *args)
{
    static const char *const member[] = { "TORCH_CONTIGUOUS_FORMAT", "TORCH_CHANNELS_LAST", "TORCH_PRESERVE_FORMAT" };
    struct reel_pv *o = arg(args, 0), *name = arg(args, 1);

    (void)cls;
    if (o && name && args->u.seq.n == 2 && o->kind == REEL_PV_GLOBAL && name->kind == REEL_PV_STR &&
        classes[o->cls].call == call_memory_format)
        for (int i = 0; i < 3; i++)
            if (strcmp(member[i], name->u.str.p) == 0) return push_int(p, i, REEL_PV_INT);
    BAD(p, "getattr is refused");
}

static void call_dict(struct reel_pickle *p, int cls, struct reel_pv *args)
{
    (void)cls;
    (void)args;
    push(p, value(p, REEL_PV_DICT));
}

static void call_list(struct reel_pickle *p, int cls, struct reel_pv *args)
{
    struct reel_pv *v = arg(args, 0);

    (void)cls;
    if (v && v->kind != REEL_PV_LIST && v->kind != REEL_PV_TUPLE) return BAD(p, "a set of something that is no list");
    push(p, v ? v : value(p, REEL_PV_LIST));
}

/* Protocol 2 has no bytes: they are text whose characters 0..255 are the bytes. */
static void call_encode(struct reel_pickle *p, int cls, struct reel_pv *args)
{
    struct reel_pv *s = arg(args, 0), *code = arg(args, 1), *v;
    size_t n = 0;

    (void)cls;
    if (!s || !code || s->kind != REEL_PV_STR || code->kind != REEL_PV_STR || strcmp(code->u.str.p, "latin1") != 0)
        return BAD(p, "_codecs.encode of something else than latin1 text");
    v = text(p, REEL_PV_BYTES, s->u.str.p, s->u.str.n);
    for (size_t i = 0; v && i < s->u.str.n; i++) {
        unsigned c = (unsigned char)s->u.str.p[i];
        if (c >= 0x80) {
            if (c > 0xc3) return BAD(p, "_codecs.encode of a character above 255");
            c = (c & 3) << 6 | ((unsigned char)s->u.str.p[++i] & 0x3f);
        }
        v->u.str.p[n++] = (char)c;
    }
    if (v) v->u.str.n = n;
    push(p, v);
}

static void call_symbolic(struct reel_pickle *p, int cls, struct reel_pv *args)
{
    struct reel_pv *v = value(p, REEL_PV_OBJ);
    struct call *c = v ? take_mem(p, sizeof *c) : NULL;

    if (!c) return;
    v->cls = (short)cls;
    v->u.obj.args = args;
    *c = (struct call){ p->calls, v };
    p->calls = c;
    push(p, v);
}

/* ---- containers and objects ---- */

static struct reel_pv *sequence(struct reel_pickle *p, int kind, size_t from, size_t n)
{
    struct reel_pv *v = value(p, kind);

    if (!v || n == 0) return v;
    v->u.seq.v = take_mem(p, n * sizeof(struct reel_pv *));
    if (!v->u.seq.v) return NULL;
    memcpy(v->u.seq.v, p->stack + from, n * sizeof(struct reel_pv *));
    v->u.seq.n = v->u.seq.cap = n;
    return v;
}

static void extend(struct reel_pickle *p, struct reel_pv *v, size_t from, size_t n)
{
    if (v->u.seq.n + n > v->u.seq.cap) {
        size_t cap = 2 * (v->u.seq.n + n);
        struct reel_pv **a = take_mem(p, cap * sizeof(struct reel_pv *));
        if (!a) return;
        if (v->u.seq.n) memcpy(a, v->u.seq.v, v->u.seq.n * sizeof *a);
        v->u.seq.v = a;
        v->u.seq.cap = cap;
    }
    if (n) memcpy(v->u.seq.v + v->u.seq.n, p->stack + from, n * sizeof(struct reel_pv *));
    v->u.seq.n += n;
}

/* The last n values of the stack as a tuple. */
static void op_tuple(struct reel_pickle *p, size_t n)
{
    struct reel_pv *v;

    if (p->ns - floor_of(p) < n) return BAD(p, "stack underflow");
    p->ns -= n;
    v = sequence(p, REEL_PV_TUPLE, p->ns, n);
    push(p, v);
}

static void op_tuple_mark(struct reel_pickle *p)
{
    size_t n, at = pop_mark(p, &n);

    if (!p->err) push(p, sequence(p, REEL_PV_TUPLE, at, n));
}

/* APPEND(S), SETITEM(S), ADDITEMS: n values at `from` go into the container below them. */
static void add_items(struct reel_pickle *p, int kind, size_t from, size_t n)
{
    struct reel_pv *v = top(p);

    if (!v) return;
    if (v->kind != kind) return BAD(p, kind == REEL_PV_DICT ? "items for something that is no dict"
                                                            : "items for something that is no list");
    if (kind == REEL_PV_DICT && n % 2) return BAD(p, "a key without a value");
    extend(p, v, from, n);
}

static void op_add_marked(struct reel_pickle *p, int kind)
{
    size_t n, at = pop_mark(p, &n);

    if (!p->err) add_items(p, kind, at, n);
}

static void op_add(struct reel_pickle *p, int kind, size_t n)
{
    if (p->ns - floor_of(p) < n) return BAD(p, "stack underflow");
    p->ns -= n;
    add_items(p, kind, p->ns, n);
}

static void op_newobj(struct reel_pickle *p)
{
    struct reel_pv *args = pop(p), *cls = args ? pop(p) : NULL, *v;

    if (!cls) return;
    if (cls->kind != REEL_PV_GLOBAL || !(classes[cls->cls].use & NEW) || args->kind != REEL_PV_TUPLE || args->u.seq.n)
        return BAD(p, "a class that may not be instantiated");
    v = value(p, REEL_PV_OBJ);
    if (v) v->cls = cls->cls;
    push(p, v);
}

static void op_reduce(struct reel_pickle *p)
{
    struct reel_pv *args = pop(p), *fn = args ? pop(p) : NULL;

    if (!fn) return;
    if (fn->kind != REEL_PV_GLOBAL || !(classes[fn->cls].use & CALL) || args->kind != REEL_PV_TUPLE)
        return BAD(p, "a call that is refused");
    classes[fn->cls].call(p, fn->cls, args);
}

static void op_build(struct reel_pickle *p)
{
    struct reel_pv *state = pop(p), *o = state ? top(p) : NULL;

    if (!o || o->kind == REEL_PV_DICT) return; /* attributes of an OrderedDict: of no interest */
    if (o->kind != REEL_PV_OBJ || o->u.obj.state) return BAD(p, "BUILD of something that is no new object");
    if (state->kind != REEL_PV_DICT && state->kind != REEL_PV_TUPLE) return BAD(p, "BUILD with an unknown state");
    o->u.obj.state = state;
}

static void op_persid(struct reel_pickle *p)
{
    struct reel_pv *t = pop(p), *v;

    if (!t) return;
    if (t->kind != REEL_PV_TUPLE) return BAD(p, "a persistent id that is no tuple");
    v = value(p, REEL_PV_PERSID);
    if (v) v->u.seq = t->u.seq;
    push(p, v);
}

/* ---- memo ---- */

static void memo_put(struct reel_pickle *p, uint64_t i)
{
    struct reel_pv *v = top(p);

    if (!v) return;
    if (i >= p->n) return BAD(p, "memo index beyond the length of the pickle");
    if (i >= p->cap_memo) {
        size_t cap = 2 * i + 64;
        struct reel_pv **m = realloc(p->memo, cap * sizeof *m);
        if (!m) return no_memory(p);
        memset(m + p->cap_memo, 0, (cap - p->cap_memo) * sizeof *m);
        p->memo = m;
        p->cap_memo = cap;
    }
    p->n_memo += !p->memo[i];
    p->memo[i] = v;
}

static void memo_get(struct reel_pickle *p, uint64_t i)
{
    if (p->err) return;
    if (i >= p->cap_memo || !p->memo[i]) return BAD(p, "memo reference that was never stored");
    push(p, p->memo[i]);
}

/* ---- dispatch: one group of opcodes each; 0 = not mine ---- */

static int step_scalar(struct reel_pickle *p, int op)
{
    switch (op) {
    case 'N': return push(p, value(p, REEL_PV_NONE)), 1;
    case 0x88: return push_int(p, 1, REEL_PV_BOOL), 1;
    case 0x89: return push_int(p, 0, REEL_PV_BOOL), 1;
    case 'J': return push_int(p, (int32_t)take_uint(p, 4), REEL_PV_INT), 1;
    case 'K': return push_int(p, (int64_t)take_uint(p, 1), REEL_PV_INT), 1;
    case 'M': return push_int(p, (int64_t)take_uint(p, 2), REEL_PV_INT), 1;
    case 0x8a: return push_long(p, 1), 1;
    case 0x8b: return push_long(p, 4), 1;
    case 'G': return push_float(p), 1;
    case 'X': return push_text(p, REEL_PV_STR, 4), 1;
    case 0x8c: return push_text(p, REEL_PV_STR, 1), 1;
    case 0x8d: return push_text(p, REEL_PV_STR, 8), 1;
    case 'C': return push_text(p, REEL_PV_BYTES, 1), 1;
    case 'B': return push_text(p, REEL_PV_BYTES, 4), 1;
    case 0x8e: return push_text(p, REEL_PV_BYTES, 8), 1;
    default: return 0;
    }
}

static int step_container(struct reel_pickle *p, int op)
{
    size_t n;

    switch (op) {
    case '(': return push_mark(p), 1;
    case ')': return push(p, value(p, REEL_PV_TUPLE)), 1;
    case ']': case 0x8f: return push(p, value(p, REEL_PV_LIST)), 1;
    case '}': return push(p, value(p, REEL_PV_DICT)), 1;
    case 't': return op_tuple_mark(p), 1;
    case 0x85: case 0x86: case 0x87: return op_tuple(p, (size_t)op - 0x84), 1;
    case 'a': return op_add(p, REEL_PV_LIST, 1), 1;
    case 'e': case 0x90: return op_add_marked(p, REEL_PV_LIST), 1;
    case 's': return op_add(p, REEL_PV_DICT, 2), 1;
    case 'u': return op_add_marked(p, REEL_PV_DICT), 1;
    case '0': return (void)pop(p), 1;
    case '1': return (void)pop_mark(p, &n), 1;
    default: return 0;
    }
}

static int step_object(struct reel_pickle *p, int op)
{
    switch (op) {
    case 'c': return op_global(p), 1;
    case 0x93: return op_stack_global(p), 1;
    case 0x81: return op_newobj(p), 1;
    case 'R': return op_reduce(p), 1;
    case 'b': return op_build(p), 1;
    case 'Q': return op_persid(p), 1;
    case 'q': return memo_put(p, take_uint(p, 1)), 1;
    case 'r': return memo_put(p, take_uint(p, 4)), 1;
    case 0x94: return memo_put(p, p->n_memo), 1;
    case 'h': return memo_get(p, take_uint(p, 1)), 1;
    case 'j': return memo_get(p, take_uint(p, 4)), 1;
    default: return 0;
    }
}

static void step(struct reel_pickle *p, int op)
{
    char msg[48];

    if (step_scalar(p, op) || step_container(p, op) || step_object(p, op)) return;
    if (op == 0x80) {
        if (take_uint(p, 1) > 5) BAD(p, "protocol above 5");
    } else if (op == 0x95) {
        if (take_uint(p, 8) > p->n - p->at) BAD(p, "a frame that ends behind the pickle");
    } else {
        snprintf(msg, sizeof msg, "opcode 0x%02x is refused", op);
        BAD(p, msg);
    }
}

/* ---- no cycles, no deep nesting: a walk with its own stack, each value entered once ---- */

struct level { struct reel_pv *v; size_t i; };

static struct reel_pv *child(struct reel_pv *v, size_t i)
{
    if (v->kind == REEL_PV_OBJ) return i == 0 ? v->u.obj.args : i == 1 ? v->u.obj.state : NULL;
    return i < v->u.seq.n ? v->u.seq.v[i] : NULL;
}

static int has_children(const struct reel_pv *v)
{
    return v->kind == REEL_PV_OBJ || v->kind == REEL_PV_PERSID ||
           (v->kind >= REEL_PV_TUPLE && v->kind <= REEL_PV_DICT);
}

static void check_tree(struct reel_pickle *p, struct reel_pv *root)
{
    struct level s[DEPTH_MAX + 1];
    int n = 0;

    if (!has_children(root)) return;
    root->mark = 1;
    s[n++] = (struct level){ root, 0 };
    while (n) {
        struct level *l = &s[n - 1];
        size_t end = l->v->kind == REEL_PV_OBJ ? 2 : l->v->u.seq.n;
        if (l->i == end) {
            l->v->mark = 2;
            n--;
            continue;
        }
        struct reel_pv *c = child(l->v, l->i++);
        if (!c || !has_children(c) || c->mark == 2) continue;
        if (c->mark == 1) return BAD(p, "a value that contains itself");
        if (n == DEPTH_MAX) return BAD(p, "nested more than 256 deep");
        c->mark = 1;
        s[n++] = (struct level){ c, 0 };
    }
}

static void parse(struct reel_pickle *p)
{
    struct reel_pv *root;

    while (!p->err) {
        const unsigned char *op = take(p, 1);
        if (!op) return;
        if (*op == '.') break;
        step(p, *op);
    }
    root = pop(p);
    if (!root) return;
    if (p->ns || p->nm) return BAD(p, "stack not empty at the end");
    check_tree(p, root);
    p->root = root;
}

reel_err reel_pickle_load(struct reel_pickle **out, const void *data, size_t bytes, const char *where)
{
    struct reel_pickle *p = calloc(1, sizeof *p);
    reel_err e;

    *out = NULL;
    if (!p) return REEL_FAIL(REEL_ENOMEM, "%s: no memory", where);
    p->d = data;
    p->n = bytes;
    p->where = where;
    parse(p);
    free(p->stack);
    free(p->mark);
    free(p->memo);
    e = p->err;
    if (e) reel_pickle_free(p);
    else *out = p;
    return e;
}

void reel_pickle_free(struct reel_pickle *p)
{
    if (!p) return;
    for (struct block *b = p->mem, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(p);
}

const struct reel_pv *reel_pickle_root(const struct reel_pickle *p) { return p->root; }

reel_err reel_pickle_calls(const struct reel_pickle *p, reel_err (*visit)(void *ctx, const struct reel_pv *call), void *ctx)
{
    for (const struct call *c = p->calls; c; c = c->next) REEL_TRY(visit(ctx, c->v));
    return REEL_OK;
}

const char *reel_pv_class(const struct reel_pv *v)
{
    return v && (v->kind == REEL_PV_GLOBAL || v->kind == REEL_PV_OBJ) ? classes[v->cls].name : "";
}

const struct reel_pv *reel_pv_get(const struct reel_pv *v, const char *key)
{
    if (v && v->kind == REEL_PV_OBJ) v = v->u.obj.state;
    if (!v || v->kind != REEL_PV_DICT) return NULL;
    for (size_t i = v->u.seq.n; i >= 2; i -= 2) { /* the last one wins, as in Python */
        const struct reel_pv *k = v->u.seq.v[i - 2];
        if (k->kind == REEL_PV_STR && k->u.str.n == strlen(key) && strcmp(k->u.str.p, key) == 0) return v->u.seq.v[i - 1];
    }
    return NULL;
}

int reel_pv_ints(const struct reel_pv *v, int64_t *n, int max)
{
    if (!v || (v->kind != REEL_PV_TUPLE && v->kind != REEL_PV_LIST) || v->u.seq.n > (size_t)max) return -1;
    for (size_t i = 0; i < v->u.seq.n; i++) {
        if (v->u.seq.v[i]->kind != REEL_PV_INT || v->u.seq.v[i]->u.i < 0) return -1;
        n[i] = v->u.seq.v[i]->u.i;
    }
    return (int)v->u.seq.n;
}
