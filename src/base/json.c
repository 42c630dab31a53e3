#include "base/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

reel_err reel_json_parse(json_t **out, const char *text, size_t bytes, const char *where)
{
    json_error_t err;

    *out = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &err);
    if (!*out)
        return REEL_FAIL(REEL_EDATA, "%s:%d:%d: not valid JSON: %s", where, err.line, err.column, err.text);
    if (json_is_object(*out)) return REEL_OK;
    json_decref(*out);
    *out = NULL;
    return REEL_FAIL(REEL_EDATA, "%s: a JSON object was expected", where);
}

reel_err reel_json_file(json_t **out, const char *path)
{
    char *text;
    size_t n;
    reel_err e;

    *out = NULL;
    REEL_TRY(reel_file_read(path, &text, &n));
    e = reel_json_parse(out, text, n, path);
    free(text);
    return e;
}

reel_err reel_json_int(int64_t *v, const json_t *o, const char *key, int64_t least, int64_t most, int64_t dflt, const char *where)
{
    const json_t *x = json_object_get(o, key);
    int absent = !x || json_is_null(x);

    *v = absent ? dflt : json_integer_value(x);
    if ((absent || json_is_integer(x)) && *v >= least && *v <= most) return REEL_OK;
    return REEL_FAIL(REEL_ECONFIG, "%s: %s %s a whole number from %" PRId64 " to %" PRId64, where, key, absent ? "is missing:" : "must be", least, most);
}

reel_err reel_utf8_check(const char *text, size_t bytes, const char *where)
{
    const char *end = text + bytes;
    int line = 1;

    for (const char *s = text, *stop; s < end; s = stop + 1, line++) {
        json_t *j;
        stop = memchr(s, '\n', (size_t)(end - s));
        if (!stop) stop = end;
        j = json_stringn(s, (size_t)(stop - s));
        if (!j) return REEL_FAIL(REEL_EDATA, "%s: line %d is not UTF-8 text; `iconv -f LATIN1 -t UTF-8` converts Latin-1", where, line);
        json_decref(j);
    }
    return REEL_OK;
}

void reel_json_str(FILE *f, const char *s)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";

    putc('"', f);
    for (; *s; s++) {
        const char *hit = strchr(from, *s);
        if (hit) fprintf(f, "\\%c", to[hit - from]);
        else if ((unsigned char)*s < 0x20) fprintf(f, "\\u%04x", (unsigned)*s);
        else putc(*s, f);
    }
    putc('"', f);
}
