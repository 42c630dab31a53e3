/* A method with a critic: supervised fine-tuning, plus the verdict of a network that learns to tell
 * noisy clips of the data from noisy clips that the student denoised (Wang et al., Diffusion-GAN,
 * 2022), patch by patch and with least squares (Mao et al., LSGAN, 2017).
 *
 *     v     = student(x_t, t)            x_t = (1-sigma) x0 + sigma eps
 *     fake  = (1-s) (x_t - sigma v) + s eps'       the student's clip at another noise level s
 *     real  = (1-s) x0 + s eps'
 *     critic's loss:   mean (critic(real) - 1)^2 + mean critic(fake)^2
 *     student's loss:  mean (v - (eps - x0))^2 + weight mean (critic(fake) - 1)^2
 *
 * critic_steps updates of the critic come before each one of the student. The weight grows from zero
 * over the critic's first `ramp` updates, so their number is state. */

#include <stddef.h>

#include "be/ops.h"
#include "ckpt/io.h"
#include "methods/check.h"
#include "methods/method.h"
#include "nn/schedule.h"

struct adversarial {
    int64_t critic_steps, ramp; /* options */
    double weight, critic_rate;
    int64_t critic_updates; /* state */
    struct reel_sched table;
};

#define F(field) offsetof(struct adversarial, field)
static const struct reel_opt adversarial_opts[] = {
    { "critic_steps", REEL_OPT_INT, F(critic_steps), .dflt = 1, .min = 1, .max = 1000000, .unit = "updates",
      .help = "updates of the critic before each update of the student" },
    { "weight", REEL_OPT_F64, F(weight), .dflt = 0.1, .min = 0, .max = 1e6, .help = "of the critic's verdict in the student's loss" },
    { "ramp", REEL_OPT_INT, F(ramp), .dflt = 100, .min = 0, .max = 9e15, .unit = "updates",
      .help = "updates of the critic over which the weight grows from 0" },
    { "critic_learning_rate", REEL_OPT_F64, F(critic_rate), .dflt = 1e-4, .min = 0, .max = 1e3,
      .help = "learning rate of the critic; the rest of its optimizer is training.optimizer" },
    { .type = REEL_OPT_END },
};
#undef F

static reel_err adversarial_check(const struct reel_config *cfg, const void *priv)
{
    const struct adversarial *p = priv;

    if (!(p->critic_rate > 0)) return reel_config_fail(cfg, "method.critic_learning_rate", "must be above 0; e.g. 1.0e-4");
    REEL_TRY(reel_check_rate(cfg));
    return reel_check_latents(cfg, 0);
}

static reel_err adversarial_init(struct reel_method *m)
{
    struct adversarial *p = m->priv;

    reel_sched_a(&p->table, m->role[REEL_STUDENT]->flow_shift);
    return REEL_OK;
}

static void adversarial_optimizer(const struct reel_method *m, enum reel_role role, struct reel_cfg_optimizer *o)
{
    const struct adversarial *p = m->priv;

    if (role == REEL_CRITIC) o->learning_rate = p->critic_rate;
}

static reel_tensor latents(struct reel_method *m, const struct reel_batch *b) { return reel_new(m->a, REEL_F32, b->x0.n, 5); }

static reel_tensor constant(struct reel_method *m, const struct reel_batch *b, double value)
{
    reel_tensor x = latents(m, b);

    reel_fill(m->s, x, value);
    return x;
}

/* A noise level per sample from the draw of that name: sigma and t f32 [B]. */
struct level { reel_tensor sigma, t; };

static struct level draw_level(struct reel_method *m, const char *name, struct reel_where w)
{
    const struct adversarial *p = m->priv;
    struct level l = { reel_new(m->a, REEL_F32, REEL_DIMS(w.nb)), reel_new(m->a, REEL_F32, REEL_DIMS(w.nb)) };
    int64_t *i = reel_arena_push(m->host, (size_t)w.nb * sizeof *i);
    float *sigma = reel_arena_push(m->host, (size_t)w.nb * sizeof *sigma), *t = reel_arena_push(m->host, (size_t)w.nb * sizeof *t);

