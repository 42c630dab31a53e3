/* DMD2: the student makes a clip in few steps from noise (or in one from noised data), and distribution matching
 * corrects it. Its rollout is all there is here; the losses are distill.c's.
 * Source: FastVideo fastvideo/train/methods/distribution_matching/dmd2.py @2f3d4074. */
#include "be/ops.h"
#include "methods/distill.h"

static const struct reel_opt dmd2_opts[] = { REEL_DMD_OPTS, { .type = REEL_OPT_END } };

static reel_err dmd2_check(const struct reel_config *cfg, const void *priv)
{
    const struct reel_dmd *p = priv;

    REEL_TRY(reel_dmd_check(cfg, p));
    return reel_check_latents(cfg, p->rollout_mode == REEL_ROLLOUT_SIMULATE);
}

static int dmd2_makes_latents(const void *priv)
{
    return ((const struct reel_dmd *)priv)->rollout_mode == REEL_ROLLOUT_SIMULATE;
}

static reel_err dmd2_init(struct reel_method *m)
{
    struct reel_dmd *p = m->priv;

    for (int i = 0; i < REEL_NROLE; i++) reel_sched_a(&p->table[i], m->role[i]->flow_shift);
    return reel_dmd_init(m);
}

/* The step that makes each sample's clip. All samples of the global micro-batch are drawn: the weights are gathered for
 * as many steps as any of them needs. Returns the local ones; *last is the largest of all. */
static const int64_t *draw_steps(struct reel_method *m, struct reel_where w, const char *who, int *last)
{
    const struct reel_dmd *p = m->priv;
    int64_t *j = reel_arena_push(m->host, (size_t)w.b_global * sizeof *j), b0 = w.b0, nb = w.nb;

    w.b0 = 0;
    w.nb = w.b_global;
    reel_draw_range(m->draws, j, 1, 0, p->steps.n - 1, reel_dmd_name(m, who, "rollout/step"), w);
    *last = 0;
    for (int64_t b = 0; b < w.b_global; b++) {
        if (m->cfg->method.parity) j[b] = j[b - b % nb]; /* of the group's first sample */
        if (m->s->planning) j[b] = p->steps.n - 1;
        if (j[b] > *last) *last = (int)j[b];
    }
    return j + b0;
}

/* rows[i] of src as row i of dst, and back */
static void take_rows(struct reel_stream *s, reel_tensor dst, reel_tensor src, const int64_t *row)
{
    for (int64_t i = 0; i < dst.n[0]; i++) reel_copy(s, reel_at(dst, i), reel_at(src, row[i]));
}

static void put_rows(struct reel_stream *s, reel_tensor dst, reel_tensor src, const int64_t *row, int64_t n)
{
    for (int64_t i = 0; i < n; i++) reel_copy(s, reel_at(dst, row[i]), reel_at(src, i));
}

static reel_tensor subset(struct reel_method *m, reel_tensor x, const int64_t *row, int64_t n)
{
    reel_tensor y = x;

    y.n[0] = n;
    y = reel_new(m->a, x.dt, y.n, y.nd);
    take_rows(m->s, y, x, row);
    return y;
}

/* z from level k to level k+1 for n of its samples: x0 as the student sees it, under fresh noise. */
static void advance_rows(struct reel_method *m, const struct reel_batch *b, const struct reel_step *st, const char *who,
                         reel_tensor z, const int64_t *row, int64_t n, int k)
{
    const struct reel_dmd *p = m->priv;
    struct reel_model *student = m->role[REEL_STUDENT];
    int64_t rows = n ? n : 1;
    size_t mark = m->a->used;

    reel_tensor eps = subset(m, reel_dmd_noise(m, b, st, who, k + 1), row, rows);
    struct reel_model_in in = { .x = subset(m, z, row, rows), .t = reel_dmd_level(m, rows, p->t[k]),
                                .text = subset(m, b->text, row, rows), .sparsity = reel_method_sparsity(m, st) };
    reel_tensor x0 = student->ops->fwd(student, m->a, &in, NULL);
    reel_x0_fwd(m->s, x0, in.x, x0, reel_dmd_level(m, rows, p->sigma[k]));
    reel_noise_mix(m->s, x0, x0, eps, reel_dmd_level(m, rows, p->sigma[k + 1]));
    put_rows(m->s, z, x0, row, n);
    reel_arena_reset(m->a, mark);
}

