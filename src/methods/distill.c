/* Distribution matching with a trained critic: the losses that DMD2 and Self-Forcing share.
 * Source: FastVideo fastvideo/train/methods/distribution_matching/dmd2.py @2f3d4074; Yin et al., Improved Distribution
 * Matching Distillation (2024). Formulas, and where this differs under parity, in README.md. */
#include "methods/distill.h"

#include <stdio.h>

#include "be/ops.h"

/* ---- keys ---- */

static reel_err check_steps(const struct reel_config *cfg, const struct reel_ints *s)
{
    const char *key = "method.dmd_denoising_steps";

    if (s->n == 0) return reel_config_fail(cfg, key, "an empty list; e.g. [1000, 750, 500, 250]");
    for (int i = 1; i < s->n; i++)
        if (s->v[i] >= s->v[i - 1])
            return reel_config_fail(cfg, key, "%lld after %lld: the list must be strictly decreasing",
                                    (long long)s->v[i], (long long)s->v[i - 1]);
    return REEL_OK;
}

static reel_err check_uncond(const struct reel_config *cfg, const struct reel_dmd *p)
{
    static const char *const key[] = { "method.cfg_uncond.image", "method.cfg_uncond.action" };
    const int channel[] = { p->uncond.image, p->uncond.action };

    if (p->uncond.text == REEL_UNCOND_DROP)
        return reel_config_fail(cfg, "method.cfg_uncond.text",
                                "drop: Wan cannot run without text; use negative_prompt, keep or zero");
    for (int i = 0; i < 2; i++)
        if (channel[i] && !p->uncond.ignore_missing)
            return reel_config_fail(cfg, key[i], "Wan has no such channel; use keep, or on_missing: ignore");
    return REEL_OK;
}

reel_err reel_dmd_check(const struct reel_config *cfg, const struct reel_dmd *p)
{
    REEL_TRY(check_steps(cfg, &p->steps));
    REEL_TRY(check_uncond(cfg, p));
    if (!(p->critic_lr > 0))
        return reel_config_fail(cfg, "method.fake_score_learning_rate", "must be above 0; e.g. 8.0e-6");
    if (p->critic_lr_scheduler == REEL_LR_POLYNOMIAL && p->critic_lr <= 1e-7)
        return reel_config_fail(cfg, "method.fake_score_learning_rate",
                                "%g: polynomial decays to 1e-7 and needs a rate above it", p->critic_lr);
    return reel_check_ratios(cfg, p->min_ratio, p->max_ratio);
}

reel_err reel_dmd_init(struct reel_method *m)
{
    struct reel_dmd *p = m->priv;
    const struct reel_sched *tab = &p->table[REEL_STUDENT];

    reel_few_steps(p->t, p->sigma, tab, p->steps.v, p->steps.n, p->warp);
    p->score_min = p->min_ratio;
    p->score_max = p->max_ratio;
    if (p->uncond.text != REEL_UNCOND_NEGATIVE_PROMPT || m->negative.nd) return REEL_OK;
    return reel_config_fail(m->cfg, "method.cfg_uncond.text", "negative_prompt: the data set holds none; use keep or "
                            "zero, or a data set that has one");
}

struct reel_few_steps reel_dmd_few_steps(const struct reel_method *m)
{
    const struct reel_dmd *p = m->priv;

    return (struct reel_few_steps){ .n = p->steps.n, .t = p->t, .sigma = p->sigma, .table = &p->table[REEL_STUDENT], .warp = p->warp };
}

void reel_dmd_optimizer(const struct reel_method *m, enum reel_role role, struct reel_cfg_optimizer *o)
{
    const struct reel_dmd *p = m->priv;

    if (role != REEL_CRITIC) return;
    o->learning_rate = p->critic_lr;
    o->betas[0] = p->critic_betas[0];
    o->betas[1] = p->critic_betas[1];
    o->lr_scheduler = p->critic_lr_scheduler;
}

/* ---- pieces ---- */

const char *reel_dmd_name(struct reel_method *m, const char *who, const char *what)
{
    char *name = reel_arena_push(m->host, 64);

    REEL_BUG_IF(snprintf(name, 64, "%s/%s", who, what) >= 64, "draw name %s/%s", who, what);
    return name;
}

reel_tensor reel_dmd_noise(struct reel_method *m, const struct reel_batch *b, const struct reel_step *st, const char *who, int k)
{
    reel_tensor eps = reel_new(m->a, REEL_F32, b->x0.n, 5);
    char what[32];

    snprintf(what, sizeof what, "rollout/noise/%d", k);
    reel_draw_normal(m->draws, m->s, eps, reel_dmd_name(m, who, what), reel_method_where(b, st));
    return eps;
}

reel_tensor reel_dmd_level(struct reel_method *m, int64_t n, float value)
{
    reel_tensor level = reel_new(m->a, REEL_F32, REEL_DIMS(n));

    reel_fill(m->s, level, (double)value);
    return level;
}

