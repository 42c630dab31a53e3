/* Golden kind umt5: token ids of two tokenizers, position buckets, and the encoder's rows and states. */
#include "golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "encode/tokenizer.h"

#define MOST 512

/* The text as the folder has it, byte by byte. */
static char *unhex(const json_t *hex)
{
    const char *s = json_string_value(hex);
    size_t n = strlen(s) / 2;
    char *t = calloc(n + 1, 1);

    for (size_t i = 0; i < n; i++) {
        unsigned u = 0;
        sscanf(s + 2 * i, "%2x", &u);
        t[i] = (char)u;
    }
    return t;
}

static int same_ids(const json_t *want, const int32_t *id, int n)
{
    if (json_array_size(want) != (size_t)n) return 0;
    for (int i = 0; i < n; i++)
        if (json_integer_value(json_array_get(want, (size_t)i)) != id[i]) return 0;
    return 1;
}

static int ids_of(const struct reel_tokenizer *t, const json_t *one, int fast)
{
    const json_t *want = json_object_get(one, "hf4_fast");
    char *text = unhex(json_object_get(one, "utf8_hex"));
    int32_t id[MOST];
    int n, same;

    if (!fast || !want) want = json_object_get(one, "ids"); /* the fast tokenizer's are given where they differ */
    same = !reel_tokenizer_encode(t, text, id, MOST, &n) && same_ids(want, id, n);
    if (!same) printf("# \"%s\": %d other ids\n", text, n);
    free(text);
    return same;
}

static void tokenizer(struct golden *g, const char *dir, const char *folder, const char *file, int fast)
{
    char path[4200], name[128], *data = NULL;
    struct reel_tokenizer *t = NULL;
    json_t *strings = NULL, *one;
    size_t bytes = 0, i;
    int good = 0;

    snprintf(path, sizeof path, "%s/%s/%s", dir, folder, file);
    if (!reel_file_read(path, &data, &bytes)) reel_tokenizer_open(&t, data, bytes, path);
    free(data);
    snprintf(path, sizeof path, "%s/%s/strings.json", dir, folder);
    if (t && !reel_json_file(&strings, path))
        json_array_foreach(json_object_get(strings, "strings"), i, one) good += ids_of(t, one, fast);
    else
        reel_err_print(reel_errrec());
    bytes = json_array_size(json_object_get(strings, "strings"));
    snprintf(name, sizeof name, "%s/%s: ids of %zu strings", folder, file, bytes);
    golden_true(g, name, bytes > 70 && (size_t)good == bytes);
    json_decref(strings);
    reel_tokenizer_close(t);
}

void golden_umt5_tokenizers(struct golden *g, const char *dir)
{
    tokenizer(g, dir, "tokenizer_identity", "spiece.model", 0);
    tokenizer(g, dir, "tokenizer_nfkc", "spiece.model", 0);
    tokenizer(g, dir, "tokenizer_identity", "tokenizer.json", 1);
}

int golden_umt5(struct golden *g, const char *dir)
{
    golden_umt5_tokenizers(g, dir);
    golden_later(g, "umt5: the encoder");
    return 0;
}
