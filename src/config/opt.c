/* One value by its option: check, convert, default, write. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_priv.h"

reel_err reel_vfail_at(const char *where, const char *key, const char *fmt, va_list ap)
{
    char msg[REEL_ERR_MSG];

    vsnprintf(msg, sizeof msg, fmt, ap);
    return REEL_FAIL(REEL_ECONFIG, "%s: %s%s%s", where, key, *key ? ": " : "", msg);
}

reel_err reel_fail_at(const struct reel_node *n, const char *key, const char *fmt, ...)
{
    char where[256];
    va_list ap;
    reel_err e;

    va_start(ap, fmt);
    e = reel_vfail_at(reel_node_where(n, where, sizeof where), key, fmt, ap);
    va_end(ap);
    return e;
}

/* ---- choices ---- */

int reel_next_choice(const char **s, char *buf, size_t size)
{
    size_t len;

    if (!*s || !**s) return 0;
    len = strcspn(*s, "|");
    snprintf(buf, size, "%.*s", (int)len, *s);
    *s += len + ((*s)[len] == '|');
    return 1;
}

const char *reel_choice_name(const char *choices, int i, char *buf, size_t size)
{
    while (reel_next_choice(&choices, buf, size))
        if (i-- == 0) {
            buf[strcspn(buf, ",")] = 0;
            return buf;
        }
    return "";
}

const char *reel_choice_list(struct reel_pool *p, const char *choices)
{
    const char *list = "";
    char one[64];

    while (reel_next_choice(&choices, one, sizeof one)) {
        one[strcspn(one, ",")] = 0;
        list = *list ? reel_pool_printf(p, "%s, %s", list, one) : reel_pool_printf(p, "%s", one);
    }
    return list;
}

static int same_word(const char *a, size_t n, const char *b)
{
    if (strlen(b) != n) return 0;
    for (size_t i = 0; i < n; i++)
        if (tolower((unsigned char)a[i]) != tolower((unsigned char)b[i])) return 0;
    return 1;
}

int reel_choice_index(const char *choices, const char *word)
{
    char one[128];

    for (int i = 0; reel_next_choice(&choices, one, sizeof one); i++)
        for (const char *a = one; *a; a += strcspn(a, ",") + (a[strcspn(a, ",")] == ','))
            if (same_word(a, strcspn(a, ","), word)) return i;
    return -1;
}

static reel_err bad_choice(struct reel_config *cfg, const struct reel_opt *o, const struct reel_node *v,
                           const char *where)
{
    const char *names[32], *rest = o->choices;
    char one[32][64];
    int n = 0, near;

    while (n < 32 && reel_next_choice(&rest, one[n], sizeof one[n])) {
        one[n][strcspn(one[n], ",")] = 0;
        names[n] = one[n];
        n++;
    }
    near = reel_nearest(v->text, names, n);
    return reel_fail_at(v, where, "'%s' is not one of %s%s%s%s", v->text,
                        reel_choice_list(&cfg->pool, o->choices), near < 0 ? "" : "; did you mean ",
                        near < 0 ? "" : names[near], near < 0 ? "" : "?");
}

/* ---- numbers ---- */

static reel_err wrong_type(const struct reel_node *v, const char *where, const char *want)
{
    if (v->type >= REEL_NODE_SEQ || v->type == REEL_NODE_NULL)
        return reel_fail_at(v, where, "expected %s, got %s", want, reel_node_kind(v));
    return reel_fail_at(v, where, "expected %s, got %s: %s", want, reel_node_kind(v), v->text);
}

/* All digits of a whole number, up to the largest. */
static const char *bound(char buf[40], const struct reel_opt *o, double x)
{
    int whole = o->type == REEL_OPT_INT || o->type == REEL_OPT_INTS;

    snprintf(buf, 40, "%.*g", whole ? 19 : 10, x);
    return buf;
}

