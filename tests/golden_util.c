/* What the kinds of golden folders share: comparing, reporting, reading. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "golden.h"

/* ---- comparing and reporting ---- */

static void add(struct golden_diff *d, double got, double want)
{
    double e = fabs(got - want);

    if (!(e <= d->max_abs)) d->max_abs = e; /* a NaN shows */
    if (fabs(want) > d->max_want) d->max_want = fabs(want);
    d->diff2 += e * e;
    d->want2 += want * want;
}

void golden_diff(struct golden_diff *d, const float *got, const float *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++) add(d, (double)got[i], (double)want[i]);
}

void golden_diff64(struct golden_diff *d, const float *got, const double *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++) add(d, (double)got[i], want[i]);
}

/* All ranks' shares together. */
static struct golden_diff merge(struct golden *g, struct golden_diff d)
{
    double sums[2] = { d.diff2, d.want2 }, max[2] = { d.max_abs, d.max_want }, lo[2], avg[2], hi[2];

    reel_comm_sum(g->world, sums, 2);
    reel_comm_minavgmax(g->world, max, 2, lo, avg, hi);
    return (struct golden_diff){ hi[0], sums[0], sums[1], hi[1] };
}

int golden_check_l2(struct golden *g, const char *name, struct golden_diff local, double bound)
{
    struct golden_diff d = merge(g, local);

    return golden_line(g, name, d.max_abs, d.want2 > 0 ? sqrt(d.diff2 / d.want2) : sqrt(d.diff2), bound);
}

int golden_check_max(struct golden *g, const char *name, struct golden_diff local, double bound)
{
    struct golden_diff d = merge(g, local);

    return golden_line(g, name, d.max_abs, d.max_want > 0 ? d.max_abs / d.max_want : d.max_abs, bound);
}

int golden_line(struct golden *g, const char *name, double max_abs, double rel, double tol)
{
    int ok = rel <= tol;

    ok ? g->passed++ : g->failed++;
    if (g->world->rank == 0 && !(ok && g->quiet))
        printf("%s%-72s %10.3e %10.3e <= %8.1e %s\n", g->quiet ? "# " : "", name, max_abs, rel, tol, ok ? "pass" : "FAIL");
    return ok;
}

int golden_true(struct golden *g, const char *name, int ok) { return golden_line(g, name, !ok, !ok, 0); }

int golden_equal(struct golden *g, const char *name, const void *got, const void *want, size_t size, int64_t n)
{
    const char *a = got, *b = want;
    double differ = 0;

    for (int64_t i = 0; i < n; i++) differ += memcmp(a + (size_t)i * size, b + (size_t)i * size, size) != 0;
    return golden_line(g, name, differ, differ, 0);
}

int golden_near(struct golden *g, const char *name, const double *got, const double *want, int64_t n, double tol)
{
    struct golden_diff d = { 0 };

    for (int64_t i = 0; i < n; i++) add(&d, got[i], want[i]);
    return golden_line(g, name, d.max_abs, d.max_abs, tol);
}

int golden_near_rel(struct golden *g, const char *name, const double *got, const double *want, int64_t n, double tol)
{
    double worst = 0, abs = 0;

    for (int64_t i = 0; i < n; i++) {
        double e = fabs(got[i] - want[i]), rel = want[i] != 0 ? e / fabs(want[i]) : e;
        if (!(e <= abs)) abs = e;
        if (!(rel <= worst)) worst = rel;
    }
    return golden_line(g, name, abs, worst, tol);
}

void golden_later(struct golden *g, const char *what)
{
    for (int i = 0; i < g->n_later; i++)
        if (!strcmp(g->later[i], what)) return;
    if (g->n_later < 16) snprintf(g->later[g->n_later++], sizeof g->later[0], "%s", what);
    if (g->world->rank == 0) printf("%snot in this version: %s\n", g->quiet ? "# " : "", what);
}

void golden_hash(struct golden *g, const void *p, size_t bytes)
{
    const unsigned char *c = p;

    for (size_t i = 0; i < bytes; i++) g->hash = (g->hash ^ c[i]) * 0x100000001b3u;
}

/* ---- tensors of a file ---- */

static void complain(void)
{
    if (reel_rank() == 0) reel_err_print(reel_errrec());
    reel_err_clear();
}

reel_err golden_open(struct reel_st **st, const char *dir, const char *file)
{
    char path[4200];
    reel_err e;

    snprintf(path, sizeof path, "%s/%s", dir, file);
    e = reel_st_open(st, path);
    if (e) complain();
    return e;
}

