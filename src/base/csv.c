#include "base/csv.h"

#include <string.h>

#include "base/json.h"

reel_err reel_csv_open(struct reel_csv *c, char *text, size_t bytes, const char *path)
{
    int mark = bytes >= 3 && !memcmp(text, "\xef\xbb\xbf", 3); /* what a spreadsheet puts first */

    *c = (struct reel_csv){ .at = text + 3 * mark, .end = text + bytes, .line = 1, .path = path };
    return reel_utf8_check(text, bytes, path);
}

/* Unquoted in place. `at` is behind the comma or line end; *last: the field ends its record. */
static reel_err field(struct reel_csv *c, struct reel_csv_field *f, int *last)
{
    char *to = c->at, *from = c->at;
    int quoted = from < c->end && *from == '"', first = c->line;

    f->s = to;
    for (from += quoted; from < c->end; from++) {
        if (quoted && *from == '"') {
            if (from + 1 == c->end || from[1] != '"') break;
            from++;
        } else if (!quoted && (*from == ',' || *from == '\n')) {
            break;
        }
        if (!*from) return REEL_FAIL(REEL_EDATA, "%s:%d: a NUL character", c->path, c->line);
        c->line += *from == '\n';
        *to++ = *from;
    }
    if (quoted && from == c->end) return REEL_FAIL(REEL_EDATA, "%s:%d: a quoted field does not end", c->path, first);
    from += quoted;
    f->n = (size_t)(to - f->s);
    if (!quoted && f->n && to[-1] == '\r') f->n--;
    if (quoted && from < c->end && *from == '\r') from++;
    if (from < c->end && *from != ',' && *from != '\n') return REEL_FAIL(REEL_EDATA, "%s:%d: text behind a closing quote", c->path, c->line);
    *last = from == c->end || *from == '\n';
    c->line += from < c->end && *from == '\n';
    c->at = from < c->end ? from + 1 : from;
    return REEL_OK;
}

reel_err reel_csv_record(struct reel_csv *c, struct reel_csv_field *f, int *n, int *line)
{
    for (*n = 0; c->at < c->end;) {
        int last = 0;
        *line = c->line;
        for (*n = 0; !last; ++*n) {
            if (*n == REEL_CSV_COLUMNS) return REEL_FAIL(REEL_EDATA, "%s:%d: more than %d fields", c->path, *line, REEL_CSV_COLUMNS);
            REEL_TRY(field(c, &f[*n], &last));
        }
        if (*n > 1 || f->n) return REEL_OK;
        *n = 0;
    }
    return REEL_OK;
}