static reel_err bounds(const struct reel_opt *o, const struct reel_node *v, const char *where, double x)
{
    char lo[40], hi[40];

    if (isnan(x) || isinf(x)) return reel_fail_at(v, where, "expected a finite number, got %s", v->text);
    if (!(o->min < o->max) || (x >= o->min && x <= o->max)) return REEL_OK;
    if (x < o->min && o->max >= 1e15) return reel_fail_at(v, where, "%s is too small: at least %s", v->text, bound(lo, o, o->min));
    if (o->min <= -1e15 || o->max >= 1e15) return reel_fail_at(v, where, "%s is too large: at most %s", v->text, bound(hi, o, o->max));
    return reel_fail_at(v, where, "%s is out of bounds: %s to %s", v->text, bound(lo, o, o->min), bound(hi, o, o->max));
}

/* A number, or a string that reads as one (1e-5 is a string in YAML 1.1). */
static int number(struct reel_config *cfg, const struct reel_node *v, struct reel_node *out)
{
    *out = *v;
    if (v->type == REEL_NODE_STR) *out = *reel_node_cast(&cfg->pool, v->text);
    return out->type == REEL_NODE_INT || out->type == REEL_NODE_F64;
}

static reel_err get_f64(struct reel_config *cfg, const struct reel_opt *o, const struct reel_node *v,
                        const char *where, double *out)
{
    struct reel_node n;

    if (!number(cfg, v, &n)) return wrong_type(v, where, "a number");
    REEL_TRY(bounds(o, v, where, n.f));
    *out = n.f;
    return REEL_OK;
}

static reel_err get_int(struct reel_config *cfg, const struct reel_opt *o, const struct reel_node *v,
                        const char *where, int64_t *out)
{
    struct reel_node n;

    if (!number(cfg, v, &n)) return wrong_type(v, where, "an integer");
    if (n.type == REEL_NODE_F64 && n.f != floor(n.f)) return wrong_type(v, where, "an integer");
    REEL_TRY(bounds(o, v, where, n.f));
    if (n.type == REEL_NODE_F64 && fabs(n.f) > 9e18) return wrong_type(v, where, "an integer of at most 9e18");
    *out = n.type == REEL_NODE_F64 ? (int64_t)n.f : n.i;
    return REEL_OK;
}

/* ---- durations ---- */

static double unit_s(const char *u, size_t n)
{
    static const struct { const char *name; double s; } unit[] = {
        { "d", 86400 }, { "h", 3600 }, { "m", 60 }, { "min", 60 }, { "s", 1 },
    };

    for (size_t i = 0; i < sizeof unit / sizeof *unit; i++)
        if (strlen(unit[i].name) == n && !strncmp(u, unit[i].name, n)) return unit[i].s;
    return 0;
}

/* "3h50m", "1.5h", "90s"; -1 if it is nothing of the kind */
static double duration_units(const char *s)
{
    double total = 0;

    if (!*s) return -1;
    while (*s) {
        char *end;
        double x, u;
        size_t n;

        if (!isdigit((unsigned char)*s)) return -1;
        x = strtod(s, &end);
        n = strspn(end, "abcdefghijklmnopqrstuvwxyz");
        u = unit_s(end, n);
        if (u == 0) return -1;
        total += x * u;
        s = end + n;
    }
    return total;
}

static reel_err get_duration(struct reel_config *cfg, const struct reel_opt *o, const struct reel_node *v,
                             const char *where, double *out)
{
    struct reel_node n, sexagesimal = { .text = v->text };

    if (number(cfg, v, &n)) *out = n.f;
    else if (v->type != REEL_NODE_STR) return wrong_type(v, where, "a duration such as 3h50m");
    else {
        reel_yaml_scalar(&sexagesimal); /* 3:50:00 from the command line */
        *out = sexagesimal.type == REEL_NODE_INT ? sexagesimal.f : duration_units(v->text);
        if (*out < 0) return wrong_type(v, where, "a duration such as 3h50m, 90s or seconds");
    }
    return bounds(o, v, where, *out);
}

/* ---- lists ---- */

