#ifndef REEL_BASE_CSV_H
#define REEL_BASE_CSV_H

/* Tables as text (RFC 4180): fields between commas, quoted where they hold commas, line ends or quotes. */

#include <stddef.h>

#include "base/err.h"

enum { REEL_CSV_COLUMNS = 256 };

struct reel_csv {
    char *at, *end; /* what is not read yet */
    int line;       /* of `at`, from 1 */
    const char *path;
};

struct reel_csv_field { char *s; size_t n; }; /* in the text, no NUL behind it */

/** reel_csv_open - over a text, whose fields are unquoted in place; a byte order mark is passed over. Local. REEL_EDATA: not UTF-8. */
reel_err reel_csv_open(struct reel_csv *c, char *text, size_t bytes, const char *path);

/**
 * reel_csv_record - the next record that is not a blank line
 * @f     out, REEL_CSV_COLUMNS fields
 * @n     out, how many there are; 0 at the end of the text
 * @line  out, where it begins
 * Local. Errors: REEL_EDATA with path and line: a quoted field does not end, text behind a closing quote, a NUL, too many fields.
 */
reel_err reel_csv_record(struct reel_csv *c, struct reel_csv_field *f, int *n, int *line);

#endif
