#ifndef REEL_CONFIG_DRIFT_H
#define REEL_CONFIG_DRIFT_H

/* What has changed between the configuration of a checkpoint and that of the run which resumes it. What a change
 * does is said where the key is: the REEL_OPT_* flags of its option. */

#include "config/config.h"

enum reel_drift_kind {
    REEL_DRIFT_FREE,    /* weights come out the same */
    REEL_DRIFT_RESULTS, /* from here on other weights than those of the run that was saved */
    REEL_DRIFT_FIXED,   /* the checkpoint cannot be resumed */
};

struct reel_drift {
    const char *key;      /* "training.optimizer.learning_rate" */
    const char *was, *is; /* YAML; "absent": no such role or callback */
    enum reel_drift_kind kind;
};

/**
 * reel_config_was - the configuration of a checkpoint. Symmetric.
 * @src     its text: the "config" of metadata.json, which is YAML too
 * @schema  as of the run that resumes
 * Unknown keys are no error: other versions and FastVideo have their own. REEL_ECONFIG when it does not parse.
 */
reel_err reel_config_was(const struct reel_config_src *src, const struct reel_schema *schema, struct reel_config **was);

/**
 * reel_config_drift - compare value by value, after defaults and what follows from other keys. Symmetric.
 * @was   owns the list and its texts
 * @list  out, in the order of sections
 * Returns how many. A callback that only observes is free with all its keys; the samples of a step are compared as one
 * number, since they are what a layout and train_batch_size make together.
 */
int reel_config_drift(struct reel_config *was, const struct reel_config *is, const struct reel_drift **list);

#endif
