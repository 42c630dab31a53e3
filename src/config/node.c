#include "config/node.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct reel_node *reel_node_get(const struct reel_node *n, const char *key, size_t len)
{
    if (!n || n->type != REEL_NODE_MAP) return NULL;
    for (int i = 0; i < n->n; i++)
        if (strlen(n->key[i].name) == len && !strncmp(n->key[i].name, key, len)) return n->item[i];
    return NULL;
}

struct reel_node *reel_node_at(const struct reel_node *root, const char *path)
{
    const struct reel_node *n = root;

    while (n && *path) {
        size_t len = strcspn(path, ".");

        n = reel_node_get(n, path, len);
        path += len + (path[len] == '.');
    }
    return (struct reel_node *)n;
}

int reel_node_given(const struct reel_node *root, const char *path)
{
    const struct reel_node *n = reel_node_at(root, path);

    return n && n->type != REEL_NODE_NULL;
}

const char *reel_node_kind(const struct reel_node *n)
{
    static const char *const kind[] = { "null", "a boolean", "an integer", "a number", "a string", "a list",
                                        "a mapping" };

    return kind[n->type];
}

const char *reel_node_where(const struct reel_node *n, char *buf, size_t size)
{
    if (n->line) snprintf(buf, size, "%s:%d:%d", n->src, n->line, n->col);
    else snprintf(buf, size, "%s", n->src);
    return buf;
}

/* ---- overrides ---- */

/* [+-]digits with single underscores between them, as Python's int() takes it. */
static int python_int(const char *s)
{
    s += *s == '-' || *s == '+';
    if (!isdigit((unsigned char)*s)) return 0;
    for (; *s; s++)
        if (!isdigit((unsigned char)*s) && !(*s == '_' && isdigit((unsigned char)s[1]))) return 0;
    return 1;
}

static int python_float(const char *s, double *v)
{
    char *end;

    if (!*s || strpbrk(s, "xXpP()")) return 0; /* C's hexadecimal floats and nan(...) are not Python's */
    *v = strtod(s, &end);
    return !*end && end != s && !isspace((unsigned char)*s);
}

static void cast_int(struct reel_node *n)
{
    char digits[32];
    size_t k = 0;

    for (const char *s = n->text; *s && k + 1 < sizeof digits; s++)
        if (*s != '_' && *s != '+') digits[k++] = *s;
    digits[k] = 0;
    n->type = REEL_NODE_INT;
    n->i = strtoll(digits, NULL, 10);
    n->f = (double)n->i;
}

static int word(const char *s, const char *lower)
{
    for (; *s && tolower((unsigned char)*s) == *lower; s++, lower++) {}
    return !*s && !*lower;
}

static void relocate(struct reel_node *n)
{
    n->src = "command line";
    n->line = 0;
    for (int i = 0; i < n->n; i++) relocate(n->item[i]);
}

static struct reel_node *cast_list(struct reel_pool *p, const char *value)
{
    size_t len = strlen(value);
    struct reel_node *list;

    if (len < 2 || value[0] != '[' || value[len - 1] != ']') return NULL;
    if (reel_yaml_parse(p, value, len, "command line", &list)) {
        reel_err_clear(); /* not a list after all: the value stays a string */
        return NULL;
    }
    relocate(list);
    return list;
}

struct reel_node *reel_node_cast(struct reel_pool *p, const char *value)
{
    struct reel_node *n = cast_list(p, value);

    if (n) return n;
    n = reel_pool_push(p, sizeof *n);
    *n = (struct reel_node){ .type = REEL_NODE_STR, .src = "command line", .weight = 1,
                             .text = reel_pool_str(p, value, strlen(value)) };
    if (word(value, "true") || word(value, "false")) {
        n->type = REEL_NODE_BOOL;
        n->i = word(value, "true");
    } else if (word(value, "none") || word(value, "null")) n->type = REEL_NODE_NULL;
    else if (python_int(value) && strlen(value) < 20) cast_int(n);
    else if (python_float(value, &n->f)) n->type = REEL_NODE_F64;
    return n;
}

