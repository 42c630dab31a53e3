#ifndef REEL_TRAIN_PLUGIN_H
#define REEL_TRAIN_PLUGIN_H

#include "comm/comm.h"
#include "train/schema.h"

/**
 * reel_plugins_load - every plugin that a tree of reel_config_read names becomes a kind of `all`, for
 * reel_config_finish. Collective(world).
 * A relative path starts in the current folder, as every path of a configuration does. What is loaded stays.
 * Each rank opens its own file; none runs before the bytes are known to be the same on all.
 * Errors, agreed: REEL_EPLUGIN, one line with the place in the configuration: a file that cannot be read or
 * is no shared object, bytes that differ, no such export, one of another kind, of another ABI, one that is
 * incomplete.
 */
reel_err reel_plugins_load(struct reel_all_kinds *all, struct reel_config *cfg, struct reel_comm *world);

/**
 * reel_plugin_find - the plugin of a target, of any kind, joins `all`. Collective(world).
 * @target  path.so:name, kept by reference    @kind, @found  out
 * Errors as above.
 */
reel_err reel_plugin_find(struct reel_all_kinds *all, const char *target, struct reel_comm *world,
                          enum reel_plugin_kind *kind, const struct reel_kind **found);

#endif