reel_tensor reel_dmd_put(struct reel_method *m, const float *v, int64_t n)
{
    reel_tensor x = reel_new(m->a, REEL_F32, REEL_DIMS(n));

    reel_put(m->s, x, v);
    return x;
}

reel_tensor reel_dmd_frames(struct reel_method *m, reel_tensor x, int64_t lo, int64_t hi)
{
    reel_tensor y;

    if (lo == 0 && hi == x.n[1]) return x;
    y = reel_new(m->a, REEL_F32, REEL_DIMS(x.n[0], hi - lo, x.n[2], x.n[3], x.n[4]));
    for (int64_t b = 0; b < x.n[0]; b++) reel_copy(m->s, reel_at(y, b), reel_slice(reel_at(x, b), lo, hi));
    return y;
}

/* The clip under fresh noise, at a level of its own. */
struct score {
    float *at;              /* [B] host: timesteps */
    reel_tensor t;          /* [B] */
    reel_tensor eps, noisy; /* [B,T,C,H,W] */
};

static reel_tensor sigma_of(struct reel_method *m, enum reel_role role, const float *t, int64_t n)
{
    const struct reel_dmd *p = m->priv;
    float *sigma = reel_arena_push(m->host, (size_t)n * sizeof *sigma);

    for (int64_t i = 0; i < n; i++) sigma[i] = reel_sched_sigma(&p->table[role], t[i]);
    return reel_dmd_put(m, sigma, n);
}

static struct score noise_clip(struct reel_method *m, const struct reel_batch *b, const struct reel_step *st, const char *who,
                               reel_tensor x0)
{
    const struct reel_dmd *p = m->priv;
    struct reel_where w = reel_method_where(b, st);
    int64_t *tau = reel_arena_push(m->host, (size_t)w.nb * sizeof *tau);
    struct score s = { .at = reel_arena_push(m->host, (size_t)w.nb * sizeof *s.at) };

    reel_draw_range(m->draws, tau, 1, 0, 999, reel_dmd_name(m, who, "score/timestep"), w);
    for (int64_t i = 0; i < w.nb; i++)
        s.at[i] = reel_score_timestep(tau[m->cfg->method.parity ? 0 : i], (float)m->cfg->pipeline.flow_shift, p->score_min,
                                      p->score_max);
    s.t = reel_dmd_put(m, s.at, w.nb);
    s.eps = reel_new(m->a, REEL_F32, x0.n, 5);
    s.noisy = reel_new(m->a, REEL_F32, x0.n, 5);
    reel_draw_normal(m->draws, m->s, s.eps, reel_dmd_name(m, who, "score/noise"), w);
    reel_noise_mix(m->s, s.noisy, x0, s.eps, sigma_of(m, REEL_STUDENT, s.at, w.nb));
    reel_method_note(m, reel_dmd_name(m, who, "score/noisy"), st, b, s.noisy);
    return s;
}

/* What a frozen view of a role takes the noised clip for. */
static reel_tensor predict_x0(struct reel_method *m, enum reel_role role, const struct score *s, reel_tensor text)
{
    struct reel_model_in in = { .x = s->noisy, .t = s->t, .text = text };
    reel_tensor x0 = m->role[role]->ops->fwd(m->role[role], m->a, &in, NULL);

    reel_x0_fwd(m->s, x0, s->noisy, x0, sigma_of(m, role, s->at, s->t.n[0]));
    return x0;
}

static reel_tensor uncond_text(struct reel_method *m, const struct reel_batch *b)
{
    const struct reel_dmd *p = m->priv;
    reel_tensor zero;

    if (p->uncond.text == REEL_UNCOND_NEGATIVE_PROMPT) return m->negative;
    if (p->uncond.text == REEL_UNCOND_KEEP) return b->text;
    zero = reel_new(m->a, REEL_F32, b->text.n, 3);
    reel_fill(m->s, zero, 0);
    return zero;
}

/* ---- the student's loss ---- */

/* mean |x0 - real| of each sample, at least 1e-6; under parity one mean over all local ones, as it is. */
static reel_tensor denominator(struct reel_method *m, reel_tensor sum, double per_frame)
{
    int64_t B = sum.n[0], T = sum.n[1];
    double *host = reel_arena_push(m->host, (size_t)(B * T) * sizeof *host), all = 0;
    float *mean = reel_arena_push(m->host, (size_t)B * sizeof *mean);

    if (m->s->planning) return reel_new(m->a, REEL_F32, REEL_DIMS(B));
    reel_get(m->s, host, sum);
    for (int64_t b = 0; b < B; b++) {
        double own = 0;
        for (int64_t f = 0; f < T; f++) own += host[b * T + f];
        all += own;
        own /= (double)T * per_frame;
        mean[b] = (float)(own < 1e-6 ? 1e-6 : own); /* a NaN stays one */
    }
    for (int64_t b = 0; b < B && m->cfg->method.parity; b++) mean[b] = (float)(all / ((double)(B * T) * per_frame));
    return reel_dmd_put(m, mean, B);
}

