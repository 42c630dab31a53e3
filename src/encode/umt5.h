#ifndef REEL_ENCODE_UMT5_H
#define REEL_ENCODE_UMT5_H

/* Wan's text encoder behind reel_text; the functions mean what those of encode.h mean. */
#include "encode/encode.h"

struct reel_umt5;
reel_err reel_umt5_open(struct reel_umt5 **t, const struct reel_encode_opts *o);
reel_err reel_umt5_bytes(const struct reel_encode_opts *o, int ranks, size_t *bytes);
void reel_umt5_close(struct reel_umt5 *t);
int reel_umt5_dim(const struct reel_umt5 *t);
int reel_umt5_most(const struct reel_umt5 *t);
const char *reel_umt5_id(const struct reel_umt5 *t);
reel_err reel_umt5_encode(struct reel_umt5 *t, const char *const *prompt, int n, struct reel_text_rows *out);

#endif
