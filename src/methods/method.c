#include "methods/method.h"

#include <stdio.h>
#include <string.h>

#define REEL_METHOD(name) extern const struct reel_method_ops reel_method_##name;
#include "methods/methods.def"
#undef REEL_METHOD

const struct reel_method_ops *const reel_methods[] = {
#define REEL_METHOD(name) &reel_method_##name,
#include "methods/methods.def"
#undef REEL_METHOD
    NULL,
};

struct reel_metric *reel_step_metric(struct reel_step *st, const char *name, double scale)
{
    for (int i = 0; i < st->n_metric; i++)
        if (!strcmp(st->metric[i].name, name)) return &st->metric[i];
    REEL_BUG_IF(st->n_metric == REEL_NMETRIC, "more than %d metrics in a step", REEL_NMETRIC);
    st->metric[st->n_metric] = (struct reel_metric){ .name = name, .scale = scale };
    return &st->metric[st->n_metric++];
}

void reel_step_scalar(struct reel_step *st, const char *name, double value)
{
    struct reel_scalar *x;

    if (st->n_scalar == REEL_NSCALAR) return;
    x = &st->scalar[st->n_scalar++];
    snprintf(x->name, sizeof x->name, "%s", name);
    x->value = value;
}

void reel_method_note(struct reel_method *m, const char *name, const struct reel_step *st,
                      const struct reel_batch *b, reel_tensor t)
{
    if (m->note && !m->s->planning) m->note(m->note_ctx, name, st, b, t);
}

struct reel_where reel_method_where(const struct reel_batch *b, const struct reel_step *st)
{
    return (struct reel_where){
        .step = (uint32_t)st->step,
        .round = (uint32_t)st->round,
        .b0 = b->b0,
        .nb = b->x0.n[0],
        .b_global = b->b_global,
    };
}