static struct reel_node *copy_map(struct reel_pool *p, const struct reel_node *from, const char *src)
{
    struct reel_node *n = reel_pool_push(p, sizeof *n);
    size_t room = (size_t)(from && from->type == REEL_NODE_MAP ? from->n : 0);

    *n = (struct reel_node){ .type = REEL_NODE_MAP, .src = src, .text = "", .weight = 1 };
    if (room) *n = *from;
    n->item = reel_pool_push(p, (room + 1) * sizeof *n->item);
    n->key = reel_pool_push(p, (room + 1) * sizeof *n->key);
    if (room) memcpy(n->item, from->item, room * sizeof *n->item);
    if (room) memcpy(n->key, from->key, room * sizeof *n->key);
    return n;
}

static int index_of(const struct reel_node *map, const char *key, size_t len)
{
    for (int i = 0; i < map->n; i++)
        if (strlen(map->key[i].name) == len && !strncmp(map->key[i].name, key, len)) return i;
    return -1;
}

/* The map's slot for a key, appended when new. The map was made by copy_map and has one place left. */
static struct reel_node **slot(struct reel_pool *p, struct reel_node *map, const char *key, size_t len)
{
    int i = index_of(map, key, len);

    if (i < 0) {
        i = map->n++;
        map->key[i] = (struct reel_key){ .name = reel_pool_str(p, key, len) };
    }
    return &map->item[i];
}

reel_err reel_node_override(struct reel_pool *p, struct reel_node *root, const char *key, const char *value)
{
    struct reel_node *map;

    for (const char *k = key;; k++) {
        size_t len = strcspn(k, ".");

        if (!len) return REEL_FAIL(REEL_ECONFIG, "command line: --%s: an empty name between dots", key);
        k += len;
        if (!*k) break;
    }
    map = copy_map(p, root, "command line");
    *root = *map;
    map = root;
    for (;;) {
        size_t len = strcspn(key, ".");
        struct reel_node **at = slot(p, map, key, len);

        if (!key[len]) {
            *at = reel_node_cast(p, value);
            return REEL_OK;
        }
        *at = copy_map(p, *at, "command line");
        map = *at;
        key += len + 1;
    }
}

/* ---- output ---- */

static void json_string(const char *s, FILE *f)
{
    fputc('"', f);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '"' || c == '\\') fprintf(f, "\\%c", c);
        else if (c < 0x20 || c == 0x7f) fprintf(f, "\\u%04x", c);
        else fputc(c, f);
    }
    fputc('"', f);
}

/* JSON has no word for what is not finite: such a number is the text it was written as, e.g. the name of a folder. */
static void json_number(const struct reel_node *n, FILE *f)
{
    if (!isfinite(n->f)) json_string(n->text, f);
    else fprintf(f, "%.17g%s", n->f, n->f == floor(n->f) && fabs(n->f) < 1e17 ? ".0" : "");
}

/* Plain only if it is made of harmless characters and resolves to a string. */
static int plain(const char *s)
{
    struct reel_node n = { .text = s };

    if (!*s || *s == '-' || *s == '.' || *s == '=' || *s == '+') return 0;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("_-./+=@~", *s)) return 0;
    reel_yaml_scalar(&n);
    return n.type == REEL_NODE_STR && n.text[0] != '~' && n.text[0] != '@';
}

void reel_yaml_quote(const char *s, FILE *f)
{
    if (plain(s)) fputs(s, f);
    else json_string(s, f); /* a JSON string is a YAML double-quoted scalar */
}

