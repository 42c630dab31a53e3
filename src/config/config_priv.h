#ifndef REEL_CONFIG_PRIV_H
#define REEL_CONFIG_PRIV_H

#include <stdarg.h>

#include "config/config.h"

/* Shared by the files of src/config only. */

/* "file:line:column: key: message"; n may be NULL (then only the key). */
reel_err reel_fail_at(const struct reel_node *n, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
reel_err reel_vfail_at(const char *where, const char *key, const char *fmt, va_list ap);

/* one string of the '|' list at *s: copies it to buf, advances *s; 0 at the end */
int reel_next_choice(const char **s, char *buf, size_t size);
/* the list as "a, b, c" */
const char *reel_choice_list(struct reel_pool *p, const char *choices);
/* index in "a,alias|b" ignoring case, -1 */
int reel_choice_index(const char *choices, const char *word);

/* remembers a warning or a "later" key; drops it silently when the array is full */
void reel_note(const char **list, int *n, const char *text);

/* config.c: whether the method needs or takes a role of this name */
int reel_kind_uses(const struct reel_kind *method, const char *role);

/* check.c: every rule that spans keys; all sections are filled and resolved */
reel_err reel_config_check(const struct reel_config *cfg);

/* doc.c: what the reference is made of; a section below models is that of any role, "models.ROLE" */
struct reel_section {
    char path[64];
    const char *help;
    const struct reel_opt *opts;
};
enum { REEL_SECTIONS = 64 };
int reel_doc_sections(const struct reel_schema *schema, struct reel_section s[REEL_SECTIONS]);
/* doc.c: of a key, "integer, 0 to 9, pixels; default 0"; of a flag, " (0 to 9; default 0)", maybe nothing. Malloc'ed */
char *reel_doc_facts(const struct reel_opt *o);
char *reel_doc_brief(const struct reel_opt *o);
const char *reel_doc_value(const struct reel_opt *o); /* what stands behind a flag: "FILE", "f32|bf16"; "": nothing */

#endif
