#ifndef REEL_CKPT_HF_H
#define REEL_CKPT_HF_H

/* Models in Diffusers folders and in the Hugging Face cache. */

#include "base/err.h"
#include "ckpt/names.h"
#include "comm/comm.h"
#include "nn/params.h"
#include "tensor/weights.h"

/* The environment, read once by config. NULL: not set. */
struct reel_hf_env {
    const char *hf_hub_cache, *huggingface_hub_cache, *hf_home, *xdg_cache_home, *home;
    const char *(*lookup)(const char *name); /* for $VAR inside these values; may be NULL */
};

struct reel_hf_source {
    const char *init_from;    /* a folder, or a repository id "owner/name", or "owner/name@revision" */
    const char *component;    /* NULL: "transformer" */
    const char *said;         /* where init_from was said, for messages; NULL: "init_from" */
    const char *override_from; /* safetensors file or folder whose weights replace the component's; NULL */
    const char *assumed;       /* sizes that config.json leaves out, with what was taken, for messages; NULL or "": none */
    struct reel_hf_env env;
};

/** reel_hf_cache_root - $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub,
 * ~/.cache/huggingface/hub: the first that is set. Local. REEL_ECONFIG if none is. */
reel_err reel_hf_cache_root(const struct reel_hf_env *env, char *dir, size_t size);

/**
 * reel_hf_resolve - the folder `init_from` means: an existing folder as it is, else the snapshot of the
 * repository in the cache (nothing is downloaded). Local.
 * Errors: REEL_ECONFIG; the message says where was looked and what to do.
 */
reel_err reel_hf_resolve(const struct reel_hf_source *src, char *dir, size_t size);

/** reel_hf_component - the component's folder: `<resolved>/<component>`, or the resolved folder itself when
 * it holds a config.json and no such subfolder. Local. REEL_ECONFIG. */
reel_err reel_hf_component(const struct reel_hf_source *src, char *dir, size_t size);

/**
 * reel_hf_read_config - text of the component's config.json, malloc'ed, NUL-terminated: rank 0 reads. Collective(world).
 * @where  out, path for messages, PATH_MAX bytes; may be NULL
 * Errors: REEL_ECONFIG, REEL_EIO, REEL_ENOMEM, agreed.
 */
reel_err reel_hf_read_config(const struct reel_hf_source *src, struct reel_comm *world, char **json, char *where);

/** reel_hf_list - the weight files of a component, as reel_weights_open takes them, malloc'ed: rank 0 looks. Collective(c).
 * Errors: those of reel_hf_component and reel_weights_list, agreed. */
reel_err reel_hf_list(const struct reel_hf_source *src, void **list, size_t *bytes, struct reel_comm *c);

/**
 * reel_hf_load - the component's weights into this rank's shards: every rank reads its own rows only.
 * Names may be Diffusers', FastVideo's or the original Wan's; F32, BF16 and F16 are widened to f32. Collective(world).
 * Parameters that the table calls optional start at zero when the files lack them.
 * Errors: REEL_EDATA: one message with the missing, unexpected and mis-shaped tensors; REEL_EIO; agreed.
 */
reel_err reel_hf_load(const struct reel_hf_source *src, struct reel_params *ps, struct reel_stream *s,
                      struct reel_comm *world);

/* A tensor of weight files under our name. */
struct reel_hf_tensor {
    char name[REEL_NAME_MAX];
    const struct reel_st_entry *e;
    struct reel_st *file;
    int used;
};

/** reel_hf_index - every tensor of the files, by our names, malloc'ed. Local. REEL_ENOMEM; REEL_EDATA: two for one parameter. */
reel_err reel_hf_index(const struct reel_weights *w, const struct reel_naming *naming, struct reel_hf_tensor **out, int *n);
struct reel_hf_tensor *reel_hf_find(struct reel_hf_tensor *f, int n, const char *name); /* or NULL */

/** reel_hf_fit - are these the model's parameters? Local. REEL_EDATA as reel_hf_load; `where` names the files; `assumed` as in
 * struct reel_hf_source. */
reel_err reel_hf_fit(const struct reel_params_cfg *model, struct reel_hf_tensor *f, int n, const char *where, const char *assumed);

#endif
