#ifndef REEL_TESTS_GOLDEN_VSA_H
#define REEL_TESTS_GOLDEN_VSA_H

#include "golden.h"

/** golden_vsa_model - the case of a whole transformer. Collective(world). */
reel_err golden_vsa_model(struct golden *g, const char *dir, const json_t *j);

#endif
