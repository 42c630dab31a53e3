#include "methods/method.h"

#include <stdio.h>
#include <string.h>

#include "be/ops.h"

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

void reel_method_loss(struct reel_method *m, struct reel_step *st, const char *const *names, reel_tensor sum,
                      const double *weight, double factor, double scale)
{
    int64_t n = reel_numel(sum);
    double *host = reel_arena_push(m->host, (size_t)n * sizeof *host);

    if (!m->s->planning) reel_get(m->s, host, sum);
    for (; *names; names++) {
        struct reel_metric *x = reel_step_metric(st, *names, scale);
        for (int64_t i = 0; i < n && !m->s->planning; i++)
            reel_exact_add(x->sum, factor * (weight ? weight[i] : 1) * host[i]);
    }
}

double reel_method_share(const struct reel_batch *b, const struct reel_step *st)
{
    return 1.0 / ((double)reel_numel(reel_at(b->x0, 0)) * (double)b->b_global * st->rounds);
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
