#include "encode/umt5.h"

reel_err reel_umt5_open(struct reel_umt5 **t, const struct reel_encode_opts *o)
{
    *t = NULL;
    return REEL_FAIL(REEL_ECONFIG, "%s: no Wan text encoder yet", o->model);
}

void reel_umt5_close(struct reel_umt5 *t) { (void)t; }

int reel_umt5_dim(const struct reel_umt5 *t) { return (void)t, 0; }

int reel_umt5_most(const struct reel_umt5 *t) { return (void)t, 0; }

const char *reel_umt5_id(const struct reel_umt5 *t) { return (void)t, ""; }

reel_err reel_umt5_encode(struct reel_umt5 *t, const char *const *prompt, int n, struct reel_text_rows *out)
{
    (void)t, (void)prompt, (void)n, (void)out;
    return REEL_FAIL(REEL_ECONFIG, "no Wan text encoder yet");
}