static reel_err get_betas(struct reel_config *cfg, const struct reel_opt *o, const struct reel_node *v,
                          const char *where, double *out)
{
    struct reel_node part[2], *item[2] = { &part[0], &part[1] };
    const char *comma = v->type == REEL_NODE_STR ? strchr(v->text, ',') : NULL;

    if (v->type == REEL_NODE_SEQ && v->n == 2) item[0] = v->item[0], item[1] = v->item[1];
    else if (comma) {
        part[0] = part[1] = *v;
        part[0].text = reel_pool_str(&cfg->pool, v->text, (size_t)(comma - v->text));
        part[1].text = comma + 1 + strspn(comma + 1, " ");
    } else return reel_fail_at(v, where, "expected two numbers: [0.9, 0.999] or \"0.9,0.999\"");
    for (int i = 0; i < 2; i++) {
        REEL_TRY(get_f64(cfg, o, item[i], where, &out[i]));
        if (out[i] < 0 || out[i] >= 1) return reel_fail_at(v, where, "%s is not in [0, 1)", item[i]->text);
    }
    return REEL_OK;
}

static reel_err get_ints(struct reel_config *cfg, const struct reel_opt *o, const struct reel_node *v,
                         const char *where, struct reel_ints *out)
{
    if (v->type != REEL_NODE_SEQ) return wrong_type(v, where, "a list of integers");
    out->n = v->n;
    out->v = reel_pool_push(&cfg->pool, ((size_t)v->n + 1) * sizeof *out->v);
    for (int i = 0; i < v->n; i++) REEL_TRY(get_int(cfg, o, v->item[i], where, &out->v[i]));
    return REEL_OK;
}

static int is_word(const struct reel_node *v)
{
    return v->type < REEL_NODE_SEQ && v->type != REEL_NODE_NULL;
}

static reel_err get_strs(struct reel_config *cfg, const struct reel_opt *o, const struct reel_node *v,
                         const char *where, struct reel_strs *out)
{
    struct reel_node *one = (struct reel_node *)v, **item = v->type == REEL_NODE_SEQ ? v->item : &one;

    if (v->type == REEL_NODE_MAP) return wrong_type(v, where, "a string or a list of strings");
    out->n = v->type == REEL_NODE_SEQ ? v->n : *v->text != 0;
    out->v = reel_pool_push(&cfg->pool, ((size_t)out->n + 1) * sizeof *out->v);
    for (int i = 0; i < out->n; i++) {
        if (!is_word(item[i])) return wrong_type(item[i], where, "a string");
        if (o->choices && reel_choice_index(o->choices, item[i]->text) < 0)
            return bad_choice(cfg, o, item[i], where);
        out->v[i] = item[i]->text;
    }
    return REEL_OK;
}

static void repeat_add(struct reel_config *cfg, struct reel_repeats *out, const char *path, size_t len,
                       int64_t times)
{
    struct reel_repeat *more;

    if (times <= 0 || !len) return;
    more = reel_pool_push(&cfg->pool, ((size_t)out->n + 1) * sizeof *more);
    if (out->n) memcpy(more, out->v, (size_t)out->n * sizeof *more);
    more[out->n++] = (struct reel_repeat){ reel_pool_str(&cfg->pool, path, len), times };
    out->v = more;
}

/* "a:2,b" -> a twice, b once. A colon not followed by an integer belongs to the path. */
static void repeat_text(struct reel_config *cfg, struct reel_repeats *out, const char *s)
{
    while (*s) {
        size_t len = strcspn(s, ","), path = len;
        char *end;

        for (size_t i = len; i-- > 0;) {
            int64_t times;

            if (s[i] != ':') continue;
            times = strtoll(s + i + 1, &end, 10);
            if (i + 1 < len && end == s + len) {
                repeat_add(cfg, out, s, i, times);
                path = 0;
            }
            break;
        }
        repeat_add(cfg, out, s, path, 1);
        s += len + (s[len] == ',');
    }
}

