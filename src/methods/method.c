#include "methods/method.h"

#include <math.h>
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

/* ---- sparse attention ---- */

int reel_method_sparse(const struct reel_config *cfg, enum reel_role role)
{
    const struct reel_cfg_role *c = reel_config_role(cfg, reel_role_names[role]);
    int kind = role == REEL_STUDENT ? cfg->method.attn_kind : REEL_ATTN_KIND_DEFAULT;

    if (!c || c->kind->causal) return 0;
    if (c->attention_backend == REEL_ATTN_VSA || kind == REEL_ATTN_KIND_VSA) return 1;
    if (c->attention_backend != REEL_ATTN_DEFAULT || kind == REEL_ATTN_KIND_DENSE) return 0;
    return cfg->training.vsa.sparsity > 0 && !c->disable_custom_init_weights;
}

double reel_method_target_sparsity(const struct reel_config *cfg, enum reel_role role)
{
    int sparse = role == REEL_STUDENT && cfg->method.attn_kind != REEL_ATTN_KIND_DENSE && reel_method_sparse(cfg, role);

    return sparse ? cfg->training.vsa.sparsity : 0;
}

/* Decimal: numbers of up to twelve places are integers here, and the quotient at the end rounds once. */
static double ramp(const struct reel_cfg_vsa *v, double target, long step)
{
    const double unit = 1e12;
    int64_t end = llround(target * unit), rate = llround(v->decay_rate * unit), k = step / v->decay_interval_steps;

    if (!rate || k <= end / rate) end = rate * k; /* else the product is beyond the end, and may be beyond 64 bits */
    return (double)end / unit;
}

double reel_method_sparsity(const struct reel_method *m, const struct reel_step *st)
{
    const struct reel_cfg_vsa *v = &m->cfg->training.vsa;
    double target = reel_method_target_sparsity(m->cfg, REEL_STUDENT);

    return v->decay_interval_steps > 0 ? ramp(v, target, st->step) : target;
}
