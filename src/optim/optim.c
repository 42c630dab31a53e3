#include "optim/optim.h"

#include "be/ops.h"

void reel_optim_step(struct reel_optim *o, struct reel_stream *s)
{
    struct reel_adamw h = {
        .lr = reel_lr_at(&o->lr, o->k),
        .beta1 = o->beta1,
        .beta2 = o->beta2,
        .eps = o->eps,
        .wd = o->weight_decay,
        .step = (double)(o->k + 1),
        .gscale = o->model->gscale,
    };
    int n = reel_params_cfg(o->model->ps)->n;

    for (int i = 0; i < n; i++) {
        struct reel_shard p = reel_param_shard(o->model->ps, i);
        if (p.rows && p.g.nd) reel_adamw(s, p.w, p.m, p.v, p.g, h);
    }
    o->k++;
}
