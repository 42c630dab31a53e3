/* Self-Forcing: distribution matching on the student's own streaming rollout. The causal student makes block after block
 * of frames, each in a few steps, and attends to what it made before; one step of a block carries gradient. The losses are
 * distill.c's.
 * Source: FastVideo fastvideo/train/methods/distribution_matching/self_forcing.py @2f3d4074; Huang et al., Self Forcing
 * (2025). Formulas in README.md. */
#include <math.h>

#include "be/ops.h"
#include "methods/distill.h"

struct self_forcing {
    struct reel_dmd dmd; /* first: its options' offsets hold here */
    int64_t chunk_size;
    int sample_ode, same_step, last_step_only, grad_in_rollout;
    double context_noise;
    int64_t start_gradient_frame;
};

#define F(field) offsetof(struct self_forcing, field)
static const struct reel_opt self_forcing_opts[] = {
    REEL_DMD_OPTS,
    { "chunk_size", REEL_OPT_INT, F(chunk_size), .dflt = 3, .min = 1, .max = 65536, .unit = "latent frames",
      .help = "frames denoised together; a remainder joins the first block" },
    { "student_sample_type", REEL_OPT_ENUM, F(sample_ode), .choices = "sde|ode",
      .help = "sde: fresh noise between steps; ode: the noise that the prediction implies" },
    { "same_step_across_blocks", REEL_OPT_BOOL, F(same_step), .help = "all blocks exit at one drawn step" },
    { "last_step_only", REEL_OPT_BOOL, F(last_step_only), .help = "always exit at the last step" },
    { "context_noise", REEL_OPT_F64, F(context_noise), .min = 0, .max = 1000, .unit = "timesteps",
      .help = "noise of the clean frames written back to the cache" },
    { "enable_gradient_in_rollout", REEL_OPT_BOOL, F(grad_in_rollout), .dflt = 1,
      .help = "the student's exit step carries the gradient" },
    { "start_gradient_frame", REEL_OPT_INT, F(start_gradient_frame), .min = 0, .max = 65536,
      .unit = "latent frames", .help = "blocks that start before it carry none" },
    { .type = REEL_OPT_END },
};

/* Some block must start at or after start_gradient_frame: otherwise the student never learns. */
static reel_err check_gradient(const struct reel_config *cfg, const struct self_forcing *o)
{
    int64_t frames = cfg->training.data.num_latent_t;
    int64_t last = frames / o->chunk_size > 1 ? frames - o->chunk_size : 0;

    if (!o->grad_in_rollout)
        return reel_config_fail(cfg, "method.enable_gradient_in_rollout", "false leaves the student without a gradient");
    if (o->start_gradient_frame > last)
        return reel_config_fail(cfg, "method.start_gradient_frame",
                                "%lld is beyond the last block, which starts at frame %lld: no block would carry a gradient",
                                (long long)o->start_gradient_frame, (long long)last);
    return REEL_OK;
}

static reel_err self_forcing_check(const struct reel_config *cfg, const void *priv)
{
    const struct self_forcing *o = priv;

    REEL_TRY(reel_check_causal(cfg, "Self-Forcing streams frame by frame"));
    if (o->dmd.rollout_mode != REEL_ROLLOUT_SIMULATE)
        return reel_config_fail(cfg, "method.rollout_mode", "Self-Forcing always simulates: use simulate");
    REEL_TRY(reel_dmd_check(cfg, &o->dmd));
    REEL_TRY(reel_check_chunk(cfg, o->chunk_size));
    REEL_TRY(reel_check_latents(cfg, 1));
    return check_gradient(cfg, o);
}

static int self_forcing_makes_latents(const void *priv)
{
    (void)priv;
    return 1;
}

static reel_err self_forcing_init(struct reel_method *m)
{
    struct self_forcing *p = m->priv;
    const struct reel_model *student = m->role[REEL_STUDENT];

    if (!student->ops->kv_open)
        return reel_config_fail(m->cfg, "models.student._target_", "%s has no cache to stream with", student->ops->name);
    REEL_TRY(reel_check_blocks(m->cfg, student, p->chunk_size));
    for (int i = 0; i < REEL_NROLE; i++) reel_sched_b(&p->dmd.table[i], (float)m->cfg->pipeline.flow_shift);
    REEL_TRY(reel_dmd_init(m));
    if (m->cfg->method.parity) p->dmd.score_min = 0, p->dmd.score_max = 1; /* parsed there, and not applied */
    return REEL_OK;
}

static struct reel_few_steps self_forcing_few_steps(const struct reel_method *m)
{
    struct reel_few_steps few = reel_dmd_few_steps(m);

