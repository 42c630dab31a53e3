#ifndef REEL_TRAIN_SCHEMA_H
#define REEL_TRAIN_SCHEMA_H

#include "config/schema.h"

/* What a run of this program may name: the one place that sees models, methods and callbacks. */
struct reel_all_kinds {
    struct reel_schema schema; /* points into the arrays below */
    struct reel_kind models[8], methods[32], callbacks[32];
};

/** reel_schema_init - fill `all` from the registries; keep it in place as long as a config lives. Local. */
const struct reel_schema *reel_schema_init(struct reel_all_kinds *all);

#endif
