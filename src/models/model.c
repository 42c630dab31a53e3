#include "models/model.h"

#define REEL_MODEL(name) extern const struct reel_model_ops reel_model_##name;
#include "models/models.def"
#undef REEL_MODEL

const struct reel_model_ops *const reel_models[] = {
#define REEL_MODEL(name) &reel_model_##name,
#include "models/models.def"
#undef REEL_MODEL
    NULL,
};
