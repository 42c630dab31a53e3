/* Text vectors: hashed words, or UMT5. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "encode/encode.h"
#include "encode/text_cache.h"
#include "encode/umt5.h"
#include "media/text.h"

struct reel_text {
    struct reel_umt5 *umt5; /* NULL: hashed words */
    struct reel_comm *comm;
    char *cache; /* folder of rows, the same on every rank; NULL: none */
    int full;    /* this rank could not write there */
};

int reel_encode_builtin(const struct reel_encode_opts *o) { return !o->model || !strcmp(o->model, "builtin"); }

reel_err reel_text_open(struct reel_text **out, const struct reel_encode_opts *o)
{
    struct reel_text *t = calloc(1, sizeof *t);
    reel_err e = reel_agree(o->comm, t ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for a text encoder"));

    *out = NULL;
    if (!e && !reel_encode_builtin(o)) e = reel_umt5_open(&t->umt5, o);
    if (!e && o->cache) e = reel_agree(o->comm, (t->cache = strdup(o->cache)) ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for a name"));
    if (e) return reel_text_close(t), e;
    t->comm = o->comm;
    *out = t;
    return REEL_OK;
}

reel_err reel_text_bytes(const struct reel_encode_opts *o, int ranks, size_t *bytes)
{
    *bytes = 0;
    return reel_encode_builtin(o) ? REEL_OK : reel_umt5_bytes(o, ranks, bytes);
}

void reel_text_close(struct reel_text *t)
{
    if (t && t->umt5) reel_umt5_close(t->umt5);
    if (t) free(t->cache);
    free(t);
}

int reel_text_dim(const struct reel_text *t) { return t->umt5 ? reel_umt5_dim(t->umt5) : REEL_TEXT_DIM; }

int reel_text_most(const struct reel_text *t) { return t->umt5 ? reel_umt5_most(t->umt5) : REEL_TEXT_ROWS; }

const char *reel_text_id(const struct reel_text *t) { return t->umt5 ? reel_umt5_id(t->umt5) : REEL_TEXT_ID; }

const char *reel_text_tokenizer(const struct reel_text *t) { return t->umt5 ? "spiece.model" : REEL_TEXT_TOKENIZER; }

static reel_err words(struct reel_text_rows *out, const char *prompt)
{
    float rows[REEL_TEXT_ROWS * REEL_TEXT_DIM];
    size_t bytes;

    *out = (struct reel_text_rows){ .n = reel_text_vectors(prompt, rows) };
    bytes = (size_t)out->n * REEL_TEXT_DIM * sizeof *rows;
    if (bytes && !(out->rows = malloc(bytes))) return REEL_FAIL(REEL_ENOMEM, "no memory for text vectors");
    if (bytes) memcpy(out->rows, rows, bytes);
    return REEL_OK;
}

/* Rows that cannot be kept are rows all the same. */
static void keep(struct reel_text *t, const char *prompt, const struct reel_text_rows *rows)
{
    if (t->full || !reel_text_cache_put(t->cache, reel_text_id(t), prompt, reel_text_dim(t), rows)) return;
    fprintf(stderr, "reel: warning: text rows are no longer kept: %s\n", reel_errrec()->msg);
    reel_err_clear();
    t->full = 1;
}

/* From the cache what is there; the encoder makes the rest. Collective(comm), whoever has something to make. */
static reel_err encode_missing(struct reel_text *t, const char *const *prompt, int n, struct reel_text_rows *out)
{
    const char **todo = malloc(((size_t)n + 1) * sizeof *todo);
    struct reel_text_rows *made = calloc((size_t)n + 1, sizeof *made);
    int *at = malloc(((size_t)n + 1) * sizeof *at), k = 0;
    reel_err e = reel_agree(t->comm, todo && made && at ? REEL_OK : REEL_FAIL(REEL_ENOMEM, "no memory for %d prompts", n));

    for (int i = 0; i < n && !e; i++)
        if (!reel_text_cache_get(t->cache, reel_text_id(t), prompt[i], reel_text_dim(t), &out[i])) todo[k] = prompt[i], at[k++] = i;
    if (!e) e = reel_umt5_encode(t->umt5, todo, k, made);
    for (int i = 0; i < k; i++) {
        out[at[i]] = made[i];
        if (!e) keep(t, todo[i], &made[i]);
    }
    free(todo), free(made), free(at);
    return e;
}

reel_err reel_text_encode(struct reel_text *t, const char *const *prompt, int n, struct reel_text_rows *out)
{
    reel_err e = REEL_OK;

    for (int i = 0; i < n; i++) out[i] = (struct reel_text_rows){ 0 };
    if (t->umt5) return t->cache ? encode_missing(t, prompt, n, out) : reel_umt5_encode(t->umt5, prompt, n, out);
    for (int i = 0; i < n && !e; i++) e = words(&out[i], prompt[i]);
    return reel_agree(t->comm, e);
}
