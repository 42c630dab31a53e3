/* Supervised fine-tuning: the network learns the velocity eps - x0 at a random noise level.
 * Draw noise and timestep, mix, run forward, form the loss and its cotangent, run backward.
 * Source: FastVideo fastvideo/train/methods/fine_tuning/finetune.py @2f3d4074; formulas in README.md. */

#include "be/ops.h"
#include "methods/check.h"
#include "methods/method.h"
#include "nn/schedule.h"

struct sft {
    struct reel_density density;
    struct reel_sched table;
};

static const struct reel_opt sft_opts[] = {
    { .type = REEL_OPT_END },
};

static reel_err sft_check(const struct reel_config *cfg, const void *priv)
{
    (void)priv;
    REEL_TRY(reel_check_rate(cfg));
    return reel_check_latents(cfg, 0);
}

static reel_err sft_init(struct reel_method *m)
{
    const struct reel_config *cfg = m->cfg;
    struct sft *p = m->priv;

    p->density = (struct reel_density){
        .scheme = (enum reel_weighting)cfg->training.model.weighting_scheme,
        .logit_mean = cfg->training.model.logit_mean,
        .logit_std = cfg->training.model.logit_std,
        .mode_scale = cfg->training.model.mode_scale,
    };
    reel_sched_a(&p->table, m->role[REEL_STUDENT]->flow_shift);
    return REEL_OK;
}

/* One noise level per sample: sigma, t [B] on the device. */
static void draw_levels(struct reel_method *m, struct reel_where w, reel_tensor *sigma, reel_tensor *t)
{
    struct sft *p = m->priv;
    float *u = reel_arena_push(m->host, (size_t)w.nb * sizeof *u);
    float *level = reel_arena_push(m->host, (size_t)w.nb * sizeof *level);

    *sigma = reel_new(m->a, REEL_F32, REEL_DIMS(w.nb));
    *t = reel_new(m->a, REEL_F32, REEL_DIMS(w.nb));
    if (p->density.scheme == REEL_WEIGHTING_LOGIT_NORMAL)
        reel_draw_normal_host(m->draws, u, 1, "prepare/timestep", w);
    else
        reel_draw_uniform(m->draws, u, 1, "prepare/timestep", w);
    for (int64_t b = 0; b < w.nb; b++) {
        int i = reel_density_index(&p->density, (double)u[b]);
        u[b] = p->table.t[i];
        level[b] = p->table.sigma[i];
    }
    reel_put(m->s, *t, u);
    reel_put(m->s, *sigma, level);
}

static void sft_step(struct reel_method *m, const struct reel_batch *b, struct reel_step *st)
{
    static const char *const names[] = { "total_loss", "finetune_loss", NULL };
    struct reel_model *student = m->role[REEL_STUDENT];
    struct reel_where w = reel_method_where(b, st);
    int precond = m->cfg->training.model.precondition_outputs;
    double share = reel_method_share(b, st);
    struct reel_kept *kept;
    reel_tensor sigma, t, none = { 0 };

    draw_levels(m, w, &sigma, &t);
    reel_tensor eps = reel_new(m->a, REEL_F32, b->x0.n, 5);
    reel_tensor noisy = reel_new(m->a, REEL_F32, b->x0.n, 5);
    reel_tensor dv = reel_new(m->a, REEL_F32, b->x0.n, 5);
    reel_tensor sum = reel_new(m->a, REEL_F64, REEL_DIMS(b->x0.n[0], b->x0.n[1]));
    reel_draw_normal(m->draws, m->s, eps, "prepare/noise", w);
    reel_noise_mix(m->s, noisy, b->x0, eps, sigma);
    reel_method_note(m, "noisy", st, b, noisy);

    struct reel_model_in in = { .x = noisy, .t = t, .text = b->text, .sparsity = reel_method_sparsity(m, st) };
    reel_tensor v = student->ops->fwd(student, m->a, &in, &kept);
    reel_method_note(m, "pred", st, b, v);
    reel_flow_loss(m->s, dv, sum, v, b->x0, eps, noisy, sigma, none, share, precond);
    reel_model_bwd(student, m->a, kept, dv, none, none);
    reel_method_loss(m, st, names, sum, NULL, 1, share);
    st->trained |= REEL_ROLE(REEL_STUDENT);
}

const struct reel_method_ops reel_method_sft = {
    .name = "sft",
    .help = "supervised fine-tuning on stored latents",
    .targets = "fastvideo.train.methods.fine_tuning.finetune.FineTuneMethod|"
               "fastvideo.train.methods.fine_tuning.FineTuneMethod",
    .opts = sft_opts,
    .priv_size = sizeof(struct sft),
    .roles_needed = REEL_ROLE(REEL_STUDENT),
    .roles_trained = REEL_ROLE(REEL_STUDENT),
    .check = sft_check,
    .init = sft_init,
    .step = sft_step,
};

REEL_EXPORT(REEL_KIND_METHOD, sft);
