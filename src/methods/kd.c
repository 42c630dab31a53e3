/* Knowledge distillation on the teacher's trajectories: the start of a few-step student (ODE initialisation).
 * The teacher walks once per sample from noise to a clean clip; a few states of the walk and its end are the data set.
 * The student learns to jump from any of the states to the end. Formulas in README.md.
 * Source: FastVideo fastvideo/train/methods/knowledge_distillation/kd.py @2f3d4074. */
#include "methods/kd.h"

#include <math.h>
#include <stddef.h>

#include "be/ops.h"
#include "methods/check.h"
#include "methods/method.h"
#include "nn/schedule.h"

struct kd {
    struct reel_kd_opts o; /* first: the options' offsets hold here */
    struct reel_kd_path path;
};

#define F(field) offsetof(struct reel_kd_opts, field)
static const struct reel_opt kd_opts[] = {
    { "teacher_path_cache", REEL_OPT_STR, F(teacher_path_cache), .example = "outputs/kd/trajectories", .flags = REEL_OPT_REQUIRED,
      .help = "folder of the teacher's trajectories; made by the teacher if it is not there or not complete" },
    { "t_list", REEL_OPT_INTS, F(t_list), .sdflt = "[999, 937, 833, 624, 0]", .min = 0, .max = 1000,
      .unit = "timesteps", .help = "where the student starts from, falling to 0: the nearest points of the teacher's walk are kept" },
    { "student_sample_steps", REEL_OPT_INT, F(student_sample_steps), .min = 1, .max = 1000, .flags = REEL_OPT_NULLABLE,
      .help = "steps of the student: the entries of t_list without the last, which is what an absent key means" },
    { "teacher_inference_steps", REEL_OPT_INT, F(teacher_inference_steps), .dflt = 48, .min = 1, .max = REEL_KD_STEPS,
      .help = "steps of the teacher's walk" },
    { "teacher_guidance_scale", REEL_OPT_F64, F(teacher_guidance_scale), .dflt = 1.0, .min = -1e6, .max = 1e6,
      .help = "guidance of the walk: u + s (c - u), u with the negative prompt; FastVideo reads it without effect" },
    { "num_frames_per_block", REEL_OPT_INT, F(num_frames_per_block), .dflt = 3, .min = 1, .max = 65536,
      .unit = "latent frames", .help = "causal student: frames that share a state, the model's own block" },
    { .type = REEL_OPT_END },
};

/* ---- the teacher's walk -------------------------------------------------------------------- */

static int nearest(const struct reel_kd_path *p, float t)
{
    int best = 0;

    for (int i = 1; i < p->steps; i++)
        if (fabsf(1000.0f * p->sigma[i] - t) < fabsf(1000.0f * p->sigma[best] - t)) best = i;
    return best;
}

static reel_err judge_list(const struct reel_config *cfg, const struct reel_kd_opts *o)
{
    const struct reel_ints *l = &o->t_list;
    const char *key = "method.t_list";

    if (l->n < 2 || l->n > REEL_SET_STATES)
        return reel_config_fail(cfg, key, "%d entries; 2 to %d are possible, e.g. [999, 937, 833, 624, 0]", l->n, REEL_SET_STATES);
    for (int i = 1; i < l->n; i++)
        if (l->v[i] >= l->v[i - 1])
            return reel_config_fail(cfg, key, "%lld after %lld: the list must be strictly decreasing", (long long)l->v[i],
                                    (long long)l->v[i - 1]);
    if (l->v[l->n - 1] != 0)
        return reel_config_fail(cfg, key, "ends with %lld; the last entry is the clean clip, 0", (long long)l->v[l->n - 1]);
    if (o->student_sample_steps == REEL_INT_UNSET || o->student_sample_steps == l->n - 1) return REEL_OK;
    return reel_config_fail(cfg, "method.student_sample_steps", "%lld, but t_list has %d entries before the 0; leave it out, or "
                            "make them equal", (long long)o->student_sample_steps, l->n - 1);
}

reel_err reel_kd_path_init(struct reel_kd_path *p, const struct reel_config *cfg, const struct reel_kd_opts *o)
{
    const struct reel_ints *l = &o->t_list;

    REEL_TRY(judge_list(cfg, o));
    p->steps = (int)o->teacher_inference_steps;
    p->states = l->n;
    reel_sched_points(p->sigma, p->steps, (float)cfg->pipeline.flow_shift);
    for (int k = 0; k < l->n; k++) {
        p->at[k] = k == l->n - 1 ? p->steps : nearest(p, (float)l->v[k]);
        p->state_sigma[k] = p->sigma[p->at[k]];
        p->t[k] = 1000.0f * p->state_sigma[k];
        if (k && p->at[k] == p->at[k - 1])
            return reel_config_fail(cfg, "method.t_list", "%lld and %lld are both nearest to the same of the teacher's %d steps; "
                                    "take more teacher_inference_steps or fewer entries", (long long)l->v[k - 1], (long long)l->v[k], p->steps);
    }
    return REEL_OK;
}

/* ---- the method ---------------------------------------------------------------------------- */

static reel_err kd_check(const struct reel_config *cfg, const void *priv)
{
    struct reel_kd_path path;

    REEL_TRY(reel_kd_path_init(&path, cfg, priv));
    REEL_TRY(reel_check_rate(cfg));
    return reel_check_latents(cfg, cfg->training.data.type == REEL_DATA_TEXT_ONLY); /* the walk starts from noise */
}

