/* libyaml events -> a tree of nodes. */
#include <yaml.h>

#include <string.h>

#include "config/node.h"

#define MAX_DEPTH  64
#define MAX_WEIGHT 200000 /* what aliases may blow a document up to */

struct anchor {
    struct anchor *next;
    const char *name;
    struct reel_node *node;
};

struct reader {
    struct reel_pool *pool;
    yaml_parser_t yaml;
    yaml_event_t ev; /* current event, deleted by next() */
    int have_ev;
    const char *name;
    struct anchor *anchors;
};

static reel_err next(struct reader *r)
{
    if (r->have_ev) yaml_event_delete(&r->ev);
    r->have_ev = yaml_parser_parse(&r->yaml, &r->ev);
    if (r->have_ev) return REEL_OK;
    return REEL_FAIL(REEL_ECONFIG, "%s:%zu:%zu: not YAML: %s%s%s", r->name, r->yaml.problem_mark.line + 1,
                     r->yaml.problem_mark.column + 1, r->yaml.problem ? r->yaml.problem : "unreadable",
                     r->yaml.context ? ", " : "", r->yaml.context ? r->yaml.context : "");
}

static reel_err bad(const struct reader *r, const char *what, const char *detail)
{
    return REEL_FAIL(REEL_ECONFIG, "%s:%zu:%zu: %s%s", r->name, r->ev.start_mark.line + 1,
                     r->ev.start_mark.column + 1, what, detail);
}

static struct reel_node *node_new(struct reader *r, enum reel_node_type type)
{
    struct reel_node *n = reel_pool_push(r->pool, sizeof *n);

    *n = (struct reel_node){ .type = type, .src = r->name, .line = (int)r->ev.start_mark.line + 1,
                             .col = (int)r->ev.start_mark.column + 1, .text = "", .weight = 1 };
    return n;
}

static void anchor_add(struct reader *r, const char *name, struct reel_node *n)
{
    struct anchor *a;

    if (!name) return;
    a = reel_pool_push(r->pool, sizeof *a);
    *a = (struct anchor){ .next = r->anchors, .name = name, .node = n };
    r->anchors = a;
}

static const char *anchor_name(struct reader *r, const yaml_char_t *a)
{
    return a ? reel_pool_str(r->pool, (const char *)a, strlen((const char *)a)) : NULL;
}

static reel_err alias(struct reader *r, struct reel_node **out)
{
    const char *name = (const char *)r->ev.data.alias.anchor;

    for (struct anchor *a = r->anchors; a; a = a->next) {
        if (strcmp(a->name, name) != 0) continue;
        *out = a->node;
        return REEL_OK;
    }
    return bad(r, "no finished anchor of this name: *", name);
}

#define CORE "tag:yaml.org,2002:"

static reel_err tag_type(struct reader *r, const char *tag, enum reel_node_type *type)
{
    static const struct { const char *name; enum reel_node_type type; } known[] = {
        { "null", REEL_NODE_NULL }, { "bool", REEL_NODE_BOOL }, { "int", REEL_NODE_INT },
        { "float", REEL_NODE_F64 }, { "str", REEL_NODE_STR },   { "seq", REEL_NODE_SEQ },
        { "map", REEL_NODE_MAP },
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strncmp(tag, CORE, strlen(CORE)) != 0 || strcmp(tag + strlen(CORE), known[i].name) != 0)
            continue;
        *type = known[i].type;
        return REEL_OK;
    }
    return bad(r, "tag not allowed in a configuration: ", tag);
}

static reel_err scalar(struct reader *r, struct reel_node **out)
{
    const char *tag = (const char *)r->ev.data.scalar.tag;
    struct reel_node *n = node_new(r, REEL_NODE_STR);
    enum reel_node_type want = REEL_NODE_STR;

    n->text = reel_pool_str(r->pool, (const char *)r->ev.data.scalar.value, r->ev.data.scalar.length);
    if (strlen(n->text) != r->ev.data.scalar.length) return bad(r, "a NUL byte inside a scalar", "");
    anchor_add(r, anchor_name(r, r->ev.data.scalar.anchor), n);
    *out = n;
    if (!tag) {
        if (r->ev.data.scalar.plain_implicit) reel_yaml_scalar(n);
        return REEL_OK;
    }
    if (strcmp(tag, "!") == 0) return REEL_OK;
    REEL_TRY(tag_type(r, tag, &want));
    if (want == REEL_NODE_STR) return REEL_OK;
    reel_yaml_scalar(n);
    if (want == REEL_NODE_F64 && n->type == REEL_NODE_INT) n->type = REEL_NODE_F64;
    return n->type == want ? REEL_OK : bad(r, "the value is not of its tag ", tag);
}

static reel_err value(struct reader *r, struct reel_node **out, int depth);

/* A growing array of the pool: doubles, and leaves the old halves to the pool. */
static void *grown(struct reel_pool *p, void *v, int n, size_t size)
{
    char *more;

    if (n & (n - 1)) return v; /* room until the next power of two */
    more = reel_pool_push(p, (n ? 2 * (size_t)n : 1) * size);
    if (n) memcpy(more, v, (size_t)n * size);
    return more;
}

