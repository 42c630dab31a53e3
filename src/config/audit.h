#ifndef REEL_CONFIG_AUDIT_H
#define REEL_CONFIG_AUDIT_H

#include "config/env.h"

/**
 * reel_env_audit - one warning for each variable whose value is known to hurt; the number of them. Local.
 * @gpu  the run computes on GPUs
 */
int reel_env_audit(const struct reel_env *env, int gpu, FILE *f);

#endif
