#include "models/model.h"

#include <string.h>

#define REEL_MODEL(name) extern const struct reel_model_ops reel_model_##name;
#include "models/models.def"
#undef REEL_MODEL

const struct reel_model_ops *const reel_models[] = {
#define REEL_MODEL(name) &reel_model_##name,
#include "models/models.def"
#undef REEL_MODEL
    NULL,
};

const struct reel_model_ops *reel_model_find(const char *name)
{
    for (int i = 0; reel_models[i]; i++)
        if (!strcmp(reel_models[i]->name, name)) return reel_models[i];
    return NULL;
}
