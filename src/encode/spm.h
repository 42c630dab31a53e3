#ifndef REEL_ENCODE_SPM_H
#define REEL_ENCODE_SPM_H

/* libsentencepiece, which speaks C++, for C. All Local. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct reel_spm;

/** reel_spm_open - a model from the bytes of a spiece.model. NULL: `why` [size] says what is wrong with them. */
struct reel_spm *reel_spm_open(const void *model, size_t bytes, char *why, size_t size);
void reel_spm_close(struct reel_spm *m);            /* NULL is fine */
int reel_spm_pieces(const struct reel_spm *m);      /* ids are below */
int reel_spm_eos(const struct reel_spm *m);         /* -1: the model has none */
int reel_spm_has_bytes(const struct reel_spm *m);   /* 1: unknown characters become pieces of their bytes */
/** reel_spm_encode - ids of `text`, the first `most` of them in id. Returns how many there are, -1: no memory. */
int reel_spm_encode(const struct reel_spm *m, const char *text, size_t bytes, int32_t *id, int most);

#ifdef __cplusplus
}
#endif

#endif
