#ifndef REEL_CKPT_EXPORT_PRIV_H
#define REEL_CKPT_EXPORT_PRIV_H

/* What export.c (whole models) and export_lora.c (adapters, and their merge with a base) share. Local. */

#include <limits.h>

#include "ckpt/ckpt_priv.h"
#include "ckpt/export.h"
#include "ckpt/names.h"
#include "tensor/weights.h"

/* A tensor to write: from the checkpoint, or from the base with an adapter of the checkpoint on top. */
struct export_one {
    char name[REEL_NAME_MAX]; /* ours */
    int nd, file, used;
    reel_dtype dt; /* as it is written */
    int64_t n[REEL_MAXDIM];
    const struct reel_dcp_entry *e;    /* of the checkpoint, or NULL: */
    const struct reel_st_entry *w;     /* of the base; NULL too: zero, a layer that the base may lack */
    struct reel_st *from;
    const struct reel_dcp_entry *a, *b; /* of its adapter, or NULL */
};

struct export_job {
    const struct reel_export *x;
    struct reel_dcp *d;
    struct export_one *t; /* by name */
    int n, n_files;
    int first; /* of the file being written */
    struct reel_weights base; /* merge: open while files are written */
    double scale;             /* merge: alpha / rank */
    char tmp[PATH_MAX]; /* <out>.tmp, which gets its name when all is there */
    char dir[PATH_MAX]; /* <out>.tmp/transformer */
};

/** export_files - config.json with this text, the weights in files of at most shard_bytes, an index if there are
 * several, and the other components of the base if that is a pipeline. Local. REEL_EIO, REEL_ENOMEM, what reading gives. */
reel_err export_files(struct export_job *j, const char *config);

/** export_new - `out` without slashes at its end, which nothing is called yet. Local. REEL_ECONFIG: something is, or it is empty. */
reel_err export_new(const char *out, char *name, size_t size);

/** export_guard - run `work` into <out>.tmp, which becomes x->out, or is removed after an error. Local. REEL_ECONFIG if `out` exists, or
 * lies in what it is made of; REEL_EIO. */
reel_err export_guard(struct export_job *j, reel_err (*work)(struct export_job *j));

int export_by_name(const void *a, const void *b);

/** export_judge - do the tensors and what is asked for fit together: adapters, or weights? REEL_ECONFIG. */
reel_err export_judge(const struct export_job *j);

/** export_lora - write the adapters: adapter_config.json and adapter_model.safetensors for PEFT,
 * pytorch_lora_weights.safetensors for Diffusers. */
reel_err export_lora(struct export_job *j);

/** export_merge - the base's tensors in the place of the adapters, which they get on top. */
reel_err export_merge(struct export_job *j);

/** export_read - a tensor's f32 elements, merged if it has an adapter; one of a file that is not finite is an error. @f out */
reel_err export_read(struct export_job *j, const struct export_one *t, float *f);

#endif
