#ifndef REEL_OPTIM_LR_H
#define REEL_OPTIM_LR_H

/* Learning-rate schedules: lr(k) = lr0 * f(k), k = updates of this role completed so far. Source:
 * transformers' and diffusers' get_scheduler, as FastVideo uses it; formulas in README.md. */

#include "config/config.h" /* enum reel_lr_name and its choices */

struct reel_lr {
    enum reel_lr_name name;
    double lr0;
    long warmup, horizon; /* updates, loop iterations */
    double cycles, power, min_ratio;
};

/** reel_lr_at - learning rate of update k (from 0). Local. */
double reel_lr_at(const struct reel_lr *s, long k);

/** reel_lr_find - index of a name in REEL_LR_CHOICES, -1 if unknown. Local. */
int reel_lr_find(const char *name);

#endif
