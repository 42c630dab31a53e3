#ifndef REEL_TRAIN_SCHEMA_H
#define REEL_TRAIN_SCHEMA_H

#include "config/config.h"

/* What a run of this program may name: the one place that sees models, methods and callbacks. */
#define REEL_MAX_KINDS 64
struct reel_all_kinds {
    struct reel_schema schema; /* points into the arrays below; each ends with name NULL */
    struct reel_kind models[REEL_MAX_KINDS], methods[REEL_MAX_KINDS], callbacks[REEL_MAX_KINDS];
};

/** reel_schema_init - fill `all` from the registries; keep it in place as long as a config lives. Local. */
const struct reel_schema *reel_schema_init(struct reel_all_kinds *all);

/**
 * reel_schema_add - one more kind, from ops that are not in a registry. Local.
 * @target  the only `_target_` that finds it; kept by reference
 * Returns the entry, NULL if the array is full.
 */
struct reel_kind *reel_schema_add(struct reel_all_kinds *all, enum reel_plugin_kind kind, const void *ops,
                                  const char *target);

#endif
