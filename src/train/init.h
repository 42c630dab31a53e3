#ifndef REEL_TRAIN_INIT_H
#define REEL_TRAIN_INIT_H

/* Where a role's weights come from: its folder, or the named draws. */

#include "ckpt/hf.h"
#include "train/run.h"

/** reel_model_source - where `init_from` is looked for: as a folder, then in the cache that the
 * environment names (NULL: folders only). Local. */
struct reel_hf_source reel_model_source(const char *init_from, const struct reel_env *e);

/** reel_role_override - the safetensors file or folder whose weights replace those of init_from; NULL: none. Local. */
const char *reel_role_override(const struct reel_cfg_role *c);

/** reel_arch_config - config.json of a well-known repository, which is compiled in; NULL: it is not known. Local. */
const char *reel_arch_config(const char *init_from);

/** reel_role_config - the text of the role's transformer/config.json, malloc'ed; read by rank 0 and
 * broadcast. For a plan, or with `init: random`, the built-in text of a well-known model stands in for one that is
 * not at hand (r->stand_in). @where: out [PATH_MAX], the file's name for messages. Collective(world); with one
 * process Local. REEL_EIO, REEL_EDATA. */
reel_err reel_role_config(struct reel_run *r, int role, const struct reel_cfg_role *c, char **json, char *where);

/** reel_role_weights - fill the role's shards from `init_from`, or from the draws `init/<name>` under
 * `init: random`. Collective(world). */
reel_err reel_role_weights(struct reel_run *r, int role);

#endif
