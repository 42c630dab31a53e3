#ifndef REEL_ENCODE_TOKENIZER_H
#define REEL_ENCODE_TOKENIZER_H

/* Prompts to token ids: spiece.model through libsentencepiece, or tokenizer.json (unigram) by our own search. All Local. */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct reel_tokenizer;

/**
 * reel_tokenizer_open - from the bytes of a file, which the caller may free.
 * @where  the file's name: tokenizer.json if it ends in .json, else a spiece.model
 * Errors: REEL_EDATA, the message says what is wrong or not supported; REEL_ENOMEM.
 */
reel_err reel_tokenizer_open(struct reel_tokenizer **t, const char *data, size_t bytes, const char *where);
void reel_tokenizer_close(struct reel_tokenizer *t);          /* NULL is fine */
int reel_tokenizer_pieces(const struct reel_tokenizer *t);    /* every id is below */
int reel_tokenizer_has_bytes(const struct reel_tokenizer *t); /* 1: unknown characters become pieces of their bytes */

/**
 * reel_tokenizer_encode - ids of a prompt as it stands (no cleaning), at most `most` - 1 of them, then the end of sequence.
 * @id  out [most], *n of them    Errors: REEL_ENOMEM.
 */
reel_err reel_tokenizer_encode(const struct reel_tokenizer *t, const char *text, int32_t *id, int most, int *n);

/* tokenizer_json.c: the unigram tokenizer of a tokenizer.json as the Hugging Face library runs it. */
struct reel_unigram;
reel_err reel_unigram_open(struct reel_unigram **u, const char *json, size_t bytes, const char *where);
void reel_unigram_close(struct reel_unigram *u);
int reel_unigram_pieces(const struct reel_unigram *u);
int reel_unigram_eos(const struct reel_unigram *u);
/** reel_unigram_encode - the first `most` ids of `text`; *n is how many there are. REEL_ENOMEM. */
reel_err reel_unigram_encode(const struct reel_unigram *u, const char *text, int32_t *id, int most, int *n);

#endif
