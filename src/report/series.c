/* numbers over steps, in bounded memory */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/report_priv.h"

static void merge(struct bucket *a, const struct bucket *b)
{
    if (b->n && (!a->n || b->lo < a->lo)) a->lo = b->lo, a->lo_step = b->lo_step;
    if (b->n && (!a->n || b->hi > a->hi)) a->hi = b->hi;
    if (b->n) a->tail = b->tail;
    a->sum += b->sum;
    a->n += b->n;
    a->bad += b->bad;
    a->last = b->last;
}

/* Half as many buckets of twice the width; the last one may be a half. */
static void halve(struct series *s)
{
    int n = 0;

    for (int i = 0; i < s->n; i += 2) {
        s->b[n] = s->b[i];
        if (i + 1 < s->n) merge(&s->b[n], &s->b[i + 1]);
        n++;
    }
    s->n = n;
    s->width *= 2;
}

reel_err series_add(struct series *s, long step, double v)
{
    struct bucket one = { .first = step, .last = step, .lo_step = step, .n = isfinite(v), .bad = !isfinite(v) }, *at;

    if (one.n) one.lo = one.hi = one.sum = one.tail = v, s->total += v;
    if (!s->b) {
        s->b = malloc(BUCKETS * sizeof *s->b);
        s->width = 1;
        if (!s->b) return REEL_FAIL(REEL_ENOMEM, "no memory for the series '%s'", s->name);
    }
    at = s->n ? &s->b[s->n - 1] : NULL;
    if (at && at->n + at->bad < s->width) {
        merge(at, &one);
        return REEL_OK;
    }
    if (s->n == BUCKETS) halve(s);
    s->b[s->n++] = one;
    return REEL_OK;
}

void series_cut(struct series *s, long step)
{
    while (s->n && s->b[s->n - 1].first >= step) s->n--;
}

struct extent series_extent(const struct series *s)
{
    struct extent e = { 0 };
    double sum = 0;

    for (int i = 0; i < s->n; i++) {
        const struct bucket *b = &s->b[i];
        e.bad += b->bad;
        if (!b->n) continue;
        if (!e.count) e.first = b->n == 1 ? b->tail : b->sum / (double)b->n, e.first_step = b->first;
        if (!e.count || b->lo < e.lo) e.lo = b->lo, e.lo_step = b->lo_step;
        if (!e.count || b->hi > e.hi) e.hi = b->hi;
        e.last = b->tail;
        e.last_step = b->last;
        e.count += b->n;
        sum += b->sum;
    }
    e.mean = e.count ? sum / (double)e.count : 0;
    return e;
}

struct weighed { double v; long n; };

static int by_value(const void *a, const void *b)
{
    const struct weighed *x = a, *y = b;

    return (x->v > y->v) - (x->v < y->v);
}

double series_median(const struct series *s)
{
    struct weighed *w = s && s->n ? malloc((size_t)s->n * sizeof *w) : NULL;
    long all = 0, below = 0;
    double median = (double)NAN;
    int n = 0;

    for (int i = 0; w && i < s->n; i++)
        if (s->b[i].n) w[n++] = (struct weighed){ s->b[i].sum / (double)s->b[i].n, s->b[i].n }, all += s->b[i].n;
    if (n) qsort(w, (size_t)n, sizeof *w, by_value);
    for (int i = 0; i < n && 2 * below < all; i++) median = w[i].v, below += w[i].n;
    free(w);
    return median;
}

void series_free(struct series *s)
{
    free(s->name);
    free(s->b);
}