/* g = (fake - real)/mean |x0 - real|, the clip's cotangent but for 1/n; the loss is half the mean of its squares. */
static reel_tensor matching_gradient(struct reel_method *m, const struct reel_batch *b, struct reel_step *st,
                                     const struct reel_clip *c)
{
    static const char *const names[] = { "total_loss", "generator_loss", NULL };
    const struct reel_dmd *p = m->priv;
    const struct score s = noise_clip(m, b, st, "student", c->x0);
    reel_tensor sum = reel_new(m->a, REEL_F64, c->x0.n, 2);
    reel_tensor fake = predict_x0(m, REEL_CRITIC, &s, b->text);
    reel_tensor real = predict_x0(m, REEL_TEACHER, &s, b->text);
    reel_tensor uncond = p->uncond.text == REEL_UNCOND_KEEP ? real : predict_x0(m, REEL_TEACHER, &s, uncond_text(m, b));

    reel_method_note(m, "student/score/fake", st, b, fake);
    reel_method_note(m, "student/score/real_cond", st, b, real);
    reel_method_note(m, "student/score/real_uncond", st, b, uncond);
    reel_guide(m->s, real, sum, c->x0, real, uncond, p->guidance);
    reel_dmd_grad(m->s, fake, sum, fake, real, denominator(m, sum, (double)(c->x0.n[2] * c->x0.n[3] * c->x0.n[4])),
                  m->cfg->method.parity);
    reel_method_note(m, "student/score/grad", st, b, fake);
    reel_method_loss(m, st, names, sum, NULL, 0.5, reel_method_share(b, st));
    return fake;
}

static void student_loss(struct reel_method *m, const struct reel_batch *b, struct reel_step *st, reel_rollout_fn *rollout)
{
    struct reel_model *student = m->role[REEL_STUDENT];
    struct reel_clip c = rollout(m, b, st, "student", 1);
    reel_tensor g, none = { 0 };

    reel_method_note(m, "student/rollout/x0", st, b, c.x0);
    g = matching_gradient(m, b, st, &c);
    reel_x0_bwd(m->s, g, g, c.sigma, reel_method_share(b, st));
    for (int i = 0; i < c.n; i++)
        reel_model_bwd(student, m->a, c.part[i].kept, reel_dmd_frames(m, g, c.part[i].lo, c.part[i].hi), none,
                          none);
    if (c.kv) student->ops->kv_close(student, c.kv);
    st->trained |= REEL_ROLE(REEL_STUDENT);
}

/* ---- the critic's loss: it learns the velocity of the student's clips ---- */

static void critic_loss(struct reel_method *m, const struct reel_batch *b, struct reel_step *st, reel_rollout_fn *rollout)
{
    static const char *const names[] = { "total_loss", "fake_score_loss", NULL };
    struct reel_model *critic = m->role[REEL_CRITIC];
    const struct reel_clip c = rollout(m, b, st, "critic", 0);
    reel_tensor dv = reel_new(m->a, REEL_F32, c.x0.n, 5), sum = reel_new(m->a, REEL_F64, c.x0.n, 2), none = { 0 };
    double share = reel_method_share(b, st);
    struct reel_kept *kept;

    reel_method_note(m, "critic/rollout/x0", st, b, c.x0);
    const struct score s = noise_clip(m, b, st, "critic", c.x0);
    struct reel_model_in in = { .x = s.noisy, .t = s.t, .text = b->text };
    reel_tensor v = critic->ops->fwd(critic, m->a, &in, &kept);
    reel_method_note(m, "critic/score/pred", st, b, v);
    reel_flow_loss(m->s, dv, sum, v, c.x0, s.eps, none, none, none, share, 0);
    reel_model_bwd(critic, m->a, kept, dv, none, none);
    reel_method_loss(m, st, names, sum, NULL, 1, share);
    st->trained |= REEL_ROLE(REEL_CRITIC);
}

void reel_dmd_step(struct reel_method *m, const struct reel_batch *b, struct reel_step *st, reel_rollout_fn *rollout)
{
    const struct reel_dmd *p = m->priv;
    int due = m->s->planning || p->interval <= 0 || st->step % p->interval == 0;
    double share = reel_method_share(b, st);
    size_t mark = m->a->used;

    reel_step_metric(st, "total_loss", share);
    reel_step_metric(st, "generator_loss", share); /* 0 where the student is not due */
    if (st->round == 0) reel_step_scalar(st, "update_student", due);
    if (due) student_loss(m, b, st, rollout);
    reel_arena_reset(m->a, mark);
    critic_loss(m, b, st, rollout);
}
