#include <stdlib.h>
#include <string.h>

#include "ckpt/pickle.h"

void reel_pw_raw(struct reel_pw *w, const void *bytes, size_t n)
{
    if (w->failed) return;
    if (w->n + n > w->cap) {
        size_t cap = 2 * (w->n + n) + 256;
        char *p = realloc(w->p, cap);
        if (!p) {
            w->failed = 1;
            return;
        }
        w->p = p;
        w->cap = cap;
    }
    memcpy(w->p + w->n, bytes, n);
    w->n += n;
}

void reel_pw_free(struct reel_pw *w)
{
    free(w->p);
    *w = (struct reel_pw){ 0 };
}

void reel_pw_op(struct reel_pw *w, char op) { reel_pw_raw(w, &op, 1); }
void reel_pw_begin(struct reel_pw *w) { reel_pw_raw(w, "\x80\x02", 2); }
void reel_pw_end(struct reel_pw *w) { reel_pw_op(w, '.'); }

static void op_le(struct reel_pw *w, char op, uint64_t v, int bytes)
{
    char b[9] = { op };

    for (int i = 0; i < bytes; i++) b[1 + i] = (char)(v >> (8 * i));
    reel_pw_raw(w, b, (size_t)bytes + 1);
}

void reel_pw_int(struct reel_pw *w, int64_t v)
{
    if (v >= 0 && v < 256) return op_le(w, 'K', (uint64_t)v, 1);
    if (v >= 0 && v < 65536) return op_le(w, 'M', (uint64_t)v, 2);
    if (v >= INT32_MIN && v <= INT32_MAX) return op_le(w, 'J', (uint64_t)v, 4);
    reel_pw_raw(w, "\x8a\x08", 2);
    for (int i = 0; i < 8; i++) reel_pw_op(w, (char)((uint64_t)v >> (8 * i)));
}

void reel_pw_float(struct reel_pw *w, double v)
{
    uint64_t u;

    memcpy(&u, &v, 8);
    reel_pw_op(w, 'G');
    for (int i = 56; i >= 0; i -= 8) reel_pw_op(w, (char)(u >> i));
}

void reel_pw_strn(struct reel_pw *w, const char *s, size_t n)
{
    op_le(w, 'X', n, 4);
    reel_pw_raw(w, s, n);
}

void reel_pw_str(struct reel_pw *w, const char *s) { reel_pw_strn(w, s, strlen(s)); }

void reel_pw_global(struct reel_pw *w, const char *module, const char *name)
{
    reel_pw_op(w, 'c');
    reel_pw_raw(w, module, strlen(module));
    reel_pw_op(w, '\n');
    reel_pw_raw(w, name, strlen(name));
    reel_pw_op(w, '\n');
}

void reel_pw_tuple(struct reel_pw *w, int count)
{
    reel_pw_op(w, count ? (char)(0x84 + count) : REEL_P_EMPTY_TUPLE);
}

void reel_pw_ints(struct reel_pw *w, const int64_t *n, int count)
{
    if (count > 3) reel_pw_op(w, REEL_P_MARK);
    for (int i = 0; i < count; i++) reel_pw_int(w, n[i]);
    if (count > 3) reel_pw_op(w, REEL_P_TUPLE);
    else reel_pw_tuple(w, count);
}
