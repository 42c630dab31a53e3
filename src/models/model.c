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

void reel_model_bwd(struct reel_model *m, struct reel_arena *a, struct reel_kept *kept, reel_tensor dv, reel_tensor dx,
                    reel_tensor dtext)
{
    if (m->around_bwd) m->around_bwd(m->around_ctx, 0);
    m->ops->bwd(m, a, kept, dv, dx, dtext);
    if (m->around_bwd) m->around_bwd(m->around_ctx, 1);
}
