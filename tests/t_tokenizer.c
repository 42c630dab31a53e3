/* Token ids against three tokenizers' own, and files that are none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encode/tokenizer.h"
#include "golden.h"
#include "tap.h"

static void refused(const char *what, const char *data, size_t bytes, const char *where, const char *words)
{
    struct reel_tokenizer *t = NULL;
    reel_err e = reel_tokenizer_open(&t, data, bytes, where);

    TAP_OK(e == REEL_EDATA && !t && strstr(reel_errrec()->msg, words), "%s: %s", what, e ? reel_errrec()->msg : "taken");
    reel_err_clear();
    reel_tokenizer_close(t);
}

static void refused_json(const char *what, const char *json, const char *words)
{
    refused(what, json, strlen(json), "t/tokenizer.json", words);
}

#define VOCAB "\"vocab\": [[\"<pad>\", 0], [\"</s>\", 0], [\"<unk>\", 0], [\"\xe2\x96\x81\", -2], [\"a\", -3]]"
#define MODEL "\"model\": {\"type\": \"Unigram\", \"unk_id\": 2, " VOCAB "}"
#define ADDED "\"added_tokens\": [{\"id\": 1, \"content\": \"</s>\"}]"
#define META  "\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"\xe2\x96\x81\", \"prepend_scheme\": \"always\"}"

static void malformed(void)
{
    refused("text", "not a model", 11, "t/spiece.model", "not a SentencePiece model");
    refused("an empty file", "", 0, "t/spiece.model", "not a SentencePiece model");
    refused_json("no JSON", "{", "t/tokenizer.json");
    refused_json("another model", "{\"model\": {\"type\": \"BPE\"}}", "model \"BPE\" is not supported");
    refused_json("an unknown id outside", "{\"model\": {\"type\": \"Unigram\", \"unk_id\": 9, " VOCAB "}}", "model.unk_id");
    refused_json("a piece without score", "{\"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": [[\"a\"]]}}", "model.vocab[0]");
    refused_json("no end", "{" MODEL "}", "</s>");
    refused_json("a normaliser", "{" MODEL ", " ADDED ", \"normalizer\": {\"type\": \"Precompiled\"}}", "normalizer \"Precompiled\"");
    refused_json("no words", "{" MODEL ", " ADDED "}", "pre_tokenizer");
}

/* Ties, unknown characters, truncation. */
static void small(void)
{
    static const char json[] = "{" MODEL ", " ADDED ", " META "}";
    struct reel_tokenizer *t = NULL;
    int32_t id[8];
    int n = 0;

    TAP_OK(!reel_tokenizer_open(&t, json, strlen(json), "t/tokenizer.json"), "a small tokenizer.json");
    reel_tokenizer_encode(t, "xya", id, 8, &n);
    TAP_OK(n == 4 && id[0] == 3 && id[1] == 2 && id[2] == 4 && id[3] == 1, "unknown characters side by side are one token");
    reel_tokenizer_encode(t, "aaaaaaaaaaaa", id, 8, &n);
    TAP_OK(n == 8 && id[6] == 4 && id[7] == 1, "a long prompt is cut, and ends");
    reel_tokenizer_encode(t, "", id, 8, &n);
    TAP_OK(n == 1 && id[0] == 1, "the empty prompt is its end");
    reel_tokenizer_close(t);
}

int main(void)
{
    struct reel_comm alone = { .size = 1 };
    struct golden g = { .world = &alone, .quiet = 1 };
    char dir[4096];

    snprintf(dir, sizeof dir, "%s/tests/golden/umt5", getenv("REEL_SRC"));
    golden_umt5_tokenizers(&g, dir);
    TAP_OK(!g.failed && g.passed == 3, "ids of the golden strings: %d of 3 tokenizers", g.passed);
    small();
    malformed();
    return tap_done();
}
