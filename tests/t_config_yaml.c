/* YAML 1.1: scalar types against PyYAML's verdicts; structure, anchors, merge keys, errors with places. */
#include <jansson.h>
#include <math.h>

#include "tests/cfg.h"

static const char *const type_name[] = { "null", "bool", "int", "float", "str", "seq", "map" };

static int same_scalar(const char *text, const char *type, const json_t *want)
{
    struct reel_node n = { .text = text };
    const char *s = json_string_value(want);

    reel_yaml_scalar(&n);
    if (strcmp(type_name[n.type], type) != 0) return 0;
    switch (n.type) {
    case REEL_NODE_BOOL: return json_is_true(want) == (n.i == 1);
    case REEL_NODE_INT: return json_integer_value(want) == n.i;
    case REEL_NODE_F64:
        if (s) return strcmp(s, "nan") ? isinf(n.f) && (n.f < 0) == (*s == '-') : isnan(n.f);
        /* sexagesimal fractions: PyYAML adds from the right, so the last bit may differ */
        return fabs(json_number_value(want) - n.f) <= 1e-12 * fabs(n.f);
    default: return 1;
    }
}

/* the file of the environment variable if set: a larger list for a soak */
static void scalars(void)
{
    size_t len;
    char *text = cfg_read("tests/golden/configs/scalars.json", &len);
    json_t *list = getenv("REEL_SCALARS") ? json_load_file(getenv("REEL_SCALARS"), 0, NULL) : json_loads(text, 0, NULL);
    const char *s, *type;
    json_t *row;
    size_t i;
    int bad = 0;

    json_array_foreach(list, i, row) {
        s = json_string_value(json_array_get(row, 0));
        type = json_string_value(json_array_get(row, 1));
        if (same_scalar(s, type, json_array_get(row, 2))) continue;
        printf("# '%s' should be %s\n", s, type);
        bad++;
    }
    TAP_OK(!bad && json_array_size(list) > 300, "%zu scalars resolve as in PyYAML", json_array_size(list));
    json_decref(list);
    free(text);
}

/* JSON text of a document, or its error message; malloc'ed */
static char *json_of(const char *yaml)
{
    struct reel_pool pool = { 0 };
    struct reel_node *root;
    char *s = NULL;
    size_t n;
    FILE *f = open_memstream(&s, &n);

    reel_err_clear();
    if (reel_yaml_parse(&pool, yaml, strlen(yaml), "f.yaml", &root)) fputs(reel_errrec()->msg, f);
    else reel_node_json(root, f);
    fclose(f);
    reel_pool_free(&pool);
    return s;
}

static const struct { const char *yaml, *json; } documents[] = {
    { "", "null" },
    { "a: 1\nb: [x, 2.5, ~]\n", "{\"a\": 1, \"b\": [\"x\", 2.5, null]}" },
    { "a: .nan\nb: -.inf\n", "{\"a\": \".nan\", \"b\": \"-.inf\"}" },
    { "a:\n  b:\n", "{\"a\": {\"b\": null}}" },
    { "a: '1'\nb: \"on\"\nc: on\n", "{\"a\": \"1\", \"b\": \"on\", \"c\": true}" },
    { "a: !!str 1\nb: !!float 2\nc: !!int '3'\n", "{\"a\": \"1\", \"b\": 2.0, \"c\": 3}" },
    { "a: ! 1\n", "{\"a\": \"1\"}" },
    { "a: |\n  x\n  y\nb: >\n  x\n  y\n", "{\"a\": \"x\\u000ay\\u000a\", \"b\": \"x y\\u000a\"}" },
    { "a: &x {p: 1}\nb: *x\n", "{\"a\": {\"p\": 1}, \"b\": {\"p\": 1}}" },
    { "a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\n", "{\"a\": {\"p\": 1, \"q\": 2}, \"b\": {\"q\": 3, \"p\": 1}}" },
    { "a: &x {p: 1}\nb: &y {p: 2, q: 3}\nc: {<<: [*x, *y]}\n",
      "{\"a\": {\"p\": 1}, \"b\": {\"p\": 2, \"q\": 3}, \"c\": {\"p\": 1, \"q\": 3}}" },
    { "a: \"\\u00e4\\n\"\n", "{\"a\": \"\xc3\xa4\\u000a\"}" },
    { "--- \na: 1\n...\n", "{\"a\": 1}" },
    { "a: 1\nb: 2\na: 3\n", "f.yaml:3:1: key 'a' is written twice: first in line 1, again in line 3" },
    { "x:\n  a: 1\n  a: 1\n", "f.yaml:3:3: key 'a' is written twice: first in line 2, again in line 3" },
    { "a: *x\n", "f.yaml:1:4: no finished anchor of this name: *x" },
    { "a: &x [1, *x]\n", "f.yaml:1:11: no finished anchor of this name: *x" },
    { "a: !!python/object:os.system x\n",
      "f.yaml:1:4: tag not allowed in a configuration: tag:yaml.org,2002:python/object:os.system" },
    { "a: !!int x\n", "f.yaml:1:4: the value is not of its tag tag:yaml.org,2002:int" },
    { "a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document starts here; a run is one document" },
    { "? [a, b]\n: 1\n", "f.yaml:1:3: a key must be a plain word" },
    { "a: {<<: 3}\n", NULL },
    { "a: [1, 2\nb: 3\n", NULL },
    { "a:\n\t- 1\n", NULL },
    { "a: b: c\n", NULL },
    { "a: 'x\n", NULL },
    { "a: \xff\xfe\n", NULL },
};

