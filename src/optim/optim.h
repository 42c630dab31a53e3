#ifndef REEL_OPTIM_OPTIM_H
#define REEL_OPTIM_OPTIM_H

/* AdamW of one role, on the parameter shards of this rank. */

#include "models/model.h"
#include "optim/lr.h"

struct reel_optim {
    struct reel_model *model;
    struct reel_lr lr;
    double beta1, beta2, eps, weight_decay;
    long k; /* completed updates: the schedule's position and AdamW's step count */
};

/** reel_optim_step - one AdamW update of every shard with the model's gscale, then k + 1. Local; async. */
void reel_optim_step(struct reel_optim *o, struct reel_stream *s);

#endif