void reel_yaml_number(double v, FILE *f)
{
    char s[40], *e;

    if (isnan(v) || isinf(v)) {
        fputs(isnan(v) ? ".nan" : v < 0 ? "-.inf" : ".inf", f);
        return;
    }
    if (v == floor(v) && fabs(v) < 1e15) {
        fprintf(f, "%.1f", v);
        return;
    }
    for (int prec = 1; prec <= 17; prec++) {
        snprintf(s, sizeof s, "%.*g", prec, v);
        if (strtod(s, NULL) == v) break;
    }
    e = strchr(s, 'e');
    if (strchr(s, '.')) fputs(s, f);
    else fprintf(f, "%.*s.0%s", (int)(e ? e - s : (long)strlen(s)), s, e ? e : "");
}

static void yaml_number(const struct reel_node *n, FILE *f) { reel_yaml_number(n->f, f); }

/* JSON and a line of YAML are spelt alike but for texts and numbers. */
struct spelling {
    void (*string)(const char *s, FILE *f);
    void (*number)(const struct reel_node *n, FILE *f);
};

static void spell(const struct reel_node *n, const struct spelling *how, FILE *f)
{
    switch (n->type) {
    case REEL_NODE_NULL: fputs("null", f); return;
    case REEL_NODE_BOOL: fputs(n->i ? "true" : "false", f); return;
    case REEL_NODE_INT: fprintf(f, "%lld", (long long)n->i); return;
    case REEL_NODE_F64: how->number(n, f); return;
    case REEL_NODE_STR: how->string(n->text, f); return;
    case REEL_NODE_SEQ:
    case REEL_NODE_MAP: break;
    }
    fputc(n->type == REEL_NODE_SEQ ? '[' : '{', f);
    for (int i = 0; i < n->n; i++) {
        if (i) fputs(", ", f);
        if (n->type == REEL_NODE_MAP) {
            how->string(n->key[i].name, f);
            fputs(": ", f);
        }
        spell(n->item[i], how, f);
    }
    fputc(n->type == REEL_NODE_SEQ ? ']' : '}', f);
}

void reel_node_json(const struct reel_node *n, FILE *f) { spell(n, &(struct spelling){ json_string, json_number }, f); }
void reel_node_flow(const struct reel_node *n, FILE *f) { spell(n, &(struct spelling){ reel_yaml_quote, yaml_number }, f); }

/* ---- spelling ---- */

#define MAX_WORD 63

/* Damerau-Levenshtein (neighbours swapped count once), case ignored; cut off at MAX_WORD letters. */
static int distance(const char *a, const char *b)
{
    int na = (int)strnlen(a, MAX_WORD), nb = (int)strnlen(b, MAX_WORD);
    int row[3][MAX_WORD + 1], *two = row[0], *one = row[1], *cur = row[2];

    for (int j = 0; j <= nb; j++) one[j] = j, two[j] = 0;
    for (int i = 1; i <= na; i++) {
        cur[0] = i;
        for (int j = 1; j <= nb; j++) {
            int ca = tolower((unsigned char)a[i - 1]), cb = tolower((unsigned char)b[j - 1]);
            int best = one[j - 1] + (ca != cb);

            if (one[j] + 1 < best) best = one[j] + 1;
            if (cur[j - 1] + 1 < best) best = cur[j - 1] + 1;
            if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
                cb == tolower((unsigned char)a[i - 2]) && two[j - 2] + 1 < best)
                best = two[j - 2] + 1;
            cur[j] = best;
        }
        int *spare = two;

        two = one;
        one = cur;
        cur = spare;
    }
    return one[nb];
}

/* 1 if one of the words, of at least three letters, begins the other */
static int begins(const char *a, const char *b)
{
    size_t n = strlen(a) < strlen(b) ? strlen(a) : strlen(b);

    return n >= 3 && !strncasecmp(a, b, n);
}

int reel_nearest(const char *to, const char *const *names, int n)
{
    int best = -1, least = (int)strlen(to) / 2 + 1; /* half of the letters wrong is another word */

    for (int i = 0; i < n; i++) {
        int d = begins(to, names[i]) ? 1 : distance(to, names[i]);

        if (d < least) least = d, best = i;
    }
    return best;
}
