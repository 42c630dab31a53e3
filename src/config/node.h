#ifndef REEL_CONFIG_NODE_H
#define REEL_CONFIG_NODE_H

#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "config/pool.h"

/* A YAML document as a tree that remembers where every key and value stands. Scalars are resolved
 * as YAML 1.1 does it (1e-5 is a string, on is a boolean), with the text as written kept beside. */
enum reel_node_type { REEL_NODE_NULL, REEL_NODE_BOOL, REEL_NODE_INT, REEL_NODE_F64, REEL_NODE_STR,
                      REEL_NODE_SEQ, REEL_NODE_MAP };

struct reel_node {
    enum reel_node_type type;
    const char *src;  /* file name, or "command line" with line 0 */
    int line, col;    /* from 1 */
    int64_t i;        /* INT; BOOL 0 or 1 */
    double f;         /* INT and F64 */
    const char *text; /* scalars, as written; "" in collections */
    int n;                          /* SEQ, MAP */
    long weight;                    /* nodes below, aliases counted as often as they are used */
    struct reel_node **item;        /* SEQ, MAP: values */
    struct reel_key { const char *name; int line, col; } *key; /* MAP */
};

/**
 * reel_yaml_parse - one YAML document. Local and Symmetric: a function of the bytes.
 * @text, @len  the document; @name is the file name in messages
 * Anchors, aliases, merge keys and the core tags are understood. Memory is the pool's.
 * Errors: REEL_ECONFIG with name:line:column: syntax, a key written twice (names both lines), a tag
 * that is not plain data, several documents.
 */
reel_err reel_yaml_parse(struct reel_pool *p, const char *text, size_t len, const char *name,
                         struct reel_node **root);

/** reel_yaml_scalar - the type and value of a plain scalar; fills type, i, f. Local. */
void reel_yaml_scalar(struct reel_node *n);

/**
 * reel_node_override - apply one dotted override: the value is cast as the command line does it
 * (true/false, none/null, Python int and float syntax, [a, b], else a string). Local.
 * Missing or non-mapping intermediates become mappings; an aliased mapping is copied first, so that
 * only the named place changes.
 * @key  dotted, without the leading dashes
 */
reel_err reel_node_override(struct reel_pool *p, struct reel_node *root, const char *key,
                            const char *value);

/** reel_node_cast - the node that a command-line value means. Local. */
struct reel_node *reel_node_cast(struct reel_pool *p, const char *value);

/** reel_node_get - value of a key, NULL when absent (or n is not a mapping). Local. */
struct reel_node *reel_node_get(const struct reel_node *n, const char *key, size_t len);
/** reel_node_at - the node below a dotted path, NULL when absent. Local. */
struct reel_node *reel_node_at(const struct reel_node *root, const char *path);
/** reel_node_given - 1 if the path is there and not null. Local. */
int reel_node_given(const struct reel_node *root, const char *path);
/** reel_node_kind - "a mapping", "a string", ... for messages. Local. */
const char *reel_node_kind(const struct reel_node *n);
/** reel_node_where - "run.yaml:3:5" or "command line", in buf. Local. Returns buf. */
const char *reel_node_where(const struct reel_node *n, char *buf, size_t size);

/** reel_node_json - the tree as JSON text, for tests and for records. Local. */
void reel_node_json(const struct reel_node *n, FILE *f);
/** reel_node_flow - the tree as one line of YAML that parses back to it. Local. */
void reel_node_flow(const struct reel_node *n, FILE *f);
/** reel_yaml_quote - a string as a YAML scalar: plain where that reads back as the string. Local. */
void reel_yaml_quote(const char *s, FILE *f);

/** reel_yaml_number - the shortest text that YAML 1.1 reads back as this double. Local. */
void reel_yaml_number(double v, FILE *f);

/** reel_nearest - index of the name closest to `to` in edit distance, -1 if nothing is near. Local. */
int reel_nearest(const char *to, const char *const *names, int n);

#endif