int64_t golden_count(const struct reel_st_entry *e)
{
    int64_t n = 1;

    for (int i = 0; i < e->nd; i++) n *= e->n[i];
    return n;
}

void *golden_bytes(const struct reel_st *st, const char *name, const struct reel_st_entry **out)
{
    const struct reel_st_entry *e = reel_st_find(st, name);
    void *p = e ? malloc(e->bytes + 8) : NULL;

    if (out) *out = e;
    if (p && reel_st_read(st, e, 0, e->bytes, p)) {
        complain();
        free(p);
        return NULL;
    }
    return p;
}

static double widen(const char *dtype, const void *p, int64_t i)
{
    if (!strcmp(dtype, "F64")) return ((const double *)p)[i];
    if (!strcmp(dtype, "I64")) return (double)((const int64_t *)p)[i];
    if (!strcmp(dtype, "U64")) return (double)((const uint64_t *)p)[i];
    if (!strcmp(dtype, "I32")) return ((const int32_t *)p)[i];
    if (!strcmp(dtype, "U32")) return ((const uint32_t *)p)[i];
    if (!strcmp(dtype, "U8") || !strcmp(dtype, "BOOL")) return ((const uint8_t *)p)[i];
    return (double)NAN;
}

double *golden_doubles(const struct reel_st *st, const char *name, const struct reel_st_entry **out)
{
    const struct reel_st_entry *e = reel_st_find(st, name);
    int64_t n = e ? golden_count(e) : 0;
    double *d = e ? malloc((size_t)(n + 1) * sizeof *d) : NULL;
    float *f;
    void *raw;

    if (out) *out = e;
    if (!e) return NULL;
    if (e->dt == REEL_F32 || e->dt == REEL_BF16 || e->dt == REEL_F16) {
        f = malloc((size_t)(n + 1) * sizeof *f);
        if (reel_st_read_f32(st, e, 0, e->nd ? e->n[0] : 1, f)) complain(), n = 0;
        for (int64_t i = 0; i < n; i++) d[i] = (double)f[i];
        free(f);
        return d;
    }
    raw = golden_bytes(st, name, NULL);
    for (int64_t i = 0; i < n && raw; i++) d[i] = widen(e->dtype, raw, i);
    free(raw);
    return d;
}

/* ---- JSON ---- */

/* Copies JSON text, integers of 19 digits and more in quotes. */
static char *quote_long_integers(const char *text, size_t n)
{
    char *out = malloc(2 * n + 1), *q = out;
    int in_string = 0;

    for (size_t i = 0, k; i < n; i = k) {
        int quote = 0;
        if (text[i] == '"') in_string = !in_string;
        k = i + (in_string && text[i] == '\\' ? 2 : 1); /* an escape is copied whole */
        if (!in_string && isdigit((unsigned char)text[i])) { /* to the end of the number: digits may follow a point */
            k = i + strspn(text + i, "0123456789.eE+-");
            quote = k - i >= 19 && strspn(text + i, "0123456789") == k - i;
        }
        if (quote) *q++ = '"';
        while (i < k) *q++ = text[i++];
        if (quote) *q++ = '"';
    }
    *q = 0;
    return out;
}

json_t *golden_json(const char *dir, const char *file)
{
    char path[4200], *text, *quoted;
    json_error_t err;
    json_t *j;
    size_t n;

    snprintf(path, sizeof path, "%s/%s", dir, file);
    if (reel_file_read(path, &text, &n)) {
        complain();
        return NULL;
    }
    quoted = quote_long_integers(text, n);
    j = json_loads(quoted, 0, &err);
    if (!j && reel_rank() == 0) fprintf(stderr, "%s: line %d: %s\n", path, err.line, err.text);
    free(text);
    free(quoted);
    return j;
}

uint64_t golden_u64(const json_t *v)
{
    return json_is_string(v) ? strtoull(json_string_value(v), NULL, 10) : (uint64_t)json_integer_value(v);
}

double golden_get(const json_t *object, const char *key, double dflt)
{
    const json_t *v = json_object_get(object, key);

    return json_is_number(v) ? json_number_value(v) : dflt;
}

double golden_json_number(const char *path, const char *a, const char *b, const char *c, double dflt)
{
    json_t *root = json_load_file(path, 0, NULL), *at = json_object_get(root, a);
    double v;

    if (at && b) at = json_object_get(at, b);
    if (at && c) at = json_object_get(at, c);
    v = json_is_number(at) ? json_number_value(at) : dflt;
    json_decref(root);
    return v;
}