static void append(struct reader *r, struct reel_node *n, struct reel_key key, struct reel_node *v)
{
    n->item = grown(r->pool, n->item, n->n, sizeof *n->item);
    n->item[n->n] = v;
    if (n->type == REEL_NODE_MAP) {
        n->key = grown(r->pool, n->key, n->n, sizeof *n->key);
        n->key[n->n] = key;
    }
    n->n++;
    n->weight += v->weight;
}

static reel_err check_weight(struct reader *r, const struct reel_node *n)
{
    return n->weight <= MAX_WEIGHT ? REEL_OK : bad(r, "aliases blow the document up", "");
}

static reel_err sequence(struct reader *r, struct reel_node **out, int depth)
{
    struct reel_node *n = node_new(r, REEL_NODE_SEQ), *v;
    const char *anchor = anchor_name(r, r->ev.data.sequence_start.anchor);

    for (;;) {
        REEL_TRY(next(r));
        if (r->ev.type == YAML_SEQUENCE_END_EVENT) break;
        REEL_TRY(value(r, &v, depth));
        append(r, n, (struct reel_key){ 0 }, v);
        REEL_TRY(check_weight(r, n));
    }
    anchor_add(r, anchor, n);
    *out = n;
    return REEL_OK;
}

static int find_key(const struct reel_node *n, const char *name)
{
    for (int i = 0; i < n->n; i++)
        if (strcmp(n->key[i].name, name) == 0) return i;
    return -1;
}

/* `<<: mapping` or `<<: [mapping, ...]`: the keys that are not there yet; earlier mappings win. */
static reel_err merge(struct reader *r, struct reel_node *n, const struct reel_node *from)
{
    if (from->type == REEL_NODE_SEQ) {
        for (int i = 0; i < from->n; i++) REEL_TRY(merge(r, n, from->item[i]));
        return REEL_OK;
    }
    if (from->type != REEL_NODE_MAP) return bad(r, "a merge key << takes a mapping or a list of them", "");
    for (int i = 0; i < from->n; i++)
        if (find_key(n, from->key[i].name) < 0) append(r, n, from->key[i], from->item[i]);
    return check_weight(r, n);
}

static reel_err mapping(struct reader *r, struct reel_node **out, int depth)
{
    struct reel_node *n = node_new(r, REEL_NODE_MAP), *v, *merged = NULL;
    const char *anchor = anchor_name(r, r->ev.data.mapping_start.anchor);

    for (;;) {
        struct reel_key key;
        int seen, is_merge;

        REEL_TRY(next(r));
        if (r->ev.type == YAML_MAPPING_END_EVENT) break;
        if (r->ev.type != YAML_SCALAR_EVENT) return bad(r, "a key must be a plain word", "");
        key = (struct reel_key){
            .name = reel_pool_str(r->pool, (const char *)r->ev.data.scalar.value, r->ev.data.scalar.length),
            .line = (int)r->ev.start_mark.line + 1, .col = (int)r->ev.start_mark.column + 1 };
        is_merge = strcmp(key.name, "<<") == 0 && r->ev.data.scalar.plain_implicit;
        seen = find_key(n, key.name);
        if (seen >= 0)
            return REEL_FAIL(REEL_ECONFIG, "%s:%d:%d: key '%s' is written twice: first in line %d, again in line %d",
                             r->name, key.line, key.col, key.name, n->key[seen].line, key.line);
        REEL_TRY(next(r));
        REEL_TRY(value(r, &v, depth));
        if (is_merge) merged = v;
        else append(r, n, key, v);
        REEL_TRY(check_weight(r, n));
    }
    if (merged) REEL_TRY(merge(r, n, merged));
    anchor_add(r, anchor, n);
    *out = n;
    return REEL_OK;
}

static reel_err value(struct reader *r, struct reel_node **out, int depth)
{
    if (depth >= MAX_DEPTH) return bad(r, "nested too deeply", "");
    switch (r->ev.type) {
    case YAML_SCALAR_EVENT: return scalar(r, out);
    case YAML_ALIAS_EVENT: return alias(r, out);
    case YAML_SEQUENCE_START_EVENT: return sequence(r, out, depth + 1);
    case YAML_MAPPING_START_EVENT: return mapping(r, out, depth + 1);
    default: return bad(r, "a value was expected here", "");
    }
}

static reel_err document(struct reader *r, struct reel_node **root)
{
    REEL_TRY(next(r)); /* stream start */
    REEL_TRY(next(r));
    if (r->ev.type == YAML_STREAM_END_EVENT) {
        *root = node_new(r, REEL_NODE_NULL);
        return REEL_OK;
    }
    REEL_TRY(next(r));
    REEL_TRY(value(r, root, 0));
    REEL_TRY(next(r)); /* document end */
    REEL_TRY(next(r));
    if (r->ev.type != YAML_STREAM_END_EVENT) return bad(r, "a second document starts here; a run is one document", "");
    return REEL_OK;
}

reel_err reel_yaml_parse(struct reel_pool *p, const char *text, size_t len, const char *name,
                         struct reel_node **root)
{
    struct reader r = { .pool = p, .name = reel_pool_str(p, name, strlen(name)) };
    reel_err e;

    if (!yaml_parser_initialize(&r.yaml)) return REEL_FAIL(REEL_ENOMEM, "%s: out of memory", name);
    yaml_parser_set_encoding(&r.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.yaml, (const unsigned char *)text, len);
    e = document(&r, root);
    if (r.have_ev) yaml_event_delete(&r.ev);
    yaml_parser_delete(&r.yaml);
    return e;
}
