#ifndef REEL_TENSOR_WEIGHTS_H
#define REEL_TENSOR_WEIGHTS_H

/* The safetensors files of one component folder (transformer, vae, text_encoder), as one set. Local. */

#include "tensor/safetensors.h"

struct reel_weights {
    int n_files;
    struct reel_st **file;
};

/**
 * reel_weights_list - which files of `where` hold the weights: `where` itself if it is a file; else, if
 * the folder has an index (diffusion_pytorch_model or model .safetensors.index.json) all of whose files
 * exist, exactly those; else every *.safetensors. A stale index is ignored. Paths, NUL-separated, sorted.
 * Errors: REEL_EIO when there is none; REEL_EDATA for a damaged index.
 * @list  out  malloc'ed, *bytes long
 */
reel_err reel_weights_list(const char *where, char **list, size_t *bytes);

/** reel_weights_open - open the listed files; a tensor name in two of them is an error. REEL_EIO, REEL_EDATA. */
reel_err reel_weights_open(struct reel_weights *w, const char *list, size_t bytes);
void reel_weights_close(struct reel_weights *w);

/** reel_weights_find - the tensor and its file; NULL if there is none. */
const struct reel_st_entry *reel_weights_find(const struct reel_weights *w, const char *name, struct reel_st **file);

/**
 * reel_weights_read - what reel_st_read_box_f32 reads, where a NaN or an infinity is damage: the message names file, tensor
 * and row. Local. REEL_EIO, REEL_EDATA, REEL_ENOMEM.
 */
reel_err reel_weights_read(const struct reel_st *st, const struct reel_st_entry *e, int64_t row0, int64_t rows, int64_t col0, int64_t cols,
                           float *dst);

#endif