    few.ode = ((const struct self_forcing *)m->priv)->sample_ode;
    return few;
}

/* ---- the rollout ---- */

struct stream { /* one rollout under way */
    struct reel_method *m;
    const struct reel_batch *b;
    struct reel_kv *kv;
    int64_t blocks, first; /* the first block takes the remainder: frames of it */
    const int64_t *exit;   /* [blocks]: the step that ends each */
    reel_tensor *noise;    /* [K]: clips; 0 is where all start, k what sde puts on a prediction at level k */
    reel_tensor context;   /* nd 0: none */
};

static int64_t block_end(const struct stream *s, int64_t i)
{
    return i < 0 ? 0 : s->first + i * ((const struct self_forcing *)s->m->priv)->chunk_size;
}

/* Exit steps decide which passes run, so that one sample's are those of all samples and ranks. */
static const int64_t *draw_exits(const struct stream *s, const struct reel_step *st, const char *who, int64_t *most)
{
    const struct self_forcing *p = s->m->priv;
    int64_t *e = reel_arena_push(s->m->host, (size_t)s->blocks * sizeof *e), last = p->dmd.steps.n - 1;
    struct reel_where w = reel_method_where(s->b, st);

    w.b0 = 0;
    w.nb = 1;
    if (!p->last_step_only) reel_draw_range(s->m->draws, e, s->blocks, 0, last, reel_dmd_name(s->m, who, "rollout/step"), w);
    *most = 0;
    for (int64_t i = 0; i < s->blocks; i++) {
        if (p->same_step) e[i] = e[0];
        if (p->last_step_only || s->m->s->planning) e[i] = last;
        if (e[i] > *most) *most = e[i];
    }
    return e;
}

static void draw_noise(struct stream *s, const struct reel_step *st, const char *who, int64_t most)
{
    const struct self_forcing *p = s->m->priv;
    struct reel_method *m = s->m;

    s->noise = reel_arena_push(m->host, (size_t)(most + 1) * sizeof *s->noise);
    for (int k = 0; k == 0 || (k <= most && !p->sample_ode); k++) s->noise[k] = reel_dmd_noise(m, s->b, st, who, k);
    if (p->context_noise <= 0) return;
    s->context = reel_new(m->a, REEL_F32, s->b->x0.n, 5);
    reel_draw_normal(m->draws, m->s, s->context, reel_dmd_name(m, who, "rollout/context"), reel_method_where(s->b, st));
}

/* A pass of the student over frames lo.. at timestep t; the reference's trainer cuts t to an integer here. */
static reel_tensor pass(const struct stream *s, reel_tensor x, int64_t lo, float t, int store_only, struct reel_kept **kept)
{
    struct reel_method *m = s->m;
    struct reel_model *student = m->role[REEL_STUDENT];
    struct reel_model_in in = { .x = x, .t = reel_dmd_level(m, x.n[0], m->cfg->method.parity ? truncf(t) : t),
                                .text = s->b->text, .kv = s->kv, .frame0 = lo, .store_only = store_only };

    return student->ops->fwd(student, m->a, &in, kept);
}

/* z [B,hi-lo,...] from level k to k+1, without gradient. */
static void advance(const struct stream *s, reel_tensor z, int64_t lo, int64_t hi, int k)
{
    const struct self_forcing *p = s->m->priv;
    struct reel_method *m = s->m;
    size_t mark = m->a->used;
    reel_tensor sigma = reel_dmd_level(m, z.n[0], p->dmd.sigma[k]), next = reel_dmd_level(m, z.n[0], p->dmd.sigma[k + 1]);
    reel_tensor x0 = pass(s, z, lo, p->dmd.t[k], 0, NULL);

    reel_x0_fwd(m->s, x0, z, x0, sigma);
    if (p->sample_ode) reel_ode_step(m->s, z, z, x0, sigma, next);
    else reel_noise_mix(m->s, z, x0, reel_dmd_frames(m, s->noise[k + 1], lo, hi), next);
    reel_arena_reset(m->a, mark);
}

/* The finished block into the cache, for the blocks after it. */
static void remember(const struct stream *s, reel_tensor x0, int64_t lo, int64_t hi)
{
    const struct self_forcing *p = s->m->priv;
    struct reel_method *m = s->m;
    float t = (float)p->context_noise;
    size_t mark = m->a->used;

    if (s->context.nd) {
        reel_tensor y = reel_new(m->a, REEL_F32, x0.n, 5);
        reel_noise_mix(m->s, y, x0, reel_dmd_frames(m, s->context, lo, hi),
                       reel_dmd_level(m, x0.n[0], reel_sched_sigma(&p->dmd.table[REEL_STUDENT], t)));
        x0 = y;
    }
    pass(s, x0, lo, t, 1, NULL);
    reel_arena_reset(m->a, mark);
}

