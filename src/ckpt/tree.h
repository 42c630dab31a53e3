#ifndef REEL_CKPT_TREE_H
#define REEL_CKPT_TREE_H

/* The key tree of a run's state, as FastVideo lays it out:
 *     roles.<role>.transformer.<name>
 *     optimizers.<role>.state.transformer.<name>.{step,exp_avg,exp_avg_sq}
 *     optimizers.<role>.param_groups.transformer.<name>.{lr,betas,...}      12 values a parameter
 *     schedulers.<role>.scheduler.{last_epoch,...}                          7 values
 *     callbacks.ema.student_ema.<name>, dataloader...
 * <name> is FastVideo's name of the parameter. A role's part on this rank lives in one host buffer
 * between device and file: weights, then both moments, then one step count per parameter. Parameters
 * that are frozen within a role are left out: they are what its init_from gives. */

#include "ckpt/ckpt.h"
#include "nn/params.h"

/* A set that grows and owns its keys. Start with { 0 }. */
struct reel_tree {
    struct reel_ckpt_set set;
    int cap_t, cap_o;
    int own_t, own_o; /* keys that are kept, also beyond the set's end */
};
void reel_tree_free(struct reel_tree *t);
/** reel_tree_rewind - an empty set again; appending what was there before allocates nothing. Local. */
void reel_tree_rewind(struct reel_tree *t);

/** reel_tree_tensor, reel_tree_object - append; the key is formatted. Local. REEL_ENOMEM. */
reel_err reel_tree_tensor(struct reel_tree *t, const struct reel_ckpt_tensor *x, const char *key, ...)
    __attribute__((format(printf, 3, 4)));
reel_err reel_tree_object(struct reel_tree *t, struct reel_val v, int optional, const char *key, ...)
    __attribute__((format(printf, 4, 5)));

/* AdamW and its schedule, as one update left them. */
struct reel_tree_optim { double lr, initial_lr, beta1, beta2, eps, weight_decay; long k; };

enum reel_tree_what {
    REEL_TREE_WEIGHTS = 1,
    REEL_TREE_OPTIM = 2, /* moments and step counts */
};

/** reel_tree_bytes - length of the host buffer of a role on this rank. Local. */
size_t reel_tree_bytes(const struct reel_params *ps, unsigned what);

/** reel_tree_get - shards from the device into the buffer, of reel_host_alloc; step counts become `k`. Local; syncs.
 * reel_tree_put - and back; the step counts are left to reel_tree_k. Local; syncs. */
void reel_tree_get(const struct reel_params *ps, struct reel_stream *s, unsigned what, long k, void *host);
void reel_tree_put(const struct reel_params *ps, struct reel_stream *s, unsigned what, const void *host);

/**
 * reel_tree_role - append a role's tensors over `host`, and to save its optimizer's values. Local. REEL_ENOMEM.
 * @what  REEL_TREE_WEIGHTS, or with | REEL_TREE_OPTIM
 * @o     values to save with REEL_TREE_OPTIM; NULL when the tree is for loading
 */
reel_err reel_tree_role(struct reel_tree *t, const struct reel_params *ps, unsigned what, void *host,
                        const struct reel_tree_optim *o);

/** reel_tree_shadow - append shards like the weights' under another prefix ("callbacks.ema.student_ema"). Local.
 * @host      as for REEL_TREE_WEIGHTS */
reel_err reel_tree_shadow(struct reel_tree *t, const struct reel_params *ps, const char *prefix, void *host, int optional);

/** reel_tree_k - after loading: the updates the role's optimizer had done; *uneven = 1 if parameters disagree
 * (the largest is taken). Local. */
long reel_tree_k(const struct reel_params *ps, const void *host, int *uneven);

/** reel_tree_dataloader - the state keys of torchdata's loader with `workers` workers after `batches` batches,
 * so that FastVideo's strict loader finds them. Local. REEL_ENOMEM. */
reel_err reel_tree_dataloader(struct reel_tree *t, int workers, long batches);

/** reel_tree_found - 1 if every tensor whose key begins with `prefix` was found by the load. Local. */
int reel_tree_found(const struct reel_tree *t, const char *prefix);

#endif