    reel_draw_range(m->draws, i, 1, 0, REEL_SCHED_N - 1, name, w);
    for (int64_t b = 0; b < w.nb; b++) {
        sigma[b] = p->table.sigma[i[b]];
        t[b] = p->table.t[i[b]];
    }
    reel_put(m->s, l.sigma, sigma);
    reel_put(m->s, l.t, t);
    return l;
}

/* What a micro-batch is about. */
struct clips {
    struct level l, s;
    reel_tensor eps, noisy, noise; /* of x_t; of real and fake */
    reel_tensor zero, one;
    double share; /* of one element in a mean over the whole step */
};

static struct clips draw_clips(struct reel_method *m, const struct reel_batch *b, const struct reel_step *st)
{
    struct reel_where w = reel_method_where(b, st);
    struct clips c = {
        .l = draw_level(m, "adversarial/timestep", w), .s = draw_level(m, "adversarial/critic_timestep", w),
        .eps = latents(m, b), .noisy = latents(m, b), .noise = latents(m, b),
        .zero = constant(m, b, 0), .one = constant(m, b, 1),
        .share = 1.0 / ((double)reel_numel(reel_at(b->x0, 0)) * (double)b->b_global * st->rounds),
    };

    reel_draw_normal(m->draws, m->s, c.eps, "adversarial/noise", w);
    reel_draw_normal(m->draws, m->s, c.noise, "adversarial/critic_noise", w);
    reel_noise_mix(m->s, c.noisy, b->x0, c.eps, c.l.sigma);
    return c;
}

/* (1-s) (x_t - sigma v) + s eps' */
static reel_tensor make_fake(struct reel_method *m, const struct reel_batch *b, const struct clips *c, reel_tensor v)
{
    reel_tensor clean = latents(m, b), fake = latents(m, b);

    reel_x0_fwd(m->s, clean, c->noisy, v, c->l.sigma);
    reel_noise_mix(m->s, fake, clean, c->noise, c->s.sigma);
    return fake;
}

/* Sums per frame go exactly into the metrics: mean over all elements, rounds and ranks. */
static void add_loss(struct reel_method *m, struct reel_step *st, const char *name, double scale, reel_tensor sum)
{
    struct reel_metric *loss = reel_step_metric(st, name, scale);
    int64_t n = reel_numel(sum);
    double *host = reel_arena_push(m->host, (size_t)n * sizeof *host);

    if (m->s->planning) return;
    reel_get(m->s, host, sum);
    for (int64_t i = 0; i < n; i++) reel_exact_add(loss->sum, host[i]);
}

/* scale * mean (y - target)^2 and its cotangent: the flow loss of a clip whose x0 is zero. */
static reel_tensor squares(struct reel_method *m, const struct reel_batch *b, const struct clips *c, struct reel_step *st,
                           const char *name, double scale, reel_tensor y, reel_tensor target)
{
    reel_tensor dy = latents(m, b), sum = reel_new(m->a, REEL_F64, REEL_DIMS(b->x0.n[0], b->x0.n[1])), none = { 0 };

    reel_flow_loss(m->s, dy, sum, y, c->zero, target, c->noisy, c->l.sigma, none, scale * c->share, 0);
    add_loss(m, st, name, c->share, sum);
    return dy;
}

/* The critic's least squares on clips x; dx nd 0, or the cotangent of x. */
static void judge(struct reel_method *m, const struct reel_batch *b, const struct clips *c, struct reel_step *st,
                  const char *name, double scale, reel_tensor x, reel_tensor target, reel_tensor dx)
{
    struct reel_model *critic = m->role[REEL_CRITIC];
    struct reel_model_in in = { .x = x, .t = c->s.t, .text = b->text };
    struct reel_kept *kept;
    reel_tensor y = critic->ops->fwd(critic, m->a, &in, &kept), none = { 0 };

    critic->ops->bwd(critic, m->a, kept, squares(m, b, c, st, name, scale, y, target), dx, none);
}

