#ifndef REEL_TRAIN_LORA_H
#define REEL_TRAIN_LORA_H

/* models.<role>.lora: which layers get adapters, and how these start. */

#include "train/run.h"

/** reel_role_adapters - behind the role's parameter table, its adapters; nothing if the role has none. Symmetric.
 * REEL_ECONFIG: no layer matches, a model without adapters. */
reel_err reel_role_adapters(struct reel_run *r, int role, const struct reel_cfg_role *c);

/** reel_adapters_count - layers of a role that have one. Local. */
int reel_adapters_count(const struct reel_model *m);

#endif
