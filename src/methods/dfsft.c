/* Diffusion forcing: every chunk of frames has its own noise level, and a loss weighted by it.
 * Source: FastVideo fastvideo/train/methods/fine_tuning/dfsft.py @2f3d4074; Chen et al., Diffusion Forcing (2024);
 * formulas in README.md. */
#include "methods/dfsft.h"

#include "be/ops.h"

static const struct reel_opt dfsft_opts[] = { REEL_DFSFT_OPTS, { .type = REEL_OPT_END } };

reel_err reel_dfsft_check(const struct reel_config *cfg, const struct reel_dfsft *o)
{
    REEL_TRY(reel_check_rate(cfg));
    REEL_TRY(reel_check_ratios(cfg, o->min_ratio, o->max_ratio));
    REEL_TRY(reel_check_chunk(cfg, o->chunk_size));
    return reel_check_latents(cfg, 0);
}

reel_err reel_dfsft_init(struct reel_method *m)
{
    struct reel_dfsft *p = m->priv;

    REEL_TRY(reel_check_blocks(m->cfg, m->role[REEL_STUDENT], p->chunk_size));
    reel_sched_a(&p->table, m->role[REEL_STUDENT]->flow_shift);
    reel_index_weights(p->weight);
    reel_index_range(p->min_ratio, p->max_ratio, &p->lo, &p->hi);
    return REEL_OK;
}

/* The noise levels of a micro-batch: one drawn index per chunk, expanded to its frames. */
struct levels {
    reel_tensor sigma, t, w; /* [B,T] f32 on the device */
    double *weight;          /* [B,T] on the host */
};

static struct levels draw_levels(struct reel_method *m, struct reel_where w, int64_t frames)
{
    const struct reel_dfsft *p = m->priv;
    int64_t chunks = (frames + p->chunk_size - 1) / p->chunk_size, n = w.nb * frames;
    int64_t *index = reel_arena_push(m->host, (size_t)(w.nb * chunks) * sizeof *index);
    float *f = reel_arena_push(m->host, (size_t)(3 * n) * sizeof *f), *sigma = f, *t = f + n, *wf = f + 2 * n;
    struct levels l = { .weight = reel_arena_push(m->host, (size_t)n * sizeof *l.weight) };

    reel_draw_range(m->draws, index, chunks, p->lo, p->hi, "dfsft/index", w);
    for (int64_t k = 0; k < n; k++) {
        int64_t i = index[k / frames * chunks + k % frames / p->chunk_size];
        sigma[k] = p->table.sigma[i];
        t[k] = p->table.t[i];
        wf[k] = (float)(l.weight[k] = p->weight[i]);
    }
    l.sigma = reel_new(m->a, REEL_F32, REEL_DIMS(w.nb, frames));
    l.t = reel_new(m->a, REEL_F32, REEL_DIMS(w.nb, frames));
    l.w = reel_new(m->a, REEL_F32, REEL_DIMS(w.nb, frames));
    reel_put(m->s, l.sigma, sigma);
    reel_put(m->s, l.t, t);
    reel_put(m->s, l.w, wf);
    return l;
}

void reel_dfsft_step(struct reel_method *m, const struct reel_batch *b, struct reel_step *st, int teacher)
{
    static const char *const names[] = { "total_loss", "dfsft_loss", NULL };
    struct reel_model *student = m->role[REEL_STUDENT];
    struct reel_where w = reel_method_where(b, st);
    struct levels l = draw_levels(m, w, b->x0.n[1]);
    double share = reel_method_share(b, st);
    struct reel_kept *kept;
    reel_tensor none = { 0 };

    reel_tensor eps = reel_new(m->a, REEL_F32, b->x0.n, 5);
    reel_tensor noisy = reel_new(m->a, REEL_F32, b->x0.n, 5);
    reel_tensor dv = reel_new(m->a, REEL_F32, b->x0.n, 5);
    reel_tensor sum = reel_new(m->a, REEL_F64, b->x0.n, 2);
    reel_draw_normal(m->draws, m->s, eps, "prepare/noise", w);
    reel_noise_mix(m->s, noisy, b->x0, eps, l.sigma);
    reel_method_note(m, "noisy", st, b, noisy);

    struct reel_model_in in = { .x = noisy, .t = l.t, .text = b->text, .clean = teacher ? b->x0 : none,
                                .sparsity = reel_method_sparsity(m, st) };
    reel_tensor v = student->ops->fwd(student, m->a, &in, &kept);
    reel_method_note(m, "pred", st, b, v);
    reel_flow_loss(m->s, dv, sum, v, b->x0, eps, noisy, l.sigma, l.w, share,
                   m->cfg->training.model.precondition_outputs);
    reel_model_bwd(student, m->a, kept, dv, none, none);
    reel_method_loss(m, st, names, sum, l.weight, 1, share);
    st->trained |= REEL_ROLE(REEL_STUDENT);
}

static reel_err dfsft_check(const struct reel_config *cfg, const void *priv) { return reel_dfsft_check(cfg, priv); }

static void dfsft_step(struct reel_method *m, const struct reel_batch *b, struct reel_step *st)
{
    reel_dfsft_step(m, b, st, 0);
}

const struct reel_method_ops reel_method_dfsft = {
    .name = "dfsft",
    .help = "diffusion forcing: fine-tuning with one noise level per chunk of frames",
    .targets = "fastvideo.train.methods.fine_tuning.dfsft.DiffusionForcingSFTMethod|"
               "fastvideo.train.methods.fine_tuning.DiffusionForcingSFTMethod",
    .opts = dfsft_opts,
    .priv_size = sizeof(struct reel_dfsft),
    .roles_needed = REEL_ROLE(REEL_STUDENT),
    .roles_trained = REEL_ROLE(REEL_STUDENT),
    .check = dfsft_check,
    .init = reel_dfsft_init,
    .step = dfsft_step,
};

REEL_EXPORT(REEL_KIND_METHOD, dfsft);