static reel_err get_repeats(struct reel_config *cfg, const struct reel_node *v, const char *where,
                            struct reel_repeats *out)
{
    static const struct reel_opt times = { .type = REEL_OPT_INT };

    *out = (struct reel_repeats){ 0 };
    if (v->type == REEL_NODE_MAP) {
        for (int i = 0; i < v->n; i++) {
            int64_t n;

            REEL_TRY(get_int(cfg, &times, v->item[i], where, &n));
            repeat_add(cfg, out, v->key[i].name, strlen(v->key[i].name), n);
        }
        return REEL_OK;
    }
    if (v->type != REEL_NODE_SEQ) {
        repeat_text(cfg, out, v->text);
        return REEL_OK;
    }
    for (int i = 0; i < v->n; i++) {
        if (!is_word(v->item[i])) return wrong_type(v->item[i], where, "a path");
        repeat_text(cfg, out, v->item[i]->text);
    }
    return REEL_OK;
}

/* ---- all types ---- */

static reel_err set(struct reel_config *cfg, const struct reel_opt *o, const struct reel_node *v,
                    const char *where, void *dst)
{
    switch (o->type) {
    case REEL_OPT_BOOL:
        if (v->type != REEL_NODE_BOOL) return wrong_type(v, where, "true or false");
        *(int *)dst = (int)v->i;
        return REEL_OK;
    case REEL_OPT_INT: return get_int(cfg, o, v, where, dst);
    case REEL_OPT_F64: return get_f64(cfg, o, v, where, dst);
    case REEL_OPT_STR:
        if (!is_word(v)) return wrong_type(v, where, "a string");
        *(const char **)dst = *v->text ? v->text : o->sdflt;
        return REEL_OK;
    case REEL_OPT_ENUM:
        if (!is_word(v)) return wrong_type(v, where, reel_pool_printf(&cfg->pool, "one of %s", reel_choice_list(&cfg->pool, o->choices)));
        *(int *)dst = reel_choice_index(o->choices, v->text);
        return *(int *)dst < 0 ? bad_choice(cfg, o, v, where) : REEL_OK;
    case REEL_OPT_BETAS: return get_betas(cfg, o, v, where, dst);
    case REEL_OPT_INTS: return get_ints(cfg, o, v, where, dst);
    case REEL_OPT_STRS: return get_strs(cfg, o, v, where, dst);
    case REEL_OPT_REPEATS: return get_repeats(cfg, v, where, dst);
    case REEL_OPT_DURATION: return get_duration(cfg, o, v, where, dst);
    case REEL_OPT_RAW: *(const struct reel_node **)dst = v; return REEL_OK;
    case REEL_OPT_END: break;
    }
    return REEL_OK;
}

static int is_zero(const struct reel_node *v)
{
    return v->type == REEL_NODE_SEQ ? v->n == 0 : v->type == REEL_NODE_STR ? !*v->text
         : v->type == REEL_NODE_BOOL ? v->i == 0 : v->type != REEL_NODE_MAP && v->f == 0;
}

reel_err reel_opt_set(struct reel_config *cfg, const struct reel_opt *o, const struct reel_node *v,
                      const char *where, void *dst)
{
    if (v->type == REEL_NODE_NULL) return REEL_OK; /* the default stays */
    if (o->flags & REEL_OPT_ZERO && cfg->parity && is_zero(v)) return REEL_OK;
    return set(cfg, o, v, where, dst);
}

