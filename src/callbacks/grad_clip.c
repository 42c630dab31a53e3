/* Gradient clipping by the exact global norm of each role, with the norm of every module in the log.
 * norm^2 = sum over distinct elements: local squares, added over shard and tp alone (replicas hold equal
 * gradients). Squares are summed exactly, so the norm has the same bits in every layout.
 * Source: torch.nn.utils.clip_grad_norm_; FastVideo takes the norm of each rank's shard instead. */
#include <math.h>
#include <stdio.h>

#include "be/ops.h"
#include "callbacks/callback.h"

struct grad_clip {
    double max_grad_norm;
    int log_grad_norms;
    reel_tensor acc[REEL_NROLE]; /* i64 [units, REEL_EXACT_LIMBS] */
};

static const struct reel_opt grad_clip_opts[] = {
    { "max_grad_norm", REEL_OPT_F64, offsetof(struct grad_clip, max_grad_norm), .dflt = 1.0,
      .help = "largest gradient norm of a role; longer gradients are scaled down to it; 0 or less: off" },
    { "log_grad_norms", REEL_OPT_BOOL, offsetof(struct grad_clip, log_grad_norms), .dflt = 1,
      .flags = REEL_OPT_FREE, .help = "write the norm before clipping, of each role and of each of its modules, to the log" },
    { .type = REEL_OPT_END },
};

static reel_err grad_clip_layout(struct reel_cb *c, struct reel_arena *a)
{
    struct grad_clip *g = c->priv;

    for (int i = 0; i < REEL_NROLE; i++) {
        struct reel_model *m = c->method->role[i];
        if (m && m->trainable) g->acc[i] = reel_new(a, REEL_I64, REEL_DIMS(m->n_units, REEL_EXACT_LIMBS));
    }
    return REEL_OK;
}

/* Limbs of every unit's sum of squares, equal on all ranks of tp x shard; host memory. */
static int64_t *unit_squares(struct reel_cb *c, struct reel_model *m, reel_tensor acc)
{
    int64_t n = reel_numel(acc);
    int64_t *host = reel_arena_push(c->method->host, (size_t)n * sizeof *host);
    const struct reel_params_cfg *pc = reel_params_cfg(m->ps);

    for (int64_t i = 0; i < n; i++) host[i] = 0;
    reel_put(m->s, acc, host);
    for (int i = 0; i < pc->n; i++) reel_grad_squares(m->ps, i, reel_at(acc, pc->def[i].unit));
    reel_get(m->s, host, acc);
    reel_comm_sum_i64(&c->mesh->shard, host, (int)n);
    reel_comm_sum_i64(&c->mesh->tp, host, (int)n);
    return host;
}

static void log_modules(struct reel_step *st, const struct reel_model *m, const int64_t *sq)
{
    char name[64];

    for (int u = 0; u < m->n_units; u++) {
        if (u == 0)
            snprintf(name, sizeof name, "grad_norm/%s/root", m->role);
        else
            snprintf(name, sizeof name, "grad_norm/%s/blocks.%d", m->role, u - 1);
        reel_step_scalar(st, name, sqrt(reel_exact_value(sq + (int64_t)u * REEL_EXACT_LIMBS)));
    }
}

static void clip_role(struct reel_cb *c, struct reel_model *m, reel_tensor acc, struct reel_step *st)
{
    const struct grad_clip *g = c->priv;
    int64_t *sq = unit_squares(c, m, acc), total[REEL_EXACT_LIMBS] = { 0 };
    char name[64];
    double norm;

    for (int u = 0; u < m->n_units; u++)
        for (int k = 0; k < REEL_EXACT_LIMBS; k++) total[k] += sq[u * REEL_EXACT_LIMBS + k];
    norm = sqrt(reel_exact_value(total));
    if (g->max_grad_norm > 0) m->gscale = (float)fmin(1, g->max_grad_norm / (norm + 1e-6));
    snprintf(name, sizeof name, "grad_norm/%s", m->role);
    reel_step_scalar(st, name, norm);
    if (g->log_grad_norms) log_modules(st, m, sq);
}

static reel_err grad_clip_before_optim(struct reel_cb *c, struct reel_step *st)
{
    struct grad_clip *g = c->priv;

    for (int i = 0; i < REEL_NROLE; i++)
        if (st->trained & REEL_ROLE(i)) clip_role(c, c->method->role[i], g->acc[i], st);
    return REEL_OK;
}

const struct reel_callback_ops reel_callback_grad_clip = {
    .name = "grad_clip",
    .help = "clip gradients by their exact global norm",
    .targets = "fastvideo.train.callbacks.grad_clip.GradNormClipCallback|"
               "fastvideo.train.callbacks.GradNormClipCallback",
    .opts = grad_clip_opts,
    .priv_size = sizeof(struct grad_clip),
    .layout = grad_clip_layout,
    .before_optim = grad_clip_before_optim,
};

REEL_EXPORT(REEL_KIND_CALLBACK, grad_clip);