static void run_block(const struct stream *s, int64_t i, int grad, struct reel_clip *c)
{
    const struct self_forcing *p = s->m->priv;
    struct reel_method *m = s->m;
    int64_t lo = block_end(s, i - 1), hi = block_end(s, i);
    int e = (int)s->exit[i], graded = grad && p->grad_in_rollout && lo >= p->start_gradient_frame;
    size_t mark = m->a->used;
    reel_tensor z = reel_dmd_frames(m, s->noise[0], lo, hi), x0 = reel_new(m->a, REEL_F32, z.n, 5);

    for (int k = 0; k < e; k++) advance(s, z, lo, hi, k);
    if (graded) c->part[c->n] = (struct reel_graded){ lo, hi, NULL };
    reel_tensor v = pass(s, z, lo, p->dmd.t[e], 0, graded ? &c->part[c->n++].kept : NULL);
    reel_x0_fwd(m->s, x0, z, v, reel_dmd_level(m, z.n[0], p->dmd.sigma[e]));
    for (int64_t b = 0; b < z.n[0]; b++) reel_copy(m->s, reel_slice(reel_at(c->x0, b), lo, hi), reel_at(x0, b));
    if (i + 1 < s->blocks) remember(s, x0, lo, hi);
    if (!graded) reel_arena_reset(m->a, mark);
}

/* The levels of the passes that end the blocks, per frame. */
static reel_tensor exit_sigmas(const struct stream *s)
{
    const struct self_forcing *p = s->m->priv;
    int64_t B = s->b->x0.n[0], T = s->b->x0.n[1];
    float *sigma = reel_arena_push(s->m->host, (size_t)(B * T) * sizeof *sigma);

    for (int64_t b = 0; b < B; b++)
        for (int64_t i = 0, f = 0; i < s->blocks; i++)
            for (; f < block_end(s, i); f++) sigma[b * T + f] = p->dmd.sigma[s->exit[i]];
    return reel_reshape(reel_dmd_put(s->m, sigma, B * T), REEL_DIMS(B, T));
}

static struct reel_clip self_forcing_rollout(struct reel_method *m, const struct reel_batch *b, const struct reel_step *st,
                                             const char *who, int grad)
{
    const struct self_forcing *p = m->priv;
    struct reel_model *student = m->role[REEL_STUDENT];
    int64_t T = b->x0.n[1], blocks = T / p->chunk_size > 1 ? T / p->chunk_size : 1, most;
    struct stream s = { .m = m, .b = b, .blocks = blocks, .first = T - (blocks - 1) * p->chunk_size };
    struct reel_clip c = { .x0 = reel_new(m->a, REEL_F32, b->x0.n, 5),
                           .part = reel_arena_push(m->host, (size_t)blocks * sizeof *c.part) };
    size_t mark = m->a->used;

    s.exit = draw_exits(&s, st, who, &most);
    c.sigma = exit_sigmas(&s);
    draw_noise(&s, st, who, most);
    c.kv = s.kv = student->ops->kv_open(student, m->a, b->x0.n);
    for (int64_t i = 0; i < blocks; i++) run_block(&s, i, grad, &c);
    if (grad) return c;
    student->ops->kv_close(student, s.kv);
    c.kv = NULL;
    reel_arena_reset(m->a, mark);
    return c;
}

static void self_forcing_step(struct reel_method *m, const struct reel_batch *b, struct reel_step *st)
{
    reel_dmd_step(m, b, st, self_forcing_rollout);
}

const struct reel_method_ops reel_method_self_forcing = {
    .name = "self_forcing",
    .help = "distribution matching on the causal student's own streaming rollout",
    .targets = "fastvideo.train.methods.distribution_matching.self_forcing.SelfForcingMethod|"
               "fastvideo.train.methods.distribution_matching.SelfForcingMethod",
    .opts = self_forcing_opts,
    .priv_size = sizeof(struct self_forcing),
    .roles_needed = REEL_ROLE(REEL_STUDENT) | REEL_ROLE(REEL_TEACHER) | REEL_ROLE(REEL_CRITIC),
    .roles_trained = REEL_ROLE(REEL_STUDENT) | REEL_ROLE(REEL_CRITIC),
    .check = self_forcing_check,
    .makes_latents = self_forcing_makes_latents,
    .init = self_forcing_init,
    .few_steps = self_forcing_few_steps,
    .optimizer = reel_dmd_optimizer,
    .step = self_forcing_step,
};

REEL_EXPORT(REEL_KIND_METHOD, self_forcing);
