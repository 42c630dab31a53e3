#ifndef REEL_CONFIG_SCHEMA_H
#define REEL_CONFIG_SCHEMA_H

/* What a configuration may name. Handed in by the caller, so that config knows no model, method or
 * callback; train/schema.c assembles it from the registries. */

#include "base/err.h"
#include "base/opt.h"
#include "base/plugin.h"

struct reel_config;

#define REEL_MAX_ROLE_NAMES 3 /* student, teacher, critic: the bits of roles_needed */
extern const char *const reel_role_names[REEL_MAX_ROLE_NAMES + 1];
/** reel_role_index - where a name stands among them; -1: it is none of them. Local. */
int reel_role_index(const char *name);

struct reel_kind {
    const char *name, *help;
    const char *targets;         /* accepted `_target_` strings, '|' between; NULL: only the name */
    const char *plugin;          /* came with this `_target_`, which alone finds it; NULL: of this program */
    uint64_t hash;               /* of the plugin's bytes */
    const void *ops;             /* the registry's entry, for who knows its type */
    const struct reel_opt *opts; /* NULL: no keys of its own */
    size_t priv_size;
    unsigned roles_needed, roles_optional, roles_trained; /* methods: bits of reel_role_names */
    int causal;                           /* models: streams frame by frame */
    int observes;                         /* callbacks: leave no trace in weights or their state */
    /* Symmetric: cross-checks of its own keys; priv is filled. NULL: none. A callback may stand in the
     * file under any name, so its check is told its dotted place. */
    reel_err (*check)(const struct reel_config *cfg, const void *priv);
    reel_err (*check_at)(const struct reel_config *cfg, const void *priv, const char *section);
};

struct reel_schema {
    const struct reel_kind *models, *methods, *callbacks; /* end with name NULL */
};

/** reel_target_split - length of the path in "path.so:name"; 0: not the target of a plugin. Local. */
size_t reel_target_split(const char *target);

/** reel_kind_find - by registry name or `_target_` string, NULL when unknown. Local. */
const struct reel_kind *reel_kind_find(const struct reel_kind *kinds, const char *name);

#endif