/* The same for the samples whose step is beyond k. The others are left out; a rank that has none computes its first one for
 * nothing, since all gather the weights. Fewer samples may take more scratch: planning tries each number. */
static void advance(struct reel_method *m, const struct reel_batch *b, const struct reel_step *st, const char *who,
                    reel_tensor z, const int64_t *j, int k)
{
    int64_t *row = reel_arena_push(m->host, (size_t)z.n[0] * sizeof *row), n = 0;

    row[0] = 0;
    for (int64_t i = 0; i < z.n[0]; i++)
        if (j[i] > k) row[n++] = i;
    for (int64_t r = 1; r < n && m->s->planning && k == 0; r++) advance_rows(m, b, st, who, z, row, r, k);
    advance_rows(m, b, st, who, z, row, n, k);
}

/* The state that the last, graded evaluation starts from. */
static reel_tensor state_at(struct reel_method *m, const struct reel_batch *b, const struct reel_step *st, const char *who,
                            const int64_t *j, int last, reel_tensor sigma)
{
    const struct reel_dmd *p = m->priv;
    reel_tensor z = reel_dmd_noise(m, b, st, who, 0);

    if (p->rollout_mode == REEL_ROLLOUT_DATA_LATENT) {
        reel_noise_mix(m->s, z, b->x0, z, sigma);
        return z;
    }
    for (int k = 0; k < last; k++) advance(m, b, st, who, z, j, k);
    return z;
}

static struct reel_clip dmd2_rollout(struct reel_method *m, const struct reel_batch *b, const struct reel_step *st,
                                     const char *who, int grad)
{
    const struct reel_dmd *p = m->priv;
    struct reel_model *student = m->role[REEL_STUDENT];
    struct reel_where w = reel_method_where(b, st);
    struct reel_clip c = { .x0 = reel_new(m->a, REEL_F32, b->x0.n, 5), .n = grad,
                           .part = reel_arena_push(m->host, sizeof *c.part) };
    float *t = reel_arena_push(m->host, (size_t)w.nb * sizeof *t), *sigma = reel_arena_push(m->host, (size_t)w.nb * sizeof *sigma);
    size_t mark = m->a->used;
    int last;
    const int64_t *j = draw_steps(m, w, who, &last);

    for (int64_t i = 0; i < w.nb; i++) t[i] = p->t[j[i]], sigma[i] = p->sigma[j[i]];
    c.sigma = reel_dmd_put(m, sigma, w.nb);
    struct reel_model_in in = { .t = reel_dmd_put(m, t, w.nb), .text = b->text };
    in.x = state_at(m, b, st, who, j, last, c.sigma);
    *c.part = (struct reel_graded){ 0, b->x0.n[1], NULL };
    in.sparsity = reel_method_sparsity(m, st);
    reel_tensor v = student->ops->fwd(student, m->a, &in, grad ? &c.part->kept : NULL);
    reel_x0_fwd(m->s, c.x0, in.x, v, c.sigma);
    if (!grad) reel_arena_reset(m->a, mark);
    return c;
}

static void dmd2_step(struct reel_method *m, const struct reel_batch *b, struct reel_step *st)
{
    reel_dmd_step(m, b, st, dmd2_rollout);
}

const struct reel_method_ops reel_method_dmd2 = {
    .name = "dmd2",
    .help = "distribution matching: a few-step student against a frozen teacher and a trained critic",
    .targets = "fastvideo.train.methods.distribution_matching.dmd2.DMD2Method|"
               "fastvideo.train.methods.distribution_matching.DMD2Method",
    .opts = dmd2_opts,
    .priv_size = sizeof(struct reel_dmd),
    .roles_needed = REEL_ROLE(REEL_STUDENT) | REEL_ROLE(REEL_TEACHER) | REEL_ROLE(REEL_CRITIC),
    .roles_trained = REEL_ROLE(REEL_STUDENT) | REEL_ROLE(REEL_CRITIC),
    .check = dmd2_check,
    .makes_latents = dmd2_makes_latents,
    .init = dmd2_init,
    .few_steps = reel_dmd_few_steps,
    .optimizer = reel_dmd_optimizer,
    .step = dmd2_step,
};

REEL_EXPORT(REEL_KIND_METHOD, dmd2);
