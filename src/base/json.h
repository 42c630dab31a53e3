#ifndef REEL_BASE_JSON_H
#define REEL_BASE_JSON_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

/** reel_json_parse - an object from text; duplicate keys are refused; the message says file, line
 * and column. Caller: json_decref. Local. REEL_EDATA. */
reel_err reel_json_parse(json_t **out, const char *text, size_t bytes, const char *where);

/** reel_json_file - the same from a file. Local. REEL_EIO, REEL_EDATA. */
reel_err reel_json_file(json_t **out, const char *path);

/** reel_json_int - the whole number `key` of an object, from least to most; absent or null: dflt, or an error if that is below least.
 * `where` names the file. Local. REEL_ECONFIG. */
reel_err reel_json_int(int64_t *v, const json_t *o, const char *key, int64_t least, int64_t most, int64_t dflt, const char *where);

/** reel_utf8_check - that a text is what JSON, HDF5 and the trackers can hold. `where` and the line stand in the message.
 * Local. REEL_EDATA. */
reel_err reel_utf8_check(const char *text, size_t bytes, const char *where);

/** reel_json_str - write `s` quoted; UTF-8 passes as it is, only what JSON must escape is. Local. */
void reel_json_str(FILE *f, const char *s);

#endif