static reel_tensor predict(struct reel_method *m, const struct reel_batch *b, const struct clips *c, struct reel_kept **kept)
{
    struct reel_model *student = m->role[REEL_STUDENT];
    struct reel_model_in in = { .x = c->noisy, .t = c->l.t, .text = b->text };

    return student->ops->fwd(student, m->a, &in, kept);
}

static void train_critic(struct reel_method *m, const struct reel_batch *b, struct reel_step *st)
{
    struct adversarial *p = m->priv;
    struct clips c = draw_clips(m, b, st);
    reel_tensor real = latents(m, b), fake = make_fake(m, b, &c, predict(m, b, &c, NULL)), none = { 0 };

    reel_noise_mix(m->s, real, b->x0, c.noise, c.s.sigma);
    judge(m, b, &c, st, "critic_loss", 1, real, c.one, none);
    judge(m, b, &c, st, "critic_loss", 1, fake, c.zero, none);
    st->trained |= REEL_ROLE(REEL_CRITIC);
    if (st->round + 1 == st->rounds && !m->s->planning) p->critic_updates++;
}

static double weight_now(const struct adversarial *p)
{
    return p->critic_updates < p->ramp ? p->weight * (double)p->critic_updates / (double)p->ramp : p->weight;
}

/* The critic's own gradients of this pass are dropped: the loop updates only what is marked as trained. */
static void train_student(struct reel_method *m, const struct reel_batch *b, struct reel_step *st)
{
    struct reel_model *student = m->role[REEL_STUDENT];
    struct clips c = draw_clips(m, b, st);
    struct reel_kept *kept;
    reel_tensor v = predict(m, b, &c, &kept), fake = make_fake(m, b, &c, v), none = { 0 };
    reel_tensor dfake = latents(m, b), dclean = latents(m, b), dv = latents(m, b);
    reel_tensor sum = reel_new(m->a, REEL_F64, REEL_DIMS(b->x0.n[0], b->x0.n[1]));

    reel_flow_loss(m->s, dv, sum, v, b->x0, c.eps, c.noisy, c.l.sigma, none, c.share, 0);
    add_loss(m, st, "finetune_loss", c.share, sum);
    judge(m, b, &c, st, "adversarial_loss", weight_now(m->priv), fake, c.one, dfake);
    reel_noise_mix(m->s, dclean, dfake, c.zero, c.s.sigma); /* (1-s) dfake */
    reel_x0_bwd(m->s, dclean, dclean, c.l.sigma, 1);        /* -sigma dclean */
    reel_add(m->s, dv, dclean);
    student->ops->bwd(student, m->a, kept, dv, none, none);
    st->trained |= REEL_ROLE(REEL_STUDENT);
}

static void adversarial_step(struct reel_method *m, const struct reel_batch *b, struct reel_step *st)
{
    const struct adversarial *p = m->priv;
    int student = st->step % (p->critic_steps + 1) == 0;

    if (m->s->planning || student) train_student(m, b, st);
    if (m->s->planning) reel_arena_reset(m->a, 0); /* either branch has the arena for itself */
    if (m->s->planning || !student) train_critic(m, b, st);
}

static void adversarial_state(struct reel_method *m, struct reel_io *io)
{
    struct adversarial *p = m->priv;

    reel_io_i64(io, "critic_updates", &p->critic_updates, 1);
}

const struct reel_method_ops reel_method_adversarial = {
    .name = "adversarial",
    .help = "fine-tuning with a critic that tells clips of the data from the student's",
    .opts = adversarial_opts,
    .priv_size = sizeof(struct adversarial),
    .roles_needed = REEL_ROLE(REEL_STUDENT) | REEL_ROLE(REEL_CRITIC),
    .roles_trained = REEL_ROLE(REEL_STUDENT) | REEL_ROLE(REEL_CRITIC),
    .check = adversarial_check,
    .init = adversarial_init,
    .optimizer = adversarial_optimizer,
    .step = adversarial_step,
    .state = adversarial_state,
};

REEL_EXPORT(REEL_KIND_METHOD, adversarial);