static reel_err kd_init(struct reel_method *m)
{
    struct kd *p = m->priv;
    int64_t chunk = m->role[REEL_STUDENT]->chunk;

    if (chunk && chunk != p->o.num_frames_per_block)
        return reel_config_fail(m->cfg, "method.num_frames_per_block", "%lld, but the student's blocks have %lld frames",
                                (long long)p->o.num_frames_per_block, (long long)chunk);
    return reel_kd_path_init(&p->path, m->cfg, &p->o);
}

/* From each of the states that it learns to jump from. */
static struct reel_few_steps kd_few_steps(const struct reel_method *m)
{
    const struct kd *p = m->priv;

    return (struct reel_few_steps){ .n = p->path.states - 1, .t = p->path.t, .sigma = p->path.state_sigma };
}

static const struct reel_kd_opts *kd_trajectories(const void *priv) { return priv; }

struct start { reel_tensor noisy, clean, sigma, t; }; /* [B,T,C,H,W] twice; [B], or [B,T] for a causal student */

/* Frames [f0, f1) of sample b, out of the states that stand back to back in x. */
static void take_frames(struct reel_method *m, reel_tensor dst, reel_tensor x, int64_t b, int64_t f0, int64_t f1, int64_t state)
{
    int64_t T = dst.n[1];

    reel_copy(m->s, reel_slice(reel_at(dst, b), f0, f1), reel_slice(reel_at(x, b), state * T + f0, state * T + f1));
}

/* One state per sample, or per block of a causal student's frames: the short block is the last. */
static struct start draw_start(struct reel_method *m, const struct reel_batch *b, struct reel_where w)
{
    const struct kd *p = m->priv;
    const int64_t *n = m->shape;
    int causal = m->role[REEL_STUDENT]->chunk > 0;
    int64_t T = n[1], per = causal ? p->o.num_frames_per_block : T, blocks = (T + per - 1) / per;
    int64_t *k = reel_arena_push(m->host, (size_t)(w.nb * blocks) * sizeof *k);
    float *sigma = reel_arena_push(m->host, (size_t)(w.nb * T) * sizeof *sigma);
    float *t = reel_arena_push(m->host, (size_t)(w.nb * T) * sizeof *t);
    struct start s = { .noisy = reel_new(m->a, REEL_F32, n, 5), .clean = reel_new(m->a, REEL_F32, n, 5),
                       .sigma = reel_new(m->a, REEL_F32, n, causal ? 2 : 1), .t = reel_new(m->a, REEL_F32, n, causal ? 2 : 1) };

    reel_draw_range(m->draws, k, blocks, 0, p->path.states - 2, "kd/index", w);
    for (int64_t i = 0; i < w.nb * blocks; i++) {
        int64_t f0 = i % blocks * per, f1 = f0 + per < T ? f0 + per : T;
        take_frames(m, s.noisy, b->x0, i / blocks, f0, f1, k[i]);
        take_frames(m, s.clean, b->x0, i / blocks, f0, f1, p->path.states - 1);
        for (int64_t f = f0; f < f1; f++) {
            int64_t at = causal ? i / blocks * T + f : i;
            sigma[at] = p->path.state_sigma[k[i]];
            t[at] = p->path.t[k[i]];
        }
    }
    reel_put(m->s, s.sigma, sigma);
    reel_put(m->s, s.t, t);
    return s;
}

static void kd_step(struct reel_method *m, const struct reel_batch *b, struct reel_step *st)
{
    static const char *const names[] = { "total_loss", "kd_loss", NULL };
    struct reel_model *student = m->role[REEL_STUDENT];
    const struct kd *p = m->priv;
    const int64_t *n = m->shape;
    double half_share = 0.5 * p->path.states * reel_method_share(b, st); /* x0 has all states, the loss is a mean over one */
    struct start s = draw_start(m, b, reel_method_where(b, st));
    struct reel_model_in in = { .x = s.noisy, .t = s.t, .text = b->text, .sparsity = reel_method_sparsity(m, st) };
    struct reel_kept *kept;
    reel_tensor none = { 0 }, dv = reel_new(m->a, REEL_F32, n, 5), sum = reel_new(m->a, REEL_F64, n, 2);

    reel_method_note(m, "noisy", st, b, s.noisy);
    reel_method_note(m, "clean", st, b, s.clean);
    reel_tensor v = student->ops->fwd(student, m->a, &in, &kept);
    reel_method_note(m, "pred", st, b, v);
    /* r = (x - sigma v) - clean, sum r^2 / 2 n: the cotangent of v is -sigma r / n */
    reel_flow_loss(m->s, dv, sum, v, s.clean, s.noisy, s.noisy, s.sigma, none, half_share, 1);
    reel_model_bwd(student, m->a, kept, dv, none, none);
    reel_method_loss(m, st, names, sum, NULL, 1, half_share);
    st->trained |= REEL_ROLE(REEL_STUDENT);
}

const struct reel_method_ops reel_method_kd = {
    .name = "kd",
    .help = "knowledge distillation: regress the end of the teacher's trajectories (ODE initialisation)",
    .targets = "fastvideo.train.methods.knowledge_distillation.kd.KDMethod|"
               "fastvideo.train.methods.knowledge_distillation.kd.KDCausalMethod|"
               "fastvideo.train.methods.knowledge_distillation.KDMethod|"
               "fastvideo.train.methods.knowledge_distillation.KDCausalMethod",
    .opts = kd_opts,
    .priv_size = sizeof(struct kd),
    .roles_needed = REEL_ROLE(REEL_STUDENT),
    .roles_optional = REEL_ROLE(REEL_TEACHER),
    .roles_trained = REEL_ROLE(REEL_STUDENT),
    .check = kd_check,
    .init = kd_init,
    .step = kd_step,
    .few_steps = kd_few_steps,
    .trajectories = kd_trajectories,
};

REEL_EXPORT(REEL_KIND_METHOD, kd);