static void structure(void)
{
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        char *got = json_of(documents[i].yaml);
        const char *want = documents[i].json;

        TAP_OK(want ? !strcmp(got, want) : !strncmp(got, "f.yaml:", 7) && !strchr(got, '\n'),
               "document %zu: %s", i, got);
        free(got);
    }
}

static void hostile(void)
{
    char deep[400], *got;
    const char *bomb = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
                       "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\n"
                       "e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: [*e, *e, *e, *e, *e, *e, *e, *e, *e]\n";

    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    got = json_of(deep);
    TAP_OK(strstr(got, "nested too deeply") != NULL, "depth is bounded: %s", got);
    free(got);
    got = json_of(bomb);
    TAP_OK(strstr(got, "aliases blow the document up") != NULL, "aliases are bounded: %.60s", got);
    free(got);
}

static const struct { const char *value; enum reel_node_type type; double f; } casts[] = {
    { "true", REEL_NODE_BOOL, 0 }, { "FALSE", REEL_NODE_BOOL, 0 }, { "tRuE", REEL_NODE_BOOL, 0 },
    { "yes", REEL_NODE_STR, 0 },   { "on", REEL_NODE_STR, 0 },     { "none", REEL_NODE_NULL, 0 },
    { "Null", REEL_NODE_NULL, 0 }, { "~", REEL_NODE_STR, 0 },      { "", REEL_NODE_STR, 0 },
    { "12", REEL_NODE_INT, 12 },   { "-3", REEL_NODE_INT, -3 },    { "+4", REEL_NODE_INT, 4 },
    { "1_000", REEL_NODE_INT, 1000 }, { "010", REEL_NODE_INT, 10 }, { "0x10", REEL_NODE_STR, 0 },
    { "1__0", REEL_NODE_STR, 0 },  { "1e-5", REEL_NODE_F64, 1e-5 }, { "1.", REEL_NODE_F64, 1 },
    { ".5", REEL_NODE_F64, .5 },   { "3h50m", REEL_NODE_STR, 0 },  { "[1, a]", REEL_NODE_SEQ, 0 },
    { "[1", REEL_NODE_STR, 0 },    { "[a: b: c]", REEL_NODE_STR, 0 }, { "{a: 1}", REEL_NODE_STR, 0 },
    { "0x1p3", REEL_NODE_STR, 0 }, { "--x", REEL_NODE_STR, 0 },
};

static void overrides(void)
{
    struct reel_pool p = { 0 };
    struct reel_node *root, *n;
    const char *y = "models: {student: &s {a: 1}, teacher: *s}\nlist: [1]\nt: x\n";

    for (size_t i = 0; i < sizeof casts / sizeof *casts; i++) {
        n = reel_node_cast(&p, casts[i].value);
        TAP_OK(n->type == casts[i].type && ((n->type != REEL_NODE_INT && n->type != REEL_NODE_F64) || n->f == casts[i].f),
               "cast '%s' is %s", casts[i].value, type_name[n->type]);
    }
    reel_err_clear();
    TAP_OK(!reel_yaml_parse(&p, y, strlen(y), "f.yaml", &root), "a document to override");
    TAP_OK(!reel_node_override(&p, root, "models.student.b", "2") && reel_node_at(root, "models.student.b")->i == 2 &&
               !reel_node_at(root, "models.teacher.b"), "an aliased mapping changes in one place only");
    TAP_OK(!reel_node_override(&p, root, "t.u.v", "null") && reel_node_at(root, "t.u.v")->type == REEL_NODE_NULL,
           "a scalar in the way becomes a mapping");
    TAP_OK(!reel_node_override(&p, root, "models.student.a", "5") && !reel_node_override(&p, root, "models.student.a", "6") &&
               reel_node_at(root, "models.student.a")->i == 6, "the last one wins");
    TAP_OK(!reel_node_override(&p, root, "list", "[7, 8]") && reel_node_at(root, "list")->n == 2, "a list as a whole");
    TAP_OK(reel_node_override(&p, root, "a..b", "1") == REEL_ECONFIG, "an empty name is refused: %s", reel_errrec()->msg);
    reel_pool_free(&p);
}

static void numbers(void)
{
    const double v[] = { 0, 1, 1e-5, 8e-6, 0.1, 1.0 / 3, 2e22, 600, -2.5, 1e300, 123456789.125, 5e-324 };
    int bad = 0;

    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        char *s = NULL;
        size_t n;
        FILE *f = open_memstream(&s, &n);
        struct reel_node back = { 0 };

        reel_yaml_number(v[i], f);
        fclose(f);
        back.text = s;
        reel_yaml_scalar(&back);
        if (back.type != REEL_NODE_F64 || back.f != v[i]) bad++, printf("# %s\n", s);
        free(s);
    }
    TAP_OK(!bad, "numbers are written so that YAML 1.1 reads the same doubles");
}

int main(void)
{
    scalars();
    structure();
    hostile();
    overrides();
    numbers();
    return tap_done();
}
