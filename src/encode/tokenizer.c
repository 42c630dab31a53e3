/* Which tokenizer a file holds; truncation and the end of the sequence. */
#include "encode/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "encode/spm.h"

struct reel_tokenizer {
    struct reel_spm *spm; /* one of the two */
    struct reel_unigram *unigram;
    int pieces, eos;
};

static reel_err open_spm(struct reel_tokenizer *t, const char *data, size_t bytes, const char *where)
{
    char why[256];

    t->spm = reel_spm_open(data, bytes, why, sizeof why);
    if (!t->spm) /* what the library says of a file that is no protobuf is a place in its own source */
        return REEL_FAIL(REEL_EDATA, "%s: not a SentencePiece model: %s", where, strstr(why, ".cc(") ? "damaged or cut off" : why);
    t->pieces = reel_spm_pieces(t->spm);
    t->eos = reel_spm_eos(t->spm);
    if (t->eos < 0) return REEL_FAIL(REEL_EDATA, "%s: the model has no end-of-sequence piece", where);
    return REEL_OK;
}

static reel_err open_json(struct reel_tokenizer *t, const char *data, size_t bytes, const char *where)
{
    REEL_TRY(reel_unigram_open(&t->unigram, data, bytes, where));
    t->pieces = reel_unigram_pieces(t->unigram);
    t->eos = reel_unigram_eos(t->unigram);
    return REEL_OK;
}

reel_err reel_tokenizer_open(struct reel_tokenizer **out, const char *data, size_t bytes, const char *where)
{
    struct reel_tokenizer *t = calloc(1, sizeof *t);
    size_t n = strlen(where);
    reel_err e;

    *out = NULL;
    if (!t) return REEL_FAIL(REEL_ENOMEM, "no memory for a tokenizer");
    e = n >= 5 && !strcmp(where + n - 5, ".json") ? open_json(t, data, bytes, where) : open_spm(t, data, bytes, where);
    if (e) return reel_tokenizer_close(t), e;
    *out = t;
    return REEL_OK;
}

void reel_tokenizer_close(struct reel_tokenizer *t)
{
    if (!t) return;
    reel_spm_close(t->spm);
    reel_unigram_close(t->unigram);
    free(t);
}

int reel_tokenizer_pieces(const struct reel_tokenizer *t) { return t->pieces; }

int reel_tokenizer_has_bytes(const struct reel_tokenizer *t) { return t->spm && reel_spm_has_bytes(t->spm); }

reel_err reel_tokenizer_encode(const struct reel_tokenizer *t, const char *text, int32_t *id, int most, int *n)
{
    if (t->unigram)
        REEL_TRY(reel_unigram_encode(t->unigram, text, id, most - 1, n));
    else if ((*n = reel_spm_encode(t->spm, text, strlen(text), id, most - 1)) < 0)
        return REEL_FAIL(REEL_ENOMEM, "no memory for the tokens of a prompt of %zu bytes", strlen(text));
    if (*n > most - 1) *n = most - 1;
    id[(*n)++] = t->eos;
    return REEL_OK;
}