void reel_opt_default(struct reel_config *cfg, const struct reel_opt *o, void *dst)
{
    struct reel_node *v = NULL;
    int unset = o->flags & REEL_OPT_NULLABLE;

    switch (o->type) {
    case REEL_OPT_BOOL:
    case REEL_OPT_ENUM: *(int *)dst = (int)o->dflt; return;
    case REEL_OPT_INT: *(int64_t *)dst = unset ? REEL_INT_UNSET : (int64_t)o->dflt; return;
    case REEL_OPT_F64: *(double *)dst = unset ? (double)NAN : o->dflt; return;
    case REEL_OPT_DURATION: *(double *)dst = o->dflt; return;
    case REEL_OPT_STR: *(const char **)dst = o->sdflt; return;
    case REEL_OPT_RAW: *(const struct reel_node **)dst = NULL; return;
    case REEL_OPT_INTS: *(struct reel_ints *)dst = (struct reel_ints){ 0 }; break;
    case REEL_OPT_STRS: *(struct reel_strs *)dst = (struct reel_strs){ 0 }; break;
    case REEL_OPT_REPEATS: *(struct reel_repeats *)dst = (struct reel_repeats){ 0 }; break;
    case REEL_OPT_BETAS: memset(dst, 0, 2 * sizeof(double)); break;
    case REEL_OPT_END: return;
    }
    if (!o->sdflt) return;
    REEL_BUG_IF(reel_yaml_parse(&cfg->pool, o->sdflt, strlen(o->sdflt), "default", &v) ||
                    set(cfg, o, v, o->name, dst),
                "option %s: its default '%s' does not parse: %s", o->name, o->sdflt, reel_errrec()->msg);
}

/* ---- writing ---- */

static void write_str(const char *s, FILE *f)
{
    if (s) reel_yaml_quote(s, f);
    else fputs("null", f);
}

static void write_repeats(const struct reel_repeats *r, FILE *f)
{
    if (r->n == 0) fputs("null", f);
    else if (r->n == 1 && r->v[0].times == 1 && !strpbrk(r->v[0].path, ":,")) write_str(r->v[0].path, f);
    else {
        for (int i = 0; i < r->n; i++) {
            fputs(i ? ", " : "{", f);
            reel_yaml_quote(r->v[i].path, f);
            fprintf(f, ": %lld", (long long)r->v[i].times);
        }
        fputc('}', f);
    }
}

static void write_list(const struct reel_opt *o, const void *src, FILE *f)
{
    const struct reel_ints *ints = src;
    const struct reel_strs *strs = src;
    int n = o->type == REEL_OPT_INTS ? ints->n : strs->n;

    fputc('[', f);
    for (int i = 0; i < n; i++) {
        if (i) fputs(", ", f);
        if (o->type == REEL_OPT_INTS) fprintf(f, "%lld", (long long)ints->v[i]);
        else reel_yaml_quote(strs->v[i], f);
    }
    fputc(']', f);
}

void reel_opt_write(const struct reel_opt *o, const void *src, FILE *f)
{
    const struct reel_node *raw;
    char buf[64];

    switch (o->type) {
    case REEL_OPT_BOOL: fputs(*(const int *)src ? "true" : "false", f); return;
    case REEL_OPT_ENUM: fputs(reel_choice_name(o->choices, *(const int *)src, buf, sizeof buf), f); return;
    case REEL_OPT_INT:
        if (*(const int64_t *)src == REEL_INT_UNSET) fputs("null", f);
        else fprintf(f, "%lld", (long long)*(const int64_t *)src);
        return;
    case REEL_OPT_F64:
    case REEL_OPT_DURATION:
        if (isnan(*(const double *)src)) fputs("null", f);
        else reel_yaml_number(*(const double *)src, f);
        return;
    case REEL_OPT_STR: write_str(*(const char *const *)src, f); return;
    case REEL_OPT_BETAS:
        fputc('[', f);
        reel_yaml_number(((const double *)src)[0], f);
        fputs(", ", f);
        reel_yaml_number(((const double *)src)[1], f);
        fputc(']', f);
        return;
    case REEL_OPT_INTS:
    case REEL_OPT_STRS: write_list(o, src, f); return;
    case REEL_OPT_REPEATS: write_repeats(src, f); return;
    case REEL_OPT_RAW:
        raw = *(const struct reel_node *const *)src;
        if (raw) reel_node_flow(raw, f);
        else fputs("null", f);
        return;
    case REEL_OPT_END: return;
    }
}
