#include "track/track_priv.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void track_buf_free(struct track_buf *b)
{
    free(b->p);
    *b = (struct track_buf){ 0 };
}

static int room(struct track_buf *b, size_t n)
{
    size_t cap = b->cap ? b->cap : 1 << 14; /* the numbers of a step, whatever their digits: it grows in no later one */
    void *p;

    if (b->oom) return 0;
    if (b->n + n <= b->cap) return 1;
    while (cap < b->n + n) cap *= 2;
    p = realloc(b->p, cap);
    if (!p) {
        b->oom = 1;
        return 0;
    }
    b->p = p;
    b->cap = cap;
    return 1;
}

void track_put(struct track_buf *b, const void *p, size_t n)
{
    if (!n || !room(b, n)) return;
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void track_putf(struct track_buf *b, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || !room(b, (size_t)n + 1)) return;
    va_start(ap, fmt);
    vsnprintf((char *)b->p + b->n, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
}

void track_le(struct track_buf *b, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        track_put(b, &(unsigned char){ (unsigned char)(v >> (8 * i)) }, 1);
}

/* The fewest significant digits that read back as v. */
static int digits(double v)
{
    char s[40];

    for (int p = 1; p < 17; p++) {
        snprintf(s, sizeof s, "%.*e", p - 1, v);
        if (strtod(s, NULL) == v) return p;
    }
    return 17;
}

void track_json_number(struct track_buf *b, double v)
{
    char s[40];
    int p, e;

    if (!isfinite(v)) {
        track_putf(b, "%s", isnan(v) ? "NaN" : v < 0 ? "-Infinity" : "Infinity");
        return;
    }
    p = digits(v);
    snprintf(s, sizeof s, "%.*e", p - 1, v);
    e = atoi(strchr(s, 'e') + 1);
    if (e < -4 || e >= 16)
        track_putf(b, "%s", s);
    else
        track_putf(b, "%.*f", p - 1 - e > 1 ? p - 1 - e : 1, v);
}

void track_json_string(struct track_buf *b, const char *s)
{
    track_put(b, "\"", 1);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '"' || c == '\\')
            track_putf(b, "\\%c", c);
        else if (c == '\n')
            track_put(b, "\\n", 2);
        else if (c < 0x20)
            track_putf(b, "\\u%04x", c);
        else
            track_put(b, s, 1);
    }
    track_put(b, "\"", 1);
}

enum { PB_VARINT = 0, PB_64 = 1, PB_LEN = 2, PB_32 = 5 };

/* Into out, of 10 bytes; how many there are. */
static size_t varint(unsigned char *out, uint64_t v)
{
    size_t n = 0;

    for (; v > 127; v >>= 7) out[n++] = (unsigned char)((v & 127) | 128);
    out[n++] = (unsigned char)v;
    return n;
}

void track_pb_varint(struct track_buf *b, uint64_t v)
{
    unsigned char bytes[10];

    track_put(b, bytes, varint(bytes, v));
}

static void tag(struct track_buf *b, int field, int wire)
{
    track_pb_varint(b, (uint64_t)field << 3 | (uint64_t)wire);
}

void track_pb_int(struct track_buf *b, int field, int64_t v)
{
    if (!v) return;
    tag(b, field, PB_VARINT);
    track_pb_varint(b, (uint64_t)v);
}

void track_pb_double(struct track_buf *b, int field, double v)
{
    uint64_t u;

    memcpy(&u, &v, sizeof u);
    tag(b, field, PB_64);
    track_le(b, u, 8);
}

void track_pb_float(struct track_buf *b, int field, float v)
{
    uint32_t u;

    memcpy(&u, &v, sizeof u);
    tag(b, field, PB_32);
    track_le(b, u, 4);
}

void track_pb_bytes(struct track_buf *b, int field, const void *p, size_t n)
{
    tag(b, field, PB_LEN);
    track_pb_varint(b, n);
    track_put(b, p, n);
}

void track_pb_str(struct track_buf *b, int field, const char *s)
{
    track_pb_bytes(b, field, s, strlen(s));
}

size_t track_pb_open(struct track_buf *b, int field)
{
    tag(b, field, PB_LEN);
    return b->n;
}

void track_pb_close(struct track_buf *b, size_t at)
{
    unsigned char len[10];
    size_t n = varint(len, b->n - at);

    if (!room(b, n)) return;
    memmove(b->p + at + n, b->p + at, b->n - at);
    memcpy(b->p + at, len, n);
    b->n += n;
}
