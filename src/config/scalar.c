/* YAML 1.1 scalar resolution, with the implicit rules that PyYAML's safe_load uses. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/node.h"

/* What a rule's characters may be, written as a little matcher rather than regular expressions:
 * resolution runs for every scalar of every file and regcomp would dominate it. */
static const char *digits(const char *s, const char *set)
{
    return s + strspn(s, set);
}

#define DEC  "0123456789"
#define DEC_ "0123456789_"

static int is_null(const char *s)
{
    return !*s || !strcmp(s, "~") || !strcmp(s, "null") || !strcmp(s, "Null") || !strcmp(s, "NULL");
}

static int is_bool(const char *s, int64_t *v)
{
    static const char *const word[] = { "no",  "No",  "NO",  "yes",  "Yes",  "YES",  "false", "False", "FALSE",
                                        "true", "True", "TRUE", "off", "Off", "OFF", "on",   "On",    "ON" };

    for (int i = 0; i < 18; i++) {
        if (strcmp(s, word[i]) != 0) continue;
        *v = i / 3 % 2;
        return 1;
    }
    return 0;
}

/* Digits of a base without underscores; 0 on overflow. */
static int accumulate(const char *s, const char *end, int base, int neg, int64_t *v)
{
    uint64_t u = 0, limit = neg ? (uint64_t)1 << 63 : (uint64_t)INT64_MAX;

    for (; s < end; s++) {
        uint64_t d;

        if (*s == '_') continue;
        d = (uint64_t)(*s <= '9' ? *s - '0' : (*s | 32) - 'a' + 10);
        if (u > (limit - d) / (uint64_t)base) return 0;
        u = u * (uint64_t)base + d;
    }
    *v = neg ? (int64_t)(0 - u) : (int64_t)u;
    return 1;
}

static int whole_digits(const char *s, const char *set)
{
    return *s && !*digits(s, set);
}

/* 190:20:30 -> seconds; every part after the first is below 60. `frac` allows .5 at the end. */
static int is_sexagesimal(const char *s, int frac, double *v)
{
    const char *p = digits(s, DEC_);
    double x = 0;

    if (p == s || *s == '_' || *p != ':') return 0;
    if (!frac && *s == '0') return 0;
    for (const char *q = s; q < p; q++)
        if (*q != '_') x = x * 10 + (*q - '0');
    while (*p == ':') {
        const char *end = digits(p + 1, DEC);
        long part = strtol(p + 1, NULL, 10);

        if (end == p + 1 || end - p > 3 || (end - p == 3 && p[1] > '5')) return 0;
        x = x * 60 + (double)part;
        p = end;
    }
    if (frac) {
        double scale = 0.1;

        if (*p++ != '.') return 0;
        for (; *p && strchr(DEC_, *p); p++)
            if (*p != '_') x += scale * (*p - '0'), scale /= 10;
    }
    *v = x;
    return !*p;
}

static int is_int(const char *s, struct reel_node *n)
{
    int neg = *s == '-', base = 10;
    double sexagesimal;

    s += *s == '-' || *s == '+';
    if (s[0] == '0' && s[1] == 'b' && whole_digits(s + 2, "01_")) base = 2, s += 2;
    else if (s[0] == '0' && s[1] == 'x' && whole_digits(s + 2, DEC_ "abcdefABCDEF")) base = 16, s += 2;
    else if (s[0] == '0' && s[1] && whole_digits(s + 1, "01234567_")) base = 8, s += 1;
    else if (s[0] >= '1' && s[0] <= '9' && whole_digits(s, DEC_)) base = 10;
    else if (is_sexagesimal(s, 0, &sexagesimal) && sexagesimal < 9e15) {
        n->i = (int64_t)(neg ? -sexagesimal : sexagesimal);
        return 1;
    } else if (strcmp(s, "0") != 0) return 0;
    return accumulate(s, s + strlen(s), base, neg, &n->i);
}

/* [-+]? digits . digits [eE][-+]digits: the dot and the exponent's sign are not optional in YAML 1.1. */
static int is_decimal(const char *s)
{
    const char *p = s + (*s == '-' || *s == '+'), *d = p;

    p = digits(p, DEC_);
    if (p > d && *d == '_') return 0;
    if (*p != '.') return 0;
    if (p == d && (d != s || !strchr(DEC, p[1]) || !p[1])) return 0; /* .5 takes no sign in PyYAML */
    p = digits(p + 1, DEC_);
    if (*p == 'e' || *p == 'E') {
        if (p[1] != '-' && p[1] != '+') return 0;
        if (!p[2] || digits(p + 2, DEC) == p + 2) return 0;
        p = digits(p + 2, DEC);
    }
    return !*p;
}

static double decimal_value(const char *s)
{
    char buf[64];
    size_t k = 0;

    for (; *s && k + 1 < sizeof buf; s++)
        if (*s != '_') buf[k++] = *s;
    buf[k] = 0;
    return strtod(buf, NULL);
}

static int is_float(const char *s, double *v)
{
    int sign = *s == '-' || *s == '+';

    if (!strcmp(s + sign, ".inf") || !strcmp(s + sign, ".Inf") || !strcmp(s + sign, ".INF")) {
        *v = *s == '-' ? -HUGE_VAL : HUGE_VAL;
        return 1;
    }
    if (!strcmp(s, ".nan") || !strcmp(s, ".NaN") || !strcmp(s, ".NAN")) {
        *v = nan("");
        return 1;
    }
    if (is_decimal(s)) {
        *v = decimal_value(s);
        return 1;
    }
    if (!is_sexagesimal(s + sign, 1, v)) return 0;
    if (*s == '-') *v = -*v;
    return 1;
}

void reel_yaml_scalar(struct reel_node *n)
{
    const char *s = n->text;

    n->type = REEL_NODE_STR;
    if (is_null(s)) n->type = REEL_NODE_NULL;
    else if (is_bool(s, &n->i)) n->type = REEL_NODE_BOOL;
    else if (is_int(s, n)) n->type = REEL_NODE_INT, n->f = (double)n->i;
    else if (is_float(s, &n->f)) n->type = REEL_NODE_F64;
}
